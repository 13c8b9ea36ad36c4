"""The rules of the book: `apply(state, command)` says what would be written, `absorb` makes it so.

`apply` changes nothing; it answers with the sealed entry, with Duplicate (same id, same content: nothing to
do), or with a Rejection that a treasurer understands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.ledger.canonical import AMOUNT_LIMIT, Json, NotCanonical
from controller.ledger.entries import Entry, EntryState, Posting, SealedEntry, is_entry_id, seal, totals
from devices.clock import Instant

ACCOUNT_OPENED = "account.open"
"""The kind of the entry that opens an account; its body names `account`, and `floor` and `ceiling` if it has them."""


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


@dataclass(frozen=True, slots=True)
class Rejection:
    """Nothing was written; `message` says what, which, what was seen and what to do."""

    code: RejectionCode
    message: str


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
    """Open an account. Limits hold per asset; None means no limit."""

    id: str
    at: Instant
    account: str
    floor: int | None = None
    ceiling: int | None = None


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


Command = Post | OpenAccount | Reserve | PostPending | VoidPending | ExpirePending | Reverse


@dataclass(slots=True)
class Account:
    """An account and its limits on posted plus pending, per asset."""

    floor: int | None = None
    ceiling: int | None = None


@dataclass(slots=True)
class Balance:
    """What an account holds of one asset."""

    posted: int = 0
    pending: int = 0


@dataclass(slots=True)
class LedgerState:
    """Everything that `apply` looks at; owned by one loop, changed by `absorb` only."""

    accounts: dict[str, Account] = field(default_factory=dict[str, Account])
    balances: dict[tuple[str, str], Balance] = field(default_factory=dict[tuple[str, str], Balance])
    leaves: dict[str, bytes] = field(default_factory=dict[str, bytes])  # entry id -> leaf hash
    pending: dict[str, Entry] = field(default_factory=dict[str, Entry])
    reversed: set[str] = field(default_factory=set[str])

    def imbalance(self) -> int:
        """Returns the largest |sum of all balances| over the assets: 0, or the ledger is broken."""
        sums: dict[str, int] = {}
        for (_, asset), balance in self.balances.items():
            sums[asset] = sums.get(asset, 0) + balance.posted
        return max((abs(total) for total in sums.values()), default=0)


def apply(state: LedgerState, command: Command) -> SealedEntry | Duplicate | Rejection:
    """Returns the entry that `command` would write, or why it writes nothing; changes nothing."""
    if not is_entry_id(command.id):
        return Rejection(
            RejectionCode.BAD_ID, f"id {command.id!r} is not a lower-case UUIDv7; the sender must make one"
        )
    entry = _entry(state, command)
    if isinstance(entry, Rejection):
        return entry
    try:
        sealed = seal(entry)
    except NotCanonical as error:
        return Rejection(RejectionCode.BAD_BODY, f"entry {command.id} ({entry.kind}): {error}")
    known = state.leaves.get(command.id)
    if known is not None:
        if known == sealed.leaf:
            return Duplicate(command.id)
        return Rejection(
            RejectionCode.CONFLICT, f"entry {command.id} exists with other content; use a new id for a new entry"
        )
    problem = _judge(state, command, entry)
    return sealed if problem is None else problem


def absorb(state: LedgerState, sealed: SealedEntry) -> None:
    """Folds a written entry into the state; replaying a log from its first entry gives the same state."""
    entry = sealed.entry
    state.leaves[entry.id] = sealed.leaf
    match entry.state:
        case EntryState.PENDING:
            state.pending[entry.id] = entry
            _move(state, entry.postings, 0, 1)
        case EntryState.POST:
            del state.pending[entry.refers]
            _move(state, entry.postings, 1, -1)
        case EntryState.VOID | EntryState.EXPIRE:
            del state.pending[entry.refers]
            _move(state, entry.postings, 0, -1)
        case EntryState.REVERSAL:
            state.reversed.add(entry.refers)
            _move(state, entry.postings, 1, 0)
        case EntryState.POSTED:
            _move(state, entry.postings, 1, 0)
            if entry.kind == ACCOUNT_OPENED:
                state.accounts[str(entry.body["account"])] = Account(
                    _limit(entry.body.get("floor")), _limit(entry.body.get("ceiling"))
                )


def _entry(state: LedgerState, command: Command) -> Entry | Rejection:
    """Returns the entry that the command describes, before it is judged."""
    match command:
        case Post():
            return Entry(command.id, command.at, command.kind, EntryState.POSTED, command.postings, command.body)
        case OpenAccount():
            body: dict[str, Json] = {"account": command.account}
            for name, limit in (("floor", command.floor), ("ceiling", command.ceiling)):
                if limit is not None:
                    body[name] = str(limit)
            return Entry(command.id, command.at, ACCOUNT_OPENED, EntryState.POSTED, (), body)
        case Reserve():
            return Entry(
                command.id, command.at, command.kind, EntryState.PENDING, command.postings, command.body,
                expires=command.expires,
            )  # fmt: skip
        case Reverse():
            target = command.target.entry
            return Entry(
                command.id, command.at, target.kind, EntryState.REVERSAL,
                tuple(Posting(posting.account, posting.asset, -posting.amount) for posting in target.postings),
                {"reason": command.reason}, refers=target.id,
            )  # fmt: skip
        case PostPending() | VoidPending() | ExpirePending():
            return _resolution(state, command)


def _resolution(state: LedgerState, command: PostPending | VoidPending | ExpirePending) -> Entry | Rejection:
    pending = state.pending.get(command.pending)
    if pending is None:
        if command.id in state.leaves:
            return _repeat(command)
        code = RejectionCode.NOT_PENDING if command.pending in state.leaves else RejectionCode.UNKNOWN_ENTRY
        return Rejection(code, f"entry {command.pending} is not pending: it was settled before, or never reserved")
    states = {PostPending: EntryState.POST, VoidPending: EntryState.VOID, ExpirePending: EntryState.EXPIRE}
    body: dict[str, Json] = {"reason": command.reason} if isinstance(command, VoidPending) else {}
    return Entry(
        command.id, command.at, pending.kind, states[type(command)], pending.postings, body, refers=command.pending
    )


def _repeat(command: PostPending | VoidPending | ExpirePending) -> Rejection:
    # The postings are gone from memory, so content cannot be compared: the safe answer is the conflict.
    return Rejection(
        RejectionCode.CONFLICT, f"entry {command.id} exists; {command.pending} was settled by it or by another"
    )


def _judge(state: LedgerState, command: Command, entry: Entry) -> Rejection | None:
    match command:
        case Reverse():
            problem = _judge_reversal(state, command)
        case PostPending():
            expires = state.pending[command.pending].expires
            late = expires is not None and command.at >= expires
            problem = (
                Rejection(RejectionCode.EXPIRED, f"entry {command.pending} expired at {expires}") if late else None
            )
        case ExpirePending():
            expires = state.pending[command.pending].expires
            early = expires is None or command.at < expires
            problem = (
                Rejection(RejectionCode.NOT_EXPIRED, f"entry {command.pending} stands until {expires}")
                if early
                else None
            )
        case Reserve():
            problem = (
                None
                if entry.postings
                else Rejection(
                    RejectionCode.NO_POSTINGS, f"pending entry {entry.id} reserves nothing: give it postings"
                )
            )
        case Post() | OpenAccount() | VoidPending():
            problem = None
    return problem or _judge_postings(entry) or _judge_accounts(state, entry)


def _judge_reversal(state: LedgerState, command: Reverse) -> Rejection | None:
    target = command.target
    if state.leaves.get(target.entry.id) != target.leaf:
        return Rejection(RejectionCode.UNKNOWN_ENTRY, f"entry {target.entry.id} is not in the ledger with this content")
    if target.entry.state not in (EntryState.POSTED, EntryState.POST):
        return Rejection(
            RejectionCode.NOT_POSTED,
            f"entry {target.entry.id} is {target.entry.state}: only posted entries are reversed",
        )
    if target.entry.id in state.reversed:
        return Rejection(RejectionCode.ALREADY_REVERSED, f"entry {target.entry.id} is reversed already; once is all")
    return None


def _judge_postings(entry: Entry) -> Rejection | None:
    for posting in entry.postings:
        if posting.amount == 0 or abs(posting.amount) >= AMOUNT_LIMIT:
            return Rejection(
                RejectionCode.BAD_AMOUNT,
                f"entry {entry.id}: {posting.amount} on {posting.account} is zero or not below 2^63",
            )
    for asset, total in totals(entry.postings).items():
        if total:
            return Rejection(RejectionCode.UNBALANCED, f"entry {entry.id}: {asset} sums to {total}, not to 0")
    return None


def _judge_accounts(state: LedgerState, entry: Entry) -> Rejection | None:
    moves: dict[tuple[str, str], int] = {}
    for posting in entry.postings:
        if posting.account not in state.accounts:
            return Rejection(
                RejectionCode.UNKNOWN_ACCOUNT, f"entry {entry.id}: no account {posting.account!r}; open it first"
            )
        key = posting.account, posting.asset
        moves[key] = moves.get(key, 0) + posting.amount
    if entry.state not in (EntryState.POSTED, EntryState.PENDING, EntryState.REVERSAL):
        return None  # its amounts were judged when they were reserved
    for (name, asset), change in moves.items():
        account, balance = state.accounts[name], state.balances.get((name, asset), Balance())
        after = balance.posted + balance.pending + change
        if abs(after) >= AMOUNT_LIMIT:
            return Rejection(RejectionCode.BAD_AMOUNT, f"entry {entry.id}: {name} would hold {after} {asset}")
        if account.floor is not None and change < 0 and after < account.floor:
            return Rejection(
                RejectionCode.BELOW_LIMIT,
                f"entry {entry.id}: {name} would hold {after} {asset}, at least {account.floor}",
            )
        if account.ceiling is not None and change > 0 and after > account.ceiling:
            return Rejection(
                RejectionCode.ABOVE_LIMIT,
                f"entry {entry.id}: {name} would hold {after} {asset}, at most {account.ceiling}",
            )
    return None


def _move(state: LedgerState, postings: tuple[Posting, ...], posted: int, pending: int) -> None:
    for posting in postings:
        balance = state.balances.setdefault((posting.account, posting.asset), Balance())
        balance.posted += posted * posting.amount
        balance.pending += pending * posting.amount


def _limit(value: Json) -> int | None:
    return None if value is None else int(str(value))
