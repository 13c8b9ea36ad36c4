"""A simulated Tasmota plug on a real broker: bridged into Sparkplug, switched by a lease, off when that is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.shell.broker import BrokerChild
from devices.clock import Instant
from devices.events import Incoming
from devices.gateway import GatewayConfig
from devices.model import DeviceId, DeviceKind, DeviceSpec, Message, Setpoint
from devices.shell.gateway import run_gateway
from devices.shell.run_clock import RunClock
from devices.sparkplug import DeviceData, DeviceOffline, HostSession
from tests.devices.shell.conftest import WAIT_S, Party

pytestmark = pytest.mark.integration
WELL = DeviceSpec(DeviceId("well"), DeviceKind.PUMP, "mqtt:tasmota_plug", "gw-1", "mqtt:well")
SENSOR = b'{"ENERGY":{"Total":1.5,"Power":%d,"Voltage":230}}'


def test_a_tasmota_plug_is_read_switched_and_falls_back_by_itself(
    broker: BrokerChild, party: Callable[..., Party], tmp_path: Path
) -> None:
    clock, _ = RunClock.start(tmp_path / "run.json", Instant(time.time_ns() // 1_000_000), 1.0)
    plug, hub = party("plug", "cmnd/well/#").up(), party("hub", "spBv1.0/village/#").up()
    stop = threading.Event()
    config = GatewayConfig("gw-1", "village", (WELL,), poll_ms=200)
    place = f"{broker.host}:{broker.port}"
    gateway = threading.Thread(target=run_gateway, args=(config, tmp_path, place, clock, {}, stop))
    gateway.start()
    host, seen, told = HostSession("village"), dict[str, float | None](), list[bytes]()
    power = [b"OFF"]  # what the relay of the plug does
    gone = list[str]()

    def until(wanted: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not wanted():
            assert time.monotonic() < deadline, (seen, told)
            for event in plug.inbox.get(0.02):
                if isinstance(event, Incoming) and event.topic == "cmnd/well/POWER":
                    told.append(event.payload)
                    power[0] = event.payload
                    plug.link.publish(Message("stat/well/RESULT", b'{"POWER":"%s"}' % event.payload))
                elif isinstance(event, Incoming) and event.topic == "cmnd/well/STATE":
                    plug.link.publish(Message("tele/well/STATE", b'{"POWER":"%s"}' % power[0]))
                    plug.link.publish(Message("tele/well/SENSOR", SENSOR % 40))
            for event in hub.inbox.get(0.02):
                if isinstance(event, Incoming):
                    for found in host.receive(event.topic, event.payload, clock.now()):
                        if isinstance(found, DeviceData):
                            seen.update(zip(found.readings.points, found.readings.values, strict=True))
                        elif isinstance(found, DeviceOffline):
                            gone.append(found.device)

    try:
        until(lambda: (seen.get("W"), seen.get("import_wh"), seen.get("on")) == (40.0, 1500, 0.0))
        lease = Setpoint(WELL.id, "on", 1.0, 1, 1, 4_000, 0.0, "test")
        hub.link.publish(host.setpoint("gw-1", lease, clock.now()))
        until(lambda: set(told) == {b"ON"} and seen.get("on") == 1.0)  # on a busy machine it may be told twice
        until(lambda: told[-1:] == [b"OFF"] and seen.get("on") == 0.0)
        plug.link.publish(Message("tele/well/LWT", b"Offline"))
        until(lambda: gone == ["well"])
    finally:
        stop.set()
        gateway.join(10)
