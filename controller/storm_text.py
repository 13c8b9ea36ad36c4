"""The Storm page for a terminal: what is declared, the checklist, the survival curve, who gets what. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from controller.civil import clock_text
from devices.clock import Instant

Row = Mapping[str, object]
BAR = 40
MARKS_H = (6, 12, 18, 24, 36, 48, 72, 96)


def storm_lines(document: Row) -> Iterator[str]:
    """Yields the lines of `atoll storm show`."""
    zone = str(document["timezone"])
    storm = document["storm"]
    if isinstance(storm, dict):
        known = cast("Row", storm)
        start, end = (clock_text(zone, Instant(int(str(known[name])))) for name in ("start", "end"))
        yield f"storm {document['phase']}: {known['reason']} ({start} to {end}), declared by {known['by']}"
    else:
        yield "no storm is declared"
    causes = cast("Sequence[str]", document["causes"])
    yield f"emergency: {'; '.join(causes)}" if causes else "no emergency: plans are made for money"
    yield from (f"shortage: {text}" for text in cast("Sequence[str]", document["shortages"]))
    yield from _checks(cast("Sequence[Row]", document["checklist"]))
    yield from _curve(document, zone)
    yield from ration_lines(document)
    stages = cast("Sequence[Sequence[str]]", document["restart"])
    if stages:
        yield ""
        yield "restart, stage by stage: " + " | ".join(", ".join(stage) for stage in stages)
    for name, why in cast("Sequence[Sequence[str]]", document["restart_refused"]):
        yield f"  not started: {name}: {why}"


def _checks(items: Sequence[Row]) -> Iterator[str]:
    if items:
        missing = sum(not item["ready"] for item in items)
        yield ""
        yield (
            f"checklist: {missing} of {len(items)} will not be ready in time"
            if missing
            else "checklist: all will be ready"
        )
    for item in items:
        yield f"  [{'x' if item['ready'] else ' '}] {item['text']}"


def _curve(document: Row, zone: str) -> Iterator[str]:
    points = cast("Sequence[Row]", document["curve"])
    if not points:
        return
    begins = clock_text(zone, Instant(int(str(document["curve_from"]))))
    yield ""
    if document["supposed"]:
        yield "if the outside were gone now:"
    yield f"probability that every lifeline is served, from {begins}, ration '{document['ration']}' (none: without)"
    for mark in MARKS_H:
        point = next((one for one in points if one["hours"] == mark), None)
        if point is not None:
            chance, free = float(str(point["all"])), float(str(point["unrationed"]))
            yield f"  {mark:3d} h  {'#' * round(BAR * chance):<{BAR}} {chance:4.0%}   (none: {free:.0%})"


def ration_lines(document: Row) -> Iterator[str]:
    """Yields who gets what and why: the lines of `atoll storm rations`."""
    yield ""
    needed = (
        f"; in brackets: every lifeline is served for {float(str(document['needed_h'])):.0f} h"
        if document["curve"]
        else ""
    )
    yield f"rations, mild to strict{needed}{', if the outside were gone now' if document['supposed'] else ''}"
    for row in cast("Sequence[Row]", document["rations"]):
        chance = "" if row["chance"] is None else f" [{float(str(row['chance'])):.0%}]"
        yield f" {'>' if row['holds'] else ' '} {row['name']:<10}{chance} {row['text']}"
        for name, word in (("off", "off by itself"), ("asked", "asked")):
            things = cast("Sequence[str]", row[name])
            if things:
                yield f"      {word}: {'; '.join(things)}"
    if document["why"]:
        yield f"  why: {document['why']}"
