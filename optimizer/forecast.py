"""Forecasts from 15-minute history without any weather feed. Plain Python: it runs in the hub process.

A history ends with the slot before the first one forecast; None marks a slot without a value to trust. Good
enough on purpose: behind a follow-the-meter loop, better forecasts are worth under 2.5 % of the saving. Nothing
returned is ever negative or NaN; where history says nothing, the typical day that the caller names is used,
and `basis` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, pi, sin

from optimizer.problem import Series

History = Sequence[float | None]

DAYS_BACK = 14
FADE = 0.85
"""How much of the error of the last hour is left one slot later."""


@dataclass(frozen=True, slots=True)
class Band:
    """Between what a forecast's futures lie in four cases of five, per slot; `name` is load, pv (kW) or water (kL)."""

    name: str
    low: Series
    high: Series


@dataclass(frozen=True, slots=True)
class Calendar:
    """Where the first forecast slot lies in the civil week."""

    slots_per_day: int
    first_slot: int  # slot of the civil day, 0 at midnight
    first_weekday: int  # 0 Monday

    def slot(self, offset: int) -> int:
        """Returns the slot of the day, `offset` slots from the first forecast one (negative: in the history)."""
        return (self.first_slot + offset) % self.slots_per_day


def basis(history: History, slots_per_day: int) -> str:
    """Returns what a forecast rests on, for display: `9 days of history`, or that it is a typical day only."""
    known = sum(value is not None for value in history[-DAYS_BACK * slots_per_day :])
    days = known / slots_per_day
    return f"{days:.0f} days of history" if days >= 1 else "a typical day: too little history"


