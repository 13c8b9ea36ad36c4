"""What a network cannot carry becomes limits of the plan: voltage, ampacity, transformer; what is left is told."""

from __future__ import annotations

from dataclasses import replace
from math import pi, sin

import numpy as np
import pytest

from optimizer.check import check
from optimizer.codec import decode, encode
from optimizer.network import Line, Network, Node, Transformer
from optimizer.network_plan import ROUNDS, breaches, line_flows, node_powers, solve_networked
from optimizer.plan import Infeasible, Plan
from optimizer.powerflow import power_flow, transformer_ohm
from optimizer.problem import AssetId, Battery, Departure, Problem, Stop
from optimizer.solve import solve
from tests.optimizer.problems import bare

N = 96
EXACT = Stop(seconds=None)
SUN = tuple(max(0.0, 30.0 * sin(pi * (t - 24) / 48)) for t in range(N))
LOAD = (2.0,) * N
TRANSFORMER = Transformer(100.0, 0.04, 0.4)


def network(problem: Problem, *, far_load: float = 0.5, far_sun: float = 1.0, assets: tuple[str, ...] = ()) -> Network:
    """A square at the transformer, and a farm at the end of 600 m of thin cable in two parts."""
    nodes = (
        Node("square", (0.0,) * N, (0.0,) * N, ()),
        Node("mill", (0.0,) * N, (0.0,) * N, ()),
        Node(
            "farm",
            tuple(far_load * kw for kw in problem.load_kw),
            tuple(far_sun * kw for kw in problem.pv_kw),
            tuple(map(AssetId, assets)),
        ),
    )
    lines = (Line("mill-line", "square", "mill", 0.25, 0.03, 100.0), Line("farm-line", "mill", "farm", 0.4, 0.05, 80.0))
    return Network("square", nodes, lines, TRANSFORMER, 400.0, 1.0, 0.9, 1.1, 1.0, 50.0)


def day(**changes: object) -> Problem:
    problem = replace(bare(LOAD, SUN, island=False, critical=(0.5,) * N))
    grid = replace(problem.grid, import_limit_kw=(40.0,) * N, export_limit_kw=(40.0,) * N)
    return replace(problem, grid=grid, **changes)  # type: ignore[arg-type]


def planned(problem: Problem) -> Plan:
    plan = solve_networked(problem, EXACT, 1, None, solve)
    assert isinstance(plan, Plan), plan
    assert check(problem, plan) == []
    return plan


def car(soc: float) -> Battery:
    return Battery(
        AssetId("car"), 40.0, 22.0, 0.0, 1.0, 1.0, soc, 0.0, 40.0, 0.0, 0.0, 0.0, 0.0,
        departures=(Departure(20, 38.0, 3.0),), forms_grid=False,
    )  # fmt: skip


def test_the_power_flow_solves_the_equation_of_one_line() -> None:
    problem = day()
    web = network(problem)
    kw = np.zeros((N, 3))
    kw[:, 2] = -20.0
    state = power_flow(web, kw, np.zeros_like(kw))
    z = complex(0.65, 0.08) + transformer_ohm(web) * complex(1.0, 1 / 0.4)
    volts = 1.0 + 0j
    for _ in range(50):  # fixed point of V = 1 + z I, per unit of 400 V
        volts = 1.0 + z * (20_000 / volts).conjugate() / 400**2
    assert state.voltage_pu[0, 2] == pytest.approx(abs(volts), abs=1e-6)
    assert state.current_a[0, 1] == pytest.approx(20_000 / (3**0.5 * 400 * abs(volts)), rel=1e-5)


def test_a_weak_long_line_makes_the_plan_curtail_the_sun_at_its_end_until_the_voltage_holds() -> None:
    problem = day()
    web = network(problem)
    blind = solve(problem, EXACT, 1)
    assert isinstance(blind, Plan)
    before = breaches(problem, web, blind)
    assert any("voltage at farm up to 1.1" in breach.what for breach in before)
    networked = replace(problem, network=web)
    plan = planned(networked)
    assert breaches(networked, web, plan) == []
    kw, load = node_powers(networked, web, plan)
    assert power_flow(web, kw, load).voltage_pu.max() == pytest.approx(1.1, abs=0.003)  # cut as little as needed
    assert sum(plan.feeder_curtailed_kw[AssetId("farm-line")]) > 5.0
    assert sum(blind.curtailed_kw) == 0.0
    dark = [slot for slot in range(N) if SUN[slot] == 0.0]
    assert all(plan.curtailed_kw[slot] == 0.0 for slot in dark)
    assert any("farm-line" in notice and "away from" in notice for notice in plan.notices)


