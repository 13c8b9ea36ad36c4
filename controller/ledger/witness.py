"""What a witness decides: one (size, root) per log, and a log may only grow from it.

Source: C2SP tlog-witness, `add-checkpoint`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from controller.ledger.merkle import verify_consistency
from controller.ledger.note import Checkpoint, NoteError, NoteForged, NoteUnsigned, Verifier, verify

BODY_BYTES_MAX = 128 * 1024
PROOF_LINES_MAX = 63
SIZE_TYPE = "text/x.tlog.size"


def seen_path(origin: str) -> str:
    """Returns where a witness shows the newest head of a log that it has cosigned; C2SP has nothing there."""
    return f"/seen/{sha256(origin.encode()).hexdigest()}"


class BadRequest(ValueError):
    """A body that is not an `add-checkpoint` request."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest tree of one log that the witness has cosigned."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Submission:
    """A checkpoint, and the proof that it grew from the tree of `old` entries."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    def body(self) -> bytes:
        """Returns the request body."""
        lines = [f"old {self.old}", *(base64.b64encode(node).decode() for node in self.proof), "", self.note]
        return "\n".join(lines).encode()

    @classmethod
    def parse(cls, body: bytes) -> Submission:
        """Returns the request in a body.

        Raises:
            BadRequest: it is none.
        """
        try:
            head, gap, note = body.decode().partition("\n\n")
            first, *lines = head.split("\n")
            proof = tuple(base64.b64decode(line, validate=True) for line in lines)
        except (UnicodeDecodeError, binascii.Error, ValueError) as error:
            raise BadRequest("the proof lines are not base64") from error
        old = first.removeprefix("old ")
        if not gap or not first.startswith("old ") or not (old.isascii() and old.isdigit()) or str(int(old)) != old:
            raise BadRequest("the first line is not `old SIZE`, or there is no blank line before the checkpoint")
        if len(proof) > PROOF_LINES_MAX or any(len(node) != 32 for node in proof):
            raise BadRequest(f"a proof has at most {PROOF_LINES_MAX} hashes of 32 bytes")
        return cls(int(old), proof, note)


@dataclass(frozen=True, slots=True)
class Grown:
    """All right: keep this, durably, and only then cosign `text`."""

    text: str
    head: Checkpoint


@dataclass(frozen=True, slots=True)
class Refused:
    """Not cosigned; `status` and `body` are the HTTP answer."""

    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"


def origin_of(note: str) -> str:
    """Returns the log that a checkpoint says it is of."""
    return note.partition("\n")[0]


def consider(submission: Submission, keys: Sequence[Verifier], seen: Seen | None) -> Grown | Refused:
    """Returns whether a witness that has seen `seen` of this log may cosign; `keys` are those it trusts for it."""
    if not keys:
        return Refused(404, "this log is not known here\n")
    try:
        text, _ = verify(submission.note, keys)
        head = Checkpoint.parse(text)
    except (NoteForged, NoteUnsigned) as error:
        return Refused(403, f"{error}\n")
    except NoteError as error:
        return Refused(400, f"{error}\n")
    if submission.old > head.size or head.size == 0:
        return Refused(400, f"old {submission.old} is larger than the checkpoint's {head.size}\n")
    size = 0 if seen is None else seen.size
    if submission.old != size:
        return Refused(409, f"{size}\n", SIZE_TYPE)
    if seen is None:
        return Refused(422, "a first proof is empty\n") if submission.proof else Grown(text, head)
    if head.size == seen.size and head.root != seen.root:
        return Refused(409, f"{size}\n", SIZE_TYPE)
    if not verify_consistency(seen.size, head.size, seen.root, head.root, submission.proof):
        return Refused(422, f"the proof does not show that the log grew from {seen.size} entries\n")
    return Grown(text, head)


def trusted(logs: Mapping[str, Sequence[Verifier]], note: str) -> tuple[Verifier, ...]:
    """Returns the keys trusted for the log that a checkpoint is of, oldest first."""
    return tuple(logs.get(origin_of(note), ()))


def signed_by_newest(keys: Sequence[Verifier], note: str) -> bool:
    """Returns whether the newest of several keys signed a checkpoint: the older ones have served."""
    try:
        verify(note, keys[-1:])
    except NoteError:
        return False
    return True
