"""What a register map may say, and the reader that lists everything wrong with one.

All that a profile may say stands in `PROFILE_KEYS`, `POINT_KEYS`, `CHANNEL_KEYS`, `WRITE_KEYS` and `STEP_KEYS`.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from devices.registers import READ_MAX, TYPES, NumberType

PROFILE_KEYS: Mapping[str, type] = {
    "title": str,  # product and maker
    "source": str,  # where the map comes from; "Atoll reference device" where no product stands behind it
    "function": int,  # read function of all points that name none: 1-4
    "base": int,  # 1 where the addresses below count from 1
    "word_order": str,  # high-first or low-first
    "unit": int,  # the product's default Modbus unit id
    "absent_top": int,  # this many highest values of every type mean "not available"
    "block_gap": int,  # registers between two points that are still read in one block
    "point": dict,
    "channel": dict,
    "write": dict,
}
POINT_KEYS: Mapping[str, type] = {
    "address": int,
    "type": str,
    "function": int,
    "scale": float,  # our unit per raw unit; negative turns the sign
    "offset": float,
    "absent": list,  # raw values that mean "not available"
    "raw_range": list,  # outside: bad
    "clamp": list,  # of the scaled value
    "above": float,  # value is 1 where the scaled value is above this, else 0
}
CHANNEL_KEYS: Mapping[str, type] = {**POINT_KEYS, "count": int, "step": int, "suffix": str}
WRITE_KEYS: Mapping[str, type] = {"range": list, "keep_alive_s": int, "steps": list}
STEP_KEYS: Mapping[str, type] = {
    "when": str,  # always, on (value not 0) or off (value 0)
    "function": int,
    "address": int,
    "type": str,
    "scale": float,  # our unit per raw unit, as in a point
    "key": int,  # write this instead of the value
    "complement": bool,  # the next register gets the ones' complement in the same write
}


class BadProfile(ValueError):
    """A profile that cannot be used; `problems` names every fault in it."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class ProfilePoint:
    """One readable value of a product."""

    name: str
    function: int
    address: int
    type: NumberType
    scale: float = 1.0
    offset: float = 0.0
    absent: frozenset[int] = frozenset()
    raw_range: tuple[float, float] | None = None
    clamp: tuple[float, float] | None = None
    above: float | None = None


@dataclass(frozen=True, slots=True)
class WriteStep:
    """One request of a write; `key` is a fixed value, otherwise value / scale is written."""

    when: str
    function: int
    address: int
    type: NumberType
    scale: float = 1.0
    key: int | None = None
    complement: bool = False


