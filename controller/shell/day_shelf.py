"""Signed meter-days as the hub keeps them: checked against the key pinned for their gateway, stored, acknowledged.

The first key that a gateway names is pinned; a day signed with another one is refused until an operator drops the pin
revokes it (`revoke`). The first content of a page wins. Tables of their own in `ledger.db`; `accept` writes into the
transaction that the books commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from controller.shell.signed_days import (
    WITH_DIGEST,
    SignedText,
    checked,
    contradiction,
    opened_text,
    row_digest,
    stored_text,
)
from controller.store.key_entries import revoked_keys
from controller.store.ledger_file import LedgerFile
from devices.clock import Instant
from devices.meter_day import MeterDay, read_day
from devices.model import IntervalRecord
from devices.ocmf import Refused, parse
from devices.ocmf_keys import PublicKey, read_public_key

SCHEMA = """
CREATE TABLE IF NOT EXISTS gateway_keys(
    node TEXT PRIMARY KEY, key TEXT NOT NULL, since_ms INTEGER NOT NULL, digest BLOB) STRICT;
CREATE TABLE IF NOT EXISTS signed_days(
    point TEXT NOT NULL, page INTEGER NOT NULL, epoch INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL, node TEXT NOT NULL, key TEXT NOT NULL, text BLOB NOT NULL,
    PRIMARY KEY(point, page)) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS signed_days_start ON signed_days(start_ms);
CREATE INDEX IF NOT EXISTS signed_days_point ON signed_days(point, start_ms);
CREATE TABLE IF NOT EXISTS refused_days(
    point TEXT NOT NULL, page INTEGER NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
    node TEXT NOT NULL, key TEXT NOT NULL, text BLOB NOT NULL, digest BLOB,
    PRIMARY KEY(point, page)) STRICT, WITHOUT ROWID;
"""
REFUSED_MAX = 1_000
"""Refused days kept as evidence against a day's bill; more of them are only counted."""
_COUNTED = ("days_accepted", "days_duplicate", "days_refused", "days_conflicting", "keys_refused")


@dataclass(frozen=True, slots=True)
class SignedDayRow:
    """One kept day: the intervals that its gateway signed, the key and the text that anybody can check again."""

    node: str
    key: str
    day: MeterDay
    text: bytes


