"""People in a zone stop a vehicle: by the gateway's core alone, against a real vehicle session and a flying copter."""

from __future__ import annotations

import dataclasses

import pytest

from devices import gateway_commands
from devices.clock import Instant
from devices.events import Incoming
from devices.gateway import Gateway, Saved
from devices.interlock_watch import Declared, RuleName
from devices.mavlink_craft import Phase
from devices.model import BusFault, DeviceId, Message
from devices.vda5050 import Address, AgvPosition, BatteryState, Condition, Kind, VehicleSession, master
from devices.vda5050_v3 import V3_0
from tests.devices.gateway_bench import TANK, Bench
from tests.devices.test_mavlink_pilot import Village

MULE = DeviceId("mule")
ZONE = Declared("yard", RuleName.PEOPLE_ZONE, MULE, TANK.id, point="level", high=0.5, clear_ms=5_000, low=float("-inf"))
"""The tank's level plays the person sensor."""


class Yard:
    """A gateway core, a sensor, and a vehicle that follows VDA 5050; messages may be lost."""

    def __init__(self, address: Address, **changes: object) -> None:
        self.bench = Bench([TANK])
        self.address, self.deaf = address, False
        self.vehicle = VehicleSession(address)
        self.told: list[Instant] = []
        rule = dataclasses.replace(ZONE, **changes)
        self.config = dataclasses.replace(self.bench.config, interlocks=(rule,), vehicles={MULE: address})
        self.restart()
        self.people(False)

    def restart(self, saved: Saved | None = None) -> None:
        self.bench.gateway = Gateway(self.config, self.bench.now, saved)

    def people(self, there: bool) -> None:
        self.bench.devices["tank-1"].values["level"] = 0.9 if there else 0.1

    def run(self, seconds: float) -> None:
        for _ in range(round(10 * seconds)):
            self.bench.run(100)
            for message in self.bench.sent:
                if message.topic == self.address.topic(Kind.INSTANT_ACTIONS):
                    self.told.append(self.bench.now)
                    if not self.deaf:
                        self.vehicle.receive(message.topic, message.payload, self.bench.now)
            self.bench.sent.clear()
            if self.vehicle.state_due(self.bench.now):
                condition = Condition(
                    AgvPosition(0, 0, 0, "m", positionInitialized=True), BatteryState(80, charging=False)
                )
                self.tell(self.vehicle.state(condition, self.bench.now))

    def tell(self, message: Message) -> None:
        self.bench.step(Incoming(message.topic, message.payload))

    def pause(self, action: str, name: str) -> None:
        """A person, or the hub, pauses the vehicle, or lets it go on."""
        hub = master.MasterSession(self.address)
        message = hub.instant((master.Action(action, name),), self.bench.now)
        self.vehicle.receive(message.topic, message.payload, self.bench.now)


@pytest.mark.parametrize("codec", [Address("vda5050", "atoll", "mule").codec, V3_0], ids=["2.1", "3.0"])
def test_people_stop_it_within_a_second_and_five_seconds_after_them_it_goes_on(codec) -> None:
    yard = Yard(Address("uagv", "Maker", "7", codec))
    yard.run(7)
    assert not yard.vehicle.paused
    yard.people(True)
    came = yard.bench.now
    yard.run(1.1)
    assert yard.vehicle.paused
    assert yard.told[-1] - came <= 1_000
    assert "interlock" in yard.bench.codes()
    yard.people(False)
    yard.run(4)
    assert yard.vehicle.paused, "not yet: somebody may step back"
    yard.run(3)
    assert not yard.vehicle.paused
    count = len(yard.told)
    yard.run(60)
    assert len(yard.told) == count, "nothing more is said"


def test_it_is_told_every_second_until_it_says_that_it_stands_and_again_when_it_is_let_go_by_others() -> None:
    yard = Yard(Address("vda5050", "atoll", "mule"))
    yard.run(7)
    yard.people(True)
    yard.deaf = True
    yard.run(5.1)
    assert len(yard.told) >= 5 + 1
    assert not yard.vehicle.paused
    yard.deaf = False
    yard.run(1.1)
    assert yard.vehicle.paused
    yard.pause("stopPause", "a-person-in-a-hurry")
    yard.run(1.2)
    assert yard.vehicle.paused, "nobody lets it go while people are there"


