"""What has arrived, filed by day: which pages, which days are open, and which settled days must be settled again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from controller.ledger.canonical import Json, encode
from controller.settlement.days import OpenDay, Pages, WatchedPoints
from controller.settlement.intervals import Kept
from controller.settlement.tariff import Calendar, LocalDay
from devices.clock import SLOT_MS, Instant

DaysOfPoint = dict[str, set[Instant]]


@dataclass(frozen=True, slots=True)
class ProvisionalSlot:
    """The totals of one slot as they were known when it ended [Wh]; shown, never posted."""

    slot: Instant
    taken: int
    given: int
    grid_import: int
    grid_export: int
    missing: tuple[str, ...]

    def digest(self) -> bytes:
        """Returns the SHA-256 of the row's canonical bytes."""
        row: list[Json] = [self.slot, self.taken, self.given, self.grid_import, self.grid_export, list(self.missing)]
        return sha256(encode(row)).digest()


@dataclass(slots=True)
class Arrivals:
    """Owned by the books; rebuilt from the file on open."""

    pages: dict[tuple[str, int], Pages] = field(default_factory=dict[tuple[str, int], Pages])
    since: dict[str, Instant] = field(default_factory=dict[str, Instant])  # first slot of each usage point
    open: dict[Instant, OpenDay] = field(default_factory=dict[Instant, OpenDay])
    slots: set[Instant] = field(default_factory=set[Instant])  # provisional totals to write
    first: Instant | None = None  # start of the first day with a record
    closed_until: Instant | None = None  # every day before it has its final run
    late: set[Instant] = field(default_factory=set[Instant])  # starts of settled days to settle again
    unsaved: set[Instant] = field(default_factory=set[Instant])  # of those: not yet noted in the file
    gaps: DaysOfPoint = field(default_factory=dict[str, set[Instant]])  # days held for missing slots
    bridged: DaysOfPoint = field(default_factory=dict[str, set[Instant]])  # days with estimated slots

    def arrive(self, kept: Kept, day: LocalDay, watched: WatchedPoints, calendar: Calendar, *, filling: bool) -> bool:
        """Files a new record under its day; returns whether that day was settled already.

        `filling` says that later pages of the same meter were here before it.
        """
        point, start = kept.record.usage_point, kept.record.start
        since = self.since.get(point)
        if since is None or start < since:
            self.since[point] = start
        if self.first is None or day.start < self.first:
            self._first_day(day, calendar)
        counts = point in watched.ever
        if counts and (filling or point in self.gaps):
            self._close_gap(point, start, filling=filling)
        if self.closed_until is not None and day.start < self.closed_until:
            if counts:
                self._mark_late(point, day, calendar)
            return counts
        book = self.open.get(day.start)
        if book is None:
            book = self.open[day.start] = OpenDay(day)
        if book.add(kept, watched):
            self.slots.add(start)
        return False

    def close(self, day: LocalDay) -> None:
        """Takes note that the oldest open day has its final run."""
        self.open.pop(day.start, None)
        self.closed_until = day.end

    def next_open(self) -> Instant | None:
        """Returns the start of the oldest day without a final run; None before the first record."""
        return self.first if self.closed_until is None else self.closed_until

    def again(self, days: Iterable[Instant]) -> None:
        """Marks settled days for another run: something else than a record has become known about them."""
        self._add_late(day for day in days if self.closed_until is not None and day < self.closed_until)

    def remember(self, day: Instant, missing: Iterable[str], waiting: Iterable[str], estimated: Iterable[str]) -> None:
        """Takes note of what the standing run of a day lacks.

        `missing` are the points held back for missing slots; `waiting` those of them without any later
        register, which the next record may bring; `estimated` the points with slots filled between registers.
        """
        for days in (*self.gaps.values(), *self.bridged.values()):
            days.discard(day)
        hopeful = set(waiting)
        for point in missing:
            (self.gaps if point in hopeful else self.bridged).setdefault(point, set()).add(day)
        for point in estimated:
            self.bridged.setdefault(point, set()).add(day)

    def totals_due(self, now: Instant, watched: WatchedPoints, calendar: Calendar) -> list[ProvisionalSlot]:
        """Returns and forgets the slots whose totals can be shown: complete ones, and others a slot later."""
        if not self.slots:
            return []
        known = {point for point in watched.energy if point in self.since}
        due: list[ProvisionalSlot] = []
        for slot in sorted(self.slots):
            book = self.open.get(calendar.day_of(slot).start)
            if book is None:  # settled meanwhile
                self.slots.discard(slot)
                continue
            sums, end = book.sums[slot], slot + SLOT_MS
            if now < end or (len(sums.points) < len(known) and now < end + SLOT_MS):
                continue
            missing = tuple(sorted(known - sums.points)) if len(sums.points) < len(known) else ()
            due.append(ProvisionalSlot(slot, sums.taken, sums.given, sums.grid_import, sums.grid_export, missing))
            self.slots.discard(slot)
        return due

    def _first_day(self, day: LocalDay, calendar: Calendar) -> None:
        """Moves the first day back; days before those settled already are settled as late ones."""
        if self.closed_until is not None and self.first is not None:
            start = day.start
            while start < self.first:
                self._add_late([start])
                start = calendar.day_of(start).end
        self.first = day.start

    def _mark_late(self, point: str, day: LocalDay, calendar: Calendar) -> None:
        """Marks a settled day for correction, with those that may lean on its registers."""
        days = {day.start, *self.gaps.get(point, ()), *self.bridged.get(point, ())}
        if self.first is not None and day.start > self.first:
            days.add(calendar.day_of(Instant(day.start - 1)).start)
        if self.closed_until is not None and day.end < self.closed_until:
            days.add(day.end)
        self._add_late(days)

    def _close_gap(self, point: str, start: Instant, *, filling: bool) -> None:
        """Marks settled days with a gap at this point: a new register may bracket it, or bracket it better."""
        gaps, bridged = self.gaps.get(point, set()), self.bridged.get(point, set())
        if filling:
            self._add_late(gaps | bridged)
        elif waiting := {day for day in gaps if day < start}:
            self._add_late(waiting)
            self.gaps[point] = gaps - waiting

    def _add_late(self, days: Iterable[Instant]) -> None:
        fresh = set(days) - self.late
        self.late |= fresh
        self.unsaved |= fresh
