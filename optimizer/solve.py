"""The one entry of the planner: solve(problem, stop, seed, warm_start) -> Plan | Infeasible. Pure.

Three small steps: the linear relaxation says what is impossible and bounds the cost; a MILP with pumps as
fractions of slots commits gensets (in hours) and jobs; then pumps get whole slots at the prices of that plan
and the LP with all decisions fixed gives the plan and the prices in its reasons. With scenarios, or a past to make
them of, the storages' modes in the first slot are then chosen over those futures (`hedge`), the rest planned around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from devices.units import W_PER_KW
from optimizer import engine, hedge, shortage
from optimizer.arrays import FloatArray, IntArray, Model
from optimizer.commitment import commit
from optimizer.dispatch import dispatch
from optimizer.engine import NoPlanFound, Outcome, Solution, SolverRefused
from optimizer.explain import Prices
from optimizer.formulation import (
    Layout,
    collisions,
    decided,
    formulate,
    integers_fixed,
    lifelines_only,
    relaxed,
)
from optimizer.hedge import Choice
from optimizer.modes import Flow, decide
from optimizer.plan import Infeasible, Mode, Plan
from optimizer.problem import AssetId, Problem, Stop
from optimizer.ridge import with_futures
from optimizer.schedule import make_plan
from optimizer.validation import validate
from optimizer.water import whole_slots

_ROUNDS = 5
"""Solves that close one side only where flows collide; after that, in every slot."""

_USED = 1e-6
"""A genset that the relaxation runs less than this in every slot is left off."""

_WHOLE = 1e-6
"""How near an integer must be to a whole number; solvers keep 1e-6 themselves."""

_EXACT = Stop(seconds=None, gap=0.0, nodes=None)


@dataclass(frozen=True, slots=True)
class _Solved:
    """A solution with its layout and the duals of the LP with integers fixed."""

    layout: Layout
    solution: Solution
    complete: bool  # no limit was hit on the way
    choice: Choice | None = None  # what the futures made of the first slot


_Restriction = Callable[[Model, Layout], Model]


def solve(problem: Problem, stop: Stop, seed: int, warm_start: Plan | None = None) -> Plan | Infeasible:
    """Returns the best plan within `stop`, or why there is none: the problem's own faults or a lifeline's shortage.

    Equal arguments give equal plans while `stop.seconds` is None. `warm_start` belongs to the seam: the present
    engine (HiGHS through MathOpt) takes none.

    Raises:
        NoPlanFound: time ran out before any plan was known.
        SolverRefused: the engine broke down.
    """
    del warm_start
    broken = validate(problem)
    if broken:
        return Infeasible(tuple(broken))
    model, layout = formulate(problem)
    relaxation = engine.run(relaxed(model), replace(_EXACT, seconds=stop.seconds), seed)
    if relaxation.outcome is Outcome.INFEASIBLE:
        return Infeasible(_why_infeasible(problem, seed))
    bound = float(model.cost @ relaxation.x)
    committed = _commit(problem, layout, relaxation, _left(stop, relaxation.seconds), seed)
    return _plan(problem, _hedged(with_futures(problem), _pump(problem, committed, seed), seed), bound, stop)


def _left(stop: Stop, spent: float) -> Stop:
    return stop if stop.seconds is None else replace(stop, seconds=max(stop.seconds - spent, 0.1))


def _commit(problem: Problem, layout: Layout, relaxation: Solution, stop: Stop, seed: int) -> _Solved:
    """Returns a plan with gensets and jobs decided. A genset that the relaxation leaves off stays off."""
    x = relaxation.x
    used = [g for g in problem.gensets if x[layout.gensets[g.id].on].max() > _USED]
    off = {g.id: np.zeros(problem.slots) for g in problem.gensets if g not in used}

    def with_schedules(on: dict[AssetId, FloatArray]) -> _Restriction:
        def restrict(model: Model, layout: Layout) -> Model:
            for name, schedule in on.items():
                model = decided(model, layout.gensets[name].on, schedule)
            return model

        return restrict

    try:
        if len(used) == 1:
            on = commit(problem, used[0], _net_load(problem, layout, x))
            solved = _restricted(problem, with_schedules({**off, used[0].id: on}), stop, seed)
            if solved is not None:  # it can be where several batteries cannot do what one of their size could
                return solved
        known = None if problem.gensets else relaxation
        solved = _restricted(problem, with_schedules(off), stop, seed, blocks=len(used) > 0, known=known)
    except NoPlanFound:
        solved = _restricted(problem, _always_possible, _EXACT, seed)
        solved = solved and replace(solved, complete=False)
    if solved is None:
        raise SolverRefused("HiGHS finds no commitment for a problem whose relaxation has a plan")
    return solved


def _net_load(problem: Problem, layout: Layout, x: FloatArray) -> FloatArray:
    """Returns what batteries, gensets and grid have to cover per slot when all else is as in `x` [kW]."""
    net = np.array(problem.load_kw) - np.array(problem.pv_kw)
    for water in problem.water:
        net += water.pump_kw * x[layout.water[water.tank_id].run]
    for charger in problem.chargers:
        net[charger.from_slot : charger.until_slot] += x[layout.chargers[charger.id].power]
    for job in problem.jobs:
        for offset, kw in enumerate(job.power_kw):
            net[job.earliest_slot + offset : job.latest_slot + 1 + offset] += kw * x[layout.jobs[job.id].start]
    return net


def _always_possible(model: Model, layout: Layout) -> Model:
    """Returns the model with gensets on wherever they may be and all jobs skipped: dear, but a plan."""
    for genset in layout.gensets.values():
        model = decided(model, genset.on, model.upper[genset.on])
    for job in layout.jobs.values():
        model = decided(model, job.start, np.zeros(len(job.start)))
    return model


def _restricted(
    problem: Problem,
    restrict: _Restriction,
    stop: Stop,
    seed: int,
    *,
    blocks: bool = False,
    known: Solution | None = None,
) -> _Solved | None:
    """Returns the best plan under a restriction, without colliding flows and with duals; None if there is none.

    `known` is the relaxation's solution where it has been solved already.
    """
    model, layout = formulate(problem, blocks=blocks)
    model = restrict(model, layout)
    solution = _relaxation_first(model, stop, seed, known)
    for round_ in range(_ROUNDS):
        if solution.outcome is Outcome.INFEASIBLE:
            return None
        closed = collisions(problem, layout, solution.x)
        if not len(closed):
            break
        if round_ == _ROUNDS - 1:
            closed = collisions(problem, layout, solution.x, everywhere=True)
        model = decided(model, closed, np.zeros(len(closed)))
        stop = _left(stop, solution.seconds)
        solution = _relaxation_first(model, stop, seed)
    complete = solution.outcome is Outcome.OPTIMAL
    if not len(solution.duals) and solution.outcome is not Outcome.INFEASIBLE:
        solution = engine.run(integers_fixed(model, solution.x), _EXACT, seed)
    return None if solution.outcome is Outcome.INFEASIBLE else _Solved(layout, solution, complete)


def _relaxation_first(model: Model, stop: Stop, seed: int, known: Solution | None = None) -> Solution:
    """Returns the linear relaxation's solution where its integers are whole already, as with jobs they mostly are."""
    solution = known or engine.run(relaxed(model), replace(_EXACT, seconds=stop.seconds), seed)
    if solution.outcome is Outcome.INFEASIBLE:
        return solution
    integers = solution.x[model.integer]
    if len(integers) == 0 or np.abs(integers - np.round(integers)).max() < _WHOLE:
        return solution
    return replace(engine.run(model, _left(stop, solution.seconds), seed), duals=np.zeros(0))


