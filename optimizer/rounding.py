"""Jobs and water plants from parts to whole ones, without a search where a relaxation nearly has them.

A relaxation runs half of a job at eight and half at ten where both cost the same, or where two halves fit under the
sun and a whole does not. `rounded` takes what it likes best, in one LP; `nearly` looks whether that costs anything,
and if so tries the starts that are in parts one after the other, before anybody branches and bounds. Before the jobs,
plants get whole slots and batches, one after the other (`plant_runs`), and look again at what the others have left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from optimizer import engine
from optimizer.arrays import FloatArray, IntArray, Model
from optimizer.engine import Outcome, Solution
from optimizer.formulation import Layout, decided, power_price, relaxed
from optimizer.plant_runs import best_runs
from optimizer.problem import Problem, WaterPlant

_WHOLE = 1e-6
"""How near an integer must be to a whole number; solvers keep 1e-6 themselves."""

_LEANS = (0.3, 0.1)
"""How far a price goes towards the tariff (`best_runs`), in the order in which plants are decided anew. With 0 a 7 kW
plant on a small tank ran twice as often as was good; with more, water is made where power is not cheapest."""

_POOR = 4
"""Times `allowed` beyond which plants are decided in the other order too."""

_PLANTS = 12
"""On forty recorded plans a search of 100 nodes found 0.02 % of the money turned over less, in 20 times as long; what
both cost beyond the relaxation, up to 1.5 %, is what whole batches and slots cost. Beyond 3 % the guess may be poor."""

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
) -> Solution | Model:
    """Returns a whole solution that costs little more than the relaxation, or the model that a search has to decide.

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
        return model  # a genset is not decided
    with_plants = _with_plants(problem, model, layout, relaxation, seed, allowed)
    if with_plants is None:
        return model
    model, solution = with_plants
    return _with_jobs(problem, model, solution, layout, seed, _cost(with_plants) + allowed) or model


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
    best = _in_turn(problem, model, layout, relaxation, seed, plants)
    if best is None or _cost(best) > least + _POOR * allowed:
        plants.reverse()  # the last may have found no room left between full tanks: now it is the first
        other = _in_turn(problem, model, layout, relaxation, seed, plants)
        best = other if best is None or (other is not None and _cost(other) < _cost(best)) else best
    if best is None:
        return None
    for lean in _LEANS:
        if _cost(best) <= least + allowed:
            return best
        best = _again(problem, *best, layout, seed, plants, lean)
    return best if _cost(best) <= least + _PLANTS * allowed else None


def _cost(found: tuple[Model, Solution]) -> float:
    return float(found[0].cost @ found[1].x)


def _in_turn(
    problem: Problem,
    model: Model,
    layout: Layout,
    relaxation: Solution,
    seed: int,
    plants: Sequence[WaterPlant],
) -> tuple[Model, Solution] | None:
    """Returns the model with the plants decided one after the other, each at the prices that the ones before left."""
    last = relaxation
    for plant in plants:
        price = power_price(problem, layout, last.duals)
        runs = best_runs(problem, layout, last.x, price, plant, _LEANS[0], yields=plant is not plants[-1])
        if not len(runs):
            return None
        model = decided(model, layout.plants[plant.id].decided, runs)
        last = engine.run_warm(relaxed(model), last.basis, seed)
        if last.outcome is not Outcome.OPTIMAL:
            return None
    return model, last


def _again(
    problem: Problem,
    model: Model,
    solution: Solution,
    layout: Layout,
    seed: int,
    plants: Sequence[WaterPlant],
    lean: float,
) -> tuple[Model, Solution]:
    """Returns the model with each plant that does better with what the others have left decided anew."""
    for plant in plants:
        columns = layout.plants[plant.id].decided
        price = power_price(problem, layout, solution.duals)
        runs = best_runs(problem, layout, solution.x, price, plant, lean)
        if not len(runs) or ((solution.x[columns] > 0.5) == (runs > 0.5)).all():
            continue
        other = decided(model, columns, runs)
        then = engine.run_warm(relaxed(other), solution.basis, seed)
        if then.outcome is Outcome.OPTIMAL and model.cost @ then.x < model.cost @ solution.x:
            model, solution = other, then
    return model, solution


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
