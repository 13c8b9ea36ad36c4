"""What stands in the ledger: postings, entries, their ids and their one canonical document.

Signs: a positive posting is received by the account (energy, water) or owed by it (money); postings of one
entry sum to zero per asset. Kinds are open: `settle.day`, `bill`, `command.hold`, whatever comes later.
"""

from __future__ import annotations

import json.encoder
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from controller.ledger.canonical import Json, NotCanonical, decode, encode, parse_amount, whole_text
from controller.ledger.merkle import leaf_hash
from devices.clock import Instant

VERSION = 1
PLAIN = ("", "", "")
"""What an entry has that neither expires nor is one of several nor refers to another."""

_quoted = json.encoder.encode_basestring
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")  # RFC 9562 section 5.7


class UnknownVersion(ValueError):
    """A document of a version that this program cannot judge."""


class EntryState(StrEnum):
    """What an entry does to balances."""

    POSTED = "posted"  # moves amounts at once
    PENDING = "pending"  # reserves them until posted, voided or expired
    POST = "post"  # makes a pending entry final
    VOID = "void"  # takes a pending entry back
    EXPIRE = "expire"  # the same, by time-out
    REVERSAL = "reversal"  # the exact inverse of a posted entry


MOVING = (EntryState.POSTED, EntryState.POST, EntryState.REVERSAL)
"""What moves amounts for good."""


@dataclass(frozen=True, slots=True)
class Posting:
    """One account's part of an entry, in the asset's smallest unit (uWh, mL, minor money units)."""

    account: str
    asset: str
    amount: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log. `refers` names the entry that it posts, voids, expires or reverses."""

    id: str
    at: Instant
    kind: str
    state: EntryState
    postings: tuple[Posting, ...]
    body: Mapping[str, Json]
    refers: str = ""
    expires: Instant | None = None
    link: tuple[int, int] | None = None  # (position from 1, count): written whole with its neighbours or not at all


@dataclass(frozen=True, slots=True)
class SealedEntry:
    """An entry with its canonical bytes and leaf hash."""

    entry: Entry
    document: bytes
    leaf: bytes


def seal(entry: Entry) -> SealedEntry:
    """Returns the entry with its bytes and hash.

    Raises:
        NotCanonical: the body holds what a document cannot.
    """
    try:
        data = document_of(
            whole_text(entry.at),
            encode(entry.body).decode() if entry.body else "{}",
            entry.id,
            _quoted(entry.kind),
            ",".join([f'[{_quoted(p.account)},{_quoted(p.asset)},"{p.amount}"]' for p in entry.postings]),
            entry.state,
            rest_of(entry),
        )
    except UnicodeEncodeError as error:
        raise NotCanonical(f"entry cannot be encoded: {error}") from error
    return SealedEntry(entry, data, leaf_hash(data))


def rest_of(entry: Entry) -> tuple[str, str, str]:
    """Returns (expires, link, refers) as texts, '' for what the entry does not have."""
    if entry.expires is None and entry.link is None and not entry.refers:
        return PLAIN
    expires = "" if entry.expires is None else whole_text(entry.expires)
    return expires, "" if entry.link is None else f"{entry.link[0]},{entry.link[1]}", entry.refers


def document_of(
    at: str, body: str, id: str, kind: str, postings: str, state: str, rest: tuple[str, str, str] = PLAIN
) -> bytes:
    """Returns the canonical document of an entry from the texts of its parts.

    `body`, `kind` and `postings` (without the outer brackets) are JSON; `rest` is (expires, link without brackets,
    refers), '' for what is not there.

    Raises:
        UnicodeEncodeError: a part holds half a surrogate pair.
    """
    # The keys of an entry are few and fixed, so their order is written down here: tests compare it with `encode`.
    until = chain = to = ""
    if rest != PLAIN:
        expires, link, refers = rest
        until = f'"expires":{expires},' if expires else ""
        chain = f'"link":[{link}],' if link else ""
        to = f'"refers":{_quoted(refers)},' if refers else ""
    return (
        f'{{"at":{at},"body":{body},{until}"id":{_quoted(id)},"kind":{kind},{chain}'
        f'"postings":[{postings}],{to}"state":"{state}","v":{VERSION}}}'
    ).encode()


def unseal(data: bytes) -> Entry:
    """Returns the entry in canonical bytes.

    Raises:
        UnknownVersion: another version: nothing can be said about it.
        NotCanonical: not the canonical document of an entry.
    """
    document = decode(data)
    if not isinstance(document, Mapping):
        raise NotCanonical("an entry is an object")
    version = document.get("v")
    if version != VERSION:
        raise UnknownVersion(f"entry of version {version!r}; this program knows {VERSION}")
    body, postings, expires = document.get("body"), document.get("postings"), document.get("expires")
    if not isinstance(body, Mapping) or not isinstance(postings, list):
        raise NotCanonical("an entry has a body and a list of postings")
    try:
        state = EntryState(_text(document, "state"))
    except ValueError as error:
        raise NotCanonical(str(error)) from error
    return Entry(
        _text(document, "id"),
        Instant(_whole(document, "at")),
        _text(document, "kind"),
        state,
        tuple(_posting(row) for row in postings),
        body,
        refers=_text(document, "refers") if "refers" in document else "",
        expires=None if expires is None else Instant(_whole(document, "expires")),
        link=_link(document.get("link")),
    )


def derived_id(at: Instant, *parts: str | int) -> str:
    """Returns a UUIDv7-shaped id that depends only on `at` and `parts`: repeating the work repeats the id.

    Source: RFC 9562 section 5.7, with a SHA-256 of the parts where it has random bits.
    """
    digest = sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    value = (at & (1 << 48) - 1) << 80 | 0x7 << 76 | int.from_bytes(digest[:2], "big") >> 4 << 64
    value |= 0b10 << 62 | int.from_bytes(digest[2:10], "big") >> 2
    return str(uuid.UUID(int=value))


def is_entry_id(text: str) -> bool:
    """Returns whether `text` is a UUIDv7 in its one lower-case form."""
    return _UUID7.fullmatch(text) is not None


def totals(postings: Sequence[Posting]) -> dict[str, int]:
    """Returns the sum per asset: all zero in a balanced entry."""
    sums: dict[str, int] = {}
    for posting in postings:
        sums[posting.asset] = sums.get(posting.asset, 0) + posting.amount
    return sums


def _posting(row: Json) -> Posting:
    match row:
        case [str() as account, str() as asset, str() as amount]:
            return Posting(account, asset, parse_amount(amount))
        case _:
            raise NotCanonical(f"posting {row!r} is not [account, asset, amount]")


def _link(value: Json) -> tuple[int, int] | None:
    match value:
        case None:
            return None
        case [int() as position, int() as count] if 1 <= position <= count:
            return position, count
        case _:
            raise NotCanonical(f"link {value!r} is not [position, count]")


def _text(document: Mapping[str, Json], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise NotCanonical(f"{key} is {value!r}, not a text")
    return value


def _whole(document: Mapping[str, Json], key: str) -> int:
    value = document.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise NotCanonical(f"{key} is {value!r}, not a whole number")
    return value
