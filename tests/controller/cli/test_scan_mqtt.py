"""`atoll scan mqtt`, `scan gpio`, and reading devices that speak MQTT, on a real broker."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt import publish

from controller.cli import exit_code
from controller.shell.children import wait_until
from devices.mqtt_listen import identify

SENSOR = b'{"Time":"x","ENERGY":{"Total":12.5,"Power":640,"Voltage":229}}'


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = int(probe.getsockname()[1])
    process = subprocess.Popen(["mosquitto", "-p", str(number)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def there() -> bool:
        with socket.socket() as link:
            return link.connect_ex(("127.0.0.1", number)) == 0

    assert wait_until(there, 10)
    says = {
        "tele/plug-7/LWT": b"Online", "tele/plug-7/SENSOR": SENSOR, "stat/plug-7/RESULT": b'{"POWER":"ON"}',
        "garden/sensor/level/state": b"55.5", "garden/status": b"online", "homie/pump/$name": b"Pump",
        "homie/5/meter-2/$state": b"ready", "homie/5/meter-2/meter/power": b"11",
        "homie/5/meter-2/meter/energy": b"3.25",
        "uagv/v2/Acme/Bot-1/connection": b"{}", "homeassistant/sensor/roof/temp/config": b'{"state_topic":"roof/t"}',
        "spBv1.0/motu/NBIRTH/gw-9": b"\xff\xff no protobuf", "noise": b"\x00\xff",
    }  # fmt: skip
    messages = [{"topic": topic, "payload": payload, "retain": True} for topic, payload in says.items()]
    publish.multiple(messages, hostname="127.0.0.1", port=number)  # pyright: ignore[reportArgumentType]
    yield number
    process.terminate()
    process.wait(5)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATOLL_BROKER", f"127.0.0.1:{port}")
    monkeypatch.setenv("ATOLL_LISTEN_S", "2")
    return tmp_path


@pytest.mark.integration
@pytest.mark.needs("mosquitto")
def test_who_speaks_is_found_and_what_is_proposed_is_taken(
    here: Path, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["scan", "mqtt", f"127.0.0.1:{port}", "--seconds", "1", "--json"]) == 0
    found = {row["id"]: row for row in json.loads(capsys.readouterr().out)["devices"]}
    assert {row["protocol"] for row in found.values()} == {
        "tasmota", "esphome", "homie4", "homie5", "vda5050", "home-assistant", "sparkplug",
    }  # fmt: skip
    words = found["plug-7"]["proposal"].split()
    assert exit_code(["init", "--yes", "--name", "M", "--endpoint", "10.0.0.9:502", "--driver", "sunspec"]) == 0
    assert exit_code([*words[1:], "--member", "home-01"]) == 0
    capsys.readouterr()
    assert exit_code(["read", "plug-7", "--site", "site.toml", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)["values"]
    assert (values["W"], values["import_wh"], values["on"]) == (640, 12_500, 1)
    assert exit_code(["read", "plug-7.W", "--site", "site.toml"]) == 0
    assert exit_code(["device", "test", "plug-7", "--samples", "1"]) == 0
    assert exit_code([*found["meter-2"]["proposal"].split()[1:], "--member", "home-01"]) == 0
    capsys.readouterr()
    assert exit_code(["read", "meter-2", "--site", "site.toml", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)["values"]
    assert (values["W"], values["import_wh"]) == (11, 3250), "a Homie 5 device, by its own topics"


@pytest.mark.integration
@pytest.mark.needs("mosquitto")
def test_a_device_that_is_silent_and_a_broker_that_is_none(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["read", "x", "--endpoint", "mqtt:nobody", "--driver", "mqtt:tasmota_plug"]
    assert exit_code(words) == 4
    assert "MQTT-002" in capsys.readouterr().err
    monkeypatch.setenv("ATOLL_BROKER", "127.0.0.1:1")
    assert exit_code(words) == 4
    assert exit_code(["scan", "mqtt", "127.0.0.1:1"]) == 4
    assert capsys.readouterr().err.count("MQTT-001") >= 2


def test_nothing_that_is_heard_can_raise() -> None:
    topics = [
        "tele/a/SENSOR",
        "homeassistant/x/y/config",
        "spBv1.0/g/DBIRTH/n/d",
        "a/sensor/energy/state",
        "a/v2/b/c/state",
    ]
    for payload in (b"", b"\xff" * 9, b"[" * 5000, b'{"ENERGY": 1e999}', b"null"):
        found = identify(dict.fromkeys(topics, payload))
        assert len(found) == len(topics)


def test_a_machine_without_pins_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if list(Path("/dev").glob("gpiochip*")):
        assert exit_code(["scan", "gpio"]) in (0, 4)
    else:
        assert exit_code(["scan", "gpio"]) == 4
        assert "GPIO-001" in capsys.readouterr().err
