"""The first slot's mode over many futures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer import engine, hedge
from optimizer.check import check
from optimizer.codec import decode, encode
from optimizer.formulation import formulate
from optimizer.plan import Mode, Plan
from optimizer.problem import AssetId, Battery, Feeder, Grid, Problem, Scenario, Stop
from optimizer.solve import solve
from optimizer.validation import validate
from tests.optimizer.problems import START, battery, village

HOUR = 3_600_000
EXACT = Stop(seconds=None, gap=0.0, nodes=None)
QUICK = Stop(seconds=None)
GRID = 0.6
"""Money that a grid step of the store (1.5 kWh) is worth, at the dearest: what the values may be off by."""
kilowatts = st.lists(st.floats(-60, 60), min_size=6, max_size=6)


def store(soc_kwh: float = 60.0) -> Battery:
    return replace(battery(soc_kwh), soc_min_kwh=0.0, soc_max_kwh=120.0)


def hours(net: list[float], limit: float = 45.0, soc_kwh: float = 60.0) -> Problem:
    n = len(net)
    load, pv = tuple(max(kw, 0.0) for kw in net), tuple(max(-kw, 0.0) for kw in net)
    price = tuple(0.2 + 0.15 * (t % 3) for t in range(n))
    grid = Grid((limit,) * n, (30.0,) * n, price, (0.05,) * n, (True,) * n, 1.0)
    return Problem(START, HOUR, load, load, pv, 5.0, grid, batteries=(store(soc_kwh),))


def scenario(net: list[float]) -> Scenario:
    return Scenario(tuple(max(kw, 0.0) for kw in net), tuple(max(-kw, 0.0) for kw in net))


def cut(problem: Problem) -> Problem:
    """Returns the problem without its first slot."""
    grid = problem.grid
    return replace(
        problem,
        load_kw=problem.load_kw[1:],
        critical_kw=problem.critical_kw[1:],
        pv_kw=problem.pv_kw[1:],
        grid=Grid(
            grid.import_limit_kw[1:],
            grid.export_limit_kw[1:],
            grid.import_price[1:],
            grid.export_price[1:],
            grid.available[1:],
            grid.over_limit_price,
        ),
    )


@settings(max_examples=40)
@given(kilowatts, st.integers(0, hedge.LEVELS))
def test_the_value_of_stored_energy_is_that_of_the_linear_program(net: list[float], at: int) -> None:
    problem = hours(net)
    tariff = hedge.tariff_of(problem)
    one = hedge.store_of(problem.batteries)
    level = 120.0 * at / hedge.LEVELS
    below = one.reserve_price * max(one.reserve_kwh - level, 0.0)  # of the first slot itself
    worth = hedge.values(one, tariff, np.array([net]), 1.0)[0] - below
    model, _ = formulate(replace(cut(problem), batteries=(store(level),)))
    exact = engine.run(model, EXACT, 1).bound
    assert exact - 1e-3 <= worth[at] <= exact + GRID  # a chord lies above what is convex


@settings(max_examples=40, deadline=None)
@given(kilowatts, st.lists(kilowatts, min_size=1, max_size=4), st.floats(5, 115), st.sampled_from([20.0, 45.0, 500.0]))
def test_a_hedged_plan_passes_the_check_and_its_mode_is_best_of_all_on_average(
    net: list[float], others: list[list[float]], soc_kwh: float, limit: float
) -> None:
    problem = replace(hours(net, limit, soc_kwh), scenarios=tuple(map(scenario, others)))
    plan = solve(problem, QUICK, 1)
    assert isinstance(plan, Plan)
    assert check(problem, plan) == []
    alone = solve(replace(problem, scenarios=()), QUICK, 1)
    assert isinstance(alone, Plan)
    assert plan.cost >= alone.cost - 1e-3  # under the forecast nothing beats the plan made for it
    money = [mean_money(problem, one) for one in (plan, alone)]
    assert money[0] <= money[1] + GRID


def mean_money(problem: Problem, plan: Plan) -> float:
    """Returns what a plan's first mode costs on average with perfect decisions after it, by linear programs alone."""
    step = plan.storages[problem.batteries[0].id][0]
    total = 0.0
    for future in (Scenario(problem.load_kw, problem.pv_kw), *problem.scenarios):
        actual = replace(problem, load_kw=future.load_kw, critical_kw=future.load_kw, pv_kw=future.pv_kw, scenarios=())
        one = problem.batteries[0]
        net = np.array([future.load_kw[0] - future.pv_kw[0]])
        store, tariff = hedge.store_of(problem.batteries), hedge.tariff_of(problem)
        power = float(hedge.loop_power(store, tariff, step.mode, step.limit_w / 1000, net, 1.0)[0])
        soc = one.soc_now_kwh + float(store.stored(np.array(power), 1.0))
        later = replace(cut(actual), batteries=(replace(one, soc_now_kwh=min(max(soc, 0.0), 120.0)),))
        model, _ = formulate(later)
        wear = max(-power, 0.0) * one.wear_price
        reserve = max(one.reserve_kwh - soc, 0.0) * one.reserve_price
        first = float(tariff.cost(0, net + power, 1.0)[0])
        total += first + wear + reserve + engine.run(model, EXACT, 1).bound
    return total / (1 + len(problem.scenarios))


