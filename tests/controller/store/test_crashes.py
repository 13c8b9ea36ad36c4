"""Power cuts at every write and sync of the ledger: what was acknowledged is there, and the books balance.

The same harness must see the loss when durability is lowered: a harness that finds nothing there finds nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import apsw
import pytest

from controller.ledger.entries import Posting, SealedEntry, derived_id
from controller.ledger.note import Signer
from controller.ledger.orders import OpenAccount, Post
from controller.shell.journal import Journal, JournalDamaged
from controller.store.ledger_file import LedgerFile, NotALedger
from devices.clock import Instant
from tests.controller.store.crash_disk import Step, after_power_cuts, put, recorded

SIGNER = Signer("crash.atoll/ledger", bytes(32))
AT = Instant(1_780_000_000_000)
ACCOUNTS = [f"account-{n}" for n in range(6)]
SEED = 20_261


def record_life(folder: Path, commits: int, durability: str) -> tuple[list[Step], dict[int, bytes]]:
    """Writes commits of one to four entries each; returns what the disk saw, and the root of each acknowledged size."""
    roots: dict[int, bytes] = {}
    with recorded(checkpoint_pages=24) as steps:
        file = LedgerFile.write(folder / "ledger.db", durability)
        journal = Journal(file, SIGNER, 2_000)
        for name in ACCOUNTS:
            journal.must(OpenAccount(derived_id(AT, name), AT, name))
        for number in range(commits):
            now = Instant(AT + 1_000 * number)
            for part in range(1 + number % 4):
                debit, credit = ACCOUNTS[(number + part) % 6], ACCOUNTS[(number * 3 + part + 1) % 6]
                amount = 1 + number + part
                moved = (Posting(debit, "money:EUR", amount), Posting(credit, "money:EUR", -amount))
                body = {"text": "x" * (number % 7) * 60}
                outcome = journal.write(Post(derived_id(now, number, part), now, "transfer", moved, body))
                assert isinstance(outcome, SealedEntry) or debit == credit
            journal.flush(now)
            file.commit()
            steps.append(Step("ack", "", journal.size))
            roots[journal.size] = journal.root()
        file.close()
    return steps, roots


def lost_or_broken(folder: Path, acknowledged: int, roots: dict[int, bytes]) -> str:
    """Returns what is wrong with a ledger after a power cut, or ''."""
    try:
        file = LedgerFile.write(folder / "ledger.db")
    except NotALedger as error:
        return "" if acknowledged < 0 else f"not a ledger any more: {error}"
    try:
        journal = Journal(file, SIGNER, 2_000)
        if journal.size < acknowledged:
            return f"{acknowledged} entries were acknowledged, {journal.size} are there"
        if journal.size in roots and journal.root() != roots[journal.size]:
            return f"other entries than those acknowledged, {journal.size} of them"
        if journal.state.imbalance():
            return f"out of balance by {journal.state.imbalance()}"
        sums: dict[str, int] = {}
        for posting in (posting for row in file.entries() for posting in row.sealed().entry.postings):
            sums[posting.account] = sums.get(posting.account, 0) + posting.amount
        held = {account: balance.posted for (account, _), balance in journal.state.balances.items()}
        if any(sums.get(name, 0) != held.get(name, 0) for name in ACCOUNTS):
            return "balances are not the sums of the postings"
    except (JournalDamaged, apsw.Error, ValueError) as error:
        return f"cannot be used: {type(error).__name__}: {error}"
    else:
        return ""
    finally:
        file.close()


def survey(tmp_path: Path, commits: int, durability: str) -> tuple[int, list[str]]:
    """Returns (states looked at, what was wrong in those that were wrong)."""
    steps, roots = record_life(tmp_path, commits, durability)
    states, wrong = 0, list[str]()
    memory = Path("/dev/shm")  # the states are thrown away: no need to wait for a real disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as after:
        for number, acknowledged, disk in after_power_cuts(steps, SEED):
            put(disk, Path(after))
            states += 1
            problem = lost_or_broken(Path(after), acknowledged, roots)
            if problem:
                wrong.append(f"step {number} (seed {SEED}): {problem}")
    return states, wrong


@pytest.mark.parametrize(("commits", "at_least"), [(12, 300), pytest.param(75, 4_000, marks=pytest.mark.deep)])
def test_no_power_cut_loses_what_was_acknowledged(tmp_path, commits, at_least):
    states, wrong = survey(tmp_path, commits, "FULL")
    assert wrong == []
    assert states >= at_least


@pytest.mark.parametrize("durability", ["NORMAL", "OFF"])
def test_the_harness_sees_what_lower_durability_loses(tmp_path, durability):
    states, wrong = survey(tmp_path, 8, durability)
    assert len(wrong) > states // 20
    assert any("were acknowledged" in problem for problem in wrong)
