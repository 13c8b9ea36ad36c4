"""The ballot box of one log: opens votes, takes ballots, counts when time is over. Durable after the next commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast
from zoneinfo import ZoneInfo

from controller.charter_check import findings
from controller.charter_file import NotACharter, base, parse_document
from controller.charter_schema import CharterFile
from controller.civil import moment_text
from controller.commands import CommandResult
from controller.ledger.canonical import Json, NotCanonical
from controller.ledger.entries import derived_id
from controller.ledger.orders import Duplicate, Post, Rejection
from controller.money.desk import Asked, Request
from controller.settlement.charter import changed_for_life
from controller.settlement.published import CHARTER, Published
from controller.settlement.runs import Rules
from controller.shell.journal import LogWriter
from controller.site_problems import where
from controller.store.ledger_port import LedgerStore
from controller.voting import (
    VOTE_CAST,
    VOTE_OPEN,
    VOTE_RESULT,
    VOTE_RULES,
    BallotRefused,
    Electorate,
    Polls,
    Vote,
    ballot_body,
    charter_electorate,
    digest_of,
    electorate_at,
    names_of,
    opening,
)
from devices.clock import Instant

REQUESTS = ("vote-open", "vote-cast")
_NOTHING: Mapping[str, Json] = {}
KINDS = (CHARTER, VOTE_RULES, VOTE_OPEN, VOTE_CAST, VOTE_RESULT)


@dataclass(slots=True)
class PollReader:
    """The votes and charters of a store, kept up to date by reading only what is new."""

    store: LedgerStore
    polls: Polls = field(default_factory=Polls)
    published: Published = field(default_factory=Published)
    until: int = 0

    def now(self) -> Polls:
        """Returns every vote as of the newest entry."""
        for row in self.store.entries(self.until, only=KINDS):
            self.until = row.seq + 1
            entry = row.sealed().entry
            self.polls.absorb(entry)
            if entry.kind == CHARTER:
                self.published.absorb(entry)
        return self.polls

    def electorate(self, now: Instant) -> tuple[str, Electorate]:
        """Returns (entry that says so, who may vote now): by the charter in force, else by the site file."""
        return electorate_at(self.now(), self.published, now)


class _Refused(ValueError):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BallotBox:
    """See the module's text."""

    def __init__(self, journal: LogWriter) -> None:
        self._journal = journal
        self._reader = PollReader(journal.store)

    def polls(self) -> Polls:
        """Returns every vote, those not yet committed included."""
        return self._reader.now()

    def rules(self, now: Instant) -> Rules:
        """Returns the rules in force."""
        self._reader.now()
        return self._reader.published.rules[self._reader.published.in_force(now)]

    def coming(self, now: Instant) -> list[Rules]:
        """Returns the rules in force and those already published for later."""
        self._reader.now()
        published = self._reader.published
        return [published.rules[name] for name in published.coming(now)]

    def ask(self, asked: Asked, request: Request) -> CommandResult:
        """Opens a vote or takes a ballot, or says why not."""
        try:
            post, message = (self._open if request.get("do") == "vote-open" else self._cast)(asked, request)
        except (_Refused, BallotRefused) as error:
            return CommandResult(asked.id, False, error.code, str(error))
        match self._journal.write(post):
            case Rejection() as refused:
                return CommandResult(asked.id, False, refused.code.value, refused.message)
            case Duplicate():
                return CommandResult(asked.id, True, "duplicate", message)
            case _:
                return CommandResult(asked.id, True, "ok", message)

    def due(self, now: Instant) -> list[Vote]:
        """Writes the result of every vote that is over; returns those that passed, now or before."""
        polls = self.polls()
        for vote in polls.votes:
            if vote.passed is None and vote.over(now):
                body = vote.result()
                self._journal.must(Post(derived_id(now, VOTE_RESULT, vote.id), now, VOTE_RESULT, (), body))
        return [vote for vote in self.polls().votes if vote.passed]

    def _open(self, asked: Asked, request: Request) -> tuple[Post, str]:
        given = request.get("document")
        document = cast("Mapping[str, Json]", given) if isinstance(given, dict) else _NOTHING
        polls = self.polls()
        known = polls.by_id(asked.id)
        try:
            file, digest = parse_document(document), digest_of(document)
        except (NotACharter, NotCanonical) as error:
            raise _Refused("bad-charter", f"this is not the canonical document of a charter: {error}") from error
        if known is not None:
            if digest != known.digest:
                raise _Refused("conflict", f"vote {known.number} has this id and another charter; use a new id")
            row = self._journal.store.by_id(asked.id)
            assert row is not None
            entry = row.sealed().entry
            return Post(entry.id, entry.at, entry.kind, (), entry.body), _opened(known)
        under, electorate = self._reader.electorate(asked.now)
        self._judge(file, document, digest, electorate, asked.now)
        body = opening(document, electorate, under, asked.by, asked.now)
        post = Post(asked.id, asked.now, VOTE_OPEN, (), body)
        closes = Instant(int(str(body["closes"])))
        number = len(polls.votes) + 1
        return post, _opened(Vote(number, asked.id, asked.now, closes, digest, document, electorate, asked.by))

    def _judge(
        self, file: CharterFile, document: Mapping[str, Json], digest: str, electorate: Electorate, now: Instant
    ) -> None:
        """Checks that a vote on a charter could be decided and carried out.

        Raises:
            _Refused: it could not.
        """
        found = findings(file)
        if found:
            first = found[0]
            raise _Refused(
                "unsound-charter", f"{first.kind} in {where(first.path)}: {first.message} ({len(found)} in all)"
            )
        if problem := electorate.problem():
            raise _Refused("wrong-quorum", problem)
        rules = self._reader.published.rules[self._reader.published.in_force(now)]
        strangers = [name for name in names_of(document) if name not in {member.id for member in rules.members}]
        if strangers:
            raise _Refused("unknown-member", f"the charter names {', '.join(strangers)}, who are no members")
        if locked := self._locked(document):
            raise _Refused("unknown-voter", locked)
        named = set(file.storage.points or ()) if file.storage is not None else set[str]()
        if named and not any(named <= set(member.usage_points) for member in rules.members):
            raise _Refused("unknown-meter", f"{', '.join(sorted(named))} are not meters of one member: storages are")
        if differs := changed_for_life(rules.charter, base(file)):
            raise _Refused("other-ledger", differs)
        if file.version <= rules.charter.version:
            raise _Refused(
                "old-version", f"version {rules.charter.version} is in force: give the new one a higher number"
            )
        starts, closes = Instant(int(str(document["valid_from"]))), Instant(now + electorate.expires_h * 3_600_000)
        from_, closing = moment_text(file.timezone, starts), moment_text(file.timezone, closes)
        if starts < closes:
            raise _Refused("too-early", f"valid_from {from_} is before the vote closes at {closing}: move it")
        zone = ZoneInfo(file.timezone)
        if _day(starts, zone) == _day(Instant(starts - 1), zone):
            raise _Refused("within-a-day", f"valid_from {from_} is no midnight in {file.timezone}")
        twin = next((vote for vote in self.polls().votes if vote.digest == digest and vote.passed is not False), None)
        if twin is not None:
            raise _Refused("duplicate", f"vote {twin.number} is about this very charter")

    def _locked(self, document: Mapping[str, Json]) -> str:
        """Returns why nobody could ever change a charter again once it has passed, or ''."""
        rules = self.polls().rules
        after = charter_electorate(document.get("quorum"), {} if rules is None else rules[1].of)
        strangers = [name for name, key in after.of.items() if name == key]
        if len(after.of) - len(strangers) >= after.need:
            return ""
        return (
            f"its [quorum] asks {after.need} of {len(after.of)} keys, and {len(strangers)} of them are no member's"
            f" ({', '.join(strangers)}): nobody could change this charter again; name the `key` of members in `of`"
        )

    def _cast(self, asked: Asked, request: Request) -> tuple[Post, str]:
        number = request.get("vote")
        vote = self.polls().by_number(number)
        if vote is None:
            raise _Refused("unknown-vote", f"there is no vote {number!r}; `atoll vote count` lists them")
        given, row = request.get("paper"), self._journal.store.by_id(asked.id)
        if (
            row is not None and row.sealed().entry.body.get("paper") == given
        ):  # the same ballot again, after a lost answer
            entry = row.sealed().entry
            return Post(entry.id, entry.at, entry.kind, (), entry.body), f"vote {vote.number}: this ballot is in"
        body = ballot_body(vote, cast("Json", given) if isinstance(given, dict) else None, asked.now)
        ballots = {**vote.ballots, str(body["voter"]): str(body["choice"])}
        yes = sum(choice == "yes" for choice in ballots.values())
        words = f"vote {vote.number}: {body['voter']} votes {body['choice']} on {vote.title}"
        counted = f"{yes} yes, {len(ballots) - yes} no, {vote.electorate.need} yes are needed"
        message = f"{words}; {counted}; keep the ballot's id for the recount: {asked.id}"
        return Post(asked.id, asked.now, VOTE_CAST, (), body), message


def _opened(vote: Vote) -> str:
    who = vote.electorate
    return (
        f"vote {vote.number}: {vote.title}, hash {vote.digest[:16]}…; {who.need} of {len(who.of)} must agree"
        f" before {moment_text(str(vote.document['timezone']), vote.closes)}"
    )


def _day(instant: Instant, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(instant / 1000, zone):%F}"
