"""Entries that come as bytes: read, turned back into the command that they came from, and judged like any command."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.ledger.canonical import IntegerTooLarge, Json, NotCanonical
from controller.ledger.core import apply
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
from controller.ledger.state import LedgerState
from devices.clock import Instant

Find = Callable[[str], SealedEntry | None]


def read_entry(data: bytes) -> Entry | Rejection:
    """Returns the entry in canonical bytes, or why they are none."""
    try:
        return unseal(data)
    except UnknownVersion as error:
        return Rejection(RejectionCode.UNKNOWN_VERSION, f"cannot judge: {error}; a newer Atoll may know it")
    except IntegerTooLarge as error:
        return Rejection(RejectionCode.INTEGER_TOO_LARGE, str(error))
    except NotCanonical as error:
        return Rejection(RejectionCode.NOT_CANONICAL, str(error))


def apply_entry(state: LedgerState, entry: Entry, data: bytes, find: Find) -> SealedEntry | Duplicate | Rejection:
    """Returns the entry that was read from `data` if it may stand, or why it may not; changes nothing.

    `find` gives an entry of the log by id: a reversal needs the whole entry that it undoes.
    """
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
            return Approve(id, at, of, leaf, by, *_said(body))
        case kind if kind in (PERIOD_CLOSING, PERIOD_CLOSE):
            until, trial, by = _whole(body.get("until")), _text(body.get("trial"), "trial"), _text(body.get("by"), "by")
            if kind == PERIOD_CLOSING:
                return AskClose(id, at, until, trial, by, *_said(body))
            return ClosePeriod(id, at, _text(body.get("asked"), "asked"), until, trial, by, *_said(body))
        case _:
            return Post(id, at, entry.kind, entry.postings, body)


def _said(body: Mapping[str, Json]) -> tuple[str, str]:
    """Returns who was logged in, and what an officer has signed with."""
    return _text(body.get("actor", ""), "actor"), _text(body.get("signature", ""), "signature")


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
