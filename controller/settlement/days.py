"""What has arrived: pages per meter, and the days that are not settled yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from controller.settlement.intervals import Kept
from controller.settlement.runs import Rules
from controller.settlement.tariff import LocalDay
from devices.clock import SLOT_MS, Instant
from devices.model import RecordQuality


class Pages:
    """The pages of one meter: all up to `page`, and some beyond a gap."""

    __slots__ = ("above", "page")

    def __init__(self, page: int = 0, above: Iterable[int] = ()) -> None:
        self.page = page
        self.above = set(above)

    def has(self, page: int) -> bool:
        """Returns whether the page has been taken."""
        return page <= self.page or page in self.above

    def add(self, page: int) -> None:
        """Takes a page."""
        if page != self.page + 1:
            self.above.add(page)
            return
        self.page = page
        while self.above and self.page + 1 in self.above:
            self.page += 1
            self.above.remove(self.page)

    def extend(self, pages: Sequence[int]) -> None:
        """Takes many pages; cheap where they follow those that are there."""
        if not self.above and list(pages) == list(range(self.page + 1, self.page + 1 + len(pages))):
            self.page += len(pages)
            return
        for page in pages:
            self.add(page)


@dataclass(slots=True)
class SlotSum:
    """The energy of one slot so far [Wh]."""

    taken: int = 0
    given: int = 0
    grid_import: int = 0
    grid_export: int = 0
    points: set[str] = field(default_factory=set[str])


@dataclass(slots=True)
class OpenDay:
    """A local day whose final run is still to come."""

    day: LocalDay
    kept: dict[str, list[Kept]] = field(default_factory=dict[str, list[Kept]])
    sums: dict[Instant, SlotSum] = field(default_factory=dict[Instant, SlotSum])
    expected: int = 0  # records of points that settlement waits for

    def add(self, kept: Kept, watched: WatchedPoints) -> bool:
        """Adds a record; returns whether it changes the provisional totals of its slot."""
        record = kept.record
        point = record.usage_point
        rows = self.kept.get(point)
        if rows is None:
            rows = self.kept[point] = []
        rows.append(kept)
        if point not in watched.all:
            return False
        self.expected += 1
        if point not in watched.energy or record.quality is RecordQuality.SUSPECT:
            return False
        slot = self.sums.get(record.start)
        if slot is None:
            slot = self.sums[record.start] = SlotSum()
        slot.points.add(point)
        if point == watched.grid:
            slot.grid_import += record.import_end - record.import_start
            slot.grid_export += record.export_end - record.export_start
        else:
            slot.taken += record.import_end - record.import_start
            slot.given += record.export_end - record.export_start
        return True

    def complete(self, rules: Rules, since: dict[str, Instant]) -> bool:
        """Returns whether every expected usage point has a record for every slot since its first."""
        wanted = 0
        for point in rules.points():
            first = since.get(point)
            if first is None:
                return False
            wanted += max(0, (self.day.end - max(self.day.start, first)) // SLOT_MS)
        return self.expected >= wanted

    def sorted_records(self, point: str) -> list[Kept]:
        """Returns a point's records in the order that settlement reads them."""
        return sorted(self.kept.get(point, ()), key=_order)


@dataclass(frozen=True, slots=True)
class WatchedPoints:
    """The usage points of the rules in force, for quick looks."""

    all: frozenset[str]
    energy: frozenset[str]  # with the grid meter
    grid: str
    ever: frozenset[str]  # of all rules: what comes late for somebody who has left changes the days until then

    @classmethod
    def of(cls, rules: Rules, known: Iterable[Rules] = ()) -> WatchedPoints:
        """Returns the points of the rules in force; `known` are all that were ever published."""
        grid, points = (rules.grid_point,) if rules.grid_point else (), rules.points()
        ever = frozenset(points).union(*(one.points() for one in known))
        return cls(frozenset(points), frozenset((*rules.energy_points(), *grid)), rules.grid_point, ever)


def _order(kept: Kept) -> tuple[int, int, int]:
    record = kept.record
    return record.start, record.meter_epoch, record.page
