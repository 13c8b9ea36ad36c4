"""The checker's money: cost and every priced violation, recomputed from the Problem and the plan's watts alone.

Shares nothing with the formulation, like `check`, whose part it is.
"""

from __future__ import annotations

from collections.abc import Iterator

from optimizer.check_plants import rationed, started
from optimizer.plan import ROUNDING_KW, ROUNDING_KWH, Plan
from optimizer.problem import Battery, Genset, Problem, Reserve

MONEY_NEAR = 1e-6
SMALL = 0.001
"""A violation below this amount (kWh, kL) need not be named."""


def money_problems(problem: Problem, plan: Plan) -> Iterator[tuple[str, float, float, str]]:
    """Yields (rule, seen, expected, what) for every amount of money that is not what the problem says."""
    priced = dict(_priced(problem, plan))
    cost = _running_cost(problem, plan) + sum(amount * price for amount, price in priced.values())
    if abs(plan.cost - cost) > MONEY_NEAR * max(abs(cost), 1.0):
        yield "cost", plan.cost, cost, "cost"
    if plan.bound > plan.cost + MONEY_NEAR * max(abs(plan.cost), 1.0):
        yield "cost", plan.bound, plan.cost, "bound above cost: bound"
    for name, money in plan.violations.items():
        amount, price = priced.get(name, (0.0, 0.0))
        if amount == 0.0 or abs(money - amount * price) > MONEY_NEAR * max(abs(money), 1.0):
            yield "violations", money, amount * price, f"money of {name}"
    for name, (amount, price) in priced.items():
        if amount > SMALL * 1.01 and name not in plan.violations:
            yield "violations", 0.0, amount * price, f"{name} is not named: money"


def _running_cost(problem: Problem, plan: Plan) -> float:
    hours, grid = problem.slot_ms / 3_600_000, problem.grid
    money = 0.0
    for t, kw in enumerate(plan.grid_kw):
        money += kw * hours * (grid.import_price[t] if kw > 0 else grid.export_price[t])
    money += grid.peak_price * max(0.0, max(plan.grid_kw) - grid.peak_kw_so_far)
    for store in problem.thermal:
        money -= plan.heat_kwh[store.id][-1] * store.terminal_value
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
    return money + started(problem, plan)


def _beyond(excess: float, rounding: float) -> float:
    """Returns what passes a limit, unless whole watts explain it."""
    return 0.0 if excess <= rounding else excess


