"""Recomputes one bill from its bundle, and shares no code with the program that made it.

    python verifier/atoll_verify.py BUNDLE [--key VKEY] [--last CHECKPOINT_FILE] [--keep FILE] [--json]

Needs Python 3.11 and `cryptography`; the format is described in docs/bundle.md. Exit code 0: ok; 1: something
differs, and the first such thing is named; 2: cannot judge.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
from bisect import bisect_left, bisect_right
from datetime import date
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"
Head: TypeAlias = tuple[str, int, bytes]  # origin, size, root: its signature has been checked
PointDay: TypeAlias = tuple[list[int], list[int], int, str]  # imports, exports, slots estimated, why held back
Lines: TypeAlias = dict[tuple[str, str, int], int]  # (text, unit, price) -> quantity [uWh or mL]
SLOT_MS = 15 * 60_000
BRACKET_MS = 31 * 86_400_000
UWH_PER_WH = 1_000_000
CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
PARTS = ["atoll_bundle", "checkpoint", "consistency", "entries", "inputs", "member", "period", "records", "sha256"]


class Found(Exception):
    """The first thing that is not right: (verdict, where, message)."""


class Node:
    """A value in the bundle and its place there."""

    def __init__(self, value: Json, place: str) -> None:
        self.value, self.place = value, place

    def __getitem__(self, key: str) -> Node:
        self.need(isinstance(self.value, dict) and key in self.value, f"has no {key}")
        return Node(cast("dict[str, Json]", self.value)[key], f"{self.place}.{key}")

    def items(self, width: int = -1) -> list[Node]:
        self.need(isinstance(self.value, list), "is not a list")
        found = [Node(item, f"{self.place}[{at}]") for at, item in enumerate(cast("list[Json]", self.value))]
        self.need(width in (-1, len(found)), f"has {len(found)} values, not {width}")
        return found

    def text(self) -> str:
        self.need(isinstance(self.value, str), "is not a text")
        return cast("str", self.value)

    def whole(self) -> int:
        value = cast("int", self.value)
        self.need(type(self.value) is int and abs(value) < 2**53, "is not a whole number")
        return value

    def texts(self) -> list[str]:
        return [item.text() for item in self.items()]

    def proof(self) -> list[bytes]:
        return [item.bytes(32) for item in self.items()]

    def bytes(self, width: int) -> bytes:
        try:
            data = base64.b64decode(self.text(), validate=True)
        except ValueError:
            data = b""
        self.need(
            len(data) == width and base64.b64encode(data).decode() == self.text(), f"is not base64 of {width} bytes"
        )
        return data

    def need(self, holds: bool, message: str) -> None:
        if not holds:
            raise Found("cannot judge", self.place, message)

    def same(self, expected: object, where: str) -> None:
        seen, right = encode(self.value).decode(), encode(expected).decode()
        check(seen == right, where, f"recomputed {right}, the ledger says {seen}")


def check(holds: bool, where: str, message: str) -> None:
    """Ends the judgement where something does not hold."""
    if not holds:
        raise Found("differs", where, message)


def encode(value: object) -> bytes:
    """Returns the canonical bytes (RFC 8785; there are no fractions and only ASCII keys)."""
    return CANONICAL.encode(value).encode()


def parse(data: bytes, place: str) -> Node:
    """Returns the document in canonical bytes."""
    try:
        node = Node(cast("Json", json.loads(data.decode(), parse_float=str)), place)
        node.need(encode(node.value) == data, "is not canonical JSON")
    except (UnicodeError, json.JSONDecodeError, RecursionError):
        raise Found("cannot judge", place, "is not canonical JSON") from None
    return node


def tree_hash(*nodes: bytes) -> bytes:
    """Returns SHA-256(0x00 || leaf) or SHA-256(0x01 || left || right). Source: RFC 9162 section 2.1.1."""
    return sha256(bytes([len(nodes) - 1]) + b"".join(nodes)).digest()


def root_of(level: list[bytes]) -> bytes:
    """Returns the root over leaf hashes."""
    while len(level) > 1:
        pairs = [level[at : at + 2] for at in range(0, len(level), 2)]
        level = [tree_hash(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0] if level else sha256(b"").digest()


def climb(index: int, size: int, leaf: bytes, proof: list[bytes]) -> tuple[bytes, bytes]:
    """Returns (old root, root) at the end of a path. Source: RFC 9162 sections 2.1.3.2 and 2.1.4.2."""
    last, old, new = size - 1, leaf, leaf
    if not 0 <= index < size:
        return b"", b""
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
    return (old, new) if last == 0 else (b"", b"")


def grown(first: Head, second: Head, proof: list[bytes]) -> bool:
    """Returns whether the tree of the second head begins with that of the first."""
    if first[1] >= second[1]:
        return first == second and not proof
    path = [first[2], *proof] if first[1] & (first[1] - 1) == 0 else list(proof)
    index, last = first[1] - 1, second[1] - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    return bool(path) and climb(index, last + 1, path[0], path[1:]) == (first[2], second[2])


def open_checkpoint(note: Node, key: Node) -> Head:
    """Returns the tree head that the log's key signed. Source: C2SP signed-note and tlog-checkpoint."""
    name, hex_id, encoded = (*key.text().split("+", 2), "", "")[:3]
    public = Node(encoded, key.place).bytes(33)
    identity = sha256(name.encode() + b"\n" + public).digest()[:4]
    key.need(public[0] == 1 and identity.hex() == hex_id, "is not an Ed25519 log key")
    text, _, signatures = note.text().rpartition("\n\n")
    rows = text.split("\n")
    note.need(len(rows) == 3 and bool(re.fullmatch(r"[1-9][0-9]{0,14}", rows[1])), "is not a checkpoint")
    for row in signatures.split("\n"):
        if row.startswith(f"— {name} "):
            data = Node(row.split(" ")[-1], note.place).bytes(68)
            try:
                Ed25519PublicKey.from_public_bytes(public[1:]).verify(data[4:], f"{text}\n".encode())
            except InvalidSignature:
                data = b""
            check(data[:4] == identity, note.place, f"the signature of {name} does not match")
            return rows[0], int(rows[1]), Node(rows[2], note.place).bytes(32)
    raise Found("differs", note.place, f"is not signed by {name}")


