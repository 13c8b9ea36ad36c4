"""VDA 5050 2.1: our bytes against the official schemas, round trips, junk.

The schemas in tests/golden/vda5050 are those of the standard (MIT, see LICENCE.md there).
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from devices.clock import Instant
from devices.vda5050 import (
    V2_0_LIB,
    V2_1,
    Action,
    ActionParameter,
    ActionState,
    ActionStatus,
    Address,
    AgvPosition,
    BatteryState,
    BlockingType,
    Connection,
    ConnectionState,
    Edge,
    EStop,
    Header,
    InstantActions,
    Kind,
    Node,
    NodePosition,
    OperatingMode,
    Order,
    SafetyState,
    State,
    VehicleError,
)
from devices.vda5050_codec import KIND_OF
from devices.vda5050_factsheet import (
    ActionScope,
    AgvAction,
    Factsheet,
    MaxArrayLens,
    MaxStringLens,
    OptionalParameter,
    PhysicalParameters,
    ProtocolFeatures,
    ProtocolLimits,
    Timing,
    TypeSpecification,
)
from devices.vda5050_values import (
    EdgeState,
    ErrorLevel,
    InfoLevel,
    Information,
    Load,
    NodeState,
    Reference,
    StatePosition,
    Velocity,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "vda5050"
HEADER = Header(7, Instant(1_780_000_000_123), "2.1.0", "atoll", "robot-1")

TEXT = st.text(max_size=12)
NUMBER = st.floats(-1e6, 1e6)
POSITIVE = st.floats(0, 1e6)
WHOLE = st.integers(0, 2**31)
ANGLE = st.floats(-3.14, 3.14)


def maybe(strategy):
    return st.none() | strategy


VALUES = (
    st.booleans()
    | st.integers(-1000, 1000)
    | NUMBER
    | TEXT
    | st.lists(TEXT, max_size=2)
    | st.dictionaries(TEXT, TEXT, max_size=2)
)
ACTIONS = st.lists(
    st.builds(
        Action,
        TEXT,
        TEXT,
        st.sampled_from(BlockingType),
        st.lists(st.builds(ActionParameter, TEXT, VALUES), max_size=2).map(tuple),
        maybe(TEXT),
    ),
    max_size=2,
).map(tuple)
NODES = st.builds(
    Node,
    TEXT,
    WHOLE,
    st.booleans(),
    ACTIONS,
    maybe(st.builds(NodePosition, NUMBER, NUMBER, TEXT, maybe(ANGLE), maybe(POSITIVE))),
    maybe(TEXT),
)
EDGES = st.builds(
    Edge,
    TEXT,
    WHOLE,
    st.booleans(),
    TEXT,
    TEXT,
    ACTIONS,
    maybe(POSITIVE),
    maybe(NUMBER),
    maybe(NUMBER),
    maybe(POSITIVE),
)
ORDERS = st.builds(
    Order, TEXT, WHOLE, st.lists(NODES, max_size=3).map(tuple), st.lists(EDGES, max_size=2).map(tuple), maybe(TEXT)
)
REFERENCES = st.lists(st.builds(Reference, TEXT, TEXT), max_size=2).map(tuple)
STATES = st.builds(
    State,
    orderId=TEXT,
    orderUpdateId=WHOLE,
    lastNodeId=TEXT,
    lastNodeSequenceId=WHOLE,
    driving=st.booleans(),
    operatingMode=st.sampled_from(OperatingMode),
    nodeStates=st.lists(
        st.builds(NodeState, TEXT, WHOLE, st.booleans(), maybe(st.builds(StatePosition, NUMBER, NUMBER, TEXT))),
        max_size=2,
    ).map(tuple),
    edgeStates=st.lists(st.builds(EdgeState, TEXT, WHOLE, st.booleans()), max_size=2).map(tuple),
    actionStates=st.lists(st.builds(ActionState, TEXT, st.sampled_from(ActionStatus), maybe(TEXT)), max_size=2).map(
        tuple
    ),
    batteryState=st.builds(BatteryState, st.floats(0, 100), st.booleans(), maybe(POSITIVE), maybe(st.floats(0, 100))),
    errors=st.lists(
        st.builds(VehicleError, TEXT, st.sampled_from(ErrorLevel), REFERENCES, maybe(TEXT)), max_size=2
    ).map(tuple),
    safetyState=st.builds(SafetyState, st.sampled_from(EStop), st.booleans()),
    agvPosition=maybe(st.builds(AgvPosition, NUMBER, NUMBER, ANGLE, TEXT, st.booleans(), maybe(st.floats(0, 1)))),
    velocity=maybe(st.builds(Velocity, maybe(NUMBER), maybe(NUMBER), maybe(NUMBER))),
    loads=maybe(st.lists(st.builds(Load, maybe(TEXT)), max_size=2).map(tuple)),
    information=maybe(
        st.lists(st.builds(Information, TEXT, st.sampled_from(InfoLevel), REFERENCES), max_size=1).map(tuple)
    ),
    paused=maybe(st.booleans()),
)
FACTSHEET = Factsheet(
    TypeSpecification("thin", "OMNI", "CARRIER", 5.0, ("SPOT",), ("AUTONOMOUS",), "a drone"),
    PhysicalParameters(0.0, 12.0, 2.0, 2.0, 120.0, 0.6, 0.6),
    ProtocolLimits(MaxStringLens(), MaxArrayLens(orderNodes=100), Timing(1.0, 0.5, 30.0)),
    ProtocolFeatures(
        (OptionalParameter("order.nodes.nodePosition", "REQUIRED"),), (AgvAction("drop", (ActionScope.NODE,)),)
    ),
)
BODIES = st.one_of(
    ORDERS,
    STATES,
    st.builds(InstantActions, ACTIONS),
    st.builds(Connection, st.sampled_from(ConnectionState)),
    st.just(FACTSHEET),
)


@cache
def schema(kind: Kind) -> Draft202012Validator:
    return Draft202012Validator(json.loads((GOLDEN / f"{kind}.schema").read_text("utf-8")))


@given(BODIES)
@settings(max_examples=150)
def test_what_we_send_keeps_the_official_schema_and_is_read_back(body):
    payload = V2_1.encode(HEADER, body)
    schema(KIND_OF[type(body)]).validate(json.loads(payload))
    decoded = V2_1.decode(type(body), payload)
    assert (decoded.problems, decoded.header, decoded.value) == ((), HEADER, body)


@given(st.sampled_from(sorted(KIND_OF, key=str)), st.binary(max_size=200))
def test_any_bytes_are_a_list_of_problems(cls, payload):
    decoded = V2_1.decode(cls, payload)
    assert decoded.value is None
    assert decoded.problems


@given(BODIES, st.data())
@settings(max_examples=60)
def test_a_message_with_one_field_of_another_type_is_problems_or_a_value_never_both(body, data):
    message = json.loads(V2_1.encode(HEADER, body))
    key = data.draw(st.sampled_from(sorted(message)))
    message[key] = data.draw(st.none() | st.just({"x": [1]}) | st.just(-5) | st.just("?") | st.just([[]]))
    decoded = V2_1.decode(type(body), json.dumps(message).encode())
    assert (decoded.value is None) == bool(decoded.problems)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"orderId": 5}, "order.orderId: want a text"),
        ({"orderUpdateId": -1}, "order.orderUpdateId: want a whole number from 0"),
        ({"orderUpdateId": 1.5}, "order.orderUpdateId: want a whole number"),
        ({"nodes": [{"nodeId": "n"}]}, "order.nodes[0].sequenceId: want a value, saw nothing"),
        ({"nodes": "n"}, "order.nodes: want a list"),
        ({"timestamp": "yesterday"}, "header.timestamp"),
        ({"timestamp": "2026-06-03T09:40:00"}, "header.timestamp"),
        ({"headerId": True}, "header.headerId: want a whole number"),
        ({"nodes": [{}] * 1001}, "order.nodes: want a list of at most 1000"),
    ],
)
def test_problems_name_the_field_what_was_wanted_and_what_was_seen(change, problem):
    message = {**json.loads(V2_1.encode(HEADER, Order("o", 0, (), ()))), **change}
    decoded = V2_1.decode(Order, json.dumps(message).encode())
    assert any(text.startswith(problem) for text in decoded.problems), decoded.problems


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1e999"])
def test_a_position_that_is_no_number_is_refused(number):
    position = AgvPosition(1.5, 2.0, 0.0, "m", True)
    state = State(
        "",
        0,
        "",
        0,
        False,
        OperatingMode.AUTOMATIC,
        (),
        (),
        (),
        BatteryState(50.0, False),
        (),
        SafetyState(EStop.NONE, False),
        position,
    )
    payload = V2_1.encode(HEADER, state).replace(b'"x":1.5', f'"x":{number}'.encode())
    assert V2_1.decode(State, payload).problems


def test_limits_hold_before_the_parser():
    assert "bytes" in V2_1.decode(Order, b" " * 300_000).problems[0]
    assert "deeper" in V2_1.decode(Order, b"[" * 200_000).problems[0]


def test_problems_are_bounded():
    payload = json.dumps({"nodes": [{}] * 900}).encode()
    assert len(V2_1.decode(Order, payload).problems) < 40


def test_the_instant_actions_dialect_is_written_as_asked_and_read_either_way():
    actions = InstantActions((Action("cancelOrder", "a1"),))
    standard, library = V2_1.encode(HEADER, actions), V2_0_LIB.encode(HEADER, actions)
    assert "actions" in json.loads(standard)
    assert set(json.loads(library)) >= {"instantActions"}
    assert "actions" not in json.loads(library)
    for codec in (V2_1, V2_0_LIB):
        assert codec.decode(InstantActions, standard).value == codec.decode(InstantActions, library).value == actions


def test_topics():
    address = Address("vda5050", "atoll", "robot-1")
    assert address.topic(Kind.INSTANT_ACTIONS) == "vda5050/v2/atoll/robot-1/instantActions"
    assert address.kind("vda5050/v2/atoll/robot-1/state") is Kind.STATE
    assert address.kind("vda5050/v2/atoll/robot-2/state") is None
    assert address.kind("vda5050/v2/atoll/robot-1/nosuch") is None
    assert replace(address, serial="x").topic(Kind.ORDER) == "vda5050/v2/atoll/x/order"


def test_timestamps_show_milliseconds_and_utc():
    assert (
        json.loads(V2_1.encode(replace(HEADER, timestamp=Instant(0)), Connection(ConnectionState.ONLINE)))["timestamp"]
        == "1970-01-01T00:00:00.000Z"
    )
