"""What the village on virtual time needs of disks and children: ports, which the shell fills."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from controller import hub as core
from controller.beliefs import Kept
from devices.clock import Instant
from devices.gateway_events import ForgetRecords, StoreEpoch, StoreRecords
from devices.model import Readings
from optimizer.answer import Answer
from optimizer.deliveries import DeliveriesProblem
from optimizer.problem import Problem


class BooksPort(Protocol):
    """What the simulation needs of the ledger's writer."""

    def take(self, effect: core.Accept | core.PinKey | core.AcceptDay, now: Instant) -> None:
        """Takes what a gateway sent for the books."""
        ...

    def append(self, kind: str, name: str, body: Mapping[str, str], at: Instant) -> None:
        """Appends an audit entry."""
        ...

    def meter_replaced(self, point: str, closing: tuple[int, int], opening: tuple[int, int], now: Instant) -> None:
        """Takes a technician's word: the registers (import, export) [Wh] of the old meter and of the new one."""
        ...

    def settle(self, now: Instant) -> None:
        """Runs what is due."""
        ...

    def day_acks(self) -> Mapping[str, bytes]:
        """Returns the acknowledgements of the signed days that the last commit kept, by gateway."""
        ...

    def commit(self, now: Instant) -> tuple[core.Booked, Mapping[str, bytes]]:
        """Commits everything; returns the ledger's head and the acknowledgements by gateway."""
        ...


class TelemetryPort(Protocol):
    """What the simulation needs of the telemetry writer."""

    def add(self, readings: Readings) -> None:
        """Takes one device's columns."""
        ...

    def flush(self, now: Instant) -> None:
        """Writes what has gathered."""
        ...


class BeliefPort(Protocol):
    """Where forecasts, plans and their results are kept."""

    def keep(self, item: Kept, now: Instant) -> None:
        """Writes one item."""
        ...


class PeoplePort(Protocol):
    """What the members of a simulated village do themselves."""

    def act(self, name: str, arguments: Mapping[str, str | float], now: Instant) -> None:
        """Opens a vote or casts a ballot.

        Raises:
            ValueError: it is refused; the text says why.
        """
        ...


class OutboxPort(Protocol):
    """Where a gateway's records are durable."""

    def store(self, effect: StoreRecords) -> None:
        """Keeps records and marks before anything is sent."""
        ...

    def keep(self, effect: ForgetRecords | StoreEpoch) -> None:
        """Drops what the hub has committed, or remembers the hub's epoch."""
        ...


class PlannerPort(Protocol):
    """Answers one problem; blocks."""

    def __call__(self, problem: Problem | DeliveriesProblem, *, warm: bool) -> Answer:
        """Returns the planner child's answer; `warm`: the decisions of its last plan may stand."""
        ...
