"""Advisory mode on real processes and a real broker: whatever happens, the hub says nothing but STATE and rebirths."""

from __future__ import annotations

import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from controller.shell.control import ask
from devices.sparkplug_codec import decode
from tests.integration.stack import Stack

pytestmark = pytest.mark.integration


class Listener:
    """Hears everything that any client publishes."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "listener")
        self.client.on_message = lambda _c, _d, message: self.heard.append((message.topic, bytes(message.payload)))
        self.client.on_connect = self.connected
        deadline = time.monotonic() + 30
        while True:
            try:
                self.client.connect("127.0.0.1", port)
                break
            except OSError:
                assert time.monotonic() < deadline, "no broker"
                time.sleep(0.1)
        self.client.loop_start()

    def connected(self, client: paho.Client, *_: object) -> None:
        """Asks for everything, after each connection anew."""
        client.subscribe("#", 0)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_an_adviser_plans_in_shadow_and_nothing_of_it_reaches_a_device(tmp_path: Path) -> None:
    stack = Stack(tmp_path, 60.0, "--advisory")
    listener = Listener(stack.broker)
    try:
        stack.wait_live()
        deadline = time.monotonic() + 60
        answer: dict[str, object] = {}
        while time.monotonic() < deadline and answer.get("plan") is None:
            stack.run(0.5)
            answer = dict(ask(tmp_path, {"ask": "plan"}))
        assert answer["plan"] is not None, answer
        assert answer["used"] is False
        assert "advisory" in str(answer["note"])
        held = ask(tmp_path, {"ask": "hold", "device": "battery-1", "value": 1000, "for_ms": 600_000, "reason": "try"})
        assert (held["accepted"], held["code"]) == (False, "advisory")
        stack.run(5.0)
    finally:
        stack.stop()
        time.sleep(0.3)
        listener.stop()
    topics = [topic for topic, _ in listener.heard]
    assert any("/DDATA/" in topic for topic in topics), "the village itself was talking"
    from_hub = [
        (topic, payload)
        for topic, payload in listener.heard
        if "/DCMD/" in topic
        or "/NCMD/" in topic
        or "/STATE/" in topic
        or (topic.startswith("vda5050/") and topic.endswith(("/order", "/instantActions")))
    ]
    assert {topic for topic, _ in from_hub if "/STATE/" in topic} == {"spBv1.0/STATE/atoll-adviser"}
    for topic, payload in from_hub:
        if "/STATE/" not in topic:
            assert "/NCMD/" in topic, topic
            assert [metric.name for metric in decode(payload).metrics] == ["Node Control/Rebirth"]
