"""One suite for every store of a ledger; a new store is right when it passes here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from controller.ledger.arriving import apply_entry, read_entry
from controller.ledger.audit import LogAudit
from controller.ledger.entries import MOVING, Posting, SealedEntry, derived_id
from controller.ledger.note import Signer
from controller.ledger.orders import (
    Approve,
    AskClose,
    ClosePeriod,
    Duplicate,
    ExpirePending,
    OpenAccount,
    Post,
    PostPending,
    Rejection,
    RejectionCode,
    Reserve,
    Reverse,
    SetLimits,
    VoidPending,
)
from controller.ledger.state import LedgerState, absorb
from controller.ledger.trial import trial_balance, trial_root
from controller.ledger.vault import Vault
from controller.shell.journal import LogWriter
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_memory import EntryTaken, MemoryLedger
from controller.store.ledger_port import LedgerStore
from devices.clock import Instant

AT = Instant(1_780_000_000_000)
SIGNER = Signer("test.atoll/ledger", bytes(range(32)))
Open = Callable[[], LedgerStore]
QUORUM = {"quorum": {"need": 2, "roles": {"treasurer": 1}, "who": {"ana": ["treasurer", ""], "ben": ["auditor", ""]}}}


@pytest.fixture(params=["memory", "sqlite", "sqlite in memory"])
def open_store(request, tmp_path: Path) -> Open:
    """Returns what opens the store: again and again the same one, where it outlives its connection."""
    if request.param == "memory":
        memory = MemoryLedger()
        return lambda: memory
    if request.param == "sqlite":
        return lambda: LedgerFile.write(tmp_path / "ledger.db")
    file = LedgerFile.write(":memory:")
    return lambda: file


def ident(*parts: object) -> str:
    return derived_id(AT, *map(str, parts))


def pay(name: object, amount: int, at: Instant = AT, to: str = "b") -> Post:
    return Post(ident(name), at, "test", (Posting("a", "x", amount), Posting(to, "x", -amount)), {"day": f"d{amount}"})


def story(writer: LogWriter) -> list[object]:
    """Lives through everything that an entry can be, and returns what was answered."""
    both = (Posting("a", "x", 7), Posting("b", "x", -7))
    first = pay(1, 70)
    answers: list[object] = [
        writer.write(OpenAccount(ident("a"), AT, "a")),
        writer.write(OpenAccount(ident("b"), AT, "b", floor=-500)),
        writer.write(OpenAccount(ident("life"), AT, "life", floor=10, lifeline=True)),
        writer.write(first),
        writer.write(first),
        writer.write(Reserve(ident("p1"), AT, "hold", both, QUORUM, Instant(AT + 1000))),
        writer.write(Reserve(ident("p2"), AT, "hold", both, {}, Instant(AT + 1000))),
        writer.write(Reserve(ident("p3"), AT, "hold", both, {}, Instant(AT + 1000))),
        writer.write(VoidPending(ident("v"), AT, ident("p2"), "not wanted")),
        writer.write(ExpirePending(ident("e"), Instant(AT + 1000), ident("p3"))),
    ]
    leaf = writer.state.leaves[ident("p1")].hex()
    answers += [
        writer.write(Approve(ident("ap1"), AT, ident("p1"), leaf, "ana")),
        writer.write_linked(
            [Approve(ident("ap2"), AT, ident("p1"), leaf, "ben"), PostPending(ident("q"), AT, ident("p1"))]
        ),
        writer.write_linked([pay(2, 5), pay(3, 600)]),
        writer.write(SetLimits(ident("limits"), AT, "b", -1000, None, "more credit")),
        writer.write_linked([pay(2, 5), pay(3, 600)]),
        writer.write_linked([pay(2, 5), pay(3, 600)]),
    ]
    sealed = answers[3]
    assert isinstance(sealed, SealedEntry)
    answers.append(writer.write(Reverse(ident("r"), AT, sealed, "wrong")))
    until = Instant(AT + 1)
    trial = trial_root(trial_balance([(Instant(AT), (Posting("a", "x", 612), Posting("b", "x", -612)))], until))
    answers += [
        writer.write(AskClose(ident("ask"), Instant(AT + 5), until, trial, "ana")),
        writer.write(ClosePeriod(ident("close"), Instant(AT + 6), ident("ask"), until, trial, "ben")),
        writer.write(pay(9, 1)),
    ]
    return answers


def test_what_is_a_members_own_is_sealed_in_every_store_and_judged_again_without_its_key(open_store: Open):
    store = open_store()
    store.vault = Vault({"member:m/own": bytes(32)})  # pyright: ignore[reportAttributeAccessIssue] -- either store's own
    writer, account, both = LogWriter(store, SIGNER, 60_000), "member:m:owes", (Posting("member:m:owes", "x", -7),)
    both = (*both, Posting("till:bank", "x", 7))
    body = {
        "member": "m",
        "receipt": 1,
        "method": "bank",
        "amount": "7",
        "by": "ana",
        "ref": "R 1",
        "note": "has a fever",
    }
    loan = {"member": "m", "bills": 2, "by": "ana", "device": "a bed", "text": "a bed for m", **QUORUM}
    commands = (
        OpenAccount(ident("m"), AT, account),
        OpenAccount(ident("till"), AT, "till:bank"),
        payment := Post(ident("pay"), AT, "payment", both, body),
        Reserve(ident("loan"), AT, "loan", both, loan, Instant(AT + 9)),
        VoidPending(ident("void"), AT, ident("loan"), "she is better"),
    )
    made = [writer.write(command) for command in commands]
    paid = made[2]
    assert isinstance(paid, SealedEntry)
    assert paid.entry.body == body
    undone = writer.write_linked([Reverse(ident("back"), AT, paid, "of the wrong sister")])
    assert isinstance(undone, tuple)
    assert isinstance(writer.write(payment), Duplicate)
    writer.flush(AT, force=True)
    store.commit()
    rows = list(store.entries())
    assert [row.sealed().entry.body.get("reason") for row in rows[4:]] == ["she is better", "of the wrong sister"]
    assert rows[3].sealed().entry.body == loan
    whole = b"".join(row.document for row in rows)
    assert [word for word in (b"R 1", b"fever", b"a bed", b"better", b"sister") if word in whole] == []
    state, known = LedgerState(), dict[str, SealedEntry]()
    for row in rows:
        entry = read_entry(row.document)
        assert not isinstance(entry, Rejection), entry
        again = apply_entry(state, entry, row.document, known.get)
        assert isinstance(again, SealedEntry), again
        assert again.document == row.document
        absorb(state, again)
        known[again.entry.id] = again


def test_a_story_is_told_alike_by_every_store(open_store: Open):
    writer = LogWriter(open_store(), SIGNER, 60_000)
    answers = story(writer)
    said = [
        one.code if isinstance(one, Rejection) else "duplicate" if isinstance(one, Duplicate) else "written"
        for one in answers
    ]
    expected = ["written"] * 4 + ["duplicate"] + ["written"] * 7
    expected += [RejectionCode.BELOW_LIMIT, "written", "written", "duplicate", "written", "written", "written"]
    assert said == [*expected, RejectionCode.SEALED_PERIOD]
    assert writer.size == 18
    assert writer.root().hex() == "d45f84d3812546c96d9ff4dbfaacbf8f6be3da278f10bd3c79ae70bc4a11cb06"
    assert writer.state.imbalance() == 0


def test_what_was_committed_is_there_when_it_is_opened_again(open_store: Open):
    store = open_store()
    writer = LogWriter(store, SIGNER, 60_000)
    story(writer)
    writer.flush(AT, force=True)
    store.commit()
    signed = store.last_checkpoint()
    if store.path != ":memory:":
        store.close()
    again = LogWriter(open_store(), SIGNER, 60_000)
    assert again.state == writer.state
    assert (again.size, again.root()) == (writer.size, writer.root())
    assert again.store.last_checkpoint() == signed
    assert again.write(pay(1, 70)) == Duplicate(ident(1))
    assert isinstance(again.write(pay(10, 1, Instant(AT + 9))), SealedEntry)


def test_a_log_audits_from_any_store_without_findings(open_store: Open):
    store = open_store()
    writer = LogWriter(store, SIGNER, 60_000)
    story(writer)
    writer.flush(AT, force=True)
    audit = LogAudit([size for size, _ in store.checkpoints()])
    for row in store.entries():
        assert audit.entry(row.seq, row.document, row.leaf) is not None
    audit.balances({key: (held.posted, held.pending) for key, held in store.balances().items()})
    audit.accounts({name: (account.floor, account.ceiling) for name, account in store.accounts().items()})
    for size, note in store.checkpoints():
        audit.checkpoint(size, note, SIGNER.verifier)
    assert audit.findings == []
    assert audit.state == writer.state


def test_every_question_has_one_answer(open_store: Open):
    store = open_store()
    writer = LogWriter(store, SIGNER, 60_000)
    story(writer)
    writer.flush(AT)
    rows = list(store.entries())
    assert [row.seq for row in rows] == list(range(18))
    assert store.size() == 18
    assert store.entry(4) == rows[4] == store.by_id(rows[4].id)
    assert (store.entry(18), store.by_id("x")) == (None, None)
    assert [row.seq for row in store.entries(16)] == [16, 17]
    assert list(store.entries(only=("hold", "bill"))) == store.of_kind("hold")
    assert [row.seq for row in store.entries(12, but=("hold",))] == [
        seq for seq in range(12, 18) if rows[seq].kind != "hold"
    ]
    assert list(store.entries(only=("bill",), but=("hold",))) == []
    moved = [(one.at, one.postings) for row in rows if (one := row.sealed().entry).state in MOVING]
    for until in sorted({at for at, _ in moved} | {Instant(2**50)}):
        assert store.trial_balance(until) == trial_balance(moved, until)
    assert [row.kind for row in store.of_kind("hold")] == ["hold"] * 6
    assert [row.seq for row in store.of_kind("test", 14)] == [14, 15]
    assert [row.seq for row in store.of_period("d600")] == [14]
    assert [row.seq for row in store.of_period("d600", ("bill", "test"))] == [14]
    assert store.of_period("") == store.of_period("d600", ("bill",)) == []
    assert [row.state for row in store.resolutions()] == ["pending"] * 3 + ["void", "expire", "post", "reversal"]
    assert [row.seq for row in store.latest(None, 2)] == [17, 16]
    assert [row.seq for row in store.latest(13, 3, "a")] == [11, 8, 7]
    assert store.identities() == [(row.id, row.leaf) for row in rows]
    assert store.leaves(2, 3) == [row.leaf for row in rows[2:5]]
    assert store.leaves(16) == [row.leaf for row in rows[16:]]
    assert {name: (one.floor, one.ceiling) for name, one in store.accounts().items()} == {
        "a": (None, None), "b": (-1000, None), "life": (10, None),
    }  # fmt: skip
    assert [(key, held.posted, held.pending) for key, held in store.balances().items()] == [
        (("a", "x"), 612, 0), (("b", "x"), -612, 0),
    ]  # fmt: skip
    assert [size for size, _ in store.checkpoints()] == [18]


def test_neither_a_number_nor_an_id_comes_twice(open_store: Open):
    store = open_store()
    writer = LogWriter(store, SIGNER, 60_000)
    story(writer)
    sealed = store.entry(3)
    assert sealed is not None
    for seq in (3, 18):
        with pytest.raises((EntryTaken, apsw.ConstraintError)):
            added(store, seq, sealed.sealed())
    assert store.size() == 18


def added(store: LedgerStore, seq: int, sealed: SealedEntry) -> int:
    """Adds an entry and reads: a store may judge it with either."""
    store.add_entry(seq, sealed)
    return store.size()