class Record(NamedTuple):
    """One interval of one usage point: registers at both ends [Wh or mL]."""

    start: int
    epoch: int
    page: int
    import_start: int
    import_end: int
    export_start: int
    export_end: int
    quality: str
    clock: str

    def leaf(self, point: str, commodity: str) -> bytes:
        about: dict[str, Json] = {"end": self.start + SLOT_MS, "usage_point": point, "commodity": commodity, "v": 1}
        return tree_hash(encode({**self._asdict(), **about}))


class Day(NamedTuple):
    """One settled local day: charter entry, this member there, public run, this member's entry."""

    name: str
    start: int
    end: int
    bands: list[int]  # of each slot
    rules: Node
    member: Node
    run: Node
    settled: Node


def point_day(day: Day, known: list[Record]) -> PointDay:
    """Returns the validated day of one usage point; `known` are all its records, in order."""
    low, high = bisect_left(known, (day.start,)), bisect_left(known, (day.end,))
    last = known[low - 1] if low and known[low - 1].start >= day.start - BRACKET_MS else None
    after = known[high] if high < len(known) and known[high].start <= day.end + BRACKET_MS else None
    imports, exports = [0] * len(day.bands), [0] * len(day.bands)
    estimated, held, filled = 0, "", bool(known)
    reached = max(day.start, known[0].start) if known else day.end
    for record in known[low:high]:
        held = held or contradiction(record, last)
        if record.start > reached:
            filled = spread(day, imports, exports, last, record) and filled
            estimated += (record.start - reached) // SLOT_MS
        at = (record.start - day.start) // SLOT_MS
        imports[at] = record.import_end - record.import_start
        exports[at] = record.export_end - record.export_start
        estimated += record.quality == "estimated"
        last, reached = record, record.start + SLOT_MS
    if reached < day.end:
        filled = spread(day, imports, exports, last, after) and filled
        estimated += (day.end - reached) // SLOT_MS
    if held or not filled:
        return [0] * len(day.bands), [0] * len(day.bands), 0, held or "missing"
    return imports, exports, estimated, ""


