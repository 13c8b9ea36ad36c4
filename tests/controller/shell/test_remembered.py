"""kill -9 of a hub: yards, food stores, machines and the weather are as before, and an unknown plan is made anew."""

from __future__ import annotations

import signal
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

from controller.beliefs import KeptPlan, KeptWork
from controller.hub import Hub, HubConfig, start, step
from controller.hub_events import Keep, WeatherTold
from controller.shell.hub_process import remember_plans
from controller.store.belief_file import FILE, BeliefReader, BeliefWriter
from controller.store.sqlite import open_writer
from controller.weather_file import Hour, WeatherTable
from controller.workbook import WorkItem
from controller.yard_work import yard_tasks
from devices.clock import DAY_MS, HOUR_MS, Instant
from optimizer.codec import encode
from optimizer.plan import Plan
from optimizer.problem import Stop
from optimizer.solve import solve
from optimizer.tasks import Task
from tests.controller.planned import site_of
from tests.controller.scene import NOW
from tests.optimizer.problems import bare
from tests.scenarios.test_farm_keys import FARM
from tests.scenarios.test_waste_keys import YARD

SITE = site_of(FARM + YARD)
SITE = replace(SITE, energy=replace(SITE.energy, weather="weather.json"))
RUN = WorkItem(
    "organics.4", "waste", Instant(NOW - HOUR_MS // 2), Instant(NOW + HOUR_MS // 2), 4_000.0, "shredder-1", ""
)
CARRY = WorkItem(
    "lettuce-7.carry", "harvest", Instant(NOW - 4 * HOUR_MS), Instant(NOW - 3 * HOUR_MS), 0.0, "", "growers"
)
SUNNY = WeatherTable(
    NOW, tuple(Hour(Instant(NOW - NOW % HOUR_MS + at * HOUR_MS), 500.0, 20.0) for at in range(-24, 25))
)

WRITER = """
import sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.controller.shell.test_remembered import keep_all
keep_all(Path(sys.argv[1]))
print("kept", flush=True)
time.sleep(600)
"""


def hub() -> Hub:
    return start(HubConfig(SITE, epoch=1, cycle_ms=1_000, period_ms=1_000, floor_ms=0, replan_ms=900_000), NOW)


def keep_all(folder: Path) -> None:
    """What a hub does when a work plan and a weather file have come; `hub_plans.answered` keeps the former."""
    one = hub()
    writer = BeliefWriter(folder)
    _, effects = step(one, WeatherTold(SUNNY), NOW)
    writer.keep(KeptWork(NOW, (RUN, CARRY)), NOW)
    for effect in effects:
        assert isinstance(effect, Keep)
        writer.keep(effect.item, NOW)


def test_a_killed_hub_knows_what_yards_and_stores_have_seen_since_they_were_counted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(Path.cwd())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "kept\n"
        child.send_signal(signal.SIGKILL)
    now = Instant(NOW + 60_000)
    blank, again = hub(), hub()
    remember_plans(again, BeliefReader(tmp_path), now)

    def runs(one: Hub) -> list[str]:
        problem = bare((5.0,) * 96, (0.0,) * 96, island=False)
        return [
            task.id for task in yard_tasks(SITE.waste.yards[0], problem, one.work.items, now) if isinstance(task, Task)
        ]

    assert runs(blank)[0] == "organics.0"
    assert runs(again)[0] == "organics.5", "the run under way is not asked for again"
    assert len(runs(again)) == len(runs(blank)) - 1

    for one in (blank, again):
        one.food.look(SITE, one.desk, one.work.items, now)
    blank_kg, again_kg = blank.food.held_kg["cool"], again.food.held_kg["cool"]
    assert blank_kg == 20.0
    assert again_kg is not None
    assert again_kg > 40.0, "what was carried in this morning is there"

    span = Instant(NOW - 24 * HOUR_MS), Instant(NOW + 24 * HOUR_MS)
    assert blank.weather.between(*span, now) is None
    sun = again.weather.between(*span, now)
    assert sun is not None
    assert set(sun.sun_w_m2.tolist()) == {500.0}
    assert again.weather.issued == NOW
    assert again.weather.take(SUNNY, "", now) is None, "the same file tells nothing new"
    late = Instant(NOW + 2 * DAY_MS)
    assert "older than" in again.weather.unfit(late)


def test_a_plan_of_another_version_is_said_and_made_anew(tmp_path: Path) -> None:
    plan = solve(bare((5.0,) * 8, (2.0,) * 8, island=False), Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    writer = BeliefWriter(tmp_path)
    writer.keep(KeptPlan(NOW, plan, True, "the first plan", "plan", "Europe/Berlin", "EUR"), NOW)
    writer.close()
    db = open_writer(tmp_path / FILE, "NORMAL", "", 1)
    older = zlib.compress(encode(plan).replace(',"cuts":[]', "").encode())
    db.execute("UPDATE plan SET body = ?", (older,))
    db.close()
    one = hub()
    remember_plans(one, BeliefReader(tmp_path), NOW)
    assert one.planning.plan is None
    assert "kept by another version of Atoll" in one.planning.status
    assert "a new one is being made" in one.planning.status
    assert one.planning.due(NOW), "and it is asked for at once"
