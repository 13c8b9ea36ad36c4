"""Canonical bytes of documents: RFC 8785 JSON, whole numbers only, amounts as decimal strings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeAlias, cast

import rfc8785

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"
"""What a document may hold. There are no floats: a quantity is an int below 2^53 or a decimal string."""

AMOUNT_LIMIT = 2**63
"""Amounts stay below what a database column holds; beyond it a posting is refused."""


class NotCanonical(ValueError):
    """Bytes that are not the one canonical form of the document they hold."""


def encode(document: Json) -> bytes:
    """Returns the RFC 8785 bytes of a document.

    Raises:
        NotCanonical: it holds a float, an integer of 2^53 or more, or something that is not JSON.
    """
    try:
        return rfc8785.dumps(cast("Any", _plain(document)))
    except rfc8785.CanonicalizationError as error:
        raise NotCanonical(f"document cannot be encoded: {error}; write large integers as decimal strings") from error


def decode(data: bytes) -> Json:
    """Returns the document in canonical bytes.

    Raises:
        NotCanonical: not JSON, with a float, or not in canonical form (one document has one form only).
    """
    try:
        document = cast("Json", json.loads(data, parse_float=_refuse, parse_constant=_refuse))
    except (ValueError, RecursionError) as error:
        raise NotCanonical(f"not a canonical document: {error}") from error
    if encode(document) != data:
        raise NotCanonical("bytes differ from the canonical form of the document that they hold")
    return document


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
    """Returns a copy of dicts, lists and whole numbers only, as rfc8785 wants it (which itself takes floats)."""
    if document is None or isinstance(document, (str, int)):
        return document
    if isinstance(document, Mapping):
        return {key: _plain(value) for key, value in cast("Mapping[object, object]", document).items()}
    if isinstance(document, (list, tuple)):
        return [_plain(value) for value in cast("Sequence[object]", document)]
    raise NotCanonical(
        f"{document!r} is a {type(document).__name__}; write quantities as whole numbers or decimal strings"
    )


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a whole number")
