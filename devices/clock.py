"""Instants and durations: whole milliseconds UTC. Nothing here reads a clock; time is handed in."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import NewType

Instant = NewType("Instant", int)
"""Milliseconds since 1970-01-01T00:00Z (the Sparkplug timestamp). Never a float, never local."""

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
SLOT_MS = 15 * MINUTE_MS
"""The market period: one interval record, one settlement slot, one planner step."""


class ClockQuality(StrEnum):
    """How far a time stamp may be trusted (OCMF clock states S, R and U)."""

    SYNCHRONISED = "synchronised"
    HOLDOVER = "holdover"
    UNKNOWN = "unknown"


def floor_to(instant: Instant, period_ms: int) -> Instant:
    """Returns the start of the period that holds `instant`, periods counted from 1970 UTC."""
    return Instant(instant - instant % period_ms)


def next_boundary(instant: Instant, period_ms: int) -> Instant:
    """Returns the first period start that is later than `instant`."""
    return Instant(instant - instant % period_ms + period_ms)


def iso(instant: Instant) -> str:
    """Returns `2026-06-03T09:40:00Z`; milliseconds are shown only when they are not zero."""
    moment = datetime.fromtimestamp(instant / 1000, UTC)
    timespec = "milliseconds" if instant % 1000 else "seconds"
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def parse_iso(text: str) -> Instant:
    """Returns the instant that an ISO 8601 text names.

    Raises:
        ValueError: not ISO 8601, or without a UTC offset (a civil time is not an instant).
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no UTC offset: write 2026-06-03T09:40:00Z")
    return Instant(round(moment.timestamp() * 1000))
