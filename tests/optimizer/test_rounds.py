"""Rounds: both engines against the independent checker, and the checker against spoilt plans."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, permutations
from multiprocessing import get_context

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from optimizer.check_rounds import check_rounds
from optimizer.logistics import (
    Depot,
    Halt,
    Round,
    RoundsPlan,
    RoundsProblem,
    RoundsStop,
    Shipment,
    Travel,
    Trip,
    Vehicle,
    VehicleId,
    Visit,
    VisitId,
)
from optimizer.plan import Infeasible
from optimizer.rounds import solve_pyvrp
from optimizer.rounds_ortools import solve_ortools
from optimizer.rounds_validation import validate_rounds
from optimizer.solve_rounds import Engine, solve_rounds
from tests.optimizer.rounds import bound_to_visits, problems, travel

SHORT = RoundsStop(seconds=None, iterations=100)
SPOTS = [(0, 0), (100, 700), (600, 500), (500, 0), (900, 100), (200, 300)]
ENGINES = [solve_pyvrp, solve_ortools]
relaxed = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def one_vehicle(**changes: object) -> RoundsProblem:
    """Returns five visits of one robot without limits."""
    visits = tuple(Visit(VisitId(f"v{at}"), at, (1,), service=60) for at in range(1, len(SPOTS)))
    problem = RoundsProblem((travel(SPOTS),), (Depot(0),), (Vehicle(VehicleId("robot"), capacity=(9,)),), visits)
    return replace(problem, **changes)  # pyright: ignore[reportArgumentType]


def planned(problem: RoundsProblem, engine: Engine = solve_pyvrp) -> RoundsPlan:
    """Returns an engine's plan after the checker has found nothing."""
    plan = engine(problem, SHORT, 1)
    assert check_rounds(problem, plan) == []
    return plan


@pytest.mark.parametrize("engine", ENGINES)
@relaxed
@given(problem=problems())
def test_whatever_an_engine_says_stands_up_to_the_checker(engine: Engine, problem: RoundsProblem) -> None:
    assert validate_rounds(problem) == []
    assume(problem.visits or problem.shipments)
    planned(problem, engine)


@pytest.mark.deep
@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problem=problems())
def test_a_thousand_communities(engine: Engine, problem: RoundsProblem) -> None:
    assume(problem.visits or problem.shipments)
    planned(problem, engine)


@relaxed
@given(problem=problems(must=True), data=st.data())
def test_a_spoilt_plan_is_told_from_a_good_one(problem: RoundsProblem, data: st.DataObject) -> None:
    assume(len(problem.visits) > 1)
    plan = planned(problem)
    spoil = data.draw(st.sampled_from(SPOILS))
    assert check_rounds(problem, spoil(plan)) != []


def _first(plan: RoundsPlan, change: Callable[[Round], Round]) -> RoundsPlan:
    return replace(plan, rounds=(change(plan.rounds[0]), *plan.rounds[1:]))


def _trip(plan: RoundsPlan, change: Callable[[Trip], Trip]) -> RoundsPlan:
    return _first(plan, lambda one: replace(one, trips=(change(one.trips[0]), *one.trips[1:])))


SPOILS: list[Callable[[RoundsPlan], RoundsPlan]] = [
    lambda plan: replace(plan, cost=plan.cost - 1),
    lambda plan: replace(plan, rounds=plan.rounds[1:]),
    lambda plan: replace(plan, rounds=(*plan.rounds, plan.rounds[0])),
    lambda plan: replace(plan, unserved=(plan.rounds[0].trips[0].calls[0].visit,)),
    lambda plan: _first(plan, lambda one: replace(one, distance=one.distance + 1)),
    lambda plan: _first(plan, lambda one: replace(one, cost=one.cost + 1)),
    lambda plan: _first(plan, lambda one: replace(one, begin=one.begin + 100_000)),
    lambda plan: _first(plan, lambda one: replace(one, vehicle=VehicleId("stranger"))),
    lambda plan: _first(plan, lambda one: replace(one, trips=())),
    lambda plan: _trip(plan, lambda trip: replace(trip, calls=trip.calls[1:])),
    lambda plan: _trip(plan, lambda trip: replace(trip, calls=(*trip.calls, trip.calls[-1]))),
    lambda plan: _trip(plan, lambda trip: replace(trip, leave=trip.leave - 100_000)),
    lambda plan: _trip(plan, lambda trip: replace(trip, back=trip.leave - 1)),
    lambda plan: _trip(
        plan, lambda trip: replace(trip, calls=(replace(trip.calls[0], begin=2**39, end=2**39), *trip.calls[1:]))
    ),
    lambda plan: _trip(plan, lambda trip: replace(trip, calls=(replace(trip.calls[0], place=99), *trip.calls[1:]))),
]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_shortest_tour_of_five_is_found(engine: Engine) -> None:
    problem = one_vehicle()
    table = problem.travel[0].distance
    best = min(sum(table[a][b] for a, b in pairwise((0, *order, 0))) for order in permutations(range(1, len(SPOTS))))
    assert planned(problem, engine).cost == best


