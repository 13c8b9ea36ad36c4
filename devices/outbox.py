"""Interval records on their way to the hub: kept until its cumulative acknowledgement, sent again until then.

Also the two payloads: `Records/batch` (JSON array of arrays, version first) and `Records/ack`.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import cast

from devices import bounded_json
from devices.bounded_json import BadJson
from devices.clock import ClockQuality, Instant
from devices.model import Commodity, IntervalRecord, RecordQuality, UsagePointId

BATCH_MAX = 200
WINDOW = 5 * BATCH_MAX
"""Records sent and not yet acknowledged, at most."""
RESEND_MS = 10_000
LINGER_MS = 250
"""New records wait so long for those of other meters."""
FORMAT = 1
PAYLOAD_MAX = 256 * 1024
_ID = re.compile(r"[a-z0-9_.-]{1,64}")
_REGISTER_MAX = 1 << 62


class BadPayload(ValueError):
    """A Records payload that says something impossible; the message names the first fault."""


@dataclass(frozen=True, slots=True)
class Ack:
    """The hub has committed every page of this meter up to `page`."""

    usage_point: UsagePointId
    meter_epoch: int
    page: int


def encode_batch(records: Sequence[IntervalRecord]) -> bytes:
    """Returns the payload of `Records/batch`."""
    rows = [
        (
            r.usage_point,
            r.commodity.value,
            r.meter_epoch,
            r.page,
            r.start,
            r.end,
            r.import_start,
            r.import_end,
            r.export_start,
            r.export_end,
            r.quality.value,
            r.clock.value,
        )
        for r in records
    ]
    return json.dumps([FORMAT, rows], separators=(",", ":")).encode()


def decode_batch(payload: bytes) -> list[IntervalRecord]:
    """Returns the records of a `Records/batch` payload.

    Raises:
        BadPayload: too large, not JSON of this format, or a record that cannot be true.
    """
    return [_record(row) for row in _rows(payload, 12)]


def encode_acks(acks: Iterable[Ack]) -> bytes:
    """Returns the payload of `Records/ack`."""
    rows = [(a.usage_point, a.meter_epoch, a.page) for a in acks]
    return json.dumps([FORMAT, rows], separators=(",", ":")).encode()


def decode_acks(payload: bytes) -> list[Ack]:
    """Returns the acknowledgements of a `Records/ack` payload.

    Raises:
        BadPayload: too large or not JSON of this format.
    """
    acks: list[Ack] = []
    for row in _rows(payload, 3):
        name, epoch, page = row
        if not _is_id(name) or not _counts(epoch, page):
            raise BadPayload(f"no acknowledgement: {row!r:.120}")
        acks.append(Ack(UsagePointId(str(name)), cast("int", epoch), cast("int", page)))
    return acks


def _rows(payload: bytes, columns: int) -> list[list[object]]:
    try:
        document = bounded_json.parse(payload, PAYLOAD_MAX, depth_max=3)
    except BadJson as error:
        raise BadPayload(str(error)) from error
    match document:
        case [1, list() as rows]:
            found = cast("list[object]", rows)
        case _:
            raise BadPayload(f"not [{FORMAT}, rows]: {payload[:60]!r}")
    if columns > 3 and len(found) > BATCH_MAX:
        raise BadPayload(f"{len(found)} records, at most {BATCH_MAX}")
    checked: list[list[object]] = []
    for entry in found:
        row = cast("list[object]", entry) if isinstance(entry, list) else []
        if len(row) != columns:
            raise BadPayload(f"a row is not a list of {columns}: {entry!r:.120}")
        checked.append(row)
    return checked


def _record(row: list[object]) -> IntervalRecord:
    name, commodity, *numbers, quality, clock = row
    if not _is_id(name) or not _counts(*numbers):
        raise BadPayload(f"no interval record: {row!r:.200}")
    epoch, page, start, end, import_start, import_end, export_start, export_end = cast("list[int]", numbers)
    try:
        record = IntervalRecord(
            UsagePointId(str(name)),
            Commodity(cast("str", commodity)),
            epoch,
            page,
            Instant(start),
            Instant(end),
            import_start,
            import_end,
            export_start,
            export_end,
            RecordQuality(cast("str", quality)),
            ClockQuality(cast("str", clock)),
        )
    except ValueError as error:
        raise BadPayload(f"{name}: {error}") from error
    if epoch < 1 or page < 1 or end <= start or import_end < import_start or export_end < export_start:
        raise BadPayload(f"{name} page {page}: an interval or a register runs backwards: {row!r:.200}")
    return record


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _counts(*values: object) -> bool:
    return all(type(value) is int and 0 <= value < _REGISTER_MAX for value in values)


Meter = tuple[UsagePointId, int]
"""(usage point, meter epoch): what pages are counted by."""


@dataclass(slots=True)
class Outbox:
    """The records that the hub has not acknowledged, oldest first, and which of them are on the way.

    Times are milliseconds of the gateway's own elapsed time, which never goes back.
    """

    resend_ms: int = RESEND_MS
    rejected_acks: int = 0
    _pending: dict[Meter, deque[IntervalRecord]] = field(default_factory=dict[Meter, "deque[IntervalRecord]"])
    _highest: dict[Meter, int] = field(default_factory=dict[Meter, int])
    _sent_at: dict[tuple[UsagePointId, int, int], int] = field(default_factory=dict[tuple[UsagePointId, int, int], int])
    _count: int = 0
    _fresh_at: int | None = None  # when records that were never sent are to be sent
    _again_at: int | None = None  # when the oldest one on the way is to be sent again

    def __len__(self) -> int:
        return self._count

    def add(self, records: Iterable[IntervalRecord], elapsed: int) -> None:
        """Takes stored records, pages in order; they are due after a short while, together with their neighbours."""
        for record in records:
            meter = (record.usage_point, record.meter_epoch)
            self._pending.setdefault(meter, deque()).append(record)
            self._highest[meter] = record.page
            self._count += 1
            if self._fresh_at is None:
                self._fresh_at = elapsed + LINGER_MS

    def acknowledge(self, acks: Iterable[Ack], elapsed: int) -> list[Ack]:
        """Forgets what the hub has committed; returns the acknowledgements that freed something.

        An acknowledgement of a page that this gateway never sent is refused: that hub keeps other books.
        """
        freed: list[Ack] = []
        for ack in acks:
            meter = (ack.usage_point, ack.meter_epoch)
            queue = self._pending.get(meter)
            if queue is None:
                continue
            if ack.page > self._highest[meter]:
                self.rejected_acks += 1
                continue
            before = len(queue)
            while queue and queue[0].page <= ack.page:
                record = queue.popleft()
                self._sent_at.pop((record.usage_point, record.meter_epoch, record.page), None)
            self._count -= before - len(queue)
            if len(queue) < before:
                freed.append(ack)
            if not queue:
                del self._pending[meter]
        if freed:
            self._plan()
            if self._count > len(self._sent_at) and self._fresh_at is None:
                self._fresh_at = elapsed  # the window has room again
        return freed

    def due(self, elapsed: int) -> list[list[IntervalRecord]]:
        """Returns the batches to send now: never sent, or sent `resend_ms` ago and not acknowledged."""
        deadline = self.next_deadline()
        if deadline is None or deadline > elapsed:
            return []
        chosen = self._choose(elapsed)
        for record in chosen:
            self._sent_at[record.usage_point, record.meter_epoch, record.page] = elapsed
        self._fresh_at = None
        self._plan()
        return [chosen[i : i + BATCH_MAX] for i in range(0, len(chosen), BATCH_MAX)]

    def _choose(self, elapsed: int) -> list[IntervalRecord]:
        # A share for each meter: one whose pages the hub cannot acknowledge yet must not hold back the others.
        share = max(1, WINDOW // max(1, len(self._pending)))
        chosen: list[IntervalRecord] = []
        for queue in islice(self._pending.values(), WINDOW):
            for record in islice(queue, share):
                sent = self._sent_at.get((record.usage_point, record.meter_epoch, record.page))
                if sent is None or sent + self.resend_ms <= elapsed:
                    chosen.append(record)
        return chosen

    def _plan(self) -> None:
        self._again_at = min(self._sent_at.values()) + self.resend_ms if self._sent_at else None

    def forget_flights(self, elapsed: int) -> None:
        """Takes everything for unsent again, and due at once (a new session with the hub)."""
        self._sent_at.clear()
        self._again_at = None
        self._fresh_at = elapsed if self._count else None

    def next_deadline(self) -> int | None:
        """Returns the elapsed time at which something is to be sent, None if nothing waits."""
        if self._fresh_at is None or self._again_at is None:
            return self._again_at if self._fresh_at is None else self._fresh_at
        return min(self._fresh_at, self._again_at)
