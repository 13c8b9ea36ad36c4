"""What a log has signed: canonical documents, the Merkle tree, signed notes and checkpoints. Part of atoll_verify.py.

Source: RFC 8785 (canonical JSON), RFC 9162 section 2.1 (tree), C2SP signed-note, tlog-checkpoint, tlog-cosignature,
tlog-policy.
"""

from __future__ import annotations

import base64
import json
import re
from hashlib import sha256
from typing import TypeAlias, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"
ITSELF = "the log itself (ML-DSA-44)"
Head: TypeAlias = tuple[str, int, bytes]  # origin, size, root: its signature has been checked


class Found(Exception):
    """The first thing that is not right: (verdict, where, message)."""


class Node:
    """A value in the bundle and its place there."""

    def __init__(self, value: Json, place: str) -> None:
        self.value, self.place = value, place

    def __getitem__(self, key: str) -> Node:
        self.need(isinstance(self.value, dict) and key in self.value, f"has no {key}")
        return Node(cast("dict[str, Json]", self.value)[key], self.place + "." + key)

    def only(self, *names: str) -> None:
        self.need(isinstance(self.value, dict) and {*self.value} == {*names}, "has other parts than its version names")

    def items(self, width: int = -1) -> list[Node]:
        self.need(isinstance(self.value, list), "is not a list")
        values = cast("list[Json]", self.value)
        self.need(width in (-1, len(values)), f"has {len(values)} values, not {width}")
        return [Node(item, f"{self.place}[{at}]") for at, item in enumerate(values)]

    def text(self) -> str:
        self.need(isinstance(self.value, str), "is not a text")
        return cast("str", self.value)

    def whole(self) -> int:
        self.need(type(self.value) is int and abs(self.value) < 2**53, "is not a whole number")
        return cast("int", self.value)

    def bytes(self, width: int) -> bytes:
        try:
            data = unbase64(self.text())
        except ValueError:
            data = b""
        self.need(len(data) == width, f"is not base64 of {width} bytes")
        return data

    def need(self, holds: bool, message: str) -> None:
        if not holds:
            raise Found("cannot judge", self.place, message)

    def same(self, expected: object, where: str) -> None:
        seen, right = encode(self.value).decode(), encode(expected).decode()
        check(seen == right, where, f"recomputed {right}, the ledger says {seen}")


def check(holds: bool, where: str, message: str) -> None:
    if not holds:
        raise Found("differs", where, message)


