"""The log's key over its life: handed over in the log itself, so that old checkpoints hold by the key of their time.

A checkpoint is signed by the newest key whose entry it covers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.ledger.canonical import Json
from controller.ledger.note import NoteError, Signer, Verifier, sign, verify

GENESIS = "genesis"
LOG_KEY = "log.key"
"""A new key of the log: body `key`, and `handover`, a note by the key before: `log key`, line break, new key."""


@dataclass(frozen=True, slots=True)
class LogKey:
    """A key, and the number of the entry with which it came; it signs trees that hold that entry."""

    since: int
    verifier: Verifier


def handover(old: Signer, new: Verifier) -> dict[str, Json]:
    """Returns the body of the entry that hands a log over to a new key."""
    return {"key": new.text(), "handover": sign(f"log key\n{new.text()}\n", [old])}


def next_key(keys: Sequence[LogKey], seq: int, body: Mapping[str, Json]) -> LogKey:
    """Returns the key that an entry (the first one, or a `log.key`) brings.

    Raises:
        NoteError: it is no key of this log, or the key before it has not handed it over.
    """
    key = Verifier.parse(str(body.get("key")))
    if not keys:
        return LogKey(-1, key)
    text, _ = verify(str(body.get("handover")), [keys[-1].verifier])
    if text != f"log key\n{key.text()}\n":
        raise NoteError(f"the handover is of another key than {key.text()}")
    if key.name != keys[-1].verifier.name:
        raise NoteError(f"{key.name} is the name of another log")
    return LogKey(seq, key)


def key_of(keys: Sequence[LogKey], size: int) -> Verifier:
    """Returns the key that signs the tree of `size` entries (`keys` is not empty)."""
    return next(key.verifier for key in reversed(keys) if key.since < size)
