"""Sensors that say a number and not the truth: stuck ones, ones that jump, and meters that do not add up. Pure.

Bad quality and silence are seen elsewhere. Here are faults that only time shows, or the neighbours: a register that
stands while power flows, a level that stands while water is pumped in, a level that leaps, and powers on the bus that
do not sum to zero (a meter that drifts, a wrong current transformer, somebody's false meter, a load without a meter).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.alarms import Condition, Priority
from controller.image import Snapshot
from controller.site import Site
from devices.clock import HOUR_MS, MINUTE_MS, Instant
from devices.metering import ENERGY_POINTS, on_bus
from devices.model import DeviceId, DeviceKind, DeviceSpec

GAP_MS_MAX = 5 * MINUTE_MS
"""After a longer time without a look nothing is carried over."""
STUCK_WH = 2_000.0
"""Energy that no register shows before it counts as stuck: two counts of the coarsest one (1 kWh)."""
STUCK_SHARE = 0.05
"""Of its tank's volume: so much pumped in without any change of level."""
LEVELS = {DeviceKind.TANK: "level", DeviceKind.BATTERY: "soc", DeviceKind.GENSET: "fuel"}
"""A vehicle's charge may be that of another vehicle, so that chargers are not judged."""
JUMP = 0.1
"""A level or charge that changes by so much between two looks."""
JUMP_HOLD_MS = 10 * MINUTE_MS
BALANCE_MS = 3 * HOUR_MS
"""Powers are averaged over this time: meters are not read at one instant, some only every few minutes."""
BALANCE_W, BALANCE_SHARE = 1_000.0, 0.1
"""So much, and this share of what flows, may be missing: losses, and meters of class 1 to 2."""


@dataclass(slots=True)
class Standstill:
    """A value that has not changed, and what should have moved it since."""

    seen: tuple[float, ...]
    moved: float = 0.0


@dataclass(slots=True)
class Balance:
    """Energies of the window under way [Wh], and what the last whole one said [W]."""

    since: Instant
    residual_wh: float = 0.0
    flow_wh: float = 0.0
    off_w: float = 0.0
    flow_w: float = 0.0


