"""An audit names every entry that the book itself would have refused, in logs that no hub could have written."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from controller.ledger.audit import LogAudit
from controller.ledger.entries import Entry, EntryState, Posting, SealedEntry, derived_id, seal
from controller.ledger.trial import trial_root
from devices.clock import Instant

AT = Instant(1_780_000_000_000)
SOON, LATER = Instant(AT + 10), Instant(AT + 1_000)
THERE = (Posting("a", "m", 5), Posting("b", "m", -5))
BACK = (Posting("a", "m", -5), Posting("b", "m", 5))
QUORUM = {"quorum": {"need": 2, "roles": {}, "who": {"ana": ["treasurer", ""], "ben": ["auditor", ""]}}}


class Log:
    """A log written by hand, and what an audit says of it."""

    def __init__(self) -> None:
        self.audit = LogAudit(())
        for body in ({"account": "a"}, {"account": "b"}, {"account": "life", "floor": "0", "lifeline": True}):
            self.rule("account.open", body)
        self.put("k", (Posting("life", "m", 50), Posting("b", "m", -50)))
        assert self.audit.findings == []

    def put(self, kind="t", postings=THERE, state=EntryState.POSTED, body=None, at=AT, **more) -> SealedEntry:
        identity = derived_id(AT, self.audit.size)
        return self.write(seal(Entry(identity, at, kind, state, postings, body or {}, **more)))

    def rule(self, kind: str, body: dict, at: Instant = AT) -> SealedEntry:
        return self.put(kind, (), body=body, at=at)

    def pending(self, body=None) -> str:
        return self.put(state=EntryState.PENDING, body=body, expires=SOON).entry.id

    def approve(self, of: SealedEntry, by: str, at: Instant = AT, **changes) -> SealedEntry:
        role = {"ana": "treasurer"}.get(by, "auditor")
        body = {"proposal": of.entry.id, "leaf": of.leaf.hex(), "by": by, "role": role} | changes
        return self.rule("approval", body, at)

    def proposal(self) -> SealedEntry:
        return self.put(state=EntryState.PENDING, body=QUORUM, expires=SOON)

    def post(self, refers: str, at: Instant = AT) -> SealedEntry:
        return self.put(state=EntryState.POST, refers=refers, at=at)

    def reverse(self, refers: str, postings=BACK, body=None) -> SealedEntry:
        return self.put(state=EntryState.REVERSAL, postings=postings, body=body or {"reason": "r"}, refers=refers)

    def write(self, sealed: SealedEntry) -> SealedEntry:
        self.audit.entry(self.audit.size, sealed.document, sealed.leaf)
        return sealed

    def close(self, until: Instant, by=("ana", "ben"), trial: str = "") -> None:
        root = trial or trial_root({("b", "m"): -50, ("life", "m"): 50})
        asked = self.rule("period.closing", {"until": until, "trial": root, "by": by[0]}, LATER)
        self.rule("period.close", {"asked": asked.entry.id, "until": until, "trial": root, "by": by[1]}, LATER)


def approved_twice(log: Log) -> None:
    proposal = log.proposal()
    log.approve(proposal, "ana")
    log.approve(proposal, "ana")


def approved_late(log: Log) -> None:
    log.approve(log.proposal(), "ana", SOON)


def approved_by_a_stranger(log: Log) -> None:
    log.approve(log.proposal(), "eve")


def approved_in_another_role(log: Log) -> None:
    log.approve(log.proposal(), "ben", role="treasurer")


def reversed_twice(log: Log) -> None:
    first = log.put().entry.id
    log.reverse(first)
    log.reverse(first)


def closed_by_one_login(log: Log) -> None:
    officers = [["ana", "treasurer", ""], ["ben", "auditor", ""]]
    log.rule("money.rules", {"officers": officers, "close": "named"})
    body = {"until": SOON, "trial": trial_root({("b", "m"): -50, ("life", "m"): 50}), "actor": "eve"}
    asked = log.rule("period.closing", {**body, "by": "ana"}, LATER)
    log.rule("period.close", {**body, "asked": asked.entry.id, "by": "ben"}, LATER)


FORGED: list[tuple[Callable[[Log], object], str]] = [
    (lambda log: log.reverse(log.reverse(log.put().entry.id).entry.id, THERE), "not-posted"),
    (lambda log: log.reverse(log.pending()), "not-posted"),
    (lambda log: log.reverse(derived_id(AT, "nobody")), "unknown-entry"),
    (lambda log: log.reverse(log.put().entry.id, THERE), "not-canonical"),
    (lambda log: log.reverse(log.put().entry.id, body={"reason": "r", "more": 1}), "not-canonical"),
    (reversed_twice, "already-reversed"),
    (lambda log: log.post(log.pending(), SOON), "expired"),
    (lambda log: log.post(log.proposal().entry.id), "wrong-quorum"),
    (lambda log: log.post(log.put().entry.id), "not-pending"),
    (lambda log: log.put(state=EntryState.EXPIRE, refers=log.pending()), "not-expired"),
    (lambda log: log.put(postings=BACK, state=EntryState.VOID, body={"reason": "r"}, refers=log.pending()), "not-can"),
    (lambda log: log.put(state=EntryState.PENDING), "when it expires"),
    (lambda log: log.rule("account.limits", {"account": "life", "floor": "-9", "reason": "debts"}), "lifeline"),
    (lambda log: log.rule("account.open", {"account": "life"}), "account-exists"),
    (lambda log: log.rule("account.open", {"account": "new", "floor": "2", "ceiling": "1"}), "bad-amount"),
    (lambda log: log.rule("account.open", {"account": "new", "floor": "+2"}), "not-canonical"),
    (lambda log: log.rule("account.limits", {"account": "nobody", "reason": "r"}), "unknown-account"),
    (lambda log: log.put(postings=(Posting("life", "m", -51), Posting("a", "m", 51))), "lifeline"),
    (lambda log: log.put(postings=(Posting("a", "m", 0),)), "bad-amount"),
    (lambda log: log.put(postings=(Posting("a", "m", 1),)), "unbalanced"),
    (lambda log: log.put(postings=(Posting("z", "m", 5), Posting("b", "m", -5))), "unknown-account"),
    (lambda log: log.put(refers=log.put().entry.id), "not-canonical"),
    (lambda log: log.put(link=(2, 3)), "beginning is missing"),
    (lambda log: log.write(seal(Entry("x", AT, "t", EntryState.POSTED, THERE, {}))), "bad-id"),
    (lambda log: log.write(log.put()), "used before"),
    (approved_twice, "already-approved"),
    (approved_late, "expired-approval"),
    (approved_by_a_stranger, "not-approver"),
    (approved_in_another_role, "not-canonical"),
    (lambda log: log.close(SOON, ("ana", "ana")), "second person"),
    (closed_by_one_login, "logged in as eve"),
    (lambda log: log.close(SOON, trial="00" * 32), "not that of the entries before it"),
    (lambda log: log.rule("period.closing", {"until": LATER, "trial": "00", "by": "ana"}), "not-over"),
    (lambda log: log.rule("period.close", {"until": AT, "by": "ana"}), "trial"),
    (lambda log: (log.close(SOON), log.put()), "sealed-period"),
]


@pytest.mark.parametrize(("story", "words"), FORGED)
def test_what_the_book_refuses_an_audit_names(story, words):
    log = Log()
    story(log)
    assert len(log.audit.findings) == 1, log.audit.findings
    assert words in log.audit.findings[0].message


def test_a_close_from_before_signatures_stands():
    log = Log()
    log.rule("money.rules", {"officers": [["ana", "treasurer", "did:key:zA"], ["ben", "auditor", ""]]})
    log.close(SOON)
    assert log.audit.findings == []


def test_what_the_book_writes_an_audit_leaves_alone():
    log = Log()
    proposal = log.proposal()
    log.approve(proposal, "ana")
    log.approve(proposal, "ben")
    posted = log.post(proposal.entry.id)
    log.reverse(posted.entry.id)
    log.put(state=EntryState.EXPIRE, refers=log.pending(), at=SOON)
    log.put(link=(1, 2))
    log.put(postings=BACK, link=(2, 2))
    log.close(SOON)
    assert log.audit.findings == []
