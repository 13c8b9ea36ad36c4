"""`hub.sock`: how the command line asks the running hub. Requests: `{"ask": "status"}`, `{"ask": "hold", ...}`, ..."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from devices.shell.control_socket import ControlSocket, Unreachable
from devices.shell.control_socket import ask as ask_socket

__all__ = ["SOCKET_NAME", "ControlSocket", "HubUnreachable", "ask"]

SOCKET_NAME = "hub.sock"


class HubUnreachable(ConnectionError):
    """No hub answers on this data directory."""


def ask(data_dir: Path, request: Mapping[str, object], timeout_s: float = 5.0) -> Mapping[str, object]:
    """Returns the hub's answer to one request.

    Raises:
        HubUnreachable: there is no hub on this data directory, or it does not answer.
    """
    path = data_dir / SOCKET_NAME
    try:
        return ask_socket(path, request, timeout_s)
    except Unreachable as error:
        raise HubUnreachable(f"no hub answers at {path} ({error})") from error