def forecast_series(history: History, calendar: Calendar, horizon: int, typical: Sequence[float]) -> Series:
    """Returns a forecast of a consumption: mean of the same slot on like days, corrected by the last hour's error.

    Args:
        history: one value per slot, the last one just before the first forecast slot.
        calendar: where that slot lies in the week.
        horizon: slots to forecast.
        typical: one day from midnight, used for slots of which no day is known.
    """
    per_day = calendar.slots_per_day
    values = _cleaned(history)
    recent = max(1, per_day // 24)
    error = _recent_error(values, calendar, typical, recent)
    result: list[float] = []
    for offset in range(horizon):
        error *= FADE
        result.append(max(0.0, _like_days(values, calendar, offset, typical) + error))
    return tuple(result)


def _cleaned(history: History) -> list[float | None]:
    return [value if value is not None and isfinite(value) and value >= 0.0 else None for value in history]


def _like_days(values: list[float | None], calendar: Calendar, offset: int, typical: Sequence[float]) -> float:
    """Returns the weighted mean of the same slot on earlier days; like days and recent ones count more."""
    total = weight_sum = 0.0
    per_day = calendar.slots_per_day
    first_lag = max(1, offset // per_day + 1)
    newest = len(values) + offset - first_lag * per_day
    weekday = (calendar.first_weekday + (calendar.first_slot + offset) // per_day) % 7
    same_slot = values[newest::-per_day] if newest >= 0 else []
    for value, weight in zip(same_slot, _weights(weekday, first_lag), strict=False):  # whichever is shorter
        if value is not None:
            total += weight * value
            weight_sum += weight
    return total / weight_sum if weight_sum else typical[calendar.slot(offset)]


@lru_cache(maxsize=64)
def _weights(weekday: int, first_lag: int) -> tuple[float, ...]:
    """Returns what each of the days before counts for a weekday, from `first_lag` days back on."""
    return tuple(
        (1.0 if _kind(weekday) == _kind(weekday - lag) else 0.2) * 0.9 ** (lag - first_lag)
        for lag in range(first_lag, first_lag + DAYS_BACK)
    )


def _kind(weekday: int) -> str:
    """Returns workday, saturday or sunday; 0 is a Monday, and so is 7."""
    return ("saturday", "sunday")[weekday % 7 - 5] if weekday % 7 >= 5 else "workday"


def _recent_error(values: list[float | None], calendar: Calendar, typical: Sequence[float], recent: int) -> float:
    errors: list[float] = []
    for offset in range(-min(recent, len(values)), 0):
        value = values[offset]
        if value is not None:
            errors.append(value - _like_days(values[:offset], _shifted(calendar, offset), 0, typical))
    return sum(errors) / len(errors) if errors else 0.0


def _shifted(calendar: Calendar, offset: int) -> Calendar:
    days, slot = divmod(calendar.first_slot + offset, calendar.slots_per_day)
    return Calendar(calendar.slots_per_day, slot, (calendar.first_weekday + days) % 7)


def forecast_solar(history: History, calendar: Calendar, horizon: int, typical: Sequence[float]) -> Series:
    """Returns a forecast of production: the best of recent days per slot, scaled by how clear it has been.

    The envelope of the last days stands for a clear sky; the share of it that yesterday and the day before
    reached, and the last hour if it was light, stand for the weather to come.
    """
    values = _cleaned(history)
    clear = [_clear_sky(values, calendar, slot_offset, typical) for slot_offset in range(calendar.slots_per_day)]
    usual = _clearness(values, clear, 3 * calendar.slots_per_day, default=0.6)
    now = _clearness(values, clear, max(1, calendar.slots_per_day // 24), default=usual)
    result: list[float] = []
    for offset in range(horizon):
        share = usual + (now - usual) * FADE**offset
        result.append(max(0.0, clear[offset % calendar.slots_per_day] * share))
    return tuple(result)


def _clear_sky(values: list[float | None], calendar: Calendar, offset: int, typical: Sequence[float]) -> float:
    """Returns the mean of the highest values seen in this slot of the day and in its two neighbours."""
    best: list[float] = []
    for near in (-1, 0, 1):
        seen = [
            value
            for lag in range(1, DAYS_BACK + 1)
            if 0 <= (at := len(values) + offset + near - lag * calendar.slots_per_day) < len(values)
            and (value := values[at]) is not None
        ]
        if seen:
            best.append(max(seen))
    return sum(best) / len(best) if best else typical[calendar.slot(offset)]


def _clearness(values: list[float | None], clear: list[float], slots: int, default: float) -> float:
    """Returns the share of the clear sky that the last `slots` reached, 0-1; the default in the dark."""
    known: list[tuple[float, float]] = []
    for back in range(1, min(slots, len(values)) + 1):
        value = values[-back]
        if value is not None:
            known.append((value, clear[-back % len(clear)]))
    sky = sum(envelope for _, envelope in known)
    if sky <= 0.05 * max(clear) * len(known):
        return default
    return min(1.0, sum(value for value, _ in known) / sky)


def typical_load(mean: float, slots_per_day: int) -> Series:
    """Returns a typical household day from midnight with the given mean: low at night, evening peak."""
    shape = [
        0.55 + 0.45 * _bump(hour, 7.5, 2.0) + 0.25 * _bump(hour, 12.5, 2.5) + 1.2 * _bump(hour, 19.0, 3.0)
        for hour in (24.0 * slot / slots_per_day for slot in range(slots_per_day))
    ]
    scale = mean * slots_per_day / sum(shape)
    return tuple(value * scale for value in shape)


def typical_solar(rated: float, slots_per_day: int) -> Series:
    """Returns a typical sunny day from midnight: a half sine from 6 to 18 h, three quarters of the rating at noon."""
    return tuple(
        max(0.0, 0.75 * rated * sin(pi * (24.0 * s / slots_per_day - 6.0) / 12.0)) for s in range(slots_per_day)
    )


def _bump(hour: float, centre: float, width: float) -> float:
    distance = abs(hour - centre) / width
    return max(0.0, 1.0 - distance * distance) if distance < 1.0 else 0.0
