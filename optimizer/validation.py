"""Every problem of a Problem at once, before any solving. Nothing is padded, clipped or guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import inf, isfinite

from optimizer.problem import Battery, Charger, Genset, Grid, Job, Past, Problem, Series, WaterSystem

SLOTS_MAX = 2_000


def validate(problem: Problem) -> list[str]:
    """Returns what is wrong with a problem, one sentence each; empty means that it can be planned."""
    return list(_problems(problem))


def _problems(problem: Problem) -> Iterator[str]:
    n = problem.slots
    if not 0 < n <= SLOTS_MAX:
        yield f"load_kw: {n} slots; a plan needs 1 to {SLOTS_MAX}"
        return
    if problem.slot_ms <= 0:
        yield f"slot_ms: {problem.slot_ms}; a slot needs a positive length"
    for name, series in (("load_kw", problem.load_kw), ("critical_kw", problem.critical_kw), ("pv_kw", problem.pv_kw)):
        yield from _series(name, series, n)
    yield from _at_most("critical_kw", problem.critical_kw, "load_kw", problem.load_kw)
    yield from _numbers("problem", shed_price=problem.shed_price)
    yield from _grid(problem.grid, n)
    for battery in problem.batteries:
        yield from _battery(battery)
    for genset in problem.gensets:
        yield from _genset(genset)
    for water in problem.water:
        yield from _water(water, n)
    for charger in problem.chargers:
        yield from _charger(charger, n)
    for job in problem.jobs:
        yield from _job(job, n, tanks=len(problem.water))
    for number, scenario in enumerate(problem.scenarios):
        yield from _series(f"scenario {number}: load_kw", scenario.load_kw, n)
        yield from _series(f"scenario {number}: pv_kw", scenario.pv_kw, n)
    if problem.past is not None:
        yield from _past(problem.past)
    yield from _ids(problem)


def _past(past: Past) -> Iterator[str]:
    if not 0 < past.slots_per_day <= SLOTS_MAX:
        yield f"past: {past.slots_per_day} slots per day; 1 to {SLOTS_MAX} are possible"
    if len(past.load_kw) != len(past.pv_kw):
        yield f"past: {len(past.load_kw)} slots of load and {len(past.pv_kw)} of PV; they must be the same slots"
    for name, series in (("past.load_kw", past.load_kw), ("past.pv_kw", past.pv_kw)):
        known = tuple(value for value in series if value is not None)
        yield from _series(name, known, len(known))


def _ids(problem: Problem) -> Iterator[str]:
    ids = [asset.id for asset in (*problem.batteries, *problem.gensets, *problem.chargers, *problem.jobs)]
    ids += [name for water in problem.water for name in (water.pump_id, water.tank_id)]
    for name, count in sorted(Counter(ids).items()):
        if count > 1:
            yield f"{name}: {count} assets have this id; ids must differ"
        if not name:
            yield "an asset has an empty id"


def _grid(grid: Grid, n: int) -> Iterator[str]:
    yield from _series("grid.import_limit_kw", grid.import_limit_kw, n)
    yield from _series("grid.export_limit_kw", grid.export_limit_kw, n)
    yield from _series("grid.import_price", grid.import_price, n, low=-inf)
    yield from _series("grid.export_price", grid.export_price, n, low=-inf)
    if len(grid.available) != n:
        yield f"grid.available: {len(grid.available)} slots, load_kw has {n}"
    yield from _numbers("grid", over_limit_price=grid.over_limit_price)


def _battery(battery: Battery) -> Iterator[str]:
    at = battery.id
    broken = list(
        _numbers(
            at,
            charge_kw_max=battery.charge_kw_max,
            discharge_kw_max=battery.discharge_kw_max,
            soc_min_kwh=battery.soc_min_kwh,
            soc_max_kwh=battery.soc_max_kwh,
            soc_now_kwh=battery.soc_now_kwh,
            reserve_kwh=battery.reserve_kwh,
            reserve_price=battery.reserve_price,
            terminal_value=battery.terminal_value,
            wear_price=battery.wear_price,
            final_kwh=battery.final_kwh,
        )
    )
    yield from broken
    for name, value in (("charge", battery.charge_efficiency), ("discharge", battery.discharge_efficiency)):
        if not 0.0 < value <= 1.0:
            yield f"{at}: {name}_efficiency is {value}; it must be above 0 and at most 1"
    if not 0.0 < battery.energy_kwh < inf:
        yield f"{at}: energy_kwh is {battery.energy_kwh}; a battery needs a size above zero"
        return
    if broken:
        return
    if not battery.soc_min_kwh <= battery.soc_max_kwh <= battery.energy_kwh:
        yield f"{at}: limits {battery.soc_min_kwh} to {battery.soc_max_kwh} kWh do not fit in {battery.energy_kwh} kWh"
    if battery.soc_now_kwh > battery.energy_kwh:
        yield f"{at}: soc_now_kwh is {battery.soc_now_kwh}, more than its {battery.energy_kwh} kWh"
    if battery.reserve_kwh > battery.soc_max_kwh:
        yield f"{at}: reserve_kwh is {battery.reserve_kwh}, above soc_max_kwh {battery.soc_max_kwh}"
    if battery.final_kwh > battery.soc_max_kwh:
        yield f"{at}: final_kwh is {battery.final_kwh}, above soc_max_kwh {battery.soc_max_kwh}"


def _genset(genset: Genset) -> Iterator[str]:
    at = genset.id
    broken = list(
        _numbers(
            at,
            power_kw_max=genset.power_kw_max,
            power_kw_min=genset.power_kw_min,
            fixed_price_per_h=genset.fixed_price_per_h,
            energy_price=genset.energy_price,
            start_price=genset.start_price,
            min_up_slots=genset.min_up_slots,
            min_down_slots=genset.min_down_slots,
            slots_in_state=genset.slots_in_state,
        )
    )
    yield from broken
    if not broken and (genset.power_kw_min > genset.power_kw_max or genset.power_kw_max == 0.0):
        yield f"{at}: minimum load {genset.power_kw_min} kW and maximum {genset.power_kw_max} kW leave no power"


def _water(water: WaterSystem, n: int) -> Iterator[str]:
    at = water.tank_id
    broken = list(
        _numbers(
            at,
            pump_kw=water.pump_kw,
            pump_flow_kl_per_h=water.pump_flow_kl_per_h,
            volume_kl=water.volume_kl,
            level_now_kl=water.level_now_kl,
            reserve_kl=water.reserve_kl,
            high_kl=water.high_kl,
            unserved_price=water.unserved_price,
            reserve_price=water.reserve_price,
            terminal_value=water.terminal_value,
            start_price=water.start_price,
        )
    )
    yield from broken
    yield from _series(f"{at}.demand_kl", water.demand_kl, n)
    yield from _series(f"{at}.lifeline_kl", water.lifeline_kl, n)
    yield from _at_most(f"{at}.lifeline_kl", water.lifeline_kl, "demand_kl", water.demand_kl)
    if broken:
        return
    if water.pump_kw < 0.001:
        yield f"{water.pump_id}: pump_kw is {water.pump_kw}; less than a watt cannot be planned"
    if not 0.0 < water.high_kl <= water.volume_kl or water.reserve_kl > water.high_kl:
        yield f"{at}: reserve {water.reserve_kl}, high {water.high_kl}, volume {water.volume_kl} kL are not in order"
    if water.level_now_kl > water.volume_kl:
        yield f"{at}: level_now_kl is {water.level_now_kl}, more than its {water.volume_kl} kL"


def _charger(charger: Charger, n: int) -> Iterator[str]:
    at = charger.id
    yield from _numbers(
        at,
        power_kw_max=charger.power_kw_max,
        energy_kwh=charger.energy_kwh,
        unserved_price=charger.unserved_price,
    )
    if charger.until_slot <= 0:
        yield f"{at}: the deadline (slot {charger.until_slot}) is in the past"
    elif not 0 <= charger.from_slot < charger.until_slot <= n:
        yield f"{at}: window {charger.from_slot} to {charger.until_slot} is empty or outside the plan's {n} slots"


def _job(job: Job, n: int, tanks: int) -> Iterator[str]:
    at = job.id
    length = len(job.power_kw)
    if not length:
        yield f"{at}: power_kw is empty; a job runs at least one slot"
        return
    yield from _series(f"{at}.power_kw", job.power_kw, length)
    yield from _series(f"{at}.water_kl", job.water_kl, length)
    yield from _numbers(at, skip_price=job.skip_price)
    if job.latest_slot < 0:
        yield f"{at}: the latest start (slot {job.latest_slot}) is in the past"
    elif not 0 <= job.earliest_slot <= job.latest_slot <= n - length:
        yield (
            f"{at}: starts {job.earliest_slot} to {job.latest_slot} with {length} slots each "
            f"are empty or run beyond the plan's {n} slots"
        )
    if any(job.water_kl) and not tanks:
        yield f"{at}: takes water but there is no tank"


def _series(name: str, series: Series, n: int, low: float = 0.0) -> Iterator[str]:
    if len(series) != n:
        yield f"{name}: {len(series)} slots, {n} are needed"
    bad = [t for t, value in enumerate(series) if not isfinite(value) or value < low]
    if bad:
        kind = "not a number or negative" if low == 0.0 else "not a number"
        yield f"{name}: {len(bad)} values are {kind}, first in slot {bad[0]}: {series[bad[0]]}"


def _at_most(name: str, series: Series, over: str, limits: Series) -> Iterator[str]:
    bad = [t for t, (value, limit) in enumerate(zip(series, limits, strict=False)) if value > limit * (1 + 1e-9) + 1e-9]
    if bad:
        t = bad[0]
        yield f"{name}: above {over} in {len(bad)} slots, first in slot {t}: {series[t]} > {limits[t]}"


def _numbers(at: str, **values: float) -> Iterator[str]:
    for name, value in values.items():
        if not isfinite(value) or value < 0.0:
            yield f"{at}: {name} is {value}; it must be a number that is not negative"
