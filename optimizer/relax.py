"""Reasons put to the test: the plan's decisions held, one limit moved or one alternative forced, and solved again.

What integers decided (gensets, jobs, pumps, and the first slot where futures chose it) stays as the plan has it, as in
the LP that gave the prices. `confirmed` is what the tests, `atoll bench reasons` and anybody in doubt may ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from optimizer import engine, replan
from optimizer.arrays import FloatArray, IntArray, Model
from optimizer.engine import EXACT, Outcome
from optimizer.explain import genset_block, job_kwh, next_on
from optimizer.formulation import Layout, collisions, decided, formulate, relaxed
from optimizer.plan import Binding, Limit, Plan
from optimizer.prices import Place, Side, place
from optimizer.problem import AssetId, Problem, SplitJob

_ROUNDS = 6
STEP = 0.02
"""Units by which a limit is moved: small against any device, large against what a solver rounds."""

NEAR = 2e-5
"""Money that a solver may round in a difference of two costs."""


@dataclass(frozen=True, slots=True)
class Held:
    """A plan as an LP: its decisions fixed, everything else free; `x` and `cost` are its optimum."""

    problem: Problem
    model: Model
    layout: Layout
    x: FloatArray
    cost: float


def held(problem: Problem, plan: Plan) -> Held | None:
    """Returns the LP that is left of a problem when a plan's decisions stand; None where it has no point."""
    model, layout = formulate(problem)
    fixed = replan.decisions(problem, layout, plan)
    if fixed is None:
        return None
    for job in problem.jobs:
        if not any(step.on for step in plan.units[job.id]):
            start = layout.jobs[job.id].start
            fixed.append((start, np.zeros(len(start))))
    for water in problem.water:
        watts = np.array([step.power_w for step in plan.units[water.pump_id]], dtype=np.float64)
        fixed.append((layout.water[water.tank_id].run, np.clip(watts / round(water.pump_kw * 1000), 0.0, 1.0)))
    for split in problem.split_jobs:
        on = [float(step.on) for step in plan.units[split.id]][split.earliest_slot : split.until_slot]
        fixed.append((layout.split_jobs[split.id].run, np.array(on)))
    if plan.status == "hedged":
        for battery in problem.stores:
            columns, kw = layout.batteries[battery.id], plan.storages[battery.id][0].expected_w / 1000
            fixed.append((columns.charge[:1], np.array([min(max(kw, 0.0), battery.charge_kw_max)])))
            fixed.append((columns.discharge[:1], np.array([min(max(-kw, 0.0), battery.discharge_kw_max)])))
        for charger in problem.chargers:
            if charger.from_slot == 0:
                kw = plan.units[charger.id][0].power_w / 1000
                fixed.append((layout.chargers[charger.id].power[:1], np.array([min(kw, charger.power_kw_max)])))
    for columns, values in fixed:
        model = decided(model, columns, values)
    return _settled(problem, relaxed(model), layout)


def _settled(problem: Problem, model: Model, layout: Layout) -> Held | None:
    """Returns the optimum without flows that exclude each other."""
    for round_ in range(_ROUNDS):
        solution = engine.run(model, EXACT, 1)
        if solution.outcome is Outcome.INFEASIBLE:
            return None
        closed = collisions(problem, layout, solution.x)
        if not len(closed):
            return Held(problem, model, layout, solution.x, float(model.cost @ solution.x))
        if round_ == _ROUNDS - 2:
            closed = collisions(problem, layout, solution.x, everywhere=True)
        model = decided(model, closed, np.zeros(len(closed)))
    return None


def moved(base: Held, binding: Binding, amount: float) -> float | None:
    """Returns the cost when a limit is loosened by an amount (tightened: a negative one), all decisions held.

    None where there is no such limit, or nothing fits it any more.
    """
    at = place(base.problem, base.model, base.layout, binding)
    return None if at is None else _cost(_shifted(base.model, at, amount * at.per_unit))


def _shifted(model: Model, at: Place, by: float) -> Model:
    def plus(numbers: FloatArray) -> FloatArray:
        changed = numbers.copy()
        changed[at.index] += by
        return changed

    if at.side is Side.ROW:
        return replace(model, row_lower=plus(model.row_lower), row_upper=plus(model.row_upper))
    return replace(model, upper=plus(model.upper))


def _cost(model: Model) -> float | None:
    if (model.lower > model.upper).any():
        return None
    solution = engine.run(model, EXACT, 1)
    return None if solution.outcome is Outcome.INFEASIBLE else float(model.cost @ solution.x)


def confirmed(base: Held, binding: Binding) -> bool:
    """Returns whether moving the named limit does to the cost what its price says, within a fifth.

    A limit with a price is loosened, and has to save it. Load is what a price is told of in both directions ("one kWh
    more would cost"): at a kink of the tariff it holds in one of them. A limit without a price has to save nothing.
    """
    expected = binding.price * STEP
    less = moved(base, binding, STEP)
    saved = None if less is None else base.cost - less
    if saved is not None and abs(saved - expected) <= max(0.2 * abs(expected), NEAR):
        return True
    if binding.limit is not Limit.LOAD:
        return False
    more = moved(base, binding, -STEP)
    return more is not None and abs(more - base.cost - expected) <= max(0.2 * abs(expected), NEAR)


