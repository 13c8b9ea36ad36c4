"""The one entry of the planner: solve(problem, stop, seed, warm_start) -> Plan | Infeasible. Pure.

Three small steps: the linear relaxation says what is impossible and bounds the cost; a MILP with pumps as
fractions of slots commits gensets (in hours) and jobs; then pumps get whole slots at the prices of that plan
and the LP with all decisions fixed gives the plan and the prices in its reasons. With scenarios, the storages' modes
in the first slot are then chosen over those futures (`hedge`), the rest planned around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from devices.units import W_PER_KW
from optimizer import engine, fleet, hedge, replan, shortage
from optimizer.arrays import FloatArray, IntArray, Model
from optimizer.bounds import Proof, proof
from optimizer.commitment import commit
from optimizer.dispatch import dispatch
from optimizer.engine import EXACT, NoPlanFound, Outcome, Solution, SolverRefused
from optimizer.formulation import (
    Layout,
    collisions,
    decided,
    flows,
    formulate,
    integers_fixed,
    lifelines_only,
    power_price,
    relaxed,
)
from optimizer.genset_states import Schedules
from optimizer.hedge import Choice
from optimizer.modes import Flow, decide
from optimizer.plan import Basis, Infeasible, Mode, Plan
from optimizer.plants import drawn_kl, run_of
from optimizer.prices import Prices
from optimizer.problem import Genset, Problem, Stop
from optimizer.rounding import are_whole, nearly, rounded
from optimizer.schedule import make_plan
from optimizer.validation import notices, validate
from optimizer.water import whole_slots

_ROUNDS = 5
"""Solves that close one side only where flows collide; after that, in every slot."""

_USED = 1e-6
"""A genset that the relaxation runs less than this in every slot is left off."""

_WORSE = 0.01
"""Part of the cost by which a warm plan's violations may exceed those of the plan it keeps to."""

_FEW = 5
"""Movable devices beside one genset that keep the powers of the relaxation. More move as one: on 17 villages of 6 to 50
devices that was 0 to 23 % cheaper, never dearer, for 0.03 to 0.2 s; with three, 1.1 % cheaper to 0.2 % dearer."""

_SEARCHED = 500
"""Possible starts of jobs beside gensets; with more they are rounded: a search took 24 s at 200 devices."""


@dataclass(frozen=True, slots=True)
class _Solved:
    """A solution with its model, layout and the duals of the LP with integers fixed."""

    model: Model
    layout: Layout
    solution: Solution
    complete: bool  # no limit was hit on the way
    choice: Choice | None = None  # what the futures made of the first slot


