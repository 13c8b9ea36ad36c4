"""Every fault of a work problem at once, before any solving."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from math import isfinite

from optimizer.problem import AssetId
from optimizer.tasks import Crew, Machine, Robot, Task, WorkProblem

SLOTS_MAX = 2_000


def validate_work(problem: WorkProblem) -> list[str]:
    """Returns what is wrong, one sentence each; empty means that it can be planned."""
    return list(_faults(problem))


def _faults(problem: WorkProblem) -> Iterator[str]:
    n = problem.slots
    if not 0 < n <= SLOTS_MAX or not problem.slot_h > 0.0:
        yield f"{n} slots of {problem.slot_h} h; 1 to {SLOTS_MAX} of a positive length are possible"
        return
    for number, step in enumerate(problem.supply):
        for name, series in (("kw", step.kw), ("price", step.price)):
            if len(series) != n or not all(isfinite(value) for value in series):
                yield f"supply {number}: {name} has {len(series)} slots or no numbers; {n} are needed"
                return
    named = [one.id for one in (*problem.tasks, *problem.machines, *problem.crews, *problem.robots)]
    for name, count in sorted(Counter(named).items()):
        if count > 1 or not name:
            yield f"{name or 'an empty id'}: used {count} times; ids must differ and not be empty"
    known = {task.id for task in problem.tasks}
    for task in problem.tasks:
        yield from _task(task, known)
    yield from _cycle(problem)
    for robot in problem.robots:
        yield from _robot(robot)
    for holder in (*problem.machines, *problem.crews, *problem.robots):
        spans = holder.shifts if isinstance(holder, Crew) else holder.windows
        if any(a >= b for a, b in spans):
            yield f"{holder.id}: a window ends before it begins"
        if isinstance(holder, Machine) and holder.hours_left is not None and not holder.hours_left >= 0.0:
            yield f"{holder.id}: hours_left is {holder.hours_left}"


def _task(task: Task, known: Set[AssetId]) -> Iterator[str]:
    if not task.power_kw:
        yield f"{task.id}: power_kw is empty; a task runs at least one slot"
    numbers = (*task.power_kw, *task.water_kl, task.late_price_per_h, task.skip_price, task.robot_kwh)
    if not all(isfinite(value) and value >= 0.0 for value in numbers):
        yield f"{task.id}: a power, price, water or energy is negative or not a number"
    if task.water_kl and len(task.water_kl) != task.slots:
        yield f"{task.id}: water_kl has {len(task.water_kl)} slots, the task {task.slots}"
    if task.deadline_slot <= task.earliest_slot or task.deadline_slot <= 0:
        yield f"{task.id}: deadline (slot {task.deadline_slot}) is past or before its earliest start"
    if task.robot_kwh > 0.0 and not task.robot:
        yield f"{task.id}: robot_kwh without a robot"
    if task.attended_slots is not None and task.attended_slots < 1:
        yield f"{task.id}: attended_slots is {task.attended_slots}; at least one, or None for all"
    for name in task.after:
        if name not in known or name == task.id:
            yield f"{task.id}: after {name}, which is no other task"


def _robot(robot: Robot) -> Iterator[str]:
    if not 0.0 < robot.charge_efficiency <= 1.0 or robot.charge_kw < 0.0:
        yield f"{robot.id}: charge_efficiency {robot.charge_efficiency}, charge_kw {robot.charge_kw}"
    if not 0.0 <= robot.charge_now_kwh <= robot.pack_kwh or not 0.0 <= robot.reserve_kwh <= robot.pack_kwh:
        yield f"{robot.id}: charge {robot.charge_now_kwh} and reserve {robot.reserve_kwh} exceed {robot.pack_kwh} kWh"


def _cycle(problem: WorkProblem) -> Iterator[str]:
    """A task that waits for itself through others can never start."""
    waits = {task.id: set(task.after) for task in problem.tasks}
    while free := [name for name, others in waits.items() if not others & waits.keys()]:
        for name in free:
            del waits[name]
    if waits:
        yield f"{', '.join(sorted(waits))}: these tasks wait for each other"
