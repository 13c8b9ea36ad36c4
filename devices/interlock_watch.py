"""Interlocks that a site file declares: what must be true of a reading, for how long, and what it stops. Pure.

A declared rule adds to the built-in ones (devices/interlocks.py) and can never widen what they leave. It stops its
output while its reading is outside [low, high], bad or old; with `latch` a reading outside keeps it stopped until a
person at the gateway resets it (`atoll lockout --reset`), over restarts too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from devices.model import DeviceId


class Sense(Protocol):
    """The readings that rules may look at."""

    def value(self, device: DeviceId, point: str) -> float | None:
        """Returns the number if it is good and young enough, else None."""
        ...


class RuleName(StrEnum):
    """What a declared interlock guards against."""

    BATTERY_LIMITS = "battery-limits"
    PUMP_DRY_RUN = "pump-dry-run"
    PUMP_NO_FLOW = "pump-no-flow"
    TANK_OVERFLOW = "tank-overflow"
    GENSET_COOLDOWN = "genset-cooldown"
    RELAY_MAX_ON = "relay-max-on"
    FEEDER_TRIP = "feeder-trip"
    PEOPLE_ZONE = "people-zone"


class Stops(StrEnum):
    """Which direction of the output a rule stops."""

    BOTH = "both"
    CHARGE = "charge"  # values above 0
    DISCHARGE = "discharge"  # values below 0


@dataclass(frozen=True, slots=True)
class RuleDefaults:
    """What a rule name means where the site file does not say more. None = the site file must say it."""

    sensor_is_device: bool
    point: str
    low: float | None
    high: float | None
    delay_ms: int
    clear_ms: int
    latch: bool = False
    magnitude: bool = False


DEFAULTS: Mapping[RuleName, RuleDefaults] = {
    RuleName.BATTERY_LIMITS: RuleDefaults(True, "celsius", 0.0, 45.0, 0, 60_000),
    RuleName.PUMP_DRY_RUN: RuleDefaults(False, "level", 0.1, float("inf"), 0, 10_000),
    RuleName.TANK_OVERFLOW: RuleDefaults(False, "on", float("-inf"), 0.5, 0, 10_000),
    RuleName.FEEDER_TRIP: RuleDefaults(False, "W", float("-inf"), None, 2_000, 0, latch=True, magnitude=True),
    RuleName.PEOPLE_ZONE: RuleDefaults(False, "on", float("-inf"), 0.5, 0, 5_000),
}
"""The rules that watch one reading. The three others (`TIMED`) take times only."""
TIMED = frozenset({RuleName.PUMP_NO_FLOW, RuleName.GENSET_COOLDOWN, RuleName.RELAY_MAX_ON})


@dataclass(frozen=True, slots=True)
class Declared:
    """One `[[interlock]]` of the site file. Times in ms; `low`, `high` in the reading's unit."""

    id: str
    rule: RuleName
    device: DeviceId
    sensor: DeviceId  # the device itself where nothing else is read
    version: int = 1
    point: str = ""  # "" for rules that take times only
    low: float = float("-inf")
    high: float = float("inf")
    magnitude: bool = False  # judge |reading|
    delay_ms: int = 0  # outside for so long before it acts
    clear_ms: int = 0  # inside for so long before it lets go
    latch: bool = False
    stops: Stops = Stops.BOTH
    max_on_ms: int = 0
    min_rest_ms: int = 0

    @property
    def name(self) -> str:
        """Returns what logs and the console call it."""
        return f"{self.rule}:{self.id}"


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What one rule still allows, in the output's unit and sign."""

    rule: str
    low: float
    high: float


_STOPPED: Mapping[Stops, tuple[float, float]] = {
    Stops.BOTH: (0.0, 0.0),
    Stops.CHARGE: (float("-inf"), 0.0),
    Stops.DISCHARGE: (0.0, float("inf")),
}


@dataclass(slots=True)
class Watch:
    """One declared rule with what it remembers. Times are elapsed milliseconds.

    It begins stopped: a reading has to be inside for `clear_ms` before the output is let go for the first time.
    """

    declared: Declared
    latched: bool = False
    stopped: bool = True
    outside_since: int | None = None
    inside_since: int | None = None

    def look(self, sense: Sense, elapsed: int) -> Narrowing | None:
        """Returns what the rule stops now, None where it lets go."""
        declared = self.declared
        seen = sense.value(declared.sensor, declared.point)
        judged = abs(seen) if seen is not None and declared.magnitude else seen
        if judged is not None and declared.low <= judged <= declared.high:
            self._inside(elapsed)
        else:
            self._outside(known=judged is not None, elapsed=elapsed)
        return Narrowing(declared.name, *_STOPPED[declared.stops]) if self.stopped or self.latched else None

    def reset(self) -> bool:
        """Lets a latched rule go; returns whether it was latched. What it watches still counts."""
        was, self.latched = self.latched, False
        return was

    def _inside(self, elapsed: int) -> None:
        self.outside_since = None
        if self.inside_since is None:
            self.inside_since = elapsed
        if elapsed - self.inside_since >= self.declared.clear_ms:
            self.stopped = False

    def _outside(self, known: bool, elapsed: int) -> None:
        """A reading that is not known stops at once; one outside after the delay, and only that latches."""
        self.inside_since = None
        if not known:
            self.stopped = True
            return
        if self.outside_since is None:
            self.outside_since = elapsed
        if elapsed - self.outside_since >= self.declared.delay_ms:
            self.stopped = True
            self.latched = self.latched or self.declared.latch
