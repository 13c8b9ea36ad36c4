"""The planner child, real processes throughout: answers, and every way in which a child can fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from math import nan
from pathlib import Path

import pytest

from controller.shell.planner import Planner, PlannerLimits
from optimizer.answer import Answer, Cause, Failed, Planned, Refused
from optimizer.check import check
from optimizer.codec import Answered, encode
from optimizer.plan import Plan
from optimizer.problem import Problem, Stop
from tests.optimizer.problems import bare, village

STOP = Stop(seconds=None)
SMALL = bare((5.0,) * 8, (2.0,) * 8, island=False)


@pytest.fixture
def planner() -> Iterator[Planner]:
    one = Planner()
    yield one
    one.close()


def broken(tmp_path: Path, program: str, timeout_s: float = 30.0) -> Planner:
    """Returns a planner whose child is some other program."""
    path = tmp_path / "child.py"
    path.write_text(program)
    return Planner(PlannerLimits(timeout_s=timeout_s), command=(sys.executable, str(path)))


def failed(answer: Answer, cause: Cause) -> str:
    assert isinstance(answer, Failed), answer
    assert answer.cause is cause, answer
    return answer.message


def ask(planner: Planner, problem: Problem = SMALL) -> Answer:
    return planner.ask(problem, STOP, 1)


def gone(pid: int) -> bool:
    """Returns whether a process ends soon; it may be reaped by init in its own time."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_one_warm_child_answers_every_question_the_same(planner: Planner) -> None:
    problem = village()
    first = planner.ask(problem, STOP, 1)
    pid = planner.child_pid
    second = planner.ask(problem, STOP, 1)
    assert isinstance(first, Planned)
    assert isinstance(second, Planned)
    assert check(problem, first.plan) == []
    assert planner.child_pid == pid
    fresh = Planner()
    third = fresh.ask(problem, STOP, 1)
    fresh.close()
    assert isinstance(third, Planned)
    assert encode(first.plan) == encode(second.plan) == encode(third.plan)
    assert first.child_peak_kib < 300 * 1024


def test_a_stop_in_seconds_is_kept_and_the_plan_says_what_it_took(planner: Planner) -> None:
    answer = planner.ask(village(island=True), Stop(seconds=5.0), 1)
    assert isinstance(answer, Planned)
    assert 0.0 < answer.plan.seconds == answer.seconds


def test_what_cannot_be_planned_is_refused_with_reasons(planner: Planner) -> None:
    answer = ask(planner, bare((5.0,) * 8, (2.0,) * 8))
    assert isinstance(answer, Refused)
    assert "critical load" in answer.infeasible.reasons[0]


@pytest.mark.parametrize("number", [nan, -1.0])
def test_a_broken_problem_is_refused_not_solved(planner: Planner, number: float) -> None:
    answer = ask(planner, replace(SMALL, shed_price=number))
    assert isinstance(answer, Refused)
    assert answer.infeasible.reasons


def test_a_killed_child_is_replaced(planner: Planner) -> None:
    ask(planner)
    pid = planner.child_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    answers = [ask(planner), ask(planner)]  # the first may meet it dying
    assert isinstance(answers[1], Planned)
    assert planner.child_pid != pid


def test_a_child_killed_while_it_works_is_a_crash_and_the_next_question_is_answered(planner: Planner) -> None:
    ask(planner)
    pid = planner.child_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
    message = failed(ask(planner), Cause.CRASH)
    assert "-9" in message
    assert isinstance(ask(planner), Planned)


def test_a_stopped_child_is_a_timeout_and_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = f"""
import os, pathlib, sys
sys.stdin.readline()
pathlib.Path({str(note)!r}).write_text(str(os.getpid()))
os.kill(os.getpid(), 19)
"""
    planner = broken(tmp_path, program, timeout_s=2.0)
    failed(ask(planner), Cause.TIMEOUT)
    assert gone(int(note.read_text()))


def test_a_large_question_to_a_child_that_does_not_read_is_a_timeout(tmp_path: Path) -> None:
    planner = broken(tmp_path, "import time; time.sleep(60)", timeout_s=0.5)
    long = bare((5.0,) * 2000, (2.0,) * 2000, island=False)  # more than a pipe holds
    failed(planner.ask(long, STOP, 1), Cause.TIMEOUT)
    assert planner.child_pid is None


@pytest.mark.parametrize(
    "reply",
    [
        "print('hello')",
        "print('{}')",
        "print('[' * 100000)",
        'print(\'{"number":1,"seconds":NaN,"peak_kib":1,"plan":null,"infeasible":null,"failure":null}\')',
        'print(\'{"number":7,"seconds":0.1,"peak_kib":1,"plan":null,"infeasible":null,"failure":"x"}\')',
        'print(\'{"number":1,"seconds":0.1,"peak_kib":1,"plan":null,"infeasible":null,"failure":null}\')',
        "print('one'); print('two')",
        "sys.stdout.buffer.write(bytes(range(256)) * 100 + b'\\n')",
        "sys.stdout.write('x' * (17 << 20))",
    ],
)
def test_garbage_is_a_named_failure(tmp_path: Path, reply: str) -> None:
    planner = broken(tmp_path, f"import sys; sys.stdin.readline(); {reply}; sys.stdout.flush(); sys.stdin.read()")
    failed(ask(planner), Cause.GARBAGE)
    planner.close()


