"""Every problem of a Problem at once, before any solving. Nothing is padded, clipped or guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import inf, isfinite

from optimizer.plant_validation import plant_faults
from optimizer.problem import (
    Battery,
    Charger,
    Feeder,
    Genset,
    Grid,
    Job,
    Problem,
    Reserve,
    Series,
    SplitJob,
    ThermalStore,
    WaterSystem,
)

SLOTS_MAX = 2_000


def validate(problem: Problem) -> list[str]:
    """Returns what is wrong with a problem, one sentence each; empty means that it can be planned."""
    return list(_problems(problem))


def notices(problem: Problem) -> list[str]:
    """Returns what is odd about a valid problem but must not stop a plan, one sentence each."""
    found = list[str]()
    for b in problem.batteries:
        if b.soc_now_kwh < b.soc_min_kwh:
            found.append(
                f"{b.id}: soc_now_kwh is {b.soc_now_kwh}, below soc_min_kwh {b.soc_min_kwh}; "
                "the plan starts there and pays for every slot below"
            )
        if b.soc_now_kwh > b.soc_max_kwh:
            found.append(
                f"{b.id}: soc_now_kwh is {b.soc_now_kwh}, above soc_max_kwh {b.soc_max_kwh}; "
                "the plan starts there and pays for every slot above"
            )
    return found


def _problems(problem: Problem) -> Iterator[str]:
    n = problem.slots
    if not n:
        yield f"load_kw: 0 slots, the forecast is empty; a plan needs 1 to {SLOTS_MAX}"
        return
    if n > SLOTS_MAX:
        yield f"load_kw: {n} slots; a plan has at most {SLOTS_MAX}"
        return
    if problem.slot_ms <= 0:
        yield f"slot_ms: {problem.slot_ms}; a slot needs a positive length"
    for name, series in (("load_kw", problem.load_kw), ("critical_kw", problem.critical_kw), ("pv_kw", problem.pv_kw)):
        yield from _series(name, series, n)
    yield from _at_most("critical_kw", problem.critical_kw, "load_kw", problem.load_kw)
    yield from _numbers("problem", shed_price=problem.shed_price)
    yield from _grid(problem.grid, n)
    yield from _assets(problem, n)
    yield from _tiers(problem, n)
    for feeder in problem.feeders:
        yield from _feeder(feeder, problem, n)
    if problem.reserve is not None:
        yield from _reserve(problem.reserve, n)
    for number, scenario in enumerate(problem.scenarios):
        yield from _series(f"scenario {number}: load_kw", scenario.load_kw, n)
        yield from _series(f"scenario {number}: pv_kw", scenario.pv_kw, n)
        if scenario.water_kl:
            yield from _series(f"scenario {number}: water_kl", scenario.water_kl, n)
    yield from plant_faults(problem)
    yield from _ids(problem)


def _assets(problem: Problem, n: int) -> Iterator[str]:
    tanks = len(problem.water)
    for battery in problem.batteries:
        yield from _battery(battery)
        yield from _vehicle(battery, n)
    found = [
        *(_thermal(store, n, problem.slot_h) for store in problem.thermal),
        *(_genset(genset) for genset in problem.gensets),
        *(_water(water, n) for water in problem.water),
        *(_charger(charger, n) for charger in problem.chargers),
        *(_job(job, n, tanks) for job in problem.jobs),
        *(_split_job(split, n, tanks) for split in problem.split_jobs),
    ]
    for problems in found:
        yield from problems


def _ids(problem: Problem) -> Iterator[str]:
    assets = (*problem.batteries, *problem.gensets, *problem.chargers, *problem.jobs, *problem.split_jobs)
    ids = [asset.id for asset in (*assets, *problem.thermal)]
    ids += [name for water in problem.water for name in (water.pump_id, water.tank_id)]
    ids += [asset.id for asset in (*problem.wells, *problem.plants)]
    for name, count in sorted(Counter(ids).items()):
        if count > 1:
            yield f"{name}: {count} assets have this id; ids must differ"
        if not name:
            yield "an asset has an empty id"


def _grid(grid: Grid, n: int) -> Iterator[str]:
    yield from _series("grid.import_limit_kw", grid.import_limit_kw, n)
    yield from _series("grid.export_limit_kw", grid.export_limit_kw, n)
    yield from _tariff("grid.import_price", grid.import_price, n)
    yield from _tariff("grid.export_price", grid.export_price, n)
    if len(grid.available) != n:
        yield f"grid.available: {len(grid.available)} slots, load_kw has {n}"
    yield from _numbers(
        "grid",
        over_limit_price=grid.over_limit_price,
        peak_price=grid.peak_price,
        peak_kw_so_far=grid.peak_kw_so_far,
    )


def _tariff(name: str, prices: Series, n: int) -> Iterator[str]:
    """Prices may be negative, but every slot has one."""
    if len(prices) != n:
        yield f"{name}: {len(prices)} slots, {n} are needed"
    gaps = [t for t, price in enumerate(prices) if not isfinite(price)]
    if len(prices) < n:
        gaps += range(len(prices), n)
    if gaps:
        yield f"{name}: tariff gap, {len(gaps)} slots have no price, first slot {gaps[0]}"


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
    optional = {"ramp_kw": genset.ramp_kw, "power_now_kw": genset.power_now_kw, "fuel_kwh": genset.fuel_kwh}
    yield from _numbers(at, ramp_price=genset.ramp_price)
    yield from _numbers(at, **{name: value for name, value in optional.items() if value is not None})
    if genset.power_now_kw and not genset.running:
        yield f"{at}: power_now_kw is {genset.power_now_kw}, but it is not running"


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
            margin_price=water.margin_price,
        )
    )
    yield from broken
    yield from _series(f"{at}.demand_kl", water.demand_kl, n)
    yield from _series(f"{at}.lifeline_kl", water.lifeline_kl, n)
    yield from _at_most(f"{at}.lifeline_kl", water.lifeline_kl, "demand_kl", water.demand_kl)
    if water.margin_kl:
        yield from _series(f"{at}.margin_kl", water.margin_kl, n)
    if broken:
        return
    if water.pump_kw < 0.001:
        yield f"{water.pump_id}: pump_kw is {water.pump_kw}; less than a watt cannot be planned"
    if not 0.0 < water.high_kl <= water.volume_kl or _wanted_kl(water) > water.high_kl:
        yield f"{at}: reserve {water.reserve_kl}, high {water.high_kl}, volume {water.volume_kl} kL are not in order"
    if water.level_now_kl > water.volume_kl:
        yield f"{at}: level_now_kl is {water.level_now_kl}, more than its {water.volume_kl} kL"


def _wanted_kl(water: WaterSystem) -> float:
    """Returns the highest level that reserve and margin ask for."""
    return water.reserve_kl + max(water.margin_kl, default=0.0)


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


def _vehicle(battery: Battery, n: int) -> Iterator[str]:
    at = battery.id
    if battery.present and len(battery.present) != n:
        yield f"{at}.present: {len(battery.present)} slots, {n} are needed"
    if battery.trip_kwh:
        yield from _series(f"{at}.trip_kwh", battery.trip_kwh, n)
    yield from _numbers(at, trip_price=battery.trip_price)
    for slot, count in sorted(Counter(leaves.slot for leaves in battery.departures).items()):
        if slot < 1:
            yield f"{at}: a departure (slot {slot}) is in the past"
        elif slot > n:
            yield f"{at}: a departure (slot {slot}) is beyond the plan's {n} slots"
        if count > 1:
            yield f"{at}: {count} departures in slot {slot}; one is possible"
    for leaves in battery.departures:
        yield from _numbers(f"{at}: departure in slot {leaves.slot}", energy_kwh=leaves.energy_kwh, price=leaves.price)
        if leaves.energy_kwh > battery.soc_max_kwh:
            yield f"{at}: departure with {leaves.energy_kwh} kWh, above soc_max_kwh {battery.soc_max_kwh}"


def _thermal(store: ThermalStore, n: int, slot_h: float) -> Iterator[str]:
    at = store.id
    yield from _numbers(
        at,
        power_kw_max=store.power_kw_max,
        level_now_kwh=store.level_now_kwh,
        low_kwh=store.low_kwh,
        high_kwh=store.high_kwh,
        loss_per_h=store.loss_per_h,
        comfort_price=store.comfort_price,
        unserved_price=store.unserved_price,
        terminal_value=store.terminal_value,
    )
    yield from _series(f"{at}.cop", store.cop, n)
    yield from _series(f"{at}.demand_kwh", store.demand_kwh, n)
    if not 0.0 <= store.low_kwh <= store.high_kwh or store.high_kwh == 0.0:
        yield f"{at}: comfort band {store.low_kwh} to {store.high_kwh} kWh is empty"
    if store.loss_per_h * slot_h > 1.0:
        yield f"{at}: loss_per_h is {store.loss_per_h}; it cannot lose more than all in a slot"


def _split_job(job: SplitJob, n: int, tanks: int) -> Iterator[str]:
    at = job.id
    yield from _numbers(at, power_kw=job.power_kw, skip_price=job.skip_price, water_kl=job.water_kl)
    if job.slots < 1:
        yield f"{at}: {job.slots} slots; a job runs at least one slot"
    if job.until_slot <= 0:
        yield f"{at}: the deadline (slot {job.until_slot}) is in the past"
    elif not 0 <= job.earliest_slot <= job.until_slot - job.slots or job.until_slot > n:
        yield (
            f"{at}: window {job.earliest_slot} to {job.until_slot} has no room for {job.slots} slots "
            f"or is outside the plan's {n} slots"
        )
    if job.water_kl and not tanks:
        yield f"{at}: takes water but there is no tank"


def _tiers(problem: Problem, n: int) -> Iterator[str]:
    tiers = problem.shed_tiers
    for name, count in sorted(Counter(tier.name for tier in tiers).items()):
        if count > 1 or not name:
            yield f"shed tier {name!r}: {count} tiers have this name; names must differ and not be empty"
    for tier in tiers:
        yield from _series(f"shed tier {tier.name}: kw", tier.kw, n)
        yield from _numbers(f"shed tier {tier.name}", price=tier.price)
    if all(len(tier.kw) == n for tier in tiers) and len(problem.critical_kw) == n and tiers:
        total = tuple(critical + sum(tier.kw[t] for tier in tiers) for t, critical in enumerate(problem.critical_kw))
        yield from _at_most("critical_kw and shed tiers", total, "load_kw", problem.load_kw)


def _feeder(feeder: Feeder, problem: Problem, n: int) -> Iterator[str]:
    at = f"feeder {feeder.id}"
    for name in ("load_kw", "pv_kw", "import_limit_kw", "export_limit_kw"):
        yield from _series(f"{at}: {name}", getattr(feeder, name), n)
    yield from _numbers(at, price=feeder.price)
    yield from _at_most(f"{at}: load_kw", feeder.load_kw, "load_kw", problem.load_kw)
    yield from _at_most(f"{at}: pv_kw", feeder.pv_kw, "pv_kw", problem.pv_kw)
    names = [f.id for f in problem.feeders]
    for inner in feeder.inner:
        if inner not in names or inner == feeder.id:
            yield f"{at}: {inner} is no other feeder of this problem"
    if names.count(feeder.id) > 1:
        yield f"{at}: two feeders have this id; ids must differ"
    known = {*problem.steered, *(job.id for job in (*problem.jobs, *problem.split_jobs))}
    for name, count in sorted(Counter(feeder.assets).items()):
        if name not in known:
            yield f"{at}: {name} is no asset of this problem"
        if count > 1:
            yield f"{at}: {name} is named {count} times"


def _reserve(reserve: Reserve, n: int) -> Iterator[str]:
    yield from _series("reserve.spinning_kw", reserve.spinning_kw, n)
    yield from _numbers(
        "reserve",
        spinning_price=reserve.spinning_price,
        outage_slots=reserve.outage_slots,
        outage_price=reserve.outage_price,
    )


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
