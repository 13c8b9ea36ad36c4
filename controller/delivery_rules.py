"""Deliveries without a plan: the most urgent first, one stop a trip, by the first vehicle that can. Pure.

What the desk does while nobody plans rounds: plans are off, or the planner gives no answer. It drives farther than
rounds do, and serves the same windows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from math import hypot

from controller.delivery_problem import LOADING_S, STOP_W, Waiting, dock_of, flies, rating, usable
from controller.delivery_trips import PlannedTrip, Stop
from controller.image import Snapshot
from controller.missions import Board
from controller.site import Place, Site
from devices.clock import HOUR_MS, Instant
from devices.model import DeviceKind, DeviceSpec
from optimizer.logistics import VehicleId

HOP_WH = 15.0
"""What climbing and landing at a place and at home take from a drone's pack, beside its way."""
MEDICINE_AHEAD_MS = HOUR_MS
"""Medicine goes as if its window closed so much earlier."""
HOP_S = 40
"""So long a drone climbs and lands on each leg."""


def trips_by_rule(
    site: Site, board: Board, snapshot: Snapshot, waiting: Sequence[Waiting], taken: Collection[str], now: Instant
) -> list[PlannedTrip]:
    """Returns the next trip of each vehicle that has none; `taken` names the vehicles that have one."""
    left = sorted(waiting, key=_urgency)
    drones, robots = (usable(site, board, snapshot, kind) for kind in (DeviceKind.DRONE, DeviceKind.ROBOT))
    found: list[PlannedTrip] = []
    for spec in (*drones, *robots):
        if spec.id in taken:
            continue
        for one in left:
            by_air = flies(one.delivery, drones, robots)
            if by_air != (spec.kind is DeviceKind.DRONE) or one.delivery.mass_kg > rating(spec, "payload_kg"):
                continue
            trip = _trip(site, spec, one, now)
            if trip is not None:
                found.append(trip)
                left.remove(one)
                break
    return found


def _urgency(one: Waiting) -> tuple[int, int]:
    medicine = one.delivery.kind == "medicine"
    return one.closes - (MEDICINE_AHEAD_MS if medicine else 0), -one.delivery.priority


def _trip(site: Site, spec: DeviceSpec, one: Waiting, now: Instant) -> PlannedTrip | None:
    """Returns the trip to one delivery and back; None where it would come too late."""
    delivery, dock = one.delivery, dock_of(site)
    names = [delivery.from_place, delivery.place] if delivery.kind == "transfer" else [delivery.place]
    spots = [place for name in names if (place := site.place(name)) is not None]
    ways = [_ms(spec, a, b) for a, b in zip([dock, *spots], [*spots, dock], strict=True)]
    loading = 0 if spec.kind is DeviceKind.DRONE else LOADING_S * 1000
    before = sum(ways[:-1]) + delivery.service_ms * (len(names) - 1)
    leave = Instant(max(now + loading, one.ready + loading, one.opens - before))
    if leave + before > one.closes:
        return None
    stops = tuple(_stops(one, names, ways, leave))
    metres = sum(hypot(a.x - b.x, a.y - b.y) for a, b in zip([dock, *spots], [*spots, dock], strict=True))
    served_h = (loading + delivery.service_ms * len(names)) / HOUR_MS
    energy = metres / 1000 * rating(spec, "wh_per_km") + served_h * STOP_W
    if spec.kind is DeviceKind.DRONE:
        energy += HOP_WH * len(names)
    return PlannedTrip(VehicleId(spec.id), leave, Instant(stops[-1].end + ways[-1]), loading, stops, energy)


def _stops(one: Waiting, names: Sequence[str], ways: Sequence[int], leave: Instant) -> Iterator[Stop]:
    at = leave
    for name, way in zip(names, ways, strict=False):
        last = name == names[-1]
        begin = Instant(max(at + way, one.opens) if last else at + way)
        part = ("delivery" if last else "pickup") if len(names) > 1 else "serve"
        yield Stop(one.key, part, name, begin, Instant(begin + one.delivery.service_ms), begin - at - way)
        at = Instant(begin + one.delivery.service_ms)


def _ms(spec: DeviceSpec, start: Place, end: Place) -> int:
    seconds = hypot(start.x - end.x, start.y - end.y) / rating(spec, "speed_mps")
    return round(1000 * (seconds + (HOP_S if spec.kind is DeviceKind.DRONE else 0)))
