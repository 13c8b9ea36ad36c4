"""How an entry stands for words that are a member's own: a salted hash in their place, the words sealed beside the log.

An entry that a command makes with a body of its own (`Post`, `Reserve`) keeps the fields that everybody may read, and
`"sealed": {"v": 1, "sha256": ...}`; what is hashed and sealed is the whole body. A reversal or a withdrawal has only a
reason, and `sealed:1:...` in its place. `apply` and the audit see commands as they stand in the log, and need no key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from controller.ledger.canonical import Json

VERSION = 1
ERASED_TEXT = "(erased, or its key is not here)"
SEALED = "sealed"
_REASON = re.compile(r"sealed:([0-9]{1,9}):([0-9a-f]{64})")
MARKS = (b'"sealed":{"sha256":', b'"reason":"sealed:')
"""What the document of an entry with something sealed in it holds at least one of."""


def sealed_fields(sha256: str) -> dict[str, Json]:
    """Returns the field that stands in a body for all that is left out of it."""
    return {SEALED: {"v": VERSION, "sha256": sha256}}


def sealed_reason(sha256: str) -> str:
    """Returns the text that stands for a reason."""
    return f"sealed:{VERSION}:{sha256}"


def sealed_in(body: Mapping[str, Json]) -> tuple[Json, Json] | None:
    """Returns (version, hash) of what is sealed in the body of an entry as the log has it, None where nothing is."""
    sealed, reason = body.get(SEALED), body.get("reason")
    if isinstance(sealed, Mapping):
        return sealed.get("v"), sealed.get("sha256")
    found = _REASON.fullmatch(reason) if isinstance(reason, str) else None
    return None if found is None else (int(found[1]), found[2])


def shown(body: Mapping[str, Json], key: str) -> str:
    """Returns a text of a body, or that it was erased."""
    return str(body[key]) if key in body and not (key == "reason" and is_shut(body)) else ERASED_TEXT * is_shut(body)


def is_shut(body: Mapping[str, Json]) -> bool:
    """Returns whether a body, opened where that can be done, is still sealed: erased, or its key is elsewhere."""
    return sealed_in(body) is not None
