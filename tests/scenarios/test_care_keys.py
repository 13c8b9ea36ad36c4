"""A vaccine fridge and a medicine flight: written in a site file, watched and planned by the hub."""

from __future__ import annotations

from itertools import pairwise

import pytest

from controller.alarms import AlarmState
from controller.cli.codes import CODES
from controller.conditions import deadlines
from controller.deliveries import Desk
from controller.image import Image
from controller.missions import Board
from controller.shell.simulation import fleet_factory, start_of
from controller.site import check
from devices.clock import HOUR_MS, Instant
from firmware_sim.fridge import Fridge
from optimizer.care import holding_w
from optimizer.flight_problem import FlightsPlan
from optimizer.flights import solve_flights
from optimizer.logistics import RoundsStop
from tests.controller.planned import Place, site_of
from tests.controller.scene import VILLAGE

MINUTE = 60_000
LOOSE = {'behind = "clinic"\n': ""}
"""The fridge has a cable of its own."""


def fridge_of(place: Place) -> Fridge:
    spec = place.hub.config.site.device("fridge-1")
    assert spec is not None
    return Fridge.of(spec, None)


def minute(place: Place, fridge: Fridge) -> str | None:
    """Lets a minute pass, and returns the words of the fridge's alarm while it stands."""
    fridge.run(MINUTE, supplied=True)
    place.tick({"fridge-1": {"celsius": round(fridge.celsius_uc / 1e6, 2), "W": fridge.power_w}}, MINUTE)
    alarm = place.hub.alarms.get("cold.vaccines")
    return None if alarm is None or alarm.state is AlarmState.RETURNED else alarm.condition.text


def test_people_are_called_before_the_vaccines_are_too_warm_and_not_while_all_is_well() -> None:
    place = Place.at(site_of())
    place.hub.planning.next_at = Instant(place.now + 10**9)
    fridge = fridge_of(place)
    calm = [minute(place, fridge) for _ in range(180)]
    assert calm == [None] * 180, "three hours of a compressor that goes on and off"
    fridge.dead = True
    told, said = 0, None
    while said is None and told < 12 * 60:
        told += 1
        said = minute(place, fridge)
    assert said is not None
    assert "will pass 8 °C" in said
    assert fridge.celsius_uc < 8_000_000
    left = 0
    while fridge.celsius_uc < 8_000_000:
        left += 1
        assert minute(place, fridge) is not None, "an alarm that stands goes on until it is mended"
    assert left >= 60, f"called {told} minutes after the compressor died, {left} before the limit"
    condition = place.hub.alarms.get("cold.vaccines")
    assert condition is not None
    code = condition.condition.response.rpartition(" ")[2]
    assert CODES[code].check


def test_a_silent_thermometer_is_an_alarm_of_its_own() -> None:
    place = Place.at(site_of())
    place.hub.planning.next_at = Instant(place.now + 10**9)
    seen: list[str | None] = []
    for _ in range(20):
        place.tick({"fridge-1": {"celsius": None, "W": None}}, MINUTE)
        alarm = place.hub.alarms.get("cold.vaccines")
        seen.append(None if alarm is None else alarm.condition.text)
    assert seen[:15] == [None] * 15
    assert seen[-1] is not None
    assert "nobody knows" in seen[-1]


def test_the_fridge_is_load_that_no_plan_sheds() -> None:
    inside, loose = Place.at(site_of()), Place.at(site_of("", LOOSE))
    inside.plan({})
    loose.plan({})
    assert inside.problem is not None
    assert loose.problem is not None
    spec = loose.hub.config.site.cold_boxes[0]
    kw = holding_w(spec.box, spec.ambient_c) / 1000
    assert kw > 0.01
    for a, b, c, d in zip(
        inside.problem.load_kw,
        loose.problem.load_kw,
        inside.problem.critical_kw,
        loose.problem.critical_kw,
        strict=True,
    ):
        assert b - a == pytest.approx(kw)
        assert d - c == pytest.approx(kw)


def test_a_flight_with_a_deadline_outranks_every_parcel() -> None:
    drops = "".join(
        f"""
[[delivery]]
id = "letter-{number}"
kind = "parcel"
by = "air"
place = "school"
window = ["07:10", "07:40"]
mass_kg = 0.9
priority = 9
"""
        for number in range(4)
    )
    site = site_of(
        drops, {'id = "medicine"': 'id = "serum"', 'window = ["08:00", "08:45"]': 'window = ["07:10", "07:30"]'}
    )
    fleet = fleet_factory().build(site.devices, start_of(site), 0, None)
    board, image, now = Board(site), Image(deadlines(site, 1_000, 0)), Instant(start_of(site) + 7 * HOUR_MS)
    fleet.advance(now)
    for message in fleet.messages():
        for readings in board.receive(message.topic, message.payload, now):
            image.update(readings, now)
    desk, snapshot = Desk(site), image.freeze(now)
    desk.tick(board, snapshot, now)
    asked = desk.ask(board, snapshot, now)
    assert asked is not None
    flights = asked[1].flights
    assert flights is not None
    plan = solve_flights(flights, RoundsStop(seconds=None, iterations=50), 0)
    assert isinstance(plan, FlightsPlan)
    brought = [str(drop.parcel) for flight in plan.flights for drop in flight.drops]
    today = [name for name in brought if name.endswith(".20260601")]
    assert today[0] == "serum.20260601"
    assert not plan.late
    assert 1 <= len(today) < 5, "the drone cannot bring all of it in half an hour: what stays is a letter"


def test_every_fault_of_a_cold_box_is_told_with_its_cure() -> None:
    text = (
        VILLAGE.read_text()
        .replace('sensor = "fridge-1"', 'sensor = "fridge"')
        .replace('behind = "clinic"\nlow_c', 'behind = "pump-1"\nlow_c')
    )
    text = text.replace("target_c = 5.0", "target_c = 9.0").replace("power_w_max = 120\n", "power_w_max = 10\n")
    _, problems = check(text, "site.toml")
    assert [problem.code for problem in problems] == ["SITE-210", "SITE-210", "SITE-211", "SITE-212"]
    assert all(a.line <= b.line for a, b in pairwise(problems))
    assert "'fridge-1'" in problems[0].fix
