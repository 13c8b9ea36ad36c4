"""Forecasts of load, PV and water demand with the errors that they would have made, by ridge regression.

For each slot ahead one small regression over past days, all taken at this time of day: features are what was known
at that moment, so nothing looks ahead. Its leave-one-out errors, day by day, are the futures: a day's errors
of load and PV stay together and in order, since cloudy mornings come with cloudy afternoons. Weather is never needed;
where somebody brings some, radiation and temperature are two more features, and the days say what they are worth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optimizer.arrays import BoolArray, FloatArray, IntArray
from optimizer.forecast import Band
from optimizer.problem import Scenario

SAMPLES_MAX = 60
"""Days that are learnt from."""

SAMPLES_MIN = 5
"""Fewer days than this teach nothing: every day is then as the day before."""

FUTURES_MAX = 60
BAND_FUTURES_MIN = 5
LAGS = 7
"""Days that a mean of like slots goes back; the last of them is the same weekday, which is all the calendar needed."""

SKY_DAYS = 14
HALF_LIFE_DAYS = 30.0
LOAD_SHRINK = 0.3
SUN_SHRINK = 3.0
_LOAD_PER_C = 0.02
"""Of the mean load per degree: brings temperatures to the size of the other features, so that one shrinkage fits."""

_LEVERAGE_MAX = 0.8
_TINY = 1e-6
_SUN_MARGIN = 1.15
"""PV may pass the highest seen in its slot by this factor."""


@dataclass(frozen=True, slots=True, eq=False)
class Weather:
    """As forecast or told: per slot of the past and, after it, of the slots ahead; NaN where nobody has told."""

    sun_w_m2: FloatArray  # global horizontal irradiance
    air_c: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What was metered until the first slot to forecast, the newest slot last; NaN marks one without a value."""

    slots_per_day: int
    load_kw: FloatArray
    pv_kw: FloatArray
    water_kl: FloatArray | None = None  # per slot
    weather: Weather | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """`value[k]` of the k-th slot ahead; `error[d, k]`: actual less forecast d + 1 days ago, not learnt from it."""

    value: FloatArray
    error: FloatArray


@dataclass(frozen=True, slots=True)
class _Days:
    """Values as seen from today (row 0) and from each earlier day (row d) at the same time of day."""

    values: FloatArray
    per_day: int
    ahead: int
    issue: IntArray

    def lagged(self, back: int, shift: int = 0) -> FloatArray:
        """Returns [day, lag, slot ahead] the same slot 1..back days before, NaN where it was not known yet."""
        lags = self.per_day * np.arange(1, back + 1)
        at = self.issue[:, None, None] - lags[None, :, None] + shift + np.arange(self.ahead)
        known = (at >= 0) & (at < self.issue[:, None, None])
        return np.where(known, self.values[np.clip(at, 0, len(self.values) - 1)], np.nan)

    def before(self, slots: int, lag_days: int = 0) -> FloatArray:
        """Returns [day, slot] the last `slots` values before the moment of issue, or those of `lag_days` earlier."""
        at = self.issue[:, None] - lag_days * self.per_day - slots + np.arange(slots)
        return np.where(at >= 0, self.values[np.maximum(at, 0)], np.nan)

    def actual(self) -> FloatArray:
        """Returns [day 1.., slot ahead] what came."""
        return self.values[self.issue[1:, None] + np.arange(self.ahead)]

    def earlier(self, lag_days: int) -> _Days:
        """Returns the same as seen from so many days earlier."""
        return replace(self, issue=self.issue - lag_days * self.per_day)

    def told(self, series: FloatArray) -> FloatArray:
        """Returns [day, slot ahead] of a series that also tells of the slots ahead; NaN beyond its end."""
        at = self.issue[:, None] + np.arange(self.ahead)
        known = (at >= 0) & (at < len(series))
        return np.where(known, series[np.clip(at, 0, len(series) - 1)], np.nan)


def outlook(past: Past, horizon: int) -> tuple[Scenario, tuple[Scenario, ...]]:
    """Returns (the forecast, equally likely futures around it) for the slots that follow a past [kW, kL].

    Beyond one day the first day repeats. While there is too little past to learn from, the forecast is yesterday and
    the futures are how days have differed from the day before; before two days are known there are none.
    """
    per_day = past.slots_per_day
    ahead = min(horizon, per_day)
    samples = samples_in(past)
    told = past.weather
    use = _foretold(past.load_kw, per_day, ahead, samples, None if told is None else told.air_c, _load)
    sky = _foretold(past.pv_kw, per_day, ahead, samples, None if told is None else told.sun_w_m2, _sun)
    drink = None if past.water_kl is None else _foretold(past.water_kl, per_day, ahead, samples, None, _load)
    futures = [
        _scenario(use.value + one, sky.value + other, horizon, None if drink is None else drink.value + drink.error[at])
        for at, (one, other) in enumerate(zip(use.error[:FUTURES_MAX], sky.error[:FUTURES_MAX], strict=True))
    ]
    return _scenario(use.value, sky.value, horizon, None if drink is None else drink.value), tuple(futures)


