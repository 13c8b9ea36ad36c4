"""Interlocks: named rules between every setpoint and its device. Each may only narrow; bad data means safe.

Pure: a rule sees readings (None = bad or old), its own memory and elapsed time, and returns a band or None.
The most restrictive band wins; where bands do not meet, the output is 0 (off), which is every rule's safe value.
The rules of `RULES` are always in force; what a site file declares (devices/interlock_watch.py) comes on top.
A lock-out tag stands above all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from devices.interlock_watch import Declared, Narrowing, RuleName, Sense, Watch
from devices.model import DeviceId, DeviceKind, DeviceSpec

__all__ = ["Guarded", "Narrowing", "Rule", "Sense", "Verdict", "band", "guard"]

NO_FLOW_MS = 10_000
"""A started pump must deliver within this time."""
NO_FLOW_SHARE = 0.1
"""Less than this share of the rated flow is no flow."""
NO_FLOW_LOCK_MS = 600_000
"""A pump that ran dry stays off this long before it may try again."""
COOLDOWN_MS = 60_000
FUEL_MIN = 0.02
_OFF = 0.5


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
    watches: tuple[Watch, ...] = ()
    max_on_ms: float = float("inf")
    min_rest_ms: float = 0
    no_flow_ms: int = 0
    tagged: bool = False  # locked out at the gateway
    shows_flow: bool = True  # False: the device has no flow reading at all, which is not the same as a bad one
    flow_meter: DeviceId | None = None  # who shows the flow of a pump that does not itself

    @property
    def flow_wait_ms(self) -> int:
        """Returns how long a started pump may take until it delivers: at least one poll of its readings."""
        return max(self.no_flow_ms, self.reaction_ms)

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
        for look in self._looks(sense, elapsed):
            narrowing = look(value)
            if narrowing is None:
                continue
            low, high = max(low, narrowing.low), min(high, narrowing.high)
            allowed = min(max(value, low), high) if low <= high else 0.0
            if allowed != value:
                changed.append(narrowing.rule)
                value = allowed
        self.active = tuple(changed)
        return Verdict(value, self.active)

    def _looks(self, sense: Sense, elapsed: int) -> Iterable[Callable[[float], Narrowing | None]]:
        """Yields every rule, the lock-out tag first; each is asked, so that each keeps its own time."""
        yield lambda _value: Narrowing("locked-out", 0.0, 0.0) if self.tagged else None
        for rule in self.rules:
            yield lambda value, rule=rule: rule(self, value, sense, elapsed)
        for watch in self.watches:
            yield lambda _value, watch=watch: watch.look(sense, elapsed)


Rule = Callable[[Guarded, float, Sense, int], Narrowing | None]
"""(what it guards, the value so far, readings, elapsed ms) -> what it still allows, None = no objection."""


def _running(spec: DeviceSpec, sense: Sense) -> bool | None:
    if spec.kind in (DeviceKind.PUMP, DeviceKind.RELAY):
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


def on_times(guarded: Guarded, value: float, sense: Sense, elapsed: int) -> Narrowing | None:
    """Stops a pump or relay after its longest run, and keeps it off for its rest."""
    del sense
    kind, since = guarded.spec.kind, guarded.since_ms(elapsed)
    if guarded.running and since >= guarded.max_on_ms:
        return Narrowing(f"{kind}-max-on", 0.0, 0.0)
    if not guarded.running and value > _OFF and since < guarded.min_rest_ms:
        return Narrowing(f"{kind}-min-rest", 0.0, 0.0)
    return None


def relay_known(guarded: Guarded, value: float, sense: Sense, elapsed: int) -> Narrowing | None:
    """Does not switch on a relay whose state cannot be read: its longest run could not be kept."""
    del value, elapsed
    return Narrowing("relay-state-unknown", 0.0, 0.0) if sense.value(guarded.spec.id, "on") is None else None


def pump_flow(guarded: Guarded, value: float, sense: Sense, elapsed: int) -> Narrowing | None:
    """Stops a pump that runs without delivering (dry, shut valve, broken pipe), or whose flow is not known.

    Judged only while the pump is meant to run: its state and its flow are not read at the same instant. Not judged is a
    plant that fills and flushes between (ratings `batch`).
    """
    ratings, shown = guarded.spec.ratings, guarded.shows_flow or guarded.flow_meter
    rated = ratings.get("flow_lpm", 0.0) if shown and not ratings.get("batch") else 0.0
    if value > _OFF and guarded.running and rated and guarded.since_ms(elapsed) >= guarded.flow_wait_ms:
        flow = sense.value(guarded.flow_meter or guarded.spec.id, "flow_lpm")
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
    cooldown = max(guarded.spec.ratings.get("cooldown_ms", COOLDOWN_MS), guarded.min_rest_ms)
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


def thermal_limit(guarded: Guarded, value: float, sense: Sense, elapsed: int) -> Narrowing | None:
    """Gives no power to a store that is at its end (hot, or cold enough), or whose temperature is not known."""
    del value, elapsed
    ratings, celsius = guarded.spec.ratings, sense.value(guarded.spec.id, "celsius")
    if celsius is None:
        return Narrowing("thermal-unknown", 0.0, 0.0)
    cold = ratings.get("cold", 0.0) > 0.0
    full = celsius <= ratings.get("low_c", celsius) if cold else celsius >= ratings.get("high_c", celsius)
    return Narrowing("thermal-full", 0.0, 0.0) if full else None


RULES: Mapping[DeviceKind, Sequence[Rule]] = {
    DeviceKind.PV: (),
    DeviceKind.BATTERY: (battery_soc,),
    DeviceKind.PUMP: (pump_tank, on_times, pump_flow),
    DeviceKind.GENSET: (genset_known, genset_load, genset_rest),
    DeviceKind.CHARGER: (charger_known,),
    DeviceKind.THERMAL: (thermal_limit,),
    DeviceKind.RELAY: (relay_known, on_times),
    DeviceKind.BREAKER: (),
}
"""The rules that nobody has to declare and nobody can take away."""


def guard(
    spec: DeviceSpec,
    tank: DeviceId | None,
    tank_high: float,
    reaction_ms: int,
    declared: Iterable[Declared] = (),
    flow_meter: DeviceId | None = None,
) -> Guarded:
    """Returns the interlocks of one controllable device; `reaction_ms` is at least one poll of its readings.

    Where several declarations give times, the strictest holds: the shortest run, the longest rest.
    """
    mine = [one for one in declared if one.device == spec.id]
    longest = [one.max_on_ms for one in mine if one.max_on_ms]
    rests = [one.min_rest_ms for one in mine]
    return Guarded(
        spec,
        tuple(RULES[spec.kind]),
        band(spec),
        tank,
        tank_high,
        max(reaction_ms, NO_FLOW_MS),
        watches=tuple(Watch(one) for one in mine if one.point),
        flow_meter=flow_meter,
        max_on_ms=min([spec.ratings.get("max_on_ms", float("inf")), *longest]),
        min_rest_ms=max([spec.ratings.get("min_rest_ms", 0), *rests]),
        no_flow_ms=max([one.delay_ms for one in mine if one.rule is RuleName.PUMP_NO_FLOW], default=0),
    )


def band(spec: DeviceSpec) -> tuple[float, float]:
    """Returns the ratings as limits of the output [W by the sign rule, fraction, or 0-1]; no rating = 0 W."""
    ratings = spec.ratings
    match spec.kind:
        case DeviceKind.PV | DeviceKind.PUMP | DeviceKind.RELAY | DeviceKind.BREAKER:
            return 0.0, 1.0
        case DeviceKind.BATTERY:
            return -ratings.get("discharge_w_max", 0.0), ratings.get("charge_w_max", 0.0)
        case DeviceKind.GENSET:
            return -ratings.get("power_w_max", 0.0), 0.0
        case DeviceKind.CHARGER | DeviceKind.THERMAL:
            return 0.0, ratings.get("power_w_max", 0.0)
        case _:
            return 0.0, 0.0
