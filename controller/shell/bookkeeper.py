"""The books as the hub's loop and the simulation use them: take, commit once, then say what may be acknowledged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from controller import hub as core
from controller.commands import CommandResult, MoneyRequest
from controller.ledger.entries import derived_id
from controller.ledger.orders import Rejection
from controller.money.desk import Asked
from controller.shell.books import Books
from controller.shell.statements import STATEMENTS
from controller.shell.witness_watch import NO_WITNESSES, WitnessWatch
from devices.clock import Instant
from devices.day_book import encode_day_acks
from devices.model import IntervalRecord, UsagePointId
from devices.outbox import Ack, encode_acks

log = logging.getLogger("hub")

HELD_DAYS = 3
"""Days back for which a meter that is held back is an alarm."""


class Bookkeeper:
    """One writer of one ledger, and which gateway each usage point's records came from."""

    def __init__(
        self, books: Books, witnesses: WitnessWatch | None = None, tiles: Callable[[], bool] | None = None
    ) -> None:
        self.books = books
        self._witnesses = witnesses
        self._tiles = tiles
        self._node_of: dict[str, str] = {}
        self._held: dict[str, str] = {}
        self._unsaid: dict[tuple[str, int], int] = {}  # meter -> page: kept, and not acknowledged yet
        self.shelf = books.shelf()
        self.shelf.node_of = self._node_of

    def take(self, effect: core.Accept | core.PinKey | core.AcceptDay, now: Instant) -> None:
        """Takes what a gateway sent for the books; nothing of it is durable before the next commit."""
        match effect:
            case core.Accept(node=node, records=records):
                self.accept(node, records)
            case core.PinKey(node=node, key=key):
                self.pin(node, key, now)
            case core.AcceptDay(node=node, text=text):
                self.accept_day(node, text)

    def accept(self, node: str, records: Sequence[IntervalRecord]) -> None:
        """Takes records; nothing of them is durable before the next commit."""
        for record in records:
            self._node_of[record.usage_point] = node
        self.books.accept(records)

    def pin(self, node: str, key: str, now: Instant) -> None:
        """Takes the key that a gateway signs its meter-days with; the first one stands."""
        if self.shelf.pin(node, key, now):
            self.books.statements.name_key(node, self.shelf.key(node), now)
        else:
            log.error("event=key-refused node=%s text=%r", node, self.shelf.last_refusal)

    def accept_day(self, node: str, text: bytes) -> None:
        """Takes one signed meter-day; nothing of it is durable before the next commit."""
        refusal = self.shelf.accept(node, text)
        if refusal:
            log.warning("event=day-refused node=%s text=%r", node, refusal)
        for point, start, end in self.shelf.disputed():
            log.warning("event=day-disputed point=%s start=%s", point, start)
            self.books.settle_again(start, end)

    def day_acks(self) -> Mapping[str, bytes]:
        """Returns, for each gateway, the acknowledgement payload of the signed days that the last commit kept."""
        if self.books.withheld:
            return {}
        return {node: encode_day_acks(days) for node, days in self.shelf.acks().items()}

    def append(self, kind: str, name: str, body: Mapping[str, str], at: Instant) -> None:
        """Appends an audit entry; the same id twice is one entry."""
        outcome = self.books.append(kind, dict(body), name, at)
        if isinstance(outcome, Rejection):
            log.error("event=audit-refused kind=%s id=%s code=%s text=%r", kind, name, outcome.code, outcome.message)

    def money(self, command: MoneyRequest, now: Instant) -> CommandResult:
        """Carries out a request of the treasurer's desk; durable after the next commit."""
        if self.books.withheld:
            return CommandResult(command.id, False, "restored", self.books.withheld)
        asked = Asked(command.id, command.actor.name, now)
        if command.request.get("do") in STATEMENTS:
            return self.books.state(asked, command.request)
        return self.books.till.ask(asked, command.request)

    def meter_replaced(self, point: str, closing: tuple[int, int], opening: tuple[int, int], now: Instant) -> None:
        """Takes a technician's word: the registers (import, export) [Wh] of the old meter and of the new one."""
        request: Mapping[str, object] = {
            "do": "meter", "usage_point": point, "closing": list(closing), "opening": list(opening),
            "reason": "replaced by a technician",
        }  # fmt: skip
        result = self.books.state(Asked(derived_id(now, "meter", point), "technician", now), request)
        if not result.accepted:
            log.error("event=replacement-refused point=%s code=%s text=%r", point, result.code, result.message)

    def settle(self, now: Instant) -> None:
        """Makes every run that is due."""
        runs = {result.run for result in self.books.run_due(now)}
        for text in self.books.notices():
            log.warning("event=charter text=%r", text)
        self.books.till.due(now)
        if runs - {"provisional"}:
            self._held = {point: f"{why} on {day}" for day, point, why in self.books.reader().held(HELD_DAYS)}

    def commit(self, now: Instant) -> tuple[core.Booked, Mapping[str, bytes]]:
        """Makes everything durable; returns the head, and the acknowledgement payload for each gateway.

        Raises:
            WouldFork: witnesses have seen another log under our name; nothing was signed.
        """
        if self._witnesses is not None:
            for size, note in self._witnesses.take():
                self.books.cosigned(size, note)
            if self.books.withheld and self._witnesses.answered():
                log.warning("event=restore-confirmed text='enough witnesses know no newer ledger'")
                self.books.release()
        done = self.books.commit(now)
        if self._tiles is not None:
            self._tiles()
        self._unsaid |= {(point, epoch): page for point, epoch, page in done.acks}
        acks: dict[str, list[Ack]] = {}
        if not self.books.withheld:
            for (point, epoch), page in self._unsaid.items():
                acks.setdefault(self._node_of[point], []).append(Ack(UsagePointId(point), epoch, page))
            self._unsaid.clear()
        counters, days = self.books.counters, self.shelf.counters
        unsigned = days["days_refused"] + days["days_conflicting"] + days["keys_refused"]
        booked = core.Booked(
            done.entries,
            done.root,
            tuple(sorted(self._held.items())),
            counters["refused"] + counters["conflicts"] + unsigned,
            "" if self._witnesses is None else self._witnesses.alarm(),
            self.books.charters(),
            self._withheld(),
        )
        return booked, {node: encode_acks(freed) for node, freed in acks.items()}

    def _withheld(self) -> str:
        """Returns why nothing is acknowledged, and what it waits for; '' where it is."""
        if not self.books.withheld:
            return ""
        return f"{self.books.withheld} ({NO_WITNESSES if self._witnesses is None else self._witnesses.lacking()})"
