"""Where devices are wired to: `host:port` (Modbus TCP) or `rtu:/dev/serial/by-id/...?baud=9600&parity=N&stop=1`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

RTU = "rtu:"
BAUDS = (1200, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600, 115200)
PARITIES = ("N", "E", "O")
PORT_MAX = 65535


class BadEndpoint(ValueError):
    """A text that names no bus; the message says what is wrong with it and what to write."""


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """A Modbus TCP server."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class SerialEndpoint:
    """A serial port with its line settings; always 8 data bits (RTU)."""

    path: str
    baud: int = 9600
    parity: str = "N"
    stop: int = 1

    @property
    def settings(self) -> str:
        """Returns the settings as technicians write them: `9600 8N1`."""
        return f"{self.baud} 8{self.parity}{self.stop}"

    @property
    def character_s(self) -> float:
        """Returns how long one character takes on the line [s]."""
        return (1 + 8 + (self.parity != "N") + self.stop) / self.baud

    def __str__(self) -> str:
        return f"{RTU}{self.path}?baud={self.baud}&parity={self.parity}&stop={self.stop}"


Endpoint = TcpEndpoint | SerialEndpoint


def parse_endpoint(text: str) -> Endpoint:
    """Returns what an endpoint text names.

    Raises:
        BadEndpoint: it names nothing.
    """
    return _serial(text.removeprefix(RTU)) if text.startswith(RTU) else _tcp(text)


def _tcp(text: str) -> TcpEndpoint:
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"\d{1,5}", port) or not 0 < int(port) <= PORT_MAX:
        raise BadEndpoint(f"{text!r} is no endpoint: write HOST:PORT, or rtu:/dev/serial/by-id/NAME?baud=9600&parity=N")
    return TcpEndpoint(host or "127.0.0.1", int(port))


def _serial(text: str) -> SerialEndpoint:
    path, _, query = text.partition("?")
    if not path.startswith("/"):
        raise BadEndpoint(f"{path!r} is no serial port: give the whole path, best below /dev/serial/by-id/")
    given = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(given.keys() - {"baud", "parity", "stop"})
    if unknown:
        raise BadEndpoint(f"unknown line setting {', '.join(unknown)}: there are baud, parity and stop")
    baud = _choice("baud", given.get("baud", "9600"), [str(b) for b in BAUDS])
    parity = _choice("parity", given.get("parity", "N").upper(), PARITIES)
    stop = _choice("stop", given.get("stop", "1"), ["1", "2"])
    return SerialEndpoint(path, int(baud), parity, int(stop))


def _choice(name: str, value: str, allowed: list[str] | tuple[str, ...]) -> str:
    if value not in allowed:
        raise BadEndpoint(f"{name}={value}: must be one of {', '.join(allowed)}")
    return value
