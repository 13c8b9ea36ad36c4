"""The planner's own process: one question per line on stdin, one answer per line on stdout. Never trusted.

It loads OR-Tools with the first question and stays warm. It runs at the niceness given, within an address-space limit,
and dies with the process that started it: by the kernel's parent-death signal while it computes, and by the
end of stdin while it waits.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

from optimizer.codec import Answered, Question, Unreadable, decode, encode
from optimizer.plan import Infeasible, Plan

ADDRESS_SPACE_MIB = 1_536
"""Virtual memory; measured for a village: 230 MiB mapped, 75 MiB resident."""

QUESTION_BYTES_MAX = 16 << 20
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answers questions until stdin ends."""
    parent, nice = (int(word) for word in sys.argv[1:3]) if len(sys.argv) > 2 else (os.getppid(), 10)
    _confine(parent, nice)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints goes to stderr, never between the answers
    while line := sys.stdin.buffer.readline(QUESTION_BYTES_MAX):
        _write(answers, encode(_answer(line)).encode("ascii") + b"\n")


def _confine(parent: int, nice: int) -> None:
    os.nice(nice)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_MIB << 20, ADDRESS_SPACE_MIB << 20))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the signal was asked for
        raise SystemExit(1)


def _peak_kib() -> int:
    """Returns the highest resident memory of this program; ru_maxrss would begin with that of the parent."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        return next((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), 0)


def _answer(line: bytes) -> Answered:
    started = time.monotonic()
    plan: Plan | None = None
    infeasible: Infeasible | None = None
    failure: str | None = None
    number = -1
    try:
        question = decode(Question, line)
        number = question.number
        result = _solve(question)
        plan, infeasible = (result, None) if isinstance(result, Plan) else (None, result)
    except (Unreadable, TimeoutError, RuntimeError, MemoryError) as error:
        failure = f"{type(error).__name__}: {error}"
    peak_kib = _peak_kib()
    return Answered(number, time.monotonic() - started, peak_kib, plan, infeasible, failure)


def _solve(question: Question) -> Plan | Infeasible:
    from optimizer.solve import solve

    return solve(question.problem, question.stop, question.seed)


def _write(answers: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[answers.write(view) :]


if __name__ == "__main__":
    main()
