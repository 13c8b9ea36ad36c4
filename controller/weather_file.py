"""A weather file that somebody drops in: hourly rows as JSON (Open-Meteo's own) or CSV -> what it tells. Pure.

Read are `shortwave_radiation` (or `ghi`) in W/m2, the mean of the hour that ends at the row's time, and
`temperature_2m` (or `temperature`) in degrees C at that time; other columns are let be. Times are UTC, or carry an
offset, or follow `utc_offset_seconds`. `issued` (JSON key, or CSV line `# issued TIME`) says when the forecast was
made; without it the file's own time does. A bad row is a problem with its place; a file with any problem is not used.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from math import isfinite
from typing import cast

from devices.bounded_json import BadJson, parse
from devices.clock import HOUR_MS, Instant

BYTES_MAX = 4 << 20
ROWS_MAX = 20_000
SHOWN_MAX = 8
SUN: tuple[str, ...] = ("shortwave_radiation", "ghi")
AIR: tuple[str, ...] = ("temperature_2m", "temperature")
LIMITS: Mapping[tuple[str, ...], tuple[float, float, str]] = {
    SUN: (0.0, 1_500.0, "W/m2"),
    AIR: (-90.0, 60.0, "degrees C"),
}
ISSUED = re.compile(r"^#\s*issued\s+(\S+)\s*$", re.IGNORECASE)
Cell = float | str | None


class BadWeather(ValueError):
    """A weather file cannot be used; the message names every problem (at most `SHOWN_MAX`) with its place."""


@dataclass(frozen=True, slots=True)
class Hour:
    """What is told of the hour that begins at `start`; None where it is not."""

    start: Instant
    sun_w_m2: float | None  # mean global radiation on a level plane
    air_c: float | None


@dataclass(frozen=True, slots=True)
class WeatherTable:
    """What a file tells, hour by hour, the earliest first; `issued` is when its forecast was made."""

    issued: Instant
    hours: tuple[Hour, ...]

    @property
    def until(self) -> Instant:
        """Returns the end of the last hour."""
        return Instant(self.hours[-1].start + HOUR_MS)


def read_weather(data: bytes, file_time: Instant | None) -> WeatherTable:
    """Returns what a weather file tells.

    Args:
        data: the file.
        file_time: when it was written; None where that says nothing (a simulated clock).

    Raises:
        BadWeather: with every problem, where it stands, what was seen and what to do.
    """
    if len(data) > BYTES_MAX:
        raise BadWeather(f"{len(data)} bytes; at most {BYTES_MAX} are read: ask for fewer days")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadWeather(f"byte {error.start} is no UTF-8: write the file as UTF-8 text") from error
    columns, issued = _from_json(data) if text.lstrip().startswith("{") else _from_csv(text)
    return _table(columns, issued, file_time)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Texts as they stand in the file; `places` names each row for people."""

    time: Sequence[str]
    values: Mapping[tuple[str, ...], Sequence[Cell]]
    places: Sequence[str]
    offset_s: int = 0


def _from_json(data: bytes) -> tuple[_Columns, str | None]:
    try:
        tree = parse(data, BYTES_MAX, depth_max=4)
    except BadJson as error:
        raise BadWeather(f"not JSON: {error}") from error
    hourly = tree.get("hourly") if isinstance(tree, dict) else None
    if not isinstance(hourly, dict):
        raise BadWeather("there is no object `hourly`: ask Open-Meteo for hourly=shortwave_radiation,temperature_2m")
    lists = {name: cast("list[Cell]", column) for name, column in hourly.items() if isinstance(column, list)}
    time = lists.pop("time", None)
    if time is None:
        raise BadWeather("hourly: there is no list `time`")
    short = [f"hourly.{name}: {len(column)} values, `time` has {len(time)}" for name, column in lists.items()
             if len(column) != len(time)]  # fmt: skip
    if short:
        raise BadWeather("; ".join(short[:SHOWN_MAX]))
    whole = cast("dict[str, object]", tree)
    offset, issued = whole.get("utc_offset_seconds", 0), whole.get("issued")
    if not isinstance(offset, int) or abs(offset) > 86_400:
        raise BadWeather(f"utc_offset_seconds: {offset!r} is no number of seconds within a day")
    places = [f"hourly, value {row + 1}" for row in range(len(time))]
    found = _Columns([str(cell) for cell in time], _wanted(lists), places, offset)
    return found, None if issued is None else str(issued)


