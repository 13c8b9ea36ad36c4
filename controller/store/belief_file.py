"""`plans.db`: forecasts, plans, weather and work lists with belief time, scores and results. Only the hub writes it.

Bounded by rule: every belief and plan of the last two days, then the first of each hour, none older than five weeks;
weather of the last six weeks; work lists of five weeks, the newest always; scores and days for 800 days. A belief is
about 1 KiB, a plan about 4 KiB: under 30 MiB at one plan in five minutes.
"""

from __future__ import annotations

import json
import logging
import zlib
from array import array
from dataclasses import fields
from pathlib import Path
from typing import TypeVar, cast

import apsw

from controller.beliefs import (
    SERIES,
    Belief,
    DayResult,
    Kept,
    KeptPlan,
    KeptWeather,
    KeptWork,
    Score,
    UnreadPlan,
)
from controller.history import KEEP_DAYS
from controller.store.sqlite import Database, Value, open_reader, open_writer
from controller.weather_file import Hour, WeatherTable
from controller.workbook import WorkItem
from devices.clock import DAY_MS, HOUR_MS, Instant
from optimizer.codec import Unreadable, decode, encode
from optimizer.plan import Plan

log = logging.getLogger(__name__)

FILE = "plans.db"
VERSION = 1
WHOLE_MS = 2 * DAY_MS
KEEP_MS = 35 * DAY_MS
RESULTS_MS = 800 * DAY_MS
SCHEMA = """
CREATE TABLE belief(made_at INTEGER NOT NULL, series TEXT NOT NULL, start_ms INTEGER NOT NULL, slot_ms INTEGER NOT NULL,
  body BLOB NOT NULL, PRIMARY KEY(made_at, series)) STRICT, WITHOUT ROWID;
CREATE TABLE plan(made_at INTEGER PRIMARY KEY, start_ms INTEGER NOT NULL, used INTEGER NOT NULL, cause TEXT NOT NULL,
  note TEXT NOT NULL, timezone TEXT NOT NULL, currency TEXT NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE score(day TEXT NOT NULL, series TEXT NOT NULL, lead_slots INTEGER NOT NULL, count INTEGER NOT NULL,
  error_abs REAL NOT NULL, error REAL NOT NULL, naive_abs REAL NOT NULL, actual REAL NOT NULL,
  PRIMARY KEY(day, series, lead_slots)) STRICT, WITHOUT ROWID;
CREATE TABLE result(day TEXT PRIMARY KEY, start_ms INTEGER NOT NULL, body TEXT NOT NULL) STRICT, WITHOUT ROWID
"""
LATER_TABLES = """
CREATE TABLE IF NOT EXISTS work(made_at INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS weather(issued INTEGER NOT NULL, told_at INTEGER NOT NULL, until_ms INTEGER NOT NULL,
  body BLOB NOT NULL, PRIMARY KEY(issued, told_at)) STRICT, WITHOUT ROWID
"""
"""What files of version 1 may lack; nothing that was in them before has changed."""
WEATHER_MS = KEEP_DAYS * DAY_MS
_Item = TypeVar("_Item")


class BeliefWriter:
    """Keeps what the hub believed. What the disk does not take is counted, never raised: plans go on without it."""

    def __init__(self, folder: Path, durability: str = "NORMAL") -> None:
        self.failed = 0
        self._pruned_at: Instant | None = None
        self._path = folder / FILE
        self._durability = durability
        self._db: Database | None = None

    def keep(self, item: Kept, now: Instant) -> None:
        """Writes one item durably."""
        try:
            db = self._open()
            with db:
                _insert(db, item)
            if self._pruned_at is None or now - self._pruned_at >= HOUR_MS:
                self._pruned_at = now
                _prune(db, now)
        except (apsw.Error, OSError) as error:
            self.failed += 1
            log.warning("event=belief-lost file=%s error=%s", self._path, error)

    def _open(self) -> Database:
        if self._db is None:
            self._db = open_writer(self._path, self._durability, SCHEMA, VERSION)
            self._db.execute(LATER_TABLES)
        return self._db

    def close(self) -> None:
        """Closes the file."""
        if self._db is not None:
            self._db.close()
            self._db = None


