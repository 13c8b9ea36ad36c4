"""A vehicle and its master over one wire: orders taken, updated, refused, lost, cancelled, done."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import Instant
from devices.model import Message
from devices.vda5050 import (
    Action,
    ActionStatus,
    Address,
    AgvPosition,
    BadOrder,
    BatteryState,
    BlockingType,
    Condition,
    Edge,
    MasterSession,
    Node,
    NodePosition,
    Order,
    OrderInHand,
    OrderState,
    Progress,
    VehicleSession,
    master,
    vehicle,
)
from devices.vda5050_codec import Kind
from devices.vda5050_values import ErrorLevel, VehicleError

T = Instant(1_780_000_000_000)
ADDRESS = Address("vda5050", "atoll", "robot-1")
CONDITION = Condition(AgvPosition(0.0, 0.0, 0.0, "village", True), BatteryState(80.0, charging=False))


def order(
    *names: str, released: int = 99, update: int = 0, first: int = 0, actions: dict[int, Action] | None = None
) -> Order:
    """Returns an order along nodes, sequence ids from `first`, the first `released` of them in the base."""
    given_actions = actions or {}
    nodes = tuple(
        Node(
            name,
            first + 2 * index,
            index < released,
            (given_actions[index],) if index in given_actions else (),
            NodePosition(0.0, 0.0, "village"),
        )
        for index, name in enumerate(names)
    )
    edges = tuple(
        Edge(f"{before.nodeId}-{after.nodeId}", before.sequenceId + 1, after.released, before.nodeId, after.nodeId, ())
        for before, after in pairwise(nodes)
    )
    return Order("job-1", update, nodes, edges)


class Pair:
    """A vehicle on its dock and the master that knows it is online."""

    def __init__(self) -> None:
        self.vehicle = VehicleSession(ADDRESS)
        self.master = MasterSession(ADDRESS)
        self.now = T
        self.say()

    def say(self, condition: Condition = CONDITION) -> list[str]:
        """Sends the vehicle's state; returns what the master makes of it."""
        return self.tell(self.vehicle.state(condition, self.now))

    def tell(self, message: Message) -> list[str]:
        return [type(event).__name__ for event in self.master.receive(message.topic, message.payload, self.now)]

    def ask(self, message: Message) -> list[str]:
        return [type(event).__name__ for event in self.vehicle.receive(message.topic, message.payload, self.now)]

    def send(self, what: Order) -> list[str]:
        return self.ask(self.master.send(what, self.now))

    def why(self) -> list[str]:
        """Returns how the master's order failed, taking the vehicle's state."""
        message = self.vehicle.state(CONDITION, self.now)
        events = self.master.receive(message.topic, message.payload, self.now)
        return [event.reason for event in events if isinstance(event, master.OrderFailed)]


def drive(session: VehicleSession, nodes: int) -> None:
    for _ in range(nodes):
        session.arrived()


def test_an_order_is_driven_acted_and_done():
    pair = Pair()
    assert pair.send(order("dock", "field", "dock", actions={1: Action("irrigate", "a1")})) == ["OrderAccepted"]
    assert pair.say() == ["StateReceived", "OrderStarted"]
    drive(pair.vehicle, 2)
    assert pair.vehicle.target() is None, "a HARD action keeps it from driving"
    assert [action.actionId for action in pair.vehicle.pending_actions()] == ["a1"]
    pair.vehicle.action_started("a1")
    assert pair.say() == ["StateReceived"]
    pair.vehicle.action_ended("a1")
    drive(pair.vehicle, 1)
    assert pair.vehicle.idle
    assert pair.say() == ["StateReceived", "OrderDone"]
    assert pair.master.order_state is OrderState.NONE


def test_a_none_action_lets_the_vehicle_drive_on_but_not_end():
    pair = Pair()
    pair.send(order("dock", "field", actions={0: Action("film", "a1", BlockingType.NONE)}))
    drive(pair.vehicle, 2)
    pair.say()
    assert not pair.vehicle.idle
    pair.vehicle.action_ended("a1")
    assert pair.say() == ["StateReceived", "OrderDone"]


def test_the_same_update_again_is_silently_the_same():
    pair = Pair()
    message = pair.master.send(order("dock", "field"), T)
    assert pair.ask(message) == ["OrderAccepted"]
    drive(pair.vehicle, 1)
    assert pair.ask(message) == []
    assert pair.vehicle.last_node_id == "dock"
    assert pair.vehicle.counters == {"orders_repeated": 1}


def test_a_vehicle_stops_at_the_end_of_the_base_and_an_update_carries_it_on():
    pair = Pair()
    pair.send(order("dock", "field", "dock", released=2))
    drive(pair.vehicle, 2)
    assert pair.vehicle.target() is None
    assert not pair.vehicle.idle
    assert pair.say() == ["StateReceived", "OrderStarted"]
    assert pair.ask(pair.master.update(order("field", "well", "dock", first=2, update=1), T)) == ["OrderAccepted"]
    drive(pair.vehicle, 2)
    assert pair.say() == ["StateReceived", "OrderStarted", "OrderDone"]


