"""What a meter's records say: their hashes, the intervals that they make, and texts that a gateway has signed.

Part of atoll_verify.py. Registers in Wh or mL; a record is one interval of 15 minutes. Signed texts are OCMF.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from hashlib import sha256
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from atoll_clauses import Terms

PointDay: TypeAlias = tuple[list[int], list[int], list[str], str]  # imports, exports, ways, why held back
Steps: TypeAlias = dict[int, list[list[int]]]  # new meter -> closing and opening registers
Clocks: TypeAlias = list[tuple[int, int, int, bool]]  # set at [ms], error [ms], drift [ppm], ends those before
SLOT_MS, BRACKET_MS = 15 * 60_000, 31 * 86_400_000
QUALITIES = {"G": "measured", "S": "estimated", "O": "suspect"}
CLOCKS = {"S": "synchronised", "R": "holdover", "U": "unknown"}
WAYS = "gap", "gateway", "clock", "marked"


Record = NamedTuple("Record", [  # noqa: UP014 - one interval of one usage point: registers at both ends [Wh or mL]
    ("start", int), ("epoch", int), ("page", int), ("import_start", int), ("import_end", int), ("export_start", int),
    ("export_end", int), ("quality", str), ("clock", str),
])  # fmt: skip


def record_leaf(record: Record, point: str, commodity: str) -> bytes:
    start, epoch, page, i0, i1, e0, e1, quality, clock = record  # all texts are plain words: these are its bytes
    text = f'"clock":"{clock}","commodity":"{commodity}","end":{start + SLOT_MS},"epoch":{epoch},"export_end":{e1}'
    text += f',"export_start":{e0},"import_end":{i1},"import_start":{i0},"page":{page},"quality":"{quality}"'
    return sha256(f'\0{{{text},"start":{start},"usage_point":"{point}","v":1}}'.encode()).digest()


def bound_ms(clocks: Clocks, end: int) -> int:  # how far the clock may be off by the statements in force
    bounds = [2**53]
    for at, error, drift, alone in sorted(clocks, key=itemgetter(0)):  # of one instant as they were written
        bounds = [*bounds * (not alone), error - drift * (at - end) // 10**6] if at <= end else bounds
    return min(bounds)


def point_day(terms: Terms, known: list[Record], steps: Steps, clocks: Clocks, *, contradicted: bool) -> PointDay:
    """Returns a usage point's day: what flowed in each slot, how that is known, and why it is held back, or ''."""
    day_start, day_end, count = terms.start, terms.start + len(terms.bands) * SLOT_MS, len(terms.bands)
    low, high = bisect_left(known, (day_start,)), bisect_left(known, (day_end,))
    low -= low > 0 and known[low - 1].start >= day_start - BRACKET_MS
    high += high < len(known) and known[high].start <= day_end + BRACKET_MS
    parts, held, last, after = list[tuple[int, int, int, int, str]](), "", None, 0  # start, slots, import, export, way
    limit, was = terms.charter.get("clock_tolerance_ms"), (0, "", 0)
    for record in known[low:high]:
        start, epoch, page, i0, i1, e0, e1, quality, clock = record
        gap, took, gave, end = -1, 0, 0, start + SLOT_MS
        if epoch in steps and quality == "suspect" and (page == 1 or was == (epoch, quality, start)):
            quality = "estimated"  # what makes a new meter suspect has been explained
        while last and last.epoch < epoch and last.epoch + 1 in steps:  # it goes on from the registers of the old one
            (i, e), (j, f) = steps[last.epoch + 1]
            i, e = last.import_end - i + j, last.export_end - e + f
            last = last._replace(epoch=last.epoch + 1, import_end=i, export_end=e)
        if last and last.epoch == epoch and "suspect" not in (last.quality, quality):
            gap, took, gave = start - after, i0 - last.import_end, e0 - last.export_end
        if epoch in steps and page == 1 and gap == 0 and min(took, gave) >= 0:
            i0, e0, took, gave = i0 - took, e0 - gave, 0, 0
        if 0 < gap <= BRACKET_MS and min(took, gave) >= 0:
            parts.append((after, gap // SLOT_MS, took, gave, "gap"))
        was = epoch, record.quality, end
        last = record if quality == record.quality else record._replace(quality=quality)
        if day_start <= start < day_end:
            jumped = start >= after and (min(took, gave) < 0 or (gap == 0 and took + gave > 0))
            wrong = "register" if i1 < i0 or e1 < e0 or jumped else "overlap" * (start < after)
            held = held or (quality if quality == "suspect" else wrong)
            way, slots, took, gave = "gateway" if quality == "estimated" else "measured", 1, i1 - i0, e1 - e0
            if limit is not None and clock != "synchronised":
                way = "clock" if bound_ms(clocks, end) > limit else way.replace("measured", "marked")
            if way == "clock" and parts and parts[-1][4] == way and after == start:  # averaged together
                start, *more, _ = parts.pop()
                slots, took, gave = slots + more[0], took + more[1], gave + more[2]
            parts.append((start, slots, took, gave, way))
        after = end
    imports, exports, ways = [0] * count, [0] * count, [""] * count
    for start, slots, took, gave, way in parts:
        first = (start - day_start) // SLOT_MS
        for k in range(max(0, -first), min(slots, count - first)):
            imports[first + k] = (k + 1) * took // slots - k * took // slots
            exports[first + k] = (k + 1) * gave // slots - k * gave // slots
            ways[first + k] = way
    filled = known and "" not in ways[max(0, known[0].start - day_start) // SLOT_MS :]
    held = held or "signature" * contradicted or "missing" * (not filled)
    return ([0] * len(ways), [0] * len(ways), [], held) if held else (imports, exports, ways, "")


def displayed(records: list[Record], commodity: str) -> list[str]:
    """Returns each meter's first and last registers as its display shows them; records in order."""
    digits, unit = (6, "m3") if commodity == "water" else (3, "kWh")
    meters: dict[int, list[Record]] = {}
    for record in records:
        meters.setdefault(record.epoch, []).append(record)
    shown: list[str] = []
    for meter, rows in sorted(meters.items()):
        first, last = rows[0], rows[-1]
        values = first.import_start, last.import_end, first.export_start, last.export_end
        ends = (f"{value / 10**digits:.{digits}f}" for value in values)
        shown.append("meter {}: import {} to {}, export {} to {} {}".format(meter, *ends, unit))
    return shown


def number(text: str) -> float:  # 1.0 is 1
    value = float(text)
    return int(value) if value.is_integer() else value


def opened_text(text: str) -> tuple[str, Any, Any] | None:  # an OCMF text's payload and what it and its seal say
    try:
        _, payload, sealed = text.split("|")
        said, seal = (json.loads(part, parse_float=number, parse_constant=int) for part in (payload, sealed))
        numbers = [said["XS"], said["UE"], said["XP"], *said["XI"], *said.get("XE", [])]
        numbers += [said["RD"][at]["RV"] for at in (0, 1)]
        whole = all(type(one) is int and abs(one) < 2**53 for one in numbers)
        long = {len(said[key]) for key in ("XI", "XE", "XQ", "XC") if key in said}
        letters = set(said["XQ"]) <= QUALITIES.keys() and set(said["XC"]) <= CLOCKS.keys()
        letters = letters and type(said["XQ"]) is type(said["XC"]) is str
        right = whole and letters and len(long) == 1 and re.fullmatch("([0-9a-f]{2})+", seal["SD"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return (payload, said, seal) if right else None
