"""Everything that a book refuses: each with a code of its own and a message for people, and nothing half written."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ledger.arriving import apply_entry, read_entry
from controller.ledger.canonical import NotCanonical, encode
from controller.ledger.core import apply
from controller.ledger.entries import Entry, EntryState, Posting, SealedEntry, derived_id, seal
from controller.ledger.identity import SigningKey
from controller.ledger.linked import apply_linked
from controller.ledger.orders import (
    Approve,
    AskClose,
    ClosePeriod,
    Duplicate,
    OpenAccount,
    Post,
    PostPending,
    Rejection,
    RejectionCode,
    Reserve,
    SetLimits,
)
from controller.ledger.quorum import Approver, Quorum, sign_approval, sign_close
from controller.ledger.state import LedgerState, absorb
from controller.ledger.trial import trial_balance, trial_root
from devices.clock import Instant

AT = Instant(1_780_000_000_000)
LATER = Instant(AT + 1_000)
KEY = SigningKey(bytes(32))
OFFICERS = {"ana": Approver("treasurer", ""), "ben": Approver("auditor", KEY.did), "cy": Approver("auditor", "")}
QUORUM = Quorum(2, {"treasurer": 1}, OFFICERS)


def ident(*parts) -> str:
    return derived_id(AT, *parts)


def write(state: LedgerState, command) -> SealedEntry:
    outcome = apply(state, command)
    assert isinstance(outcome, SealedEntry), outcome
    absorb(state, outcome)
    return outcome


def postings(amount: int, account: str = "a") -> tuple[Posting, ...]:
    return Posting(account, "money:EUR", amount), Posting("b", "money:EUR", -amount)


@pytest.fixture
def state() -> LedgerState:
    made = LedgerState()
    for account in ("a", "b"):
        write(made, OpenAccount(ident(account), AT, account))
    write(made, OpenAccount(ident("life"), AT, "life", floor=0, lifeline=True))
    write(made, Post(ident("fill"), AT, "k", postings(50, "life"), {}))
    write(made, Reserve(ident("spend"), AT, "spend", postings(20), {"quorum": QUORUM.document()}, LATER))
    return made


def refused(state: LedgerState, command, expected: RejectionCode) -> str:
    before = copy.deepcopy(state)
    outcome = apply(state, command)
    assert isinstance(outcome, Rejection), outcome
    assert outcome.code is expected
    assert state == before
    return outcome.message


def approve(state: LedgerState, by: str, at: Instant = AT, **changes) -> Approve:
    leaf = state.leaves[ident("spend")].hex()
    signature = sign_approval(KEY, leaf) if by == "ben" else ""
    fields = {"id": ident("approve", by), "pending": ident("spend"), "leaf": leaf, "signature": signature} | changes
    return Approve(at=at, by=by, **fields)


def test_every_code_says_something_else():
    assert len({code.value for code in RejectionCode}) == len(RejectionCode)


def test_a_lifeline_is_not_cut(state):
    words = refused(state, Post(ident(1), AT, "k", postings(-51, "life"), {}), RejectionCode.LIFELINE)
    assert "life" in words
    assert "-1" in words
    refused(state, SetLimits(ident(1), AT, "life", -1, None, "debts"), RejectionCode.LIFELINE)
    refused(state, SetLimits(ident(1), AT, "life", None, None, "debts"), RejectionCode.LIFELINE)
    write(state, SetLimits(ident(1), AT, "life", 5, None, "winter"))
    refused(state, Post(ident(2), AT, "k", postings(-46, "life"), {}), RejectionCode.LIFELINE)
    write(state, Post(ident(2), AT, "k", postings(-45, "life"), {}))


def test_accounts_open_once_and_kinds_with_rules_are_not_plain_posts(state):
    refused(state, OpenAccount(ident(1), AT, "a"), RejectionCode.ACCOUNT_EXISTS)
    refused(state, OpenAccount(ident(1), AT, "c", floor=2, ceiling=1), RejectionCode.BAD_AMOUNT)
    for ceiling in (0, 10**12):
        refused(state, SetLimits(ident(1), AT, "life", 6, ceiling, "has not paid"), RejectionCode.LIFELINE)
    refused(state, SetLimits(ident(1), AT, "nobody", 0, None, "x"), RejectionCode.UNKNOWN_ACCOUNT)
    for kind in ("account.open", "account.limits", "approval", "period.closing", "period.close"):
        refused(state, Post(ident(1), AT, kind, (), {"account": "a"}), RejectionCode.RESERVED_KIND)


def test_spending_needs_its_quorum_in_time(state):
    post = PostPending(ident("post"), AT, ident("spend"))
    words = refused(state, post, RejectionCode.WRONG_QUORUM)
    assert "0 of 2 approvals" in words
    refused(state, approve(state, "dora"), RejectionCode.NOT_APPROVER)
    refused(state, approve(state, "ana", LATER), RejectionCode.EXPIRED_APPROVAL)
    refused(state, approve(state, "ana", leaf="00" * 32), RejectionCode.CONFLICT)
    refused(state, approve(state, "ben", signature=""), RejectionCode.BAD_SIGNATURE)
    refused(state, approve(state, "ben", signature="zz"), RejectionCode.BAD_SIGNATURE)
    write(state, approve(state, "ben"))
    refused(state, approve(state, "ben", id=ident("again")), RejectionCode.ALREADY_APPROVED)
    assert apply(state, approve(state, "ben")) == Duplicate(ident("approve", "ben"))
    write(state, approve(state, "cy"))
    assert "treasurer" in refused(state, post, RejectionCode.WRONG_QUORUM)
    write(state, approve(state, "ana"))
    refused(state, PostPending(ident("post"), LATER, ident("spend")), RejectionCode.EXPIRED_APPROVAL)
    write(state, post)
    assert apply(state, approve(state, "ana")) == Duplicate(ident("approve", "ana"))
    assert state.balances["a", "money:EUR"].posted == 20


def test_a_quorum_that_nobody_can_reach_is_refused(state):
    for quorum in ({"need": 4}, {"roles": {"treasurer": 2}}, {"need": 0}, {"who": {"ana": "treasurer"}}):
        body = {"quorum": QUORUM.document() | quorum}
        refused(state, Reserve(ident(1), AT, "spend", postings(1), body, LATER), RejectionCode.WRONG_QUORUM)


def test_a_period_is_closed_by_two_and_stays_closed(state):
    until, trial = Instant(AT + 10), trial_root(trial_balance([(AT, postings(50, "life"))], Instant(AT + 10)))
    ask = AskClose(ident("ask"), Instant(AT + 20), until, trial, "ana")
    refused(state, AskClose(ident("ask"), AT, until, trial, "ana"), RejectionCode.NOT_OVER)
    close = ClosePeriod(ident("close"), Instant(AT + 30), ident("ask"), until, trial, "ben")
    refused(state, close, RejectionCode.UNKNOWN_ENTRY)
    write(state, ask)
    same = ClosePeriod(ident("close"), Instant(AT + 30), ident("ask"), until, trial, "ana")
    assert "second person" in refused(state, same, RejectionCode.WRONG_QUORUM)
    other = ClosePeriod(ident("close"), Instant(AT + 30), ident("ask"), until, "00", "ben")
    refused(state, other, RejectionCode.WRONG_TRIAL)
    write(state, close)
    assert "closed period" in refused(state, Post(ident(1), AT, "k", postings(1), {}), RejectionCode.SEALED_PERIOD)
    refused(state, AskClose(ident(2), Instant(AT + 40), until, trial, "ana"), RejectionCode.SEALED_PERIOD)
    write(state, Post(ident(1), AT, "note", (), {}))  # words may come late, amounts may not
    write(state, Post(ident(3), until, "k", postings(1), {}))


MONEY = {"officers": [["ana", "treasurer", ""], ["ben", "auditor", KEY.did], ["cy", "auditor", ""]], "close": "named"}
UNTIL = Instant(AT + 10)
TRIAL = trial_root(trial_balance([(AT, postings(50, "life"))], UNTIL))


def closing(by: str, asked: str = "", **changes):
    signature = sign_close(KEY, UNTIL, TRIAL) if by == "ben" else ""
    fields = {
        "id": ident("close", by, asked), "at": Instant(AT + 20), "until": UNTIL, "trial": TRIAL, "by": by,
        "actor": f"{by}'s login", "signature": signature,
    } | changes  # fmt: skip
    return ClosePeriod(asked=asked, **fields) if asked else AskClose(**fields)


def test_two_people_close_each_with_a_key_or_a_login_of_its_own(state):
    write(state, Post(ident("money"), AT, "money.rules", (), MONEY))
    refused(state, closing("dora"), RejectionCode.NOT_APPROVER)
    refused(state, closing("ana", actor=""), RejectionCode.NOT_APPROVER)
    refused(state, closing("ben", signature=""), RejectionCode.BAD_SIGNATURE)
    refused(state, closing("ben", trial="00"), RejectionCode.BAD_SIGNATURE)
    asked = write(state, closing("ana")).entry.id
    words = refused(state, closing("cy", asked, actor="ana's login"), RejectionCode.WRONG_QUORUM)
    assert "a login of your own" in words
    refused(state, closing("ben", asked, actor="ana's login"), RejectionCode.WRONG_QUORUM)
    refused(state, closing("ben", asked, signature="AA=="), RejectionCode.BAD_SIGNATURE)
    without_ana = {**MONEY, "officers": MONEY["officers"][1:]}
    write(state, Post(ident("other money"), AT, "money.rules", (), without_ana))
    assert "no officer any more" in refused(state, closing("ben", asked), RejectionCode.NOT_APPROVER)
    write(state, Post(ident("money again"), AT, "money.rules", (), {**MONEY, "close": ""}))  # it stays `named`
    refused(state, closing("ben", asked, signature=""), RejectionCode.BAD_SIGNATURE)
    write(state, closing("ben", asked))


def test_two_keys_are_two_people_whoever_is_logged_in_and_one_key_is_one(state):
    other = SigningKey(b"1" * 32)
    officers = [["ana", "treasurer", other.did], ["ben", "auditor", KEY.did], ["eve", "auditor", other.did]]
    write(state, Post(ident("money"), AT, "money.rules", (), {**MONEY, "officers": officers}))
    signed = {"signature": sign_close(other, UNTIL, TRIAL), "actor": "the hall's tablet"}
    asked = write(state, closing("ana", **signed)).entry.id
    assert "the key of ana" in refused(state, closing("eve", asked, **signed), RejectionCode.WRONG_QUORUM)
    write(state, closing("ben", asked, actor="the hall's tablet"))


def test_what_was_asked_before_logins_were_noted_is_asked_again(state):
    asked = write(state, closing("ana", actor="")).entry.id
    write(state, Post(ident("money"), AT, "money.rules", (), MONEY))
    refused(state, closing("cy", asked), RejectionCode.UNKNOWN_ENTRY)


def test_linked_entries_are_written_whole_or_not_at_all(state):
    chain = [Post(ident(n), AT, "k", postings(-20, "life"), {}) for n in range(3)]
    before = copy.deepcopy(state)
    outcome = apply_linked(state, chain)
    assert isinstance(outcome, Rejection)
    assert (outcome.code, outcome.message[:27]) == (RejectionCode.LIFELINE, "3 of 3 linked entries: life")
    assert state == before
    made = apply_linked(state, chain[:2])
    assert isinstance(made, tuple)
    assert state == before
    for sealed in made:
        absorb(state, sealed)
    assert state.balances["life", "money:EUR"].posted == 10
    assert apply_linked(state, chain[:2]) == Duplicate(ident(0))
    for wrong in ([], [chain[0], chain[0]], [chain[0]] * 1001):
        outcome = apply_linked(state, wrong)
        assert isinstance(outcome, Rejection)
        assert outcome.code is RejectionCode.BROKEN_LINK
    outcome = apply_linked(state, [chain[0], Post(ident("new"), AT, "k", postings(1), {})])
    assert isinstance(outcome, Rejection)
    assert outcome.code is RejectionCode.CONFLICT


def document(**changes) -> dict:
    fields = {
        "v": 1, "id": ident("doc"), "at": AT, "kind": "k", "state": "posted", "body": {},
        "postings": [["a", "money:EUR", "5"], ["b", "money:EUR", "-5"]],
    }  # fmt: skip
    return fields | changes


def arrived(state: LedgerState, data: bytes):
    entry = read_entry(data)
    return entry if isinstance(entry, Rejection) else apply_entry(state, entry, data, lambda _: None)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", RejectionCode.NOT_CANONICAL),
        (b"{", RejectionCode.NOT_CANONICAL),
        (json.dumps(document()).encode(), RejectionCode.NOT_CANONICAL),  # blanks
        (encode(document(extra=1)), RejectionCode.NOT_CANONICAL),
        (encode(document(body=[])), RejectionCode.NOT_CANONICAL),
        (encode(document(postings=[["a", "money:EUR", "05"]])), RejectionCode.NOT_CANONICAL),
        (encode(document(state="floating")), RejectionCode.NOT_CANONICAL),
        (encode(document(kind="account.open", postings=[])), RejectionCode.NOT_CANONICAL),
        (encode(document(v=2)), RejectionCode.UNKNOWN_VERSION),
        (encode(document()).replace(b'"body":{}', b'"body":{"n":9007199254740992}'), RejectionCode.INTEGER_TOO_LARGE),
        (encode(document(postings=[["a", "money:EUR", "5"]])), RejectionCode.UNBALANCED),
        (encode(document(postings=[["z", "x", "5"], ["a", "x", "-5"]])), RejectionCode.UNKNOWN_ACCOUNT),
        (encode(document(state="reversal", refers=ident("no"), body={"reason": "x"})), RejectionCode.UNKNOWN_ENTRY),
        (encode(document(id=ident("fill"))), RejectionCode.CONFLICT),
        (encode(document(link=[2, 1])), RejectionCode.NOT_CANONICAL),
    ],
)
def test_bytes_are_judged_like_commands(state, data, expected):
    before = copy.deepcopy(state)
    outcome = arrived(state, data)
    assert isinstance(outcome, Rejection)
    assert (outcome.code, bool(outcome.message)) == (expected, True)
    assert state == before


def test_good_bytes_are_taken_as_they_are(state):
    data = encode(document())
    outcome = arrived(state, data)
    assert isinstance(outcome, SealedEntry)
    assert outcome.document == data


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_canonical_bytes_are_those_of_rfc8785(value):
    import rfc8785

    try:
        expected = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        with pytest.raises(NotCanonical):
            encode(value)
        return
    assert encode(value) == expected


@given(JSON, st.text(max_size=6), st.integers(-(2**63), 2**63), st.none() | st.integers(0, 2**53 - 1), st.booleans())
def test_an_entry_is_sealed_in_the_canonical_form_of_its_fields(value, text, amount, expires, linked):
    rows = (Posting(text, "x", amount), Posting("b", text, -amount))
    body = {"value": value, text: 1}
    entry = Entry(text, AT, text, EntryState.POSTED, rows, body, text, expires, (1, 2) if linked else None)
    fields = {
        "v": 1, "id": text, "at": AT, "kind": text, "state": "posted", "body": body,
        "postings": [[text, "x", str(amount)], ["b", text, str(-amount)]],
    }  # fmt: skip
    fields |= {"refers": text} if text else {}
    fields |= {} if expires is None else {"expires": expires}
    fields |= {"link": [1, 2]} if linked else {}
    assert seal(entry).document == encode(fields)


def test_a_chain_is_judged_by_charters_and_officers_too(state):
    home = {"id": "home", "role": "household", "lifeline": True}
    write(state, Post(ident("charter"), AT, "charter", (), {"members": [home]}))
    write(state, Post(ident("money"), AT, "money.rules", (), MONEY))
    write(state, OpenAccount(ident("owes"), AT, "member:home:owes"))
    for command, code in (
        (SetLimits(ident("cut"), AT, "member:home:owes", None, 0, "debts"), RejectionCode.LIFELINE),
        (closing("ben", signature=""), RejectionCode.BAD_SIGNATURE),
    ):
        outcome = apply_linked(state, [command])
        assert isinstance(outcome, Rejection)
        assert outcome.code is code