def rejected(base: Held, plan: Plan, asset: AssetId, slot: int) -> float | None:
    """Returns what each kWh of a step's alternative really costs more, by forcing it and solving again.

    None where nothing fits it: then it is no alternative at all.

    Raises:
        KeyError: the step has no alternative that can be forced.
    """
    storage = plan.storages.get(asset)
    if storage is not None:
        model, kwh = _other_power(base, asset, slot, storage[slot].reason.alternative)
    else:
        model, kwh = _other_unit(base, plan, asset, slot)
    cost = _cost(model)
    return None if cost is None else (cost - base.cost) / kwh


def _other_power(base: Held, battery: AssetId, slot: int, alternative: str) -> tuple[Model, float]:
    """Returns the model in which a storage does a little of something else in a slot, and how much [kWh]."""
    columns, h = base.layout.batteries[battery], base.problem.slot_h
    charge, discharge = int(columns.charge[slot]), int(columns.discharge[slot])
    flow = {"discharge now": discharge, "charge now": charge}.get(alternative)
    if flow is not None:
        return _nudged(base, flow, STEP / h), STEP
    flow = charge if base.x[charge] > base.x[discharge] else discharge
    return _nudged(base, flow, -STEP / h), STEP


def _nudged(base: Held, column: int, by: float) -> Model:
    """Returns the model in which a flow is at least (or, downwards, at most) so much beside what it was."""
    lower, upper = base.model.lower.copy(), base.model.upper.copy()
    if by > 0:
        lower[column] = base.x[column] + by
        upper[column] = max(upper[column], lower[column])
    else:
        upper[column] = base.x[column] + by
    return replace(base.model, lower=lower, upper=upper)


def _other_unit(base: Held, plan: Plan, asset: AssetId, slot: int) -> tuple[Model, float]:
    problem, layout, h = base.problem, base.layout, base.problem.slot_h
    on = [step.on for step in plan.units[asset]]
    for charger in problem.chargers:
        if charger.id == asset:
            column = int(layout.chargers[asset].power[slot - charger.from_slot])
            return _nudged(base, column, (-STEP if on[slot] else STEP) / h), STEP
    if asset in layout.thermal:
        return _nudged(base, int(layout.thermal[asset].power[slot]), (-STEP if on[slot] else STEP) / h), STEP
    for job in problem.jobs:
        if job.id == asset:
            return _job_at(base, asset, slot if any(on) else None), job_kwh(problem, job)
    for water in problem.water:
        if water.pump_id == asset:
            run = layout.water[water.tank_id].run
            return _swapped(base, run, slot, _instead(on, slot)), water.pump_kw * h
    for split in problem.split_jobs:
        if split.id == asset:
            return _split_elsewhere(base, split, on, slot), split.power_kw * h
    genset = next((g for g in problem.gensets if g.id == asset), None)
    if genset is None:
        raise KeyError(asset)
    prices = [step.reason.marginal_price or 0.0 for step in plan.units[asset]]
    block = genset_block(problem, on, prices, genset, slot)
    run = layout.gensets[asset].on[slot : slot + len(block)]
    return decided(base.model, run, np.ones(len(block))), sum(block) * h


def _split_elsewhere(base: Held, job: SplitJob, on: list[bool], slot: int) -> Model:
    """Returns the model in which a slot that runs may run in any other one, or one that rests is run instead."""
    window = range(job.earliest_slot, job.until_slot)
    run = base.layout.split_jobs[job.id].run
    if not on[slot]:
        return _swapped(base, run, slot - job.earliest_slot, _instead(on, slot) - job.earliest_slot)
    free = np.array([s - job.earliest_slot for s in window if not on[s]])
    lower, upper = base.model.lower.copy(), base.model.upper.copy()
    lower[run[free]], upper[run[free]] = 0.0, 1.0
    lower[run[slot - job.earliest_slot]] = upper[run[slot - job.earliest_slot]] = 0.0
    skipped = base.layout.split_jobs[job.id].skipped
    lower[skipped], upper[skipped] = base.x[skipped], base.x[skipped]
    return replace(base.model, lower=lower, upper=upper)


def _instead(on: Sequence[bool], slot: int) -> int:
    later = next_on(on, slot)
    assert later is not None, "a step with this alternative runs later"
    return later


def _swapped(base: Held, run: IntArray, on: int, off: int) -> Model:
    return decided(base.model, run[[on, off]], np.array([1.0, 0.0]))


def _job_at(base: Held, job: AssetId, slot: int | None) -> Model:
    """Returns the model in which a job starts in a slot; None: a skipped one in the slot that it likes best."""
    one = next(j for j in base.problem.jobs if j.id == job)
    columns = base.layout.jobs[job]
    model = decided(base.model, columns.skipped, np.zeros(1))
    if slot is None:
        lower, upper = model.lower.copy(), model.upper.copy()
        lower[columns.start], upper[columns.start] = 0.0, 1.0
        return replace(model, lower=lower, upper=upper)
    start = np.zeros(len(columns.start))
    start[slot - one.earliest_slot] = 1.0
    return decided(model, columns.start, start)