def contradiction(record: Record, last: Record | None) -> str:
    """Returns why a record's registers cannot be billed, or ''."""
    if record.quality == "suspect":
        return "suspect"
    if record.import_end < record.import_start or record.export_end < record.export_start:
        return "register"
    if last is None or record.start < last.start + SLOT_MS or last.epoch != record.epoch or last.quality == "suspect":
        return "overlap" if last is not None and record.start < last.start + SLOT_MS else ""
    took, gave = record.import_start - last.import_end, record.export_start - last.export_end
    return "register" if took < 0 or gave < 0 or (record.start == last.start + SLOT_MS and (took or gave)) else ""


def spread(day: Day, imports: list[int], exports: list[int], last: Record | None, then: Record | None) -> bool:
    """Spreads what registers moved evenly over the slots between two records; returns whether they bracket them."""
    if last is None or then is None or last.epoch != then.epoch or then.start - last.start - SLOT_MS > BRACKET_MS:
        return False
    took, gave = then.import_start - last.import_end, then.export_start - last.export_end
    if "suspect" in (last.quality, then.quality) or took < 0 or gave < 0:
        return False
    count, first = (then.start - last.start - SLOT_MS) // SLOT_MS, (last.start - day.start) // SLOT_MS + 1
    for k in range(max(0, -first), min(count, len(day.bands) - first)):
        imports[first + k] = (k + 1) * took // count - k * took // count
        exports[first + k] = (k + 1) * gave // count - k * gave // count
    return True


def share(day: Day, points: dict[str, PointDay]) -> tuple[dict[str, int], list[int]]:
    """Returns the day's quantities as they are priced [uWh, mL], and those from outside per tariff band."""
    charter, free = day.rules["charter"], day.member["lifeline"].value is True
    taken, given = (day.run[key].items(len(day.bands)) for key in ("taken", "given"))
    lifeline = local = sold = exported = from_local = used = 0
    outside = [0] * len(charter["bands"].items())
    left = charter["lifeline_wh"].whole() * UWH_PER_WH if free else 0
    own = [points[name] for name in day.member["usage_points"].texts()]
    for slot, band in enumerate(day.bands):
        took, gave = sum(point[0][slot] for point in own), sum(point[1][slot] for point in own)
        all_taken, all_given = taken[slot].whole(), given[slot].whole()
        check(took <= all_taken and gave <= all_given, f"totals {day.name}", f"slot {slot} is below your own part")
        matched = min(all_taken, all_given)
        near = took * UWH_PER_WH * matched // max(all_taken, 1)
        near_out = gave * UWH_PER_WH * matched // max(all_given, 1)
        first = min(left, near)
        second = min(left - first, took * UWH_PER_WH - near)
        left, lifeline, local = left - first - second, lifeline + first + second, local + near - first
        outside[band] += took * UWH_PER_WH - near - second
        from_local, used = from_local + near, used + took * UWH_PER_WH
        sold, exported = sold + near_out, exported + gave * UWH_PER_WH - near_out
    water = sum(sum(points[name][0]) for name in day.member["water_points"].texts())
    cheap = min(water, charter["lifeline_ml"].whole()) if free else 0
    names = ("lifeline", "local", "sold", "exported", "water_lifeline", "water", "from_local", "from_outside")
    values = (lifeline, local, sold, exported, cheap, water - cheap, from_local, used - from_local)
    return dict(zip(names, values, strict=True)), outside


def decimal(value: int, places: int, least: int = 2) -> str:
    """Returns value / 10^places, exact, with at least `least` places."""
    digits = str(abs(value)).rjust(places + 1, "0")
    whole, fraction = digits[: len(digits) - places], digits[len(digits) - places :].rstrip("0").ljust(least, "0")
    return ("-" if value < 0 else "") + whole + ("." + fraction if fraction else "")


