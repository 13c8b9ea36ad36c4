"""What a register map may say, and the reader that lists everything wrong with one.

All that a profile may say stands in `PROFILE_KEYS`, `POINT_KEYS`, `CHANNEL_KEYS`, `WRITE_KEYS` and `STEP_KEYS`.
A variant (another firmware, another use of the same unit) is a table `[variant.NAME]` that overrides single keys.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from devices.profile_golden import GoldenFrame, golden_frames
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
    "block_max": int,  # registers in one read at most, where the product takes fewer than 125
    "gap_ms": int,  # silence that the product needs between two requests
    "point": dict,
    "channel": dict,
    "write": dict,
    "golden": list,  # published frames of the product: GOLDEN_KEYS (devices/profile_golden.py)
    "variant": dict,  # by name: any of the keys above, and `drop`, a list of points that it does not have
}
POINT_KEYS: Mapping[str, type] = {
    "address": int,
    "type": str,
    "function": int,
    "scale": float,  # our unit per raw unit; negative turns the sign
    "scale_at": int,  # address of a signed register n, read at every poll: the value is raw x scale x 10^n
    "offset": float,
    "absent": list,  # raw values that mean "not available"
    "raw_range": list,  # of the raw value; outside: bad
    "range": list,  # of the value in our unit; outside: bad
    "mask": int,  # only these bits of an unsigned number, moved down
    "sum": int,  # the value is the sum of this many numbers that follow each other (three phases)
    "clamp": list,  # of the scaled value
    "every": int,  # slow point: read at every so many polls only (1-60), so that the others come first
    "above": float,  # value is 1 where the scaled value is above this, else 0
}
CHANNEL_KEYS: Mapping[str, type] = {**POINT_KEYS, "count": int, "step": int, "suffix": str}
WRITE_KEYS: Mapping[str, type] = {
    "range": list,
    "keep_alive_s": int,  # the device gives the value up after so long without a write
    "fail": str,  # what it does when nobody writes any more: FAILS; default "reverts" with keep_alive_s, else "stays"
    "steps": list,
}
FAILS = ("stays", "off", "reverts")
"""stays: the value stands for good, put the fail state into the wiring; off, reverts: the device's own doing."""
STEP_KEYS: Mapping[str, type] = {
    "when": str,  # always, on (value not 0) or off (value 0)
    "function": int,
    "address": int,
    "type": str,
    "scale": float,  # our unit per raw unit, as in a point
    "key": int,  # write this instead of the value
    "timer_ms": int,  # write the lease's time in units of so many ms: the device's own timer ends what it has begun
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
    range: tuple[float, float] | None = None
    sum: int = 1
    mask: int = 0
    every: int = 1
    scale_at: int | None = None

    @property
    def size(self) -> int:
        """Returns how many registers or bits the point takes."""
        return self.type.size * self.sum


TIMER_LEAST = 2
"""A coil's 1 is FF00 on the wire; a timer of one unit could not be told from it."""


@dataclass(frozen=True, slots=True)
class WriteStep:
    """One request of a write: the fixed value `key`, the lease's time (`timer_ms`), else value / scale is written."""

    when: str
    function: int
    address: int
    type: NumberType
    scale: float = 1.0
    key: int | None = None
    complement: bool = False
    timer_ms: int = 0

    def timer(self, valid_ms: int) -> int:
        """Returns what starts the device's own timer for a lease; for one without end, as long as it goes."""
        raw = -(-valid_ms // self.timer_ms) if valid_ms else self.type.high
        return min(max(raw, TIMER_LEAST), self.type.high)


@dataclass(frozen=True, slots=True)
class WriteRule:
    """How a setpoint is written; `keep_alive_s` after which the device gives it up by itself, 0 = never."""

    low: float
    high: float
    keep_alive_s: int
    steps: tuple[WriteStep, ...]
    fail: str = FAILS[0]


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
    block_max: int = READ_MAX
    gap_ms: int = 0
    variants: tuple[str, ...] = ()
    golden: tuple[GoldenFrame, ...] = ()


def parse_profile(name: str, text: str, variant: str = "") -> Profile:
    """Returns the profile that a TOML text describes, or one variant of it.

    Raises:
        BadProfile: every fault in the text, its variants included, each with its table and key.
    """
    try:
        document = cast("dict[str, object]", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise BadProfile([f"profile {name}: {error}"]) from error
    tables = document.pop("variant", {})
    if not isinstance(tables, dict):
        raise BadProfile([f"profile {name}: variant is {tables!r}, must be [variant.NAME] tables"])
    variants = cast("dict[str, object]", tables)
    if variant and variant not in variants:
        raise BadProfile([f"profile {name} has no variant {variant!r}: there are {', '.join(variants) or 'none'}"])
    base = _Parser(name)
    found = {"": base.profile(document)}
    problems = list(base.problems)
    for key, table in variants.items():
        parser = _Parser(f"{name}.{key}")
        found[key] = parser.variant(document, table)
        problems += [p for p in parser.problems if p.replace(f"{name}.{key}:", f"{name}:", 1) not in base.problems]
    if problems:
        raise BadProfile(problems)
    return replace(found[variant], variants=tuple(variants))


def _tables(value: object) -> Mapping[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


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
            return low if default is None else default
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
        block_max = self.whole("top level", top, "block_max", 4, READ_MAX, READ_MAX)
        self.scales([*points, *channels], block_max)
        return Profile(
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
            block_max,
            self.whole("top level", top, "gap_ms", 0, 1000, 0),
            golden=golden_frames(
                cast("list[object]", top.get("golden", [])), [p.name for p in points], list(writes), self.problem
            ),
        )

    def variant(self, document: Mapping[str, object], entry: object) -> Profile:
        """Returns the profile with a variant's tables laid over the document's."""
        if not isinstance(entry, dict):
            self.problem("variant", f"is {entry!r}, must be a table")
            return self.profile(document)
        table = dict(cast("dict[str, object]", entry))
        drop = table.pop("drop", [])
        points = dict(_tables(document.get("point")))
        for name in cast("list[object]", drop) if isinstance(drop, list) else [drop]:
            if not isinstance(name, str) or points.pop(name, None) is None:
                self.problem("drop", f"{name!r} is no point of the profile")
        for name, point in _tables(table.get("point")).items():
            points[name] = {**_tables(points.get(name)), **_tables(point)}
        writes = {**_tables(document.get("write")), **_tables(table.get("write"))}
        kept = {name: rule for name, rule in writes.items() if name in points}
        # Another firmware's frames prove nothing here.
        merged: dict[str, object] = {**document, "golden": [], **table, "point": points, "write": kept}
        return self.profile({key: value for key, value in merged.items() if value != {}})

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
            self.pair(where, table, "range"),
            self.whole(where, table, "sum", 1, 8, 1),
            self.mask(where, table, kind),
            self.whole(where, table, "every", 1, 60, 1),
            self.scale_at(where, table, kind),
        )

    def scale_at(self, where: str, table: Mapping[str, object], kind: NumberType) -> int | None:
        if "scale_at" not in table:
            return None
        if kind.real or kind.name == "bit":
            self.problem(where, f"scale_at does not go with type {kind.name}: use a whole number type")
        if "offset" in table or "mask" in table:
            self.problem(where, "scale_at does not go with offset or mask: the power of ten would shift them too")
        return self.whole(where, table, "scale_at", self.base, 65535) - self.base

    def scales(self, points: Sequence[ProfilePoint], block_max: int) -> None:
        """Scale registers are read in one request, so that a poll's values go with one set of them."""
        used = sorted((point.function, point.scale_at) for point in points if point.scale_at is not None)
        if used and used[0][0] != used[-1][0]:
            self.problem("top level", "scale_at is used with two read functions: they must be read by one")
        elif used and used[-1][1] - used[0][1] >= block_max:
            self.problem("top level", f"scale_at is {used[0][1]} to {used[-1][1]}: more than {block_max} registers")

    def mask(self, where: str, table: Mapping[str, object], kind: NumberType) -> int:
        if "mask" not in table:
            return 0
        if kind.real or kind.signed or kind.name == "bit":
            self.problem(where, f"mask does not go with type {kind.name}: use an unsigned type")
        return self.whole(where, table, "mask", 1, kind.high)

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
        read = tuple(self.step(f"{where} step {i}", s) for i, s in enumerate(steps, 1))
        keep_alive = self.whole(where, table, "keep_alive_s", 0, 86400, 0)
        timed = any(step.timer_ms for step in read)
        usual = "off" if timed else "reverts" if keep_alive else "stays"
        fail = self.text(where, table, "fail", FAILS, usual)
        if fail != "stays" and not keep_alive and not timed:
            self.problem(where, f"fail is {fail!r} without keep_alive_s: after how long does the device do so?")
        return WriteRule(low, high, keep_alive, read, fail)

    def step(self, where: str, entry: object) -> WriteStep:
        table = self.table(where, entry, STEP_KEYS)
        function = self.whole(where, table, "function", 1, 16)
        if function not in {5, 6, 15, 16}:
            self.problem(where, f"function is {function}, must be 5, 6, 15 or 16")
        timer = self.whole(where, table, "timer_ms", 0, 60_000, 0)
        usual = "uint16" if timer or function not in {5, 15} else "bit"
        kind = TYPES[self.text(where, table, "type", tuple(TYPES), usual)]
        if timer and (function not in {5, 6} or kind.size > 1 or "key" in table or table.get("when") != "on"):
            self.problem(where, 'timer_ms goes with when = "on" and one register by function 5 or 6, without key')
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
            timer,
        )
