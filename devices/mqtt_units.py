"""A device that speaks plain MQTT, as the gateway's core sees it: a `Unit` that is told instead of asked.

What it last said stands until its deadline (`stale_s`), is repeated with every poll under its own time stamp, and then
the device counts as dead, whatever a last will said or did not say. After a last will nothing counts until the device
says that it is back: brokers keep retained values of devices that are long gone. Nothing that comes in can raise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from devices import bounded_json
from devices.bounded_json import BadJson, JsonValue
from devices.clock import Instant
from devices.drivers import Unwritable
from devices.leases import Output
from devices.model import Message, Readings
from devices.mqtt_profile import PREFIX, MqttPoint, MqttProfile, MqttWrite, load_mqtt_profile
from devices.poll import DEAD_AFTER, Unit
from devices.registers import Block, Registers, RegisterWrite

PAYLOAD_MAX = 16 * 1024
_NEVER = Instant(0)


@dataclass(frozen=True, slots=True)
class MqttDriver:
    """What a profile lets be written; there are no registers to read."""

    profile: MqttProfile

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Returns none."""
        return ()

    @property
    def reverts(self) -> bool:
        """Returns False: no product takes a timer with its command."""
        return False

    def rollover(self, point: str, last: Sequence[Registers | None]) -> int:
        """Returns 0: counters are numbers in JSON."""
        return 0

    def keep_alive_ms(self, point: str) -> int:
        """Returns 0."""
        return 0

    def writes(
        self, point: str, value: float, fallback: float, valid_ms: int, last: Sequence[Registers | None]
    ) -> list[RegisterWrite]:
        """Returns one order where the value can be said; `MqttUnit.commands` makes the message of it.

        Raises:
            Unwritable: the profile has no such command, or not for this value.
        """
        write = self.profile.writes.get(point)
        if write is None:
            raise Unwritable(f"profile {self.profile.name} has no command for {point}")
        command_text(write, value)
        return [RegisterWrite(0, 0, ())]


def command_text(write: MqttWrite, value: float) -> str:
    """Returns the payload that sets a value.

    Raises:
        Unwritable: outside the range, or the device has no word for it.
    """
    if not write.low <= value <= write.high:
        raise Unwritable(f"{value:g} is outside {write.low:g} to {write.high:g}")
    text = f"{value * write.scale:.6g}"
    if write.texts:
        if text not in write.texts:
            raise Unwritable(f"{text}: the device knows {', '.join(write.texts)}")
        text = write.texts[text]
    return write.payload.replace("{value}", text)