def samples_in(past: Past) -> int:
    """Returns how many days of a past can be learnt from; below `SAMPLES_MIN` nothing is."""
    return min(SAMPLES_MAX, len(past.load_kw) // past.slots_per_day - LAGS - 1)


_Method = Callable[[_Days, FloatArray | None], Forecast]


def _foretold(
    series: FloatArray, per_day: int, ahead: int, samples: int, told: FloatArray | None, method: _Method
) -> Forecast:
    values = _filled(series, per_day)
    if samples < SAMPLES_MIN:
        return _as_yesterday(values, per_day, ahead)
    return method(_Days(values, per_day, ahead, len(values) - per_day * np.arange(samples + 1)), told)


def bands(futures: Sequence[Scenario]) -> tuple[Band, ...]:
    """Returns what lies in the middle four fifths of some futures, per series; none where they are too few to tell."""
    found: list[Band] = []
    for name, rows in (
        ("load", [one.load_kw for one in futures]),
        ("pv", [one.pv_kw for one in futures]),
        ("water", [one.water_kl for one in futures if one.water_kl]),
    ):
        if len(rows) >= BAND_FUTURES_MIN:
            ranked: FloatArray = np.sort(np.array(rows, dtype=np.float64), axis=0)
            low, high = ranked[len(rows) // 10], ranked[-1 - len(rows) // 10]
            found.append(Band(name, tuple(low.round(4).tolist()), tuple(high.round(4).tolist())))
    return tuple(found)


def _filled(series: FloatArray, per_day: int) -> FloatArray:
    """Returns the values; an unknown one becomes the mean of its slot on other days, else of everything."""
    values = np.array(series, dtype=np.float64)
    missing: BoolArray = np.isnan(values)
    if not missing.any():
        return values
    overall = float(values[~missing].mean()) if not missing.all() else 0.0
    for slot in range(per_day):
        column, gap = values[slot::per_day], missing[slot::per_day]
        column[gap] = column[~gap].mean() if not gap.all() else overall
    return values


def _as_yesterday(values: FloatArray, per_day: int, ahead: int) -> Forecast:
    days = len(values) // per_day
    if not days:
        return Forecast(np.full(ahead, values.mean() if len(values) else 0.0), np.zeros((0, ahead)))
    newest_first = values[len(values) - days * per_day :].reshape(days, per_day)[::-1, :ahead]
    return Forecast(newest_first[0], newest_first[:-1] - newest_first[1:])


def _scenario(load: FloatArray, pv: FloatArray, horizon: int, water: FloatArray | None = None) -> Scenario:
    at = np.arange(horizon) % len(load)
    drink = () if water is None else tuple(np.maximum(water, 0.0)[at].tolist())
    return Scenario(tuple(np.maximum(load, 0.0)[at].tolist()), tuple(np.maximum(pv, 0.0)[at].tolist()), drink)


def _load(days: _Days, air_c: FloatArray | None = None) -> Forecast:
    """Returns load as the mean of like slots, corrected by yesterday, last week, the last three hours and day.

    With temperatures also by how much warmer it is than on the days of that mean.
    """
    like = days.lagged(LAGS)
    usual = like.mean(axis=1)
    hours = max(1, days.per_day // 8)
    lately = np.stack([days.before(hours, lag) for lag in range(1, LAGS)], axis=1)
    error = (days.before(hours) - np.nanmean(lately, axis=1)).mean(axis=1)[:, None]
    level = days.before(days.per_day).mean(axis=1) - days.before(LAGS * days.per_day).mean(axis=1)
    flat = np.ones_like(usual)
    features = np.stack(
        [
            flat * usual.mean(axis=1)[:, None],
            like[:, 0] - usual,
            like[:, LAGS - 1] - usual,
            like[:, 1] - usual,
            error * _fading(days, 0.85),
            error * flat,
            level[:, None] * flat,
            *_warmth(days, air_c),
        ],
        axis=2,
    )
    actual = days.actual()
    return _regressed(features, actual, usual, LOAD_SHRINK * (float(actual.var()) + _TINY))


def _warmth(days: _Days, air_c: FloatArray | None) -> list[FloatArray]:
    """Returns by how much each slot is warmer than the same on the days before, in load; 0 where nobody has told."""
    if air_c is None:
        return []
    before = np.stack([days.earlier(lag).told(air_c) for lag in range(1, LAGS + 1)], axis=0)
    known = ~np.isnan(before)
    usual = np.where(known, before, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    warmer = np.where(known.any(axis=0), days.told(air_c) - usual, np.nan)
    return [np.nan_to_num(warmer) * float(days.values.mean()) * _LOAD_PER_C]


def _sun(days: _Days, sun_w_m2: FloatArray | None = None) -> Forecast:
    """Returns PV as the clear sky of each slot times how clear it has been: 1, 3 and 7 days, and the last hours.

    With radiation also as what it gave lately per W/m2.
    """
    clear = _clear_sky(days)
    whole_day = days.ahead == days.per_day
    sky = clear.sum(axis=1) if whole_day else _clear_sky(_whole_days(days)).sum(axis=1)
    sky += _TINY
    share = {lag: days.before(lag * days.per_day).sum(axis=1) / lag / sky for lag in (1, 3, 7)}
    top = clear.max(axis=1) + _TINY
    late = [_late(days, hours, share[3]) / top for hours in (2, 6)]
    usual = clear * share[3][:, None]
    features = np.stack(
        [
            clear,
            clear * share[1][:, None],
            usual,
            clear * share[7][:, None],
            days.lagged(1)[:, 0],
            clear * late[0][:, None] * _fading(days, 0.8),
            clear * late[0][:, None],
            clear * late[1][:, None],
            *_radiant(days, sun_w_m2, usual),
        ],
        axis=2,
    )
    actual = days.actual()
    found = _regressed(features, actual, usual, SUN_SHRINK * float(actual.mean()) ** 2 + _TINY)
    most = clear * _SUN_MARGIN
    return Forecast(np.clip(found.value, 0.0, most[0]), found.error)


def _radiant(days: _Days, sun_w_m2: FloatArray | None, usual: FloatArray) -> list[FloatArray]:
    """Returns by how much radiation promises more than usual, by what it has given; 0 where nobody has told."""
    if sun_w_m2 is None:
        return []
    slots = LAGS * days.per_day
    radiation = replace(days, values=sun_w_m2).before(slots)
    made = np.where(np.isnan(radiation), 0.0, days.before(slots)).sum(axis=1)
    came = np.nan_to_num(radiation).sum(axis=1)
    per_w_m2 = np.where(came > 0.0, made / np.maximum(came, _TINY), np.nan)
    return [np.nan_to_num(per_w_m2[:, None] * days.told(sun_w_m2) - usual)]


def _whole_days(days: _Days) -> _Days:
    return replace(days, ahead=days.per_day)


def _clear_sky(days: _Days) -> FloatArray:
    """Returns [day, slot ahead] the highest value that the slot and its neighbours have had lately."""
    best = [_highest(days.lagged(SKY_DAYS, shift)) for shift in (-1, 0, 1)]
    return 0.6 * best[1] + 0.2 * (best[0] + best[2])


def _highest(seen: FloatArray) -> FloatArray:
    return np.where(np.isnan(seen), 0.0, seen).max(axis=1)


def _late(days: _Days, hours: int, share: FloatArray) -> FloatArray:
    """Returns by how much the last hours differed from the clear sky times its usual share [sum of kW]."""
    slots = max(1, hours * days.per_day // 24)
    before = np.stack([days.before(slots, lag) for lag in range(1, SKY_DAYS + 1)], axis=1)
    seen, sky = days.before(slots).sum(axis=1), _highest(before).sum(axis=1)
    return (seen - share * sky) * (24.0 / days.per_day)


def _fading(days: _Days, per_hour: float) -> FloatArray:
    return per_hour ** ((1.0 + np.arange(days.ahead)) * 24.0 / days.per_day)


def _regressed(features: FloatArray, actual: FloatArray, base: FloatArray, shrink: float) -> Forecast:
    """Returns base + features @ beta, one beta per slot ahead, from [day, slot, feature] with today as day 0.

    Neighbouring slots share their sums; newer days weigh more. The error of a value is that of a fit without it:
    e / (1 - leverage), exact for a ridge (Golub, Heath, Wahba 1979).
    """
    weight = np.sqrt(0.5 ** (np.arange(1, len(features)) / HALF_LIFE_DAYS))[:, None]
    x, y = features[1:] * weight[:, :, None], (actual - base[1:]) * weight
    squares = _with_neighbours(np.einsum("dkf,dkg->kfg", x, x))
    inverse = np.linalg.inv(squares + shrink * np.eye(x.shape[2]))
    beta = np.einsum("kfg,kg->kf", inverse, _with_neighbours(np.einsum("dkf,dk->kf", x, y)))
    leverage = np.minimum(np.einsum("dkf,kfg,dkg->dk", x, inverse, x), _LEVERAGE_MAX)
    error = (y - np.einsum("dkf,kf->dk", x, beta)) / (1.0 - leverage) / weight
    return Forecast(base[0] + (features[0] * beta).sum(axis=1), error)


def _with_neighbours(sums: FloatArray) -> FloatArray:
    shared = sums.copy()
    shared[1:] += sums[:-1]
    shared[:-1] += sums[1:]
    return shared
