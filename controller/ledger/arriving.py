"""Entries that come as bytes, out of a log or from another program: judged like any command, byte for byte."""

from __future__ import annotations

from collections.abc import Callable

from controller.ledger.canonical import IntegerTooLarge, Json, NotCanonical
from controller.ledger.core import LedgerState, apply
from controller.ledger.entries import Entry, EntryState, SealedEntry, UnknownVersion, unseal
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
from devices.clock import Instant

Find = Callable[[str], SealedEntry | None]


def apply_document(state: LedgerState, data: bytes, find: Find) -> SealedEntry | Duplicate | Rejection:
    """Returns the entry in canonical bytes if it may stand, or why it may not; changes nothing.

    `find` gives an entry of the log by id: a reversal needs the whole entry that it undoes.
    """
    try:
        entry = unseal(data)
    except UnknownVersion as error:
        return Rejection(RejectionCode.UNKNOWN_VERSION, f"cannot judge: {error}; a newer Atoll may know it")
    except IntegerTooLarge as error:
        return Rejection(RejectionCode.INTEGER_TOO_LARGE, str(error))
    except NotCanonical as error:
        return Rejection(RejectionCode.NOT_CANONICAL, f"{error}; the sender must write it in the one canonical form")
    return apply_entry(state, entry, data, find)


def apply_entry(state: LedgerState, entry: Entry, data: bytes, find: Find) -> SealedEntry | Duplicate | Rejection:
    """Does the same for an entry that has been read from its bytes."""
    try:
        command = _command(entry, find)
    except NotCanonical as error:
        return Rejection(RejectionCode.NOT_CANONICAL, f"entry {entry.id}: {error}")
    if isinstance(command, Rejection):
        return command
    outcome = apply(state, command, entry.link)
    if isinstance(outcome, SealedEntry) and outcome.document != data:
        return Rejection(
            RejectionCode.NOT_CANONICAL, f"entry {entry.id} says more than its kind has fields for, or something else"
        )
    return outcome


def _command(entry: Entry, find: Find) -> Command | Rejection:
    body = entry.body
    match entry.state:
        case EntryState.POSTED:
            return _posted(entry)
        case EntryState.PENDING:
            if entry.expires is None:
                raise NotCanonical("a pending entry says when it expires")
            return Reserve(entry.id, entry.at, entry.kind, entry.postings, body, entry.expires)
        case EntryState.POST:
            return PostPending(entry.id, entry.at, entry.refers)
        case EntryState.VOID:
            return VoidPending(entry.id, entry.at, entry.refers, _text(body.get("reason"), "reason"))
        case EntryState.EXPIRE:
            return ExpirePending(entry.id, entry.at, entry.refers)
        case EntryState.REVERSAL:
            target = find(entry.refers)
            if target is None:
                return Rejection(RejectionCode.UNKNOWN_ENTRY, f"there is no entry {entry.refers} to reverse")
            return Reverse(entry.id, entry.at, target, _text(body.get("reason"), "reason"))


def _posted(entry: Entry) -> Command:
    body, id, at = entry.body, entry.id, entry.at
    match entry.kind:
        case kind if kind in (ACCOUNT_OPENED, ACCOUNT_LIMITS):
            account, floor, ceiling = (
                _text(body.get("account"), "account"), _limit(body.get("floor")), _limit(body.get("ceiling")),
            )  # fmt: skip
            if kind == ACCOUNT_OPENED:
                return OpenAccount(id, at, account, floor, ceiling, body.get("lifeline") is True)
            return SetLimits(id, at, account, floor, ceiling, _text(body.get("reason"), "reason"))
        case kind if kind == APPROVAL:
            of, leaf, by = (_text(body.get(key), key) for key in ("proposal", "leaf", "by"))
            return Approve(id, at, of, leaf, by, _text(body.get("signature", ""), "signature"))
        case kind if kind in (PERIOD_CLOSING, PERIOD_CLOSE):
            until, trial, by = _whole(body.get("until")), _text(body.get("trial"), "trial"), _text(body.get("by"), "by")
            if kind == PERIOD_CLOSING:
                return AskClose(id, at, until, trial, by)
            return ClosePeriod(id, at, _text(body.get("asked"), "asked"), until, trial, by)
        case _:
            return Post(id, at, entry.kind, entry.postings, body)


def _text(value: Json, key: str) -> str:
    if not isinstance(value, str):
        raise NotCanonical(f"{key} is {value!r}, not a text")
    return value


def _whole(value: Json) -> Instant:
    if not isinstance(value, int) or isinstance(value, bool):
        raise NotCanonical(f"until is {value!r}, not a whole number")
    return Instant(value)


def _limit(value: Json) -> int | None:
    if value is None:
        return None
    try:
        return int(_text(value, "limit"))
    except ValueError as error:
        raise NotCanonical(f"limit {value!r} is not a whole number") from error
