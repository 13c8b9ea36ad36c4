"""Genset commitment against trying every schedule."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer import engine
from optimizer.commitment import commit
from optimizer.formulation import decided, formulate, relaxed
from optimizer.problem import AssetId, Genset, Problem, Stop
from tests.optimizer.problems import bare, battery

SLOTS = 6
EXACT = Stop(seconds=None, gap=0.0)
_powers = st.lists(st.integers(0, 12).map(float), min_size=SLOTS, max_size=SLOTS).map(tuple)


def cost_of(problem: Problem, schedule: tuple[float, ...]) -> float:
    """Returns the least cost with a given schedule, by the LP; infinite where minimum times forbid it."""
    model, layout = formulate(problem)
    genset = layout.gensets[problem.gensets[0].id]
    values = np.array(schedule)
    if (values < model.lower[genset.on]).any() or (values > model.upper[genset.on]).any():
        return np.inf
    solution = engine.run(relaxed(decided(model, genset.on, values)), EXACT, 1)
    return float(model.cost @ solution.x) if solution.outcome is engine.Outcome.OPTIMAL else np.inf


@settings(max_examples=25)
@given(
    load=_powers,
    pv=_powers,
    island=st.booleans(),
    stored=st.sampled_from([None, 2.0, 10.0]),
    up=st.integers(0, 3),
    down=st.integers(0, 3),
    running=st.booleans(),
    age=st.integers(0, 3),
)
def test_the_schedule_costs_what_the_best_of_all_schedules_costs(
    load: tuple[float, ...],
    pv: tuple[float, ...],
    island: bool,
    stored: float | None,
    up: int,
    down: int,
    running: bool,
    age: int,
) -> None:
    genset = Genset(AssetId("genset-1"), 10.0, 3.0, 1.0, 0.2, 0.7, up, down, running, age)
    problem = replace(bare(load, pv, island=island, critical=(0.0,) * SLOTS), gensets=(genset,))
    if stored is not None:
        small = replace(battery(stored), energy_kwh=12.0, soc_min_kwh=1.0, soc_max_kwh=11.0, reserve_kwh=0.0)
        problem = replace(problem, batteries=(small,))
    net = np.array(load) - np.array(pv)
    best = min(cost_of(problem, schedule) for schedule in product((0.0, 1.0), repeat=SLOTS))
    found = cost_of(problem, tuple(commit(problem, genset, net).tolist()))
    assert found <= best + 0.02 * abs(best) + 0.02
