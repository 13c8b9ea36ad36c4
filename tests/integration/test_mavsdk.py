"""MAVSDK, which nobody here wrote, flies our simulated copter over UDP: upload, fence, arm, mission, return, landing.

Seen of it (4.1.0): its `mission` plugin gives up on ArduPilot's item 0, the home, so there `mission_raw` flies.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest
from mavsdk import Mavsdk
from mavsdk.component_type import ComponentType
from mavsdk.mavsdk import Configuration
from mavsdk.plugins.action import Action, ActionError
from mavsdk.plugins.geofence import FenceType, Geofence, GeofenceData, Point, Polygon
from mavsdk.plugins.mission import Mission, MissionItem, MissionPlan
from mavsdk.plugins.mission_raw import MissionItem as RawItem
from mavsdk.plugins.mission_raw import MissionRaw
from mavsdk.plugins.param import Param
from mavsdk.plugins.telemetry import FlightMode, Telemetry

from devices.clock import Instant
from devices.mavlink_values import Autopilot, Command, MissionType
from firmware_sim.copter import Copter
from firmware_sim.copter_body import CopterBody
from firmware_sim.shell.copter_live import CopterLive

pytestmark = pytest.mark.integration
WAIT_S = 30.0
HOME = (51.5, 9.9)


def eventually(what: str, check: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(params=list(Autopilot), ids=str)
def flight(request) -> Iterator[tuple[Copter, object]]:
    """A fast copter and the MAVSDK system that has found it."""
    port = free_port()
    body = CopterBody(*HOME, speed=60.0, climb=20.0)
    copter = Copter(request.param, body, Instant(1_780_000_000_000))
    ground = Mavsdk(Configuration.create_with_component_type(ComponentType.GROUND_STATION))
    ground.add_any_connection(f"udpin://127.0.0.1:{port}")
    live = CopterLive(copter, ("127.0.0.1", port))
    live.start()
    try:
        system = ground.first_autopilot(timeout_s=WAIT_S)
        assert system is not None, "MAVSDK finds the copter"
        yield copter, system
    finally:
        ground.destroy()
        live.stop()


def waypoint(north: float, east: float, height: float) -> MissionItem:
    return MissionItem(
        HOME[0] + north / 111_319.5, HOME[1] + east / 69_300, height, 50.0, is_fly_through=True, acceptance_radius_m=1.0
    )


def with_mission(system, telemetry) -> list[int]:
    """Flies three waypoints by MAVSDK's own mission model; returns its progress."""
    mission, seen = Mission(system), set[int]()
    mission.upload_mission(MissionPlan([waypoint(60, 0, 20.0), waypoint(60, 60, 25.0), waypoint(0, 60, 20.0)]))
    back = mission.download_mission()
    assert [round(item.relative_altitude_m) for item in back.mission_items] == [20, 25, 20]
    mission.subscribe_mission_progress(lambda progress, _: seen.add(progress.current))
    mission.start_mission()
    eventually("in the air", telemetry.in_air)
    eventually("the mission is done", mission.is_mission_finished)
    eventually("progress", lambda: 3 in seen)
    return sorted(seen)


def with_mission_raw(system, telemetry) -> list[int]:
    """Flies home, take-off and two waypoints as raw items; returns MAVSDK's progress."""
    raw, seen = MissionRaw(system), set[int]()
    places = [(16, 0, 0), (22, 20.0, 0), (16, 25.0, 60), (16, 20.0, 30)]
    items = [
        RawItem(
            seq, 6 if seq else 0, command, int(seq == 0), 1, 0.0, 0.0, 0.0, 0.0,
            round((HOME[0] + north / 111_319.5) * 1e7), round(HOME[1] * 1e7), float(height), 0,
        )
        for seq, (command, height, north) in enumerate(places)
    ]  # fmt: skip
    raw.upload_mission(items)
    back = raw.download_mission()
    assert [(item.command, round(item.z)) for item in back] == [(16, 120), (22, 20), (16, 25), (16, 20)]
    raw.subscribe_mission_progress(lambda progress, _: seen.add(progress.current))
    raw.start_mission()
    eventually("in the air", telemetry.in_air)
    eventually("the mission is at its end", lambda: 3 in seen and telemetry.flight_mode() == FlightMode.HOLD)
    return sorted(seen)


def test_mavsdk_flies_a_mission_home_and_lands(flight):
    copter, system = flight
    action, telemetry = Action(system), Telemetry(system)
    points = [
        Point(HOME[0] + dy, HOME[1] + dx) for dy, dx in ((-0.01, -0.01), (-0.01, 0.01), (0.01, 0.01), (0.01, -0.01))
    ]
    Geofence(system).upload_geofence(GeofenceData([Polygon(points, FenceType.INCLUSION)], []))
    assert [item.command for item in copter.shelf.lists[MissionType.FENCE]] == [Command.FENCE_POLYGON_INCLUSION] * 4

    action.arm()
    eventually("armed", telemetry.armed)
    seen = (with_mission if copter.autopilot is Autopilot.PX4 else with_mission_raw)(system, telemetry)
    assert seen[-1] == (3 if copter.autopilot is Autopilot.PX4 else 4), "the last item is reported as done"
    assert len(seen) >= 3
    action.return_to_launch()
    eventually("landed and disarmed", lambda: not telemetry.armed() and not telemetry.in_air())
    assert (round(copter.body.x), round(copter.body.y)) == (0, 0)
    assert telemetry.battery().remaining_percent < 93


def test_mavsdk_reads_and_sets_parameters_and_is_refused_on_a_flat_pack(flight):
    copter, system = flight
    name = "FENCE_ACTION" if copter.autopilot is Autopilot.ARDUPILOT else "GF_ACTION"
    params = Param(system)
    assert params.get_param_int(name) == copter.params[name]
    params.set_param_int(name, 2)
    assert copter.params[name] == 2
    copter.body.energy_wh = 10.0
    with pytest.raises(ActionError, match="DENIED"):
        Action(system).arm()
    assert not copter.armed