_Restriction = Callable[[Model, Layout], Model]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A problem with its model, formulated once: every restriction of it starts from this one."""

    problem: Problem
    model: Model
    layout: Layout
    seed: int


def solve(problem: Problem, stop: Stop, seed: int, warm_start: Plan | None = None) -> Plan | Infeasible:
    """Returns the best plan within `stop`, or why there is none: the problem's own faults or a lifeline's shortage.

    Equal arguments give equal plans while `stop.seconds` is None. With `warm_start` the gensets and jobs of that
    plan are kept where they fit, and its basis starts the LP (`replan`): a fifth of the time, no new search.

    Raises:
        NoPlanFound: time ran out before any plan was known.
        SolverRefused: the engine broke down.
    """
    broken = validate(problem)
    if broken:
        return Infeasible(tuple(broken))
    asked = _Asked(problem, *formulate(problem), seed)
    if warm_start is not None:
        kept = _kept(asked, warm_start)
        if kept is not None:
            warm = _plan(problem, _hedged(asked, _pump(asked, kept)))
            if sum(warm.violations.values()) <= sum(warm_start.violations.values()) + _WORSE * abs(warm.cost):
                before = np.array(warm_start.bound_prices) if warm_start.start == problem.start else None
                proven = proof(asked.model, warm.cost, before, kept.solution.basis, seed)
                return _rated(warm, proven, stop)  # no limit suffers from what was kept
    relaxation = engine.run(relaxed(asked.model), replace(EXACT, seconds=stop.seconds), seed)
    if relaxation.outcome is Outcome.INFEASIBLE:
        return Infeasible(_why_infeasible(problem, seed))
    committed = _commit(asked, relaxation, _left(stop, relaxation.seconds))
    plan = _plan(problem, _hedged(asked, _pump(asked, committed)))
    return _rated(plan, Proof(float(asked.model.cost @ relaxation.x), relaxation.duals), stop)


def _kept(asked: _Asked, last: Plan) -> _Solved | None:
    """Returns the best plan with the decisions of the last one; None where they do not fit any more."""
    problem, model, layout = asked.problem, asked.model, asked.layout
    fixed = replan.decisions(problem, layout, last)
    if fixed is None:
        return None
    for columns, values in fixed:
        if (values < model.lower[columns]).any() or (values > model.upper[columns]).any():
            return None
        model = decided(model, columns, values)
    solution = engine.run_warm(relaxed(model), last.basis, asked.seed)
    if solution.outcome is not Outcome.OPTIMAL:
        return None
    model, solution = rounded(problem, model, layout, solution, asked.seed)
    closed = collisions(problem, layout, solution.x)
    if len(closed):
        closed = collisions(problem, layout, solution.x, everywhere=True)
        model = decided(model, closed, np.zeros(len(closed)))
        solution = engine.run_warm(relaxed(model), solution.basis, asked.seed)
    return _Solved(model, layout, solution, True) if solution.outcome is Outcome.OPTIMAL else None


def _left(stop: Stop, spent: float) -> Stop:
    return stop if stop.seconds is None else replace(stop, seconds=max(stop.seconds - spent, 0.1))


def _commit(asked: _Asked, relaxation: Solution, stop: Stop) -> _Solved:
    """Returns a plan with gensets and jobs decided. Where the relaxation runs no genset, none is."""
    problem, layout, x = asked.problem, asked.layout, relaxation.x
    used = [g for g in problem.gensets if x[layout.gensets[g.id].on].max() > _USED]
    off = {g.id: np.zeros(problem.slots) for g in problem.gensets if g not in used}

    def with_schedules(on: Schedules) -> _Restriction:
        def restrict(model: Model, layout: Layout) -> Model:
            for name, schedule in on.items():
                model = decided(model, layout.gensets[name].on, schedule)
            return model

        return restrict

    try:
        on = _schedules(asked, x, tuple(used)) if used else None
        if on is not None:
            many = sum(len(job.start) for job in layout.jobs.values()) > _SEARCHED
            solved = _restricted(asked, with_schedules(on), stop, rounding=many)
            if solved is not None:  # it can be where several batteries cannot do what one of their size could
                return solved
        known = None if used else relaxation  # it runs no genset: with all of them off it is the best still
        solved = _restricted(asked, with_schedules(off), stop, blocks=len(used) > 0, known=known)
    except NoPlanFound:
        solved = _restricted(asked, _always_possible, EXACT)
        solved = solved and replace(solved, complete=False)
    if solved is None:
        raise SolverRefused("HiGHS finds no commitment for a problem whose relaxation has a plan")
    return solved


def _schedules(asked: _Asked, x: FloatArray, used: tuple[Genset, ...]) -> Schedules | None:
    """Returns when each genset should run, or None where they are too many; `x` is the relaxation's solution."""
    problem, layout = asked.problem, asked.layout
    movable = (*problem.chargers, *problem.jobs, *problem.split_jobs, *problem.thermal)
    vehicles = sum(not battery.stationary for battery in problem.batteries)
    if len(problem.gensets) == 1 and len(movable) + vehicles <= _FEW:
        return {used[0].id: commit(problem, used[0], _net_load(problem, layout, x))}
    return fleet.search(problem, layout, x, used, asked.seed)


def _net_load(problem: Problem, layout: Layout, x: FloatArray) -> FloatArray:
    """Returns what stores, gensets and grid have to cover per slot when all else is as in `x` [kW]."""
    net = np.array(problem.load_kw) - np.array(problem.pv_kw)
    apart = {asset.id for asset in (*problem.stores, *problem.gensets)}
    for name, parts in flows(problem, layout).items():
        for flow in parts if name not in apart else ():
            np.add.at(net, flow.slots, flow.kw * x[flow.columns])
    return net


def _always_possible(model: Model, layout: Layout) -> Model:
    """Returns the model with gensets on wherever they may be and all jobs skipped: dear, but a plan."""
    for genset in layout.gensets.values():
        model = decided(model, genset.on, model.upper[genset.on])
    for job in layout.jobs.values():
        model = decided(model, job.start, np.zeros(len(job.start)))
    for split in layout.split_jobs.values():
        model = decided(model, split.run, np.zeros(len(split.run)))
    for plant in layout.plants.values():
        model = decided(model, plant.decided, np.zeros(len(plant.decided)))
    return model