@dataclass(frozen=True, slots=True)
class WriteRule:
    """How a setpoint is written; `keep_alive_s` after which the device gives it up by itself, 0 = never."""

    low: float
    high: float
    keep_alive_s: int
    steps: tuple[WriteStep, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """One product's register map."""

    name: str
    title: str
    source: str
    unit: int
    low_word_first: bool
    block_gap: int
    points: tuple[ProfilePoint, ...]
    channels: tuple[ProfilePoint, ...]
    channel_suffix: str
    writes: Mapping[str, WriteRule]


def parse_profile(name: str, text: str) -> Profile:
    """Returns the profile that a TOML text describes.

    Raises:
        BadProfile: every fault in the text, each with its table and key.
    """
    try:
        table = cast("dict[str, object]", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise BadProfile([f"profile {name}: {error}"]) from error
    return _Parser(name).profile(table)


class _Parser:
    """Collects problems while it reads one document."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[str] = []
        self.function = 3
        self.base = 0
        self.absent_top = 0

    def problem(self, where: str, text: str) -> None:
        self.problems.append(f"profile {self.name}: {where}: {text}")

    def table(self, where: str, value: object, keys: Mapping[str, type]) -> dict[str, object]:
        """Returns the known, rightly typed keys of a table; everything else is a problem."""
        if not isinstance(value, dict):
            self.problem(where, f"is {value!r}, must be a table")
            return {}
        good: dict[str, object] = {}
        for key, entry in cast("dict[str, object]", value).items():
            kind = keys.get(key)
            if kind is None:
                near = difflib.get_close_matches(key, list(keys), 1)
                self.problem(where, f"unknown key {key!r}" + (f": did you mean {near[0]!r}?" if near else ""))
            elif kind is float and isinstance(entry, int) and not isinstance(entry, bool):
                good[key] = float(entry)
            elif not isinstance(entry, kind) or (kind is int and isinstance(entry, bool)):
                self.problem(where, f"{key} is {entry!r}, must be of type {kind.__name__}")
            else:
                good[key] = entry
        return good

    def whole(
        self, where: str, table: Mapping[str, object], key: str, low: int, high: int, default: int | None = None
    ) -> int:
        value = table.get(key, default)
        if not isinstance(value, int):
            self.problem(where, f"{key} is missing: write {key} = N")
            return low
        if not low <= value <= high:
            self.problem(where, f"{key} is {value}, must be {low} to {high}")
            return low
        return value

    def number(self, table: Mapping[str, object], key: str, default: float) -> float:
        value = table.get(key, default)
        return value if isinstance(value, (int, float)) else default

    def text(
        self, where: str, table: Mapping[str, object], key: str, allowed: Sequence[str] = (), default: str = ""
    ) -> str:
        value = table.get(key, default)
        if not isinstance(value, str) or not value:
            self.problem(where, f"{key} is missing")
        elif allowed and value not in allowed:
            self.problem(where, f"{key} is {value!r}, must be one of {', '.join(allowed)}")
            return allowed[0]
        return str(value)

    def pair(self, where: str, table: Mapping[str, object], key: str) -> tuple[float, float] | None:
        if key not in table:
            return None
        values = cast("list[object]", table[key])
        match values:
            case [int() | float() as low, int() | float() as high] if low < high:
                return float(low), float(high)
            case _:
                pass
        self.problem(where, f"{key} is {values!r}, must be [low, high]")
        return None

    def profile(self, document: Mapping[str, object]) -> Profile:
        top = self.table("top level", document, PROFILE_KEYS)
        self.function = self.whole("top level", top, "function", 1, 4, 3)
        self.base = self.whole("top level", top, "base", 0, 1, 0)
        self.absent_top = self.whole("top level", top, "absent_top", 0, 4096, 0)
        order = self.text("top level", top, "word_order", ("high-first", "low-first"), "high-first")
        points = [
            self.point(f"[point.{name}]", name, self.table(f"[point.{name}]", entry, POINT_KEYS))
            for name, entry in cast("dict[str, object]", top.get("point", {})).items()
        ]
        channels, suffix = self.channel(top["channel"]) if "channel" in top else ([], "")
        writes = {
            name: self.write(f"[write.{name}]", entry)
            for name, entry in cast("dict[str, object]", top.get("write", {})).items()
        }
        if not points and not channels:
            self.problem("top level", "no [point.NAME] and no [channel]: nothing to read")
        profile = Profile(
            self.name,
            self.text("top level", top, "title"),
            self.text("top level", top, "source"),
            self.whole("top level", top, "unit", 0, 247, 1),
            order == "low-first",
            self.whole("top level", top, "block_gap", 0, READ_MAX, 0),
            tuple(points),
            tuple(channels),
            suffix,
            writes,
        )
        if self.problems:
            raise BadProfile(self.problems)
        return profile

    def point(self, where: str, name: str, table: Mapping[str, object]) -> ProfilePoint:
        kind = TYPES[self.text(where, table, "type", tuple(TYPES), "uint16")]
        absent = cast("list[object]", table.get("absent", []))
        if not all(isinstance(value, int) for value in absent):
            self.problem(where, f"absent is {absent!r}, must be a list of raw values")
        raw = {value % (1 << 16 * kind.size) for value in absent if isinstance(value, int)}
        raw.update(kind.high - i for i in range(self.absent_top if not kind.real and kind.name != "bit" else 0))
        function = self.whole(where, table, "function", 1, 4, self.function)
        if (kind.name == "bit") != (function in {1, 2}):
            self.problem(where, f"type {kind.name} does not go with read function {function}")
        if table.get("scale") == 0:
            self.problem(where, "scale is 0: the value would always be 0")
        return ProfilePoint(
            name,
            function,
            self.whole(where, table, "address", self.base, 65535) - self.base,
            kind,
            self.number(table, "scale", 1.0),
            self.number(table, "offset", 0.0),
            frozenset(raw),
            self.pair(where, table, "raw_range"),
            self.pair(where, table, "clamp"),
            self.number(table, "above", 0.0) if "above" in table else None,
        )

    def channel(self, entry: object) -> tuple[list[ProfilePoint], str]:
        table = self.table("[channel]", entry, CHANNEL_KEYS)
        first = self.point("[channel]", "0", table)
        count = self.whole("[channel]", table, "count", 1, READ_MAX)
        step = self.whole("[channel]", table, "step", 1, READ_MAX, first.type.size)
        channels = [replace(first, name=str(i), address=first.address + i * step) for i in range(count)]
        return channels, self.text("[channel]", table, "suffix")

    def write(self, where: str, entry: object) -> WriteRule:
        table = self.table(where, entry, WRITE_KEYS)
        limits = self.pair(where, table, "range")
        if limits is None and "range" not in table:
            self.problem(where, "range is missing: a point without limits is not writable")
        steps = cast("list[object]", table.get("steps", []))
        if not steps:
            self.problem(where, "steps is missing: nothing would be written")
        low, high = limits or (0.0, 0.0)
        keep_alive = self.whole(where, table, "keep_alive_s", 0, 86400, 0)
        return WriteRule(
            low, high, keep_alive, tuple(self.step(f"{where} step {i}", s) for i, s in enumerate(steps, 1))
        )

    def step(self, where: str, entry: object) -> WriteStep:
        table = self.table(where, entry, STEP_KEYS)
        function = self.whole(where, table, "function", 1, 16)
        if function not in {5, 6, 15, 16}:
            self.problem(where, f"function is {function}, must be 5, 6, 15 or 16")
        kind = TYPES[self.text(where, table, "type", tuple(TYPES), "bit" if function in {5, 15} else "uint16")]
        if function in {5, 6} and (kind.size > 1 or table.get("complement")):
            self.problem(where, f"function {function} writes one register: use 16")
        if table.get("scale") == 0:
            self.problem(where, "scale is 0")
        key = table.get("key")
        return WriteStep(
            self.text(where, table, "when", ("always", "on", "off"), "always"),
            function,
            self.whole(where, table, "address", self.base, 65535) - self.base,
            kind,
            self.number(table, "scale", 1.0) or 1.0,
            key if isinstance(key, int) else None,
            table.get("complement") is True,
        )
