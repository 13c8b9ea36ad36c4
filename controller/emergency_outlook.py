"""From what the hub knows to stores and futures: what survival is reckoned from. Pure, plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from controller.civil import day_start, local_time
from controller.history import History
from controller.image import Snapshot
from controller.site import Site
from controller.storm import Storm
from devices.clock import DAY_MS, HOUR_MS, Instant, floor_to
from devices.model import DeviceKind
from optimizer.forecast import typical_load, typical_solar
from optimizer.futures import HOURS_PER_DAY, Ask, Day, draw
from optimizer.sky import as_now
from optimizer.survival import Future, Stores

FUTURES = 32
HORIZON_H = 96
HISTORY_DAYS = 42
DAYS_MIN = 3
SLOTS_PER_HOUR = 4
TYPICAL = ((1.0, 1.0), (0.6, 1.0), (1.2, 0.9), (0.3, 1.1), (0.8, 1.05), (0.15, 1.2))
"""(sun, load) of the days that stand in while there is no history: clear ones and dark ones."""


def stores(site: Site, snapshot: Snapshot, *, well_dry: bool, brought_kl_per_h: float | None = None) -> Stores | None:
    """Returns what there is now, or None while a store that there should be does not report.

    `brought_kl_per_h`: what the wells gave lately, where that is less than the pumps could lift.
    """
    kwh = kwh_max = kw = 0.0
    efficiency = 1.0
    for battery in site.of_kind(DeviceKind.BATTERY):
        soc = snapshot.value(battery.id, "soc")
        if soc is None:
            return None
        ratings = battery.ratings
        kwh += max(0.0, soc - ratings["soc_min"]) * ratings["energy_wh"] / 1000
        kwh_max += (ratings["soc_max"] - ratings["soc_min"]) * ratings["energy_wh"] / 1000
        kw += ratings["discharge_w_max"] / 1000
        efficiency = min(efficiency, ratings["discharge_efficiency"])
    genset_kw = fuel_l = 0.0
    for genset in site.of_kind(DeviceKind.GENSET):
        if genset.id in site.waste.engines:
            continue  # gas comes as it comes: no litres to count on
        fuel = snapshot.value(genset.id, "fuel")
        if fuel is None or not snapshot.online(genset.id):
            continue  # one that does not report is not counted on
        genset_kw += genset.ratings["power_w_max"] / 1000
        fuel_l += max(0.0, fuel - 0.02) * genset.ratings.get("fuel_l", 0.0)
    water = _tank(site, snapshot, well_dry=well_dry)
    if water is None:
        return None
    level_kl, top_kl, pump_kw, lifted = water
    flow = lifted if brought_kl_per_h is None else min(lifted, brought_kl_per_h)
    return Stores(
        min(kwh, kwh_max), kwh_max, kw, efficiency, genset_kw, fuel_l, level_kl, top_kl, pump_kw * (flow > 0.0), flow
    )


def _tank(site: Site, snapshot: Snapshot, *, well_dry: bool) -> tuple[float, float, float, float] | None:
    """Returns (kL, kL at the top, pump kW, pump kL/h) of the tanks together.

    What a pump lifts from one tank to another is no water more, and from a well comes no more than flows in.
    """
    level_kl = top_kl = kw = flow = 0.0
    for tank in site.of_kind(DeviceKind.TANK):
        level = snapshot.value(tank.id, "level")
        if level is None:
            return None
        level_kl += level * tank.ratings["volume_l"] / 1000
        top_kl += max(level, site.water_high) * tank.ratings["volume_l"] / 1000
    for pump in site.of_kind(DeviceKind.PUMP):
        source = site.water.pumps[pump.id].source or ""
        if well_dry or source in site.water.tanks or not snapshot.online(pump.id):
            continue
        well, lpm = site.water.well(source), pump.ratings["flow_lpm"]
        part = 1.0 if well is None else min(1.0, well.yield_lpm / lpm)
        kw += part * pump.ratings["power_w"] / 1000
        flow += part * lpm * 60 / 1000
    return level_kl, top_kl, kw, flow


def futures(
    site: Site, history: History, now: Instant, storm: Storm | None, *, hours: int = HORIZON_H, count: int = FUTURES
) -> tuple[Future, ...]:
    """Returns the next days in many ways, drawn from past days; in a declared storm with little sun."""
    start = floor_to(now, HOUR_MS)
    share = tuple(
        site.emergency.sun_share if storm is not None and storm.start <= start + h * HOUR_MS < storm.end else 1.0
        for h in range(hours)
    )
    lifeline_kl = site.lifeline_homes * site.charter.lifeline_ml / 1e6 / HOURS_PER_DAY
    days, order = past_days(site, history, now)
    return draw(days, Ask(local_time(site.timezone, start).hour, hours, count, lifeline_kl, share, order))


def past_days(site: Site, history: History, now: Instant) -> tuple[tuple[Day, ...], tuple[int, ...]]:
    """Returns the last whole local days that all meters tell of, and which of them are most like now.

    Typical days, none of them like now, where there are too few. The sun of each day is what the plants that are in
    order now would have had of it.
    """
    midnight, start = day_start(site.timezone, now), floor_to(now, HOUR_MS)
    lifeline_kw = site.lifeline_homes * site.charter.lifeline_wh / HOURS_PER_DAY / 1000
    load, critical, pv, water = (
        _hourly(history.series(name, start, HISTORY_DAYS + 1), divisor)
        for name, divisor in (("load_wh", 1e3), ("critical_wh", 1e3), ("pv_wh", 1e3), ("water_ml", 1e6))
    )
    since = (start - midnight) // HOUR_MS  # hours of today
    ends = [Instant(midnight - day * DAY_MS) for day in range(HISTORY_DAYS)]
    plants = as_now([history.plants.day(now), *map(history.plants.day, ends)])
    found: list[Day] = []
    unlike: list[float] = []
    today = _net(load, pv, len(load), 1.0, 1.0)
    for day in range(HISTORY_DAYS, 0, -1):
        first = len(load) - since - day * HOURS_PER_DAY
        span = slice(first, first + HOURS_PER_DAY)
        if first < 0 or None in load[span] or None in pv[span] or None in critical[span] or None in water[span]:
            continue
        sun = [plants[day] * kw for kw in _known(pv[span])]
        found.append(_day(_known(load[span]), _known(critical[span]), sun, _known(water[span]), lifeline_kw))
        before = plants[min(day + 1, HISTORY_DAYS)]
        unlike.append(abs(_net(load, pv, first + since, before, plants[day]) - today))
    if len(found) < DAYS_MIN:
        return _typical(site, lifeline_kw), ()
    order = sorted(range(len(found)), key=unlike.__getitem__) if today < inf else range(0)
    return tuple(found), tuple(order)


def _net(load: Sequence[float | None], pv: Sequence[float | None], end: int, before: float, after: float) -> float:
    """Returns what the sun left over in the 24 hours until `end` [kWh], inf where it is not known.

    `before` and `after` are the plants' factors on the older and the newer of the two days in it.
    """
    span = slice(max(0, end - HOURS_PER_DAY), end)
    if end < HOURS_PER_DAY or None in load[span] or None in pv[span]:
        return inf
    return (before + after) / 2 * sum(_known(pv[span])) - sum(_known(load[span]))


def _hourly(series: Sequence[float | None], divisor: float) -> list[float | None]:
    """Returns sums per hour; None where a quarter is not known or its sum of meters is not to be believed."""
    found: list[float | None] = []
    for at in range(0, len(series), SLOTS_PER_HOUR):
        quarter = [value for value in series[at : at + SLOTS_PER_HOUR] if value is not None and value >= 0]
        found.append(sum(quarter) / divisor if len(quarter) == SLOTS_PER_HOUR else None)
    return found


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _day(
    load: Sequence[float], critical: Sequence[float], pv: Sequence[float], water: Sequence[float], lifeline_kw: float
) -> Day:
    need = tuple(min(part + lifeline_kw, whole) for part, whole in zip(critical, load, strict=True))
    return Day(tuple(load), need, tuple(pv), tuple(water))


def _typical(site: Site, lifeline_kw: float) -> tuple[Day, ...]:
    rated = sum(plant.ratings["power_w_max"] for plant in site.of_kind(DeviceKind.PV)) / 1000
    taps = sum(len(device.channels) for device in site.of_kind(DeviceKind.WATER_METERS))
    load = typical_load(1.0 * len(site.of_kind(DeviceKind.METER)), HOURS_PER_DAY)
    critical = typical_load(1.0 * len(site.critical), HOURS_PER_DAY)
    water = typical_load(0.4 * taps / HOURS_PER_DAY, HOURS_PER_DAY)
    sun = typical_solar(rated, HOURS_PER_DAY)
    return tuple(
        _day(
            [used * kw for kw in load],
            [used * kw for kw in critical],
            [bright * kw for kw in sun],
            [used * kl for kl in water],
            lifeline_kw,
        )
        for bright, used in TYPICAL
    )
