"""One control cycle: every rule in order may only narrow the band that earlier rules left.

`run` takes a frozen context and returns one Decision per controllable device, with the trail of who narrowed what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.emergency_orders import Orders
from controller.image import Snapshot
from controller.site import Site
from controller.site_energy import FeederSpec
from devices.clock import Instant
from devices.leases import default_of
from devices.model import TWO_STEP, WRITABLE, DeviceId, DeviceKind, DeviceSpec
from optimizer.plan import StorageStep, UnitStep


@dataclass(frozen=True, slots=True)
class Band:
    """What is still allowed, closed at both ends, in the unit and sign of the writable point."""

    low: float
    high: float

    def narrowed(self, low: float | None, high: float | None) -> Band:
        """Returns the intersection with [low, high]; what lies outside is pulled to this band's nearest end.

        So a later rule can never widen or move a band, whatever it asks for.
        """
        new_low = self.low if low is None else min(max(low, self.low), self.high)
        new_high = self.high if high is None else max(min(high, self.high), self.low)
        return Band(min(new_low, new_high), new_high)  # a rule that contradicts itself keeps its upper end

    def clip(self, value: float) -> float:
        """Returns the nearest allowed value."""
        return min(max(value, self.low), self.high)


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What one rule asks for; None leaves that end alone."""

    low: float | None
    high: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """An operator's override, never without an end."""

    device: DeviceId
    value: float
    until: Instant
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome for one device; `trail` holds (rule name, reason, band) of every rule that changed something."""

    device: DeviceId
    point: str
    value: float
    reason: str
    trail: tuple[tuple[str, str, Band], ...]


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a rule may look at; nothing in it changes during the cycle."""

    site: Site
    snapshot: Snapshot
    island: bool
    others_w: float | None  # everything on the bus but batteries and grid [W]; None when it cannot be known
    storage_steps: Mapping[DeviceId, StorageStep] = field(default_factory=dict[DeviceId, StorageStep])
    unit_steps: Mapping[DeviceId, UnitStep] = field(default_factory=dict[DeviceId, UnitStep])
    holds: Mapping[DeviceId, Hold] = field(default_factory=dict[DeviceId, Hold])
    locked_out: frozenset[DeviceId] = frozenset()
    previous: Mapping[DeviceId, float] = field(default_factory=dict[DeviceId, float])
    orders: Orders = field(default_factory=Orders)
    peak_w: float | None = None  # with a capacity charge: import that the month or the plan has paid for already
    due: frozenset[DeviceId] = frozenset()  # relays whose appliance has to run now, or is not done in its window
    lines: tuple[FeederSpec, ...] = ()  # limits of single lines, those of the plan in force among them

    @property
    def now(self) -> Instant:
        """Returns the time of the snapshot."""
        return self.snapshot.now


Rule = Callable[[Context, DeviceSpec], Narrowing | None]


def full_band(device: DeviceSpec) -> Band:
    """Returns what the device's nameplate allows, in the unit of its writable point."""
    ratings = device.ratings
    match device.kind:
        case DeviceKind.BATTERY:
            return Band(-ratings["discharge_w_max"], ratings["charge_w_max"])
        case DeviceKind.GENSET:
            return Band(-ratings["power_w_max"], 0.0)
        case DeviceKind.CHARGER | DeviceKind.THERMAL:
            return Band(0.0, ratings["power_w_max"])
        case _:
            return Band(0.0, 1.0)  # pump off/on, PV fraction


def fallback(device: DeviceSpec) -> float:
    """Returns what the device goes to by itself when the hub's lease runs out."""
    return default_of(device)


def run(context: Context, rules: Sequence[tuple[str, Rule]]) -> list[Decision]:
    """Returns one decision per controllable device of the site, in file order."""
    return [
        decide(context, device, rules)
        for device in context.site.devices
        if device.kind in WRITABLE and device.kind not in TWO_STEP and not device.read_only
    ]


def decide(context: Context, device: DeviceSpec, rules: Sequence[tuple[str, Rule]]) -> Decision:
    """Returns the value that is left after every rule has narrowed, and why.

    The reason is the last rule that got what it asked for; one that was cut short is not what decided.
    """
    band = full_band(device)
    trail: list[tuple[str, str, Band]] = []
    reason = ""
    for name, rule in rules:
        wish = rule(context, device)
        if wish is None:
            continue
        narrowed = band.narrowed(wish.low, wish.high)
        if narrowed != band or not reason:
            trail.append((name, wish.reason, narrowed))
            if not reason or _met(wish, narrowed):
                reason = f"{name}: {wish.reason}"
        band = narrowed
        if band.low == band.high:
            break
    value = band.clip(fallback(device))
    return Decision(device.id, WRITABLE[device.kind], value, reason or "default: nothing to do", tuple(trail))


def _met(wish: Narrowing, band: Band) -> bool:
    """Returns whether the band lies within what a rule asked for."""
    return (wish.low is None or band.low >= wish.low) and (wish.high is None or band.high <= wish.high)
