"""What power is worth to the other sectors: the energy plan's prices, and how much there is at them.

The linear relaxation of the energy plan, with the other sectors' power as load, gives its cost and, by its duals, what
one kWh more would cost in each slot. A price alone would send every sector into the same cheap slot, so it comes
with room: up to `room_kw` the price holds, beyond it the limit's own price does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from optimizer import engine
from optimizer.arrays import FloatArray
from optimizer.engine import Outcome, Solution
from optimizer.formulation import Layout, formulate, power_price, relaxed
from optimizer.plan import Basis
from optimizer.problem import Problem, Series
from optimizer.sectors import Profile
from optimizer.tasks import Supply


@dataclass(frozen=True, slots=True)
class Market:
    """The energy plan as the sectors see it."""

    cost: float  # of the relaxed energy plan with the profile in it
    price: Series  # per kWh more, by slot
    spare_kw: Series  # solar that would be cut or sold, and charging that could wait
    room_kw: Series  # beyond that, until a limit is reached
    beyond: Series  # the price of that room
    missing_kwh: float  # what vehicles lack when they leave
    basis: Basis | None  # of its LP: the next differs by one sector's power

    def supply(self, price: Sequence[float] | None = None) -> tuple[Supply, ...]:
        """Returns the two steps of power for work; another price may stand in for this market's own."""
        first = tuple(self.price if price is None else price)
        return Supply(self.spare_kw, first), Supply(self.room_kw, tuple(map(max, first, self.beyond)))


def with_profile(problem: Problem, profile: Profile) -> Problem:
    """Returns the energy problem that also carries a profile, as load that is not critical."""
    water = problem.water
    if water and any(profile.water_kl):
        demand = tuple(a + b for a, b in zip(water[0].demand_kl, profile.water_kl, strict=True))
        water = (replace(water[0], demand_kl=demand), *water[1:])
    return replace(
        problem,
        load_kw=tuple(a + b for a, b in zip(problem.load_kw, profile.used_kw, strict=True)),
        pv_kw=tuple(a + b for a, b in zip(problem.pv_kw, profile.offered_kw, strict=True)),
        water=water,
        scenarios=(),
    )


def market(problem: Problem, profile: Profile, seed: int, near: Basis | None = None) -> Market | None:
    """Returns the market with a profile in it, or None where a lifeline cannot be served at all.

    `near` is the basis of another profile's: from there half the time is enough.
    """
    whole = with_profile(problem, profile)
    model, layout = formulate(whole)
    solution = engine.run_warm(relaxed(model), near, seed)
    if solution.outcome is Outcome.INFEASIBLE:
        return None
    price = power_price(problem, layout, solution.duals)
    spare, room = _spare(whole, layout, solution), _room(whole, layout, solution)
    return Market(
        float(model.cost @ solution.x),
        tuple(price.tolist()),
        tuple(spare.tolist()),
        tuple(room.tolist()),
        whole.price_beyond,
        _missing(whole, layout, solution),
        solution.basis,
    )


def _spare(problem: Problem, layout: Layout, solution: Solution) -> FloatArray:
    x, load = solution.x, layout.load
    spare: FloatArray = x[load.curtailed] + x[load.sold] + x[load.sold_over]
    for battery in problem.batteries:
        spare = spare + x[layout.batteries[battery.id].charge]
    return np.maximum(spare, 0.0)


def _room(problem: Problem, layout: Layout, solution: Solution) -> FloatArray:
    x, load = solution.x, layout.load
    there = np.array(problem.grid.available, dtype=np.float64)
    room: FloatArray = np.maximum(np.array(problem.grid.import_limit_kw) - x[load.bought], 0.0) * there
    for genset in problem.gensets:
        columns = layout.gensets[genset.id]
        room = room + np.maximum(genset.power_kw_max - x[columns.power], 0.0)
    for battery in problem.batteries:
        columns = layout.batteries[battery.id]
        usable = np.maximum(x[columns.soc] - battery.soc_min_kwh, 0.0) / problem.slot_h * battery.discharge_efficiency
        room = room + np.minimum(np.maximum(battery.discharge_kw_max - x[columns.discharge], 0.0), usable)
    return room


def _missing(problem: Problem, layout: Layout, solution: Solution) -> float:
    missing = 0.0
    for battery in problem.batteries:
        columns = layout.batteries[battery.id]
        missing += float(solution.x[columns.trip_unserved].sum())
        for leaves in battery.departures:
            missing += max(0.0, leaves.energy_kwh - float(solution.x[columns.soc[leaves.slot - 1]]))
    return missing
