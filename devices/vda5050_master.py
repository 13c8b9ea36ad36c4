"""The master's side of VDA 5050 2.1 for one vehicle: send an order, follow it, notice how it ends. No I/O, no clock.

Orders are QoS 0 and may be lost, so an order that no state shows is sent again (a vehicle ignores the same update);
after three times it has failed. A vehicle that loses its order, refuses it or fails an action has failed it.

Source: VDA 5050 2.1.0, sections 6.6 (orders), 6.7 (cancellation), 6.10 (state), 6.14 (connection).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from devices.clock import SECOND_MS, Instant
from devices.model import Message
from devices.vda5050_codec import Address, Body, Kind
from devices.vda5050_factsheet import Factsheet
from devices.vda5050_orders import shape_problem
from devices.vda5050_values import (
    Action,
    ActionParameter,
    ActionStatus,
    BlockingType,
    Connection,
    ConnectionState,
    ErrorLevel,
    Header,
    InstantActions,
    Order,
    State,
)

ANSWER_MS = 5 * SECOND_MS
SILENCE_MS = 40 * SECOND_MS
"""The standard wants a state every 30 s."""
SENDS_MAX = 3
REFUSALS = ("validationError", "orderError", "orderUpdateError", "noRouteError")


class OrderState(StrEnum):
    """Where the order in hand stands."""

    NONE = "none"
    SENT = "sent"
    RUNNING = "running"
    CANCELLING = "cancelling"


@dataclass(frozen=True, slots=True)
class VehicleOnline:
    """The vehicle is there."""


@dataclass(frozen=True, slots=True)
class VehicleOffline:
    """The vehicle has gone or is silent; its order may still be carried out."""

    reason: str


@dataclass(frozen=True, slots=True)
class StateReceived:
    """A new state; `session.state` holds it too."""

    state: State


@dataclass(frozen=True, slots=True)
class FactsheetReceived:
    """What the vehicle is and can."""

    factsheet: Factsheet


@dataclass(frozen=True, slots=True)
class OrderStarted:
    """The vehicle has taken the order."""

    order_id: str


@dataclass(frozen=True, slots=True)
class OrderDone:
    """Every node is reached and every action finished."""

    order_id: str


@dataclass(frozen=True, slots=True)
class OrderFailed:
    """The order will not be done."""

    order_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """The vehicle has given the order up as asked."""

    order_id: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish this (an order or a cancellation again)."""

    message: Message


MasterEvent = (
    VehicleOnline
    | VehicleOffline
    | StateReceived
    | FactsheetReceived
    | OrderStarted
    | OrderDone
    | OrderFailed
    | OrderCancelled
    | Publish
)


class BadOrder(ValueError):
    """An order of ours that no vehicle may be sent."""


class OrderInHand(RuntimeError):
    """The vehicle has an order of ours; cancel it or wait."""


