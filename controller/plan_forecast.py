"""What a plan is made of: the forecasts of load, sun and water with their futures, from past slots only.

Two methods: the mean of like days (`optimizer.forecast`), from the first day on, and a ridge regression with the errors
that it would have made (`optimizer.ridge`), once two weeks are known. Their mean is a third member. Whoever was nearest
to the meters lately (`controller.scores`) forecasts a series; the futures are those of the regression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from controller.beliefs import SERIES
from controller.civil import local_time
from controller.history import DAY_SLOTS, History, groups
from controller.site import Site
from devices.clock import SLOT_MS, Instant, floor_to
from devices.model import DeviceKind
from optimizer.arrays import FloatArray
from optimizer.forecast import Band, Calendar, forecast_series, forecast_solar, typical_load, typical_solar
from optimizer.problem import Scenario, Series
from optimizer.ridge import SAMPLES_MIN, Past, Weather, bands, outlook, samples_in

MISS_FADE = 0.9
"""How much of a missed forecast's error is left one slot later."""
LIKE_DAYS = 14
HISTORY_DAYS = 42
LIKE, RIDGE, MEAN = MEMBERS = ("like-days", "ridge", "mean")
KL_PER_ML, KW_PER_WH = 1e-6, 4e-3
PER_UNIT = dict(zip(SERIES, (1e3, 1e3, 1e6), strict=True))
"""W in a kW and mL in a kL, by series."""
METER_WH = 250.0
"""What a typical meter uses in a slot."""

