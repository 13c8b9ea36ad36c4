"""The independent checker: recomputes balance, states, limits, times and cost from the Problem alone.

Plain Python for the hub process, and nothing shared with the formulation, on purpose: a mistake there must
not excuse itself here. A plan with a violation is never used.

Tolerances: a power is a whole watt, so a balance may be off by `ROUNDING_KW` per asset and a limit by one;
states are recomputed from the watts and may differ by `STATE_NEAR` from what the plan says, and pass a limit
by a watt-slot per asset; money by `check_money.MONEY_NEAR` relative.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import isfinite

from optimizer.check_money import money_problems
from optimizer.check_plants import into_tank, plant_problems, whole_watts_kl
from optimizer.plan import ROUNDING_KW, ROUNDING_KWH, Mode, Plan, StorageStep, UnitStep, Violation
from optimizer.problem import AssetId, Battery, Charger, Genset, Job, Problem, SplitJob, ThermalStore, WaterSystem

STATE_NEAR = 1e-5
"""kWh or kL by which a state may differ from the recomputed one."""

CHARGE_NEAR = 0.001
"""kWh by which a charger may give more than it is asked for, per hour of a slot."""


def check(problem: Problem, plan: Plan) -> list[Violation]:
    """Returns everything that is wrong with a plan for a problem; empty means that it may be used."""
    problem = with_cuts(problem, plan)
    shape = list(_shape(problem, plan))
    if shape:
        return shape
    return [
        *_balance(problem, plan),
        *_bounds(problem, plan),
        *(v for b in problem.batteries for v in _battery(problem, b, plan)),
        *(v for s in problem.thermal for v in _thermal(problem, s, plan)),
        *(v for g in problem.gensets for v in _genset(g, plan.units[g.id], problem.slot_ms)),
        *(v for at, w in enumerate(problem.water) for v in _water(problem, w, plan, jobs_draw=at == 0)),
        *(v for c in problem.chargers for v in _charger(problem, c, plan.units[c.id])),
        *(v for j in problem.jobs for v in _job(j, plan.units[j.id])),
        *(v for j in problem.split_jobs for v in _split_job(j, plan.units[j.id])),
        *(_wrong(*found) for found in plant_problems(problem, plan)),
        *_money(problem, plan),
    ]


def with_cuts(problem: Problem, plan: Plan) -> Problem:
    """Returns the problem with the limits that the check of the network added to it for this plan."""
    return replace(problem, feeders=(*problem.feeders, *plan.cuts)) if plan.cuts else problem


def _wrong(rule: str, slot: int | None, seen: float, limit: float, what: str) -> Violation:
    where = "" if slot is None else f" in slot {slot}"
    return Violation(rule, slot, seen, limit, f"{what}{where}: {seen:.6g}, expected {limit:.6g}")


# --------------------------------------------------------------------------------------- shape


def _shape(problem: Problem, plan: Plan) -> Iterator[Violation]:
    n = len(problem.load_kw)
    if plan.start != problem.start:
        yield _wrong("shape", None, plan.start, problem.start, "start")
    if plan.slot_ms != problem.slot_ms:
        yield _wrong("shape", None, plan.slot_ms, problem.slot_ms, "slot_ms")
    tanks = [w.tank_id for w in problem.water]
    batteries = [b.id for b in problem.batteries]
    units = [x.id for x in (*problem.gensets, *problem.chargers, *problem.jobs, *problem.split_jobs, *problem.thermal)]
    units += [w.pump_id for w in problem.water] + [p.id for p in problem.plants]
    heat = [s.id for s in problem.thermal]
    named: list[tuple[str, Mapping[AssetId, Sequence[object]], Sequence[AssetId]]] = [
        ("storages", plan.storages, batteries),
        ("soc_kwh", plan.soc_kwh, batteries),
        ("units", plan.units, units),
        ("tank_kl", plan.tank_kl, tanks),
        ("water_unserved_kl", plan.water_unserved_kl, tanks),
        ("trip_unserved_kwh", plan.trip_unserved_kwh, [b.id for b in problem.batteries if b.trip_kwh]),
        ("heat_kwh", plan.heat_kwh, heat),
        ("heat_unserved_kwh", plan.heat_unserved_kwh, heat),
        ("shed_by_tier_kw", {AssetId(k): v for k, v in plan.shed_by_tier_kw.items()}, _tier_names(problem)),
        ("well_kl", plan.well_kl, [well.id for well in problem.wells]),
        ("feeder_curtailed_kw", plan.feeder_curtailed_kw, [f.id for f in problem.feeders]),
    ]
    for name, series, ids in named:
        if set(series) != set(ids):
            yield _wrong("shape", None, len(series), len(ids), f"{name} names {sorted(set(series) ^ set(ids))}")
        for asset, values in series.items():
            if len(values) != n:
                yield _wrong("shape", None, len(values), n, f"{name} of {asset}: slots")
    assets = {*batteries, *units}
    feeders = {feeder.id for feeder in problem.feeders}
    for cut in plan.cuts:
        series = (cut.load_kw, cut.pv_kw, cut.import_limit_kw, cut.export_limit_kw)
        if not assets.issuperset(cut.assets) or not feeders.issuperset(cut.inner) or {len(s) for s in series} != {n}:
            yield _wrong("shape", None, len(cut.load_kw), n, f"cut {cut.id}: slots, or what it names")
    floats = {"grid_kw": plan.grid_kw, "curtailed_kw": plan.curtailed_kw, "shed_kw": plan.shed_kw}
    for name, values in floats.items():
        if len(values) != n:
            yield _wrong("shape", None, len(values), n, f"{name}: slots")
    yield from _finite(plan)


def _tier_names(problem: Problem) -> list[AssetId]:
    return [AssetId(tier.name) for tier in problem.shed_tiers]


def _finite(plan: Plan) -> Iterator[Violation]:
    floats = [plan.grid_kw, plan.curtailed_kw, plan.shed_kw, (plan.cost, plan.bound), tuple(plan.violations.values())]
    floats += [*plan.soc_kwh.values(), *plan.tank_kl.values(), *plan.water_unserved_kl.values()]
    floats += [*plan.trip_unserved_kwh.values(), *plan.heat_kwh.values(), *plan.heat_unserved_kwh.values()]
    floats += [*plan.well_kl.values(), *plan.shed_by_tier_kw.values(), *plan.feeder_curtailed_kw.values()]
    floats += [tuple(s.expected_soc for s in steps) for steps in plan.storages.values()]
    if not all(isfinite(value) for series in floats for value in series):
        yield _wrong("shape", None, float("nan"), 0.0, "a value is not a finite number")


# ------------------------------------------------------------------------------ power balance


def _balance(problem: Problem, plan: Plan) -> Iterator[Violation]:
    assets = [[step.expected_w for step in steps] for steps in plan.storages.values()]
    assets += [[step.power_w for step in steps] for steps in plan.units.values()]
    near = ROUNDING_KW * (len(assets) + 1)
    for t, load in enumerate(problem.load_kw):
        used = load - plan.shed_kw[t] + sum(series[t] for series in assets) / 1000
        supplied = problem.pv_kw[t] - plan.curtailed_kw[t] + plan.grid_kw[t]
        if abs(used - supplied) > near:
            yield _wrong("balance", t, supplied, used, "power supplied")


def _bounds(problem: Problem, plan: Plan) -> Iterator[Violation]:
    for t, available in enumerate(problem.grid.available):
        if not available and plan.grid_kw[t] != 0.0:
            yield _wrong("island", t, plan.grid_kw[t], 0.0, "grid power without a grid")
        if not 0.0 <= plan.curtailed_kw[t] <= problem.pv_kw[t] + ROUNDING_KW:
            yield _wrong("curtailed", t, plan.curtailed_kw[t], problem.pv_kw[t], "curtailed kW")
        sheddable = problem.load_kw[t] - problem.critical_kw[t]
        if not 0.0 <= plan.shed_kw[t] <= sheddable + ROUNDING_KW:
            yield _wrong("lifeline", t, plan.shed_kw[t], sheddable, "shed kW reach into critical load")

        rest = plan.shed_kw[t] - sum(series[t] for series in plan.shed_by_tier_kw.values())
        most = sheddable - sum(tier.kw[t] for tier in problem.shed_tiers)
        if not -1e-6 <= rest <= most + ROUNDING_KW:
            yield _wrong("shed_tier", t, rest, most, "shed kW outside the tiers")
        for tier in problem.shed_tiers:
            if not 0.0 <= plan.shed_by_tier_kw[tier.name][t] <= tier.kw[t] + 1e-6:
                yield _wrong("shed_tier", t, plan.shed_by_tier_kw[tier.name][t], tier.kw[t], f"{tier.name} shed kW")
        spilled = sum(series[t] for series in plan.feeder_curtailed_kw.values())
        if spilled > plan.curtailed_kw[t] + 1e-5:
            yield _wrong("curtailed", t, spilled, plan.curtailed_kw[t], "kW curtailed on feeders")
        for feeder in problem.feeders:
            if not 0.0 <= plan.feeder_curtailed_kw[feeder.id][t] <= feeder.pv_kw[t] + 1e-6:
                yield _wrong("curtailed", t, plan.feeder_curtailed_kw[feeder.id][t], feeder.pv_kw[t], f"{feeder.id} kW")


# ----------------------------------------------------------------------------------- batteries


def _battery(problem: Problem, battery: Battery, plan: Plan) -> Iterator[Violation]:
    hours = problem.slot_ms / 3_600_000
    lowest = min(battery.soc_min_kwh, battery.soc_now_kwh)
    highest = max(battery.soc_max_kwh, battery.soc_now_kwh)
    near = ROUNDING_KWH * max(hours, 1.0)
    soc = battery.soc_now_kwh
    for t, step in enumerate(plan.storages[battery.id]):
        kw = step.expected_w / 1000
        if not -battery.discharge_kw_max - ROUNDING_KW <= kw <= battery.charge_kw_max + ROUNDING_KW:
            most = battery.charge_kw_max if kw > 0 else -battery.discharge_kw_max
            yield _wrong("battery_power", t, kw, most, f"{battery.id} kW")
        if battery.present and not battery.present[t] and step.expected_w != 0:
            yield _wrong("absent", t, kw, 0.0, f"{battery.id} is away and has kW")
        if battery.trip_kwh:
            short = plan.trip_unserved_kwh[battery.id][t]
            if not 0.0 <= short <= battery.trip_kwh[t] + 1e-6:
                yield _wrong("trip", t, short, battery.trip_kwh[t], f"{battery.id} kWh of the trip missing")
            soc -= battery.trip_kwh[t] - short
        if kw >= 0:
            soc += kw * hours * battery.charge_efficiency
        else:
            soc += kw * hours / battery.discharge_efficiency
        planned = plan.soc_kwh[battery.id][t]
        if abs(planned - soc) > STATE_NEAR:
            yield _wrong("soc", t, planned, soc, f"{battery.id} kWh stored")
        if not lowest - near <= soc <= highest + near:
            yield _wrong("soc_limit", t, soc, lowest if soc < lowest else highest, f"{battery.id} kWh stored")
        fraction = min(max(planned / battery.energy_kwh, 0.0), 1.0)
        if abs(step.expected_soc - fraction) > STATE_NEAR:
            yield _wrong("soc", t, step.expected_soc, fraction, f"{battery.id} expected_soc")
        yield from _mode(battery, step, t, plan.grid_kw[t])


def _mode(battery: Battery, step: StorageStep, t: int, grid_kw: float) -> Iterator[Violation]:
    """A mode must allow what the step expects, and may not ask for more than the battery has."""
    w, most = step.expected_w, round(max(battery.charge_kw_max, battery.discharge_kw_max) * 1000)
    if not 0 <= step.limit_w <= most + 1:
        yield _wrong("mode", t, step.limit_w, most, f"{battery.id} limit_w")
    near = 10  # watts of rounding and of the mode rule's own threshold
    allowed = {
        Mode.FOLLOW: -step.limit_w - near <= w <= step.limit_w + near,
        Mode.HOLD: abs(w) <= near,
        Mode.CHARGE: -near <= w and (w <= step.limit_w + near or grid_kw <= 0.01),  # more only from surplus
        Mode.DISCHARGE: -step.limit_w - near <= w <= near,
    }
    if not allowed[step.mode]:
        yield _wrong("mode", t, w, step.limit_w, f"{battery.id} in mode {step.mode} expects W")
    if step.mode is Mode.DISCHARGE and grid_kw < -0.01:
        yield _wrong("mode", t, grid_kw, 0.0, f"{battery.id} discharges while the grid exports: kW")


# ------------------------------------------------------------------------------ thermal stores


def _thermal(problem: Problem, store: ThermalStore, plan: Plan) -> Iterator[Violation]:
    hours = problem.slot_ms / 3_600_000
    highest = max(store.high_kwh, store.level_now_kwh)
    near = ROUNDING_KWH * max(hours, 1.0) * max(1.0, *store.cop)
    level = store.level_now_kwh
    for t, step in enumerate(plan.units[store.id]):
        kw, unserved = step.power_w / 1000, plan.heat_unserved_kwh[store.id][t]
        if not 0.0 <= kw <= store.power_kw_max + ROUNDING_KW or step.on != (step.power_w != 0):
            yield _wrong("thermal_power", t, kw, store.power_kw_max, f"{store.id} kW")
        if not 0.0 <= unserved <= store.demand_kwh[t] + 1e-6:
            yield _wrong("thermal_unserved", t, unserved, store.demand_kwh[t], f"{store.id} kWh unserved")
        level = level * (1.0 - store.loss_per_h * hours) + store.cop[t] * kw * hours - store.demand_kwh[t] + unserved
        if abs(plan.heat_kwh[store.id][t] - level) > STATE_NEAR:
            yield _wrong("thermal_level", t, plan.heat_kwh[store.id][t], level, f"{store.id} kWh of heat")
        if not -near <= level <= highest + near:
            yield _wrong("thermal_limit", t, level, 0.0 if level < 0 else highest, f"{store.id} kWh of heat")


# ------------------------------------------------------------------------------------- gensets


def _genset(genset: Genset, steps: Sequence[UnitStep], slot_ms: int) -> Iterator[Violation]:
    burnt = -sum(step.power_w for step in steps) / 1000 * slot_ms / 3_600_000
    if genset.fuel_kwh is not None and burnt > genset.fuel_kwh + ROUNDING_KWH * len(steps):
        yield _wrong("genset_fuel", None, burnt, genset.fuel_kwh, f"{genset.id} kWh")
    running, slots = genset.running, genset.slots_in_state
    for t, step in enumerate(steps):
        kw = -step.power_w / 1000
        if not 0.0 <= kw <= (genset.power_kw_max + ROUNDING_KW if step.on else 0.0):
            yield _wrong("genset_power", t, kw, genset.power_kw_max if step.on else 0.0, f"{genset.id} kW")
        if step.on == running:
            slots += 1
            continue
        least = genset.min_up_slots if running else genset.min_down_slots
        if slots < least:
            word = "ran" if running else "rested"
            yield _wrong("genset_time", t, slots, least, f"{genset.id} {word} only this many slots")
        running, slots = step.on, 1


# --------------------------------------------------------------------------------------- water


def _water(problem: Problem, water: WaterSystem, plan: Plan, *, jobs_draw: bool) -> Iterator[Violation]:
    hours = problem.slot_ms / 3_600_000
    pump_w = round(water.pump_kw * 1000)
    highest = max(water.high_kl, water.level_now_kl)
    drawn = _job_water(problem, plan) if jobs_draw else [0.0] * len(problem.load_kw)
    near = water.pump_flow_kl_per_h * hours * ROUNDING_KWH / water.pump_kw + STATE_NEAR
    near += whole_watts_kl(problem, water.tank_id)
    level, plants = water.level_now_kl, into_tank(problem, plan, water.tank_id)
    for t, step in enumerate(plan.units[water.pump_id]):
        if not 0 <= step.power_w <= (pump_w if step.on else 0):
            yield _wrong("pump_power", t, step.power_w, pump_w if step.on else 0, f"{water.pump_id} W")
        unserved = plan.water_unserved_kl[water.tank_id][t]
        spare = water.demand_kl[t] - water.lifeline_kl[t]
        if not 0.0 <= unserved <= spare + 1e-6:
            yield _wrong("lifeline", t, unserved, spare, f"{water.tank_id}: kL unserved reach into the lifeline")
        pumped = water.pump_flow_kl_per_h * hours * step.power_w / pump_w
        level += pumped - (water.demand_kl[t] - unserved) - drawn[t] + plants[t]
        planned = plan.tank_kl[water.tank_id][t]
        if abs(planned - level) > STATE_NEAR:
            yield _wrong("tank", t, planned, level, f"{water.tank_id} kL")
        if not -near <= level <= highest + near:
            yield _wrong("tank_limit", t, level, 0.0 if level < 0 else highest, f"{water.tank_id} kL")


def _job_water(problem: Problem, plan: Plan) -> list[float]:
    drawn = [0.0] * len(problem.load_kw)
    for job in problem.jobs:
        slots = [t for t, step in enumerate(plan.units[job.id]) if step.on]
        for t, kl in zip(slots, job.water_kl, strict=False):
            drawn[t] += kl
    for split in problem.split_jobs:
        for t, step in enumerate(plan.units[split.id]):
            drawn[t] += split.water_kl * step.on
    return drawn


# ---------------------------------------------------------------------------- chargers and jobs


def _charger(problem: Problem, charger: Charger, steps: Sequence[UnitStep]) -> Iterator[Violation]:
    for t, step in enumerate(steps):
        open_ = charger.from_slot <= t < charger.until_slot
        most = charger.power_kw_max if open_ else 0.0
        if not 0.0 <= step.power_w / 1000 <= most + ROUNDING_KW * open_:
            yield _wrong("charger_power", t, step.power_w / 1000, most, f"{charger.id} kW")
        if step.on != (step.power_w != 0):
            yield _wrong("charger_power", t, step.on, step.power_w != 0, f"{charger.id} on")
    given = sum(step.power_w for step in steps) / 1000 * problem.slot_ms / 3_600_000
    if given > charger.energy_kwh + CHARGE_NEAR * max(1.0, problem.slot_ms / 3_600_000):
        yield _wrong("charger_energy", None, given, charger.energy_kwh, f"{charger.id} kWh")


def _job(job: Job, steps: Sequence[UnitStep]) -> Iterator[Violation]:
    on = [t for t, step in enumerate(steps) if step.on]
    length = len(job.power_kw)
    if on and on != list(range(on[0], on[0] + length)):
        yield _wrong("job_run", on[0], len(on), length, f"{job.id} does not run once without a break: slots")
        return
    if on and not job.earliest_slot <= on[0] <= job.latest_slot:
        yield _wrong("job_window", on[0], on[0], job.latest_slot, f"{job.id} start")
    for t, step in enumerate(steps):
        kw = job.power_kw[t - on[0]] if on and step.on else 0.0
        if abs(step.power_w / 1000 - kw) > ROUNDING_KW / 2 + 1e-9:
            yield _wrong("job_power", t, step.power_w / 1000, kw, f"{job.id} kW")


def _split_job(job: SplitJob, steps: Sequence[UnitStep]) -> Iterator[Violation]:
    ran = sum(step.on for step in steps)
    if ran > job.slots:
        yield _wrong("job_run", None, ran, job.slots, f"{job.id} slots")
    for t, step in enumerate(steps):
        if step.on and not job.earliest_slot <= t < job.until_slot:
            yield _wrong("job_window", t, t, job.until_slot, f"{job.id} runs")
        kw = job.power_kw if step.on else 0.0
        if abs(step.power_w / 1000 - kw) > ROUNDING_KW / 2 + 1e-9:
            yield _wrong("job_power", t, step.power_w / 1000, kw, f"{job.id} kW")


def _money(problem: Problem, plan: Plan) -> Iterator[Violation]:
    for rule, seen, expected, what in money_problems(problem, plan):
        yield _wrong(rule, None, seen, expected, what)