def _priced(problem: Problem, plan: Plan) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yields (name, (amount, price)) of every soft limit."""
    yield from _priced_exchange(problem, plan)
    for battery in problem.batteries:
        yield from _priced_battery(problem, battery, plan)
    for store in problem.thermal:
        near = ROUNDING_KWH * max(problem.slot_ms / 3_600_000, 1.0) * max(1.0, *store.cop)
        cold = sum(_beyond(store.low_kwh - kwh, near) for kwh in plan.heat_kwh[store.id])
        yield f"comfort:{store.id}", (cold, store.comfort_price)
        yield f"heat:{store.id}", (sum(plan.heat_unserved_kwh[store.id]), store.unserved_price)
    for genset in problem.gensets:
        yield from _priced_genset(problem, genset, plan)
    for water in problem.water:
        for name, amount, price in rationed(water, plan.water_unserved_kl[water.tank_id]):
            yield name, (amount, price)
        short = sum(max(0.0, water.reserve_kl - kl) for kl in plan.tank_kl[water.tank_id])
        yield f"water_reserve:{water.tank_id}", (short, water.reserve_price)
        if water.margin_kl:
            wanted = [water.reserve_kl + margin for margin in water.margin_kl]
            levels = zip(wanted, plan.tank_kl[water.tank_id], strict=True)
            lacking = sum(least - kl for least, kl in levels if kl < least)
            yield f"water_margin:{water.tank_id}", (lacking, water.margin_price)
    for plant in problem.plants:
        idle = [step for step in plan.units[plant.id][: plant.keep_slots] if not step.on]
        yield f"stopped:{plant.id}", (float(len(idle)), plant.stop_price)
    for charger in problem.chargers:
        given = sum(step.power_w for step in plan.units[charger.id]) / 1000 * problem.slot_ms / 3_600_000
        yield f"charge:{charger.id}", (max(0.0, charger.energy_kwh - given), charger.unserved_price)
    for job in problem.jobs:
        skipped = not any(step.on for step in plan.units[job.id])
        yield f"skipped:{job.id}", (float(skipped), job.skip_price)
    for split in problem.split_jobs:
        ran = sum(step.on for step in plan.units[split.id])
        yield f"skipped:{split.id}", ((split.slots - ran) / split.slots, split.skip_price)
    if problem.reserve is not None:
        yield from _priced_reserve(problem, problem.reserve, plan)


def _dearest(problem: Problem) -> float:
    return max(problem.grid.over_limit_price, problem.shed_price)


def _priced_exchange(problem: Problem, plan: Plan) -> Iterator[tuple[str, tuple[float, float]]]:
    hours, grid = problem.slot_ms / 3_600_000, problem.grid
    over = [max(0.0, kw - limit) for kw, limit in zip(plan.grid_kw, grid.import_limit_kw, strict=True)]
    yield "import_limit", (sum(over) * hours, grid.over_limit_price)
    over = [max(0.0, -kw - limit) for kw, limit in zip(plan.grid_kw, grid.export_limit_kw, strict=True)]
    yield "export_limit", (sum(over) * hours, grid.over_limit_price)
    tiers = 0.0
    for tier in problem.shed_tiers:
        kwh = sum(plan.shed_by_tier_kw[tier.name]) * hours
        tiers += kwh
        yield f"shed:{tier.name}", (kwh, tier.price)
    yield "shed", (max(0.0, sum(plan.shed_kw) * hours - tiers), problem.shed_price)
    for feeder in problem.feeders:
        members = [
            [step.expected_w for step in plan.storages[name]]
            if name in plan.storages
            else [step.power_w for step in plan.units[name]]
            for name in feeder.assets
        ]
        beyond = 0.0
        for t in range(len(feeder.load_kw)):
            kw = feeder.load_kw[t] - feeder.pv_kw[t]
            kw += sum(plan.feeder_curtailed_kw[name][t] for name in (feeder.id, *feeder.inner))
            kw += sum(series[t] for series in members) / 1000
            most = max(kw - feeder.import_limit_kw[t], -kw - feeder.export_limit_kw[t])
            beyond += _beyond(most, ROUNDING_KW * (len(members) + 1))
        yield f"feeder:{feeder.id}", (beyond * hours, feeder.price)


def _priced_battery(problem: Problem, battery: Battery, plan: Plan) -> Iterator[tuple[str, tuple[float, float]]]:
    soc = plan.soc_kwh[battery.id]
    near = ROUNDING_KWH * max(problem.slot_ms / 3_600_000, 1.0)
    yield f"final:{battery.id}", (_beyond(battery.final_kwh - soc[-1], near), _dearest(problem))
    there = zip(soc, problem.grid.available, strict=True)
    yield (
        f"reserve:{battery.id}",
        (sum(max(0.0, battery.reserve_kwh - kwh) for kwh, on in there if on), battery.reserve_price),
    )
    outside = sum(_beyond(max(battery.soc_min_kwh - kwh, kwh - battery.soc_max_kwh), near) for kwh in soc)
    yield f"soc_limit:{battery.id}", (outside, _dearest(problem))
    if battery.trip_kwh:
        yield f"trip:{battery.id}", (sum(plan.trip_unserved_kwh[battery.id]), battery.trip_price)
    for leaves in battery.departures:
        name = f"departure:{battery.id}:{leaves.slot}"
        yield name, (_beyond(leaves.energy_kwh - soc[leaves.slot - 1], near), leaves.price)


def _priced_genset(problem: Problem, genset: Genset, plan: Plan) -> Iterator[tuple[str, tuple[float, float]]]:
    hours, steps = problem.slot_ms / 3_600_000, plan.units[genset.id]
    low = sum(max(0.0, genset.power_kw_min + step.power_w / 1000) for step in steps if step.on)
    yield f"min_load:{genset.id}", (low * hours, _dearest(problem))
    if genset.ramp_kw is None:
        return
    jumped, was, kw_was = 0.0, genset.running, genset.power_now_kw
    for step in steps:
        kw = -step.power_w / 1000
        allowed = genset.ramp_kw if step.on and was else max(genset.ramp_kw, genset.power_kw_min)
        if kw_was is not None:
            jumped += _beyond(abs(kw - kw_was) - allowed, 2 * ROUNDING_KW)
        was, kw_was = step.on, kw
    yield f"ramp:{genset.id}", (jumped * hours, genset.ramp_price)


def _priced_reserve(problem: Problem, reserve: Reserve, plan: Plan) -> Iterator[tuple[str, tuple[float, float]]]:
    hours = problem.slot_ms / 3_600_000
    near = ROUNDING_KW * (len(problem.batteries) + len(problem.gensets) + 1)
    forming = [b for b in problem.batteries if b.forms_grid]
    spinning = outage = 0.0
    for t, grid in enumerate(problem.grid.available):
        room = running = 0.0
        for genset in problem.gensets:
            step = plan.units[genset.id][t]
            room += (genset.power_kw_max + step.power_w / 1000) * step.on
            running += genset.power_kw_max * step.on
        kept = 0.0
        for battery in forming:
            if battery.present and not battery.present[t]:
                continue
            lowest = min(battery.soc_min_kwh, battery.soc_now_kwh)
            kwh = (plan.soc_kwh[battery.id][t] - lowest) * battery.discharge_efficiency
            kept += kwh
            spare = battery.discharge_kw_max + plan.storages[battery.id][t].expected_w / 1000
            room += max(0.0, min(spare, kwh / hours))
        ahead = sum(problem.critical_kw[t + 1 : t + 1 + reserve.outage_slots]) * hours
        if not grid:
            spinning += _beyond(reserve.spinning_kw[t] - room, near)
        elif ahead > 0.0:
            outage += _beyond(ahead - kept - running * hours * reserve.outage_slots, near * reserve.outage_slots)
    yield "spinning", (spinning * hours, reserve.spinning_price)
    yield "outage", (outage, reserve.outage_price)
