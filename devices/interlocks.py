"""Interlocks: named rules between every setpoint and its device. Each may only narrow; bad data means safe.

Pure: a rule sees readings (None = bad or old), its own memory and elapsed time, and returns a band or None.
The most restrictive band wins; where bands do not meet, the output is 0 (off), which is every rule's safe value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from devices.model import DeviceId, DeviceKind, DeviceSpec

NO_FLOW_MS = 10_000
"""A started pump must deliver within this time."""
NO_FLOW_SHARE = 0.1
"""Less than this share of the rated flow is no flow."""
NO_FLOW_LOCK_MS = 600_000
"""A pump that ran dry stays off this long before it may try again."""
COOLDOWN_MS = 60_000
FUEL_MIN = 0.02
_OFF = 0.5


class Sense(Protocol):
    """The readings that rules may look at."""

    def value(self, device: DeviceId, point: str) -> float | None:
        """Returns the number if it is good and young enough, else None."""
        ...


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What one rule still allows, in the output's unit and sign."""

    rule: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The value that may be written and the rules that changed the wish, in order."""

    value: float
    rules: tuple[str, ...]


@dataclass(slots=True)
class Guarded:
    """One output's rules, with what they remember. Times are elapsed milliseconds."""

    spec: DeviceSpec
    rules: tuple[Rule, ...]
    band: tuple[float, float]
    tank: DeviceId | None = None
    tank_high: float = 0.95
    reaction_ms: int = NO_FLOW_MS
    running: bool = False
    changed_at: int | None = None
    locked_until: int = 0
    active: tuple[str, ...] = field(default=())

    def observe(self, sense: Sense, elapsed: int) -> None:
        """Notes when the device really started or stopped (its own reading, not what it was told)."""
        seen = _running(self.spec, sense)
        if seen is not None and (seen != self.running or self.changed_at is None):
            # Never seen before and off: it may have been off for long, so no rest is asked of it.
            self.changed_at = elapsed if seen or self.changed_at is not None else elapsed - 24 * 3_600_000
            self.running = seen

    def since_ms(self, elapsed: int) -> int:
        """Returns how long the device has been in its present state."""
        return 0 if self.changed_at is None else elapsed - self.changed_at

    def narrow(self, wish: float, sense: Sense, elapsed: int) -> Verdict:
        """Returns the nearest value to `wish` that every rule allows."""
        self.observe(sense, elapsed)
        low, high = self.band
        changed: list[str] = [] if low <= wish <= high else ["rating"]
        value = min(max(wish, low), high)
        for rule in self.rules:
            narrowing = rule(self, value, sense, elapsed)
            if narrowing is None:
                continue
            low, high = max(low, narrowing.low), min(high, narrowing.high)
            allowed = min(max(value, low), high) if low <= high else 0.0
            if allowed != value:
                changed.append(narrowing.rule)
                value = allowed
        self.active = tuple(changed)
        return Verdict(value, self.active)


Rule = Callable[[Guarded, float, Sense, int], Narrowing | None]
"""(what it guards, the value so far, readings, elapsed ms) -> what it still allows, None = no objection."""


def _running(spec: DeviceSpec, sense: Sense) -> bool | None:
    if spec.kind is DeviceKind.PUMP:
        on = sense.value(spec.id, "on")
    elif spec.kind is DeviceKind.GENSET:
        on = sense.value(spec.id, "running")
    else:
        return None
    return None if on is None else on > _OFF


def battery_soc(guarded: Guarded, value: float, sense: Sense, elapsed: int) -> Narrowing | None:
    """Stops discharge at soc_min and charge at soc_max; a bad state of charge means 0 W."""
    del value, elapsed
    soc = sense.value(guarded.spec.id, "soc")
    if soc is None or not 0 <= soc <= 1:
        return Narrowing("battery-soc-unknown", 0.0, 0.0)
    ratings = guarded.spec.ratings
    if soc <= ratings.get("soc_min", 0.05):
        return Narrowing("battery-soc-min", 0.0, float("inf"))
    if soc >= ratings.get("soc_max", 1.0):
        return Narrowing("battery-soc-max", float("-inf"), 0.0)
    return None


def pump_tank(guarded: Guarded, value: float, sense: Sense, elapsed: int) -> Narrowing | None:
    """Stops the pump when its tank is full or its level is not known."""
    del value, elapsed
    if guarded.tank is None:
        return None
    level = sense.value(guarded.tank, "level")
    if level is None:
        return Narrowing("pump-level-unknown", 0.0, 0.0)
    return Narrowing("pump-tank-high", 0.0, 0.0) if level >= guarded.tank_high else None


