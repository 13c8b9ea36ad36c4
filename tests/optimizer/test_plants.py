"""Wells, pumps of every kind, treatment, several tanks, rationing: plans that pass the checker, and their limits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from devices.clock import Instant
from optimizer import engine, relax
from optimizer.check import check
from optimizer.codec import decode, encode
from optimizer.formulation import decided, formulate, relaxed
from optimizer.plan import Infeasible, Plan, Reason, UnitStep
from optimizer.plant_runs import best_runs
from optimizer.problem import AssetId, Job, OperatingPoint, Problem, Stop, WaterPlant, WaterSystem, WaterTier, Well
from optimizer.solve import solve
from tests.optimizer import problems

if TYPE_CHECKING:
    from collections.abc import Callable

N = 24
PUMP, TANK, RAW, WELL, PLANT = (AssetId(name) for name in ("pump-1", "tank-1", "raw-1", "well-1", "plant-1"))
QUICK = Stop(None, 0.0005, 500)


def a_village(slots: int = N, **changes: object) -> Problem:
    """A small grid-tied village with one tank; its own pump is too weak for the demand, so that plants are needed."""
    base = problems.bare((5.0,) * slots, (0.0,) * slots, island=False)
    price = tuple(0.1 if slot % 12 < 6 else 0.4 for slot in range(slots))
    whole = replace(
        base, grid=replace(base.grid, import_limit_kw=(40.0,) * slots, import_price=price), water=(a_tank(slots),)
    )
    return replace(whole, **changes)  # pyright: ignore[reportArgumentType]


def a_tank(slots: int = N, **changes: object) -> WaterSystem:
    made = WaterSystem(PUMP, TANK, 1.0, 1.0, 20.0, 8.0, 2.0, 19.0, (1.0,) * slots, (0.4,) * slots, 20.0, 1.0, 0.1, 0.02)
    return replace(made, **changes)  # pyright: ignore[reportArgumentType]


ON_OFF = WaterPlant(PLANT, TANK, None, (OperatingPoint(6.0, 4.0),), start_price=0.05)
VFD = replace(ON_OFF, points=(OperatingPoint(2.0, 0.8), OperatingPoint(4.0, 2.2), OperatingPoint(6.0, 4.6)))
BATCH = replace(
    ON_OFF, points=(), phases=(OperatingPoint(0.0, 2.0), OperatingPoint(8.0, 6.0), OperatingPoint(6.0, 5.0))
)


def planned(problem: Problem) -> Plan:
    plan = solve(problem, QUICK, 0)
    assert isinstance(plan, Plan), plan
    assert check(problem, plan) == []
    return plan


def flows(plan: Plan) -> list[bool]:
    return [step.on for step in plan.units[PLANT]]


@pytest.mark.parametrize("plant", [ON_OFF, VFD, BATCH])
def test_a_plant_fills_the_tank_where_energy_is_cheap(plant: WaterPlant) -> None:
    plan = planned(a_village(plants=(plant,)))
    on = flows(plan)
    assert any(on)
    assert sum(plan.water_unserved_kl[TANK]) < 1e-6
    cheap = sum(on[slot] for slot in range(N) if slot % 12 < 6)
    assert cheap > sum(on) / 2


def test_a_variable_speed_runs_slowly_rather_than_fast() -> None:
    fast = replace(VFD, points=VFD.points[2:])
    tank = a_tank(demand_kl=(0.5,) * N, pump_flow_kl_per_h=0.0)
    calm, hard = planned(a_village(water=(tank,), plants=(VFD,))), planned(a_village(water=(tank,), plants=(fast,)))
    assert calm.cost < hard.cost - 0.1
    assert 0 < min(step.power_w for step in calm.units[PLANT] if step.on) < 4600


def test_a_plant_that_starts_runs_its_least_time() -> None:
    plan = planned(a_village(plants=(replace(ON_OFF, min_run_slots=4),)))
    text = "".join("x" if on else "." for on in flows(plan))
    assert all(len(run) >= 4 for run in text.strip(".").split(".") if run and not text.endswith(run)), text
    kept = planned(a_village(plants=(replace(ON_OFF, running=True, keep_slots=3, stop_price=5.0),)))
    assert flows(kept)[:3] == [True] * 3


def test_batches_are_whole() -> None:
    plan = planned(a_village(plants=(BATCH,)))
    watts = [step.power_w for step in plan.units[PLANT]]
    begun = [slot for slot, w in enumerate(watts) if w == 2000]
    assert begun
    assert all(watts[slot : slot + 3] == [2000, 6000, 5000] for slot in begun)


def test_a_batch_under_way_runs_to_its_end_and_costs_no_second_start() -> None:
    begun = replace(BATCH, running=True, phase_now=1, start_price=50.0)
    plan = planned(a_village(plants=(begun,), water=(a_tank(demand_kl=(0.2,) * N, lifeline_kl=(0.2,) * N),)))
    watts = [step.power_w for step in plan.units[PLANT]]
    assert watts[:2] == [6000, 5000]
    assert not any(watts[2:]), "another batch would cost 50"
    assert plan.cost < 25.0
    broken = shifted(plan, 1, False, 0)
    assert "plant_batch" in {violation.rule for violation in check(a_village(plants=(begun,)), broken)}


@pytest.mark.parametrize("plant", [ON_OFF, VFD, BATCH])
def test_a_warm_re_plan_keeps_what_the_plants_do_and_the_plan_can_be_held(plant: WaterPlant) -> None:
    problem = a_village(plants=(plant,))
    last = planned(problem)
    base = relax.held(problem, last)
    assert base is not None
    assert base.cost == pytest.approx(last.cost, abs=0.05)
    on = flows(last)[0]
    now = replace(plant, running=on, phase_now=int(on and plant is BATCH))
    level, pumping = last.tank_kl[TANK][0], last.units[PUMP][0].on
    later = replace(
        problem,
        start=Instant(problem.start + problem.slot_ms),
        plants=(now,),
        water=(a_tank(level_now_kl=level - 0.05, running=pumping),),
    )
    warm = solve(later, QUICK, 0, last)
    assert isinstance(warm, Plan)
    assert check(later, warm) == []
    assert flows(warm)[:-1] == flows(last)[1:]


def test_a_weak_well_is_not_pumped_dry() -> None:
    well = Well(WELL, 3.0, 2.0, 1.0)
    free = planned(a_village(plants=(ON_OFF,)))
    bound = planned(a_village(plants=(replace(ON_OFF, source=WELL),), wells=(well,)))
    assert min(bound.well_kl[WELL]) >= -1e-6
    assert sum(flows(bound)) * 1.5 <= 2.0 + 1.0 * N / 4 + 1e-6
    assert bound.cost > free.cost
    capped = planned(a_village(plants=(replace(ON_OFF, source=WELL),), wells=(replace(well, limit_kl=3.0),)))
    assert sum(flows(capped)) * 1.5 <= 3.0 + 1e-6


def test_desalination_feeds_a_raw_tank_and_a_filter_the_taps() -> None:
    raw = a_tank(tank_id=RAW, pump_id=AssetId("pump-2"), demand_kl=(0.0,) * N, lifeline_kl=(0.0,) * N, level_now_kl=3.0)
    taps = a_tank(pump_flow_kl_per_h=0.0)
    filter_ = replace(ON_OFF, source=RAW, recovery=0.9)
    desal = WaterPlant(AssetId("desal"), RAW, None, (OperatingPoint(5.0, 17.5),), recovery=0.4, min_run_slots=3)
    plan = planned(a_village(water=(taps, raw), plants=(filter_, desal)))
    assert any(flows(plan))
    assert any(step.on for step in plan.units[AssetId("desal")])
    brought = sum(flows(plan)) * 6.0 / 4
    assert 8.0 + brought - (sum(taps.demand_kl) - sum(plan.water_unserved_kl[TANK])) == pytest.approx(
        plan.tank_kl[TANK][-1]
    )


def test_rationing_takes_the_cheapest_tier_first_and_never_the_lifeline() -> None:
    tiers = (WaterTier("gardens", (0.3,) * N, 2.0), WaterTier("washing", (0.2,) * N, 6.0))
    thirsty = a_tank(tiers=tiers, level_now_kl=8.0, pump_flow_kl_per_h=0.8)
    plan = planned(a_village(water=(thirsty,)))
    assert plan.violations["water:tank-1:gardens"] > 0
    # 24 kL wanted, 8 + 4.8 there: 11.2 kL go unserved, gardens give 7.2, then washing gives what is left.
    assert plan.violations["water:tank-1:gardens"] == pytest.approx(7.2 * 2.0, rel=0.02)
    assert plan.violations["water:tank-1:washing"] > 10.0
    assert "water:tank-1" not in plan.violations
    dry = solve(
        a_village(water=(replace(thirsty, level_now_kl=0.5, well=WELL),), wells=(Well(WELL, 5.0, 0.1, 0.05),)), QUICK, 0
    )
    assert isinstance(dry, Infeasible)
    assert any("lifeline water of tank-1" in text and "well-1 holds 0.100 kL" in text for text in dry.reasons)


def shifted(plan: Plan, slot: int, on: bool, watts: int) -> Plan:
    steps = list(plan.units[PLANT])
    steps[slot] = UnitStep(on, watts, Reason("forged"))
    return replace(plan, units={**plan.units, PLANT: tuple(steps)})


@pytest.mark.parametrize(
    ("plant", "forge", "rule"),
    [
        (ON_OFF, lambda plan, slot: shifted(plan, slot, True, 3000), "plant_power"),
        (ON_OFF, lambda plan, slot: shifted(plan, slot, False, 0), "tank"),
        (BATCH, lambda plan, slot: shifted(plan, slot, False, 0), "plant_batch"),
        (replace(ON_OFF, min_run_slots=6), lambda plan, slot: shifted(plan, slot + 1, False, 0), "plant_run"),
        (replace(ON_OFF, source=WELL), lambda plan, _: replace(plan, well_kl={WELL: (9.0,) * N}), "well"),
        (ON_OFF, lambda plan, _: replace(plan, cost=plan.cost - 1), "cost"),
    ],
)
def test_the_checker_sees_a_forged_plant(plant: WaterPlant, forge: Callable[[Plan, int], Plan], rule: str) -> None:
    problem = a_village(plants=(plant,), wells=(Well(WELL, 30.0, 30.0, 2.0),))
    plan = planned(problem)
    assert rule in {violation.rule for violation in check(problem, forge(plan, flows(plan).index(True)))}


def test_faults_are_named_before_any_solving() -> None:
    broken = (
        replace(ON_OFF, tank=AssetId("nowhere"), source=AssetId("nothing"), recovery=0.0),
        replace(
            VFD, id=AssetId("p2"), points=(OperatingPoint(2.0, 2.0), OperatingPoint(4.0, 3.0), OperatingPoint(6.0, 3.5))
        ),
        replace(BATCH, id=AssetId("p3"), points=ON_OFF.points),
    )
    found = solve(a_village(plants=broken, wells=(Well(WELL, -1.0, 0.0, 1.0),)), QUICK, 0)
    assert isinstance(found, Infeasible)
    text = "; ".join(found.reasons)
    for part in (
        "fills nowhere",
        "takes from nothing",
        "recovery is 0.0",
        "rise faster",
        "one of the two",
        "storage_kl is -1",
    ):
        assert part in text


def test_a_problem_with_plants_goes_to_the_child_and_back() -> None:
    problem = a_village(plants=(VFD, replace(BATCH, id=AssetId("p2"))), wells=(Well(WELL, 3.0, 2.0, 1.0),))
    assert decode(Problem, encode(problem)) == problem


@settings(max_examples=20)
@given(
    plants=st.lists(st.sampled_from([ON_OFF, VFD, BATCH]), min_size=1, max_size=2),
    level=st.floats(3.0, 18.0),
    well=st.floats(0.0, 3.0),
    demand=st.lists(st.floats(0.0, 2.0).map(lambda kl: round(kl, 2)), min_size=12, max_size=12),
    recovery=st.sampled_from([0.4, 1.0]),
)
def test_whatever_comes_the_checker_agrees(
    plants: list[WaterPlant], level: float, well: float, demand: list[float], recovery: float
) -> None:
    tank = a_tank(
        12, demand_kl=tuple(demand), lifeline_kl=tuple(kl / 4 for kl in demand), level_now_kl=level, well=WELL
    )
    made = tuple(replace(p, id=AssetId(f"plant-{n}"), source=WELL, recovery=recovery) for n, p in enumerate(plants))
    problem = a_village(12, water=(tank,), plants=made, wells=(Well(WELL, 3.0, well, 1.5),))
    answer = solve(problem, QUICK, 0)
    if isinstance(answer, Infeasible):
        assert any("lifeline water" in reason for reason in answer.reasons)
    else:
        assert check(problem, answer) == []


# ------------------------------------------------------------------------------- decided without a search


@st.composite
def lone_plants(draw: st.DrawFn) -> Problem:
    """A village whose one plant brings all water, at any prices, from the sea or from a well."""
    prices = tuple(draw(st.lists(st.integers(1, 60), min_size=N, max_size=N)))
    kind = draw(st.sampled_from([ON_OFF, VFD, BATCH]))
    plant = replace(kind, start_price=draw(st.sampled_from([0.0, 0.05, 0.6])))
    if kind is BATCH:
        plant = replace(plant, phase_now=draw(st.integers(0, 2)))
    else:
        plant = replace(plant, min_run_slots=draw(st.integers(1, 4)), running=draw(st.booleans()))
        plant = replace(plant, keep_slots=draw(st.integers(0, 3)) * plant.running, stop_price=1.0)
    wells: tuple[Well, ...] = ()
    if draw(st.booleans()):
        plant = replace(plant, source=WELL)
        limit = draw(st.sampled_from([None, 12.0, 40.0]))
        wells = (Well(WELL, draw(st.floats(3.0, 12.0)), 3.0, draw(st.floats(0.3, 3.0)), limit),)
    tank = a_tank(
        pump_flow_kl_per_h=0.0, level_now_kl=draw(st.floats(3.0, 18.0)), terminal_value=draw(st.floats(0.0, 0.3)),
        demand_kl=tuple(draw(st.lists(st.floats(0.0, 1.0), min_size=N, max_size=N))), lifeline_kl=(0.0,) * N,
    )  # fmt: skip
    base = a_village(water=(tank,), plants=(plant,), wells=wells)
    return replace(base, grid=replace(base.grid, import_price=tuple(price / 100 for price in prices)))


@settings(max_examples=150)
@given(lone_plants())
def test_the_best_runs_of_a_lone_plant_are_what_a_search_finds(problem: Problem) -> None:
    """At prices that it does not move, dynamic programming is exact; a drive's speeds it takes in eighths."""
    model, layout = formulate(problem)
    relaxation = engine.run(relaxed(model), engine.EXACT, 0)
    assume(relaxation.outcome is engine.Outcome.OPTIMAL)  # a batch under way may overflow the tank
    price = relaxation.duals[layout.coupling.balance] / problem.slot_h
    (plant,), columns = problem.plants, layout.plants[PLANT].decided
    runs = best_runs(problem, layout, relaxation.x, price, plant)
    search = engine.run(model, Stop(None, 1e-9, None), 0)
    if not len(runs):
        assert problem.wells or relaxation.x[layout.water[TANK].level].max() > 17.0 or plant.phase_now
        return
    found = engine.run(relaxed(decided(model, columns, runs)), engine.EXACT, 0)
    assert found.outcome is engine.Outcome.OPTIMAL, "the runs keep tank and well within their limits"
    best, cost = (float(model.cost @ solution.x) for solution in (search, found))
    assert cost >= best - 1e-6
    unserved = sum(float(s.x[part].sum()) for s in (relaxation, search) for part in layout.water[TANK].unserved)
    if unserved < 1e-6 and not problem.wells:
        assert cost <= best + (0.1 if plant.points[1:] else 1e-6) * max(1.0, abs(best))


def test_plants_that_are_decided_leave_only_the_jobs_to_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of two dear starts is near the relaxation's halves: a search has to tell, but not of the water."""
    job = Job(AssetId("job-1"), (40.0, 40.0), (0.0, 0.0), 2, 14, 500.0)
    problem = a_village(plants=(ON_OFF, replace(BATCH, id=AssetId("plant-2"))), jobs=(job,))
    sun = tuple(30.0 if slot in (4, 5, 6, 10, 11, 12) else 0.0 for slot in range(N))
    problem = replace(problem, pv_kw=sun)
    run, searched = engine.run, list[int]()

    def counted(model: engine.Model, stop: Stop, seed: int, **more: bool) -> engine.Solution:
        searched.append(int(model.integer.sum()))
        return run(model, stop, seed, **more)

    monkeypatch.setattr(engine, "run", counted)
    plan = solve(problem, Stop(None, 0.005, 500), 0)
    assert isinstance(plan, Plan)
    assert check(problem, plan) == []
    assert 0 < max(searched) <= len(range(2, 15)), "the starts of the job, and no slot of a plant"
