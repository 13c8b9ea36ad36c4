"""A fridge with its thermostat: whole numbers only, so that its state does not depend on rounding."""

from __future__ import annotations

from dataclasses import dataclass

from devices.model import DeviceId, DeviceSpec
from firmware_sim.machines import rating, simulated

_MICRO = 1_000_000
_BAND_UC = 500_000
"""The compressor goes on so far above its target, and off so far below [millionths of a degree]."""


@dataclass(slots=True)
class Fridge:
    """One temperature [millionths of a degree], and a compressor that is on or off."""

    id: DeviceId
    meter: int | None  # index of the home whose power it has
    ua_mw_per_k: int
    capacity_mwh_per_k: int
    rated_mw: int
    cop_ppm: int
    target_uc: int
    ambient_uc: int
    celsius_uc: int
    on: bool = False
    dead: bool = False  # its compressor does nothing
    supplied: bool = True

    @classmethod
    def of(cls, spec: DeviceSpec, meter: int | None) -> Fridge:
        """Returns the fridge that a sensor stands in."""
        target = round(simulated(spec, "target_c", 5.0) * _MICRO)
        return cls(
            spec.id,
            meter,
            round(simulated(spec, "ua_w_per_k", 1.0) * 1000),
            round(simulated(spec, "capacity_wh_per_k", 20.0) * 1000),
            round(rating(spec, "power_w_max", simulated(spec, "power_w_max", 100.0)) * 1000),
            round(simulated(spec, "cop", 1.5) * _MICRO),
            target,
            round(simulated(spec, "ambient_c", 25.0) * _MICRO),
            target,
        )

    @property
    def power_w(self) -> float:
        """Returns what its cable carries."""
        return self.rated_mw / 1000 if self.on and self.supplied and not self.dead else 0.0

    def run(self, duration_ms: int, *, supplied: bool) -> None:
        """Warms or cools for that long, a minute at most."""
        self.supplied = supplied
        if self.celsius_uc >= self.target_uc + _BAND_UC:
            self.on = True
        elif self.celsius_uc <= self.target_uc - _BAND_UC:
            self.on = False
        heat_mw = self.ua_mw_per_k * (self.ambient_uc - self.celsius_uc) // _MICRO
        if self.on and self.supplied and not self.dead:
            heat_mw -= self.rated_mw * self.cop_ppm // _MICRO
        self.celsius_uc += heat_mw * duration_ms * 10 // (self.capacity_mwh_per_k * 36)
