"""A device that speaks plain MQTT (Tasmota, ESPHome, Homie, ...), made of its profile: what it says, what it obeys."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from devices.clock import SECOND_MS, Instant
from devices.model import DeviceSpec, Message
from devices.mqtt_profile import PREFIX, MqttPoint, MqttProfile, load_mqtt_profile
from firmware_sim.points import Getter

SAYS_PER_DEADLINE = 3
"""A device speaks this often within the time after which silence means dead."""


@dataclass(slots=True)
class PlainDevice:
    """One device on the broker: its points by name, and who takes what is written."""

    spec: DeviceSpec
    points: Mapping[str, Getter]
    take: Callable[[float], None]
    profile: MqttProfile = field(init=False)
    fault: str = ""  # any: it is not on the network
    next_at: int = 0
    outbox: list[Message] = field(default_factory=list[Message])

    def __post_init__(self) -> None:
        """Loads the profile.

        Raises:
            BadProfile: there is none of that name.
        """
        self.profile = load_mqtt_profile(self.spec.driver.removeprefix(PREFIX))

    def _topic(self, pattern: str) -> str:
        return pattern.replace("{id}", self.spec.endpoint.removeprefix(PREFIX))

    @property
    def client_id(self) -> str:
        """Returns its MQTT client id."""
        return f"sim-{self.spec.id}"

    def subscriptions(self) -> list[tuple[str, int]]:
        """Returns the topics of its commands."""
        return [(self._topic(write.topic), 0) for write in self.profile.writes.values()]

    def concerns(self, topic: str) -> bool:
        """Returns whether a topic is one of its commands."""
        return any(topic == mine for mine, _ in self.subscriptions())

    def will(self) -> Message:
        """Returns what the broker says when the connection breaks."""
        if self.profile.alive is None:
            return Message(self._topic("{id}/gone"), b"")
        topic, _, offline = self.profile.alive
        return Message(self._topic(topic), offline[0].encode(), retain=True)

    def farewell(self, now: Instant) -> Message:
        """Returns the same: these devices know no orderly leave."""
        del now
        return self.will()

    def link_up(self, now: Instant) -> None:
        """Queues that it is there, and what it reads."""
        if self.profile.alive is not None:
            topic, online, _ = self.profile.alive
            self.outbox.append(Message(self._topic(topic), online.encode(), retain=True))
        self.tell(now)

    def tell(self, now: Instant) -> None:
        """Queues everything it reads, one message per topic."""
        self.next_at = now + self.profile.stale_ms // SAYS_PER_DEADLINE
        plain: dict[str, str] = {}
        documents: dict[str, dict[str, object]] = {}
        for point in self.profile.points:
            said = self._said(point)
            for source in point.sources if said is not None else ():
                topic = self._topic(source.topic)
                if source.path:
                    _put(documents.setdefault(topic, {}), source.path, said)
                else:
                    plain[topic] = str(said)
        self.outbox += [Message(topic, text.encode()) for topic, text in plain.items()]
        self.outbox += [Message(topic, json.dumps(document).encode()) for topic, document in documents.items()]

    def _said(self, point: MqttPoint) -> str | float | None:
        get = self.points.get(point.name)
        value = None if get is None else get()
        if value is None:
            return None
        text = next((text for text, number in point.texts.items() if number == value), None)
        return round(value / point.scale, 6) if text is None else text

    def receive(self, message: Message, now: Instant) -> None:
        """Obeys a command that it knows, and says what it reads then."""
        for write in self.profile.writes.values():
            if message.topic != self._topic(write.topic) or self.fault:
                continue
            word = message.payload.decode("utf-8", "replace")
            known = {write.payload.replace("{value}", text): float(value) for value, text in write.texts.items()}
            if word in known:
                self.take(known[word])
                self.tell(now)

    def advance(self, now: Instant) -> None:
        """Speaks when it is time."""
        if now >= self.next_at:
            if self.fault:
                self.next_at = now + SECOND_MS
            else:
                self.tell(now)

    def take_messages(self) -> list[Message]:
        """Returns and forgets what it wants published; nothing while it is not on the network."""
        messages, self.outbox = self.outbox, []
        return [] if self.fault else messages


def _put(document: dict[str, object], path: tuple[str, ...], value: object) -> None:
    *tables, name = path
    for table in tables:
        inner = document.setdefault(table, {})
        assert isinstance(inner, dict), "a profile's paths do not cross"
        document = inner  # pyright: ignore[reportUnknownVariableType]
    document[name] = value
