"""Vehicles, heat, split jobs, tiers, feeders, reserve and capacity charge: planned, checked, with effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.check import check
from optimizer.plan import Infeasible, Mode, Plan, UnitStep
from optimizer.problem import (
    AssetId,
    Battery,
    Departure,
    Feeder,
    Genset,
    Problem,
    Reserve,
    ShedTier,
    SplitJob,
    Stop,
    ThermalStore,
)
from optimizer.solve import solve
from tests.optimizer.problems import bare, battery, rich_problems, village

STOP = Stop(seconds=None, gap=1e-6)
CAR, BOILER, PRESS, TRUNK = AssetId("car-1"), AssetId("boiler-1"), AssetId("press-1"), AssetId("trunk")
DAY = 24


def planned(problem: Problem) -> Plan:
    plan = solve(problem, STOP, 1)
    assert isinstance(plan, Plan), plan
    assert check(problem, plan) == []
    return plan


def day(pv: float = 0.0, *, island: bool = False) -> Problem:
    """24 slots of 15 min with 4 kW of load; power is cheap in slots 8 to 11."""
    problem = bare((4.0,) * DAY, (pv,) * DAY, island=island, critical=(1.0,) * DAY)
    price = tuple(0.1 if 8 <= t < 12 else 0.3 for t in range(DAY))
    return replace(problem, grid=replace(problem.grid, import_price=price, import_limit_kw=(30.0,) * DAY))


def car(**changes: object) -> Battery:
    """A car that is at home in slots 4 to 15, then drives 1 kWh per slot for four slots."""
    made = Battery(CAR, 40.0, 11.0, 0.0, 0.9, 0.9, 5.0, 2.0, 38.0, 0.0, 0.0, 0.1, 0.0)
    driving: dict[str, object] = {
        "present": tuple(4 <= t < 16 for t in range(DAY)),
        "trip_kwh": tuple(1.0 if 16 <= t < 20 else 0.0 for t in range(DAY)),
        "trip_price": 5.0,
        "departures": (Departure(16, 14.0, 3.0),),
        "forms_grid": False,
    }
    return replace(made, **{**driving, **changes})


def test_a_car_is_ready_when_it_leaves_and_charges_only_while_it_is_there() -> None:
    plan = planned(replace(day(), batteries=(car(),)))
    assert plan.soc_kwh[CAR][15] == pytest.approx(14.0, abs=0.01)
    assert plan.soc_kwh[CAR][19] == pytest.approx(10.0, abs=0.01)  # four kilowatt-hours driven
    steps = plan.storages[CAR]
    assert all(step.expected_w == 0 and step.mode is Mode.HOLD for t, step in enumerate(steps) if not 4 <= t < 16)
    assert sum(step.expected_w for step in steps[8:12]) == pytest.approx(4 * 10_000, rel=0.01)  # in the cheap hour
    assert plan.violations == {}
    assert steps[6].reason.constraint == "charging waits for surplus or cheaper power"
    assert (
        steps[9].reason.constraint
        == "grid energy at 0.100 is stored: it leaves 1 h 45 min later and needs 14.0 kWh then"
    )


def test_a_departure_that_cannot_be_met_is_named_and_priced() -> None:
    plan = planned(replace(day(), batteries=(car(charge_kw_max=1.0),)))
    reached = 5.0 + 12 * 0.25 * 0.9
    assert plan.violations[f"departure:{CAR}:16"] == pytest.approx(3.0 * (14.0 - reached), abs=0.02)


def test_a_trip_beyond_what_is_stored_is_named_and_priced() -> None:
    plan = planned(replace(day(), batteries=(car(charge_kw_max=0.0, departures=()),)))
    assert plan.violations == {f"trip:{CAR}": pytest.approx(5.0)}  # 5 kWh less a minimum of 2 for 4 of driving


def boiler(**changes: object) -> ThermalStore:
    made = ThermalStore(BOILER, 4.0, (1.0,) * DAY, 6.0, 3.0, 9.0, 0.02, (0.3,) * DAY, 1.0, 2.0)
    return replace(made, **changes)


def test_a_boiler_heats_when_power_is_cheap_and_stays_in_its_band() -> None:
    plan = planned(replace(day(), thermal=(boiler(),)))
    power = [step.power_w for step in plan.units[BOILER]]
    assert sum(power[8:12]) > 0.6 * sum(power)
    assert min(plan.heat_kwh[BOILER]) > 2.99
    assert "comfort:boiler-1" not in plan.violations


def test_a_broken_heater_costs_comfort_and_then_heat_both_named() -> None:
    plan = planned(replace(day(), thermal=(boiler(power_kw_max=0.0),)))
    assert plan.violations["comfort:boiler-1"] > 0.0
    assert plan.violations["heat:boiler-1"] > 0.0


def test_a_job_that_may_pause_takes_the_cheapest_slots() -> None:
    job = SplitJob(PRESS, 3.0, 6, 2, 20, 50.0)
    plan = planned(replace(day(), split_jobs=(job,)))
    on = [t for t, step in enumerate(plan.units[PRESS]) if step.on]
    assert set(range(8, 12)) <= set(on)
    assert len(on) == 6
    cheap = planned(replace(day(), split_jobs=(replace(job, skip_price=0.6),)))  # 0.1 a slot; it costs .075 and .225
    assert cheap.violations == {"skipped:press-1": pytest.approx(0.6 * 2 / 6)}


def test_load_is_shed_by_tier_cheapest_first() -> None:
    tiers = (ShedTier("comfort", (1.0,) * DAY, 0.5), ShedTier("work", (1.0,) * DAY, 2.0))
    problem = replace(day(pv=2.5, island=True), shed_tiers=tiers)
    plan = planned(problem)
    assert sum(plan.shed_by_tier_kw["comfort"]) == pytest.approx(DAY * 1.0)
    assert sum(plan.shed_by_tier_kw["work"]) == pytest.approx(DAY * 0.5)
    assert set(plan.violations) == {"shed:comfort", "shed:work"}


def test_a_capacity_charge_flattens_the_peak_above_what_was_reached() -> None:
    problem = replace(day(), batteries=(replace(battery(soc_now_kwh=20.0), terminal_value=0.25),))
    free = planned(problem)
    charged = planned(replace(problem, grid=replace(problem.grid, peak_price=5.0, peak_kw_so_far=6.0)))
    assert max(free.grid_kw) > 10.0
    assert max(charged.grid_kw) <= 6.002
    spare = planned(replace(problem, grid=replace(problem.grid, peak_price=5.0, peak_kw_so_far=40.0)))
    assert spare.grid_kw == free.grid_kw  # already paid for


def test_a_feeder_limit_is_kept_where_it_can_be_and_named_where_not() -> None:
    feeder = Feeder(TRUNK, (1.0,) * DAY, (0.0,) * DAY, (CAR,), (6.0,) * DAY, (0.0,) * DAY, 4.0)
    problem = replace(day(), batteries=(car(),), feeders=(feeder,))
    plan = planned(problem)
    assert max(step.expected_w for step in plan.storages[CAR]) <= 5_002
    assert "feeder:trunk" not in plan.violations
    tight = replace(feeder, import_limit_kw=(0.5,) * DAY)
    assert planned(replace(problem, feeders=(tight,))).violations["feeder:trunk"] >= 4.0 * DAY * 0.5 * 0.25 - 0.01


def test_solar_is_curtailed_on_the_feeder_that_cannot_carry_it() -> None:
    problem = replace(
        day(pv=9.0), feeders=(Feeder(TRUNK, (0.0,) * DAY, (9.0,) * DAY, (), (9.0,) * DAY, (5.0,) * DAY, 4.0),)
    )
    plan = planned(problem)
    assert plan.feeder_curtailed_kw[TRUNK] == pytest.approx((4.0,) * DAY)
    assert plan.violations == {}


ENGINES = (
    Genset(AssetId("genset-1"), 6.0, 1.0, 1.0, 0.4, 1.0, 1, 1, True, 8),
    Genset(AssetId("genset-2"), 6.0, 1.0, 1.0, 0.4, 1.0, 1, 1, False, 8),
)


def test_spinning_reserve_keeps_a_second_engine_running() -> None:
    problem = replace(day(island=True), gensets=ENGINES)
    one = planned(problem)
    assert not any(step.on for step in one.units[ENGINES[1].id])
    kept = replace(problem, reserve=Reserve((3.0,) * DAY, 20.0))
    assert all(step.on for step in planned(kept).units[ENGINES[1].id])
    cheap = planned(replace(problem, reserve=Reserve((3.0,) * DAY, 0.01)))
    assert cheap.violations["spinning"] == pytest.approx(0.01 * 1.0 * DAY * 0.25)


def test_energy_is_kept_for_an_outage_that_nobody_announced() -> None:
    store = replace(battery(soc_now_kwh=20.0), terminal_value=0.0, reserve_kwh=0.0)
    problem = replace(day(), batteries=(store,))
    problem = replace(problem, grid=replace(problem.grid, import_price=(0.5,) * 12 + (0.2,) * 12))
    assert planned(problem).soc_kwh[store.id][12] < store.soc_min_kwh + 0.01
    ready = planned(replace(problem, reserve=Reserve((0.0,) * DAY, 0.0, outage_slots=8, outage_price=1.0)))
    assert ready.soc_kwh[store.id][12] >= store.soc_min_kwh + 8 * 0.25 / 0.955 - 0.01
    assert "outage" not in ready.violations


def test_a_genset_ramps_no_faster_than_it_can() -> None:
    load = (1.0,) * 8 + (6.0,) * 16
    problem = replace(bare(load, (0.0,) * DAY, critical=(0.0,) * DAY), gensets=(ENGINES[0],))
    jump = [-s.power_w for s in planned(problem).units[ENGINES[0].id]]
    assert jump[8] - jump[7] == 5_000
    slow = planned(replace(problem, gensets=(replace(ENGINES[0], ramp_kw=1.0, power_now_kw=1.0),)))
    watts = [-s.power_w for s in slow.units[ENGINES[0].id]]
    assert max(b - a for a, b in pairwise(watts)) <= 1_002
    assert slow.violations["shed"] > 0.0
    forced = planned(replace(problem, gensets=(replace(ENGINES[0], ramp_kw=1.0, power_now_kw=1.0, ramp_price=0.1),)))
    assert forced.violations["ramp:genset-1"] == pytest.approx(0.1 * 4.0 * 0.25)


def test_fuel_is_a_limit_that_nothing_buys_off() -> None:
    problem = replace(day(island=True), load_kw=(4.0,) * DAY, critical_kw=(0.0,) * DAY)
    plan = planned(replace(problem, gensets=(replace(ENGINES[0], fuel_kwh=6.0),)))
    assert -sum(s.power_w for s in plan.units[ENGINES[0].id]) / 4_000 <= 6.01
    critical = replace(problem, critical_kw=(4.0,) * DAY, gensets=(replace(ENGINES[0], fuel_kwh=6.0),))
    answer = solve(critical, STOP, 1)
    assert isinstance(answer, Infeasible)
    assert answer.reasons[0].startswith("critical load: 18.000 kWh missing")


@settings(max_examples=30)
@given(rich_problems())
def test_any_valid_problem_with_everything_gets_a_valid_plan_or_a_refusal(problem: Problem) -> None:
    answer = solve(problem, STOP, 1)
    if isinstance(answer, Plan):
        assert check(problem, answer) == []
        assert answer.bound <= answer.cost + 1e-9
    else:
        assert answer.reasons
        assert all(reason.startswith(("critical load", "lifeline water")) for reason in answer.reasons)


def _unit(plan: Plan, unit: AssetId, t: int, change: Callable[[UnitStep], UnitStep]) -> Plan:
    steps = plan.units[unit]
    return replace(plan, units={**plan.units, unit: (*steps[:t], change(steps[t]), *steps[t + 1 :])})


MUTATIONS: dict[str, Callable[[Plan, int], Plan]] = {
    "trip": lambda p, t: replace(
        p, trip_unserved_kwh={CAR: (*p.trip_unserved_kwh[CAR][:t], 0.5, *p.soc_kwh[CAR][t + 1 :])}
    ),
    "heat": lambda p, t: replace(p, heat_kwh={BOILER: (*p.heat_kwh[BOILER][:t], 99.0, *p.heat_kwh[BOILER][t + 1 :])}),
    "unserved": lambda p, t: replace(p, heat_unserved_kwh={BOILER: (0.2,) * DAY}),
    "heater": lambda p, t: _unit(p, BOILER, t, lambda s: replace(s, power_w=s.power_w + 700)),
    "split": lambda p, t: _unit(p, PRESS, t, lambda s: replace(s, on=not s.on)),
    "tier": lambda p, t: replace(p, shed_by_tier_kw={"comfort": (0.7,) * DAY}),
    "feeder": lambda p, t: replace(p, feeder_curtailed_kw={TRUNK: (5.0,) * DAY}),
    "lost": lambda p, t: replace(p, heat_kwh={}),
    "cheaper": lambda p, t: replace(p, cost=p.cost - 0.01, bound=p.bound - 0.01),
}


@settings(max_examples=30)
@given(st.sampled_from(sorted(MUTATIONS)), st.integers(0, DAY - 1))
def test_a_changed_plan_of_a_rich_problem_is_caught(name: str, t: int) -> None:
    problem, plan = RICH
    assert check(problem, MUTATIONS[name](plan, t)), name


def _rich() -> tuple[Problem, Plan]:
    feeder = Feeder(TRUNK, (1.0,) * DAY, (1.0,) * DAY, (CAR,), (9.0,) * DAY, (9.0,) * DAY, 4.0)
    problem = replace(
        day(pv=1.0),
        batteries=(car(), battery()),
        thermal=(boiler(),),
        split_jobs=(SplitJob(PRESS, 3.0, 6, 2, 20, 50.0),),
        shed_tiers=(ShedTier("comfort", (1.0,) * DAY, 0.5),),
        feeders=(feeder,),
        reserve=Reserve((3.0,) * DAY, 0.5, 4, 0.1),
        gensets=(replace(ENGINES[0], ramp_kw=2.0, power_now_kw=3.0),),
    )
    return problem, planned(problem)


RICH = _rich()


def test_a_village_with_everything_gives_the_same_plan_twice() -> None:
    problem = replace(
        village(island=True), reserve=Reserve((3.0,) * 96, 0.5), split_jobs=(SplitJob(PRESS, 3.0, 6, 2, 90, 50.0),)
    )
    assert planned(problem) == planned(problem)