@dataclass(slots=True)
class MqttUnit(Unit):
    """One device on the broker. `heard_at` and all other times are the gateway's own elapsed milliseconds."""

    profile: MqttProfile = field(init=False)
    name: str = ""
    stale_ms: int = 0
    heard_at: int = -1
    said_at: Instant = _NEVER
    rejected: int = 0
    gone: bool = False  # its last word of itself was that it is offline
    _by_topic: dict[str, list[tuple[int, MqttPoint, tuple[str, ...]]]] = field(
        default_factory=dict[str, "list[tuple[int, MqttPoint, tuple[str, ...]]]"]
    )

    def __post_init__(self) -> None:
        """Loads the profile.

        Raises:
            BadProfile: no such profile, or it has faults.
        """
        self.profile = load_mqtt_profile(self.spec.driver.removeprefix(PREFIX))
        self.name = self.spec.endpoint.removeprefix(PREFIX)
        self.stale_ms = self.profile.stale_ms
        self.driver = MqttDriver(self.profile)
        self.points = tuple(point.name for point in self.profile.points)
        self.columns = {point: i for i, point in enumerate(self.points)}
        self.values = self._silence()
        for index, point in enumerate(self.profile.points):
            for source in point.sources:
                self._by_topic.setdefault(self.topic(source.topic), []).append((index, point, source.path))

    def topic(self, pattern: str) -> str:
        """Returns a profile's topic for this device."""
        return pattern.replace("{id}", self.name)

    def topics(self) -> list[str]:
        """Returns everything this device says, to be subscribed to."""
        alive = [self.topic(self.profile.alive[0])] if self.profile.alive else []
        return [*self._by_topic, *alive]

    def hear(self, topic: str, payload: bytes, now: Instant, elapsed: int) -> Readings | None:
        """Returns the readings that a message brings, None where it brings nothing new."""
        alive = self.profile.alive
        if alive is not None and topic == self.topic(alive[0]):
            word = payload.decode("utf-8", "replace").strip()
            if word in (alive[1], *alive[2]):
                self.gone = word != alive[1]
            return self._lost(now) if word in alive[2] else None
        if self.gone:
            return None  # retained by the broker, perhaps for days: the device itself is not there
        document: JsonValue = None
        if any(path for _, _, path in self._by_topic.get(topic, ())):
            try:
                document = bounded_json.parse(payload, PAYLOAD_MAX)
            except BadJson:
                self.rejected += 1
                return None
        values, found = list(self.values), False
        for index, point, path in self._by_topic.get(topic, ()):
            raw = _inside(document, path) if path else payload.decode("utf-8", "replace").strip()
            if raw is None:
                continue  # this message does not speak of it
            found = True
            values[index] = _number(point, raw)
            if values[index] is None:
                self.rejected += 1
        if not found:
            return None
        self.values = tuple(values)
        self.heard_at = self.good_at = elapsed
        self.asked_at = elapsed
        self.said_at = now
        self.failures = 0
        return self._readings(now)

    def look(self, now: Instant, elapsed: int) -> Readings | None:
        """Returns what there is to say at a poll: the last word again, or a device that has just gone silent."""
        if self.heard_at < 0 or self.failures:
            return None
        if elapsed - self.heard_at > self.stale_ms:
            return self._lost(now)
        return replace(self._readings(now), at=self.said_at)

    def start(self) -> list[Message]:
        """Returns what is said to the device when it comes, or when we do."""
        return [Message(self.topic(topic), payload.encode()) for topic, payload in self.profile.start]

    def commands(self, output: Output) -> list[Message]:
        """Returns the message that tells the device what `drive` has just decided."""
        write = self.profile.writes[output.point]
        assert output.written is not None, "drive sets what is written"
        output.waiting = 0  # nothing answers a command; the value that comes back does
        return [Message(self.topic(write.topic), command_text(write, output.written).encode())]

    def _lost(self, now: Instant) -> Readings | None:
        if self.heard_at < 0:
            return None
        self.failures = DEAD_AFTER
        self.problem = f"nothing heard on {self.name} for {self.stale_ms // 1000} s, or its last will came"
        self.values = self._silence()
        self.good_at = self.heard_at = -1
        return self._readings(now)

    def _silence(self) -> tuple[float | None, ...]:
        return tuple(None if p.constant is None else _whole(p, p.constant) for p in self.profile.points)


class PlainDevices:
    """All devices of a gateway that speak plain MQTT, by topic."""

    def __init__(self, units: Iterable[Unit]) -> None:
        self.units = [unit for unit in units if isinstance(unit, MqttUnit)]
        self._by_topic: dict[str, list[MqttUnit]] = {}
        for unit in self.units:
            for topic in unit.topics():
                self._by_topic.setdefault(topic, []).append(unit)

    def subscriptions(self) -> list[tuple[str, int]]:
        """Returns (topic, QoS)."""
        return [(topic, 0) for topic in self._by_topic]

    def speakers(self, topic: str) -> Sequence[MqttUnit]:
        """Returns whose topic this is."""
        return self._by_topic.get(topic, ())


def _inside(document: JsonValue, path: Sequence[str]) -> JsonValue:
    for step in path:
        if isinstance(document, Mapping):
            document = document.get(step)
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return document


def _number(point: MqttPoint, raw: JsonValue) -> float | None:
    if isinstance(raw, bool):
        raw = "true" if raw else "false"
    if isinstance(raw, str):
        if point.texts:
            value = point.texts.get(raw)
        else:
            try:
                value = float(raw)
            except ValueError:
                return None
    else:
        value = point.texts.get(f"{raw:g}", raw) if isinstance(raw, int | float) else None
    if value is None:
        return None
    value *= point.scale
    if not math.isfinite(value) or not point.low <= value <= point.high:
        return None
    return _whole(point, value)


def _whole(point: MqttPoint, value: float) -> float | None:
    """Returns a register as a whole number; None beyond what anybody counts."""
    if not point.name.endswith(("_wh", "_ml")):
        return value
    return round(value) if abs(value) < 1 << 53 else None
