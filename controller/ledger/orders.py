"""What may be asked of the book, and why it may say no: commands, and rejections with their codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from controller.ledger.canonical import Json
from controller.ledger.entries import Posting, SealedEntry
from devices.clock import Instant, iso

ACCOUNT_OPENED = "account.open"
"""The kind of the entry that opens an account; its body names `account`, and `floor` and `ceiling` if it has them."""
ACCOUNT_LIMITS = "account.limits"
"""The kind of the entry that gives an account other limits."""
APPROVAL = "approval"
PERIOD_CLOSING = "period.closing"
PERIOD_CLOSE = "period.close"
"""Closing takes two people: the first asks (`period.closing`), the second agrees (`period.close`), and it is sealed."""
CHARTER = "charter"
"""Published rules: whoever they give a lifeline is never cut off again (`state.lifelines_in`)."""
OFFICERS = "money.rules"
"""The kind of the entry that names the officers, who close periods: `officers` ([name, role, did:key or ""])."""
CLOSE = "close"
NAMED = "named"
"""`close: named` in the rules: since then closes and approvals say who was logged in, and keys sign closes too."""
RULED_KINDS = frozenset((ACCOUNT_OPENED, ACCOUNT_LIMITS, APPROVAL, PERIOD_CLOSING, PERIOD_CLOSE))
"""Kinds that this module gives a meaning; a plain `Post` may not write them."""


class RejectionCode(StrEnum):
    """Why a command changed nothing."""

    BAD_ID = "bad-id"
    CONFLICT = "conflict"
    UNBALANCED = "unbalanced"
    BAD_AMOUNT = "bad-amount"
    BAD_BODY = "bad-body"
    NO_POSTINGS = "no-postings"
    UNKNOWN_ACCOUNT = "unknown-account"
    BELOW_LIMIT = "below-limit"
    ABOVE_LIMIT = "above-limit"
    UNKNOWN_ENTRY = "unknown-entry"
    NOT_PENDING = "not-pending"
    NOT_POSTED = "not-posted"
    ALREADY_REVERSED = "already-reversed"
    EXPIRED = "expired"
    NOT_EXPIRED = "not-expired"
    INTEGER_TOO_LARGE = "integer-too-large"
    NOT_CANONICAL = "not-canonical"
    UNKNOWN_VERSION = "unknown-version"
    LIFELINE = "lifeline"
    ACCOUNT_EXISTS = "account-exists"
    RESERVED_KIND = "reserved-kind"
    SEALED_PERIOD = "sealed-period"
    NOT_OVER = "not-over"
    WRONG_TRIAL = "wrong-trial"
    NOT_APPROVER = "not-approver"
    ALREADY_APPROVED = "already-approved"
    EXPIRED_APPROVAL = "expired-approval"
    WRONG_QUORUM = "wrong-quorum"
    BAD_SIGNATURE = "bad-signature"
    BROKEN_LINK = "broken-link"


@dataclass(frozen=True, slots=True)
class EntryOf:
    """An entry that a rejection names; a desk that knows it better says `receipt 1`."""

    id: str

    def __str__(self) -> str:
        """Returns what stands for it where nobody knows it better."""
        return f"entry {self.id}"


@dataclass(frozen=True, slots=True)
class AmountOf:
    """An amount that a rejection names, in the asset's smallest unit; a desk says `-40.00 EUR`."""

    amount: int
    asset: str

    def __str__(self) -> str:
        """Returns it in the smallest unit."""
        return f"{self.amount} {self.asset}"


@dataclass(frozen=True, slots=True)
class At:
    """An instant that a rejection names; a desk says it in the community's civil time."""

    instant: Instant

    def __str__(self) -> str:
        """Returns it in UTC."""
        return iso(self.instant)


Part = str | EntryOf | AmountOf | At


@dataclass(frozen=True, slots=True)
class Rejection:
    """Nothing was written; `message` says what, which, what was seen and what to do.

    The book knows neither numbers of receipts nor coins nor time zones: `parts`, where they are given, are the same
    message for a desk that does.
    """

    code: RejectionCode
    message: str
    parts: tuple[Part, ...] = ()

    @classmethod
    def of(cls, code: RejectionCode, *parts: Part) -> Rejection:
        """Returns the rejection with this message."""
        return cls(code, "".join(map(str, parts)), parts)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The very same entry stands in the ledger already."""

    id: str


@dataclass(frozen=True, slots=True)
class Post:
    """Write an entry: with postings it moves amounts at once, without it is an audit entry."""

    id: str
    at: Instant
    kind: str
    postings: tuple[Posting, ...]
    body: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """Open an account. Limits hold per asset; None means no limit.

    A `lifeline` account is one without which its holder could not live: no later command lowers its floor (what it
    keeps) or its ceiling (what it may take). A charter makes lifelines too: `state.lifelines_in`.
    """

    id: str
    at: Instant
    account: str
    floor: int | None = None
    ceiling: int | None = None
    lifeline: bool = False


@dataclass(frozen=True, slots=True)
class SetLimits:
    """Give an account other limits; what it holds already may lie outside of them."""

    id: str
    at: Instant
    account: str
    floor: int | None
    ceiling: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Reserve:
    """Write a pending entry that holds its amounts until posted, voided or expired."""

    id: str
    at: Instant
    kind: str
    postings: tuple[Posting, ...]
    body: Mapping[str, Json]
    expires: Instant


@dataclass(frozen=True, slots=True)
class PostPending:
    """Make a pending entry final."""

    id: str
    at: Instant
    pending: str


@dataclass(frozen=True, slots=True)
class VoidPending:
    """Take a pending entry back."""

    id: str
    at: Instant
    pending: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExpirePending:
    """Take a pending entry back because its time is over."""

    id: str
    at: Instant
    pending: str


@dataclass(frozen=True, slots=True)
class Reverse:
    """Undo a posted entry exactly and once; `target` is that entry as the log holds it."""

    id: str
    at: Instant
    target: SealedEntry
    reason: str


@dataclass(frozen=True, slots=True)
class Approve:
    """Agree to a pending entry that needs a quorum; `leaf` is that entry's hash in hex, so it is this very content."""

    id: str
    at: Instant
    pending: str
    leaf: str
    by: str
    actor: str = ""  # who was logged in
    signature: str = ""  # by the approver's key: `quorum.sign_approval`


@dataclass(frozen=True, slots=True)
class AskClose:
    """Propose to close everything before `until`; `trial` is the root of the trial balance (`trial.py`)."""

    id: str
    at: Instant
    until: Instant
    trial: str
    by: str
    actor: str = ""  # who was logged in
    signature: str = ""  # by the officer's key: `quorum.sign_close`


@dataclass(frozen=True, slots=True)
class ClosePeriod:
    """Close what another person has proposed to close; afterwards nothing is booked before `until`."""

    id: str
    at: Instant
    asked: str  # id of the entry of AskClose
    until: Instant
    trial: str  # as the second person computed it
    by: str
    actor: str = ""
    signature: str = ""


Command = (
    Post | OpenAccount | SetLimits | Reserve | PostPending | VoidPending | ExpirePending | Reverse
    | Approve | AskClose | ClosePeriod
)  # fmt: skip
