"""Bundles and votes changed at random: parts dropped, doubled, moved, swapped, of another type; also as a forged log.

A forged log is signed by the forger: its tree holds the changed entries, so a verifier must judge what they say.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from copy import deepcopy
from hashlib import sha256
from typing import Any

from controller.ledger.merkle import Tree, leaf_hash
from controller.ledger.note import Checkpoint, Signer, sign
from tests.verifier.villages import canonical

FORGER = bytes(31) + b"\x2a"
OTHERS = (None, True, False, 0, 1, -1, 2**53, 2**80, 1.5, 1.0, "", "0", "x", [], {}, [None], {"a": 1}, "\N{SNOWMAN}")
Place = tuple[Any, Any]  # container, key or index


def places(value: Any) -> list[Place]:
    """Returns every place in a document."""
    found: list[Place] = []
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        found += [(value, key), *places(value[key])]
    return found


def mutated(document: Any, rng: random.Random) -> Any:
    """Returns a document with one thing changed."""
    changed = deepcopy(document)
    while changed == document:
        holder, key = rng.choice(places(changed))
        _ACTS[rng.randrange(len(_ACTS))](changed, holder, key, rng)
    return changed


def mutated_bundle(data: bytes, rng: random.Random) -> bytes:
    """Returns a bundle with one thing changed, its own sum mostly right again."""
    top = json.loads(data)
    changed = mutated(top, rng)
    if isinstance(changed.get("sha256"), str) and rng.random() < 0.9:
        changed["sha256"] = _sum(changed)
    return canonical(changed)


def mutated_text(data: bytes, rng: random.Random) -> bytes:
    """Returns a bundle in which a gateway's signed text, or its seal, says something else."""
    top = json.loads(data)
    signed = rng.choice([row for rows in top["ocmf"].values() for row in rows])
    parts = signed[2].split("|")
    which = rng.choice((1, 1, 2))
    parts[which] = json.dumps(mutated(json.loads(parts[which]), rng), separators=(",", ":"))
    if rng.random() < 0.1:
        parts[which] = rng.choice(
            (parts[which].replace(":", ": ", 1), parts[which] + "|", "NaN", parts[which].replace("0", "0.0", 1))
        )
    signed[2] = "|".join(parts)
    top["sha256"] = _sum(top)
    return canonical(top)


def forged(data: bytes, rng: random.Random, kinds: tuple[str, ...] = ()) -> bytes:
    """Returns a bundle or a vote's file of a forged log in which one entry (of these kinds) says something else."""
    top = json.loads(data)
    documents = [json.loads(entry["document"]) for entry in top["entries"]]
    number = rng.choice([at for at, one in enumerate(documents) if not kinds or one["kind"] in kinds])
    part = rng.choice([part for part in ("body", None) if part is None or documents[number][part]])
    if part is None:
        documents[number] = mutated(documents[number], rng)
    else:
        documents[number][part] = mutated(documents[number][part], rng)
    return _signed_anew(top, documents)


def _signed_anew(top: Any, documents: list[Any]) -> bytes:
    origin, size, _ = top["checkpoint"].split("\n")[:3]
    signer = Signer(origin, FORGER)
    if isinstance(documents[0], dict) and isinstance(documents[0].get("body"), dict) and "key" in documents[0]["body"]:
        documents[0]["body"]["key"] = signer.verifier.text()
    leaves = [sha256(b"%d" % seq).digest() for seq in range(int(size))]
    for entry, document in zip(top["entries"], documents, strict=True):
        entry["document"] = canonical(document).decode()
        leaves[entry["seq"]] = leaf_hash(entry["document"].encode())
    tree = Tree(leaves)
    for entry in top["entries"]:
        entry["proof"] = [base64.b64encode(node).decode() for node in tree.inclusion(entry["seq"], int(size))]
    top["checkpoint"] = sign(Checkpoint(origin, int(size), tree.root()).text(), [signer])
    if "sha256" in top:
        top["sha256"] = _sum(top)
    return canonical(top)


def _sum(top: dict[str, Any]) -> str:
    return sha256(canonical({key: value for key, value in top.items() if key != "sha256"})).hexdigest()


def _drop(_: Any, holder: Any, key: Any, __: random.Random) -> None:
    del holder[key]


def _double(_: Any, holder: Any, key: Any, rng: random.Random) -> None:
    if isinstance(holder, list):
        holder.insert(rng.choice((key, len(holder))), deepcopy(holder[key]))
    else:
        holder[key + rng.choice(("", "_", "0"))] = deepcopy(holder[key])


def _move(_: Any, holder: Any, key: Any, rng: random.Random) -> None:
    other = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[key], holder[other] = holder[other], holder[key]


def _swap(top: Any, holder: Any, key: Any, rng: random.Random) -> None:
    other, place = rng.choice(places(top))
    if places(other[place]) or places(holder[key]):
        return  # one could hold the other
    holder[key], other[place] = other[place], holder[key]


def _retype(_: Any, holder: Any, key: Any, rng: random.Random) -> None:
    value = holder[key]
    ways: list[Any] = [rng.choice(OTHERS), [value], {"v": value}]
    if isinstance(value, int):
        ways += [str(value), value + rng.choice((-1, 1)), float(value), -value]
    if isinstance(value, str):
        ways += [value + " ", value[:-1], value.upper(), value[::-1], int(value) if value.isdigit() else len(value)]
    holder[key] = rng.choice(ways)


_ACTS: tuple[Callable[[Any, Any, Any, random.Random], None], ...] = (_drop, _double, _move, _swap, _retype, _retype)
