"""Work plans: valid on random crowded days, on cheap slots, in time; and a checker that finds what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from devices.clock import DAY_MS, Instant
from optimizer.problem import AssetId
from optimizer.scheduling import BrokenWork, schedule
from optimizer.task_check import check_work
from optimizer.task_validation import validate_work
from optimizer.tasks import Assignment, Supply, TaskKind, WorkPlan, WorkProblem
from optimizer.upkeep import Condition, due
from tests.optimizer.shops import PRICE, SLOTS, random_work, task, workshop


@pytest.fixture(scope="module")
def day() -> tuple[WorkProblem, WorkPlan]:
    """One workshop day and its plan."""
    problem = workshop()
    return problem, schedule(problem)


def start(plan: WorkPlan, name: str) -> int:
    found = plan.of(AssetId(name))
    assert found is not None, f"{name} is not done: {plan.undone}"
    return found.start_slot


def test_everything_is_done_and_nothing_is_broken(day: tuple[WorkProblem, WorkPlan]) -> None:
    problem, plan = day
    assert check_work(problem, plan) == []
    assert plan.undone == ()
    assert plan.proven


def test_the_mill_runs_where_power_is_cheap(day: tuple[WorkProblem, WorkPlan]) -> None:
    _, plan = day
    assert all(PRICE[start(plan, "mill-a") + offset] == 0.05 for offset in range(4))


def test_the_printer_is_serviced_before_its_hours_are_over(day: tuple[WorkProblem, WorkPlan]) -> None:
    problem, plan = day
    prints = sorted((start(plan, "print-a"), start(plan, "print-b")))
    assert start(plan, "service") + 2 <= prints[1], "the second print would pass the four hours that are left"
    bare = replace(problem, tasks=tuple(one for one in problem.tasks if one.id != "service"))
    left_out = schedule(bare)
    assert check_work(bare, left_out) == []
    assert len(left_out.undone) == 1, "without the service only one print fits into the hours left"


def test_the_robot_charges_before_its_second_task_and_away_from_the_dear_hours(
    day: tuple[WorkProblem, WorkPlan],
) -> None:
    problem, plan = day
    charged = plan.charging_kw[AssetId("robot-1")]
    assert sum(charged[: start(plan, "carry")]) * 0.25 * 0.92 >= 0.8 - 0.01, "0.8 kWh are there, 1.4 and 0.2 needed"
    assert all(kw == 0.0 or PRICE[t] < 0.42 for t, kw in enumerate(charged))
    assert problem.robots[0].pack_kwh == 1.5


def test_the_same_question_gets_the_same_plan(day: tuple[WorkProblem, WorkPlan]) -> None:
    problem, plan = day
    assert schedule(problem) == plan


def test_a_hint_changes_time_and_not_the_answers_worth(day: tuple[WorkProblem, WorkPlan]) -> None:
    problem, plan = day
    assert schedule(problem, hint=plan).cost == pytest.approx(plan.cost, abs=1e-3)


@pytest.mark.parametrize("seed", range(12))
def test_crowded_days_are_valid(seed: int) -> None:
    problem = random_work(seed)
    plan = schedule(problem, effort=1.0)
    assert validate_work(problem) == []
    assert check_work(problem, plan) == []
    assert plan.cost <= sum(one.skip_price for one in problem.tasks) + 1e-6, "doing nothing is always possible"


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(100, 300))
def test_crowded_days_are_valid_deep(seed: int) -> None:
    problem = random_work(seed)
    assert check_work(problem, schedule(problem, effort=1.0)) == []


def moved(name: str, **changes: object) -> Callable[[WorkPlan], WorkPlan]:
    def change(plan: WorkPlan) -> WorkPlan:
        made = tuple(
            replace(one, **changes) if one.task == name else one  # pyright: ignore[reportArgumentType]
            for one in plan.assignments
        )
        return replace(plan, assignments=made)

    return change


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("work_overlap", lambda plan: moved("print-b", start_slot=start(plan, "print-a"))(plan)),
        ("work_skill", moved("mill-a", crew=AssetId("crew-2"))),
        ("work_shift", moved("wall", start_slot=45)),
        ("work_machine", moved("wall", machine=AssetId("mill-1"))),
        ("work_order", moved("carry", start_slot=24)),
        ("work_service", moved("service", start_slot=94)),
        ("work_pack", lambda plan: replace(plan, charging_kw={AssetId("robot-1"): (0.0,) * SLOTS})),
        ("work_charging", lambda plan: replace(plan, charging_kw={AssetId("robot-1"): (0.9,) * SLOTS})),
        ("work_power", lambda plan: replace(plan, power_kw=(0.0,) * SLOTS)),
        ("work_cost", lambda plan: replace(plan, cost=plan.cost - 1.0)),
        ("work_shape", lambda plan: replace(plan, assignments=plan.assignments[1:])),
        ("work_window", moved("pump-repair", start_slot=95)),
    ],
)
def test_the_checker_finds(
    day: tuple[WorkProblem, WorkPlan], rule: str, change: Callable[[WorkPlan], WorkPlan]
) -> None:
    problem, plan = day
    assert rule in {found.rule for found in check_work(problem, change(plan))}


def test_spraying_waits_for_its_weather_window_or_is_left_out() -> None:
    spray = task("spray", TaskKind.SPRAYING, (0.2,) * 4, windows=((30, 33), (60, 66)))
    problem = WorkProblem(SLOTS, 0.25, (Supply((5.0,) * SLOTS, PRICE),), 9.0, (spray,))
    assert start(schedule(problem), "spray") in (60, 61, 62)
    windy = replace(problem, tasks=(replace(spray, windows=((30, 33),)),))
    assert "no start is left" in schedule(windy).undone[0].why


def test_power_beyond_the_limit_is_spread() -> None:
    tasks = tuple(task(f"mill-{n}", TaskKind.MILL, (5.0,) * 4) for n in range(3))
    problem = WorkProblem(SLOTS, 0.25, (Supply((6.0,) * SLOTS, PRICE),), 50.0, tasks)
    plan = schedule(problem)
    assert check_work(problem, plan) == []
    assert max(plan.power_kw) <= 6.0


def test_every_fault_of_a_question_is_named() -> None:
    broken = (
        task("a", TaskKind.PRINT, ()),
        task("b", TaskKind.PRINT, (-1.0,), after=(AssetId("c"),)),
        task("c", TaskKind.PRINT, (1.0,), after=(AssetId("b"), AssetId("nobody")), deadline_slot=0),
    )
    problem = WorkProblem(SLOTS, 0.25, (), 1.0, (*broken, broken[1]))
    found = " | ".join(validate_work(problem))
    for words in ("power_kw is empty", "negative", "nobody", "wait for each other", "used 2 times", "past"):
        assert words in found
    with pytest.raises(BrokenWork, match="power_kw is empty"):
        schedule(problem)


def test_wear_brings_a_service_forward() -> None:
    now = Instant(1_780_000_000_000)
    by_hours = due(Condition(1_150.0, 1_000.0, 250.0, 5.0), now)
    assert by_hours.hours_left == 100.0
    assert by_hours.at == now + 20 * DAY_MS
    by_wear = due(Condition(1_150.0, 1_000.0, 250.0, 5.0, wear=0.9, wear_at_service=0.3), now)
    assert by_wear.hours_left == pytest.approx(25.0)
    assert "wear 90%" in by_wear.why
    assert Assignment(AssetId("a"), 0).machine is None
