"""A load on a relay behind a home's meter."""

from __future__ import annotations

from dataclasses import dataclass

from devices.model import DeviceId, DeviceSpec
from firmware_sim.machines import NEVER, simulated


@dataclass(slots=True)
class Switched:
    """One relay and what it feeds; `meter` is the index of the home it is in."""

    id: DeviceId
    meter: int
    rated_w: int
    keep_alive_ms: int
    on: bool = False
    lease_until: int = NEVER

    @classmethod
    def of(cls, spec: DeviceSpec, meter: int, keep_alive_ms: int) -> Switched:
        """Returns the load of a site."""
        return cls(spec.id, meter, round(simulated(spec, "power_w", 0.0)), keep_alive_ms)

    @property
    def power_w(self) -> int:
        """Returns what it takes."""
        return self.rated_w if self.on else 0

    def switch(self, on: bool, now: int) -> None:
        """Takes a command, good for the keep-alive time."""
        self.on = on
        self.lease_until = now + self.keep_alive_ms if self.keep_alive_ms else NEVER

    def expire(self, now: int) -> None:
        """Drops when nobody has written for the keep-alive time."""
        if now >= self.lease_until:
            self.on, self.lease_until = False, NEVER
