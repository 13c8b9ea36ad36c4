"""A day settled again for those who are left, after a member's data were erased. Pure.

The erased member's day stays as its postings say. What it took and gave in each slot is what the public totals of the
standing run hold beyond the others' parts; those are reckoned from the records that this run had, and believed only if
they give every one of the others the quantities that stand for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.ledger.canonical import Json
from controller.ledger.entries import Entry
from controller.settlement.accounts import POOL_LOCAL, POOL_OUTSIDE
from controller.settlement.intervals import PointDay
from controller.settlement.runs import Rest, Rules, parse_day
from controller.settlement.sharing import MemberDay, SlotTotals, member_day, slot_totals

CORRECTION_REFUSED = "correction.refused"
"""A day that late readings would change, and that cannot be settled again: body `day`, `points`, `text`."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A day's run as it stands: the public part, and each member's entry; some of those are shut for good."""

    run: Mapping[str, Json]
    grid: Mapping[str, Json]
    own: Mapping[str, Entry]  # of members who can be read
    shut: Mapping[str, Entry]

    def inputs(self) -> dict[str, list[Json]]:
        """Returns what the run was made with, by usage point of those who can be read."""
        bodies = (self.grid, *(entry.body for entry in self.own.values()))
        return {str(row[0]): row for body in bodies for row in _rows(body, "inputs")}

    def held(self) -> dict[str, str]:
        """Returns why usage points were held back."""
        return {str(row[0]): str(row[1]) for row in _rows(self.run, "held")}


def known_rules(rules: Rules, standing: Standing) -> Rules:
    """Returns the rules with only those members whose data are still there."""
    members = tuple(member for member in rules.members if member.id in standing.own)
    return Rules(rules.charter, members, rules.grid_point)


def rest_of(rules: Rules, bands: Sequence[int], standing: Standing, old: Mapping[str, PointDay]) -> Rest | None:
    """Returns what is still known of the erased members; None where it cannot be known for sure.

    `old` are the others' usage points as the standing run had them. By a key that members have voted for the part of
    one follows from what each of the others used, so that nothing is known without them.
    """
    if rules.charter.clauses is not None:
        return None
    known = known_rules(rules, standing)
    totals = SlotTotals(_numbers(standing.run, "taken"), _numbers(standing.run, "given"))
    for member in known.members:
        if member_day(rules.charter, bands, totals, member, old) != parse_day(standing.own[member.id].body):
            return None
    parts = slot_totals([old[point] for point in known.energy_points()], len(bands))
    taken = tuple(a - b for a, b in zip(totals.taken, parts.taken, strict=True))
    given = tuple(a - b for a, b in zip(totals.given, parts.given, strict=True))
    if min(*taken, *given) < 0:
        return None
    leaves: dict[str, bytes] = {}
    for member in rules.members:
        if member.id in standing.shut:
            texts = standing.shut[member.id].body.get("leaves")
            points = (*member.usage_points, *member.water_points)
            leaves |= zip(points, map(bytes.fromhex, map(str, texts if isinstance(texts, list) else ())), strict=True)
    held = {point: why for point, why in standing.held().items() if point in leaves}
    estimated = {str(row[0]): int(str(row[1])) for row in _rows(standing.run, "estimated") if row[0] in leaves}
    records = int(str(standing.run["records"])) - sum(int(str(row[1])) for row in standing.inputs().values())
    days = tuple(_by_postings(entry) for entry in standing.shut.values())
    return Rest(rules.points(), SlotTotals(taken, given), days, held, estimated, records, leaves)


def _by_postings(entry: Entry) -> MemberDay:
    """Returns a day that moves what the entry moves; how it was priced nobody knows any more."""
    moved = {(posting.account, posting.asset): posting.amount for posting in entry.postings}
    local, outside = (sum(n for (name, _), n in moved.items() if name == pool) for pool in (POOL_LOCAL, POOL_OUTSIDE))
    return MemberDay(0, 0, (), max(local, 0), max(outside, 0), 0, 0, max(-local, 0), max(-outside, 0))


def _numbers(body: Mapping[str, Json], key: str) -> tuple[int, ...]:
    rows = body.get(key)
    return tuple(int(str(row)) for row in rows) if isinstance(rows, list) else ()


def _rows(body: Mapping[str, Json], key: str) -> list[list[Json]]:
    rows = body.get(key)
    return [row for row in rows if isinstance(row, list)] if isinstance(rows, list) else []
