"""Telemetry on the SD card: one blob per flush, re-chunked per point and hour, in monthly files.

`add` only remembers the readings; the work is done at the flush every 10 s. A damaged file is set aside and
a new one begun; a damaged chunk is a gap and a count. Nothing here raises for what the disk does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import apsw

from controller.store import months
from controller.store.chunks import QUALITY_MASK, SIMULATED, BadChunk, Block, Column, decode, encode
from controller.store.series import PointRange, Series
from controller.store.sqlite import Database, Rows
from devices.clock import HOUR_MS, Instant, floor_to
from devices.model import PointId, Quality, Readings, point_id

FLUSH_MS = 10_000
READINGS_PENDING_MAX = 200_000
RECHUNK_VALUES = 20_000  # per flush: about 40 ms, so that no cycle is late
RECHUNK_ROWS = 720

AT_MIN = Instant(946_684_800_000)  # the year 2000: whatever is older comes from a clock that was never set
AT_MAX = Instant(4_102_444_800_000)  # the year 2100

Samples = list[tuple[int, float | None, int]]
_QUALITIES = tuple(Quality)


class TelemetryWriter:
    """The only writer of `tele-YYYYMM.db`. One thread owns it."""

    def __init__(self, folder: str | Path, durability: str = "FULL") -> None:
        self._folder = Path(folder)
        self._durability = durability
        self._pending: list[Readings] = []
        self._files: dict[str, _MonthWriter] = {}
        self.counters = {
            "dropped": 0,
            "rejected_time": 0,
            "write_failed": 0,
            "corrupt_files": 0,
            "corrupt_chunks": 0,
            "bytes_written": 0,
            "values_written": 0,
        }

    def add(self, readings: Readings) -> None:
        """Takes one poll of one device; it is durable after the next flush."""
        if len(self._pending) < READINGS_PENDING_MAX:
            self._pending.append(readings)
        else:
            self.counters["dropped"] += 1

    def flush(self, now: Instant) -> None:
        """Writes everything added so far with one commit per month, then re-chunks a slice of an old hour."""
        pending, self._pending = self._pending, []
        dated = [part for part in pending if AT_MIN <= part.at < AT_MAX]
        self.counters["rejected_time"] += len(pending) - len(dated)
        for month, readings in _by_month(dated):
            if not self._attempt(month, lambda file, part=readings: file.write(part)):
                self._keep(readings)
        month = months.month_of(now)
        cut = floor_to(now, HOUR_MS)
        for name in sorted(set(self._files) | {month}):
            if name in self._files or months.month_path(self._folder, name).exists():
                self._attempt(name, lambda file: file.rechunk(cut))
        for name in [name for name in self._files if name < month]:
            if self._files[name].idle:
                self._files.pop(name).close()

    def close(self, now: Instant) -> None:
        """Flushes and closes the files."""
        self.flush(now)
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _keep(self, readings: list[Readings]) -> None:
        room = READINGS_PENDING_MAX - len(self._pending)
        self.counters["dropped"] += max(0, len(readings) - room)
        self._pending = readings[:room] + self._pending

    def _attempt(self, month: str, work: Callable[[_MonthWriter], None]) -> bool:
        """Does `work` on a month's file; a damaged file is set aside and the work done on a new one."""
        for _ in range(2):
            try:
                if month not in self._files:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    self._files[month] = _MonthWriter(self._folder, month, self._durability, self.counters)
                work(self._files[month])
            except months.DAMAGED:
                self._set_aside(month)
            except (apsw.Error, OSError):
                self.counters["write_failed"] += 1
                self._drop(month)  # what it remembers of the rolled-back rows is not in the file
                return False
            else:
                return True
        return False

    def _set_aside(self, month: str) -> None:
        self.counters["corrupt_files"] += 1
        self._drop(month)
        months.set_aside(months.month_path(self._folder, month))

    def _drop(self, month: str) -> None:
        file = self._files.pop(month, None)
        if file is not None:
            file.close()


