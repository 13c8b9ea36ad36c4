"""Members decide: a vote on one charter document, signed ballots over its hash, and the count. Pure.

The log is the ballot box. Kinds: `vote.rules` (who may vote while the site file's charter holds), `vote.open` (the
document, its SHA-256, who may vote with which key, how many must agree, when it closes), `vote.cast` (one
signed ballot), `vote.result`. A ballot is a document signed for the purpose `ballot`: {"vote": id of the opening entry,
"digest", "closes", "choice"}, so it is good for this document and this vote alone.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from controller.ledger.canonical import Json, NotCanonical, encode
from controller.ledger.entries import Entry
from controller.ledger.identity import PREFIX, BadDid, BadSignature, did_of, public_key_of, verify_document
from controller.settlement.published import Published
from devices.clock import HOUR_MS, Instant

VOTE_RULES, VOTE_OPEN, VOTE_CAST, VOTE_RESULT = "vote.rules", "vote.open", "vote.cast", "vote.result"
BALLOT = "ballot"
CHOICES = ("yes", "no")


class BallotRefused(ValueError):
    """A ballot that does not count; `code` says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Electorate:
    """Who may vote (name -> did:key), how many must agree, and how long a vote is open."""

    of: Mapping[str, str] = field(default_factory=dict[str, str])
    need: int = 0
    expires_h: int = 336

    def document(self) -> dict[str, Json]:
        """Returns it as the log publishes it."""
        return {"of": dict(self.of), "need": self.need, "expires_h": self.expires_h}

    def problem(self) -> str:
        """Returns why nothing could ever be decided, or ''."""
        if not self.of:
            return "nobody may vote: give members a `key` in the site file (`atoll key new FILE` makes one)"
        if not 1 <= self.need <= len(self.of):
            return f"{self.need} of {len(self.of)} must agree: that cannot be reached"
        return ""


@dataclass(slots=True)
class Vote:
    """One vote and its ballots, as the log has them."""

    number: int
    id: str
    opened: Instant
    closes: Instant
    digest: str
    document: Mapping[str, Json]
    electorate: Electorate
    by: str
    ballots: dict[str, str] = field(default_factory=dict[str, str])  # voter -> yes or no, in the order of casting
    entries: list[str] = field(default_factory=list[str])  # ids of the ballots' entries
    passed: bool | None = None  # None while open

    @property
    def title(self) -> str:
        """Returns the charter's name and version."""
        return f"{self.document.get('name')} v{self.document.get('version')}"

    @property
    def state(self) -> str:
        """Returns open, passed or rejected."""
        return "open" if self.passed is None else "passed" if self.passed else "rejected"

    def yes(self) -> list[str]:
        """Returns who agreed."""
        return [name for name, choice in self.ballots.items() if choice == "yes"]

    def no(self) -> list[str]:
        """Returns who did not."""
        return [name for name, choice in self.ballots.items() if choice == "no"]

    def over(self, now: Instant) -> bool:
        """Returns whether nobody can vote any more."""
        return now >= self.closes or len(self.ballots) == len(self.electorate.of)

    def ballot(self, choice: str) -> dict[str, Json]:
        """Returns the document that a voter signs."""
        return {"vote": self.id, "digest": self.digest, "closes": self.closes, "choice": choice}

    def result(self) -> dict[str, Json]:
        """Returns the count as the log publishes it."""
        return {
            "vote": self.id,
            "digest": self.digest,
            "yes": self.yes(),
            "no": self.no(),
            "need": self.electorate.need,
            "passed": len(self.yes()) >= self.electorate.need,
            "ballots": list(self.entries),
        }


@dataclass(slots=True)
class Polls:
    """Every vote of a log; made again from the log alone."""

    votes: list[Vote] = field(default_factory=list[Vote])
    rules: tuple[str, Electorate] | None = None  # (entry id, who may vote) while the site file's charter holds

    def absorb(self, entry: Entry) -> None:
        """Takes the next entry of the log; ignores other kinds."""
        body = entry.body
        match entry.kind:
            case "vote.rules":
                self.rules = entry.id, parse_electorate(body)
            case "vote.open":
                document = body.get("document")
                assert isinstance(document, Mapping), "the hub writes a document"
                self.votes.append(
                    Vote(
                        len(self.votes) + 1, entry.id, entry.at, Instant(int(str(body["closes"]))), str(body["digest"]),
                        document, parse_electorate(body), str(body["by"]),
                    )
                )  # fmt: skip
            case "vote.cast":
                vote = self.by_id(str(body.get("vote")))
                assert vote is not None, "a ballot follows its vote"
                vote.ballots[str(body["voter"])] = str(body["choice"])
                vote.entries.append(entry.id)
            case "vote.result":
                vote = self.by_id(str(body.get("vote")))
                assert vote is not None, "a result follows its vote"
                vote.passed = body.get("passed") is True
            case _:
                pass

    def by_id(self, identity: str) -> Vote | None:
        """Returns the vote that an entry opened."""
        return next((vote for vote in self.votes if vote.id == identity), None)

    def by_number(self, number: object) -> Vote | None:
        """Returns the vote that people know by a number."""
        return next((vote for vote in self.votes if vote.number == number), None)


