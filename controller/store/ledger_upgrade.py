"""Ledgers of version 1, which kept each document and each posting as text: their log is taken apart into columns.

A writer changes the file, in one transaction; a reader makes the same tables in its own memory, beside the file.
Documents, hashes and signed heads stay what they were: what does not come out of the columns again byte by byte, a
damaged row say, is kept whole, so that verification says of it what it said before.
"""

from __future__ import annotations

from typing import cast

from controller.ledger.entries import SealedEntry, unseal
from controller.store.entry_table import TABLES, EntryTable
from controller.store.ledger_rows import SCHEMA_VERSION, EntryRow
from controller.store.sqlite import Database

FIRST_VERSION = 1
_BATCH = 10_000
_OLD = "SELECT seq, id, kind, state, period, member, document, leaf FROM {} ORDER BY seq"


def upgraded(db: Database) -> int:
    """Returns the version of the tables that the connection now shows; those of version 1 are made anew.

    Raises:
        apsw.Error: the file is damaged, or the disk is full: it is then as it was.
    """
    version = cast("list[tuple[int]]", db.execute("PRAGMA user_version").fetchall())[0][0]
    if version != FIRST_VERSION:
        return version
    if db.execute("PRAGMA query_only").fetchall() == [(1,)]:
        db.execute("PRAGMA temp_store = MEMORY; PRAGMA query_only = OFF").fetchall()
        db.execute(TABLES.format("temp"))
        _copy(db, "main.entries")
        db.execute("PRAGMA query_only = ON").fetchall()
        return SCHEMA_VERSION
    with db:  # all of it, or nothing
        # The indices go by themselves with their table; until then their names are taken.
        db.execute(
            "DROP TABLE postings; DROP INDEX entries_period; DROP INDEX entries_state; DROP INDEX entries_kind;"
            " ALTER TABLE entries RENAME TO entries_1"
        )
        db.execute(TABLES.format("main"))
        _copy(db, "main.entries_1")
        db.execute(f"DROP TABLE entries_1; PRAGMA user_version = {SCHEMA_VERSION}")
    return SCHEMA_VERSION


def _copy(db: Database, old: str) -> None:
    table = EntryTable(db)
    for number, row in enumerate(db.execute(_OLD.format(old)), start=1):
        _add(table, EntryRow(*cast("tuple[int, str, str, str, str, str, bytes, bytes]", row)))
        if number % _BATCH == 0:
            table.write()
    table.write()


def _add(table: EntryTable, row: EntryRow) -> None:
    try:
        sealed = SealedEntry(unseal(row.document), row.document, row.leaf)
        if table.entry_row(table.columns(row.seq, sealed)) == row:
            table.add(row.seq, sealed)
            return
    except (ValueError, TypeError, OverflowError):
        pass  # damaged: verification says how
    table.add_whole(row)
