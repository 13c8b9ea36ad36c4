"""A digester and a yard in a site file: gas is burnt when power is dear, waste is processed before it is too much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from controller.civil import day_start
from controller.daybook import Closing, Daybook
from controller.history import History
from controller.plan_waste import undigested_kg
from controller.shadow import Steps, play, play_rules, steps_of
from controller.site import Site, check
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant, iso
from devices.model import Commodity, DeviceKind, IntervalRecord, UsagePointId
from optimizer.check_whole import check_whole, energy_of
from optimizer.plan import Plan
from optimizer.problem import AssetId, Problem
from optimizer.waste import Digester, burn, within_gas
from optimizer.whole import solve_whole
from tests.controller.planned import BUS, STOP, Place, site_of
from tests.controller.scene import NOW, VILLAGE, snapshot

ENGINE, DIGESTER = AssetId("gas-engine"), AssetId("digester-1")
GAS = f"""
[[digester]]
id = "digester-1"
engine = "gas-engine"
sensor = "gas-1"
feed = [ {{ at = "08:00", kg = 90.0 }}, {{ at = "16:00", kg = 60.0 }} ]
yield_m3_per_kg = 0.4
decay_per_day = 0.06
holder_m3 = 40.0
holder_min_m3 = 4.0
m3_per_kwh = 0.55
gas_value = 0.1

[[device]]
id = "gas-1"
kind = "sensor"
driver = "profile:level_4_20ma"
{BUS}unit = 115

[[device]]
id = "gas-engine"
kind = "genset"
driver = "profile:dse73xx"
{BUS}unit = 116
[device.ratings]
power_w_max = 12000
power_w_min = 5000
fuel_l = 1
fixed_price_per_h = 0
energy_price = 0
start_price = 0.5
min_up_ms = 0
min_down_ms = 0
"""
YARD = f"""
[[machine]]
id = "shredder-1"
kind = "shredder"
hours = ["07:00", "20:00"]

