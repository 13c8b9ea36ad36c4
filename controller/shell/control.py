"""`hub.sock`: how the command line asks the running hub; one JSON object per line, each way.

Whoever may open the socket file (mode 0600, the data directory's owner) is an operator. Requests: `{"ask": "status"}`,
`{"ask": "hold" | "release" | "acknowledge", ...}`. Limits before parsing: 64 KiB a line, 8 connections.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

LINE_MAX = 65_536
CONNECTIONS_MAX = 8
SOCKET_NAME = "hub.sock"

Handler = Callable[[Mapping[str, object]], Mapping[str, object]]


class HubUnreachable(ConnectionError):
    """No hub answers on this data directory."""


class ControlSocket:
    """The hub's end: answers each line by calling `handler` in the connection's own thread."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)

    def start(self) -> None:
        """Binds the socket (a stale file of a killed hub is replaced) and serves in a daemon thread."""
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            _bind(self._server, self._path)
        finally:
            os.umask(before)
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
                while line := stream.readline(LINE_MAX):
                    stream.write(json.dumps(self._answer(line)).encode() + b"\n")
                    stream.flush()
        except OSError:
            pass  # the asker went away
        finally:
            self._slots.release()

    def _answer(self, line: bytes) -> Mapping[str, object]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "not a JSON line"}
        return self._handler(request) if isinstance(request, dict) else {"error": "not a JSON object"}  # pyright: ignore[reportUnknownArgumentType]


def ask(data_dir: Path, request: Mapping[str, object], timeout_s: float = 5.0) -> Mapping[str, object]:
    """Returns the hub's answer to one request.

    Raises:
        HubUnreachable: there is no hub on this data directory, or it does not answer.
    """
    path = data_dir / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_s)
        try:
            _connect(client, path)
            client.sendall(json.dumps({**request, "user": getpass.getuser()}).encode() + b"\n")
            line = client.makefile("rb").readline()
        except OSError as error:
            raise HubUnreachable(f"no hub answers at {path} ({error})") from error
    answer = json.loads(line) if line else None
    if not isinstance(answer, dict):
        raise HubUnreachable(f"the hub at {path} closed the connection")
    return answer  # pyright: ignore[reportUnknownVariableType]


def _bind(server: socket.socket, path: Path) -> None:
    """Binds by a path that fits: a Unix socket name holds 107 bytes, a data directory may be deeper."""
    _through_folder(path, server.bind)


def _connect(client: socket.socket, path: Path) -> None:
    _through_folder(path, client.connect)


def _through_folder(path: Path, call: Callable[[str], None]) -> None:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        call(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
