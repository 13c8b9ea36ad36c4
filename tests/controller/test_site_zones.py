"""Zones and drones of the site file: what is found wrong, and what orders become of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.missions import Board
from controller.shell.simulation import fleet_factory, start_of
from controller.site import Site, check, load
from controller.zone_orders import flight_rules, for_vehicle, zoned
from devices.clock import parse_iso
from devices.model import DeviceId, DeviceKind
from devices.vda5050 import Kind
from devices.zones import ZoneKind
from tests.drone_world import CLINIC, job

VILLAGE = (Path(__file__).parents[1] / "village.toml").read_text("utf-8")
FENCE = """
[[zone]]
id = "valley"
kind = "geofence"
corners = [[-3000, -3000], [3000, -3000], [3000, 3000], [-3000, 3000]]
ceiling_m = 60
"""
AUTHORISED = """
[[flight_authorisation]]
device = "drone-1"
reference = "LBA-2026-117"
operator = "DEU87astrdge12k8"
until = "2027-03-01T00:00:00Z"
"""
MAVLINK = 'mavlink = { endpoint = "udpin:127.0.0.1:14550", remote_id = "1581F4XYZ" }\n'


def with_mavlink(text: str, device: str = "drone-1", line: str = MAVLINK) -> str:
    head, mark, tail = text.partition(f'id = "{device}"\n')
    assert mark
    return head + mark + line + tail


def zone(kind: str, corners: str, more: str = "") -> str:
    return f'\n[[zone]]\nid = "z"\nkind = "{kind}"\ncorners = {corners}\n{more}\n'


def site(*parts: str, mavlink: bool = False) -> Site:
    return load("".join([with_mavlink(VILLAGE) if mavlink else VILLAGE, *parts]), "site.toml")


def test_an_old_site_file_has_no_zones_and_its_orders_stay_as_they_are():
    village = site()
    assert village.sky.zones == ()
    assert zoned(village, CLINIC, DeviceKind.DRONE) is CLINIC


def test_a_drone_with_fence_and_authorisation_has_its_flight_rules():
    village = site(FENCE, AUTHORISED, mavlink=True)
    spec = village.device("drone-1")
    assert spec is not None
    rules = flight_rules(village, spec)
    assert (rules.origin, rules.height_m, rules.serial) == ((51.5, 9.9), 30.0, "1581F4XYZ")
    assert rules.authorisation is not None
    assert rules.authorisation.until == parse_iso("2027-03-01T00:00:00Z")
    assert [found.kind for found in rules.zones] == [ZoneKind.GEOFENCE]
    assert rules.energy_wh == spec.ratings["energy_wh"]


@pytest.mark.parametrize(
    ("text", "code", "seen"),
    [
        (VILLAGE + zone("no-go", "[[0, 0], [10, 10], [10, 0], [0, 10]]"), "SITE-180", "its sides cross"),
        (VILLAGE + zone("no-fly", "[[9000, 0], [9001, 0], [9001, 9]]", "ceiling_m = 9.0"), "SITE-181", "no heights"),
        (VILLAGE + zone("no-go", "[[9000, 0], [9001, 0], [9001, 9]]", "speed_mps = 1.0"), "SITE-181", "people zone"),
        (with_mavlink(VILLAGE, "robot-1") + FENCE, "SITE-182", "only drones"),
        (with_mavlink(VILLAGE), "SITE-183", "only inside a geofence"),
        (with_mavlink(VILLAGE, line=MAVLINK.replace("remote_id", "height_m = 90.0, remote_id")) + FENCE, "SITE-183",
         "above the ceiling of valley"),
        (with_mavlink(VILLAGE, line=MAVLINK.replace("remote_id", 'gateway = "gw-9", remote_id')) + FENCE, "SITE-033",
         "gw-9"),
        (VILLAGE + AUTHORISED.replace("drone-1", "robot-1"), "SITE-184", "no drone has this id"),
        (VILLAGE + AUTHORISED.replace("2027-03-01T00:00:00Z", "next spring"), "SITE-023", "next spring"),
        (VILLAGE + FENCE.replace("3000", "5"), "SITE-185", "leaves geofence zone valley"),
        (with_mavlink(VILLAGE, line=MAVLINK.replace("udpin", "carrier pigeon")) + FENCE, "SITE-012", "endpoint"),
        (VILLAGE + FENCE + FENCE, "SITE-020", "valley"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found_with_its_code(text, code, seen):
    problems = check(text, "site.toml")[1]
    assert {problem.code for problem in problems} == {code}, problems
    assert any(seen in str(problem) for problem in problems)


def test_a_barred_way_is_said_and_a_people_zone_slows_a_robot():
    strip = "[[50, -3000], [60, -3000], [60, 3000], [50, 3000]]"
    order = job(("clinic", 120.0, 90.0))
    slow = site(FENCE, zone("people", strip, "speed_mps = 0.5"))
    driven = zoned(slow, order, DeviceKind.ROBOT)
    assert not isinstance(driven, str)
    assert [edge.maxSpeed for edge in driven.edges] == [0.5, 0.5]
    assert zoned(slow, order, DeviceKind.DRONE) == "the way from dock to clinic is barred by people zone z"


def test_zones_of_the_other_kind_do_not_bar():
    small = "[[55, 40], [65, 40], [65, 50], [55, 50]]"
    for kind, robot, drone in (("no-go", True, False), ("no-fly", False, True), ("people", True, True)):
        text = VILLAGE + FENCE + zone(kind, small)
        village = load(text, "site.toml")
        order = job(("clinic", 120.0, 90.0))
        assert isinstance(zoned(village, order, DeviceKind.ROBOT), str) == robot
        assert isinstance(zoned(village, order, DeviceKind.DRONE), str) == drone
    assert Board(village).sessions


VDA = (
    'vda5050 = { version = "2.0", instant_actions = "instantActions", interface = "uagv", '
    'manufacturer = "RobotCompany", serial = "001", map = "hall" }\n'
)


def test_a_makers_robot_has_its_own_topics_dialect_and_map():
    village = load(with_mavlink(VILLAGE, "robot-1", VDA), "site.toml")
    board, spec = Board(village), village.device("robot-1")
    assert spec is not None
    address = board.sessions[spec.id].address
    assert address.topic(Kind.ORDER) == "uagv/v2/RobotCompany/001/order"
    assert (address.codec.version, address.codec.instant_key) == ("2.0.0", "instantActions")
    assert board.concerns("uagv/v2/RobotCompany/001/state")
    assert not board.concerns("uagv/v2/RobotCompany/002/state")
    order = for_vehicle(village, CLINIC, spec)
    assert not isinstance(order, str)
    assert {node.nodePosition.mapId for node in order.nodes if node.nodePosition} == {"hall"}


@pytest.mark.parametrize("version", ["2.0", "3.0"])
def test_the_simulated_fleet_speaks_on_a_makers_topics_too(version):
    village = load(with_mavlink(VILLAGE, "robot-1", VDA.replace('"2.0"', f'"{version}"')), "site.toml")
    fleet = fleet_factory().build(village.devices, start_of(village), 0, None)
    fleet.advance(start_of(village))
    board = Board(village)
    for message in fleet.messages():
        board.receive(message.topic, message.payload, start_of(village))
    assert board.sessions[DeviceId("robot-1")].online


def test_two_vehicles_on_the_same_topics_are_found():
    text = with_mavlink(VILLAGE, "robot-1", 'vda5050 = { serial = "drone-1" }\n')
    assert [problem.code for problem in check(text, "site.toml")[1]] == ["SITE-186"]
    both = with_mavlink(VILLAGE, line=MAVLINK + 'vda5050 = { serial = "x" }\n') + FENCE
    assert [problem.code for problem in check(both, "site.toml")[1]] == ["SITE-186"]
