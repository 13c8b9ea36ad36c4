"""The monthly telemetry files: their names, their tables, and setting a damaged one aside."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import apsw

from controller.store.sqlite import Database, open_reader, open_writer
from devices.clock import Instant

VERSION = 1
CACHE_KIB = 1_024
SCHEMA = """
CREATE TABLE layout(id INTEGER PRIMARY KEY, device TEXT NOT NULL, points TEXT NOT NULL,
  UNIQUE(device, points)) STRICT;
CREATE TABLE flush(id INTEGER PRIMARY KEY, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
  body BLOB NOT NULL) STRICT;
CREATE TABLE series(id INTEGER PRIMARY KEY, point TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE hour(series INTEGER NOT NULL, start_ms INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY(series, start_ms)) STRICT
"""
DAMAGED = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError, apsw.SQLError, UnicodeDecodeError)
"""What a damaged file raises; SQLError since a table may be missing."""
_ENTRY = struct.Struct("<II")
_COUNT = struct.Struct("<H")


def month_of(at: Instant) -> str:
    """Returns `YYYYMM` in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y%m")


def month_bounds(at: Instant) -> tuple[Instant, Instant]:
    """Returns [start, end) of the UTC month that holds `at`."""
    start = datetime.fromtimestamp(at / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return Instant(round(start.timestamp() * 1000)), Instant(round(after.timestamp() * 1000))


def month_path(folder: Path, month: str) -> Path:
    """Returns the file of a month."""
    return folder / f"tele-{month}.db"


def open_month(path: Path, durability: str) -> Database:
    """Returns a writing connection to a month's file, which is made when it is missing.

    Raises:
        apsw.Error: the file is damaged, or the disk does not let us.
    """
    db = open_writer(path, durability, SCHEMA, VERSION)
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    db.execute("SELECT count(*) FROM layout").fetchall()
    return db


def open_month_reading(path: Path) -> Database:
    """Returns a read-only connection.

    Raises:
        apsw.Error: there is no such file, or it is damaged.
    """
    db = open_reader(path)
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return db


def set_aside(path: Path) -> Path:
    """Renames a damaged file and its WAL to the first free `.corrupt-N` and returns the new name."""
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def pack_flush(chunks: Sequence[tuple[int, bytes]]) -> bytes:
    """Returns one blob of (layout id, chunk) pairs."""
    head = _COUNT.pack(len(chunks)) + b"".join(_ENTRY.pack(layout, len(chunk)) for layout, chunk in chunks)
    return head + b"".join(chunk for _, chunk in chunks)


def unpack_flush(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the (layout id, chunk) pairs of a blob; a damaged directory ends it early, chunks check themselves."""
    if len(body) < _COUNT.size:
        return
    (count,) = _COUNT.unpack_from(body)
    at = _COUNT.size + count * _ENTRY.size
    if at > len(body):
        return
    for index in range(count):
        layout, length = _ENTRY.unpack_from(body, _COUNT.size + index * _ENTRY.size)
        yield layout, body[at : at + length]
        at += length
