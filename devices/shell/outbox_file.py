"""The outbox on disk: records, meter marks and the hub epoch in one SQLite file, durable before anything is sent."""

# apsw's stubs name a type that only Python 3.12 has:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import cast

import apsw

from devices.clock import Instant
from devices.day_book import DayId, SignedDay
from devices.gateway_events import Saved
from devices.model import Commodity, IntervalRecord, UsagePointId
from devices.outbox import Ack, BadPayload, Fetch, Gap, Waiting, decode_batch, encode_batch
from devices.records import MeterMark

_SCHEMA = """
CREATE TABLE IF NOT EXISTS record(
  id INTEGER PRIMARY KEY, usage_point TEXT NOT NULL, epoch INTEGER NOT NULL, page INTEGER NOT NULL,
  body BLOB NOT NULL, UNIQUE(usage_point, epoch, page)) STRICT;
CREATE TABLE IF NOT EXISTS kept(
  id INTEGER PRIMARY KEY, usage_point TEXT NOT NULL, epoch INTEGER NOT NULL, page INTEGER NOT NULL,
  body BLOB NOT NULL, UNIQUE(usage_point, epoch, page)) STRICT;
CREATE TABLE IF NOT EXISTS mark(usage_point TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS unsigned(
  id INTEGER PRIMARY KEY, usage_point TEXT NOT NULL, epoch INTEGER NOT NULL, page INTEGER NOT NULL,
  body BLOB NOT NULL, UNIQUE(usage_point, epoch, page)) STRICT;
CREATE TABLE IF NOT EXISTS day(
  id INTEGER PRIMARY KEY, usage_point TEXT NOT NULL, page INTEGER NOT NULL, epoch INTEGER NOT NULL,
  last INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE(usage_point, page)) STRICT;
CREATE TABLE IF NOT EXISTS day_page(usage_point TEXT PRIMARY KEY, page INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
"""


KEPT_MAX = 100_000
"""So many acknowledged records are kept (two weeks of 74 meters), for a hub that comes back from an older backup."""


@dataclass(frozen=True, slots=True)
class DayChange:
    """What a write does to the signed days: new ones, acknowledged ones, and whether new records wait for theirs."""

    signed: Sequence[SignedDay] = ()
    acked: Sequence[DayId] = ()
    signs: bool = False


_NO_DAYS = DayChange()


class OutboxDamaged(OSError):
    """outbox.db cannot be read as it must be."""


