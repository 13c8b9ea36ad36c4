"""`atoll ledger export`: reads a ledger file and yields the lines of another program's format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import apsw

from controller.ledger.entries import Entry
from controller.ledger.merkle import Frontier
from controller.money.export import ExportHead, beancount, csv_lines, hledger, moving
from controller.shell.signed_days import opened_text
from controller.shell.till import CashReader
from controller.store.ledger_file import LedgerFile
from controller.store.sqlite import Rows


class NothingToExport(ValueError):
    """The ledger holds nothing of what was asked for."""


def export_lines(path: Path, form: str) -> Iterator[str]:
    """Yields the lines of an export; `form` is beancount, hledger, csv or ocmf.

    Raises:
        NotALedger: the file cannot be read.
        NothingToExport: there is no signed meter-day, or no entry that moves an amount.
    """
    file = LedgerFile.read(path)
    try:
        yield from _signed_days(file) if form == "ocmf" else _book(file, form)
    finally:
        file.close()


def _book(file: LedgerFile, form: str) -> Iterator[str]:
    tree = Frontier()
    for leaf in file.leaves():
        tree.append(leaf)
    book = CashReader.of(file).now()
    head = ExportHead(book.site, book.timezone, tree.size, tree.root().hex())
    balances = {key: held.posted for key, held in file.balances().items()}
    if not balances:
        raise NothingToExport("no entry has moved an amount yet")
    moved = moving(_entries(file))
    match form:
        case "beancount":
            yield from beancount(head, moved, balances)
        case "hledger":
            yield from hledger(head, moved, balances)
        case _:
            yield from csv_lines(head, moved)


def _entries(file: LedgerFile) -> Iterator[tuple[int, Entry]]:
    for row in file.entries():
        yield row.seq, row.sealed().entry


def _signed_days(file: LedgerFile) -> Iterator[str]:
    """Yields the signed meter-days as they came, one OCMF text a line, oldest first."""
    rows: Rows | list[tuple[object, ...]]
    try:
        rows = file.database.execute("SELECT point, page, text FROM signed_days ORDER BY start_ms, point, page")
    except apsw.SQLError:
        rows = []
    count = 0
    for row in rows:
        text = opened_text(file, *cast("tuple[str, int, bytes]", row))
        if text:  # a household's whose key is gone cannot be read
            count += 1
            yield text.decode("utf-8")
    if not count:
        raise NothingToExport("no gateway has sent a signed meter-day to this ledger yet")