def _restricted(
    asked: _Asked,
    restrict: _Restriction,
    stop: Stop,
    *,
    blocks: bool = False,
    known: Solution | None = None,
    near: Basis | None = None,
    rounding: bool = False,
) -> _Solved | None:
    """Returns the best plan under a restriction, without colliding flows and with duals; None if there is none.

    `known` is the relaxation's solution where it has been solved already, `near` the basis of a like one. With
    `rounding`, jobs that the relaxation splits get the start that it likes best instead of a search.
    """
    problem, seed = asked.problem, asked.seed
    model, layout = formulate(problem, blocks=True) if blocks else (asked.model, asked.layout)
    model = restrict(model, layout)
    if rounding:
        first = engine.run(relaxed(model), EXACT, seed)
        if first.outcome is Outcome.INFEASIBLE:
            return None
        model, known = rounded(problem, model, layout, first, seed)
    solution = _relaxation_first(problem, model, layout, stop, seed, known=known, near=near)
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
        solution = _relaxation_first(problem, model, layout, stop, seed, near=near and solution.basis)
    complete = solution.outcome is Outcome.OPTIMAL
    if not len(solution.duals) and solution.outcome is not Outcome.INFEASIBLE:
        solution = engine.run(integers_fixed(model, solution.x), EXACT, seed)
    return None if solution.outcome is Outcome.INFEASIBLE else _Solved(model, layout, solution, complete)


def _relaxation_first(
    problem: Problem,
    model: Model,
    layout: Layout,
    stop: Stop,
    seed: int,
    *,
    known: Solution | None = None,
    near: Basis | None = None,
) -> Solution:
    """Returns the solution of the relaxation where its integers are whole, or cost nothing to round; else a search's.

    With jobs they mostly are, or the relaxation runs parts of a job in slots of equal price; water plants are decided
    at the relaxation's prices.
    """
    if near is not None:
        solution = engine.run_warm(relaxed(model), near, seed)
    else:
        solution = known or engine.run(relaxed(model), replace(EXACT, seconds=stop.seconds), seed)
    if solution.outcome is Outcome.INFEASIBLE:
        return solution
    if are_whole(model, solution.x):
        return solution
    turned_over = float(np.abs(model.cost * solution.x).sum())  # the cost itself may be near nothing, or below it
    worth = stop.gap * turned_over / 2
    if layout.jobs or layout.plants:
        allowed = max(worth, stop.gap * abs(float(model.cost @ solution.x)))
        found = nearly(problem, model, layout, solution, seed, allowed)
        if isinstance(found, Solution):
            return found
        model = found
    left = replace(_left(stop, solution.seconds), worth=worth)
    return replace(
        engine.run(
            model, left, seed, thorough=any(model.integer[plant.decided].any() for plant in layout.plants.values())
        ),
        duals=np.zeros(0),
    )


def _pump(asked: _Asked, solved: _Solved) -> _Solved:
    """Returns the plan with pumps running whole slots, everything else re-planned around them."""
    problem = asked.problem
    if not any(water.pumped for water in problem.water):
        return solved
    price = power_price(problem, solved.layout, solved.solution.duals)
    runs = {
        w.tank_id: None if w.well else whole_slots(w, problem.slot_h, _drawn(problem, solved, at), price)
        for at, w in enumerate(problem.water)
        if w.pumped
    }
    fixed = [
        *_whole(solved),
        *((solved.layout.water[tank].run, run) for tank, run in runs.items() if run is not None),
    ]
    return _again(asked, solved, fixed) or solved


_Fixed = tuple[IntArray, FloatArray]
"""Columns and the values that they keep."""


def _whole(solved: _Solved) -> list[_Fixed]:
    """Returns the gensets' and jobs' decisions."""
    layout, x = solved.layout, solved.solution.x
    columns = [*(genset.on for genset in layout.gensets.values()), *(job.start for job in layout.jobs.values())]
    columns += [split.run for split in layout.split_jobs.values()]
    columns += [plant.decided for plant in layout.plants.values()]
    return [(at, np.round(x[at])) for at in columns]


def _again(asked: _Asked, solved: _Solved, fixed: list[_Fixed]) -> _Solved | None:
    """Returns the best plan with some columns held; every model of a problem without blocks has the same columns."""

    def restrict(model: Model, _layout: Layout) -> Model:
        for columns, values in fixed:
            model = decided(model, columns, values)
        return model

    again = _restricted(asked, restrict, EXACT, near=solved.solution.basis)
    return None if again is None else replace(again, complete=solved.complete)


