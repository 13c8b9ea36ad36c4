"""Signed meter-days as settlement and bundles read them: what a gateway signed for one usage point's day, judged again.

A day contradicts its records where one of its texts, kept or refused, is not signed by the key pinned for its gateway,
or says something else than a kept record of the same time and meter. Households' texts lie sealed under their own key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import cast

import apsw

from controller.ledger.canonical import encode
from controller.ledger.vault import Altered, Unreadable
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_rows import point_owner
from devices.clock import Instant
from devices.meter_day import MeterDay, read_day
from devices.model import IntervalRecord
from devices.ocmf import Refused, parse, verify
from devices.ocmf_keys import PublicKey, read_public_key

GATEWAY_KEY = "gateway.key"
_QUERIES = (
    "SELECT page, node, key, text FROM signed_days WHERE point = ? AND start_ms < ? AND end_ms > ?",
    "SELECT page, node, key, text FROM refused_days WHERE point = ? AND start_ms < ? AND end_ms > ?",
)
_ALL = "SELECT point, page, epoch, first, last, start_ms, end_ms, node, key, text FROM signed_days"
WITH_DIGEST = {
    "gateway_keys": ("node", "key", "since_ms"),
    "refused_days": ("point", "page", "start_ms", "end_ms", "node", "key", "text"),
}
"""Tables whose rows nothing in the log vouches for, and their columns: a digest behind them shows a damaged row."""


@dataclass(frozen=True, slots=True)
class SignedText:
    """One OCMF text for a usage point, and the gateway and public key that it must be signed by."""

    node: str
    key: str
    text: bytes
    page: int


def place(page: int) -> str:
    """Returns the name under which a text is sealed."""
    return f"signed/{page}"


def stored_text(file: LedgerFile, point: str, page: int, start: Instant, text: bytes) -> bytes:
    """Returns a text as it is stored: sealed in the name of whose usage point it is when its time begins."""
    owner = file.sealer(point, start)
    return file.vault.seal_named(owner, place(page), text) if owner else text


def opened_text(file: LedgerFile, point: str, page: int, stored: bytes) -> bytes:
    """Returns the text; b'' where its key is gone or it was altered."""
    try:
        return _opened(file, point, page, stored)
    except (Unreadable, Altered):
        return b""


def _opened(file: LedgerFile, point: str, page: int, stored: bytes) -> bytes:
    if stored[:5] == b"OCMF|":
        return stored
    return file.vault.open_named(point_owner(point), place(page), stored)


def reseal_texts(file: LedgerFile, point: str, gone: Collection[str]) -> None:
    """Seals a usage point's texts anew that lie under keys which are to be destroyed."""
    db = file.database
    digests = db.execute("SELECT 1 FROM pragma_table_info('refused_days') WHERE name = 'digest'").fetchall()
    for table, undigested in (("signed_days", ""), ("refused_days", ", digest = NULL" if digests else "")):
        rows = _rows(file, f"SELECT page, start_ms, text FROM {table} WHERE point = ?", (point,))  # noqa: S608
        for page, start, stored in cast("list[tuple[int, Instant, bytes]]", rows):
            text = opened_text(file, point, page, stored)
            if text and text != stored and file.vault.named_owner(point_owner(point), stored) in gone:
                fresh = stored_text(file, point, page, start, text)
                sql = f"UPDATE {table} SET text = ?{undigested} WHERE point = ? AND page = ?"  # noqa: S608
                db.execute(sql, (fresh, point, page))  # the shelf gives it its digest again


def any_signed(file: LedgerFile) -> bool:
    """Returns whether anything signed lies in the file, refused or not."""
    tables = file.database.execute("SELECT name FROM sqlite_schema WHERE name IN ('signed_days', 'refused_days')")
    return any(file.database.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchall() for (name,) in tables.fetchall())  # noqa: S608


def signed_texts(file: LedgerFile, point: str, start: Instant, end: Instant) -> Iterator[SignedText]:
    """Yields what lies in the file for a usage point and overlaps [start, end), in order of page; refused ones too."""
    rows: list[tuple[object, ...]] = []
    for sql in _QUERIES:
        try:
            rows += file.database.execute(sql, (point, end, start)).fetchall()
        except apsw.SQLError:
            continue  # a ledger from before signed days, or one without refused ones
    for page, node, key, stored in sorted(cast("list[tuple[int, str, str, bytes]]", rows)):
        yield SignedText(node, key, opened_text(file, point, page, stored), page)


