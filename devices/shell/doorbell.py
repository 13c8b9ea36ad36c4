"""A vehicle's process hears its gateway on the same machine without a broker: one datagram, never waited for.

The datagram is `topic NEWLINE payload`, as the broker would have brought it. Only the owner of the data directory may
send one (mode 0600).
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

from devices.events import Incoming
from devices.model import Message
from devices.shell.control_socket import bind_private, through_folder
from devices.shell.inbox import Inbox

DATAGRAM_MAX = 65_536


def bell_of(data_dir: Path, device: str) -> Path:
    """Returns where the process of a vehicle listens."""
    return data_dir / f"drone-{device}.bell"


def ring(path: Path, message: Message) -> None:
    """Sends a message to the process behind a doorbell; nobody there, or too busy, and it is gone."""
    data = message.topic.encode() + b"\n" + message.payload
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
        sender.setblocking(False)
        through_folder(path, lambda place: sender.sendto(data, place))


class Doorbell:
    """The vehicle's end: what arrives goes into its inbox as if the broker had brought it."""

    def __init__(self, path: Path, inbox: Inbox[Any]) -> None:
        """Binds the socket; a stale file of a killed process is replaced.

        Raises:
            OSError: the folder cannot be written.
        """
        self._path, self._inbox = path, inbox
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        bind_private(self._socket, path)
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)

    def start(self) -> None:
        """Starts to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and removes the file."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _run(self) -> None:
        while True:
            try:
                data = self._socket.recv(DATAGRAM_MAX)
            except OSError:
                return  # stopped
            topic, mark, payload = data.partition(b"\n")
            if not data or not mark:
                return
            self._inbox.force(Incoming(topic.decode(errors="replace"), payload))
