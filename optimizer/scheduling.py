"""Work by CP-SAT: schedule(problem, limit, seed) -> WorkPlan. Pure, and the same plan on every run.

One literal per possible start carries price and power, so the cheap and sunny slots pull; optional intervals keep
machines, crews and robots from doing two things at once. One worker and deterministic time, never the clock.
"""

# ortools overloads take untyped varargs:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass, field

from ortools.sat.python import cp_model

from optimizer.engine import NoPlanFound
from optimizer.first_schedule import first_schedule
from optimizer.problem import AssetId, Series
from optimizer.task_validation import validate_work
from optimizer.tasks import Assignment, Robot, Task, Undone, Window, WorkPlan, WorkProblem, candidates, crew_slots
from optimizer.upkeep import slots_left
from optimizer.work_cost import pack_value, priced

CENTS = 10_000_000
"""Whole units of the objective per unit of money."""

_W = 1_000
_PACK = 10_000  # units of a pack's charge in a kWh
_MOST_W = 10_000_000
_PATIENCE = (1, 4, 16)  # times the effort, until a first plan is known: leaving everything undone always is one
_GAP = 0.02  # money: below this nobody cares


class BrokenWork(ValueError):
    """A work problem is not well formed; the message holds every fault."""


@dataclass(slots=True)
class _Vars:
    """What the model knows of one task."""

    starts: dict[int, cp_model.IntVar]
    done: cp_model.IntVar
    start: cp_model.IntVar
    machine: dict[AssetId, cp_model.IntVar] = field(default_factory=dict[AssetId, cp_model.IntVar])
    crew: dict[AssetId, cp_model.IntVar] = field(default_factory=dict[AssetId, cp_model.IntVar])
    robot: dict[AssetId, cp_model.IntVar] = field(default_factory=dict[AssetId, cp_model.IntVar])


