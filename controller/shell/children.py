"""Child processes that are watched: restarted under a budget, stopped cleanly, dead with their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
RESTARTS_MAX = 5
RESTART_WINDOW_S = 60.0
STOP_S = 3.5
PAUSE_MAX_S = 30.0
"""Between two starts of a child that is not vital, at most."""
LOG_MAX = 4_000_000


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run. `fatal` exit codes are final: another start would say the same.

    A child that is not `vital` (a drone) never ends the others: it is started again, however it ended, with growing
    pauses.
    """

    name: str
    arguments: tuple[str, ...]  # of the `atoll` command
    fatal: tuple[int, ...] = (2, 3, 5)
    vital: bool = True


@dataclass(slots=True)
class Child:
    """One running child and its recent starts."""

    spec: ChildSpec
    process: subprocess.Popen[bytes]
    starts: deque[float]
    again_at: float = 0.0
    failures: int = 0  # ends soon after a start, in a row


class ChildFailed(RuntimeError):
    """A child ended and will not be started again; the text holds the end of its log."""


class Supervisor:
    """Starts children in order, restarts those that die, stops them in reverse order."""

    def __init__(self, log_dir: Path, say: Callable[[str], None], restarts_max: int = RESTARTS_MAX) -> None:
        """`restarts_max`: a child that ends so often within a minute is not started again."""
        self._log_dir = log_dir
        self._say = say
        self._restarts_max = restarts_max
        self._children: list[Child] = []
        log_dir.mkdir(parents=True, exist_ok=True)

    def start(self, spec: ChildSpec) -> None:
        """Starts one more child."""
        starts = deque([time.monotonic()], maxlen=self._restarts_max)
        self._children.append(Child(spec, self._spawn(spec), starts))

    @property
    def processes(self) -> Mapping[str, int]:
        """Returns the process id of every child by name."""
        return {child.spec.name: child.process.pid for child in self._children}

    def poll(self) -> None:
        """Looks after the children; call it often.

        Raises:
            ChildFailed: one ended for good, or more often than the budget allows.
        """
        now = time.monotonic()
        for child in self._children:
            code = child.process.poll()
            if code is None:
                continue
            if child.again_at == 0.0:
                child.again_at = now + (self._vital_pause_s if child.spec.vital else self._pause_s)(child, code, now)
            elif now >= child.again_at:
                child.again_at = 0.0
                child.starts.append(now)
                child.process = self._spawn(child.spec)

    def _vital_pause_s(self, child: Child, code: int, now: float) -> float:
        name = child.spec.name
        if code in child.spec.fatal or code == 0:
            raise ChildFailed(f"{name} ended ({code}):\n{self.log_end(name)}")
        if len(child.starts) == self._restarts_max and now - child.starts[0] < RESTART_WINDOW_S:
            raise ChildFailed(f"{name} ended {self._restarts_max} times within a minute:\n{self.log_end(name)}")
        self._say(f"{name} ended ({code}); starting it again")
        return min(2.0, 0.3 * sum(1 for at in child.starts if now - at < RESTART_WINDOW_S))

    def _pause_s(self, child: Child, code: int, now: float) -> float:
        """Says the first end of a row with the end of its log, the others not: a radio may be unplugged for days."""
        child.failures = 1 if now - child.starts[-1] >= RESTART_WINDOW_S else child.failures + 1
        if child.failures == 1:
            self._say(f"{child.spec.name} ended ({code}) and is tried again; all else runs on:\n"
                      f"{self.log_end(child.spec.name)}")  # fmt: skip
        return min(PAUSE_MAX_S, 0.5 * 2 ** min(child.failures, 10))

    def stop(self) -> None:
        """Asks every child to end, last started first, and kills what has not ended after 3.5 s."""
        for child in reversed(self._children):
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for child in self._children:
            try:
                child.process.wait(max(0.05, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._say(f"{child.spec.name} did not end in time and was killed")
                child.process.kill()
                child.process.wait()

    def log_end(self, name: str, lines: int = 12) -> str:
        """Returns the last lines of a child's log."""
        return log_tail(self._log_dir / f"{name}.log", lines)

    def _spawn(self, spec: ChildSpec) -> subprocess.Popen[bytes]:
        path = self._log_dir / f"{spec.name}.log"
        if path.exists() and path.stat().st_size > LOG_MAX:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "controller.cli", *spec.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is the supervisor's alone
                preexec_fn=die_with(os.getpid()),  # noqa: PLW1509 - two system calls, no lock taken
            )


def log_tail(path: Path, lines: int) -> str:
    """Returns the last lines of a log, indented, for an error message."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return "\n".join("    " + line for line in text.splitlines()[-lines:]) or "    (it printed nothing)"


def die_with(parent: int) -> Callable[[], None]:
    """Returns what a child runs before exec so that it gets SIGTERM when its parent is gone, however it went."""
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def wait_until(condition: Callable[[], bool], timeout_s: float, poll: Callable[[], None] = lambda: None) -> bool:
    """Returns whether the condition came true in time; `poll` runs between looks."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        poll()
        time.sleep(0.05)
    return condition()


def arguments(*words: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Returns a flat argument list."""
    flat: list[str] = []
    for word in words:
        flat.extend([word] if isinstance(word, str) else [str(word)] if isinstance(word, Path) else word)
    return tuple(flat)