def _pump(problem: Problem, solved: _Solved, seed: int) -> _Solved:
    """Returns the plan with pumps running whole slots, everything else re-planned around them."""
    if not problem.water:
        return solved
    price = _power_prices(problem, solved)
    runs = {
        w.tank_id: whole_slots(w, problem.slot_h, _drawn(problem, solved, at), price)
        for at, w in enumerate(problem.water)
    }
    fixed = [
        *_whole(solved),
        *((solved.layout.water[tank].run, run) for tank, run in runs.items() if run is not None),
    ]
    return _again(problem, solved, fixed, seed) or solved


_Fixed = tuple[IntArray, FloatArray]
"""Columns and the values that they keep."""


def _whole(solved: _Solved) -> list[_Fixed]:
    """Returns the gensets' and jobs' decisions."""
    layout, x = solved.layout, solved.solution.x
    columns = [*(genset.on for genset in layout.gensets.values()), *(job.start for job in layout.jobs.values())]
    return [(at, np.round(x[at])) for at in columns]


def _again(problem: Problem, solved: _Solved, fixed: list[_Fixed], seed: int) -> _Solved | None:
    """Returns the best plan with some columns held; every model of a problem without blocks has the same columns."""

    def restrict(model: Model, _layout: Layout) -> Model:
        for columns, values in fixed:
            model = decided(model, columns, values)
        return model

    again = _restricted(problem, restrict, _EXACT, seed)
    return None if again is None else replace(again, complete=solved.complete)


