"""Recounts one vote from its file (docs/voting.md), and shares no code with the program that counted it.

    python verifier/atoll_recount.py FILE [--key VKEY] [--ballot ENTRY_ID] [--json]

Exit code 0: ok; 1: something differs, the first such thing is named; 2: cannot judge. Needs `cryptography`.
Give the id of your own ballot's entry (`atoll vote cast --json` prints it): a count without it is no count.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"
Row: TypeAlias = "dict[str, Json]"
DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
HOUR_MS = 3_600_000


class Found(Exception):
    """The first thing that is not right: (verdict, where, message)."""


class Entry(NamedTuple):
    """One entry of the log."""

    seq: int
    id: str
    at: int
    kind: str
    body: Row


def check(holds: bool, where: str, message: str) -> None:
    """Ends the recount where something does not hold."""
    if not holds:
        raise Found("differs", where, message)


def encode(value: Json) -> bytes:
    """Returns the canonical bytes (RFC 8785; there are no fractions and only ASCII keys)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode(data: bytes, where: str, verdict: str) -> Row:
    """Returns the object in canonical bytes: one way to say it, whole numbers below 2^53."""
    value = json.loads(data.decode(), parse_int=whole, parse_float=str, parse_constant=int)
    if encode(value) != data:
        raise Found(verdict, where, "is not canonical")
    return value


def whole(text: str) -> int:
    """Returns a whole number that every program reads alike, else ValueError."""
    if abs(number := int(text)) >= 2**53:
        raise ValueError
    return number


def unbase64(text: str) -> bytes:
    """Returns the bytes of base64 in its one way to say them, else ValueError."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError
    return data


def tree_hash(*nodes: bytes) -> bytes:
    """Returns SHA-256(0x00 || leaf) or SHA-256(0x01 || left || right). Source: RFC 9162 section 2.1.1."""
    return sha256((b"\0" if len(nodes) == 1 else b"\1") + b"".join(nodes)).digest()


def climb(index: int, size: int, leaf: bytes, proof: list[bytes]) -> bytes:
    """Returns the root at the end of an inclusion path. Source: RFC 9162 section 2.1.3.2."""
    last, node = size - 1, leaf
    if not 0 <= index < size:
        return b""
    for other in proof:
        if last == 0:
            return b""
        if index & 1 or index == last:
            node = tree_hash(other, node)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = tree_hash(node, other)
        index, last = index >> 1, last >> 1
    return node if last == 0 else b""


def public_key(did: str) -> bytes:
    """Returns the Ed25519 key that a did:key names. Source: W3C CCG did:key, multicodec 0xed01 in base58-btc."""
    number = 0
    for digit in did.removeprefix("did:key:z"):
        number = number * 58 + DIGITS.index(digit)
    data = number.to_bytes(34, "big")
    check(did.startswith("did:key:z") and data[:2] == b"\xed\x01", f"key {did}", "is not the name of an Ed25519 key")
    return data[2:]


def did_of(text: str) -> str:
    """Returns the did:key of an approver that a charter names by did:key or by base64."""
    if text.startswith("did:key:z"):
        return text
    number, digits = int.from_bytes(b"\xed\x01" + unbase64(text), "big"), ""
    while number:
        number, rest = divmod(number, 58)
        digits = DIGITS[rest] + digits
    return "did:key:z" + digits


def signed(did: str, message: bytes, signature: str) -> bool:
    """Returns whether a signature (base64) is the key's over the bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key(did)).verify(unbase64(signature), message)
    except (InvalidSignature, ValueError, Found):
        return False
    return True


def note_text(note: str, vkey: str) -> str:
    """Returns the text that a log key signed. Source: C2SP signed-note."""
    name, hex_id, encoded = vkey.split("+", 2)
    public = unbase64(encoded)
    identity = sha256(name.encode() + b"\n" + public).digest()[:4]
    check(public[:1] == b"\1" and identity.hex() == hex_id, "log key", "is not an Ed25519 log key")
    text, _, rows = note.rpartition("\n\n")
    for row in rows.split("\n"):
        if row.startswith(f"— {name} "):
            data = unbase64(row.split(" ")[-1])
            if data[:4] == identity:
                try:
                    Ed25519PublicKey.from_public_bytes(public[1:]).verify(data[4:], f"{text}\n".encode())
                    return text
                except InvalidSignature:
                    break
    raise Found("differs", "checkpoint", f"is not signed by {name}")


