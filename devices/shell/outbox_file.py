"""The outbox on disk: records, meter marks and the hub epoch in one SQLite file, durable before anything is sent."""

# apsw's stubs name a type that only Python 3.12 has:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import cast

import apsw

from devices.clock import Instant
from devices.gateway_events import Saved
from devices.model import Commodity, IntervalRecord, UsagePointId
from devices.outbox import Ack, BadPayload, decode_batch, encode_batch
from devices.records import MeterMark

_SCHEMA = """
CREATE TABLE IF NOT EXISTS record(
  id INTEGER PRIMARY KEY, usage_point TEXT NOT NULL, epoch INTEGER NOT NULL, page INTEGER NOT NULL,
  body BLOB NOT NULL, UNIQUE(usage_point, epoch, page)) STRICT;
CREATE TABLE IF NOT EXISTS mark(usage_point TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
"""


class OutboxDamaged(OSError):
    """outbox.db cannot be read as it must be."""


class OutboxFile:
    """The sole writer of one outbox.db."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file.

        Raises:
            OutboxDamaged: SQLite finds the file broken.
        """
        self._path = path
        self._connection = apsw.Connection(str(path))
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.set_busy_timeout(5000)
            found = self._connection.execute("PRAGMA quick_check(1)").get
            self._connection.execute(_SCHEMA)
        except apsw.Error as error:
            raise self._damaged(str(error)) from error
        if found != "ok":
            raise self._damaged(str(found))

    def _damaged(self, seen: str) -> OutboxDamaged:
        return OutboxDamaged(
            f"{self._path} is damaged ({seen}): unsent records are in it. Keep a copy, then run"
            f" `sqlite3 {self._path} .recover | sqlite3 outbox-new.db` and put outbox-new.db in its place"
        )

    def load(self) -> Saved:
        """Returns what a restarted gateway goes on with.

        Raises:
            OutboxDamaged: a row does not say what it must.
        """
        records: list[IntervalRecord] = []
        marks: list[MeterMark] = []
        try:
            for (body,) in self._connection.execute("SELECT body FROM record ORDER BY id"):
                records += decode_batch(cast("bytes", body))
            for (body,) in self._connection.execute("SELECT body FROM mark ORDER BY usage_point"):
                marks.append(_mark(cast("str", body)))
            meta = dict(cast("Iterable[tuple[str, int]]", self._connection.execute("SELECT name, value FROM meta")))
        except (apsw.Error, BadPayload, ValueError, TypeError) as error:
            raise self._damaged(str(error)) from error
        return Saved(tuple(records), tuple(marks), meta.get("hub_epoch", 0), meta.get("bd_seq", 0))

    def write(
        self,
        records: Sequence[IntervalRecord] = (),
        marks: Sequence[MeterMark] = (),
        acks: Sequence[Ack] = (),
        meta: Sequence[tuple[str, int]] = (),
    ) -> None:
        """Stores and deletes in one transaction; on return it is durable.

        Raises:
            apsw.Error: the disk is full or broken; nothing was changed.
        """
        with self._connection:
            self._connection.executemany(
                "INSERT INTO record(usage_point, epoch, page, body) VALUES(?, ?, ?, ?)",
                [(r.usage_point, r.meter_epoch, r.page, encode_batch([r])) for r in records],
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO mark VALUES(?, ?)", [(m.usage_point, json.dumps(astuple(m))) for m in marks]
            )
            self._connection.executemany(
                "DELETE FROM record WHERE usage_point = ? AND epoch = ? AND page <= ?",
                [(a.usage_point, a.meter_epoch, a.page) for a in acks],
            )
            self._connection.executemany("INSERT OR REPLACE INTO meta VALUES(?, ?)", list(meta))

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()


def _mark(body: str) -> MeterMark:
    match cast("object", json.loads(body)):
        case [
            str() as name, str() as commodity, int() as epoch, int() as page, int() as end,
            int() as imported, int() as exported, int() as import_offset, int() as export_offset, bool() as suspect,
        ]:  # fmt: skip
            return MeterMark(
                UsagePointId(name),
                Commodity(commodity),
                epoch,
                page,
                Instant(end),
                imported,
                exported,
                import_offset,
                export_offset,
                suspect,
            )
        case _:
            raise ValueError(f"no meter mark: {body[:120]}")
