"""A process's control socket: one JSON object per line, each way, over a Unix socket that only its owner may open.

Used for `hub.sock` and `gateway.sock`. Whoever may open the file (mode 0600, the data directory's owner) is an
operator. Limits before parsing: 1 MiB a line (a charter with a year of coefficients), 8 connections.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

LINE_MAX = 1 << 20
CONNECTIONS_MAX = 8

Handler = Callable[[Mapping[str, object]], Mapping[str, object]]


class Unreachable(ConnectionError):
    """Nobody answers at this socket."""


class ControlSocket:
    """The process's end: answers each line by calling `handler` in the connection's own thread."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)

    def start(self) -> None:
        """Binds the socket (a stale file of a killed process is replaced) and serves in a daemon thread."""
        bind_private(self._server, self._path)
        self._server.listen(CONNECTIONS_MAX)
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def stop(self) -> None:
        """Closes the socket and removes its file."""
        self._server.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return  # stopped
            if not self._slots.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), name="control-client", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(10)
                stream = connection.makefile("rwb")
                while line := stream.readline(LINE_MAX + 1):
                    stream.write(json.dumps(self._answer(line)).encode() + b"\n")
                    stream.flush()
                    if len(line) > LINE_MAX:
                        return  # what follows is the rest of that line
        except OSError:
            pass  # the asker went away
        finally:
            self._slots.release()

    def _answer(self, line: bytes) -> Mapping[str, object]:
        if len(line) > LINE_MAX:
            return {"error": f"the request is longer than {LINE_MAX} bytes"}
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "not a JSON line"}
        return self._handler(request) if isinstance(request, dict) else {"error": "not a JSON object"}  # pyright: ignore[reportUnknownArgumentType]


def ask(path: Path, request: Mapping[str, object], timeout_s: float = 5.0) -> Mapping[str, object]:
    """Returns the answer of the process behind a socket to one request.

    Raises:
        Unreachable: nobody listens there, or nobody answers.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_s)
        try:
            through_folder(path, client.connect)
            _send(client, json.dumps({**request, "user": getpass.getuser()}).encode() + b"\n")
            line = client.makefile("rb").readline()
        except OSError as error:
            raise Unreachable(str(error)) from error
    answer = json.loads(line) if line else None
    if not isinstance(answer, dict):
        raise Unreachable("the connection was closed")
    return answer  # pyright: ignore[reportUnknownVariableType]


def _send(client: socket.socket, line: bytes) -> None:
    """Sends a request; where it is too long the other end has answered and closed, and the answer says so."""
    try:
        client.sendall(line)
    except BrokenPipeError:
        if len(line) <= LINE_MAX:
            raise


def bind_private(server: socket.socket, path: Path) -> None:
    """Binds a Unix socket that only the owner may open; a stale file of a killed process is replaced.

    Raises:
        OSError: the folder cannot be written.
    """
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        through_folder(path, server.bind)
    finally:
        os.umask(before)


def through_folder(path: Path, call: Callable[[str], object]) -> None:
    """Calls with a name for `path` that fits: a Unix socket name holds 107 bytes, a data directory may be deeper."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        call(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
