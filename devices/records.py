"""Cumulative registers to interval records: one record per usage point and market period.

Rules: the first good reading at or after a boundary closes the period; a gap over several periods is split
evenly and marked estimated; a rollover goes on counting; a register that runs backwards or leaps, and stays
there, opens a new meter epoch whose first record is suspect. So energy is never negative and never doubled,
and the deltas of one epoch always add up to last register - first register.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from devices.clock import HOUR_MS, MINUTE_MS, SLOT_MS, ClockQuality, Instant, floor_to
from devices.model import Commodity, IntervalRecord, RecordQuality, UsagePointId

CONFIRMATIONS = 3
"""Readings in a row that must agree before a register that left its path is believed."""
GAP_SLOTS_MAX = 30 * 96
"""A longer gap (a clock that was wrong by months) becomes one suspect record."""
RATE_MAX = {Commodity.ENERGY: 500_000, Commodity.WATER: 100_000_000}
"""What may flow in an hour [Wh, mL] where the site file gives no rating."""
_MARGIN_MS = MINUTE_MS
_NEVER = Instant(0)
_QUICK = HOUR_MS // _MARGIN_MS
"""What may flow within the margin is beyond doubt whenever the last reading was."""


def flow_at_most(rate_max: int, elapsed_ms: int) -> int:
    """Returns what can have flown in a time at so much an hour, a minute being uncertain [Wh or mL]."""
    return rate_max * (max(0, elapsed_ms) + _MARGIN_MS) // HOUR_MS


@dataclass(frozen=True, slots=True)
class MeterMark:
    """Where a usage point's records stand; kept with the outbox so that a restart goes on with the next page.

    Registers are extended ones (raw + offset) at `end`, the last closed boundary.
    """

    usage_point: UsagePointId
    commodity: Commodity
    epoch: int
    page: int
    end: Instant
    import_end: int
    export_end: int
    import_offset: int = 0
    export_offset: int = 0
    suspect: bool = False  # the epoch's first record is still to come and must be looked at


@dataclass(slots=True)
class Meter:
    """One usage point's registers, followed reading by reading."""

    usage_point: UsagePointId
    commodity: Commodity
    late_ms: int  # a boundary reading later than this makes its record estimated
    rate_max: int = 0  # Wh or mL per hour
    slot_ms: int = SLOT_MS
    mark: MeterMark | None = None
    imported: int = 0  # extended registers of the last believed reading
    exported: int = 0
    at: Instant = _NEVER  # and its time
    stray: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    epochs_opened: int = 0

    def __post_init__(self) -> None:
        if not self.rate_max:
            self.rate_max = RATE_MAX[self.commodity]
        if self.mark is not None:
            self.imported, self.exported, self.at = self.mark.import_end, self.mark.export_end, self.mark.end

    def follow_quickly(self, imported: int, exported: int, at: Instant) -> bool:
        """Takes a reading that closes nothing and is beyond doubt; returns False where `take` has to look."""
        mark = self.mark
        if mark is None or self.stray or at >= mark.end + self.slot_ms:
            return False
        imported += mark.import_offset
        exported += mark.export_offset
        step = self.rate_max // _QUICK
        if not (0 <= imported - self.imported <= step and 0 <= exported - self.exported <= step):
            return False
        self.imported, self.exported, self.at = imported, exported, at
        return True

    def take(
        self, imported: int, exported: int, at: Instant, modulus: tuple[int, int], clock: ClockQuality
    ) -> list[IntervalRecord]:
        """Returns the records that this reading of the raw registers [Wh or mL] closes.

        `modulus` is where each raw register starts again at 0, 0 = never. `mark` moves with every record.
        """
        mark = self.mark
        if mark is None:
            self._begin(1, imported, exported, 0, floor_to(at, self.slot_ms), suspect=False)
            self.at = at
            return []
        import_now, export_now = imported + mark.import_offset, exported + mark.export_offset
        limit = self._limit(at)
        if 0 <= import_now - self.imported <= limit and 0 <= export_now - self.exported <= limit:
            if self.stray:
                self.stray.clear()
            return self._follow(import_now, export_now, at, clock)
        turned = self._turned(mark, (import_now, export_now), modulus, limit)
        if turned is not None:
            self.mark = turned
            return self._follow(imported + turned.import_offset, exported + turned.export_offset, at, clock)
        return self._astray(imported, exported, at, limit, clock)

    def _limit(self, at: Instant) -> int:
        return flow_at_most(self.rate_max, at - self.at)

    def _turned(self, mark: MeterMark, now: tuple[int, int], modulus: tuple[int, int], limit: int) -> MeterMark | None:
        """Returns the mark with raised offsets where one or both registers went through their end."""
        offsets = [mark.import_offset, mark.export_offset]
        for i, last in enumerate((self.imported, self.exported)):
            if now[i] < last and modulus[i]:
                offsets[i] += modulus[i]
                if not 0 <= now[i] + modulus[i] - last <= limit:
                    return None
            elif not 0 <= now[i] - last <= limit:
                return None
        return MeterMark(
            mark.usage_point,
            mark.commodity,
            mark.epoch,
            mark.page,
            mark.end,
            mark.import_end,
            mark.export_end,
            offsets[0],
            offsets[1],
            mark.suspect,
        )

    def _astray(
        self, imported: int, exported: int, at: Instant, limit: int, clock: ClockQuality
    ) -> list[IntervalRecord]:
        """Counts readings off the path; enough that agree with each other open a new epoch."""
        if self.stray:
            last_import, last_export = self.stray[-1]
            if not (0 <= imported - last_import <= limit and 0 <= exported - last_export <= limit):
                self.stray.clear()
        self.stray.append((imported, exported))
        if len(self.stray) < CONFIRMATIONS or self.mark is None:
            return []
        mark, records = self.mark, list[IntervalRecord]()
        if (self.imported, self.exported) != (mark.import_end, mark.export_end):
            end = Instant(mark.end + self.slot_ms)
            quality = RecordQuality.SUSPECT if mark.suspect else RecordQuality.MEASURED
            records.append(self._record(end, self.imported, self.exported, quality, clock))
        first_import, first_export = self.stray[0]
        self.stray.clear()
        self.epochs_opened += 1
        self._begin(mark.epoch + 1, first_import, first_export, 0, mark.end, suspect=True)
        return records + self._follow(imported, exported, at, clock)

    def _begin(self, epoch: int, imported: int, exported: int, page: int, end: Instant, *, suspect: bool) -> None:
        self.mark = MeterMark(self.usage_point, self.commodity, epoch, page, end, imported, exported, suspect=suspect)
        self.imported, self.exported = imported, exported

    def _follow(self, imported: int, exported: int, at: Instant, clock: ClockQuality) -> list[IntervalRecord]:
        """Takes a believed reading and closes every period whose end it has reached."""
        self.imported, self.exported, self.at = imported, exported, at
        mark = self.mark
        if mark is None or at < mark.end + self.slot_ms:
            return []
        boundary = floor_to(at, self.slot_ms)
        slots = (boundary - mark.end) // self.slot_ms
        if slots > GAP_SLOTS_MAX:
            self.mark = _moved(mark, Instant(boundary - self.slot_ms))
            return [self._record(boundary, imported, exported, RecordQuality.SUSPECT, clock)]
        quality = RecordQuality.MEASURED
        if mark.suspect:
            quality = RecordQuality.SUSPECT
        elif slots > 1 or at - boundary > self.late_ms:
            quality = RecordQuality.ESTIMATED
        import_0, export_0, end_0 = mark.import_end, mark.export_end, mark.end
        records: list[IntervalRecord] = []
        for i in range(1, slots + 1):
            import_i = import_0 + (imported - import_0) * i // slots
            export_i = export_0 + (exported - export_0) * i // slots
            records.append(self._record(Instant(end_0 + i * self.slot_ms), import_i, export_i, quality, clock))
        return records

    def _record(
        self, end: Instant, imported: int, exported: int, quality: RecordQuality, clock: ClockQuality
    ) -> IntervalRecord:
        """Returns the next page, from the mark to here, and moves the mark."""
        mark = self.mark
        assert mark is not None, "a record needs a mark to start from"
        record = IntervalRecord(
            self.usage_point,
            self.commodity,
            mark.epoch,
            mark.page + 1,
            mark.end,
            end,
            mark.import_end,
            imported,
            mark.export_end,
            exported,
            quality,
            clock,
        )
        self.mark = MeterMark(
            self.usage_point,
            self.commodity,
            mark.epoch,
            mark.page + 1,
            end,
            imported,
            exported,
            mark.import_offset,
            mark.export_offset,
        )
        return record


def _moved(mark: MeterMark, end: Instant) -> MeterMark:
    return MeterMark(
        mark.usage_point,
        mark.commodity,
        mark.epoch,
        mark.page,
        end,
        mark.import_end,
        mark.export_end,
        mark.import_offset,
        mark.export_offset,
        suspect=True,
    )
