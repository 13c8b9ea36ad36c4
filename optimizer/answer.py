"""What a planner child may answer; the hub's core sees only these."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.plan import Infeasible, Plan


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, not yet checked."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Refused:
    """The planner says that nothing is possible, and why."""

    infeasible: Infeasible


@dataclass(frozen=True, slots=True)
class Failed:
    """No usable answer: `cause` is timeout, crash or garbage."""

    cause: str
    message: str


Answer = Planned | Refused | Failed
