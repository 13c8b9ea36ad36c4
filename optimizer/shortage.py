"""What is missing when a lifeline cannot be served: which, when and how much, from the elastic model."""

from __future__ import annotations

from devices.clock import Instant, iso
from optimizer.arrays import FloatArray
from optimizer.formulation import Layout
from optimizer.problem import Problem, WaterSystem

LEAST = 1e-4
"""kWh or kL below which a missing amount is solver tolerance."""


def reasons(problem: Problem, layout: Layout, x: FloatArray) -> tuple[str, ...]:
    """Returns one sentence per lifeline that cannot be served; empty when all can."""
    kwh = (x[layout.load.missing] * problem.slot_h).tolist()
    found = list[str]()
    if sum(kwh) > LEAST:
        sources = [g.id for g in problem.gensets] + [b.id for b in problem.batteries]
        served = f"solar and {', '.join(sources)}" if sources else "solar alone"
        where = "no grid, " if not all(problem.grid.available) else ""
        found.append(f"critical load: {_missing(problem, kwh, 'kWh')}; {where}{served} cannot give more")
    for water in problem.water:
        kl = x[layout.water[water.tank_id].missing].tolist()
        if sum(kl) > LEAST:
            found.append(
                f"lifeline water of {water.tank_id}: {_missing(problem, kl, 'kL')}; it starts with "
                f"{water.level_now_kl:.3f} kL and {water.pump_id} gives at most {water.pump_flow_kl_per_h:.3f} kL/h"
                + _sources(problem, water)
            )
    return tuple(found)


def _sources(problem: Problem, water: WaterSystem) -> str:
    """Returns what else brings water, and which well is too weak for it."""
    names = {water.well, *(plant.source for plant in problem.plants if plant.tank == water.tank_id)}
    wells = [
        f"{well.id} holds {well.level_now_kl:.3f} kL and gives {well.yield_kl_per_h:.3f} kL/h"
        for well in problem.wells
        if well.id in names
    ]
    plants = [
        f"{plant.id} at most {max(p.flow_kl_per_h for p in (*plant.points, *plant.phases)):.3f} kL/h"
        for plant in problem.plants
        if plant.tank == water.tank_id
    ]
    return "".join(f"; {text}" for text in (*plants, *wells))


def _missing(problem: Problem, amounts: list[float], unit: str) -> str:
    at = [t for t, amount in enumerate(amounts) if amount > LEAST / len(amounts)]
    first = Instant(problem.start + at[0] * problem.slot_ms)
    last = Instant(problem.start + (at[-1] + 1) * problem.slot_ms)
    return f"{sum(amounts):.3f} {unit} missing between {iso(first)} and {iso(last)} (slots {at[0]} to {at[-1]})"