@dataclass(slots=True)
class SensorWatch:
    """All sensors of one site; looked at once a cycle."""

    at: Instant | None = None
    registers: dict[DeviceId, Standstill] = field(default_factory=dict[DeviceId, Standstill])
    tanks: dict[DeviceId, Standstill] = field(default_factory=dict[DeviceId, Standstill])
    levels: dict[DeviceId, float] = field(default_factory=dict[DeviceId, float])
    jumped: dict[DeviceId, tuple[Instant, float, float]] = field(
        default_factory=dict[DeviceId, tuple[Instant, float, float]]
    )
    balance: Balance | None = None

    def look(self, site: Site, snapshot: Snapshot) -> None:
        """Takes one cycle's view."""
        now = snapshot.now
        hours = 0.0
        if self.at is None or not 0 < now - self.at <= GAP_MS_MAX:
            self.registers, self.tanks, self.levels, self.balance = {}, {}, {}, None
        else:
            hours = (now - self.at) / HOUR_MS
        self.at = now
        for device in site.devices:
            if device.kind in ENERGY_POINTS:
                self._count(device, snapshot, hours)
            self._jump(device, snapshot)
        for tank in site.of_kind(DeviceKind.TANK):
            self._fill(site, tank, snapshot, hours)
        self._sum(site, snapshot, hours)

    def _count(self, device: DeviceSpec, snapshot: Snapshot, hours: float) -> None:
        power = snapshot.value(device.id, "W")
        shown = [snapshot.value(device.id, point) for point in ENERGY_POINTS[device.kind] if point]
        registers = tuple(value for value in shown if value is not None)
        if power is None or len(registers) < len(shown):
            self.registers.pop(device.id, None)
            return
        _stand(self.registers, device.id, registers, power * hours)

    def _jump(self, device: DeviceSpec, snapshot: Snapshot) -> None:
        point = LEVELS.get(device.kind)
        value = None if point is None else snapshot.value(device.id, point)
        before = self.levels.get(device.id)
        if value is None:
            self.levels.pop(device.id, None)
            return
        filled = device.kind is DeviceKind.GENSET and before is not None and value > before
        if before is not None and abs(value - before) >= JUMP and not filled:
            self.jumped[device.id] = (snapshot.now, before, value)
        self.levels[device.id] = value

    def _fill(self, site: Site, tank: DeviceSpec, snapshot: Snapshot, hours: float) -> None:
        level = snapshot.value(tank.id, "level")
        flows = [snapshot.value(pump, "flow_lpm") for pump, into in site.tank_of.items() if into == tank.id]
        if level is None or not flows or None in flows:
            self.tanks.pop(tank.id, None)
            return
        litres = sum(flow for flow in flows if flow is not None) * 60 * hours
        _stand(self.tanks, tank.id, (level,), litres / tank.ratings["volume_l"])

    def _sum(self, site: Site, snapshot: Snapshot, hours: float) -> None:
        devices = on_bus(site.devices)
        powers = [power for device in devices if (power := snapshot.value(device.id, "W")) is not None]
        if not site.of_kind(DeviceKind.GRID) or len(powers) < len(devices):
            self.balance = None  # one that is silent would look like one that lies
            return
        if self.balance is None:
            self.balance = Balance(snapshot.now)
        window = self.balance
        window.residual_wh += sum(powers) * hours
        window.flow_wh += sum(abs(power) for power in powers) / 2 * hours
        passed = (snapshot.now - window.since) / HOUR_MS
        if snapshot.now - window.since >= BALANCE_MS:
            self.balance = Balance(snapshot.now, off_w=window.residual_wh / passed, flow_w=window.flow_wh / passed)

    def conditions(self) -> Iterator[Condition]:
        """Yields what holds now; each is gone by itself when the sensor moves again, or the sums agree."""
        for device, still in self.registers.items():
            if abs(still.moved) >= STUCK_WH:
                yield _stuck(device, f"{still.moved / 1000:+.1f} kWh have flowed and its registers stand")
        for tank, still in self.tanks.items():
            if still.moved >= STUCK_SHARE:
                yield _stuck(tank, f"{still.moved:.0%} of it was pumped in and its level stands")
        for device, (at, before, after) in self.jumped.items():
            if self.at is not None and self.at - at < JUMP_HOLD_MS:
                yield Condition(
                    f"jump.{device}",
                    Priority.LOW,
                    device,
                    f"{device} leapt from {before:.0%} to {after:.0%} between two readings",
                    "plans and interlocks go by what it says now",
                    "see whether it was filled, swapped or recalibrated; else its probe or cable",
                    code="EDGE-011",
                )
        window = self.balance
        if window is not None and abs(window.off_w) > max(BALANCE_W, BALANCE_SHARE * window.flow_w):
            more = "more is taken in than used" if window.off_w < 0 else "more is used than comes in"
            yield Condition(
                "balance",
                Priority.LOW,
                "meters",
                f"the meters do not add up: {more}, {abs(window.off_w) / 1000:.1f} kW of {window.flow_w / 1000:.1f} kW",
                "somebody's bill, or the losses that all share, is wrong",
                "find the one: atoll device test FEEDER --balance, then its current transformers and its display",
                code="EDGE-012",
            )


def _stand(known: dict[DeviceId, Standstill], device: DeviceId, seen: tuple[float, ...], moved: float) -> None:
    still = known.get(device)
    if still is None or still.seen != seen:
        known[device] = Standstill(seen)
    else:
        still.moved += moved


def _stuck(device: DeviceId, what: str) -> Condition:
    return Condition(
        f"stuck.{device}",
        Priority.MEDIUM,
        device,
        f"{device} is stuck: {what}",
        "what it no longer counts is billed to nobody, or the pump runs by a wrong level",
        f"read its display; if that moves, its interface hangs: switch {device} off and on",
        code="EDGE-010",
    )
