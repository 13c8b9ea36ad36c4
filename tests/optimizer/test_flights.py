"""Drone flights: the energy model against measured flights, the engine against the checker, and spoilt plans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from optimizer.check_flights import check_flights
from optimizer.flight_problem import (
    M100,
    Air,
    Charge,
    Drone,
    Drop,
    Flight,
    FlightsPlan,
    FlightsProblem,
    Parcel,
    validate_flights,
)
from optimizer.flights import options_of, solve_flights
from optimizer.logistics import RoundsStop, VehicleId, VisitId
from optimizer.plan import Infeasible

SHORT = RoundsStop(seconds=None, iterations=200)
relaxed = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DRONE = Drone(VehicleId("drone-1"), M100, 0.0, 0.0, 129.96, 129.96, 26.0, 100.0, flight_price=1_000)


def planned(problem: FlightsProblem) -> FlightsPlan:
    """Returns the plan after the checker has found nothing."""
    plan = solve_flights(problem, SHORT, 1)
    assert isinstance(plan, FlightsPlan)
    assert check_flights(problem, plan) == []
    return plan


def parcel(name: str, x: float, y: float, mass: float = 0.3, **changes: object) -> Parcel:
    """Returns a parcel worth a flight."""
    return replace(Parcel(VisitId(name), x, y, mass, prize=1_000_000), **changes)  # pyright: ignore[reportArgumentType]


@st.composite
def problems(draw: st.DrawFn) -> FlightsProblem:
    """Returns up to two drones, five parcels, some wind."""
    number, real = st.integers, st.floats
    parcels = tuple(
        Parcel(
            VisitId(f"parcel-{at}"),
            draw(real(-2_500, 2_500)),
            draw(real(-2_500, 2_500)),
            draw(real(0.05, 0.8)),
            early := draw(number(0, 9_000)),
            early + draw(number(0, 9_000)),
            draw(number(0, 90)),
            draw(number(0, 10**6)),
            medical=draw(st.booleans()),
        )
        for at in range(draw(number(0, 5)))
    )
    drones = tuple(
        Drone(
            VehicleId(f"drone-{at}"),
            M100,
            0.0,
            0.0,
            battery,
            battery * draw(real(0.0, 1.0)),
            battery * 0.2,
            draw(st.sampled_from((0.0, 100.0, 300.0))),
            flight_price=draw(number(0, 10_000)),
        )
        for at in range(draw(number(1, 2)))
        for battery in (draw(real(60.0, 260.0)),)
    )
    air = Air(draw(real(-6, 6)), draw(real(-6, 6)), 1.2, draw(real(20, 80)))
    return FlightsProblem(drones, parcels, air, draw(number(0, 2)), 300, 20_000)


@relaxed
@given(problems())
def test_whatever_the_engine_says_stands_up_to_the_checker(problem: FlightsProblem) -> None:
    assert validate_flights(problem) == []
    planned(problem)


@pytest.mark.deep
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems())
def test_five_hundred_days_of_flights(problem: FlightsProblem) -> None:
    planned(problem)


@relaxed
@given(problem=problems(), data=st.data())
def test_a_spoilt_plan_is_told_from_a_good_one(problem: FlightsProblem, data: st.DataObject) -> None:
    plan = planned(problem)
    assume(plan.flights)
    spoil = data.draw(st.sampled_from(SPOILS))
    assert check_flights(problem, spoil(plan)) != []


def _flight(plan: FlightsPlan, change: Callable[[Flight], Flight]) -> FlightsPlan:
    return replace(plan, flights=(change(plan.flights[0]), *plan.flights[1:]))


def _drop(plan: FlightsPlan, change: Callable[[Drop], Drop]) -> FlightsPlan:
    return _flight(plan, lambda one: replace(one, drops=(change(one.drops[0]), *one.drops[1:])))


SPOILS: list[Callable[[FlightsPlan], FlightsPlan]] = [
    lambda plan: replace(plan, cost=plan.cost + 100),
    lambda plan: replace(plan, flights=plan.flights[1:]),
    lambda plan: replace(plan, flights=(*plan.flights, plan.flights[0])),
    lambda plan: replace(plan, unserved=(*plan.unserved, plan.flights[0].drops[0].parcel)),
    lambda plan: replace(plan, late=(*plan.late, VisitId("parcel-0"))) if "parcel-0" not in plan.late else _cut(plan),
    lambda plan: replace(plan, charges=(Charge(plan.flights[0].drone, 0, 60, 900.0), *plan.charges)),
    lambda plan: _flight(plan, lambda one: replace(one, energy_wh=one.energy_wh - 1)),
    lambda plan: _flight(plan, lambda one: replace(one, back=one.leave)),
    lambda plan: _flight(plan, lambda one: replace(one, leave=one.leave - 100)),
    lambda plan: _flight(plan, lambda one: replace(one, drone=VehicleId("stranger"))),
    lambda plan: _flight(plan, lambda one: replace(one, drops=one.drops * 4)),
    lambda plan: _drop(plan, lambda drop: replace(drop, begin=drop.begin - 5)),
    lambda plan: _drop(plan, lambda drop: replace(drop, begin=drop.begin + 5)),
    lambda plan: _drop(plan, lambda drop: replace(drop, parcel=VisitId("stranger"))),
]


def _cut(plan: FlightsPlan) -> FlightsPlan:
    return replace(plan, late=plan.late[1:])


@pytest.mark.parametrize(("km", "wh"), [(1, 37), (2, 61), (3, 85)])
def test_the_energy_of_out_and_back_is_what_flights_measured(km: int, wh: float) -> None:
    """Out and back with 0.5 kg from 50 m at 12 m/s; CMU's M100 flights, see facts on fields, B9."""
    frame = replace(M100, speed_mps=12.0, climb_mps=3.0, sink_mps=2.0, margin=0.0)
    one = Parcel(VisitId("p"), 1_000.0 * km, 0.0, 0.5, service=0)
    (option,) = options_of(FlightsProblem((replace(DRONE, frame=frame),), (one,)), replace(DRONE, frame=frame))
    assert option.energy_wh == pytest.approx(wh, rel=0.08)


