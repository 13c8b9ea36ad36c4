"""Canonical bytes of documents: RFC 8785 JSON, whole numbers only, amounts as decimal strings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeAlias, cast

import rfc8785

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"
"""What a document may hold. There are no floats: a quantity is an int below 2^53 or a decimal string."""

AMOUNT_LIMIT = 2**63
"""Amounts stay below what a database column holds; beyond it a posting is refused."""


INTEGER_LIMIT = 2**53
"""JSON numbers beyond this are not exact in every program that may read a document."""

_LONG_NUMBER = re.compile(rb"[0-9]{16}")  # 2^53 has 16 digits

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, check_circular=False)


class NotCanonical(ValueError):
    """Bytes that are not the one canonical form of the document they hold."""


class IntegerTooLarge(NotCanonical):
    """A whole number of 2^53 or more that is not written as a decimal string."""


class _UnusualKey(Exception):
    """A key that is not ASCII: its order is by UTF-16, which is left to the library."""


def encode(document: Json) -> bytes:
    """Returns the RFC 8785 bytes of a document.

    Raises:
        IntegerTooLarge: it holds an integer of 2^53 or more.
        NotCanonical: it holds a float, or something that is not JSON.
    """
    # With ASCII keys, whole numbers and no floats the C encoder of the standard library gives the same bytes as
    # rfc8785, in less than half the time; tests compare the two.
    try:
        plain = _plain(document)
        return _ENCODER.encode(plain).encode()
    except _UnusualKey:
        return _by_library(document)
    except UnicodeEncodeError as error:
        raise NotCanonical(f"document cannot be encoded: {error}") from error


def decode(data: bytes) -> Json:
    """Returns the document in canonical bytes.

    Raises:
        NotCanonical: not JSON, with a float, or not in canonical form (one document has one form only).
    """
    try:
        document = cast("Json", json.loads(data, parse_float=_refuse, parse_constant=_refuse))
    except (ValueError, RecursionError) as error:
        raise NotCanonical(f"not a canonical document: {error}") from error
    try:
        # What was just parsed is plain already; only long numbers and keys that are not ASCII need the careful way.
        careful = not data.isascii() or _LONG_NUMBER.search(data) is not None
        canonical = encode(document) if careful else _ENCODER.encode(document).encode()
    except UnicodeEncodeError as error:
        raise NotCanonical(f"not a canonical document: {error}") from error
    if canonical != data:
        raise NotCanonical("bytes differ from the canonical form of the document that they hold")
    return document


def whole_text(number: int) -> str:
    """Returns the JSON of a whole number.

    Raises:
        IntegerTooLarge, NotCanonical: see `encode`.
    """
    usual = type(number) is int and -INTEGER_LIMIT < number < INTEGER_LIMIT
    return str(number) if usual else encode(number).decode()


def amount_text(amount: int) -> str:
    """Returns the decimal string of an amount in its asset's smallest unit."""
    return str(amount)


def parse_amount(text: object) -> int:
    """Returns the amount that a decimal string names.

    Raises:
        NotCanonical: not a string, not an integer, or written in more than one way (`+1`, `01`, `-0`).
    """
    if not isinstance(text, str):
        raise NotCanonical(f"amount {text!r} is not a decimal string")
    try:
        amount = int(text)
    except ValueError as error:
        raise NotCanonical(f"amount {text!r} is not a whole number") from error
    if str(amount) != text:
        raise NotCanonical(f"amount {text!r} must be written {amount}")
    return amount


def _plain(document: object) -> object:
    """Returns a copy of dicts, lists and whole numbers only, as the encoder wants it (which itself takes floats).

    Raises:
        IntegerTooLarge, NotCanonical: see `encode`.
        _UnusualKey: a key is not ASCII.
    """
    if document is None or isinstance(document, str):
        return document
    if isinstance(document, int):
        if not -INTEGER_LIMIT < document < INTEGER_LIMIT:
            raise IntegerTooLarge(f"{document} is 2^53 or more; write it as a decimal string")
        return document
    if isinstance(document, Mapping):
        fields = cast("Mapping[object, object]", document)
        for key in fields:
            if not isinstance(key, str):
                raise NotCanonical(f"key {key!r} is not a text")
            if not key.isascii():
                raise _UnusualKey
        return {key: _plain(value) for key, value in fields.items()}
    if isinstance(document, (list, tuple)):
        return [_plain(value) for value in cast("Sequence[object]", document)]
    raise NotCanonical(
        f"{document!r} is a {type(document).__name__}; write quantities as whole numbers or decimal strings"
    )


def _by_library(document: object) -> bytes:
    try:
        return rfc8785.dumps(cast("Any", _copied(document)))
    except rfc8785.IntegerDomainError as error:
        raise IntegerTooLarge(f"document cannot be encoded: {error}; write it as a decimal string") from error
    except rfc8785.CanonicalizationError as error:
        raise NotCanonical(f"document cannot be encoded: {error}") from error


def _copied(document: object) -> object:
    if isinstance(document, Mapping):
        return {key: _copied(value) for key, value in cast("Mapping[object, object]", document).items()}
    if isinstance(document, (list, tuple)):
        return [_copied(value) for value in cast("Sequence[object]", document)]
    return _plain(document)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a whole number")