class OutboxFile:
    """The sole writer of one outbox.db."""

    def __init__(self, path: Path, durability: str = "FULL") -> None:
        """Opens or makes the file; without FULL durability a power cut may take what was written last.

        Raises:
            OutboxDamaged: SQLite finds the file broken.
        """
        self._path = path
        self._connection = apsw.Connection(str(path))
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute(f"PRAGMA synchronous={durability}")
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
        marks: list[MeterMark] = []
        try:
            whole = "SELECT usage_point, epoch, min(page), max(page) FROM record GROUP BY usage_point, epoch"
            spans = cast("Iterable[tuple[str, int, int, int]]", self._connection.execute(whole))
            waiting = [Waiting(UsagePointId(point), *numbers) for point, *numbers in spans]
            for (body,) in self._connection.execute("SELECT body FROM mark ORDER BY usage_point"):
                marks.append(_mark(cast("str", body)))
            unsigned: list[IntervalRecord] = []
            for (body,) in self._connection.execute("SELECT body FROM unsigned ORDER BY id"):
                unsigned += decode_batch(cast("bytes", body))
            days, pages = self._days(), self._day_pages()
            meta = dict(cast("Iterable[tuple[str, int]]", self._connection.execute("SELECT name, value FROM meta")))
        except (apsw.Error, BadPayload, ValueError, TypeError) as error:
            raise self._damaged(str(error)) from error
        numbers = meta.get("hub_epoch", 0), meta.get("bd_seq", 0)
        return Saved(tuple(waiting), tuple(marks), *numbers, tuple(unsigned), pages, days)

    def _days(self) -> tuple[SignedDay, ...]:
        rows = self._connection.execute("SELECT usage_point, page, epoch, last, body FROM day ORDER BY id")
        found = cast("Iterable[tuple[str, int, int, int, bytes]]", rows)
        return tuple(
            SignedDay(UsagePointId(point), page, epoch, last, body) for point, page, epoch, last, body in found
        )

    def _day_pages(self) -> tuple[tuple[UsagePointId, int], ...]:
        rows = cast("Iterable[tuple[str, int]]", self._connection.execute("SELECT usage_point, page FROM day_page"))
        return tuple((UsagePointId(point), page) for point, page in rows)

    def write(
        self,
        records: Sequence[IntervalRecord] = (),
        marks: Sequence[MeterMark] = (),
        acks: Sequence[Ack] = (),
        meta: Sequence[tuple[str, int]] = (),
        days: DayChange = _NO_DAYS,
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
            acked = [(a.usage_point, a.meter_epoch, a.page) for a in acks]
            of_them = "FROM record WHERE usage_point = ? AND epoch = ? AND page <= ?"
            columns = "usage_point, epoch, page, body"
            self._connection.executemany(
                f"INSERT OR REPLACE INTO kept({columns}) SELECT {columns} {of_them} ORDER BY page", acked
            )
            self._connection.executemany(f"DELETE {of_them}", acked)
            if acked:
                self._connection.execute("DELETE FROM kept WHERE id <= (SELECT max(id) FROM kept) - ?", (KEPT_MAX,))
            self._connection.executemany("INSERT OR REPLACE INTO meta VALUES(?, ?)", list(meta))
            if days.signs:
                self._connection.executemany(
                    "INSERT INTO unsigned(usage_point, epoch, page, body) VALUES(?, ?, ?, ?)",
                    [(r.usage_point, r.meter_epoch, r.page, encode_batch([r])) for r in records],
                )
            self._change_days(days)

    def recall(self, gaps: Sequence[Gap]) -> list[Gap]:
        """Makes acknowledged records unsent again and returns what of each gap was still kept; durable on return."""
        found: list[Gap] = []
        between = "FROM kept WHERE usage_point = ? AND epoch = ? AND page BETWEEN ? AND ?"
        columns = "usage_point, epoch, page, body"
        with self._connection:
            for gap in gaps:
                values = (gap.usage_point, gap.meter_epoch, gap.first, gap.last)
                first = self._connection.execute(f"SELECT min(page) {between}", values).get
                if isinstance(first, int):
                    found.append(Gap(gap.usage_point, gap.meter_epoch, first, gap.last))
                self._connection.execute(
                    f"INSERT OR IGNORE INTO record({columns}) SELECT {columns} {between} ORDER BY page", values
                )
                self._connection.execute(f"DELETE {between}", values)
        return found

    def fetch(self, fetches: Sequence[Fetch]) -> list[IntervalRecord]:
        """Returns unsent records, each meter's in the order of their pages.

        Raises:
            OutboxDamaged: a row does not say what it must.
        """
        asked = "SELECT body FROM record WHERE usage_point = ? AND epoch = ? AND page > ? ORDER BY page LIMIT ?"
        found: list[IntervalRecord] = []
        try:
            for one in fetches:
                values = (one.usage_point, one.meter_epoch, one.after, one.count)
                for (body,) in self._connection.execute(asked, values):
                    found += decode_batch(cast("bytes", body))
        except (BadPayload, apsw.Error) as error:
            raise self._damaged(str(error)) from error
        return found

    def _change_days(self, days: DayChange) -> None:
        self._connection.executemany(
            "INSERT INTO day(usage_point, page, epoch, last, body) VALUES(?, ?, ?, ?, ?)",
            [(d.usage_point, d.page, d.meter_epoch, d.last, d.text) for d in days.signed],
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO day_page VALUES(?, ?)", [(d.usage_point, d.page) for d in days.signed]
        )
        self._connection.executemany(
            "DELETE FROM unsigned WHERE usage_point = ? AND epoch = ? AND page <= ?",
            [(d.usage_point, d.meter_epoch, d.last) for d in days.signed],
        )
        self._connection.executemany("DELETE FROM day WHERE usage_point = ? AND page = ?", list(days.acked))

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
