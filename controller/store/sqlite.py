"""The SQLite that we rely on: apsw with a library that is new enough, behind types that say what rows hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeAlias, cast

import apsw

SQLITE_MIN = (3, 51, 3)
"""Older versions may corrupt a WAL database when two connections write and checkpoint at once."""

BUSY_MS = 5_000

Value: TypeAlias = int | float | str | bytes | None


class SqliteTooOld(OSError):
    """The SQLite library in use has the WAL-reset bug."""


class Rows(Protocol):
    """The answer to a statement."""

    def fetchall(self) -> list[tuple[object, ...]]:
        """Returns all rows."""
        ...

    def __iter__(self) -> Iterator[tuple[object, ...]]: ...


class Database(Protocol):
    """The part of an apsw connection that we use."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def execute(self, statements: str, bindings: Sequence[Value] | None = None) -> Rows:
        """Runs statements."""
        ...

    def executemany(self, statements: str, sequenceofbindings: Iterable[Sequence[Value]]) -> Rows:
        """Runs a statement for each row."""
        ...

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...  # a savepoint: released at the end, rolled back on an error

    def last_insert_rowid(self) -> int:
        """Returns the row id of the last insert."""
        ...

    def close(self) -> None:
        """Closes the connection."""
        ...


def require_sqlite() -> None:
    """Checks the SQLite library.

    Raises:
        SqliteTooOld: older than 3.51.3.
    """
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")) < SQLITE_MIN:
        raise SqliteTooOld(f"SQLite {version} may corrupt a WAL database; install apsw >= 3.51.3")


def open_writer(path: str | Path, durability: str, schema: str, version: int) -> Database:
    """Opens the one writing connection in WAL mode; makes the tables if the file is new.

    Raises:
        SqliteTooOld: the library has the WAL-reset bug.
        ValueError: unknown durability.
        apsw.Error: the file cannot be opened.
    """
    require_sqlite()
    if durability not in ("FULL", "NORMAL", "OFF"):
        raise ValueError(f"durability {durability!r}: write FULL, NORMAL or OFF")
    if str(path) != ":memory:" and not Path(path).exists():
        with suppress(OSError):  # SQLite says it better
            Path(path).touch(mode=0o640)  # its rows may tell who is at home
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(BUSY_MS)
    db = cast("Database", connection)
    if durability == "FULL":  # else the rollback journal of the change to WAL may come back after a power cut, and win
        db.execute("PRAGMA synchronous = EXTRA")
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    db.execute(f"PRAGMA synchronous = {durability}")
    if not db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall():
        db.execute(f"BEGIN IMMEDIATE; {schema}; PRAGMA user_version = {version}; COMMIT")
    return db


def open_reader(path: str | Path) -> Database:
    """Opens a read-only connection.

    Raises:
        SqliteTooOld: the library has the WAL-reset bug.
        apsw.Error: there is no such file, or it is no database.
    """
    require_sqlite()
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_MS)
    db = cast("Database", connection)
    db.execute("PRAGMA query_only = ON")
    return db
