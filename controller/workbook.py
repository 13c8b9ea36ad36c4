"""The work of one site: what is to be done, the plan of who does it when, and the list that people work by. Pure.

Work is planned with everything else, but not every quarter of an hour: people want to know in the morning. Between
two work plans the tasks stand in the energy plan as jobs that cannot move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from controller.civil import local_instant, local_time
from controller.site_work import WorkOrder, WorkSpec
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant
from optimizer.answer import Answer, Planned
from optimizer.problem import AssetId, Job, Problem
from optimizer.tasks import Crew, Machine, Task, TaskKind, Window, WorkProblem

EVERY_MS = 6 * HOUR_MS
RETRY_MS = SLOT_MS
FAILURES_MAX = 5  # the sixth time and later it waits as long as after a plan
KEEP_MS = 90 * DAY_MS
FIXED_PRICE = 10_000.0
"""What leaving out a task would cost the energy plan once people have been told of it."""


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One line of the work list."""

    key: str
    kind: str
    starts: Instant
    ends: Instant
    power_w: float
    machine: str
    crew: str

    @property
    def words(self) -> str:
        """Returns what is done, on what and by whom."""
        return self.kind + (f" on {self.machine}" if self.machine else "") + (f" by {self.crew}" if self.crew else "")


@dataclass(frozen=True, slots=True)
class NotDone:
    """A task that the last work plan leaves out, and why."""

    key: str
    kind: str
    why: str


Source = Callable[[Problem, Mapping[str, WorkItem], Instant], Iterable[Task | NotDone]]
"""(energy problem, all items by key, now) -> tasks that something asks for, and what it cannot ask for and why."""