class _Build:
    """One model under construction; lives for one call of `schedule`."""

    def __init__(self, problem: WorkProblem) -> None:
        self.problem = problem
        self.model = cp_model.CpModel()
        self.tasks: dict[AssetId, _Vars] = {}
        self.charging: dict[AssetId, list[cp_model.IntVar]] = {}
        self.money: list[cp_model.LinearExprT] = []
        self._busy: dict[AssetId, list[cp_model.IntervalVar]] = {}

    def run(self) -> None:
        """Adds everything."""
        for task in self.problem.tasks:
            self._task(task)
        for task in self.problem.tasks:
            self._order(task)
        for machine in self.problem.machines:
            self._service(machine.id, slots_left(machine, self.problem.slot_h))
        for robot in self.problem.robots:
            self._pack(robot)
        for intervals in self._busy.values():
            self.model.add_no_overlap(intervals)
        self._power()
        self.model.minimize(cp_model.LinearExpr.sum(self.money))

    # -- one task ----------------------------------------------------------------------------------------------------

    def _task(self, task: Task) -> None:
        model, problem = self.model, self.problem
        starts = {t: model.new_bool_var(f"{task.id}@{t}") for t in candidates(task, problem)}
        done = model.new_bool_var(f"{task.id} done")
        model.add(cp_model.LinearExpr.sum(list(starts.values())) == done)
        start = model.new_int_var(0, problem.slots, f"{task.id} start")
        weighted = cp_model.LinearExpr.weighted_sum(list(starts.values()), list(starts))
        model.add(start == weighted)
        found = self.tasks[task.id] = _Vars(starts, done, start)
        for t, chosen in starts.items():
            late_h = max(0, t + task.slots - task.due_slot) * problem.slot_h
            wait_h = t * problem.slot_h
            self.money.append(_cents(late_h * task.late_price_per_h + wait_h * 1e-4) * chosen)
        self.money.append(_cents(task.skip_price) * (1 - done))
        self._machine(task, found)
        self._crew(task, found)
        self._robot(task, found)

    def _machine(self, task: Task, found: _Vars) -> None:
        fitting = [m for m in self.problem.machines if _serves(task, m.id, m.kind)]
        if task.machine_kind or task.services is not None:
            found.machine = self._choose(task, found, [(m.id, m.windows) for m in fitting], task.slots)

    def _crew(self, task: Task, found: _Vars) -> None:
        if not task.skills:
            return
        length = crew_slots(task)
        able = [c for c in self.problem.crews if set(task.skills) <= set(c.skills)]
        found.crew = self._choose(task, found, [(c.id, c.shifts) for c in able], length)
        for crew in able:
            price = crew.price_per_h * length * self.problem.slot_h
            self.money.append(_cents(price) * found.crew[crew.id])

    def _robot(self, task: Task, found: _Vars) -> None:
        if task.robot:
            able = [r for r in self.problem.robots if task.kind in r.abilities]
            found.robot = self._choose(task, found, [(r.id, r.windows) for r in able], task.slots)

    def _choose(
        self, task: Task, found: _Vars, options: list[tuple[AssetId, tuple[Window, ...]]], length: int
    ) -> dict[AssetId, cp_model.IntVar]:
        """Returns one literal per possible holder: exactly one while the task is done, busy from the start on."""
        model = self.model
        chosen: dict[AssetId, cp_model.IntVar] = {}
        for holder, windows in options:
            held = chosen[holder] = model.new_bool_var(f"{task.id} by {holder}")
            for t, start in found.starts.items():
                if not any(a <= t and t + length <= b for a, b in windows):
                    model.add_at_most_one(held, start)
            interval = model.new_optional_fixed_size_interval_var(found.start, length, held, f"{task.id} on {holder}")
            self._busy.setdefault(holder, []).append(interval)
        model.add(cp_model.LinearExpr.sum(list(chosen.values())) == found.done)
        return chosen

    def _order(self, task: Task) -> None:
        found = self.tasks[task.id]
        for name in task.after:
            first, before = self.tasks[name], next(one for one in self.problem.tasks if one.id == name)
            self.model.add_implication(found.done, first.done)
            gap = before.slots + task.after_gap_slots
            self.model.add(found.start >= first.start + gap).only_enforce_if(found.done)

    # -- machines that need their service, robots that need their charge ----------------------------------------------

    def _service(self, machine: AssetId, left: int | None) -> None:
        """Runs at most `left` slots before the machine's service; all runs count where none is planned."""
        if left is None:
            return
        services = [one for one in self.problem.tasks if one.services == machine]
        used: list[cp_model.LinearExprT] = []
        for task in self.problem.tasks:
            held = self.tasks[task.id].machine.get(machine)
            if held is None or task.services is not None:
                continue
            early = self.model.new_bool_var(f"{task.id} before service of {machine}")
            afters: list[cp_model.IntVar] = []
            for service in services:
                after = self.model.new_bool_var(f"{task.id} after {service.id}")
                serviced = self.tasks[service.id]
                self.model.add_implication(after, serviced.done)
                self.model.add(self.tasks[task.id].start >= serviced.start + service.slots).only_enforce_if(after)
                afters.append(after)
            self.model.add_bool_or([~held, early, *afters])
            used.append(task.slots * early)
        self.model.add(cp_model.LinearExpr.sum(used) <= left)

    def _pack(self, spec: Robot) -> None:
        """Keeps a robot's pack between reserve and full; it charges only at its dock, whole slots at full power.

        All of a task's energy leaves at its start: with that the pack lasts whatever happens within it.
        """
        model, robot = self.model, spec.id
        gain = round(spec.charge_kw * spec.charge_efficiency * self.problem.slot_h * _PACK)
        now, low, high = (round(kwh * _PACK) for kwh in (spec.charge_now_kwh, spec.reserve_kwh, spec.pack_kwh))
        level: cp_model.LinearExprT = now
        used = [task for task in self.problem.tasks if robot in self.tasks[task.id].robot]
        taken = {task.id: self._both(self.tasks[task.id], robot) for task in used}
        rates: list[cp_model.IntVar] = []
        for t in range(self.problem.slots):
            rate = model.new_bool_var(f"{robot} charge {t}")
            away = [one for task in used for s, one in taken[task.id].items() if s <= t < s + task.slots]
            if away:
                model.add(rate + cp_model.LinearExpr.sum(away) <= 1)
            leaving = [(taken[task.id][t], round(task.robot_kwh * _PACK)) for task in used if t in taken[task.id]]
            after = model.new_int_var(min(low, now), max(high, now), f"{robot} level {t}")
            model.add(after == level + gain * rate - cp_model.LinearExpr.sum([one * wh for one, wh in leaving]))
            for one, _ in leaving:
                model.add(after >= low).only_enforce_if(one)
            level = after
            rates.append(rate)
        self.charging[robot] = rates
        self.money.append(-round(pack_value(self.problem, spec) * CENTS / _PACK) * level)

    def _both(self, found: _Vars, robot: AssetId) -> dict[int, cp_model.IntVar]:
        """Returns one literal per start slot: the task starts then and this robot does it."""
        if len(found.robot) == 1:
            return found.starts
        literals: dict[int, cp_model.IntVar] = {}
        for t, start in found.starts.items():
            both = literals[t] = self.model.new_bool_var(f"{robot} starts {t}")
            self.model.add_bool_and(start, found.robot[robot]).only_enforce_if(both)
            self.model.add_bool_or([both, ~start, ~found.robot[robot]])
        return literals

    # -- power -------------------------------------------------------------------------------------------------------

    def _power(self) -> None:
        """Buys the power of all work along the supply's steps, and what is beyond them at `over_price`."""
        use: list[list[tuple[cp_model.IntVar, float, str]]] = [[] for _ in range(self.problem.slots)]
        single = {kind for kind in (m.kind for m in self.problem.machines) if self._count(kind) == 1}
        for task in self.problem.tasks:
            group = task.machine_kind if task.machine_kind in single else task.id
            for t, literal in self.tasks[task.id].starts.items():
                for offset, kw in enumerate(task.power_kw):
                    if kw > 0.0:
                        use[t + offset].append((literal, kw, group))
        for robot in self.problem.robots:
            for t, rate in enumerate(self.charging[robot.id]):
                use[t].append((rate, robot.charge_kw, robot.id))
        for t, parts in enumerate(use):
            if parts:
                self._buy(t, parts)

    def _count(self, kind: str) -> int:
        return sum(1 for machine in self.problem.machines if machine.kind == kind)

    def _buy(self, t: int, parts: list[tuple[cp_model.IntVar, float, str]]) -> None:
        """Prices one slot: straight on the literals where all that can run at once fits the first step."""
        per_w = self.problem.slot_h * CENTS / _W
        groups: dict[str, float] = {}
        for _, kw, group in parts:
            groups[group] = max(groups.get(group, 0.0), kw)
        steps = [step for step in self.problem.supply if step.kw[t] > 0.0]
        if steps and sum(groups.values()) <= steps[0].kw[t]:
            price = steps[0].price[t] * per_w * _W
            self.money += [round(price * kw) * literal for literal, kw, _ in parts]
            return
        bought: list[cp_model.LinearExprT] = []
        for step in steps:
            part = self.model.new_int_var(0, round(step.kw[t] * _W), "")
            bought.append(part)
            self.money.append(round(step.price[t] * per_w) * part)
        beyond = self.model.new_int_var(0, _MOST_W, "")
        self.money.append(round(self.problem.over_price * per_w) * beyond)
        watts: list[cp_model.LinearExprT] = [literal * round(kw * _W) for literal, kw, _ in parts]
        self.model.add(cp_model.LinearExpr.sum([*bought, beyond]) == cp_model.LinearExpr.sum(watts))

    def hint(self, plan: WorkPlan) -> None:
        """Tells the search where an earlier answer stood."""
        for name, found in self.tasks.items():
            was = plan.of(name)
            self.model.add_hint(found.done, was is not None)
            for t, start in found.starts.items():
                self.model.add_hint(start, was is not None and was.start_slot == t)
            for choice, holder in (
                (found.machine, was and was.machine),
                (found.crew, was and was.crew),
                (found.robot, was and was.robot),
            ):
                for name_of, held in choice.items():
                    self.model.add_hint(held, name_of == holder)
        for robot, rates in self.charging.items():
            for rate, kw in zip(rates, plan.charging_kw.get(robot, ()), strict=False):
                self.model.add_hint(rate, kw > 0.0)