def test_a_plan_that_breaks_a_rule_is_never_handed_on(tmp_path: Path) -> None:
    good = Planner()
    answer = ask(good)
    good.close()
    assert isinstance(answer, Planned)
    lie = replace(answer.plan, cost=answer.plan.cost - 1.0, bound=answer.plan.bound - 1.0)
    (tmp_path / "reply").write_text(encode(Answered(1, 0.1, 1, plan=lie)))
    program = f"import sys; sys.stdin.readline(); print(open({str(tmp_path / 'reply')!r}).read()); sys.stdin.read()"
    planner = broken(tmp_path, "import functools; print = functools.partial(print, flush=True)\n" + program)
    assert "cost" in failed(ask(planner), Cause.INVALID)
    planner.close()


def test_a_crash_tells_the_last_words_and_no_more(tmp_path: Path) -> None:
    program = "import sys; sys.stdin.readline(); sys.stderr.write('noise ' * 50000); sys.exit('out of diesel')"
    message = failed(ask(broken(tmp_path, program)), Cause.CRASH)
    assert "out of diesel" in message
    assert len(message) < 1_000


def test_a_program_that_does_not_exist_is_a_crash() -> None:
    failed(ask(Planner(command=("/nonexistent/planner",))), Cause.CRASH)


def test_a_child_is_recycled_after_so_many_solves() -> None:
    planner = Planner(PlannerLimits(solves_max=2))
    pids: list[int | None] = []
    for _ in range(4):
        assert isinstance(ask(planner), Planned)
        pids.append(planner.child_pid)
    planner.close()
    assert pids[1] is None  # replaced after its second answer
    assert pids[0] != pids[2]


def test_a_child_that_grew_is_recycled() -> None:
    planner = Planner(PlannerLimits(peak_mib_max=1))
    assert isinstance(ask(planner), Planned)
    assert planner.child_pid is None
    planner.close()


def test_submit_answers_later_and_says_busy_when_too_many_wait() -> None:
    planner = Planner()
    answers: list[Answer] = []
    release, three = threading.Event(), threading.Event()

    def slow(answer: Answer) -> None:
        answers.append(answer)
        release.wait(10.0)

    def quick(answer: Answer) -> None:
        answers.append(answer)
        if len(answers) == 3:
            three.set()

    planner.submit(SMALL, STOP, 1, slow)
    while not answers:
        time.sleep(0.01)
    planner.submit(SMALL, STOP, 1, quick)
    planner.submit(SMALL, STOP, 1, quick)
    assert [type(answer) for answer in answers] == [Planned, Failed]
    failed(answers[1], Cause.BUSY)
    release.set()
    assert three.wait(10.0)
    planner.close()


def test_close_ends_child_and_thread() -> None:
    planner = Planner()
    done = threading.Event()
    planner.submit(SMALL, STOP, 1, lambda _: done.set())
    assert done.wait(20.0)
    pid = planner.child_pid
    assert pid is not None
    planner.close()
    assert gone(pid)
    assert planner.child_pid is None


def test_a_closed_planner_starts_no_new_child() -> None:
    planner = Planner()
    planner.close()
    failed(ask(planner), Cause.CRASH)
    assert planner.child_pid is None


ORPHAN = """
import os, sys
from controller.shell.planner import Planner
from optimizer.problem import Stop
from tests.optimizer.problems import bare
planner = Planner()
planner.ask(bare((5.0,) * 8, (2.0,) * 8, island=False), Stop(seconds=None), 1)
if sys.argv[1] == "stopped":
    os.kill(planner.child_pid, 19)
print(planner.child_pid, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("state", ["waiting", "stopped"])
def test_the_child_dies_with_its_parent(state: str) -> None:
    parent = subprocess.run(
        [sys.executable, "-c", ORPHAN, state],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert gone(int(parent.stdout))


def test_the_child_is_nice_and_limited(planner: Planner) -> None:
    ask(planner)
    pid = planner.child_pid
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
    limits = Path(f"/proc/{pid}/limits").read_text()
    line = next(text for text in limits.splitlines() if text.startswith("Max address space"))
    assert "unlimited" not in line.split()[3]


def test_a_warm_question_keeps_what_the_child_decided_last(planner: Planner) -> None:
    """A start that a little more sun would move stays where it was; a new child has nothing to keep."""
    day = village(cloud=0.5)
    first = planned(planner.ask(day, STOP, 1, warm=True))
    moved = replace(day, pv_kw=tuple(kw * 1.03 for kw in day.pv_kw))
    warm, cold = planned(planner.ask(moved, STOP, 1, warm=True)), planned(planner.ask(moved, STOP, 1))
    for plan in (warm, cold):
        assert not check(moved, plan)
    for job in day.jobs:
        assert [step.on for step in warm.units[job.id]] == [step.on for step in first.units[job.id]]
    assert cold.cost <= warm.cost + 1e-6
    assert warm.cost <= cold.cost + 0.01 * abs(cold.cost)


def planned(answer: Answer) -> Plan:
    assert isinstance(answer, Planned), answer
    return answer.plan


def test_the_hub_loads_neither_numpy_nor_a_solver() -> None:
    program = "import sys, controller.shell.planner; print(sorted({'numpy', 'ortools'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
