"""Load on switches: off by tier in a shortage, back in order and within the supply, and served when nobody speaks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.cycle import Hold
from controller.hub_events import Audit
from controller.shedding import LEAST_OFF_MS, by_plan, by_ration
from controller.site import check
from controller.storm_view import storm_view
from devices.clock import MINUTE_MS, Instant
from devices.leases import output_of
from devices.model import DeviceId
from optimizer.plan import Plan
from optimizer.problem import Stop
from optimizer.solve import solve
from optimizer.survival import RATIONS
from tests.controller.planned import BUS, Place, site_of
from tests.controller.scene import VILLAGE
from tests.optimizer.problems import bare

SWITCHES = "".join(
    f"""
[[device]]
id = "{name}"
kind = "relay"
driver = "profile:relay_4ch"
{BUS}unit = {unit}
hazardous = false
behind = "{home}"
shed = {{ power_w = {power_w}, on = "{on}" }}
"""
    for name, unit, home, power_w, on in (
        ("cut-02", 121, "home-02", 3_000, "shed"),
        ("cut-03", 122, "home-03", 1_500, "shed"),
        ("plug-08", 123, "home-08", 2_500, "served"),
    )
)
DARK = {"grid-1": {"V": 0.0, "W": 0.0}}
NAMES = ("cut-02", "cut-03", "plug-08")


@pytest.fixture
def place() -> Place:
    return Place.at(site_of(SWITCHES))


def served(place: Place) -> dict[str, bool]:
    """Returns for each switch whether its load is there, as the hub has decided."""
    values = {name: place.setpoint(name)[0] for name in NAMES}
    return {name: (value == 1.0) is (name == "plug-08") for name, value in values.items()}


def at(soc: float, **more: dict[str, float | None]) -> dict[str, dict[str, float | None]]:
    return {"grid-1": dict(DARK["grid-1"]), "battery-1": {"soc": soc, "W": -5_000.0}, **more}


def test_nobody_is_switched_off_on_an_ordinary_day_or_by_a_dead_hub(place: Place) -> None:
    place.tick({})
    assert all(served(place).values())
    assert place.setpoint("cut-02") == (0.0, "default: its load is served")
    assert place.setpoint("plug-08") == (1.0, "default: its load is served")
    for name, rest in zip(NAMES, (0.0, 0.0, 1.0), strict=True):
        spec = place.hub.config.site.device(name)
        assert spec is not None
        assert (output_of(spec, "on", 1_000).default, output_of(spec, "on", 1_000).fallback) == (rest, rest)


def test_a_ration_takes_the_cheapest_tier_first_and_lifelines_all_that_can_be_switched(place: Place) -> None:
    switches = place.hub.config.site.energy.switches
    assert [one.device for one in switches] == ["cut-02", "cut-03", "plug-08"], "west-row is cheaper than east-row"
    off = [set(by_ration(switches, ration)) for ration in RATIONS]
    assert off == [set(), set(), {"cut-02"}, set(NAMES)]
    who = {row.name: row.off for row in storm_view(place.hub, place.now).rations}
    assert who["half"] == ("cut-02",)
    assert "cut-02" not in who["machines"], "a tier goes when its turn comes, not with the machines"


def test_an_island_sheds_by_its_ration_and_tells_it_in_the_log(place: Place) -> None:
    place.tick(at(0.5))
    assert all(served(place).values())
    place.hub.emergency.ration = 2
    effects = place.tick(at(0.5))
    assert served(place) == {"cut-02": False, "cut-03": True, "plug-08": True}
    assert place.setpoint("cut-02") == (1.0, "emergency: load is shed: ration half")
    told = [dict(one.body)["text"] for one in effects if isinstance(one, Audit) and one.kind == "shed"]
    assert told == ["off: cut-02 (west-row, 3.0 kW) (ration half)"]
    place.hub.emergency.ration = 3
    place.tick(at(0.5))
    assert not any(served(place).values())


def test_before_the_batteries_are_empty_every_tier_goes_and_comes_back_dearest_first_within_the_supply(
    place: Place,
) -> None:
    low = at(0.12)
    place.tick(low)
    place.tick(low)
    assert not any(served(place).values())
    assert place.setpoint("plug-08")[1] == "emergency: load is shed: the batteries are nearly empty"
    place.tick(at(0.2), LEAST_OFF_MS)
    assert not any(served(place).values()), "a little fuller is not enough"
    back: list[tuple[int, str]] = []
    begun = place.now
    for minute in range(8):
        place.tick({}, MINUTE_MS)  # the outside is there again
        there = {name for _, name in back}
        back += [(minute, name) for name, on in served(place).items() if on and name not in there]
    assert [name for _, name in back] == ["plug-08", "cut-02", "cut-03"], back
    assert back[0][0] < back[1][0], "the dearer tier comes a stage earlier"
    assert place.now - begun == 8 * MINUTE_MS


def test_what_the_supply_cannot_start_stays_off_and_says_so(place: Place) -> None:
    low = at(0.12)
    place.tick(low)
    place.tick(low)
    homes = {f"home-{number:02d}": {"W": 2_900.0} for number in range(1, 14)}
    place.tick(homes, LEAST_OFF_MS + MINUTE_MS)
    place.tick(homes, MINUTE_MS)
    assert not any(served(place).values())
    assert "it cannot come back yet: its start needs 6000 W" in place.setpoint("cut-02")[1]


def test_a_hub_that_starts_anew_brings_back_in_order_what_the_last_one_shed(place: Place) -> None:
    shed = {"cut-02": {"on": 1.0}, "cut-03": {"on": 0.0}, "plug-08": {"on": 0.0}}
    place.tick(shed)
    assert served(place) == {"cut-02": False, "cut-03": True, "plug-08": False}
    assert place.setpoint("cut-02")[1] == "emergency: load is shed: shed before the restart"
    place.tick({}, LEAST_OFF_MS)
    for _ in range(4):
        place.tick({}, MINUTE_MS)
    assert all(served(place).values())


def test_a_plan_sheds_whole_switches_of_its_tier_as_near_as_they_come() -> None:
    plan = solve(bare((5.0,) * 4, (2.0,) * 4, island=False), Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    switches = site_of(SWITCHES).energy.switches
    for kw, names in ((0.0, set()), (1.0, {"cut-03"}), (3.0, {"cut-02"}), (4.4, {"cut-02", "cut-03"})):
        shedding = replace(plan, shed_by_tier_kw={"west-row": (kw,) * 4})
        assert set(by_plan(switches, shedding, 2)) == names, kw


def test_an_operator_and_a_lock_out_come_before_shedding(place: Place) -> None:
    place.hub.holds[DeviceId("cut-02")] = Hold(
        DeviceId("cut-02"), 0.0, Instant(place.now + 60 * MINUTE_MS), "dialysis at home", "ana"
    )
    low = at(0.12)
    place.tick(low)
    place.tick(low)
    assert place.setpoint("cut-02") == (0.0, "operator: ana: dialysis at home")
    assert served(place) == {"cut-02": True, "cut-03": False, "plug-08": False}


def test_a_switch_of_a_critical_meter_or_of_an_appliance_is_refused() -> None:
    text = VILLAGE.read_text() + SWITCHES.replace('"home-03"', '"clinic"')
    text = text.replace('device = "washer-1"', 'device = "cut-02"', 1)
    _, problems = check(text, "site.toml")
    found = {problem.code: problem for problem in problems}
    assert set(found) == {"SITE-158", "SITE-159"}
    assert "no shed tier" in found["SITE-158"].message
