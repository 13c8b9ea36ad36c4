"""Faults of wells, plants and rationing tiers that make any plan of them meaningless."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import isfinite

from optimizer.problem import Problem, WaterPlant, WaterSystem, Well


def plant_faults(problem: Problem) -> Iterator[str]:
    """Yields each fault in words."""
    wells = {well.id for well in problem.wells}
    tanks = {water.tank_id for water in problem.water}
    for well in problem.wells:
        yield from _well(well)
    for water in problem.water:
        if water.well is not None and water.well not in wells:
            yield f"{water.pump_id}: takes from {water.well}, which is no well of this problem"
        yield from _tiers(water, problem.slots)
    for plant in problem.plants:
        yield from _plant(plant)
        if plant.tank not in tanks:
            yield f"{plant.id}: fills {plant.tank}, which is no tank of this problem"
        if plant.source is not None and plant.source not in wells | tanks:
            yield f"{plant.id}: takes from {plant.source}, which is no well or tank of this problem"
        if plant.source == plant.tank:
            yield f"{plant.id}: fills the tank that it takes from"


def _well(well: Well) -> Iterator[str]:
    values = {"storage_kl": well.storage_kl, "level_now_kl": well.level_now_kl, "yield_kl_per_h": well.yield_kl_per_h}
    if well.limit_kl is not None:
        values["limit_kl"] = well.limit_kl
    for name, value in values.items():
        if not isfinite(value) or value < 0:
            yield f"{well.id}: {name} is {value}; it must be a number of at least 0"


def _tiers(water: WaterSystem, n: int) -> Iterator[str]:
    for tier in water.tiers:
        at = f"{water.tank_id}, tier {tier.name}"
        if len(tier.kl) != n:
            yield f"{at}: {len(tier.kl)} slots, {n} are needed"
        if not all(isfinite(kl) and kl >= 0 for kl in (*tier.kl, tier.price)):
            yield f"{at}: a value is not a number or negative"
    if len({tier.name for tier in water.tiers}) != len(water.tiers):
        yield f"{water.tank_id}: two tiers have the same name"
    for t, (demand, lifeline) in enumerate(zip(water.demand_kl, water.lifeline_kl, strict=False)):
        rationed = sum(tier.kl[t] for tier in water.tiers if t < len(tier.kl))
        if rationed > demand - lifeline + 1e-6:
            yield (
                f"{water.tank_id}: tiers may ration {rationed:.3f} kL in slot {t}, "
                f"above the lifeline are {demand - lifeline:.3f}"
            )
            return


def _plant(plant: WaterPlant) -> Iterator[str]:
    at = plant.id
    if bool(plant.points) == bool(plant.phases):
        yield f"{at}: it needs points (on/off, speeds) or phases (batches), one of the two"
    values = [plant.start_price, plant.stop_price]
    values += [value for p in (*plant.points, *plant.phases) for value in (p.flow_kl_per_h, p.power_kw)]
    if not all(isfinite(value) and value >= 0 for value in values):
        yield f"{at}: a price, flow or power is not a number or negative"
        return
    if not 0 < plant.recovery <= 1:
        yield f"{at}: recovery is {plant.recovery}; it lies above 0 and up to 1"
    if plant.min_run_slots < 1 or plant.keep_slots < 0:
        yield f"{at}: min_run_slots is {plant.min_run_slots}, keep_slots {plant.keep_slots}"
    if not 0 <= plant.phase_now < max(len(plant.phases), 1):
        yield f"{at}: {plant.phase_now} of its {len(plant.phases)} phases are said to be done"
    if plant.points and plant.points[0].power_kw < 0.001:
        yield f"{at}: its first point draws {plant.points[0].power_kw} kW; less than a watt cannot be planned"
    slopes: list[float] = []
    for a, b in pairwise(plant.points):
        if b.flow_kl_per_h <= a.flow_kl_per_h or b.power_kw <= a.power_kw:
            yield f"{at}: its points do not rise"
            return
        slopes.append((b.power_kw - a.power_kw) / (b.flow_kl_per_h - a.flow_kl_per_h))
    if any(b < a * (1 - 1e-9) for a, b in pairwise(slopes)):
        yield f"{at}: power must rise faster than flow from point to point"
