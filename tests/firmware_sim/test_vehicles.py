"""Orders from the hub's own master session, driven to their end."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest

from devices.clock import HOUR_MS, MINUTE_MS, Instant
from devices.model import DeviceSpec, Message
from firmware_sim.fleet import VillageFleet, factory
from firmware_sim.vehicles import Vehicle

ROBOT, DRONE = "vda5050/v2/atoll/robot-1/", "vda5050/v2/atoll/drone-1/"


@pytest.fixture
def fleet(specs: Sequence[DeviceSpec], start: Instant) -> VillageFleet:
    fleet = factory.build(specs, start, 1, None)
    assert isinstance(fleet, VillageFleet)
    return fleet


def node(
    name: str, sequence: int, x: float, y: float, *actions: dict[str, Any], released: bool = True
) -> dict[str, Any]:
    place = {"x": x, "y": y, "mapId": "site"}
    return {"nodeId": name, "sequenceId": sequence, "released": released, "nodePosition": place, "actions": [*actions]}


def action(kind: str, number: str, **parameters: float) -> dict[str, Any]:
    entries = [{"key": key, "value": value} for key, value in parameters.items()]
    return {"actionType": kind, "actionId": number, "blockingType": "HARD", "actionParameters": entries}


def header(serial: str) -> dict[str, Any]:
    stamp = "2026-06-01T08:00:00.000Z"
    return {"headerId": 1, "timestamp": stamp, "version": "2.1.0", "manufacturer": "atoll", "serialNumber": serial}


def order(serial: str, nodes: list[dict[str, Any]], name: str = "o1", update: int = 0) -> Message:
    edges: list[dict[str, Any]] = [
        {
            "edgeId": f"e{before['sequenceId'] + 1}",
            "sequenceId": before["sequenceId"] + 1,
            "released": after["released"],
            "startNodeId": before["nodeId"],
            "endNodeId": after["nodeId"],
            "actions": [],
        }
        for before, after in itertools.pairwise(nodes)
    ]
    document: dict[str, Any] = {
        **header(serial),
        "orderId": name,
        "orderUpdateId": update,
        "nodes": nodes,
        "edges": edges,
    }
    return Message(f"vda5050/v2/atoll/{serial}/order", json.dumps(document).encode())


def instant(serial: str, *actions: dict[str, Any]) -> Message:
    document = {**header(serial), "actions": [*actions]}
    return Message(f"vda5050/v2/atoll/{serial}/instantActions", json.dumps(document).encode())


def states(messages: Sequence[Message], prefix: str = ROBOT) -> list[dict[str, Any]]:
    return [json.loads(message.payload) for message in messages if message.topic == prefix + "state"]


def irrigation(**parameters: float) -> list[dict[str, Any]]:
    field = node("field", 2, 220, 80, action("irrigate", "a1", **parameters))
    return [node("dock", 0, 0, 0), field, node("dock", 4, 0, 0)]


def drive(fleet: VillageFleet, until_ms: int, prefix: str = ROBOT) -> list[dict[str, Any]]:
    """Advances as the simulation does, from deadline to deadline; returns the states."""
    seen: list[dict[str, Any]] = []
    end = fleet.village.at + until_ms
    while fleet.village.at < end:
        fleet.advance(Instant(min(fleet.next_deadline(), end)))
        seen += states(fleet.messages(), prefix)
    return seen


def robot(fleet: VillageFleet) -> Vehicle:
    return next(vehicle for vehicle in fleet.vehicles if vehicle.spec.id == "robot-1")


def test_births_are_retained_and_say_what_it_can(fleet: VillageFleet) -> None:
    messages = {message.topic: message for message in fleet.messages()}
    for prefix in (ROBOT, DRONE):
        assert messages[prefix + "connection"].retain
        assert messages[prefix + "connection"].qos == 1
        assert json.loads(messages[prefix + "connection"].payload)["connectionState"] == "ONLINE"
        actions = json.loads(messages[prefix + "factsheet"].payload)["protocolFeatures"]["agvActions"]
        assert {"irrigate", "dropParcel", "startCharging"} <= {entry["actionType"] for entry in actions}
        assert json.loads(messages[prefix + "state"].payload)["lastNodeId"] == "dock"
    assert fleet.messages() == []


def test_an_irrigation_runs_to_its_end_and_takes_its_water(fleet: VillageFleet) -> None:
    fleet.messages()
    fleet.receive(order("robot-1", irrigation(duration_ms=600_000, water_l=500)))
    seen = drive(fleet, 20 * MINUTE_MS)
    milestones = [(s["lastNodeId"], s["driving"], s["actionStates"][0]["actionStatus"]) for s in seen]
    wanted = [
        ("dock", True, "WAITING"),
        ("field", False, "RUNNING"),
        ("field", True, "FINISHED"),
        ("dock", False, "FINISHED"),
    ]
    assert list(dict.fromkeys(milestones)) == wanted
    assert seen[-1]["actionStates"][0]["resultDescription"] == "500 of 500 L"
    assert seen[-1]["nodeStates"] == seen[-1]["edgeStates"] == []
    assert fleet.village.water.irrigated == pytest.approx(500_000 * 900_000, rel=1e-6)
    body = robot(fleet).body
    assert body.driven_m == pytest.approx(2 * 234.09, rel=1e-3), "there and back"
    gaps = [after["headerId"] - before["headerId"] for before, after in itertools.pairwise(seen)]
    assert set(gaps) == {1}


def test_energy_of_a_trip_comes_back_from_the_dock_behind_the_chargers_meter(fleet: VillageFleet) -> None:
    charger, body = fleet.village.charger, robot(fleet).body
    assert charger is not None
    drive(fleet, 2 * HOUR_MS)
    full = body.cells.energy
    assert full == body.cells.high
    assert body.dock.power_w == body.nature.idle_w
    before, load = charger.imported, fleet.village.sums.load
    fleet.receive(order("robot-1", irrigation(duration_ms=3_600_000)))
    drive(fleet, 66 * MINUTE_MS)
    used = full - body.cells.energy
    assert used / 3.6e12 == pytest.approx(350, rel=0.2), "an hour's work at 350 W and 468 m"
    assert body.dock.power_w == 0 or body.docked
    drive(fleet, 2 * HOUR_MS)
    assert body.cells.energy == full
    charged = charger.imported - before
    idle = 16 * 4 * HOUR_MS
    assert 0 < charged / 3.6e6 - used / 3.6e12 / 0.92 < idle / 3.6e6
    assert fleet.village.sums.load - load >= charged


def test_a_parcel_flies_at_ten_metres_a_second(fleet: VillageFleet) -> None:
    nodes = [node("dock", 0, 0, 0), node("clinic", 2, -140, 310, action("dropParcel", "p1")), node("dock", 4, 0, 0)]
    fleet.messages()
    fleet.receive(order("drone-1", nodes))
    seen = drive(fleet, 10 * MINUTE_MS, DRONE)
    drop = next(s for s in seen if s["actionStates"][0]["actionStatus"] == "RUNNING")
    assert drop["agvPosition"]["x"] == -140
    assert seen[-1]["actionStates"][0]["actionStatus"] == "FINISHED"
    assert seen[-1]["lastNodeId"] == "dock"
    lowest = min(s["batteryState"]["batteryCharge"] for s in seen)
    assert 60 < lowest < 85, "out, a minute's hover and back take about 30 of 260 Wh"


def test_only_released_nodes_are_driven_and_an_update_goes_on(fleet: VillageFleet) -> None:
    nodes = [node("dock", 0, 0, 0), node("gate", 2, 30, 0), node("field", 4, 60, 0, released=False)]
    fleet.receive(order("robot-1", nodes))
    seen = drive(fleet, 5 * MINUTE_MS)
    assert seen[-1]["lastNodeId"] == "gate"
    assert [entry["nodeId"] for entry in seen[-1]["nodeStates"]] == ["field"]
    fleet.receive(order("robot-1", [node("gate", 2, 30, 0), node("field", 4, 60, 0)], update=1))
    seen = drive(fleet, 5 * MINUTE_MS)
    assert seen[-1]["lastNodeId"] == "field"
    assert seen[-1]["orderUpdateId"] == 1


def test_cancel_stops_it_where_it_is_and_the_tap_is_closed(fleet: VillageFleet) -> None:
    fleet.receive(order("robot-1", irrigation(duration_ms=600_000, water_l=600)))
    drive(fleet, 6 * MINUTE_MS)
    assert fleet.village.water.irrigation > 0
    fleet.receive(instant("robot-1", action("cancelOrder", "c1")))
    seen = drive(fleet, MINUTE_MS)
    assert fleet.village.water.irrigation == 0
    assert seen[-1]["driving"] is False
    assert {entry["actionId"]: entry["actionStatus"] for entry in seen[-1]["actionStates"]} == {
        "a1": "FAILED",
        "c1": "FINISHED",
    }
    assert seen[-1]["agvPosition"]["x"] == 220


def test_an_empty_tank_fails_the_irrigation(fleet: VillageFleet) -> None:
    fleet.village.water.level = 0
    fleet.receive(order("robot-1", irrigation(duration_ms=600_000, water_l=500)))
    last = drive(fleet, 20 * MINUTE_MS)[-1]["actionStates"][0]
    assert last["actionStatus"] == "FAILED"
    assert last["resultDescription"] == "0 of 500 L"


def test_unknown_actions_fail_and_charging_off_the_dock_too(fleet: VillageFleet) -> None:
    far = node("field", 2, 50, 0, action("juggle", "j1"), action("startCharging", "s1"))
    fleet.receive(order("robot-1", [node("dock", 0, 0, 0), far]))
    last = drive(fleet, 3 * MINUTE_MS)[-1]
    found = {entry["actionId"]: entry.get("resultDescription") for entry in last["actionStates"]}
    assert found == {"j1": "not supported", "s1": "not on the dock"}


def test_charging_can_be_switched_off_on_the_dock(fleet: VillageFleet) -> None:
    body = robot(fleet).body
    fleet.advance(Instant(fleet.village.at + MINUTE_MS))
    assert body.dock.power_w == 800
    fleet.receive(instant("robot-1", action("stopCharging", "x1")))
    drive(fleet, MINUTE_MS)
    assert body.dock.power_w == 0
    fleet.receive(instant("robot-1", action("startCharging", "x2")))
    drive(fleet, MINUTE_MS)
    assert body.dock.power_w == 800


def test_pause_stops_the_robot_on_its_way(fleet: VillageFleet) -> None:
    fleet.receive(order("robot-1", irrigation(duration_ms=1000)))
    drive(fleet, MINUTE_MS)
    fleet.receive(instant("robot-1", action("startPause", "p1")))
    x = robot(fleet).body.x
    assert 40 < x < 70
    drive(fleet, 5 * MINUTE_MS)
    assert robot(fleet).body.x == x
    fleet.receive(instant("robot-1", action("stopPause", "p2")))
    assert drive(fleet, 10 * MINUTE_MS)[-1]["lastNodeId"] == "dock"


def test_a_flat_robot_stays_and_says_so(fleet: VillageFleet) -> None:
    body = robot(fleet).body
    body.cells.energy = body.cells.capacity // 1000
    fleet.receive(order("robot-1", irrigation(duration_ms=600_000)))
    seen = drive(fleet, 10 * MINUTE_MS)
    assert seen[-1]["errors"][0]["errorType"] == "batteryEmpty"
    assert seen[-1]["batteryState"]["batteryCharge"] == 0
    assert 0 < body.x < 220


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b'{"version":"2.1.0"}', b"\xff\xfe", json.dumps(header("robot-1")).encode()]
)
def test_malformed_orders_stand_as_errors(fleet: VillageFleet, payload: bytes) -> None:
    fleet.messages()
    for topic in ("order", "instantActions"):
        fleet.receive(Message(ROBOT + topic, payload))
    errors = states(fleet.messages())[-1]["errors"]
    assert errors
    assert {error["errorType"] for error in errors} == {"validationError"}
    assert not robot(fleet).body.busy


def test_a_silent_vehicle_neither_hears_nor_speaks(fleet: VillageFleet) -> None:
    fleet.messages()
    fleet.happen("device-silent", {"device": "robot-1"})
    fleet.receive(order("robot-1", irrigation(duration_ms=1000)))
    assert drive(fleet, 5 * MINUTE_MS) == []
    fleet.happen("device-back", {"device": "robot-1"})
    assert len(drive(fleet, 2 * MINUTE_MS)) >= 4
    assert robot(fleet).body.x == 0


def test_a_vehicle_goes_on_with_its_order_after_a_restart(
    fleet: VillageFleet, specs: Sequence[DeviceSpec], start: Instant
) -> None:
    fleet.receive(order("robot-1", irrigation(duration_ms=600_000, water_l=500)))
    drive(fleet, 8 * MINUTE_MS)
    other = factory.build(specs, start, 1, None)
    assert isinstance(other, VillageFleet)
    other.load(fleet.save())
    assert other.village.water.irrigation == fleet.village.water.irrigation > 0
    one, two = drive(fleet, 15 * MINUTE_MS), drive(other, 15 * MINUTE_MS)
    for key in ("lastNodeId", "agvPosition", "actionStates", "batteryState"):
        assert one[-1][key] == two[-1][key], key
    assert one[-1]["actionStates"][0]["resultDescription"] == "500 of 500 L"


def test_a_state_at_least_every_half_minute(fleet: VillageFleet) -> None:
    seen = drive(fleet, 10 * MINUTE_MS)
    assert len(seen) >= 20
