"""How often a hub may start before it starts in safe mode: telemetry and console, no commands, no plans.

A hub that dies again and again is more dangerous than one that only looks: every start sends setpoints. The count
stands on the disk, so it holds under systemd, under `atoll run all` and after a watchdog's kill alike.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from devices.bounded_json import BadJson, parse
from devices.shell.run_clock import write_whole

STARTS = "starts.json"
STARTS_MAX = 5
WINDOW_S = 600.0
SAFE_S = 1_800.0
"""A hub in safe mode tries again by itself after so long; a clean restart by a person does so at once."""


@dataclass(frozen=True, slots=True)
class StartBudget:
    """The starts of one hub that did not end cleanly."""

    folder: Path
    starts_max: int = STARTS_MAX
    window_s: float = WINDOW_S

    def begin(self, monotonic_s: float, boot: str) -> bool:
        """Notes a start; returns whether it is one too many, so that this run must be a safe one.

        The window counts within one boot of the machine; a reboot (by the hardware's watchdog, say) counts as `now`.
        """
        at = round(monotonic_s, 3)
        starts = [start for start in self._starts(boot) if start <= at and at - start < self.window_s]
        starts.append(at)
        write_whole(self.folder / STARTS, json.dumps({"boot": boot, "starts": starts[-2 * self.starts_max :]}) + "\n")
        return len(starts) > self.starts_max

    def clean(self) -> None:
        """A clean end: the next start has its whole budget."""
        (self.folder / STARTS).unlink(missing_ok=True)

    def _starts(self, boot: str) -> list[float]:
        try:
            content = parse((self.folder / STARTS).read_bytes())
        except (FileNotFoundError, BadJson):
            return []
        match content:
            case {"boot": str() as then, "starts": list() as starts} if then == boot:
                return [float(start) for start in cast("list[object]", starts) if isinstance(start, int | float)]
            case {"starts": list() as starts}:
                return [0.0] * len(cast("list[object]", starts))
            case _:
                return []
