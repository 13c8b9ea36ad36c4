"""Forecasts of load and PV with the errors that they would have made, by ridge regression; no weather feed needed.

For each slot ahead one small regression over past days, all taken at this time of day: features are what was known
at that moment, so nothing looks ahead. Its leave-one-out errors, day by day, are the futures: a day's errors
of load and PV stay together and in order, since cloudy mornings come with cloudy afternoons. numpy: planner child only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from optimizer.arrays import BoolArray, FloatArray, IntArray
from optimizer.problem import Past, PastSeries, Problem, Scenario

SAMPLES_MAX = 60
"""Days that are learnt from."""

SAMPLES_MIN = 5
"""Fewer days than this teach nothing: every day is then as the day before."""

FUTURES_MAX = 60
LAGS = 7
"""Days that a mean of like slots goes back; the last of them is the same weekday, which is all the calendar needed."""

SKY_DAYS = 14
HALF_LIFE_DAYS = 30.0
LOAD_SHRINK = 0.3
SUN_SHRINK = 3.0
_LEVERAGE_MAX = 0.8
_TINY = 1e-6
_SUN_MARGIN = 1.15
"""PV may pass the highest seen in its slot by this factor."""


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


def outlook(past: Past, horizon: int) -> tuple[Scenario, tuple[Scenario, ...]]:
    """Returns (the forecast, equally likely futures around it) for the slots that follow a past [kW].

    Beyond one day the first day repeats. While there is too little past to learn from, the forecast is yesterday and
    the futures are how days have differed from the day before; before two days are known there are none.
    """
    per_day = past.slots_per_day
    load, sun = _filled(past.load_kw, per_day), _filled(past.pv_kw, per_day)
    ahead = min(horizon, per_day)
    samples = min(SAMPLES_MAX, len(load) // per_day - LAGS - 1)
    if samples < SAMPLES_MIN:
        use, sky = _as_yesterday(load, per_day, ahead), _as_yesterday(sun, per_day, ahead)
    else:
        issue = len(load) - per_day * np.arange(samples + 1)
        use, sky = _load(_Days(load, per_day, ahead, issue)), _sun(_Days(sun, per_day, ahead, issue))
    futures = [
        _scenario(use.value + one, sky.value + other, horizon)
        for one, other in zip(use.error[:FUTURES_MAX], sky.error[:FUTURES_MAX], strict=True)
    ]
    return _scenario(use.value, sky.value, horizon), tuple(futures)


def with_futures(problem: Problem) -> Problem:
    """Returns the problem with scenarios made from its past, where it has a past and no scenarios of its own."""
    if problem.past is None or problem.scenarios:
        return problem
    _, futures = outlook(problem.past, problem.slots)
    return replace(problem, scenarios=futures)


def _filled(series: PastSeries, per_day: int) -> FloatArray:
    """Returns the values; an unknown one becomes the mean of its slot on other days, else of everything."""
    values = np.array([np.nan if value is None else value for value in series], dtype=np.float64)
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


def _scenario(load: FloatArray, pv: FloatArray, horizon: int) -> Scenario:
    at = np.arange(horizon) % len(load)
    return Scenario(tuple(np.maximum(load, 0.0)[at].tolist()), tuple(np.maximum(pv, 0.0)[at].tolist()))


def _load(days: _Days) -> Forecast:
    """Returns load as the mean of like slots, corrected by yesterday, last week, the last three hours and day."""
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
        ],
        axis=2,
    )
    actual = days.actual()
    return _regressed(features, actual, usual, LOAD_SHRINK * (float(actual.var()) + _TINY))


def _sun(days: _Days) -> Forecast:
    """Returns PV as the clear sky of each slot times how clear it has been: 1, 3 and 7 days, and the last hours."""
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
        ],
        axis=2,
    )
    actual = days.actual()
    found = _regressed(features, actual, usual, SUN_SHRINK * float(actual.mean()) ** 2 + _TINY)
    most = clear * _SUN_MARGIN
    return Forecast(np.clip(found.value, 0.0, most[0]), found.error)


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
