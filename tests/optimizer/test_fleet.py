"""Commitment of several gensets: against every schedule there is, and what a refinement and an envelope may do."""

from __future__ import annotations

import resource
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.cases.villages import village as seeded_village
from devices.clock import SLOT_MS
from optimizer import engine
from optimizer.check import check
from optimizer.commitment import commit
from optimizer.engine import Outcome
from optimizer.envelope import Envelope, envelope_of
from optimizer.fleet import search
from optimizer.formulation import decided, formulate, relaxed
from optimizer.genset_states import commit_in_blocks, corridor, merit_order
from optimizer.plan import Plan
from optimizer.problem import AssetId, Charger, Genset, Problem, Stop
from optimizer.solve import solve
from tests.optimizer.problems import bare, battery, village

SLOTS = 3
EXACT = Stop(seconds=None, gap=0.0)
_powers = st.lists(st.integers(0, 14).map(float), min_size=SLOTS, max_size=SLOTS).map(tuple)


def least_cost(problem: Problem, schedules: tuple[tuple[float, ...], ...]) -> float:
    """Returns the least cost with given schedules, by the LP; infinite where minimum times forbid them."""
    model, layout = formulate(problem)
    for genset, schedule in zip(problem.gensets, schedules, strict=True):
        columns = layout.gensets[genset.id]
        values = np.array(schedule)
        if (values < model.lower[columns.on]).any() or (values > model.upper[columns.on]).any():
            return np.inf
        model = decided(model, columns.on, values)
    solution = engine.run(relaxed(model), EXACT, 1)
    return float(model.cost @ solution.x) if solution.outcome is Outcome.OPTIMAL else np.inf


@settings(max_examples=4, deadline=None)
@given(load=_powers, pv=_powers, island=st.booleans(), stored=st.sampled_from([None, 6.0]), up=st.integers(1, 3))
def test_joint_schedules_cost_what_the_best_of_all_schedules_cost(
    load: tuple[float, ...], pv: tuple[float, ...], island: bool, stored: float | None, up: int
) -> None:
    gensets = (
        Genset(AssetId("genset-0"), 8.0, 3.0, 1.0, 0.2, 0.7, up, 1, False, 2),
        Genset(AssetId("genset-1"), 5.0, 1.0, 0.5, 0.3, 0.4, 1, up, True, 1),
    )
    problem = replace(bare(load, pv, island=island, critical=(0.0,) * SLOTS), gensets=gensets)
    if stored is not None:
        small = replace(battery(stored), energy_kwh=12.0, soc_min_kwh=1.0, soc_max_kwh=11.0, reserve_kwh=0.0)
        problem = replace(problem, batteries=(small,))
    every = list(product((0.0, 1.0), repeat=SLOTS))
    best = min(least_cost(problem, pair) for pair in product(every, repeat=2))
    model, layout = formulate(problem)
    x = engine.run(relaxed(model), EXACT, 1).x
    on = commit_in_blocks(problem, envelope_of(problem, layout, x))
    assert on is not None
    found = least_cost(problem, tuple(tuple(on[g.id].tolist()) for g in gensets))
    assert found <= best + 0.03 * abs(best) + 0.03


def test_a_store_whose_levels_are_coarse_still_lets_all_gensets_rest() -> None:
    large = replace(battery(500.0), energy_kwh=1000.0, soc_min_kwh=10.0, soc_max_kwh=990.0, reserve_kwh=0.0)
    large = replace(
        large, terminal_value=0.0, discharge_kw_max=200.0, charge_kw_max=200.0
    )  # a level is 39 kW in a slot
    gensets = tuple(Genset(AssetId(f"genset-{i}"), 8.0, 3.0, 1.0, 0.2, 0.7, 1, 1, False, 2) for i in range(2))
    problem = replace(bare((4.0,) * 12, (0.0,) * 12), batteries=(large,), gensets=gensets)
    on = commit_in_blocks(problem, Envelope(*(np.zeros(12) for _ in range(5))))
    assert on is not None
    assert not any(schedule.any() for schedule in on.values())


def test_two_gensets_beside_one_charger_and_no_store_are_planned_in_little_memory() -> None:
    """What the charger moves is then a hundred million levels of a store that holds nothing: it took 12 GB."""
    hour = 4 * SLOT_MS
    gensets = tuple(Genset(AssetId(f"genset-{n}"), 10.0, 0.0, 1.0, 0.4, 2.0, 1, 1, True, 1) for n in (1, 2))
    island = bare((9.0, 5.0, 18.0, 8.0, 1.0, 19.0), (0.0,) * 6)
    problem = replace(island, slot_ms=hour, gensets=gensets, chargers=(Charger(AssetId("car"), 3.0, 2.0, 0, 1, 5.0),))
    limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, limit[1]))
    try:
        plan = solve(problem, Stop(seconds=None), 0)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)
    assert isinstance(plan, Plan)
    assert check(problem, plan) == []


