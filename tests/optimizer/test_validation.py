"""Every problem of a problem at once, in words that name the place."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given

from optimizer.problem import AssetId, Problem
from optimizer.validation import validate
from tests.optimizer.problems import problems, village

GOOD = village()
BATTERY, GENSET, WATER, CHARGER, JOB = (
    GOOD.batteries[0],
    GOOD.gensets[0],
    GOOD.water[0],
    GOOD.chargers[0],
    GOOD.jobs[0],
)

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
