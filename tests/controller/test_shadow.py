"""The quarter-hour model against the real rules and against the planner's own money."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from controller.beliefs import DayResult
from controller.cycle import Context, decide
from controller.gate import DAYS_MIN, Gate
from controller.rules import RULES
from controller.shadow import Steps, play, play_rules, steps_of
from devices.clock import Instant
from devices.model import DeviceId, DeviceKind
from optimizer.plan import Mode, Plan, Reason, StorageStep
from optimizer.problem import AssetId, Problem, Stop
from optimizer.solve import solve
from tests.controller.scene import NOW, snapshot, village
from tests.optimizer import problems

SITE = village()
BATTERY, PUMP = AssetId("battery-1"), AssetId("pump-1")


def the_village(seed: int, slots: int = 96) -> Problem:
    """Returns a random day of the example village as the hub would ask for it."""
    chance = random.Random(seed)
    ratings = SITE.of_kind(DeviceKind.BATTERY)[0].ratings
    base = problems.village()
    energy = ratings["energy_wh"] / 1000
    battery = replace(
        base.batteries[0],
        id=BATTERY,
        energy_kwh=energy,
        charge_kw_max=ratings["charge_w_max"] / 1000,
        discharge_kw_max=ratings["discharge_w_max"] / 1000,
        soc_now_kwh=chance.uniform(0.2, 0.9) * energy,
        soc_min_kwh=ratings["soc_min"] * energy,
        soc_max_kwh=ratings["soc_max"] * energy,
        reserve_kwh=SITE.island_reserve * energy,
    )
    price = tuple(chance.uniform(0.1, 0.4) for _ in range(slots))
    return Problem(
        start=NOW,
        slot_ms=900_000,
        load_kw=tuple(chance.uniform(5, 45) for _ in range(slots)),
        critical_kw=(1.0,) * slots,
        pv_kw=tuple(chance.uniform(0, 60) for _ in range(slots)),
        shed_price=5.0,
        grid=replace(
            base.grid,
            import_limit_kw=(SITE.import_limit_w / 1000,) * slots,
            export_limit_kw=(SITE.export_limit_w / 1000,) * slots,
            import_price=price,
            export_price=(0.05,) * slots,
            available=(True,) * slots,
        ),
        batteries=(battery,),
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_model_does_in_each_slot_what_the_real_rules_would(seed: int) -> None:
    problem = the_village(seed)
    chance = random.Random(seed)
    device = SITE.device("battery-1")
    assert device is not None
    battery = problem.batteries[0]
    steps: list[Steps | None] = [
        None if chance.random() < 0.3 else Steps({BATTERY: (chance.choice(list(Mode)), chance.randint(0, 30_000))}, {})
        for _ in range(problem.slots)
    ]
    soc = battery.soc_now_kwh
    for slot, step in enumerate(steps):
        one = replace(
            problem,
            load_kw=problem.load_kw[slot : slot + 1],
            pv_kw=problem.pv_kw[slot : slot + 1],
            critical_kw=(1.0,),
            grid=replace(
                problem.grid,
                import_limit_kw=problem.grid.import_limit_kw[:1],
                export_limit_kw=problem.grid.export_limit_kw[:1],
                import_price=(0.2,),
                export_price=(0.05,),
                available=(True,),
            ),
            batteries=(replace(battery, soc_now_kwh=soc),),
        )
        others_w = (one.load_kw[0] - one.pv_kw[0]) * 1000
        seen = snapshot(SITE, {"battery-1": {"W": 0.0, "soc": soc / battery.energy_kwh}, "grid-1": {"W": -others_w}})
        asked = {} if step is None else {DeviceId("battery-1"): step.storages[BATTERY]}
        context = Context(SITE, seen, island=False, others_w=others_w, storage_steps=_steps(asked))
        wanted = decide(context, device, RULES).value / 1000
        after = play(one, [step])
        moved = after.grid_kw[0] - others_w / 1000
        full = battery.soc_max_kwh - after.soc_kwh[BATTERY] < 1e-6
        empty = after.soc_kwh[BATTERY] - battery.reserve_kwh < 1e-6
        if not full and not empty and after.grid_kw[0] > -SITE.export_limit_w / 1000 + 1e-6:
            assert moved == pytest.approx(wanted, abs=1e-6), (slot, step)
        soc = after.soc_kwh[BATTERY]


def _steps(asked: dict[DeviceId, tuple[Mode, int]]) -> dict[DeviceId, StorageStep]:
    return {name: StorageStep(mode, limit, 0, 0.5, Reason("planned")) for name, (mode, limit) in asked.items()}


def test_the_pump_of_the_model_is_switched_by_the_real_levels() -> None:
    problem = problems.village()
    water = problem.water[0]
    device = SITE.device("pump-1")
    assert device is not None
    for level in (0.05, 0.2, 0.35, 0.5, 0.7, 0.9, 0.97):
        for running in (False, True):
            one = replace(
                water,
                volume_kl=100.0,
                level_now_kl=100.0 * level,
                reserve_kl=100.0 * SITE.water_reserve,
                high_kl=100.0 * SITE.water_high,
                running=running,
                demand_kl=(0.0,) * problem.slots,
                lifeline_kl=(0.0,) * problem.slots,
            )
            context = Context(
                SITE,
                snapshot(SITE, {"tank-1": {"level": level}}),
                island=False,
                others_w=0.0,
                previous={DeviceId("pump-1"): float(running)},
            )
            wanted = decide(context, device, RULES).value
            still = replace(problem, water=(one,), batteries=(), chargers=(), jobs=(), gensets=())
            pumped = play(still, [None]).level_kl[water.tank_id] - one.level_now_kl
            assert (pumped > 0) == (wanted > 0), (level, running)


def test_a_plan_played_on_its_own_forecast_costs_what_it_says() -> None:
    problem = problems.village()
    plan = solve(problem, Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    played = play(problem, steps_of(plan))
    rules = play_rules(problem)
    assert played.cost == pytest.approx(plan.cost, rel=0.05, abs=0.5)
    assert plan.cost <= rules.cost + 1e-6, "no rule can be better than the optimum"


def result(day: int, plan: float, rules: float) -> DayResult:
    return DayResult(f"2026-06-{day:02}", NOW, Instant(NOW + 1), plan, rules, None, None, 96, 96)


def test_the_gate_follows_a_good_plan_and_not_one_that_the_rules_beat() -> None:
    problem = problems.village()
    plan = solve(problem, Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    used, note = Gate().judge(problem, plan)
    assert used, note
    storages = {
        name: tuple(replace(step, mode=Mode.CHARGE, limit_w=50_000) for step in steps)
        for name, steps in plan.storages.items()
    }
    used, note = Gate().judge(problem, replace(plan, storages=storages))
    assert not used
    assert note.startswith("rules:")


def test_days_that_speak_against_planning_end_it_until_others_speak_for_it() -> None:
    problem = problems.village()
    plan = solve(problem, Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    gate = Gate()
    for day in range(1, DAYS_MIN + 1):
        assert gate.judge(problem, plan)[0], "not before there are enough days"
        gate.take(result(day, plan=12.0, rules=10.0))
    used, note = gate.judge(problem, plan)
    assert not used
    assert "over the last 3 days" in note
    assert gate.judge(problem, plan, emergency=True)[0], "nothing is switched in an emergency"
    for day in range(4, 8):
        gate.take(result(day, plan=7.0, rules=10.0))
    assert gate.judge(problem, plan)[0], "in shadow it has won its place back"
