"""Every value as JSON under a readable topic, retained, for people and scripts: `mosquitto_sub -v -t 'atoll/#'`.

    atoll/<site>/<device>/<point>  {"value":250.0,"unit":"W","quality":"good","time":"2026-06-03T09:40:00Z"}

A mirror, never a source: nothing reads it back. A value that may not be used is null. What changed is sent at most once
per `every_ms`, so many values a cycle at most; a new session with the broker sends everything again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from controller.image import USABLE, Snapshot
from devices.clock import Instant, iso
from devices.model import DeviceId, Message, PointId, split_point

PER_CYCLE_MAX = 500
TOPIC_MAX = 200
_UNITS = {
    "W": "W",
    "V": "V",
    "A": "A",
    "hz": "Hz",
    "soc": "1",
    "level": "1",
    "fuel": "1",
    "limit": "1",
    "setpoint": "W",
    "flow_lpm": "L/min",
    "x": "m",
    "y": "m",
}
_ENDINGS = {"_wh": "Wh", "_ml": "mL", "_w": "W", "_c": "°C", "_lpm": "L/min", "_v": "V", "_a": "A", "_s": "s"}


def unit_of(point: str) -> str:
    """Returns the unit of a point by its name, "" for states and counts without one."""
    known = _UNITS.get(point)
    if known is not None:
        return known
    return next((unit for ending, unit in _ENDINGS.items() if point.endswith(ending)), "")


@dataclass(slots=True)
class Mirror:
    """What was told last, per topic. `every_ms` 0 means that nothing is mirrored.

    `gone` are points of erased members: what a broker still keeps of them is taken back with every new session.
    """

    site_id: str
    every_ms: int = 0
    gone: tuple[PointId, ...] = ()
    skipped: int = 0
    _told: dict[str, tuple[Instant, float | None, str]] = field(
        default_factory=dict[str, "tuple[Instant, float | None, str]"]
    )
    _from: int = 0
    _taken_back: bool = False

    def forget(self) -> None:
        """Sends everything again: the broker may have lost what it kept."""
        self._told.clear()
        self._taken_back = False

    def take(self, snapshot: Snapshot, now: Instant) -> list[Message]:
        """Returns the messages of one cycle; where there are more than fit, the next cycles go on from there."""
        if not self.every_ms:
            return []
        devices = sorted(snapshot.devices)
        messages: list[Message] = []
        if not self._taken_back:  # an empty retained message deletes the one before it (MQTT 3.1.1, 3.3.1.3)
            self._taken_back = True
            gone = (point for point in self.gone if split_point(point)[0] not in snapshot.devices)
            messages += [Message(f"atoll/{self.site_id}/{point}", b"", retain=True) for point in gone]
        for turn in range(len(devices)):
            device = devices[(self._from + turn) % len(devices)]
            if len(messages) >= PER_CYCLE_MAX:
                self._from = (self._from + turn) % len(devices)
                return messages
            for point in snapshot.devices[device].points:
                message = self._message(snapshot, device, point, now)
                if message is not None:
                    messages.append(message)
        self._from = 0
        return messages

    def _message(self, snapshot: Snapshot, device: DeviceId, point: str, now: Instant) -> Message | None:
        topic = f"atoll/{self.site_id}/{device}/{point}"
        reading = snapshot.reading(device, point)
        if reading is None or len(topic) > TOPIC_MAX or set(topic) & {"#", "+", "\0", "$"}:
            self.skipped += 1
            return None
        image = snapshot.devices[device]
        usable = reading.quality in USABLE and image.online
        value = reading.value if usable else None
        quality = reading.quality.name.lower() if image.online or reading.quality not in USABLE else "stale"
        told = self._told.get(topic)
        if told is not None:
            at, before, as_what = told
            if quality == as_what and (value == before or now - at < self.every_ms):
                return None
        self._told[topic] = (now, value, quality)
        body: dict[str, object] = {"value": value, "unit": unit_of(point), "quality": quality, "time": iso(reading.at)}
        if reading.simulated:
            body["simulated"] = True
        return Message(topic, json.dumps(body, ensure_ascii=False).encode(), retain=True)
