"""What every home wanted and got, day by day (UTC)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from devices.clock import Instant
from devices.model import DeviceId
from devices.simulated import HomeDay
from firmware_sim.machines import wh
from firmware_sim.water import Water, millilitres

HOME_DAYS_MAX = 40_000
"""About seven years of fourteen homes; then days are no longer kept."""


class HomeSums(Protocol):
    """A home's energies since the start [W ms]."""

    id: DeviceId
    demanded: int
    served: int


@dataclass(slots=True)
class DayBook:
    """Days that are over, and where each home's sums stood when the present day began."""

    start: int = 0
    marks: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    done: list[HomeDay] = field(default_factory=list[HomeDay])

    def close(self, homes: Sequence[HomeSums], waters: Sequence[Water], next_day: Instant) -> None:
        """Ends the day; sums must be settled."""
        if len(self.done) < HOME_DAYS_MAX:
            self.done.extend(self.today(homes, waters))
        self.marks = {home.id: _sums(home, waters) for home in homes}
        self.start = next_day

    def today(self, homes: Sequence[HomeSums], waters: Sequence[Water]) -> list[HomeDay]:
        """Returns the day that runs, so far."""
        rows: list[HomeDay] = []
        for home in homes:
            before = self.marks.get(home.id, [0, 0, 0, 0])
            a, b, c, d = (new - old for new, old in zip(_sums(home, waters), before, strict=True))
            rows.append(HomeDay(home.id, Instant(self.start), a, b, c, d))
        return rows


def _sums(home: HomeSums, waters: Sequence[Water]) -> list[int]:
    """Returns what a home has wanted and got since the start: Wh, Wh, mL, mL."""
    taps = [(water, i) for water in waters for i, name in enumerate(water.names) if name.split(".")[0] == home.id]
    wanted, got = sum(water.demanded[i] for water, i in taps), sum(water.delivered[i] for water, i in taps)
    return [wh(home.demanded), wh(home.served), millilitres(wanted), millilitres(got)]
