"""A VDA 5050 2.1 order as a vehicle keeps it: nodes, edges, actions, and whether a new one may be taken.

Source: VDA 5050 2.1.0, 6.6 (orders, updates, cancel) and the JSON schemas order and instantActions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from devices.bounded_json import JsonValue

NODES_MAX = 200
ACTIONS_MAX = 50
WAITING, RUNNING, FINISHED, FAILED = "WAITING", "RUNNING", "FINISHED", "FAILED"


class BadOrder(ValueError):
    """An order that cannot be taken; `kind` is the VDA 5050 error type."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(slots=True)
class Action:
    """One action and how far it is."""

    id: str
    type: str
    parameters: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    status: str = WAITING
    result: str = ""

    @property
    def over(self) -> bool:
        """Returns whether nothing more will come of it."""
        return self.status in (FINISHED, FAILED)

    def number(self, *names: str, default: float) -> float:
        """Returns the first of the named parameters that holds a number >= 0."""
        for name in names:
            value = self.parameters.get(name)
            if isinstance(value, str):
                try:
                    value = float(value)
                except ValueError:
                    continue
            if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9:
                return float(value)
        return default

    def state(self) -> dict[str, JsonValue]:
        """Returns its entry of `actionStates`."""
        state: dict[str, JsonValue] = {"actionId": self.id, "actionType": self.type, "actionStatus": self.status}
        return {**state, "resultDescription": self.result} if self.result else state


@dataclass(slots=True)
class Stop:
    """A node with the edge that leads to it; metres on the site's plane, None = stay where you are."""

    node_id: str
    sequence: int
    released: bool
    x: float | None
    y: float | None
    actions: list[Action] = field(default_factory=list[Action])
    edge_id: str = ""
    edge_sequence: int = 0

    def node_state(self) -> dict[str, JsonValue]:
        """Returns its entry of `nodeStates`."""
        state: dict[str, JsonValue] = {
            "nodeId": self.node_id,
            "sequenceId": self.sequence,
            "released": self.released,
        }
        if self.x is not None and self.y is not None:
            state["nodePosition"] = {"x": self.x, "y": self.y, "mapId": "site"}
        return state

    def edge_state(self) -> dict[str, JsonValue]:
        """Returns the entry of `edgeStates` of the edge that leads here."""
        return {"edgeId": self.edge_id, "sequenceId": self.edge_sequence, "released": self.released}


@dataclass(slots=True)
class Order:
    """The order in force. `stops` are the nodes not reached yet, base first, then horizon."""

    id: str = ""
    update: int = 0
    stops: list[Stop] = field(default_factory=list[Stop])
    actions: list[Action] = field(default_factory=list[Action])
    last_node: str = ""
    last_sequence: int = 0
    here: list[Action] = field(default_factory=list[Action])  # of the node that was reached, in order

    @property
    def over(self) -> bool:
        """Returns whether nothing is left to do: a new order may come."""
        return not self.stops and all(action.over for action in self.actions)

    def take(self, document: Mapping[str, JsonValue], known: Sequence[str]) -> bool:
        """Takes a new order or an update; False for one that was taken already.

        Raises:
            BadOrder: it is refused and nothing has changed.
        """
        order_id, update = document.get("orderId"), document.get("orderUpdateId")
        if not isinstance(order_id, str) or not order_id or not isinstance(update, int) or update < 0:
            raise BadOrder("validationError", "orderId or orderUpdateId is missing")
        stops = parse_stops(document, known)
        if order_id != self.id:
            if not self.over:
                raise BadOrder("orderUpdateError", f"still busy with order {self.id}")
            self.id, self.update, self.stops = order_id, update, stops
            self.actions = [action for stop in stops for action in stop.actions]
            return True
        if update <= self.update:
            if update < self.update:
                raise BadOrder("orderUpdateError", f"update {update} is older than {self.update}")
            return False
        self._stitch(stops)
        self.update = update
        return True

    def _stitch(self, stops: list[Stop]) -> None:
        """Joins an update to the end of the base and replaces the horizon."""
        base = [stop for stop in self.stops if stop.released]
        end, end_sequence = (base[-1].node_id, base[-1].sequence) if base else (self.last_node, self.last_sequence)
        first = stops[0]
        if (first.node_id, first.sequence) != (end, end_sequence):
            raise BadOrder("orderUpdateError", f"begins at {first.node_id}, the base ends at {end}")
        horizon = {id(action) for stop in self.stops if not stop.released for action in stop.actions}
        kept = [action for action in self.actions if id(action) not in horizon]
        have = {action.id for action in kept}
        fresh = [action for action in first.actions if action.id not in have]
        if base:
            base[-1].actions.extend(fresh)
        else:
            self.here.extend(fresh)
        self.stops = base + stops[1:]
        self.actions = kept + fresh + [action for stop in stops[1:] for action in stop.actions]

    def reach(self) -> None:
        """Notes that the next node is reached; its actions are next."""
        stop = self.stops.pop(0)
        self.last_node, self.last_sequence = stop.node_id, stop.sequence
        self.here = list(stop.actions)

    def cancel(self) -> None:
        """Drops what is left; actions that were not over fail."""
        self.stops, self.here = [], []
        for action in self.actions:
            if not action.over:
                action.status, action.result = FAILED, "order cancelled"


