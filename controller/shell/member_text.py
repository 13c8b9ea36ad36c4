"""A person's exported data as a text: amounts in their unit, times as the clock on the wall showed them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from controller.civil import moment_text
from controller.clauses_text import arithmetic
from controller.entry_words import amount_words, register_words
from controller.ledger.canonical import Json
from controller.ledger.sealing import is_shut
from controller.settlement.runs import parse_line
from devices.clock import Instant, parse_iso


def readable(document: Mapping[str, Json]) -> str:
    """Returns the data as a person reads them: balances, entries, bills with their lines, registers."""
    units = cast("Mapping[str, Json]", document["units"])
    digits, zone, currency = int(str(units["minor_digits"])), str(units["timezone"]), str(units["currency"])
    lines = [f"All data of {document['member']} in this community's ledger (times: {zone})", ""]
    for account, asset, posted, *_ in _rows(document["balances"]):
        lines.append(f"balance  {account}  {amount_words(str(asset), int(str(posted)), digits)}")
    for entry in cast("list[Mapping[str, Json]]", document["entries"]):
        body = cast("Mapping[str, Json]", entry["body"])
        name = body.get("period", body.get("day", ""))
        at = moment_text(zone, parse_iso(str(entry["at"])))
        lines.append(f"{at}  entry {entry['seq']}: {entry['kind']} {entry['state']}  {name}".rstrip())
        for account, asset, amount in _rows(entry["postings"]):
            lines.append(f"    {account}  {amount_words(str(asset), int(str(amount)), digits)}")
        for row in cast("list[Mapping[str, Json]]", body.get("lines", [])):
            line = parse_line(row)
            lines.append(f"    {line.text}: {arithmetic(line, currency)}")
        if is_shut(body):
            lines.append("    (its text was erased)")
    water = cast("list[str]", units["water_points"])
    for point, rows in cast("Mapping[str, Json]", document["records"]).items():
        lines += ["", f"{point}: {len(_rows(rows))} records of 15 minutes, registers at both ends"]
        lines += _records(_rows(rows), zone, water=point in water)
    return "\n".join(lines) + "\n"


def _records(rows: list[list[Json]], zone: str, *, water: bool) -> Iterator[str]:
    for start, taken, taken_end, given, given_end, quality in rows:
        ways = [("import", taken, taken_end), *([] if water else [("export", given, given_end)])]
        registers = ", ".join(
            f"{way} {register_words(int(str(first)), water=water)} to {register_words(int(str(last)), water=water)}"
            for way, first, last in ways
        )
        mark = "" if quality == "measured" else f" ({quality})"
        yield f"  {moment_text(zone, Instant(parse_iso(str(start))))}  {registers}{mark}"


def _rows(value: Json) -> list[list[Json]]:
    return cast("list[list[Json]]", value)
