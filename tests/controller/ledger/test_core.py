"""The rules of the book, one by one, and against random commands."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.ledger.audit import LogAudit
from controller.ledger.core import apply
from controller.ledger.entries import Posting, SealedEntry, derived_id, is_entry_id, unseal
from controller.ledger.orders import (
    Duplicate,
    ExpirePending,
    OpenAccount,
    Post,
    PostPending,
    Rejection,
    RejectionCode,
    Reserve,
    Reverse,
    VoidPending,
)
from controller.ledger.state import LedgerState, absorb
from devices.clock import Instant

AT = Instant(1_780_000_000_000)


def ident(*parts) -> str:
    return derived_id(AT, *parts)


def write(state: LedgerState, command) -> SealedEntry:
    outcome = apply(state, command)
    assert isinstance(outcome, SealedEntry), outcome
    absorb(state, outcome)
    return outcome


def code(state: LedgerState, command) -> RejectionCode:
    outcome = apply(state, command)
    assert isinstance(outcome, Rejection), outcome
    assert outcome.message
    return outcome.code


def pay(name: object, amount: int, *, kind: str = "test", asset: str = "money:EUR") -> Post:
    return Post(ident(name), AT, kind, (Posting("a", asset, amount), Posting("b", asset, -amount)), {})


@pytest.fixture
def state() -> LedgerState:
    made = LedgerState()
    for account in ("a", "b"):
        write(made, OpenAccount(ident("open", account), AT, account))
    write(made, OpenAccount(ident("open", "purse"), AT, "purse", floor=0, ceiling=100))
    return made


def held(state: LedgerState, account: str, asset: str = "money:EUR") -> tuple[int, int]:
    balance = state.balances[account, asset]
    return balance.posted, balance.pending


def test_posting_moves_and_balances(state):
    write(state, pay(1, 70))
    assert held(state, "a") == (70, 0)
    assert held(state, "b") == (-70, 0)
    assert state.imbalance() == 0


def test_the_same_again_is_a_duplicate_and_other_content_is_refused(state):
    write(state, pay(1, 70))
    assert apply(state, pay(1, 70)) == Duplicate(ident(1))
    assert code(state, pay(1, 71)) is RejectionCode.CONFLICT


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": "1"}, RejectionCode.BAD_ID),
        ({"id": "0190C5B8-0000-7000-8000-000000000000"}, RejectionCode.BAD_ID),
        ({"id": "6ba7b810-9dad-41d1-80b4-00c04fd430c8"}, RejectionCode.BAD_ID),
        ({"postings": (Posting("a", "x", 1),)}, RejectionCode.UNBALANCED),
        ({"postings": (Posting("a", "x", 1), Posting("b", "y", -1))}, RejectionCode.UNBALANCED),
        ({"postings": (Posting("a", "x", 0),)}, RejectionCode.BAD_AMOUNT),
        ({"postings": (Posting("a", "x", 2**63), Posting("b", "x", -(2**63)))}, RejectionCode.BAD_AMOUNT),
        ({"postings": (Posting("nobody", "x", 1), Posting("b", "x", -1))}, RejectionCode.UNKNOWN_ACCOUNT),
        ({"postings": (Posting("purse", "x", -1), Posting("b", "x", 1))}, RejectionCode.BELOW_LIMIT),
        ({"postings": (Posting("purse", "x", 101), Posting("b", "x", -101))}, RejectionCode.ABOVE_LIMIT),
        ({"body": {"n": 2**53}}, RejectionCode.INTEGER_TOO_LARGE),
        ({"body": {"n": 0.5}}, RejectionCode.BAD_BODY),
    ],
)
def test_what_is_refused_changes_nothing(state, change, expected):
    before = repr(state)
    assert code(state, replace(pay(1, 5), **change)) is expected
    assert repr(state) == before


def test_a_reversal_is_exact_and_once(state):
    entry = write(state, pay(1, 70))
    assert code(state, Reverse(ident("r"), AT, replace(entry, leaf=b"x" * 32), "no")) is RejectionCode.UNKNOWN_ENTRY
    back = write(state, Reverse(ident("r"), AT, entry, "wrong meter"))
    assert back.entry.postings == (Posting("a", "money:EUR", -70), Posting("b", "money:EUR", 70))
    assert held(state, "a") == (0, 0)
    assert code(state, Reverse(ident("r2"), AT, entry, "again")) is RejectionCode.ALREADY_REVERSED
    assert code(state, Reverse(ident("r3"), AT, back, "undo the undo")) is RejectionCode.NOT_POSTED


def test_pending_is_posted_voided_or_expired_once(state):
    both = (Posting("purse", "x", 60), Posting("b", "x", -60))
    write(state, Reserve(ident("p1"), AT, "hold", both, {}, Instant(AT + 1000)))
    assert held(state, "purse", "x") == (0, 60)
    assert code(state, Reserve(ident("p2"), AT, "hold", both, {}, AT)) is RejectionCode.ABOVE_LIMIT
    assert code(state, ExpirePending(ident("e"), AT, ident("p1"))) is RejectionCode.NOT_EXPIRED
    assert code(state, PostPending(ident("q"), Instant(AT + 1000), ident("p1"))) is RejectionCode.EXPIRED
    write(state, PostPending(ident("q"), AT, ident("p1")))
    assert apply(state, PostPending(ident("q"), AT, ident("p1"))) == Duplicate(ident("q"))
    assert code(state, VoidPending(ident("q"), AT, ident("p1"), "late")) is RejectionCode.CONFLICT
    assert held(state, "purse", "x") == (60, 0)
    assert code(state, VoidPending(ident("v"), AT, ident("p1"), "late")) is RejectionCode.NOT_PENDING
    assert code(state, VoidPending(ident("v"), AT, ident("never"), "late")) is RejectionCode.UNKNOWN_ENTRY
    write(state, Reserve(ident("p3"), AT, "hold", (Posting("a", "x", 1), Posting("b", "x", -1)), {}, AT))
    write(state, ExpirePending(ident("e3"), AT, ident("p3")))
    assert held(state, "a", "x") == (0, 0)
    assert code(state, Reserve(ident("p4"), AT, "hold", (), {}, AT)) is RejectionCode.NO_POSTINGS


def test_entries_come_back_from_their_bytes(state):
    sealed = write(state, Post(ident("x"), AT, "note", (), {"words": ["ä", 1, None, True], "deep": {"a": "1"}}))
    assert unseal(sealed.document) == sealed.entry


@given(st.integers(0, 2**48 - 1), st.lists(st.text(max_size=5) | st.integers(), max_size=4))
def test_derived_ids_are_uuid7_and_repeat(at, parts):
    made = derived_id(Instant(at), *parts)
    assert is_entry_id(made)
    assert made == derived_id(Instant(at), *parts)
    assert int(made.replace("-", "")[:12], 16) == at


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["pay", "reserve", "post", "void", "reverse"]), st.integers(0, 9), st.integers(-99, 99)),
    max_size=40,
)


@settings(max_examples=60)
@given(OPERATIONS)
def test_any_commands_leave_a_log_that_replays_to_the_same_state(operations):
    state, log = LedgerState(), []

    def attempt(command) -> None:
        outcome = apply(state, command)
        if isinstance(outcome, SealedEntry):
            absorb(state, outcome)
            log.append(outcome)

    for account, floor in (("a", None), ("b", None), ("c", -50)):
        attempt(OpenAccount(ident("open", account), AT, account, floor=floor))
    for number, (what, target, amount) in enumerate(operations):
        postings = (Posting("c", "x", amount), Posting("a" if amount % 2 else "b", "x", -amount))
        named = log[target % len(log)].entry.id
        match what:
            case "pay":
                attempt(Post(ident("n", target), AT, "k", postings, {}))
            case "reserve":
                attempt(Reserve(ident("n", number), AT, "k", postings, {}, Instant(AT + 1)))
            case "post":
                attempt(PostPending(ident("n", number), AT, named))
            case "void":
                attempt(VoidPending(ident("n", number), AT, named, "x"))
            case _:
                attempt(Reverse(ident("n", number), AT, log[target % len(log)], "x"))
        assert state.imbalance() == 0
        assert sum(balance.pending for balance in state.balances.values()) == 0
    audit = LogAudit(())
    for seq, sealed in enumerate(log):
        audit.entry(seq, sealed.document, sealed.leaf)
    audit.balances({key: (balance.posted, balance.pending) for key, balance in state.balances.items()})
    assert audit.findings == []
    assert audit.state == state