class Bundle:
    """One bundle under judgement; `lines` takes (what, text) of everything that was found right."""

    def __init__(self, data: bytes, lines: list[Json]) -> None:
        self.top, self.lines = parse(data, "bundle"), lines
        version = self.top["atoll_bundle"].whole()
        self.top.need(version == 1, f"has version {version}; this verifier knows 1")
        self.top.need(
            sorted(cast("dict[str, Json]", self.top.value)) == PARTS, "has other parts than its version names"
        )
        self.member, self.period = self.top["member"].text(), self.top["period"].text()
        self.entries: dict[tuple[str, str, str], Node] = {}  # (kind, day or period or id, member) -> entry
        self.known: dict[str, list[Record]] = {}
        self.calendar: dict[str, list[tuple[int, int]]] = {}  # charter, day, start, end -> bands from instants on

    def log(self, key: str, last: str) -> None:
        """Checks key, signature, inclusion of every entry, and growth from earlier checkpoints."""
        rows = self.top["entries"].items()
        for row in rows:
            entry = parse(row["document"].text().encode(), f"entry {row['seq'].whole()}")
            version, kind, body = entry["v"].whole(), entry["kind"].text(), entry["body"]
            entry.need(version == 1, f"has version {version}; this verifier knows 1")
            of = body["period"] if kind == "bill" else body["day"] if kind.endswith(".day") else entry["id"]
            who = body["member"].text() if kind in ("settle.day", "bill") else ""
            name = (kind, "" if kind == "genesis" else of.text(), who)
            entry.need(entry["state"].text() == "posted" and name not in self.entries, "stands there twice or undone")
            self.entries[name] = entry
        genesis = self.entry("genesis")["body"]
        published = genesis["key"].text()
        check(key in ("", published), "log key", f"you expect {key}, the log says {published}")
        self.lines.append(["log key", published + ("" if key else " (compare it with the published one)")])
        head = open_checkpoint(self.top["checkpoint"], genesis["key"])
        genesis["origin"].same(head[0], "log name")
        self.lines.append(["checkpoint", f"signed: {head[1]} entries"])
        for row, entry in zip(rows, self.entries.values(), strict=True):
            seq, leaf = row["seq"].whole(), tree_hash(row["document"].text().encode())
            root = climb(seq, head[1], leaf, row["proof"].proof())[1]
            check(root == head[2], f"{entry.place} {entry['kind'].text()}", "is not in the signed tree")
        self.lines.append(["entries", f"{len(rows)} entries are in the signed tree"])
        if last:
            kept, part = open_checkpoint(Node(last, "last checkpoint"), genesis["key"]), self.top["consistency"]
            proven = kept[1] == head[1] or (part.value is not None and part["size"].whole() == kept[1])
            self.top.need(proven, f"holds no proof from the {kept[1]} entries that you kept")
            grew = grown(kept, head, [] if kept[1] == head[1] else part["proof"].proof())
            check(grew, "last checkpoint", f"the log no longer begins with the {kept[1]} entries that it showed you")
            self.lines.append(["last checkpoint", f"the log has only grown since its {kept[1]} entries"])

    def entry(self, kind: str, of: str = "", member: str = "") -> Node:
        """Returns an entry of the bundle."""
        self.top.need((kind, of, member) in self.entries, f"has no entry {kind} {of} {member}".rstrip())
        return self.entries[kind, of, member]

    def records(self) -> None:
        """Reads all records; each must be among those with which its day was settled, and none may be missing."""
        series, left = self.top["records"], 0
        for point in cast("dict[str, Json]", series.value):
            rows = [cast("list[int]", row.value) for row in series[point]["rows"].items()]
            fits = all([*map(type, row)] == 7 * [int] + 2 * [str] and max(map(abs, row[:7])) < 2**53 for row in rows)
            series[point].need(fits, "holds a row that is not a record")
            self.known[point] = sorted(Record._make(row) for row in rows if row[0] % SLOT_MS == 0)
            left += len(rows)
        for (kind, name, _), entry in self.entries.items():
            for item in entry["body"]["inputs"].items() if kind == "settle.day" else ():
                point, what = item.items(3)[0].text(), f"records {item.items(3)[0].text()} {name}"
                start, end = entry["body"]["start"].whole(), entry["body"]["end"].whole()
                kept = [record for record in self.known.get(point, []) if start <= record.start < end]
                root = root_of([record.leaf(point, series[point]["commodity"].text()) for record in kept])
                item.same([point, len(kept), root.hex()], what)
                left -= len(kept)
                text = f", registers {kept[0][3:7:2]} to {kept[-1][4:7:2]}" if kept else ""
                self.lines.append([what, f"{len(kept)} records{text}"])
        series.need(left == 0, "holds some of no settled day")

    def bill(self) -> None:
        """Recomputes the whole bill."""
        bill = self.entry("bill", self.period, self.member)
        body, charter, lines, held, end, exact = bill["body"], bill, Lines(), list[Json](), 0, 0
        for name in body["days"].texts():
            day = self.day(name)
            charter, week = day.rules["charter"], "{}-W{:02d}".format(*date.fromisoformat(name).isocalendar())
            fits = self.period in (name, name[:7], week) and end in (0, day.start)
            check(fits, f"day {name}", "is not of this period")
            end = day.end
            held += [[name, point] for point in (self.settle(day, lines) if day.member.value else [])]
        currency, digits, stated = charter["currency"].text(), charter["minor_digits"].whole(), body["lines"].items()
        for at, ((text, unit, price), quantity) in enumerate(lines.items()):
            wanted: Json = {"text": text, "quantity": str(quantity), "unit": unit, "price": str(price)}
            (stated[at] if at < len(stated) else Node(None, body.place)).same(wanted, f"line {text}")
            places, name, scale = (9, "kWh", 1) if unit == "uWh" else (6, "m3", 1_000)
            exact += quantity * price * scale
            words = f"{decimal(quantity, places)} {name} x {decimal(price, 6)} {currency}/{name}"
            self.lines.append([f"line {text}", f"{words} = {decimal(quantity * price * scale, 15)} {currency}"])
        check(len(stated) == len(lines), "lines", f"recomputed {len(lines)}, the ledger says {len(stated)}")
        amount = round(Fraction(exact, 10 ** (15 - digits)))  # half to even
        body["exact"].same(str(exact), "exact")
        body["amount"].same(str(amount), "amount")
        body["held"].same(held, "held")
        moved = ((f"member:{self.member}:owes", amount), ("community:billed", -amount))
        bill["postings"].same([[who, f"money:{currency}", str(part)] for who, part in moved if part], "postings")
        self.lines.append(["amount", f"{decimal(amount, digits, digits)} {currency} (exact {decimal(exact, 15)})"])
        rest = {key: value for key, value in cast("dict[str, Json]", self.top.value).items() if key != "sha256"}
        self.top["sha256"].same(sha256(encode(rest)).hexdigest(), "bundle")  # what nothing above needed is undamaged

    def day(self, name: str) -> Day:
        """Returns a day by the charter that settled it and that charter's tariff table."""
        run = self.entry("run.day", name)["body"]
        rules = self.entry("charter", run["charter"].text())["body"]
        ids = [rules["charter"][key].text() for key in ("sharing", "rounding")]
        rules.need(ids == ["proportional", "half-even-per-bill"], f"has rules unknown to this verifier: {ids}")
        member = next((m for m in rules["members"].items() if m["id"].text() == self.member), Node(None, "member"))
        settled = run if member.value is None else self.entry("settle.day", name, self.member)["body"]
        start, end = run["start"].whole(), run["end"].whole()
        for key in ("start", "end", "charter"):
            settled[key].same(run[key].value, f"day {name}")
        for body in [e["body"] for key, e in self.entries.items() if key[0] == "charter.table" and not self.calendar]:
            days = [cast("list[Json]", row.value) for row in body["table"]["days"].items()]
            changes = [(row.items(2)[0].whole(), row.items(2)[1].whole()) for row in body["table"]["changes"].items()]
            ends = [*(row[1] for row in days[1:]), body["table"]["end"].whole()]
            names = [str([body["charter"].value, *row, end]) for row, end in zip(days, ends, strict=True)]
            self.calendar |= dict.fromkeys(names, changes)
        changes = self.calendar.get(str([run["charter"].value, name, start, end]), [])
        member.need(bool(changes), f"has no tariff table of {name} in the bundle")
        bands = [changes[bisect_right(changes, (at, 99)) - 1][1] for at in range(start, end, SLOT_MS)]
        return Day(name, start, end, bands, rules, member, run, settled)

    def settle(self, day: Day, lines: Lines) -> list[str]:
        """Recomputes one day from records and public totals; adds its lines, returns the points held back."""
        names = day.member["usage_points"].texts() + day.member["water_points"].texts()
        points: dict[str, PointDay] = {}
        members, grid = day.rules["members"].items(), day.rules["grid_point"].text()
        order = [point for member in members for point in member["usage_points"].texts()] + [grid] * bool(grid)
        order += [point for member in members for point in member["water_points"].texts()]
        for name, stated in zip(names, day.settled["inputs"].items(len(names)), strict=True):
            points[name] = point_day(day, self.known.get(name, []))
            proof, leaf = self.top["inputs"][day.name][name].proof(), tree_hash(encode(stated.value))
            root = climb(order.index(name), len(order), leaf, proof)[1].hex()
            check(root == day.run["input_root"].text(), f"records {name} {day.name}", "are not in the public run")
        held = [name for name in names if points[name][3]]
        q, outside = share(day, points)
        day.settled["quantities"]["outside"].same([str(part) for part in outside], f"outside {day.name}")
        for key, value in q.items():
            day.settled["quantities"][key].same(str(value), f"{key} {day.name}")
        day.settled["held"].same([[name, points[name][3]] for name in held], f"held {day.name}")
        day.settled["estimated"].same(sum(point[2] for point in points.values()), f"estimated {day.name}")
        text = f"used {decimal(q['from_local'] + q['from_outside'], 9)} kWh, {decimal(q['from_local'], 9)} of it local"
        text += f"; gave {decimal(q['sold'] + q['exported'], 9)} kWh; {len(held)} meters held back"
        self.lines.append([f"day {day.name}", text])
        charter, bands = day.rules["charter"], zip(day.rules["charter"]["bands"].items(), outside, strict=True)
        made = [
            ("lifeline energy", "uWh", charter["lifeline_price"].whole(), q["lifeline"]),
            ("energy from the community", "uWh", charter["local_price"].whole(), q["local"]),
            *(
                (f"energy from outside, {b['name'].text()}", "uWh", b["import_price"].whole(), part)
                for b, part in bands
            ),
            ("energy sold to the community", "uWh", -charter["local_price"].whole(), q["sold"]),
            ("energy sold to the outside", "uWh", -charter["export_price"].whole(), q["exported"]),
            ("lifeline water", "mL", charter["lifeline_water_price"].whole(), q["water_lifeline"]),
            ("water", "mL", charter["water_price"].whole(), q["water"]),
        ]
        for text, unit, price, quantity in made:
            if quantity:
                lines[text, unit, price] = lines.get((text, unit, price), 0) + quantity
        return held


