"""A vehicle's body: where it stands, what its pack holds, one leg or one job at a time. No protocol here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from devices.clock import HOUR_MS, SECOND_MS
from devices.model import DeviceKind, DeviceSpec
from firmware_sim.machines import NEVER, PPM, VEHICLE_EFFICIENCY_PPM, Cells, rating, simulated
from firmware_sim.village import Dock
from firmware_sim.water import PER_ML, Water

AT_DOCK_M = 1.0


@dataclass(frozen=True, slots=True)
class Nature:
    """What a kind of vehicle draws and how fast it is.

    Robot: about 25 Wh/km of farm path. Drone: cruise 500 W, climb and landing 40 s a leg (a 3.6 kg quadcopter
    measured 467-561 W and 11-13 Wh/km at 12 m/s; a short hop's climb and landing cost about 13 Wh).
    """

    speed_mps: float
    moving_w: int
    working_w: int
    idle_w: int
    leg_extra_ms: int


NATURES = {
    DeviceKind.ROBOT: Nature(1.0, 90, 350, 12, 0),
    DeviceKind.DRONE: Nature(10.0, 500, 450, 4, 40 * SECOND_MS),
}


@dataclass(slots=True)
class Body:
    """One vehicle; powers in W, times in ms, positions in metres from the village square."""

    nature: Nature
    cells: Cells
    charge_w: int
    dock: Dock
    water: Water
    at: int
    x: float
    y: float
    dock_x: float
    dock_y: float
    theta: float = 0.0
    charging: bool = False
    leg: tuple[float, float, float, float, int, int] | None = None  # from x, y, to x, y, start, end
    work_until: int = NEVER
    work_flow: int = 0  # water per ms while it works
    work_start_irrigated: int = 0
    driven_m: float = field(default=0.0)

    @classmethod
    def of(cls, spec: DeviceSpec, dock: Dock, water: Water, now: int) -> Body:
        """Returns a vehicle on its dock."""
        ppm = (VEHICLE_EFFICIENCY_PPM, PPM)
        cells = Cells.of(rating(spec, "energy_wh", 500), simulated(spec, "soc", 0.8), (0.0, 1.0), ppm)
        x, y = simulated(spec, "x", 0.0), simulated(spec, "y", 0.0)
        charge_w = round(rating(spec, "charge_w_max", 200))
        body = cls(NATURES[spec.kind], cells, charge_w, dock, water, now, x, y, x, y, charging=True)
        body.settle_power()
        return body

    # -- state ------------------------------------------------------------------------------------------------

    @property
    def docked(self) -> bool:
        """Returns whether it stands on its dock."""
        return self.leg is None and math.hypot(self.x - self.dock_x, self.y - self.dock_y) <= AT_DOCK_M

    @property
    def busy(self) -> bool:
        """Returns whether it moves or works."""
        return self.leg is not None or self.work_until != NEVER

    @property
    def empty(self) -> bool:
        """Returns whether the pack is flat: it stays where it is."""
        return self.cells.energy <= 0

    def draw_w(self) -> int:
        """Returns what the vehicle itself uses now."""
        if self.empty:
            return 0
        if self.leg is not None:
            return self.nature.moving_w
        return self.nature.working_w if self.work_until != NEVER else self.nature.idle_w

    def settle_power(self) -> None:
        """Tells the dock what is wanted from now on: charge, or just what the idle vehicle uses."""
        if not self.docked or not self.charging or self.busy:
            self.dock.wanted_w = 0
        elif self.cells.energy >= self.cells.high:
            self.dock.wanted_w = self.nature.idle_w
        else:
            self.dock.wanted_w = self.charge_w

    def next_change(self) -> int:
        """Returns when the leg or job ends, the pack is full or flat; NEVER when nothing will."""
        ends = [self.leg[5] if self.leg is not None else NEVER, self.work_until]
        net = self.dock.wanted_w * self.cells.charge_ppm - self.draw_w() * PPM
        if net > 0 and self.cells.energy < self.cells.high:
            ends.append(self.at + -(-(self.cells.high - self.cells.energy) // net))
        elif net < 0 and not self.empty:
            ends.append(self.at + -(-self.cells.energy // -net))
        return min(ends)

    # -- commands ---------------------------------------------------------------------------------------------

    def go(self, x: float, y: float) -> None:
        """Starts a leg in a straight line."""
        distance = math.hypot(x - self.x, y - self.y)
        duration = math.ceil(distance / self.nature.speed_mps * SECOND_MS)
        duration += self.nature.leg_extra_ms if distance > AT_DOCK_M else 0
        if distance > 0:
            self.theta = math.atan2(y - self.y, x - self.x)
        self.leg = (self.x, self.y, x, y, self.at, self.at + max(duration, 1))
        self.settle_power()

    def work(self, duration_ms: int, water_l: float = 0.0) -> None:
        """Starts a job on the spot that takes water from the tank at an even rate."""
        duration_ms = max(duration_ms, 1)
        self.work_until = self.at + duration_ms
        self.work_flow = round(water_l * 1000) * PER_ML // duration_ms
        self.water.irrigation += self.work_flow
        self.work_start_irrigated = self.water.irrigated
        self.settle_power()

    def stop(self) -> None:
        """Ends leg or job where it is."""
        self.leg = None
        self._end_work()
        self.settle_power()

    def charge(self, on: bool) -> None:
        """Closes or opens the dock's contact."""
        self.charging = on
        self.settle_power()

    def used_water_l(self) -> float:
        """Returns the litres the tank gave since the job began (all jobs together)."""
        return (self.water.irrigated - self.work_start_irrigated) / PER_ML / 1000

    # -- time -------------------------------------------------------------------------------------------------

    def advance(self, now: int) -> None:
        """Moves, works and charges up to `now`; the dock's power held since the last call."""
        duration = now - self.at
        if duration <= 0:
            return
        full_idle = self.cells.energy >= self.cells.high and self.dock.power_w >= self.nature.idle_w > 0
        if not full_idle or self.busy:
            gain = self.dock.power_w * duration * self.cells.charge_ppm - self.draw_w() * duration * PPM
            self.cells.energy = min(max(self.cells.energy + gain, 0), self.cells.high)
        self.at = now
        if self.leg is not None:
            self._move()
        if now >= self.work_until:
            self._end_work()
        if self.empty and self.busy:
            self.stop()
        self.settle_power()

    def _move(self) -> None:
        assert self.leg is not None
        x0, y0, x1, y1, start, end = self.leg
        before = self.x, self.y
        share = min((self.at - start) / (end - start), 1.0)
        self.x, self.y = x0 + (x1 - x0) * share, y0 + (y1 - y0) * share
        if self.at >= end:
            self.x, self.y, self.leg = x1, y1, None
        self.driven_m += math.hypot(self.x - before[0], self.y - before[1])

    def _end_work(self) -> None:
        self.water.irrigation -= self.work_flow
        self.work_flow, self.work_until = 0, NEVER

    @property
    def range_m(self) -> float:
        """Returns how far the pack still carries it [m]."""
        energy_wh = self.cells.energy / PPM / HOUR_MS
        return energy_wh / self.nature.moving_w * 3600 * self.nature.speed_mps
