"""A pressure zone in a site file: its table beside it, its pumps planned with the village's energy, set by the hub."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from controller.site import Site, check, load
from optimizer import zone_file
from optimizer.check_whole import check_whole
from optimizer.codec import decode, encode
from optimizer.names import AssetId
from optimizer.plan import Infeasible, Plan
from optimizer.whole import solve_whole
from optimizer.zones import Configuration, ZoneTable, ZoneTank
from tests.controller.planned import BUS, STOP, Place, without
from tests.controller.scene import VILLAGE

ONE, TWO = AssetId("pump-1"), AssetId("pump-2")
HILL = AssetId("hill")
ADDED = f"""
[[water_zone]]
id = "hill"
table = "hill.zone.json"
start_price = 0.1

[[device]]
id = "flow-1"
kind = "flow_meter"
driver = "profile:tuf_2000"
{BUS}unit = 119

[[device]]
id = "tank-2"
kind = "tank"
driver = "profile:level_4_20ma"
{BUS}unit = 120
ratings = {{ volume_l = 20000 }}

[[device]]
id = "pump-2"
kind = "pump"
driver = "profile:abb_acs"
{BUS}unit = 121
tank = "tank-2"
flow_meter = "flow-1"
ratings = {{ power_w = 2000, flow_lpm = 40, max_on_ms = 86400000, min_rest_ms = 0 }}
"""
READ = {"tank-1": {"level": 0.55}, "tank-2": {"level": 0.6}, "pump-2": {"on": 0.0, "W": 0.0}}


def a_table() -> ZoneTable:
    """A pump into the first tank, a booster with a drive from there into the second, which serves the taps."""
    ways = (
        Configuration(()),
        Configuration(((ONE, 1.0),)),
        Configuration(((TWO, 0.8),)),
        Configuration(((ONE, 1.0), (TWO, 0.8))),
    )
    levels, demand = ((0.0, 15.0, 30.0), (0.0, 10.0, 20.0)), (0.0, 1.0, 4.0)
    shape = (len(ways), 3, 3, 3)
    inflow, power = np.zeros((*shape, 2)), np.zeros(shape)
    for place in product(*(range(length) for length in shape)):
        running = dict(ways[place[0]].speeds)
        lifted, boosted = 4.0 * (ONE in running), 2.0 * (TWO in running)
        inflow[(*place, 0)] = lifted - 0.02 * levels[0][place[1]] * (ONE in running) - boosted
        inflow[(*place, 1)] = boosted - demand[place[3]]
        power[place] = 2.5 * (ONE in running) + 0.9 * (TWO in running)
    tanks = (ZoneTank(AssetId("tank-1"), 1.0, 29.0), ZoneTank(AssetId("tank-2"), 1.0, 19.5))
    return ZoneTable("hill", tanks, ways, levels, demand, inflow, power, np.full(shape, 25.0), 15.0)


def site_in(folder: Path) -> Site:
    (folder / "hill.zone.json").write_text(zone_file.to_text(a_table()))
    text = without(without(VILLAGE.read_text(), "[[work]]"), "[[field]]")
    return load(text + ADDED, str(folder / "site.toml"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    one = Place.at(site_in(tmp_path_factory.mktemp("site")))
    one.plan(READ)
    return one


def test_the_zone_is_planned_with_the_energy_and_shown_as_pumps_and_tanks(place: Place) -> None:
    problem, plan = place.planned()
    assert problem.water == (), "what the zone feeds is not planned a second time"
    run = plan.zones[HILL]
    assert place.hub.planning.forecast is not None
    more = sum(problem.zones[0].demand_kl_per_h) / 4 - sum(place.hub.planning.forecast.water_kl)
    assert more == pytest.approx(2.4), "what the irrigation takes is demand of the zone"
    assert {"tank-1", "tank-2"} == set(plan.tank_kl)
    assert min(plan.tank_kl[AssetId("tank-1")]) >= 1.0
    assert plan.tank_kl[AssetId("tank-2")][-1] >= 0.9 * 12.0, "it ends about as full as it began"
    net = [load - pv for load, pv in zip(problem.load_kw, problem.pv_kw, strict=True)]
    pumping = sum(kw * one for kw, one in zip(run.power_kw, net, strict=True)) / sum(run.power_kw)
    assert pumping < sum(net) / len(net), "it pumps when the sun leaves power over"
    assert any(step.on and step.speed == 0.8 for step in plan.units[TWO])
    assert decode(Plan, encode(plan)) == plan


def test_the_hub_sets_pumps_to_their_configuration(place: Place) -> None:
    _, plan = place.planned()
    assert place.hub.planning.used, place.hub.planning.note
    slot = next(slot for slot, step in enumerate(plan.units[TWO]) if step.on)
    place.hub.planning.plan = replace(plan, start=type(plan.start)(place.now - slot * plan.slot_ms))
    place.tick(READ)
    value, reason = place.setpoint("pump-2")
    assert value == 0.8
    assert "hill: " in reason
    place.hub.planning.plan = plan


def test_a_warm_re_plan_goes_on_and_the_checker_sees_forged_pumps(place: Place) -> None:
    problem, plan = place.planned()
    warm = solve_whole(problem, STOP, 0, plan)
    assert isinstance(warm, Plan)
    assert check_whole(problem, warm) == []
    assert warm.zones[HILL].choice == plan.zones[HILL].choice
    still = tuple(replace(step, on=False, power_w=0) for step in plan.units[TWO])
    assert check_whole(problem, replace(plan, units={**plan.units, TWO: still}))[0].rule == "zone_units"
    full = replace(plan.zones[HILL], choice=(3,) * problem.slots)
    assert check_whole(problem, replace(plan, zones={HILL: full}))[0].rule == "tank"
    assert check_whole(problem, replace(plan, zones={}))[0].rule == "zone_shape"


def test_a_zone_that_cannot_be_kept_says_which_tank(place: Place) -> None:
    problem, _ = place.planned()
    thirsty = replace(problem.zones[0], demand_kl_per_h=(4.0,) * problem.slots)
    found = solve_whole(replace(problem, zones=(thirsty,)), STOP, 0)
    assert isinstance(found, Infeasible)
    assert any("tank-2 would run dry" in reason for reason in found.reasons)


def test_a_table_that_is_missing_or_names_strangers_is_told_with_its_cure(tmp_path: Path) -> None:
    text = VILLAGE.read_text() + ADDED
    _, problems = check(text, str(tmp_path / "site.toml"))
    assert [problem.code for problem in problems] == ["SITE-206"]
    assert "atoll water table" in problems[0].fix
    (tmp_path / "hill.zone.json").write_text("{}")
    assert "schema" in check(text, str(tmp_path / "site.toml"))[1][0].message
    (tmp_path / "hill.zone.json").write_text(zone_file.to_text(a_table()).replace("tank-2", "tank-9"))
    _, problems = check(text, str(tmp_path / "site.toml"))
    assert [(problem.code, problem.seen) for problem in problems] == [("SITE-207", "tank-9")]
