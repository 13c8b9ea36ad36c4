"""Simulated devices that speak plain MQTT, made of every shipped profile: heard, switched, lost by a gateway core."""

from __future__ import annotations

import dataclasses
import json

import pytest

from controller.cli import exit_code
from devices.bus import BusAnswer, BusRead
from devices.clock import Instant
from devices.events import Incoming, LinkUp, Tick
from devices.gateway import Gateway, GatewayConfig, Send, step
from devices.model import DeviceKind, DeviceSpec, Message, Setpoint
from devices.mqtt_profile import load_mqtt_profile, mqtt_profile_names
from devices.sparkplug import HostSession
from firmware_sim.fleet import VillageFleet, factory
from firmware_sim.profiles import Profiles
from tests.firmware_sim.conftest import SITE

START = Instant(1_780_300_800_000)
HOME = "home-05"  # without a solar plant: the plug counts one way only
KINDS = {"esphome_tank": DeviceKind.TANK}


class World:
    """A fleet in which one device speaks MQTT, and its gateway."""

    def __init__(self, name: str, specs: list[DeviceSpec], kind: DeviceKind) -> None:
        replaced = next(spec for spec in specs if spec.kind is kind)
        self.me = dataclasses.replace(replaced, driver=f"mqtt:{name}", endpoint="mqtt:barn/it", unit=0)
        fleet = factory.build([self.me if s is replaced else s for s in specs], START, 1, None)
        assert isinstance(fleet, VillageFleet)
        self.fleet = fleet
        self.now = START
        self.gateway = Gateway(GatewayConfig("gw-1", "village", (self.me,), 1000), START)
        self.host, self.sent = HostSession("village"), list[Message]()
        self.perform(LinkUp())

    def perform(self, event: object) -> None:
        for effect in step(self.gateway, event, self.now)[1]:  # type: ignore[arg-type]
            if isinstance(effect, BusRead):
                self.perform(BusAnswer(effect.request, ()))
            elif isinstance(effect, Send):
                self.sent.append(effect.message)
                self.fleet.receive(effect.message)

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now = Instant(self.now + 1000)
            self.fleet.advance(self.now)
            for message in self.fleet.messages():
                if self.gateway.plain.speakers(message.topic):
                    self.perform(Incoming(message.topic, message.payload))
            self.perform(Tick())

    def value(self, point: str) -> float | None:
        return self.gateway.units[self.me.id].value(point)


@pytest.mark.parametrize("name", mqtt_profile_names())
def test_what_a_simulated_device_says_is_what_the_physics_know(name: str, specs: list[DeviceSpec]) -> None:
    world = World(name, specs, KINDS.get(name, DeviceKind.METER))
    device = world.fleet.plain[0]
    world.run(device.profile.stale_ms // 3000 + 2)  # it has spoken since its first word
    for point, get in device.points.items():
        if point in {p.name for p in load_mqtt_profile(name).points if p.sources}:
            assert world.value(point) == pytest.approx(get(), abs=3), point
    world.fleet.happen("device-silent", {"device": str(world.me.id)})
    world.run(load_mqtt_profile(name).stale_ms // 1000 + 2)
    assert world.gateway.units[world.me.id].dead
    world.fleet.happen("device-back", {"device": str(world.me.id)})
    world.run(5)
    assert not world.gateway.units[world.me.id].dead, "it is heard again by itself"


@pytest.mark.parametrize("name", [name for name in mqtt_profile_names() if load_mqtt_profile(name).writes])
def test_a_pump_behind_a_plug_runs_for_its_lease_and_no_longer(name: str, specs: list[DeviceSpec]) -> None:
    world = World(name, specs, DeviceKind.PUMP)
    world.run(70)
    assert world.value("on") == 0
    lease = Setpoint(world.me.id, "on", 1.0, 1, 1, 120_000, 0.0, "test")
    message = world.host.setpoint("gw-1", lease, world.now)
    world.perform(Incoming(message.topic, message.payload))
    world.run(75)
    assert (world.value("on"), world.fleet.village.pump is not None and world.fleet.village.pump.on) == (1, True)
    assert (world.value("W") or 0) > 100
    world.run(60)
    assert world.value("on") == 0, "its lease is over: the gateway has switched it off"


@pytest.mark.deep
def test_a_site_with_a_plug_lives_a_day_on_virtual_time(tmp_path, year: Profiles, capsys) -> None:
    text = SITE.read_text()
    row = text.index(f'id = "{HOME}"', text.index("[[device]]"))
    start = text.rindex("[[device]]", 0, row)
    end = text.index("\n\n", row)
    plug = f'''[[device]]
id = "{HOME}"
kind = "meter"
driver = "mqtt:tasmota_plug"
gateway = "gw-1"
endpoint = "mqtt:plug"'''
    for file in SITE.parent.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "site.toml").write_text(text[:start] + plug + text[end:])
    words = ["simulate", str(tmp_path / "site.toml"), "--days", "1", "--seed", "1", "--json"]
    with pytest.raises(SystemExit, match="0"):
        exit_code(words)
    said = capsys.readouterr().out
    report = json.loads(said[said.index("{") :])
    assert not [alarm for alarm in report["alarms"] if HOME in alarm]
