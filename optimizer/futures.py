"""Futures of some days, drawn from days that have been: whole days stay whole, two in a row. Plain Python, pure.

A future begins with days like today where the caller says which those are. No weather feed is needed. Where somebody
knows better (a storm is declared), the sun of those hours is cut to what is left of it under such a sky. The draw is a
fixed sequence, so equal pasts give equal futures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.past_days import drawn
from optimizer.survival import Future

HOURS_PER_DAY = 24


@dataclass(frozen=True, slots=True)
class Day:
    """24 hours as they were, from midnight on."""

    load_kw: tuple[float, ...]
    critical_kw: tuple[float, ...]
    pv_kw: tuple[float, ...]
    water_kl: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """What futures are wanted: from `first_hour` of a day on, so many hours, so many futures."""

    first_hour: int
    hours: int
    count: int
    lifeline_kl_per_h: float
    sun_share: tuple[float, ...] = ()  # per hour; empty: as it comes
    order: tuple[int, ...] = ()  # of the past days, first those before which it was as it is now; empty: none is alike


def draw(days: Sequence[Day], ask: Ask) -> tuple[Future, ...]:
    """Returns equally likely futures made of past days; none without any day."""
    if not days:
        return ()
    return tuple(_future(days, ask, number) for number in range(ask.count))


def _future(days: Sequence[Day], ask: Ask, number: int) -> Future:
    critical: list[float] = []
    other: list[float] = []
    pv: list[float] = []
    lifeline: list[float] = []
    more: list[float] = []
    for h in range(ask.hours):
        at = ask.first_hour + h
        day = days[_stands(len(days), ask.order, number, at // HOURS_PER_DAY)]
        hour = at % HOURS_PER_DAY
        sun = ask.sun_share[h] if h < len(ask.sun_share) else 1.0
        need = min(day.critical_kw[hour], day.load_kw[hour])
        critical.append(need)
        other.append(max(0.0, day.load_kw[hour] - need))
        pv.append(sun * day.pv_kw[hour])
        drunk = min(day.water_kl[hour], ask.lifeline_kl_per_h)
        lifeline.append(drunk)
        more.append(max(0.0, day.water_kl[hour] - drunk))
    return Future(tuple(critical), tuple(other), tuple(pv), tuple(lifeline), tuple(more))


def _stands(count: int, order: Sequence[int], number: int, day: int) -> int:
    """Returns which past day stands for a day of a future; where none is like today all begin a future in turn."""
    return drawn(order, count, number, day) if order else drawn(range(count), count, number, day, like=count)
