"""Every problem of a problem at once, in words that name the place."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given

from optimizer.problem import AssetId, Departure, Feeder, Problem, Reserve, ShedTier, SplitJob, ThermalStore
from optimizer.validation import notices, validate
from tests.optimizer.problems import problems, village

GOOD = village()
BATTERY, GENSET, WATER, CHARGER, JOB = (
    GOOD.batteries[0],
    GOOD.gensets[0],
    GOOD.water[0],
    GOOD.chargers[0],
    GOOD.jobs[0],
)

PRESS = SplitJob(AssetId("press"), 3.0, 10, 2, 96, 50.0)
BOILER = ThermalStore(AssetId("boiler"), 4.0, (1.0,) * 96, 6.0, 3.0, 9.0, 0.02, (0.3,) * 96, 1.0, 2.0)
FEEDER = Feeder(AssetId("f"), (1.0,) * 96, (0.0,) * 96, (), (9.0,) * 96, (9.0,) * 96, 1.0)

BROKEN = {
    "load_kw: 0 slots": replace(GOOD, load_kw=()),
    "slot_ms: 0": replace(GOOD, slot_ms=0),
    "pv_kw: 95 slots, 96 are needed": replace(GOOD, pv_kw=GOOD.pv_kw[1:]),
    "pv_kw: 1 values are not a number or negative, first in slot 3: nan": replace(
        GOOD, pv_kw=(*GOOD.pv_kw[:3], nan, *GOOD.pv_kw[4:])
    ),
    "pv_kw: 1 values are not a number or negative, first in slot 0: -1.0": replace(GOOD, pv_kw=(-1.0, *GOOD.pv_kw[1:])),
    "critical_kw: above load_kw in 96 slots": replace(GOOD, critical_kw=tuple(kw + 1 for kw in GOOD.load_kw)),
    "problem: shed_price is inf": replace(GOOD, shed_price=inf),
    "grid.import_price: 90 slots": replace(GOOD, grid=replace(GOOD.grid, import_price=(0.3,) * 90)),
    "grid.available: 1 slots": replace(GOOD, grid=replace(GOOD.grid, available=(True,))),
    "battery-1: energy_kwh is 0.0": replace(GOOD, batteries=(replace(BATTERY, energy_kwh=0.0),)),
    "battery-1: soc_now_kwh is -1.0": replace(GOOD, batteries=(replace(BATTERY, soc_now_kwh=-1.0),)),
    "battery-1: soc_now_kwh is 130.0, more than": replace(GOOD, batteries=(replace(BATTERY, soc_now_kwh=130.0),)),
    "battery-1: limits 90.0 to 80.0": replace(GOOD, batteries=(replace(BATTERY, soc_min_kwh=90.0, soc_max_kwh=80.0),)),
    "battery-1: reserve_kwh is 119.0": replace(GOOD, batteries=(replace(BATTERY, reserve_kwh=119.0),)),
    "battery-1: charge_efficiency is 1.2": replace(GOOD, batteries=(replace(BATTERY, charge_efficiency=1.2),)),
    "genset-1: minimum load 40.0": replace(GOOD, gensets=(replace(GENSET, power_kw_min=40.0),)),
    "genset-1: start_price is nan": replace(GOOD, gensets=(replace(GENSET, start_price=nan),)),
    "pump-1: pump_kw is 0.0": replace(GOOD, water=(replace(WATER, pump_kw=0.0),)),
    "tank-1: level_now_kl is 31.0": replace(GOOD, water=(replace(WATER, level_now_kl=31.0),)),
    "tank-1: reserve 29.0": replace(GOOD, water=(replace(WATER, reserve_kl=29.0),)),
    "tank-1.lifeline_kl: above demand_kl": replace(GOOD, water=(replace(WATER, lifeline_kl=(9.0,) * 96),)),
    "charger-1: the deadline (slot 0) is in the past": replace(GOOD, chargers=(replace(CHARGER, until_slot=0),)),
    "charger-1: window 48 to 97": replace(GOOD, chargers=(replace(CHARGER, until_slot=97),)),
    "charger-1: window 50 to 50": replace(GOOD, chargers=(replace(CHARGER, from_slot=50, until_slot=50),)),
    "irrigation: the latest start (slot -1) is in the past": replace(GOOD, jobs=(replace(JOB, latest_slot=-1),)),
    "irrigation: starts 32 to 95": replace(GOOD, jobs=(replace(JOB, latest_slot=95),)),
    "irrigation: power_kw is empty": replace(GOOD, jobs=(replace(JOB, power_kw=(), water_kl=()),)),
    "irrigation: takes water but there is no tank": replace(GOOD, water=()),
    "genset-1: 2 assets have this id": replace(GOOD, gensets=(GENSET, GENSET)),
    "grid.import_price: tariff gap, 2 slots have no price, first slot 20": replace(
        GOOD, grid=replace(GOOD.grid, import_price=(0.3,) * 20 + (nan, nan) + (0.3,) * 74)
    ),
    "grid.export_price: tariff gap, 6 slots": replace(GOOD, grid=replace(GOOD.grid, export_price=(0.1,) * 90)),
    "grid: peak_price is -1.0": replace(GOOD, grid=replace(GOOD.grid, peak_price=-1.0)),
    "battery-1.present: 3 slots": replace(GOOD, batteries=(replace(BATTERY, present=(True,) * 3),)),
    "battery-1.trip_kwh: 1 values": replace(GOOD, batteries=(replace(BATTERY, trip_kwh=(-1.0, *(0.0,) * 95)),)),
    "battery-1: a departure (slot 0) is in the past": replace(
        GOOD, batteries=(replace(BATTERY, departures=(Departure(0, 5.0, 1.0),)),)
    ),
    "battery-1: a departure (slot 97) is beyond": replace(
        GOOD, batteries=(replace(BATTERY, departures=(Departure(97, 5.0, 1.0),)),)
    ),
    "battery-1: 2 departures in slot 4": replace(
        GOOD, batteries=(replace(BATTERY, departures=(Departure(4, 5.0, 1.0), Departure(4, 6.0, 1.0))),)
    ),
    "battery-1: departure with 150.0 kWh": replace(
        GOOD, batteries=(replace(BATTERY, departures=(Departure(4, 150.0, 1.0),)),)
    ),
    "genset-1: ramp_kw is -1.0": replace(GOOD, gensets=(replace(GENSET, ramp_kw=-1.0),)),
    "genset-1: power_now_kw is 5.0, but": replace(GOOD, gensets=(replace(GENSET, power_now_kw=5.0),)),
    "press: window 90 to 96 has no room": replace(GOOD, split_jobs=(replace(PRESS, earliest_slot=90),)),
    "press: the deadline (slot 0) is in the past": replace(GOOD, split_jobs=(replace(PRESS, until_slot=0),)),
    "boiler.cop: 1 slots": replace(GOOD, thermal=(replace(BOILER, cop=(1.0,)),)),
    "boiler: comfort band 9.0 to 3.0": replace(GOOD, thermal=(replace(BOILER, low_kwh=9.0, high_kwh=3.0),)),
    "boiler: loss_per_h is 5.0": replace(GOOD, thermal=(replace(BOILER, loss_per_h=5.0),)),
    "shed tier 'a': 2 tiers": replace(GOOD, shed_tiers=(ShedTier("a", (0.0,) * 96, 1.0),) * 2),
    "critical_kw and shed tiers: above load_kw": replace(GOOD, shed_tiers=(ShedTier("a", (99.0,) * 96, 1.0),)),
    "feeder f: x is no asset": replace(GOOD, feeders=(replace(FEEDER, assets=(AssetId("x"),)),)),
    "feeder f: load_kw: above load_kw": replace(GOOD, feeders=(replace(FEEDER, load_kw=(99.0,) * 96),)),
    "reserve: outage_slots is -1": replace(GOOD, reserve=Reserve((0.0,) * 96, 1.0, -1)),
    "pump-1: 2 assets have this id": replace(GOOD, gensets=(replace(GENSET, id=AssetId("pump-1")),)),
}


@pytest.mark.parametrize("words", sorted(BROKEN))
def test_a_broken_problem_is_named(words: str) -> None:
    found = validate(BROKEN[words])
    assert any(problem.startswith(words) for problem in found), found


def test_all_problems_are_told_at_once() -> None:
    both = replace(GOOD, pv_kw=GOOD.pv_kw[1:], batteries=(replace(BATTERY, energy_kwh=0.0),))
    assert len(validate(both)) == 2


@given(problems())
def test_valid_problems_have_none(problem: Problem) -> None:
    assert validate(problem) == []


def test_a_charge_outside_its_limits_is_told_but_planned() -> None:
    low = replace(GOOD, batteries=(replace(BATTERY, soc_now_kwh=4.0),))
    assert validate(low) == []
    assert notices(low)[0].startswith("battery-1: soc_now_kwh is 4.0, below soc_min_kwh 9.6")
    assert notices(GOOD) == []