def _hedged(asked: _Asked, solved: _Solved) -> _Solved:
    """Returns the plan with the storages' first slot chosen over the problem's futures, where that is better."""
    problem = asked.problem
    if not hedge.fits(problem):
        return solved
    layout, x = solved.layout, solved.solution.x
    battery = [layout.batteries[b.id] for b in problem.stores]
    forecast = np.array(problem.load_kw) - np.array(problem.pv_kw)
    other = _net_load(problem, layout, x) - forecast
    for genset in layout.gensets.values():
        other = other - x[genset.power]
    power = sum(float(x[b.charge[0]] - x[b.discharge[0]]) for b in battery)
    choice = hedge.choose(problem, other, _planned(problem, layout, x, power), float(x[layout.load.bought].max()))
    if choice is None:
        return solved
    fixed = [*_whole(solved), *((w.run, x[w.run]) for w in layout.water.values())]
    fixed += [(c.power[:1], x[c.power[:1]]) for c in layout.chargers.values()]
    for one, (_, kw) in zip(battery, hedge.shares(problem, choice).values(), strict=True):
        fixed += [(one.charge[:1], np.array([max(kw, 0.0)])), (one.discharge[:1], np.array([max(-kw, 0.0)]))]
    again = _again(asked, solved, fixed)
    return solved if again is None else replace(again, choice=choice)


def _planned(problem: Problem, layout: Layout, x: FloatArray, power_kw: float) -> tuple[Mode, float]:
    """Returns mode and limit [kW] of all batteries as one in the first slot."""
    load, store = layout.load, hedge.store_of(problem.stores)
    grid = x[load.bought] + x[load.bought_over] - x[load.sold] - x[load.sold_over]
    soc = sum(float(x[layout.batteries[b.id].soc[0]]) for b in problem.stores)
    rated = (store.charge_kw_max, store.discharge_kw_max)
    mode, watts = decide(Flow(power_kw, float(grid[0]), False, soc, store.low_kwh, store.high_kwh, *rated))
    return mode, watts / W_PER_KW


def _drawn(problem: Problem, solved: _Solved, at: int) -> FloatArray:
    """Returns what leaves one tank in each slot of a solved plan [kL]."""
    water = problem.water[at]
    unserved = solved.layout.water[water.tank_id].unserved
    drawn = np.array(water.demand_kl) - sum(solved.solution.x[part] for part in unserved)
    runs = {p.id: run_of(p, solved.layout.plants[p.id], solved.solution.x, problem.slots) for p in problem.plants}
    drawn += np.array(drawn_kl(problem, runs, water.tank_id))
    for split in problem.split_jobs if at == 0 else ():
        run = solved.solution.x[solved.layout.split_jobs[split.id].run]
        drawn[split.earliest_slot : split.until_slot] += split.water_kl * run
    for job in problem.jobs if at == 0 else ():
        starts = np.round(solved.solution.x[solved.layout.jobs[job.id].start])
        for offset, kl in enumerate(job.water_kl):
            drawn[job.earliest_slot + offset : job.latest_slot + 1 + offset] += kl * starts
    return drawn


def _plan(problem: Problem, solved: _Solved) -> Plan:
    """Returns the plan of a solution; how near it is to the best is not known yet."""
    prices = Prices(problem, solved.model, solved.layout, solved.solution.duals)
    plan = make_plan(problem, dispatch(problem, solved.layout, solved.solution.x), prices, solved.choice)
    status = "limit" if not solved.complete else "hedged" if solved.choice else "feasible"
    return replace(plan, status=status, notices=tuple(notices(problem)), basis=solved.solution.basis)


def _rated(plan: Plan, proven: Proof, stop: Stop) -> Plan:
    """Returns the plan with its bound, lowered to the cost where rounding to watts went below it."""
    bound = min(proven.bound, plan.cost)
    optimal = plan.cost - bound <= stop.gap * max(abs(plan.cost), 1.0)
    status = "optimal" if optimal else plan.status
    return replace(plan, bound=bound, status=status, bound_prices=tuple(proven.prices.tolist()))


def _why_infeasible(problem: Problem, seed: int) -> tuple[str, ...]:
    """Returns the reasons of a minimal set of lifelines: served all but these, and with any of these it fails."""
    model, layout = formulate(problem, elastic=True)
    model = relaxed(lifelines_only(model, layout))
    for columns in [*(water.missing for water in layout.water.values()), layout.load.missing]:
        served = decided(model, columns, np.zeros(len(columns)))
        if engine.run(served, EXACT, seed).outcome is not Outcome.INFEASIBLE:
            model = served
    return shortage.reasons(problem, layout, engine.run(model, EXACT, seed).x)