def encode(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()  # RFC 8785


def unbase64(text: str) -> bytes:  # its one way to say the bytes, else ValueError
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError
    return data


def small(text: str) -> int:  # below 2^53, so that every program reads the same number, else ValueError
    if abs(number := int(text)) >= 2**53:
        raise ValueError
    return number


def parse(data: bytes, place: str) -> Node:
    try:
        node = Node(
            cast("Json", json.loads(data.decode(), parse_int=small, parse_float=str, parse_constant=int)), place
        )
        node.need(encode(node.value) == data, "is not canonical JSON")
    except (ValueError, RecursionError):  # int("NaN") is one
        raise Found("cannot judge", place, "is not canonical JSON") from None
    return node


def tree_hash(*nodes: bytes) -> bytes:  # RFC 9162 section 2.1.1: of a leaf, or of two nodes
    return sha256((b"\0" if len(nodes) == 1 else b"\1") + b"".join(nodes)).digest()


def root_of(level: list[bytes]) -> bytes:
    while len(level) > 1:
        level = [*map(tree_hash, level[::2], level[1::2]), *level[len(level) & ~1 :]]
    return level[0] if level else sha256(b"").digest()


def climb(index: int, size: int, leaf: bytes, proof: list[bytes]) -> tuple[bytes, bytes]:
    last, old, new, inside = size - 1, leaf, leaf, 0 <= index < size  # (old root, root): RFC 9162 2.1.3.2, 2.1.4.2
    for node in proof:
        if last == 0:
            return b"", b""
        if index & 1 or index == last:
            old, new = tree_hash(node, old), tree_hash(node, new)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            new = tree_hash(new, node)
        index, last = index >> 1, last >> 1
    return (old, new) if last == 0 and inside else (b"", b"")


def grown(first: Head, second: Head, proof: list[bytes]) -> bool:  # whether the second tree begins with the first
    if first[1] >= second[1]:
        return first == second and not proof
    path = [first[2], *proof] if first[1] & (first[1] - 1) == 0 else list(proof)
    index, last = first[1] - 1, second[1] - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    return bool(path) and climb(index, last + 1, path[0], path[1:]) == (first[2], second[2])


def signatures(note: Node, name: str, identity: bytes) -> tuple[str, list[str]]:  # (text, those of one key in base64)
    text, _, block = note.text().rpartition("\n\n")
    lines = [row.split(" ")[-1] for row in block.split("\n") if row.startswith(f"— {name} ")]
    return text, [line for line in lines if unbase64(line)[:4] == identity]


def open_note(note: Node, key: Node) -> str:  # the text that a key signed, without its last line break: C2SP
    name, hex_id, encoded = (*key.text().split("+", 2), "", "")[:3]
    public = Node(encoded, key.place).bytes(33)
    identity = sha256(name.encode() + b"\n" + public).digest()[:4]
    key.need(public[0] == 1 and identity.hex() == hex_id, "is not an Ed25519 log key")
    text, own = signatures(note, name, identity)
    check(bool(own), note.place, f"is not signed by {name}")
    try:
        signature = Node(own[0], note.place).bytes(68)[4:]
        ed25519.Ed25519PublicKey.from_public_bytes(public[1:]).verify(signature, f"{text}\n".encode())
    except InvalidSignature:
        raise Found("differs", note.place, f"the signature of {name} does not match") from None
    return text


def open_checkpoint(note: Node, keys: list[tuple[int, Node]]) -> Head:  # C2SP tlog-checkpoint, by the key of its time
    rows = note.text().rpartition("\n\n")[0].split("\n")
    note.need(len(rows) == 3 and bool(re.fullmatch("[1-9][0-9]{0,14}", rows[1])), "is not a checkpoint")
    open_note(note, next(key for seq, key in reversed(keys) if seq < int(rows[1])))
    return rows[0], int(rows[1]), Node(rows[2], note.place).bytes(32)


def cosigned(note: Node, vkey: str) -> int:  # when [s] a key cosigned a checkpoint; 0: never. C2SP tlog-cosignature
    name, hex_id, encoded = (*vkey.split("+", 2), "", "")[:3]
    data = unbase64(encoded)
    identity = sha256(name.encode() + b"\n" + data).digest()[:4]
    known = {4: 33, 6: 1313}.get(data[0] if data else 0) == len(data) and identity.hex() == hex_id
    note.need(known, "is to be cosigned with a key of a kind that is not known here")
    text, own = signatures(note, name, identity)
    if not own:
        return 0
    origin, size, root = text.split("\n")
    sealed = unbase64(own[0])
    time, signature = sealed[4:12], sealed[12:]
    plain = f"cosignature/v1\ntime {int.from_bytes(time, 'big')}\n{text}\n".encode()
    sides = [len(word.encode()).to_bytes(1, "big") + word.encode() for word in (name, origin)]
    size_bytes = bytes(8) + int(size).to_bytes(8, "big")
    subtree = b"subtree/v1\n\0" + sides[0] + time + sides[1] + size_bytes + Node(root, note.place).bytes(32)
    try:
        if data[0] == 4:
            ed25519.Ed25519PublicKey.from_public_bytes(data[1:]).verify(signature, plain)
        else:
            mldsa.MLDSA44PublicKey.from_public_bytes(data[1:]).verify(signature, subtree)
    except InvalidSignature:
        raise Found("differs", note.place, f"the cosignature of {name} does not match") from None
    return int.from_bytes(time, "big")


def judge_policy(note: Node, policy: Node, whose: str) -> list[str]:  # who has cosigned, as a policy asks for
    own, signed, have, quorum = policy["cosigner"].text(), list[str](), set[str](), ""
    if own:
        check(cosigned(note, own) > 0, note.place, f"is not cosigned by {own.split('+')[0]}, the log's own second key")
        signed.append(ITSELF)
    for line in policy["policy"].text().split("\n"):  # a group names only what stands before it
        match line.split():
            case ["witness", name, key, *_] if cosigned(note, key):
                have.add(name)
                signed.append(key.split("+")[0])
            case ["group", name, count, *parts]:
                number = int(count) if count.isascii() and count.isdigit() else 0
                needed = {"any": 1, "all": len(parts)}.get(count, number) or len(parts) + 1  # none: never reached
                have |= {name} if sum(part in have for part in parts) >= needed else set[str]()
            case ["quorum", name]:
                quorum = name
            case _:
                pass
    seen = ", ".join(dict.fromkeys(signed)) or "nobody"
    note.need(quorum in {*have, "none"}, f"is cosigned by {seen}; {whose} asks for more witnesses")
    return list(dict.fromkeys(signed))


def policy_in(data: bytes) -> str:  # the newest that a sound bundle shows
    entries = [json.loads(row["document"]) for row in json.loads(data)["entries"]]
    return next((one["body"]["policy"] for one in reversed(entries) if one["kind"] == "log.policy"), "")
