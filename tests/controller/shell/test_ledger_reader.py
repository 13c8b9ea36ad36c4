"""What people read: proofs that verify, a day and a bill so far that end as the final ones."""

from __future__ import annotations

import pytest

from controller.ledger.merkle import verify_consistency, verify_inclusion
from controller.ledger.note import Checkpoint, Verifier, verify
from controller.shell.books import Books, LedgerReader
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, local_midnight, rules

START = local_midnight("2026-06-01")
NOON = Instant(START + DAY_MS + 12 * HOUR_MS)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    path = tmp_path_factory.mktemp("reader") / "ledger.db"
    books = Books.open(path, rules(bill_period="week"))
    live(books, Village(START).until(NOON))
    books.close(NOON)
    reader = LedgerReader.open(path)
    yield reader
    reader.close()


def test_every_entry_has_a_proof_under_the_signed_head(reader):
    head = reader.head()
    key = Verifier.parse(str(reader.entry(0).body["key"]))
    text, _ = verify(head.checkpoint, [key])
    signed = Checkpoint.parse(text)
    assert (signed.size, signed.root.hex()) == (head.size, head.root)
    for seq in range(head.size):
        proof = reader.proof(seq)
        assert proof.checkpoint == head.checkpoint
        hashes = [bytes.fromhex(h) for h in proof.hashes]
        assert verify_inclusion(seq, proof.size, bytes.fromhex(proof.leaf), hashes, signed.root)
    assert reader.proof(head.size) is None
    assert reader.entry(head.size) is None
    hashes = [bytes.fromhex(h) for h in reader.consistency(5)]
    early = reader._tree.root(5)
    assert verify_consistency(5, head.size, early, signed.root, hashes)


def test_entries_page_backwards_and_by_account(reader):
    newest = reader.entries(None, 3)
    assert [e.seq for e in newest] == [reader.head().size - n for n in (1, 2, 3)]
    assert [e.seq for e in reader.entries(newest[-1].seq, 2)] == [newest[-1].seq - 1, newest[-1].seq - 2]
    touching = reader.entries(None, 50, "member:home-01:used")
    assert [e.member for e in touching] == ["home-01"]


def test_home_energy_is_the_registers(reader):
    slots = reader.home_energy("home-01", START, Instant(START + DAY_MS))
    assert len(slots) == 96
    assert sum(s.exported for s in slots) > 0
    assert reader.home_energy("nobody", START, NOON) == []


def test_the_day_so_far_is_half_full_and_the_bill_adds_yesterday(reader):
    today = reader.day_so_far("home-02", NOON)
    own = sum(s.imported for s in reader.home_energy("home-02", Instant(START + DAY_MS), NOON))
    assert today.slots == 48
    assert today.so_far.used == own * 1_000_000
    assert 0 < today.so_far.lifeline <= 2_000 * 1_000_000
    bill = reader.bill_so_far("home-02", NOON)
    yesterday = reader.entries(None, 100, "member:home-02:used")[0]
    lifeline = int(yesterday.body["quantities"]["lifeline"]) + today.so_far.lifeline
    assert next(line for line in bill.lines if line.text == "lifeline energy").quantity == lifeline
    assert bill.period == "2026-W23"
    assert bill.text.endswith(" EUR")
    assert reader.bill_so_far("nobody", NOON) is None
    assert reader.day_so_far("home-02", Instant(0)) is None


def test_the_provisional_day_ends_as_the_final_one(tmp_path):
    end = Instant(START + DAY_MS)
    books = Books.open(tmp_path / "ledger.db", rules())
    live(books, Village(START).until(Instant(end - SLOT_MS)))
    records = Village(START).until(end)[-10:]
    books.accept(records)
    books.commit(end)
    books._provisional(end)
    before = {m: books.reader().day_so_far(m, Instant(end - 1)) for m in ("home-01", "home-02", "community")}
    books.run_due(end)
    for member, so_far in before.items():
        final = books.reader().day_so_far(member, Instant(end - 1))
        assert so_far is not None
        assert final is not None
        assert (so_far.final, final.final) == (False, True)
        assert so_far.so_far == final.so_far
