"""Signed meter-days as settlement and bundles read them: what a gateway signed for one usage point's day, judged again.

A day contradicts its records where one of its texts, kept or refused, is not signed by the key pinned for its gateway,
or says something else than a kept record of the same time and meter. Households' texts lie sealed under their own key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import apsw

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
_ALL = "SELECT point, page, start_ms, end_ms, node, key, text FROM signed_days"


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


def stored_text(file: LedgerFile, point: str, page: int, text: bytes) -> bytes:
    """Returns a text as it is stored: sealed where its usage point has a key."""
    owner = point_owner(point)
    return file.vault.seal(owner, place(page), text) if file.vault.has(owner) else text


def opened_text(file: LedgerFile, point: str, page: int, stored: bytes) -> bytes:
    """Returns the text; b'' where its key is gone or it was altered."""
    if stored[:5] == b"OCMF|":
        return stored
    try:
        return file.vault.open(point_owner(point), place(page), stored)
    except (Unreadable, Altered):
        return b""


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


def damaged_days(file: LedgerFile) -> Iterator[tuple[str, str]]:
    """Yields (where, what) of every kept day whose row and text do not belong together, or whose key the log lacks."""
    bodies = [row.sealed().entry.body for row in file.of_kind(GATEWAY_KEY)]
    named = {(str(body.get("node")), str(body.get("key"))) for body in bodies}
    try:
        rows = cast("list[tuple[str, int, int, int, str, str, bytes]]", file.database.execute(_ALL).fetchall())
    except apsw.SQLError:
        return
    for point, page, start, end, node, key, stored in rows:
        where, text = f"{point} F{page}", opened_text(file, point, page, stored)
        if not text and not file.vault.has(point_owner(point)):
            continue  # its household's key is not here
        day = checked(SignedText(node, key, text, page))
        if isinstance(day, str):
            yield where, day
            continue
        first, last = day.records[0], day.records[-1]
        if (first.usage_point, day.page, first.start, last.end) != (point, page, start, end):
            yield where, "the columns say something else than the text"
        elif (node, key) not in named:
            yield where, f"the log names no such key of {node}"


@lru_cache(maxsize=256)
def _key(text: str) -> PublicKey | None:
    found = read_public_key(text)
    return found if isinstance(found, PublicKey) else None