def schedule(problem: WorkProblem, effort: float = 4.0, seed: int = 0, hint: WorkPlan | None = None) -> WorkPlan:
    """Returns the best plan within `effort` (CP-SAT's deterministic seconds).

    Raises:
        BrokenWork: the problem is not well formed; every fault is named.
        NoPlanFound: the effort ended before any plan was known.
    """
    broken = validate_work(problem)
    if broken:
        raise BrokenWork("; ".join(broken))
    if not problem.tasks and not problem.robots:
        return WorkPlan((), (), {}, (0.0,) * problem.slots, proven=True)
    build = _Build(problem)
    build.run()
    build.hint(hint or first_schedule(problem))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.relative_gap_limit = 1e-3
    solver.parameters.absolute_gap_limit = _GAP * CENTS
    solver.parameters.linearization_level = 2
    status = cp_model.UNKNOWN
    for longer in _PATIENCE:
        solver.parameters.max_deterministic_time = effort * longer
        status = solver.solve(build.model)
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return _answer(build, solver, proven=status == cp_model.OPTIMAL)
    raise NoPlanFound(f"work: CP-SAT ends with {solver.status_name(status)} after effort {effort * _PATIENCE[-1]:g}")


def _answer(build: _Build, solver: cp_model.CpSolver, *, proven: bool) -> WorkPlan:
    problem = build.problem
    assignments: list[Assignment] = []
    undone: list[Undone] = []
    for task in problem.tasks:
        found = build.tasks[task.id]
        if not solver.boolean_value(found.done):
            undone.append(Undone(task.id, _why_not(problem, task, found)))
            continue
        by = [
            next((holder for holder, held in choice.items() if solver.boolean_value(held)), None)
            for choice in (found.machine, found.crew, found.robot)
        ]
        assignments.append(Assignment(task.id, solver.value(found.start), *by))
    power = {robot.id: robot.charge_kw for robot in problem.robots}
    charging: dict[AssetId, Series] = {
        robot: tuple(power[robot] * solver.value(rate) for rate in rates) for robot, rates in build.charging.items()
    }
    return priced(problem, tuple(assignments), tuple(undone), charging, solver.best_objective_bound / CENTS, proven)


def _why_not(problem: WorkProblem, task: Task, found: _Vars) -> str:
    if not found.starts:
        return "no start is left that ends by its deadline inside its windows"
    if task.skills and not found.crew:
        return f"no crew can do {', '.join(task.skills)}"
    if (task.machine_kind or task.services) and not found.machine:
        return f"there is no {task.services or task.machine_kind}"
    if task.robot and not found.robot:
        return f"no robot can do {task.kind}"
    missing = [name for name in task.after if name not in {one.id for one in problem.tasks}]
    if missing:
        return f"{missing[0]} has to come first and is not planned"
    return f"leaving it ({task.skip_price:g}) costs less than what it would displace or use"


def _serves(task: Task, machine: AssetId, kind: str) -> bool:
    return machine == task.services if task.services is not None else kind == task.machine_kind


def _cents(money: float) -> int:
    return round(money * CENTS)
