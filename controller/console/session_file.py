"""`console.db`: the operator code's hash and the open sessions. The hub is its only writer."""

from __future__ import annotations

import hmac
import secrets
import threading
from pathlib import Path

from controller.commands import Role
from controller.console.auth import IDLE_S, Session, code_hash, new_code, new_token, token_hash
from controller.store.sqlite import open_writer

VERSION = 1
SCHEMA = """
CREATE TABLE code(id INTEGER PRIMARY KEY CHECK (id = 1), salt BLOB NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TABLE session(token TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL,
  used_s REAL NOT NULL) STRICT
"""
TOUCH_S = 60.0
SESSIONS_MAX = 1_000


class SessionFile:
    """Sessions kept in a file, so that a restart of the hub signs nobody out."""

    def __init__(self, path: str | Path) -> None:
        self._lock = threading.Lock()
        self._db = open_writer(path, "FULL", SCHEMA, VERSION)

    def first_code(self) -> str | None:
        """Makes the operator code when there is none yet and returns it: the only time it can be read."""
        with self._lock:
            if self._db.execute("SELECT 1 FROM code").fetchall():
                return None
            return self._set_code()

    def renew_code(self) -> str:
        """Replaces the operator code, closes every session, and returns the new code."""
        with self._lock:
            self._db.execute("DELETE FROM session")
            return self._set_code()

    def _set_code(self) -> str:
        code, salt = new_code(), secrets.token_bytes(16)
        self._db.execute("INSERT OR REPLACE INTO code VALUES (1, ?, ?)", (salt, code_hash(code, salt)))
        return code

    def verify(self, code: str) -> bool:
        """Returns whether `code` is the operator code."""
        with self._lock:
            rows = self._db.execute("SELECT salt, hash FROM code").fetchall()
        return any(
            isinstance(salt, bytes) and isinstance(kept, bytes) and hmac.compare_digest(code_hash(code, salt), kept)
            for salt, kept in rows
        )

    def open(self, session: Session, now_s: float) -> str:
        """Keeps a session and returns its token; the oldest go when there are too many."""
        token = new_token()
        with self._lock, self._db:
            self._db.execute("DELETE FROM session WHERE used_s < ?", (now_s - IDLE_S,))
            self._db.execute(
                "DELETE FROM session WHERE token IN (SELECT token FROM session ORDER BY used_s DESC LIMIT -1 OFFSET ?)",
                (SESSIONS_MAX,),
            )
            self._db.execute(
                "INSERT INTO session VALUES (?, ?, ?, ?)",
                (token_hash(token), session.name, session.role.value, now_s),
            )
        return token

    def find(self, token: str, now_s: float) -> Session | None:
        """Returns the session of a token that has not been idle for 12 h, and counts as its use."""
        key = token_hash(token)
        with self._lock:
            rows = self._db.execute("SELECT name, role, used_s FROM session WHERE token = ?", (key,)).fetchall()
            if not rows:
                return None
            name, role, used_s = str(rows[0][0]), str(rows[0][1]), float(str(rows[0][2]))
            if not -TOUCH_S <= now_s - used_s < IDLE_S:
                self._db.execute("DELETE FROM session WHERE token = ?", (key,))
                return None
            if now_s - used_s > TOUCH_S:  # a write per minute at most: it is an SD card
                self._db.execute("UPDATE session SET used_s = ? WHERE token = ?", (now_s, key))
        return Session(name, Role(role))

    def close(self, token: str) -> None:
        """Forgets a session."""
        with self._lock:
            self._db.execute("DELETE FROM session WHERE token = ?", (token_hash(token),))

    def shut(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()
