"""Pressure zones by table: interpolation, schedules against brute force, the checker, reasons in words."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer import zone_file
from optimizer.check_zones import check_zone
from optimizer.names import AssetId
from optimizer.plan import Infeasible
from optimizer.zone_plan import plan_zone
from optimizer.zones import Configuration, ZonePlan, ZoneProblem, ZoneTable, ZoneTank, sheet

PUMP_A, PUMP_B = AssetId("pump-a"), AssetId("pump-b")


def a_table(tanks: int = 1, *, pressure_m: float = 30.0) -> ZoneTable:
    """Two pumps lifting into one or two tanks: less flow the fuller they are, all demand out of the first."""
    configurations = (
        Configuration(()),
        Configuration(((PUMP_A, 1.0),)),
        Configuration(((PUMP_A, 1.0), (PUMP_B, 1.0))),
    )
    levels = tuple((0.0, 40.0, 100.0) for _ in range(tanks))
    demand = (0.0, 10.0, 30.0)
    shape = (3, *(3,) * tanks, 3)
    inflow, power = np.zeros((*shape, tanks)), np.zeros(shape)
    for place in product(*(range(length) for length in shape)):
        pumps, kls, drawn = place[0], [levels[0][at] for at in place[1:-1]], demand[place[-1]]
        for tank, kl in enumerate(kls):
            inflow[(*place, tank)] = pumps * (14.0 - 0.04 * kl) / tanks - (drawn if tank == 0 else 0.0)
        if tanks == 2:
            across = 0.1 * (kls[1] - kls[0])
            inflow[(*place, 0)] += across
            inflow[(*place, 1)] -= across
        power[place] = pumps * (5.0 - 0.01 * sum(kls) / tanks)
    return ZoneTable(
        "hill",
        tuple(ZoneTank(AssetId(f"tank-{n}"), 5.0, 100.0) for n in range(tanks)),
        configurations,
        levels,
        demand,
        inflow,
        power,
        np.full(shape, pressure_m),
        15.0,
    )


def a_problem(table: ZoneTable, slots: int = 6, **changes: object) -> ZoneProblem:
    tanks = len(table.tanks)
    whole = ZoneProblem(
        table,
        1.0,
        tuple(8.0 + 5.0 * (slot % 3) for slot in range(slots)),
        tuple(0.1 + 0.15 * (slot % 4 == 2) for slot in range(slots)),
        (50.0,) * tanks,
        (10.0,) * tanks,
        (50.0,) * tanks,
        start_price=0.05,
        parts=2,
    )
    return replace(whole, **changes)  # pyright: ignore[reportArgumentType]


def planned(problem: ZoneProblem, *, searches: int = 1) -> ZonePlan:
    plan = plan_zone(problem, searches=searches)
    assert isinstance(plan, ZonePlan), plan
    assert check_zone(problem, plan) == []
    return plan


def test_the_table_is_exact_at_its_points_and_linear_between_them() -> None:
    table = a_table(2)
    there = sheet(table, 10.0).flow(1, np.array([[40.0, 100.0]]))
    assert there.inflow_kl_per_h[0].tolist() == pytest.approx(table.inflow_kl_per_h[1, 1, 2, 1].tolist())
    between = sheet(table, 20.0).flow(np.array([1, 2]), np.array([[70.0, 20.0], [20.0, 70.0]]))
    # The made-up zone is linear, so that interpolation has to give its formula.
    assert between.inflow_kl_per_h[0].tolist() == pytest.approx([(14 - 2.8) / 2 - 20 - 5, (14 - 0.8) / 2 + 5])
    assert between.power_kw.tolist() == pytest.approx([5 - 0.45, 10 - 0.9])


def test_no_schedule_of_a_short_day_is_cheaper() -> None:
    problem = a_problem(a_table())
    plan = planned(problem)
    costs: list[float] = []
    for choice in product(range(3), repeat=6):
        other = followed(problem, choice)
        if other is not None:
            costs.append(other)
    assert plan.cost == pytest.approx(min(costs), rel=1e-9)


def followed(problem: ZoneProblem, choice: tuple[int, ...]) -> float | None:
    """What a schedule costs by the zone's own formula, or None where it breaks a limit."""
    level, cost, before = 50.0, 0.0, 0
    for slot, pumps in enumerate(choice):
        for _ in range(2):
            cost += pumps * (5.0 - 0.01 * level) * 0.5 * problem.price[slot]
            level += (pumps * (14.0 - 0.04 * level) - problem.demand_kl_per_h[slot]) * 0.5
            if not 5.0 <= level <= 100.0:
                return None
        cost += problem.start_price * max(pumps - before, 0) + max(10.0 - level, 0.0)
        before = pumps
    return cost + 10.0 * max(50.0 - level, 0.0)