def _by_month(pending: Sequence[Readings]) -> Iterator[tuple[str, list[Readings]]]:
    """Yields the readings per month; nearly always that is one."""
    rest = list(pending)
    while rest:
        start, end = months.month_bounds(rest[0].at)
        yield months.month_of(rest[0].at), [part for part in rest if start <= part.at < end]
        rest = [part for part in rest if not start <= part.at < end]


class _MonthWriter:
    """One month's file as its writer sees it."""

    def __init__(self, folder: Path, month: str, durability: str, counters: dict[str, int]) -> None:
        self._db = months.open_month(months.month_path(folder, month), durability)
        self._counters = counters
        self._layouts = {
            (str(d), str(p)): int(str(i)) for i, d, p in self._db.execute("SELECT id, device, points FROM layout")
        }
        self._series: dict[str, int] = {}
        self._queue: list[int] = []  # layouts of the hour that are still to be re-chunked
        self._rows: list[int] = []  # flush rows of that hour
        self.idle = False

    def close(self) -> None:
        self._db.close()

    def write(self, readings: Sequence[Readings]) -> None:
        """Appends one flush blob."""
        groups: dict[tuple[str, tuple[str, ...]], list[Readings]] = {}
        for part in readings:
            groups.setdefault((part.device, part.points), []).append(part)
        body = b""
        with self._db:
            packed = [(self._layout(device, points), encode(_block(rows))) for (device, points), rows in groups.items()]
            body = months.pack_flush(packed)
            self._db.execute(
                "INSERT INTO flush(start_ms, end_ms, body) VALUES (?, ?, ?)",
                (min(part.at for part in readings), max(part.at for part in readings), body),
            )
        self.idle = False
        self._counters["bytes_written"] += len(body)
        self._counters["values_written"] += sum(len(part.points) for part in readings)

    def rechunk(self, cut: Instant) -> None:
        """Moves a slice of the flush blobs that end before `cut` into chunks per point and hour."""
        if not self._rows and not self._begin(cut):
            self.idle = True
            return
        bodies = [body for row in self._rows for body in self._body(row)]
        done = 0
        with self._db:
            while self._queue and done < RECHUNK_VALUES:
                done += self._rechunk_layout(self._queue.pop(), bodies)
            if not self._queue:
                self._db.executemany("DELETE FROM flush WHERE id = ?", [(row,) for row in self._rows])
                self._rows = []

    def _begin(self, cut: Instant) -> bool:
        rows = self._db.execute("SELECT id FROM flush WHERE end_ms < ? ORDER BY id LIMIT ?", (cut, RECHUNK_ROWS))
        self._rows = [int(str(row)) for (row,) in rows]
        self._queue = list(self._layouts.values())
        return bool(self._rows)

    def _body(self, row: int) -> Iterator[bytes]:
        return _blobs(self._db.execute("SELECT body FROM flush WHERE id = ?", (row,)))

    def _rechunk_layout(self, layout: int, bodies: Sequence[bytes]) -> int:
        device, names = next(key for key, kept in self._layouts.items() if kept == layout)
        points = names.split("\n")
        blocks = [
            block
            for body in bodies
            for block in _blocks(body, {layout}, self._counters)
            if len(block[1].columns) == len(points)
        ]
        count = 0
        for index, point in enumerate(points):
            samples: Samples = []
            for _, block in blocks:
                column = block.columns[index]
                samples += zip(block.times, column.values, column.marks, strict=True)
            self._merge(point_id(device, point), samples)
            count += len(samples)
        return count

    def _merge(self, point: PointId, samples: Samples) -> None:
        series = self._series_id(point)
        for start, part in _by_hour(samples):
            rows = self._db.execute("SELECT body FROM hour WHERE series = ? AND start_ms = ?", (series, start))
            kept = [sample for body in _blobs(rows) for sample in _samples(body, self._counters)]
            merged = _ordered(kept + part)
            body = encode(
                Block(tuple(s[0] for s in merged), (Column(tuple(s[1] for s in merged), bytes(s[2] for s in merged)),))
            )
            self._db.execute("INSERT OR REPLACE INTO hour VALUES (?, ?, ?)", (series, start, body))
            self._counters["bytes_written"] += len(body)

    def _layout(self, device: str, points: tuple[str, ...]) -> int:
        key = (device, "\n".join(points))
        if key not in self._layouts:
            self._db.execute("INSERT OR IGNORE INTO layout(device, points) VALUES (?, ?)", key)
            rows = self._db.execute("SELECT id FROM layout WHERE device = ? AND points = ?", key)
            self._layouts[key] = _only_id(rows)
        return self._layouts[key]

    def _series_id(self, point: PointId) -> int:
        if point not in self._series:
            self._db.execute("INSERT OR IGNORE INTO series(point) VALUES (?)", (point,))
            self._series[point] = _only_id(self._db.execute("SELECT id FROM series WHERE point = ?", (point,)))
        return self._series[point]


