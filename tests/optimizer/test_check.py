"""The checker accepts good plans and names what is wrong with a plan that was changed anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import Instant
from optimizer.check import check
from optimizer.plan import Mode, Plan, StorageStep, UnitStep
from optimizer.problem import AssetId, Problem, Series, Stop
from optimizer.solve import solve
from tests.optimizer.problems import village

BATTERY, GENSET, PUMP, CHARGER = AssetId("battery-1"), AssetId("genset-1"), AssetId("pump-1"), AssetId("charger-1")
TANK, JOB = AssetId("tank-1"), AssetId("irrigation")


@cache
def good(island: bool) -> tuple[Problem, Plan]:
    problem = village(island=island, cloud=0.6)
    plan = solve(problem, Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    return problem, plan


def at(series: Series, t: int, by: float) -> Series:
    return (*series[:t], series[t] + by, *series[t + 1 :])


def with_storage(plan: Plan, t: int, change: Callable[[StorageStep], StorageStep]) -> Plan:
    steps = plan.storages[BATTERY]
    return replace(plan, storages={BATTERY: (*steps[:t], change(steps[t]), *steps[t + 1 :])})


def with_unit(plan: Plan, unit: AssetId, t: int, change: Callable[[UnitStep], UnitStep]) -> Plan:
    steps = plan.units[unit]
    return replace(plan, units={**plan.units, unit: (*steps[:t], change(steps[t]), *steps[t + 1 :])})


MUTATIONS: dict[str, Callable[[Plan, int, float], Plan]] = {
    "grid": lambda p, t, d: replace(p, grid_kw=at(p.grid_kw, t, d)),
    "curtailed": lambda p, t, d: replace(p, curtailed_kw=at(p.curtailed_kw, t, d)),
    "shed": lambda p, t, d: replace(p, shed_kw=at(p.shed_kw, t, d)),
    "soc_kwh": lambda p, t, d: replace(p, soc_kwh={BATTERY: at(p.soc_kwh[BATTERY], t, d)}),
    "tank": lambda p, t, d: replace(p, tank_kl={TANK: at(p.tank_kl[TANK], t, d)}),
    "water_unserved": lambda p, t, d: replace(p, water_unserved_kl={TANK: at(p.water_unserved_kl[TANK], t, d)}),
    "cost": lambda p, _, d: replace(p, cost=p.cost + d),
    "bound": lambda p, _, d: replace(p, bound=p.cost + abs(d)),
    "violation invented": lambda p, _, d: replace(p, violations={**p.violations, "shed": abs(d)}),
    "violation unknown": lambda p, _, d: replace(p, violations={**p.violations, "magic": abs(d)}),
    "expected_w": lambda p, t, d: with_storage(p, t, lambda s: replace(s, expected_w=s.expected_w + round(d * 1000))),
    "expected_soc": lambda p, t, d: with_storage(p, t, lambda s: replace(s, expected_soc=s.expected_soc + d)),
    "limit_w": lambda p, t, d: with_storage(p, t, lambda s: replace(s, limit_w=-1 - round(abs(d)))),
    "genset": lambda p, t, d: with_unit(p, GENSET, t, lambda s: replace(s, power_w=s.power_w - round(d * 1000))),
    "genset on": lambda p, t, _: with_unit(p, GENSET, t, lambda s: replace(s, on=not s.on)),
    "pump": lambda p, t, d: with_unit(p, PUMP, t, lambda s: replace(s, power_w=s.power_w + round(d * 1000))),
    "pump on": lambda p, t, _: with_unit(p, PUMP, t, lambda s: replace(s, on=not s.on)),
    "charger": lambda p, t, d: with_unit(p, CHARGER, t, lambda s: replace(s, power_w=s.power_w + round(d * 1000))),
    "job": lambda p, t, _: with_unit(p, JOB, t, lambda s: replace(s, on=not s.on)),
    "job power": lambda p, t, d: with_unit(p, JOB, t, lambda s: replace(s, power_w=s.power_w + round(d * 1000))),
    "start": lambda p, _, __: replace(p, start=Instant(p.start + 1)),
    "slot": lambda p, _, __: replace(p, slot_ms=p.slot_ms - 1),
    "nan": lambda p, t, _: replace(p, grid_kw=at(p.grid_kw, t, nan)),
    "short": lambda p, t, _: replace(p, shed_kw=p.shed_kw[:t]),
    "short steps": lambda p, t, _: replace(p, units={**p.units, PUMP: p.units[PUMP][:t]}),
    "lost asset": lambda p, _, __: replace(p, storages={}),
    "foreign asset": lambda p, _, __: replace(p, soc_kwh={**p.soc_kwh, AssetId("x"): p.soc_kwh[BATTERY]}),
}


@pytest.mark.parametrize("island", [False, True])
def test_a_good_plan_passes(island: bool) -> None:
    problem, plan = good(island)
    assert check(problem, plan) == []


@given(
    st.sampled_from(sorted(MUTATIONS)),
    st.booleans(),
    st.integers(0, 95),
    st.one_of(st.floats(0.05, 50.0), st.floats(-50.0, -0.05)),
)
def test_a_plan_changed_anywhere_is_caught(name: str, island: bool, t: int, by: float) -> None:
    problem, plan = good(island)
    changed = MUTATIONS[name](plan, t, by)
    wrong = check(problem, changed)
    assert wrong, name
    assert all(violation.message for violation in wrong)


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_every_kind_of_change_is_caught(name: str) -> None:
    for island in (False, True):
        problem, plan = good(island)
        for t in (0, 40, 95):
            assert check(problem, MUTATIONS[name](plan, t, 0.7)), (name, island, t)


def test_a_mode_that_forbids_what_its_step_expects_is_caught() -> None:
    problem, plan = good(False)
    t = next(t for t, step in enumerate(plan.storages[BATTERY]) if step.expected_w > 1_000)
    held = with_storage(plan, t, lambda step: replace(step, mode=Mode.HOLD, limit_w=0))
    assert [violation.rule for violation in check(problem, held)] == ["mode"]


def test_minimum_times_are_checked_against_the_past_too() -> None:
    problem, plan = good(True)
    runs = plan.units[GENSET]
    first = next(t for t, step in enumerate(runs) if step.on)
    past = replace(problem.gensets[0], running=False, slots_in_state=0, min_down_slots=first + 1)
    wrong = check(replace(problem, gensets=(past,)), plan)
    assert "genset_time" in {violation.rule for violation in wrong}


def test_a_plan_made_for_another_day_is_caught() -> None:
    problem, plan = good(False)
    assert check(replace(problem, start=Instant(problem.start + 900_000)), plan)
    assert check(replace(problem, load_kw=tuple(kw + 1 for kw in problem.load_kw)), plan)
    assert check(replace(problem, grid=replace(problem.grid, available=(False,) * 96)), plan)