def test_a_sensor_that_is_silent_stops_it_and_a_pause_of_somebody_else_stays() -> None:
    yard = Yard(Address("vda5050", "atoll", "mule"))
    yard.run(7)
    yard.pause("startPause", "lunch")
    yard.run(1)
    yard.bench.devices["tank-1"].fault = BusFault.TIMEOUT
    yard.run(10)
    assert yard.bench.gateway.stops.vehicles[0].active == ("people-zone:yard",)
    yard.bench.devices["tank-1"].fault = None
    yard.run(80)
    assert yard.bench.gateway.stops.vehicles[0].active == ()
    assert yard.vehicle.paused, "who paused it lets it go"


def test_a_restarted_gateway_knows_its_own_pause_again_and_starts_stopped() -> None:
    yard = Yard(Address("vda5050", "atoll", "mule"))
    yard.people(True)
    yard.run(2)
    assert yard.vehicle.paused
    yard.people(False)
    yard.restart()
    yard.vehicle.touch()
    yard.run(1)
    assert yard.vehicle.paused
    yard.run(7)
    assert not yard.vehicle.paused


def test_a_latched_rule_waits_for_a_person_over_restarts() -> None:
    yard = Yard(Address("vda5050", "atoll", "mule"), latch=True)
    yard.run(7)
    yard.people(True)
    yard.run(2)
    yard.people(False)
    yard.run(10)
    assert yard.vehicle.paused
    yard.restart(Saved(latched=yard.bench.gateway.latched))
    yard.run(10)
    assert gateway_commands.status(yard.bench.gateway)["latched"] == ["yard"]
    seen = gateway_commands.status(yard.bench.gateway)["vehicles"]
    assert seen == [{"device": "mule", "stopped_by": ["people-zone:yard"], "paused": True}]
    asked = {"ask": "reset", "interlock": "yard", "reason": "walked through it", "user": "ana"}
    answer, effects = gateway_commands.ask(yard.bench.gateway, asked)
    assert answer["accepted"]
    for effect in effects:
        yard.bench.perform(effect)
    yard.run(2)
    assert not yard.vehicle.paused


def test_a_state_that_cannot_be_read_changes_nothing() -> None:
    yard = Yard(Address("vda5050", "atoll", "mule"))
    yard.people(True)
    yard.run(2)
    yard.tell(Message(yard.address.topic(Kind.STATE), b"{"))
    assert yard.bench.gateway.stops.vehicles[0].paused is True


def pause(village: Village, action: str) -> None:
    village.tell(village.hub.instant((master.Action(action, f"{action}-{village.now}"),), village.now))


def test_a_stopped_drone_hovers_and_one_on_the_ground_waits_loaded() -> None:
    village = Village()
    village.send()
    pause(village, "startPause")
    village.run(30)
    assert not village.copter.armed
    pause(village, "stopPause")
    village.until(lambda: village.pilot.craft.phase is Phase.FLYING)
    pause(village, "startPause")
    village.run(5)
    place = village.pilot.craft.place
    village.run(20)
    assert village.pilot.craft.place == pytest.approx(place, abs=1e-5), "it hovers"
    pause(village, "stopPause")
    assert isinstance(village.end(), master.OrderDone)


@pytest.mark.parametrize("phase", [Phase.MISSION_UP, Phase.CHECKING, Phase.STARTING])
def test_people_who_come_while_it_gets_ready_keep_it_on_the_ground(phase: Phase) -> None:
    village = Village()
    village.send()
    village.until(lambda: village.pilot.craft.phase is phase)
    pause(village, "startPause")
    village.run(40)
    assert not village.copter.armed
    assert village.pilot.craft.phase in (Phase.WAITING, Phase.IDLE)
    if village.pilot.craft.phase is Phase.WAITING:
        pause(village, "stopPause")
        assert isinstance(village.end(), master.OrderDone)
    else:
        assert isinstance(village.end(), master.OrderFailed), "about to take off, it gives up"


def test_one_that_waits_for_too_long_gives_the_flight_up() -> None:
    village = Village()
    village.send()
    village.until(lambda: village.pilot.craft.phase is Phase.MISSION_UP)
    pause(village, "startPause")
    village.until(lambda: village.events and isinstance(village.events[-1], master.OrderFailed), 700)
    ended = village.end()
    assert isinstance(ended, master.OrderFailed)
    assert "waiting has taken longer than 600 s" in ended.reason


def test_the_drone_stays_in_reach_of_ids_it_has_done_before() -> None:
    """A gateway tells by two ways; the same id arrives twice and is done once."""
    village = Village()
    message = village.hub.instant((master.Action("startPause", "twice"),), village.now)
    village.tell(message)
    village.tell(message)
    assert village.pilot.vehicle.paused
    assert village.pilot.vehicle.counters["actions_repeated"] == 1
