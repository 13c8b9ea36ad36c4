"""Asking witnesses: collects cosignatures for a log's newest checkpoint, and notices that a restore would fork.

A hub whose ledger was restored from an old backup would sign other entries at numbers that the world has seen signed.
Nothing may be signed where a witness shows a head of ours (signed by the log's own key) that is larger than this ledger
or other than it, or where as many witnesses as must cosign say so without showing it. One that only says so is one that
did not answer: a witness that lies, or has mixed something up, stops no hub.
"""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from controller.ledger.cosign import Cosigner, Policy, cosignatures, split_note, with_cosignatures
from controller.ledger.merkle import Tree
from controller.ledger.note import Checkpoint, NoteError, Verifier, verify
from controller.ledger.witness import SIZE_TYPE, Submission, seen_path

TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 64 * 1024
TRIES = 10


class WouldFork(RuntimeError):
    """Witnesses have seen a longer or another log under our name: this ledger is an old copy, nothing may be signed."""


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
    names: set[str] = field(default_factory=set[str])  # of the witnesses that cosigned just now


@dataclass(frozen=True, slots=True)
class OwnLog:
    """What a witness's word is judged by: our tree, and the keys with which the log has signed its heads."""

    tree: Tree
    keys: tuple[Verifier, ...]


def collect(
    note: str, witnesses: Sequence[WitnessAddress], own: OwnLog, needed: int = 1, timeout_s: float = TIMEOUT_S
) -> Collected:
    """Returns a signed checkpoint with the cosignatures of all witnesses that answer; asks all at once.

    Raises:
        WouldFork: a witness shows a longer log of ours, or another one; or `needed` of them say so.
    """
    found = Collected(note)
    head = Checkpoint.parse(note[: note.rfind("\n\n") + 1])
    with ThreadPoolExecutor(max(1, len(witnesses))) as pool:
        asked = [(witness, pool.submit(_ask, witness, note, head, own, timeout_s)) for witness in witnesses]
    claims: dict[str, str] = {}
    for witness, answer in asked:
        try:
            lines = answer.result()
            found.note = with_cosignatures(found.note, lines, witness.cosigners)
            found.names |= {
                one.name
                for one, _ in cosignatures(
                    split_note(note)[0] + "\n" + "".join(f"{line}\n" for line in lines), witness.cosigners
                )
            }
        except _OtherLog as claim:
            claims[witness.url] = found.missing[witness.url] = str(claim)
        except (OSError, http.client.HTTPException, NoteError) as error:
            found.missing[witness.url] = f"{type(error).__name__}: {error}"
    if len(claims) >= needed:
        raise WouldFork(f"{'; '.join(claims.values())}. {_WHAT_NOW}")
    return found


def missing_for(policy: Policy, collected: Collected) -> str:
    """Returns what the policy still lacks, or ''."""
    names = policy.names(collected.note)
    if len(names) >= policy.needed:
        return ""
    return f"{len(names)} of {policy.needed} witnesses have cosigned; {collected.missing or 'none is silent'}"


_WHAT_NOW = "This ledger is an old copy: restore the newest one (docs/commands.md says what else can be done)"


class WitnessRefused(OSError):
    """A witness answered, but did not cosign."""


class _OtherLog(RuntimeError):
    """A witness says, and does not show, that it has seen a longer or another log of ours."""


def _ask(witness: WitnessAddress, note: str, head: Checkpoint, own: OwnLog, timeout_s: float) -> list[str]:
    old = head.size  # most often the witness is where we left it: one entry or many behind; its 409 tells
    for _ in range(TRIES):
        proof = tuple(own.tree.consistency(old, head.size)) if 0 < old < head.size else ()
        status, kind, body = _post(witness.url, Submission(old, proof, note).body(), timeout_s)
        if status == 200:
            return body.splitlines()
        if status == 409 and kind == SIZE_TYPE and body.strip().isdigit():
            seen = int(body)
            if seen > head.size or (seen == head.size == old):
                what = "a longer" if seen > head.size else "another"
                said = f"{witness.url} has seen {what} log {head.origin} of {seen} entries; this one has {head.size}"
                raise _judged(witness, said, head, own, timeout_s)
            old = seen
        elif status == 422:
            said = f"{witness.url}: {head.origin} does not grow from what the witness has seen: {body.strip()[:200]}"
            raise _judged(witness, said, head, own, timeout_s)
        else:
            raise WitnessRefused(f"it answered {status}: {body.strip()[:200]}")
    raise WitnessRefused("its tree changed again and again while it was asked")


def _judged(
    witness: WitnessAddress, said: str, head: Checkpoint, own: OwnLog, timeout_s: float
) -> WouldFork | _OtherLog:
    """Returns what a witness's word is worth: proof, where it shows a head of ours that this ledger does not have."""
    try:
        status, _, shown = _request(witness.url, "GET", seen_path(head.origin), b"", timeout_s)
        text, _ = verify(shown, [key for key in own.keys if key.name == head.origin])
        seen = Checkpoint.parse(text)
    except (OSError, http.client.HTTPException, NoteError) as error:
        return _OtherLog(f"{said}, but does not show it ({error})")
    same = seen.size <= own.tree.size and own.tree.root(seen.size) == seen.root
    if status != http.client.OK or seen.origin != head.origin or same:
        return _OtherLog(f"{said}, but what it shows is of this log")
    return WouldFork(f"{said}, and shows it: {seen.size} entries, signed by the log's own key. {_WHAT_NOW}")


def _post(url: str, body: bytes, timeout_s: float) -> tuple[int, str, str]:
    return _request(url, "POST", "/add-checkpoint", body, timeout_s)


def _request(url: str, method: str, path: str, body: bytes, timeout_s: float) -> tuple[int, str, str]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request(method, f"{parts.path.rstrip('/')}{path}", body)
        answer = connection.getresponse()
        content = answer.read(ANSWER_BYTES_MAX).decode(errors="replace")
        return answer.status, answer.headers.get("Content-Type", ""), content
    finally:
        connection.close()
