"""Chance without a generator's state, and civil clock times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from zoneinfo import ZoneInfo


def draw(seed: int, text: str, below: int) -> int:
    """Returns a whole number in [0, below) that depends on nothing but its arguments."""
    return int.from_bytes(blake2b(f"{seed}/{text}".encode(), digest_size=8).digest(), "big") % below


def next_local(at: int, clock: str, zone: str) -> int:
    """Returns the first instant after `at` at which local clocks show `clock` (HH:MM)."""
    hour, minute = (int(part) for part in clock.split(":"))
    local = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone))
    for days in range(3):
        day = local.date() + timedelta(days=days)
        moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo(zone))
        if (found := round(moment.timestamp() * 1000)) > at:
            return found
    raise AssertionError("unreachable: every civil day has its clock times")
