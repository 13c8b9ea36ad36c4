"""Broker, hub and gateway die at random moments, again and again: no record is lost, none is doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from controller.shell.ledger_verify import verify
from controller.store.ledger_file import LedgerFile
from devices.clock import Instant
from tests.integration.stack import Stack

SEED = 20261120
SPEED = 300.0  # a slot every three seconds


def broker_pid(folder: Path) -> int | None:
    """Returns the process whose command line names this run's broker folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder / "broker").encode() in line:
                return int(entry.name)
    return None


def kill_at_random(stack: Stack, kills: int, dice: random.Random) -> dict[str, int]:
    """Kills with SIGKILL; returns how often whom."""
    done = {"broker": 0, "hub": 0, "gw-1": 0}
    while sum(done.values()) < kills:
        stack.run(dice.uniform(0.2, 1.4))
        victim = dice.choice(sorted(done))
        pid = broker_pid(stack.folder) if victim == "broker" else stack.supervisor.processes[victim]
        if pid is None:
            continue
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        done[victim] += 1
    return done


@pytest.mark.integration
@pytest.mark.parametrize("kills", [30, pytest.param(300, marks=[pytest.mark.deep, pytest.mark.timeout(1_800)])])
def test_no_record_is_lost_or_doubled(tmp_path: Path, kills: int) -> None:
    print(f"seed {SEED}")  # noqa: T201 - to repeat a failure
    stack = Stack(tmp_path / "data", SPEED)
    try:
        stack.wait_live()
        stack.run(4)
        done = kill_at_random(stack, kills, random.Random(SEED))
        assert min(done.values()) >= 1
        stack.wait_live()
        stack.run(4)
        deadline = time.monotonic() + 40
        while stack.waiting_records() and time.monotonic() < deadline:
            stack.run(0.05)
    finally:
        stack.stop()
    check_books(stack.folder)


def check_books(folder: Path) -> None:
    """Every page that the gateway closed is in the ledger or still in its outbox, once, and intervals join."""
    with closing(sqlite3.connect(folder / "gw-1" / "outbox.db")) as outbox:
        marks = [json.loads(body) for (body,) in outbox.execute("SELECT body FROM mark")]
        waiting = set(outbox.execute("SELECT usage_point, epoch, page FROM record"))
    assert len(marks) >= 40
    file = LedgerFile.read(folder / "ledger.db")
    try:
        records = [kept.record for kept in file.records(Instant(0), Instant(2**60))]
    finally:
        file.close()
    pages: dict[tuple[str, int], list[int]] = {}
    for record in records:
        pages.setdefault((record.usage_point, record.meter_epoch), []).append(record.page)
    for name, _, epoch, page, *_ in marks:
        have = sorted(pages.get((name, epoch), []))
        kept = {number for point, of, number in waiting if (point, of) == (name, epoch)}
        assert len(have) == len(set(have)), f"{name}: a page twice"
        assert set(have) | kept == set(range(1, page + 1)), f"{name}: {page} pages closed, lost some of them"
    for meter in pages:
        mine = sorted((r for r in records if (r.usage_point, r.meter_epoch) == meter), key=lambda r: r.page)
        for one, following in pairwise(mine):
            assert one.end == following.start
            assert one.import_end == following.import_start
            assert one.export_end == following.export_start
    found = verify(folder)
    assert found.ok, found.findings[:3]
    assert found.records == len(records) > 100
