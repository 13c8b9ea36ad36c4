"""The vehicle's side of VDA 5050 2.1: which orders it takes, and what it says about them. No I/O, no clock.

The vehicle's program drives: it looks at `target()` and `pending_actions()`, calls `arrived`, `action_started` and
`action_ended`, and publishes `state(...)` whenever `state_due(now)`.

Source: VDA 5050 2.1.0, sections 6.6 (orders, updates, cancellation) and 6.8-6.10 (actions, state).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from devices.clock import Instant
from devices.model import Message
from devices.vda5050_codec import Address, Body, Kind
from devices.vda5050_factsheet import Factsheet
from devices.vda5050_orders import Progress, node_state, over, shape_problem
from devices.vda5050_values import (
    Action,
    ActionState,
    ActionStatus,
    AgvPosition,
    BatteryState,
    Connection,
    ConnectionState,
    Edge,
    EdgeState,
    ErrorLevel,
    EStop,
    Header,
    Information,
    InstantActions,
    Node,
    OperatingMode,
    Order,
    Reference,
    SafetyState,
    State,
    VehicleError,
    Velocity,
)

STATE_EVERY_MS = 30_000
ERRORS_MAX = 10
INSTANT_STATES_MAX = 20
DEVIATION_M = 1.0
"""How near the first node counts as reached, where the order does not say."""


ALL_SAFE = SafetyState(EStop.NONE, fieldViolation=False)
NOTHING_DONE = Progress()


@dataclass(frozen=True, slots=True)
class OrderAccepted:
    """A new order, or an update of the one in hand (`update`)."""

    order: Order
    update: bool


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """The order is gone; stop."""

    order_id: str


@dataclass(frozen=True, slots=True)
class ActionRequested:
    """An instant action that the session does not do itself; answer with `action_started` and `action_ended`."""

    action: Action


@dataclass(frozen=True, slots=True)
class Refused:
    """A message was not followed; the error stands in the state too where the standard wants it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Publish this."""

    message: Message


VehicleEvent = OrderAccepted | OrderCancelled | ActionRequested | Refused | Answer


@dataclass(frozen=True, slots=True)
class Condition:
    """What only the vehicle itself knows; goes into every state."""

    position: AgvPosition
    battery: BatteryState
    driving: bool = False
    mode: OperatingMode = OperatingMode.AUTOMATIC
    safety: SafetyState = ALL_SAFE
    velocity: Velocity | None = None
    errors: tuple[VehicleError, ...] = ()
    information: tuple[Information, ...] | None = None


class VehicleSession:
    """One vehicle's session: at most one order at a time."""

    def __init__(self, address: Address, factsheet: Factsheet | None = None, progress: Progress = NOTHING_DONE) -> None:
        """Starts without a place, and with the order that a saved `progress()` had in hand."""
        self.address = address
        self.factsheet = factsheet
        self.paused = progress.paused
        self.last_node_id = progress.lastNodeId
        self.last_sequence_id = progress.lastNodeSequenceId
        self.place: tuple[float, float, str] | None = None
        self.counters: dict[str, int] = {}
        self._order_id = progress.orderId
        self._update_id = progress.orderUpdateId
        self._nodes = list(progress.nodes)
        self._edges = list(progress.edges)
        self._here = progress.here
        self._base_end = progress.baseEnd
        self._actions = {state.actionId: state for state in progress.actionStates}
        self._instant: dict[str, ActionState] = {}
        self._errors: list[VehicleError] = []
        self._headers: dict[Kind, int] = {}
        self._told: tuple[State, bytes] | None = None  # a state that says the same again is not written again
        self._changed = True
        self._next_state = Instant(0)

    # -- connection -------------------------------------------------------------------------------------------------

    def subscriptions(self) -> list[tuple[str, int]]:
        """Returns (topic, QoS): orders and instant actions."""
        return [(self.address.topic(Kind.ORDER), 0), (self.address.topic(Kind.INSTANT_ACTIONS), 0)]

    def will(self, now: Instant) -> Message:
        """Returns the retained CONNECTIONBROKEN for CONNECT."""
        return self._connection(ConnectionState.CONNECTIONBROKEN, now)

    def online(self, now: Instant) -> list[Message]:
        """Returns what to publish once connected: ONLINE, and the factsheet; a state follows as it is due."""
        self._changed = True
        messages = [self._connection(ConnectionState.ONLINE, now)]
        return messages if self.factsheet is None else [*messages, self._message(Kind.FACTSHEET, self.factsheet, now)]

    def offline(self, now: Instant) -> Message:
        """Returns the retained OFFLINE to publish before a clean disconnect."""
        return self._connection(ConnectionState.OFFLINE, now)

    def receive(self, topic: str, payload: bytes, now: Instant) -> list[VehicleEvent]:
        """Returns what a message asks of the vehicle; anything malformed is Refused and stands as an error."""
        kind = self.address.kind(topic)
        if kind is Kind.ORDER:
            order = self.address.codec.decode(Order, payload)
            return self._order(order.value) if order.value is not None else self._malformed(kind, order.problems)
        if kind is Kind.INSTANT_ACTIONS:
            actions = self.address.codec.decode(InstantActions, payload)
            if actions.value is None:
                return self._malformed(kind, actions.problems)
            return [event for action in actions.value.actions for event in self._instant_action(action, now)]
        return []

    def progress(self) -> Progress:
        """Returns what a restarted vehicle needs to go on."""
        return Progress(
            orderId=self._order_id,
            orderUpdateId=self._update_id,
            nodes=tuple(self._nodes),
            edges=tuple(self._edges),
            here=self._here,
            baseEnd=self._base_end,
            actionStates=tuple(self._actions.values()),
            lastNodeId=self.last_node_id,
            lastNodeSequenceId=self.last_sequence_id,
            paused=self.paused,
        )

    # -- what the vehicle does --------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Returns whether nothing is left to drive or do."""
        return not self._nodes and not self._edges and all(over(state) for state in self._actions.values())

    @property
    def order_id(self) -> str:
        """Returns the order in hand or last done."""
        return self._order_id

    def target(self) -> tuple[Edge | None, Node] | None:
        """Returns the edge to drive and the node to reach next; None while paused, waiting for release, or done.

        The edge is None for the first node of an order: the vehicle stands there (or near enough) already.
        """
        if self.paused or not self._nodes or not self._nodes[0].released or not self._may_leave():
            return None
        edge = self._edges[0] if self._edges and self._edges[0].sequenceId < self._nodes[0].sequenceId else None
        return None if edge is not None and not edge.released else (edge, self._nodes[0])

    def arrived(self) -> None:
        """Notes that the target node is reached; its actions are pending now."""
        target = self.target()
        assert target is not None, "arrived() without a target()"
        edge, node = target
        for action in () if edge is None else edge.actions:
            if not over(self._actions[action.actionId]):
                self._set(action.actionId, ActionStatus.FINISHED, "edge left")
        if edge is not None:
            self._edges.pop(0)
        self._nodes.pop(0)
        self.last_node_id, self.last_sequence_id = node.nodeId, node.sequenceId
        self._here = node.actions
        self._changed = True

    def pending_actions(self) -> list[Action]:
        """Returns the actions to start or go on with, in order: those of the node and then of the edge under way."""
        if self.paused:
            return []
        actions = [action for action in self._here if not over(self._actions[action.actionId])]
        target = self.target()
        if not actions and target is not None and target[0] is not None:
            actions = [action for action in target[0].actions if not over(self._actions[action.actionId])]
        return actions

    def action_started(self, action_id: str) -> None:
        """Notes that an action runs."""
        self._set(action_id, ActionStatus.RUNNING)

    def action_ended(self, action_id: str, failed: bool = False, result: str | None = None) -> None:
        """Notes that an action is over."""
        self._set(action_id, ActionStatus.FAILED if failed else ActionStatus.FINISHED, result)

    def abandon(self, why: str) -> None:
        """Gives the order in hand up: what is not over has failed, nothing is left to drive."""
        for state in list(self._actions.values()):
            if not over(state):
                self._set(state.actionId, ActionStatus.FAILED, why)
        self._nodes, self._edges, self._here, self._base_end = [], [], (), None
        self._changed = True

    def touch(self) -> None:
        """Makes a state due at once: something else that it shows has changed."""
        self._changed = True

    def state_due(self, now: Instant) -> bool:
        """Returns whether a state must be sent: after every event, and every 30 s."""
        return self._changed or now >= self._next_state

    def next_deadline(self) -> Instant:
        """Returns when a state is due at the latest."""
        return Instant(0) if self._changed else self._next_state

    def state(self, condition: Condition, now: Instant) -> Message:
        """Returns the state message."""
        self._changed = False
        self._next_state = Instant(now + STATE_EVERY_MS)
        position = condition.position
        self.place = (position.x, position.y, position.mapId)
        state = State(
            orderId=self._order_id,
            orderUpdateId=self._update_id,
            lastNodeId=self.last_node_id,
            lastNodeSequenceId=self.last_sequence_id,
            driving=condition.driving,
            operatingMode=condition.mode,
            nodeStates=tuple(node_state(node) for node in self._nodes),
            edgeStates=tuple(EdgeState(edge.edgeId, edge.sequenceId, edge.released) for edge in self._edges),
            actionStates=(*self._actions.values(), *self._instant.values()),
            batteryState=condition.battery,
            errors=(*self._errors, *condition.errors),
            safetyState=condition.safety,
            agvPosition=position,
            velocity=condition.velocity,
            information=condition.information,
            paused=self.paused,
        )
        if self._told is None or self._told[0] != state:
            self._told = state, self.address.codec.body(state)
        return self._message(Kind.STATE, self._told[1], now)

    # -- orders -----------------------------------------------------------------------------------------------------

    def _order(self, order: Order) -> list[VehicleEvent]:
        problem = shape_problem(order)
        if problem:
            return self._refuse("validationError", problem, order)
        if order.orderId == self._order_id:
            return self._update(order)
        if not self.idle:
            return self._refuse("orderUpdateError", f"order {self._order_id} is still being carried out", order)
        if not self._reachable(order.nodes[0]):
            return self._refuse("noRouteError", f"node {order.nodes[0].nodeId} is not where the vehicle is", order)
        self._actions = {}
        self._instant = {key: state for key, state in self._instant.items() if not over(state)}
        self._nodes, self._edges, self._here = list(order.nodes), list(order.edges), ()
        return self._accept(order, update=False)

    def _update(self, order: Order) -> list[VehicleEvent]:
        """Takes an update that is stitched to the end of the base; the same update again is silently the same."""
        if order.orderUpdateId == self._update_id:
            self._count("orders_repeated")
            self._changed = True
            return []
        if order.orderUpdateId < self._update_id:
            return self._refuse("orderUpdateError", f"update {order.orderUpdateId} is older than in hand", order)
        stitch, end = order.nodes[0], self._base_end
        if end is None or (stitch.nodeId, stitch.sequenceId) != (end.nodeId, end.sequenceId):
            return self._refuse(
                "orderUpdateError", f"the update does not start at the base's end {end and end.nodeId}", order
            )
        ahead = [stitch if node.sequenceId == stitch.sequenceId else node for node in self._nodes if node.released]
        if not ahead:  # it stands on the stitching node: what the update adds there is still to be done
            self._here += tuple(action for action in stitch.actions if action.actionId not in self._actions)
        self._nodes = ahead + list(order.nodes[1:])
        self._edges = [edge for edge in self._edges if edge.released] + list(order.edges)
        return self._accept(order, update=True)

    def _accept(self, order: Order, *, update: bool) -> list[VehicleEvent]:
        self._order_id, self._update_id = order.orderId, order.orderUpdateId
        self._base_end = next((node for node in reversed(order.nodes) if node.released), None)
        for element in (*order.nodes, *order.edges):
            for action in element.actions:
                waiting = ActionState(action.actionId, ActionStatus.WAITING, action.actionType)
                self._actions.setdefault(action.actionId, waiting)
        self._errors.clear()
        self._changed = True
        return [OrderAccepted(order, update)]

    def _reachable(self, node: Node) -> bool:
        if node.nodeId == self.last_node_id:
            return True
        position, place = node.nodePosition, self.place
        if position is None or place is None or position.mapId != place[2]:
            return False
        near = position.allowedDeviationXY or DEVIATION_M
        return math.hypot(position.x - place[0], position.y - place[1]) <= near

    def _may_leave(self) -> bool:
        """Returns whether the node's actions are done; a SOFT or HARD one keeps the vehicle from driving."""
        return all(over(self._actions[action.actionId]) or action.blockingType == "NONE" for action in self._here)

    # -- instant actions --------------------------------------------------------------------------------------------

    def _instant_action(self, action: Action, now: Instant) -> list[VehicleEvent]:
        if action.actionId in self._instant:
            self._count("actions_repeated")
            return []
        while len(self._instant) >= INSTANT_STATES_MAX:
            del self._instant[next(iter(self._instant))]
        self._instant[action.actionId] = ActionState(action.actionId, ActionStatus.WAITING, action.actionType)
        self._changed = True
        match action.actionType:
            case "cancelOrder":
                return self._cancel(action)
            case "startPause" | "stopPause":
                self.paused = action.actionType == "startPause"
            case "stateRequest":
                pass  # every change makes a state due
            case "factsheetRequest" if self.factsheet is not None:
                self.action_ended(action.actionId)
                return [Answer(self._message(Kind.FACTSHEET, self.factsheet, now))]
            case _:
                return [ActionRequested(action)]
        self.action_ended(action.actionId)
        return []

    def _cancel(self, action: Action) -> list[VehicleEvent]:
        asked = action.parameter("orderId")
        if self.idle or (isinstance(asked, str) and asked != self._order_id):
            self.action_ended(action.actionId, failed=True, result="no such order in hand")
            self._complain("noOrderToCancel", "no such order in hand", (Reference("actionId", action.actionId),))
            return [Refused("cancelOrder without such an order")]
        self.abandon("cancelled")
        self.action_ended(action.actionId)
        return [OrderCancelled(self._order_id)]

    # -- the rest ---------------------------------------------------------------------------------------------------

    def _set(self, action_id: str, status: ActionStatus, result: str | None = None) -> None:
        for table in (self._actions, self._instant):
            if action_id in table:
                table[action_id] = replace(table[action_id], actionStatus=status, resultDescription=result)
                self._changed = True

    def _refuse(self, kind: str, why: str, order: Order) -> list[VehicleEvent]:
        references = (Reference("orderId", order.orderId), Reference("orderUpdateId", str(order.orderUpdateId)))
        self._complain(kind, why, references)
        return [Refused(f"order {order.orderId}: {why}")]

    def _malformed(self, kind: Kind, problems: Iterable[str]) -> list[VehicleEvent]:
        text = "; ".join(problems)[:400]
        self._complain("validationError", text, (Reference("topic", kind),))
        return [Refused(text)]

    def _complain(self, kind: str, why: str, references: tuple[Reference, ...]) -> None:
        self._count("rejected")
        error = VehicleError(kind, ErrorLevel.WARNING, references, why)
        self._errors = [*[known for known in self._errors if known != error], error][-ERRORS_MAX:]
        self._changed = True

    def _connection(self, state: ConnectionState, now: Instant) -> Message:
        return self._message(Kind.CONNECTION, Connection(state), now)

    def _message(self, kind: Kind, body: Body | bytes, now: Instant) -> Message:
        number = self._headers.get(kind, 0)
        self._headers[kind] = (number + 1) & 0xFFFFFFFF
        codec = self.address.codec
        header = Header(number, now, codec.version, self.address.manufacturer, self.address.serial)
        kept = kind is Kind.CONNECTION
        text = body if isinstance(body, bytes) else codec.body(body)
        return Message(self.address.topic(kind), codec.headed(header, text), qos=1 if kept else 0, retain=kept)

    def _count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1
