"""`atoll why` and the Plan page say of every asset what it will do, in words that its operator uses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.plan_text import rows, why, why_lines
from controller.present import plan_rows
from devices.clock import HOUR_MS, SLOT_MS, Instant, parse_iso
from optimizer.plan import Plan
from optimizer.problem import AssetId, Stop, ThermalStore
from optimizer.solve import solve
from optimizer.trip_ask import Pack, TripAsk
from optimizer.trip_packs import as_planned, charging_needs
from tests.controller.planned import Place
from tests.controller.scene import NOW, village
from tests.optimizer.problems import bare

ZONE = "Europe/Berlin"


@pytest.fixture(scope="module")
def place() -> Place:
    one = Place.at(village())
    one.plan({})
    return one


def said(plan: Plan, asked: str, at: Instant = NOW) -> str:
    found = why(plan, asked, at)
    assert found is not None, asked
    return "\n".join(why_lines(found, ZONE, "EUR"))


def test_a_car_says_when_it_charges_and_why_when_it_is_away_and_whether_it_will_be_ready(place: Place) -> None:
    _, plan = place.planned()
    now, noon, away = (said(plan, "charger-1", Instant(at)) for at in (NOW, NOW + 3 * HOUR_MS, NOW + 22 * HOUR_MS))
    assert "no charging" in now
    assert "waits for surplus or cheaper power" in now
    assert "then        Thu 4 Jun 07:30-09:30 away: its usual trip; home at Thu 4 Jun 16:30" in now
    assert "ready       by Thu 4 Jun 07:00 with 38.0 kWh: " in now
    assert "charge from surplus, about" in noon
    assert "needs 38.0 kWh then" in noon
    assert "away: its usual trip; home at Thu 4 Jun 16:30" in away
    assert "follow the meter" not in now + noon + away


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("washer-1", ["washing.20260603", "not running", "washing on washer-1, about 0.9 kW"]),
        ("boiler-1", ["warm enough: heating in other hours costs less", "heat, about"]),
        ("pump-1", ["tank lasts", "pump into tank-1, about 3.0 kW"]),
        ("genset-1", ["stand still", "its energy costs"]),
        ("printer-1", ["print on printer-1 by workshop"]),
    ],
)
def test_every_other_device_says_what_it_does_next_by_its_own_name(place: Place, asked: str, words: list[str]) -> None:
    text = said(place.planned()[1], asked)
    for word in words:
        assert word in text


def test_page_and_terminal_say_the_same(place: Place) -> None:
    _, plan = place.planned()
    page = {(row.device, block[0]): block[2] for row in plan_rows(place.hub, plan) for block in row.blocks}
    terminal = {(row.asset, row.start): row.what for row in rows(plan)}
    assert page.keys() == terminal.keys()
    for key, text in page.items():
        assert terminal[key].split(", about")[0] == text.split(", ")[0].strip() or "away" in text


def test_a_robot_is_away_on_its_round_and_waits_for_sun_without_a_word_of_lifelines() -> None:
    start = parse_iso("2026-06-03T06:00:00Z")
    robot, what = AssetId("robot-1"), "round of 2 stops: school, clinic"
    pack = Pack(robot, 2.0, 0.5, 0.5, 0.9, 0.3, 0.8, 0.2)
    leave, back = Instant(start + 8 * SLOT_MS), Instant(start + 10 * SLOT_MS)
    trip = TripAsk(AssetId("round"), robot, leave, back, 0.6, leave, leave, what)
    (battery,) = charging_needs([pack], [trip], as_planned([trip]), start, 16, SLOT_MS)
    pv = (0.0,) * 4 + (6.0,) * 4 + (0.0,) * 8
    plan = solve(replace(bare((1.0,) * 16, pv, island=False), start=start, batteries=(battery,)), Stop(None), 1)
    assert isinstance(plan, Plan)
    assert said(plan, "robot-1", trip.leave).splitlines()[0].endswith(f"away: {what}")
    texts = [row.what + row.reason.constraint for row in rows(plan)]
    assert any("charge" in text for text in texts)
    assert not any("lifeline" in text or "meter" in text or "discharge" in text for text in texts)


def test_a_cold_room_cools() -> None:
    slots = 16
    room = ThermalStore(
        AssetId("cold-1"), 3.0, (2.5,) * slots, 4.0, 2.0, 10.0, 0.05, (0.8,) * slots, 0.1, 1.5, 0.1, cold=True
    )
    plan = solve(replace(bare((1.0,) * slots, (0.0,) * slots, island=False), thermal=(room,)), Stop(None), 1)
    assert isinstance(plan, Plan)
    first = said(plan, "cold-1", plan.start)
    steps = [step.reason.constraint for step in plan.units[room.id]]
    assert {row.what.split(",")[0] for row in rows(plan)} == {"cool"}
    assert not any("heat" in text or "as warm" in text for text in (first, *steps))
