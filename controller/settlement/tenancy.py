"""Whose a usage point is, from when to when: read off the charters and the days that they have settled. Pure.

A point belongs to a member from the charter that names it until a charter names it for another; before the first one
it is the first member's, and after the last one it stays the last member's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.settlement.published import Published
from controller.settlement.runs import Rules
from devices.clock import Instant

JOIN, LEAVE = "member.join", "member.leave"
"""Kinds of the entries by which people note who comes and who goes, with the registers at both ends."""
BEGINNING = Instant(-(2**62))
END_OF_TIME = Instant(2**62)


@dataclass(frozen=True, slots=True)
class Tenancy:
    """The time [start, end) in which a usage point is one member's."""

    member: str
    start: Instant
    end: Instant


class Tenancies:
    """Every usage point's tenancies, in order."""

    def __init__(self, published: Published, runs: Iterable[tuple[Instant, Instant, str]]) -> None:
        """Takes the charters, and (start, end, charter) of settled days: those say whose it was, come what may."""
        moves: dict[str, list[tuple[Instant, str]]] = {}
        self.private: set[str] = set()  # members whose data are their own; the community's are everybody's
        done = BEGINNING
        for rules in published.rules.values():
            self.private |= {member.id for member in rules.members if member.role != "community"}
        for start, end, charter in sorted(runs):
            move_in(moves, start, published.rules.get(charter))
            done = max(done, end)
        starts = {done, *(rules.charter.valid_from for rules in published.rules.values())}
        for start in sorted(start for start in starts if start >= done and published.rules):
            move_in(moves, start, published.rules[published.in_force(start)])
        for rules in published.rules.values():  # who was taken out again before a day was settled
            for point, member in _points(rules):
                moves.setdefault(point, [(BEGINNING, member)])
        self.of_point: Mapping[str, tuple[Tenancy, ...]] = {
            point: tuple(
                Tenancy(member, start if at else BEGINNING, rows[at + 1][0] if at + 1 < len(rows) else END_OF_TIME)
                for at, (start, member) in enumerate(rows)
            )
            for point, rows in moves.items()
        }

    def at(self, point: str, instant: Instant) -> Tenancy | None:
        """Returns whose a usage point is at an instant; None where no charter has ever named it."""
        for tenancy in self.of_point.get(point, ()):
            if instant < tenancy.end:
                return tenancy
        return None

    def owner(self, point: str, instant: Instant) -> str:
        """Returns the member whose own what a usage point counts is, '' where it is the community's or nobody's."""
        tenancy = self.at(point, instant)
        return tenancy.member if tenancy is not None and tenancy.member in self.private else ""

    def of_member(self, member: str) -> dict[str, list[Tenancy]]:
        """Returns the tenancies of a member by usage point."""
        own = {point: [one for one in rows if one.member == member] for point, rows in self.of_point.items()}
        return {point: rows for point, rows in own.items() if rows}


def _points(rules: Rules) -> Iterable[tuple[str, str]]:
    return ((point, member.id) for member in rules.members for point in (*member.usage_points, *member.water_points))


def move_in(moves: dict[str, list[tuple[Instant, str]]], start: Instant, rules: Rules | None) -> None:
    """Notes from when on usage points are other members' than before, by rules that hold from an instant on."""
    for point, member in () if rules is None else _points(rules):
        rows = moves.setdefault(point, [])
        if not rows or rows[-1][1] != member:
            rows.append((start, member))
