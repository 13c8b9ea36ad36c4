"""The server on loopback, read by clients that are not ours."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusIOException
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from devices.shell.run_clock import boot_id

ROOT = Path(__file__).parents[2]
SPEED = 60.0
EPOCH = 1_780_300_800_000
SCRIPT = """
import sys; sys.path[:0] = ["tests/firmware_sim", "firmware-sim", "."]
import tomllib
from conftest import SITE, spec_of
from firmware_sim.fleet import factory
from devices.clock import Instant
specs = [spec_of(row) for row in tomllib.loads(SITE.read_text())["device"]]
fleet = factory.build(specs, Instant(int(sys.argv[1])), 7, None)
factory.serve(fleet, sys.argv[2], "", sys.argv[3])
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what: Callable[[], bool], seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "did not happen"
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """One fleet process in a folder."""

    def __init__(self, folder: Path, broker: int | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.state = folder / "fleet.json"
        run = {
            "epoch_ms": EPOCH,
            "anchor_ns": time.monotonic_ns(),
            "speed": SPEED,
            "boot": boot_id(),
            "broker": f"127.0.0.1:{broker or free_port()}",
            "endpoints": {"127.0.0.1:5020": f"127.0.0.1:{self.port}"},
        }
        (folder / "run.json").write_text(json.dumps(run))
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", SCRIPT, str(EPOCH), str(self.folder / "run.json"), str(self.state)]
        self.process = subprocess.Popen(command, cwd=ROOT)
        wait_for(lambda: listens(self.port))

    def stop(self, how: int = signal.SIGTERM) -> float:
        begun = time.monotonic()
        self.process.send_signal(how)
        self.process.wait(10)
        return time.monotonic() - begun

    def client(self) -> ModbusTcpClient:
        client = ModbusTcpClient("127.0.0.1", port=self.port, timeout=1, retries=0)
        assert client.connect()
        return client


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen([shutil.which("mosquitto") or "mosquitto", "-c", str(config)])
    wait_for(lambda: listens(port))
    yield port
    process.kill()
    process.wait()


@pytest.mark.integration
@pytest.mark.needs("mosquitto")
def test_a_vehicle_takes_an_order_over_mqtt_and_leaves_properly(tmp_path: Path, broker: int) -> None:
    prefix, order_id = "vda5050/v2/atoll/robot-1/", "o1"
    seen: dict[str, list[dict[str, Any]]] = {"state": [], "connection": [], "factsheet": []}

    def take(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        seen.setdefault(message.topic.removeprefix(prefix), []).append(json.loads(message.payload))

    hub = paho.Client(CallbackAPIVersion.VERSION2, "hub")
    hub.on_message = take
    hub.connect("127.0.0.1", broker)
    hub.subscribe(prefix + "+")
    hub.loop_start()
    server = Server(tmp_path, broker)
    try:
        wait_for(lambda: bool(seen["state"]) and bool(seen["factsheet"]))
        assert seen["connection"][-1]["connectionState"] == "ONLINE"
        names = ("headerId", "timestamp", "version", "manufacturer", "serialNumber")
        head = {name: seen["state"][-1][name] for name in names}
        places = [("dock", 0, 0.0), ("gate", 2, 6.0)]
        nodes: list[dict[str, Any]] = [
            {
                "nodeId": name,
                "sequenceId": number,
                "released": True,
                "nodePosition": {"x": x, "y": 0.0, "mapId": "site"},
                "actions": [],
            }
            for name, number, x in places
        ]
        edge: dict[str, Any] = {
            "edgeId": "e",
            "sequenceId": 1,
            "released": True,
            "startNodeId": "dock",
            "endNodeId": "gate",
        }
        order: dict[str, Any] = {
            **head,
            "orderId": order_id,
            "orderUpdateId": 0,
            "nodes": nodes,
            "edges": [{**edge, "actions": []}],
        }
        hub.publish(prefix + "order", json.dumps(order))
        wait_for(lambda: seen["state"][-1]["lastNodeId"] == "gate")
        assert seen["state"][-1]["orderId"] == order_id
        assert seen["state"][-1]["agvPosition"]["x"] == 6
        server.stop()
        wait_for(lambda: seen["connection"][-1]["connectionState"] == "OFFLINE")
    finally:
        hub.loop_stop()
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    if server.process.poll() is None:
        server.stop(signal.SIGKILL)


def wh(client: ModbusTcpClient, unit: int) -> int:
    registers = client.read_holding_registers(40_116, count=2, device_id=unit).registers
    return registers[0] << 16 | registers[1]


def charges(device: Any, watts: float) -> bool:
    """Returns whether the battery takes this power now: negative in SunSpec."""
    device.models[701][0].read()
    return device.models[701][0].W.cvalue == -watts


@pytest.mark.integration
def test_masters_read_write_and_meet_silence(server: Server) -> None:
    client = server.client()
    assert client.read_holding_registers(40_000, count=2, device_id=1).registers == [0x5375, 0x6E53]
    first = wh(client, 8)
    assert not client.write_coil(0, True, device_id=103).isError()
    assert client.read_coils(0, count=1, device_id=103).bits[0]
    wait_for(lambda: wh(client, 8) > first)  # half a second is half a minute
    assert client.read_input_registers(2, count=1, device_id=103).registers == [900]
    assert client.read_holding_registers(39_000, count=2, device_id=1).exception_code == 2
    with pytest.raises(ModbusIOException):
        client.read_holding_registers(40_000, count=2, device_id=99)
    client.close()


@pytest.mark.integration
def test_an_independent_sunspec_client_scans_the_chains(server: Server) -> None:
    for unit, models in ((1, [1, 203]), (47, [1, 103, 123]), (101, [1, 701, 704, 713])):
        device: Any = SunSpecModbusClientDeviceTCP(slave_id=unit, ipaddr="127.0.0.1", ipport=server.port, timeout=2)
        device.scan()
        assert [model.model_id for model in device.model_list] == models
        assert device.models[1][0].Mn.value == "Atoll"
        if unit == 1:
            meter = device.models[203][0]
            assert 0 < meter.W.cvalue <= 6_000
            assert 220 < meter.PhVphA.cvalue < 240
            assert meter.TotWhImp.cvalue > 0
            assert meter.VA.cvalue is None
        if unit == 101:
            assert 49 < device.models[713][0].SoC.cvalue < 51
            controls = device.models[704][0]
            controls.WSetEna.value, controls.WSetMod.value = 1, 1
            controls.WSet.cvalue = -5_000
            controls.WSetRvrtTms.cvalue = 3_600
            controls.write()
            wait_for(partial(charges, device, 5_000))
        device.close()


@pytest.mark.integration
def test_it_stops_clean_and_goes_on_where_it_was(server: Server) -> None:
    client = server.client()
    before = wh(client, 8)
    assert server.stop() < 5  # an order of magnitude, on a busy machine; 0.2 s usually
    client.close()
    saved = json.loads(server.state.read_text())
    assert saved["village"]["at"] > EPOCH
    server.start()
    client = server.client()
    again = wh(client, 8)
    assert again >= before
    client.close()
    wait_for(lambda: json.loads(server.state.read_text())["village"]["at"] > saved["village"]["at"])
    server.stop(signal.SIGKILL)
    server.start()
    client = server.client()
    assert wh(client, 8) >= again
    client.close()
    assert server.process.pid != os.getpid()
