"""Taking devices out of the telemetry for good: every month's file is written anew without them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import apsw

from controller.store import months
from controller.store.member_keys import scrub
from controller.store.sqlite import Database
from devices.model import PointId, point_id, split_point


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


def forget(folder: Path, devices: Collection[str]) -> int:
    """Destroys all readings of these devices, and damaged files whole; returns how many chunks of flushes and hours.

    No hub may be running. A crash in between: call it again.

    Raises:
        apsw.Error: the disk does not let us.
    """
    chunks = 0
    for path in _files(folder):
        try:
            db = months.open_month(path, "FULL")
            try:
                chunks += _forget_month(db, devices)
            finally:
                db.close()
        except months.DAMAGED:
            months.set_aside(path)
    for path in sorted(folder.glob("tele-*.corrupt-*")):  # nobody can tell whose readings these hold
        path.unlink()
    return chunks


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("tele-??????.db"))


def _forget_month(db: Database, devices: Collection[str]) -> int:
    db.execute("PRAGMA secure_delete = ON").fetchall()
    layouts = {int(str(row)) for row, device in db.execute("SELECT id, device FROM layout") if device in devices}
    known = [(int(str(row)), PointId(str(point))) for row, point in db.execute("SELECT id, point FROM series")]
    series = [row for row, point in known if split_point(point)[0] in devices]
    if not layouts and not series:
        return 0
    count = 0
    with db:
        for row in [int(str(row)) for (row,) in db.execute("SELECT id FROM flush")]:
            count += _forget_flush(db, row, layouts)
        for row in series:
            count += sum(1 for _ in db.execute("SELECT 1 FROM hour WHERE series = ?", (row,)))
            db.execute("DELETE FROM hour WHERE series = ?", (row,))
            db.execute("DELETE FROM series WHERE id = ?", (row,))
        db.executemany("DELETE FROM layout WHERE id = ?", [(row,) for row in layouts])
    scrub(db)
    return count


def _forget_flush(db: Database, row: int, layouts: set[int]) -> int:
    """Takes layouts out of one flush; returns how many chunks went."""
    ((body,),) = db.execute("SELECT body FROM flush WHERE id = ?", (row,)).fetchall()
    if not isinstance(body, bytes):
        raise apsw.CorruptError(f"flush {row} holds no bytes")
    chunks = list(months.unpack_flush(body))
    kept = [(layout, chunk) for layout, chunk in chunks if layout not in layouts]
    if kept and len(kept) < len(chunks):
        db.execute("UPDATE flush SET body = ? WHERE id = ?", (months.pack_flush(kept), row))
    elif not kept:
        db.execute("DELETE FROM flush WHERE id = ?", (row,))
    return len(chunks) - len(kept)
