"""The planner as a whole: plans pass the independent checker, refusals are true, equal questions get equal answers."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given

from optimizer import engine
from optimizer.check import check
from optimizer.codec import encode
from optimizer.engine import EXACT, Outcome
from optimizer.formulation import formulate, relaxed
from optimizer.plan import Infeasible, Mode, Plan
from optimizer.problem import AssetId, Charger, Genset, Job, Problem, Stop
from optimizer.solve import solve
from optimizer.trip_ask import Pack
from optimizer.trip_packs import charging_needs
from tests.optimizer.problems import START, bare, battery, genset, problems, village, water

STOP = Stop(seconds=None)
BATTERY = AssetId("battery-1")


def planned(problem: Problem) -> Plan:
    plan = solve(problem, STOP, 1)
    assert isinstance(plan, Plan), plan
    assert check(problem, plan) == []
    return plan


def refused(problem: Problem) -> Infeasible:
    answer = solve(problem, STOP, 1)
    assert isinstance(answer, Infeasible)
    return answer


@pytest.mark.parametrize("island", [False, True])
@pytest.mark.parametrize("cloud", [0.2, 0.9])
def test_a_village_day_is_planned_and_checked(island: bool, cloud: float) -> None:
    plan = planned(village(island=island, cloud=cloud))
    assert plan.bound <= plan.cost
    assert "shed" not in plan.violations
    assert any(step.on for step in plan.units[AssetId("genset-1")]) is island
    assert not any(name.startswith(("skipped", "charge:", "water:")) for name in plan.violations)


def test_the_battery_buys_cheap_saves_and_covers_the_dear_evening() -> None:
    plan = planned(village(cloud=0.1, soc_kwh=20.0))
    steps = plan.storages[BATTERY]
    assert any(step.mode is Mode.CHARGE for step in steps[:24])  # night tariff
    assert any(step.mode is Mode.HOLD for step in steps[24:68])  # day tariff: saved for the evening
    assert sum(step.expected_w for step in steps[68:88]) < -20_000 * 4  # evening tariff: more than 20 kWh


def test_an_answer_that_mathopt_refuses_to_hand_over_is_found_by_another_engine() -> None:
    """Two packs on an island at dusk: HiGHS solves the LP, MathOpt calls basis and duals incompatible."""
    sun = tuple(8.0 if 14 <= t < 22 else 0.0 for t in range(32))
    packs = [Pack(AssetId(f"robot-{n}"), 1.2, 0.2, 0.8, 0.9, 0.2, 0.2, 0.1) for n in (1, 2)]
    island = bare((1.0,) * 32, sun, critical=(0.0,) * 32)
    grid = replace(island.grid, import_price=(*(0.1,) * 27, 0.3, *(0.5,) * 4))
    storages = charging_needs(packs, (), {}, START, 32, island.slot_ms)
    problem = replace(island, grid=grid, batteries=storages)
    model, _ = formulate(problem)
    assert engine.run(relaxed(model), EXACT, 0).outcome is Outcome.OPTIMAL
    assert isinstance(solve(problem, STOP, 0), Plan)


def test_a_cheaper_tariff_never_costs_more() -> None:
    problem = village()
    cheap = replace(problem.grid, import_price=tuple(0.9 * p for p in problem.grid.import_price))
    assert planned(replace(problem, grid=cheap)).cost <= planned(problem).cost


def test_an_import_limit_is_kept_when_it_can_be() -> None:
    problem = village(cloud=0.5)
    peak = max(planned(problem).grid_kw)
    limit = 0.8 * peak
    limited = replace(problem.grid, import_limit_kw=(limit,) * problem.slots)
    plan = planned(replace(problem, grid=limited))
    assert max(plan.grid_kw) <= limit + 0.01
    assert "import_limit" not in plan.violations


def test_an_import_limit_that_cannot_be_kept_is_a_named_violation() -> None:
    load = (20.0,) * 4
    plan = planned(bare(load, (0.0,) * 4, island=False))
    assert plan.violations["import_limit"] == pytest.approx(10.0 * 2.0)  # 10 kW over for an hour at 2 per kWh


def test_load_above_critical_is_shed_on_an_island_before_anything_fails() -> None:
    problem = bare((5.0,) * 4, (2.0,) * 4, critical=(1.0,) * 4)
    plan = planned(problem)
    assert plan.shed_kw == pytest.approx((3.0,) * 4)
    assert plan.violations["shed"] == pytest.approx(3.0 * 5.0)


def test_a_critical_load_without_supply_is_refused_with_which_when_and_how_much() -> None:
    answer = refused(bare((5.0,) * 8, (9.0,) * 3 + (1.0,) * 5))
    assert len(answer.reasons) == 1
    assert answer.reasons[0].startswith("critical load: 5.000 kWh missing between 2026-05-28T21:15:00Z and ")
    assert "slots 3 to 7" in answer.reasons[0]


def test_a_dry_well_is_refused_with_the_litres_that_are_missing() -> None:
    tank = replace(water(96), pump_flow_kl_per_h=0.0, level_now_kl=2.0)
    problem = replace(village(), water=(tank,))
    answer = refused(problem)
    assert answer.reasons[0].startswith("lifeline water of tank-1: 6.640 kL missing between ")  # 96 x 0.09 - 2
    less = replace(tank, lifeline_kl=(0.0,) * 96)
    assert isinstance(solve(replace(problem, water=(less,)), STOP, 1), Plan)


def test_a_job_that_costs_too_much_is_skipped_and_named() -> None:
    job = Job(AssetId("laser"), (8.0,) * 4, (0.0,) * 4, 0, 0, skip_price=0.5)
    plan = planned(replace(bare((1.0,) * 4, (0.0,) * 4, island=False), jobs=(job,)))
    assert plan.violations == {"skipped:laser": 0.5}


def test_a_charge_that_cannot_be_done_is_named() -> None:
    charger = Charger(AssetId("charger-1"), 4.0, 9.0, 0, 4, unserved_price=3.0)
    plan = planned(replace(bare((1.0,) * 4, (0.0,) * 4, island=False), chargers=(charger,)))
    assert plan.violations["charge:charger-1"] == pytest.approx(5.0 * 3.0)


def test_a_running_genset_keeps_its_minimum_time_even_below_its_minimum_load() -> None:
    engine = replace(genset(running=True, slots_in_state=1), min_up_slots=3)
    plan = planned(replace(bare((1.0,) * 6, (0.0,) * 6), gensets=(engine,), batteries=(battery(),)))
    assert [step.on for step in plan.units[AssetId("genset-1")]][:2] == [True, True]


def test_a_charge_below_its_minimum_is_priced_and_mended_not_refused() -> None:
    low = replace(battery(soc_now_kwh=4.0), charge_kw_max=4.0)
    plan = planned(replace(village(), batteries=(low,)))
    assert plan.violations["soc_limit:battery-1"] > 0.0
    assert plan.soc_kwh[BATTERY][8] > low.soc_min_kwh


@pytest.mark.parametrize("import_price", [-0.2, 0.05])
def test_negative_or_inverted_tariffs_burn_nothing_on_paper(import_price: float) -> None:
    problem = village(cloud=0.1)
    grid = replace(problem.grid, import_price=(import_price,) * 96, export_price=(0.3,) * 96)
    planned(replace(problem, grid=grid))  # the checker has one net power per storage and grid: nothing cancels out


@given(problems())
def test_any_valid_problem_gets_a_valid_plan_or_a_true_refusal(problem: Problem) -> None:
    answer = solve(problem, STOP, 1)
    if isinstance(answer, Plan):
        assert check(problem, answer) == []
        assert answer.bound <= answer.cost + 1e-9
        return
    named = [w.tank_id for w in problem.water if _names(answer, w.tank_id)]
    named += [AssetId(CRITICAL)] if _names(answer, CRITICAL) else []
    assert len(named) == len(answer.reasons) > 0
    assert isinstance(solve(_lifted(problem, named), STOP, 1), Plan)  # without what is named there is a plan
    for kept in named:
        others = [name for name in named if name != kept]
        assert isinstance(solve(_lifted(problem, others), STOP, 1), Infeasible)  # and each of them is needed


CRITICAL = "critical load"


def _names(answer: Infeasible, what: str) -> bool:
    return any(what in reason.split(":")[0] for reason in answer.reasons)


def _lifted(problem: Problem, names: list[AssetId]) -> Problem:
    """Returns the problem without these lifelines."""
    nothing = (0.0,) * problem.slots
    tanks = tuple(replace(w, lifeline_kl=nothing) if w.tank_id in names else w for w in problem.water)
    return replace(problem, water=tanks, critical_kw=nothing if CRITICAL in names else problem.critical_kw)


def test_a_broken_problem_is_refused_before_any_solving() -> None:
    problem = village()
    assert refused(replace(problem, pv_kw=(nan, *problem.pv_kw[1:]))).reasons
    assert refused(replace(problem, load_kw=())).reasons
    assert refused(replace(problem, shed_price=inf)).reasons
    assert refused(replace(problem, gensets=problem.gensets * 2)).reasons


def test_several_gensets_are_committed_together() -> None:
    small = Genset(AssetId("genset-2"), 12.0, 4.0, 0.8, 0.42, 1.0, 2, 2, False, 8)
    problem = village(island=True, cloud=0.3)
    one, two = planned(problem), planned(replace(problem, gensets=(*problem.gensets, small)))
    assert two.cost <= one.cost * 1.02


def test_every_step_has_a_reason() -> None:
    plan = planned(village(island=True, cloud=0.4))
    steps = [step for series in (*plan.storages.values(), *plan.units.values()) for step in series]
    assert all(step.reason.constraint for step in steps)
    assert not any("nan" in step.reason.constraint for step in steps)


PROGRAM = """
from optimizer.codec import encode
from optimizer.problem import Stop
from optimizer.solve import solve
from tests.optimizer.problems import village
print(encode(solve(village(island=True), Stop(seconds=None), 3)))
"""


def test_equal_questions_get_equal_bytes_in_any_process() -> None:
    here = encode(planned_with_seed(3))
    for hash_seed in ("1", "77"):
        child = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert child.stdout.strip() == here


def planned_with_seed(seed: int) -> Plan:
    plan = solve(village(island=True), STOP, seed)
    assert isinstance(plan, Plan)
    return plan