def test_a_battery_at_the_end_of_the_line_takes_what_would_be_curtailed() -> None:
    store = Battery(
        AssetId("store"), 200.0, 20.0, 20.0, 0.95, 0.95, 20.0, 5.0, 200.0, 5.0, 0.0, 0.05, 0.001
    )  # fmt: skip
    without = planned(replace(day(), network=network(day())))
    problem = day(batteries=(store,))
    plan = planned(replace(problem, network=network(problem, assets=("store",))))
    assert sum(plan.curtailed_kw) < 0.1 * sum(without.curtailed_kw)


def test_a_car_charges_within_the_ampacity_and_is_ready_all_the_same() -> None:
    problem = day(batteries=(car(5.0),))
    lines = network(problem, far_sun=0.0, assets=("car",))
    thin = replace(lines, lines=(lines.lines[0], replace(lines.lines[1], ampacity_a=20.0)))  # about 13.9 kW
    networked = replace(problem, network=thin)
    plan = planned(networked)
    flows = line_flows(thin, node_powers(networked, thin, plan)[0])
    assert 11.0 < max(flows["farm-line"]) < 13.9
    assert plan.soc_kwh[AssetId("car")][19] >= 38.0 - 0.01
    assert breaches(networked, thin, plan) == []


def test_a_transformer_is_not_loaded_beyond_its_rating() -> None:
    problem = day(batteries=(car(5.0),))
    small = replace(network(problem, far_sun=0.0, assets=("car",)), transformer=Transformer(15.0, 0.04, 0.4))
    plan = planned(replace(problem, network=small))
    assert max(abs(kw) for kw in plan.grid_kw) <= 15.0


def test_what_nothing_can_lower_is_told_with_its_price_and_ends_after_few_rounds() -> None:
    problem = day(load_kw=(30.0,) * N, pv_kw=(0.0,) * N)
    web = network(problem, far_load=1.0)
    asked: list[Problem] = []

    def counting(asking: Problem, stop: Stop, seed: int, warm: Plan | None) -> Plan | Infeasible:
        asked.append(asking)
        return solve(asking, stop, seed, warm)

    networked = replace(problem, network=web)
    plan = solve_networked(networked, EXACT, 1, None, counting)
    assert isinstance(plan, Plan)
    assert check(networked, plan) == []
    assert len(asked) <= 1 + ROUNDS
    told = [notice for notice in plan.notices if "voltage at farm down to" in notice]
    assert told
    assert f"priced {plan.violations['feeder:farm-line']:.2f}" in told[0]


def test_a_plan_with_cuts_survives_the_wire_and_a_bad_cut_is_refused() -> None:
    problem = replace(day(), network=network(day()))
    assert decode(Problem, encode(problem)) == problem
    plan = planned(problem)
    assert decode(Plan, encode(plan)) == plan
    bad = replace(plan, cuts=(replace(plan.cuts[0], assets=(AssetId("nobody"),)),))
    assert [violation.rule for violation in check(problem, bad)] == ["shape"]


def test_solar_curtailed_beyond_a_line_is_curtailed_on_that_line_once() -> None:
    """Both lines are too thin: what is cut at the farm relieves the line before it too."""
    problem = day()
    web = network(problem)
    thin = replace(web, high_pu=1.3, lines=tuple(replace(line, ampacity_a=25.0) for line in web.lines))
    networked = replace(problem, network=thin)
    plan = planned(networked)
    assert breaches(networked, thin, plan) == []
    flows = line_flows(thin, node_powers(networked, thin, plan)[0])
    assert min(flows["mill-line"]) < -16.0  # 25 A are 17.3 kW and more: not cut twice
