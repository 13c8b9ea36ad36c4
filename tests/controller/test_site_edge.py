"""Pins and interlocks in the site file: what is read, and every fault with its place."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from controller.cli import exit_code
from controller.shell.gateway_setup import gateway_config
from controller.site import check, load
from devices.interlock_watch import RuleName
from devices.model import DeviceKind
from devices.shell.gateway import never_written

VILLAGE = (Path(__file__).parents[1] / "village.toml").read_text(encoding="utf-8")
EDGE = """
[[device]]
id = "float-1"
kind = "switch"
driver = "gpio:header"
gateway = "gw-1"
pins = { on = { pin = 5, use = "switch", pull = "up", active_low = true, debounce_ms = 200 } }

[[device]]
id = "valve-1"
kind = "relay"
driver = "gpio:header"
gateway = "gw-1"
ratings = { max_on_ms = 60000, min_rest_ms = 1000 }
pins = { on = { pin = 17, use = "relay", active_low = true } }

[[device]]
id = "flow-1"
kind = "flow_meter"
driver = "gpio:header"
gateway = "gw-1"
[device.pins]
flow_lpm = { pin = 27, use = "flow", ml_per_pulse = 2.2222, flow_lpm_max = 60 }
volume_ml = { pin = 27, use = "counter", ml_per_pulse = 2.2222, flow_lpm_max = 60 }

[[interlock]]
id = "overflow"
rule = "tank-overflow"
device = "valve-1"
sensor = "float-1"

[[interlock]]
id = "feeder"
rule = "feeder-trip"
device = "battery-1"
sensor = "grid-1"
high = 50000
"""


def test_pins_and_interlocks_are_read_with_their_rules_defaults() -> None:
    site = load(VILLAGE + EDGE, "site.toml")
    valve = site.device("valve-1")
    assert valve is not None
    assert (valve.kind, valve.hazardous, valve.pins[0].active_low) == (DeviceKind.RELAY, True, True)
    flow = EDGE.replace("pin = 27,", 'pin = 27, direction = 22, reverse = "low",')
    meter = load(VILLAGE + flow, "site.toml").device("flow-1")
    assert meter is not None
    assert {(pin.pin, pin.direction, pin.reverse_low) for pin in meter.pins} == {(27, 22, True)}
    overflow, feeder = site.interlocks
    assert (overflow.rule, overflow.point, overflow.high, overflow.clear_ms) == (
        RuleName.TANK_OVERFLOW, "on", 0.5, 10_000,
    )  # fmt: skip
    assert (feeder.latch, feeder.magnitude, feeder.delay_ms, feeder.version) == (True, True, 2000, 1)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('pins = { on = { pin = 17, use = "relay", active_low = true } }', "", "SITE-070"),
        ("pin = 17", "pin = 5", "SITE-071"),
        ("pin = 17", "pin = 14", "SITE-071"),
        ("pin = 17", "pin = 28", "SITE-012"),
        ('pin = 27, use = "flow"', 'pin = 27, use = "counter"', "SITE-071"),
        ('pin = 17, use = "relay"', 'pin = 17, use = "switch"', "SITE-072"),
        ('pin = 5, use = "switch"', 'pin = 5, use = "relay"', "SITE-072"),
        ("volume_ml = { pin = 27", "volume_l = { pin = 27", "SITE-072"),
        ('pin = 17, use = "relay"', 'pin = 17, direction = 18, use = "relay"', "SITE-072"),
        ('pin = 27, use = "flow"', 'pin = 27, direction = 5, use = "flow"', "SITE-071"),
        ('pin = 27, use = "flow"', 'pin = 27, direction = 27, use = "flow"', "SITE-071"),
        ('pin = 27, use = "flow"', 'pin = 27, direction = 1, use = "flow"', "SITE-071"),
        ('pin = 27, use = "flow"', 'pin = 27, direction = 22, use = "flow"', "SITE-071"),
        (
            'flow_lpm = { pin = 27, use = "flow", ml_per_pulse = 2.2222,',
            'flow_lpm = { pin = 27, use = "flow",',
            "SITE-072",
        ),
        ('device = "valve-1"', 'device = "float-1"', "SITE-073"),
        ('sensor = "float-1"', 'sensor = "floater"', "SITE-073"),
        ('sensor = "float-1"', 'sensor = "robot-1"', "SITE-074"),
        ('device = "valve-1"', 'device = "robot-1"', "SITE-073"),
        ('sensor = "float-1"', "", "SITE-075"),
        ("high = 50000", "", "SITE-075"),
        ("high = 50000", "high = 5\nlow = 6", "SITE-075"),
        ('rule = "tank-overflow"', 'rule = "relay-max-on"', "SITE-075"),
        ('rule = "tank-overflow"', 'rule = "tank-overfull"', "SITE-012"),
        ('id = "feeder"', 'id = "overflow"', "SITE-020"),
    ],
)
def test_each_fault_is_named_with_its_code(old: str, new: str, code: str) -> None:
    assert EDGE.count(old) == 1, old
    site, problems = check(VILLAGE + EDGE.replace(old, new), "site.toml")
    assert site is None
    assert code in [f"SITE-{p.code}" if not p.code.startswith("SITE") else p.code for p in problems], problems


YARD = '[[interlock]]\nid = "yard"\nrule = "people-zone"\ndevice = "robot-1"\nsensor = "SENSOR"\n'


def test_people_stop_a_vehicle_at_the_gateway_of_their_sensor() -> None:
    site = load(VILLAGE + EDGE + YARD.replace("SENSOR", "float-1"), "site.toml")
    config = gateway_config(site, "gw-1", 1000, 500)
    assert [str(device) for device in config.vehicles] == ["robot-1"]
    assert [rule.id for rule in config.interlocks] == ["overflow", "feeder", "yard"]
    assert gateway_config(load(VILLAGE + EDGE, "site.toml"), "gw-1", 1000, 500).vehicles == {}
    assert "SITE-074" in str(check(VILLAGE + EDGE + YARD.replace("SENSOR", "drone-1"), "site.toml")[1])


def test_a_bus_that_is_read_only_makes_all_of_it_read_only() -> None:
    spec = load(VILLAGE, "site.toml").devices[0]
    bus = f'[[bus]]\nendpoint = "{spec.endpoint}"\nread_only = true\n'
    site = load(VILLAGE + bus, "site.toml")
    mine = [device for device in site.devices if device.endpoint == spec.endpoint]
    assert mine
    assert all(device.read_only for device in mine)
    assert (spec.endpoint, -1) in never_written(site.devices)
    assert not [unit for endpoint, unit in never_written(load(VILLAGE, "site.toml").devices) if unit == -1]
    one = dataclasses.replace(spec, read_only=True)
    other = dataclasses.replace(spec, unit=200)
    assert never_written((one, other)) == {(spec.endpoint, spec.unit)}
    _, problems = check(VILLAGE + '[[bus]]\nendpoint = "1.2.3.4:502"\n', "site.toml")
    assert len(problems) == 1


def test_pins_prints_who_has_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "site.toml"
    path.write_text(VILLAGE + EDGE, encoding="utf-8")
    assert exit_code(["pins", "--site", str(path)]) == 0
    said = capsys.readouterr().out
    assert "GPIO17 valve-1.on (relay) 11 | 12 GPIO18" in said
    assert exit_code(["pins", "--site", str(path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["pins"]
    assert len(rows) == 40
    assert rows[12]["used_by"] == ["flow-1.flow_lpm (flow)", "flow-1.volume_ml (counter)"]
    assert rows[28]["bcm"] == 5