def read(top: Row, key: str, lines: list[Json]) -> list[Entry]:
    """Returns the entries, each proven to be in the signed tree."""
    if top["atoll_vote"] != 1 or sorted(top) != ["atoll_vote", "checkpoint", "entries", "vote"]:
        raise Found("cannot judge", "file", "is not a vote's file of version 1")
    rows, entries, keys = cast("list[Row]", top["entries"]), list[Entry](), list[tuple[int, str]]()
    for row in rows:
        document, seq = str(row["document"]), cast("int", row["seq"])
        known = sorted(row) == ["document", "proof", "seq"] and type(seq) is int
        check(known and (not entries or entries[-1].seq < seq), f"entry {seq}", "is not in its place")
        value = decode(document.encode(), f"entry {seq}", "differs")
        if value["v"] != 1:
            raise Found("cannot judge", f"entry {seq}", f"has version {value['v']}; this program knows 1")
        check(value["state"] == "posted", f"entry {seq}", "is not posted")
        entry = Entry(seq, str(value["id"]), cast("int", value["at"]), str(value["kind"]), cast("Row", value["body"]))
        if entry.kind in ("genesis", "log.key"):
            if entry.kind == "log.key":
                handed = note_text(str(entry.body["handover"]), keys[-1][1])
                check(handed == f"log key\n{entry.body['key']}", f"entry {seq}", "hands over another key")
            keys.append((seq or -1, str(entry.body["key"])))
        entries.append(entry)
    check(
        bool(entries) and entries[0].kind == "genesis" and entries[0].seq == 0, "entries", "do not begin with the first"
    )
    check(not key or key in [name for _, name in keys], "log key", f"you expect {key}, the log says {keys[-1][1]}")
    lines.append(["log key", keys[-1][1] + ("" if key else " (compare it with the published one)")])
    note = str(top["checkpoint"])
    parts = note.rpartition("\n\n")[0].split("\n")
    size = int(parts[1])
    text = note_text(note, next(name for seq, name in reversed(keys) if seq < size))
    origin, _, root = text.split("\n")
    check(origin == entries[0].body["origin"], "checkpoint", "is of another log")
    for row, entry in zip(rows, entries, strict=True):
        proof = [unbase64(str(node)) for node in cast("list[Json]", row["proof"])]
        leaf = tree_hash(str(row["document"]).encode())
        held = climb(entry.seq, size, leaf, proof) == unbase64(root)
        check(held, f"entry {entry.seq} {entry.kind}", "is not in the signed tree")
    lines.append(["entries", f"{len(entries)} entries are in the signed tree of {size}"])
    return entries


def electorate(entries: list[Entry], opened: Entry, lines: list[Json]) -> dict[str, str]:
    """Returns who may vote (key -> name), checked against the entry that says so."""
    people = cast("dict[str, str]", opened.body["of"])
    under = next((entry for entry in entries if entry.id == opened.body["under"]), None)
    if under is None:
        raise Found("cannot judge", "quorum", "the entry that says who may vote is not in the file")
    check(under.seq < opened.seq, "quorum", "was written after the vote was opened")
    if under.kind == "vote.rules":
        wanted = {name: under.body[name] for name in ("of", "need", "expires_h")}
        found = {name: opened.body[name] for name in wanted}
        check(encode(found) == encode(wanted), "quorum", f"the rules in force say {wanted}, the vote says {found}")
    elif under.kind == "charter":
        quorum = cast("Row", cast("Row", cast("Row", under.body["charter"])["clauses"])["quorum"])
        keys = sorted(did_of(str(one)) for one in cast("list[Json]", quorum["of"]))
        check(keys == sorted(people.values()), "quorum", "the charter in force names other voters")
        terms = [quorum["approvals"], quorum["expires_h"]]
        check(terms == [opened.body["need"], opened.body["expires_h"]], "quorum", f"the charter in force says {terms}")
    else:
        raise Found("cannot judge", "quorum", f"{under.kind} says nothing of voters to this program")
    lines.append(["quorum", f"{opened.body['need']} of {len(people)} must agree, by entry {under.seq} ({under.kind})"])
    return {key: name for name, key in people.items()}


