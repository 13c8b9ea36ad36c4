"""A first work plan by hand's rule: dearest task first, each at its cheapest place that is left. Valid, seldom best.

It is where the search begins, so that a search cut short still has an answer that people could work by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from optimizer.problem import AssetId, Series
from optimizer.tasks import Assignment, Robot, Task, Undone, Window, WorkPlan, WorkProblem, candidates, crew_slots
from optimizer.upkeep import slots_left
from optimizer.work_cost import priced


@dataclass(slots=True)
class _State:
    """What is taken so far."""

    busy: dict[AssetId, set[int]] = field(default_factory=dict[AssetId, set[int]])
    power: list[float] = field(default_factory=list[float])
    ends: dict[AssetId, int] = field(default_factory=dict[AssetId, int])
    trips: dict[AssetId, list[tuple[int, Task]]] = field(default_factory=dict[AssetId, list[tuple[int, Task]]])
    serviced: dict[AssetId, int] = field(default_factory=dict[AssetId, int])
    run: dict[AssetId, int] = field(default_factory=dict[AssetId, int])


def first_schedule(problem: WorkProblem) -> WorkPlan:
    """Returns a valid plan of a well-formed problem."""
    state = _State(power=[0.0] * problem.slots)
    made: list[Assignment] = []
    undone: list[Undone] = []
    for task in _in_turn(problem):
        best = min(_places(problem, state, task), key=lambda place: place[0], default=None)
        if best is None or best[0] >= task.skip_price:
            undone.append(Undone(task.id, "no place is left for it"))
            continue
        made.append(best[1])
        _take(state, task, best[1])
    charging = {
        robot.id: _charging(problem, robot, state.trips.get(robot.id, [])) or (0.0,) * problem.slots
        for robot in problem.robots
    }
    order = {task.id: number for number, task in enumerate(problem.tasks)}
    made.sort(key=lambda one: order[one.task])
    return priced(problem, tuple(made), tuple(undone), charging, 0.0, proven=False)


def _in_turn(problem: WorkProblem) -> Iterator[Task]:
    """Yields services first, then by price, but never a task before those that it waits for."""
    left = sorted(problem.tasks, key=lambda t: (t.services is None, -t.skip_price, t.due_slot - t.slots, t.id))
    given: set[AssetId] = set()
    while left:
        task = next(one for one in left if set(one.after) <= given)
        left.remove(task)
        given.add(task.id)
        yield task


def _places(problem: WorkProblem, state: _State, task: Task) -> Iterator[tuple[float, Assignment]]:
    if any(name not in state.ends for name in task.after):
        return
    ready = max((state.ends[name] + task.after_gap_slots for name in task.after), default=0)
    machines: list[AssetId | None] = [None]
    if task.machine_kind or task.services is not None:
        wanted = task.services
        machines = [m.id for m in problem.machines if (m.id == wanted if wanted else m.kind == task.machine_kind)]
    crews: list[AssetId | None] = [None]
    if task.skills:
        crews = [c.id for c in problem.crews if set(task.skills) <= set(c.skills)]
    robots: list[AssetId | None] = [None]
    if task.robot:
        robots = [r.id for r in problem.robots if task.kind in r.abilities]
    for t in candidates(task, problem):
        if t < ready:
            continue
        machine = [m for m in machines if _machine_free(problem, state, task, m, t)]
        crew = [c for c in crews if _free(problem, state, c, t, crew_slots(task))]
        robot = [r for r in robots if _robot_free(problem, state, task, r, t)]
        if machine and crew and robot:
            yield _price(problem, state, task, t), Assignment(task.id, t, machine[0], crew[0], robot[0])


def _windows(problem: WorkProblem, holder: AssetId) -> tuple[Window, ...]:
    for one in (*problem.machines, *problem.robots):
        if one.id == holder:
            return one.windows
    return next(crew.shifts for crew in problem.crews if crew.id == holder)


def _free(problem: WorkProblem, state: _State, holder: AssetId | None, start: int, length: int) -> bool:
    if holder is None:
        return True
    if not any(a <= start and start + length <= b for a, b in _windows(problem, holder)):
        return False
    return not state.busy.get(holder, set()).intersection(range(start, start + length))


def _machine_free(problem: WorkProblem, state: _State, task: Task, machine: AssetId | None, start: int) -> bool:
    if not _free(problem, state, machine, start, task.slots):
        return False
    if machine is None or task.services is not None:
        return True
    left = slots_left(next(one for one in problem.machines if one.id == machine), problem.slot_h)
    if left is None or start >= state.serviced.get(machine, problem.slots + 1):
        return True
    return state.run.get(machine, 0) + task.slots <= left


def _robot_free(problem: WorkProblem, state: _State, task: Task, robot: AssetId | None, start: int) -> bool:
    if not _free(problem, state, robot, start, task.slots):
        return False
    if robot is None:
        return True
    spec = next(one for one in problem.robots if one.id == robot)
    return _charging(problem, spec, [*state.trips.get(robot, []), (start, task)]) is not None


def _charging(problem: WorkProblem, robot: Robot, trips: list[tuple[int, Task]]) -> Series | None:
    """Returns the charging that fills the pack as soon as it can, or None where a trip would still lack energy."""
    gain = robot.charge_kw * problem.slot_h * robot.charge_efficiency
    charge, series = robot.charge_now_kwh, list[float]()
    for t in range(problem.slots):
        away = any(start <= t < start + task.slots for start, task in trips)
        power = 0.0 if away or charge + gain > robot.pack_kwh else robot.charge_kw
        charge += power * problem.slot_h * robot.charge_efficiency
        leaving = [task.robot_kwh for start, task in trips if start == t]
        charge -= sum(leaving)
        if leaving and charge < robot.reserve_kwh - 1e-9:
            return None
        series.append(power)
    return tuple(series)


def _price(problem: WorkProblem, state: _State, task: Task, start: int) -> float:
    money = max(0, start + task.slots - task.due_slot) * problem.slot_h * task.late_price_per_h + 1e-4 * start
    for offset, kw in enumerate(task.power_kw):
        t = start + offset
        money += _bought(problem, t, state.power[t] + kw) - _bought(problem, t, state.power[t])
    return money


def _bought(problem: WorkProblem, t: int, kw: float) -> float:
    money = 0.0
    for step in problem.supply:
        part = min(kw, max(step.kw[t], 0.0))
        money += part * step.price[t] * problem.slot_h
        kw -= part
    return money + kw * problem.over_price * problem.slot_h


def _take(state: _State, task: Task, one: Assignment) -> None:
    for holder, length in ((one.machine, task.slots), (one.crew, crew_slots(task)), (one.robot, task.slots)):
        if holder is not None:
            state.busy.setdefault(holder, set()).update(range(one.start_slot, one.start_slot + length))
    for offset, kw in enumerate(task.power_kw):
        state.power[one.start_slot + offset] += kw
    state.ends[task.id] = one.start_slot + task.slots
    if one.robot is not None:
        state.trips.setdefault(one.robot, []).append((one.start_slot, task))
    if task.services is not None:
        state.serviced[task.services] = one.start_slot + task.slots
    elif one.machine is not None and one.start_slot < state.serviced.get(one.machine, one.start_slot + 1):
        state.run[one.machine] = state.run.get(one.machine, 0) + task.slots
