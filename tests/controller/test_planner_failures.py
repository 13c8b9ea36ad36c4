"""Real planner children that fail: the last plan until it expires, then the rules, one alarm, and the reason said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from controller import hub as core
from controller.plans import PLAN_LIFE_MS
from controller.present import Surroundings, now_view
from controller.shell.planner import Planner, PlannerLimits
from devices.clock import MINUTE_MS, Instant
from devices.events import Tick
from optimizer.answer import Answer, Failed, Planned
from optimizer.problem import Problem, Stop
from tests.controller.test_hub import Village

FAILURES = {
    "timeout": "import sys, time; sys.stdin.readline(); time.sleep(60)",
    "crash": "import sys; sys.stdin.readline(); sys.exit('the engine is gone')",
    "memory": (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (300 << 20,) * 2);"
        "sys.stdin.readline(); bytearray(1 << 30)"
    ),
    "garbage": "import sys; sys.stdin.readline(); print('{\"number\": 1}', flush=True); sys.stdin.read()",
}
SAID = {"timeout": "no answer in time", "crash": "the engine is gone", "memory": "MemoryError", "garbage": "unreadable"}


@pytest.fixture(scope="module")
def good() -> list[Answer]:
    """Returns room for the first good plan: it is made once for all failures."""
    return []


def asked(effects: list[core.Effect]) -> list[core.AskPlan]:
    return [effect for effect in effects if isinstance(effect, core.AskPlan)]


def tick(place: Village, milliseconds: int) -> list[core.Effect]:
    place.now = Instant(place.now + milliseconds)
    place.report()
    return place.step(Tick())


def first_plan(good: list[Answer], problem: Problem) -> Answer:
    if not good:
        planner = Planner()
        good.append(planner.ask(problem, Stop(seconds=None), 1))
        planner.close()
    return good[0]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_planner_that_fails_leaves_the_last_plan_then_the_rules_and_one_alarm(
    failure: str, tmp_path: Path, good: list[Answer]
) -> None:
    place = Village()
    question = asked(tick(place, 1_000))[0]
    assert isinstance(question.problem, Problem)
    answer = first_plan(good, question.problem)
    assert isinstance(answer, Planned)
    place.step(core.PlanAnswered(question.request, answer))
    made = place.hub.planning.made_at
    assert made is not None
    program = tmp_path / "child.py"
    program.write_text(FAILURES[failure])
    planner = Planner(PlannerLimits(timeout_s=0.5 if failure == "timeout" else 20.0), (sys.executable, str(program)))
    alarms: list[core.Audit] = []
    failed: Answer | None = None
    try:
        while place.now < made + PLAN_LIFE_MS + 20 * MINUTE_MS:
            effects = tick(place, MINUTE_MS)
            alarms += [
                effect
                for effect in effects
                if isinstance(effect, core.Audit)
                and effect.kind == "alarm"
                and ("alarm", "planner") in effect.body
                and ("to", "unacknowledged") in effect.body
            ]
            for question in asked(effects):
                failed = failed or planner.ask(question.problem, Stop(seconds=None), 1)
                assert isinstance(failed, Failed)
                place.step(core.PlanAnswered(question.request, failed))
                if place.now <= made + PLAN_LIFE_MS and question.request > 0 and not question.hindsight:
                    assert "goes on" in place.hub.planning.status, "the last good plan is followed on"
    finally:
        planner.close()
    assert isinstance(failed, Failed)
    assert SAID[failure] in failed.message
    assert place.hub.planning.current(place.now) is None
    assert "rules only" in place.hub.planning.status
    assert len(alarms) == 1, "however often it fails"
    view = now_view(place.hub, place.now, Surroundings(1.0, "synchronised", ""))
    assert SAID[failure] in view.plan_status
    assert [alarm.id for alarm in view.alarms if alarm.id == "planner"] == ["planner"]
    pump = place.hub.decisions[next(name for name in place.hub.decisions if name == "pump-1")]
    assert not pump.reason.startswith("plan:")