def contradiction(texts: Iterable[SignedText], records: Iterable[IntervalRecord]) -> str:
    """Returns what is wrong with a day's signed texts against its records, or ''."""
    known = {(record.meter_epoch, record.start): record for record in records}
    for one in texts:
        found = checked(one)
        if isinstance(found, str):
            return found
        first = found.records[0]
        signed = {record.start: record for record in found.records}
        for (epoch, start), record in known.items():
            inside = epoch == first.meter_epoch and first.start <= start < found.records[-1].end
            if inside and signed.get(start) != record:
                return f"F{found.page} says something else than page {record.page} of epoch {epoch}"
    return ""


def checked(one: SignedText) -> MeterDay | str:
    """Returns the day in a text that is signed by its gateway's key, or why not."""
    document = parse(one.text)
    if isinstance(document, Refused):
        return "; ".join(str(finding) for finding in document.findings[:3])
    key = _key(one.key)
    fault = verify(document, key) if key is not None else "no key"
    if fault is not None:
        return str(fault)
    day = read_day(document)
    if isinstance(day, Refused):
        return "; ".join(str(finding) for finding in day.findings[:3])
    return day if day.gateway == one.node else f"signed by gateway {day.gateway!r:.60}"


def row_digest(row: Sequence[int | str | bytes]) -> bytes:
    """Returns the SHA-256 that is stored beside a row: of its canonical bytes."""
    return sha256(encode([value.hex() if isinstance(value, bytes) else value for value in row])).digest()


def damaged_days(file: LedgerFile) -> Iterator[tuple[str, str]]:
    """Yields (where, what) of each row about signed days that is not what was written, or whose key the log lacks."""
    bodies = [row.sealed().entry.body for row in file.of_kind(GATEWAY_KEY)]
    named = {(str(body.get("node")), str(body.get("key"))) for body in bodies}
    for *columns, node, key, stored in _rows(file, _ALL):
        point, page = cast("tuple[str, int]", columns[:2])
        where = f"{point} F{page}"
        try:
            text = _opened(file, point, page, cast("bytes", stored))
        except Unreadable:
            continue  # its household's key is not here
        except Altered:
            text = b""
        day = checked(SignedText(str(node), str(key), text, page))
        if isinstance(day, str):
            yield where, day
        elif columns != _columns(day):
            yield where, "the columns say something else than the text"
        elif (node, key) not in named:
            yield where, f"the log names no such key of {node}"
    for point, page, *_, sound in _judged_rows(file, "refused_days"):
        if not sound:
            yield f"{point} F{page}", "the refused text does not match its hash"
    for node, *_, sound in _judged_rows(file, "gateway_keys"):
        if not sound:
            yield f"gateway {node}", "the pinned key does not match its hash"


def _judged_rows(file: LedgerFile, table: str) -> Iterator[tuple[object, ...]]:
    """Yields the rows with whether they match their digests; rows of older ledgers, which have none, do."""
    for row in _rows(file, f"SELECT * FROM {table}"):  # noqa: S608 -- names of this module
        *values, digest = cast("list[int | str | bytes]", row)
        old = len(row) == len(WITH_DIGEST[table]) or row[-1] is None
        yield (*row, old or digest == row_digest(values))


def _columns(day: MeterDay) -> list[object]:
    first, last = day.records[0], day.records[-1]
    return [first.usage_point, day.page, first.meter_epoch, first.page, last.page, first.start, last.end]


def _rows(file: LedgerFile, sql: str, values: tuple[str, ...] = ()) -> list[tuple[object, ...]]:
    try:
        return file.database.execute(sql, values).fetchall()
    except apsw.SQLError:
        return []  # a ledger from before there was such a table


@lru_cache(maxsize=256)
def _key(text: str) -> PublicKey | None:
    found = read_public_key(text)
    return found if isinstance(found, PublicKey) else None