class DayShelf:
    """The signed days of one ledger file; used by the thread that owns the books."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file
        self._db = file.database
        self._db.execute(SCHEMA)
        self._add_digests()
        rows = self._db.execute("SELECT node, key FROM gateway_keys").fetchall()
        self._keys = {str(node): str(key) for node, key in rows}
        self.node_of: dict[str, str] = {}  # usage point -> the gateway that delivers its records
        self._disputed: list[tuple[str, Instant, Instant]] = []
        self._revoked = revoked_keys(file, "gateway")
        self._acks: dict[str, list[tuple[str, int]]] = {}
        counted = self._db.execute("SELECT COUNT(*) FROM refused_days").fetchall()
        self._refused = cast("int", counted[0][0])
        self.counters = dict.fromkeys(_COUNTED, 0)
        self.last_refusal = ""

    def pin(self, node: str, key: str, now: Instant) -> bool:
        """Takes the key that a gateway's birth names; returns False where another one is pinned."""
        pinned = self._keys.get(node)
        if key.lower() in self._revoked:
            return self._refuse_key(f"{node} names a key that was revoked: not the gateway that took its place")
        if pinned is None:
            if not isinstance(read_public_key(key), PublicKey):
                return self._refuse_key(f"{node}: its birth names no usable public key")
            self._file.begin()
            row = (node, key.lower(), now)
            self._db.execute("INSERT INTO gateway_keys VALUES(?, ?, ?, ?)", (*row, row_digest(row)))
            self._keys[node] = key.lower()
        elif pinned != key.lower():
            return self._refuse_key(f"{node} names another key than the one pinned: a new gateway, or not ours")
        return True

    def key(self, node: str) -> str:
        """Returns the key that is pinned for a gateway, '' if none is."""
        return self._keys.get(node, "")

    def nodes(self) -> tuple[str, ...]:
        """Returns the gateways that have a pinned key."""
        return tuple(sorted(self._keys))

    def revoke(self, node: str) -> bool:
        """Drops a pin for good: the next birth's key is taken, unless it is this one (a gateway was stolen)."""
        self._revoked.add(self._keys.get(node, ""))
        return self.forget_key(node)

    def forget_key(self, node: str) -> bool:
        """Drops a pin, so that the next birth's key is taken (an operator has replaced the gateway)."""
        self._file.begin()
        self._db.execute("DELETE FROM gateway_keys WHERE node = ?", (node,))
        return self._keys.pop(node, None) is not None

    def accept(self, node: str, text: bytes) -> str:
        """Takes one signed day; returns "" or why it is refused. Acknowledged after the next commit (`acks`)."""
        day = self._checked(node, text)
        if isinstance(day, str):
            self.counters["days_refused"] += 1
            self.last_refusal = f"{node}: {day}"
            self._keep_refused(node, text)
            return day
        first = day.records[0]
        known = self._stored(first.usage_point, day.page)
        if known and known != text:
            self.counters["days_conflicting"] += 1
            self.last_refusal = (
                f"{node}: {first.usage_point} F{day.page} was taken with other content; the first stands"
            )
        elif known:
            self.counters["days_duplicate"] += 1
        else:
            self.counters["days_accepted"] += 1
            self._keep(node, day, text)
        # A conflicting day is acknowledged too: sending it for ever changes nothing, and it is counted.
        self._acks.setdefault(node, []).append((first.usage_point, day.page))
        return ""

    def acks(self) -> dict[str, list[tuple[str, int]]]:
        """Returns what each gateway may forget: call it once what was accepted is committed."""
        acks, self._acks = self._acks, {}
        return acks

    def days(self, start: Instant, end: Instant, point: str | None = None) -> Iterator[SignedDayRow]:
        """Yields the kept days that begin in [start, end), of one usage point or of all, by start."""
        sql = (
            "SELECT node, key, text, point, page FROM signed_days"
            " WHERE start_ms >= ? AND start_ms < ? ORDER BY start_ms, point, page"
        )
        for node, key, text, owner, page in self._db.execute(sql, (start, end)).fetchall():
            opened = opened_text(self._file, str(owner), cast("int", page), cast("bytes", text))
            day = _day_of(opened)
            if isinstance(day, MeterDay) and owner == (point or owner):
                yield SignedDayRow(str(node), str(key), day, opened)

    def signed(self, record: IntervalRecord) -> bool | None:
        """Returns whether a kept day signs exactly this record; None where no day covers its page yet."""
        rows = self._db.execute(
            "SELECT page, text FROM signed_days WHERE point = ? AND epoch = ? AND first <= ? AND last >= ?",
            (record.usage_point, record.meter_epoch, record.page, record.page),
        ).fetchall()
        if not rows:
            return None
        texts = (opened_text(self._file, record.usage_point, *cast("tuple[int, bytes]", row)) for row in rows)
        days = (_day_of(text) for text in texts)
        return any(isinstance(day, MeterDay) and record in day.records for day in days)

    def _add_digests(self) -> None:
        """Gives the tables and rows of older ledgers their digests."""
        for table, columns in WITH_DIGEST.items():  # the statements are made of names of this package
            if not self._db.execute(f"SELECT 1 FROM pragma_table_info('{table}') WHERE name = 'digest'").fetchall():  # noqa: S608
                self._db.execute(f"ALTER TABLE {table} ADD COLUMN digest BLOB")
            wanted, keys = ", ".join(columns), " AND ".join(f"{name} = ?" for name in columns)
            old = self._db.execute(f"SELECT {wanted} FROM {table} WHERE digest IS NULL").fetchall()  # noqa: S608
            rows = cast("list[tuple[int | str | bytes, ...]]", old)
            marked = [(row_digest(row), *row) for row in rows]
            self._db.executemany(f"UPDATE {table} SET digest = ? WHERE {keys}", marked)  # noqa: S608

    def _refuse_key(self, why: str) -> bool:
        self.counters["keys_refused"] += 1
        self.last_refusal = why
        return False

    def disputed(self) -> list[tuple[str, Instant, Instant]]:
        """Returns (usage point, start, end) of days to be settled again: what is signed for them says something new."""
        found, self._disputed = self._disputed, []
        return found

    def _checked(self, node: str, text: bytes) -> MeterDay | str:
        pinned = self._keys.get(node)
        if pinned is None:
            return "no key is pinned for this gateway"
        day = checked(SignedText(node, pinned, text, 0))
        if isinstance(day, MeterDay):
            point = day.records[0].usage_point
            owner = self.node_of.get(point, node)
            if owner != node:
                return f"{point} is read by gateway {owner!r}"
        return day

    def _stored(self, point: str, page: int) -> bytes:
        sql = "SELECT text FROM signed_days WHERE point = ? AND page = ?"
        rows = cast("list[tuple[bytes]]", self._db.execute(sql, (point, page)).fetchall())
        return opened_text(self._file, point, page, rows[0][0]) if rows else b""

    def _keep(self, node: str, day: MeterDay, text: bytes) -> None:
        """Stores a good day; one that a refused text stood for, or that records contradict, is to be settled again."""
        first, last = day.records[0], day.records[-1]
        point, key = first.usage_point, self._keys[node]
        self._file.begin()
        self._db.execute(
            "INSERT INTO signed_days VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                point, day.page, first.meter_epoch, first.page, last.page, first.start, last.end, node, key,
                stored_text(self._file, point, day.page, first.start, text),
            ),
        )  # fmt: skip
        refused = self._db.execute(
            "SELECT 1 FROM refused_days WHERE point = ? AND page = ?", (point, day.page)
        ).fetchall()
        if refused:
            self._db.execute("DELETE FROM refused_days WHERE point = ? AND page = ?", (point, day.page))
            self._refused -= 1
        records = (kept.record for kept in self._file.records(first.start, last.end, point))
        if refused or contradiction([SignedText(node, key, text, day.page)], records):
            self._disputed.append((point, first.start, last.end))

    def _keep_refused(self, node: str, text: bytes) -> None:
        """Keeps a text that its gateway's key did not sign, as the reason why its day is held back."""
        day, key = _day_of(text), self._keys.get(node)
        if key is None or not isinstance(day, MeterDay) or day.gateway != node:
            return
        first, last = day.records[0], day.records[-1]
        point = first.usage_point
        foreign = self.node_of.get(point, node) != node
        if foreign or self._refused >= REFUSED_MAX or self._stored(point, day.page):
            return
        self._file.begin()
        stored = stored_text(self._file, point, day.page, first.start, text)
        row = (point, day.page, first.start, last.end, node, key, stored)
        kept = self._db.execute(
            "INSERT OR IGNORE INTO refused_days VALUES(?, ?, ?, ?, ?, ?, ?, ?) RETURNING 1", (*row, row_digest(row))
        ).fetchall()
        self._refused += len(kept)
        self._disputed.append((point, first.start, last.end))


def _day_of(text: bytes) -> MeterDay | Refused:
    document = parse(text)
    return document if isinstance(document, Refused) else read_day(document)
