"""The witness: answers `add-checkpoint` over HTTP, and has written down what it cosigns before it answers.

It keeps one (size, root) per log in `witness.db` and sees hashes only. It needs no trust in the hub: a log that
was rewritten gets no cosignature any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import cast

from controller.ledger.cosign import Algorithm, CosignKey
from controller.ledger.note import Verifier
from controller.ledger.witness import (
    BODY_BYTES_MAX,
    BadRequest,
    Refused,
    Seen,
    Submission,
    consider,
    origin_of,
    seen_path,
    signed_by_newest,
    trusted,
)
from controller.store.sqlite import open_writer
from devices.clock import Instant

SCHEMA = """
CREATE TABLE keys(algorithm INTEGER PRIMARY KEY, seed BLOB NOT NULL) STRICT;
CREATE TABLE logs(origin TEXT PRIMARY KEY, key TEXT NOT NULL) STRICT;
CREATE TABLE seen(origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL) STRICT;
"""
NEWER_KEYS = "CREATE TABLE IF NOT EXISTS newer_keys(origin TEXT PRIMARY KEY, key TEXT NOT NULL) STRICT"
"""To which key a log is being handed over: both are good until a checkpoint is signed by this one."""
REQUEST_TIMEOUT_S = 20


class OtherKey(ValueError):
    """A log that this witness knows already, by another key."""


class Witness:
    """The state of one witness; may be asked from several threads."""

    def __init__(self, path: Path, name: str, clock: Callable[[], Instant]) -> None:
        if str(path) != ":memory:" and not path.exists():
            path.touch(mode=0o600)
        self._db = open_writer(path, "FULL", SCHEMA, 1)
        self._db.execute(NEWER_KEYS)
        self._clock = clock
        self._lock = Lock()
        self._keys = tuple(CosignKey(name, algorithm, self._seed(algorithm)) for algorithm in Algorithm)

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    def public_keys(self) -> tuple[str, ...]:
        """Returns the public keys, to be written into the policies of hubs."""
        return tuple(key.cosigner.text() for key in self._keys)

    def know(self, logs: Iterable[Verifier]) -> None:
        """Adds logs to those that are cosigned.

        Raises:
            OtherKey: one is known by another key.
        """
        with self._lock:
            known = self._logs()
            for log in logs:
                if log not in known.get(log.name, (log,)):
                    raise OtherKey(f"{log.name} is known here by the key {known[log.name][0].text()}")
                self._db.execute("INSERT OR IGNORE INTO logs VALUES(?, ?)", (log.name, log.text()))

    def hand_over(self, key: Verifier) -> None:
        """Takes a new key of a log that is known: its old one is good until a checkpoint is signed by the new one.

        Raises:
            OtherKey: the log is not known.
        """
        with self._lock:
            keys = self._logs().get(key.name, ())
            if not keys:
                raise OtherKey(f"{key.name} is not known here: name its key with --log")
            if key != keys[0]:
                self._db.execute("INSERT OR REPLACE INTO newer_keys VALUES(?, ?)", (key.name, key.text()))

    def logs(self) -> tuple[str, ...]:
        """Returns the names of the logs that are cosigned."""
        with self._lock:
            return tuple(self._logs())

    def add_checkpoint(self, body: bytes) -> tuple[int, str, str]:
        """Returns (HTTP status, content type, body); a cosigned tree is on the disk when this returns."""
        try:
            submission = Submission.parse(body)
        except BadRequest as error:
            return 400, "text/plain; charset=utf-8", f"{error}\n"
        origin = origin_of(submission.note)
        with self._lock:  # compare and write are one step: a slow request never takes a newer tree back
            keys = trusted(self._logs(), submission.note)
            answer = consider(submission, keys, self._seen(origin))
            if isinstance(answer, Refused):
                return answer.status, answer.content_type, answer.body
            values = (origin, answer.head.size, answer.head.root, submission.note)
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT OR REPLACE INTO seen VALUES(?, ?, ?, ?)", values)
            if len(keys) > 1 and signed_by_newest(keys, submission.note):
                self._db.execute("UPDATE logs SET key = ? WHERE origin = ?", (keys[-1].text(), origin))
                self._db.execute("DELETE FROM newer_keys WHERE origin = ?", (origin,))
            self._db.execute("COMMIT")
            now = self._clock()
        return 200, "text/plain; charset=utf-8", "".join(key.cosign(answer.text, now) for key in self._keys)

    def seen_note(self, path: str) -> str:
        """Returns the newest head that was cosigned of the log with that `seen_path`; '' for none."""
        with self._lock:
            rows = cast("list[tuple[str, str]]", self._db.execute("SELECT origin, note FROM seen").fetchall())
        return next((note for origin, note in rows if seen_path(origin) == path), "")

    def _seed(self, algorithm: Algorithm) -> bytes:
        rows = self._db.execute("SELECT seed FROM keys WHERE algorithm = ?", (int(algorithm),)).fetchall()
        if not rows:
            self._db.execute("INSERT INTO keys VALUES(?, ?)", (int(algorithm), os.urandom(32)))
            return self._seed(algorithm)
        return cast("bytes", rows[0][0])

    def _logs(self) -> dict[str, tuple[Verifier, ...]]:
        """Returns the keys of each log, oldest first."""
        sql = "SELECT origin, key FROM logs UNION ALL SELECT origin, key FROM newer_keys"
        found: dict[str, tuple[Verifier, ...]] = {}
        for origin, key in cast("list[tuple[str, str]]", self._db.execute(sql).fetchall()):
            found[origin] = (*found.get(origin, ()), Verifier.parse(key))
        return found

    def _seen(self, origin: str) -> Seen | None:
        sql = "SELECT size, root FROM seen WHERE origin = ?"
        rows = cast("list[tuple[int, bytes]]", self._db.execute(sql, (origin,)).fetchall())
        return Seen(*rows[0]) if rows else None


def serve(witness: Witness, host: str, port: int) -> ThreadingHTTPServer:
    """Returns a server that is bound and answers once `serve_forever` runs."""

    class Handler(BaseHTTPRequestHandler):
        """One connection."""

        timeout = REQUEST_TIMEOUT_S
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Answers `add-checkpoint`."""
            length = self.headers.get("Content-Length", "")
            if self.path != "/add-checkpoint":
                self._answer(404, "text/plain", "POST /add-checkpoint\n", keep=False)
            elif not length.isdigit() or int(length) > BODY_BYTES_MAX:
                self._answer(413, "text/plain", f"a request has at most {BODY_BYTES_MAX} bytes\n", keep=False)
            else:
                self._answer(*witness.add_checkpoint(self.rfile.read(int(length))))

        def do_GET(self) -> None:
            """Answers with a cosigned head, or with the public keys and the logs, for whoever sets up a hub."""
            if self.path.startswith("/seen/"):
                note = witness.seen_note(self.path)
                self._answer(200 if note else 404, "text/plain; charset=utf-8", note or "no such log\n")
                return
            self._answer(200, "text/plain; charset=utf-8", "\n".join([*witness.public_keys(), *witness.logs(), ""]))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's own name
            """Says nothing: the answers are what matters."""

        def _answer(self, status: int, content_type: str, body: str, *, keep: bool = True) -> None:
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(data)))
            if not keep:
                self.close_connection = True
            self.end_headers()
            self.wfile.write(data)

    return ThreadingHTTPServer((host, port), Handler)