def judge(data: bytes, key: str = "", last: str = "") -> dict[str, Json]:
    """Returns the report on a bundle; `key` and `last` are what the household knows from elsewhere."""
    lines: list[Json] = []
    found = ("ok", "", "")
    try:
        bundle = Bundle(data, lines)
        bundle.log(key, last)
        bundle.records()
        bundle.bill()
    except Found as stop:
        found = stop.args
    except (ValueError, LookupError, ArithmeticError, TypeError):
        found = ("cannot judge", "bundle", "is not understood")
    verdict, where, message = map(str, found)
    return {"schema": 1, "verdict": verdict, "where": where, "message": message, "lines": lines}


def main(arguments: list[str] | None = None) -> int:
    """Judges one file and returns the exit code."""
    parser = argparse.ArgumentParser(description="Recompute one bill. Exit code 0: ok, 1: differs, 2: cannot judge.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--key", default="", help="the log's public key, as published (name+id+base64)")
    parser.add_argument("--last", type=Path, help="the checkpoint that you kept last time")
    parser.add_argument("--keep", type=Path, help="write the checkpoint here if all is right, for next time")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        last = options.last.read_text(encoding="utf-8") if options.last else ""
        report = judge(data := options.bundle.read_bytes(), options.key, last)
        if options.keep and report["verdict"] == "ok":
            options.keep.write_text(json.loads(data)["checkpoint"], encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        report = judge(b"")
        report["where"], report["message"] = "file", str(error)
    words = [f"{what}: {text}" for what, text in cast("list[list[str]]", report["lines"])]
    words.append(f"{str(report['verdict']).upper()} {report['where']}: {report['message']}".rstrip(" :"))
    print(json.dumps(report, indent=2, ensure_ascii=False) if options.json else "\n".join(words))
    return ("ok", "differs", "cannot judge").index(str(report["verdict"]))


if __name__ == "__main__":
    sys.exit(main())
