"""Jobs and water plants from parts to whole ones, without a search where a relaxation nearly has them.

A relaxation runs half of a job at eight and half at ten where both cost the same, or where two halves fit under the
sun and a whole does not. `rounded` takes what it likes best, in one LP; `nearly` looks whether that costs anything,
and if so tries the starts that are in parts one after the other, before anybody branches and bounds. Before the jobs,
plants get whole slots and batches, one after the other (`plant_runs`), and look again at what the others have left.
"""

from __future__ import annotations

import numpy as np

from optimizer import engine
from optimizer.arrays import FloatArray, IntArray, Model
from optimizer.engine import Outcome, Solution
from optimizer.formulation import Layout, decided, relaxed
from optimizer.plant_runs import best_runs
from optimizer.problem import Problem

_WHOLE = 1e-6
"""How near an integer must be to a whole number; solvers keep 1e-6 themselves."""

_SWEEPS = 3
"""Times that every plant is decided, each time at the prices that the others leave."""

_PLANTS = 6
"""On forty recorded plans a search of 100 nodes found 0.02 % of the money turned over less than sweeps, in 20 times as
long; what both cost beyond the relaxation, up to 1.5 %, is what whole batches and slots cost."""

_TRIES = 8
"""LPs from a near basis that cost less than to start a search: 8 took 10 ms, the search that they saved 55 ms."""


def are_whole(model: Model, x: FloatArray) -> bool:
    """Returns whether every integer of the model has a whole value."""
    return not _parted(x, np.flatnonzero(model.integer))


def rounded(problem: Problem, model: Model, layout: Layout, relaxation: Solution, seed: int) -> tuple[Model, Solution]:
    """Returns the model with every job decided by what the relaxation likes best, and its solution."""
    x, found = relaxation.x, model
    for job in problem.jobs:
        columns = layout.jobs[job.id]
        start = np.zeros(len(columns.start))
        if x[columns.skipped[0]] < 0.5:
            start[int(np.argmax(x[columns.start]))] = 1.0
        found = decided(found, columns.start, start)
    for split in problem.split_jobs:
        columns = layout.split_jobs[split.id]
        count = split.slots - round(float(x[columns.skipped[0]]))
        run = np.zeros(len(columns.run))
        run[np.argsort(-x[columns.run], kind="stable")[:count]] = 1.0
        found = decided(found, columns.run, run)
    if are_whole(model, x):
        return found, relaxation
    return found, engine.run_warm(relaxed(found), relaxation.basis, seed)


def nearly(
    problem: Problem, model: Model, layout: Layout, relaxation: Solution, seed: int, allowed: float
) -> Solution | None:
    """Returns a whole solution that costs little more than the relaxation, or None: a search has to tell.

    Jobs may cost `allowed`, and so may plants, which are tried again until they do; up to `_PLANTS` times as much they
    are taken all the same, because a search finds hardly more.
    """
    others = model.integer.copy()
    for columns in (
        *(job.start for job in layout.jobs.values()),
        *(job.run for job in layout.split_jobs.values()),
        *(plant.decided for plant in layout.plants.values()),
    ):
        others[columns] = False
    if _parted(relaxation.x, np.flatnonzero(others)):
        return None  # a genset is not decided
    with_plants = _with_plants(problem, model, layout, relaxation, seed, allowed)
    if with_plants is None:
        return None
    model, solution = with_plants
    return _with_jobs(problem, model, solution, layout, seed, float(model.cost @ solution.x) + allowed)


def _near(model: Model, solution: Solution, most: float) -> bool:
    return solution.outcome is Outcome.OPTIMAL and float(model.cost @ solution.x) <= most


def _with_plants(
    problem: Problem, model: Model, layout: Layout, relaxation: Solution, seed: int, allowed: float
) -> tuple[Model, Solution] | None:
    """Returns the model with plants decided and its relaxation's solution; None where that costs too much."""
    least = float(model.cost @ relaxation.x)
    plants = [p for p in problem.plants if model.integer[layout.plants[p.id].decided].any()]
    if not any(_parted(relaxation.x, layout.plants[plant.id].decided) for plant in plants):
        return model, relaxation
    plants.sort(key=lambda plant: (not plant.phases, -max(p.power_kw for p in (*plant.phases, *plant.points))))
    found, last = model, relaxation
    for sweep in range(_SWEEPS):
        for plant in plants:
            columns = layout.plants[plant.id].decided
            price = last.duals[layout.coupling.balance] / problem.slot_h
            runs = best_runs(problem, layout, last.x, price, plant)
            if not len(runs):
                return None
            other = decided(found, columns, runs)
            if sweep and (last.x[columns] > 0.5).tolist() == (runs > 0.5).tolist():
                continue
            then = engine.run_warm(relaxed(other), last.basis, seed)
            if then.outcome is not Outcome.OPTIMAL:
                return None
            if not sweep or float(model.cost @ then.x) < float(model.cost @ last.x):
                found, last = other, then
        if _near(model, last, least + allowed):
            break
    return (found, last) if _near(model, last, least + _PLANTS * allowed) else None


def _with_jobs(
    problem: Problem, model: Model, relaxation: Solution, layout: Layout, seed: int, most: float
) -> Solution | None:
    """Returns the solution with whole jobs that costs at most `most`, or None where none was found in a few tries."""
    if are_whole(model, relaxation.x):
        return relaxation
    tries, last = _TRIES, relaxation
    while True:
        decided_all, solution = rounded(problem, model, layout, last, seed)
        if _near(model, solution, most) and are_whole(decided_all, solution.x):
            return solution
        start = next((job.start for job in layout.jobs.values() if _parted(last.x, job.start)), None)
        if start is None:
            return None
        used = start[last.x[start] > _WHOLE]
        if len(used) > tries:
            return None
        best: tuple[float, Model, Solution] | None = None
        for column in used:
            other = decided(model, start, (start == column).astype(np.float64))
            then = engine.run_warm(relaxed(other), last.basis, seed)
            if not _near(model, then, most):
                continue
            if are_whole(model, then.x):
                return then
            if best is None or float(model.cost @ then.x) < best[0]:
                best = float(model.cost @ then.x), other, then
        if best is None:
            return None
        tries -= len(used)
        _, model, last = best


def _parted(x: FloatArray, columns: IntArray) -> bool:
    return bool(np.abs(x[columns] - np.round(x[columns])).max(initial=0.0) >= _WHOLE)
