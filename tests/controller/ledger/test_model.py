"""The book against a naive model: the same random commands, and after each the same answer and the same balances.

The model keeps plain lists and sums them anew; it shares no code with the book. The seed is printed when they differ:
`ATOLL_MODEL_SEED=N ./atoll test --deep tests/controller/ledger/test_model.py` lives it again.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field

import pytest

from controller.ledger import core, entries, linked, orders, state
from devices.clock import Instant

AT = 1_780_000_000_000
ACCOUNTS = {
    "a": (None, None), "b": (None, None), "purse": (0, 400), "loan": (-300, None), "life": (20, None),
    "cap": (None, 90),
}  # fmt: skip
ASSETS = ("energy", "water", "money:EUR", "work:hours")
PEOPLE = {"ana": "treasurer", "ben": "auditor", "cy": "auditor"}


@dataclass
class Held:
    posted: int = 0
    pending: int = 0


@dataclass
class Reserved:
    postings: list
    expires: int
    needs: bool
    approved: set = field(default_factory=set)
    open: bool = True


@dataclass
class Model:
    """What a careful clerk would do on paper. Every method returns the refusal's code, or '' if it was written."""

    held: dict = field(default_factory=dict)
    entries: dict = field(default_factory=dict)  # id -> what was asked
    reserved: dict = field(default_factory=dict)
    posted: dict = field(default_factory=dict)  # id -> postings, of what can be reversed
    undone: set = field(default_factory=set)
    sealed: int = 0

    def known(self, name, asked):
        if name not in self.entries:
            return None
        return "duplicate" if self.entries[name] == asked else "conflict"

    def movable(self, postings, at, *, limits=True):
        if any(amount == 0 for _, _, amount in postings):
            return "bad-amount"
        for asset in dict.fromkeys(asset for _, asset, _ in postings):
            if sum(amount for _, one, amount in postings if one == asset):
                return "unbalanced"
        if postings and at < self.sealed:
            return "sealed-period"
        if any(account not in ACCOUNTS for account, _, _ in postings):
            return "unknown-account"
        if not limits:
            return ""
        for account, asset in dict.fromkeys((account, asset) for account, asset, _ in postings):
            change = sum(amount for one, of, amount in postings if (one, of) == (account, asset))
            held = self.held.get((account, asset), Held())
            after = held.posted + held.pending + change
            floor, ceiling = ACCOUNTS[account]
            if floor is not None and change < 0 and after < floor:
                return "lifeline" if account == "life" else "below-limit"
            if ceiling is not None and change > 0 and after > ceiling:
                return "above-limit"
        return ""

    def move(self, postings, posted, pending):
        for account, asset, amount in postings:
            held = self.held.setdefault((account, asset), Held())
            held.posted += posted * amount
            held.pending += pending * amount

    def post(self, name, at, postings):
        code = self.known(name, ("post", at, postings)) or self.movable(postings, at)
        if not code:
            self.entries[name] = ("post", at, postings)
            self.posted[name] = postings
            self.move(postings, 1, 0)
        return code

    def reserve(self, name, at, postings, expires, needs):
        asked = ("reserve", at, postings, expires, needs)
        code = self.known(name, asked) or ("" if postings else "no-postings") or self.movable(postings, at)
        if not code:
            self.entries[name] = asked
            self.reserved[name] = Reserved(postings, expires, needs)
            self.move(postings, 0, 1)
        return code

    def settle(self, name, at, target, how):
        known = self.known(name, ("settle", how, at, target))
        one = self.reserved.get(target)
        if known is not None and one is not None and not one.open:
            return known
        if one is None:
            return "not-pending" if target in self.entries else "unknown-entry"
        if not one.open:
            return "not-pending"
        if known is not None:
            return known
        late = at >= one.expires
        if how == "post" and late:
            return "expired-approval" if one.needs else "expired"
        if how == "post" and one.needs and not (len(one.approved) >= 2 and "ana" in one.approved):
            return "wrong-quorum"
        if how == "expire" and not late:
            return "not-expired"
        code = self.movable(one.postings, at, limits=False)
        if not code:
            self.entries[name] = ("settle", how, at, target)
            one.open = False
            self.move(one.postings, int(how == "post"), -1)
            if how == "post":
                self.posted[name] = one.postings
        return code

    def approve(self, name, at, target, by):
        known = self.known(name, ("approve", at, target, by))
        one = self.reserved.get(target)
        if one is None or (not one.open and known is None):
            return "not-pending" if target in self.entries else "unknown-entry"
        if not one.needs or by not in PEOPLE:
            return "not-approver"
        if known is not None:
            return known
        if at >= one.expires:
            return "expired-approval"
        if by in one.approved:
            return "already-approved"
        self.entries[name] = ("approve", at, target, by)
        one.approved.add(by)
        return ""

    def reverse(self, name, at, target):
        known = self.known(name, ("reverse", at, target))
        if known is not None:
            return known
        if target not in self.posted:
            return "not-posted"
        if target in self.undone:
            return "already-reversed"
        back = [(account, asset, -amount) for account, asset, amount in self.posted[target]]
        code = self.movable(back, at)
        if not code:
            self.entries[name] = ("reverse", at, target)
            self.undone.add(target)
            self.move(back, 1, 0)
        return code


