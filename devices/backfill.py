"""Live values of the time without a host: kept thinned and bounded, told afterwards as history (`is_historical`).

One reading per device in `EVERY_MS`, for `KEEP_MS`; the oldest go first. Numbers lie in arrays: a day of a hundred
meters with five points is about seven megabytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection
from dataclasses import dataclass, field

from devices.clock import DAY_MS, MINUTE_MS, Instant
from devices.model import DeviceId, Quality, Readings

EVERY_MS = MINUTE_MS
KEEP_MS = DAY_MS
PER_SECOND = 300
"""Readings told per second once the host is back: a day of a hundred meters in eight minutes, beside live data."""
PER_TICK_MAX = 5_000
_MISSING = float("nan")


@dataclass(slots=True)
class _Ring:
    points: tuple[str, ...]
    times: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    start: int = 0  # rows before it are told already

    def __len__(self) -> int:
        return len(self.times) - self.start

    def drop(self, rows: int) -> None:
        self.start += rows
        if self.start * 2 > len(self.times):
            del self.times[: self.start]
            del self.values[: self.start * len(self.points)]
            self.start = 0


@dataclass(slots=True)
class BackFill:
    """What could not be told live."""

    rows_max: int = KEEP_MS // EVERY_MS
    dropped: int = 0
    _rings: dict[DeviceId, _Ring] = field(default_factory=dict[DeviceId, _Ring])

    def __len__(self) -> int:
        return sum(len(ring) for ring in self._rings.values())

    def keep(self, readings: Readings) -> None:
        """Takes a reading that nobody hears, if its device's last one is old enough or from a clock ahead."""
        ring = self._rings.get(readings.device)
        if ring is None or ring.points != readings.points:
            self.dropped += 0 if ring is None else len(ring)
            ring = self._rings[readings.device] = _Ring(readings.points)
        if len(ring) and 0 <= readings.at - ring.times[-1] < EVERY_MS:
            return
        ring.times.append(readings.at)
        ring.values.extend(_MISSING if value is None else float(value) for value in readings.values)
        if len(ring) > self.rows_max:
            ring.drop(1)
            self.dropped += 1

    def take(self, count: int, born: Collection[DeviceId]) -> list[Readings]:
        """Returns up to `count` readings of devices that the host knows, oldest first for each, and forgets them."""
        taken: list[Readings] = []
        for device in [device for device in self._rings if device in born]:
            ring = self._rings[device]
            rows = min(len(ring), count - len(taken))
            width = len(ring.points)
            for row in range(ring.start, ring.start + rows):
                numbers = ring.values[row * width : (row + 1) * width]
                values = tuple(_told(point, number) for point, number in zip(ring.points, numbers, strict=True))
                qualities = tuple(Quality.BAD if value is None else Quality.GOOD for value in values)
                at = Instant(ring.times[row])
                taken.append(Readings(device, at, ring.points, values, qualities, historical=True))
            ring.drop(rows)
            if not len(ring):
                del self._rings[device]
            if len(taken) >= count:
                break
        return taken


def _told(point: str, number: float) -> float | None:
    if number != number:  # noqa: PLR0124 - NaN stands for a missing value
        return None
    return int(number) if point.endswith(("_wh", "_ml")) else number
