"""One plan of energy, water, work, gas and rounds: valid, and never dearer than sectors planned on the tariff."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devices.clock import SLOT_MS, Instant
from optimizer.check import check
from optimizer.exchange import market
from optimizer.joint import JointPlan, joint, on_tariff
from optimizer.plan import Plan
from optimizer.plant_check import check_engine
from optimizer.problem import AssetId, Stop
from optimizer.sectors import GasPlant, JointProblem, Profile, asked_work, own_cost, with_sectors
from optimizer.solve import solve
from optimizer.task_check import check_work
from optimizer.tasks import TaskKind, WorkProblem
from optimizer.trip_ask import Pack, TripAsk
from optimizer.trip_packs import check_leaves
from optimizer.waste import Digester, gas_made
from tests.optimizer.problems import START, village
from tests.optimizer.shops import task, workshop

STOP = Stop(seconds=None, gap=0.005, nodes=200)
EFFORT = 0.1
SEED = 3
DIGESTER = Digester(AssetId("digester-1"), 0.09, 0.06, 3_000.0, 10.0, 4.0, 30.0, 8.0, 4.0, 0.55, 0.8)


def problem(*, island: bool) -> JointProblem:
    """Returns the example village with a workshop whose mill and dryer are heavy, and a digester."""
    shop = workshop()
    heavy = task("dryer", TaskKind.WASTE, (9.0,) * 8, due_slot=80, earliest_slot=4)
    watered = task("bed", TaskKind.IRRIGATION, (0.0,) * 4, robot=True, robot_kwh=0.3, water_kl=(0.3,) * 4)
    made = gas_made(DIGESTER, (0.0,) * 96, 0.25)
    work = replace(shop, tasks=(*shop.tasks, heavy, watered))
    return JointProblem(village(island=island), work, (GasPlant(DIGESTER, made, 0.3),))


@pytest.mark.parametrize("island", [False, True])
def test_the_joint_plan_is_valid_and_never_dearer_than_the_tariff_alone(*, island: bool) -> None:
    asked = problem(island=island)
    plan = joint(asked, STOP, SEED, EFFORT)
    assert isinstance(plan, JointPlan), plan
    assert check(with_sectors(asked, plan.sectors), plan.energy) == []
    assert check_work(asked_work(asked), plan.sectors.work) == []
    assert check_engine(DIGESTER, asked.plants[0].made_m3, plan.sectors.engines[DIGESTER.id], 0.25) == []
    assert plan.trace == tuple(sorted(plan.trace, reverse=True)), "every step that is kept makes the whole cheaper"
    first = on_tariff(asked, SEED, EFFORT)
    alone = solve(with_sectors(asked, first), STOP, SEED)
    assert isinstance(alone, Plan), alone
    assert plan.cost <= alone.cost + own_cost(asked, first) + 1e-6
    assert all(
        step.on for one in plan.sectors.work.assignments for step in plan.energy.units[one.task][one.start_slot :][:1]
    )


def trip(number: int, robot: str, leave: int, latest: int) -> TripAsk:
    """Returns a round of five slots that takes almost what a pack holds."""
    times = (Instant(START + slot * SLOT_MS) for slot in (leave, leave + 5, leave, latest))
    left, back, earliest, last = times
    return TripAsk(AssetId(f"round-{number}"), AssetId(robot), left, back, 1.9, earliest, last)


@pytest.mark.parametrize("island", [False, True])
def test_small_packs_make_their_rounds_when_the_sun_has_filled_them(*, island: bool) -> None:
    robots = ("robot-1", "robot-2")
    packs = tuple(Pack(AssetId(robot), 2.4, 0.6, 2.0, 0.9, 0.4, 0.4, 0.2) for robot in robots)
    rounds = [(28, 54), (38, 66)]  # just in time for windows that open at 07:00 and 09:30
    trips = tuple(trip(n, robots[n // 2], *rounds[n % 2]) for n in range(4))
    asked = JointProblem(village(island=island), WorkProblem(96, 0.25, (), 0.0, ()), packs=packs, trips=trips)
    plan = joint(asked, STOP, SEED, EFFORT)
    assert isinstance(plan, JointPlan), plan
    assert check(with_sectors(asked, plan.sectors), plan.energy) == []
    assert check_leaves(trips, plan.sectors.leaves, SLOT_MS) == []
    first = solve(with_sectors(asked, on_tariff(asked, SEED, EFFORT)), STOP, SEED)
    assert isinstance(first, Plan), first
    for found in (first, plan.energy):
        assert not any(name.startswith(("departure:", "trip:")) for name in found.violations)
    bought = 4 * 1.9 / 0.9 * 0.29  # what the rounds take, charged in the morning
    assert plan.cost < first.cost - 0.25 * bought
    noon = Instant(START + 44 * SLOT_MS)
    assert all(leave >= noon for leave in plan.sectors.leaves.values())


def test_the_market_says_where_power_is_free_and_how_much_of_it() -> None:
    energy = replace(village(), batteries=(), chargers=(), jobs=())
    found = market(energy, Profile.nothing(96), SEED)
    assert found is not None
    sunny = [t for t in range(96) if energy.pv_kw[t] > energy.load_kw[t] + 8.0]
    assert sunny
    assert all(found.price[t] <= 0.06 and found.spare_kw[t] > 1.0 for t in sunny)
    dark = [t for t in range(96) if energy.pv_kw[t] == 0.0]
    assert all(found.spare_kw[t] == 0.0 for t in dark)
    # More load than the room holds: the price of the limit, not of the tariff.
    full = market(energy, Profile((60.0,) * 96, (0.0,) * 96, (0.0,) * 96), SEED)
    assert full is not None
    assert max(full.price) > 1.0
