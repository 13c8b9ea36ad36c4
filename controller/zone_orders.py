"""Zones in orders: an edge through a people zone is driven slowly, one through a closed zone is not sent at all.

VDA 5050 2.x has no zones on the wire (3.0 has), so the hub keeps to them when it makes an order. Drones on MAVLink get
them as fences too (`devices.mavlink_flight`).
"""

from __future__ import annotations

from dataclasses import replace

from controller.site import Site
from controller.site_zones import zone_blocks
from devices.flight_rules import Authorisation, FlightRules
from devices.model import DeviceKind, DeviceSpec
from devices.vda5050 import Edge, Node, Order
from devices.zones import ZoneKind

SPEED_MPS = 10.0
WH_PER_KM = 15.0
"""What is usual for a drone, as in `controller.delivery_problem`."""


def for_vehicle(site: Site, order: Order, spec: DeviceSpec) -> Order | str:
    """Returns an order as this vehicle is to get it: on its own map, within the zones; or why it may not be sent."""
    name = site.sky.maps.get(spec.id)
    if name is not None:
        order = replace(order, nodes=tuple(_on_map(node, name) for node in order.nodes))
    return zoned(site, order, spec.kind)


def zoned(site: Site, order: Order, kind: DeviceKind) -> Order | str:
    """Returns the order with the speeds of the zones that it passes, or which way may not be taken and why."""
    if not site.sky.zones:
        return order
    edges: list[Edge] = []
    for edge, start, end in zip(order.edges, order.nodes, order.nodes[1:], strict=False):
        a, b = _spot(start), _spot(end)
        if a is None or b is None:
            edges.append(edge)
            continue
        drone = kind is DeviceKind.DRONE
        barred = next((zone for zone in site.sky.zones if zone_blocks(zone, drone=drone, start=a, end=b)), None)
        if barred is not None:
            return f"the way from {start.nodeId} to {end.nodeId} is barred by {barred.kind} zone {barred.id}"
        slow = [
            zone.speed_mps
            for zone in site.sky.zones
            if not drone and zone.kind is ZoneKind.PEOPLE and zone.speed_mps is not None and zone.touches(a, b)
        ]
        limits = [*slow, *([edge.maxSpeed] if edge.maxSpeed is not None else [])]
        edges.append(replace(edge, maxSpeed=min(limits)) if limits else edge)
    return replace(order, edges=tuple(edges))


def flight_rules(site: Site, spec: DeviceSpec) -> FlightRules:
    """Returns what holds for one MAVLink drone of a site.

    Raises:
        KeyError: the device has no `mavlink` table.
    """
    craft = site.sky.aircraft[spec.id]
    record: Authorisation | None = site.sky.authorisations.get(spec.id)
    return FlightRules(
        origin=(site.latitude, site.longitude),
        zones=site.sky.zones,
        height_m=craft.height_m,
        speed_mps=spec.ratings.get("speed_mps", SPEED_MPS),
        energy_wh=spec.ratings["energy_wh"],
        wh_per_km=spec.ratings.get("wh_per_km", WH_PER_KM),
        climb_wh=craft.climb_wh,
        soc_reserve=spec.ratings["soc_reserve"],
        wind_mps=craft.wind_mps,
        authorisation=record,
        serial=craft.remote_id,
    )


def _on_map(node: Node, name: str) -> Node:
    place = node.nodePosition
    return node if place is None else replace(node, nodePosition=replace(place, mapId=name))


def _spot(node: Node) -> tuple[float, float] | None:
    place = node.nodePosition
    return None if place is None else (place.x, place.y)
