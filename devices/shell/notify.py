"""What a process tells systemd: that it is ready, and that it has completed another cycle. Without systemd: nothing.

The watchdog is fed by a completed cycle and by nothing else: no thread, no timer. A loop that hangs, or a process that
is stopped, goes quiet and is started again.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

log = logging.getLogger("atoll.notify")

FEEDS_PER_PERIOD = 5
"""The watchdog is fed at most so often within its period: one late cycle must not look like a hang."""


class Heartbeat:
    """The datagrams of `sd_notify(3)`, from the environment that systemd gave to this very process."""

    def __init__(
        self, environment: Mapping[str, str] | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; a child that inherited them stays quiet."""
        found = os.environ if environment is None else environment
        period = found.get("WATCHDOG_USEC", "")
        meant_for = found.get("WATCHDOG_PID", "")
        inherited = meant_for.isdecimal() and int(meant_for) != os.getpid()
        self._address = "" if inherited else found.get("NOTIFY_SOCKET", "")
        self._every_s = int(period) / 1e6 / FEEDS_PER_PERIOD if period.isdecimal() else None
        self._monotonic = monotonic
        self._ready = False
        self._fed_at = float("-inf")

    @property
    def watched(self) -> bool:
        """Returns whether somebody waits for our cycles."""
        return bool(self._address) and self._every_s is not None

    def cycle(self, status: str = "") -> None:
        """A cycle is complete: says so; the first one makes the service ready."""
        if not self._address:
            return
        if not self._ready:
            self._ready = True
            self._send("READY=1", f"STATUS={status or 'running'}")
        now = self._monotonic()
        if self._every_s is not None and now - self._fed_at >= self._every_s:
            self._fed_at = now
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """A clean end has begun."""
        if self._address:
            self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        name = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
                door.setblocking(False)
                door.sendto("\n".join(lines).encode(), name)
        except OSError as error:  # nobody reads: the watchdog will find out, and a full queue must not stop the loop
            log.warning("event=notify-failed text=%s", error)
