"""Jobs that a relaxation runs in parts: whole without a search where that is as good, searched where it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ortools.math_opt import parameters_pb2

from optimizer import engine
from optimizer.arrays import FloatArray
from optimizer.check import check
from optimizer.engine import Solution
from optimizer.formulation import decided, formulate, relaxed
from optimizer.plan import Plan
from optimizer.problem import AssetId, Job, Problem, Stop
from optimizer.rounding import are_whole, nearly
from optimizer.solve import solve
from tests.optimizer.problems import bare

EXACT = Stop(seconds=None, gap=0.0, nodes=None)
JOB = AssetId("mill")


def day(pv: tuple[float, ...]) -> Problem:
    mill = Job(JOB, (2.0,) * 2, (0.0,) * 2, 0, len(pv) - 2, 20.0)
    return replace(bare((0.0,) * len(pv), pv, island=False), jobs=(mill,))


def started(problem: Problem, slot: int) -> Solution:
    model, layout = formulate(problem)
    start: FloatArray = (np.arange(len(layout.jobs[JOB].start)) == slot).astype(np.float64)
    return engine.run(relaxed(decided(model, layout.jobs[JOB].start, start)), EXACT, 1)


def in_parts(problem: Problem, often: int, seldom: int) -> Solution:
    one, other = started(problem, often), started(problem, seldom)
    return replace(one, x=0.6 * one.x + 0.4 * other.x, basis=None)


def test_the_start_that_a_relaxation_likes_less_is_tried_where_the_other_is_dear() -> None:
    problem = day((0.0, 0.0, 1.0, 2.0, 2.0, 1.0))
    model, layout = formulate(problem)
    found = nearly(problem, model, layout, in_parts(problem, 0, 3), 1, 1e-4)
    assert isinstance(found, Solution)
    assert are_whole(model, found.x)
    assert found.x[layout.jobs[JOB].start].argmax() == 3
    assert model.cost @ found.x == pytest.approx(model.cost @ started(problem, 3).x)


def test_where_every_whole_start_costs_more_than_its_parts_a_search_has_to_tell() -> None:
    problem = day((1.0,) * 6)
    model, layout = formulate(problem)
    relaxation = engine.run(relaxed(model), EXACT, 1)
    assert not are_whole(model, relaxation.x)
    assert nearly(problem, model, layout, relaxation, 1, 1e-4) is model
    plan = solve(problem, Stop(seconds=None, gap=1e-4), 1)
    assert isinstance(plan, Plan)
    assert not check(problem, plan)
    assert plan.cost == pytest.approx(min(float(model.cost @ started(problem, slot).x) for slot in range(5)))


def test_equal_halves_are_made_whole_without_any_search(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = day((2.0,) * 6)
    model, layout = formulate(problem)
    relaxation = in_parts(problem, 1, 4)
    run = engine.run

    def never_integer(model: engine.Model, stop: Stop, seed: int) -> Solution:
        assert not model.integer.any(), "a search"
        return run(model, stop, seed)

    monkeypatch.setattr(engine, "run", never_integer)
    found = nearly(problem, model, layout, relaxation, 1, 0.0)
    assert isinstance(found, Solution)
    assert model.cost @ found.x == pytest.approx(model.cost @ relaxation.x)


def test_where_glop_breaks_down_highs_begins_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = formulate(day((1.0,) * 6))
    first = engine.run(relaxed(model), EXACT, 1)
    solve_with, asked = engine._solve, list[int]()

    def breaks_down(proto: object, parameters: object, solver: int = 0, *more: object) -> object:
        asked.append(solver)
        if solver == parameters_pb2.SOLVER_TYPE_GLOP:
            raise engine.SolverRefused("ABNORMAL")
        return solve_with(proto, parameters)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(engine, "_solve", breaks_down)
    again = engine.run_warm(relaxed(model), first.basis, 1)
    assert parameters_pb2.SOLVER_TYPE_GLOP in asked
    assert again.outcome is engine.Outcome.OPTIMAL
    assert model.cost @ again.x == pytest.approx(model.cost @ first.x)
