"""Warm re-plan: the decisions of the last plan, moved to where the new one begins; the LP makes the rest anew.

What a few minutes change is powers, not which genset runs in the evening. So a re-plan keeps gensets, jobs and
water plants as they were decided, and its one LP starts from the basis of the last one. A whole search is for the
caller to ask for (no `warm_start`): when the grid goes or comes back, when a device is lost, and now and then anyway.
"""

from __future__ import annotations

import numpy as np

from optimizer.arrays import FloatArray, IntArray
from optimizer.formulation import Layout
from optimizer.plan import Plan, UnitStep
from optimizer.problem import Problem, WaterPlant

SHARE_MIN = 0.9
"""Least part of the new slots that the last plan must cover."""


def decisions(problem: Problem, layout: Layout, last: Plan) -> list[tuple[IntArray, FloatArray]] | None:
    """Returns the integer columns with the values that the last plan gives them; None where it does not fit.

    Slots beyond the last plan repeat its last slot. A job that the last plan has begun or skipped is free.
    """
    late, rest = divmod(problem.start - last.start, problem.slot_ms)
    n = problem.slots
    if rest or late < 0 or last.slot_ms != problem.slot_ms or len(last.grid_kw) - late < SHARE_MIN * n:
        return None
    gone = [kw == 0.0 for kw in last.grid_kw[late:]]
    if any(not here and not zero for here, zero in zip(problem.grid.available, gone, strict=False)):
        return None  # it counts on a grid that will not be there
    ids = {asset.id for asset in (*problem.gensets, *problem.jobs, *problem.split_jobs, *problem.plants)}
    if not ids <= set(last.units):
        return None
    found = [(layout.gensets[g.id].on, _moved(last.units[g.id], late, n)) for g in problem.gensets]
    for job in problem.jobs:
        on = _moved(last.units[job.id], late, n)
        first = int(np.argmax(on))
        columns = layout.jobs[job.id].start
        if on.any() and job.earliest_slot <= first <= job.latest_slot:
            start = np.zeros(len(columns))
            start[first - job.earliest_slot] = 1.0
            found.append((columns, start))
    for split in problem.split_jobs:
        on = _moved(last.units[split.id], late, n)[split.earliest_slot : split.until_slot]
        if on.sum() == split.slots:
            found.append((layout.split_jobs[split.id].run, on))
    for plant in problem.plants:
        decided = _plant(plant, last.units[plant.id][late:], n)
        if decided is None:
            return None
        found.append((layout.plants[plant.id].decided, decided))
    return found


def _plant(plant: WaterPlant, steps: tuple[UnitStep, ...], slots: int) -> FloatArray | None:
    """Returns when a plant runs, or its batches start; None where what it does now is not what was planned.

    It rests in the slots beyond the last plan: a new search fills the tank again before they come.
    """
    on = [step.on for step in steps[:slots]] + [False] * (slots - len(steps))
    if not plant.phases:
        return np.array(on, dtype=np.float64)
    length, slot = len(plant.phases), min(plant.rest_slots, slots)
    starts = np.zeros(max(slots - length + 1, 0))
    if not all(on[:slot]):
        return None
    while slot < slots:
        if on[slot] and (slot >= len(starts) or not all(on[slot : slot + length])):
            return None
        starts[slot : slot + 1] = float(on[slot])
        slot += length if on[slot] else 1
    return starts


def _moved(steps: tuple[UnitStep, ...], late: int, slots: int) -> FloatArray:
    on = [float(step.on) for step in steps[late : late + slots]]
    return np.array(on + [on[-1]] * (slots - len(on)))
