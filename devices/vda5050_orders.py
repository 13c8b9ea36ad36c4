"""What both sides of VDA 5050 need to know of orders: their shape, and how far a vehicle has got with one."""

from __future__ import annotations

from dataclasses import dataclass

from devices import json_fields
from devices.bounded_json import JsonValue
from devices.vda5050_values import Action, ActionState, ActionStatus, Edge, Node, NodeState, Order, StatePosition


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a vehicle has got: what it must keep to go on with its order after a restart."""

    orderId: str = ""
    orderUpdateId: int = 0
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    here: tuple[Action, ...] = ()
    baseEnd: Node | None = None
    actionStates: tuple[ActionState, ...] = ()
    lastNodeId: str = ""
    lastNodeSequenceId: int = 0
    paused: bool = False

    def to_json(self) -> JsonValue:
        """Returns a JSON value for `from_json`."""
        return json_fields.write(self)

    @classmethod
    def from_json(cls, value: JsonValue) -> Progress:
        """Returns the progress that a JSON value holds.

        Raises:
            ValueError: it holds none; the text says why.
        """
        problems: list[str] = []
        found = json_fields.read(cls, value, "progress", problems)
        if found is None:
            raise ValueError("; ".join(problems))
        return found


def shape_problem(order: Order) -> str:
    """Returns what is wrong with the chain of nodes and edges, or an empty text."""
    if not order.nodes:
        return "an order without nodes"
    if len(order.edges) != len(order.nodes) - 1:
        return f"{len(order.nodes)} nodes need {len(order.nodes) - 1} edges, saw {len(order.edges)}"
    released = True
    for index, node in enumerate(order.nodes):
        edge = order.edges[index - 1] if index else None
        if edge is not None:
            before = order.nodes[index - 1]
            if (edge.startNodeId, edge.endNodeId) != (before.nodeId, node.nodeId):
                return f"edge {edge.edgeId} does not join {before.nodeId} and {node.nodeId}"
            if not before.sequenceId < edge.sequenceId < node.sequenceId:
                return f"sequence ids do not rise at edge {edge.edgeId}"
            if edge.released != node.released:
                return f"edge {edge.edgeId} and its end are not released together"
        if node.released and not released:
            return f"node {node.nodeId} is released behind the horizon"
        released = node.released
    if not order.nodes[0].released:
        return "the first node is not released"
    ids = [action.actionId for element in (*order.nodes, *order.edges) for action in element.actions]
    return "" if len(ids) == len(set(ids)) else "an actionId stands twice"


def over(state: ActionState) -> bool:
    """Returns whether an action has ended, well or not."""
    return state.actionStatus in (ActionStatus.FINISHED, ActionStatus.FAILED)


def node_state(node: Node) -> NodeState:
    """Returns a node as states show it."""
    place = node.nodePosition
    position = None if place is None else StatePosition(place.x, place.y, place.mapId, place.theta)
    return NodeState(node.nodeId, node.sequenceId, node.released, position)