def _insert(db: Database, item: Kept) -> None:
    match item:
        case Belief():
            rows = [
                (item.made_at, series, item.start, item.slot_ms, zlib.compress(array("q", values).tobytes()))
                for series, values in item.values
            ]
            db.executemany("INSERT OR REPLACE INTO belief VALUES(?, ?, ?, ?, ?)", rows)
        case KeptPlan():
            body = zlib.compress(encode(item.plan).encode("ascii"), 6)
            said = (item.cause, item.note, item.timezone, item.currency)
            row = (item.made_at, item.plan.start, int(item.used), *said, body)
            db.execute("INSERT OR REPLACE INTO plan VALUES(?, ?, ?, ?, ?, ?, ?, ?)", row)
        case KeptWork():
            body = _packed([_values(one) for one in item.items])
            db.execute("INSERT OR REPLACE INTO work VALUES(?, ?)", (item.made_at, body))
        case KeptWeather():
            body = _packed([_values(hour) for hour in item.table.hours])
            said = (item.table.issued, item.told_at, item.until, body)
            db.execute("INSERT OR REPLACE INTO weather VALUES(?, ?, ?, ?)", said)
        case Score():
            db.execute("INSERT OR REPLACE INTO score VALUES(?, ?, ?, ?, ?, ?, ?, ?)", _values(item))
        case DayResult():
            body = json.dumps({field.name: getattr(item, field.name) for field in fields(item)})
            db.execute("INSERT OR REPLACE INTO result VALUES(?, ?, ?)", (item.day, item.start, body))


def _values(item: Score | WorkItem | Hour) -> list[Value]:
    return [cast("Value", getattr(item, field.name)) for field in fields(item)]


def _packed(rows: list[list[Value]]) -> bytes:
    return zlib.compress(json.dumps(rows).encode("ascii"), 6)


def _unpacked(body: object) -> list[list[object]]:
    """Returns the rows that `_packed` took; none of a body that is damaged."""
    try:
        return cast("list[list[object]]", json.loads(zlib.decompress(cast("bytes", body))))
    except (ValueError, zlib.error):
        return []


def _prune(db: Database, now: Instant) -> None:
    """Thins what is older than two days to one an hour, drops what is older than five weeks."""
    for table in ("belief", "plan"):
        db.execute(f"DELETE FROM {table} WHERE made_at < ?", (now - KEEP_MS,))  # noqa: S608 - our own two names
        db.execute(
            f"DELETE FROM {table} WHERE made_at < ?1 AND made_at >= ?1 - ?2 AND made_at NOT IN"  # noqa: S608
            f" (SELECT min(made_at) FROM {table} WHERE made_at < ?1 GROUP BY made_at / {HOUR_MS})",
            (now - WHOLE_MS, DAY_MS),
        )
    db.execute("DELETE FROM work WHERE made_at < ? AND made_at < (SELECT max(made_at) FROM work)", (now - KEEP_MS,))
    db.execute("DELETE FROM weather WHERE until_ms < ?", (now - WEATHER_MS,))
    db.execute("DELETE FROM result WHERE start_ms < ?", (now - RESULTS_MS,))
    db.execute(
        "DELETE FROM score WHERE day < (SELECT coalesce(min(day), '') FROM result) AND"
        " (SELECT count(*) FROM result) > 700"
    )


