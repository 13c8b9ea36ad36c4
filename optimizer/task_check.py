"""The independent checker of work plans: recomputes everything from the question; shares no code with the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from optimizer.plan import Violation
from optimizer.tasks import Assignment, Task, WorkPlan, WorkProblem

NEAR_KW = 0.002
NEAR_KWH = 0.005
NEAR_MONEY = 2e-3


def check_work(problem: WorkProblem, plan: WorkPlan) -> list[Violation]:
    """Returns everything that is wrong with a work plan; empty means that it may be used."""
    found = list(_shape(problem, plan))
    if found:
        return found
    tasks = {task.id: task for task in problem.tasks}
    for one in plan.assignments:
        found.extend(_times(problem, tasks[one.task], one))
        found.extend(_holders(problem, tasks[one.task], one))
        found.extend(_before(problem, plan, tasks[one.task], one))
    found.extend(_twice(problem, plan))
    found.extend(_services(problem, plan))
    found.extend(_packs(problem, plan))
    found.extend(_power(problem, plan))
    found.extend(_money(problem, plan))
    return found


def _wrong(rule: str, slot: int | None, seen: float, limit: float, text: str) -> Violation:
    at = "" if slot is None else f" in slot {slot}"
    return Violation(rule, slot, seen, limit, f"{text}{at}: {seen:g}, limit {limit:g}")


def _shape(problem: WorkProblem, plan: WorkPlan) -> Iterator[Violation]:
    named = [one.task for one in plan.assignments] + [one.task for one in plan.undone]
    asked = [task.id for task in problem.tasks]
    if sorted(named) != sorted(asked):
        yield _wrong("work_shape", None, len(named), len(asked), "tasks answered are not the tasks asked")
    if len(plan.power_kw) != problem.slots:
        yield _wrong("work_shape", None, len(plan.power_kw), problem.slots, "power_kw slots")
    if sorted(plan.charging_kw) != sorted(robot.id for robot in problem.robots):
        yield _wrong("work_shape", None, len(plan.charging_kw), len(problem.robots), "charging of robots")
    for robot, series in plan.charging_kw.items():
        if len(series) != problem.slots:
            yield _wrong("work_shape", None, len(series), problem.slots, f"{robot}: charging slots")


def _times(problem: WorkProblem, task: Task, one: Assignment) -> Iterator[Violation]:
    end = one.start_slot + len(task.power_kw)
    if one.start_slot < max(task.earliest_slot, 0):
        yield _wrong("work_window", one.start_slot, one.start_slot, task.earliest_slot, f"{task.id} starts too early")
    if end > min(task.deadline_slot, problem.slots):
        yield _wrong("work_window", one.start_slot, end, task.deadline_slot, f"{task.id} ends too late")
    if task.windows and not _inside(one.start_slot, end, task.windows):
        yield _wrong("work_window", one.start_slot, one.start_slot, end, f"{task.id} is outside its own windows")


def _inside(start: int, end: int, windows: Sequence[tuple[int, int]]) -> bool:
    return any(first <= start and end <= last for first, last in windows)


def _attended(task: Task) -> int:
    return len(task.power_kw) if task.attended_slots is None else min(task.attended_slots, len(task.power_kw))


def _holders(problem: WorkProblem, task: Task, one: Assignment) -> Iterator[Violation]:
    start, end = one.start_slot, one.start_slot + len(task.power_kw)
    machine = next((m for m in problem.machines if m.id == one.machine), None)
    if task.machine_kind or task.services is not None:
        fits = machine is not None and (
            machine.id == task.services if task.services is not None else machine.kind == task.machine_kind
        )
        if machine is None or not fits:
            yield _wrong("work_machine", start, 0, 1, f"{task.id} has no machine that does it")
        elif not _inside(start, end, machine.windows):
            yield _wrong("work_machine", start, start, end, f"{machine.id} is not available for {task.id}")
    crew = next((c for c in problem.crews if c.id == one.crew), None)
    if task.skills:
        if crew is None or any(skill not in crew.skills for skill in task.skills):
            yield _wrong("work_skill", start, 0, len(task.skills), f"{task.id}: crew {one.crew} lacks a skill")
        elif not _inside(start, start + _attended(task), crew.shifts):
            yield _wrong("work_shift", start, start, end, f"{task.id} is outside the shifts of {crew.id}")
    robot = next((r for r in problem.robots if r.id == one.robot), None)
    if task.robot:
        if robot is None or task.kind not in robot.abilities:
            yield _wrong("work_robot", start, 0, 1, f"{task.id}: robot {one.robot} cannot do it")
        elif not _inside(start, end, robot.windows):
            yield _wrong("work_robot", start, start, end, f"{task.id} is outside the hours of {robot.id}")


def _before(problem: WorkProblem, plan: WorkPlan, task: Task, one: Assignment) -> Iterator[Violation]:
    for name in task.after:
        first = next((other for other in plan.assignments if other.task == name), None)
        if first is None:
            yield _wrong("work_order", one.start_slot, 0, 1, f"{task.id} is done though {name} is not")
            continue
        length = next(len(other.power_kw) for other in problem.tasks if other.id == name)
        ready = first.start_slot + length + task.after_gap_slots
        if one.start_slot < ready:
            yield _wrong("work_order", one.start_slot, one.start_slot, ready, f"{task.id} starts before {name} is over")


def _twice(problem: WorkProblem, plan: WorkPlan) -> Iterator[Violation]:
    """Counts, slot by slot, what each machine, crew and robot is asked to do at once."""
    tasks = {task.id: task for task in problem.tasks}
    held: dict[tuple[str, int], str] = {}
    for one in plan.assignments:
        task = tasks[one.task]
        for holder, length in (
            (one.machine, len(task.power_kw)),
            (one.crew, _attended(task)),
            (one.robot, len(task.power_kw)),
        ):
            for slot in range(one.start_slot, one.start_slot + length) if holder is not None else ():
                other = held.setdefault((str(holder), slot), task.id)
                if other != task.id:
                    yield _wrong("work_overlap", slot, 2, 1, f"{holder} does {other} and {task.id} at once")


def _services(problem: WorkProblem, plan: WorkPlan) -> Iterator[Violation]:
    tasks = {task.id: task for task in problem.tasks}
    for machine in problem.machines:
        if machine.hours_left is None:
            continue
        runs = [(one.start_slot, tasks[one.task]) for one in plan.assignments if one.machine == machine.id]
        hours = 0.0
        for start, task in sorted(runs, key=lambda run: run[0]):
            if task.services == machine.id:
                break  # the interval starts anew and is longer than a plan
            hours += len(task.power_kw) * problem.slot_h
            if hours > machine.hours_left + 1e-6:
                yield _wrong("work_service", start, hours, machine.hours_left, f"{machine.id} runs past its service: h")


def _packs(problem: WorkProblem, plan: WorkPlan) -> Iterator[Violation]:
    tasks = {task.id: task for task in problem.tasks}
    for robot in problem.robots:
        mine = [(one.start_slot, tasks[one.task]) for one in plan.assignments if one.robot == robot.id]
        charge = robot.charge_now_kwh
        for t, kw in enumerate(plan.charging_kw[robot.id]):
            away = any(start <= t < start + len(task.power_kw) for start, task in mine)
            if not -NEAR_KW <= kw <= (0.0 if away else robot.charge_kw) + NEAR_KW:
                yield _wrong("work_charging", t, kw, 0.0 if away else robot.charge_kw, f"{robot.id} charges: kW")
            leaving = sum(task.robot_kwh for start, task in mine if start == t)
            charge += kw * problem.slot_h * robot.charge_efficiency - leaving
            if charge > max(robot.pack_kwh, robot.charge_now_kwh) + NEAR_KWH:
                yield _wrong("work_pack", t, charge, robot.pack_kwh, f"{robot.id} is more than full: kWh")
            if leaving > 0.0 and charge < robot.reserve_kwh - NEAR_KWH:
                yield _wrong(
                    "work_pack", t, charge, robot.reserve_kwh, f"{robot.id} would come home below reserve: kWh"
                )


def _power(problem: WorkProblem, plan: WorkPlan) -> Iterator[Violation]:
    tasks = {task.id: task for task in problem.tasks}
    for t in range(problem.slots):
        kw = sum(series[t] for series in plan.charging_kw.values())
        for one in plan.assignments:
            offset = t - one.start_slot
            if 0 <= offset < len(tasks[one.task].power_kw):
                kw += tasks[one.task].power_kw[offset]
        if abs(kw - plan.power_kw[t]) > NEAR_KW:
            yield _wrong("work_power", t, plan.power_kw[t], kw, "power of all work: kW")


def _money(problem: WorkProblem, plan: WorkPlan) -> Iterator[Violation]:
    tasks = {task.id: task for task in problem.tasks}
    crews = {crew.id: crew for crew in problem.crews}
    money = sum(tasks[one.task].skip_price for one in plan.undone)
    for t, kw in enumerate(plan.power_kw):
        bought = 0.0
        for step in problem.supply:
            part = min(max(kw - bought, 0.0), max(step.kw[t], 0.0))
            money += part * problem.slot_h * step.price[t]
            bought += part
        money += max(kw - bought, 0.0) * problem.slot_h * problem.over_price
    for one in plan.assignments:
        task = tasks[one.task]
        end = one.start_slot + len(task.power_kw)
        money += max(0, end - task.due_slot) * problem.slot_h * task.late_price_per_h
        if one.crew is not None and one.crew in crews:
            money += crews[one.crew].price_per_h * _attended(task) * problem.slot_h
    money -= _in_packs(problem, plan)
    if abs(money - plan.cost) > NEAR_MONEY * max(1.0, abs(money)):
        yield _wrong("work_cost", None, plan.cost, money, "cost of all work")
    if plan.bound > plan.cost + 1e-6:
        yield _wrong("work_cost", None, plan.bound, plan.cost, "bound above cost")


def _in_packs(problem: WorkProblem, plan: WorkPlan) -> float:
    """Returns the value of what robots have left: 0.9 of the mean price of a slot's first kWh, through the charger."""
    drawn = {task.id: task.robot_kwh for task in problem.tasks}
    worth = 0.0
    paid = 0.0
    for t in range(problem.slots if problem.supply else 0):
        step = next((one for one in problem.supply if one.kw[t] > 0.0), problem.supply[-1])
        paid += step.price[t]
    for robot in problem.robots:
        mean = max(0.0, paid / problem.slots)
        charge = robot.charge_now_kwh + sum(plan.charging_kw[robot.id]) * problem.slot_h * robot.charge_efficiency
        charge -= sum(drawn[one.task] for one in plan.assignments if one.robot == robot.id)
        worth += charge * mean * 0.9 / robot.charge_efficiency
    return worth
