"""The hub's side of the planner child: ask, wait at most so long, check the answer, replace what fails.

The child is untrusted: it may hang, die, be stopped, write garbage or return a plan that breaks a lifeline.
Each of these is a `Failed` with a cause, the child is killed, and the next question starts a new one.
"""

from __future__ import annotations

import os
import queue
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from typing import IO

from optimizer.answer import Answer, Cause, Failed, Planned, Refused, Routed
from optimizer.check_whole import check_whole
from optimizer.codec import Answered, Question, Unreadable, decode, encode
from optimizer.deliveries import DeliveriesProblem, check_deliveries
from optimizer.plan import Infeasible
from optimizer.problem import Problem, Stop

ANSWER_BYTES_MAX = 16 << 20
STDERR_TAIL_BYTES = 4_096
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class PlannerLimits:
    """When a child is given up or replaced. Times are real seconds, whatever the run's speed."""

    timeout_s: float = 30.0  # beyond the solver's own `stop.seconds`, and for the first start
    solves_max: int = 2_000  # then a fresh child: leaks stay small
    peak_mib_max: int = 384  # resident; measured: 60 to 75 for a village
    nice: int = 10  # the control cycle comes first


class _ChildFailed(RuntimeError):
    """The child gave no answer."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class Planner:
    """One planner child, kept warm. `ask` blocks; `submit` answers from a thread of its own.

    The kernel ends the child with the *thread* that started it, so use one of the two, from a thread that lasts.
    """

    def __init__(self, limits: PlannerLimits | None = None, command: Sequence[str] | None = None) -> None:
        self._limits = limits or PlannerLimits()
        self._command = list(command or (sys.executable, "-m", "controller.shell.planner_child"))
        self._child: _Child | None = None
        self._number = 0
        self._closed = False
        self._turn = threading.Lock()
        self._questions: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=1)
        self._thread: threading.Thread | None = None

    @property
    def child_pid(self) -> int | None:
        """Returns the process id of the child, or None while there is none."""
        child = self._child
        return child.pid if child is not None else None

    def ask(self, problem: Problem | DeliveriesProblem, stop: Stop, seed: int, *, warm: bool = False) -> Answer:
        """Returns the answer, within `stop.seconds` (if any) and the timeout.

        `warm`: the decisions of the child's last plan may stand where they fit; a new child has none.
        """
        with self._turn:
            if self._closed:
                return Failed(Cause.CRASH, "the planner is closed")
            self._number += 1
            if isinstance(problem, DeliveriesProblem):
                question = Question(self._number, None, stop, seed, problem)
            else:
                question = Question(self._number, problem, stop, seed, warm=warm)
            try:
                answered = self._exchange(question)
            except _ChildFailed as failure:
                self._drop_child()
                return Failed(failure.cause, str(failure))
            except Unreadable as error:  # the problem itself holds NaN: refuse it as the validator would
                return Refused(Infeasible((str(error),)))
            child = self._child
            if child is not None and (
                child.solves >= self._limits.solves_max or answered.peak_kib > self._limits.peak_mib_max << 10
            ):
                self._drop_child()
        return _judge(question, answered)

    def submit(
        self,
        problem: Problem | DeliveriesProblem,
        stop: Stop,
        seed: int,
        done: Callable[[Answer], None],
        *,
        warm: bool = False,
    ) -> None:
        """Asks without waiting; `done` is called once, from the planner's thread, or at once when it is busy."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._serve, name="planner", daemon=True)
            self._thread.start()
        try:
            self._questions.put_nowait(lambda: done(self.ask(problem, stop, seed, warm=warm)))
        except queue.Full:
            done(Failed(Cause.BUSY, "the planner works on one question and another one waits"))

    def close(self) -> None:
        """Kills the child and ends the thread; a question under way is answered with a failure."""
        self._closed = True
        child = self._child
        if child is not None:
            child.kill()
        if self._thread is not None:
            self._questions.put(None)
            self._thread.join(timeout=5.0)
            self._thread = None
        with self._turn:
            self._drop_child()

    def _serve(self) -> None:
        while (work := self._questions.get()) is not None:
            work()

    def _exchange(self, question: Question) -> Answered:
        line = encode(question, packed=True).encode("ascii") + b"\n"
        timeout_s = self._limits.timeout_s + (question.stop.seconds or 0.0)
        if self._child is None or not self._child.alive():
            self._drop_child()
            self._child = _Child(self._command, self._limits.nice)
        reply = self._child.exchange(line, time.monotonic() + timeout_s)
        try:
            answered = decode(Answered, reply)
        except Unreadable as error:
            raise _ChildFailed(Cause.GARBAGE, f"the planner's answer is unreadable: {error}") from error
        if answered.number != question.number:
            raise _ChildFailed(Cause.GARBAGE, f"answer {answered.number} to question {question.number}")
        self._child.solves += 1
        return answered

    def _drop_child(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None


def _judge(question: Question, answered: Answered) -> Answer:
    """Returns the answer that the hub may use: plans only after the independent check."""
    if answered.failure is not None:
        return Failed(Cause.SOLVER, answered.failure)
    if answered.infeasible is not None:
        return Refused(answered.infeasible)
    if question.deliveries is not None and answered.deliveries is not None:
        broken = check_deliveries(question.deliveries, answered.deliveries)
        if broken:
            return Failed(Cause.INVALID, "; ".join(broken[:3]))
        return Routed(answered.deliveries, answered.seconds, answered.peak_kib)
    plan = answered.plan
    if plan is None or question.problem is None:
        return Failed(Cause.GARBAGE, "an answer without plan, reasons or failure")
    wrong = check_whole(question.problem, plan)
    if wrong:
        return Failed(Cause.INVALID, "; ".join(violation.message for violation in wrong[:3]))
    if question.stop.seconds is not None:
        plan = replace(plan, seconds=answered.seconds)
    return Planned(plan, answered.seconds, answered.peak_kib)


class _Child:
    """One process and its three pipes, all of them non-blocking: a stopped child must not stop the hub."""

    def __init__(self, command: Sequence[str], nice: int) -> None:
        self.solves = 0
        self._tail = b""
        try:
            self._process = subprocess.Popen(
                [*command, str(os.getpid()), str(nice)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C at the terminal is for the hub; it ends the child itself
            )
        except OSError as error:
            raise _ChildFailed(Cause.CRASH, f"the planner child cannot be started: {error}") from error
        self._pipes = [_pipe(self._process.stdin), _pipe(self._process.stdout), _pipe(self._process.stderr)]
        for pipe in self._pipes:
            os.set_blocking(pipe.fileno(), False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """Kills the process, reaps it and closes the pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in self._pipes:
            try:
                pipe.close()
            except BrokenPipeError:
                continue  # unsent bytes of a question to a dead child

    def exchange(self, line: bytes, deadline: float) -> bytes:
        """Returns the one line that answers `line`.

        Raises:
            _ChildFailed: deadline passed, process ended, or answer too long.
        """
        stdin, stdout, stderr = self._pipes
        unsent, answer = memoryview(line), bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(stdin, selectors.EVENT_WRITE)
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stderr, selectors.EVENT_READ)
            while not answer.endswith(b"\n"):
                ready = self._wait(selector, deadline)
                if stderr in ready and not self._drain_stderr(stderr.fileno()):
                    selector.unregister(stderr)
                if stdin in ready:
                    unsent = self._send(stdin.fileno(), unsent)
                    if not unsent:
                        selector.unregister(stdin)
                if stdout in ready:
                    self._receive(stdout.fileno(), answer)
        return bytes(answer)

    def _wait(self, selector: selectors.BaseSelector, deadline: float) -> Container[object]:
        left = deadline - time.monotonic()
        ready = {key.fileobj for key, _ in selector.select(max(left, 0.0))}
        if not ready:
            raise _ChildFailed(Cause.TIMEOUT, f"no answer in time: the planner child is killed{self._said()}")
        return ready

    def _send(self, fd: int, unsent: memoryview) -> memoryview:
        try:
            return unsent[os.write(fd, unsent[:_CHUNK]) :]
        except BrokenPipeError as error:
            raise self._ended() from error

    def _receive(self, fd: int, answer: bytearray) -> None:
        data = os.read(fd, _CHUNK)
        if not data:
            raise self._ended()
        answer += data
        at = answer.find(b"\n")
        if len(answer) > ANSWER_BYTES_MAX or -1 < at < len(answer) - 1:
            raise _ChildFailed(Cause.GARBAGE, f"{len(answer)} bytes that are not one line{self._said()}")

    def _drain_stderr(self, fd: int) -> bool:
        data = os.read(fd, _CHUNK)
        self._tail = (self._tail + data)[-STDERR_TAIL_BYTES:]
        return bool(data)

    def _ended(self) -> _ChildFailed:
        self._process.wait()
        try:
            while self._drain_stderr(self._pipes[2].fileno()):
                pass
        except BlockingIOError:
            pass
        return _ChildFailed(Cause.CRASH, f"the planner child ended with {self._process.returncode}{self._said()}")

    def _said(self) -> str:
        text = self._tail.decode("utf-8", "replace").strip()
        return f"; it said: {text[-500:]}" if text else ""


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
