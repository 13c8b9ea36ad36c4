"""A quadcopter's body: where it is, what its pack holds. Metres east, north and up of its home. No protocol here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from devices.polygons import METRES_PER_DEGREE

HOVER_W = 490.0
CLIMB_W = 590.0
IDLE_W = 4.0
"""A 3.6 kg quadcopter measured 467-593 W in flight (facts/field.md B9)."""
CELLS = 6
CELL_V = (3.3, 4.2)
ARRIVED_M = 0.5


@dataclass(slots=True)
class CopterBody:
    """The airframe and its pack. Rates in m/s, energy in Wh."""

    home_lat: float
    home_lon: float
    home_alt: float = 120.0
    capacity_wh: float = 130.0
    energy_wh: float = 120.0
    speed: float = 10.0
    climb: float = 3.0
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    vx: float = 0.0
    vy: float = 0.0
    vz: float = 0.0
    heading: float = 0.0
    used_w: float = IDLE_W

    @property
    def on_ground(self) -> bool:
        """Returns whether it stands."""
        return self.z <= 0.05

    @property
    def charge(self) -> float:
        """Returns the share of its energy that is left."""
        return self.energy_wh / self.capacity_wh

    @property
    def volts(self) -> float:
        """Returns the pack's voltage, straight between empty and full."""
        return CELLS * (CELL_V[0] + (CELL_V[1] - CELL_V[0]) * self.charge)

    def degrees(self) -> tuple[float, float]:
        """Returns latitude and longitude."""
        east = METRES_PER_DEGREE * math.cos(math.radians(self.home_lat))
        return self.home_lat + self.y / METRES_PER_DEGREE, self.home_lon + self.x / east

    def local(self, lat: float, lon: float) -> tuple[float, float]:
        """Returns metres east and north of home."""
        east = METRES_PER_DEGREE * math.cos(math.radians(self.home_lat))
        return (lon - self.home_lon) * east, (lat - self.home_lat) * METRES_PER_DEGREE

    def towards(self, x: float, y: float, z: float, seconds: float) -> bool:
        """Flies towards a point for so long; returns whether it is there. Near the ground it climbs first."""
        away = math.hypot(x - self.x, y - self.y)
        rise = max(-self.climb * seconds, min(self.climb * seconds, z - self.z))
        high_enough = self.z >= min(z, 2.0) - 0.1
        step = min(away, self.speed * seconds) if high_enough else 0.0
        if away > 1e-9:
            self.heading = math.degrees(math.atan2(x - self.x, y - self.y)) % 360
        share = step / away if away > 1e-9 else 0.0
        moved = ((x - self.x) * share, (y - self.y) * share, rise)
        self.x, self.y, self.z = self.x + moved[0], self.y + moved[1], max(0.0, self.z + moved[2])
        self.vx, self.vy, self.vz = (part / seconds if seconds else 0.0 for part in moved)
        self.used_w = CLIMB_W if rise > 0 else HOVER_W
        return math.hypot(x - self.x, y - self.y) <= ARRIVED_M and abs(z - self.z) <= ARRIVED_M

    def rest(self, *, motors: bool) -> None:
        """Stays where it is: on the ground, or hovering."""
        self.vx = self.vy = self.vz = 0.0
        self.used_w = HOVER_W if motors and not self.on_ground else IDLE_W

    def drain(self, seconds: float) -> None:
        """Takes what the motors use from the pack."""
        self.energy_wh = max(0.0, self.energy_wh - self.used_w * seconds / 3600)
