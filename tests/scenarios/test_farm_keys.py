"""Fields, crops and food in a site file: watered as the soil asks, harvested when ripe, delivered while it lasts."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from controller.crop_work import harvest_of
from controller.field_water import wanted_l
from controller.missions import RunState
from controller.shortage_watch import STEP_MS
from controller.site import check
from devices.clock import DAY_MS, HOUR_MS, Instant, iso
from optimizer.problem import AssetId
from tests.controller.planned import BUS, Place, site_of, without
from tests.controller.scene import NOW, VILLAGE

YESTERDAY = Instant(NOW - DAY_MS)


def field(depletion_mm: float, looked_at: Instant = YESTERDAY, area_m2: float = 400.0) -> str:
    return f"""
[[field]]
id = "beds"
watered_by = "irrigation"
area_m2 = {area_m2}
soil = "sand"
root_m = 0.4
kcb = 0.9
cover = 0.6
depletion_mm = {depletion_mm}
looked_at = "{iso(looked_at)}"
"""


FARM = f"""
[[crew]]
id = "growers"
skills = ["grow"]
shift = ["07:00", "17:00"]

[[crop]]
id = "lettuce"
zero_c = 4.0
degree_days = 342
kg_per_tray = 2.5
keeps_days = 3

[[batch]]
id = "lettuce-7"
crop = "lettuce"
trays = 20
seeded_at = "{iso(Instant(NOW - 46 * DAY_MS))}"
dosing = [["11:00", "13:00"]]
skills = ["grow"]
store = "cool"

[[batch]]
id = "lettuce-8"
crop = "lettuce"
trays = 20
skills = ["grow"]

[[food_store]]
id = "cool"
held_kg = 20
counted_at = "{iso(Instant(NOW - DAY_MS))}"
capacity_kg = 200
"""
BOXES = "".join(
    f"""
[[delivery]]
id = "box-{number}"
kind = "parcel"
place = "school"
window = ["18:00", "20:00"]
mass_kg = 14.0
store = "cool"
"""
    for number in range(5)
)


def test_a_field_is_watered_as_its_soil_asks_for_and_spared_when_it_is_wet() -> None:
    dry, wet = Place.at(site_of(field(25.0))), Place.at(site_of(field(0.0)))
    plan = dry.plan({})
    run = AssetId("irrigation.20260603")
    assert dry.problem is not None
    job = next(job for job in dry.problem.jobs if job.id == run)
    assert sum(job.water_kl) == pytest.approx(dry.hub.board.litres[run] / 1000)
    assert 0.5 < sum(job.water_kl) <= 2.4, "water_l is the most of one run"
    assert any(step.on for step in plan.units[run])
    wet.plan({})
    assert wet.problem is not None
    assert run not in {job.id for job in wet.problem.jobs}
    wet.tick({}, 7 * HOUR_MS)
    state = next(one for one in wet.hub.board.runs() if one.key == run)
    assert state.state is RunState.SPARED
    assert run not in wet.hub.board.failed()


def test_what_was_given_counts_and_an_old_look_says_nothing() -> None:
    site = site_of(field(14.0, Instant(NOW - 3 * DAY_MS), 150.0))
    always, never = wanted_l(site, lambda _: True, NOW), wanted_l(site, lambda _: False, NOW)
    today = "irrigation.20260603"
    assert never[today] > always[today]
    assert wanted_l(site_of(field(20.0, Instant(NOW - 61 * DAY_MS))), lambda _: True, NOW) == {}


@pytest.fixture(scope="module")
def farm() -> Place:
    place = Place.at(site_of(FARM + BOXES))
    place.plan({})
    return place


def test_ripe_trays_are_cut_and_carried_by_the_growers_and_young_ones_planted(farm: Place) -> None:
    items = {item.key: item for item in farm.hub.work.list(farm.now)}
    assert {"lettuce-7.harvest", "lettuce-7.carry", "lettuce-8.plant", "lettuce-7.dose0.20260603"} <= items.keys()
    spec = farm.hub.config.site.farm
    assert spec.climate is not None
    band = harvest_of(spec.batches[0], spec.climate, "Europe/Berlin", farm.now)
    assert band.early <= band.likely <= band.late
    assert band.kg_low < 50.0 < band.kg_high
    young = harvest_of(replace(spec.batches[0], seeded_at=farm.now), spec.climate, "Europe/Berlin", farm.now)
    assert young.late - young.early > band.late - band.early, "a band narrows while the batch grows"
    assert spec.climate.mean_c(date(2026, 6, 3)) == 15.5
    assert items["lettuce-7.harvest"].starts > band.early - 900_000, "the slot in which it is ripe"
    assert items["lettuce-7.carry"].starts >= items["lettuce-7.harvest"].ends
    assert all(items[key].crew == "growers" for key in ("lettuce-7.harvest", "lettuce-8.plant"))


def test_rounds_bring_what_the_store_has_or_will_have_and_the_rest_waits_with_its_reason(farm: Place) -> None:
    farm.tick({}, 10 * 60_000)
    desk, carried = farm.hub.desk, farm.hub.work.items["lettuce-7.carry"].ends
    assert farm.hub.food.held_kg["cool"] == pytest.approx(20.0)
    today = {key: run for key, run in desk.runs.items() if key.startswith("box-") and key.endswith("0603")}
    assert len(today) == 5
    short = {key for key in today if key in desk.short}
    assert 1 <= len(short) <= 2, "20 kg are there and some 37 to come: four boxes of 14 kg at most"
    assert all("cool will not have 14 kg in time" in desk.short[key] for key in short)
    waits = [run for key, run in today.items() if key not in short and run.waiting.ready >= carried - 900_000]
    assert waits, "what is still on the plants is ready when it has been carried"
    assert desk.runs[min(short)].why == desk.short[min(short)]


def test_a_cold_room_is_cooled_with_the_sun_and_for_the_harvest_that_comes() -> None:
    room = f"""
