"""The clocks: one now for all processes of a run, never back across a resume or a wall clock step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import ClockQuality, Instant
from devices.shell.run_clock import (
    BadRunFile,
    RunClock,
    RunFile,
    WallClock,
    boot_id,
    kernel_synchronised,
    stop_run,
)

T = Instant(1_780_000_000_000)
SECOND_NS = 1_000_000_000


class Machine:
    """A machine whose two clocks a test turns."""

    def __init__(self, wall_ms: int = T, synchronised: bool = True) -> None:
        self.wall = wall_ms * 1_000_000
        self.monotonic = 5 * SECOND_NS
        self.synchronised = synchronised

    def run(self, seconds: float, wall: float | None = None) -> None:
        """Lets time pass; `wall` seconds on the wall clock, when it is stepped."""
        self.monotonic += round(seconds * SECOND_NS)
        self.wall += round((seconds if wall is None else wall) * SECOND_NS)

    def clock(self, floor: int = 0) -> WallClock:
        return WallClock(Instant(floor), lambda: self.wall, lambda: self.monotonic, lambda: self.synchronised)


def test_every_process_of_a_run_has_the_same_now(tmp_path: Path):
    machine = Machine()
    first, run = RunClock.start(tmp_path / "run.json", T, 60.0, lambda: machine.monotonic)
    second = RunClock(RunFile.read(tmp_path / "run.json"), lambda: machine.monotonic)
    machine.run(2.5)
    assert first.now() == second.now() == T + 150_000
    assert first.real_seconds_until(Instant(T + 210_000)) == pytest.approx(1.0)
    assert first.real_seconds_until(T) == 0.0
    assert run.deadline_floor_ms == 30_000


def test_joining_a_run_takes_the_machines_own_clock(tmp_path: Path):
    started, _ = RunClock.start(tmp_path / "run.json", T, 1000.0)
    before = started.now()
    joined, run = RunClock.join(tmp_path / "run.json")
    assert before <= joined.now() <= started.now()
    assert run.boot == boot_id()


def test_a_run_never_resumes_before_it_stopped(tmp_path: Path):
    path, machine = tmp_path / "run.json", Machine()
    clock, _ = RunClock.start(path, T, 60.0, lambda: machine.monotonic)
    machine.run(10)
    stop_run(path, clock.now())
    machine.run(100)
    again, run = RunClock.start(path, T, 10.0, lambda: machine.monotonic)
    assert again.now() == T + 600_000
    assert run.stopped_ms is None


def test_a_killed_run_resumes_at_what_the_stores_know(tmp_path: Path):
    path, machine = tmp_path / "run.json", Machine()
    RunClock.start(path, T, 60.0, lambda: machine.monotonic)
    again, _ = RunClock.start(path, Instant(T + 123_000), 60.0, lambda: machine.monotonic)
    assert again.now() == T + 123_000
    back, _ = RunClock.start(path, Instant(T - 5_000_000), 60.0, lambda: machine.monotonic)
    assert back.now() == T + 123_000


def test_the_file_holds_where_things_are(tmp_path: Path):
    run = RunFile(T, 17, 60.0, "boot", "127.0.0.1:1884", {"127.0.0.1:5020": "127.0.0.1:5021"}, "http://127.0.0.1:8080")
    run.write(tmp_path / "run.json")
    assert RunFile.read(tmp_path / "run.json") == run
    assert run.endpoint("127.0.0.1:5020") == "127.0.0.1:5021"
    assert run.endpoint("127.0.0.1:5999") == "127.0.0.1:5999"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"epoch_ms":1,"anchor_ns":1,"speed":0,"boot":"b"}',
        '{"epoch_ms":"1","anchor_ns":1,"speed":1,"boot":"b"}',
    ],
)
def test_a_file_that_holds_no_run_is_refused_and_a_new_run_replaces_it(tmp_path: Path, text: str):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(BadRunFile, match=r"run\.json"):
        RunFile.read(path)
    clock, _ = RunClock.start(path, T, 1.0)
    assert clock.now() >= T
    assert RunFile.read(path).epoch_ms == T


def test_a_run_from_before_the_machine_restarted_cannot_be_joined(tmp_path: Path):
    path = tmp_path / "run.json"
    RunClock.start(path, T, 1.0)
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "another"}))
    with pytest.raises(BadRunFile, match="restarted"):
        RunClock.join(path)


def test_a_wall_clock_that_runs_well_is_followed():
    machine = Machine()
    clock = machine.clock()
    machine.run(3600)
    assert clock.now() == T + 3_600_000
    assert clock.quality() is ClockQuality.SYNCHRONISED
    assert clock.real_seconds_until(Instant(T + 3_605_000)) == pytest.approx(5.0)


def test_a_step_forward_is_followed_at_once():
    machine = Machine()
    clock = machine.clock()
    machine.run(1, wall=86_402)
    assert clock.now() == T + 86_402_000


def test_a_step_back_is_never_seen_and_says_so_until_it_is_caught_up():
    machine = Machine()
    clock = machine.clock()
    machine.run(10)
    before = clock.now()
    machine.run(1, wall=-29)
    assert clock.now() == before + 900
    assert clock.quality() is ClockQuality.HOLDOVER
    for _ in range(400):
        machine.run(1)
        earlier, before = before, clock.now()
        assert before > earlier
    assert clock.quality() is ClockQuality.SYNCHRONISED
    assert clock.now() == machine.wall // 1_000_000


def test_a_step_back_of_an_hour_is_an_unknown_time():
    machine = Machine()
    clock = machine.clock()
    machine.run(1, wall=-3599)
    assert clock.now() > T
    assert clock.quality() is ClockQuality.UNKNOWN


def test_a_clock_that_was_never_set_is_unknown_and_one_without_a_source_holdover():
    assert Machine(wall_ms=0).clock().quality() is ClockQuality.UNKNOWN
    assert Machine(synchronised=False).clock().quality() is ClockQuality.HOLDOVER


def test_a_restart_goes_on_from_what_the_stores_know():
    machine = Machine()
    clock = machine.clock(floor=T + 30_000)
    assert clock.now() == T + 30_000
    machine.run(1)
    assert clock.now() == T + 30_900


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-1e5, 1e5)), max_size=30))
def test_whatever_the_wall_clock_does_now_never_goes_back_nor_stands_still_for_long(steps):
    machine = Machine()
    clock = machine.clock()
    before = clock.now()
    for seconds, wall in steps:
        machine.run(seconds, wall)
        now = clock.now()
        assert now - before >= int(seconds * 900) - 1
        before = now


def test_the_kernel_can_be_asked():
    assert kernel_synchronised() in (True, False)
