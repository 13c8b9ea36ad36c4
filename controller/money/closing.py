"""Which instant a period's name means: `2026`, `2026-06` or `2026-06-30`, in the community's civil time."""

from __future__ import annotations

import re
from datetime import date

from controller.civil import local_instant
from devices.clock import Instant


class ClosingRefused(ValueError):
    """Not the name of a year, month or day."""


def period_end(name: str, zone: str) -> Instant:
    """Returns the first instant after a period."""
    return _bounds(name, zone)[1]


def period_bounds(name: str, zone: str) -> tuple[Instant, Instant]:
    """Returns [start, end) of a period.

    Raises:
        ClosingRefused: it is not one.
    """
    return _bounds(name, zone)


def _bounds(name: str, zone: str) -> tuple[Instant, Instant]:
    found = re.fullmatch(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", name)
    if found is None:
        raise ClosingRefused(f"{name!r} is no period: write 2026, 2026-06 or 2026-06-30")
    year, month, day = (None if part is None else int(part) for part in found.groups())
    try:
        first = date(year or 0, month or 1, day or 1)
        if month is None:
            after = date(first.year + 1, 1, 1)
        elif day is None:
            after = date(first.year + month // 12, month % 12 + 1, 1)
        else:
            return local_instant(zone, first, 0), local_instant(zone, first, 1440)
    except ValueError as error:
        raise ClosingRefused(f"{name!r} is no period: {error}") from error
    return local_instant(zone, first, 0), local_instant(zone, after, 0)
