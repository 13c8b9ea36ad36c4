"""What comes back from the planner child; the hub's core sees only these."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from optimizer.deliveries import DeliveriesPlan
from optimizer.plan import Infeasible, Plan


class Cause(StrEnum):
    """Why there is no answer."""

    TIMEOUT = "timeout"  # hung, stopped or too slow: killed
    CRASH = "crash"  # died, or could not be started
    GARBAGE = "garbage"  # wrote something that is not an answer to the question
    SOLVER = "solver"  # the engine gave up; its words are in the message
    INVALID = "invalid"  # the plan fails the independent check
    BUSY = "busy"  # earlier questions are not answered yet


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that passed the check."""

    plan: Plan
    seconds: float
    child_peak_kib: int


@dataclass(frozen=True, slots=True)
class Routed:
    """A plan of rounds and flights that passed the check."""

    plan: DeliveriesPlan
    seconds: float
    child_peak_kib: int


@dataclass(frozen=True, slots=True)
class Refused:
    """No plan is possible; reasons in words."""

    infeasible: Infeasible


@dataclass(frozen=True, slots=True)
class Failed:
    """The planner itself failed."""

    cause: Cause
    message: str


Answer = Planned | Routed | Refused | Failed
