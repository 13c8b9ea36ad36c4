"""Work as the planner sees it: tasks, machines, crews and robots in the question; assignments in the answer.

A slot is the energy plan's. A task holds one machine, one crew and one robot at most, whole slots, without a break.
Missing a wish has a price, so a question has an answer whenever it is well formed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from optimizer.names import AssetId, Series

Window = tuple[int, int]
"""First slot, and the slot after the last."""


class TaskKind(StrEnum):
    """What people call the work."""

    PRINT = "print"
    MILL = "mill"
    MAINTENANCE = "maintenance"
    CONSTRUCTION = "construction"
    REPAIR = "repair"
    IRRIGATION = "irrigation"
    SPRAYING = "spraying"
    SURVEY = "survey"
    CARRY = "carry"
    PLANTING = "planting"
    DOSING = "dosing"
    HARVEST = "harvest"
    WASTE = "waste"
    PARCEL = "parcel"
    MEDICINE = "medicine"


@dataclass(frozen=True, slots=True)
class Machine:
    """A shared machine that does one task at a time.

    `hours_left` is how long it may still run before its service (`optimizer.upkeep`); None: no limit.
    """

    id: AssetId
    kind: str  # "printer", "mill", "excavator": what a task asks for
    windows: tuple[Window, ...]
    hours_left: float | None = None


@dataclass(frozen=True, slots=True)
class Crew:
    """People who work together: what they can do, and when they are there."""

    id: AssetId
    skills: tuple[str, ...]
    shifts: tuple[Window, ...]
    price_per_h: float = 0.0


@dataclass(frozen=True, slots=True)
class Robot:
    """A field robot or drone at its dock, where it charges between tasks."""

    id: AssetId
    abilities: tuple[str, ...]  # task kinds that it can do
    windows: tuple[Window, ...]
    pack_kwh: float
    charge_now_kwh: float
    reserve_kwh: float  # never below: the way home
    charge_kw: float  # at the bus
    charge_efficiency: float = 0.92


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work of `len(power_kw)` slots.

    Robots drive out and back within the task's slots. The price of lateness counts from `due_slot` on, until
    `deadline_slot`; a task that cannot end by then is not done at `skip_price`.
    """

    id: AssetId
    kind: TaskKind
    power_kw: Series  # from the bus while it runs; a robot's own drive counts through its pack instead
    earliest_slot: int
    due_slot: int  # wanted end, exclusive
    deadline_slot: int  # latest end, exclusive
    late_price_per_h: float
    skip_price: float
    machine_kind: str = ""  # any machine of this kind; empty: none
    services: AssetId | None = None  # this very machine is held, and its `hours_left` starts anew afterwards
    skills: tuple[str, ...] = ()  # one crew that has all of them; empty: nobody needs to be there
    attended_slots: int | None = None  # the crew stays this long from the start; None: all the time
    robot: bool = False
    robot_kwh: float = 0.0  # out of the pack, way out and back included
    after: tuple[AssetId, ...] = ()  # ends of these come first; not done if one of them is not
    after_gap_slots: int = 0
    windows: tuple[Window, ...] = ()  # the whole task within one of them (weather, quiet hours); empty: any time
    water_kl: Series = ()  # out of the first tank, per slot of the run; empty: none

    @property
    def slots(self) -> int:
        """Returns how long it runs."""
        return len(self.power_kw)


@dataclass(frozen=True, slots=True)
class Supply:
    """What power for work costs: the first `kw[t]` of a slot at `price[t]` per kWh, the rest at the next step."""

    kw: Series
    price: Series


@dataclass(frozen=True, slots=True)
class WorkProblem:
    """Everything the work planner may know. `supply` is in rising order of price; beyond the last nothing is free.

    `over_price` is money per kWh beyond all steps: breaking the feeder limit, soft like every limit.
    """

    slots: int
    slot_h: float
    supply: tuple[Supply, ...]
    over_price: float
    tasks: tuple[Task, ...]
    machines: tuple[Machine, ...] = ()
    crews: tuple[Crew, ...] = ()
    robots: tuple[Robot, ...] = ()


@dataclass(frozen=True, slots=True)
class Assignment:
    """When a task starts, and who and what does it."""

    task: AssetId
    start_slot: int
    machine: AssetId | None = None
    crew: AssetId | None = None
    robot: AssetId | None = None


@dataclass(frozen=True, slots=True)
class Undone:
    """A task that is left out, and why as far as that can be said."""

    task: AssetId
    why: str


@dataclass(frozen=True, slots=True)
class WorkPlan:
    """The answer: `charging_kw[robot][t]` at the bus, and `power_kw[t]` of all work and charging together."""

    assignments: tuple[Assignment, ...]
    undone: tuple[Undone, ...]
    charging_kw: dict[AssetId, Series] = field(default_factory=dict[AssetId, Series])
    power_kw: Series = ()
    cost: float = 0.0
    bound: float = 0.0
    proven: bool = False

    @classmethod
    def nothing(cls, slots: int) -> WorkPlan:
        """Returns the plan in which nobody does anything."""
        return cls((), (), {}, (0.0,) * slots)

    def of(self, task: AssetId) -> Assignment | None:
        """Returns the assignment of a task, or None where it is not done."""
        return next((one for one in self.assignments if one.task == task), None)


def flat_supply(price: Series, limit_kw: Series) -> tuple[Supply, ...]:
    """Returns a supply of one step: a tariff up to a limit."""
    return (Supply(limit_kw, price),)


def candidates(task: Task, problem: WorkProblem) -> tuple[int, ...]:
    """Returns the slots in which a task could start by its own windows alone."""
    last = min(task.deadline_slot, problem.slots) - task.slots
    return tuple(
        t
        for t in range(max(task.earliest_slot, 0), last + 1)
        if not task.windows or any(a <= t and t + task.slots <= b for a, b in task.windows)
    )


def crew_slots(task: Task) -> int:
    """Returns how many slots from its start a task needs its crew."""
    return task.slots if task.attended_slots is None else min(task.attended_slots, task.slots)