@pytest.mark.parametrize("engine", ENGINES)
def test_a_small_vehicle_reloads_and_a_release_holds_its_trip(engine: Engine) -> None:
    late = Visit(VisitId("late"), 3, (1,), release=9_000)
    problem = one_vehicle(vehicles=(Vehicle(VehicleId("cart"), capacity=(2,), reload_depots=(0,)),))
    problem = replace(problem, visits=(*problem.visits, late), depots=(Depot(0, loading=120),))
    plan = planned(problem, engine)
    (one,) = plan.rounds
    assert len(one.trips) == 3
    held = next(trip for trip in one.trips if any(call.visit == "late" for call in trip.calls))
    assert held.leave >= 9_000 + 120


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_worth_more_is_served_when_not_all_can_be(engine: Engine) -> None:
    visits = (Visit(VisitId("news"), 1, prize=2_000), Visit(VisitId("bread"), 2, prize=9_000))
    short = Vehicle(VehicleId("robot"), distance_max=1_600)
    assert planned(one_vehicle(visits=visits, vehicles=(short,)), engine).unserved == ("news",)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_shipment_is_fetched_before_it_is_brought(engine: Engine) -> None:
    shipment = Shipment(VisitId("jam"), Halt(4), Halt(1), (1,))
    plan = planned(one_vehicle(visits=(), shipments=(shipment,)), engine)
    assert [call.part for call in plan.rounds[0].trips[0].calls] == ["pickup", "delivery"]


def test_a_plan_that_swaps_the_ends_of_a_shipment_is_refused() -> None:
    shipment = Shipment(VisitId("jam"), Halt(4), Halt(1), (1,))
    problem = one_vehicle(visits=(), shipments=(shipment,))
    plan = planned(problem)
    swapped = _trip(plan, lambda trip: replace(trip, calls=trip.calls[::-1]))
    assert any("before it is picked up" in text for text in check_rounds(problem, swapped))


def test_without_pyvrp_the_fallback_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvrp", None)
    monkeypatch.delitem(sys.modules, "optimizer.rounds")
    plan = solve_rounds(one_vehicle(), SHORT, 1)
    assert isinstance(plan, RoundsPlan)
    assert plan.engine == "ortools"


def test_equal_questions_get_equal_plans() -> None:
    problem = one_vehicle(vehicles=(Vehicle(VehicleId("cart"), capacity=(2,), reload_depots=(0,)),))
    assert solve_rounds(problem, SHORT, 3) == solve_rounds(problem, SHORT, 3)
    assert solve_ortools(problem, SHORT, 3) == solve_ortools(problem, SHORT, 3)


def test_a_visit_that_no_vehicle_can_do_is_named() -> None:
    far = Visit(VisitId("far"), 4, (1,), late=60)
    answer = solve_rounds(one_vehicle(visits=(far,)), SHORT, 1)
    assert answer == Infeasible(
        ("visit far must be served but it can be reached at 453 at the earliest, its window ends at 60",)
    )


def test_every_problem_is_told_at_once() -> None:
    problem = RoundsProblem(
        (Travel(((0, -1), (1, 0)), ((0, 1),)),),
        (Depot(5),),
        (Vehicle(VehicleId("a"), start=2, capacity=(1,)), Vehicle(VehicleId("a"), profile=3, distance_cost=-1)),
        (Visit(VisitId("v"), 9, (1, 2), early=9, late=3), Visit(VisitId("v"), 0, release=5, late=4)),
        (Shipment(VisitId("s"), Halt(0), Halt(7), (-1,)),),
    )
    told = "\n".join(validate_rounds(problem))
    for part in (
        "values of distance are negative",
        "duration is not 2 x 2",
        "depot 0: place 5",
        "start 2 is no depot",
        "profile 3 is no travel table",
        "0 capacities, the first vehicle has 1",
        "distance_cost is -1",
        "visit v: place 9",
        "deliver has 2 values",
        "the window 9 to 3",
        "is released at 5",
        "shipment s delivery: place 7",
        "load is negative",
        "visit v: this id stands 2 times",
        "vehicle a: this id stands 2 times",
    ):
        assert part in told, part
    assert isinstance(solve_rounds(problem, SHORT, 1), Infeasible)


def test_vehicles_bound_to_visits_do_not_keep_the_search_for_ever() -> None:
    """With a larger number for what they may not do, PyVRP's local search never came back, whatever the criterion."""
    asked = get_context("fork").Process(target=lambda: planned(bound_to_visits(1)))
    asked.start()
    asked.join(60.0)
    try:
        assert asked.exitcode == 0
    finally:
        asked.kill()
