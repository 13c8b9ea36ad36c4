"""What a work plan costs: power along the supply's steps, crews, lateness, work left undone, charge left in packs."""

from __future__ import annotations

from collections.abc import Mapping

from optimizer.problem import AssetId, Series
from optimizer.tasks import Assignment, Robot, Undone, WorkPlan, WorkProblem, crew_slots


def priced(
    problem: WorkProblem,
    assignments: tuple[Assignment, ...],
    undone: tuple[Undone, ...],
    charging_kw: Mapping[AssetId, Series],
    bound: float,
    proven: bool,
) -> WorkPlan:
    """Returns the whole plan with its power and cost; `bound` is lowered where rounding went below it."""
    power = power_kw(problem, assignments, charging_kw)
    cost = power_cost(problem, power) + _people(problem, assignments, undone)
    cost -= sum(
        pack_value(problem, robot) * _left(problem, robot, assignments, charging_kw) for robot in problem.robots
    )
    return WorkPlan(assignments, undone, dict(charging_kw), power, cost, min(bound, cost), proven)


def power_kw(
    problem: WorkProblem, assignments: tuple[Assignment, ...], charging_kw: Mapping[AssetId, Series]
) -> Series:
    """Returns what work and charging draw from the bus in each slot."""
    power = [sum(series[t] for series in charging_kw.values()) for t in range(problem.slots)]
    runs = {task.id: task.power_kw for task in problem.tasks}
    for one in assignments:
        for offset, kw in enumerate(runs[one.task]):
            power[one.start_slot + offset] += kw
    return tuple(power)


def power_cost(problem: WorkProblem, power: Series) -> float:
    """Returns what that power costs along the steps."""
    money = 0.0
    for t, kw in enumerate(power):
        left = kw
        for step in problem.supply:
            part = min(left, max(step.kw[t], 0.0))
            money += part * step.price[t] * problem.slot_h
            left -= part
        money += max(left, 0.0) * problem.over_price * problem.slot_h
    return money


def pack_value(problem: WorkProblem, robot: Robot) -> float:
    """Returns what a kWh left in a pack is worth: a little less than it costs to put there on average."""
    prices = [first_price(problem, t) for t in range(problem.slots)]
    return max(sum(prices) / len(prices), 0.0) / robot.charge_efficiency * 0.9


def first_price(problem: WorkProblem, t: int) -> float:
    """Returns the price of the first kWh of a slot; of the last step where there is no power at any."""
    there = [step.price[t] for step in problem.supply if step.kw[t] > 0.0]
    return there[0] if there else problem.supply[-1].price[t] if problem.supply else 0.0


def _people(problem: WorkProblem, assignments: tuple[Assignment, ...], undone: tuple[Undone, ...]) -> float:
    tasks = {task.id: task for task in problem.tasks}
    wages = {crew.id: crew.price_per_h for crew in problem.crews}
    money = sum(tasks[one.task].skip_price for one in undone)
    for one in assignments:
        task = tasks[one.task]
        late_h = max(0, one.start_slot + task.slots - task.due_slot) * problem.slot_h
        money += late_h * task.late_price_per_h
        if one.crew is not None:
            money += wages[one.crew] * crew_slots(task) * problem.slot_h
    return money


def _left(
    problem: WorkProblem, robot: Robot, assignments: tuple[Assignment, ...], charging_kw: Mapping[AssetId, Series]
) -> float:
    used = {task.id: task.robot_kwh for task in problem.tasks}
    gained = sum(charging_kw[robot.id]) * problem.slot_h * robot.charge_efficiency
    return robot.charge_now_kwh + gained - sum(used[one.task] for one in assignments if one.robot == robot.id)
