"""The wire to an aircraft: a UDP port or a serial radio, read in a thread into an inbox. Nothing that comes raises.

Endpoints as ground stations write them: `udpin:HOST:PORT` listens (SITL and WiFi links send there), `udpout:HOST:PORT`
speaks first, `serial:PATH:BAUD` is a telemetry radio.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
from typing import Any

import serial

from devices.mavlink_codec import Codec, Frame
from devices.mavlink_values import GROUND
from devices.shell.inbox import Inbox

log = logging.getLogger("atoll.drone")

DATAGRAM_MAX = 4096
WAKE_S = 0.5
REOPEN_S = 1.0
DEFAULT_BAUD = 57_600


class BadEndpoint(ValueError):
    """An endpoint that names no wire."""


class Radio:
    """One link to one aircraft; decoded frames go into the inbox, `send` may be called from any thread."""

    def __init__(self, endpoint: str, inbox: Inbox[Any]) -> None:
        """Opens a UDP port at once; a serial port is opened when it is there, and again after it was gone.

        Raises:
            BadEndpoint: not udpin:HOST:PORT, udpout:HOST:PORT or serial:PATH[:BAUD].
            OSError: the UDP port cannot be bound.
        """
        self.codec = Codec(*GROUND)
        self._inbox = inbox
        self._stopping = threading.Event()
        self._socket: socket.socket | None = None
        self._peer: tuple[str, int] | None = None
        self._port: serial.Serial | None = None
        self._path, self._baud = "", DEFAULT_BAUD
        kind, _, rest = endpoint.partition(":")
        if kind in ("udpin", "udpout"):
            host, _, port = rest.rpartition(":")
            if not host or not port.isdigit() or not 0 <= int(port) <= 65535:
                raise BadEndpoint(f"endpoint {endpoint!r}: write {kind}:HOST:PORT, as in udpin:0.0.0.0:14550")
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            if kind == "udpin":
                self._socket.bind((host, int(port)))
            else:
                self._peer = (host, int(port))
        elif kind == "serial" and rest:
            path, _, baud = rest.rpartition(":")
            self._path, self._baud = (path, int(baud)) if path and baud.isdigit() else (rest, DEFAULT_BAUD)
        else:
            raise BadEndpoint(f"endpoint {endpoint!r}: write udpin:HOST:PORT, udpout:HOST:PORT or serial:PATH:BAUD")
        self._thread = threading.Thread(target=self._run, name="radio", daemon=True)

    @property
    def port(self) -> int:
        """Returns the UDP port that it listens on (0 for a serial radio)."""
        return 0 if self._socket is None else self._socket.getsockname()[1]

    def start(self) -> None:
        """Starts to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and gives the wire back."""
        self._stopping.set()
        self._thread.join(3 * WAKE_S)
        if self._socket is not None:
            self._socket.close()
        if self._port is not None:
            self._port.close()

    def send(self, frames: list[Frame]) -> None:
        """Sends frames; without a peer or a port they are lost, as on any radio."""
        data = [self.codec.encode(frame) for frame in frames]
        with contextlib.suppress(OSError):  # a wire that is gone; serial.SerialException is an OSError
            for packet in data:
                if self._socket is not None and self._peer is not None:
                    self._socket.sendto(packet, self._peer)
                elif self._port is not None:
                    self._port.write(packet)

    # -- the radio's thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            data = self._datagram() if self._socket is not None else self._serial()
            if data:
                self._inbox.put_all(self.codec.decode(data))

    def _datagram(self) -> bytes:
        assert self._socket is not None, "_run has looked"
        try:
            ready, _, _ = select.select([self._socket], [], [], WAKE_S)
            if not ready:
                return b""
            data, self._peer = self._socket.recvfrom(DATAGRAM_MAX)
        except OSError:  # nobody listens at the peer (ICMP), or the socket is closed
            self._stopping.wait(0.05)
            return b""
        return data

    def _serial(self) -> bytes:
        try:
            if self._port is None:
                self._port = serial.Serial(self._path, self._baud, timeout=WAKE_S, write_timeout=WAKE_S, exclusive=True)
            return self._port.read(max(1, min(self._port.in_waiting, DATAGRAM_MAX)))
        except (OSError, ValueError) as error:
            log.warning("event=radio-gone port=%s error=%s", self._path, error)
            if self._port is not None:
                self._port.close()
            self._port = None
            self._stopping.wait(REOPEN_S)
            return b""
