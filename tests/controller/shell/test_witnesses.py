"""Witnesses over real HTTP: what they keep, and that an old copy of a ledger can sign nothing."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from controller.ledger.cosign import Cosigner, Policy, cosignatures
from controller.ledger.merkle import Tree, leaf_hash
from controller.ledger.note import Checkpoint, Signer, Verifier, sign
from controller.ledger.witness import SIZE_TYPE, Submission
from controller.shell.books import Books
from controller.shell.witness_server import OtherKey, Witness, serve
from controller.shell.witnesses import OwnLog, WitnessAddress, WouldFork, collect, missing_for
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
        first = collect(old_note, [school, gone, clinic], OwnLog(old_tree, (log,)))
        assert (policy.met(first.note), list(first.missing)) == (True, [gone.url])
        assert len(cosignatures(first.note, policy.cosigners)) == 4  # Ed25519 and ML-DSA-44 of each

        books = Books.open(path, rules(1))
        live(books, village.until(Instant(START + 2 * DAY_MS)))
        books.close(Instant(START + 2 * DAY_MS))
        note, tree, _ = head_of(path)
        assert policy.met(collect(note, [school, clinic], OwnLog(tree, (log,))).note)
        assert missing_for(policy, collect(note, [school], OwnLog(tree, (log,)))).startswith("1 of 2")

        with pytest.raises(WouldFork, match=r"longer .* shows it"):
            collect(old_note, [school], OwnLog(old_tree, (log,)), needed=2)
        restored = Books.open(backup, rules(1))  # the old copy goes on, and catches up with other entries
        later = Village(START, 1, seed=2)
        later.until(Instant(START + DAY_MS))
        live(restored, later.until(Instant(START + 4 * DAY_MS)), Instant(START + 4 * DAY_MS + 12 * HOUR_MS))
        restored.close(Instant(START + 4 * DAY_MS + 12 * HOUR_MS))
        forked_note, forked, _ = head_of(backup)
        assert forked.size > tree.size
        with pytest.raises(WouldFork, match=r"does not grow .* shows it"):
            collect(forked_note, [clinic], OwnLog(forked, (log,)), needed=2)


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
                own = Tree(leaf_hash(bytes([n])) for n in range(size))
                collect(notes[size], [address], OwnLog(own, (LOG.verifier,)))
            except WouldFork:
                return False  # a later one was first: what it has seen is longer
            return True

        answers = list(pool.map(ask, [5, 60, 9, 33, 58, 7, 59, 20]))
        assert answers[1]
        witness = Witness(tmp_path / "w.db", "school.local", clock)
        assert witness.add_checkpoint(Submission(0, (), notes[1]).body())[2] == "60\n"
        witness.close()


class Liar(BaseHTTPRequestHandler):
    """Says that it has seen a longer log; what it shows is signed by another key, or is a head that we know."""

    status, shown = 409, ""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(self.status, "99\n" if self.status == 409 else "the proof does not hold\n")

    def do_GET(self) -> None:
        self.answer(200, self.shown)

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", SIZE_TYPE)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's own name
        """Says nothing."""


@contextmanager
def lying(status: int, shown: str):
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("L", (Liar,), {"status": status, "shown": shown}))
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield WitnessAddress(f"http://127.0.0.1:{server.server_address[1]}", ())
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("status", [409, 422])
@pytest.mark.parametrize("signed", ["by nobody", "by another key", "a head of this log"])
def test_one_lying_witness_stops_nobody_and_a_quorum_that_says_the_same_does(tmp_path, status, signed):
    tree = Tree(leaf_hash(bytes([n])) for n in range(20))
    longer = Checkpoint(LOG.verifier.name, 99, bytes(32)).text()
    shown = {
        "by nobody": "",
        "by another key": sign(longer, [Signer(LOG.verifier.name, bytes([7]) * 32)]),
        "a head of this log": heads(tree, range(9, 10))[9],
    }[signed]
    note, own = heads(tree, range(20, 21))[20], OwnLog(tree, (LOG.verifier,))
    with (
        lying(status, shown) as liar,
        lying(status, shown) as other,
        answering(tmp_path / "a.db", LOG.verifier) as fair,
    ):
        got = collect(note, [liar, fair], own, needed=2)
        assert got.names == {"school.local"}
        assert list(got.missing) == [liar.url]
        with pytest.raises(WouldFork, match="old copy"):
            collect(note, [liar, fair, other], own, needed=2)
    with lying(status, sign(longer, [LOG])) as honest, pytest.raises(WouldFork, match="signed by the log's own key"):
        collect(note, [honest], own, needed=2)
