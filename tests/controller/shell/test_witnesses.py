"""Witnesses over real HTTP: what they keep, and that an old copy of a ledger can sign nothing."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from controller.ledger.cosign import Cosigner, Policy, cosignatures
from controller.ledger.merkle import Tree, leaf_hash
from controller.ledger.note import Checkpoint, Signer, Verifier, sign
from controller.ledger.witness import Submission
from controller.shell.books import Books
from controller.shell.witness_server import OtherKey, Witness, serve
from controller.shell.witnesses import WitnessAddress, WouldFork, collect, missing_for
from controller.store.ledger_file import LedgerFile
from devices.clock import DAY_MS, HOUR_MS, Instant
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, local_midnight, rules

START = local_midnight("2026-06-01")
LOG = Signer("test.atoll/ledger", bytes(32))


def clock() -> Instant:
    return START


@contextmanager
def answering(path: Path, log: Verifier, name: str = "school.local"):
    witness = Witness(path, name, clock)
    witness.know([log])
    server = serve(witness, "127.0.0.1", 0)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    keys = tuple(map(Cosigner.parse, witness.public_keys()))
    try:
        yield WitnessAddress(f"http://127.0.0.1:{server.server_address[1]}", keys)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        witness.close()


def head_of(path: Path) -> tuple[str, Tree, Verifier]:
    """Returns (newest signed checkpoint, tree, log key) of a ledger file."""
    file = LedgerFile.read(path)
    last, genesis = file.last_checkpoint(), file.entry(0)
    assert last is not None
    assert genesis is not None
    tree = Tree(file.leaves(0, last[0]))
    file.close()
    return last[1], tree, Verifier.parse(str(genesis.sealed().entry.body["key"]))


def test_a_growing_ledger_is_cosigned_and_a_restored_old_copy_is_refused(tmp_path):
    path, village = tmp_path / "ledger.db", Village(START, 1)
    books = Books.open(path, rules(1))
    live(books, village.until(Instant(START + DAY_MS)))
    books.close(Instant(START + DAY_MS))
    backup = tmp_path / "backup.db"
    shutil.copy(path, backup)
    old_note, old_tree, log = head_of(path)
    with (
        answering(tmp_path / "a.db", log) as school,
        answering(tmp_path / "b.db", log, "clinic.local") as clinic,
    ):
        gone = WitnessAddress("http://127.0.0.1:9", school.cosigners)
        policy = Policy((*school.cosigners, *clinic.cosigners), 2)
        first = collect(old_note, [school, gone, clinic], old_tree.consistency)
        assert (policy.met(first.note), list(first.missing)) == (True, [gone.url])
        assert len(cosignatures(first.note, policy.cosigners)) == 4  # Ed25519 and ML-DSA-44 of each

        books = Books.open(path, rules(1))
        live(books, village.until(Instant(START + 2 * DAY_MS)))
        books.close(Instant(START + 2 * DAY_MS))
        note, tree, _ = head_of(path)
        assert policy.met(collect(note, [school, clinic], tree.consistency).note)
        assert missing_for(policy, collect(note, [school], tree.consistency)).startswith("1 of 2")

        with pytest.raises(WouldFork, match="longer"):
            collect(old_note, [school], old_tree.consistency)
        restored = Books.open(backup, rules(1))  # the old copy goes on, and catches up with other entries
        later = Village(START, 1, seed=2)
        later.until(Instant(START + DAY_MS))
        live(restored, later.until(Instant(START + 4 * DAY_MS)), Instant(START + 4 * DAY_MS + 12 * HOUR_MS))
        restored.close(Instant(START + 4 * DAY_MS + 12 * HOUR_MS))
        forked_note, forked, _ = head_of(backup)
        assert forked.size > tree.size
        with pytest.raises(WouldFork, match="does not grow"):
            collect(forked_note, [clinic], forked.consistency)


def heads(tree: Tree, sizes: range) -> dict[int, str]:
    return {n: sign(Checkpoint(LOG.verifier.name, n, tree.root(n)).text(), [LOG]) for n in sizes}


def test_a_witness_remembers_what_it_cosigned_across_restarts(tmp_path):
    tree = Tree(leaf_hash(bytes([n])) for n in range(20))
    notes = heads(tree, range(1, 21))
    witness = Witness(tmp_path / "w.db", "w", clock)
    witness.know([LOG.verifier])
    assert witness.add_checkpoint(Submission(0, (), notes[9]).body())[0] == 200
    keys = witness.public_keys()
    witness.close()
    again = Witness(tmp_path / "w.db", "w", clock)
    assert (again.public_keys(), again.logs()) == (keys, (LOG.verifier.name,))
    assert again.add_checkpoint(Submission(0, (), notes[5]).body()) == (409, "text/x.tlog.size", "9\n")
    with pytest.raises(OtherKey):
        again.know([Signer(LOG.verifier.name, bytes([7]) * 32).verifier])
    again.close()


def test_racing_requests_never_take_a_newer_tree_back(tmp_path):
    tree = Tree(leaf_hash(bytes([n])) for n in range(60))
    notes = heads(tree, range(1, 61))
    with answering(tmp_path / "w.db", LOG.verifier) as address, ThreadPoolExecutor(6) as pool:

        def ask(size: int) -> bool:
            try:
                collect(notes[size], [address], lambda old: tree.consistency(old, size))
            except WouldFork:
                return False  # a later one was first: what it has seen is longer
            return True

        answers = list(pool.map(ask, [5, 60, 9, 33, 58, 7, 59, 20]))
        assert answers[1]
        witness = Witness(tmp_path / "w.db", "school.local", clock)
        assert witness.add_checkpoint(Submission(0, (), notes[1]).body())[2] == "60\n"
        witness.close()
