"""The till of a data directory whose hub does not run: takes the hub's lock, so it is the one writer while it works."""

from __future__ import annotations

import time
from pathlib import Path

from controller.commands import CommandResult
from controller.money.desk import Asked, Request
from controller.settlement.runs import RUN_DAY
from controller.shell.data_dir import LEDGER, RUN
from controller.shell.day_shelf import DayShelf
from controller.shell.journal import Journal
from controller.shell.key_desk import KeyDesk
from controller.shell.log_keys import log_origin, signer_for
from controller.shell.statements import STATEMENTS, Statements
from controller.shell.tenants import read_tenancies
from controller.shell.till import Till
from controller.store.ledger_file import LedgerFile, NotALedger
from devices.clock import MINUTE_MS, Instant
from devices.shell.data_lock import DataLock
from devices.shell.run_clock import BadRunFile, RunFile


def ask_offline(data_dir: Path, id: str, by: str, request: Request) -> CommandResult:
    """Carries out one request and commits it.

    Raises:
        AlreadyRunning: a hub works on this data directory; ask it.
        NotALedger: there is no ledger, or it cannot be read.
        JournalDamaged: the file does not match what was signed.
    """
    path = data_dir / LEDGER
    if not path.is_file():
        raise NotALedger(f"there is no ledger in {data_dir}")
    lock = DataLock(data_dir, "hub")
    try:
        file = LedgerFile.write(path)
        try:
            first = file.entry(0)
            if first is None:
                raise NotALedger(f"{path} has no first entry: start its hub once")
            site = str(first.sealed().entry.body.get("site"))
            signer, keyring = signer_for(file, path, log_origin(site))
            file.tenant_at = read_tenancies(file).owner
            journal = Journal(file, signer, MINUTE_MS)
            if journal.withheld is not None:
                return CommandResult(id, False, "restored", f"{journal.withheld.words()}; start the hub")
            keys = KeyDesk(journal, lambda: DayShelf(file), keyring)
            now = _now(data_dir, file)
            result = _asked(journal, keys, Asked(id, by, now), request)
            journal.flush(now, force=True)
            file.commit()
            keys.committed()
            return result
        finally:
            file.close()
    finally:
        lock.close()


def _asked(journal: Journal, keys: KeyDesk, asked: Asked, request: Request) -> CommandResult:
    """Carries out a request of the till, or takes a statement; days that it changes are settled by the next hub."""
    if request.get("do") not in STATEMENTS:
        return Till(journal, keys).ask(asked, request)
    result, stretch = Statements(journal).ask(asked, request)
    if stretch is not None:
        runs = [row.sealed().entry.body for row in journal.file.of_kind(RUN_DAY)]
        begun = {(Instant(int(str(body["start"]))), int(str(body["end"]))) for body in runs}
        journal.file.mark_late(start for start, end in sorted(begun) if end > stretch[0] and start < stretch[1])
    return result


def _now(data_dir: Path, file: LedgerFile) -> Instant:
    """Returns the time of the data directory's own clock, never before the newest entry."""
    newest = file.latest(None, 1)
    floor = newest[0].sealed().entry.at if newest else Instant(0)
    try:
        run = RunFile.read(data_dir / RUN)
    except (FileNotFoundError, BadRunFile):
        return Instant(max(floor, time.time_ns() // 1_000_000))
    return Instant(max(floor, run.stopped_ms or run.epoch_ms))
