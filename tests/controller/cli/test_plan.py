"""`atoll plan` and `atoll why` without a hub: the last plan kept, its picture, what was known, the reasons."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from controller.beliefs import DayResult, KeptPlan, Score
from controller.cli.plan import plan as plan_verb
from controller.cli.why import why as why_verb
from controller.plan_text import quality
from controller.store.belief_file import BeliefWriter
from devices.clock import DAY_MS, HOUR_MS, Instant
from optimizer.plan import Plan
from optimizer.problem import Stop
from optimizer.solve import solve
from tests.controller.scene import VILLAGE
from tests.optimizer.problems import START, village


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plans")
    plan = solve(village(), Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    writer = BeliefWriter(folder)
    old = KeptPlan(Instant(START - HOUR_MS), plan, False, "island", "rules: better", "Europe/Paris", "EUR")
    writer.keep(old, START)
    writer.keep(KeptPlan(START, plan, True, "the time has come", "plan: cheaper", "Europe/Paris", "EUR"), START)
    day = DayResult("2026-05-28", START, Instant(START + DAY_MS), 10.0, 12.5, 9.0, 11.0, 96, 96, advisory=True)
    writer.keep(day, START)
    writer.keep(Score("2026-05-28", "load", 4, 10, 1000.0, -200.0, 1500.0, 20_000.0), START)
    writer.close()
    return folder


def run(*words: object) -> Result:
    return CliRunner().invoke(plan_verb, [str(VILLAGE), *(str(word) for word in words)])


@pytest.mark.parametrize("width", [40, 72, 120, 200])
def test_the_picture_and_the_table_fit_the_terminal(data_dir: Path, width: int) -> None:
    result = run("--data-dir", data_dir, "--width", width)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    picture = lines[3 : lines.index("", 3)]
    assert all(len(line) <= max(width, 40) for line in picture[:-1])
    assert any(line.startswith("battery-1") for line in picture)
    assert any("^ now" in line for line in picture)
    assert all(len(line) <= width for line in lines[lines.index("", 3) :])


def test_the_last_plan_and_the_one_known_before(data_dir: Path) -> None:
    found = json.loads(run("--data-dir", data_dir, "--json").output)
    assert (found["cause"], found["used"], found["made_at"]) == ("the time has come", True, START)
    assert {block["device"] for block in found["blocks"]} >= {"battery-1", "pump-1", "charger-1"}
    before = json.loads(run("--data-dir", data_dir, "--known", "2026-05-28T20:25:00Z", "--json").output)
    assert (before["cause"], before["used"]) == ("island", False)
    assert run("--data-dir", data_dir, "--known", "noon").exit_code == 2


def test_days_advice_and_scores(data_dir: Path) -> None:
    (day,) = json.loads(run("--data-dir", data_dir, "--days", "--json").output)["days"]
    assert (day["saving"], day["regret"]) == (2.5, 1.0)
    advice = run("--data-dir", data_dir, "--advice").output
    assert "1.00" in advice.splitlines()[1], "metered 11 less planned 10"
    (score,) = json.loads(run("--data-dir", data_dir, "--scores", "--json").output)["scores"]
    assert (score["ahead_h"], score["mae"], score["bias"], score["naive_mae"]) == (1.0, 100.0, -20.0, 150.0)


def test_why_says_constraint_price_and_the_rejected_alternative(data_dir: Path) -> None:
    def why(*words: str) -> Result:
        return CliRunner().invoke(why_verb, [*words, "--data-dir", str(data_dir)])

    text = why("battery-1").output
    assert "because" in text
    found = json.loads(why("battery-1", "--json").output)
    assert found["constraint"]
    assert isinstance(found["marginal_price"], float)
    unknown = why("toaster-1")
    assert unknown.exit_code == 1
    assert "battery-1" in unknown.output


def test_without_any_plan_it_says_what_to_do(tmp_path: Path) -> None:
    result = run("--data-dir", tmp_path)
    assert result.exit_code == 1
    assert "no plan is kept" in result.output


def test_how_good_the_plan_is_is_always_told(data_dir: Path) -> None:
    plan = solve(village(), Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    over = plan.cost - plan.bound
    said = f"at most {over:.2f} EUR ({over / abs(plan.cost):.1%}) above the best there can be"
    assert quality(plan, "EUR") == said
    assert quality(replace(plan, bound=plan.cost), "EUR") == "no plan can cost less"
    assert quality(replace(plan, cost=0.5, bound=0.25), "EUR") == "at most 0.25 EUR above the best there can be"
    assert quality(replace(plan, cost=-1.5, bound=-2.0), "EUR") == "at most 0.50 EUR above the best there can be"
    assert said in run("--data-dir", data_dir).output
