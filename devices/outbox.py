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
HELD_MAX = 4 * WINDOW
"""Unsent records in memory, of all meters together; what comes after them waits on disk and is fetched in time."""
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


@dataclass(frozen=True, slots=True)
class Gap:
    """Pages first to last of a meter that a hub lacks though they were acknowledged once: its books are older."""

    usage_point: UsagePointId
    meter_epoch: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Pages first to last of a meter are on disk and unsent."""

    usage_point: UsagePointId
    meter_epoch: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """Up to `count` pages of a meter after page `after` are wanted in memory."""

    usage_point: UsagePointId
    meter_epoch: int
    after: int
    count: int


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
class _Queue:
    """One meter's unsent pages: the first of them in memory, those after `loaded` to `highest` on disk only.

    Pages follow each other without a gap.
    """

    loaded: int
    highest: int
    records: deque[IntervalRecord] = field(default_factory=deque["IntervalRecord"])

    @property
    def on_disk(self) -> int:
        return self.highest - self.loaded

    @property
    def first(self) -> int:
        return self.records[0].page if self.records else self.loaded + 1

    def __len__(self) -> int:
        return len(self.records) + self.on_disk


@dataclass(slots=True)
class Outbox:
    """The records that the hub has not acknowledged, oldest first, and which of them are on the way.

    Times are milliseconds of the gateway's own elapsed time, which never goes back.
    """

    resend_ms: int = RESEND_MS
    held_max: int = HELD_MAX
    rejected_acks: int = 0
    _pending: dict[Meter, _Queue] = field(default_factory=dict[Meter, _Queue])
    _sent_at: dict[tuple[UsagePointId, int, int], int] = field(default_factory=dict[tuple[UsagePointId, int, int], int])
    _asked: dict[Meter, int] = field(default_factory=dict[Meter, int])  # the last page behind which a gap was seen
    _count: int = 0
    _fetching: bool = False
    _fresh_at: int | None = None  # when records that were never sent are to be sent
    _again_at: int | None = None  # when the oldest one on the way is to be sent again

    def __len__(self) -> int:
        return self._count

    @property
    def held(self) -> int:
        """Returns how many records are in memory."""
        return sum(len(queue.records) for queue in self._pending.values())

    def resume(self, waiting: Iterable[Waiting], elapsed: int) -> None:
        """Goes on with what the disk holds; nothing of it is in memory until it is wanted."""
        for one in waiting:
            self._pending[one.usage_point, one.meter_epoch] = _Queue(one.first - 1, one.last)
            self._count += one.last - one.first + 1
        self._fresh_at = elapsed if self._count else None

    def add(self, records: Iterable[IntervalRecord], elapsed: int) -> None:
        """Takes stored records, pages in order; they are due after a short while, together with their neighbours."""
        for record in records:
            meter = (record.usage_point, record.meter_epoch)
            queue = self._pending.setdefault(meter, _Queue(record.page - 1, record.page - 1))
            if not queue.on_disk and len(queue.records) < self._share(self.held_max):
                queue.records.append(record)
                queue.loaded = record.page
            queue.highest = record.page
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
            if ack.page > queue.highest:
                self.rejected_acks += 1
                continue
            before = len(queue)
            while queue.records and queue.records[0].page <= ack.page:
                record = queue.records.popleft()
                self._sent_at.pop((record.usage_point, record.meter_epoch, record.page), None)
            queue.loaded = max(queue.loaded, ack.page)
            self._count -= before - len(queue)
            if len(queue) < before:
                freed.append(ack)
            if not len(queue):
                del self._pending[meter]
        if freed:
            self._plan()
            if self._count > len(self._sent_at) and self._fresh_at is None:
                self._fresh_at = elapsed  # the window has room again
        return freed

    def gaps(self, acks: Iterable[Ack]) -> list[Gap]:
        """Returns what acknowledgements show to be missing at the hub: a page below what was forgotten here.

        Each once: when the gateway has not kept those pages, asking again would not bring them.
        """
        found: list[Gap] = []
        for ack in acks:
            meter = (ack.usage_point, ack.meter_epoch)
            queue = self._pending.get(meter)
            if queue is not None and queue.first > ack.page + 1 and self._asked.get(meter) != ack.page:
                self._asked[meter] = ack.page
                found.append(Gap(ack.usage_point, ack.meter_epoch, ack.page + 1, queue.first - 1))
        return found

    def put_back(self, gaps: Iterable[Gap], elapsed: int) -> None:
        """Takes pages of a gap again, before all others of their meters: they are unsent on disk."""
        for gap in gaps:
            queue = self._pending.setdefault((gap.usage_point, gap.meter_epoch), _Queue(gap.last, gap.last))
            before = len(queue)
            queue.records.clear()
            queue.loaded = gap.first - 1
            self._count += len(queue) - before
            self._fresh_at = elapsed

    def wanted(self) -> list[Fetch]:
        """Returns what to read from disk now: meters with little in memory and more behind it; nothing while asked."""
        if self._fetching:
            return []
        most = self._share(self.held_max)
        found = [
            Fetch(*meter, queue.loaded, min(queue.on_disk, most - len(queue.records)))
            for meter, queue in islice(self._pending.items(), WINDOW)
            if queue.on_disk and 2 * len(queue.records) < most
        ]
        self._fetching = bool(found)
        return found

    def fetched(self, fetches: Iterable[Fetch], records: Iterable[IntervalRecord], elapsed: int) -> None:
        """Takes what the disk has; where it has nothing, nothing waits there.

        What was acknowledged since it was asked for is of no use any more.
        """
        self._fetching = False
        for record in records:
            queue = self._pending.get((record.usage_point, record.meter_epoch))
            if queue is not None and record.page == queue.loaded + 1:
                queue.records.append(record)
                queue.loaded = record.page
                self._fresh_at = elapsed
        for fetch in fetches:
            meter = (fetch.usage_point, fetch.meter_epoch)
            queue = self._pending.get(meter)
            if queue is not None and queue.loaded == fetch.after:
                self._count -= queue.on_disk
                queue.highest = queue.loaded
                if not len(queue):
                    del self._pending[meter]

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

    def _share(self, whole: int) -> int:
        """Returns each meter's part: one whose pages the hub cannot acknowledge must not hold back the others."""
        return max(1, whole // max(1, len(self._pending)))

    def _choose(self, elapsed: int) -> list[IntervalRecord]:
        share = self._share(WINDOW)
        chosen: list[IntervalRecord] = []
        for queue in islice(self._pending.values(), WINDOW):
            for record in islice(queue.records, share):
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
