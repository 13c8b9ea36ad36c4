"""What the pages say: hours that mean what they say, steps in words, numbers short enough to read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller import hub as core
from controller.commands import Actor, HoldDevice, command_id
from controller.commands import Role as Rights
from controller.console.outlook import direction
from controller.console.words import brief
from controller.plan_forecast import forecast
from controller.plan_problem import build_problem
from controller.present import Surroundings, next_actions, now_view, work_label
from controller.step_words import shown
from devices.clock import MINUTE_MS, Instant
from devices.events import Tick
from devices.model import DeviceId
from optimizer.plan import AssetKind, Mode, Plan, Reason, Role, StorageStep, UnitStep
from optimizer.problem import AssetId
from tests.controller.scene import NOW, readings, snapshot, village

SITE = village()
AROUND = Surroundings(1.0, "synchronised", "a broker")


def hub_with(level: float) -> core.Hub:
    hub = core.start(core.HubConfig(SITE, 1, 1_000, 1_000, 0, 900_000), NOW)
    hub.image.update(readings("tank-1", {"level": level}, NOW), NOW)
    return core.step(hub, Tick(), NOW)[0]


def test_water_lasts_to_its_reserve_and_not_to_the_last_drop() -> None:
    def hours(level: float) -> float:
        hub = hub_with(level)
        hub.planning.forecast = forecast(SITE, hub.history, NOW)
        found = now_view(hub, NOW, AROUND).tank_hours
        assert found is not None
        return found

    assert hours(SITE.water_reserve) == 0
    assert hours(SITE.water_reserve - 0.1) == 0
    assert hours(SITE.water_reserve + 0.2) == pytest.approx(2 * hours(SITE.water_reserve + 0.1))


def test_the_next_steps_name_things_as_people_do() -> None:
    hub = hub_with(0.7)
    on, off = UnitStep(True, 800, Reason("sun")), UnitStep(False, 0, Reason("sun"))
    follow, hold = (
        StorageStep(Mode.FOLLOW, 900, 900, 0.5, Reason("x")),
        StorageStep(Mode.HOLD, 0, 0, 0.5, Reason("full")),
    )
    hub.planning.plan = Plan(
        NOW, 15 * MINUTE_MS, {AssetId("battery-1"): (follow, hold)},
        {AssetId("irrigation.20260603"): (off, on), AssetId("pump-1"): (on, off)},
        (0.0,) * 2, (0.0,) * 2, (0.0,) * 2, {}, {}, {}, 0.0, 0.0,
    )  # fmt: skip
    hub.planning.made_at = NOW
    said = {action.text for action in next_actions(hub, NOW, 6)}
    assert said == {"Battery: hold", "Irrigation (robot-1) starts", "Well pump stops"}


@pytest.mark.parametrize(
    ("mode", "watts", "said"),
    [
        (Mode.FOLLOW, 300, (Mode.FOLLOW, "charge from surplus")),
        (Mode.FOLLOW, 0, (Mode.HOLD, "no charging")),
        (Mode.FOLLOW, -300, (Mode.DISCHARGE, "give to the village")),
        (Mode.CHARGE, 300, (Mode.CHARGE, "charge")),
        (Mode.HOLD, 0, (Mode.HOLD, "no charging")),
    ],
)
def test_a_vehicle_charges_or_does_not_where_a_battery_follows_the_meter(
    mode: Mode, watts: int, said: tuple[Mode, str]
) -> None:
    step = StorageStep(mode, 900, watts, 0.5, Reason("x"))
    assert shown(Role(AssetKind.VEHICLE), step) == said
    assert shown(Role(AssetKind.BATTERY), step)[0] is mode
    out = replace(step, away=True, reason=Reason("away: round of 2 stops: school, clinic"))
    assert shown(Role(AssetKind.VEHICLE), out) == ("away", "away: round of 2 stops: school, clinic")


def test_a_hold_is_told_in_the_villages_own_time() -> None:
    hub = hub_with(0.7)
    until = Instant(NOW + 10 * MINUTE_MS)
    ana = Actor("ana", Rights.OPERATOR, "cli")
    command = HoldDevice(command_id(NOW, 1), ana, DeviceId("pump-1"), 0.0, until, "tap")
    hub, effects = core.step(hub, core.Commanded(command), NOW)
    reply = next(effect for effect in effects if isinstance(effect, core.Reply))
    assert reply.result.message == "pump-1 is held at 0 until Wed 3 Jun 09:50"
    view = next(device for device in now_view(hub, NOW, AROUND).devices if device.id == "pump-1")
    assert view.hold == "ana holds off until Wed 3 Jun 09:50: tap"


def test_a_tank_that_does_not_report_takes_no_job_and_the_rest_is_planned() -> None:
    hub = hub_with(0.7)
    seen = {
        bool(problem.water): {job.id.partition(".")[0] for job in problem.jobs}
        for changes in ({}, {"tank-1": {"level": None}})
        for problem in [
            build_problem(SITE, snapshot(SITE, changes), hub.board, forecast(SITE, hub.history, NOW), False)
        ]
    }
    assert seen == {True: {"irrigation", "parcel"}, False: {"parcel"}}


def test_exact_numbers_are_shortened_for_the_eye_alone() -> None:
    assert brief("5.414707836 kWh", 3) == "5.415 kWh"
    assert brief("0.75805909704", 4) == "0.7581"
    assert brief("1.80 EUR/kWh", 3) == "1.80 EUR/kWh"
    assert brief("none yet", 3) == "none yet"


def test_a_power_that_nobody_knows_is_not_called_idle() -> None:
    assert direction("battery", None) == "unknown"
    assert direction("battery", 0.0) == "idle"
    assert direction("battery", -500.0) == "discharging"


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("organics.1", "Organics 2"),
        ("lettuce-7.dose0.20260603", "Lettuce-7 dose 1"),
        ("lettuce-7.harvest", "Lettuce-7 harvest"),
        ("print-brackets.20260603", "Print-brackets"),
        ("pipe", "Pipe"),
    ],
)
def test_work_has_names_that_people_read(key: str, label: str) -> None:
    assert work_label(key) == label
