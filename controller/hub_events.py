"""What may happen to the hub's core, and what it wants done: its events and effects, as values."""

from __future__ import annotations

from dataclasses import dataclass

from controller.beliefs import Kept
from controller.commands import Command, CommandResult, MoneyRequest
from controller.settlement.charter import Charter
from controller.weather_file import WeatherTable
from devices.clock import Instant
from devices.events import Incoming, LinkDown, LinkUp, Tick
from devices.model import IntervalRecord, Message, Readings
from optimizer.answer import Answer
from optimizer.deliveries import DeliveriesProblem
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
    unwitnessed: str = ""  # what the witness policy has lacked for too long
    charters: tuple[tuple[Instant, Charter], ...] = ()  # what holds from when
    restored: str = ""  # why a restored ledger signs and acknowledges nothing yet


@dataclass(frozen=True, slots=True)
class WeatherTold:
    """Somebody has dropped in a new weather file: what it tells, or why it cannot be read."""

    table: WeatherTable | None
    problem: str = ""


Event = WeatherTold | Tick | LinkUp | LinkDown | Incoming | PlanAnswered | Commanded | Booked


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
class PinKey:
    """Take this public key for the signed days of gateway `node`, if it is its first."""

    node: str
    key: str


@dataclass(frozen=True, slots=True)
class AcceptDay:
    """Check and commit this signed meter-day, then acknowledge it to the gateway `node`."""

    node: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Audit:
    """Append this to the ledger's log."""

    kind: str
    id: str
    body: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Bookkeep:
    """Let the books answer this request; the reply goes out once it is durable."""

    command: MoneyRequest


@dataclass(frozen=True, slots=True)
class AskPlan:
    """Put this question to the planner child; questions about deliveries have numbers below zero."""

    request: int
    problem: Problem | DeliveriesProblem
    hindsight: bool = False  # of a day that is over: no plan comes of it
    warm: bool = False  # the decisions of the planner's last plan may stand; only powers are made anew


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep this forecast, plan, score or daily result in the file of beliefs."""

    item: Kept


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer the person who gave the command."""

    result: CommandResult


Effect = Publish | Store | Accept | PinKey | AcceptDay | Audit | Bookkeep | AskPlan | Keep | Reply
