"""A warm re-plan keeps what was decided, passes the checker, and steps aside where the last plan does not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from devices.clock import SLOT_MS, Instant
from optimizer import engine
from optimizer.bounds import dual_bound
from optimizer.check import check
from optimizer.formulation import formulate, relaxed
from optimizer.plan import Plan
from optimizer.problem import AssetId, Problem, Stop
from optimizer.solve import solve
from tests.optimizer.problems import village

STOP = Stop(seconds=None)
EXACT = Stop(seconds=None, gap=0.0, nodes=None)
GENSET, JOB = AssetId("genset-1"), AssetId("irrigation")


def planned(problem: Problem, last: Plan | None = None) -> Plan:
    plan = solve(problem, STOP, 1, last)
    assert isinstance(plan, Plan)
    assert check(problem, plan) == []
    assert plan.bound <= plan.cost
    return plan


def changed(problem: Problem) -> Problem:
    """Returns the problem with other forecasts."""
    load = tuple(kw * (0.99 if t % 3 else 0.98) for t, kw in enumerate(problem.load_kw))
    return replace(problem, load_kw=load, critical_kw=tuple(0.97 * kw for kw in problem.critical_kw))


def test_a_warm_plan_that_would_shed_gives_way_to_a_new_search() -> None:
    problem = village(island=True, cloud=0.4)
    last = planned(problem)
    more = replace(problem, load_kw=tuple(1.1 * kw for kw in problem.load_kw))
    assert planned(more, last).cost == pytest.approx(planned(more).cost)


def test_a_warm_plan_keeps_the_decisions_and_costs_about_the_same() -> None:
    problem = village(island=True, cloud=0.4)
    last = planned(problem)
    warm, cold = planned(changed(problem), last), planned(changed(problem))
    assert [s.on for s in warm.units[GENSET]] == [s.on for s in last.units[GENSET]]
    assert [s.on for s in warm.units[JOB]] == [s.on for s in last.units[JOB]]
    assert warm.cost <= cold.cost + 0.05 * abs(cold.cost)


def test_a_plan_made_two_slots_ago_is_moved() -> None:
    problem = village(island=True, cloud=0.4)
    last = planned(problem)
    later = replace(problem, start=Instant(problem.start + 2 * SLOT_MS), chargers=(), jobs=())
    on = [s.on for s in last.units[GENSET]]
    later = replace(later, gensets=(replace(later.gensets[0], running=on[1]),))
    warm = planned(later, last)
    assert [s.on for s in warm.units[GENSET]][:94] == on[2:]


def test_a_warm_plan_tells_how_good_it_is_as_well_as_a_whole_search() -> None:
    problem = village(cloud=0.5)
    last = planned(problem)
    new = changed(problem)
    later = replace(new, start=Instant(new.start + SLOT_MS), chargers=(), jobs=())
    dearer = replace(new, grid=replace(new.grid, import_price=tuple(3.0 * one for one in new.grid.import_price)))
    for asked in (new, later, dearer):
        warm, cold = planned(asked, last), planned(asked)
        assert cold.bound - warm.bound < 0.005 * abs(cold.cost), "as near as the relaxation"
        assert warm.bound <= cold.cost
    again = planned(changed(new), planned(new, last))
    assert again.bound_prices == last.bound_prices, "for the same slots nothing is solved for it"


@pytest.mark.parametrize("shift", [-SLOT_MS, SLOT_MS // 2, 40 * SLOT_MS])
def test_a_plan_from_another_time_changes_nothing(shift: int) -> None:
    problem = village(cloud=0.4)
    last = replace(planned(village(cloud=0.7)), start=Instant(problem.start - shift))
    assert planned(problem, last) == planned(problem)


def test_a_plan_that_counts_on_a_grid_that_is_gone_changes_nothing() -> None:
    last = planned(village(cloud=0.1))
    alone = village(island=True, cloud=0.1)
    assert planned(alone, last) == planned(alone)


def test_a_basis_gives_the_same_optimum() -> None:
    model, _ = formulate(village(cloud=0.5))
    first = engine.run(relaxed(model), EXACT, 1)
    again, _ = formulate(changed(village(cloud=0.5)))
    warm, cold = engine.run_warm(relaxed(again), first.basis, 1), engine.run(relaxed(again), EXACT, 1)
    assert again.cost @ warm.x == pytest.approx(again.cost @ cold.x, rel=1e-7)


def test_a_basis_of_another_shape_is_no_basis() -> None:
    model, _ = formulate(village(cloud=0.5))
    other, _ = formulate(replace(village(cloud=0.5), jobs=()))
    basis = engine.run(relaxed(other), EXACT, 1).basis
    assert basis is not None
    warm, cold = engine.run_warm(relaxed(model), basis, 1), engine.run(relaxed(model), EXACT, 1)
    assert (warm.x == cold.x).all()


def test_the_dual_bound_meets_the_optimum_and_never_passes_it() -> None:
    model, _ = formulate(village(island=True, cloud=0.5))
    model = relaxed(model)
    solution = engine.run(model, EXACT, 1)
    best = float(model.cost @ solution.x)
    assert dual_bound(model, solution.duals) == pytest.approx(best, rel=1e-6)
    rng = np.random.default_rng(1)
    for _ in range(20):
        assert dual_bound(model, solution.duals + rng.normal(0.0, 0.05, len(solution.duals))) <= best + 1e-6