def test_an_update_may_add_actions_to_the_node_where_the_vehicle_waits():
    pair = Pair()
    pair.send(order("dock", "field", "dock", released=2))
    drive(pair.vehicle, 2)
    update = order("field", "dock", first=2, update=1, actions={0: Action("irrigate", "a2")})
    assert pair.ask(pair.master.update(update, T)) == ["OrderAccepted"]
    assert [action.actionId for action in pair.vehicle.pending_actions()] == ["a2"]


def refused(session: VehicleSession, wanted: Order) -> str:
    """Returns the error that a vehicle puts into its state when it refuses an order, or an empty text."""
    sender = MasterSession(ADDRESS)
    message = sender.send(wanted, T)
    events = session.receive(message.topic, message.payload, T)
    assert [type(event) for event in events] in ([vehicle.Refused], [vehicle.OrderAccepted])
    said = session.state(CONDITION, T)
    sender.receive(said.topic, said.payload, T)
    assert sender.state is not None
    return sender.state.errors[-1].errorType if sender.state.errors else ""


def test_refusals_by_the_rules_of_orders_and_updates():
    session = VehicleSession(ADDRESS)
    session.state(CONDITION, T)
    far = order("field", "dock")
    far = replace(far, nodes=(replace(far.nodes[0], nodePosition=NodePosition(900.0, 0.0, "village")), *far.nodes[1:]))
    assert refused(session, far) == "noRouteError"
    assert refused(session, order("dock", "field", released=1, update=3)) == ""
    assert refused(session, replace(order("dock", "field"), orderId="job-2")) == "orderUpdateError"
    assert refused(session, order("dock", "field", update=2)) == "orderUpdateError"
    assert refused(session, order("well", "dock", update=4)) == "orderUpdateError"
    assert refused(session, order("dock", "field", update=4)) == "", "an accepted order clears the errors"


def test_a_refused_order_has_failed_with_the_vehicles_reason():
    pair = Pair()
    pair.vehicle.place = (500.0, 0.0, "village")
    assert pair.send(order("dock", "field")) == ["Refused"]
    assert pair.why() == ["refused: noRouteError: node dock is not where the vehicle is"]


@pytest.mark.parametrize(
    "broken",
    [
        Order("o", 0, (), ()),
        replace(order("a", "b"), edges=()),
        replace(order("a", "b"), edges=(replace(order("a", "b").edges[0], endNodeId="c"),)),
        replace(order("a", "b"), edges=(replace(order("a", "b").edges[0], sequenceId=2),)),
        replace(order("a", "b"), edges=(replace(order("a", "b").edges[0], released=False),)),
        order("a", "b", released=0),
        order("a", "b", actions={0: Action("x", "same"), 1: Action("y", "same")}),
    ],
)
def test_an_order_that_does_not_chain_is_neither_sent_nor_taken(broken):
    with pytest.raises(BadOrder):
        MasterSession(ADDRESS).send(broken, T)
    loose = MasterSession(ADDRESS)._message(Kind.ORDER, broken, T)
    events = VehicleSession(ADDRESS).receive(loose.topic, loose.payload, T)
    assert [type(event) for event in events] == [vehicle.Refused]


def test_a_lost_order_is_sent_again_and_fails_after_three_times():
    pair = Pair()
    pair.master.send(order("dock", "field"), T)
    times = [
        (second, type(event).__name__) for second in range(30) for event in pair.master.due(Instant(T + 1000 * second))
    ]
    assert times == [(5, "Publish"), (10, "Publish"), (15, "OrderFailed")]


def test_an_order_that_was_taken_is_not_sent_again():
    pair = Pair()
    pair.send(order("dock", "field"))
    pair.say()
    assert pair.master.due(Instant(T + 20_000)) == []


def test_a_second_order_waits_for_the_first():
    pair = Pair()
    pair.send(order("dock", "field"))
    with pytest.raises(OrderInHand):
        pair.master.send(order("dock", "field"), T)


def test_a_failed_action_fails_the_order():
    pair = Pair()
    pair.send(order("dock", "field", actions={1: Action("pick", "a1")}))
    pair.say()
    drive(pair.vehicle, 2)
    pair.vehicle.action_ended("a1", failed=True, result="nothing there")
    assert pair.why() == ["action pick failed: nothing there"]


def test_a_fatal_error_fails_the_order():
    pair = Pair()
    pair.send(order("dock", "field"))
    pair.say()
    assert pair.say(replace(CONDITION, errors=(VehicleError("motor", ErrorLevel.FATAL),))) == [
        "StateReceived",
        "OrderFailed",
    ]


