"""Plane geometry of zones: inside, distance, crossing. Points are (x, y) in metres on the site's map. Pure.

Distances here are a few kilometres at most, so degrees and metres are joined by a flat map around the site: at 5 km the
error is about 2 m east-west at 60 degrees north, inside every margin used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

Point = tuple[float, float]
METRES_PER_DEGREE = 111_319.49
"""Of latitude, on a sphere of the equator's radius (WGS 84: 6,378,137 m)."""


def to_degrees(origin: Point, point: Point) -> Point:
    """Returns (latitude, longitude) of a point of the map whose origin is at (latitude, longitude)."""
    east = METRES_PER_DEGREE * math.cos(math.radians(origin[0]))
    return origin[0] + point[1] / METRES_PER_DEGREE, origin[1] + point[0] / east


def to_metres(origin: Point, place: Point) -> Point:
    """Returns (x, y) of a (latitude, longitude)."""
    east = METRES_PER_DEGREE * math.cos(math.radians(origin[0]))
    return (place[1] - origin[1]) * east, (place[0] - origin[0]) * METRES_PER_DEGREE


def closed(polygon: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Returns the sides of a polygon."""
    return [*pairwise(polygon), (polygon[-1], polygon[0])]


def inside(polygon: Sequence[Point], point: Point) -> bool:
    """Returns whether a point is inside (even-odd rule); on a side either answer may come."""
    x, y = point
    found = False
    for (ax, ay), (bx, by) in closed(polygon):
        if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
            found = not found
    return found


def distance(point: Point, start: Point, end: Point) -> float:
    """Returns the distance of a point from the straight line between two points [m]."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = dx * dx + dy * dy
    share = 0.0 if length == 0 else ((point[0] - start[0]) * dx + (point[1] - start[1]) * dy) / length
    share = min(1.0, max(0.0, share))
    return math.hypot(point[0] - start[0] - share * dx, point[1] - start[1] - share * dy)


def crosses(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Returns whether the lines a-b and c-d cross or touch."""
    if min(distance(a, c, d), distance(b, c, d), distance(c, a, b), distance(d, a, b)) < 1e-9:
        return True
    return _turn(a, b, c) != _turn(a, b, d) and _turn(c, d, a) != _turn(c, d, b)


def clearance(polygon: Sequence[Point], start: Point, end: Point) -> float:
    """Returns how far the way from start to end stays from a polygon's sides [m]; 0 where it crosses one."""
    sides = closed(polygon)
    if any(crosses(start, end, *side) for side in sides):
        return 0.0
    ends = [distance(point, *side) for point in (start, end) for side in sides]
    return min(*ends, *(distance(corner, start, end) for corner in polygon))


def simple(polygon: Sequence[Point]) -> bool:
    """Returns whether a polygon has an area and no two of its sides cross."""
    sides = closed(polygon)
    count = len(sides)
    apart = [(i, j) for i in range(count) for j in range(i + 2, count) if (i, j) != (0, count - 1)]
    return abs(area(polygon)) > 1e-6 and not any(crosses(*sides[i], *sides[j]) for i, j in apart)


def area(polygon: Sequence[Point]) -> float:
    """Returns the area [m2], positive where the corners run anticlockwise."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in closed(polygon)) / 2


def _turn(a: Point, b: Point, c: Point) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) > 0
