"""What a command may not do: every rule of the book, each with the refusal that a treasurer understands."""

from __future__ import annotations

from controller.ledger.canonical import AMOUNT_LIMIT, NotCanonical
from controller.ledger.entries import Entry, EntryState
from controller.ledger.orders import (
    RULED_KINDS,
    AmountOf,
    Approve,
    AskClose,
    At,
    ClosePeriod,
    Command,
    EntryOf,
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
from controller.ledger.quorum import Quorum, closed_by, quorum_of, signed_by
from controller.ledger.state import Account, Closing, LedgerState, roles_of

_TAKING = (EntryState.POSTED, EntryState.PENDING, EntryState.REVERSAL)
"""States in which an entry takes from an account what it had not taken before."""


def judge(state: LedgerState, command: Command, entry: Entry) -> Rejection | None:
    """Returns why the entry that a command describes cannot be written, or None."""
    match command:
        case Post():
            problem = _judge_kind(entry)
        case Reserve():
            problem = _judge_kind(entry) or _judge_reserve(entry)
        case Reverse():
            problem = _judge_reversal(state, command)
        case PostPending():
            problem = _judge_posting(state, command)
        case ExpirePending():
            problem = _judge_expiry(state, command)
        case OpenAccount():
            problem = _judge_opening(state, command)
        case SetLimits():
            problem = _judge_limits(state, command)
        case Approve():
            problem = _judge_approval(state, command)
        case AskClose() | ClosePeriod():
            problem = _judge_close(state, command)
        case VoidPending():
            problem = None
    return problem or _judge_postings(entry) or _judge_accounts(state, entry)


def _judge_kind(entry: Entry) -> Rejection | None:
    if entry.kind in RULED_KINDS:
        return Rejection(
            RejectionCode.RESERVED_KIND, f"entry {entry.id}: {entry.kind} is written by its own command only"
        )
    return None


def _judge_reserve(entry: Entry) -> Rejection | None:
    if not entry.postings:
        return Rejection(RejectionCode.NO_POSTINGS, f"pending entry {entry.id} reserves nothing: give it postings")
    try:
        quorum_of(entry.body)
    except NotCanonical as error:
        return Rejection(RejectionCode.WRONG_QUORUM, f"entry {entry.id}: {error}")
    return None


def _judge_posting(state: LedgerState, command: PostPending) -> Rejection | None:
    pending = state.pending[command.pending]
    quorum = quorum_of(pending.body)
    if pending.expires is not None and command.at >= pending.expires:
        code = RejectionCode.EXPIRED if quorum is None else RejectionCode.EXPIRED_APPROVAL
        return Rejection.of(code, EntryOf(command.pending), " expired at ", At(pending.expires), "; propose it again")
    missing = "" if quorum is None else quorum.missing(roles_of(state, command.pending))
    if missing:
        return Rejection.of(RejectionCode.WRONG_QUORUM, EntryOf(command.pending), f" is not approved yet: {missing}")
    return None


def _judge_expiry(state: LedgerState, command: ExpirePending) -> Rejection | None:
    expires = state.pending[command.pending].expires
    if expires is None:
        return Rejection.of(RejectionCode.NOT_EXPIRED, EntryOf(command.pending), " never expires")
    if command.at < expires:
        return Rejection.of(RejectionCode.NOT_EXPIRED, EntryOf(command.pending), " stands until ", At(expires))
    return None


def _judge_opening(state: LedgerState, command: OpenAccount) -> Rejection | None:
    if command.account in state.accounts:
        return Rejection(RejectionCode.ACCOUNT_EXISTS, f"account {command.account!r} is open already")
    return _judge_range(command)


def _judge_limits(state: LedgerState, command: SetLimits) -> Rejection | None:
    account = state.accounts.get(command.account)
    if account is None:
        return Rejection(RejectionCode.UNKNOWN_ACCOUNT, f"no account {command.account!r}; open it first")
    if account.lifeline or command.account in state.lifelines:
        if account.floor is not None and (command.floor is None or command.floor < account.floor):
            return Rejection(
                RejectionCode.LIFELINE,
                f"{command.account} is a lifeline: its floor of {account.floor} may rise, but not be lowered",
            )
        if command.ceiling is not None and (account.ceiling is None or command.ceiling < account.ceiling):
            return Rejection(
                RejectionCode.LIFELINE,
                f"{command.account} is a lifeline: it is never cut off, a ceiling of {command.ceiling} would do so",
            )
    return _judge_range(command)


def _judge_range(command: OpenAccount | SetLimits) -> Rejection | None:
    floor, ceiling = command.floor, command.ceiling
    if any(limit is not None and abs(limit) >= AMOUNT_LIMIT for limit in (floor, ceiling)):
        return Rejection(RejectionCode.BAD_AMOUNT, f"account {command.account}: a limit is not below 2^63")
    if floor is not None and ceiling is not None and floor > ceiling:
        return Rejection(
            RejectionCode.BAD_AMOUNT, f"account {command.account}: floor {floor} lies above ceiling {ceiling}"
        )
    return None


def _judge_approval(state: LedgerState, command: Approve) -> Rejection | None:
    pending, quorum = state.pending[command.pending], quorum_of(state.pending[command.pending].body)
    assert quorum is not None
    if command.leaf != state.leaves[command.pending].hex():
        return Rejection.of(
            RejectionCode.CONFLICT, f"{command.by} approved other content than ", EntryOf(command.pending),
            " has; look again",
        )  # fmt: skip
    if pending.expires is not None and command.at >= pending.expires:
        return Rejection.of(
            RejectionCode.EXPIRED_APPROVAL, EntryOf(command.pending), " expired at ", At(pending.expires),
            "; propose it again",
        )  # fmt: skip
    if command.by in state.approvals.get(command.pending, {}):
        return Rejection.of(
            RejectionCode.ALREADY_APPROVED, f"{command.by} has approved ", EntryOf(command.pending),
            " already; another person must be next",
        )  # fmt: skip
    key = quorum.who[command.by].key
    if key and not signed_by(key, command.leaf, command.signature):
        return Rejection(
            RejectionCode.BAD_SIGNATURE, f"{command.by} signs with {key}; this signature is missing or by another key"
        )
    return None if state.officers is None else _judge_another(state, quorum, command)


def _judge_another(state: LedgerState, quorum: Quorum, command: Approve) -> Rejection | None:
    """Returns why whoever approves is not shown to be another person than those before; see `_one_person`."""
    if not command.actor:
        return Rejection(RejectionCode.NOT_APPROVER, f"it is not said who was logged in when {command.by} approved")
    key = quorum.who[command.by].key
    for name, one in state.approvals.get(command.pending, {}).items():
        same = _one_person((command.by, command.actor, key), (name, one.actor, quorum.who[name].key))
        if same:
            return Rejection(RejectionCode.WRONG_QUORUM, same)
    return None


def _judge_close(state: LedgerState, command: AskClose | ClosePeriod) -> Rejection | None:
    if command.until <= state.sealed_until:
        return Rejection.of(
            RejectionCode.SEALED_PERIOD, "everything before ", At(state.sealed_until), " is closed already"
        )
    if command.until > command.at:
        return Rejection.of(
            RejectionCode.NOT_OVER,
            "the period ends at ",
            At(command.until),
            ", which is still to come: close what is over",
        )
    refused = _judge_officer(state, command)
    if refused is not None or isinstance(command, AskClose):
        return refused
    asked = state.closings.get(command.asked)
    if asked is None or asked.until != command.until:
        return Rejection.of(
            RejectionCode.UNKNOWN_ENTRY, "nobody asked to close until ", At(command.until), ": ask first"
        )
    if asked.by == command.by:
        return Rejection(
            RejectionCode.WRONG_QUORUM, f"{command.by} asked for this close; a second person must agree to it"
        )
    if asked.trial != command.trial:
        return Rejection(
            RejectionCode.WRONG_TRIAL, f"{asked.by} closed on a trial balance that is not today's; ask again"
        )
    return None if state.officers is None else _judge_second(state, asked, command)


def _judge_officer(state: LedgerState, command: AskClose | ClosePeriod) -> Rejection | None:
    """Returns why somebody may not close a period, or not like this; logs of before `close: named` say less."""
    if state.officers is None:
        return None
    key = state.officers.get(command.by)
    if key is None:
        names = ", ".join(state.officers) or "nobody: name officers in the site file"
        return Rejection(RejectionCode.NOT_APPROVER, f"{command.by!r} may not close a period; these may: {names}")
    if not command.actor:
        return Rejection(RejectionCode.NOT_APPROVER, f"it is not said who was logged in when {command.by} asked")
    if key and not closed_by(key, command.until, command.trial, command.signature):
        return Rejection(
            RejectionCode.BAD_SIGNATURE,
            f"{command.by} signs a close with {key}; this signature is missing, by another key, or over another trial"
            " balance",
        )
    return None


def _judge_second(state: LedgerState, asked: Closing, command: ClosePeriod) -> Rejection | None:
    """Returns why the second person is not shown to be another one: by its key, or else by who was logged in."""
    assert state.officers is not None
    if not asked.actor:
        return Rejection(RejectionCode.UNKNOWN_ENTRY, f"{asked.by} asked before logins were noted: ask again")
    if asked.by not in state.officers:
        return Rejection(RejectionCode.NOT_APPROVER, f"{asked.by}, who asked for this close, is no officer any more")
    second = command.by, command.actor, state.officers[command.by]
    same = _one_person(second, (asked.by, asked.actor, asked.key))
    return Rejection(RejectionCode.WRONG_QUORUM, same) if same else None


def _one_person(second: tuple[str, str, str], first: tuple[str, str, str]) -> str:
    """Returns why two officers (name, login, did:key or '') are not shown to be two people, or ''.

    Two keys are two people; where one of the two has none, the logins must differ.
    """
    (by, actor, key), (other, other_actor, other_key) = second, first
    if key and other_key:
        return f"{by} signs with the key of {other}" if key == other_key else ""
    if actor != other_actor:
        return ""
    return f"{by} is logged in as {actor}, like {other}: use a login of your own, or a key"


def _judge_reversal(state: LedgerState, command: Reverse) -> Rejection | None:
    target = command.target
    if state.leaves.get(target.entry.id) != target.leaf:
        return Rejection.of(
            RejectionCode.UNKNOWN_ENTRY, EntryOf(target.entry.id), " is not in the ledger with this content"
        )
    if target.entry.state not in (EntryState.POSTED, EntryState.POST):
        return Rejection.of(
            RejectionCode.NOT_POSTED,
            EntryOf(target.entry.id),
            f" is {target.entry.state}: only posted entries are reversed",
        )
    if target.entry.kind in RULED_KINDS:
        return Rejection.of(
            RejectionCode.NOT_POSTED, EntryOf(target.entry.id),
            f" is {target.entry.kind}: it moves nothing that could be taken back",
        )  # fmt: skip
    if target.entry.id in state.reversed:
        return Rejection.of(
            RejectionCode.ALREADY_REVERSED,
            EntryOf(target.entry.id),
            " is taken back already; nothing is taken back twice",
        )
    return None


def _judge_postings(entry: Entry) -> Rejection | None:
    """Returns why the amounts of an entry cannot stand, whatever the accounts hold."""
    sums: dict[str, int] = {}
    for posting in entry.postings:
        amount = posting.amount
        if amount == 0 or not -AMOUNT_LIMIT < amount < AMOUNT_LIMIT:
            return Rejection(
                RejectionCode.BAD_AMOUNT, f"entry {entry.id}: {amount} on {posting.account} is zero or not below 2^63"
            )
        sums[posting.asset] = sums.get(posting.asset, 0) + amount
    for asset, total in sums.items():
        if total:
            return Rejection(RejectionCode.UNBALANCED, f"entry {entry.id}: {asset} sums to {total}, not to 0")
    return None


def _judge_accounts(state: LedgerState, entry: Entry) -> Rejection | None:
    """Returns why an entry cannot stand in this ledger: closed period, unknown accounts, limits."""
    if entry.postings and entry.at < state.sealed_until:
        return Rejection.of(
            RejectionCode.SEALED_PERIOD, At(entry.at),
            " lies in a closed period; book it today and name the earlier date in words",
        )  # fmt: skip
    accounts, balances = state.accounts, state.balances
    moves: dict[tuple[str, str], int] = {}
    for posting in entry.postings:
        key = posting.account, posting.asset
        if posting.account not in accounts:
            return Rejection(
                RejectionCode.UNKNOWN_ACCOUNT, f"entry {entry.id}: no account {posting.account!r}; open it first"
            )
        moves[key] = moves.get(key, 0) + posting.amount
    if entry.state not in _TAKING:
        return None  # its amounts were judged when they were reserved
    for key, change in moves.items():
        balance, account = balances.get(key), accounts[key[0]]
        after = change if balance is None else balance.posted + balance.pending + change
        if account.floor is None and account.ceiling is None and -AMOUNT_LIMIT < after < AMOUNT_LIMIT:
            continue
        problem = _judge_holding(account, key, change, after)
        if problem is not None:
            return problem
    return None


def _judge_holding(account: Account, key: tuple[str, str], change: int, after: int) -> Rejection | None:
    """Returns why an account cannot hold what it would hold after a change."""
    name, asset = key
    held = AmountOf(after, asset)
    if abs(after) >= AMOUNT_LIMIT:
        return Rejection.of(RejectionCode.BAD_AMOUNT, f"{name} would hold ", held)
    if account.floor is not None and change < 0 and after < account.floor:
        floor = AmountOf(account.floor, asset)
        if account.lifeline:
            return Rejection.of(
                RejectionCode.LIFELINE, f"{name} is a lifeline and keeps ", floor, "; ", held, " would be left"
            )
        return Rejection.of(RejectionCode.BELOW_LIMIT, f"{name} would hold ", held, ", but never less than ", floor)
    if account.ceiling is not None and change > 0 and after > account.ceiling:
        return Rejection.of(
            RejectionCode.ABOVE_LIMIT, f"{name} would hold ", held, ", but never more than ",
            AmountOf(account.ceiling, asset),
        )  # fmt: skip
    return None