def test_a_risk_of_a_dear_peak_keeps_energy_that_the_forecast_would_spend() -> None:
    net = [20.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    calm = replace(hours(net, limit=40.0, soc_kwh=25.0), batteries=(replace(store(25.0), terminal_value=0.0),))
    calm = replace(calm, batteries=(replace(calm.batteries[0], reserve_kwh=0.0),))
    risky = replace(calm, scenarios=(scenario([20.0, 65.0, 0.0, 0.0, 0.0, 0.0]),) * 3)
    first = [plan.storages[calm.batteries[0].id][0] for plan in map(planned, (calm, risky))]
    assert first[0].mode is Mode.FOLLOW
    assert first[1].mode in (Mode.HOLD, Mode.CHARGE)
    assert "saves" in first[1].reason.constraint
    assert planned(risky).status == "hedged"


def test_a_risk_of_a_peak_that_nobody_has_paid_for_keeps_energy_too() -> None:
    net = [20.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    one = replace(store(25.0), terminal_value=0.0, reserve_kwh=0.0)
    calm = replace(hours(net, limit=500.0, soc_kwh=25.0), batteries=(one,))
    calm = replace(calm, grid=replace(calm.grid, import_price=(0.2,) * 6, peak_price=30.0, peak_kw_so_far=40.0))
    risky = replace(calm, scenarios=(scenario([20.0, 65.0, 0.0, 0.0, 0.0, 0.0]),) * 3)
    paid = replace(risky, grid=replace(risky.grid, peak_kw_so_far=70.0))
    first = [plan.storages[one.id][0] for plan in map(planned, (calm, risky, paid))]
    assert first[0].mode is Mode.FOLLOW
    assert first[1].mode in (Mode.HOLD, Mode.CHARGE)
    assert first[2].mode is Mode.FOLLOW, "the month has paid for such a peak already"
    assert planned(risky).status == "hedged"


def planned(problem: Problem) -> Plan:
    plan = solve(problem, QUICK, 1)
    assert isinstance(plan, Plan)
    assert check(problem, plan) == []
    return plan


@pytest.mark.parametrize("island", [True, False])
@pytest.mark.parametrize("soc_kwh", [12.0, 60.0, 116.0])
def test_a_village_with_futures_gets_a_valid_plan(island: bool, soc_kwh: float) -> None:
    problem = village(island=island, soc_kwh=soc_kwh)
    futures = tuple(
        Scenario(tuple(kw * f for kw in problem.load_kw), tuple(kw * (2 - f) ** 2 for kw in problem.pv_kw))
        for f in (0.7, 0.9, 1.2, 1.6)
    )
    plan = planned(replace(problem, scenarios=futures))
    alone = planned(problem)
    if island:
        assert plan == alone


def test_a_feeder_stops_the_choice_only_where_a_store_is_on_it() -> None:
    problem = hours([20.0, 60.0, 80.0, -40.0, 5.0, 30.0])
    problem = replace(problem, scenarios=(scenario([30.0, 90.0] + [10.0] * 4),))
    many = (99.0,) * 6
    line = Feeder(AssetId("line"), problem.load_kw, (0.0,) * 6, (), many, many, 1.0)
    assert hedge.fits(replace(problem, feeders=(line,)))
    planned(replace(problem, feeders=(line,)))
    assert not hedge.fits(replace(problem, feeders=(replace(line, assets=(problem.batteries[0].id,)),)))


def test_two_batteries_share_what_is_chosen() -> None:
    small = replace(
        store(10.0), id="small", energy_kwh=40.0, soc_max_kwh=40.0, charge_kw_max=10.0, discharge_kw_max=5.0
    )
    problem = hours([20.0, 60.0, 80.0, -40.0, 5.0, 30.0])
    problem = replace(problem, batteries=(*problem.batteries, small), scenarios=(scenario([30.0, 90.0] + [10.0] * 4),))
    planned(problem)


@given(st.sampled_from(list(Mode)), st.floats(0, 40), st.floats(-80, 80), st.floats(0, 120), st.floats(1, 60))
def test_the_loop_defends_the_import_limit_as_far_as_the_battery_goes(
    mode: Mode, limit: float, net: float, soc: float, most: float
) -> None:
    problem = hours([net], limit=most, soc_kwh=soc)
    one, tariff = hedge.store_of(problem.batteries), hedge.tariff_of(problem)
    power = float(hedge.loop_power(one, tariff, mode, limit, np.array([net]), 1.0)[0])
    assert -1e-9 <= soc + float(one.stored(np.array(power), 1.0)) <= 120.0 + 1e-9
    ability = min(40.0, soc * one.discharge_efficiency)
    assert net + power <= max(most, net - ability) + 1e-6


def test_scenarios_are_checked_and_written_like_everything_else() -> None:
    problem = replace(hours([1.0] * 6), scenarios=(scenario([1.0] * 5), scenario([1.0] * 6)))
    assert validate(problem) == [
        "scenario 0: load_kw: 5 slots, 6 are needed",
        "scenario 0: pv_kw: 5 slots, 6 are needed",
    ]
    good = replace(problem, scenarios=problem.scenarios[1:])
    assert decode(Problem, encode(good)) == good


def test_energy_wanted_at_the_end_is_there_or_priced() -> None:
    problem = hours([5.0] * 6, soc_kwh=30.0)
    wanted = replace(problem, batteries=(replace(problem.batteries[0], final_kwh=90.0, terminal_value=0.0),))
    assert planned(wanted).soc_kwh[wanted.batteries[0].id][-1] == pytest.approx(90.0, abs=0.01)
    beyond = replace(wanted, batteries=(replace(wanted.batteries[0], charge_kw_max=1.0),))
    assert f"final:{wanted.batteries[0].id}" in planned(beyond).violations
    impossible = replace(wanted, batteries=(replace(wanted.batteries[0], final_kwh=130.0),))
    assert "final_kwh" in validate(impossible)[0]
