"""What the console must be told; made by the hub's shell from the site and the command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller.console.auth import Sessions

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


@dataclass(frozen=True, slots=True)
class ConsoleConfig:
    """Settings of the console.

    `hosts` are the names (without port) by which browsers may call it: everything else is refused, which
    stops DNS rebinding. `open_viewing`: whoever reaches the console may look without signing in.
    `clock_s` is real time, never simulated time: it counts sessions and login delays.
    """

    sessions: Sessions
    hosts: frozenset[str] = LOOPBACK
    open_viewing: bool = True
    clock_s: Callable[[], float] = time.time
    streams_max: int = 100
    streams_max_per_client: int = 5
    tiles: Path | None = None  # where the hub writes the log's tiles
    stream_period_s: float = 1.0  # at most one live update per period
    hold_minutes_max: int = 24 * 60