@dataclass(slots=True)
class Workbook:
    """The state of one hub's work."""

    spec: WorkSpec
    timezone: str
    next_at: Instant
    pending: int | None = None
    failures: int = 0  # questions without an answer, one after the other
    items: dict[str, WorkItem] = field(default_factory=dict[str, WorkItem])
    left_out: tuple[NotDone, ...] = ()
    storm: tuple[Instant, Instant] | None = None  # nobody works outside then; ripe crops come in before
    sources: tuple[Source, ...] = ()  # what asks for work beside the orders: yards, crops
    energy: Problem | None = None  # the last energy problem, without any of this work
    _unknown: tuple[NotDone, ...] = ()
    _asked: WorkProblem | None = None
    _start: Instant | None = None

    def due(self, now: Instant) -> bool:
        """Returns whether the work should be planned anew."""
        return bool(self.spec.orders or self.sources) and now >= self.next_at

    def question(self, problem: Problem, now: Instant) -> Problem | None:
        """Returns the energy problem with all work that has not begun in it; None when there is none."""
        self.next_at = Instant(now + EVERY_MS)
        asked = [one for source in self.sources for one in source(problem, self.items, now)]
        self._unknown = tuple(one for one in asked if isinstance(one, NotDone))
        tasks = (*self._tasks(problem, now), *(one for one in asked if isinstance(one, Task)))
        if not tasks:
            self.left_out = self._unknown
            return None
        found = {task.id for task in tasks}
        tasks = tuple(replace(task, after=tuple(name for name in task.after if name in found)) for task in tasks)
        machines = tuple(
            Machine(
                AssetId(one.id),
                one.kind,
                tuple(self._free(one.id, problem, one.hours, tuple(range(7)), now)),
                None if one.hours_left is None else max(one.hours_left - self._ran(one.id, now), 0.0),
            )
            for one in self.spec.machines
        )
        crews = tuple(
            Crew(
                AssetId(one.id),
                one.skills,
                tuple(self._free(one.id, problem, one.shift, one.days, now)),
                one.price_per_h,
            )
            for one in self.spec.crews
        )
        self._asked = WorkProblem(problem.slots, problem.slot_h, (), 0.0, tasks, machines, crews)
        self._start = problem.start
        return replace(problem, work=self._asked)

    def _tasks(self, problem: Problem, now: Instant) -> Iterator[Task]:
        for order in self.spec.orders:
            for key, opens, closes in self._around_storm(order, now):
                begun = self.items.get(key)
                if begun is not None and begun.starts <= now:
                    continue
                length = -(-order.duration_ms // SLOT_MS)
                earliest = max(0, -(-(max(opens, now) - problem.start) // SLOT_MS))
                deadline = min((closes - problem.start) // SLOT_MS, problem.slots)
                if deadline - length >= earliest:
                    yield self._task(order, key, (earliest, deadline), length)

    def _task(self, order: WorkOrder, key: str, window: Window, length: int) -> Task:
        day = key.removeprefix(order.id)
        return Task(
            AssetId(key),
            TaskKind(order.kind),
            (order.power_w / 1000,) * length,
            earliest_slot=window[0],
            due_slot=window[1],
            deadline_slot=window[1],
            late_price_per_h=order.late_price_per_h,
            skip_price=order.skip_price,
            machine_kind=order.machine,
            services=None if order.services is None else AssetId(order.services),
            skills=order.skills,
            attended_slots=None if order.attended_ms is None else -(-order.attended_ms // SLOT_MS),
            after=tuple(AssetId(f"{name}{day}") for name in order.after),
        )

    def _around_storm(self, order: WorkOrder, now: Instant) -> Iterator[tuple[str, Instant, Instant]]:
        """Yields (key, opens, closes) beside a declared storm: harvests come before it, the rest before or after."""
        for key, opens, closes in self._occurrences(order, now):
            if self.storm is None or self.storm[1] <= opens:
                yield key, opens, closes
            elif order.kind == TaskKind.HARVEST and now < self.storm[0]:
                yield key, now, self.storm[0]
            elif self.storm[0] - max(opens, now) >= order.duration_ms:
                yield key, opens, Instant(min(closes, self.storm[0]))
            else:
                yield key, Instant(max(opens, self.storm[1])), closes

    def _occurrences(self, order: WorkOrder, now: Instant) -> Iterator[tuple[str, Instant, Instant]]:
        """Yields (key, opens, closes): today's and tomorrow's, or the only one."""
        if order.until is not None:
            yield order.id, now, order.until
            return
        today = local_time(self.timezone, now).date()
        for offset in (0, 1):
            day = today + timedelta(days=offset)
            opens, closes = (local_instant(self.timezone, day, minute) for minute in order.window)
            yield f"{order.id}.{day:%Y%m%d}", opens, closes

    def _free(
        self, holder: str, problem: Problem, hours: tuple[int, int], days: Iterable[int], now: Instant
    ) -> Iterator[Window]:
        """Yields a holder's hours in slots, from when it has done what it does now."""
        busy = [item.ends for item in self.items.values() if holder in (item.machine, item.crew) and item.starts <= now]
        free = max([problem.start, *busy])
        today = local_time(self.timezone, now).date()
        for offset in (0, 1, 2):
            day = today + timedelta(days=offset)
            if day.weekday() not in days:
                continue
            opens, closes = (local_instant(self.timezone, day, minute) for minute in hours)
            first = -(-(max(opens, free) - problem.start) // SLOT_MS)
            last = min((closes - problem.start) // SLOT_MS, problem.slots)
            if first < last:
                yield first, last

    def _ran(self, machine: str, now: Instant) -> float:
        """Returns the hours of runs begun since the machine's last service, as far as this hub knows of them."""
        mine = [item for item in self.items.values() if item.machine == machine and item.starts <= now]
        served = max((item.ends for item in mine if item.kind == "maintenance"), default=0)
        runs = [item for item in mine if item.starts >= served]
        return sum(item.ends - item.starts for item in runs) / HOUR_MS

    # -- answers ---------------------------------------------------------------------------------------------------

    def answered(self, answer: Answer, now: Instant) -> bool:
        """Takes a work plan that has passed its check; returns False without one.

        Then the old list goes on, and the question is asked again: soon, and each time that fails twice as late.
        """
        self.pending = None
        asked = self._asked
        start = self._start
        if not isinstance(answer, Planned) or answer.plan.work is None or asked is None or start is None:
            self.next_at = Instant(now + min(RETRY_MS << self.failures, EVERY_MS))
            self.failures = min(self.failures + 1, FAILURES_MAX)
            return False
        self.failures = 0
        tasks = {task.id: task for task in asked.tasks}
        kept = {key: item for key, item in self.items.items() if item.starts <= now and item.ends > now - KEEP_MS}
        for one in answer.plan.work.assignments:
            task = tasks[one.task]
            starts = Instant(start + one.start_slot * SLOT_MS)
            ends = Instant(starts + task.slots * SLOT_MS)
            power = 1000 * task.power_kw[0]
            kept[one.task] = WorkItem(one.task, task.kind, starts, ends, power, one.machine or "", one.crew or "")
        self.items = kept
        undone = (NotDone(one.task, tasks[one.task].kind, one.why) for one in answer.plan.work.undone)
        self.left_out = (*self._unknown, *undone)
        return True

    def jobs(self, start: Instant, slots: int, begun_by: Instant | None = None) -> tuple[Job, ...]:
        """Returns the tasks as jobs of an energy problem that begins at `start`; what runs already has its rest.

        With `begun_by`, only those that have begun by then.
        """
        found: list[Job] = []
        for item in self.items.values():
            if begun_by is not None and item.starts > begun_by:
                continue
            first = max(0, (item.starts - start) // SLOT_MS)
            last = min((item.ends - start) // SLOT_MS, slots)
            if last > first and item.power_w > 0.0:
                kw = (item.power_w / 1000,) * (last - first)
                job = Job(AssetId(item.key), kw, (0.0,) * len(kw), first, first, FIXED_PRICE, item.machine, item.words)
                found.append(job)
        return tuple(found)

    def list(self, now: Instant) -> tuple[WorkItem, ...]:
        """Returns what is under way and what comes, in order: the work list."""
        return tuple(sorted((i for i in self.items.values() if i.ends > now), key=lambda item: (item.starts, item.key)))
