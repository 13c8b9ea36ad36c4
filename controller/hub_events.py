"""What may happen to the hub's core, and what it wants done: its events and effects, as values."""

from __future__ import annotations

from dataclasses import dataclass

from controller.commands import Command, CommandResult
from devices.events import Incoming, LinkDown, LinkUp, Tick
from devices.model import IntervalRecord, Message, Readings
from optimizer.answer import Answer
from optimizer.problem import Problem


@dataclass(frozen=True, slots=True)
class PlanAnswered:
    """The planner child has answered question `request`."""

    request: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Commanded:
    """Somebody asked for something."""

    command: Command


@dataclass(frozen=True, slots=True)
class Booked:
    """The ledger has committed: its size and root, and the accounts it holds back."""

    entries: int
    root: str
    quarantined: tuple[tuple[str, str], ...] = ()
    rejected_records: int = 0


Event = Tick | LinkUp | LinkDown | Incoming | PlanAnswered | Commanded | Booked


@dataclass(frozen=True, slots=True)
class Publish:
    """Send this over MQTT once everything durable of the batch is committed."""

    message: Message


@dataclass(frozen=True, slots=True)
class Store:
    """Keep these readings in the telemetry store."""

    readings: Readings


@dataclass(frozen=True, slots=True)
class Accept:
    """Commit these interval records, then acknowledge them to the gateway `node`."""

    node: str
    records: tuple[IntervalRecord, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """Append this to the ledger's log."""

    kind: str
    id: str
    body: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class AskPlan:
    """Put this question to the planner child."""

    request: int
    problem: Problem


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer the person who gave the command."""

    result: CommandResult


Effect = Publish | Store | Accept | Audit | AskPlan | Reply
