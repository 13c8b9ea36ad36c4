"""Why a water plant runs or rests, in words."""

from __future__ import annotations

from optimizer.dispatch import Dispatch
from optimizer.explain import Prices, later
from optimizer.plan import Reason
from optimizer.problem import Problem, WaterPlant

_NEAR_KL = 0.01


def plant_reasons(problem: Problem, plan: Dispatch, prices: Prices, plant: WaterPlant) -> list[Reason]:
    """Returns the reason of every slot."""
    return [_reason(problem, plan, prices, plant, t) for t in range(problem.slots)]


def _reason(problem: Problem, plan: Dispatch, prices: Prices, plant: WaterPlant, t: int) -> Reason:
    price, on = prices.told[t], plan.on[plant.id]
    if on[t]:
        if plant.phases:
            return Reason(f"a batch fills {plant.tank} here at the lowest cost of energy and starts", price)
        return Reason(f"{plant.tank} is filled here at the lowest cost of energy and starts", price)
    well = next((well for well in problem.wells if well.id == plant.source), None)
    if well is not None and plan.well_kl[well.id][t] < _NEAR_KL + well.yield_kl_per_h * problem.slot_h:
        return Reason(f"{well.id} is dry: it gives {well.yield_kl_per_h:.2f} kL/h", price)
    following = next((s for s in range(t + 1, problem.slots) if on[s]), None)
    if following is None:
        return Reason(f"{plant.tank} lasts without it to the end of the plan", price)
    return Reason(f"runs {later(following - t, problem.slot_ms)} later, where it costs less", price)