def parse_electorate(body: Mapping[str, Json]) -> Electorate:
    """Returns who may vote, by the body of `vote.rules` or `vote.open`.

    Raises:
        NotCanonical: it does not say.
    """
    match body:
        case {"of": Mapping() as people, "need": int() as need, "expires_h": int() as hours}:
            return Electorate({str(name): str(key) for name, key in people.items()}, need, hours)
        case _:
            raise NotCanonical(f"{body!r} does not say who may vote")


def charter_electorate(quorum: Json, members: Mapping[str, str]) -> Electorate:
    """Returns who may vote on a change of a charter file: the keys of its own [quorum], by their members' names.

    Raises:
        NotCanonical: the charter has no quorum.
        BadDid: an approver is no key.
    """
    match quorum:
        case {"approvals": int() as need, "of": [*keys], "expires_h": int() as hours}:
            names = {key: name for name, key in members.items()}
            dids = [voter_key(str(key)) for key in keys]
            return Electorate({names.get(did, did): did for did in dids}, need, hours)
        case _:
            raise NotCanonical(f"quorum {quorum!r} is not approvals, of and expires_h")


def electorate_at(polls: Polls, published: Published, now: Instant) -> tuple[str, Electorate]:
    """Returns (entry that says so, who may vote now): by the charter in force, else by the site file.

    Raises:
        NotCanonical, BadDid: see `charter_electorate`.
    """
    rules = ("", Electorate()) if polls.rules is None else polls.rules
    name = published.in_force(now)
    clauses = published.rules[name].charter.clauses
    return rules if clauses is None else (name, charter_electorate(clauses.get("quorum"), rules[1].of))


def voter_key(text: str) -> str:
    """Returns the did:key of an approver, given as did:key or as 32 bytes in base64.

    Raises:
        BadDid: it is neither.
    """
    if text.startswith(PREFIX):
        public_key_of(text)
        return text
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != 32:
        raise BadDid(f"{text[:80]!r} is neither a did:key nor an Ed25519 public key in base64")
    return did_of(data)


def digest_of(document: Mapping[str, Json]) -> str:
    """Returns the SHA-256 of a charter's canonical bytes, in hex.

    Raises:
        NotCanonical: it has none.
    """
    return sha256(encode(document)).hexdigest()


def opening(document: Mapping[str, Json], electorate: Electorate, under: str, by: str, now: Instant) -> dict[str, Json]:
    """Returns the body of `vote.open`; `under` is the entry that says who may vote."""
    return {
        **electorate.document(),
        "document": document,
        "digest": digest_of(document),
        "closes": now + electorate.expires_h * HOUR_MS,
        "under": under,
        "by": by,
    }


def ballot_body(vote: Vote, paper: Json, now: Instant) -> dict[str, Json]:
    """Returns the body of `vote.cast` for a signed ballot.

    Raises:
        BallotRefused: it does not count.
    """
    try:
        signer, document = verify_document(BALLOT, paper)
    except (BadSignature, NotCanonical) as error:
        raise BallotRefused("bad-signature", f"the ballot is not signed as it should be: {error}") from error
    choice = str(document.get("choice"))
    if choice not in CHOICES:
        raise BallotRefused("bad-ballot", f"choice {choice!r} is not yes or no")
    if document != vote.ballot(choice):
        raise BallotRefused("other-proposal", f"this ballot was signed for another proposal than vote {vote.number}")
    voter = next((name for name, key in vote.electorate.of.items() if key == signer), None)
    if voter is None:
        names = ", ".join(vote.electorate.of)
        raise BallotRefused("not-a-voter", f"{signer} may not vote here; these may: {names}")
    if voter in vote.ballots:
        raise BallotRefused("voted-twice", f"{voter} has voted {vote.ballots[voter]} already; the first ballot counts")
    if vote.passed is not None or vote.over(now):
        raise BallotRefused("vote-closed", f"vote {vote.number} is closed")
    return {"vote": vote.id, "voter": voter, "choice": choice, "paper": paper}


def names_of(document: Mapping[str, Json]) -> Sequence[str]:
    """Returns the member ids that a charter document names."""
    found: dict[str, None] = {}

    def take(value: Json) -> None:
        if isinstance(value, Mapping):
            found.update(dict.fromkeys(value))
        elif isinstance(value, list):
            found.update(dict.fromkeys(name for name in value if isinstance(name, str)))

    sharing, lifeline, network = (document.get(key) for key in ("sharing", "lifeline", "network"))
    if isinstance(sharing, Mapping):
        for key in ("weights", "classes"):
            take(sharing.get(key))
        for key, inner in (("hours", ""), ("communities", "percent")):
            rows = sharing.get(key)
            for row in rows if isinstance(rows, list) else ():
                take(row.get(inner) if inner and isinstance(row, Mapping) else row)
    if isinstance(lifeline, Mapping):
        take(lifeline.get("not_for"))
    for row in network if isinstance(network, list) else ():
        if isinstance(row, Mapping):
            take(row.get("members"))
    return tuple(found)
