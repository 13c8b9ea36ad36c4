"""Where `now` comes from: a shared scaled clock for the demo, the guarded wall clock in production.

Every process of a run derives the same now = epoch + speed x (CLOCK_MONOTONIC - anchor) from `run.json`, so deadlines
and leases scale together and no wall clock step is seen.
"""

from __future__ import annotations

import ctypes
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from devices.bounded_json import BadJson, parse
from devices.clock import SLOT_MS, ClockQuality, Instant

FLOOR_REAL_MS = 500
"""No communication deadline lasts less real time than this, whatever the speed."""

RUN_FILE = "run.json"


class BadRunFile(ValueError):
    """run.json does not hold a run."""


class Clock(Protocol):
    """What a shell asks for the time."""

    speed: float

    def now(self) -> Instant:
        """Returns the instant, never an earlier one than before."""
        ...

    def quality(self) -> ClockQuality:
        """Returns how far `now` may be trusted."""
        ...

    def real_seconds_until(self, instant: Instant) -> float:
        """Returns how long to wait in real seconds, 0 for an instant that has passed."""
        ...


@dataclass(frozen=True, slots=True)
class RunFile:
    """`run.json`: the clock of a run and where its parts are.

    `endpoints` maps the site's `host:port` to those really used; `stopped_ms` is where the next start begins: the clean
    stop, or while it runs an instant a little ahead.
    """

    epoch_ms: Instant
    anchor_ns: int
    speed: float
    boot: str
    broker: str = ""
    endpoints: Mapping[str, str] = field(default_factory=dict[str, str])
    console: str = ""
    stopped_ms: Instant | None = None

    @property
    def deadline_floor_ms(self) -> int:
        """Returns 500 ms of real time in ms of this run."""
        return round(FLOOR_REAL_MS * self.speed)

    def write(self, path: Path) -> None:
        """Writes the file whole or not at all."""
        value = {
            "epoch_ms": self.epoch_ms,
            "anchor_ns": self.anchor_ns,
            "speed": self.speed,
            "boot": self.boot,
            "broker": self.broker,
            "endpoints": dict(self.endpoints),
            "console": self.console,
        }
        if self.stopped_ms is not None:
            value["stopped_ms"] = self.stopped_ms
        write_whole(path, json.dumps(value, indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> RunFile:
        """Reads the file.

        Raises:
            FileNotFoundError: there is no run.
            BadRunFile: not a run.
        """
        try:
            value = parse(path.read_bytes())
        except BadJson as error:
            raise BadRunFile(f"{path}: {error}; remove it and start again") from None
        match value:
            case {
                "epoch_ms": int() as epoch,
                "anchor_ns": int() as anchor,
                "speed": (int() | float()) as speed,
                "boot": str() as boot,
                **rest,
            } if speed > 0:
                texts = {name: entry for name in ("broker", "console") if isinstance(entry := rest.get(name), str)}
                named = rest.get("endpoints")
                endpoints = (
                    {key: entry for key, entry in named.items() if isinstance(entry, str)}
                    if isinstance(named, dict)
                    else {}
                )
                stopped = rest.get("stopped_ms")
                return cls(
                    epoch_ms=Instant(epoch),
                    anchor_ns=anchor,
                    speed=float(speed),
                    boot=boot,
                    endpoints=endpoints,
                    stopped_ms=Instant(stopped) if type(stopped) is int else None,
                    **texts,
                )
            case _:
                raise BadRunFile(f"{path}: want epoch_ms, anchor_ns, speed and boot; remove it and start again")

    def endpoint(self, configured: str) -> str:
        """Returns the `host:port` really used for one of the site file."""
        return self.endpoints.get(configured, configured)


def boot_id() -> str:
    """Returns what is the same until the machine restarts (and CLOCK_MONOTONIC with it)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "unknown"


def write_whole(path: Path, text: str) -> None:
    """Replaces a file so that a reader or a power cut finds the old or the new one."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


class RunClock:
    """The scaled clock of one run; equal in all its processes."""

    def __init__(self, run: RunFile, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Follows `run`; nothing here reads the wall clock."""
        self.speed = run.speed
        self._epoch = run.epoch_ms
        self._anchor = run.anchor_ns
        self._monotonic_ns = monotonic_ns

    @classmethod
    def start(
        cls,
        path: Path,
        at: Instant,
        speed: float,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> tuple[RunClock, RunFile]:
        """Starts a run at `at`, or later where the run before in this file got further, and writes the file.

        A run that was killed left no `stopped_ms`: hand in the latest instant that the stores know as `at`.
        """
        try:
            before = RunFile.read(path)
        except (FileNotFoundError, BadRunFile):
            reached = at
        else:
            reached = max(at, before.epoch_ms, before.stopped_ms or before.epoch_ms)
        run = RunFile(Instant(reached), monotonic_ns(), speed, boot_id())
        run.write(path)
        return cls(run, monotonic_ns), run

    @classmethod
    def join(cls, path: Path) -> tuple[RunClock, RunFile]:
        """Returns the clock of the run that another process started.

        Raises:
            FileNotFoundError: there is no run.
            BadRunFile: not a run, or one from before the machine restarted.
        """
        run = RunFile.read(path)
        if run.boot != boot_id():
            raise BadRunFile(f"{path}: that run ended when the machine restarted; start it again")
        return cls(run), run

    def now(self) -> Instant:
        """Returns the instant of the run."""
        return Instant(self._epoch + int((self._monotonic_ns() - self._anchor) * self.speed) // 1_000_000)

    def quality(self) -> ClockQuality:
        """Returns synchronised: the run's time is its own."""
        return ClockQuality.SYNCHRONISED

    def real_seconds_until(self, instant: Instant) -> float:
        """Returns real seconds until `instant`, at least 0."""
        return max(0.0, (instant - self.now()) / self.speed / 1000)


def stop_run(path: Path, now: Instant) -> None:
    """Notes how far the run got, so that the next start goes on from `now` at the earliest."""
    replace(RunFile.read(path), stopped_ms=now).write(path)


STEP_MS = 1_000
UNKNOWN_MS = 60_000
HOLDOVER_MS_MAX = SLOT_MS * 3 // 100
"""A clock that may be further off than 3 % of a slot (27 s) says unknown."""
SLEW = 0.1
PLAUSIBLE = Instant(1_767_225_600_000)
"""2026-01-01: a wall clock before this was never set (a Pi without battery starts in the past)."""


class WallClock:
    """The wall clock for production: forward steps are followed, a step back is never seen.

    After a step back `now` goes on from where it was at nine tenths of the pace until the wall clock has caught up;
    the quality says so meanwhile. At most 60 s apart counts as holdover, further as unknown.
    """

    def __init__(
        self,
        floor: Instant = Instant(0),  # noqa: B008 - a number
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        synchronised: Callable[[], bool] | None = None,
        known: Callable[[], int | None] | None = None,
    ) -> None:
        """Starts at the wall clock, or at `floor` (the latest instant that the stores know) when that is later.

        `known` says how many ms the wall clock may be off (None: nobody can say) where nothing synchronises it;
        without `known`, that is taken for a short holdover.
        """
        self.speed = 1.0
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._synchronised = synchronised or kernel_synchronised
        self._known = known
        self._lock = threading.Lock()
        self._monotonic = monotonic_ns()
        self._now_ns = max(wall_ns(), floor * 1_000_000)

    def now(self) -> Instant:
        """Returns the instant, never an earlier one than before."""
        with self._lock:
            monotonic, wall = self._monotonic_ns(), self._wall_ns()
            elapsed = max(0, monotonic - self._monotonic)
            self._monotonic = monotonic
            ahead = self._now_ns + elapsed - wall
            if ahead <= 0:
                self._now_ns = wall
            else:
                self._now_ns += elapsed - min(ahead, int(elapsed * SLEW))
            return Instant(self._now_ns // 1_000_000)

    def quality(self) -> ClockQuality:
        """Returns unknown for a clock never set or far off, holdover for one that nobody synchronises or near by."""
        now = self.now()
        ahead_ms = now - self._wall_ns() // 1_000_000
        if now < PLAUSIBLE or ahead_ms > UNKNOWN_MS:
            return ClockQuality.UNKNOWN
        if not self._synchronised():
            off_ms = 0 if self._known is None else self._known()
            return ClockQuality.UNKNOWN if off_ms is None or off_ms > HOLDOVER_MS_MAX else ClockQuality.HOLDOVER
        if ahead_ms > STEP_MS:
            return ClockQuality.HOLDOVER
        return ClockQuality.SYNCHRONISED

    def real_seconds_until(self, instant: Instant) -> float:
        """Returns seconds until `instant`, at least 0."""
        return max(0.0, (instant - self.now()) / 1000)


def kernel_synchronised() -> bool:
    """Returns whether the kernel counts its clock as synchronised (adjtimex does not answer TIME_ERROR)."""
    timex = ctypes.create_string_buffer(512)  # struct timex is 208 bytes; modes 0 only asks
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except (OSError, AttributeError):
        return False
    return 0 <= state < 5
