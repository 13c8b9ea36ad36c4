"""Notes by itself that chrony or systemd-timesyncd disciplines the clock, and how far it may be off: `time.json`.

So that after the network is gone, or after a reboot with an RTC, the bound goes on from the last good moment. Asked
every ten minutes, in a thread of its own; nothing here touches the clock.
"""

from __future__ import annotations

import logging
import math
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from devices.shell.time_file import Source, kernel_error_ms, now_by, write

log = logging.getLogger("atoll.time")

EVERY_S = 600.0
TOOL_S = 5.0
SATELLITES = ("GNSS", "GPS", "PPS", "NMEA", "SHM", "SOCK")
"""How reference clocks are called in chrony.conf; ours is GNSS (controller/shell/service_files.py)."""
TRACKING = ("chronyc", "-c", "tracking")
TIMEDATE = ("timedatectl", "show", "--property=NTPSynchronized")
_FIELDS = 14

Ask = Callable[[Sequence[str]], str]
"""A command's words -> what it printed, empty where it is not there or failed."""


def said(words: Sequence[str]) -> str:
    """Returns what a tool prints, empty where it is not installed, fails or hangs."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=TOOL_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def tracked(line: str) -> tuple[Source, int] | None:
    """Returns source and error bound [ms] of `chronyc -c tracking`; None where chrony is not synchronised.

    The bound is |offset| + root dispersion + root delay / 2 (chronyc(1), `tracking`), rounded up.
    """
    fields = line.strip().split(",")
    if len(fields) != _FIELDS or fields[13] not in ("Normal", "Insert second", "Delete second"):
        return None
    try:
        offset, delay, dispersion = float(fields[4]), float(fields[10]), float(fields[11])
    except ValueError:
        return None
    error_s = abs(offset) + dispersion + delay / 2
    if not math.isfinite(error_s) or error_s < 0:
        return None
    name = fields[1].upper()
    return (Source.GNSS if name.startswith(SATELLITES) else Source.NTP), max(1, math.ceil(1000 * error_s))


def disciplined(ask: Ask = said, kernel: Callable[[], int | None] = kernel_error_ms) -> tuple[Source, int] | None:
    """Returns (source, error bound in ms) of the clock now; None where nothing disciplines it.

    The kernel has the last word: a daemon may run and not have set the clock yet. Where chrony is not there, its bound
    is the kernel's own (adjtimex maxerror), once timedatectl agrees or cannot be asked.
    """
    known = kernel()
    if known is None:
        return None
    found = tracked(ask(TRACKING))
    if found is not None:
        return found
    return None if "NTPSynchronized=no" in ask(TIMEDATE) else (Source.NTP, known)


class TimeKeeper:
    """Keeps `time.json` of a data directory while the clock is disciplined."""

    def __init__(self, folder: Path, look: Callable[[], tuple[Source, int] | None] = disciplined) -> None:
        """Writes nothing yet."""
        self._folder, self._look = folder, look
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="time", daemon=True)

    def note(self) -> bool:
        """Looks once and writes what is known; returns whether the clock is disciplined."""
        found = self._look()
        if found is None:
            return False
        try:
            write(self._folder, now_by(*found))
        except OSError as error:  # a full disk: records go first, and the next look is in ten minutes
            log.warning("event=time-not-noted error=%s", error)
        return True

    def start(self) -> None:
        """Looks now and then every ten minutes."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        self._thread.join(0.5)  # it may wait for a tool; it ends with the process

    def _run(self) -> None:
        self.note()
        while not self._stopping.wait(EVERY_S):
            self.note()
