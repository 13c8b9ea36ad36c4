"""The one entry of the planner: solve(problem, stop, seed, warm_start) -> Plan | Infeasible. Pure."""

from __future__ import annotations

from dataclasses import replace

from optimizer import engine, shortage
from optimizer.arrays import Model
from optimizer.dispatch import dispatch
from optimizer.engine import Outcome, Solution
from optimizer.explain import Prices
from optimizer.formulation import (
    Layout,
    conflicts,
    every_slot,
    formulate,
    integers_fixed,
    lifelines_only,
)
from optimizer.plan import Infeasible, Plan
from optimizer.problem import Problem, Stop
from optimizer.schedule import make_plan
from optimizer.validation import validate

_ROUNDS = 3
"""Solves that add binaries only where flows collide; after that every slot gets one."""


def solve(problem: Problem, stop: Stop, seed: int, warm_start: Plan | None = None) -> Plan | Infeasible:
    """Returns the best plan within `stop`, or why there is none: the problem's own faults or a lifeline's shortage.

    Equal arguments give equal plans while `stop.seconds` is None. `warm_start` belongs to the seam: the present
    engine (HiGHS through MathOpt) takes none.

    Raises:
        NoPlanFound: time or nodes ran out before any plan was known.
        SolverRefused: the engine broke down.
    """
    del warm_start
    broken = validate(problem)
    if broken:
        return Infeasible(tuple(broken))
    model, layout, solution = _best(problem, stop, seed)
    if solution.outcome is Outcome.INFEASIBLE:
        return Infeasible(_why_infeasible(problem, stop, seed))
    return _finished(problem, model, layout, solution, seed)


def _best(problem: Problem, stop: Stop, seed: int) -> tuple[Model, Layout, Solution]:
    """Solves, adding binaries where a solution uses two flows at once that exclude each other."""
    exclusive: frozenset = frozenset()
    spent = 0.0
    for round_ in range(_ROUNDS + 1):
        model, layout = formulate(problem, exclusive)
        solution = engine.run(model, _left(stop, spent), seed)
        spent += solution.seconds
        if solution.outcome is Outcome.INFEASIBLE:
            break
        found = conflicts(problem, layout, solution.x) - exclusive
        if not found:
            break
        exclusive |= found
        if round_ == _ROUNDS - 1:
            exclusive = every_slot(problem, exclusive)
    return model, layout, solution


def _left(stop: Stop, spent: float) -> Stop:
    return stop if stop.seconds is None else replace(stop, seconds=max(stop.seconds - spent, 0.1))


def _finished(problem: Problem, model: Model, layout: Layout, solution: Solution, seed: int) -> Plan:
    """Returns the plan of an incumbent, made exact and priced by the LP with its integers fixed."""
    fixed = engine.run(integers_fixed(model, solution.x), Stop(None, 0.0, None), seed)
    exact = solution if fixed.outcome is Outcome.INFEASIBLE else fixed
    duals = fixed.duals if len(fixed.duals) else solution.duals
    h = problem.slot_h
    prices = Prices(
        tuple((duals[layout.coupling.balance] / h).tolist()),
        {b.id: tuple(duals[layout.batteries[b.id].soc_rows].tolist()) for b in problem.batteries},
    )
    return make_plan(problem, dispatch(problem, layout, exact.x), prices, solution.bound, solution.outcome.value)


def _why_infeasible(problem: Problem, stop: Stop, seed: int) -> tuple[str, ...]:
    model, layout = formulate(problem, elastic=True)
    solution = engine.run(lifelines_only(model, layout), replace(stop, gap=1e-6), seed)
    found = shortage.reasons(problem, layout, solution.x) if len(solution.x) else ()
    return found or ("the engine found no plan and no lifeline that is short: a fault of the planner",)