def test_a_vehicle_that_restarted_without_its_order_has_lost_it_and_with_it_goes_on():
    pair = Pair()
    pair.send(order("dock", "field", "dock", actions={1: Action("irrigate", "a1")}))
    drive(pair.vehicle, 2)
    pair.say()
    kept = Progress.from_json(pair.vehicle.progress().to_json())
    pair.vehicle = VehicleSession(ADDRESS, progress=kept)
    assert [action.actionId for action in pair.vehicle.pending_actions()] == ["a1"]
    assert pair.say() == ["StateReceived"]
    pair.vehicle = VehicleSession(ADDRESS)
    assert pair.why() == ["the vehicle has lost the order"]


def test_progress_that_is_none_is_refused():
    with pytest.raises(ValueError, match="progress"):
        Progress.from_json([1])


def test_cancel_ends_the_order_and_its_actions():
    pair = Pair()
    pair.send(order("dock", "field", actions={1: Action("pick", "a1")}))
    pair.say()
    assert pair.ask(pair.master.cancel(T)) == ["OrderCancelled"]
    assert pair.vehicle.idle
    assert pair.vehicle.target() is None
    assert pair.say() == ["StateReceived", "OrderCancelled"]
    assert pair.send(replace(order("dock", "field"), orderId="job-2")) == ["OrderAccepted"]


def test_a_cancellation_that_came_too_late_finds_the_order_done():
    pair = Pair()
    pair.send(order("dock", "field"))
    pair.say()
    drive(pair.vehicle, 2)
    assert pair.ask(pair.master.cancel(T)) == ["Refused"]
    assert pair.say() == ["StateReceived", "OrderDone"]


def test_a_lost_cancellation_is_sent_again():
    pair = Pair()
    pair.send(order("dock", "field"))
    pair.say()
    pair.master.cancel(T)
    (again,) = pair.master.due(Instant(T + 5_000))
    assert isinstance(again, master.Publish)
    assert pair.ask(again.message) == ["OrderCancelled"]


def test_an_overdue_order_has_failed():
    pair = Pair()
    pair.ask(pair.master.send(order("dock", "field"), T, until=Instant(T + 60_000)))
    pair.say()
    assert pair.master.next_deadline() == T + 40_000
    assert [type(event) for event in pair.master.due(Instant(T + 60_000))][-1] is master.OrderFailed


def test_silence_and_words_of_parting_make_a_vehicle_offline_only_a_state_brings_it_back():
    pair = Pair()
    assert [type(event) for event in pair.master.due(Instant(T + 40_000))] == [master.VehicleOffline]
    assert pair.tell(pair.vehicle.online(T)[0]) == []
    assert pair.say() == ["VehicleOnline", "StateReceived"]
    assert pair.tell(pair.vehicle.will(T)) == ["VehicleOffline"]
    assert pair.tell(pair.vehicle.offline(T)) == []


def test_the_connection_is_retained_with_qos_1_and_nothing_else_is():
    session = VehicleSession(ADDRESS)
    messages = [session.will(T), *session.online(T), session.offline(T), session.state(CONDITION, T)]
    assert [(message.qos, message.retain) for message in messages] == [(1, True)] * 3 + [(0, False)]


def test_states_are_due_after_every_event_and_every_30_s():
    session = VehicleSession(ADDRESS)
    assert session.state_due(T)
    session.state(CONDITION, T)
    assert not session.state_due(Instant(T + 29_999))
    assert session.state_due(Instant(T + 30_000))
    sent = MasterSession(ADDRESS).send(order("dock", "field"), T)
    session.receive(sent.topic, sent.payload, T)
    assert session.state_due(T)


def test_pause_stops_and_resume_goes_on():
    pair = Pair()
    pair.send(order("dock", "field"))
    pair.ask(pair.master.instant((Action("startPause", "p1"),), T))
    assert pair.vehicle.target() is None
    pair.ask(pair.master.instant((Action("startPause", "p1"),), T))
    pair.ask(pair.master.instant((Action("stopPause", "p2"),), T))
    assert pair.vehicle.target() is not None


def test_an_action_that_only_the_vehicle_knows_is_handed_over():
    pair = Pair()
    assert pair.ask(pair.master.instant((Action("startCharging", "c1"),), T)) == ["ActionRequested"]
    pair.vehicle.action_ended("c1")
    pair.say()
    assert pair.master.state is not None
    assert [entry.actionStatus for entry in pair.master.state.actionStates] == [ActionStatus.FINISHED]


@given(st.sampled_from(list(Kind)), st.binary(max_size=60), st.booleans())
def test_no_bytes_raise_anything_on_either_side(kind, payload, as_json):
    pair = Pair()
    raw = b'{"headerId":1,"x":' + payload + b"}" if as_json else payload
    topic = ADDRESS.topic(kind)
    assert all(isinstance(event, vehicle.Refused) for event in pair.vehicle.receive(topic, raw, T))
    assert pair.master.receive(topic, raw, T) == []
