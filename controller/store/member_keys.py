"""`keys.db`: the members' keys, beside the ledger and outside its backups. Who deletes a key erases what it opens."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import apsw

from controller.ledger.vault import KEY_BYTES, Vault, gone_key
from controller.store.sqlite import Database, open_reader, open_writer

KEYS = "keys.db"
SCHEMA = "CREATE TABLE keys(name TEXT PRIMARY KEY, seed BLOB NOT NULL) STRICT"
_MEMBERS = """
CREATE TABLE IF NOT EXISTS member_keys(
    owner TEXT PRIMARY KEY, member TEXT NOT NULL, key BLOB NOT NULL) STRICT
"""
_DESTROYED = """
CREATE TABLE IF NOT EXISTS destroyed_keys(
    owner TEXT NOT NULL, mark BLOB NOT NULL, PRIMARY KEY(owner, mark)) STRICT, WITHOUT ROWID
"""
"""By what destroyed keys were named, so that what they sealed is told from what was altered."""


def open_keys(path: Path) -> Database:
    """Opens the writing connection to `keys.db`, making it if there is none."""
    if not path.exists():
        path.touch(mode=0o600)
    db = open_writer(path, "FULL", SCHEMA, 1)
    db.execute("PRAGMA secure_delete = ON").fetchall()
    db.execute(_MEMBERS)
    db.execute(_DESTROYED)
    return db


def ensure(path: Path, owners: Mapping[str, str]) -> Vault:
    """Makes the keys that are missing (`owners`: owner -> member) and returns all."""
    db = open_keys(path)
    try:
        rows = [(owner, member, os.urandom(KEY_BYTES)) for owner, member in owners.items()]
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT OR IGNORE INTO member_keys VALUES(?, ?, ?)", rows)
        db.execute("COMMIT")
        return _vault(db)
    finally:
        db.close()


def vault_beside(ledger: str | Path) -> Vault:
    """Returns the keys beside a ledger file; none where there is no `keys.db`."""
    path = Path(ledger).parent / KEYS
    if str(ledger) == ":memory:" or not path.is_file():
        return Vault({})
    try:
        db = open_reader(path)
    except apsw.Error:
        return Vault({})
    try:
        return _vault(db)
    finally:
        db.close()


def owners_of(path: Path, member: str) -> set[str]:
    """Returns in whose name a member's keys seal: `member:ID`, `point:...`."""
    db = open_keys(path)
    try:
        rows = db.execute("SELECT owner FROM member_keys WHERE member = ?", (member,)).fetchall()
        return {str(owner) for (owner,) in rows}
    finally:
        db.close()


def destroy(path: Path, member: str) -> int:
    """Destroys a member's keys and every trace of them in the file and its WAL; returns how many there were."""
    db = open_keys(path)
    try:
        rows = db.execute("SELECT owner, key FROM member_keys WHERE member = ?", (member,)).fetchall()
        gone = [gone_key(owner, key) for owner, key in cast("list[tuple[str, bytes]]", rows)]
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT OR IGNORE INTO destroyed_keys VALUES(?, ?)", gone)
        db.execute("DELETE FROM member_keys WHERE member = ?", (member,))
        db.execute("COMMIT")
        scrub(db)
        return len(rows)
    finally:
        db.close()


def is_keys(path: Path) -> bool:
    """Returns whether a file is a `keys.db`, or a copy of one."""
    try:
        db = open_reader(path)
    except apsw.Error:
        return False
    try:
        return bool(db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'member_keys'").fetchall())
    except apsw.Error:
        return False
    finally:
        db.close()


def scrub(db: Database) -> None:
    """Writes the file anew without what was deleted from it, and empties the WAL."""
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.execute("VACUUM")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _vault(db: Database) -> Vault:
    keys, gone = _pairs(db, "member_keys", "owner, key"), _pairs(db, "destroyed_keys", "owner, mark")
    return Vault(dict(keys), gone)


def _pairs(db: Database, table: str, columns: str) -> list[tuple[str, bytes]]:
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchall():
        return []
    return cast("list[tuple[str, bytes]]", db.execute(f"SELECT {columns} FROM {table}").fetchall())  # noqa: S608
