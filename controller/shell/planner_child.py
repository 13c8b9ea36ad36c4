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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from devices.clock import HOUR_MS
from optimizer.codec import Answered, Question, Unreadable, decode, encode
from optimizer.deliveries import DeliveriesPlan
from optimizer.logistics import RoundsStop
from optimizer.plan import Infeasible, Plan
from optimizer.problem import Problem

ADDRESS_SPACE_MIB = 1_536
"""Virtual memory; measured for a village: 230 MiB mapped, 75 MiB resident."""

ROUNDS_ITERATIONS = 500
"""Of a search for rounds without seconds."""
DELIVERIES_SHARE = 8
"""Rounds, and each of the two solves of flights, get this part of a question's seconds."""
EXCHANGE_MS = 6 * HOUR_MS
"""So long engines, zones and trips go on as they were planned, as long as work does."""
QUESTION_BYTES_MAX = 16 << 20
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answers questions until stdin ends."""
    parent, nice = (int(word) for word in sys.argv[1:3]) if len(sys.argv) > 2 else (os.getppid(), 10)
    _confine(parent, nice)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints goes to stderr, never between the answers
    while line := sys.stdin.buffer.readline(QUESTION_BYTES_MAX):
        _write(answers, encode(_answer(line), packed=True).encode("ascii") + b"\n")


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


@dataclass(slots=True)
class _Last:
    """The newest plan of this child, for warm re-plans. Questions about days that are over leave it alone."""

    plan: Plan | None = None
    exchanged: int | None = None  # start of the newest plan whose sectors were planned anew

    def sectors(self, problem: Problem) -> Plan | None:
        """Returns the plan whose engines, zones and trips go on in a whole search; None: all sectors are asked anew.

        They are after `EXCHANGE_MS`, with every plan of work, and whenever the outside is gone or will be.
        """
        late = None if self.exchanged is None else problem.start - self.exchanged
        fresh = late is not None and 0 <= late < EXCHANGE_MS and all(problem.grid.available)
        if fresh and problem.work is None:
            return self.plan
        if late is None or late >= 0:
            self.exchanged = problem.start
        return None

    def keep(self, plan: Plan) -> None:
        if plan.work is None and (self.plan is None or plan.start >= self.plan.start):
            self.plan = plan


_last = _Last()


def _answer(line: bytes) -> Answered:
    started = time.monotonic()
    plan: Plan | None = None
    deliveries: DeliveriesPlan | None = None
    infeasible: Infeasible | None = None
    failure: str | None = None
    number = -1
    try:
        question = decode(Question, line)
        number = question.number
        match _solve(question):
            case Plan() as plan:
                pass
            case DeliveriesPlan() as deliveries:
                pass
            case infeasible:
                pass
    except (Unreadable, TimeoutError, RuntimeError, MemoryError) as error:
        failure = f"{type(error).__name__}: {error}"
    peak_kib = _peak_kib()
    return Answered(number, time.monotonic() - started, peak_kib, plan, infeasible, failure, deliveries)


def _solve(question: Question) -> Plan | DeliveriesPlan | Infeasible:
    if question.deliveries is not None:
        from optimizer.deliveries import solve_deliveries

        seconds = question.stop.seconds
        stop = RoundsStop(None if seconds is None else seconds / DELIVERIES_SHARE, ROUNDS_ITERATIONS)
        return solve_deliveries(question.deliveries, stop, question.seed)
    from optimizer.whole import solve_whole

    if question.problem is None:
        raise Unreadable("Question: neither a problem nor deliveries")
    last = _last.plan if question.warm else None
    solve = partial(solve_whole, sectors_of=None if question.warm else _last.sectors(question.problem))
    if question.problem.network is None:
        found = solve(question.problem, question.stop, question.seed, last)
    else:
        from optimizer.network_plan import solve_networked

        found = solve_networked(question.problem, question.stop, question.seed, last, solve)
    if isinstance(found, Plan):
        _last.keep(found)
    return found


def _write(answers: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[answers.write(view) :]


if __name__ == "__main__":
    main()
