"""`ledger.db`: records, entries, balances and checkpoints in SQLite (apsw).

WAL with synchronous=FULL: what `commit` returned for is on the disk. One connection writes and checkpoints;
readers open their own, read-only. Records lie in time order, so that a slot touches two or three pages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import apsw

from controller.ledger.entries import SealedEntry
from controller.ledger.sealing import MARKS
from controller.ledger.state import Account, Balance
from controller.ledger.vault import Altered, Unreadable, Vault
from controller.settlement.arrivals import ProvisionalSlot
from controller.settlement.intervals import Kept
from controller.store.entry_table import TABLES, EntryTable, id_value
from controller.store.ledger_rows import (
    LEAF_BYTES,
    PAYLOADS,
    RECORD_COLUMNS,
    RECORD_FROM,
    SCHEMA,
    SCHEMA_VERSION,
    TAKEN_BACK,
    UNSEEN,
    EntryRow,
    MeterRow,
    RefusedRow,
    RowDamaged,
    kept_of,
    key_of_record,
    member_owners,
    opened_kept,
    opened_rows,
    point_owner,
    row_of,
    sealed_kept,
)
from controller.store.ledger_upgrade import upgraded
from controller.store.member_keys import scrub, vault_beside
from controller.store.record_rows import RecordRow
from controller.store.sqlite import Database, open_reader, open_writer
from devices.clock import Instant
from devices.model import IntervalRecord

MEMORY = ":memory:"
_SIGNED = {
    "signed_days": "DELETE FROM signed_days WHERE point = ? AND start_ms < ? AND end_ms > ?",
    "refused_days": "DELETE FROM refused_days WHERE point = ? AND start_ms < ? AND end_ms > ?",
}
"""The tables of signed meter-days, in ledgers whose gateways sign."""


class NotALedger(OSError):
    """The file is not a ledger, is of a newer version, or cannot be read."""


def _of_kinds(relation: str, kinds: Collection[str]) -> str:
    marks = ",".join("?" * len(kinds))
    return f" AND kind {relation} (SELECT id FROM names WHERE name IN ({marks}))" if kinds else ""  # noqa: S608 -- marks


def _nobody(point: str, at: Instant) -> str:  # noqa: ARG001 -- whoever seals records says whose they are
    return ""


def _of_version(path: str, version: int) -> str:
    if version == 0:
        return f"{path} is not a ledger: a database without one, or an empty file"
    return (
        f"{path} was written by a newer release (ledger version {version}, this one knows up to {SCHEMA_VERSION}):"
        " use that release, or restore a backup from before it"
    )


class LedgerFile:
    """One connection to a ledger file. Not for several threads at once."""

    def __init__(self, db: Database, path: str) -> None:
        self._connection = db
        self.path = path
        try:
            version = upgraded(db)
            if version != SCHEMA_VERSION:
                raise NotALedger(_of_version(path, version))
            self._log = EntryTable(db)
            self._points = {name: number for number, name in self._rows_int_str("SELECT id, name FROM points")}
        except apsw.Error as error:
            raise NotALedger(f"{path} is not a ledger: {error}") from error
        self.vault: Vault = vault_beside(path)
        self.tenant_at: Callable[[str, Instant], str] = _nobody  # in whose name a record is sealed
        self.unreadable = 0  # records that `records` left out because their key is not here
        self.unreadable_points: set[str] = set()
        self._has_payloads = bool(self._one_int("SELECT COUNT(*) FROM sqlite_schema WHERE name = 'payloads'"))

    @classmethod
    def write(cls, path: str | Path, durability: str = "FULL") -> LedgerFile:
        """Opens the writing connection, making the file if there is none.

        Raises:
            SqliteTooOld: the library has the WAL-reset bug.
            NotALedger: the file is something else, or newer than this program.
        """
        try:
            return cls(open_writer(path, durability, SCHEMA + TABLES.format("main"), SCHEMA_VERSION), str(path))
        except apsw.Error as error:
            raise NotALedger(f"{path} cannot be opened as a ledger: {error}") from error

    @classmethod
    def read(cls, path: str | Path) -> LedgerFile:
        """Opens a read-only connection.

        Raises:
            SqliteTooOld: the library has the WAL-reset bug.
            NotALedger: there is no file, or it is something else.
        """
        try:
            return cls(open_reader(path), str(path))
        except apsw.Error as error:
            raise NotALedger(f"{path} cannot be read: {error}") from error

    @property
    def database(self) -> Database:
        """Returns the connection, for tables that are not the ledger's own; they share its transaction."""
        return self._db

    def close(self) -> None:
        """Closes the connection; what was not committed is gone."""
        self._connection.close()

    def begin(self) -> None:
        """Starts a transaction unless one is open."""
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Makes everything since the last commit durable."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    # --------------------------------------------------------------- records

    def add_records(self, kept: Sequence[Kept]) -> None:
        """Adds records that are not there yet."""
        self.begin()
        rows = [row_of(self._stored(item), self._number(item.record.usage_point)) for item in kept]
        self._db.executemany("INSERT INTO records VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)", rows)

    def leaf_at(self, record: IntervalRecord) -> bytes | None:
        """Returns the leaf of the kept record with this record's start, usage point, epoch and page."""
        sql = f"SELECT {RECORD_COLUMNS} {RECORD_FROM} WHERE start_ms = ? AND point = ? AND epoch = ? AND page = ?"
        point = self._points.get(record.usage_point)
        rows = self._db.execute(sql, (record.start, point, record.meter_epoch, record.page)).fetchall()
        try:
            return opened_kept(kept_of(rows[0]), self.vault).leaf if rows else None
        except Unreadable:
            return None

    def records(self, start: Instant, end: Instant, point: str | None = None) -> Iterator[Kept]:
        """Yields the records that start in [start, end), in order of (start, point, epoch, page)."""
        where, values = "start_ms >= ? AND start_ms < ?", [start, end]
        if point is not None:
            where += " AND point = ?"
            values.append(Instant(self._points.get(point, -1)))
        sql = f"SELECT {RECORD_COLUMNS} {RECORD_FROM} WHERE {where} ORDER BY start_ms, point, epoch, page"
        for row in self._db.execute(sql, values):
            try:
                yield opened_kept(kept_of(row), self.vault)
            except Unreadable:
                self._left_out(str(row[0]))

    def record_rows(self, start: Instant, end: Instant) -> list[RecordRow]:
        """Returns the same records as plain rows; types are not looked at, `sqlite_problems` is.

        A row that was opened has no leaf hash: `row_leaves` of all says it.
        """
        where = "WHERE start_ms >= ? AND start_ms < ? ORDER BY start_ms, point, epoch, page"
        rows = self._db.execute(f"SELECT {RECORD_COLUMNS} {RECORD_FROM} {where}", (start, end)).fetchall()
        stored = cast("list[RecordRow]", rows)
        if {len(row[-1]) for row in stored} <= {LEAF_BYTES}:
            return stored
        return opened_rows(stored, self.vault, self._left_out)

    def next_start(self, start: Instant, end: Instant) -> Instant | None:
        """Returns the first slot in [start, end) with a record."""
        sql = "SELECT start_ms FROM records WHERE start_ms >= ? AND start_ms < ? ORDER BY start_ms LIMIT 1"
        rows = cast("list[tuple[int]]", self._db.execute(sql, (start, end)).fetchall())
        return Instant(rows[0][0]) if rows else None

    def nearest(self, point: str, start: Instant, within_ms: int, *, later: bool) -> IntervalRecord | None:
        """Returns the last record of a usage point that starts before `start`, or the first that does not."""
        if later:
            where, order, other = "start_ms >= ? AND start_ms <= ?", "ASC", start + within_ms
        else:
            where, order, other = "start_ms < ? AND start_ms >= ?", "DESC", start - within_ms
        sql = (
            f"SELECT {RECORD_COLUMNS} {RECORD_FROM} WHERE {where} AND point = ?"
            f" ORDER BY start_ms {order}, epoch {order}, page {order} LIMIT 1"
        )
        rows = self._db.execute(sql, (start, other, self._points.get(point, -1))).fetchall()
        try:
            return opened_kept(kept_of(rows[0]), self.vault).record if rows else None
        except Unreadable:
            return None

    def of_meter(self, point: str, epoch: int, since: Instant, *, last: bool) -> IntervalRecord | None:
        """Returns the first or the last record of one meter of a usage point that starts from `since` on."""
        order = "DESC" if last else "ASC"
        sql = (
            f"SELECT {RECORD_COLUMNS} {RECORD_FROM} WHERE start_ms >= ? AND point = ? AND epoch = ?"
            f" ORDER BY start_ms {order}, page {order} LIMIT 1"
        )
        rows = self._db.execute(sql, (since, self._points.get(point, -1), epoch)).fetchall()
        try:
            return opened_kept(kept_of(rows[0]), self.vault).record if rows else None
        except Unreadable:
            return None

    def first_starts(self) -> dict[str, Instant]:
        """Returns the first slot ever recorded of each usage point."""
        # One short probe per point: a record of page 1 is within the first rows of that point.
        firsts: dict[str, Instant] = {}
        for name, number in self._points.items():
            sql = "SELECT start_ms FROM records WHERE point = ? ORDER BY start_ms LIMIT 1"
            rows = cast("list[tuple[int]]", self._db.execute(sql, (number,)).fetchall())
            if rows:
                firsts[name] = Instant(rows[0][0])
        return firsts

    def last_start(self) -> Instant:
        """Returns the start of the latest slot recorded, 0 without any."""
        return Instant(self._one_int("SELECT coalesce(max(start_ms), 0) FROM records"))

    def count_records(self) -> int:
        """Returns the number of records kept."""
        return self._one_int("SELECT COUNT(*) FROM records")

    def put_meters(self, meters: Iterable[MeterRow]) -> None:
        """Writes how far meters have come."""
        self.begin()
        rows = [(self._number(row.point), row.epoch, row.page, json.dumps(row.above)) for row in meters]
        self._db.executemany("INSERT OR REPLACE INTO meters VALUES(?,?,?,?)", rows)

    def meters(self) -> list[MeterRow]:
        """Returns how far every meter has come."""
        sql = "SELECT points.name, epoch, page, above FROM meters JOIN points ON points.id = meters.point"
        rows = cast("list[tuple[str, int, int, str]]", self._db.execute(sql).fetchall())
        return [MeterRow(name, epoch, page, tuple(json.loads(above))) for name, epoch, page, above in rows]

    def add_refused(self, row: RefusedRow) -> None:
        """Writes a page that could not be kept."""
        self.begin()
        values = (row.point, row.epoch, row.page, row.reason, row.digest())
        self._db.execute("INSERT OR IGNORE INTO refused VALUES(?,?,?,?,?)", values)

    def refused(self) -> list[tuple[RefusedRow, bytes]]:
        """Returns the pages that could not be kept, with their digests."""
        rows = cast("list[tuple[str, int, int, str, bytes]]", self._db.execute("SELECT * FROM refused").fetchall())
        return [(RefusedRow(point, epoch, page, reason), digest) for point, epoch, page, reason, digest in rows]

    def forget_records(self, point: str, start: Instant, end: Instant) -> int:
        """Deletes a usage point's records that start in [start, end), and what was signed about that time.

        How far its meters have come stays: their pages go on. Returns how many records there were.
        """
        self.begin()
        where, values = "point = ? AND start_ms >= ? AND start_ms < ?", (self._points.get(point, -1), start, end)
        sql = f"SELECT epoch, COUNT(*), max(page) FROM records WHERE {where} GROUP BY epoch"  # noqa: S608 -- a text of this function
        rows = cast("list[tuple[int, int, int]]", self._db.execute(sql, values).fetchall())
        self._db.execute(f"DELETE FROM records WHERE {where}", values)  # noqa: S608
        for epoch, _, page in rows:  # a refused page has no time, but words about its registers
            self._db.execute("DELETE FROM refused WHERE point = ? AND epoch = ? AND page <= ?", (point, epoch, page))
        for table, delete in _SIGNED.items():
            if self._db.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchall():
                self._db.execute(delete, (point, end, start))
        return sum(count for _, count, _ in rows)

    def reseal(self, point: str, gone: Collection[str]) -> int:
        """Seals a usage point's records anew that lie under keys which are to be destroyed; returns how many."""
        self.begin()
        sql = f"SELECT {RECORD_COLUMNS} {RECORD_FROM} WHERE point = ?"
        fresh: list[tuple[int | bytes, ...]] = []
        for row in self._db.execute(sql, (self._points.get(point, -1),)).fetchall():
            kept = kept_of(row)
            try:
                if key_of_record(kept, self.vault) in gone:
                    opened = opened_kept(kept, self.vault)
                    fresh.append(row_of(self._stored(opened), self._number(point)))
            except (Unreadable, Altered):
                continue  # as it is: `verify` tells
        self._db.executemany("INSERT OR REPLACE INTO records VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)", fresh)
        return len(fresh)

    # --------------------------------------------------------------- entries

    def add_payload(self, seq: int, member: str, sealed: bytes) -> None:
        """Adds a member's own body of the entry `seq`, sealed."""
        self.begin()
        if not self._has_payloads:
            self._db.execute(PAYLOADS)
            self._has_payloads = True
        self._db.execute("INSERT INTO payloads VALUES(?,?,?)", (seq, member, sealed))

    def payloads(self) -> list[tuple[int, str]]:
        """Returns (entry number, member) of every sealed body that is there.

        Raises:
            apsw.Error: the table is damaged.
        """
        if not self._has_payloads:
            return []
        return cast(
            "list[tuple[int, str]]", self._db.execute("SELECT seq, member FROM payloads ORDER BY seq").fetchall()
        )

    def forget_payloads(self, member: str) -> int:
        """Deletes a member's sealed bodies; returns how many."""
        if not self._has_payloads:
            return 0
        self.begin()
        count = len(self._db.execute("SELECT 1 FROM payloads WHERE member = ?", (member,)).fetchall())
        self._db.execute("DELETE FROM payloads WHERE member = ?", (member,))
        return count

    def take_back(self, points: Iterable[str]) -> None:
        """Notes points whose retained values the hub takes back from the broker; not whose they were."""
        self.begin()
        self._db.execute(TAKEN_BACK)
        self._db.executemany("INSERT OR IGNORE INTO taken_back VALUES(?)", [(point,) for point in points])

    def taken_back(self) -> list[str]:
        """Returns the points whose retained values the hub takes back from the broker, in order."""
        if not self._one_int("SELECT COUNT(*) FROM sqlite_schema WHERE name = 'taken_back'"):
            return []
        rows = cast("list[tuple[str]]", self._db.execute("SELECT point FROM taken_back ORDER BY point").fetchall())
        return [point for (point,) in rows]

    def scrub(self) -> None:
        """Writes the file anew without what was deleted from it, and empties the WAL; commits first."""
        self.commit()
        self._db.execute("PRAGMA secure_delete = ON").fetchall()
        scrub(self._db)

    def add_entry(self, seq: int, sealed: SealedEntry) -> None:
        """Adds the entry with number `seq`; written with its neighbours before anything is read.

        A number or id that is there already raises with the next read or commit.
        """
        self.begin()
        self._log.add(seq, sealed)

    def put_balances(self, balances: Iterable[tuple[tuple[str, str], Balance]]) -> None:
        """Writes what accounts hold now."""
        self.begin()
        rows = [(account, asset, held.posted, held.pending) for (account, asset), held in balances]
        self._db.executemany("INSERT OR REPLACE INTO balances VALUES(?,?,?,?)", rows)

    def put_account(self, name: str, account: Account) -> None:
        """Writes an opened account, or its new limits."""
        self.begin()
        self._db.execute("INSERT OR REPLACE INTO accounts VALUES(?,?,?)", (name, account.floor, account.ceiling))

    def entry(self, seq: int) -> EntryRow | None:
        """Returns the entry with a number."""
        rows = list(self._entries("WHERE seq = ?", (seq,)))
        return rows[0] if rows else None

    def entries(self, first: int = 0, *, only: Collection[str] = (), but: Collection[str] = ()) -> Iterator[EntryRow]:
        """Yields the log from number `first` on, in order; only some kinds, or all but some, if given."""
        where = "WHERE seq >= ?" + _of_kinds("IN", only) + _of_kinds("NOT IN", but)
        return self._entries(f"{where} ORDER BY seq", (first, *only, *but))

    def trial_balance(self, until: Instant) -> dict[tuple[str, str], int]:
        """Returns what everything booked before `until` adds up to, by (account, asset) in order, without zeros."""
        self._log.write()
        return self._log.trial_balance(until)

    def latest(self, before: int | None, limit: int, account: str | None = None) -> list[EntryRow]:
        """Returns up to `limit` entries before number `before`, newest first; only those of `account` if given."""
        top = 2**62 if before is None else before
        if account is None:
            return list(self._entries("WHERE seq < ? ORDER BY seq DESC LIMIT ?", (top, limit)))
        own = "SELECT seq FROM account_entries WHERE account = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
        return list(self._entries(f"WHERE seq IN ({own}) ORDER BY seq DESC", (self._log.number(account), top, limit)))

    def of_period(self, period: str, kinds: Sequence[str] = ()) -> list[EntryRow]:
        """Returns the entries of a day or bill period, oldest first; only those of some kinds if given."""
        only = f" AND kind IN ({','.join('?' * len(kinds))})" if kinds else ""
        where = f"WHERE period = ? AND period <> ''{only} ORDER BY seq"
        return list(self._entries(where, (period, *map(self._log.number, kinds))))

    def of_kind(self, kind: str, first: int = 0) -> list[EntryRow]:
        """Returns the entries of a kind from number `first` on, oldest first."""
        return list(self._entries("WHERE kind = ? AND seq >= ? ORDER BY seq", (self._log.number(kind), first)))

    def latest_of_kind(self, kind: str, limit: int) -> list[EntryRow]:
        """Returns up to `limit` entries of a kind, newest first."""
        return list(self._entries("WHERE kind = ? ORDER BY seq DESC LIMIT ?", (self._log.number(kind), limit)))

    def resolutions(self) -> list[EntryRow]:
        """Returns the entries that are not plainly posted: reversals, pending ones and what became of them."""
        return list(self._entries("WHERE state <> 0 ORDER BY seq", ()))

    def by_id(self, identity: str) -> EntryRow | None:
        """Returns the entry with an id."""
        rows = list(self._entries("WHERE id = ?", (id_value(identity),)))
        return rows[0] if rows else None

    def leaves(self, first: int = 0, limit: int = -1) -> list[bytes]:
        """Returns the leaf hashes from number `first` on (-1: all)."""
        sql = "SELECT leaf FROM entries WHERE seq >= ? ORDER BY seq LIMIT ?"
        rows = self._db.execute(sql, (first, limit)).fetchall()
        return [leaf for (leaf,) in cast("list[tuple[bytes]]", rows)]

    def identities(self) -> list[tuple[str, bytes]]:
        """Returns (id, leaf) of every entry in order."""
        self._log.write()
        return self._log.identities()

    def size(self) -> int:
        """Returns the number of entries."""
        return self._one_int("SELECT COUNT(*) FROM entries")

    def account_entries(self) -> Iterator[tuple[int, str]]:
        """Yields (entry number, account), by which an account's entries are found, in order of the entries."""
        self._log.write()
        return self._log.accounts()

    def accounts(self) -> dict[str, Account]:
        """Returns the opened accounts."""
        sql = "SELECT name, lowest, highest FROM accounts"
        rows = cast("list[tuple[str, int | None, int | None]]", self._db.execute(sql).fetchall())
        return {name: Account(lowest, highest) for name, lowest, highest in rows}

    def balances(self) -> dict[tuple[str, str], Balance]:
        """Returns what accounts hold, in order of (account, asset)."""
        sql = "SELECT account, asset, posted, pending FROM balances ORDER BY account, asset"
        rows = cast("list[tuple[str, str, int, int]]", self._db.execute(sql).fetchall())
        return {(account, asset): Balance(posted, pending) for account, asset, posted, pending in rows}

    # ----------------------------------------------- checkpoints, provisional

    def add_checkpoint(self, size: int, note: str) -> None:
        """Writes a signed tree head."""
        self.begin()
        self._db.execute("INSERT OR IGNORE INTO checkpoints VALUES(?,?)", (size, note))

    def put_cosigned(self, size: int, note: str) -> None:
        """Writes the cosigned form of a signed tree head that is there."""
        self.begin()
        self._db.execute("UPDATE checkpoints SET note = ? WHERE size = ?", (note, size))

    def checkpoints(self) -> list[tuple[int, str]]:
        """Returns (size, note) of every signed tree head, oldest first."""
        sql = "SELECT size, note FROM checkpoints ORDER BY size"
        return cast("list[tuple[int, str]]", self._db.execute(sql).fetchall())

    def last_checkpoint(self) -> tuple[int, str] | None:
        """Returns (size, note) of the newest signed tree head."""
        sql = "SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1"
        rows = cast("list[tuple[int, str]]", self._db.execute(sql).fetchall())
        return rows[0] if rows else None

    def put_provisional(self, rows: Iterable[ProvisionalSlot]) -> None:
        """Writes the provisional totals of slots."""
        self.begin()
        values = [
            (r.slot, r.taken, r.given, r.grid_import, r.grid_export, json.dumps(r.missing), r.digest()) for r in rows
        ]
        self._db.executemany("INSERT OR REPLACE INTO provisional VALUES(?,?,?,?,?,?,?)", values)

    def provisional(self, start: Instant, end: Instant) -> list[tuple[ProvisionalSlot, bytes]]:
        """Returns the provisional totals of the slots in [start, end), with their digests."""
        sql = "SELECT * FROM provisional WHERE slot_ms >= ? AND slot_ms < ? ORDER BY slot_ms"
        rows = cast("list[tuple[int, int, int, int, int, str, bytes]]", self._db.execute(sql, (start, end)).fetchall())
        return [
            (ProvisionalSlot(Instant(slot), taken, given, imported, exported, tuple(json.loads(missing))), digest)
            for slot, taken, given, imported, exported, missing, digest in rows
        ]

    def mark_late(self, days: Iterable[Instant]) -> None:
        """Notes the starts of days that were settled before all their records were there."""
        self.begin()
        self._db.executemany("INSERT OR IGNORE INTO late VALUES(?)", [(day,) for day in days])

    def clear_late(self, day: Instant) -> None:
        """Forgets a day that has been settled again."""
        self.begin()
        self._db.execute("DELETE FROM late WHERE start_ms = ?", (day,))

    def late(self) -> list[Instant]:
        """Returns the starts of the days that wait for a correction run."""
        rows = cast("list[tuple[int]]", self._db.execute("SELECT start_ms FROM late ORDER BY start_ms").fetchall())
        return [Instant(day) for (day,) in rows]

    def add_unseen(self, leaves: Iterable[bytes]) -> None:
        """Notes the leaves of records that a settled day has not seen, in ledgers with erased members."""
        rows = [(leaf,) for leaf in leaves]
        if rows:
            self.begin()
            self._db.execute(UNSEEN)
            self._db.executemany("INSERT OR IGNORE INTO unseen VALUES(?)", rows)

    def unseen(self) -> set[bytes]:
        """Returns the leaves of records that came after their day was settled, and wait for its correction."""
        if not self._one_int("SELECT COUNT(*) FROM sqlite_schema WHERE name = 'unseen'"):
            return set()
        return {leaf for (leaf,) in cast("list[tuple[bytes]]", self._db.execute("SELECT leaf FROM unseen").fetchall())}

    def clear_unseen(self) -> None:
        """Forgets them: every settled day has seen all its records."""
        if self._one_int("SELECT COUNT(*) FROM sqlite_schema WHERE name = 'unseen'"):
            self.begin()
            self._db.execute("DELETE FROM unseen")

    def sqlite_problems(self) -> list[str]:
        """Returns what SQLite's own integrity check finds."""
        try:
            rows = cast("list[tuple[str]]", self._db.execute("PRAGMA integrity_check(5)").fetchall())
        except apsw.Error as error:
            return [str(error)]
        return [text for (text,) in rows if text != "ok"]

    # --------------------------------------------------------------- private

    @property
    def _db(self) -> Database:
        """Returns the connection, with everything in it that was added."""
        self._log.write()
        return self._connection

    def _entries(self, where: str, values: tuple[int | str | bytes, ...]) -> Iterator[EntryRow]:
        self._log.write()
        return map(self._opened, self._log.select(where, values))

    def _opened(self, row: EntryRow) -> EntryRow:
        """Returns the row with its member's own body, where there is one and its key."""
        document = row.document
        if not self._has_payloads or (MARKS[0] not in document and MARKS[1] not in document):
            return row
        found = self._db.execute("SELECT member, sealed FROM payloads WHERE seq = ?", (row.seq,)).fetchall()
        if not found:
            return row
        first, sealed = member_owners(str(found[0][0])), cast("bytes", found[0][1])
        try:
            opened = self.vault.open_named(first, row.id, sealed)
            salt = self.vault.salt(self.vault.named_owner(first, sealed), row.id)
        except Unreadable:
            return row
        except Altered as error:
            raise RowDamaged(f"entry {row.seq}: {error}") from error
        return replace(row, opened=opened, salt=salt)

    def _stored(self, kept: Kept) -> Kept:
        owner = self.sealer(kept.record.usage_point, kept.record.start)
        return sealed_kept(kept, self.vault, owner) if owner else kept

    def sealer(self, point: str, at: Instant) -> str:
        """Returns in whose name what a usage point counts at an instant is sealed, '' where it is not."""
        member = self.tenant_at(point, at)
        owner = point_owner(point, member)
        return owner if member and self.vault.has(owner) else ""

    def _left_out(self, point: str) -> None:
        self.unreadable += 1
        self.unreadable_points.add(point)

    def _number(self, point: str) -> int:
        number = self._points.get(point)
        if number is None:
            self._db.execute("INSERT INTO points(name) VALUES(?)", (point,))
            number = self._points[point] = self._db.last_insert_rowid()
        return number

    def _one_int(self, sql: str) -> int:
        return cast("list[tuple[int]]", self._db.execute(sql).fetchall())[0][0]

    def _rows_int_str(self, sql: str) -> list[tuple[int, str]]:
        return cast("list[tuple[int, str]]", self._db.execute(sql).fetchall())