Rival = tuple[str, str, Series]
"""(series, member, kW or kL per slot)"""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What was believed at `made_at` about the slots from `start` on; the plan in force keeps its own."""

    made_at: Instant
    start: Instant
    load_kw: Series
    critical_kw: Series
    pv_kw: Series
    water_kl: Series
    by: tuple[tuple[str, str], ...] = ()  # who forecast which series
    bands: tuple[Band, ...] = ()
    weather: bool = False  # whether any weather helped
    group_kw: Mapping[str, Series] = field(default_factory=dict[str, Series])  # by `history.groups`; not kept
    futures: tuple[Scenario, ...] = ()  # equally likely; not kept
    rivals: tuple[Rival, ...] = ()  # what each member says, to be scored; not kept

    def series(self) -> dict[str, Series]:
        """Returns what is forecast, by `SERIES` [kW, or kL per slot]."""
        return dict(zip(SERIES, (self.load_kw, self.pv_kw, self.water_kl), strict=True))

    def kept(self) -> Forecast:
        """Returns the forecast without what only the planner needs."""
        return replace(self, futures=(), rivals=(), group_kw={})


@dataclass(frozen=True, slots=True)
class Helps:
    """What a forecast may know beside the past.

    `miss_w` is by how much the net load has differed from the last forecast lately: added to the load, fading. `choice`
    names the member that forecasts each series; like days where nothing is said, or it cannot yet. `weather` is of the
    slots from `HISTORY_DAYS` before the first forecast one on.
    """

    miss_w: float = 0.0
    choice: Mapping[str, str] = field(default_factory=dict[str, str])
    weather: Weather | None = None


def forecast(site: Site, history: History, now: Instant, helps: Helps | None = None) -> Forecast:
    """Returns the forecasts for the next `plan_slots` slots, from past slots only.

    Without history a typical day stands in: 1 kW a meter, the plants' rating, 400 L a water meter and day.

    """
    helps = helps or Helps()
    start, slots = floor_to(now, SLOT_MS), site.plan_slots
    rated_kw = sum(plant.ratings["power_w_max"] for plant in site.of_kind(DeviceKind.PV)) / 1000
    days = _LikeDays(site, history, start)
    like = days.scenario(rated_kw)
    past = _past(history, start, helps.weather)
    learnt = None if past is None else outlook(past, slots)
    members = {LIKE: like}
    if learnt is not None and past is not None and samples_in(past) >= SAMPLES_MIN:
        members[RIDGE] = _capped(learnt[0], like, rated_kw)
        members[MEAN] = _mean(like, members[RIDGE])
    by = {name: member if (member := helps.choice.get(name, LIKE)) in members else LIKE for name in SERIES}
    chosen = Scenario(*(_values(members[by[name]], name) for name in SERIES))
    missed = np.array([helps.miss_w / 1000 * MISS_FADE**slot for slot in range(slots)])
    load = _floored(np.array(chosen.load_kw) + missed)
    futures = () if learnt is None else tuple(_around(one, missed, rated_kw) for one in learnt[1])
    return Forecast(
        made_at=now,
        start=start,
        load_kw=load,
        critical_kw=_within(days.critical_kw(), load),
        pv_kw=chosen.pv_kw,
        water_kl=chosen.water_kl,
        by=tuple(by.items()),
        bands=bands(futures),
        weather=RIDGE in members and helps.weather is not None,
        group_kw={key: _within(part, load) for key, part in days.groups_kw().items()},
        futures=futures,
        rivals=tuple((name, member, _values(made, name)) for member, made in members.items() for name in SERIES),
    )


def _values(made: Scenario, series: str) -> Series:
    return {"load": made.load_kw, "pv": made.pv_kw, "water": made.water_kl}[series]


class _LikeDays:
    """The mean of like days; typical days where there are none."""

    def __init__(self, site: Site, history: History, start: Instant) -> None:
        self._site, self._history, self._start = site, history, start
        local = local_time(site.timezone, start)
        self._calendar = Calendar(DAY_SLOTS, (local.hour * 60 + local.minute) // 15, local.weekday())

    def _known(self, field_name: str) -> list[float | None]:
        return self._history.series(field_name, self._start, LIKE_DAYS)

    def _used(self, field_name: str, usual: float, factor: float) -> Series:
        typical = typical_load(usual, DAY_SLOTS)
        found = forecast_series(self._known(field_name), self._calendar, self._site.plan_slots, typical)
        return tuple(value * factor for value in found)

    def scenario(self, rated_kw: float) -> Scenario:
        """Returns load, sun and water."""
        site = self._site
        typical = typical_solar(rated_kw / KW_PER_WH, DAY_SLOTS)
        sun = forecast_solar(self._known("pv_wh"), self._calendar, site.plan_slots, typical)
        taps = sum(len(device.channels) for device in site.of_kind(DeviceKind.WATER_METERS))
        return Scenario(
            self._used("load_wh", METER_WH * len(site.of_kind(DeviceKind.METER)), KW_PER_WH),
            tuple(min(wh * KW_PER_WH, rated_kw) for wh in sun),
            self._used("water_ml", 400_000.0 * taps / DAY_SLOTS, KL_PER_ML),
        )

    def critical_kw(self) -> Series:
        """Returns what critical meters use, and the lifelines of all homes."""
        site = self._site
        lifeline_kw = site.lifeline_homes * site.charter.lifeline_wh * KW_PER_WH / DAY_SLOTS
        return tuple(kw + lifeline_kw for kw in self._used("critical_wh", METER_WH * len(site.critical), KW_PER_WH))

    def groups_kw(self) -> dict[str, Series]:
        """Returns the load of each group of meters."""
        meters = {device.id for device in self._site.of_kind(DeviceKind.METER)}
        sizes = {key: len(members & meters) for key, members in groups(self._site).items()}
        return {key: self._used(key, METER_WH * size, KW_PER_WH) for key, size in sizes.items()}


def _within(part: Series, whole: Series) -> Series:
    return tuple(map(min, part, whole))


def _past(history: History, start: Instant, told: Weather | None) -> Past | None:
    """Returns what was metered, or None before two days of it are known; a negative sum of meters is not believed."""
    load, sun, water = (
        np.where(column < 0.0, np.nan, column) for column in (
            history.column(name, start, HISTORY_DAYS) for name in ("load_wh", "pv_wh", "water_ml")
        )
    )  # fmt: skip
    known = np.flatnonzero(~np.isnan(load) & ~np.isnan(sun))
    if not len(known) or len(load) - known[0] < 2 * DAY_SLOTS:
        return None
    first = int(known[0])
    drunk = None if np.isnan(water[first:]).all() else water[first:] * KL_PER_ML
    weather = None if told is None else Weather(told.sun_w_m2[first:], told.air_c[first:])
    return Past(DAY_SLOTS, load[first:] * KW_PER_WH, sun[first:] * KW_PER_WH, drunk, weather)


def _capped(made: Scenario, like: Scenario, rated_kw: float) -> Scenario:
    """Returns a forecast within the plants' rating; water as on like days where no meter told of it."""
    return Scenario(made.load_kw, tuple(min(kw, rated_kw) for kw in made.pv_kw), made.water_kl or like.water_kl)


def _mean(one: Scenario, other: Scenario) -> Scenario:
    def mean(a: Sequence[float], b: Sequence[float]) -> Series:
        return tuple((x + y) / 2 for x, y in zip(a, b, strict=True))

    return Scenario(*(mean(_values(one, name), _values(other, name)) for name in SERIES))


def _around(future: Scenario, missed: FloatArray, rated_kw: float) -> Scenario:
    """Returns a future with what is missed just now, rounded to watts and millilitres."""
    return Scenario(
        _floored(np.array(future.load_kw) + missed),
        tuple(np.minimum(future.pv_kw, rated_kw).round(3).tolist()),
        tuple(np.round(future.water_kl, 6).tolist()),
    )


def _floored(kw: FloatArray) -> Series:
    return tuple(np.maximum(kw, 0.0).round(3).tolist())