class MasterSession:
    """What the hub knows of one vehicle, and the one order that it follows."""

    def __init__(self, address: Address, answer_ms: int = ANSWER_MS, silence_ms: int = SILENCE_MS) -> None:
        """Knows nothing yet. Both times are in ms of `now`: give at least the run's deadline floor."""
        self.address = address
        self.answer_ms = answer_ms
        self.silence_ms = silence_ms
        self.online = False
        self.state: State | None = None
        self.state_at: Instant | None = None
        self.factsheet: Factsheet | None = None
        self.order: Order | None = None
        self.order_state = OrderState.NONE
        self.counters: dict[str, int] = {}
        self._sends = 0
        self._sent_at = Instant(0)
        self._until: Instant | None = None
        self._cancel_id = ""
        self._headers: dict[Kind, int] = {}

    def subscriptions(self) -> list[tuple[str, int]]:
        """Returns (topic, QoS): state, connection, factsheet."""
        return [
            (self.address.topic(Kind.STATE), 0),
            (self.address.topic(Kind.CONNECTION), 1),
            (self.address.topic(Kind.FACTSHEET), 0),
        ]

    def receive(self, topic: str, payload: bytes, now: Instant) -> list[MasterEvent]:
        """Returns what a message means; anything malformed is dropped and counted."""
        codec = self.address.codec
        match self.address.kind(topic):
            case Kind.STATE:
                state = codec.decode(State, payload).value
                return self._malformed() if state is None else self._state(state, now)
            case Kind.CONNECTION:
                connection = codec.decode(Connection, payload).value
                return self._malformed() if connection is None else self._connection(connection.connectionState)
            case Kind.FACTSHEET:
                factsheet = codec.decode(Factsheet, payload).value
                if factsheet is None:
                    return self._malformed()
                self.factsheet = factsheet
                return [FactsheetReceived(factsheet)]
            case _:
                return []

    def send(self, order: Order, now: Instant, until: Instant | None = None) -> Message:
        """Returns the message for a new order, which must be done by `until`.

        Raises:
            BadOrder: nodes and edges do not chain.
            OrderInHand: another order is under way.
        """
        problem = shape_problem(order)
        if problem:
            raise BadOrder(f"order {order.orderId} for {self.address.serial}: {problem}")
        if self.order_state is not OrderState.NONE:
            raise OrderInHand(f"{self.address.serial} has order {self.order.orderId if self.order else ''} in hand")
        self.order, self.order_state, self._until = order, OrderState.SENT, until
        self._sends, self._sent_at = 1, now
        return self._message(Kind.ORDER, order, now)

    def adopt(self, order: Order, until: Instant | None = None) -> None:
        """Goes on following an order that an earlier master sent; the vehicle's next state tells where it stands."""
        self.order, self.order_state, self._until = order, OrderState.RUNNING, until

    def update(self, order: Order, now: Instant) -> Message:
        """Returns the message for an update of the order in hand: same orderId, higher orderUpdateId, stitched nodes.

        Raises:
            BadOrder: not an update of the order in hand.
        """
        known = self.order
        if known is None or order.orderId != known.orderId or order.orderUpdateId <= known.orderUpdateId:
            raise BadOrder(f"order {order.orderId} update {order.orderUpdateId} updates nothing in hand")
        problem = shape_problem(order)
        if problem:
            raise BadOrder(f"order {order.orderId} for {self.address.serial}: {problem}")
        self.order, self.order_state = order, OrderState.SENT
        self._sends, self._sent_at = 1, now
        return self._message(Kind.ORDER, order, now)

    def cancel(self, now: Instant) -> Message:
        """Returns cancelOrder for the order in hand; OrderCancelled or OrderFailed tells how it went.

        Raises:
            BadOrder: there is nothing to cancel.
        """
        if self.order is None:
            raise BadOrder(f"{self.address.serial} has no order to cancel")
        self.order_state, self._sends, self._sent_at = OrderState.CANCELLING, 1, now
        self._cancel_id = f"cancel-{self.order.orderId}-{now}"
        return self._cancellation(now)

    def instant(self, actions: tuple[Action, ...], now: Instant) -> Message:
        """Returns the message for actions to be done at once."""
        return self._message(Kind.INSTANT_ACTIONS, InstantActions(actions), now)

    def due(self, now: Instant) -> list[MasterEvent]:
        """Returns what has become due: an order sent again, given up or overdue; a vehicle gone silent."""
        events: list[MasterEvent] = []
        if self.online and self.state_at is not None and now - self.state_at >= self.silence_ms:
            self.online = False
            events.append(VehicleOffline(f"no state for {self.silence_ms // SECOND_MS} s"))
        if self.order is None:
            return events
        if self._until is not None and now >= self._until and self.order_state is not OrderState.CANCELLING:
            return [*events, *self._end(OrderFailed(self.order.orderId, "not done in time"))]
        waiting = self.order_state in (OrderState.SENT, OrderState.CANCELLING)
        if not waiting or now - self._sent_at < self.answer_ms:
            return events
        if self._sends >= SENDS_MAX:
            what = "not taken" if self.order_state is OrderState.SENT else "not cancelled"
            return [*events, *self._end(OrderFailed(self.order.orderId, f"{what} after {SENDS_MAX} messages"))]
        self._sends, self._sent_at = self._sends + 1, now
        self._count("resent")
        sent = self.order_state is OrderState.SENT
        return [*events, Publish(self._message(Kind.ORDER, self.order, now) if sent else self._cancellation(now))]

    def next_deadline(self) -> Instant | None:
        """Returns when `due` must be called at the latest."""
        deadlines: list[int] = []
        if self.online and self.state_at is not None:
            deadlines.append(self.state_at + self.silence_ms)
        if self.order_state in (OrderState.SENT, OrderState.CANCELLING):
            deadlines.append(self._sent_at + self.answer_ms)
        if self._until is not None:
            deadlines.append(self._until)
        return Instant(min(deadlines)) if deadlines else None

    # -- following --------------------------------------------------------------------------------------------------

    def _state(self, state: State, now: Instant) -> list[MasterEvent]:
        events: list[MasterEvent] = [] if self.online else [VehicleOnline()]
        self.online, self.state, self.state_at = True, state, now
        events.append(StateReceived(state))
        if self.order is not None:
            events += self._follow(self.order, state)
        return events

    def _follow(self, order: Order, state: State) -> list[MasterEvent]:
        events: list[MasterEvent] = []
        taken = state.orderId == order.orderId and state.orderUpdateId >= order.orderUpdateId
        if self.order_state is OrderState.SENT:
            if not taken:
                refusal = _refusal(order, state)
                return self._end(OrderFailed(order.orderId, refusal)) if refusal else []
            self.order_state = OrderState.RUNNING
            events.append(OrderStarted(order.orderId))
        elif self.order_state is OrderState.CANCELLING:
            return self._follow_cancel(order, state)
        if not taken:
            lost = f"the vehicle now has order {state.orderId!r}" if state.orderId else "the vehicle has lost the order"
            return self._end(OrderFailed(order.orderId, lost))
        return [*events, *self._outcome(order, state)]

    def _outcome(self, order: Order, state: State) -> list[MasterEvent]:
        ours = {action.actionId for element in (*order.nodes, *order.edges) for action in element.actions}
        states = {entry.actionId: entry for entry in state.actionStates if entry.actionId in ours}
        over = all(entry.actionStatus in (ActionStatus.FINISHED, ActionStatus.FAILED) for entry in states.values())
        standing = not state.nodeStates and not state.edgeStates and over and len(states) == len(ours)
        if standing:
            failed = [entry for entry in states.values() if entry.actionStatus is ActionStatus.FAILED]
            if failed:
                why = f"action {failed[0].actionType or failed[0].actionId} failed: {failed[0].resultDescription or ''}"
                return self._end(OrderFailed(order.orderId, why))
            # By sequence id too: a round ends at the node where it began.
            here, end = (state.lastNodeId, state.lastNodeSequenceId), order.nodes[-1]
            if end.released and here == (end.nodeId, end.sequenceId):
                return self._end(OrderDone(order.orderId))
        fatal = next((error for error in state.errors if error.errorLevel is ErrorLevel.FATAL), None)
        if fatal is not None:
            return self._end(OrderFailed(order.orderId, f"{fatal.errorType}: {fatal.errorDescription or ''}"))
        base_end = next(node for node in reversed(order.nodes) if node.released)
        if standing and (state.lastNodeId, state.lastNodeSequenceId) != (base_end.nodeId, base_end.sequenceId):
            return self._end(OrderFailed(order.orderId, f"it ended at {state.lastNodeId!r}"))
        return []

    def _follow_cancel(self, order: Order, state: State) -> list[MasterEvent]:
        action = next((entry for entry in state.actionStates if entry.actionId == self._cancel_id), None)
        gone = state.orderId != order.orderId and action is None and self._sends > 1
        if gone or (action is not None and action.actionStatus is ActionStatus.FINISHED):
            return self._end(OrderCancelled(order.orderId))
        if action is not None and action.actionStatus is ActionStatus.FAILED:
            self.order_state = OrderState.RUNNING
            ended = self._outcome(order, state)  # most likely it was done before the cancellation came
            return ended or self._end(OrderCancelled(order.orderId))
        return []

    def _connection(self, connection: ConnectionState) -> list[MasterEvent]:
        """ONLINE alone is no life sign: it is retained, so only states make a vehicle online."""
        if connection is ConnectionState.ONLINE or not self.online:
            return []
        self.online = False
        return [VehicleOffline("signed off" if connection is ConnectionState.OFFLINE else "connection broken")]

    def _end(self, event: OrderDone | OrderFailed | OrderCancelled) -> list[MasterEvent]:
        self.order, self.order_state, self._until = None, OrderState.NONE, None
        return [event]

    def _cancellation(self, now: Instant) -> Message:
        order_id = "" if self.order is None else self.order.orderId
        parameters = (ActionParameter("orderId", order_id),)
        return self.instant((Action("cancelOrder", self._cancel_id, BlockingType.HARD, parameters),), now)

    def _malformed(self) -> list[MasterEvent]:
        self._count("rejected_malformed")
        return []

    def _message(self, kind: Kind, body: Body, now: Instant) -> Message:
        number = self._headers.get(kind, 0)
        self._headers[kind] = (number + 1) & 0xFFFFFFFF
        codec = self.address.codec
        header = Header(number, now, codec.version, self.address.manufacturer, self.address.serial)
        return Message(self.address.topic(kind), codec.encode(header, body))

    def _count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1


def _refusal(order: Order, state: State) -> str:
    """Returns why the vehicle refuses this very order, or an empty text."""
    for error in state.errors:
        about = {entry.referenceKey: entry.referenceValue for entry in error.errorReferences}
        this = about.get("orderId") == order.orderId
        if this and error.errorType in REFUSALS and about.get("orderUpdateId") in (None, str(order.orderUpdateId)):
            return f"refused: {error.errorType}: {error.errorDescription or ''}"
    return ""