def _blobs(rows: Rows) -> Iterator[bytes]:
    return (body for (body,) in rows if isinstance(body, bytes))


def _only_id(rows: Rows) -> int:
    """Returns the id that was just made sure of; without it the file's index is damaged."""
    for (row,) in rows:
        return int(str(row))
    raise apsw.CorruptError("a row that was just inserted is not found")


def _block(rows: Sequence[Readings]) -> Block:
    columns = zip(zip(*[row.values for row in rows], strict=True), _marks(rows), strict=True)
    return Block(tuple([row.at for row in rows]), tuple([Column(values, marks) for values, marks in columns]))


def _marks(rows: Sequence[Readings]) -> list[bytes]:
    """Returns each column's marks; nearly always every poll has the same qualities."""
    first = rows[0]
    if all(row.qualities == first.qualities and row.simulated == first.simulated for row in rows):
        flag = SIMULATED if first.simulated else 0
        return [bytes((quality | flag,)) * len(rows) for quality in first.qualities]
    marks = [[quality | (SIMULATED if row.simulated else 0) for quality in row.qualities] for row in rows]
    return [bytes(column) for column in zip(*marks, strict=True)]


def _blocks(body: bytes, layouts: set[int], counters: dict[str, int]) -> Iterator[tuple[int, Block]]:
    """Yields the intact blocks of the wanted layouts in a flush blob."""
    for layout, chunk in months.unpack_flush(body):
        if layout in layouts:
            try:
                yield layout, decode(chunk)
            except BadChunk:
                counters["corrupt_chunks"] += 1


def _samples(chunk: bytes, counters: dict[str, int]) -> Samples:
    """Returns the samples of an hour's chunk; a damaged one has none."""
    try:
        block = decode(chunk)
    except BadChunk:
        counters["corrupt_chunks"] += 1
        return []
    return (
        []
        if not block.columns
        else list(zip(block.times, block.columns[0].values, block.columns[0].marks, strict=True))
    )


def _by_hour(samples: Samples) -> Iterable[tuple[int, Samples]]:
    hours: dict[int, Samples] = {}
    for sample in samples:
        hours.setdefault(sample[0] - sample[0] % HOUR_MS, []).append(sample)
    return hours.items()


def _ordered(samples: Samples) -> Samples:
    """Returns the samples in time order, the last one told for each instant."""
    return [(at, value, mark) for at, (value, mark) in sorted({s[0]: (s[1], s[2]) for s in samples}.items())]


