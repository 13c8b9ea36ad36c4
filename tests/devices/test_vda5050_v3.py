"""VDA 5050 3.0 beside 2.x: our bytes against the official schemas, round trips, junk, and both sessions on it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from devices.vda5050 import (
    Action,
    ActionStatus,
    Address,
    BlockingType,
    Connection,
    EStop,
    InstantActions,
    MasterSession,
    OperatingMode,
    Order,
    State,
    VehicleSession,
)
from devices.vda5050_codec import KIND_OF
from devices.vda5050_v3 import V3_0, zone_set
from devices.zones import Zone, ZoneKind
from tests.devices.test_vda5050_codec import HEADER, ORDERS, STATES
from tests.devices.test_vda5050_sessions import CONDITION, T, drive, order
from tests.drone_world import FENCE, SCHOOL

GOLDEN = Path(__file__).parents[1] / "golden" / "vda5050_3"
ADDRESS = Address("vda5050", "atoll", "robot-1", V3_0)


@cache
def schema(kind: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((GOLDEN / f"{kind}.schema").read_text("utf-8")))


@given(ORDERS | STATES)
@settings(max_examples=80, deadline=None)
def test_what_we_send_keeps_the_official_schema(body):
    payload = V3_0.encode(HEADER, body)
    schema(KIND_OF[type(body)]).validate(json.loads(payload))
    decoded = V3_0.decode(type(body), payload)
    assert decoded.problems == ()
    if isinstance(body, State):
        safety = replace(
            body.safetyState, eStop=EStop.MANUAL if body.safetyState.eStop == "AUTOACK" else body.safetyState.eStop
        )
        assert decoded.value == replace(body, safetyState=safety, zoneSetId=None)


@given(st.sampled_from([Order, State, InstantActions, Connection]), st.data())
@settings(max_examples=80, deadline=None)
def test_any_json_is_a_value_or_problems(cls, data):
    keys = ["nodes", "edges", "actions", "actionStates", "instantActionStates", "errors", "powerSupply", "safetyState"]
    junk = st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from([*keys, "sequenceId"]), inner, max_size=3), max_leaves=6)  # fmt: skip
    message = data.draw(st.dictionaries(st.sampled_from([*keys, "connectionState", "operatingMode"]), junk, max_size=5))
    decoded = V3_0.decode(cls, json.dumps(message).encode())
    assert (decoded.value is None) == bool(decoded.problems)


def test_instant_actions_and_connection_and_topics():
    payload = json.loads(V3_0.encode(HEADER, InstantActions((Action("cancelOrder", "a1", BlockingType.HARD),))))
    schema("instantActions").validate(payload)
    assert payload["actions"][0]["blockingType"] == "NONE"
    session = VehicleSession(ADDRESS)
    will = session.will(T)
    assert will.topic == "vda5050/v3/atoll/robot-1/connection"
    schema("connection").validate(json.loads(will.payload))


def test_words_that_only_3_0_knows_are_understood():
    session = VehicleSession(ADDRESS)
    state = json.loads(session.state(CONDITION, T).payload)
    state["operatingMode"] = "INTERVENED"
    state["errors"] = [{"errorType": "x", "errorLevel": "CRITICAL"}]
    state["instantActionStates"] = [{"actionId": "i1", "actionStatus": "RETRIABLE", "actionResult": "again?"}]
    schema("state").validate(state)
    value = V3_0.decode(State, json.dumps(state).encode()).value
    assert value is not None
    assert (value.operatingMode, value.errors[0].errorLevel) == (OperatingMode.MANUAL, "FATAL")
    assert (value.actionStates[0].actionStatus, value.actionStates[0].resultDescription) == ("FAILED", "again?")


def test_an_order_is_driven_by_both_sessions_on_3_0():
    master, vehicle = MasterSession(ADDRESS), VehicleSession(ADDRESS)
    vehicle.state(CONDITION, T)
    sent = master.send(order("dock", "field", actions={1: Action("irrigate", "a1")}), T)
    vehicle.receive(sent.topic, sent.payload, T)
    assert vehicle.order_id == "job-1"
    drive(vehicle, 2)
    vehicle.action_ended("a1")
    told = vehicle.state(CONDITION, T)
    schema("state").validate(json.loads(told.payload))
    names = [type(event).__name__ for event in master.receive(told.topic, told.payload, T)]
    assert names[-1] == "OrderDone"
    assert master.state is not None
    assert master.state.actionStates[0].actionStatus is ActionStatus.FINISHED


@pytest.mark.parametrize("speed", [None, 0.5])
def test_zones_become_a_zone_set(speed):
    yard = Zone("yard", ZoneKind.NO_GO, ((0.0, 0.0), (5.0, 0.0), (5.0, 5.0)))
    payload = json.loads(zone_set(V3_0, HEADER, "site", "set-1", (FENCE, yard, replace(SCHOOL, speed_mps=speed))))
    schema("zoneSet").validate(payload)
    assert [zone["zoneType"] for zone in payload["zoneSet"]["zones"]] == [
        "BLOCKED",
        "SPEED_LIMIT" if speed else "BLOCKED",
    ]
