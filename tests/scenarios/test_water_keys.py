"""Wells, drives, desalination, two tanks and rationing: written in a site file, planned and followed by the hub."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.history import History
from controller.shadow import play, play_rules, steps_of
from controller.shortage_watch import STEP_MS, ShortageWatch
from controller.site import check
from devices.clock import Instant, floor_to
from optimizer.problem import AssetId
from tests.controller.planned import BUS, Place, site_of
from tests.controller.scene import NOW, VILLAGE, snapshot

PUMP = 'tank = "tank-1"\nratings = { power_w = 3000, flow_lpm = 90, max_on_ms = 14400000, min_rest_ms = 60000 }'
RATINGS = "max_on_ms = 14400000, min_rest_ms = 60000 }"
ISLAND_WATER = f"""
[[well]]
id = "well-1"
yield_lpm = 8
storage_l = 4000
limit_l_per_day = 1500
sensor = "depth-1"

[[device]]
id = "depth-1"
kind = "sensor"
driver = "profile:level_4_20ma"
{BUS}unit = 110

[[device]]
id = "desal-1"
kind = "pump"
driver = "profile:relay_pump"
{BUS}unit = 111
tank = "raw-1"
recovery = 0.4
min_run_ms = 3600000
start_price = 0.5
ratings = {{ power_w = 7000, flow_lpm = 33, {RATINGS}

[[device]]
id = "raw-1"
kind = "tank"
driver = "profile:level_4_20ma"
{BUS}unit = 112
reserve_fraction = 0.1
level_value = 0.4
ratings = {{ volume_l = 12000 }}

[[device]]
id = "booster-1"
kind = "pump"
driver = "profile:abb_acs"
{BUS}unit = 113
tank = "tank-1"
source = "raw-1"
flow_meter = "flow-1"
speed = [
    {{ speed = 0.5, flow_lpm = 40, power_w = 250 }},
    {{ speed = 0.75, flow_lpm = 65, power_w = 700 }},
]
ratings = {{ power_w = 1600, flow_lpm = 90, {RATINGS}

[[device]]
id = "flow-1"
kind = "flow_meter"
driver = "profile:tuf_2000"
{BUS}unit = 119

[[water.tier]]
name = "gardens"
share = 0.5
price = 1.5
"""
LEVELS = {
    "tank-1": {"level": 0.45},
    "raw-1": {"level": 0.3},
    "depth-1": {"level": 0.5},
    "booster-1": {"on": 0.0, "W": 0.0},
    "desal-1": {"on": 0.0, "W": 0.0},
}
DESAL, BOOSTER, RAW, TANK = AssetId("desal-1"), AssetId("booster-1"), AssetId("raw-1"), AssetId("tank-1")


@pytest.fixture(scope="module")
def island() -> Place:
    """The village with a weak licensed well: what it does not give comes from the sea."""
    site = site_of(ISLAND_WATER, {PUMP: 'source = "well-1"\n' + PUMP})
    place = Place.at(site)
    place.plan(LEVELS)
    return place


def test_the_plan_runs_all_of_a_site_s_water_in_one_model_with_its_energy(island: Place) -> None:
    plan, problem = island.hub.planning.plan, island.problem
    assert plan is not None
    assert problem is not None
    assert {water.tank_id for water in problem.water} == {"tank-1", "raw-1"}
    assert {plant.id for plant in problem.plants} == {"pump-1", "desal-1", "booster-1"}
    pumped = sum(step.power_w for step in plan.units[AssetId("pump-1")]) / 3000 * 90 * 0.015
    assert pumped <= 1.5 + 1e-3, "the licence allows 1.5 m3 a day"
    assert min(plan.well_kl[AssetId("well-1")]) >= -1e-3
    assert {step.power_w for step in plan.units[AssetId("pump-1")]} <= {0, 3000}, "whole slots: the hub knows no other"
    desal = "".join("x" if step.on else "." for step in plan.units[DESAL])
    assert "x" in desal
    assert all(len(run) >= 4 for run in desal.rstrip("x").split(".") if run), "an hour at least, once it runs"
    sunny = [net for net, step in zip(_net(problem), plan.units[DESAL], strict=True) if step.on]
    assert sum(sunny) / len(sunny) < sum(_net(problem)) / problem.slots, "desalination waits for the sun"
    assert any(0 < step.power_w < 1600 for step in plan.units[BOOSTER]), "the drive runs slowly where it can"
    assert min(plan.tank_kl[TANK]) > 0


def _net(problem: object) -> list[float]:
    from optimizer.problem import Problem

    assert isinstance(problem, Problem)
    return [load - pv for load, pv in zip(problem.load_kw, problem.pv_kw, strict=True)]


def test_the_hub_sets_a_drive_to_the_planned_speed(island: Place) -> None:
    low = {**LEVELS, "tank-1": {"level": 0.36}, "raw-1": {"level": 0.9}, "depth-1": {"level": 0.0}}
    island.hub.planning.hasten("the tank is low", island.now, 0)
    plan = island.plan(low)
    assert island.hub.planning.used, island.hub.planning.note
    slot = next(slot for slot, step in enumerate(plan.units[BOOSTER][:8]) if 0 < step.power_w < 1600)
    if slot:
        island.tick(low, plan.start + slot * plan.slot_ms + 30_000 - island.now)
    value, reason = island.setpoint("booster-1")
    spec = island.hub.config.site.water.pumps["booster-1"]
    assert value == pytest.approx(spec.speed_at(plan.units[BOOSTER][slot].power_w))
    assert 0.5 <= value < 1.0
    assert "tank-1" in reason
    island.tick({**LEVELS, "raw-1": {"level": 0.05}})
    assert island.setpoint("booster-1") == (0.0, "interlock: raw-1 is at its reserve (5%)")
    island.tick({**LEVELS, "raw-1": {"level": None}})
    assert "not known" in island.setpoint("booster-1")[1]


def test_the_quarter_hour_model_knows_plants_and_the_plan_beats_the_rules(island: Place) -> None:
    plan, problem = island.hub.planning.plan, island.problem
    assert plan is not None
    assert problem is not None
    played, rules = play(problem, steps_of(plan)), play_rules(problem)
    assert played.cost < rules.cost
    for tank, level in played.level_kl.items():
        assert level == pytest.approx(plan.tank_kl[tank][-1], abs=0.6)
    assert min(rules.level_kl.values()) >= 0.0


def test_a_short_well_rations_gardens_before_anything_else() -> None:
    dry = {PUMP: 'source = "well-1"\n' + PUMP}
    well = (
        ISLAND_WATER.split("[[device]]", maxsplit=1)[0]
        .replace('sensor = "depth-1"\n', "")
        .replace("yield_lpm = 8", "yield_lpm = 3")
    )
    tier = "[[water.tier]]" + ISLAND_WATER.split("[[water.tier]]")[1]
    place = Place.at(site_of(well + tier, dry))
    plan, problem = place.plan({"tank-1": {"level": 0.06}}), place.problem
    assert problem is not None
    gardens, rest = (plan.violations.get(f"water:tank-1{tier}", 0.0) for tier in (":gardens", ""))
    assert rest > 0
    assert gardens / 1.5 == pytest.approx(sum(problem.water[0].tiers[0].kl), rel=1e-3), "gardens give all first"
    place.hub.planning.hasten("the tank is full", place.now, 0)
    assert not any("water:" in name for name in place.plan({"tank-1": {"level": 0.9}}).violations)
    assert problem.wells[0].level_now_kl == 0.0, "without a sensor a well is planned to give what flows in"


def test_a_well_is_planned_and_pumped_down_to_its_dry_level_and_no_further() -> None:
    text = ISLAND_WATER.replace("storage_l = 4000", "storage_l = 4000\ndry_fraction = 0.2")
    place = Place.at(site_of(text, {PUMP: 'source = "well-1"\n' + PUMP}))
    low = {**LEVELS, "tank-1": {"level": 0.3}}
    place.tick({**low, "depth-1": {"level": 0.35}})
    assert place.setpoint("pump-1")[0] == 1.0
    place.tick({**low, "depth-1": {"level": 0.25}, "pump-1": {"on": 1.0}})
    assert place.setpoint("pump-1")[0] == 1.0, "what runs goes on to the dry level"
    place.tick({**low, "depth-1": {"level": 0.19}})
    assert place.setpoint("pump-1") == (0.0, "interlock: well-1 is down to 19%")
    place.tick({**low, "depth-1": {"level": 0.28}})
    assert place.setpoint("pump-1")[0] == 0.0, "a tenth more has to come first"
    place.tick({**low, "depth-1": {"level": None}})
    assert "not known" in place.setpoint("pump-1")[1]
    fresh = Place.at(place.hub.config.site)
    fresh.plan({**LEVELS, "depth-1": {"level": 0.3}})
    assert fresh.problem is not None
    assert fresh.problem.wells[0].level_now_kl == pytest.approx(0.4)
    assert fresh.problem.wells[0].storage_kl == pytest.approx(3.2)


def test_every_fault_of_the_water_is_told_at_once_with_its_place_and_its_cure() -> None:
    text = VILLAGE.read_text().replace(PUMP, 'source = "wel-1"\n' + PUMP)
    text += ISLAND_WATER.replace('sensor = "depth-1"', 'sensor = "tank-1"').replace("share = 0.5", "share = 1.0")
    text = text.replace('source = "raw-1"', 'source = "tank-1"').replace(
        "reserve_fraction = 0.1", "reserve_fraction = 0.99"
    )
    text = (
        text.replace("power_w = 700 }", "power_w = 1500 }")
        + '[[water.tier]]\nname = "showers"\nshare = 0.2\nprice = 4\n'
    )
    site, problems = check(text, "site.toml")
    assert site is None
    assert {problem.code for problem in problems} == {"SITE-201", "SITE-202", "SITE-203", "SITE-204", "SITE-205"}
    assert sum(problem.code == "SITE-201" for problem in problems) == 2
    assert all(problem.fix and problem.line > 0 for problem in problems)
    source = next(problem for problem in problems if problem.seen == "wel-1")
    assert source.where.endswith(".source")
    assert "'well-1'" in source.fix


def test_a_batch_that_has_begun_is_followed_to_its_end() -> None:
    batch = ISLAND_WATER.replace(
        "recovery = 0.4\nmin_run_ms = 3600000\n", "phase = [" + "{ flow_lpm = 33, power_w = 7000 }," * 4 + "]\n"
    )
    place = Place.at(site_of(batch, {PUMP: 'source = "well-1"\n' + PUMP}))
    place.plan(LEVELS)
    running = {**LEVELS, "desal-1": {"on": 1.0, "W": 7000.0}}
    place.tick(running)
    place.hub.planning.hasten("again", place.now, 0)
    plan = place.plan(running, 2 * 900_000)
    assert place.problem is not None
    plant = next(one for one in place.problem.plants if one.id == DESAL)
    assert plant.phase_now == 2
    assert [step.on for step in plan.units[DESAL]][:2] == [True, True]
    assert replace(plant, phase_now=0).rest_slots == 0


def test_a_least_run_lasts_no_longer_than_the_well() -> None:
    site = site_of(ISLAND_WATER, {PUMP: 'source = "well-1"\nmin_run_ms = 3600000\n' + PUMP})
    kept: dict[float, int] = {}
    for depth in (0.9, 0.5, 0.1):
        place = Place.at(site)
        place.plan({**LEVELS, "pump-1": {"on": 0.0, "W": 0.0}})
        place.hub.planning.hasten("the pump runs", place.now, 0)
        place.plan({**LEVELS, "pump-1": {"on": 1.0, "W": 3000.0}, "depth-1": {"level": depth}})
        assert place.problem is not None
        kept[depth] = next(plant.keep_slots for plant in place.problem.plants if plant.id == "pump-1")
    assert kept == {0.9: 2, 0.5: 1, 0.1: 0}, "of four slots: 90 L/min are taken, 8 flow in, the full well holds 4 m3"


def test_a_tank_that_only_a_pump_drinks_from_is_never_announced_as_short() -> None:
    site, watch = site_of(ISLAND_WATER, {PUMP: 'source = "well-1"\n' + PUMP}), ShortageWatch()
    begin = floor_to(NOW, STEP_MS * 2)
    for step in range(30):
        low = {"level": 0.9 - 0.02 * step}
        watch.look(site, snapshot(site, {"tank-1": low, "raw-1": low}, Instant(begin + step * STEP_MS)), History(site))
    assert [alarm.id for alarm in watch.conditions()] == ["shortage.tank-1"]
