"""A hot-water tank or a cold room: heat (or cold) above what its surroundings have, lost, drawn, and put in by power.

Whole numbers only, as in `machines`: energy in millionths of a W ms (uWms).
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.clock import HOUR_MS
from devices.model import DeviceId, DeviceSpec
from firmware_sim.chance import draw, next_local
from firmware_sim.machines import NEVER, PPM, rating, simulated


@dataclass(slots=True)
class HeatStore:
    """One store; `energy` is measured from the temperature of its surroundings, downwards where it is cold."""

    id: DeviceId
    seed: int
    zone: str
    draws: tuple[tuple[str, int], ...]  # (local time, Wh that people take then)
    rated_w: int
    per_kelvin: int  # uWms
    cop_ppm: int
    loss_ppm_per_h: int
    ambient_c: float
    cold: bool
    full: int  # uWms at which its own thermostat stops
    energy: int
    imported: int  # W ms
    keep_alive_ms: int
    set_w: int = 0
    lease_until: int = NEVER
    next_draw: int = 0
    power_w: int = 0

    @classmethod
    def of(cls, spec: DeviceSpec, seed: int, offset: int, keep_alive_ms: int) -> HeatStore:
        """Returns the store of a site."""
        per_kelvin = round(rating(spec, "wh_per_k", 350.0)) * HOUR_MS * PPM
        ambient, cold = rating(spec, "ambient_c", 20.0), rating(spec, "cold", 0.0) > 0.0
        sign = -1.0 if cold else 1.0
        end = rating(spec, "low_c", 2.0) if cold else rating(spec, "high_c", 65.0)
        now = simulated(spec, "celsius", end)
        words = str(spec.simulate.get("draws", "")).split()
        return cls(
            id=spec.id,
            seed=seed,
            zone=str(spec.simulate.get("timezone", "UTC")),
            draws=tuple((clock, round(float(energy))) for clock, _, energy in (word.partition("=") for word in words)),
            rated_w=round(rating(spec, "power_w_max", 2_000)),
            per_kelvin=per_kelvin,
            cop_ppm=round(rating(spec, "cop", 1.0) * PPM),
            loss_ppm_per_h=round(rating(spec, "loss_w_per_k", 2.0) / rating(spec, "wh_per_k", 350.0) * PPM),
            ambient_c=ambient,
            cold=cold,
            full=round(sign * (end - ambient) * per_kelvin),
            energy=max(0, round(sign * (now - ambient) * per_kelvin)),
            imported=offset,
            keep_alive_ms=keep_alive_ms,
        )

    @property
    def celsius(self) -> float:
        """Returns its temperature."""
        warmer = self.energy / self.per_kelvin
        return self.ambient_c - warmer if self.cold else self.ambient_c + warmer

    def set(self, watts: int, now: int) -> None:
        """Takes a power limit, good for the keep-alive time."""
        self.set_w = watts
        self.lease_until = now + self.keep_alive_ms if self.keep_alive_ms else NEVER

    def expire(self, now: int) -> None:
        """Falls back to 0 W when nobody has written for the keep-alive time, and lets people draw."""
        if now >= self.lease_until:
            self.set_w, self.lease_until = 0, NEVER
        if now < self.next_draw:
            return
        if self.next_draw:
            for clock, energy_wh in self.draws:
                if next_local(self.next_draw - 1, clock, self.zone) == self.next_draw:
                    share = 800_000 + draw(self.seed, f"{self.id}/{self.next_draw}", 400_001)
                    self.energy = max(0, self.energy - energy_wh * HOUR_MS * share)
        self.next_draw = min((next_local(now, clock, self.zone) for clock, _ in self.draws), default=NEVER)

    def demand_w(self, duration_ms: int) -> int:
        """Returns what it would take for that long."""
        if self.set_w == 0 or self.energy >= self.full:
            return 0
        return min(self.set_w, self.rated_w, (self.full - self.energy) // (duration_ms * self.cop_ppm))

    def run(self, watts: int, duration_ms: int) -> None:
        """Runs at `watts` for that long, and loses to its surroundings."""
        self.power_w = watts
        self.imported += watts * duration_ms
        lost = self.energy // HOUR_MS * self.loss_ppm_per_h // PPM * duration_ms
        self.energy = max(0, self.energy + watts * duration_ms * self.cop_ppm - lost)