class Both:
    """One book and one model that hear the same."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.book, self.model = state.LedgerState(), Model()
        self.log: list = []
        self.sealed_of: dict = {}
        self.now, self.count = AT, 0
        for account, (floor, ceiling) in ACCOUNTS.items():
            name = self.name()
            self.write(orders.OpenAccount(name, Instant(AT), account, floor, ceiling, account == "life"))
            self.model.entries[name] = ("open", account)

    def name(self) -> str:
        self.count += 1
        return entries.derived_id(Instant(self.now), self.count)

    def write(self, command) -> str:
        outcome = core.apply(self.book, command)
        if isinstance(outcome, orders.Rejection):
            return outcome.code.value
        if isinstance(outcome, orders.Duplicate):
            return "duplicate"
        self.keep(outcome)
        return ""

    def keep(self, sealed) -> None:
        state.absorb(self.book, sealed)
        self.log.append(sealed.entry.id)
        self.sealed_of[sealed.entry.id] = sealed

    def postings(self) -> list:
        draw = self.random
        asset, amount = draw.choice(ASSETS), draw.randrange(-120, 121)
        first, second = draw.sample(list(ACCOUNTS), 2)
        rows = [(first, asset, amount), (second, asset, -amount)]
        if draw.random() < 0.1:
            rows += [(draw.choice(list(ACCOUNTS)), "water", 7), (second, "water", -7)]
        odd = draw.random()
        if odd < 0.02:
            rows[0] = (first, asset, amount + 1)
        elif odd < 0.04:
            rows[0] = ("nobody", asset, amount)
        return rows

    def step(self) -> tuple:
        """Gives one command to both and returns (what, the book's answer, the model's answer)."""
        draw = self.random
        self.now += draw.randrange(0, 3)
        at = self.now - (draw.randrange(0, 2_000) if draw.random() < 0.05 else 0)
        repeat = bool(self.log) and draw.random() < 0.05
        name = draw.choice(self.log[-500:]) if repeat else self.name()
        target = draw.choice(self.log[-60:]) if draw.random() < 0.97 else self.name()
        what = draw.choices(("post", "reserve", "settle", "approve", "reverse", "linked"), (40, 20, 16, 10, 8, 6))[0]
        return (what, *getattr(self, what)(name, at, target))

    def post(self, name, at, _):
        rows = self.postings()
        if self.random.random() < 0.3 and self.model.entries.get(name, ("",))[0] == "post":
            _, at, rows = self.model.entries[name]  # the very same once more
        return self.write(plain(name, at, rows)), self.model.post(name, at, rows)

    def reserve(self, name, at, _):
        rows = [] if self.random.random() < 0.03 else self.postings()
        expires, needs = at + self.random.randrange(0, 60), self.random.random() < 0.4
        body = {
            "quorum": {"need": 2, "roles": {"treasurer": 1}, "who": {one: [role, ""] for one, role in PEOPLE.items()}}
        }
        command = orders.Reserve(name, Instant(at), "hold", moved(rows), body if needs else {}, Instant(expires))
        return self.write(command), self.model.reserve(name, at, rows, expires, needs)

    def settle(self, name, at, target):
        how = self.random.choice(("post", "post", "void", "expire"))
        command = {
            "post": lambda: orders.PostPending(name, Instant(at), target),
            "void": lambda: orders.VoidPending(name, Instant(at), target, "no"),
            "expire": lambda: orders.ExpirePending(name, Instant(at), target),
        }[how]()
        return self.write(command), self.model.settle(name, at, target, how)

    def approve(self, name, at, target):
        waiting = [one for one in self.log[-60:] if one in self.book.pending]
        target = self.random.choice(waiting) if waiting else target
        by = self.random.choice((*PEOPLE, "dora"))
        leaf = self.book.leaves.get(target, b"").hex()
        return self.write(orders.Approve(name, Instant(at), target, leaf, by)), self.model.approve(name, at, target, by)

    def reverse(self, name, at, target):
        sealed = self.sealed_of.get(target)
        if sealed is None:
            return "", ""
        return self.write(orders.Reverse(name, Instant(at), sealed, "wrong")), self.model.reverse(name, at, target)

    def linked(self, name, at, _):
        names, rows = [name, self.name()], [self.postings(), self.postings()]
        if name in self.model.entries:
            return "", ""
        outcome = linked.apply_linked(self.book, [plain(one, at, row) for one, row in zip(names, rows, strict=True)])
        held = {key: Held(one.posted, one.pending) for key, one in self.model.held.items()}
        code = ""
        for one, row in zip(names, rows, strict=True):
            code = self.model.post(one, at, row)
            if code:  # on paper: rub out what was written of the chain
                self.model.held = held
                for gone in names:
                    self.model.entries.pop(gone, None)
                    self.model.posted.pop(gone, None)
                break
        if isinstance(outcome, tuple):
            for sealed in outcome:
                self.keep(sealed)
            for one in names:  # a repeat without its chain is another content
                self.model.entries[one] = ("linked", one)
            return "", code
        assert isinstance(outcome, orders.Rejection)
        return outcome.code.value, code

    def seal(self) -> None:
        """Two people close everything but the last second."""
        until = Instant(self.now - 1_000)
        ask = orders.AskClose(self.name(), Instant(self.now), until, "trial", "ana")
        assert self.write(ask) == ""
        assert self.write(orders.ClosePeriod(self.name(), Instant(self.now), ask.id, until, "trial", "ben")) == ""
        for name in self.log[-2:]:
            self.model.entries[name] = ("close",)
        self.model.sealed = until

    def compare(self) -> None:
        """Checks every balance, and that sums are zero."""
        for key, held in self.book.balances.items():
            paper = self.model.held.get(key, Held())
            assert (held.posted, held.pending) == (paper.posted, paper.pending), key
        assert self.model.held.keys() <= self.book.balances.keys() | {
            key for key, held in self.model.held.items() if held == Held()
        }
        assert self.book.imbalance() == 0
        assert set(self.book.pending) == {name for name, one in self.model.reserved.items() if one.open}


def moved(rows):
    return tuple(entries.Posting(*row) for row in rows)


def plain(name, at, rows):
    return orders.Post(name, Instant(at), "k", moved(rows), {})


def live(operations: int) -> dict:
    seed = int(os.environ.get("ATOLL_MODEL_SEED") or time.time_ns() % 2**32)
    both, seen = Both(seed), {}
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    for number in range(operations):
        what, book, paper = both.step()
        assert book == paper, f"seed {seed}, operation {number} ({what}): the book says {book!r}, the model {paper!r}"
        seen[what, book] = seen.get((what, book), 0) + 1
        if number % 5_000 == 4_999:
            both.compare()
            if number % 20_000 == 19_999:
                both.seal()
    both.compare()
    return seen


EXPECTED = {
    "bad-amount", "unbalanced", "unknown-account", "sealed-period", "lifeline", "below-limit", "above-limit",
    "duplicate", "conflict", "no-postings", "not-pending", "unknown-entry", "expired", "expired-approval",
    "wrong-quorum", "not-expired", "not-approver", "already-approved", "not-posted", "already-reversed", "",
}  # fmt: skip


@pytest.mark.parametrize(
    "operations", [100_000, pytest.param(1_000_000, marks=(pytest.mark.deep, pytest.mark.timeout(3_600)))]
)
def test_the_book_does_what_a_clerk_would(operations):
    seen = live(operations)
    assert {code for _, code in seen} == EXPECTED
