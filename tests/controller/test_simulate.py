"""The village on virtual time: nothing lost, equal runs equal, and faults on the heap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.alarms import AlarmState
from controller.cli.simulate import simulate
from controller.cli.sites import load_site
from controller.report import Report, lines
from controller.shell.offline_till import ask_offline
from controller.shell.simulation import Simulation, SimulationOptions, report_of, start_of
from controller.simulate import Happening
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, Instant
from devices.shell.data_lock import AlreadyRunning

SITE = Path(__file__).parents[1] / "village.toml"
START = start_of(load_site(SITE))


@contextmanager
def world(options: SimulationOptions) -> Generator[Simulation]:
    simulation = Simulation(load_site(SITE), options, START)
    try:
        yield simulation
    finally:
        simulation.close()


def lived(options: SimulationOptions, days: float) -> Report:
    with world(options) as simulation:
        simulation.world.run(Instant(START + round(days * DAY_MS)))
        simulation.world.drain()
        return report_of(simulation, days, 1.0)


def atoll(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "controller.cli", *words]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120, check=False
    )


def at(hours: float, name: str, **arguments: str | float) -> Happening:
    return Happening(Instant(START + round(hours * HOUR_MS)), name, arguments)


def test_a_day_with_plans_is_sound() -> None:
    report = lived(SimulationOptions(seed=7, replan_ms=HOUR_MS), 1.02)

    assert report.sound
    assert report.records_sent == report.records_committed > 3_000
    (day,) = report.plan_days
    worth = [float(str(day[name])) for name in ("hindsight", "plan", "rules", "metered")]
    assert worth[0] <= min(worth[1:3]) + 0.05, "nobody beats perfect foresight in the same model"
    assert worth[1] < worth[2], "the plan was worth its trouble"
    assert abs(worth[3] - worth[1]) < 0.15 * abs(worth[1]), "the model tells what the meters tell"
    assert {row["series"] for row in report.forecast_scores} == {"load", "pv", "water"}
    assert (report.records_lost, report.imbalance, report.ledger_ok) == (0, 0, True)
    assert report.lifeline_missed == 0
    assert report.plan_failures == {}
    by_the_clock = report.plan_causes["the time has come"] + report.plan_causes["the first plan"]
    assert 24 <= by_the_clock <= 25, "an event in the minute of a full hour names the plan of that hour"
    assert report.plans_used > by_the_clock, "a vehicle comes and goes: that is planned for at once"
    assert report.missions["done"] == 2
    assert report.deliveries == {"sent": 6, "running": 6, "done": 6}
    assert report.alarms == {}
    billed = sum(report.bills_minor.values())
    assert billed + report.rounding_minor == report.outside_minor + report.treasury_minor != 0
    assert f"{billed / 100:,.2f} EUR of bills + " in "\n".join(lines(load_site(SITE), report))


def test_a_report_has_one_line_for_each_kind_of_alarm() -> None:
    report = lived(SimulationOptions(seed=1, plan=False), 0.01)
    days = {f"mission.waste-{side}.202606{day:02d}": 1 for side in ("east", "west") for day in range(1, 31)}
    held = {f"quarantine.home-{home:02d}": home for home in range(1, 8)}
    text = lines(load_site(SITE), replace(report, alarms={**days, **held, "planner": 2}))
    assert "      60 x mission: waste-east 30, waste-west 30" in text
    assert "      28 x quarantine: home-07 7, home-06 6, home-05 5, home-04 4 and 3 more" in text
    assert "       2 x planner" in text


def test_a_happening_that_cannot_be_is_refused_before_anything_is_lived() -> None:
    for words, said in (
        ("2029-01-01 link-lost", "link-lost at 2029-01-01 00:00 is not simulated: from 2026-06-01 00:00"),
        ("2026-06-01T10:00 link-los", "did you mean link-lost?"),
        ("2026-06-01T10:00 meter-swap", "meter-swap takes device; got nothing"),
        ("2026-06-01T10:00 meter-replaced device=home-99", "there is no device 'home-99'"),
    ):
        done = CliRunner().invoke(simulate, [str(SITE), "--days", "60", "--happening", words])
        assert (done.exit_code, said in done.output) == (2, True), done.output


def test_every_happening_is_listed_with_its_arguments() -> None:
    listed = CliRunner().invoke(simulate, ["--list-happenings"]).output
    for line in ("meter-replaced device=...", "message-loss rate=...", "tank-leak lpm=...", "vote charter=..."):
        assert line in listed
    assert "link-back" in listed


def test_without_a_site_the_example_village_is_lived_in() -> None:
    done = CliRunner().invoke(simulate, ["--days", "0.01", "--no-plan"])
    assert done.exit_code == 0, done.output
    assert "0.00 EUR of bills + 0.00 EUR of rounding = 0.00 EUR" in done.output


def test_equal_seeds_give_equal_traces_whatever_the_hash_seed() -> None:
    words = ("simulate", str(SITE), "--days", "0.15", "--seed", "3", "--replan", "1800", "--json")
    runs = [atoll(*words, PYTHONHASHSEED=seed) for seed in ("1", "4242")]

    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr + runs[1].stderr
    first, second = (json.loads(run.stdout) for run in runs)
    for document in (first, second):
        assert document.pop("speed") > 0
    assert first == second
    assert first["plans_used"] > 0


def test_another_seed_gives_another_trace() -> None:
    one, other = (lived(SimulationOptions(seed=seed, plan=False), 0.05) for seed in (1, 2))
    assert one.trace_hash != other.trace_hash


FAULTS = (
    at(1, "link-lost"),
    at(1.3, "link-back"),
    at(2, "device-silent", device="home-03"),
    at(3, "device-back", device="home-03"),
    at(4, "planner-down"),
    at(5, "planner-back"),
    at(6, "grid-lost"),
    at(8, "grid-back"),
)


def test_every_fault_raises_its_own_alarm_and_nothing_is_lost() -> None:
    with world(SimulationOptions(seed=5, happenings=FAULTS)) as simulation:
        simulation.world.run(Instant(START + 10 * HOUR_MS))
        simulation.world.drain()
        report = report_of(simulation, 10 / 24, 1.0)
        standing = simulation.world.parts.hub.alarms.standing

    assert report.records_sent > 1_500
    assert (report.records_lost, report.imbalance, report.ledger_ok) == (0, 0, True)
    assert report.lifeline_missed == 0
    assert report.alarms == {"gateway.gw-1": 1, "offline.home-03": 1, "planner": 1, "island": 1}
    assert {alarm.state for alarm in standing} == {AlarmState.RETURNED}
    assert sum(report.plan_failures.values()) >= 3


def test_lost_and_doubled_messages_lose_and_double_no_record() -> None:
    faults = (at(0.5, "message-loss", rate=0.2), at(0.5, "message-duplicates", rate=0.2))
    healed = (at(2.5, "message-loss", rate=0.0), at(2.5, "message-duplicates", rate=0.0))
    with world(SimulationOptions(seed=5, plan=False, happenings=(*faults, *healed))) as simulation:
        simulation.world.run(Instant(START + 3 * HOUR_MS))
        simulation.world.drain()
        report, tally = report_of(simulation, 3 / 24, 1.0), simulation.world.tally

    assert tally.dropped > 500
    assert tally.duplicated > 300
    assert (report.records_lost, report.imbalance, report.ledger_ok) == (0, 0, True)
    assert report.records_sent > 300
    assert report.lifeline_missed == 0


def test_a_silent_vehicle_raises_its_own_alarm() -> None:
    silence = (at(1, "device-silent", device="robot-1"), at(1.2, "device-back", device="robot-1"))
    report = lived(SimulationOptions(seed=5, plan=False, happenings=silence), 2 / 24)
    assert report.alarms == {"offline.robot-1": 1}


def test_every_problem_of_a_profile_file_is_listed(tmp_path: Path) -> None:
    broken = tmp_path / "mine.csv"
    broken.write_text("utc,home-01,nonsense\n2026-06-01T00:00:00Z,12,1\nyesterday,x,2\n2026-06-01T00:30:00Z,-5,3\n")

    ran = atoll("simulate", str(SITE), "--days", "0.01", "--profiles", str(broken))

    assert ran.returncode == 3
    assert "Traceback" not in ran.stderr
    for line in ("3", "4"):
        assert f"{broken}:{line}" in ran.stderr, ran.stderr
    assert "nonsense" in ran.stderr


@pytest.mark.parametrize("minutes", [10, 30])
def test_what_a_lost_link_held_back_arrives_afterwards(minutes: int) -> None:
    lost = (at(0.9, "link-lost"), at(0.9 + minutes / 60, "link-back"))
    with world(SimulationOptions(seed=1, plan=False, happenings=lost)) as simulation:
        gateways = simulation.world.parts.gateways.values()
        simulation.world.run(Instant(START + round((0.9 + minutes / 60) * HOUR_MS) - MINUTE_MS))
        waiting = sum(len(gateway.outbox) for gateway in gateways)
        simulation.world.run(Instant(START + 2 * HOUR_MS))
        simulation.world.drain()
        assert waiting > 0
        assert sum(len(gateway.outbox) for gateway in gateways) == 0
        assert report_of(simulation, 2 / 24, 1.0).records_lost == 0


def test_nobody_else_writes_the_ledger_of_a_running_simulation(tmp_path: Path) -> None:
    with world(SimulationOptions(seed=1, plan=False, data_dir=tmp_path)) as simulation:
        simulation.world.run(Instant(START + 20 * MINUTE_MS))
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
            ask_offline(tmp_path, "1", "ana", {"do": "pay", "member": "home-01", "amount": "20", "method": "cash"})
        refused = atoll("simulate", str(SITE), "--days", "0.01", "--no-plan", "--data-dir", str(tmp_path))
        assert refused.returncode == 3, refused.stderr
        assert "Traceback" not in refused.stderr
    again = ask_offline(tmp_path, "1", "ana", {"do": "nothing"})
    assert not again.accepted, "free again: it is the request that is refused"
