"""The seam to whatever keeps telemetry: SQLite chunks here, the InfluxDB mirror later. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from devices.clock import Instant
from devices.model import PointId, Quality, Readings


@dataclass(frozen=True, slots=True)
class PointRange:
    """One point's samples in time order, as columns; a value is None exactly where the quality is BAD."""

    times: tuple[Instant, ...]
    values: tuple[float | None, ...]
    qualities: tuple[Quality, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Means per step on one axis; None where no good value fell into the step."""

    times: tuple[Instant, ...]  # start of each step
    columns: Mapping[PointId, tuple[float | None, ...]]


class TelemetrySink(Protocol):
    """Where readings go. Nothing here raises for what the disk does: it is counted instead."""

    counters: Mapping[str, int]

    def add(self, readings: Readings) -> None:
        """Takes one poll of one device."""
        ...

    def flush(self, now: Instant) -> None:
        """Makes everything added so far durable; due every 10 s."""
        ...

    def close(self, now: Instant) -> None:
        """Flushes and lets go of the files."""
        ...


class TelemetrySource(Protocol):
    """Where readings come back from. Damage shows as a gap and a counter, never as an exception."""

    counters: Mapping[str, int]

    def range(self, point: PointId, start: Instant, end: Instant) -> PointRange:
        """Returns the samples of [start, end)."""
        ...

    def series(self, points: Sequence[PointId], start: Instant, end: Instant, step_ms: int) -> Series:
        """Returns means per step of [start, end)."""
        ...


class TelemetryStore(TelemetrySink, TelemetrySource, Protocol):
    """Both directions; the InfluxDB mirror is a second sink beside this one."""
