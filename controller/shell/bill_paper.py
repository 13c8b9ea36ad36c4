"""A bill on paper: one page with lines, registers and a QR code of the proof that the log holds it.

Made from the bundle alone, so that what is printed is what the verifier judges. The QR code holds a C2SP tlog-proof
with the log's own Ed25519 signature; its `extra` line is the entry's leaf hash.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import cast

import segno

from controller.civil import moment_text
from controller.clauses_text import place_of
from controller.entry_words import register_words
from controller.ledger.canonical import Json
from controller.ledger.merkle import leaf_hash
from controller.ledger.proof import HEADER
from controller.settlement.bills import decimal_text, minor_text
from controller.settlement.charter import Charter, parse_charter
from controller.settlement.run_names import FINAL, name_in
from controller.settlement.runs import parse_line
from devices.clock import DAY_MS, Instant

_STYLE = """
  @page { size: A4; margin: 18mm; }
  body { font: 11pt/1.4 serif; max-width: 46rem; margin: 1rem auto; color: #000; background: #fff; }
  h1 { font-size: 16pt; margin: 0; } h2 { font-size: 12pt; margin: 1.2rem 0 .3rem; }
  table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; }
  td, th { border-bottom: 1px solid #999; padding: .2rem .4rem .2rem 0; } .n { text-align: right; white-space: nowrap; }
  .total td { border-bottom: none; font-weight: 700; } small { display: block; overflow-wrap: anywhere; }
  svg { float: right; margin: 0 0 .5rem 1rem; } .proof { break-inside: avoid; }
"""


def proof_text(bundle: bytes) -> str:
    """Returns the tlog-proof of the bill in a bundle: header, leaf hash, index, hashes, signed checkpoint."""
    top = cast("Mapping[str, Json]", json.loads(bundle))
    entry = _bill(top)
    leaf = base64.b64encode(leaf_hash(_text(entry, "document").encode())).decode()
    hashes = "".join(f"{node}\n" for node in cast("list[str]", entry["proof"]))
    return f"{HEADER}\nextra {leaf}\nindex {entry['seq']}\n{hashes}\n{_own_signature(_text(top, 'checkpoint'))}"


def paper_bill(bundle: bytes, name: str = "", *, community: str = "", due_days: int | None = None) -> str:
    """Returns the bill in a bundle as an HTML page for paper.

    `name` is the member's, `community` that of who sends the bill (default: the id in the log); a bill is due so many
    days after its date. None of them stands in the bundle.
    """
    top = cast("Mapping[str, Json]", json.loads(bundle))
    entry = _bill(top)
    document = cast("Mapping[str, Json]", json.loads(_text(entry, "document")))
    sealed = cast("Mapping[str, Json]", json.loads(_text(entry, "opened"))) if "opened" in entry else document["body"]
    body, charter = cast("Mapping[str, Json]", sealed), _charter(top)
    member, period = _text(top, "member"), _text(top, "period")
    proof = proof_text(bundle)
    picture = io.BytesIO()
    segno.make(proof, error="l", micro=False).save(picture, kind="svg", xmldecl=False, scale=2, border=4)
    amount = int(str(body["amount"]))
    exact = decimal_text(int(str(body["exact"])), 10**15)
    what = "To pay" if amount >= 0 else "Credit, kept for the next bills"
    total = (
        f'<tr class="total"><td>{what}</td><td></td><td></td><td class="n">{minor_text(abs(amount), charter)}</td></tr>'
    )
    at = Instant(int(str(document["at"])))
    dates = f"Date {_day(at, charter)}"
    if due_days is not None and amount > 0:
        dates += f", due {_day(Instant(at + due_days * DAY_MS), charter)}"
    parts = [
        f"<h1>Bill {escape(period)} <small>{_run(body)}</small></h1>",
        f"<p>{escape(community or _community(top))}</p>",
        f"<p>{escape(f'{name} ({member})' if name else member)}<br>{dates}</p>",
        "<table><tr><th>What</th><th class=n>Quantity</th><th class=n>Price</th><th class=n>Amount</th></tr>",
        *_lines(body, charter),
        total,
        f"</table><p>The exact sum is {exact} {charter.currency}; it is rounded once, half to even.</p>",
        "<h2>Meters</h2><table><tr><th>Meter</th><th>From</th><th>To</th>",
        "<th class=n>Import</th><th class=n>Export</th>",
        "</tr>",
        *_meters(top, body, charter.timezone),
        "</table><p>Compare the last registers with the displays.</p>",
        *_notes(body),
        f'<div class="proof"><h2>Proof</h2>{picture.getvalue().decode()}<p>The code holds the proof that entry'
        f" {entry['seq']} of the log stands in the tree that the community has signed. The bundle file recomputes"
        " every line: ask for it, and drop it on verify.html.</p>",
        f"<small>{escape(proof.partition(chr(10) + chr(10))[2])}</small>",
        *([f"<small>salt {escape(_text(entry, 'salt'))}</small>"] if "salt" in entry else []),
        "</div>",
    ]
    head = f'<meta charset="utf-8"><title>Bill {escape(period)}, {escape(member)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _run(body: Mapping[str, Json]) -> str:
    """Returns which run made the bill, and what it replaces."""
    name, before = name_in(body), body.get("replaces")
    if not name:
        return ""
    words = "first bill of this period (run SF)" if name == FINAL else f"settled again (run {name})"
    return escape(words + (f", replaces the bill of entry {before}" if before else ""))


def _lines(body: Mapping[str, Json], charter: Charter) -> list[str]:
    found: list[str] = []
    lines = [parse_line(fields) for fields in cast("list[Mapping[str, Json]]", body["lines"])]
    for line in sorted(lines, key=lambda line: place_of(line.text)):
        amount = decimal_text(line.numerator, 10**15)
        found.append(
            f'<tr><td>{escape(line.text)}</td><td class="n">{line.quantity_text()}</td>'
            f'<td class="n">{line.price_text(charter.currency)}</td><td class="n">{amount} {charter.currency}</td></tr>'
        )
    return found


def _meters(top: Mapping[str, Json], body: Mapping[str, Json], zone: str) -> list[str]:
    documents = [json.loads(_text(entry, "document")) for entry in _entries(top)]
    runs = [one["body"] for one in documents if one["kind"] == "run.day" and one["body"]["day"] in _days(body)]
    start, end = min(run["start"] for run in runs), max(run["end"] for run in runs)
    found: list[str] = []
    for point, series in cast("Mapping[str, Mapping[str, Json]]", top["records"]).items():
        rows = [row for row in cast("list[list[int]]", series["rows"]) if start <= row[0] < end]
        water = series["commodity"] == "water"
        for epoch in sorted({row[1] for row in rows}):
            own = [row for row in rows if row[1] == epoch]
            first, last = own[0], own[-1]
            taken, given = _span(first[3], last[4], water), _span(first[5], last[6], water) if last[6] else ""
            name = point if epoch == 1 else f"{point} (meter {epoch})"
            found.append(
                f"<tr><td>{escape(name)}</td><td>{_when(first[0], zone)}</td><td>{_when(last[0] + 900_000, zone)}</td>"
                f'<td class="n">{taken}</td><td class="n">{given}</td></tr>'
            )
    return found


def _span(first: int, last: int, water: bool) -> str:
    """Returns `1.000 to 11.743 kWh`, as the display shows both registers."""
    return f"{register_words(first, water=water).partition(' ')[0]} to {register_words(last, water=water)}"


def _days(body: Mapping[str, Json]) -> list[str]:
    return cast("list[str]", body["days"])


def _notes(body: Mapping[str, Json]) -> list[str]:
    held = cast("list[list[str]]", body.get("held", []))
    if not held:
        return []
    days = ", ".join(f"{escape(point)} on {escape(day)}" for day, point in held)
    return [f"<p>Not billed yet, because the meter's day could not be told: {days}. A correction will follow.</p>"]


def _charter(top: Mapping[str, Json]) -> Charter:
    """Returns the last charter in the bundle: the one in force at the period's end."""
    documents = [json.loads(_text(entry, "document")) for entry in _entries(top)]
    charters = [document["body"]["charter"] for document in documents if document["kind"] == "charter"]
    return parse_charter(cast("Json", charters[-1]))


def _bill(top: Mapping[str, Json]) -> Mapping[str, Json]:
    return next(entry for entry in _entries(top) if json.loads(_text(entry, "document"))["kind"] == "bill")


def _entries(top: Mapping[str, Json]) -> Sequence[Mapping[str, Json]]:
    return cast("list[Mapping[str, Json]]", top["entries"])


def _own_signature(note: str) -> str:
    """Returns a checkpoint with the first signature only: the log's own, small enough for paper."""
    text, _, signatures = note.partition("\n\n")
    return f"{text}\n\n{signatures.splitlines()[0]}\n"


def _text(row: Mapping[str, Json], key: str) -> str:
    return str(row[key])


def _when(ms: int, zone: str) -> str:
    return moment_text(zone, Instant(ms))


def _day(at: Instant, charter: Charter) -> str:
    return moment_text(charter.timezone, at).partition(" ")[0]


def _community(top: Mapping[str, Json]) -> str:
    """Returns the community's id, as the log's first entry names it."""
    documents = [json.loads(_text(entry, "document")) for entry in _entries(top)]
    return next((str(one["body"]["site"]) for one in documents if one["kind"] == "genesis"), "")
