"""Trips as a sector: within their windows, never at a pack's or another trip's cost, never dearer than as planned."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.clock import SLOT_MS, Instant
from optimizer.check_whole import check_whole, energy_of, joint_problem
from optimizer.codec import decode, encode
from optimizer.plan import Infeasible, Plan
from optimizer.problem import AssetId, Grid, Problem, Stop
from optimizer.sectors import Sectors, with_sectors
from optimizer.solve import solve
from optimizer.tasks import WorkPlan
from optimizer.trip_ask import Pack, TripAsk
from optimizer.trip_packs import as_planned, charging_needs, check_leaves
from optimizer.trip_sector import charging_costs
from optimizer.whole import solve_whole
from tests.optimizer.problems import START, bare

STOP = Stop(seconds=None)
SLOTS = 32
SUN = tuple(8.0 if 14 <= t < 22 else 0.0 for t in range(SLOTS))
VEHICLES = (AssetId("robot-1"), AssetId("robot-2"))


def at(slot: int, late_ms: int = 0) -> Instant:
    return Instant(START + slot * SLOT_MS + late_ms)


def pack(vehicle: AssetId, **changes: float) -> Pack:
    """Returns a pack that holds little more than a trip takes."""
    return replace(Pack(vehicle, 1.2, 0.3, 0.8, 0.9, 0.2, 0.2, 0.1), **changes)  # pyright: ignore[reportArgumentType]


def trip(name: str, leave: int, room: tuple[int, int], slots: int = 3, kwh: float = 0.9) -> TripAsk:
    window = at(leave - room[0]), at(leave + room[1])
    return TripAsk(AssetId(name), VEHICLES[0], at(leave), at(leave + slots), kwh, *window)


@st.composite
def villages(draw: st.DrawFn) -> Problem:
    """Draws a small village with two vehicles, each with up to two trips that do not collide as they are planned."""
    load = draw(st.lists(st.sampled_from([1.0, 3.0, 6.0]), min_size=SLOTS, max_size=SLOTS).map(tuple))
    price = draw(st.lists(st.sampled_from([0.1, 0.3, 0.5]), min_size=SLOTS, max_size=SLOTS).map(tuple))
    packs, trips = list[Pack](), list[TripAsk]()
    for vehicle in VEHICLES:
        packs.append(pack(vehicle, charge_now_kwh=draw(st.sampled_from([0.2, 0.7, 1.2]))))
        free = 0
        for number in range(draw(st.integers(0, 2))):
            leave, slots = free + draw(st.integers(1, 8)), draw(st.integers(1, 4))
            late_ms = draw(st.sampled_from([0, SLOT_MS // 3]))  # trips are planned in seconds, not in slots
            window = at(leave - draw(st.integers(0, 4)), late_ms), at(leave + draw(st.integers(0, 20)), late_ms)
            name, kwh = AssetId(f"{vehicle}.{number}"), draw(st.sampled_from([0.4, 0.9]))
            trips.append(TripAsk(name, vehicle, at(leave, late_ms), at(leave + slots, late_ms), kwh, *window))
            free = leave + slots + 1
    village = bare(load, SUN, island=draw(st.booleans()), critical=(0.0,) * SLOTS)
    return replace(village, grid=replace(village.grid, import_price=price), packs=tuple(packs), trips=tuple(trips))


@settings(max_examples=25)
@given(villages())
def test_moved_trips_keep_windows_and_packs_and_the_whole_is_never_dearer(problem: Problem) -> None:
    assert decode(Problem, encode(problem)) == problem
    plan = solve_whole(problem, STOP, 0)
    asked = joint_problem(problem)
    assert asked is not None
    assert isinstance(plan, Plan)
    assert check_whole(problem, plan) == []
    first = Sectors(WorkPlan.nothing(SLOTS), leaves=as_planned(problem.trips))
    planned = solve(with_sectors(asked, first), STOP, 0)
    assert isinstance(planned, Plan)
    assert plan.cost <= planned.cost + 1e-6
    assert all(plan.leaves[one.id] == one.leave for one in problem.trips if not one.movable)
    lacking = {name for name in planned.violations if name.startswith(("trip:", "departure:"))}
    if not lacking:  # as planned every pack is full enough: then it must be where the trips are moved to, too
        storages, _ = energy_of(problem, plan)
        for storage in storages.batteries:
            soc = plan.soc_kwh[storage.id]
            assert all(soc[one.slot - 1] >= one.energy_kwh - 1e-3 for one in storage.departures)
            assert all(soc[slot] >= 0.2 - 1e-3 for slot, gone in enumerate(storage.trip_kwh) if gone and slot)


@settings(max_examples=25)
@given(villages())
def test_what_a_pack_pays_alone_is_what_the_linear_program_says(problem: Problem) -> None:
    for one in problem.packs:
        (storage,) = charging_needs(
            [one], problem.trips, as_planned(problem.trips), problem.start, SLOTS, problem.slot_ms
        )
        wide = Grid((99.0,) * SLOTS, (0.0,) * SLOTS, problem.grid.import_price, (0.0,) * SLOTS, (True,) * SLOTS, 9.0)
        nothing = (0.0,) * SLOTS
        alone = replace(bare(nothing, nothing), grid=wide, batteries=(storage,))
        exact = solve(alone, STOP, 0)
        assert isinstance(exact, Plan)
        (cost,) = charging_costs(alone, [storage], problem.grid.import_price)
        assert cost == pytest.approx(exact.cost, abs=0.02)


def test_a_pack_that_holds_one_trip_waits_for_the_sun_and_a_trip_with_no_room_stays() -> None:
    free, fixed = trip("round", 4, (0, 18)), trip("medicine", 4, (0, 0))
    village = replace(bare((6.0,) * SLOTS, SUN, island=False), packs=(pack(VEHICLES[0]),))
    moved = solve_whole(replace(village, trips=(free,)), STOP, 0)
    stays = solve_whole(replace(village, trips=(fixed,)), STOP, 0)
    assert isinstance(moved, Plan)
    assert isinstance(stays, Plan)
    assert at(14) < moved.leaves[free.id] <= free.latest
    assert stays.leaves[fixed.id] == fixed.leave
    assert moved.cost < stays.cost - 0.1
    kept = solve_whole(replace(village, trips=(free,)), STOP, 0, moved)
    assert isinstance(kept, Plan)
    assert kept.leaves == moved.leaves, "a warm re-plan leaves trips where the last plan put them"


def test_the_checker_refuses_leaves_outside_windows_between_slots_and_on_two_trips_at_once() -> None:
    one, two = trip("one", 4, (2, 8)), trip("two", 8, (2, 8))
    planned = as_planned((one, two))
    assert check_leaves((one, two), planned, SLOT_MS) == []
    wrong = {
        "trip_shape": {one.id: one.leave},
        "trip_window": {**planned, one.id: at(1)},
        "trip_slot": {**planned, two.id: at(9, 1)},
        "trip_order": {**planned, two.id: at(6)},
    }
    assert {rule: [v.rule for v in check_leaves((one, two), said, SLOT_MS)] for rule, said in wrong.items()} == {
        rule: [rule] for rule in wrong
    }


def test_what_is_wrong_with_trips_is_said_all_at_once() -> None:
    bad = replace(trip("round", 4, (0, 8)), vehicle=AssetId("ghost"), back=at(4), energy_kwh=nan, latest=at(3))
    problem = replace(bare((1.0,) * SLOTS, SUN), packs=(pack(VEHICLES[0], efficiency=0.0),), trips=(bad, bad))
    found = solve_whole(problem, STOP, 0)
    assert isinstance(found, Infeasible)
    said = "\n".join(found.reasons)
    for word in ("2 packs or trips", "efficiency 0.0", "nan", "ghost has no pack", "not after it leaves", "own window"):
        assert word in said