def pump_times(guarded: Guarded, value: float, sense: Sense, elapsed: int) -> Narrowing | None:
    """Stops the pump after its longest run, and keeps it off for its rest."""
    del sense
    ratings = guarded.spec.ratings
    since = guarded.since_ms(elapsed)
    if guarded.running and since >= ratings.get("max_on_ms", float("inf")):
        return Narrowing("pump-max-on", 0.0, 0.0)
    if not guarded.running and value > _OFF and since < ratings.get("min_rest_ms", 0):
        return Narrowing("pump-min-rest", 0.0, 0.0)
    return None


def pump_flow(guarded: Guarded, value: float, sense: Sense, elapsed: int) -> Narrowing | None:
    """Stops a pump that runs without delivering (dry, shut valve, broken pipe), or whose flow is not known.

    Judged only while the pump is meant to run: its state and its flow are not read at the same instant.
    """
    rated = guarded.spec.ratings.get("flow_lpm", 0.0)
    if value > _OFF and guarded.running and rated and guarded.since_ms(elapsed) >= guarded.reaction_ms:
        flow = sense.value(guarded.spec.id, "flow_lpm")
        if flow is None or flow < NO_FLOW_SHARE * rated:
            guarded.locked_until = elapsed + NO_FLOW_LOCK_MS
    return Narrowing("pump-no-flow", 0.0, 0.0) if elapsed < guarded.locked_until else None


def genset_load(guarded: Guarded, value: float, sense: Sense, elapsed: int) -> Narrowing | None:
    """Keeps the engine off below its minimum load (W is negative: generating)."""
    del sense, elapsed
    least = guarded.spec.ratings.get("power_w_min", 0.0)
    return Narrowing("genset-min-load", 0.0, 0.0) if -least < value < 0 else None


def genset_rest(guarded: Guarded, value: float, sense: Sense, elapsed: int) -> Narrowing | None:
    """Keeps a stopped engine off until it has cooled, and an empty one off altogether."""
    fuel = sense.value(guarded.spec.id, "fuel")
    if fuel is not None and fuel <= FUEL_MIN:
        return Narrowing("genset-fuel-empty", 0.0, 0.0)
    cooldown = guarded.spec.ratings.get("cooldown_ms", COOLDOWN_MS)
    if not guarded.running and value < 0 and guarded.since_ms(elapsed) < cooldown:
        return Narrowing("genset-cooldown", 0.0, 0.0)
    return None


def genset_known(guarded: Guarded, value: float, sense: Sense, elapsed: int) -> Narrowing | None:
    """Does not start or keep an engine that does not answer."""
    del value, elapsed
    known = sense.value(guarded.spec.id, "running")
    return Narrowing("genset-state-unknown", 0.0, 0.0) if known is None else None


def charger_known(guarded: Guarded, value: float, sense: Sense, elapsed: int) -> Narrowing | None:
    """Gives no power where it is not known that a vehicle is connected."""
    del value, elapsed
    connected = sense.value(guarded.spec.id, "connected")
    return Narrowing("charger-state-unknown", 0.0, 0.0) if connected is None else None


RULES: Mapping[DeviceKind, Sequence[Rule]] = {
    DeviceKind.PV: (),
    DeviceKind.BATTERY: (battery_soc,),
    DeviceKind.PUMP: (pump_tank, pump_times, pump_flow),
    DeviceKind.GENSET: (genset_known, genset_load, genset_rest),
    DeviceKind.CHARGER: (charger_known,),
}


def guard(spec: DeviceSpec, tank: DeviceId | None, tank_high: float, reaction_ms: int) -> Guarded:
    """Returns the interlocks of one controllable device; `reaction_ms` is at least one poll of its readings."""
    return Guarded(spec, tuple(RULES[spec.kind]), band(spec), tank, tank_high, max(reaction_ms, NO_FLOW_MS))


def band(spec: DeviceSpec) -> tuple[float, float]:
    """Returns the ratings as limits of the output [W by the sign rule, fraction, or 0-1]; no rating = 0 W."""
    ratings = spec.ratings
    match spec.kind:
        case DeviceKind.PV | DeviceKind.PUMP:
            return 0.0, 1.0
        case DeviceKind.BATTERY:
            return -ratings.get("discharge_w_max", 0.0), ratings.get("charge_w_max", 0.0)
        case DeviceKind.GENSET:
            return -ratings.get("power_w_max", 0.0), 0.0
        case DeviceKind.CHARGER:
            return 0.0, ratings.get("power_w_max", 0.0)
        case _:
            return 0.0, 0.0