def parse_stops(document: Mapping[str, JsonValue], known: Sequence[str]) -> list[Stop]:
    """Returns an order's nodes in sequence, each with the edge before it.

    Raises:
        BadOrder: nodes or edges are missing, out of order, too many, or hold unknown actions.
    """
    nodes, edges = _tables(document, "nodes"), _tables(document, "edges")
    if not nodes or len(nodes) > NODES_MAX or len(edges) != len(nodes) - 1:
        raise BadOrder("validationError", f"{len(nodes)} nodes and {len(edges)} edges")
    stops = [_stop(node, known) for node in nodes]
    for edge, stop in zip(edges, stops[1:], strict=True):
        stop.edge_id, stop.edge_sequence = _text(edge, "edgeId"), _whole(edge, "sequenceId")
        actions = parse_actions(edge, known)
        stop.actions = actions + stop.actions
    sequences = [number for stop in stops for number in (stop.edge_sequence, stop.sequence)][1:]
    if sequences != sorted(set(sequences)):
        raise BadOrder("validationError", f"sequence ids are not rising: {sequences}")
    released = [stop.released for stop in stops]
    if not released[0] or released != sorted(released, reverse=True):
        raise BadOrder("validationError", "the base must come first and hold the first node")
    ids = [action.id for stop in stops for action in stop.actions]
    if len(ids) != len(set(ids)) or len(ids) > ACTIONS_MAX:
        raise BadOrder("validationError", "action ids stand twice, or too many actions")
    return stops


def _stop(node: Mapping[str, JsonValue], known: Sequence[str]) -> Stop:
    position = node.get("nodePosition")
    x = y = None
    if isinstance(position, dict):
        x, y = position.get("x"), position.get("y")
        if not isinstance(x, (int, float)) or not isinstance(y, (int, float)) or max(abs(x), abs(y)) > 1e5:
            raise BadOrder("validationError", f"node {node.get('nodeId')} has no usable position")
    return Stop(
        _text(node, "nodeId"),
        _whole(node, "sequenceId"),
        node.get("released") is True,
        x,
        y,
        parse_actions(node, known),
    )


def parse_actions(holder: Mapping[str, JsonValue], known: Sequence[str]) -> list[Action]:
    """Returns the actions of a node, an edge or an instantActions message.

    Raises:
        BadOrder: without id or type, or of a type not in `known`.
    """
    actions: list[Action] = []
    for entry in _tables(holder, "actions"):
        action = Action(_text(entry, "actionId"), _text(entry, "actionType"))
        if known and action.type not in known:
            raise BadOrder("orderError", f"action {action.type} is not supported: {', '.join(known)}")
        for parameter in _tables(entry, "actionParameters"):
            action.parameters[_text(parameter, "key")] = parameter.get("value")
        actions.append(action)
    return actions


def _tables(holder: Mapping[str, JsonValue], name: str) -> list[dict[str, JsonValue]]:
    entries = holder.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadOrder("validationError", f"{name} is no list of objects")
    return [entry for entry in entries if isinstance(entry, dict)]


def _text(table: Mapping[str, JsonValue], name: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        raise BadOrder("validationError", f"{name} is missing")
    return value


def _whole(table: Mapping[str, JsonValue], name: str) -> int:
    value = table.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 32:
        raise BadOrder("validationError", f"{name} is no whole number >= 0")
    return value
