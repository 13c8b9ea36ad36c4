"""A MAVLink drone as the hub sees it: the hub's own master session against the pilot, the pilot against the copter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.clock import Instant
from devices.flight_rules import FlightRules
from devices.mavlink_codec import Codec, Frame
from devices.mavlink_craft import Phase
from devices.mavlink_pilot import Pilot, factsheet_of
from devices.mavlink_values import GROUND, Autopilot, Mode
from devices.model import Message
from devices.vda5050 import (
    Action,
    Address,
    MasterEvent,
    MasterSession,
    OperatingMode,
    Order,
    OrderState,
    master,
)
from firmware_sim.copter import Copter
from firmware_sim.copter_body import CopterBody
from tests.drone_world import CLINIC, ORIGIN, RULES, TICK_MS, T, drop, job

ADDRESS = Address("vda5050", "atoll", "drone-1")
BOTH = pytest.mark.parametrize("autopilot", list(Autopilot), ids=str)


class Village:
    """Hub, pilot and copter in virtual time; every message goes over the real codecs."""

    def __init__(
        self, autopilot: Autopilot = Autopilot.ARDUPILOT, rules: FlightRules = RULES, energy_wh: float = 125.0,
        **params: float,
    ) -> None:  # fmt: skip
        self.now = T
        self.copter = Copter(autopilot, CopterBody(*ORIGIN, energy_wh=energy_wh), T, params=params)
        self.pilot = Pilot(ADDRESS, "site", rules, factsheet_of(rules))
        self.hub = MasterSession(ADDRESS)
        self.radio_up = True
        self.events: list[MasterEvent] = []
        self._ground, self._air = Codec(*GROUND), Codec(1, 1)
        self.pilot.connected(self.now)
        self.until(lambda: self.pilot.craft.online and self.hub.online and self.pilot.craft.charge is not None)
        self.run(3)

    def tick(self) -> None:
        self.now = Instant(self.now + TICK_MS)
        down = self.copter.advance(self.now)
        for _ in range(3):
            data = b"".join(self._air.encode(frame) for frame in down)
            self.pilot.frames(self._ground.decode(data) if self.radio_up else [], self.now)
            self.pilot.due(self.now)
            frames, messages = self.pilot.take()
            for message in messages:
                self.events += self.hub.receive(message.topic, message.payload, self.now)
            data = b"".join(self._ground.encode(frame) for frame in frames)
            heard = self._air.decode(data) if self.radio_up else []
            down = [answer for frame in heard for answer in self.copter.receive(frame, self.now)]
        for event in self.hub.due(self.now):
            self.events.append(event)
            if isinstance(event, master.Publish):
                self.tell(event.message)

    def tell(self, message: Message) -> None:
        self.pilot.message(message.topic, message.payload, self.now)

    def send(self, order: Order = CLINIC) -> None:
        self.tell(self.hub.send(order, self.now))

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 1000 / TICK_MS)):
            self.tick()

    def until(self, wanted, seconds: float = 400.0) -> None:
        end = self.now + 1000 * seconds
        while not wanted():
            self.tick()
            assert self.now < end, (self.pilot.craft.phase, self.hub.state)

    def end(self) -> MasterEvent:
        ends = (master.OrderDone, master.OrderFailed, master.OrderCancelled)
        self.until(lambda: any(isinstance(event, ends) for event in self.events))
        return next(event for event in self.events if isinstance(event, ends))

    def errors(self) -> dict[str, str]:
        assert self.hub.state is not None
        return {error.errorType: error.errorDescription or "" for error in self.hub.state.errors}


@BOTH
def test_an_order_of_the_hub_is_flown_and_done(autopilot):
    village = Village(autopilot)
    assert village.errors() == {}
    load = Action("pick", "load-1", actionParameters=drop(20).actionParameters)
    village.send(job(("clinic", 120.0, 90.0), actions={0: (load,), 1: (drop(),)}))
    village.run(5)
    assert not village.copter.armed, "it is being loaded on the ground"
    assert village.end() == master.OrderDone("job-1")
    assert not village.copter.gripped
    state = village.hub.state
    assert state is not None
    assert state.agvPosition is not None
    assert (state.lastNodeId, state.driving, state.operatingMode) == ("dock", False, OperatingMode.AUTOMATIC)
    assert abs(state.agvPosition.x) + abs(state.agvPosition.y) < 1.5
    village.events.clear()
    village.send(replace(CLINIC, orderId="job-2"))
    assert village.end() == master.OrderDone("job-2"), "and the next one"


def test_what_keeps_it_down_stands_in_the_state_before_any_order_comes():
    village = Village(rules=replace(RULES, authorisation=None), FENCE_ENABLE=0.0, BATT_FS_LOW_ACT=0.0)
    assert set(village.errors()) == {"fenceOff", "batteryOff", "noAuthorisation"}
    assert "FENCE_ENABLE: is 0; set it to 1" in village.errors()["fenceOff"]
    village.send()
    end = village.end()
    assert isinstance(end, master.OrderFailed)
    assert "FENCE_ENABLE" in end.reason
    assert not village.copter.armed


def test_too_little_charge_fails_the_order_with_figures_and_the_next_one_may_go():
    village = Village(energy_wh=40.0)
    village.send()
    end = village.end()
    assert isinstance(end, master.OrderFailed)
    assert "charge 31%" in end.reason
    assert village.hub.order_state is OrderState.NONE
    village.run(40)
    assert village.errors() == {}, "a failed order does not stand for ever"
    village.copter.body.energy_wh = 125.0
    village.run(3)
    village.events.clear()
    village.send(replace(CLINIC, orderId="job-2"))
    assert village.end() == master.OrderDone("job-2")


@BOTH
def test_cancelled_in_the_air_it_flies_home_and_takes_no_order_until_it_has_landed(autopilot):
    village = Village(autopilot)
    village.send()
    village.until(lambda: village.copter.body.x > 20)
    village.tell(village.hub.cancel(village.now))
    assert village.end() == master.OrderCancelled("job-1")
    village.events.clear()
    village.send(replace(CLINIC, orderId="job-2"))
    end = village.end()
    assert isinstance(end, master.OrderFailed)
    assert "still flies back" in end.reason
    village.until(lambda: not village.copter.armed)
    assert round(village.copter.body.x) == 0


@BOTH
def test_a_pause_is_a_hover_and_it_flies_on(autopilot):
    village = Village(autopilot)
    village.send()
    village.until(lambda: village.copter.body.x > 20)
    village.tell(village.hub.instant((Action("startPause", "p1"),), village.now))
    village.run(20)
    assert village.copter.mode is Mode.HOLD
    assert village.hub.state is not None
    assert village.hub.state.paused
    x = village.copter.body.x
    village.run(20)
    assert village.copter.body.x == x
    village.tell(village.hub.instant((Action("stopPause", "p2"),), village.now))
    assert village.end() == master.OrderDone("job-1")


def test_a_person_at_the_sticks_is_manual_mode_and_no_order_goes():
    village = Village()
    village.copter.armed, village.copter.mode = True, Mode.OTHER
    village.run(3)
    assert village.hub.state is not None
    assert village.hub.state.operatingMode is OperatingMode.MANUAL
    village.send()
    end = village.end()
    assert isinstance(end, master.OrderFailed)
    assert "armed already" in end.reason


def test_a_silent_aircraft_is_an_error_and_comes_back():
    village = Village()
    village.radio_up = False
    village.run(8)
    assert "linkLost" in village.errors()
    village.send()
    assert isinstance(village.end(), master.OrderFailed)
    village.radio_up = True
    village.run(40)
    assert village.errors() == {}


def test_link_lost_in_the_air_is_told_and_the_flight_has_failed_when_it_is_down():
    village = Village()
    village.send(job(("clinic", 300.0, 300.0)))
    village.until(lambda: village.copter.body.x > 50)
    village.radio_up = False
    village.run(8)
    assert "linkLost" in village.errors()
    village.until(lambda: not village.copter.armed)
    village.radio_up = True
    end = village.end()
    assert isinstance(end, master.OrderFailed)
    assert "fail-safe" in end.reason or "landed" in end.reason


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (job(("a", 2000.0, 0.0)), "leaves geofence valley"),
        (job(("a", 100.0, 250.0)), "people zone school"),
        (job(("a", 10.0, 0.0), actions={1: (drop(kind="irrigate"),)}), "irrigate is not supported"),
    ],
)
def test_orders_that_may_not_be_flown_fail_with_the_reason(order, why):
    village = Village()
    village.send(order)
    end = village.end()
    assert isinstance(end, master.OrderFailed)
    assert why in end.reason
    assert not village.copter.armed


def test_an_instant_action_that_no_drone_knows_fails():
    village = Village()
    village.tell(village.hub.instant((Action("juggle", "j1"),), village.now))
    village.run(1)
    assert village.hub.state is not None
    assert [entry.actionStatus for entry in village.hub.state.actionStates if entry.actionId == "j1"] == ["FAILED"]


@given(st.lists(st.tuples(st.sampled_from(["order", "instantActions"]), st.binary(max_size=60)), max_size=6))
@settings(max_examples=40, deadline=None)
def test_no_bytes_from_the_broker_raise(messages):
    pilot = Pilot(ADDRESS, "site", RULES, factsheet_of(RULES))
    for kind, payload in messages:
        pilot.message(f"vda5050/v2/atoll/drone-1/{kind}", payload, T)
    pilot.frames([Frame("HEARTBEAT", {"autopilot": 3}, 1, 1)], T)
    pilot.due(Instant(T + 1000))
    frames, states = pilot.take()
    assert frames
    assert states
    assert pilot.craft.phase is Phase.READING
