"""The rules of the book: `apply(state, command)` says what would be written, `state.absorb` makes it so.

`apply` changes nothing; it answers with the sealed entry, with Duplicate (same id, same content: nothing to
do), or with a Rejection that a treasurer understands. The rules stand in `judging`, what they look at in `state`.
"""

from __future__ import annotations

from dataclasses import replace

from controller.ledger.canonical import IntegerTooLarge, Json, NotCanonical
from controller.ledger.entries import Entry, EntryState, Posting, SealedEntry, is_entry_id, seal
from controller.ledger.judging import judge
from controller.ledger.orders import (
    ACCOUNT_LIMITS,
    ACCOUNT_OPENED,
    APPROVAL,
    PERIOD_CLOSE,
    PERIOD_CLOSING,
    Approve,
    AskClose,
    ClosePeriod,
    Command,
    Duplicate,
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
from controller.ledger.quorum import quorum_of
from controller.ledger.state import LedgerState


def apply(
    state: LedgerState, command: Command, link: tuple[int, int] | None = None
) -> SealedEntry | Duplicate | Rejection:
    """Returns the entry that `command` would write, or why it writes nothing; changes nothing.

    `link` is (position, count) where the command is one of several that stand or fall together.
    """
    if not is_entry_id(command.id):
        return Rejection(
            RejectionCode.BAD_ID, f"id {command.id!r} is not a lower-case UUIDv7; the sender must make one"
        )
    entry = _entry(state, command)
    if isinstance(entry, Rejection):
        return entry
    if link is not None:
        entry = replace(entry, link=link)
    try:
        sealed = seal(entry)
    except IntegerTooLarge as error:
        return Rejection(RejectionCode.INTEGER_TOO_LARGE, f"entry {command.id} ({entry.kind}): {error}")
    except NotCanonical as error:
        return Rejection(RejectionCode.BAD_BODY, f"entry {command.id} ({entry.kind}): {error}")
    known = state.leaves.get(command.id)
    if known is not None:
        if known == sealed.leaf:
            return Duplicate(command.id)
        return Rejection(
            RejectionCode.CONFLICT, f"entry {command.id} exists with other content; use a new id for a new entry"
        )
    problem = judge(state, command, entry)
    return sealed if problem is None else problem


def _entry(state: LedgerState, command: Command) -> Entry | Rejection:
    """Returns the entry that the command describes, before it is judged."""
    match command:
        case Post():
            return Entry(command.id, command.at, command.kind, EntryState.POSTED, command.postings, command.body)
        case OpenAccount():
            body = _limits(command)
            if command.lifeline:
                body["lifeline"] = True
            return Entry(command.id, command.at, ACCOUNT_OPENED, EntryState.POSTED, (), body)
        case SetLimits():
            body = _limits(command) | {"reason": command.reason}
            return Entry(command.id, command.at, ACCOUNT_LIMITS, EntryState.POSTED, (), body)
        case Approve():
            return _approval(state, command)
        case AskClose():
            return Entry(command.id, command.at, PERIOD_CLOSING, EntryState.POSTED, (), _close(command))
        case ClosePeriod():
            body = {"asked": command.asked} | _close(command)
            return Entry(command.id, command.at, PERIOD_CLOSE, EntryState.POSTED, (), body)
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


def _limits(command: OpenAccount | SetLimits) -> dict[str, Json]:
    body: dict[str, Json] = {"account": command.account}
    for name, limit in (("floor", command.floor), ("ceiling", command.ceiling)):
        if limit is not None:
            body[name] = str(limit)
    return body


def _close(command: AskClose | ClosePeriod) -> dict[str, Json]:
    body: dict[str, Json] = {"until": command.until, "trial": command.trial, "by": command.by}
    return body | _said(command)


def _said(command: Approve | AskClose | ClosePeriod) -> dict[str, Json]:
    return {key: said for key in ("actor", "signature") if (said := getattr(command, key))}


def _approval(state: LedgerState, command: Approve) -> Entry | Rejection:
    pending = _named(state, command)
    if pending is None:
        return _not_pending(state, command.pending)
    quorum = quorum_of(pending.body)
    who = None if quorum is None else quorum.who.get(command.by)
    if quorum is None or who is None:
        names = "nobody" if quorum is None else ", ".join(sorted(quorum.who))
        return Rejection.of(
            RejectionCode.NOT_APPROVER, f"{command.by} may not approve ", EntryOf(command.pending),
            f"; who may: {names}",
        )  # fmt: skip
    body: dict[str, Json] = {"proposal": command.pending, "leaf": command.leaf, "by": command.by, "role": who.role}
    return Entry(command.id, command.at, APPROVAL, EntryState.POSTED, (), body | _said(command))


def _named(state: LedgerState, command: Approve | PostPending | VoidPending | ExpirePending) -> Entry | None:
    """Returns the pending entry that a command names; for a command that was carried out, what was pending then."""
    pending = state.pending.get(command.pending)
    return state.settled.get(command.pending) if pending is None and command.id in state.leaves else pending


def _resolution(state: LedgerState, command: PostPending | VoidPending | ExpirePending) -> Entry | Rejection:
    pending = _named(state, command)
    if pending is None:
        return _not_pending(state, command.pending)
    states = {PostPending: EntryState.POST, VoidPending: EntryState.VOID, ExpirePending: EntryState.EXPIRE}
    body: dict[str, Json] = {"reason": command.reason} if isinstance(command, VoidPending) else {}
    return Entry(
        command.id, command.at, pending.kind, states[type(command)], pending.postings, body, refers=command.pending
    )


def _not_pending(state: LedgerState, pending: str) -> Rejection:
    code = RejectionCode.NOT_PENDING if pending in state.leaves else RejectionCode.UNKNOWN_ENTRY
    return Rejection.of(code, EntryOf(pending), " is not pending: it was settled before, or never reserved")