class TelemetryReader:
    """Reads ranges back; safe to use from several threads."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._lock = threading.Lock()
        self._files: dict[str, tuple[Database, int]] = {}  # with the inode, to see a file set aside
        self.counters = {"corrupt_chunks": 0, "corrupt_files": 0}

    def range(self, point: PointId, start: Instant, end: Instant) -> PointRange:
        """Returns the samples of [start, end) in time order; damage shows as a gap."""
        return self.ranges([point], start, end)[point]

    def ranges(self, points: Sequence[PointId], start: Instant, end: Instant) -> dict[PointId, PointRange]:
        """Returns the samples of several points in [start, end)."""
        return {
            point: PointRange(
                tuple(Instant(sample[0]) for sample in samples),
                tuple(sample[1] for sample in samples),
                tuple(_QUALITIES[sample[2] & QUALITY_MASK] for sample in samples),
            )
            for point, samples in self._gather(points, start, end).items()
        }

    def series(self, points: Sequence[PointId], start: Instant, end: Instant, step_ms: int) -> Series:
        """Returns means of the good and uncertain values per step of [start, end); None where there were none."""
        count = max(0, -(-(end - start) // step_ms))
        gathered = self._gather(points, start, end)
        times = tuple(Instant(start + index * step_ms) for index in range(count))
        return Series(times, {point: _means(gathered[point], start, step_ms, count) for point in points})

    def close(self) -> None:
        """Closes the files."""
        with self._lock:
            for db, _ in self._files.values():
                db.close()
            self._files.clear()

    def _gather(self, points: Sequence[PointId], start: Instant, end: Instant) -> dict[PointId, Samples]:
        found: dict[PointId, Samples] = {point: [] for point in points}
        at = start
        with self._lock:
            while at < end:
                self._gather_month(months.month_of(at), found, start, end)
                at = months.month_bounds(at)[1]
        return {
            point: _ordered([sample for sample in samples if start <= sample[0] < end])
            for point, samples in found.items()
        }

    def _gather_month(self, month: str, found: dict[PointId, Samples], start: Instant, end: Instant) -> None:
        try:
            db = self._open(month)
            if db is None:
                return
            with db:  # one snapshot: a re-chunk between the two reads would lose its rows
                for point in found:
                    found[point] += self._hours(db, point, start, end)
                self._flushes(db, found, start, end)
        except (apsw.Error, UnicodeDecodeError):
            self.counters["corrupt_files"] += 1
            self._files.pop(month, None)

    def _open(self, month: str) -> Database | None:
        path = months.month_path(self._folder, month)
        try:
            inode = path.stat().st_ino
        except FileNotFoundError:
            return None
        kept = self._files.get(month)
        if kept is None or kept[1] != inode:
            self._files[month] = kept = (months.open_month_reading(path), inode)
        return kept[0]

    def _hours(self, db: Database, point: PointId, start: Instant, end: Instant) -> Samples:
        rows = db.execute(
            "SELECT body FROM hour WHERE series = (SELECT id FROM series WHERE point = ?)"
            " AND start_ms > ? AND start_ms < ?",
            (point, start - HOUR_MS, end),
        )
        return list(chain.from_iterable(_samples(body, self.counters) for body in _blobs(rows)))

    def _flushes(self, db: Database, found: dict[PointId, Samples], start: Instant, end: Instant) -> None:
        wanted: dict[int, list[tuple[int, PointId]]] = {}
        for row, device, names in db.execute("SELECT id, device, points FROM layout"):
            for index, name in enumerate(str(names).split("\n")):
                point = point_id(str(device), name)
                if point in found:
                    wanted.setdefault(int(str(row)), []).append((index, point))
        rows = db.execute("SELECT body FROM flush WHERE end_ms >= ? AND start_ms < ?", (start, end))
        for body in _blobs(rows):
            for layout, block in _blocks(body, set(wanted), self.counters):
                for index, point in wanted[layout]:
                    if index < len(block.columns):
                        column = block.columns[index]
                        found[point] += zip(block.times, column.values, column.marks, strict=True)


def _means(samples: Samples, start: int, step_ms: int, count: int) -> tuple[float | None, ...]:
    sums, numbers = [0.0] * count, [0] * count
    for at, value, mark in samples:
        if value is not None and mark & QUALITY_MASK <= Quality.UNCERTAIN:
            step = (at - start) // step_ms
            sums[step] += value
            numbers[step] += 1
    return tuple(total / number if number else None for total, number in zip(sums, numbers, strict=True))