class BeliefReader:
    """Reads `plans.db` beside its writer. A file that is missing or damaged holds nothing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def _rows(self, statement: str, *values: Value) -> list[tuple[object, ...]]:
        if not self._path.exists():
            return []
        try:
            db = open_reader(self._path)
            try:
                return db.execute(statement, values).fetchall()
            finally:
                db.close()
        except apsw.SQLError as error:
            if "no such table" in str(error):  # a file from before what is asked for was kept
                return []
            raise
        except apsw.Error as error:
            log.warning("event=beliefs-unreadable file=%s error=%s", self._path, error)
            return []

    def plan(self, at: Instant | None = None) -> KeptPlan | UnreadPlan | None:
        """Returns the newest plan, or the newest that was known at `at`; unread where another version kept it."""
        until = Instant(2**62) if at is None else at
        found = self._rows(
            "SELECT made_at, used, cause, note, timezone, currency, body FROM plan"
            " WHERE made_at <= ? ORDER BY made_at DESC LIMIT 1",
            until,
        )
        for made, used, *said, body in found:
            made_at, (cause, note, zone, currency) = Instant(cast("int", made)), (str(text) for text in said)
            try:
                plan = decode(Plan, zlib.decompress(cast("bytes", body)))
            except (Unreadable, zlib.error) as error:
                return UnreadPlan(made_at, zone, str(error))
            return KeptPlan(made_at, plan, bool(used), cause, note, zone, currency)
        return None

    def work(self, at: Instant) -> KeptWork | None:
        """Returns the newest work list that was known at `at`."""
        for made_at, body in self._rows(
            "SELECT made_at, body FROM work WHERE made_at <= ? ORDER BY made_at DESC LIMIT 1", at
        ):
            items = tuple(WorkItem(*row) for row in _unpacked(body))  # pyright: ignore[reportArgumentType] - in field order
            return KeptWork(Instant(cast("int", made_at)), items)
        return None

    def weather(self, at: Instant) -> list[KeptWeather]:
        """Returns what weather files had told by `at`, the earliest belief first."""
        rows = self._rows(
            "SELECT issued, told_at, until_ms, body FROM weather WHERE told_at <= ? ORDER BY issued, told_at", at
        )
        found: list[KeptWeather] = []
        for issued, told_at, until, body in rows:
            hours = tuple(Hour(*row) for row in _unpacked(body))  # pyright: ignore[reportArgumentType] - in field order
            table = WeatherTable(Instant(cast("int", issued)), hours)
            found.append(KeptWeather(Instant(cast("int", told_at)), Instant(cast("int", until)), table))
        return found

    def belief(self, at: Instant | None = None) -> Belief | None:
        """Returns the newest forecast, or the newest that was known at `at`."""
        until = Instant(2**62) if at is None else at
        rows = self._rows(
            "SELECT made_at, series, start_ms, slot_ms, body FROM belief"
            " WHERE made_at = (SELECT max(made_at) FROM belief WHERE made_at <= ?) ORDER BY series",
            until,
        )
        values: list[tuple[str, tuple[int, ...]]] = []
        for _, series, _, _, body in rows:
            numbers = array("q")
            try:
                numbers.frombytes(zlib.decompress(cast("bytes", body)))
            except (zlib.error, ValueError):
                continue
            values.append((str(series), tuple(numbers)))
        if not values:
            return None
        made_at, _, start, slot_ms, _ = rows[0]
        return Belief(Instant(cast("int", made_at)), Instant(cast("int", start)), cast("int", slot_ms), tuple(values))

    def days(self, limit: int = 31) -> list[DayResult]:
        """Returns the newest daily results, the newest first."""
        rows = self._rows("SELECT body FROM result ORDER BY day DESC LIMIT ?", limit)
        return [DayResult(**json.loads(str(row[0]))) for row in rows]

    def scores(self, days: int = 14, *, members: bool = False) -> list[Score]:
        """Returns the sums over the newest `days` days per series and lead; `day` is the first of them.

        With `members` those of whoever could have forecast, too.
        """
        return self._scores("min(day)", "series, lead_slots", days, members=members)

    def member_scores(self, days: int = 14) -> list[Score]:
        """Returns the sums of each of the newest `days` days per member and lead."""
        found = self._scores("day", "day, series, lead_slots", days, members=True)
        return [score for score in found if score.series not in SERIES]

    def _scores(self, day: str, group: str, days: int, *, members: bool) -> list[Score]:
        named = "" if members else f" AND series IN {SERIES}"
        rows = self._rows(
            f"SELECT {day}, series, lead_slots, sum(count), sum(error_abs), sum(error), sum(naive_abs), sum(actual)"  # noqa: S608 - our own words
            f" FROM score WHERE day IN (SELECT DISTINCT day FROM score ORDER BY day DESC LIMIT ?){named}"
            f" GROUP BY {group} ORDER BY series, lead_slots",
            days,
        )
        return [Score(*row) for row in rows]  # pyright: ignore[reportArgumentType] - columns in field order