def test_a_genset_that_the_relaxation_leaves_off_runs_where_that_is_cheaper() -> None:
    dear_start = Genset(AssetId("large"), 40.0, 30.0, 0.0, 0.30, 0.0, 1, 1, True, 8)
    small = Genset(AssetId("small"), 5.0, 1.0, 0.0, 0.31, 0.0, 1, 1, False, 8)
    problem = replace(bare((4.0,) * 8, (0.0,) * 8), gensets=(dear_start, small))
    model, layout = formulate(problem)
    x = engine.run(relaxed(model), EXACT, 1).x
    assert x[layout.gensets[small.id].power].max() == 0.0
    plan = solve(problem, Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    assert plan.cost == pytest.approx(4.0 * 2 * 0.31)


def test_devices_beside_one_genset_move_as_one_where_there_are_many() -> None:
    problem = seeded_village(20, "island", 1)
    genset = max(problem.gensets, key=lambda g: g.power_kw_max)
    sizes = sum(g.power_kw_max for g in problem.gensets) / genset.power_kw_max
    one = replace(
        genset,
        power_kw_max=genset.power_kw_max * sizes,
        power_kw_min=genset.power_kw_min * sizes,
        fixed_price_per_h=genset.fixed_price_per_h * sizes,
        start_price=genset.start_price * sizes,
    )
    problem = replace(problem, gensets=(one,))
    plan = solve(problem, Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    assert check(problem, plan) == []
    model, layout = formulate(problem)
    x = engine.run(relaxed(model), EXACT, 1).x
    net = np.array(problem.load_kw) - np.array(problem.pv_kw) + envelope_of(problem, layout, x).base_kw
    held = decided(relaxed(model), layout.gensets[one.id].on, commit(problem, one, net))
    assert plan.cost < 0.95 * float(model.cost @ engine.run(held, EXACT, 1).x)


def test_merit_order_covers_need_from_the_cheapest_and_prices_what_is_stuck() -> None:
    problem = bare((10.0,) * 3, (0.0,) * 3, island=True, critical=(4.0,) * 3)
    engine_ = Genset(AssetId("genset-0"), 8.0, 3.0, 1.0, 0.2, 0.7, 1, 1, False, 2)
    money = merit_order(problem, [engine_], np.array([[1.0, 3.0, 8.0, 10.0]] * 3))
    assert money[0] == pytest.approx([1.0 + 0.6 + 2 * 5.0, 1.6, 1.0 + 1.6, 1.0 + 1.6 + 2 * 5.0])


def test_a_corridor_lets_changes_move_so_far_and_no_further() -> None:
    possible = corridor(np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]), 1, running=False)
    assert possible[:, 0].tolist() == [True, True, True, True, False, False]
    assert possible[:, 1].tolist() == [False, False, True, True, True, True]


def test_an_envelope_holds_what_a_charger_can_do_earlier_and_later() -> None:
    charger = Charger(AssetId("charger-0"), 4.0, 2.0, 1, 5, 9.0)
    problem = replace(bare((1.0,) * 6, (0.0,) * 6, island=False), chargers=(charger,))
    model, layout = formulate(problem)
    x = np.zeros(len(model.cost))
    x[layout.chargers[charger.id].power] = [2.0, 2.0, 2.0, 2.0]
    envelope = envelope_of(problem, layout, x)
    assert envelope.base_kw.tolist() == [0.0, 2.0, 2.0, 2.0, 2.0, 0.0]
    assert envelope.more_kw.tolist() == [0.0, 2.0, 2.0, 2.0, 2.0, 0.0]
    assert envelope.ahead_kwh.tolist() == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0, 0.0])
    assert envelope.behind_kwh.tolist() == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0, 0.0])


def _island() -> Problem:
    gensets = tuple(
        Genset(AssetId(f"genset-{i}"), kw, 0.4 * kw, 0.08 * kw, 0.3 + 0.02 * i, 0.1 * kw, 4, 3, False, 8)
        for i, kw in enumerate((14.0, 11.0, 9.0))
    )
    return replace(village(island=True, cloud=0.4), gensets=gensets)


def test_three_gensets_are_within_a_few_percent_of_the_bound() -> None:
    problem = _island()
    plan = solve(problem, Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    assert check(problem, plan) == []
    assert plan.cost - plan.bound <= 0.05 * plan.cost


def test_a_search_keeps_minimum_times_and_says_the_same_twice() -> None:
    problem = _island()
    model, layout = formulate(problem)
    x = engine.run(relaxed(model), EXACT, 1).x
    first, second = (search(problem, layout, x, problem.gensets, 1) for _ in range(2))
    assert first is not None
    assert second is not None
    for genset in problem.gensets:
        assert first[genset.id].tolist() == second[genset.id].tolist()
        changes = np.flatnonzero(np.diff(first[genset.id], prepend=0.0))
        assert (np.diff(changes) >= 3).all()
