"""Listening on a broker for a while, for a technician: what is retained and what is said. It publishes nothing."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Sequence

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from devices.clock import Instant
from devices.model import DeviceSpec
from devices.mqtt_units import MqttUnit
from devices.shell.broker_login import Login

Enough = Callable[[str, bytes], bool]
"""Called with every message; True ends the listening."""
TOPICS_MAX = 20_000
PAYLOAD_MAX = 65_536


class BrokerSilent(OSError):
    """The broker cannot be used."""


def listen(
    broker: str,
    seconds: float,
    username: str = "",
    password: str = "",
    topics: Sequence[str] = ("#",),
    enough: Enough | None = None,
) -> dict[str, bytes]:
    """Returns the last payload of every topic that was heard.

    Raises:
        BrokerSilent: no connection, or it was refused.
    """
    host, _, port = broker.rpartition(":")
    heard: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
    refused: list[str] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"atoll-ear-{os.getpid()}")
    if username:
        client.username_pw_set(username, password)

    def connected(_client: object, _data: object, _flags: object, reason: ReasonCode, _properties: object) -> None:
        if reason.is_failure:
            refused.append(str(reason))
        else:
            client.subscribe([(topic, 0) for topic in topics])

    client.on_connect = connected
    client.on_message = lambda _client, _data, message: heard.put((message.topic, bytes(message.payload[:PAYLOAD_MAX])))
    try:
        client.connect(host or "127.0.0.1", int(port), keepalive=30)
    except (OSError, ValueError) as error:
        raise BrokerSilent(f"{broker}: {error}") from error
    client.loop_start()
    try:
        return _gathered(heard, refused, seconds, enough)
    finally:
        client.disconnect()
        client.loop_stop()


def _gathered(
    heard: queue.SimpleQueue[tuple[str, bytes]], refused: list[str], seconds: float, enough: Enough | None
) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and len(found) < TOPICS_MAX:
        if refused:
            raise BrokerSilent(refused[0])
        try:
            topic, payload = heard.get(timeout=min(left, 0.2))
        except queue.Empty:
            continue
        found[topic] = payload
        if enough is not None and enough(topic, payload):
            break
    return found


def read_plain(spec: DeviceSpec, broker: str, seconds: float, login: Login | None = None) -> dict[str, float | None]:
    """Returns the values of a device that speaks MQTT, as soon as all were heard; empty where it said nothing.

    Raises:
        BrokerSilent: the broker cannot be used.
        BadProfile: its driver names no sound profile.
    """
    unit = MqttUnit(spec)
    wanted = [point.name for point in unit.profile.points if not point.optional]
    known: dict[str, float | None] = {}

    def enough(topic: str, payload: bytes) -> bool:
        if unit.hear(topic, payload, Instant(time.time_ns() // 1_000_000), 0) is not None:
            known.update(zip(unit.points, unit.values, strict=True))
        return all(known.get(point) is not None for point in wanted)

    name, password = ("", "") if login is None else (login.name, login.password)
    listen(broker, seconds, name, password, unit.topics(), enough)
    return {point: value for point, value in known.items() if point in wanted or value is not None}