[[device]]
id = "room-1"
kind = "thermal"
driver = "profile:heat_store"
{BUS}unit = 130
use = "cold"
ratings = {{ power_w_max = 1500, wh_per_k = 900, loss_w_per_k = 18, low_c = 1, high_c = 6, ambient_c = 20, cop = 2.2 }}
"""
    kept = FARM.replace("capacity_kg = 200", 'capacity_kg = 200\nroom = "room-1"').replace("trays = 20", "trays = 200")
    place = Place.at(site_of(kept + BOXES + room))
    seen = {"room-1": {"celsius": 4.0, "W": 0.0, "setpoint": 0.0}}
    plan = place.plan(seen)
    carried = place.hub.work.items["lettuce-7.carry"].ends
    problem = place.problem
    assert problem is not None
    store = next(one for one in problem.thermal if one.id == "room-1")
    slot = (carried - problem.start) // 900_000
    assert store.demand_kwh[slot] > 5.0, "some 380 kg, fifteen degrees too warm"
    assert sum(store.demand_kwh) == store.demand_kwh[slot]
    assert plan.heat_unserved_kwh[store.id][slot] < store.demand_kwh[slot]
    net = [load - pv for load, pv in zip(problem.load_kw, problem.pv_kw, strict=True)]
    watts = [step.power_w for step in plan.units[store.id]]
    cooling = sum(w * one for w, one in zip(watts, net, strict=True)) / sum(watts)
    assert cooling < sum(net) / len(net), "cold is made when the sun leaves power over"
    assert sum(watts[:slot]) > 0, "before the harvest comes"


def test_a_store_that_empties_is_announced_and_an_old_count_lets_nothing_out() -> None:
    stale = FARM.replace(iso(Instant(NOW - DAY_MS)), iso(Instant(NOW - 15 * DAY_MS)))
    place = Place.at(site_of(stale + BOXES))
    place.tick({})
    assert place.hub.food.held_kg["cool"] is None
    place.tick({}, 10 * 60_000)
    assert "counted more than 14 days ago" in place.hub.desk.short["box-0.20260603"]
    watch = place.hub.food.watch
    for step in range(5 * 8):  # a fifth of it goes every day
        at = Instant((NOW // STEP_MS + step) * STEP_MS)
        watch.take("cool", "food", at, 1.0 - 0.024 * step, 200.0, None)
    assert [one.id for one in watch.conditions()] == ["shortage.cool"]
    assert "food (cool) is likely short" in next(iter(watch.announced()))


def test_every_fault_of_the_farm_is_told_with_its_cure() -> None:
    village = without(VILLAGE.read_text(), "[[field]]")
    text = village.replace("t_min_c = [-2.0, -2.0, 1.0", "t_min_c = [-2.0, 8.0, 1.0") + field(5.0) + FARM + BOXES
    text = text.replace('watered_by = "irrigation"', 'watered_by = "irigation"')
    text = text.replace('crop = "lettuce"', 'crop = "letuce"', 1).replace('store = "cool"', 'store = "coool"', 1)
    text = text.replace('[["11:00", "13:00"]]', '[["13:00", "11:00"]]')
    _, problems = check(text, "site.toml")
    assert [problem.code for problem in problems].count("SITE-224") == 3
    assert {problem.code for problem in problems} == {"SITE-221", "SITE-223", "SITE-224"}
    _, problems = check(without(village, "[climate]") + field(5.0), "site.toml")
    assert [problem.code for problem in problems] == ["SITE-220"]
