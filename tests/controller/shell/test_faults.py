"""A full disk, a hub clock a day off, a hub that shows two logs: what was acknowledged stays, nothing is doubled."""

from __future__ import annotations

from contextlib import suppress

import apsw
import pytest

from controller.ledger.cosign import Cosigner, Policy, with_cosignatures
from controller.ledger.merkle import Tree, leaf_hash
from controller.ledger.note import Checkpoint, Signer, sign
from controller.ledger.witness import Submission
from controller.shell.books import Books
from controller.shell.ledger_verify import verify
from controller.shell.witness_server import Witness
from controller.store.ledger_file import LedgerFile
from devices.clock import DAY_MS, HOUR_MS, Instant
from tests.controller.shell.test_books import live
from tests.controller.shell.test_witnesses import clock
from tests.ledger_village import Village, local_midnight, rules

START = local_midnight("2026-06-01")
END = Instant(START + 2 * DAY_MS)
DONE = Instant(END + 12 * HOUR_MS)


class _SmallFile(apsw.VFSFile):
    def __init__(self, name, flags, disk) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk

    def xWrite(self, data, offset):  # noqa: N802 -- SQLite's name
        if self._disk.left < len(data):
            raise apsw.FullError("no space left on this device")
        self._disk.left -= len(data)
        super().xWrite(data, offset)


class SmallDisk(apsw.VFS):
    """A disk that takes so many bytes more."""

    def __init__(self, left: int) -> None:
        super().__init__("small", "unix", makedefault=True)
        self.left = left

    def xOpen(self, name, flags):  # noqa: N802 -- SQLite's name
        return _SmallFile(name, flags, self)


def feed(books, acked):
    """Feeds two days slot by slot; `acked` takes what may be forgotten by its sender."""
    for rows in Village(START, 2).slots(END):
        now = Instant(rows[0].end + 1000)
        books.accept(rows)
        books.run_due(now)
        acked |= {point: page for point, _, page in books.commit(now).acks}


def balances(path):
    file = LedgerFile.read(path)
    found = {key: held.posted for key, held in file.balances().items()}
    file.close()
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("twin") / "ledger.db"
    books = Books.open(path, rules(2))
    live(books, Village(START, 2).until(END), DONE)
    books.close(DONE)
    return balances(path)


@pytest.mark.parametrize("left", [150_000, 400_000, 1_234_567])
def test_a_full_disk_stops_the_books_and_loses_nothing_that_was_acknowledged(left, tmp_path, undisturbed):
    path, acked = tmp_path / "ledger.db", dict[str, int]()
    disk = SmallDisk(10**9)
    try:
        books = Books.open(path, rules(2))
        disk.left = left
        with pytest.raises(apsw.FullError):
            feed(books, acked)
        disk.left = 0
        assert verify(path).ok, "it can be read on the full disk"
        with suppress(apsw.FullError):
            books._file.close()
    finally:
        disk.unregister()
    assert acked, "the disk was full before anything was kept"
    assert verify(path).ok
    books = Books.open(path, rules(2))
    kept = {meter.point: meter.page for meter in books._file.meters()}
    assert all(kept[point] >= page for point, page in acked.items())
    live(books, Village(START, 2).until(END), DONE)  # the gateways send everything again
    books.close(DONE)
    assert verify(path).ok
    assert balances(path) == undisturbed


@pytest.mark.parametrize("off", [DAY_MS, -DAY_MS])
def test_a_hub_clock_a_day_off_for_some_hours_ends_in_the_same_settlement(off, tmp_path, undisturbed):
    path = tmp_path / "ledger.db"
    books = Books.open(path, rules(2))
    for number, rows in enumerate(Village(START, 2).slots(END)):
        wrong = off if 40 <= number < 60 else 0
        now = Instant(rows[0].end + 1000 + wrong)
        books.accept(rows)
        books.run_due(now)
        books.commit(now)
    books.run_due(DONE)
    books.close(DONE)
    found = verify(path)
    assert (found.findings, found.waiting) == ([], ())
    assert balances(path) == undisturbed


def test_a_hub_that_shows_two_logs_gets_a_quorum_for_one_only(tmp_path):
    log = Signer("test.atoll/ledger", bytes(32))
    first = Tree(leaf_hash(bytes([n])) for n in range(9))
    other = Tree([*map(first.leaf, range(5)), *(leaf_hash(bytes([n, 1])) for n in range(5, 9))])
    notes = [sign(Checkpoint(log.verifier.name, 9, tree.root()).text(), [log]) for tree in (first, other)]
    witnesses = [Witness(tmp_path / f"{name}.db", f"{name}.local", clock) for name in "abc"]
    keys = [Cosigner.parse(key) for witness in witnesses for key in witness.public_keys()]
    policy, met = Policy(tuple(keys), 2), list[bool]()
    for witness in witnesses:
        witness.know([log.verifier])
    for note, asked in zip(notes, (witnesses[:2], witnesses[::-1]), strict=True):
        answers = [witness.add_checkpoint(Submission(0, (), note).body()) for witness in asked]
        lines = [line for status, _, body in answers if status == 200 for line in body.splitlines(keepends=True)]
        met.append(policy.met(with_cosignatures(note, lines, keys)))
    assert met == [True, False]
    for witness in witnesses[:2]:  # nor with a proof from where they differ
        status, _, body = witness.add_checkpoint(Submission(9, (), notes[1]).body())
        assert (status, body) == (409, "9\n")
    for witness in witnesses:
        witness.close()