def recount(top: Row, entries: list[Entry], ballot: str, lines: list[Json]) -> None:
    """Counts every ballot again and compares with the result in the log."""
    opened = next((entry for entry in entries if entry.id == top["vote"] and entry.kind == "vote.open"), None)
    results = [entry for entry in entries if entry.kind == "vote.result" and entry.body["vote"] == top["vote"]]
    if opened is None or len(results) != 1:
        raise Found("cannot judge", "vote", "holds no opening, or not one result")
    digest, closes, result = sha256(encode(opened.body["document"])).hexdigest(), opened.body["closes"], results[0]
    check(digest == opened.body["digest"], "proposal", f"its document has the hash {digest}")
    hours = cast("int", opened.body["expires_h"])
    check(closes == opened.at + hours * HOUR_MS, "closing time", "is not what the quorum names")
    lines.append(["proposal", f"hash {digest}"])
    names, choices, ids = electorate(entries, opened, lines), dict[str, str](), list[str]()
    for entry in [one for one in entries if one.kind == "vote.cast"]:
        where, paper = f"ballot {entry.seq}", cast("Row", entry.body["paper"])
        document, signer = cast("Row", paper["document"]), str(paper["signer"])
        choice = str(document.get("choice"))
        wanted: Row = {"vote": opened.id, "digest": digest, "closes": closes, "choice": choice}
        check(document == wanted and choice in ("yes", "no"), where, "is a ballot for something else")
        check(signer in names, where, f"{signer} may not vote")
        check(names[signer] not in choices, where, f"{names[signer]} has voted before")
        check(
            entry.seq < result.seq and opened.at <= entry.at < cast("int", closes), where, "came too late or too early"
        )
        said = b"atoll/ballot/v1\n" + encode(document)
        check(paper["purpose"] == "ballot" and signed(signer, said, str(paper["signature"])), where, "is not signed so")
        choices[names[signer]] = choice
        ids.append(entry.id)
        lines.append([where, f"{names[signer]}: {choice}"])
    check(not ballot or ballot in ids, "your ballot", f"entry {ballot} is not among those counted")
    yes, no = ([name for name, said in choices.items() if said == choice] for choice in ("yes", "no"))
    passed = len(yes) >= cast("int", opened.body["need"])
    own: Row = {"yes": cast("Json", yes), "no": cast("Json", no), "passed": passed, "ballots": cast("Json", ids)}
    own |= {"vote": opened.id, "digest": digest, "need": opened.body["need"]}
    check(encode(own) == encode(result.body), "result", f"recounted {own}, the log says {result.body}")
    check(
        result.at >= cast("int", closes) or len(choices) == len(names), "result", "was declared before the vote closed"
    )
    lines.append(["result", f"{len(yes)} yes, {len(no)} no: {'passed' if passed else 'rejected'}"])


def judge(data: bytes, key: str = "", ballot: str = "") -> dict[str, Json]:
    """Returns the report on a vote's file; `key` and `ballot` are what the voter knows from elsewhere."""
    lines, found = list[Json](), ("ok", "", "")
    try:
        top = decode(data, "file", "cannot judge")
        recount(top, read(top, key, lines), ballot, lines)
    except Found as stop:
        found = stop.args
    except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError, StopIteration):
        found = ("cannot judge", "file", "is not understood")
    return {"schema": 1, "verdict": str(found[0]), "where": str(found[1]), "message": str(found[2]), "lines": lines}


def main(arguments: list[str] | None = None) -> int:
    """Judges one file and returns the exit code."""
    parser = argparse.ArgumentParser(description="Recount one vote. Exit code 0: ok, 1: differs, 2: cannot judge.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--key", default="", help="the log's public key, as published (name+id+base64)")
    parser.add_argument("--ballot", default="", help="the id of your own ballot's entry")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        report = judge(options.file.read_bytes(), options.key, options.ballot)
    except OSError as error:
        report = judge(b"") | {"where": "file", "message": f"{error.filename}: {error.strerror}"}
    words = [f"{what}: {text}" for what, text in cast("list[list[str]]", report["lines"])]
    words.append(f"{str(report['verdict']).upper()} {report['where']}: {report['message']}".rstrip(" :"))
    print(json.dumps(report, indent=2, ensure_ascii=False) if options.json else "\n".join(words))
    return ("ok", "differs", "cannot judge").index(str(report["verdict"]))


if __name__ == "__main__":
    sys.exit(main())
