"""Interval data: what homes use, what the sun offers, what the taps draw; the built-in year or a user's CSV.

Format (UTF-8, commas, one header line; README.md in the folder above says it for users):
- `utc`: the START of each 15-minute interval, `2016-06-01T10:15Z`, without holes.
- `<meter>`, for example `home-01`: mean consumption in the interval [W, >= 0], before any solar production.
- `<pv>`, for example `pv-02`: mean production that the sun offers [W, >= 0]; or `<pv>.per_kw`: the same per kW of
  the plant's `power_w_max` [W/kW].
- `<usage point>.water` = a channel of the water meters, for example `home-01.water`: use in the interval [mL, >= 0].
  A file without any water column takes water from the built-in year.

A site time outside the file is mapped into it by whole periods of 364 days (of fewer weeks where the file is
shorter), so the weekday stays.
"""

from __future__ import annotations

import csv
import hashlib
import lzma
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from devices.clock import DAY_MS, SLOT_MS, Instant, iso
from devices.model import DeviceKind, DeviceSpec
from devices.simulated import ProfileProblems

BUILT_IN = "village_2016.csv.xz"
BUILT_IN_SHA256 = "37bd4a31ffda567bae1ea5222065dac6e6580154d577449d4ee7850d09904cf3"
PERIOD_DAYS_MAX = 364
"""52 weeks: the longest shift that keeps the weekday and nearly the season."""
ROWS_MIN = 7 * DAY_MS // SLOT_MS
PROBLEMS_MAX = 1000
"""More are counted, not listed."""
PER_KW = ".per_kw"


class DamagedProfiles(OSError):
    """The built-in profile file is not the one that was shipped."""


