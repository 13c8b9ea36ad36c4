"""Signed meter-days on their way to the hub: one signature closes a meter's local day, kept until the hub has it.

A record is signed with its day as soon as the day's last record is there, or a record that cannot follow the others (a
new meter, a gap). `Records/day` carries one signed record; `Records/day-ack` names those the hub has committed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from devices import bounded_json
from devices.bounded_json import BadJson
from devices.clock import Instant
from devices.meter_day import INTERVALS_MAX, follows, sign_day
from devices.model import IntervalRecord, UsagePointId
from devices.ocmf_keys import SigningKey

WINDOW = 64
"""Signed days on the way at once."""
RESEND_MS = 30_000
FORMAT = 1
_ACKS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class SignedDay:
    """One signed record: `page` counts the usage point's signed records, `last` is the last interval's page."""

    usage_point: UsagePointId
    page: int
    meter_epoch: int
    last: int
    text: bytes


DayId = tuple[UsagePointId, int]
"""(usage point, page): what a signed day is acknowledged by."""


class BadDayAck(ValueError):
    """A `Records/day-ack` that says nothing."""


def encode_day_acks(days: Iterable[tuple[str, int]]) -> bytes:
    """Returns the payload of `Records/day-ack`."""
    return json.dumps([FORMAT, [list(day) for day in days]], separators=(",", ":")).encode()


def decode_day_acks(payload: bytes) -> list[DayId]:
    """Returns the days that a `Records/day-ack` names.

    Raises:
        BadDayAck: not of this format.
    """
    try:
        document = bounded_json.parse(payload, depth_max=3)
    except BadJson as error:
        raise BadDayAck(str(error)) from error
    match document:
        case [1, list() as rows] if len(rows) <= _ACKS_MAX:
            pass
        case _:
            raise BadDayAck(f"not [{FORMAT}, rows]: {payload[:60]!r}")
    days: list[DayId] = []
    for row in rows:
        match row:
            case [str() as point, int() as page]:
                days.append((UsagePointId(point), page))
            case _:
                raise BadDayAck(f"no signed day: {row!r:.80}")
    return days


@dataclass(slots=True)
class DayBook:
    """What is not signed yet, and what is signed and not acknowledged. Without a key it does nothing.

    Times are milliseconds of the gateway's own elapsed time, as in `Outbox`.
    """

    gateway: str
    key: SigningKey | None = None
    zone: str = "UTC"
    resend_ms: int = RESEND_MS
    _open: dict[UsagePointId, list[IntervalRecord]] = field(default_factory=dict[UsagePointId, "list[IntervalRecord]"])
    _pages: dict[UsagePointId, int] = field(default_factory=dict[UsagePointId, int])
    _waiting: dict[DayId, SignedDay] = field(default_factory=dict[DayId, SignedDay])
    _sent_at: dict[DayId, int] = field(default_factory=dict[DayId, int])

    def __len__(self) -> int:
        return len(self._waiting)

    def resume(
        self, lines: Iterable[IntervalRecord], pages: Iterable[tuple[UsagePointId, int]], days: Iterable[SignedDay]
    ) -> None:
        """Goes on with what the outbox file kept: records not signed yet, the last page numbers, days not sent."""
        for record in lines:
            self._open.setdefault(record.usage_point, []).append(record)
        self._pages.update(pages)
        self._waiting.update({(day.usage_point, day.page): day for day in days})

    def take(self, records: Sequence[IntervalRecord]) -> tuple[SignedDay, ...]:
        """Returns the days that these records close, signed; to be stored with them in one transaction."""
        if self.key is None:
            return ()
        closed: list[SignedDay] = []
        for record in records:
            run = self._open.setdefault(record.usage_point, [])
            day = _day(self.zone, record.start)
            if run and (
                _day(self.zone, run[0].start) != day or len(run) >= INTERVALS_MAX or not follows(run[-1], record)
            ):
                closed.append(self._close(record.usage_point, self.key))
                run = self._open.setdefault(record.usage_point, [])
            run.append(record)
            if _day(self.zone, record.end) != day:
                closed.append(self._close(record.usage_point, self.key))
        return tuple(closed)

    def _close(self, point: UsagePointId, key: SigningKey) -> SignedDay:
        run = self._open.pop(point)
        page = self._pages[point] = self._pages.get(point, 0) + 1
        return SignedDay(point, page, run[0].meter_epoch, run[-1].page, sign_day(self.gateway, page, run, key))

    def stored(self, days: Iterable[SignedDay]) -> None:
        """Takes days that are safe on disk: they may be sent."""
        self._waiting.update({(day.usage_point, day.page): day for day in days})

    def due(self, elapsed: int) -> list[bytes]:
        """Returns the signed records to send now, oldest first; only so many are on the way at once."""
        again = [day for day, at in self._sent_at.items() if at + self.resend_ms <= elapsed]
        room = WINDOW - len(self._sent_at)
        fresh = islice((day for day in self._waiting if day not in self._sent_at), max(0, room))
        chosen = [*again, *fresh]
        for day in chosen:
            self._sent_at[day] = elapsed
        return [self._waiting[day].text for day in chosen]

    def acknowledge(self, days: Iterable[DayId]) -> tuple[DayId, ...]:
        """Forgets what the hub has committed; returns what was there to forget."""
        freed = tuple(day for day in days if self._waiting.pop(day, None) is not None)
        for day in freed:
            self._sent_at.pop(day, None)
        return freed

    def forget_flights(self) -> None:
        """Takes everything for unsent again (a new session with the hub)."""
        self._sent_at.clear()

    def next_deadline(self) -> int | None:
        """Returns the elapsed time at which something is to be sent, None if nothing waits."""
        if len(self._sent_at) < min(WINDOW, len(self._waiting)):
            return 0
        return min(self._sent_at.values()) + self.resend_ms if self._sent_at else None


@lru_cache(maxsize=1_024)
def _day(zone: str, at: Instant) -> date:
    """Returns the civil day that holds an instant; all meters share their slots' starts."""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone)).date()