def _hedged(problem: Problem, solved: _Solved, seed: int) -> _Solved:
    """Returns the plan with the storages' first slot chosen over the problem's futures, where that is better."""
    if not hedge.fits(problem):
        return solved
    layout, x = solved.layout, solved.solution.x
    battery = [layout.batteries[b.id] for b in problem.batteries]
    forecast = np.array(problem.load_kw) - np.array(problem.pv_kw)
    other = _net_load(problem, layout, x) - forecast
    for genset in layout.gensets.values():
        other = other - x[genset.power]
    power = sum(float(x[b.charge[0]] - x[b.discharge[0]]) for b in battery)
    choice = hedge.choose(problem, other, _planned(problem, layout, x, power))
    if choice is None:
        return solved
    fixed = [*_whole(solved), *((w.run, x[w.run]) for w in layout.water.values())]
    fixed += [(c.power[:1], x[c.power[:1]]) for c in layout.chargers.values()]
    for one, (_, kw) in zip(battery, hedge.shares(problem, choice).values(), strict=True):
        fixed += [(one.charge[:1], np.array([max(kw, 0.0)])), (one.discharge[:1], np.array([max(-kw, 0.0)]))]
    again = _again(problem, solved, fixed, seed)
    return solved if again is None else replace(again, choice=choice)


def _planned(problem: Problem, layout: Layout, x: FloatArray, power_kw: float) -> tuple[Mode, float]:
    """Returns mode and limit [kW] of all batteries as one in the first slot."""
    load, store = layout.load, hedge.store_of(problem.batteries)
    grid = x[load.bought] + x[load.bought_over] - x[load.sold] - x[load.sold_over]
    soc = sum(float(x[layout.batteries[b.id].soc[0]]) for b in problem.batteries)
    rated = (store.charge_kw_max, store.discharge_kw_max)
    mode, watts = decide(Flow(power_kw, float(grid[0]), False, soc, store.low_kwh, store.high_kwh, *rated))
    return mode, watts / W_PER_KW


def _drawn(problem: Problem, solved: _Solved, at: int) -> FloatArray:
    """Returns what leaves one tank in each slot of a solved plan [kL]."""
    water = problem.water[at]
    drawn = np.array(water.demand_kl) - solved.solution.x[solved.layout.water[water.tank_id].unserved]
    for job in problem.jobs if at == 0 else ():
        starts = np.round(solved.solution.x[solved.layout.jobs[job.id].start])
        for offset, kl in enumerate(job.water_kl):
            drawn[job.earliest_slot + offset : job.latest_slot + 1 + offset] += kl * starts
    return drawn


def _power_prices(problem: Problem, solved: _Solved) -> FloatArray:
    """Returns what one kWh of load more would cost in each slot."""
    return solved.solution.duals[solved.layout.coupling.balance] / problem.slot_h


def _plan(problem: Problem, solved: _Solved, bound: float, stop: Stop) -> Plan:
    prices = Prices(
        tuple(_power_prices(problem, solved).tolist()),
        {
            b.id: tuple(solved.solution.duals[solved.layout.batteries[b.id].soc_rows].tolist())
            for b in problem.batteries
        },
    )
    dispatched = dispatch(problem, solved.layout, solved.solution.x)
    plan = make_plan(problem, dispatched, prices, bound, solved.choice)
    proven = plan.cost - plan.bound <= stop.gap * max(abs(plan.cost), 1.0)
    unproven = "limit" if not solved.complete else "hedged" if solved.choice else "feasible"
    return replace(plan, status="optimal" if proven else unproven)


def _why_infeasible(problem: Problem, seed: int) -> tuple[str, ...]:
    """Returns the reasons of a minimal set of lifelines: served all but these, and with any of these it fails."""
    model, layout = formulate(problem, elastic=True)
    model = relaxed(lifelines_only(model, layout))
    for columns in [*(water.missing for water in layout.water.values()), layout.load.missing]:
        served = decided(model, columns, np.zeros(len(columns)))
        if engine.run(served, _EXACT, seed).outcome is not Outcome.INFEASIBLE:
            model = served
    return shortage.reasons(problem, layout, engine.run(model, _EXACT, seed).x)
