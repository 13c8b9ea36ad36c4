"""What gateways know becomes alarms: told by a real gateway core, raised by the hub, gone by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.alarms import AlarmBook, AlarmState
from controller.cli.codes import CODES
from controller.conditions import Health, deadlines, find
from controller.edge_conditions import FLAG_WORDS
from controller.image import Image
from controller.plan_energy import batteries, gensets
from devices.clock import HOUR_MS
from devices.gpio import FLAGS
from devices.model import DeviceId, DeviceKind, DeviceSpec
from devices.outputs import IGNORES, LOCKED_OUT
from devices.sparkplug import DeviceData, DeviceOffline, HostSession
from tests.controller.scene import NOW, snapshot, village
from tests.devices.gateway_bench import CHARGER, TANK, Bench

SITE = village()
HEALTH = Health(True, "", frozenset({"gw-1"}), NOW, False, 0, "", 0, {}, {}, settle_ms=0)
METER = DeviceSpec(DeviceId("spring"), DeviceKind.FLOW_METER, "gpio:header", "gw-1")


class Watcher:
    """A hub's ears and alarm book beside a gateway."""

    def __init__(self, bench: Bench, *, commands: bool = True) -> None:
        self.bench, self.host, self.image = bench, HostSession("village"), Image(deadlines(SITE, 1_000, 0))
        self.book = AlarmBook(clear_delay_ms=0)
        self.health = replace(HEALTH, watch_from=bench.now, commands=commands)
        self.site = replace(SITE, devices=tuple(bench.gateway.config.devices))

    def run(self, duration_ms: int) -> dict[str, AlarmState]:
        """Lets the gateway work, and returns the alarms that stand then."""
        self.bench.run(duration_ms)
        for message in self.bench.sent:
            for event in self.host.receive(message.topic, message.payload, self.bench.now):
                if isinstance(event, DeviceData):
                    self.image.update(event.readings, event.readings.at)
                elif isinstance(event, DeviceOffline):
                    self.image.offline(event.device)
        self.bench.sent.clear()
        found = find(self.site, self.image.freeze(self.bench.now), self.health)
        self.book.update(found, self.bench.now)
        return {alarm.condition.id: alarm.state for alarm in self.book.standing}


def test_a_device_that_ignores_its_setpoint_is_an_alarm_until_it_follows() -> None:
    watcher = Watcher(Bench([CHARGER, TANK]))
    watcher.run(2_000)
    watcher.bench.devices["charger-1"].deaf = True
    watcher.bench.setpoint("charger-1", 7000, valid_ms=HOUR_MS)
    assert watcher.run(10_000) == {"ignores.charger-1": AlarmState.UNACKNOWLEDGED}
    watcher.bench.devices["charger-1"].deaf = False
    assert watcher.run(120_000) == {"ignores.charger-1": AlarmState.RETURNED}


def test_a_lapsed_lease_is_an_alarm_until_somebody_speaks_again_and_none_for_a_hub_that_only_looks() -> None:
    watcher, adviser = (Watcher(Bench([CHARGER, TANK]), commands=commands) for commands in (True, False))
    for one in (watcher, adviser):
        one.run(2_000)
        one.bench.setpoint("charger-1", 7000, valid_ms=5_000)
        assert one.run(2_000) == {}
    assert watcher.run(10_000) == {"lapsed.charger-1": AlarmState.UNACKNOWLEDGED}
    assert adviser.run(10_000) == {}
    watcher.bench.setpoint("charger-1", 7000, valid_ms=HOUR_MS, sequence=99)
    assert watcher.run(2_000) == {"lapsed.charger-1": AlarmState.RETURNED}


@pytest.mark.parametrize("state", [IGNORES, LOCKED_OUT])
def test_the_plan_counts_on_no_device_that_ignores_or_is_locked_out(state: str) -> None:
    prices = [0.3] * 96
    for value, there in ((0.0, True), (None, True), (1.0, False)):
        seen = snapshot(SITE, {"battery-1": {state: value}, "genset-1": {state: value}})
        assert [one.id for one in batteries(SITE, seen, prices)] == ["battery-1"] * there
        assert [one.id for one in gensets(SITE, seen, {})] == ["genset-1"] * there


def test_who_is_locked_out_is_spoken_for_by_nobody_and_that_is_no_alarm() -> None:
    watcher = Watcher(Bench([CHARGER, TANK]))
    watcher.run(2_000)
    output = watcher.bench.gateway.leases.outputs[CHARGER.id]
    output.lapsed, output.tag = True, "ana: cable"
    assert watcher.run(2_000) == {}


@pytest.mark.parametrize("flag", FLAGS)
def test_each_flag_of_a_pulse_meter_is_an_alarm_with_its_own_help(flag: str) -> None:
    site = replace(SITE, devices=(*SITE.devices, METER))
    readings = {"spring": {"flow_lpm": 1.0, flag: 1.0}, "water-1": {f"home-03.water_{flag}": 1.0}}
    found = find(site, snapshot(site, readings), HEALTH)
    name = flag.replace("_", "-")
    for meter in ("spring", "home-03.water"):
        condition = found[f"{name}.{meter}"]
        assert condition.text.startswith(f"{meter} ")
        assert condition.code in CODES
    for dull in (0.0, None):
        calm = {device: dict.fromkeys(points, dull) for device, points in readings.items()}
        assert not [alarm for alarm in find(site, snapshot(site, calm), HEALTH) if name in alarm]
    assert set(FLAG_WORDS) == set(FLAGS)


def test_a_silent_device_and_a_silent_gateway_name_their_help() -> None:
    later = replace(SITE, devices=SITE.devices)
    codes = {name: one.code for name, one in find(later, snapshot(SITE, age_ms=HOUR_MS), HEALTH).items()}
    assert codes["bus.gw-1"] == "EDGE-008"
    assert codes["offline.robot-1"] == "EDGE-007"
    alone = replace(HEALTH, gateways_online=frozenset())
    assert find(SITE, snapshot(SITE), alone)["gateway.gw-1"].code == "EDGE-009"
    assert {"EDGE-007", "EDGE-008", "EDGE-009"} <= set(CODES)