[[yard]]
id = "organics"
held_kg = 300
counted_at = "{iso(Instant(NOW - HOUR_MS))}"
arrives_kg_per_day = 480
most_kg = 560
machine = "shredder"
kg_per_h = 100
power_w = 4000
skip_price = 60
"""
READ = {"gas-1": {"level": 0.6}, "gas-engine": {"W": 0.0, "running": 0.0}}


@pytest.fixture(scope="module")
def place() -> Place:
    one = Place.at(site_of(GAS + YARD))
    one.plan(READ)
    return one


def test_gas_is_burnt_in_the_dear_hours_within_what_the_holder_has(place: Place) -> None:
    problem, plan = place.planned()
    engine = plan.engines[DIGESTER]
    assert sum(engine.kw) > 0
    assert max(engine.gas_m3) <= 40.0 + 1e-6
    price = problem.grid.import_price
    burnt = sum(kw * one for kw, one in zip(engine.kw, price, strict=True)) / sum(engine.kw)
    assert burnt > sum(price) / len(price), "more in the evening than at noon"
    assert [step.power_w for step in plan.units[ENGINE]] == [-round(kw * 1000) for kw in engine.kw]
    spec = place.hub.config.site.waste.digesters[0]
    assert undigested_kg(spec, "Europe/Berlin", problem.start) == pytest.approx(150.0 / 0.06, rel=0.05)


def test_the_hub_sets_the_engine_as_planned_and_judges_the_plan_with_its_power(place: Place) -> None:
    problem, plan = place.planned()
    assert place.hub.planning.used, place.hub.planning.note
    asked, rest = energy_of(problem, plan)
    assert ENGINE not in rest.units
    assert play(asked, steps_of(rest)).cost <= play_rules(asked).cost + 0.02
    running = place.hub
    running.planning.plan = replace(
        plan, start=Instant(place.now - next(s for s, on in enumerate(plan.units[ENGINE]) if on.on) * plan.slot_ms)
    )
    place.tick(READ)
    value, reason = place.setpoint("gas-engine")
    assert -12_000 <= value <= -5_000
    assert "gas is burnt" in reason
    place.tick({**READ, "gas-1": {"level": 0.09}})
    assert place.setpoint("gas-engine") == (0.0, "interlock: digester-1 has 3.6 m3 of gas")
    running.planning.plan = None
    place.tick({**READ, "gas-1": {"level": 0.95}})
    assert place.setpoint("gas-engine") == (-12_000.0, "default: the gas holder is 95% full")
    running.planning.plan = plan


def test_a_warm_re_plan_keeps_the_engine_and_the_checker_sees_a_forged_one(place: Place) -> None:
    problem, plan = place.planned()
    warm = solve_whole(problem, STOP, 0, plan)
    assert isinstance(warm, Plan)
    assert check_whole(problem, warm) == []
    assert warm.engines == plan.engines
    engine = replace(plan.engines[DIGESTER], kw=(12.0,) * problem.slots)
    assert {one.rule for one in check_whole(problem, replace(plan, engines={DIGESTER: engine}))} >= {
        "gas_units",
        "gas_balance",
    }
    assert check_whole(problem, replace(plan, engines={}))[0].rule == "gas_shape"


def closed(site: Site, problem: Problem, made: Mapping[str, int]) -> Closing:
    """Returns a day on which these sets made so much in a slot at noon [Wh], and nothing else ever changed."""
    begun = day_start(site.timezone, NOW)
    days, history = Daybook(site), History(site)
    days.asked(problem)
    for at in range(begun, begun + DAY_MS + 1, SLOT_MS):
        days.mark(snapshot(site, now=Instant(at)), island=False, steps=Steps({}, {}))
    kinds = (DeviceKind.METER, DeviceKind.PV, DeviceKind.GRID)
    points = [(str(device.id), Commodity.ENERGY) for kind in kinds for device in site.of_kind(kind)]
    points += [
        (str(one), Commodity.WATER) for device in site.of_kind(DeviceKind.WATER_METERS) for one in device.channels
    ]
    end = Instant(begun + DAY_MS)
    for at in range(begun, end, SLOT_MS):
        noon = [(name, Commodity.ENERGY) for name in made] if at == begun + DAY_MS // 2 else []
        history.add(
            (
                IntervalRecord(
                    UsagePointId(name), what, 1, 1, Instant(at), Instant(at + SLOT_MS), 0, 0, 0, made.get(name, 0)
                )
                for name, what in (*points, *noon)
            ),
            Instant(end + HOUR_MS),
        )
    closing = days.close(history, Instant(end + HOUR_MS))
    assert closing is not None
    return closing


def test_gas_that_is_burnt_is_not_paid_for_as_diesel_and_is_there_for_all_who_are_compared(place: Place) -> None:
    problem, _ = place.planned()
    site = place.hub.config.site
    idle, gas, diesel = (closed(site, problem, made) for made in ({}, {"gas-engine": 2_000}, {"genset-1": 2_000}))
    assert idle.result.metered is not None
    assert gas.result.metered == idle.result.metered, "its rating says energy_price = 0"
    ratings = next(one.ratings for one in site.devices if one.id == "genset-1")
    cost = 2.0 * ratings["energy_price"] + 0.25 * ratings["fixed_price_per_h"]
    assert diesel.result.metered == pytest.approx(idle.result.metered + cost)
    assert gas.problem is not None
    assert gas.problem.gas == ()
    assert max(gas.problem.pv_kw) == 8.0
    assert gas.result.plan is not None
    assert idle.result.plan is not None
    assert gas.result.plan < idle.result.plan, "plan and rules have its energy, as the meters had"


def test_with_less_gas_than_expected_the_planned_runs_end_sooner() -> None:
    digester = Digester(DIGESTER, 0.4, 0.06, 2_500.0, 10.0, 4.0, 40.0, 12.0, 5.0, 0.55, 0.5)
    made, kw = (0.5,) * 8, (0.0, 12.0, 12.0, 12.0, 12.0, 12.0, 12.0, 0.0)
    kept = within_gas(digester, made, kw, 0.25)
    assert kept[:5] == kw[:5]
    assert sum(kept) < sum(kw)
    assert all(one == 0.0 or one >= 5.0 for one in kept)
    assert min(burn(digester, made, kept, 0.25).gas_m3) >= 4.0 - 1e-9


def test_the_yard_is_processed_before_it_is_full_and_an_old_weighing_says_nothing(place: Place) -> None:
    runs = [item for item in place.hub.work.list(place.now) if item.key.startswith("organics.")]
    assert len(runs) >= 2
    assert all(item.machine == "shredder-1" for item in runs)
    held = 300.0
    for hour in range(24):
        at = place.now + hour * HOUR_MS
        held += 20.0 - sum(200.0 for item in runs if at <= item.ends < at + HOUR_MS)
        assert held <= 560.0 + 20.0, f"hour {hour}: {held} kg"
    old = YARD.replace(iso(Instant(NOW - HOUR_MS)), iso(Instant(NOW - 20 * DAY_MS)))
    stale = Place.at(site_of(old))
    stale.plan({})
    stale.tick({}, 60_000)
    assert [one.key for one in stale.hub.work.left_out] == ["organics"]
    assert "weigh it" in stale.hub.work.left_out[0].why


def test_every_fault_of_waste_is_told_with_its_cure() -> None:
    text = VILLAGE.read_text() + (GAS + YARD).replace('engine = "gas-engine"', 'engine = "gas-motor"').replace(
        "holder_min_m3 = 4.0", "holder_min_m3 = 44.0"
    )
    text = text.replace('machine = "shredder"', 'machine = "mill"').replace("kg_per_h = 100", "kg_per_h = 900")
    text = text.replace('counted_at = "2026', 'counted_at = "26')
    _, problems = check(text, "site.toml")
    assert sorted(problem.code for problem in problems) == ["SITE-023", "SITE-110", "SITE-230", "SITE-232", "SITE-233"]
    assert "'gas-engine'" in next(problem for problem in problems if problem.code == "SITE-230").fix
