"""Each of farm, food, care, waste and building in one scenario: asked, planned by the real code, checked by another."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant
from optimizer import care, farm, gas_engine, waste
from optimizer.plant_check import check_cold, check_engine, check_stock, temperatures
from optimizer.problem import AssetId
from optimizer.scheduling import schedule
from optimizer.task_check import check_work
from optimizer.tasks import Crew, Machine, Robot, Supply, Task, TaskKind, WorkPlan, WorkProblem
from optimizer.upkeep import Condition, due, due_slot

SEED = 7
SLOTS = 96
NOW = Instant(1_780_000_200_000 // DAY_MS * DAY_MS)
DAY = farm.Calendar(NOW, SLOT_MS, SLOTS)
SUNNY = tuple(0.25 if t < 40 or t > 64 else 0.04 for t in range(SLOTS))
LETTUCE = farm.Crop("lettuce", 4.0, 600.0, 0.05, 2.5, 0.15, keeps_days=1.0)
VACCINES = care.ColdBox(AssetId("fridge-1"), 1.2, 22.0, 120.0, 1.6, 2.0, 8.0, 5.0)


def planned(problem: WorkProblem) -> WorkPlan:
    """Returns a plan that the independent checker has passed."""
    plan = schedule(problem, seed=SEED)
    assert check_work(problem, plan) == [], f"seed {SEED}"
    return plan


def start(plan: WorkPlan, name: str) -> int:
    found = plan.of(AssetId(name))
    assert found is not None, f"seed {SEED}: {name} is left out: {plan.undone}"
    return found.start_slot


def test_a_batch_goes_from_seeding_to_plate() -> None:
    batch = farm.Batch(AssetId("lettuce-7"), LETTUCE, 12, Instant(NOW - 40 * DAY_MS), 590.0)
    harvest = farm.expected_harvest(batch, NOW, (19.0,) * 5)
    assert harvest.early <= harvest.likely <= harvest.late
    assert harvest.late - harvest.early < 5 * DAY_MS, "ten degree-days are left: the band is days, not weeks"
    young = farm.expected_harvest(replace(batch, degree_days=100.0), NOW, (19.0,) * 5)
    assert young.late - young.early > harvest.late - harvest.early
    seedlings = farm.Batch(AssetId("lettuce-8"), LETTUCE, 12, None)
    practice = farm.Practice(dosing_windows=((24, 40), (60, 80)))
    tasks = (
        *farm.batch_tasks(batch, harvest, DAY, practice),
        *farm.batch_tasks(seedlings, young, DAY, practice),
    )
    problem = WorkProblem(
        SLOTS,
        0.25,
        (Supply((5.0,) * SLOTS, SUNNY),),
        20.0,
        tasks,
        crews=(Crew(AssetId("growers"), ("grow",), ((28, 68),)),),
        robots=(Robot(AssetId("robot-1"), ("carry",), ((20, 84),), 1.0, 0.3, 0.1, 0.4),),
    )
    plan = planned(problem)
    assert plan.undone == ()
    assert start(plan, "lettuce-7.harvest") >= DAY.slot(harvest.early)
    arrives = start(plan, "lettuce-7.carry") + practice.carry_slots
    assert arrives - start(plan, "lettuce-7.harvest") <= 16, "it does not lie in the sun for hours"
    assert start(plan, "lettuce-7.dose1") in range(60, 80)

    orders = tuple(farm.Order(f"order-{n}", f"home-{n:02d}", 3.0, arrives + 8 + n) for n in range(12))
    found, short = farm.deliveries(2.0, {arrives: harvest.kg_low}, orders)
    taken: dict[int, float] = {}
    for one in found:
        taken[one.ready_slot + 1] = taken.get(one.ready_slot + 1, 0.0) + one.kg
    assert len(found) + len(short) == 12
    assert sum(one.kg for one in found) <= harvest.kg_low + 2.0
    assert all(one.ready_slot < one.due_slot for one in found)
    assert check_stock(2.0, {arrives: harvest.kg_low}, taken, 100.0, SLOTS) == []
    assert check_stock(2.0, {arrives: harvest.kg_low}, {t: kg * 2 for t, kg in taken.items()}, 100.0, SLOTS)
    assert farm.stock_kg(2.0, {arrives: 5.0}, {arrives + 1: 4.0}, SLOTS)[-1] == 3.0


def test_spraying_waits_for_still_dry_air_and_irrigation_takes_tank_water() -> None:
    rng = Random(SEED)
    wind = tuple(2.0 if 20 <= t < 34 or 70 <= t < 84 else 5.0 + rng.random() for t in range(SLOTS))
    rain = tuple(1.0 if 36 <= t < 40 else 0.0 for t in range(SLOTS))
    windows = farm.spray_windows(wind, rain, (20.0,) * SLOTS, farm.SprayLimits())
    assert windows == ((20, 28), (70, 84)), "eight slots before the rain are lost too"
    spray = Task(AssetId("spray"), TaskKind.SPRAYING, (0.0,) * 6, 0, SLOTS, SLOTS, 1.0, 50.0, windows=windows)
    spray = replace(spray, robot=True, robot_kwh=0.4, earliest_slot=24)
    needs = (farm.ZoneNeed(AssetId("north"), 3.0, (30, 60), 80.0), farm.ZoneNeed(AssetId("south"), 1.5, (30, 60), 40.0))
    water = farm.irrigation_tasks(needs, 0.5, 0.0, 0.05)
    assert sum(sum(task.water_kl) for task in water) == pytest.approx(4.5)
    survey = Task(AssetId("survey"), TaskKind.SURVEY, (0.0,) * 3, 0, 60, SLOTS, 1.0, 10.0, robot=True, robot_kwh=0.2)
    robot = Robot(AssetId("robot-1"), ("spraying", "irrigation", "survey"), ((0, SLOTS),), 1.2, 0.5, 0.15, 0.5)
    problem = WorkProblem(SLOTS, 0.25, (Supply((5.0,) * SLOTS, SUNNY),), 20.0, (spray, survey, *water), robots=(robot,))
    plan = planned(problem)
    assert plan.undone == ()
    assert start(plan, "spray") >= 70, "the morning's dry spell has no six slots left after its earliest start"


def test_vaccines_stay_cold_and_the_warning_comes_before_the_limit() -> None:
    ambient = tuple(24.0 + 8.0 * (30 < t < 70) for t in range(SLOTS))
    held = tuple(care.holding_w(VACCINES, one) for one in ambient)
    assert check_cold(VACCINES, 5.0, ambient, held, 0.25) == []
    assert min(care.hard_load_kw((VACCINES,), ambient)) > 0.0
    # The compressor dies at slot 20: minute by minute until somebody is told, and until it is too late.
    failing = tuple(watts if t < 20 else 0.0 for t, watts in enumerate(held))
    course = [5.0, *temperatures(VACCINES, 5.0, ambient, failing, 0.25)]
    told = next(t for t in range(SLOTS) if care.warning(VACCINES, course[t], ambient[t], failing[min(t, SLOTS - 1)]))
    lost = next(t for t, seen in enumerate(course) if seen > VACCINES.high_c)
    assert 20 <= told < lost, f"told in slot {told}, lost in slot {lost}"
    assert (lost - told) * 15 >= 45, "at least three quarters of an hour are left to act"
    assert check_cold(VACCINES, 5.0, ambient, failing, 0.25)[0].rule == "cold"
    last = care.time_to(VACCINES, VACCINES.high_c, 5.0, 24.0, 0.0)
    assert last is not None
    assert care.after(VACCINES, 5.0, 24.0, 0.0, last) == pytest.approx(VACCINES.high_c)
    frost = care.warning(VACCINES, 3.0, 5.0, VACCINES.power_w_max)
    assert frost is not None
    assert frost.limit_c == VACCINES.low_c
    door = care.warning(VACCINES, 6.0, 24.0, held[0], trend_c_per_h=2.0)
    assert door is not None, "an open door: the model is content, the measured trend is not"
    assert door.in_ms == HOUR_MS


def test_a_medicine_flight_outranks_every_parcel() -> None:
    parcels = tuple(
        Task(AssetId(f"parcel-{n}"), TaskKind.PARCEL, (0.0,) * 3, 0, 8, 20, 4.0, 500.0, robot=True, robot_kwh=0.04)
        for n in range(6)
    )
    flight = care.medicine_flight("serum", parcels, (0, 12), 4, 0.09, ready_slot=2)
    drone = Robot(AssetId("drone-1"), ("parcel", "medicine"), ((0, SLOTS),), 0.13, 0.12, 0.02, 0.1)
    problem = WorkProblem(SLOTS, 0.25, (Supply((5.0,) * SLOTS, SUNNY),), 20.0, (*parcels, flight), robots=(drone,))
    plan = planned(problem)
    assert start(plan, "serum") + 4 <= 12
    assert plan.undone, "the pack cannot carry them all: what is left behind is a parcel"
    assert {str(one.task)[:6] for one in plan.undone} == {"parcel"}
    fairweather = planned(replace(problem, tasks=parcels))
    assert len(fairweather.undone) < len(plan.undone)


def test_the_digester_burns_its_gas_when_power_is_dear() -> None:
    digester = waste.Digester(AssetId("digester-1"), 0.09, 0.06, 4_000.0, 8.0, 4.0, 40.0, 12.0, 5.0, 0.55, 1.0)
    feed = tuple(60.0 if t % 32 == 0 else 0.0 for t in range(SLOTS))
    made = waste.gas_made(digester, feed, 0.25)
    price = tuple(0.42 if 68 <= t < 88 else 0.05 if 40 <= t < 60 else 0.2 for t in range(SLOTS))
    plan = gas_engine.run_engine(digester, made, price, 0.25, end_value=0.1)
    assert check_engine(digester, made, plan, 0.25) == []
    earned = sum(kw * 0.25 * one for kw, one in zip(plan.kw, price, strict=True))
    steady = tuple(5.0 if t % 3 == 0 else 0.0 for t in range(SLOTS))
    plain = waste.burn(digester, made, steady, 0.25)
    plain_earned = sum(kw * 0.25 * one for kw, one in zip(plain.kw, price, strict=True))
    assert earned > plain_earned
    assert sum(plan.kw[68:88]) > sum(plan.kw[40:60])
    assert sum(plan.flared_m3) <= sum(plain.flared_m3)
    assert check_engine(digester, made, replace(plan, kw=(12.0,) * SLOTS), 0.25)


def test_waste_is_processed_before_the_yard_is_full() -> None:
    yard = waste.Yard(AssetId("organics"), 300.0, 520.0, (5.0,) * SLOTS, "shredder", 4.0, 100.0, ("yard",))
    tasks = waste.processing(yard, 0.25, 8, 60.0)
    problem = WorkProblem(
        SLOTS,
        0.25,
        (Supply((6.0,) * SLOTS, SUNNY),),
        20.0,
        tasks,
        (Machine(AssetId("shredder-1"), "shredder", ((24, 80),)),),
        (Crew(AssetId("yard-crew"), ("yard",), ((24, 80),)),),
    )
    plan = planned(problem)
    taken = {one.start_slot + 8: 200.0 for one in plan.assignments}
    assert check_stock(300.0, dict.fromkeys(range(SLOTS), 5.0), taken, 540.0, SLOTS) == []
    assert any(SUNNY[one.start_slot] == 0.04 for one in plan.assignments)
    assert check_stock(300.0, dict.fromkeys(range(SLOTS), 5.0), {}, 540.0, SLOTS), "without it the yard runs over"


def test_building_and_repair_share_crews_and_machines_with_a_service_that_wear_brings_forward() -> None:
    condition = Condition(1_150.0, 1_000.0, 250.0, 6.0, wear=0.99, wear_at_service=0.3)
    found = due(condition, NOW)
    digger = Machine(AssetId("digger-1"), "digger", ((28, 72),), hours_left=found.hours_left)
    latest = due_slot(found, NOW, SLOT_MS, SLOTS)
    tasks = (
        Task(
            AssetId("trench"), TaskKind.CONSTRUCTION, (0.0,) * 10, 0, SLOTS, SLOTS, 1.0, 90.0, "digger", None, ("dig",)
        ),
        Task(AssetId("pipe"), TaskKind.REPAIR, (0.5,) * 4, 0, 72, SLOTS, 5.0, 200.0, "", None, ("fit",)),
        Task(AssetId("grease"), TaskKind.MAINTENANCE, (0.0,) * 2, 0, latest, SLOTS, 2.0, 80.0, "", digger.id, ("fit",)),
    )
    tasks = (tasks[0], replace(tasks[1], after=(tasks[0].id,), after_gap_slots=1), tasks[2])
    problem = WorkProblem(
        SLOTS,
        0.25,
        (Supply((5.0,) * SLOTS, SUNNY),),
        20.0,
        tasks,
        (digger,),
        (Crew(AssetId("diggers"), ("dig",), ((28, 64),)), Crew(AssetId("fitters"), ("fit",), ((28, 68),))),
    )
    plan = planned(problem)
    assert found.hours_left < 2.5, "the trench takes 2.5 h, wear leaves less: the service comes first"
    assert start(plan, "grease") + 2 <= start(plan, "trench")
    assert start(plan, "pipe") >= start(plan, "trench") + 11