def test_medicine_outranks_every_parcel() -> None:
    parcels = (
        parcel("medicine", 900.0, 0.0, prize=1, late=600, medical=True),
        *(parcel(f"parcel-{at}", -900.0, 50.0 * at, 0.9, late=600, prize=10**9) for at in range(3)),
    )
    plan = planned(FlightsProblem((DRONE,), parcels, horizon=1_000))
    assert [drop.parcel for flight in plan.flights for drop in flight.drops] == ["medicine"]
    assert plan.late == ()


def test_medicine_that_cannot_be_in_time_comes_late_and_says_so() -> None:
    plan = planned(FlightsProblem((DRONE,), (parcel("medicine", 900.0, 0.0, late=10, medical=True),)))
    assert plan.late == ("medicine",)
    assert plan.flights[0].leave == 0


def test_small_parcels_share_a_flight() -> None:
    parcels = tuple(parcel(f"parcel-{at}", 400.0, 100.0 * at) for at in range(3))
    assert len(planned(FlightsProblem((DRONE,), parcels)).flights) == 1


def test_a_flat_pack_is_charged_first_and_one_charger_serves_one_drone_at_a_time() -> None:
    flat = replace(DRONE, charge_now_wh=30.0, charge_w=200.0)
    drones = (flat, replace(flat, id=VehicleId("drone-2")))
    parcels = tuple(parcel(f"parcel-{at}", 1_200.0, (-1) ** at * 1_000.0, 0.9, late=2_400) for at in range(2))
    both = planned(FlightsProblem(drones, parcels, chargers=2, horizon=4_000))
    one = planned(FlightsProblem(drones, parcels, chargers=1, horizon=4_000))
    assert len(both.flights) == 2
    assert len(both.charges) == 2
    assert len(one.flights) < 2


def test_a_head_wind_forbids_what_calm_air_allows() -> None:
    far = (parcel("far", 2_000.0, 0.0),)
    assert planned(FlightsProblem((DRONE,), far)).unserved == ()
    assert planned(FlightsProblem((DRONE,), far, Air(wind_east_mps=-6.0))).unserved == ("far",)


def test_equal_questions_get_equal_plans() -> None:
    problem = FlightsProblem((DRONE,), tuple(parcel(f"parcel-{at}", 300.0 * at, 500.0) for at in range(4)))
    assert solve_flights(problem, SHORT, 3) == solve_flights(problem, SHORT, 3)


def test_every_problem_is_told_at_once() -> None:
    drone = replace(DRONE, battery_wh=0.0, reserve_wh=-1.0, frame=replace(M100, speed_mps=0.0))
    problem = FlightsProblem(
        (drone, replace(DRONE, charge_now_wh=500.0)),
        (parcel("p", float("nan"), 0.0, early=9, late=1), parcel("p", 0.0, 0.0, mass=-1.0)),
        Air(density=0.0, wind_east_mps=float("inf")),
        chargers=-1,
        horizon=0,
    )
    told = "\n".join(validate_flights(problem))
    for part in (
        "the horizon is 0",
        "chargers and energy_price",
        "density is 0",
        "the wind is not a number",
        "speed_mps is 0",
        "battery_wh is 0",
        "reserve_wh is -1",
        "holds 500.0 Wh",
        "parcel p: the window 9 to 1",
        "its place is not a number",
        "mass_kg is -1",
        "p: this id stands 2 times",
        "drone-1: this id stands 2 times",
    ):
        assert part in told, part
    assert isinstance(solve_flights(problem, SHORT, 1), Infeasible)
