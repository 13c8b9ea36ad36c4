"""Ledgers of version 1 open, and say what they said: for readers as they are, for the writer once and for all.

`tests/golden/ledger_v1.db.gz` was written by the program of commit 557955a0: the story of `test_ledger_stores`.
"""

from __future__ import annotations

import gzip
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw
import pytest

from controller.ledger.audit import LogAudit
from controller.ledger.entries import SealedEntry
from controller.shell.journal import LogWriter
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_memory import MemoryLedger
from controller.store.ledger_rows import EntryRow
from devices.clock import Instant
from tests.controller.store.crash_disk import Step, after_power_cuts, put, recorded
from tests.controller.store.test_ledger_stores import AT, SIGNER, pay, story

GOLDEN = Path(__file__).parents[2] / "golden" / "ledger_v1.db.gz"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    path.write_bytes(gzip.decompress(GOLDEN.read_bytes()))
    return path


@pytest.fixture(scope="module")
def told() -> MemoryLedger:
    """The same story, as it is told today."""
    store = MemoryLedger()
    writer = LogWriter(store, SIGNER, 60_000)
    story(writer)
    writer.flush(AT, force=True)
    return store


def version(path: Path) -> int:
    return int(str(apsw.Connection(str(path)).pragma("user_version")))


def test_a_reader_sees_the_same_log_and_leaves_the_file_alone(old, told):
    before = sha256(old.read_bytes()).digest()
    file = LedgerFile.read(old)
    assert list(file.entries()) == list(told.entries())
    assert file.latest(13, 3, "a") == told.latest(13, 3, "a")
    assert [file.of_kind("hold"), file.resolutions()] == [told.of_kind("hold"), told.resolutions()]
    assert (file.balances(), file.checkpoints()) == (told.balances(), told.checkpoints())
    with pytest.raises(apsw.Error):
        file.add_checkpoint(99, "no")
    file.close()
    assert (sha256(old.read_bytes()).digest(), version(old)) == (before, 1)


def test_an_audit_by_the_rules_of_today_finds_nothing_in_it(old):
    file, audit = LedgerFile.read(old), LogAudit(())
    for row in file.entries():
        audit.entry(row.seq, row.document, row.leaf)
    assert (audit.findings, audit.size) == ([], file.size())


def test_the_writer_changes_the_file_once_and_goes_on(old, told):
    file = LedgerFile.write(old)
    assert version(old) == 2
    writer = LogWriter(file, SIGNER, 60_000)
    assert list(file.entries()) == list(told.entries())
    assert isinstance(writer.write(pay(10, 1, Instant(AT + 9))), SealedEntry)
    writer.flush(AT)
    file.commit()
    file.close()
    again = LedgerFile.read(old)
    assert list(again.entries())[:-1] == list(told.entries())
    tables = {str(name) for (name,) in again.database.execute("SELECT name FROM sqlite_schema").fetchall()}
    assert not tables & {"postings", "entries_1", "postings_account"}


@pytest.mark.parametrize("opener", [LedgerFile.read, LedgerFile.write])
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entries SET document = CAST(replace(document, '\"70\"', '\"71\"') AS BLOB) WHERE seq = 3",
        "UPDATE entries SET document = X'7B7D' WHERE seq = 3",
        "UPDATE entries SET id = 'who knows' WHERE seq = 3",
        "UPDATE entries SET state = 'maybe' WHERE seq = 3",
        "UPDATE entries SET member = 'somebody' WHERE seq = 3",
        "UPDATE entries SET leaf = zeroblob(32) WHERE seq = 3",
    ],
)
def test_a_damaged_row_stays_as_damaged_as_it_was(old, told, opener, damage):
    db = apsw.Connection(str(old))
    db.execute(damage)
    columns = "seq, id, kind, state, period, member, document, leaf"
    cells: list[Any] = list(db.execute(f"SELECT {columns} FROM entries WHERE seq = 3").fetchall()[0])
    row = EntryRow(*cells)
    db.close()
    file = opener(old)
    found = list(file.entries())
    assert found[3] != told.entry(3)
    assert (found[3].document, found[3].leaf, found[3].id, found[3].member) == (
        row.document, row.leaf, row.id, row.member,
    )  # fmt: skip
    assert (found[3].state == row.state) == ("maybe" not in damage)
    rest = list(told.entries())
    assert found[:3] + found[4:] == rest[:3] + rest[4:]


def test_no_power_cut_in_the_change_loses_an_entry(old, told):
    before = [Step("write", "ledger.db", 0, old.read_bytes()), Step("sync", "ledger.db"), Step("ack", "", 18)]
    with recorded(checkpoint_pages=8) as steps:
        LedgerFile.write(old).close()
    versions = set[int]()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as after:
        for number, acknowledged, disk in after_power_cuts(before + steps, 20_261):
            if acknowledged < 18:
                continue
            put(disk, Path(after))
            path = Path(after) / "ledger.db"
            versions.add(version(path))
            file = LedgerFile.write(path)
            assert list(file.entries()) == list(told.entries()), f"step {number}"
            file.close()
    assert versions == {1, 2}
