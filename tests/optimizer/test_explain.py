"""Reasons put to the test: the named limit is moved, the rejected alternative forced, and everything solved again."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from benchmarks.cases.villages import village as crowded
from optimizer import relax
from optimizer.plan import Binding, Limit, Plan, StorageStep, UnitStep
from optimizer.problem import AssetId, Problem, Scenario, Stop
from optimizer.relax import Held
from optimizer.solve import solve
from optimizer.words import effect
from tests.optimizer.problems import village

SEED = 20261126


def hedged() -> Problem:
    day = village()
    futures = [(1.2, 0.5), (0.9, 1.1), (1.1, 0.7), (1.0, 0.9)]
    scenarios = [Scenario(tuple(a * x for x in day.load_kw), tuple(b * x for x in day.pv_kw)) for a, b in futures]
    return replace(day, scenarios=tuple(scenarios))


CASES = {
    "grid": village(),
    "island": village(island=True),
    "dull": village(cloud=0.1, soc_kwh=20.0),
    "hedged": hedged(),
    "weak": crowded(12, "weak", 2),
}


def planned(problem: Problem) -> tuple[Plan, Held]:
    plan = solve(problem, Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    base = relax.held(problem, plan)
    assert base is not None
    return plan, base


def steps(plan: Plan) -> list[tuple[AssetId, int, StorageStep | UnitStep]]:
    every = (*plan.storages.items(), *plan.units.items())
    return [(asset, slot, step) for asset, series in every for slot, step in enumerate(series)]


@pytest.fixture(scope="module")
def plans() -> dict[str, tuple[Plan, Held]]:
    return {name: planned(problem) for name, problem in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_moving_the_named_limit_does_what_its_price_says(plans: dict[str, tuple[Plan, Held]], name: str) -> None:
    confirms(*plans[name], count=14)


@pytest.mark.parametrize("name", CASES)
def test_no_rejected_alternative_is_cheaper_than_told(plans: dict[str, tuple[Plan, Held]], name: str) -> None:
    costs_more(*plans[name], count=10)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(12))
def test_reasons_of_many_villages(seed: int) -> None:
    for mode in ("weak", "island"):
        plan, base = planned(crowded(20, mode, seed))
        confirms(plan, base, count=80)
        costs_more(plan, base, count=60)


def confirms(plan: Plan, base: Held, count: int) -> None:
    named = [(asset, slot, step.reason.binding) for asset, slot, step in steps(plan) if step.reason.binding is not None]
    storages = [one for one in named if one[0] in plan.storages]
    picked = Random(SEED).sample(storages, count // 2) + Random(SEED).sample(named, count - count // 2)
    wrong = [one for one in picked if not relax.confirmed(base, one[2])]
    assert len(wrong) <= 0.05 * count, f"seed {SEED}: not confirmed: {wrong}"


def costs_more(plan: Plan, base: Held, count: int) -> None:
    told = [
        (asset, slot, step.reason.alternative_cost)
        for asset, slot, step in steps(plan)
        if step.reason.alternative_cost is not None
    ]
    picked = Random(SEED).sample(told, min(count, len(told)))
    wrong = []
    for asset, slot, least in picked:
        real = relax.rejected(base, plan, asset, slot)
        if real is not None and real < least - max(0.02 * least, 0.002):
            wrong.append((asset, slot, least, real))
    assert len(wrong) <= 0.05 * count, f"seed {SEED}: cheaper than told: {wrong}"


def test_a_wrong_price_and_a_wrong_limit_are_not_confirmed(plans: dict[str, tuple[Plan, Held]]) -> None:
    plan, base = plans["dull"]
    load = plan.units[AssetId("pump-1")][40].reason.binding
    assert load is not None
    assert load.price > 0.05
    assert relax.confirmed(base, load)
    assert not relax.confirmed(base, replace(load, price=1.5 * load.price))
    assert not relax.confirmed(base, replace(load, price=0.0))
    room = Binding(Limit.EXPORT, AssetId(""), 3, 0.2)  # at night nothing is exported
    assert not relax.confirmed(base, room)


def test_every_step_that_has_a_choice_names_its_limit(plans: dict[str, tuple[Plan, Held]]) -> None:
    for plan, _ in plans.values():
        bare = {s.reason.constraint for _, _, s in steps(plan) if s.reason.binding is None}
        assert all(
            text.startswith(("away", "no vehicle", "may start", "outside its window", "done", "island"))
            for text in bare
        ), bare
        named = {s.reason.binding.limit for _, _, s in steps(plan) if s.reason.binding is not None}
        assert Limit.LOAD in named


def test_a_full_store_and_an_import_limit_are_named() -> None:
    day = village(cloud=0.9, soc_kwh=60.0)
    small = replace(day.batteries[0], energy_kwh=30.0, soc_now_kwh=10.0, soc_min_kwh=3.0, soc_max_kwh=29.0)
    tight = replace(day, batteries=(replace(small, reserve_kwh=0.0),), gensets=(), grid=limited(day, 26.0))
    plan, base = planned(tight)
    bindings = [s.reason.binding for _, _, s in steps(plan) if s.reason.binding is not None]
    for limit in (Limit.FULL, Limit.STORED):
        found = [b for b in bindings if b.limit is limit and b.price > 1e-3]
        assert found, limit
        assert relax.confirmed(base, found[0])


def limited(problem: Problem, kw: float):
    return replace(problem.grid, import_limit_kw=(kw,) * problem.slots)


def test_the_worth_of_a_limit_in_words() -> None:
    quarter = 900_000
    assert effect(Binding(Limit.FULL, AssetId("b"), 14, 0.12), 10, quarter) == (
        "one kWh more room in the store 1 h later saves 0.120"
    )
    assert effect(Binding(Limit.LOAD, AssetId(""), 10, 0.3), 10, quarter) == "one kWh less load here saves 0.300"
    assert {limit for limit in Limit if effect(Binding(limit, AssetId("b"), 1, 0.5), 0, quarter)} == set(Limit)
