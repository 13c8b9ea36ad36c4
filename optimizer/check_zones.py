"""Looks at a zone's plan anew: plain numbers, one state at a time, no line shared with `optimizer.zone_plan`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from math import isfinite

from optimizer.plan import Violation
from optimizer.zones import ZonePlan, ZoneProblem

LEVEL_NEAR_KL = 1e-4
MONEY_NEAR = 1e-6


def check_zone(problem: ZoneProblem, plan: ZonePlan) -> list[Violation]:
    """Returns everything that is wrong with a plan: its shape, its levels, its limits and its money."""
    n = len(problem.demand_kl_per_h)
    every = [plan.choice, plan.power_kw, *plan.level_kl]
    if any(len(series) != n for series in every) or len(plan.level_kl) != len(problem.table.tanks):
        return [
            Violation("shape", None, len(plan.choice), n, "a series has not one value per slot, or a tank has none")
        ]
    if not all(isfinite(value) for series in every for value in series):
        return [Violation("shape", None, 0.0, 0.0, "a value is not a number")]
    if not all(0 <= at < len(problem.table.configurations) for at in plan.choice):
        return [Violation("configuration", None, max(plan.choice), n, "there is no such configuration")]
    return list(_follow(problem, plan))


def _follow(problem: ZoneProblem, plan: ZonePlan) -> Iterator[Violation]:
    table, level = problem.table, list(problem.level_now_kl)
    energy = money = 0.0
    running = {pump for pump, _ in problem.now.speeds}
    starts = 0
    for slot, choice in enumerate(plan.choice):
        kwh = 0.0
        for _ in range(problem.parts):
            flows, kw, pressure = _between(problem, choice, level, problem.demand_kl_per_h[slot])
            hours = problem.slot_h / problem.parts
            kwh += kw * hours
            level = [kl + flow * hours for kl, flow in zip(level, flows, strict=True)]
            if pressure < table.pressure_m_min:
                yield Violation("pressure", slot, pressure, table.pressure_m_min, "m at a tap")
            for tank, kl in zip(table.tanks, level, strict=True):
                if not tank.low_kl - LEVEL_NEAR_KL <= kl <= tank.high_kl + LEVEL_NEAR_KL:
                    limit = tank.low_kl if kl < tank.low_kl else tank.high_kl
                    yield Violation("tank_limit", slot, kl, limit, f"{tank.id} kL")
        for tank, kl, series in zip(table.tanks, level, plan.level_kl, strict=True):
            if abs(series[slot] - kl) > LEVEL_NEAR_KL:
                yield Violation("tank", slot, series[slot], kl, f"{tank.id} kL")
        if abs(plan.power_kw[slot] * problem.slot_h - kwh) > 1e-4:
            yield Violation("pump_power", slot, plan.power_kw[slot], kwh / problem.slot_h, "kW")
        energy += kwh * problem.price[slot]
        short = sum(max(least - kl, 0.0) for least, kl in zip(problem.reserve_kl, level, strict=True))
        money += problem.reserve_price * short
        on = {pump for pump, _ in table.configurations[choice].speeds}
        starts += len(on - running)
        running = on
    money += energy + problem.start_price * starts - problem.terminal_value * sum(level)
    money += problem.final_price * sum(max(w - kl, 0.0) for w, kl in zip(problem.final_kl, level, strict=True))
    for rule, seen, is_ in (("energy_cost", plan.energy_cost, energy), ("cost", plan.cost, money)):
        if abs(seen - is_) > MONEY_NEAR * max(1.0, abs(is_)):
            yield Violation(rule, None, seen, is_, "money")
    if plan.starts != starts:
        yield Violation("starts", None, plan.starts, starts, "pump starts")


def _between(
    problem: ZoneProblem, choice: int, level: Sequence[float], demand: float
) -> tuple[list[float], float, float]:
    """Returns (inflow of each tank, kW, least pressure) between the points of the table."""
    table = problem.table
    corners: list[tuple[tuple[int, ...], float]] = [((choice,), 1.0)]
    for axis, value in [*zip(table.levels_kl, level, strict=True), (table.demand_kl_per_h, demand)]:
        inside = min(max(value, axis[0]), axis[-1])
        at = max(0, min(bisect_right(axis, inside) - 1, len(axis) - 2))
        upper = min(at + 1, len(axis) - 1)
        part = 0.0 if upper == at else (inside - axis[at]) / (axis[upper] - axis[at])
        corners = [
            ((*place, index), weight * share)
            for place, weight in corners
            for index, share in ((at, 1.0 - part), (upper, part))
            if weight * share > 1e-9
        ]
    flows = [
        sum(weight * float(table.inflow_kl_per_h[(*place, tank)]) for place, weight in corners)
        for tank in range(len(table.tanks))
    ]
    kw = sum(weight * float(table.power_kw[place]) for place, weight in corners)
    return flows, kw, min(float(table.pressure_m[place]) for place, _ in corners)