@dataclass(frozen=True, slots=True)
class Profiles:
    """Rows of comma-separated text by interval; a row is parsed when it is asked for (a year has 1.2 M numbers)."""

    start: Instant
    columns: tuple[str, ...]
    rows: Sequence[str]

    @property
    def end(self) -> Instant:
        """Returns the end of the last interval."""
        return Instant(self.start + len(self.rows) * SLOT_MS)

    def index(self, at: Instant) -> int:
        """Returns the row that stands for the interval holding `at`."""
        offset = at - self.start
        if not 0 <= offset < len(self.rows) * SLOT_MS:
            weeks = min(PERIOD_DAYS_MAX // 7, len(self.rows) * SLOT_MS // (7 * DAY_MS))
            offset %= weeks * 7 * DAY_MS
        return offset // SLOT_MS

    def values(self, at: Instant) -> list[str]:
        """Returns the interval's numbers as text, in the order of `columns`."""
        return self.rows[self.index(at)].split(",")[1:]

    def find(self, name: str) -> int | None:
        """Returns the position of a column in `values`, None where the file has no such column."""
        return self.columns.index(name) if name in self.columns else None


def load_built_in() -> Profiles:
    """Returns the village's year 2016 (SimBench, BWDF).

    Raises:
        DamagedProfiles: the file's SHA-256 is not the shipped one.
    """
    packed = (files("firmware_sim") / "data" / BUILT_IN).read_bytes()
    seen = hashlib.sha256(packed).hexdigest()
    if seen != BUILT_IN_SHA256:
        raise DamagedProfiles(f"{BUILT_IN} is damaged: SHA-256 {seen}, shipped was {BUILT_IN_SHA256}; install again")
    lines = lzma.decompress(packed).decode("ascii").splitlines()
    start, problem = _instant(lines[1].split(",", 1)[0])
    assert start is not None, problem
    return Profiles(start, tuple(lines[0].split(",")[1:]), lines[1:])


def wanted_columns(devices: Iterable[DeviceSpec]) -> tuple[dict[str, str], list[str]]:
    """Returns (column -> device) that a site needs of meters and PV, and the water columns it can use."""
    power: dict[str, str] = {}
    water: list[str] = []
    for spec in devices:
        if spec.kind in (DeviceKind.METER, DeviceKind.PV):
            power[str(spec.simulate.get("profile", spec.id))] = spec.id
        elif spec.kind is DeviceKind.WATER_METERS:
            water.extend(spec.channels)
    return power, water


def load_csv(path: str, devices: Sequence[DeviceSpec]) -> Profiles:
    """Returns a user's interval data.

    Raises:
        ProfileProblems: the file cannot be used; every problem is listed with its line number.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileProblems([f"{path}: cannot be read as UTF-8 text: {error}"]) from error
    check = _Check(path, devices)
    profiles = check.run(text)
    if check.problems:
        left_out = check.count - len(check.problems)
        raise ProfileProblems(
            [*check.problems, *([f"{path}: {left_out} more problems not listed"] if left_out else [])]
        )
    return profiles


class _Check:
    """One reading of one user's file; collects problems instead of stopping at the first."""

    def __init__(self, path: str, devices: Sequence[DeviceSpec]) -> None:
        self.problems: list[str] = []
        self.count = 0
        self._path = path
        self._power, self._water = wanted_columns(devices)
        self._pv = {spec.id for spec in devices if spec.kind is DeviceKind.PV}
        self._last: int | None = None
        self._first: int | None = None

    def run(self, text: str) -> Profiles:
        """Returns the rows; only good when `problems` stays empty."""
        lines = text.splitlines()
        if not lines or not lines[0].strip():
            self._say(1, "empty: the first line must be a header, utc,home-01,...")
            return Profiles(Instant(0), (), ())
        columns = self._header(lines[0])
        if not columns:
            return Profiles(Instant(0), (), ())
        rows: list[str] = []
        reader = csv.reader(lines[1:])
        for fields in reader:
            if fields:
                self._row(reader.line_num + 1, fields, columns)
                rows.append(",".join(fields))
            elif any(line.strip() for line in lines[reader.line_num + 1 :]):
                self._say(reader.line_num + 1, "empty line inside the data")
        if len(rows) < ROWS_MIN:
            self._say(len(lines), f"too short: {len(rows)} intervals, at least {ROWS_MIN} (7 days) are needed")
        return Profiles(Instant(self._first or 0), columns, rows)

    def _say(self, line: int, text: str) -> None:
        self.count += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(f"{self._path}:{line}: {text}")

    def _header(self, line: str) -> tuple[str, ...]:
        if ";" in line and "," not in line:
            self._say(1, "columns are parted by semicolons: export with commas and decimal points")
            return ()
        header = [name.strip() for name in next(csv.reader([line]))]
        if header[0] != "utc":
            self._say(1, f"the first column is {header[0]!r}, must be 'utc' (start of each interval)")
        names = header[1:]
        known = set(self._power) | set(self._water) | {n + PER_KW for n, d in self._power.items() if d in self._pv}
        for name in dict.fromkeys(names):
            if names.count(name) > 1:
                self._say(1, f"column {name!r} stands {names.count(name)} times")
            if name not in known:
                self._say(1, f"unknown column {name!r}: the site has no such meter, PV plant or water channel")
        for name, device in self._power.items():
            found = [n for n in (name, name + PER_KW) if n in names and n in known]
            if not found:
                self._say(1, f"column {name!r} is missing (device {device})")
            elif len(found) == 2:
                self._say(1, f"columns {name!r} and {name + PER_KW!r} exclude each other")
        if any(name in names for name in self._water):
            for name in self._water:
                if name not in names:
                    self._say(1, f"column {name!r} is missing: give every water channel or none")
        return tuple(names)

    def _row(self, line: int, fields: list[str], columns: tuple[str, ...]) -> None:
        self._time(line, fields[0])
        if len(fields) != len(columns) + 1:
            self._say(line, f"{len(fields)} fields, the header has {len(columns) + 1}")
            return
        try:
            values = [float(field) for field in fields[1:]]
        except ValueError:
            values = []
        if not values or min(values) < 0 or not math.isfinite(sum(values)):
            for name, field in zip(columns, fields[1:], strict=True):
                if problem := _number_problem(field):
                    self._say(line, f"{name}: {problem}")

    def _time(self, line: int, text: str) -> None:
        at, problem = _instant(text)
        if at is None:
            self._say(line, problem)
            return
        last, self._last = self._last, at
        if self._first is None:
            self._first = at
        if last is not None and at != last + SLOT_MS:
            self._say(line, _step_problem(last, at))


def _number_problem(field: str) -> str:
    if not field.strip():
        return "empty: every interval needs a number"
    try:
        value = float(field)
    except ValueError:
        return f"{field!r} is no number"
    if not math.isfinite(value):
        return f"{field!r} is no finite number"
    return f"{field} is negative: consumption, production and water are all >= 0" if value < 0 else ""


def _step_problem(last: int, at: int) -> str:
    step = (at - last) / 60_000
    before = iso(Instant(last))
    if at == last:
        return f"time {iso(Instant(at))} stands twice"
    if step < 0:
        hint = " (an hour back: local time at the end of summer time? The column is UTC)" if step == -45 else ""
        return f"time goes back from {before} to {iso(Instant(at))}{hint}"
    hint = " (an hour is missing: local time at the start of summer time? The column is UTC)" if step == 75 else ""
    return f"step of {step:g} min from {before} to {iso(Instant(at))}, must be 15 min{hint}"


def _instant(text: str) -> tuple[Instant | None, str]:
    """Returns the instant and "", or None and what is wrong."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None, f"time {text!r} is not ISO 8601: write 2016-06-01T10:15Z"
    offset = moment.utcoffset()
    if offset is not None and offset.total_seconds() != 0:
        return None, f"time {text!r} has a UTC offset: the column is UTC, write 2016-06-01T10:15Z"
    at = round(moment.replace(tzinfo=UTC).timestamp() * 1000)
    if at % SLOT_MS:
        return None, f"time {text!r} is no quarter of an hour"
    return Instant(at), ""
