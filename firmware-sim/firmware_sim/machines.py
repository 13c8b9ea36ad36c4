"""Battery, genset, vehicle charger: what each can do in one step and what it remembers.

Whole numbers only, so that state does not depend on rounding: power in W, energy in W ms, and inside cells in
millionths of a W ms ("uWms"), where the efficiencies (parts per million) act.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from devices.clock import HOUR_MS
from devices.model import DeviceId, DeviceSpec
from firmware_sim.gas import Digester

PPM: Final = 1_000_000
NEVER: Final = 1 << 62
"""An instant that does not come."""
GENSET_CRANK_MS: Final = 10_000
FUEL_PER_L: Final = 3_600_000_000_000
"""Fuel is counted in 1/3.6e12 L: then 0.246 L/kWh is 246 per W ms."""
FUEL_SLOPE: Final = 246
FUEL_IDLE: Final = 81
"""0.246 L/kWh made and 0.081 L/h per rated kW while turning (small diesel sets, linear fuel curve)."""
VEHICLE_EFFICIENCY_PPM: Final = 920_000
DRY_PUMP_PERCENT: Final = 40
"""Of its power that a pump draws when no water comes."""


def wh(energy: int) -> int:
    """Returns W ms as whole Wh, rounded down (what a register shows)."""
    return energy // HOUR_MS


def rating(spec: DeviceSpec, name: str, default: float) -> float:
    """Returns one rating of a device."""
    return spec.ratings.get(name, default)


def simulated(spec: DeviceSpec, name: str, default: float) -> float:
    """Returns one number that only the simulator reads."""
    return float(spec.simulate.get(name, default))


@dataclass(slots=True)
class Cells:
    """A store of energy between two limits [uWms], efficiency on the way in and out."""

    capacity: int
    low: int
    high: int
    charge_ppm: int
    discharge_ppm: int
    energy: int

    @classmethod
    def of(cls, energy_wh: float, soc: float, limits: tuple[float, float], ppm: tuple[int, int]) -> Cells:
        """Returns a store of `energy_wh` filled to `soc`, used between the two limits (fractions)."""
        capacity = round(energy_wh) * HOUR_MS * PPM
        low, high = (round(limit * PPM) * (capacity // PPM) for limit in limits)
        return cls(capacity, low, high, *ppm, round(soc * PPM) * (capacity // PPM))

    @property
    def soc(self) -> float:
        """Returns the state of charge, 0-1."""
        return self.energy / self.capacity

    def charge_w_max(self, duration_ms: int) -> int:
        """Returns the highest power [W] that still fits for that long."""
        return max(0, (self.high - self.energy) // (duration_ms * self.charge_ppm))

    def discharge_w_max(self, duration_ms: int) -> int:
        """Returns the highest power [W] that can be given for that long."""
        return max(0, (self.energy - self.low) * self.discharge_ppm // (PPM * PPM * duration_ms))

    def move(self, power_w: int, duration_ms: int) -> None:
        """Charges (positive) or discharges with `power_w` at the terminals."""
        work = power_w * duration_ms
        self.energy += work * self.charge_ppm if work >= 0 else -(-work * PPM * PPM // self.discharge_ppm)


@dataclass(slots=True)
class Battery:
    """A grid-forming storage inverter that follows a setpoint on lease while a grid is there."""

    cells: Cells
    charge_w: int
    discharge_w: int
    imported: int  # W ms
    exported: int
    set_w: int | None = None  # by the sign rule; None: no lease, does nothing by itself
    lease_until: int = NEVER
    reversion_w: int | None = 0
    reversion_s: int = 0
    power_w: int = 0

    @classmethod
    def of(cls, spec: DeviceSpec, imported: int, exported: int) -> Battery:
        """Returns the battery of a site; its registers [W ms] have a past."""
        ppm = tuple(round(rating(spec, f"{way}_efficiency", 0.955) * PPM) for way in ("charge", "discharge"))
        limits = rating(spec, "soc_min", 0.0), rating(spec, "soc_max", 1.0)
        cells = Cells.of(rating(spec, "energy_wh", 10_000), simulated(spec, "soc", 0.5), limits, (ppm[0], ppm[1]))
        powers = [round(rating(spec, f"{way}_w_max", 5_000)) for way in ("charge", "discharge")]
        return cls(cells, powers[0], powers[1], imported, exported)

    def lease(self, watts: int | None, now: int, seconds: int, reversion_w: int | None) -> None:
        """Takes a setpoint; `seconds` 0 means for good. Afterwards `reversion_w` holds (None: nothing)."""
        self.set_w, self.reversion_w, self.reversion_s = watts, reversion_w, seconds
        self.lease_until = now + seconds * 1000 if seconds else NEVER

    def expire(self, now: int) -> None:
        """Falls back when the lease is over."""
        if now >= self.lease_until:
            self.set_w, self.lease_until = self.reversion_w, NEVER

    def within(self, watts: int, duration_ms: int) -> int:
        """Returns the power nearest to `watts` that it can hold for that long."""
        if watts >= 0:
            return min(watts, self.charge_w, self.cells.charge_w_max(duration_ms))
        return -min(-watts, self.discharge_w, self.cells.discharge_w_max(duration_ms))

    def run(self, watts: int, duration_ms: int) -> None:
        """Runs at `watts` (sign rule) for that long."""
        self.power_w = watts
        if watts > 0:
            self.imported += watts * duration_ms
        else:
            self.exported -= watts * duration_ms
        self.cells.move(watts, duration_ms)


@dataclass(slots=True)
class Genset:
    """A diesel set or a gas engine: stopped, cranking, or turning between minimum load and rating."""

    id: DeviceId
    rated_w: int
    minimum_w: int
    tank: int
    fuel: int
    exported: int
    target_w: int = 0
    wanted: bool = False
    ready_at: int = NEVER  # end of cranking
    running: bool = False
    broken: bool = False  # does not start
    power_w: int = 0  # made, positive
    gas: Digester | None = None  # whose gas it burns, instead of what is in its tank

    @classmethod
    def of(cls, spec: DeviceSpec, offset: int) -> Genset:
        """Returns the genset of a site."""
        rated, minimum = rating(spec, "power_w_max", 10_000), rating(spec, "power_w_min", 3_000)
        tank = round(rating(spec, "fuel_l", 100)) * FUEL_PER_L
        return cls(spec.id, round(rated), round(minimum), tank, round(simulated(spec, "fuel", 0.8) * tank), offset)

    @property
    def fraction(self) -> float:
        """Returns how full its tank or its gas holder is, 0-1."""
        if self.gas is not None:
            return self.gas.fraction
        return self.fuel / self.tank if self.tank >= FUEL_PER_L else 0.0

    @property
    def _empty(self) -> bool:
        return (self.fuel if self.gas is None else self.gas.held) <= 0

    def command(self, start: bool, now: int) -> None:
        """Takes a start or stop key."""
        self.wanted = start
        if not start:
            self.running, self.ready_at = False, NEVER
        elif not self.running and self.ready_at == NEVER:
            self.ready_at = now + GENSET_CRANK_MS

    def expire(self, now: int) -> None:
        """Ends cranking."""
        if now >= self.ready_at:
            self.ready_at = NEVER
            self.running = self.wanted and not self._empty and not self.broken

    @property
    def offered_w(self) -> int:
        """Returns what it makes by its target, never below its minimum load."""
        return min(max(self.target_w, self.minimum_w), self.rated_w) if self.running else 0

    def run(self, duration_ms: int) -> None:
        """Makes `power_w` for that long and burns for it; without fuel it stops after this step."""
        if not self.running:
            return
        self.exported += self.power_w * duration_ms
        if self.gas is not None:
            self.gas.burn(self.power_w * duration_ms)
        else:
            self.fuel = max(0, self.fuel - (self.power_w * FUEL_SLOPE + self.rated_w * FUEL_IDLE) * duration_ms)
        if self._empty:
            self.running = self.wanted = False


@dataclass(slots=True)
class Charger:
    """A charger with a power limit on keep-alive, and the vehicle that comes and goes."""

    cells: Cells
    rated_w: int
    trip: int  # uWms that a day's trip takes
    imported: int
    keep_alive_ms: int
    connected: bool = True
    set_w: int = 0
    lease_until: int = NEVER
    next_move: int = NEVER  # when the vehicle leaves or returns
    trips: int = 0
    power_w: int = 0  # vehicle
    dock_w: int = 0  # docks of robots and drones behind the same meter

    @classmethod
    def of(cls, spec: DeviceSpec, offset: int, keep_alive_ms: int) -> Charger:
        """Returns the charger of a site."""
        soc, ppm = simulated(spec, "soc", 0.4), (VEHICLE_EFFICIENCY_PPM, VEHICLE_EFFICIENCY_PPM)
        cells = Cells.of(rating(spec, "energy_wh", 40_000), soc, (0.0, 1.0), ppm)
        trip = round(simulated(spec, "trip_wh", 10_000)) * HOUR_MS * PPM
        return cls(cells, round(rating(spec, "power_w_max", 11_000)), trip, offset, keep_alive_ms)

    def set(self, watts: int, now: int) -> None:
        """Takes a power limit, good for the keep-alive time."""
        self.set_w = watts
        self.lease_until = now + self.keep_alive_ms if self.keep_alive_ms else NEVER

    def expire(self, now: int) -> None:
        """Falls back to 0 W when nobody has written for the keep-alive time."""
        if now >= self.lease_until:
            self.set_w, self.lease_until = 0, NEVER

    def demand_w(self, duration_ms: int) -> int:
        """Returns what the vehicle would take."""
        if not self.connected or self.set_w == 0:
            return 0
        return min(self.set_w, self.rated_w, self.cells.charge_w_max(duration_ms))

    def run(self, vehicle_w: int, dock_w: int, duration_ms: int) -> None:
        """Charges the vehicle and feeds the docks."""
        self.power_w, self.dock_w = vehicle_w, dock_w
        self.imported += (vehicle_w + dock_w) * duration_ms
        self.cells.move(vehicle_w, duration_ms)

    def leave(self) -> None:
        """The vehicle drives off."""
        self.connected = False

    def arrive(self, share_ppm: int) -> None:
        """The vehicle is back; its trip took `share_ppm` of the usual."""
        self.connected = True
        self.trips += 1
        self.cells.energy = max(0, self.cells.energy - self.trip * share_ppm // PPM)
