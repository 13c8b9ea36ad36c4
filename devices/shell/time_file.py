"""What is known of this machine's clock: where its time came from, how far it may be off by now. Kept in `time.json`.

A Pi 4 has no clock of its own: after a power cut it goes on from a file, behind by as long as it was off. So what was
known before a reboot counts only where a battery-backed clock (RTC) went on meanwhile.
"""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from devices.bounded_json import BadJson, parse
from devices.clock import ClockQuality
from devices.shell.run_clock import HOLDOVER_MS_MAX, boot_id, write_whole

TIME = "time.json"
CRYSTAL_PPM = 100
"""How far a computer's own crystal may be off, warm or cold, with nobody disciplining it (8.6 s a day)."""
RTC_PPM = 30
"""An RTC module with a bare 32 kHz crystal (2.6 s a day); one that compensates for temperature is far better."""
MICROS_PER_MS = 1_000
RTC = Path("/sys/class/rtc/rtc0/since_epoch")
_MAXERROR = 3
"""`struct timex` in words of 8 bytes: modes, offset, freq, maxerror (in microseconds)."""


class Source(StrEnum):
    """Where the time came from."""

    NTP = "ntp"
    GNSS = "gnss"
    RTC = "rtc"
    HAND = "hand"


SOURCES = tuple(source.value for source in Source)


@dataclass(frozen=True, slots=True)
class Evidence:
    """At `wall_ms` the clock was right within `error_ms`, by this source."""

    source: Source
    wall_ms: int
    error_ms: int
    monotonic_ms: int
    boot: str
    rtc: bool  # a battery-backed clock was set to it, too

    def bound_ms(self, wall_ms: int, monotonic_ms: int, boot: str) -> int | None:
        """Returns how far the clock may be off by now; None where nobody can say."""
        if boot == self.boot:
            return self.error_ms + max(0, monotonic_ms - self.monotonic_ms) * CRYSTAL_PPM // 1_000_000
        if not self.rtc or wall_ms < self.wall_ms:
            return None
        return self.error_ms + 1_000 + (wall_ms - self.wall_ms) * RTC_PPM // 1_000_000


def read(folder: Path) -> Evidence | None:
    """Returns what is known, None where nothing is (or the file is damaged: the same)."""
    try:
        content = parse((folder / TIME).read_bytes())
    except (OSError, BadJson):
        return None
    match content:
        case {"source": str() as source, "wall_ms": int() as wall, "error_ms": int() as error,
              "monotonic_ms": int() as monotonic, "boot": str() as boot, "rtc": bool() as rtc}:  # fmt: skip
            return Evidence(Source(source), wall, error, monotonic, boot, rtc) if source in SOURCES else None
        case _:
            return None


def write(folder: Path, evidence: Evidence) -> None:
    """Keeps it."""
    write_whole(folder / TIME, json.dumps(asdict(evidence)) + "\n")


def now_by(source: Source, error_ms: int) -> Evidence:
    """Returns that this machine's clock is right now, within an error."""
    return Evidence(
        source, time.time_ns() // 1_000_000, error_ms, time.monotonic_ns() // 1_000_000, boot_id(), RTC.exists()
    )


def bound_now(folder: Path) -> Callable[[], int | None]:
    """Returns what a clock asks: how far it may be off at this moment by what `folder` knows."""
    boot = boot_id()

    def bound() -> int | None:
        known = read(folder)
        now = time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000
        return None if known is None else known.bound_ms(*now, boot)

    return bound


def bound_once_known(folder: Path) -> Callable[[], int | None]:
    """Returns as `bound_now`, but 0 while nothing was ever noted: then nobody has claimed anything of this clock."""
    bound = bound_now(folder)
    return lambda: bound() if (folder / TIME).exists() else 0


def kernel_error_ms() -> int | None:
    """Returns how far the kernel's clock may be off where something disciplines it (adjtimex), else None."""
    words = (ctypes.c_long * 64)()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(words))
    except (OSError, AttributeError):
        return None
    return int(words[_MAXERROR]) // MICROS_PER_MS if 0 <= state < 5 else None


def rtc_offset_ms(path: Path = RTC) -> int | None:
    """Returns RTC minus clock, None without an RTC. An RTC counts whole seconds."""
    try:
        return int(path.read_text("ascii")) * 1_000 - time.time_ns() // 1_000_000
    except (OSError, ValueError):
        return None


def quality(kernel_ms: int | None, bound_ms: int | None) -> ClockQuality:
    """Returns how far a clock may be trusted: disciplined, known within a bound, or neither."""
    if kernel_ms is not None:
        return ClockQuality.SYNCHRONISED
    known = bound_ms is not None and bound_ms <= HOLDOVER_MS_MAX
    return ClockQuality.HOLDOVER if known else ClockQuality.UNKNOWN
