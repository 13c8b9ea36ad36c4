"""Votes of a log counted again: openings, signed ballots, results, and charters that say they were voted for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.charter_file import NotACharter
from controller.charter_file import published as published_charter
from controller.ledger.canonical import Json
from controller.ledger.entries import Entry
from controller.settlement.published import CHARTER, VOTE, Published, parse_rules
from controller.voting import (
    VOTE_CAST,
    VOTE_OPEN,
    VOTE_RESULT,
    BallotRefused,
    Polls,
    Vote,
    ballot_body,
    digest_of,
    electorate_at,
    opening,
)


class VoteAudit:
    """Goes through a log entry by entry, beside the charters that it has published so far."""

    def __init__(self, published: Published) -> None:
        self._published = published
        self._polls = Polls()

    def entry(self, entry: Entry) -> str:
        """Returns what is wrong with the next entry as part of a vote, or ''; `published` takes it afterwards.

        Raises:
            ValueError: it does not hold what its kind promises.
        """
        problem = self._judge(entry)
        if not problem:
            self._polls.absorb(entry)
        return problem

    def _judge(self, entry: Entry) -> str:
        match entry.kind:
            case kind if kind == VOTE_OPEN:
                return self._opening(entry)
            case kind if kind in (VOTE_CAST, VOTE_RESULT):
                vote = self._polls.by_id(str(entry.body.get("vote")))
                if vote is None:
                    return f"there is no vote {entry.body.get('vote')}"
                return _ballot(vote, entry) if kind == VOTE_CAST else _result(vote, entry)
            case kind if kind == CHARTER and VOTE in entry.body:
                return self._charter(entry.body)
            case _:
                return ""

    def _opening(self, entry: Entry) -> str:
        document = entry.body.get("document")
        if not isinstance(document, Mapping) or not self._published.rules:
            return "is a vote about nothing"
        under, electorate = electorate_at(self._polls, self._published, entry.at)
        wanted = opening(document, electorate, under, str(entry.body.get("by")), entry.at)
        return electorate.problem() or _other(entry.body, wanted, "by the rules of that time")

    def _charter(self, body: Mapping[str, Json]) -> str:
        vote, own = self._polls.by_id(str(body[VOTE])), parse_rules(body).charter
        if vote is None or not vote.passed:
            return f"names vote {body[VOTE]}, which has not passed in this log before"
        digest = digest_of(own.clauses or {})
        if digest != vote.digest:
            return f"its clauses have the hash {digest}, vote {vote.number} was about {vote.digest}"
        try:
            wanted = published_charter(vote.document)
        except NotACharter:
            return ""  # of a form that is no longer taken: its hash has been compared
        same = replace(wanted, valid_from=own.valid_from) == own and own.valid_from >= wanted.valid_from
        return "" if same else f"its terms are not those that vote {vote.number} was about"


def _ballot(vote: Vote, entry: Entry) -> str:
    try:
        return _other(entry.body, ballot_body(vote, entry.body.get("paper"), entry.at), "by the signed ballot")
    except BallotRefused as error:
        return f"{error.code}: {error}"


def _result(vote: Vote, entry: Entry) -> str:
    if vote.passed is not None or not vote.over(entry.at):
        return f"vote {vote.number} is counted a second time, or before it was over"
    return _other(entry.body, vote.result(), "recounted")


def _other(seen: Mapping[str, Json], right: Mapping[str, Json], how: str) -> str:
    """Returns the first field that is not as it should be, or ''."""
    for key in (*right, *seen):
        if seen.get(key) != right.get(key) or (key in seen) != (key in right):
            return f"{key} is {right.get(key)!r} {how}, the log says {seen.get(key)!r}"
    return ""
