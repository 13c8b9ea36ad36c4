"""From a job order to a flight: mission and fence items, and what the flight needs. Pure.

A drone takes only orders that are released to the end: it cannot wait in the air for a horizon. It takes off where it
stands, flies every node at one height, does the node's actions there and lands at the last node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from devices.flight_rules import POSITION_ERROR_M, FlightRules
from devices.mavlink_values import Altitude, Autopilot, Command, Item
from devices.polygons import Point, to_degrees
from devices.vda5050_values import Action, Node, Order
from devices.zones import AIR_KEEP_OUT, Zone, ZoneKind

GRIPPER_RELEASE, GRIPPER_GRAB = 0.0, 1.0
AIR_ACTIONS = {"drop": GRIPPER_RELEASE, "dropParcel": GRIPPER_RELEASE, "pick": GRIPPER_GRAB, "wait": None}
"""What a drone can do at a node, and what its gripper does for it."""
GRIP_S_MAX = 60.0
"""A job's duration is that of its whole flight; nobody hovers so long to let a parcel go."""


@dataclass(frozen=True, slots=True)
class Flight:
    """A mission with the meaning of each item: the node that it reaches, or the action that it ends."""

    key: str
    items: tuple[Item, ...]
    nodes: tuple[int | None, ...]  # per item: index of the node that is reached by it
    actions: tuple[str, ...]  # per item: id of the action that is over with it
    path: tuple[Point, ...]
    length_m: float
    hover_s: float


def flight_of(order: Order, rules: FlightRules, here: Point, autopilot: Autopilot) -> Flight | str:
    """Returns the flight that an order asks for, or why it is none.

    Args:
        order: the job order; its first node is where the drone stands.
        rules: height, origin.
        here: where the drone stands [m].
        autopilot: ArduPilot keeps item 0 for its home.
    """
    problem = _unfit(order)
    if problem:
        return problem
    items, nodes, actions = list[Item](), list[int | None](), list[str]()

    def add(item: Item, node: int | None = None, action: str = "") -> None:
        items.append(item)
        nodes.append(node)
        actions.append(action)

    start = _at(Command.NAV_TAKEOFF, rules, here, rules.height_m)
    if autopilot is Autopilot.ARDUPILOT:
        home = _at(Command.NAV_WAYPOINT, rules, here, 0.0)
        add(Item(home.command, home.x, home.y, 0.0, Altitude.GLOBAL))
    add(start)
    path, hover_s = [here], 0.0
    for index, node in enumerate(order.nodes[1:], 1):
        place = _place(node)
        path.append(place)
        add(_at(Command.NAV_WAYPOINT, rules, place, rules.height_m), index if index < len(order.nodes) - 1 else None)
        for action in node.actions:
            grip = AIR_ACTIONS[action.actionType]
            seconds = _seconds(action) if grip is None else min(_seconds(action), GRIP_S_MAX)
            hover_s += seconds
            loiter = _at(Command.NAV_LOITER_TIME, rules, place, rules.height_m)
            timed = Item(loiter.command, loiter.x, loiter.y, loiter.z, loiter.frame, p1=seconds)
            add(timed, action="" if grip is not None else action.actionId)
            if grip is not None:
                add(Item(Command.DO_GRIPPER, p1=1.0, p2=grip, frame=2), action=action.actionId)
    add(_at(Command.NAV_LAND, rules, path[-1], 0.0), len(order.nodes) - 1)
    length = sum(math.dist(a, b) for a, b in pairwise(path))
    return Flight(order.orderId, tuple(items), tuple(nodes), tuple(actions), tuple(path), length, hover_s)


def fence_items(zones: Sequence[Zone], origin: Point) -> tuple[Item, ...]:
    """Returns the fence of the site's zones: stay inside geofences, outside no-fly and people zones."""
    kinds = {ZoneKind.GEOFENCE: Command.FENCE_POLYGON_INCLUSION}
    kinds |= dict.fromkeys(AIR_KEEP_OUT, Command.FENCE_POLYGON_EXCLUSION)
    found: list[Item] = []
    for zone in zones:
        command = kinds.get(zone.kind)
        for corner in zone.corners if command is not None else ():
            lat, lon = to_degrees(origin, corner)
            assert command is not None, "filtered above"
            place = (round(lat * 1e7), round(lon * 1e7))
            found.append(Item(command, *place, frame=Altitude.GLOBAL, p1=float(len(zone.corners))))
    return tuple(found)


def energy_wh(rules: FlightRules, flight: Flight) -> float:
    """Returns what a flight takes from the pack: climb and landing, the way in the wind, hovering [Wh].

    Out and back, wind w slows a flight at v to 1 - (w/v)^2 of its pace; one way it may be against it all along.
    """
    share = min(0.9, rules.wind_mps / rules.speed_mps)
    slow = 1 - share**2 if math.dist(flight.path[0], flight.path[-1]) < POSITION_ERROR_M else 1 - share
    cruise_w = rules.wh_per_km * rules.speed_mps * 3.6
    return rules.climb_wh + rules.wh_per_km * flight.length_m / 1000 / slow + cruise_w * flight.hover_s / 3600


def _unfit(order: Order) -> str:
    if len(order.nodes) < 2:
        return f"order {order.orderId} has {len(order.nodes)} nodes, a flight needs two or more"
    for node in order.nodes:
        if not node.released:
            return f"node {node.nodeId} is not released: a drone flies only what is released to the end"
        if node.nodePosition is None:
            return f"node {node.nodeId} has no position"
    last = order.nodes[-1]
    if last.actions:
        return f"action {last.actions[0].actionType} stands at {last.nodeId}, where the drone lands: put it before"
    for element in (*order.nodes[1:], *order.edges):
        for action in element.actions:
            if action.actionType not in AIR_ACTIONS or element in order.edges:
                return f"action {action.actionType} is not supported: {', '.join(AIR_ACTIONS)} at nodes are"
    return ""


def _place(node: Node) -> Point:
    assert node.nodePosition is not None, "_unfit has looked"
    return node.nodePosition.x, node.nodePosition.y


def _seconds(action: Action) -> float:
    value = action.parameter("duration_ms")
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 3_600_000
    return float(math.ceil(value / 1000)) if known and isinstance(value, (int, float)) else 0.0


def _at(command: Command, rules: FlightRules, place: Point, height: float) -> Item:
    lat, lon = to_degrees(rules.origin, place)
    return Item(command, round(lat * 1e7), round(lon * 1e7), height)
