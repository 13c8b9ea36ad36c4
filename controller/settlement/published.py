"""The rules as they stand in the log: charter, members and compiled tables, found again by entry id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controller.ledger.canonical import Json
from controller.ledger.entries import Entry
from controller.ledger.orders import CHARTER
from controller.settlement.charter import (
    Charter,
    CharterBroken,
    charter_document,
    member_document,
    parse_charter,
    parse_member,
)
from controller.settlement.runs import Rules
from controller.settlement.tariff import Calendar, LocalDay, TariffTable
from devices.clock import Instant

CHARTER_TABLE = "charter.table"
VOTE = "vote"
"""In the body of a `charter` entry: the vote that passed it; the site file's charters have none."""


@dataclass(slots=True)
class Published:
    """Every charter that has been published, with its calendar."""

    rules: dict[str, Rules] = field(default_factory=dict[str, Rules])
    calendars: dict[str, Calendar] = field(default_factory=dict[str, Calendar])
    votes: dict[str, str] = field(default_factory=dict[str, str])  # charter entry -> the vote that passed it

    def absorb(self, entry: Entry) -> None:
        """Takes a `charter` or `charter.table` entry; ignores others.

        Raises:
            ValueError: it does not hold what its kind promises (CharterBroken, TableBroken).
        """
        if entry.kind == CHARTER:
            self.rules[entry.id] = parse_rules(entry.body)
            self.calendars[entry.id] = Calendar()
            if VOTE in entry.body:
                self.votes[entry.id] = str(entry.body[VOTE])
        elif entry.kind == CHARTER_TABLE:
            table = entry.body.get("table")
            charter = entry.body.get("charter")
            if not isinstance(table, Mapping) or charter not in self.calendars:
                raise CharterBroken(f"entry {entry.id} is a table of no published charter")
            self.calendars[str(charter)].add(TariffTable.parse(table))

    def in_force(self, start: Instant) -> str:
        """Returns the id of the charter in force for a day that starts then.

        What members have voted for goes before what the site file says. Of several votes the one valid last holds; of
        the site file's charters, and of those with the same date, the one published last.
        """
        return self._voted(start) or self._of_site(start) or next(iter(self.rules))

    def holding(self, start: Instant, *, voted: bool) -> tuple[tuple[Instant, str], ...]:
        """Returns which charters hold from `start` on, in order, as if there were only those voted for, or none."""
        marks = sorted({start, *(at for at in self._marks() if at > start)})
        found: list[tuple[Instant, str]] = []
        for at in marks:
            name = self._voted(at) if voted else self._of_site(at)
            if name is not None and (not found or found[-1][1] != name):
                found.append((at, name))
        return tuple(found)

    def coming(self, start: Instant) -> tuple[str, ...]:
        """Returns the ids of all charters that may hold for a day from `start` on."""
        return tuple(name for voted in (False, True) for _, name in self.holding(start, voted=voted))

    def held(self) -> tuple[tuple[Instant, Charter], ...]:
        """Returns which charter holds from when on, in order; it holds until the next."""
        return tuple((at, self.rules[self.in_force(at)].charter) for at in sorted(self._marks()))

    def _marks(self) -> set[Instant]:
        """Returns when charters begin, and when those end that have set themselves an end."""
        ends = {until for rules in self.rules.values() if (until := _valid_to(rules.charter)) is not None}
        return ends | {rules.charter.valid_from for rules in self.rules.values()}

    def _voted(self, start: Instant) -> str | None:
        valid = [name for name in self.votes if _holds(self.rules[name].charter, start)]
        latest = max((self.rules[name].charter.valid_from for name in valid), default=None)
        return next((name for name in reversed(valid) if self.rules[name].charter.valid_from == latest), None)

    def _of_site(self, start: Instant) -> str | None:
        valid = (name for name in reversed(self.rules) if _holds(self.rules[name].charter, start))
        return next((name for name in valid if name not in self.votes), None)

    def bands(self, charter: str, day: LocalDay) -> tuple[int, ...]:
        """Returns the band of each slot of a day."""
        return self.calendars[charter].bands(day)


def _holds(charter: Charter, start: Instant) -> bool:
    until = _valid_to(charter)
    return charter.valid_from <= start and (until is None or start < until)


def _valid_to(charter: Charter) -> Instant | None:
    """Returns the end that a charter has set itself, if it has."""
    until = None if charter.clauses is None else charter.clauses.get("valid_to")
    return Instant(until) if isinstance(until, int) else None


def rules_document(rules: Rules) -> dict[str, Json]:
    """Returns the body of a `charter` entry."""
    return {
        "charter": charter_document(rules.charter),
        "members": [member_document(member) for member in rules.members],
        "grid_point": rules.grid_point,
    }


def parse_rules(body: Mapping[str, Json]) -> Rules:
    """Returns the rules in the body of a `charter` entry.

    Raises:
        CharterBroken: they are not there.
    """
    members, grid = body.get("members"), body.get("grid_point")
    if not isinstance(members, list) or not isinstance(grid, str):
        raise CharterBroken("a charter entry has members and a grid point")
    return Rules(parse_charter(body.get("charter")), tuple(parse_member(row) for row in members), grid)


def published(entries: Iterable[Entry]) -> Published:
    """Returns everything that `charter` and `charter.table` entries publish."""
    found = Published()
    for entry in entries:
        found.absorb(entry)
    return found
