"""Civil time: what the local clock shows, days and their minutes as instants."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from devices.clock import Instant


def local_time(zone: str, now: Instant) -> datetime:
    """Returns what a clock on the wall shows at `now`."""
    return datetime.fromtimestamp(now / 1000, UTC).astimezone(ZoneInfo(zone))


@lru_cache(maxsize=1_024)
def local_instant(zone: str, day: date, minute: int) -> Instant:
    """Returns the instant at which the wall clock shows `minute` of `day` (1440 = the next midnight).

    When the clock shows it twice the first counts; when it never shows it, the instant after the jump.
    """
    whole_day = day + timedelta(days=minute // 1440)
    local = datetime(
        whole_day.year, whole_day.month, whole_day.day, minute % 1440 // 60, minute % 60, tzinfo=ZoneInfo(zone)
    )
    return Instant(int(local.timestamp()) * 1000)


def day_start(zone: str, now: Instant) -> Instant:
    """Returns the instant of the last local midnight."""
    return local_instant(zone, local_time(zone, now).date(), 0)


def next_minute(zone: str, now: Instant, minute: int) -> Instant:
    """Returns the next instant later than `now` at which the wall clock shows `minute` of the day."""
    today = local_time(zone, now).date()
    for offset in range(3):
        moment = local_instant(zone, today + timedelta(days=offset), minute)
        if moment > now:
            return moment
    raise AssertionError("a local minute comes within two days")


def every_day(zone: str, after: Instant, before: Instant, minute: int) -> Iterator[Instant]:
    """Yields the instants between two at which the wall clock shows `minute` of the day; neither end is among them."""
    at = next_minute(zone, after, minute)
    while at < before:
        yield at
        at = next_minute(zone, at, minute)


def moment_text(zone: str, now: Instant) -> str:
    """Returns `2026-06-03 09:40`: what may be read years later, and sorted."""
    return f"{local_time(zone, now):%Y-%m-%d %H:%M}"


def clock_text(zone: str, now: Instant) -> str:
    """Returns `Wed 3 Jun 09:40`."""
    local = local_time(zone, now)
    return f"{local:%a} {local.day} {local:%b %H:%M}"
