"""What the community used and made per 15-min slot, from accepted interval records: the forecasts' input."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller.site import Site
from devices.clock import DAY_MS, SLOT_MS, Instant
from devices.model import Commodity, DeviceKind, IntervalRecord, RecordQuality

KEEP_DAYS = 15
SLOTS_MAX = KEEP_DAYS * 96 + 16


@dataclass(slots=True)
class SlotSum:
    """Energies of one slot: `load_wh` is what homes used behind their meters, PV added back."""

    load_wh: int = 0
    critical_wh: int = 0
    pv_wh: int = 0
    water_ml: int = 0
    meters: int = 0
    water_meters: int = 0
    plants: int = 0


class History:
    """The last fifteen days of slots; older ones are forgotten."""

    def __init__(self, site: Site) -> None:
        self._meters = {device.id for device in site.of_kind(DeviceKind.METER)}
        self._critical = {str(device) for device in site.critical}
        self._plants = {device.id for device in site.of_kind(DeviceKind.PV)}
        self._behind = {device.id for device in site.of_kind(DeviceKind.PV) if device.behind is not None}
        self._water = {channel for device in site.of_kind(DeviceKind.WATER_METERS) for channel in device.channels}
        self._slots: dict[Instant, SlotSum] = {}
        self._known = self._meters | self._plants | self._water
        self._seen: set[tuple[str, Instant]] = set()

    def add(self, records: Iterable[IntervalRecord], now: Instant) -> None:
        """Takes records of the window's past slots, each once; suspect ones and unknown meters are left out.

        Whatever comes in, no more is kept than the site's meters times the slots of the window.
        """
        self._forget(now)
        oldest = now - KEEP_DAYS * DAY_MS
        for record in records:
            key = (record.usage_point, record.start)
            plausible = oldest <= record.start <= now and not record.start % SLOT_MS
            if not plausible or record.usage_point not in self._known:
                continue
            if record.quality is RecordQuality.SUSPECT or key in self._seen:
                continue
            self._seen.add(key)
            self._add(record)

    def _add(self, record: IntervalRecord) -> None:
        total = self._slots.setdefault(record.start, SlotSum())
        point = record.usage_point
        if record.commodity is Commodity.WATER:
            if point in self._water:
                total.water_ml += record.import_delta
                total.water_meters += 1
        elif point in self._meters:
            net = record.import_delta - record.export_delta
            total.load_wh += net
            total.meters += 1
            if point in self._critical:
                total.critical_wh += max(0, net)
        elif point in self._plants:
            total.pv_wh += record.export_delta
            total.plants += 1
            if point in self._behind:
                total.load_wh += record.export_delta

    def _forget(self, now: Instant) -> None:
        """Drops the slots before the window, once there are a few hours of them."""
        oldest = now - KEEP_DAYS * DAY_MS
        if len(self._slots) > SLOTS_MAX:
            self._slots = {start: total for start, total in self._slots.items() if start >= oldest}
            self._seen = {key for key in self._seen if key[1] >= oldest}

    def series(self, field: str, until: Instant, days: int) -> list[float | None]:
        """Returns `days` x 96 slot values ending at `until` (exclusive), None where meters were missing.

        `field` is load_wh, critical_wh, pv_wh or water_ml.
        """
        return [self.value(field, Instant(until - offset * SLOT_MS)) for offset in range(days * 96, 0, -1)]

    def value(self, field: str, start: Instant) -> float | None:
        """Returns one slot's value, or None when not every meter that counts has reported."""
        total = self._slots.get(start)
        if total is None:
            return None
        complete = {
            "pv_wh": total.plants >= len(self._plants),
            "water_ml": total.water_meters >= len(self._water),
        }.get(field, total.meters >= len(self._meters) and total.plants >= len(self._plants))
        return float(getattr(total, field)) if complete else None