def _from_csv(text: str) -> tuple[_Columns, str | None]:
    """Reads from the line that begins with `time`: Open-Meteo puts the place above it, and units behind the names."""
    lines = text.splitlines()
    issued = next((match.group(1) for line in lines if (match := ISSUED.match(line)) is not None), None)
    head = next((at for at, line in enumerate(lines) if line.split(",")[0].strip().lower() == "time"), None)
    if head is None:
        raise BadWeather("no line begins with `time,`: the names of the columns are missing")
    names = [re.sub(r"\s*\(.*\)\s*$", "", name).strip() for name in lines[head].split(",")]
    rows, places = list[list[str]](), list[str]()
    for number, row in enumerate(csv.reader(lines[head + 1 :]), head + 2):
        if not row or row[0].startswith("#"):
            continue
        if len(row) != len(names):
            raise BadWeather(f"line {number}: {len(row)} cells, the head has {len(names)}")
        rows.append(row)
        places.append(f"line {number}")
    lists: dict[str, list[Cell]] = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    return _Columns([row[0] for row in rows], _wanted(lists), places), issued


def _wanted(lists: Mapping[str, Sequence[Cell]]) -> dict[tuple[str, ...], Sequence[Cell]]:
    found = {names: lists[name] for names in LIMITS for name in names[:1] if name in lists}
    found |= {names: lists[names[1]] for names in LIMITS if names not in found and names[1] in lists}
    if not found:
        told = ", ".join(sorted(lists)[:SHOWN_MAX]) or "none"
        raise BadWeather(f"neither {SUN[0]} nor {AIR[0]} is among the columns ({told})")
    return found


def _table(columns: _Columns, issued: str | None, file_time: Instant | None) -> WeatherTable:
    problems: list[str] = []
    made = file_time
    if issued is not None:
        made = _instant(issued, 0)
        if made is None:
            problems.append(f"issued: {issued!r} is no time; write 2026-06-01T06:00Z")
    elif file_time is None:
        problems.append("the clock is simulated, so the file's own time says nothing: say `issued`")
    if not 0 < len(columns.time) <= ROWS_MAX:
        problems.append(f"{len(columns.time)} rows; 1 to {ROWS_MAX} can be read")
    hours = list(_hours(columns, problems)) if not problems else []
    problems += [
        f"{columns.places[at + 1]}: {columns.time[at + 1]!r} is not an hour after the row before"
        for at, (one, two) in enumerate(pairwise(hours))
        if two.start - one.start != HOUR_MS
    ]
    if problems or made is None:
        more = f"; and {len(problems) - SHOWN_MAX} more" if len(problems) > SHOWN_MAX else ""
        raise BadWeather("; ".join(problems[:SHOWN_MAX]) + more)
    return WeatherTable(made, tuple(hours))


def _hours(columns: _Columns, problems: list[str]) -> Iterator[Hour]:
    """Yields the rows; what is wrong goes to `problems`. Radiation of a row belongs to the hour before its time."""
    starts = [_instant(text, columns.offset_s) for text in columns.time]
    for at, start in enumerate(starts):
        if start is None or start % HOUR_MS:
            problems.append(f"{columns.places[at]}: {columns.time[at]!r} is no full hour such as 2026-06-01T06:00")
            starts[at] = Instant(0)
    cells = {
        names: [_number(cell, names, place, problems) for cell, place in zip(column, columns.places, strict=True)]
        for names, column in columns.values.items()
    }
    nothing: Sequence[float | None] = (None,) * len(starts)
    for start, sun, air in zip(starts, cells.get(SUN, nothing), cells.get(AIR, nothing), strict=True):
        yield Hour(Instant((start or HOUR_MS) - HOUR_MS), sun, air)


def _number(cell: Cell, names: tuple[str, ...], place: str, problems: list[str]) -> float | None:
    if cell is None or cell == "":
        return None
    low, high, unit = LIMITS[names]
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = float("nan")
    if isinstance(cell, bool) or not isfinite(value) or not low <= value <= high:
        problems.append(f"{place}: {names[0]} is {cell!r}; {low:g} to {high:g} {unit} are possible")
        return None
    return value


def _instant(text: str, offset_s: int) -> Instant | None:
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=timezone(timedelta(seconds=offset_s)) if offset_s else UTC)
    return Instant(round(at.timestamp() * 1000))