@settings(max_examples=12)
@given(
    tanks=st.integers(1, 2),
    demand=st.lists(st.floats(0.0, 24.0), min_size=8, max_size=8),
    price=st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8),
    level=st.floats(20.0, 90.0),
)
def test_water_is_neither_made_nor_lost(tanks: int, demand: list[float], price: list[float], level: float) -> None:
    problem = a_problem(
        a_table(tanks), 8, demand_kl_per_h=tuple(demand), price=tuple(price), level_now_kl=(level,) * tanks
    )
    plan = plan_zone(problem)
    if isinstance(plan, Infeasible):
        assert plan.reasons
        return
    assert check_zone(problem, plan) == []
    pumped = sum(  # at most: pumps into empty tanks
        14.0 * len(problem.table.configurations[at].speeds) for at in plan.choice
    )
    gained = sum(series[-1] for series in plan.level_kl) - level * tanks
    assert -sum(demand) - 1e-6 <= gained <= pumped - sum(demand) + 1e-6


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda plan: replace(plan, choice=(0,) * 6), "pump_power"),
        (lambda plan: replace(plan, energy_cost=plan.energy_cost * 0.99), "energy_cost"),
        (lambda plan: replace(plan, cost=plan.cost - 0.01), "cost"),
        (lambda plan: replace(plan, starts=0), "starts"),
        (lambda plan: replace(plan, level_kl=(tuple(kl + 1 for kl in plan.level_kl[0]),)), "tank"),
        (lambda plan: replace(plan, power_kw=plan.power_kw[:-1]), "shape"),
        (lambda plan: replace(plan, choice=(7,) * 6), "configuration"),
    ],
)
def test_the_checker_sees_a_forged_plan(change: object, rule: str) -> None:
    problem = a_problem(a_table())
    forged = change(planned(problem))  # pyright: ignore[reportCallIssue, reportUnknownVariableType]
    assert rule in {violation.rule for violation in check_zone(problem, forged)}  # pyright: ignore[reportUnknownArgumentType]


def test_what_cannot_be_is_said_in_words() -> None:
    thirsty = plan_zone(a_problem(a_table(), demand_kl_per_h=(30.0,) * 6, level_now_kl=(20.0,)))
    assert isinstance(thirsty, Infeasible)
    assert any("tank-0 would run dry" in reason for reason in thirsty.reasons)
    weak = plan_zone(a_problem(a_table(pressure_m=9.0)))
    assert isinstance(weak, Infeasible)
    assert any("9.0 m of pressure, 15.0 m are wanted" in reason for reason in weak.reasons)


def test_a_broken_question_is_named_before_any_planning() -> None:
    wrong = plan_zone(
        a_problem(a_table(), price=(0.1, float("nan")), level_now_kl=(50.0, 50.0), demand_kl_per_h=(99.0,) * 6)
    )
    assert isinstance(wrong, Infeasible)
    text = "; ".join(wrong.reasons)
    for part in ("6 slots of demand, 2 of prices", "not a number", "2 values for 1 tanks", "its table ends at 30.0"):
        assert part in text


def test_a_table_survives_its_file_and_a_bad_file_is_named() -> None:
    table = a_table(2)
    again = zone_file.from_text(zone_file.to_text(table))
    assert again.tanks == table.tanks
    assert again.configurations == table.configurations
    assert np.array_equal(again.inflow_kl_per_h, table.inflow_kl_per_h)
    cut = zone_file.to_text(table).replace('"levels_kl":[[0.0,40.0,100.0]', '"levels_kl":[[0.0,100.0]')
    for text, message in (
        ("{", "not JSON"),
        ("{}", "atoll-zone-1"),
        ('{"schema":"atoll-zone-1"}', "KeyError"),
        (cut, "its axes say"),
    ):
        with pytest.raises(zone_file.BadZoneFile, match=message):
            zone_file.from_text(text, "zone.json")
