"""Every pump of a village, its tanks with and without taps, and its wells. Volumes as in `firmware_sim.water`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from devices.clock import SLOT_MS
from devices.model import DeviceId, DeviceSpec
from firmware_sim.machines import DRY_PUMP_PERCENT, NEVER, PPM, rating, simulated
from firmware_sim.water import MINUTES_PER_SLOT, PER_ML, Water


@dataclass(slots=True)
class Tank:
    """A tank without taps, or a well: what stands above the intake, and what flows in by itself."""

    id: DeviceId
    capacity: int
    level: int
    inflow: int = 0  # per ms

    @classmethod
    def of(cls, spec: DeviceSpec) -> Tank:
        """Returns the tank of a site."""
        capacity = round(rating(spec, "volume_l", 10_000) * 1000) * PER_ML
        return cls(spec.id, capacity, round(simulated(spec, "level", 0.6) * 1_000_000) * (capacity // 1_000_000))

    @classmethod
    def of_well(cls, sensor: DeviceSpec) -> Tank:
        """Returns the well that a level sensor hangs in."""
        capacity = round(simulated(sensor, "storage_l", 1_000.0) * 1000) * PER_ML
        level = round(simulated(sensor, "level", 1.0) * 1_000_000) * (capacity // 1_000_000)
        return cls(DeviceId(str(sensor.simulate["well"])), capacity, level, _flow(simulated(sensor, "yield_lpm", 0.0)))

    @property
    def fraction(self) -> float:
        """Returns the level, 0-1."""
        return self.level / self.capacity


@dataclass(frozen=True, slots=True)
class Speed:
    """What a pump gives and takes at a speed [millionths; volume per ms; W]."""

    ppm: int
    flow: int
    watts: int


@dataclass(slots=True)
class Pump:
    """A pump behind a relay or a drive that drops when nobody has written for the keep-alive time."""

    id: DeviceId
    speeds: tuple[Speed, ...]  # rising, the last one is full speed
    imported: int  # W ms
    keep_alive_ms: int
    tank: str = ""
    source: str = ""  # the tank or well that it takes from; empty: the sea, or a well that nobody measures
    recovery_ppm: int = PPM
    phases: tuple[Speed, ...] = ()  # of a plant that runs in batches, one a slot
    ran_ms: int = 0  # since it was switched on
    speed_ppm: int = 0
    dry: bool = False
    lease_until: int = NEVER
    power_w: int = 0
    flowing: bool = False

    @classmethod
    def of(cls, spec: DeviceSpec, offset: int, keep_alive_ms: int) -> Pump:
        """Returns the pump of a site; `simulate.speeds` has `part:L/min:W` per point of a drive, `phases` `L/min:W`."""
        slower = [tuple(map(float, text.split(":"))) for text in str(spec.simulate.get("speeds", "")).split()]
        phases = [tuple(map(float, text.split(":"))) for text in str(spec.simulate.get("phases", "")).split()]
        full = (1.0, rating(spec, "flow_lpm", 60), rating(spec, "power_w", 1_500))
        return cls(
            spec.id,
            tuple(Speed(round(part * PPM), _flow(lpm), round(watts)) for part, lpm, watts in (*slower, full)),
            offset,
            keep_alive_ms,
            str(spec.simulate.get("tank", "")),
            str(spec.simulate.get("source", "")),
            round(simulated(spec, "recovery", 1.0) * PPM),
            tuple(Speed(PPM, _flow(lpm), round(watts)) for lpm, watts in phases),
        )

    @property
    def on(self) -> bool:
        """Returns whether it is told to turn."""
        return self.speed_ppm > 0

    def switch(self, speed: float, now: int) -> None:
        """Takes a command: a part of full speed, 0 stops it."""
        self.speed_ppm = min(max(round(speed * PPM), 0), PPM)
        self.lease_until = now + self.keep_alive_ms if self.on and self.keep_alive_ms else NEVER

    def expire(self, now: int) -> None:
        """Drops the relay when nobody has written."""
        if now >= self.lease_until:
            self.speed_ppm, self.lease_until = 0, NEVER

    @property
    def point(self) -> Speed:
        """Returns what it would give and take now; a drive below its slowest point turns at that."""
        if self.phases:
            return self.phases[self.ran_ms // SLOT_MS % len(self.phases)]
        for low, high in pairwise(self.speeds):
            if self.speed_ppm < high.ppm:
                above, span = max(self.speed_ppm - low.ppm, 0), high.ppm - low.ppm
                flow = low.flow + (high.flow - low.flow) * above // span
                return Speed(self.speed_ppm, flow, low.watts + (high.watts - low.watts) * above // span)
        return self.speeds[-1]

    def demand_w(self) -> int:
        """Returns what the motor would draw."""
        if not self.on:
            return 0
        return self.point.watts * DRY_PUMP_PERCENT // 100 if self.dry else self.point.watts


def _flow(litres_per_minute: float) -> int:
    return round(litres_per_minute * 1000) * MINUTES_PER_SLOT


@dataclass(slots=True)
class Plumbing:
    """The pumps, the tanks that taps draw from (`main` is the first), and the tanks and wells beside them, by id."""

    main: Water
    waters: dict[str, Water] = field(default_factory=dict[str, Water])
    pumps: list[Pump] = field(default_factory=list[Pump])
    tanks: dict[str, Tank] = field(default_factory=dict[str, Tank])

    @classmethod
    def of(
        cls,
        waters: Mapping[str, Water],
        tanks: Sequence[DeviceSpec],
        sensors: Sequence[DeviceSpec],
        pumps: Sequence[Pump],
    ) -> Plumbing:
        """Returns the pipes of a site: `waters` by tank with the main one first, all tanks, sensors in wells."""
        wells = [spec for spec in sensors if "well" in spec.simulate]
        others = [Tank.of(spec) for spec in tanks if spec.id not in waters] + [Tank.of_well(spec) for spec in wells]
        return cls(next(iter(waters.values())), dict(waters), list(pumps), {tank.id: tank for tank in others})

    def demand_w(self) -> int:
        """Gives every pump what it would draw, and returns the sum; one whose tank is full stands still."""
        for pump in self.pumps:
            pump.power_w = pump.demand_w() if self._has_room(pump) else 0
        return sum(pump.power_w for pump in self.pumps)

    def _has_room(self, pump: Pump) -> bool:
        tank = self.tanks.get(pump.tank)
        return tank.level < tank.capacity if tank is not None else not self.waters.get(pump.tank, self.main).full

    def _has_water(self, pump: Pump) -> bool:
        source = self.tanks.get(pump.source) or self.waters.get(pump.source)
        return not pump.dry and (source is None or source.level > 0)

    def run(self, powered: bool, now: int, duration: int) -> None:
        """Runs pumps, at what they were given, and tanks from `now`; without power all pumps stand still."""
        net = {name: tank.inflow for name, tank in self.tanks.items()} | dict.fromkeys(self.waters, 0)
        main = next(iter(self.waters))
        for pump in self.pumps:
            if not powered:
                pump.power_w = 0
            pump.imported += pump.power_w * duration
            flow = pump.point.flow
            pump.flowing = pump.power_w > 0 and flow > 0 and self._has_water(pump)
            pump.ran_ms = pump.ran_ms + duration if pump.on else 0
            if not pump.flowing:
                continue
            net[pump.tank if pump.tank in net else main] += flow
            if pump.source in net:
                net[pump.source] -= flow * PPM // pump.recovery_ppm
        for name, tank in self.tanks.items():
            tank.level = min(max(tank.level + net[name] * duration, 0), tank.capacity)
        for name, water in self.waters.items():
            water.run(net[name], now, duration)
