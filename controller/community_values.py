"""What people see of their rules and their money: frozen values; console pages only render them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from devices.clock import Instant

Fact = tuple[str, str]
"""(what, how much): one line of a charter in words."""


@dataclass(frozen=True, slots=True)
class VoteView:
    """One vote on a charter.

    `changes` are (what, in force, proposed) of the lines in which the two differ, while it is not in force.
    """

    number: int
    title: str
    state: str  # open, passed, rejected
    opened: Instant
    closes: Instant
    valid_from: Instant
    by: str
    need: int
    yes: tuple[str, ...]
    no: tuple[str, ...]
    waiting: tuple[str, ...]  # may vote and have not
    digest: str  # hex, of the document that is voted on
    changes: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class CharterView:
    """A charter in force, line by line; `vote` is the number of the vote that passed it, 0 for the site file's."""

    version: int
    since: Instant
    vote: int
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class CharterPage:
    """The Charter page; `quorum` is the sentence on what a change needs now. Votes newest first."""

    at: Instant
    charter: CharterView
    quorum: str
    votes: tuple[VoteView, ...]


@dataclass(frozen=True, slots=True)
class MemberLine:
    """How a member stands; `step` is the rung of the arrears ladder in words, "" for none.

    People carry a step out: `done` says who has and how, "" while it waits. `devices` are (id, name) of what stands in
    the member's home and can be held beyond the lifeline.
    """

    label: str
    balance: str  # in words: owes, has credit
    overdue: str
    days: int
    step: str
    id: str = ""
    done: str = ""
    devices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ProposalLine:
    """Something that people must agree to before money moves."""

    number: int
    text: str
    state: str  # open, done, withdrawn, expired
    approved: tuple[str, ...]
    missing: str  # in words, "" where nothing is
    expires: Instant
    leaf: str = ""  # leaf hash in hex: what somebody with a key signs
    waiting: Mapping[str, str] = field(default_factory=dict[str, str])  # who may still agree -> did:key, "" without one


@dataclass(frozen=True, slots=True)
class ClosingLine:
    """A period that one officer has asked to close; `period` names its last day."""

    by: str
    period: str


@dataclass(frozen=True, slots=True)
class ReceiptLine:
    """One numbered payment."""

    number: int
    at: Instant
    label: str
    amount: str
    method: str
    ref: str
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class MoneyPage:
    """The treasurer's page; amounts are exact texts of the currency."""

    at: Instant
    accounts: tuple[tuple[str, str], ...]
    budgets: tuple[tuple[str, str, str], ...]  # name, what for, left
    loans: tuple[tuple[str, str, str], ...]  # member, device, left of what
    proposals: tuple[ProposalLine, ...]  # open ones first, newest first
    members: tuple[MemberLine, ...]
    receipts: tuple[ReceiptLine, ...]  # newest first
    receipts_all: int
    closed: tuple[tuple[Instant, str], ...]  # until, by whom; newest first
    closing: ClosingLine | None  # what waits for a second person
    officers: Mapping[str, str]  # name -> role
    keys: Mapping[str, str]  # officer -> did:key with which it signs; those without one are not here
