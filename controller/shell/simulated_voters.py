"""Members of a simulated village who vote: keys of their own making, an opening and ballots, all through the books.

    --happening '2026-06-03T12:00 vote charter=FILE against=home-03,home-07 hours=24'

Real members' private keys are nowhere here, so that a simulation has voters of its own, also in the [quorum] of the
charter that they vote on; what they do goes the way of every other vote: signed ballots over the document's hash,
counted by the books, in force at its date by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from controller.charter_check import check
from controller.charter_file import charter_document
from controller.ledger.canonical import encode
from controller.ledger.entries import derived_id
from controller.ledger.identity import SigningKey, sign_document
from controller.money.desk import Asked
from controller.settlement.charter import Member
from controller.shell.books import Books
from controller.shell.happenings import OF_THE_BOOKS, VOTE, BadHappening
from controller.simulate import VOTE_CAST, VOTE_OPEN, Happening
from controller.voting import Electorate
from devices.clock import MINUTE_MS, Instant

HOURS = 24.0
BALLOT_EVERY_MS = 20 * MINUTE_MS
_KEYS = (*OF_THE_BOOKS[VOTE].needs, *OF_THE_BOOKS[VOTE].may)


def electorate(members: Sequence[Member], happenings: Iterable[Happening]) -> Electorate:
    """Returns who votes: every household with a simulated key, and more than half must agree; nobody without a vote."""
    votes = [one for one in happenings if one.name == VOTE]
    if not votes:
        return Electorate()
    hours = max(float(one.arguments.get("hours", HOURS)) for one in votes)
    names = [member.id for member in members if member.role == "household"]
    return Electorate({name: _key(name).did for name in names}, len(names) // 2 + 1, round(hours))


def expanded(members: Sequence[Member], happenings: Iterable[Happening]) -> list[Happening]:
    """Returns the happenings with each `vote` as its opening and one ballot of every household, one after the other.

    Raises:
        BadHappening: an argument that no vote has, an unknown member, or a charter with findings; all at once.
    """
    found: list[Happening] = []
    for happening in happenings:
        found += _vote(members, happening) if happening.name == VOTE else [happening]
    return found


def _vote(members: Sequence[Member], happening: Happening) -> list[Happening]:
    arguments, names = happening.arguments, [one.id for one in members if one.role == "household"]
    against, absent = (str(arguments.get(key, "")).split(",") for key in ("against", "absent"))
    problems = [f"{key}: a vote has {', '.join(_KEYS)}" for key in arguments if key not in _KEYS]
    strange = sorted({*against, *absent} - {"", *names})
    problems += [f"{name} is no household; these are: {', '.join(names)}" for name in strange]
    path = Path(str(arguments.get("charter", "")))
    try:
        file, findings = check(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadHappening(f"{VOTE}: charter={path} cannot be read: {error}") from error
    problems += [finding.text(str(path)) for finding in findings]
    if problems or file is None:
        raise BadHappening(f"{VOTE}: " + "\n".join(problems))
    quorum = file.quorum.model_copy(update={"of": [_key(name).did for name in names]})
    document = charter_document(file.model_copy(update={"quorum": quorum}))
    opening = Happening(happening.at, VOTE_OPEN, {"document": encode(document).decode()})
    voters = [name for name in names if name not in absent]
    return [opening, *(
        Happening(
            Instant(happening.at + at * BALLOT_EVERY_MS), VOTE_CAST,
            {"member": name, "choice": "no" if name in against else "yes"},
        )
        for at, name in enumerate(voters, 1)
    )]  # fmt: skip


class SimulatedVoters:
    """What members do themselves; see `controller.simulate_ports.PeoplePort`."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def act(self, name: str, arguments: Mapping[str, str | float], now: Instant) -> None:
        """Opens a vote, or casts a ballot in the newest one.

        Raises:
            BadHappening: the books refuse it; the text says why.
        """
        votes = self._books.till.votes
        if name == VOTE_OPEN:
            request: dict[str, object] = {"do": VOTE_OPEN, "document": json.loads(str(arguments["document"]))}
            by = "simulation"
        else:
            vote, by = votes.polls().votes[-1], str(arguments["member"])
            if vote.passed is not None:
                return  # decided already: more ballots than needed change nothing
            paper = sign_document("ballot", vote.ballot(str(arguments["choice"])), _key(by))
            request = {"do": VOTE_CAST, "vote": vote.number, "paper": paper}
        answer = self._books.till.ask(Asked(derived_id(now, "simulation", name, by), by, now), request)
        if not answer.accepted:
            raise BadHappening(f"{VOTE}: refused ({answer.code}): {answer.message}")


def _key(member: str) -> SigningKey:
    return SigningKey(sha256(f"atoll simulated voter {member}".encode()).digest())
