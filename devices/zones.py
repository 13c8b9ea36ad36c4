"""Zones of the site's map: where nobody flies, where people walk, what a drone never leaves. Pure.

One model, three uses: MAVLink fences (`devices.mavlink_flight`), edges that a ground robot must not drive or only
slowly (`controller.zone_orders`), and VDA 5050 3.0 zone sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from devices.polygons import Point, clearance, inside


class ZoneKind(StrEnum):
    """What a zone is for."""

    GEOFENCE = "geofence"  # drones stay inside
    NO_FLY = "no-fly"  # drones stay outside
    PEOPLE = "people"  # drones stay outside; robots too, or drive at `speed_mps` there
    NO_GO = "no-go"  # robots stay outside


AIR_KEEP_OUT = (ZoneKind.NO_FLY, ZoneKind.PEOPLE)


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon on the site's map [m], corners in either direction.

    `ceiling_m` is the greatest height above the take-off place in a geofence; an autopilot's keep-out fence has no
    heights, so no-fly and people zones hold at all of them.
    """

    id: str
    kind: ZoneKind
    corners: tuple[Point, ...]
    ceiling_m: float | None = None
    speed_mps: float | None = None

    def touches(self, start: Point, end: Point) -> bool:
        """Returns whether the straight way from start to end enters the zone."""
        return inside(self.corners, start) or inside(self.corners, end) or clearance(self.corners, start, end) == 0


def air_conflicts(zones: Sequence[Zone], path: Sequence[Point], height_m: float, margin_m: float) -> list[str]:
    """Returns why a drone may not fly a path: which zone, which leg, how near. Empty: it may.

    Args:
        zones: the site's zones.
        path: the places in order [m].
        height_m: greatest height above the take-off place [m].
        margin_m: what it needs to stop, plus wind and position error [m].
    """
    fences = [zone for zone in zones if zone.kind is ZoneKind.GEOFENCE]
    if not fences:
        return ["no geofence: the site file has no [[zone]] with kind = geofence"]
    found: list[str] = []
    for number, (start, end) in enumerate(pairwise(path), 1):
        leg = f"leg {number} from ({start[0]:g}, {start[1]:g}) to ({end[0]:g}, {end[1]:g})"
        for zone in fences:
            if not inside(zone.corners, start) or not inside(zone.corners, end):
                found.append(f"{leg} leaves geofence {zone.id}")
            elif (near := clearance(zone.corners, start, end)) < margin_m:
                found.append(f"{leg} comes within {near:.0f} m of the edge of geofence {zone.id}, needs {margin_m:.0f}")
        for zone in zones:
            if zone.kind not in AIR_KEEP_OUT:
                continue
            if zone.touches(start, end):
                found.append(f"{leg} crosses {zone.kind} zone {zone.id}")
            elif (near := clearance(zone.corners, start, end)) < margin_m:
                found.append(f"{leg} comes within {near:.0f} m of {zone.kind} zone {zone.id}, needs {margin_m:.0f}")
    return found + [
        f"height {height_m:g} m is above the ceiling of geofence {zone.id}, {zone.ceiling_m:g} m"
        for zone in fences
        if zone.ceiling_m is not None and height_m > zone.ceiling_m
    ]
