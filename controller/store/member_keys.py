"""`keys.db`: the members' keys, beside the ledger and outside its backups. Who deletes a key erases what it opens."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import apsw

from controller.ledger.vault import KEY_BYTES, Vault
from controller.store.sqlite import Database, open_reader, open_writer

KEYS = "keys.db"
SCHEMA = "CREATE TABLE keys(name TEXT PRIMARY KEY, seed BLOB NOT NULL) STRICT"
_MEMBERS = """
CREATE TABLE IF NOT EXISTS member_keys(
    owner TEXT PRIMARY KEY, member TEXT NOT NULL, key BLOB NOT NULL) STRICT
"""


def open_keys(path: Path) -> Database:
    """Opens the writing connection to `keys.db`, making it if there is none."""
    if not path.exists():
        path.touch(mode=0o600)
    db = open_writer(path, "FULL", SCHEMA, 1)
    db.execute("PRAGMA secure_delete = ON").fetchall()
    db.execute(_MEMBERS)
    return db


def ensure(path: Path, owners: Mapping[str, str]) -> Vault:
    """Makes the keys that are missing (`owners`: owner -> member) and returns all."""
    db = open_keys(path)
    try:
        rows = [(owner, member, os.urandom(KEY_BYTES)) for owner, member in owners.items()]
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT OR IGNORE INTO member_keys VALUES(?, ?, ?)", rows)
        db.execute("COMMIT")
        return Vault(_keys(db))
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
        return Vault(_keys(db))
    finally:
        db.close()


def destroy(path: Path, member: str) -> int:
    """Destroys a member's keys and every trace of them in the file and its WAL; returns how many there were."""
    db = open_keys(path)
    try:
        count = len(db.execute("SELECT 1 FROM member_keys WHERE member = ?", (member,)).fetchall())
        db.execute("DELETE FROM member_keys WHERE member = ?", (member,))
        scrub(db)
        return count
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


def _keys(db: Database) -> dict[str, bytes]:
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'member_keys'").fetchall():
        return {}
    return dict(cast("list[tuple[str, bytes]]", db.execute("SELECT owner, key FROM member_keys").fetchall()))
