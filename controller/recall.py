"""Vehicles called home before a storm: what is on its way is cancelled in time, then driven to the dock. Pure."""

from __future__ import annotations

from math import hypot

from controller.image import Snapshot
from controller.missions import MAP, Board
from controller.site import Place, Site
from controller.storm import HOME_MS, Storm
from devices.clock import MINUTE_MS, Instant
from devices.model import DeviceId, Message
from devices.vda5050 import Edge, Node, NodePosition, OperatingMode, Order
from devices.vda5050_master import OrderState

HOME_M = 5.0
"""Nearer to the dock than this a vehicle is at home."""

KEY = "home."
WITHIN_MS = 20 * MINUTE_MS


def home(site: Site, board: Board, snapshot: Snapshot, storm: Storm, now: Instant) -> list[Message]:
    """Returns what to say to vehicles that are not at home when the storm is half an hour away, or blows."""
    if not storm.start - HOME_MS <= now < storm.end:
        return []
    messages: list[Message] = []
    for device, session in board.sessions.items():
        state = session.state
        if state is None or state.operatingMode is not OperatingMode.AUTOMATIC:
            continue
        if session.order is not None:
            if not session.order.orderId.startswith(KEY) and session.order_state is not OrderState.CANCELLING:
                messages.append(session.cancel(now))
            continue
        if state.nodeStates or state.driving:
            continue
        order = _way_home(site, device, snapshot, now)
        if order is not None:
            messages.append(session.send(order, now, Instant(now + WITHIN_MS)))
    return messages


def out(site: Site, board: Board, snapshot: Snapshot, device: DeviceId) -> bool:
    """Returns whether a vehicle is away from its dock or has something to do."""
    session = board.sessions[device]
    return session.order is not None or _away(site, device, snapshot) is not None


def _away(site: Site, device: DeviceId, snapshot: Snapshot) -> tuple[float, float] | None:
    """Returns where a vehicle is while that is not its dock and known."""
    x, y = snapshot.value(device, "x"), snapshot.value(device, "y")
    dock = site.place("dock") or Place("dock", 0.0, 0.0)
    if x is None or y is None or hypot(x - dock.x, y - dock.y) <= HOME_M:
        return None
    return x, y


def _way_home(site: Site, device: DeviceId, snapshot: Snapshot, now: Instant) -> Order | None:
    here = _away(site, device, snapshot)
    if here is None:
        return None
    dock = site.place("dock") or Place("dock", 0.0, 0.0)
    nodes = (
        Node("here", 0, True, (), NodePosition(here[0], here[1], MAP)),
        Node(dock.id, 2, True, (), NodePosition(dock.x, dock.y, MAP)),
    )
    edge = Edge("here-dock", 1, True, "here", dock.id, ())
    return Order(f"{KEY}{device}.{now}", 0, nodes, (edge,))
