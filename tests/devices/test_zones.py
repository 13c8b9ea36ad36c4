"""Zones: no way that leaves the volume is accepted; every refusal names its zone."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.mavlink_flight import energy_wh, fence_items
from devices.mavlink_values import Autopilot, Command
from devices.polygons import area, clearance, crosses, inside, simple, to_degrees, to_metres
from devices.zones import Zone, ZoneKind, air_conflicts
from tests.drone_world import CLINIC, FENCE, RULES, SCHOOL, job, world

SQUARE = ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0))
HORSESHOE = ((0.0, 0.0), (30.0, 0.0), (30.0, 30.0), (20.0, 30.0), (20.0, 10.0), (10.0, 10.0), (10.0, 30.0), (0.0, 30.0))


def test_inside_outside_area_and_clearance():
    assert inside(SQUARE, (5.0, 5.0))
    assert not inside(SQUARE, (15.0, 5.0))
    assert not inside(HORSESHOE, (15.0, 20.0)), "between the arms"
    assert (area(SQUARE), area(SQUARE[::-1])) == (100.0, -100.0)
    assert clearance(SQUARE, (5.0, 5.0), (5.0, 8.0)) == pytest.approx(2.0)
    assert clearance(SQUARE, (5.0, 5.0), (5.0, 12.0)) == 0
    assert clearance(HORSESHOE, (5.0, 20.0), (25.0, 20.0)) == 0, "a leg over the gap leaves the zone"
    assert crosses((0.0, 0.0), (2.0, 2.0), (0.0, 2.0), (2.0, 0.0))
    assert simple(HORSESHOE)
    assert not simple(((0.0, 0.0), (10.0, 10.0), (10.0, 0.0), (0.0, 10.0)))
    assert not simple(((0.0, 0.0), (5.0, 5.0), (10.0, 10.0)))


@given(st.floats(-5000, 5000), st.floats(-5000, 5000), st.floats(-65, 65), st.floats(-179, 179))
def test_metres_and_degrees_there_and_back(x, y, lat, lon):
    back = to_metres((lat, lon), to_degrees((lat, lon), (x, y)))
    assert math.dist(back, (x, y)) < 1e-3


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.deep)])
def test_no_random_mission_that_leaves_the_volume_is_accepted(count):
    """The judge walks every way in 2 m steps and looks at each point by itself."""
    dice = random.Random(5)
    accepted = left = 0
    fence = replace(FENCE, corners=((-300.0, -300.0), (500.0, -350.0), (450.0, 450.0), (100.0, 250.0), (-300.0, 500.0)))
    for _ in range(count):
        stops = [(dice.uniform(-350, 550), dice.uniform(-350, 550)) for _ in range(dice.randint(1, 3))]
        path = [(0.0, 0.0), *stops, (0.0, 0.0)]
        if air_conflicts((fence, SCHOOL), path, dice.uniform(20, 70), RULES.margin_m):
            continue
        accepted += 1
        for start, end in pairwise(path):
            steps = max(1, round(math.dist(start, end) / 2))
            shares = [n / steps for n in range(steps + 1)]
            points = [(start[0] + (end[0] - start[0]) * s, start[1] + (end[1] - start[1]) * s) for s in shares]
            left += sum(not inside(fence.corners, p) or inside(SCHOOL.corners, p) for p in points)
    assert left == 0
    assert accepted > count / 20, "the test does accept some"


def test_refusals_name_leg_zone_and_distance():
    far = [(0.0, 0.0), (700.0, 0.0)]
    assert air_conflicts((FENCE,), far, 30, 20) == ["leg 1 from (0, 0) to (700, 0) leaves geofence valley"]
    near = air_conflicts((FENCE, SCHOOL), [(0.0, 0.0), (40.0, 250.0)], 30, 28)
    assert near == ["leg 1 from (0, 0) to (40, 250) comes within 10 m of people zone school, needs 28"]
    assert "above the ceiling of geofence valley, 60 m" in air_conflicts((FENCE,), far[:1] * 2, 61, 20)[-1]
    assert "no geofence" in air_conflicts((SCHOOL,), far, 30, 20)[0]


def test_robots_zones_are_no_air_zones_and_fences_keep_their_corners():
    yard = Zone("yard", ZoneKind.NO_GO, SQUARE)
    assert air_conflicts((FENCE, yard), [(-50.0, 5.0), (50.0, 5.0)], 30, 20) == []
    items = fence_items((FENCE, yard, SCHOOL), RULES.origin)
    assert [item.command for item in items] == [Command.FENCE_POLYGON_INCLUSION] * 4 + [
        Command.FENCE_POLYGON_EXCLUSION
    ] * 4
    assert {item.p1 for item in items} == {4.0}
    back = to_metres(RULES.origin, (items[0].x / 1e7, items[0].y / 1e7))
    assert math.dist(back, FENCE.corners[0]) < 0.02


def test_energy_counts_way_wind_hover_and_climb():
    drone = world(Autopilot.PX4)
    flight = drone.flight(CLINIC)
    calm, windy = (energy_wh(replace(RULES, wind_mps=wind), flight) for wind in (0.0, 5.0))
    assert calm == pytest.approx(13 + 15 * 0.3 + 540 * 3 / 3600, abs=0.01)
    assert windy - 13 - 0.45 == pytest.approx((calm - 13 - 0.45) / 0.75, abs=0.01)
    one_way = replace(flight, path=flight.path[:2], length_m=150.0)
    assert energy_wh(RULES, one_way) - 13 - 0.45 == pytest.approx(15 * 0.15 / 0.5, abs=0.01)
    assert drone.flight(job(("a", 1.0, 1.0))).hover_s == 0
