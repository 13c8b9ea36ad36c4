"""What was believed, and when: each forecast and plan with its event time and its belief time, and how they turned out.

Values only; `controller.store.belief_file` keeps them. Event time is the slot that a number is about, belief time the
moment at which it was made.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.weather_file import WeatherTable
from controller.workbook import WorkItem
from devices.clock import Instant, iso
from optimizer.plan import Plan

SERIES: tuple[str, ...] = ("load", "pv", "water")


@dataclass(frozen=True, slots=True)
class Belief:
    """One forecast: per series the values of the slots from `start` on, in W and mL per slot."""

    made_at: Instant
    start: Instant
    slot_ms: int
    values: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """One plan as it came from the planner, whether it was followed, and why it was made and used or not."""

    made_at: Instant
    plan: Plan
    used: bool
    cause: str  # what asked for it
    note: str  # why it is used, or why rules are better
    timezone: str
    currency: str


@dataclass(frozen=True, slots=True)
class UnreadPlan:
    """A plan that is kept, but not in a form that this version of Atoll knows: it is said, and made anew."""

    made_at: Instant
    timezone: str
    why: str

    def words(self) -> str:
        """Returns what to tell an operator."""
        return f"the plan of {iso(self.made_at)} was kept by another version of Atoll and cannot be read ({self.why})"


@dataclass(frozen=True, slots=True)
class KeptWork:
    """The work list: all that is begun and still counts, and what comes."""

    made_at: Instant
    items: tuple[WorkItem, ...]


@dataclass(frozen=True, slots=True)
class KeptWeather:
    """What one weather file told that was not believed before: belief time `table.issued`, event time in its hours."""

    told_at: Instant
    until: Instant  # the end of the file's last hour, told before or not
    table: WeatherTable


@dataclass(frozen=True, slots=True)
class Score:
    """How far forecasts of one series were off, `lead_slots` ahead, on one local day. W, or mL per slot."""

    day: str  # local, ISO
    series: str
    lead_slots: int
    count: int
    error_abs: float  # sum of |actual - forecast|
    error: float  # sum of actual - forecast
    naive_abs: float  # the same of `as a day before`
    actual: float  # sum


@dataclass(frozen=True, slots=True)
class DayResult:
    """One local day on the objective in force [money]: energy, wear and the money of violations, less stored value.

    `plan`, `rules` and `hindsight` are played by one model on what really happened; `metered` is what the meters say
    of the same day. None where it is not known (yet).
    """

    day: str  # local, ISO
    start: Instant
    end: Instant
    plan: float | None
    rules: float | None
    hindsight: float | None
    metered: float | None
    planned_slots: int  # in how many of the day's slots a plan was in force
    slots: int
    advisory: bool = False
    note: str = ""

    @property
    def saving(self) -> float | None:
        """Returns by how much the plan was cheaper than the rules [money]."""
        return None if self.plan is None or self.rules is None else self.rules - self.plan

    @property
    def regret(self) -> float | None:
        """Returns by how much the plan was dearer than perfect foresight [money]."""
        return None if self.plan is None or self.hindsight is None else self.plan - self.hindsight


Kept = Belief | KeptPlan | KeptWork | KeptWeather | Score | DayResult
