"""The independent checker: recomputes balance, states, limits, times and cost from the Problem alone.

Plain Python for the hub process, and nothing shared with the formulation, on purpose: a mistake there must
not excuse itself here. A plan with a violation is never used.

Tolerances: a power is a whole watt, so a balance may be off by `ROUNDING_KW` per asset and a limit by one;
states are recomputed from the watts and may differ by `STATE_NEAR` from what the plan says, and pass a limit
by a watt-slot per asset; money by `MONEY_NEAR` relative.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite

from optimizer.plan import ROUNDING_KW, ROUNDING_KWH, Mode, Plan, StorageStep, UnitStep, Violation
from optimizer.problem import AssetId, Battery, Charger, Genset, Job, Problem, WaterSystem

STATE_NEAR = 1e-5
"""kWh or kL by which a state may differ from the recomputed one."""

MONEY_NEAR = 1e-6
SMALL = 0.001
"""A violation below this amount (kWh, kL) need not be named."""


def check(problem: Problem, plan: Plan) -> list[Violation]:
    """Returns everything that is wrong with a plan for a problem; empty means that it may be used."""
    shape = list(_shape(problem, plan))
    if shape:
        return shape
    return [
        *_balance(problem, plan),
        *_bounds(problem, plan),
        *(v for b in problem.batteries for v in _battery(problem, b, plan)),
        *(v for g in problem.gensets for v in _genset(g, plan.units[g.id])),
        *(v for at, w in enumerate(problem.water) for v in _water(problem, w, plan, jobs_draw=at == 0)),
        *(v for c in problem.chargers for v in _charger(problem, c, plan.units[c.id])),
        *(v for j in problem.jobs for v in _job(j, plan.units[j.id])),
        *_money(problem, plan),
    ]


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
    units = [x.id for x in (*problem.gensets, *problem.chargers, *problem.jobs)] + [w.pump_id for w in problem.water]
    named: list[tuple[str, Mapping[AssetId, Sequence[object]], Sequence[AssetId]]] = [
        ("storages", plan.storages, batteries),
        ("soc_kwh", plan.soc_kwh, batteries),
        ("units", plan.units, units),
        ("tank_kl", plan.tank_kl, tanks),
        ("water_unserved_kl", plan.water_unserved_kl, tanks),
    ]
    for name, series, ids in named:
        if set(series) != set(ids):
            yield _wrong("shape", None, len(series), len(ids), f"{name} names {sorted(set(series) ^ set(ids))}")
        for asset, values in series.items():
            if len(values) != n:
                yield _wrong("shape", None, len(values), n, f"{name} of {asset}: slots")
    floats = {"grid_kw": plan.grid_kw, "curtailed_kw": plan.curtailed_kw, "shed_kw": plan.shed_kw}
    for name, values in floats.items():
        if len(values) != n:
            yield _wrong("shape", None, len(values), n, f"{name}: slots")
    yield from _finite(plan)


def _finite(plan: Plan) -> Iterator[Violation]:
    floats = [plan.grid_kw, plan.curtailed_kw, plan.shed_kw, (plan.cost, plan.bound), tuple(plan.violations.values())]
    floats += [*plan.soc_kwh.values(), *plan.tank_kl.values(), *plan.water_unserved_kl.values()]
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


# ------------------------------------------------------------------------------------- gensets


def _genset(genset: Genset, steps: Sequence[UnitStep]) -> Iterator[Violation]:
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
    level = water.level_now_kl
    for t, step in enumerate(plan.units[water.pump_id]):
        if not 0 <= step.power_w <= (pump_w if step.on else 0):
            yield _wrong("pump_power", t, step.power_w, pump_w if step.on else 0, f"{water.pump_id} W")
        unserved = plan.water_unserved_kl[water.tank_id][t]
        spare = water.demand_kl[t] - water.lifeline_kl[t]
        if not 0.0 <= unserved <= spare + 1e-6:
            yield _wrong("lifeline", t, unserved, spare, f"{water.tank_id}: kL unserved reach into the lifeline")
        pumped = water.pump_flow_kl_per_h * hours * step.power_w / pump_w
        level += pumped - (water.demand_kl[t] - unserved) - drawn[t]
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
    if given > charger.energy_kwh + SMALL * max(1.0, problem.slot_ms / 3_600_000):
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


# --------------------------------------------------------------------------------------- money


def _money(problem: Problem, plan: Plan) -> Iterator[Violation]:
    priced = dict(_priced(problem, plan))
    cost = _running_cost(problem, plan) + sum(amount * price for amount, price in priced.values())
    if abs(plan.cost - cost) > MONEY_NEAR * max(abs(cost), 1.0):
        yield _wrong("cost", None, plan.cost, cost, "cost")
    if plan.bound > plan.cost + MONEY_NEAR * max(abs(plan.cost), 1.0):
        yield _wrong("cost", None, plan.bound, plan.cost, "bound above cost: bound")
    for name, money in plan.violations.items():
        amount, price = priced.get(name, (0.0, 0.0))
        if amount == 0.0 or abs(money - amount * price) > MONEY_NEAR * max(abs(money), 1.0):
            yield _wrong("violations", None, money, amount * price, f"money of {name}")
    for name, (amount, price) in priced.items():
        if amount > SMALL * 1.01 and name not in plan.violations:
            yield _wrong("violations", None, 0.0, amount * price, f"{name} is not named: money")


def _running_cost(problem: Problem, plan: Plan) -> float:
    hours, grid = problem.slot_ms / 3_600_000, problem.grid
    money = 0.0
    for t, kw in enumerate(plan.grid_kw):
        money += kw * hours * (grid.import_price[t] if kw > 0 else grid.export_price[t])
    for battery in problem.batteries:
        out = sum(max(0, -step.expected_w) for step in plan.storages[battery.id]) / 1000 * hours
        money += out * battery.wear_price - plan.soc_kwh[battery.id][-1] * battery.terminal_value
    for genset in problem.gensets:
        was = genset.running
        for step in plan.units[genset.id]:
            money += hours * (genset.fixed_price_per_h * step.on - step.power_w / 1000 * genset.energy_price)
            money += genset.start_price if step.on and not was else 0.0
            was = step.on
    for water in problem.water:
        was = water.running
        for step in plan.units[water.pump_id]:
            money += water.start_price if step.on and not was else 0.0
            was = step.on
        money -= plan.tank_kl[water.tank_id][-1] * water.terminal_value
    return money


def _beyond(excess: float, rounding: float) -> float:
    """Returns what passes a limit, unless whole watts explain it."""
    return 0.0 if excess <= rounding else excess


def _priced(problem: Problem, plan: Plan) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yields (name, (amount, price)) of every soft limit."""
    hours, grid = problem.slot_ms / 3_600_000, problem.grid
    broken_limit = max(grid.over_limit_price, problem.shed_price)
    over = [max(0.0, kw - limit) for kw, limit in zip(plan.grid_kw, grid.import_limit_kw, strict=True)]
    yield "import_limit", (sum(over) * hours, grid.over_limit_price)
    over = [max(0.0, -kw - limit) for kw, limit in zip(plan.grid_kw, grid.export_limit_kw, strict=True)]
    yield "export_limit", (sum(over) * hours, grid.over_limit_price)
    yield "shed", (sum(plan.shed_kw) * hours, problem.shed_price)
    for battery in problem.batteries:
        soc = plan.soc_kwh[battery.id]
        rounding = ROUNDING_KWH * max(hours, 1.0)
        yield f"final:{battery.id}", (_beyond(battery.final_kwh - soc[-1], rounding), broken_limit)
        short = sum(max(0.0, battery.reserve_kwh - kwh) for kwh, on in zip(soc, grid.available, strict=True) if on)
        yield f"reserve:{battery.id}", (short, battery.reserve_price)
        outside = sum(_beyond(max(battery.soc_min_kwh - kwh, kwh - battery.soc_max_kwh), rounding) for kwh in soc)
        yield f"soc_limit:{battery.id}", (outside, broken_limit)
    for genset in problem.gensets:
        steps = plan.units[genset.id]
        low = sum(max(0.0, genset.power_kw_min + step.power_w / 1000) for step in steps if step.on)
        yield f"min_load:{genset.id}", (low * hours, broken_limit)
    for water in problem.water:
        yield f"water:{water.tank_id}", (sum(plan.water_unserved_kl[water.tank_id]), water.unserved_price)
        short = sum(max(0.0, water.reserve_kl - kl) for kl in plan.tank_kl[water.tank_id])
        yield f"water_reserve:{water.tank_id}", (short, water.reserve_price)
    for charger in problem.chargers:
        given = sum(step.power_w for step in plan.units[charger.id]) / 1000 * hours
        yield f"charge:{charger.id}", (max(0.0, charger.energy_kwh - given), charger.unserved_price)
    for job in problem.jobs:
        skipped = not any(step.on for step in plan.units[job.id])
        yield f"skipped:{job.id}", (float(skipped), job.skip_price)
