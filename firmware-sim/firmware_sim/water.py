"""A tank with households' taps. Volumes in mL/900000, because demand comes as mL per 15 min."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from devices.clock import SLOT_MS
from devices.model import DeviceSpec
from firmware_sim.machines import rating, simulated

PER_ML: Final = SLOT_MS
"""One mL in this module's unit: mL per slot is then the flow per ms."""
MINUTES_PER_SLOT: Final = SLOT_MS // 60_000


def millilitres(volume: int) -> int:
    """Returns a volume as whole mL, rounded down."""
    return volume // PER_ML


@dataclass(slots=True)
class Water:
    """A tank with one meter per channel; what it cannot serve is unserved."""

    capacity: int
    level: int
    names: tuple[str, ...]
    registers: list[int]
    columns: tuple[int, ...] = ()  # of the profile, by channel; empty where it has none
    demand: list[int] = field(default_factory=list[int])  # per ms = mL in the slot
    served: list[int] = field(default_factory=list[int])  # per ms at present
    demanded: list[int] = field(default_factory=list[int])  # sums
    delivered: list[int] = field(default_factory=list[int])
    since: int = 0
    demand_total: int = 0
    served_total: int = 0
    irrigation: int = 0  # wanted per ms
    irrigated: int = 0  # sum
    leak: int = 0  # per ms
    full: bool = False

    @classmethod
    def of(
        cls, tank: DeviceSpec | None, names: Sequence[str], columns: Sequence[int], start: int, offsets: Sequence[int]
    ) -> Water:
        """Returns the taps on one tank; without a tank they have a small full one (all is served)."""
        volume_l, level = (rating(tank, "volume_l", 10_000), simulated(tank, "level", 0.6)) if tank else (1e6, 1.0)
        capacity = round(volume_l * 1000) * PER_ML
        n = len(names)
        registers = [offset * PER_ML for offset in offsets[:n]]
        held = round(level * 1_000_000) * (capacity // 1_000_000)
        water = cls(capacity, held, tuple(names), registers, tuple(columns))
        water.demand, water.served, water.demanded, water.delivered = [0] * n, [0] * n, [0] * n, [0] * n
        water.since = start
        return water

    def new_slot(self, demand: list[int], now: int) -> None:
        """Takes the slot's demand [mL per channel]."""
        self._serve(demand, demand, now)

    def _serve(self, demand: list[int], served: list[int], now: int) -> None:
        self.settle(now)
        self.demand, self.served = demand, served
        self.demand_total, self.served_total = sum(demand), sum(served)

    def settle(self, now: int) -> None:
        """Brings the sums and registers up to `now` at the present flows."""
        duration = now - self.since
        if duration:
            for i, flow in enumerate(self.served):
                self.registers[i] += flow * duration
                self.delivered[i] += flow * duration
                self.demanded[i] += self.demand[i] * duration
            self.since = now

    def register_ml(self, channel: int, now: int) -> int:
        """Returns a meter's cumulative mL at `now` without changing anything."""
        return (self.registers[channel] + self.served[channel] * (now - self.since)) // PER_ML

    def run(self, inflow: int, now: int, duration_ms: int) -> None:
        """Runs the tank from `now` for that long; taps come before irrigation, and all share what there is."""
        available = self.level + inflow * duration_ms - self.leak * duration_ms
        need = self.demand_total * duration_ms
        if available < need:
            self._short(max(available, 0), need, now)
        elif self.served_total != self.demand_total:
            self._serve(self.demand, self.demand, now)
        available -= self.served_total * duration_ms
        field_water = min(self.irrigation * duration_ms, max(available, 0))
        self.irrigated += field_water
        self.level = min(max(available - field_water, 0), self.capacity)
        self.full = self.level >= self.capacity

    def _short(self, available: int, need: int, now: int) -> None:
        served = [flow * available // need for flow in self.demand]
        self._serve(self.demand, served, now)

    @property
    def fraction(self) -> float:
        """Returns the level, 0-1."""
        return self.level / self.capacity
