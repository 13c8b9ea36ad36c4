"""Asking witnesses: collects cosignatures for a log's newest checkpoint, and notices that a restore would fork.

A hub whose ledger was restored from an old backup would sign other entries at numbers that the world has seen
signed. A witness that reports a larger size than ours says just that, and nothing may be signed then.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from controller.ledger.cosign import Cosigner, Policy, with_cosignatures
from controller.ledger.note import Checkpoint, NoteError
from controller.ledger.witness import SIZE_TYPE, Submission

TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 64 * 1024
TRIES = 10


class WouldFork(RuntimeError):
    """A witness has seen a longer or another log under our name: this ledger is an old copy, nothing may be signed."""


@dataclass(frozen=True, slots=True)
class WitnessAddress:
    """Where a witness answers, and the keys by which its answers are known."""

    url: str  # http://school.local:8440
    cosigners: tuple[Cosigner, ...]


@dataclass(slots=True)
class Collected:
    """What came back: the checkpoint with its cosignatures, and why some are missing, by witness."""

    note: str
    missing: dict[str, str] = field(default_factory=dict[str, str])


ProofFrom = Callable[[int], Sequence[bytes]]
"""Returns the consistency proof from a size to the checkpoint's."""


def collect(
    note: str, witnesses: Sequence[WitnessAddress], proof_from: ProofFrom, timeout_s: float = TIMEOUT_S
) -> Collected:
    """Returns a signed checkpoint with the cosignatures of all witnesses that answer; asks all at once.

    Raises:
        WouldFork: a witness knows a longer log of ours, or another one of that size.
    """
    found = Collected(note)
    head = Checkpoint.parse(note[: note.rfind("\n\n") + 1])
    with ThreadPoolExecutor(max(1, len(witnesses))) as pool:
        asked = [(witness, pool.submit(_ask, witness, note, head, proof_from, timeout_s)) for witness in witnesses]
    for witness, answer in asked:
        try:
            found.note = with_cosignatures(found.note, answer.result(), witness.cosigners)
        except (OSError, http.client.HTTPException, NoteError) as error:
            found.missing[witness.url] = f"{type(error).__name__}: {error}"
    return found


def missing_for(policy: Policy, collected: Collected) -> str:
    """Returns what the policy still lacks, or ''."""
    names = policy.names(collected.note)
    if len(names) >= policy.needed:
        return ""
    return f"{len(names)} of {policy.needed} witnesses have cosigned; {collected.missing or 'none is silent'}"


class WitnessRefused(OSError):
    """A witness answered, but did not cosign."""


def _ask(witness: WitnessAddress, note: str, head: Checkpoint, proof_from: ProofFrom, timeout_s: float) -> list[str]:
    old = head.size  # most often the witness is where we left it: one entry or many behind; its 409 tells
    for _ in range(TRIES):
        proof = tuple(proof_from(old)) if 0 < old < head.size else ()
        status, kind, body = _post(witness.url, Submission(old, proof, note).body(), timeout_s)
        if status == 200:
            return body.splitlines()
        if status == 409 and kind == SIZE_TYPE and body.strip().isdigit():
            seen = int(body)
            if seen > head.size or (seen == head.size == old):
                what = "a longer" if seen > head.size else "another"
                raise WouldFork(
                    f"{witness.url} has seen {what} log {head.origin} of {seen} entries; this one has {head.size}."
                    " It is an old copy: restore the newest one, or open a new log"
                )
            old = seen
        elif status == 422:
            raise WouldFork(
                f"{witness.url}: {head.origin} does not grow from what the witness has seen: {body.strip()}"
            )
        else:
            raise WitnessRefused(f"it answered {status}: {body.strip()[:200]}")
    raise WitnessRefused("its tree changed again and again while it was asked")


def _post(url: str, body: bytes, timeout_s: float) -> tuple[int, str, str]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("POST", f"{parts.path.rstrip('/')}/add-checkpoint", body)
        answer = connection.getresponse()
        content = answer.read(ANSWER_BYTES_MAX).decode(errors="replace")
        return answer.status, answer.headers.get("Content-Type", ""), content
    finally:
        connection.close()
