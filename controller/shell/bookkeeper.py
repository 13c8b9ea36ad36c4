"""The books as the hub's loop and the simulation use them: take, commit once, then say what may be acknowledged."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from controller import hub as core
from controller.ledger.core import Rejection
from controller.shell.books import Books
from devices.clock import Instant
from devices.model import IntervalRecord, UsagePointId
from devices.outbox import Ack, encode_acks

log = logging.getLogger("hub")

HELD_DAYS = 3
"""Days back for which a meter that is held back is an alarm."""


class Bookkeeper:
    """One writer of one ledger, and which gateway each usage point's records came from."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self._node_of: dict[str, str] = {}
        self._held: dict[str, str] = {}

    def accept(self, node: str, records: Sequence[IntervalRecord]) -> None:
        """Takes records; nothing of them is durable before the next commit."""
        for record in records:
            self._node_of[record.usage_point] = node
        self.books.accept(records)

    def append(self, kind: str, name: str, body: Mapping[str, str], at: Instant) -> None:
        """Appends an audit entry; the same id twice is one entry."""
        outcome = self.books.append(kind, dict(body), name, at)
        if isinstance(outcome, Rejection):
            log.error("event=audit-refused kind=%s id=%s code=%s text=%r", kind, name, outcome.code, outcome.message)

    def settle(self, now: Instant) -> None:
        """Makes every run that is due."""
        runs = {result.run for result in self.books.run_due(now)}
        if runs - {"provisional"}:
            self._held = {point: f"{why} on {day}" for day, point, why in self.books.reader().held(HELD_DAYS)}

    def commit(self, now: Instant) -> tuple[core.Booked, Mapping[str, bytes]]:
        """Makes everything durable; returns the head, and the acknowledgement payload for each gateway."""
        done = self.books.commit(now)
        acks: dict[str, list[Ack]] = {}
        for point, epoch, page in done.acks:
            acks.setdefault(self._node_of[point], []).append(Ack(UsagePointId(point), epoch, page))
        counters = self.books.counters
        booked = core.Booked(
            done.entries, done.root, tuple(sorted(self._held.items())), counters["refused"] + counters["conflicts"]
        )
        return booked, {node: encode_acks(freed) for node, freed in acks.items()}
