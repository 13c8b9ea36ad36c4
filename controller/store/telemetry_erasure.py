"""Taking devices out of the telemetry for good: every month's file is written anew without their readings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, cast

import apsw

from controller.store import months
from controller.store.chunks import BadChunk, Block, Column, decode, encode
from controller.store.member_keys import scrub
from controller.store.sqlite import Database
from devices.clock import Instant
from devices.model import PointId, point_id, split_point

Spans: TypeAlias = Mapping[str, Sequence[tuple[Instant, Instant]]]
"""By device: the times [start, end) of which its readings go."""


def points_of(folder: Path, devices: Collection[str]) -> tuple[PointId, ...]:
    """Returns every point that the telemetry knows of these devices; none of months that cannot be read."""
    found: set[PointId] = set()
    for path in _files(folder):
        try:
            db = months.open_month_reading(path)
            for device, names in db.execute("SELECT device, points FROM layout").fetchall():
                if device in devices:
                    found |= {point_id(str(device), name) for name in str(names).split("\n")}
            db.close()
        except months.DAMAGED:
            continue
    return tuple(sorted(found))


def forget(folder: Path, gone: Spans) -> int:
    """Destroys these readings, and damaged files whole; returns how many chunks of flushes and hours held some.

    No hub may be running. A crash in between: call it again.

    Raises:
        apsw.Error: the disk does not let us.
    """
    chunks = 0
    for path in _files(folder):
        try:
            db = months.open_month(path, "FULL")
            try:
                chunks += _forget_month(db, gone)
            finally:
                db.close()
        except months.DAMAGED:
            months.set_aside(path)
    for path in sorted(folder.glob("tele-*.corrupt-*")):  # nobody can tell whose readings these hold
        path.unlink()
    return chunks


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("tele-??????.db"))


def _forget_month(db: Database, gone: Spans) -> int:
    db.execute("PRAGMA secure_delete = ON").fetchall()
    layouts = {int(str(row)): str(device) for row, device in db.execute("SELECT id, device FROM layout")}
    layouts = {row: device for row, device in layouts.items() if device in gone}
    known = [(int(str(row)), PointId(str(point))) for row, point in db.execute("SELECT id, point FROM series")]
    series = {row: split_point(point)[0] for row, point in known if split_point(point)[0] in gone}
    if not layouts and not series:
        return 0
    count, left = 0, set[int]()
    with db:
        for row in [int(str(row)) for (row,) in db.execute("SELECT id FROM flush")]:
            count += _forget_flush(db, row, layouts, gone, left)
        for row, device in series.items():
            count += _forget_hours(db, row, gone[device])
        db.executemany("DELETE FROM layout WHERE id = ?", [(row,) for row in layouts if row not in left])
    scrub(db)
    return count


def _forget_hours(db: Database, series: int, spans: Sequence[tuple[Instant, Instant]]) -> int:
    """Takes times out of one point's hours; returns how many chunks held some."""
    sql = "SELECT start_ms, body FROM hour WHERE series = ?"
    count, rows = 0, cast("list[tuple[int, bytes]]", db.execute(sql, (series,)).fetchall())
    for start, body in rows:
        rest = _without(body, spans)
        if rest == body:
            continue
        count += 1
        if rest is None:
            db.execute("DELETE FROM hour WHERE series = ? AND start_ms = ?", (series, start))
        else:
            db.execute("UPDATE hour SET body = ? WHERE series = ? AND start_ms = ?", (rest, series, start))
    if not db.execute("SELECT 1 FROM hour WHERE series = ? LIMIT 1", (series,)).fetchall():
        db.execute("DELETE FROM series WHERE id = ?", (series,))
    return count


def _forget_flush(db: Database, row: int, layouts: Mapping[int, str], gone: Spans, left: set[int]) -> int:
    """Takes times out of one flush; returns how many chunks held some, and adds to `left` the layouts still there."""
    ((body,),) = db.execute("SELECT body FROM flush WHERE id = ?", (row,)).fetchall()
    if not isinstance(body, bytes):
        raise apsw.CorruptError(f"flush {row} holds no bytes")
    kept: list[tuple[int, bytes]] = []
    count = 0
    for layout, chunk in months.unpack_flush(body):
        rest = _without(chunk, gone[layouts[layout]]) if layout in layouts else chunk
        count += rest != chunk
        if rest is not None:
            kept.append((layout, rest))
            left.add(layout)
    if kept and count:
        db.execute("UPDATE flush SET body = ? WHERE id = ?", (months.pack_flush(kept), row))
    elif not kept:
        db.execute("DELETE FROM flush WHERE id = ?", (row,))
    return count


def _without(chunk: bytes, spans: Sequence[tuple[Instant, Instant]]) -> bytes | None:
    """Returns a chunk without the samples of some times, the same one where it has none; None where nothing is left."""
    try:
        block = decode(chunk)
    except BadChunk:
        return None  # nobody can tell when its readings are from
    keep = [at for at, time in enumerate(block.times) if not any(start <= time < end for start, end in spans)]
    if len(keep) == len(block.times):
        return chunk
    if not keep:
        return None
    columns = tuple(
        Column(tuple(column.values[at] for at in keep), bytes(column.marks[at] for at in keep))
        for column in block.columns
    )
    return encode(Block(tuple(block.times[at] for at in keep), columns))
