"""Looks at wells, plants and rationing anew: plain numbers, no line shared with the formulation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from optimizer.plan import ROUNDING_KWH, Plan, UnitStep
from optimizer.problem import AssetId, OperatingPoint, Problem, WaterPlant, WaterSystem, Well

Found = tuple[str, int | None, float, float, str]
"""(rule, slot, seen, limit, what)"""

_NEAR_KL = 1e-5
_HALF_W = 0.5 + 1e-6


def plant_problems(problem: Problem, plan: Plan) -> Iterator[Found]:
    """Yields what is wrong with the plants' steps and the wells' levels."""
    for plant in problem.plants:
        yield from _phases(plant, plan.units[plant.id]) if plant.phases else _points(plant, plan.units[plant.id])
    for well in problem.wells:
        yield from _well(problem, well, plan)


def _points(plant: WaterPlant, steps: Sequence[UnitStep]) -> Iterator[Found]:
    least, most = plant.points[0].power_kw * 1000, plant.points[-1].power_kw * 1000
    for t, step in enumerate(steps):
        low, high = (least, most) if step.on else (0.0, 0.0)
        if not low - _HALF_W <= step.power_w <= high + _HALF_W:
            yield "plant_power", t, step.power_w, low if step.power_w < low else high, f"{plant.id} W"
    run, counted = 0, not plant.running
    for t, step in enumerate(steps):
        if step.on:
            run += 1
            continue
        if counted and 0 < run < plant.min_run_slots:
            yield "plant_run", t, run, plant.min_run_slots, f"{plant.id} slots in a run"
        run, counted = 0, True


def _phases(plant: WaterPlant, steps: Sequence[UnitStep]) -> Iterator[Found]:
    phase = plant.phase_now
    for t, step in enumerate(steps):
        if not step.on:
            if phase:
                yield "plant_batch", t, phase, len(plant.phases), f"{plant.id} breaks a batch off: phases"
            if step.power_w:
                yield "plant_power", t, step.power_w, 0.0, f"{plant.id} W"
            phase = 0
            continue
        wanted = plant.phases[phase].power_kw * 1000
        if abs(step.power_w - wanted) > _HALF_W:
            yield "plant_power", t, step.power_w, wanted, f"{plant.id} W in phase {phase}"
        phase = (phase + 1) % len(plant.phases)
    if phase and (not plant.phase_now or phase != plant.phase_now + len(steps)):
        yield "plant_batch", len(steps) - 1, phase, len(plant.phases), f"{plant.id} ends within a batch: phases"


def _flow(plant: WaterPlant, steps: Sequence[UnitStep]) -> list[float]:
    """Returns kL/h into the tank per slot, from what the plant draws."""
    if plant.phases:
        found: list[float] = []
        phase = plant.phase_now
        for step in steps:
            found.append(plant.phases[phase].flow_kl_per_h if step.on else 0.0)
            phase = (phase + 1) % len(plant.phases) if step.on else 0
        return found
    return [_at_power(plant.points, step.power_w / 1000) if step.on else 0.0 for step in steps]


def _at_power(points: Sequence[OperatingPoint], kw: float) -> float:
    for lower, upper in pairwise(points):
        if kw <= upper.power_kw:
            part = max(0.0, (kw - lower.power_kw) / (upper.power_kw - lower.power_kw))
            return lower.flow_kl_per_h + part * (upper.flow_kl_per_h - lower.flow_kl_per_h)
    return points[-1].flow_kl_per_h


def into_tank(problem: Problem, plan: Plan, tank: AssetId) -> list[float]:
    """Returns what plants bring into a tank less what they take out of it, per slot [kL]."""
    hours = problem.slot_ms / 3_600_000
    net = [0.0] * len(problem.load_kw)
    for plant in problem.plants:
        gain = (1.0 if plant.tank == tank else 0.0) - (1.0 / plant.recovery if plant.source == tank else 0.0)
        if gain:
            flows = _flow(plant, plan.units[plant.id])
            net = [kl + gain * flow * hours for kl, flow in zip(net, flows, strict=True)]
    return net


def whole_watts_kl(problem: Problem, store: str) -> float:
    """Returns by how much a tank or well may miss its limits because plants of variable speed run at whole watts."""
    return sum(0.002 for plant in problem.plants if store in (plant.source, plant.tank) and len(plant.points) > 1)


def _well(problem: Problem, well: Well, plan: Plan) -> Iterator[Found]:
    hours = problem.slot_ms / 3_600_000
    taken = [-kl for kl in into_tank(problem, plan, well.id)]
    near = _NEAR_KL
    for water in problem.water:
        if water.well == well.id:
            full = round(water.pump_kw * 1000)
            steps = plan.units[water.pump_id]
            pumped = [water.pump_flow_kl_per_h * hours * step.power_w / full for step in steps]
            taken = [a + b for a, b in zip(taken, pumped, strict=True)]
            near += water.pump_flow_kl_per_h * hours * ROUNDING_KWH / water.pump_kw
    near += whole_watts_kl(problem, well.id)
    level, top = well.level_now_kl, max(well.storage_kl, well.level_now_kl)
    for t, kl in enumerate(taken):
        level = min(top, level + well.yield_kl_per_h * hours - kl)
        if level < -near:
            yield "well_dry", t, level, 0.0, f"{well.id} kL above the intake"
        if abs(plan.well_kl[well.id][t] - level) > _NEAR_KL:
            yield "well", t, plan.well_kl[well.id][t], level, f"{well.id} kL"
    if well.limit_kl is not None and sum(taken) > well.limit_kl + near:
        yield "well_limit", None, sum(taken), well.limit_kl, f"{well.id} kL taken"


def rationed(water: WaterSystem, unserved: Sequence[float]) -> Iterator[tuple[str, float, float]]:
    """Yields (name, kL, price) of each tier's part of what is not served: the cheapest tier goes first."""
    parts = [(tier.price, f"water:{water.tank_id}:{tier.name}", tier.kl) for tier in water.tiers]
    spare = [max(0.0, a - b) for a, b in zip(water.demand_kl, water.lifeline_kl, strict=True)]
    rest = [max(0.0, kl - sum(tier.kl[t] for tier in water.tiers)) for t, kl in enumerate(spare)]
    parts.append((water.unserved_price, f"water:{water.tank_id}", tuple(rest)))
    left = list(unserved)
    for price, name, most in sorted(parts, key=lambda part: part[0]):
        given_up = [min(a, b) for a, b in zip(left, most, strict=True)]
        left = [a - b for a, b in zip(left, given_up, strict=True)]
        yield name, sum(given_up), price


def started(problem: Problem, plan: Plan) -> float:
    """Returns the money of the plants' starts."""
    money = 0.0
    for plant in problem.plants:
        was, count, phase = plant.running, 0, plant.phase_now
        for step in plan.units[plant.id]:
            if plant.phases:
                count += step.on and phase == 0
                phase = (phase + 1) % len(plant.phases) if step.on else 0
            else:
                count += step.on and not was
            was = step.on
        money += plant.start_price * count
    return money
