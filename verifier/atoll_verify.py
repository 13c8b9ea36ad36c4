"""Recomputes one bill from its bundle (docs/bundle.md), and shares no code with the program that made it.

    python verifier/atoll_verify.py BUNDLE [--key VKEY] [--policy FILE] [--last CHECKPOINT_FILE] [--keep FILE] [--json]
Exit code 0: ok; 1: something differs, the first such thing is named; 2: cannot judge. Needs `cryptography`.
What is proven is in atoll_log.py, what meters say in atoll_records.py, what a charter bills in atoll_clauses.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict
from datetime import date
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise, repeat
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, cast

import atoll_clauses
from atoll_clauses import Line, Period, Quantities, Row, Terms, add, decimal, fits, line_of
from atoll_log import (
    ITSELF,
    Found,
    Json,
    Node,
    check,
    climb,
    encode,
    grown,
    judge_policy,
    open_checkpoint,
    open_note,
    parse,
    policy_in,
    root_of,
    tree_hash,
)
from atoll_records import (
    CLOCKS,
    QUALITIES,
    SLOT_MS,
    WAYS,
    Clocks,
    PointDay,
    Record,
    Steps,
    displayed,
    opened_text,
    point_day,
    record_leaf,
)
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

OCMF, OCMF_FORM = "ECDSA-secp256r1-SHA256", {"*": [["text", "text", "text"]]}
UNITS = {"uWh": (9, "kWh", 1), "mL": (6, "m3", 1_000), "amount": (15, "", 1)}  # places, name, scale to 1e-15
PARTS = ["atoll_bundle", "checkpoint", "consistency", "entries", "inputs", "member", "period", "records", "sha256"]


Day = NamedTuple("Day", [  # noqa: UP014 - the rules for this member, charter entry, public run, own entry
    ("name", str), ("start", int), ("end", int), ("terms", Terms), ("rules", Node), ("run", Node), ("settled", Node),
])  # fmt: skip


class Bundle:
    """One bundle under judgement; `lines` takes (what, text) of everything that was found right."""

    def __init__(self, data: bytes, lines: list[Json]) -> None:
        self.top, self.data, self.lines = parse(data, "bundle"), data, lines
        version, self.parts = self.top["atoll_bundle"].whole(), sorted(cast("dict[str, Json]", self.top.value))
        self.top.need(version in (1, 2, 3, 4), f"has version {version}; this verifier knows 1 to 4")
        self.top.need(self.parts == sorted(PARTS + ["ocmf"] * (version > 2)), "has other parts than its version names")
        if self.top["consistency"].value is not None:
            self.top["consistency"].only("size", "proof")
        self.member, self.period = self.top["member"].text(), self.top["period"].text()
        self.entries = dict[tuple[str, str, str], Node]()  # (kind, day or period or id, member) -> entry
        self.steps, self.clocks = defaultdict[str, Steps](dict), defaultdict[str, Clocks](list)
        self.known, self.gateways = defaultdict[str, list[Record]](list), set[tuple[str, str]]()
        self.orders: dict[str, list[str]] = {}  # charter that has been looked at -> points as its runs list them
        self.policy: Node | None = None  # who must have cosigned the checkpoint
        self.calendar: dict[str, list[tuple[int, int]]] = {}  # charter, day, start, end -> bands from instants on

    def log(self, key: str, last: str) -> None:
        rows, keys = self.top["entries"].items(), list[tuple[int, Node]]()  # keys: (from which entry on, key)
        for row in rows:
            own = ["opened", "salt"] * (isinstance(row.value, dict) and "opened" in row.value)
            row.only("seq", "document", "proof", *own)
            entry = parse(row["document"].text().encode(), f"entry {row['seq'].whole()}")
            if own:  # a member's own: the log holds its salted hash only
                data, sealed = row["opened"].text().encode(), entry["body"]["sealed"]
                sealed.same({"v": 1, "sha256": sha256(row["salt"].bytes(32) + data).hexdigest()}, entry.place)
                cast("dict[str, Json]", entry.value)["body"] = parse(data, entry.place).value
            version, kind, body = entry["v"].whole(), entry["kind"].text(), entry["body"]
            entry.need(version == 1, f"has version {version}; this verifier knows 1")
            of = body["period"] if kind == "bill" else body["day"] if kind.endswith(".day") else entry["id"]
            who = body["member"].text() if kind in ("settle.day", "bill") else ""
            name = (kind, "" if kind == "genesis" else of.text(), who)
            entry.need(entry["state"].text() == "posted" and name not in self.entries, "stands there twice or undone")
            self.entries[name] = entry
            if kind == "log.key":  # each key is handed over by the one before
                handed = open_note(body["handover"], keys[-1][1])
                check(handed == f"log key\n{body['key'].text()}", entry.place, "hands over another key")
            keys += [(row["seq"].whole() or -1, body["key"])] if kind in ("genesis", "log.key") else []
        genesis = self.entry("genesis")["body"]
        published, names = keys[-1][1].text(), [name.text() for _, name in keys]
        check(not key or key in names, "log key", f"you expect {key}, the log says {published}")
        self.lines.append(["log key", published + ("" if key else " (compare it with the published one)")])
        head = open_checkpoint(self.top["checkpoint"], keys)
        genesis["origin"].same(head[0], "log name")
        self.lines.append(["checkpoint", f"signed: {head[1]} entries"])
        for row, entry in zip(rows, self.entries.values(), strict=True):
            seq, leaf = row["seq"].whole(), tree_hash(row["document"].text().encode())
            root = climb(seq, head[1], leaf, [part.bytes(32) for part in row["proof"].items()])[1]
            check(root == head[2], f"{entry.place} {entry['kind'].text()}", "is not in the signed tree")
        self.lines.append(["entries", f"{len(rows)} entries are in the signed tree"])
        policies = [
            (row, self.entries[name]["body"])
            for row, name in zip(rows, self.entries, strict=True)
            if name[0] == "log.policy" and row["seq"].whole() < head[1]
        ]
        self.policy = policies[-1][1] if policies else None
        if last:
            kept, part = open_checkpoint(Node(last, "last checkpoint"), keys), self.top["consistency"]
            proven = kept[1] == head[1] or (part.value is not None and part["size"].whole() == kept[1])
            self.top.need(proven, f"holds no proof from the {kept[1]} entries that you kept")
            grew = grown(kept, head, [] if kept[1] == head[1] else [one.bytes(32) for one in part["proof"].items()])
            check(grew, "last checkpoint", f"the log no longer begins with the {kept[1]} entries that it showed you")
            self.lines.append(["last checkpoint", f"the log has only grown since its {kept[1]} entries"])

    def cosignatures(self, known: str) -> None:  # last: what they miss speaks of who has seen the log, not of the bill
        asked = [(self.policy, "the log's policy")] if self.policy is not None else []
        if known:
            asked.append((Node({"cosigner": "", "policy": known}, "policy"), "the policy that you know"))
        names = [name for one in asked for name in judge_policy(self.top["checkpoint"], *one)]
        if names:
            self.lines.append(["cosigned", "by " + ", ".join(dict.fromkeys(names))])
        if not {*names} - {ITSELF}:
            self.lines.append(["cosigned", "nobody else is shown to have seen this log"])

    def entry(self, kind: str, of: str = "", member: str = "") -> Node:
        self.top.need((kind, of, member) in self.entries, f"has no entry {kind} {of} {member}".rstrip())
        return self.entries[kind, of, member]

    def records(self) -> None:
        series, left, types = self.top["records"], 0, 7 * [int] + 2 * [str]
        series.need(isinstance(series.value, dict), "is not understood")
        for point in sorted(cast("dict[str, Json]", series.value)):
            series[point].only("commodity", "rows")
            rows = cast("list[list[int]]", [row.value for row in series[point]["rows"].items()])
            right = {*map(type, rows)} <= {list} and {*map(len, rows)} <= {9}
            columns = [*zip(*rows, strict=True)] if right else []
            right = right and [{*map(type, column)} for column in columns] == [{one} for one in types[: 9 * bool(rows)]]
            right = right and all(word.isascii() and word.isidentifier() for word in map(str, {*sum(columns[7:], ())}))
            series[point].need(right, "holds a row that is not a record")
            self.known[point] = sorted(Record._make(row) for row in rows if row[0] % SLOT_MS == 0)
            left += len(rows)
        for (kind, _, _), entry in self.entries.items():
            body = entry["body"]
            if kind == "meter.replaced":
                step = [[end.whole() for end in body[key].items(2)] for key in ("closing", "opening")]
                self.steps[body["usage_point"].text()][body["epoch"].whole()] = step
            for point in body["usage_points"].items() if kind == "clock.set" else ():
                alone = cast("Row", body.value).get("supersedes") is True  # older statements hold beside each other
                clock = body["at"].whole(), body["error_ms"].whole(), body["drift_ppm"].whole(), alone
                self.clocks[point.text()].append(clock)
            self.gateways |= {(body["node"].text(), body["key"].text())} if kind == "gateway.key" else set()
        for (kind, name, _), entry in self.entries.items():
            body = entry["body"]
            for item in body["inputs"].items() if kind == "settle.day" else ():
                wide = self.top["atoll_bundle"].value == 4 and isinstance(item.value, list) and len(item.value) > 3
                first, *_, salt = item.items(4 if wide else 3)  # salt: without it nobody guesses from the log's hash
                point, known = first.text(), self.known[first.text()]
                low, high = (bisect_left(known, (body[key].whole(),)) for key in ("start", "end"))
                kept, what, unit = known[low:high], f"records {point} {name}", series[point] if low < high else series
                root = root_of([record_leaf(record, point, unit["commodity"].text()) for record in kept])
                item.same([point, len(kept), root.hex(), *[salt.text()] * wide], what)
                left -= len(kept)
                shown = displayed(kept, unit["commodity"].text()) if kept else []
                self.lines.append([what, "; ".join([f"{len(kept)} records", *shown])])
        series.need(left == 0, "holds some of no settled day")

    def bill(self) -> None:
        bill = self.entry("bill", self.period, self.member)
        body, charter, held, end, exact = bill["body"], bill, list[Json](), 0, 0
        lines, periods = (
            dict[tuple[str, str, int], int](),
            dict[int, Period](),
        )  # of voted charters: by version
        for name in [item.text() for item in body["days"].items()]:
            day = self.day(name)
            charter, week = day.rules["charter"], "{}-W{:02d}".format(*date.fromisoformat(name).isocalendar())
            check(self.period in (name, name[:7], week) and end in (0, day.start), name, "is not of this period")
            end, version = day.end, charter["version"].whole()
            away = [0] * len(day.terms.bands)
            points, own, made, energy = self.settle(day) if day.terms.member else ([], None, [], (away, away))
            held += [[name, point] for point in points]
            add(lines, made)
            if "clauses" in day.terms.charter:
                digest, shown = self.voted(charter["clauses"], day.rules["vote"].text())
                if version not in periods:
                    self.lines.append([f"charter {name}", f"by vote {day.rules['vote'].text()}, hash {digest}"])
                    self.lines.append([f"vote {name}", shown])
                run = cast("Row", day.run.value)
                if atoll_clauses.divided(day.terms):
                    into, out = (run["public"].get(name, []) for name in ("stored", "released"))
                    day.run.need(len(into) == len(out) == len(away), "has no storages of each slot")
                    right = [*map(min, [*into, *out], [*run["taken"], *run["given"]])] == [*into, *out]
                    check(right, f"stored {name}", "is more than all took or gave")
                storage = atoll_clauses.stored(day.terms, run, *energy)
                periods.setdefault(version, Period()).add(day.terms, run, own, storage)
        for version, period in periods.items():
            add(lines, period.lines(last=version == charter["version"].whole()))
        currency, digits, stated = charter["currency"].text(), charter["minor_digits"].whole(), body["lines"].items()
        for at, ((text, unit, price), quantity) in enumerate(lines.items()):
            wanted = line_of(text, unit, price, quantity)
            (stated[at] if at < len(stated) else Node(None, body.place)).same(wanted, f"line {text}")
            places, name, scale = UNITS.get(unit, (0, unit, 10**9))
            exact += quantity * price * scale
            words = f"{decimal(quantity, places, 2 * (places > 0))} {name} x {decimal(price, 6)} {currency}/{name} = "
            amount = f"{decimal(quantity * price * scale, 15)} {currency}"
            self.lines.append([f"line {text}", words * (unit != "amount") + amount])
        check(len(stated) == len(lines), "lines", f"recomputed {len(lines)}, the ledger says {len(stated)}")
        amount = round(Fraction(exact, 10 ** (15 - digits)))  # half to even
        for key, value in (("exact", str(exact)), ("amount", str(amount)), ("held", held)):
            body[key].same(value, key)
        moved = ((f"member:{self.member}:owes", amount), ("community:billed", -amount))
        bill["postings"].same([[who, f"money:{currency}", str(part)] for who, part in moved if part], "postings")
        self.lines.append(["amount", f"{decimal(amount, digits, digits)} {currency} (exact {decimal(exact, 15)})"])
        rest = sha256(self.data[: -len(',"sha256":""}') - 64] + b"}")  # its last part; what nothing needed is undamaged
        self.top["sha256"].same(rest.hexdigest(), "bundle")

    def voted(self, clauses: Node, vote: str) -> tuple[str, str]:  # hash of the clauses, what shows their vote
        digest, opened = sha256(encode(clauses.value)).hexdigest(), self.entries.get(("vote.open", vote, ""))
        results = [entry["body"] for (kind, _, _), entry in self.entries.items() if kind == "vote.result"]
        results = [result for result in results if result["vote"].text() == vote]
        if opened is None or not results:
            return digest, "not shown to be voted for"
        body, shown = opened["body"], ""
        named, need = sha256(encode(body["document"].value)).hexdigest(), body["need"].whole()
        for said in (named, body["digest"].text(), *[result["digest"].text() for result in results]):
            check(said == digest, f"vote {vote}", f"is about {said}, the charter in force is {digest}")
        body["of"].need(isinstance(body["of"].value, dict), "is not understood")
        for result in results:
            yes, no = ([name.text() for name in result[key].items()] for key in ("yes", "no"))
            enough = len({*yes} & {*cast("dict[str, Json]", body["of"].value)}) >= need > 0
            check(enough and result["passed"].value is True, f"vote {vote}", "did not pass")
            shown = f"passed: {len(yes)} yes, {len(no)} no, {need} needed; recount its ballots with the vote's own file"
        return digest, shown

    def day(self, name: str) -> Day:  # by the charter that settled it and that charter's tariff table
        run = self.entry("run.day", name)["body"]
        rules = self.entry("charter", run["charter"].text())["body"]
        run.need(fits(run.value, atoll_clauses.RUN_FORM), "has no totals of each slot")
        own, members = (cast("Any", rules[key].value) for key in ("charter", "members"))
        if run["charter"].text() not in self.orders:
            rules.need(fits(rules.value, atoll_clauses.IDS), "names no rules")
            ids = atoll_clauses.unknown(own)
            rules.need(not ids, f"has rules unknown to this verifier: {ids}")
            rules.need(fits(rules.value, atoll_clauses.RULES_FORM), "is not a charter as this verifier knows it")
            known = atoll_clauses.storage_known(own)
            rules.need(known, "divides stored energy in a way unknown to this verifier")
            other = atoll_clauses.contradicted(own, members)
            check(not other, f"charter of {name}", f"its {other} is not what was voted for")
            if "clauses" not in own:
                words = f"version {own['version']}, from the site file: members have not voted for it"
                self.lines.append([f"charter {name}", words])
            grid = rules["grid_point"].text()
            energy, water = ([point for m in members for point in m[key]] for key in ("usage_points", "water_points"))
            self.orders[run["charter"].text()] = [*energy, *[grid] * bool(grid), *water]
        member = Node(next((m for m in members if m["id"] == self.member), None), "member")
        settled = run if member.value is None else self.entry("settle.day", name, self.member)["body"]
        start, end = run["start"].whole(), run["end"].whole()
        for key in ("start", "end", "charter"):
            settled[key].same(run[key].value, f"day {name}")
        for body in [e["body"] for key, e in self.entries.items() if key[0] == "charter.table" and not self.calendar]:
            table = cast("Any", body["table"].value)
            right = fits(table, atoll_clauses.TABLE_FORM) and all(
                a < b for (a, _), (b, _) in pairwise(table["changes"])
            )
            body.need(right, "is not a tariff table")
            for row, close in zip(table["days"], [*(row[1] for row in table["days"][1:]), table["end"]], strict=True):
                self.calendar.setdefault(str([body["charter"].text(), *row, close]), table["changes"])
        changes = self.calendar.get(str([run["charter"].text(), name, start, end]), [])
        member.need(bool(changes) and changes[0][0] <= start, f"has no tariff table of {name} in the bundle")
        bands = [changes[bisect_right(changes, at, key=itemgetter(0)) - 1][1] for at in range(start, end, SLOT_MS)]
        return Day(name, start, end, Terms(own, members, cast("Any", member.value), bands, start), rules, run, settled)

    def settle(
        self, day: Day
    ) -> tuple[list[str], Quantities, list[Line], tuple[list[int], list[int]]]:  # held back, the day, lines, energy
        own, water = (cast("list[str]", day.terms.member[key]) for key in ("usage_points", "water_points"))
        names, points = [*own, *water], dict[str, PointDay]()
        order = self.orders[day.run["charter"].text()]
        for name, stated in zip(names, day.settled["inputs"].items(len(names)), strict=True):
            about = self.known[name], self.steps[name], self.clocks[name]
            points[name] = point_day(day.terms, *about, contradicted=self.signed(day, name))
            proof, leaf = self.top["inputs"][day.name][name].items(), tree_hash(encode(stated.value))
            root = climb(order.index(name), len(order), leaf, [part.bytes(32) for part in proof])[1].hex()
            check(root == day.run["input_root"].text(), f"records {name} {day.name}", "are not in the public run")
        held = [name for name in names if points[name][3]]
        kept = {name: points[name] for name in atoll_clauses.keeps(day.terms)}
        for at, key in enumerate(("stored", "released")):
            if kept:
                rows = [point[at] for point in kept.values()]
                day.run["public"][key].same([*map(sum, zip(*rows, strict=True))], f"{key} {day.name}")
        q, outside, lines, energy = self.share(day, [points[name] for name in own], [points[name] for name in water])
        day.settled["quantities"]["outside"].same([str(part) for part in outside], f"outside {day.name}")
        for key, value in q._asdict().items():
            day.settled["quantities"][key].same(str(value), f"{key} {day.name}")
        day.settled["held"].same([[name, points[name][3]] for name in held], f"held {day.name}")
        ways = [(name, way, n) for name in names for way in WAYS if (n := points[name][2].count(way))]
        day.settled["estimated"].same(sum(n for _, way, n in ways if way != "marked"), f"estimated {day.name}")
        if {way for _, way, _ in ways} & {"clock", "marked"}:
            day.settled["methods"].same(ways, f"methods {day.name}")
        text = f"used {decimal(q.from_local + q.from_outside, 9)} kWh, {decimal(q.from_local, 9)} of it local"
        text += f"; gave {decimal(q.sold + q.exported, 9)} kWh; {len(held)} meters held back"
        self.lines.append([f"day {day.name}", text])
        return held, q, lines, energy

    def share(
        self, day: Day, own: list[PointDay], water: list[PointDay]
    ) -> tuple[Quantities, list[int], list[Line], tuple[list[int], list[int]]]:
        run, slots = cast("Any", day.run.value), len(day.terms.bands)
        day.run.need(len(run["taken"]) == len(run["given"]) == slots, "has no totals of each slot")
        tooks, gaves = ([*map(sum, zip(*(p[at] for p in own), strict=True))] or [0] * slots for at in (0, 1))
        for slot, (took, gave) in enumerate(zip(tooks, gaves, strict=True)):
            less = took > run["taken"][slot] or gave > run["given"][slot]
            check(not less, f"totals {day.name}", f"slot {slot} is below your own part")
        near, sold, shared = atoll_clauses.shares(day.terms, run, tooks, gaves)
        used = sum(sum(point[0]) for point in water)
        q, outside, lines = atoll_clauses.settled(day.terms, run, tooks, gaves, used, near, sold)
        if "clauses" in day.terms.charter:
            day.run["public"]["shared"].same([str(part) for part in shared], f"shared {day.name}")
            day.settled["lines"].same([line_of(*line) for line in lines], f"lines {day.name}")
            came = [entry for (kind, _, _), entry in self.entries.items() if kind == "delivery"]
            came = [entry for entry in came if day.start <= entry["at"].whole() < day.end]
            came = [entry for entry in came if entry["body"]["state"].value == "done"]
            mine = [entry for entry in came if entry["body"]["member"].value == self.member]
            lines += atoll_clauses.pieces(day.terms, {"delivery": len(mine)})
        return q, outside, lines, (tooks, gaves)

    def signed(self, day: Day, point: str) -> bool:  # whether what a gateway signed contradicts the records
        if "ocmf" in self.parts:
            self.top["ocmf"].need(fits(self.top["ocmf"].value, OCMF_FORM), "holds no signed texts")
        texts = cast("dict[str, list[list[str]]]", self.top["ocmf"].value if "ocmf" in self.parts else {})
        wrong, signed = False, texts.get(point, [])
        kept = [record for record in self.known[point] if day.start <= record.start < day.end] if signed else []
        for node, key, text in signed:
            opened, seen = opened_text(text), set[Record]()
            self.top["ocmf"].need(opened is not None, f"holds what cannot be read of {point}")
            payload, said, seal = cast("tuple[str, Any, Any]", opened)
            at, epoch, page, took, gave = (said["XS"], said["UE"], said["XP"], *(end["RV"] for end in said["RD"][:2]))
            if at >= day.end or at + len(said["XQ"]) * SLOT_MS <= day.start:
                continue
            right = (said.get("GS"), said.get("UP"), seal.get("SA", OCMF)) == (node, point, OCMF)
            self.top["ocmf"].need(right and (node, key) in self.gateways, f"holds what cannot be checked of {point}")
            columns = said["XI"], said.get("XE", repeat(0)), said["XQ"], said["XC"]
            for i, e, quality, clock in zip(*columns, strict=False):
                words = QUALITIES[quality], CLOCKS[clock]
                seen.add(Record(at, epoch, page + len(seen), took, took + i, gave, gave + e, *words))
                at, took, gave = at + SLOT_MS, took + i, gave + e
            own = {record for record in kept if record.epoch == epoch and said["XS"] <= record.start < at}
            try:
                public = cast("ec.EllipticCurvePublicKey", serialization.load_der_public_key(bytes.fromhex(key)))
                public.verify(bytes.fromhex(seal["SD"]), payload.encode(), ec.ECDSA(hashes.SHA256()))
                wrong = wrong or not own <= seen
            except InvalidSignature:
                wrong = True
            self.lines.append([f"signed {point} {day.name}", f"{len(own)} intervals, by {node}"])
        return wrong


def judge(data: bytes, key: str = "", last: str = "", policy: str = "") -> dict[str, Json]:  # known from elsewhere
    lines, found = list[Json](), ("ok", "", "")
    try:
        bundle = Bundle(data, lines)
        bundle.log(key, last)
        bundle.records()
        bundle.bill()
        bundle.cosignatures(policy)
    except Found as stop:
        found = stop.args
    except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError):
        found = ("cannot judge", "bundle", "is not understood")
    return {"schema": 1, "verdict": str(found[0]), "where": str(found[1]), "message": str(found[2]), "lines": lines}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Recompute one bill. Exit code 0: ok, 1: differs, 2: cannot judge.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--key", default="", help="the log's public key, as published (name+id+base64)")
    parser.add_argument("--last", type=Path, help="the checkpoint that you kept last time")
    parser.add_argument("--keep", type=Path, help="write the checkpoint here if all is right, for next time")
    parser.add_argument("--policy", type=Path, help="who must have seen the log (C2SP tlog-policy), as published")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        last = options.last.read_text(encoding="utf-8") if options.last else ""
        beside = options.last.with_name(options.last.name + ".policy") if options.last else None
        known = options.policy or (beside if beside and beside.exists() else None)
        policy = known.read_text(encoding="utf-8") or "none" if known else ""
        report = judge(data := options.bundle.read_bytes(), options.key, last, policy)
        if options.keep and report["verdict"] == "ok":
            options.keep.write_text(json.loads(data)["checkpoint"], encoding="utf-8")
            if policy := policy or policy_in(data):
                options.keep.with_name(options.keep.name + ".policy").write_text(policy, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        seen = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        report = judge(b"") | {"where": "file", "message": seen}
    end = f"{str(report['verdict']).upper()} {report['where']}: {report['message']}".rstrip(" :")
    words = [*(f"{what}: {text}" for what, text in cast("list[list[str]]", report["lines"])), end]
    print(json.dumps(report, indent=2, ensure_ascii=False) if options.json else "\n".join(words))
    return ("ok", "differs", "cannot judge").index(str(report["verdict"]))


if __name__ == "__main__":
    sys.exit(main())
