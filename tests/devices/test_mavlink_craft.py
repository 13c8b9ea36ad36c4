"""Our adapter flies the simulated copter in virtual time: loaded, read back, checked, armed, followed; refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.clock import Instant
from devices.mavlink_codec import Frame
from devices.mavlink_craft import Airborne, CraftSession, FlightDone, FlightFailed, Passed, Phase
from devices.mavlink_flight import flight_of
from devices.mavlink_values import Autopilot, Command, MissionType, Mode
from tests.drone_world import CLINIC, FENCE, RULES, SCHOOL, T, World, drop, job, world

BOTH = pytest.mark.parametrize("autopilot", list(Autopilot), ids=str)


def failed(craft: World) -> FlightFailed:
    end = craft.fly()
    assert isinstance(end, FlightFailed), end
    assert not craft.copter.armed
    return end


@BOTH
def test_a_flight_goes_up_is_read_back_flown_and_lands_at_home(autopilot):
    drone = world(autopilot)
    assert drone.copter.gripped
    end = drone.fly()
    assert end == FlightDone("job-1")
    fence = drone.copter.shelf.lists[MissionType.FENCE]
    assert [item.command for item in fence] == [Command.FENCE_POLYGON_INCLUSION] * 4 + [
        Command.FENCE_POLYGON_EXCLUSION
    ] * 4
    assert not drone.copter.gripped, "the parcel is dropped"
    assert drone.copter.failsafe == ""
    assert not drone.copter.armed
    assert abs(drone.copter.body.x) + abs(drone.copter.body.y) < 1.5
    assert [event for event in drone.events if isinstance(event, Airborne)] == [Airborne()]
    passed = [event.item for event in drone.events if isinstance(event, Passed)]
    assert passed == sorted(set(passed))
    assert passed[-1] == len(drone.flight().items) - 1
    assert drone.craft.charge is not None
    assert drone.craft.charge < 0.96


@BOTH
def test_arming_comes_only_after_both_read_backs_and_the_parameters(autopilot):
    drone = world(autopilot)
    drone.up.clear()
    drone.fly()
    names = [frame.name if frame.name != "COMMAND_LONG" else str(frame.whole("command")) for frame in drone.up]
    arm = names.index("400")
    assert [names[:arm].count(name) for name in ("MISSION_COUNT", "MISSION_REQUEST_LIST")] == [2, 2]
    assert max(index for index, name in enumerate(names) if name == "PARAM_REQUEST_READ") < arm
    assert names.index("PARAM_REQUEST_READ") > names.index("MISSION_REQUEST_LIST")


OFF = [
    (Autopilot.ARDUPILOT, "FENCE_ENABLE", 0, "fenceOff"),
    (Autopilot.ARDUPILOT, "FENCE_ACTION", 0, "fenceOff"),
    (Autopilot.ARDUPILOT, "FENCE_TYPE", 3, "fenceOff"),
    (Autopilot.ARDUPILOT, "FENCE_TYPE", 6, "fenceOff"),
    (Autopilot.ARDUPILOT, "FENCE_ALT_MAX", 120, "fenceOff"),
    (Autopilot.ARDUPILOT, "FS_GCS_ENABLE", 0, "lostLinkOff"),
    (Autopilot.ARDUPILOT, "FS_OPTIONS", 18, "lostLinkOff"),
    (Autopilot.ARDUPILOT, "SYSID_MYGCS", 252, "lostLinkOff"),
    (Autopilot.ARDUPILOT, "BATT_FS_LOW_ACT", 0, "batteryOff"),
    (Autopilot.ARDUPILOT, "BATT_FS_CRT_ACT", 0, "batteryOff"),
    (Autopilot.ARDUPILOT, "BATT_LOW_VOLT", 0, "batteryOff"),
    (Autopilot.PX4, "GF_ACTION", 1, "fenceOff"),
    (Autopilot.PX4, "GF_MAX_VER_DIST", 0, "fenceOff"),
    (Autopilot.PX4, "NAV_DLL_ACT", 0, "lostLinkOff"),
    (Autopilot.PX4, "COM_DL_LOSS_T", 300, "lostLinkOff"),
    (Autopilot.PX4, "COM_LOW_BAT_ACT", 0, "batteryOff"),
    (Autopilot.PX4, "BAT_CRIT_THR", 0, "batteryOff"),
]


@pytest.mark.parametrize(("autopilot", "name", "value", "code"), OFF)
def test_no_dispatch_while_a_fail_safe_is_off(autopilot, name, value, code):
    drone = world(autopilot, **{name: value})
    drone.up.clear()
    end = failed(drone)
    assert [refusal.code for refusal in end.refusals] == [code]
    assert name in end.why
    assert all(part for refusal in end.refusals for part in (refusal.where, refusal.seen, refusal.fix))
    assert not [frame for frame in drone.up if frame.name == "MISSION_COUNT" or frame.whole("command") == 400]


def test_a_fail_safe_that_is_switched_off_while_the_mission_goes_up_is_seen_before_arming():
    drone = world(Autopilot.ARDUPILOT)
    drone.craft.dispatch(drone.flight(), drone.now)
    drone.until(lambda: drone.craft.phase is Phase.MISSION_BACK or drone.copter.shelf.lists[0])
    drone.copter.params["BATT_FS_CRT_ACT"] = 0.0
    end = drone.end()
    assert isinstance(end, FlightFailed)
    assert [refusal.code for refusal in end.refusals] == ["batteryOff"]
    assert not drone.copter.armed


def test_all_refusals_come_at_once():
    rules = replace(RULES, zones=(FENCE, replace(SCHOOL, corners=((100, 60), (140, 60), (140, 100), (100, 100)))))
    drone = world(Autopilot.ARDUPILOT, replace(rules, authorisation=None), 40.0, FENCE_ENABLE=0.0)
    end = failed(drone)
    assert [refusal.code for refusal in end.refusals] == [
        "fenceOff", "noAuthorisation", "zoneConflict", "zoneConflict", "chargeLow",
    ]  # fmt: skip
    assert "no authorisation record" in end.why
    assert "crosses people zone school" in end.why
    assert "charge 31%" in end.why


def test_an_authorisation_that_has_ended_and_parameters_that_nobody_answers():
    assert RULES.authorisation is not None
    late = world(Autopilot.PX4, replace(RULES, authorisation=replace(RULES.authorisation, until=T)))
    assert "authorisation A-17 ended at" in failed(late).why
    deaf = World(world(Autopilot.PX4).copter, CraftSession(RULES))
    deaf.copter.deaf_params = True
    deaf.ready()
    end = failed(deaf)
    assert {refusal.code for refusal in end.refusals} == {"fenceOff", "lostLinkOff", "batteryOff"}
    assert "GF_ACTION: the aircraft does not answer" in end.why


def test_a_drone_with_remote_id_flies_only_when_its_transmitter_has_all_it_needs():
    drone = world(Autopilot.ARDUPILOT, DID_ENABLE=1.0)
    drone.until(lambda: not drone.craft.standing(), 10)
    assert drone.fly() == FlightDone("job-1")
    assert bytes(int(byte) for byte in drone.copter.remote_id["OPEN_DRONE_ID_BASIC_ID"].many("uas_id")) == (
        b"1581F4XYZ" + bytes(11)
    )
    assert drone.copter.remote_id["OPEN_DRONE_ID_OPERATOR_ID"].text("operator_id") == "DEU87astrdge12k8"
    end = failed(world(Autopilot.ARDUPILOT, replace(RULES, serial=""), DID_ENABLE=1.0))
    assert [refusal.code for refusal in end.refusals] == ["remoteId"]
    assert "missing BASIC_ID" in end.why


@BOTH
@pytest.mark.parametrize("kind", [MissionType.FENCE, MissionType.MISSION], ids=["fence", "mission"])
def test_what_is_stored_wrong_is_never_flown(autopilot, kind):
    drone = world(autopilot)
    drone.copter.shelf.spoiled = {int(kind): 3}
    assert f"the {kind.name.lower()} read back is not the one sent: item 3" in failed(drone).why


@BOTH
def test_a_stuck_upload_ends_and_the_next_flight_goes(autopilot):
    drone = world(autopilot)
    drone.copter.shelf.stuck_at = 2
    assert "stuck at item 2" in failed(drone).why
    drone.copter.shelf.stuck_at = None
    drone.events.clear()
    assert drone.fly() == FlightDone("job-1")


@BOTH
def test_a_radio_that_loses_a_tenth_of_all_frames_flies_too(autopilot):
    drone = world(autopilot)
    drone.loss = 0.1
    assert drone.fly() == FlightDone("job-1")


@BOTH
def test_a_link_that_is_lost_in_the_air_brings_it_home_by_itself_and_the_flight_has_failed(autopilot):
    drone = world(autopilot)
    drone.craft.dispatch(drone.flight(job(("clinic", 300.0, 300.0))), drone.now)
    drone.until(lambda: drone.craft.phase is Phase.FLYING and drone.copter.body.x > 30)
    drone.loss = 1.0
    drone.until(lambda: drone.copter.failsafe)
    assert drone.craft.link_lost
    assert drone.copter.failsafe == "GCS failsafe"
    drone.loss = 0.0
    end = drone.end()
    assert isinstance(end, FlightFailed)
    assert "the aircraft's own fail-safe: mode rtl" in end.why
    assert (drone.copter.armed, round(drone.copter.body.x)) == (False, 0)
    assert drone.craft.phase is Phase.IDLE


def test_a_link_that_is_lost_on_the_ground_ends_the_flight_within_seconds():
    drone = world(Autopilot.PX4)
    drone.craft.dispatch(drone.flight(), drone.now)
    began, drone.loss = drone.now, 1.0
    end = drone.end()
    assert isinstance(end, FlightFailed)
    assert "no heartbeat for 5 s" in end.why or "stuck" in end.why
    assert drone.now - began < 10_000


@BOTH
def test_giving_up_in_the_air_brings_it_home(autopilot):
    drone = world(autopilot)
    drone.craft.dispatch(drone.flight(), drone.now)
    drone.until(lambda: drone.craft.phase is Phase.FLYING)
    drone.craft.give_up("cancelled by the hub", drone.now)
    end = drone.end()
    assert end == FlightFailed("job-1", "cancelled by the hub")
    assert (drone.copter.armed, round(drone.copter.body.y)) == (False, 0)


@BOTH
def test_a_person_who_takes_over_is_left_alone(autopilot):
    drone = world(autopilot)
    drone.craft.dispatch(drone.flight(), drone.now)
    drone.until(lambda: drone.craft.phase is Phase.FLYING)
    drone.copter.mode = Mode.OTHER
    drone.up.clear()
    drone.until(lambda: drone.craft.phase is Phase.RETURNING, 20)
    for _ in range(100):
        drone.tick()
    assert not [frame for frame in drone.up if frame.name == "COMMAND_LONG"]
    drone.copter.mode = Mode.LAND
    end = drone.end()
    assert isinstance(end, FlightFailed)
    assert "somebody has taken over" in end.why


def test_a_restart_while_it_is_loaded_fails_the_flight_and_the_parameters_are_read_anew():
    drone = world(Autopilot.ARDUPILOT)
    drone.copter.shelf.stuck_at = 4
    drone.craft.dispatch(drone.flight(), drone.now)
    drone.until(lambda: drone.craft.phase is Phase.FENCE_UP)
    drone.copter.reboot()
    drone.copter.params["FENCE_ENABLE"] = 0.0
    end = drone.end()
    assert isinstance(end, FlightFailed)
    assert "the aircraft has restarted while fence up" in end.why
    drone.until(lambda: drone.craft.phase is Phase.IDLE)
    assert [refusal.code for refusal in drone.craft.standing()] == ["fenceOff"]
    assert drone.craft.counters["reboots"] == 1


def test_an_aircraft_that_refuses_to_arm_says_why():
    drone = world(Autopilot.ARDUPILOT)
    drone.copter.shelf.changed.clear()
    drone.craft.dispatch(drone.flight(), drone.now)
    drone.until(lambda: drone.craft.phase is Phase.MISSION_UP)
    drone.copter.params["DID_ENABLE"] = 1.0
    drone.copter.remote_id.clear()
    drone.craft.rules = replace(RULES, serial="")
    end = drone.end()
    assert isinstance(end, FlightFailed)
    assert "missing BASIC_ID" in end.why
    assert not drone.copter.armed


def test_orders_that_no_drone_can_fly_are_said_so():
    for order, why in (
        (replace(CLINIC, nodes=CLINIC.nodes[:1], edges=()), "has 1 nodes"),
        (replace(CLINIC, nodes=(*CLINIC.nodes[:2], replace(CLINIC.nodes[2], released=False))), "not released"),
        (replace(CLINIC, nodes=(*CLINIC.nodes[:2], replace(CLINIC.nodes[2], nodePosition=None))), "no position"),
        (job(("a", 1.0, 1.0), actions={1: (drop(kind="irrigate"),)}), "irrigate is not supported"),
        (job(("a", 1.0, 1.0), actions={2: (drop(),)}), "where the drone lands"),
    ):
        found = flight_of(order, RULES, (0.0, 0.0), Autopilot.PX4)
        assert isinstance(found, str)
        assert why in found


NAMES = ["HEARTBEAT", "PARAM_VALUE", "MISSION_CURRENT", "MISSION_ITEM_REACHED", "COMMAND_ACK", "STATUSTEXT",
    "SYS_STATUS", "GLOBAL_POSITION_INT", "EXTENDED_SYS_STATE", "MISSION_REQUEST_INT", "MISSION_ACK", "MISSION_COUNT",
    "MISSION_ITEM_INT", "OPEN_DRONE_ID_ARM_STATUS"]  # fmt: skip
FIELDS = {
    "autopilot": st.sampled_from([3, 12, 8, 0]), "base_mode": st.integers(0, 255), "seq": st.integers(0, 65535),
    "custom_mode": st.sampled_from([3, 4, 5, 6, 4 << 16 | 4 << 24, 77]), "type": st.integers(0, 255),
    "command": st.sampled_from([400, 300, 176, 1]), "result": st.integers(0, 255), "count": st.integers(0, 65535),
    "time_boot_ms": st.integers(0, 2**32 - 1), "landed_state": st.integers(0, 4), "param_id": st.text(max_size=16),
    "param_value": st.floats(), "battery_remaining": st.integers(-128, 127), "mission_type": st.integers(0, 2),
}  # fmt: skip


@given(st.lists(st.builds(Frame, st.sampled_from(NAMES), st.fixed_dictionaries({}, optional=FIELDS),
    st.sampled_from([1, 1, 1, 9]), st.just(1)), max_size=25), st.integers(0, 40))  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_no_frames_in_any_order_raise_and_a_flight_ends_or_goes_on(frames, ticks):
    drone = world(Autopilot.ARDUPILOT)
    drone.craft.dispatch(drone.flight(), drone.now)
    for _ in range(ticks):
        drone.tick()
    for step, frame in enumerate(frames):
        drone.craft.receive(frame, Instant(drone.now + step * 700))
        drone.craft.due(Instant(drone.now + step * 700))
    _, events = drone.craft.take()
    over = [event for event in (*drone.events, *events) if isinstance(event, (FlightDone, FlightFailed))]
    assert len(over) == (drone.craft.flight is None)
