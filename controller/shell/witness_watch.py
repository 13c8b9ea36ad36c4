"""The hub's side of the witnesses: a thread that shows them each new checkpoint and keeps what they sign.

It reads the ledger by its own connection and never writes: the hub's loop takes the cosigned checkpoints
(`take`) and stores them. Proof that they have seen a longer or another log sets `fork`; the loop then stops before
anything more is signed.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from controller.ledger.cosign import Policy
from controller.ledger.log_policy import LOG_POLICY, read_policy
from controller.ledger.merkle import Tree
from controller.shell.log_keys import published_keys
from controller.shell.restored import lift_mark, mark_beside
from controller.shell.witnesses import OwnLog, WitnessAddress, WouldFork, collect, missing_for
from controller.store.ledger_file import LedgerFile

log = logging.getLogger("hub")

NO_WITNESSES = (
    "the log's own policy asks for witnesses and the site file names none: name them again, or restore with --new-log"
)

EVERY_S = 60.0
BACK_OFF_MAX_S = 600.0
FIRST_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Witnessing:
    """Whom the hub asks, how many must have signed, and after how long their silence is an alarm."""

    addresses: tuple[WitnessAddress, ...]
    policy: Policy
    alarm_after_s: float


class WitnessWatch:
    """Shows checkpoints to witnesses in a thread of its own."""

    def __init__(self, path: Path, asked: Witnessing, every_s: float = EVERY_S) -> None:
        self._path = path
        self._asked = asked
        self._every_s = every_s
        self._tree = Tree()
        self._lock = threading.Lock()
        self._found: list[tuple[int, str]] = []
        self._fork = ""
        self._lacking = "no witness has been asked yet"
        self._met_at = time.monotonic()  # or the start: silence is counted from here
        self._size: int = 0  # of the newest checkpoint that met the policy
        self._answered = False  # whether enough witnesses have cosigned one head since the start
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witnesses", daemon=True)

    def start(self) -> None:
        """Starts the thread; what it needs first was asked by `ask`."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; waits for a question under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def take(self) -> list[tuple[int, str]]:
        """Returns (size, note) of the checkpoints that were cosigned since the last call.

        Raises:
            WouldFork: a witness has seen another log under our name: nothing may be signed any more.
        """
        with self._lock:
            if self._fork:
                raise WouldFork(self._fork)
            found, self._found = self._found, []
        return found

    def alarm(self) -> str:
        """Returns what the policy has lacked for too long, or ''."""
        with self._lock:
            late = time.monotonic() - self._met_at >= self._asked.alarm_after_s
            return self._lacking if late and self._lacking else ""

    def answered(self) -> bool:
        """Returns whether enough witnesses have cosigned the head that they were shown since the start."""
        with self._lock:
            return self._answered

    def lacking(self) -> str:
        """Returns what the policy lacks now, or ''."""
        with self._lock:
            return self._lacking

    def ask(self, timeout_s: float = FIRST_TIMEOUT_S) -> bool:
        """Shows the newest checkpoint once; returns whether the policy is met.

        Raises:
            WouldFork: a witness has seen another log under our name.
        """
        file = LedgerFile.read(self._path)
        try:
            last = file.last_checkpoint()
            if last is None or last[0] == self._size:
                return last is not None
            self._tree.extend(file.leaves(self._tree.size, last[0] - self._tree.size))
            own = OwnLog(self._tree, tuple(key.verifier for key in published_keys(file)))
        finally:
            file.close()
        size, note = last
        try:
            got = collect(note, self._asked.addresses, own, self._asked.policy.needed, timeout_s)
        except WouldFork as error:
            with self._lock:
                self._fork = str(error)
            raise
        lacking = missing_for(self._asked.policy, got)
        for url, why in got.missing.items():
            log.warning("event=witness-silent url=%s text=%r", url, why)
        with self._lock:
            if got.note != note:
                self._found.append((size, got.note))
            self._lacking = lacking
            answered = len(got.names) >= self._asked.policy.needed
            self._answered |= answered
            if not lacking:
                self._met_at = time.monotonic()
            if answered:
                self._size = size
        return not lacking

    def _run(self) -> None:
        wait_s = self._every_s
        while not self._stopping.wait(wait_s):
            try:
                met = self.ask(timeout_s=10.0)
            except WouldFork:
                log.exception("event=ledger-fork")
                return
            except OSError:
                log.exception("event=witness-watch")
                met = False
            wait_s = self._every_s if met else min(2 * wait_s, max(BACK_OFF_MAX_S, self._every_s))


def lift_where_nobody_is_asked(ledger: Path) -> None:
    """Takes the mark of a restore away where neither site nor log names witnesses: nobody could ever say more."""
    if not ledger.exists() or mark_beside(ledger) is None:
        return
    file = LedgerFile.read(ledger)
    try:
        said = file.of_kind(LOG_POLICY)
        asked = bool(said) and bool(read_policy(said[-1].seq, said[-1].sealed().entry.body).witnesses.witnesses)
    finally:
        file.close()
    if not asked:
        log.warning("event=restore-unwitnessed text='there are no witnesses who could tell that this is an old copy'")
        lift_mark(ledger.parent)
