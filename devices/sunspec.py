"""SunSpec: model definitions as data, the scan of a model chain, registers to values and back.

No I/O: `Scan` says what to read next and takes the answer. Model definitions are the JSON files that the
`pysunspec2` distribution carries (Apache-2.0).

Source: SunSpec Device Information Model Specification 1.1 (types, sentinels, chain), SunSpec models JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib.resources import files
from typing import cast

from devices.model import BusFault
from devices.registers import NumberType, Reader, Registers, encode_number, raw_reader

_UNHEARD = (BusFault.TIMEOUT, BusFault.DISCONNECTED, BusFault.GARBLED)
BASES = (40000, 0, 50000)
MARK = (0x5375, 0x6E53)
"""'SunS', the two registers in front of the chain."""
END_MODEL = 0xFFFF
MODELS_MAX = 64
"""A longer chain is taken for noise."""

_U16 = NumberType("uint16", 1)
_S16 = NumberType("int16", 1, signed=True)
_U32 = NumberType("uint32", 2)
_S32 = NumberType("int32", 2, signed=True)
_U64 = NumberType("uint64", 4)
_S64 = NumberType("int64", 4, signed=True)

NUMBERS: Mapping[str, tuple[NumberType, int | None]] = {
    "int16": (_S16, 0x8000),
    "uint16": (_U16, 0xFFFF),
    "count": (_U16, 0xFFFF),
    "raw16": (_U16, None),
    "enum16": (_U16, 0xFFFF),
    "bitfield16": (_U16, 0xFFFF),
    "acc16": (_U16, None),
    "sunssf": (_S16, 0x8000),
    "int32": (_S32, 0x80000000),
    "uint32": (_U32, 0xFFFFFFFF),
    "enum32": (_U32, 0xFFFFFFFF),
    "bitfield32": (_U32, 0xFFFFFFFF),
    "acc32": (_U32, None),
    "float32": (NumberType("float32", 2, real=True), 0x7FC00000),
    "int64": (_S64, 0x8000000000000000),
    "uint64": (_U64, 0xFFFFFFFFFFFFFFFF),
    "bitfield64": (_U64, 0xFFFFFFFFFFFFFFFF),
    "acc64": (_U64, None),
    "float64": (NumberType("float64", 4, real=True), 0x7FF8000000000000),
}
"""SunSpec type -> (register type, raw value that means "not implemented").

The accumulators have no sentinel here: the standard's "0 = not accumulated" is also every new meter's reading.
"""

DEFAULT_SCALE: Mapping[str, int] = {
    "V_SF": -1,
    "Hz_SF": -2,
    "A_SF": -2,
    "PF_SF": -2,
    "Pct_SF": -2,
    "WMaxLimPct_SF": -2,
    "Tmp_SF": -1,
    "WSetPct_SF": -1,
}
"""Exponents that `encode_model` starts from where the caller gives none (all others 0)."""


class UnknownModel(LookupError):
    """No definition of that SunSpec model is at hand."""


@dataclass(frozen=True, slots=True)
class PointDef:
    """One point of a model: `offset` and `size` in registers from the model's ID register."""

    name: str
    type: str
    offset: int
    size: int
    scale: str | int | None = None
    writable: bool = False
    value: int | None = None


@dataclass(frozen=True, slots=True)
class ModelDef:
    """The fixed part of a SunSpec model; `size` counts ID and L.

    `group` is one repetition of its repeating group (offsets from the repetition's own start, scale factors in the
    fixed part), empty where it has none or a nested one.
    """

    id: int
    label: str
    size: int
    points: Mapping[str, PointDef]
    group: Mapping[str, PointDef] = field(default_factory=dict[str, PointDef])
    group_size: int = 0


def top_group(model_id: int) -> Mapping[str, object]:
    """Returns the top group of a model's JSON definition: name, points, groups.

    Raises:
        UnknownModel: pysunspec2 has no such model.
    """
    path = files("sunspec2").joinpath("models").joinpath("json").joinpath(f"model_{model_id}.json")
    if not path.is_file():
        raise UnknownModel(f"no SunSpec definition for model {model_id} in pysunspec2")
    document = cast("dict[str, object]", json.loads(path.read_text(encoding="utf-8")))
    return cast("dict[str, object]", document["group"])


@lru_cache(maxsize=64)
def model(model_id: int) -> ModelDef:
    """Returns the definition of one model, points of fixed groups as `group.point`.

    Raises:
        UnknownModel: pysunspec2 has no such model.
    """
    group = top_group(model_id)
    points: dict[str, PointDef] = {}
    size = _flatten(group, "", 0, points)
    repeated: dict[str, PointDef] = {}
    several = [g for g in cast("list[dict[str, object]]", group.get("groups", [])) if g.get("count", 1) != 1]
    group_size = _flatten(several[0], "", 0, repeated) if len(several) == 1 and "groups" not in several[0] else 0
    label = str(group.get("label", ""))
    return ModelDef(model_id, label, size, points, repeated if group_size else {}, group_size)


def _flatten(group: Mapping[str, object], prefix: str, offset: int, into: dict[str, PointDef]) -> int:
    for entry in cast("list[dict[str, object]]", group.get("points", [])):
        size = int(str(entry["size"])) if "count" not in entry else 0
        if size == 0:
            continue
        name = f"{prefix}{entry['name']}"
        into[name] = point_of(entry, name, offset)
        offset += size
    for inner in cast("list[dict[str, object]]", group.get("groups", [])):
        if inner.get("count", 1) == 1:
            offset = _flatten(inner, f"{prefix}{inner['name']}.", offset, into)
    return offset


def point_of(entry: Mapping[str, object], name: str, offset: int) -> PointDef:
    """Returns a point of a definition under `name`, `offset` registers from the start of its model or group."""
    scale, value = entry.get("sf"), entry.get("value")
    return PointDef(
        name,
        str(entry["type"]),
        offset,
        int(str(entry["size"])),
        scale if isinstance(scale, (str, int)) else None,
        str(entry.get("access", "R")) == "RW",
        value if isinstance(value, int) else None,
    )


def _scale_factors(low: int = -10, high: int = 10) -> dict[int, tuple[int, int]]:
    table: dict[int, tuple[int, int]] = {}
    for exponent in range(low, high + 1):
        table[exponent % 65536] = (10**exponent, 1) if exponent >= 0 else (1, 10**-exponent)
    return table


SCALES = _scale_factors()
"""Raw sunssf register -> (multiplier, divisor); anything else makes its points unreadable."""


def point_reader(point: PointDef, scale: PointDef | None, base: int, *, rounded: bool = False) -> Reader:
    """Returns a reader of one numeric point in a block that starts at model offset `base`.

    `rounded` gives whole numbers only (registers that count energy).

    The scale factor is read from the same block each time, because a device may change it at run time.

    Raises:
        ValueError: the point is no number (string, pad, address).
    """
    if point.type not in NUMBERS:
        raise ValueError(f"SunSpec point {point.name} is a {point.type}, not a number")
    kind, absent = NUMBERS[point.type]
    read = raw_reader(kind, point.offset - base, frozenset() if absent is None else frozenset((absent,)))
    if scale is None:
        return read if not isinstance(point.scale, int) or point.scale == 0 else _fixed(read, point.scale)
    index = scale.offset - base

    def read_scaled(registers: Registers) -> float | None:
        raw = read(registers)
        if raw is None:
            return None
        factor = SCALES.get(registers[index])
        if factor is None:
            return None
        multiplier, divisor = factor
        if divisor == 1:
            return raw * multiplier
        return round(raw / divisor) if rounded else raw / divisor

    return read_scaled


def _fixed(read: Reader, exponent: int) -> Reader:
    def read_scaled(registers: Registers) -> float | None:
        raw = read(registers)
        return None if raw is None else (raw * 10**exponent if exponent > 0 else raw / 10**-exponent)

    return read_scaled


def scale_of(definition: ModelDef, point: PointDef) -> PointDef | None:
    """Returns the scale factor point that belongs to `point`, if it has one."""
    return definition.points.get(point.scale) if isinstance(point.scale, str) else None


def group_point(definition: ModelDef, name: str, index: int) -> PointDef:
    """Returns one point of the `index`-th repetition (from 0) with its offset in the whole model.

    Raises:
        KeyError: the model's group has no such point.
    """
    point = definition.group[name]
    return replace(point, offset=definition.size + index * definition.group_size + point.offset)


def decode(model_id: int, registers: Registers) -> dict[str, float | str | None]:
    """Returns every point of a model block that starts at its ID register; None = not implemented.

    A block shorter than the definition gives None for what is missing. Pads are left out.
    """
    values: dict[str, float | str | None] = {}
    size = len(registers)
    for point, end, read in _model_readers(model_id):
        if end > size:
            values[point.name] = None
        elif read is not None:
            values[point.name] = read(registers)
        elif point.type == "string":
            values[point.name] = _text(registers[point.offset : point.offset + point.size])
    return values


@cache
def _model_readers(model_id: int) -> tuple[tuple[PointDef, int, Reader | None], ...]:
    """Returns (point, registers that it needs, reader of a number) for every point of a model."""
    definition = model(model_id)
    found: list[tuple[PointDef, int, Reader | None]] = []
    for point in definition.points.values():
        scale = scale_of(definition, point)
        end = max(point.offset + point.size, 0 if scale is None else scale.offset + 1)
        found.append((point, end, point_reader(point, scale, 0) if point.type in NUMBERS else None))
    return tuple(found)


def _text(registers: Registers) -> str | None:
    raw = b"".join(register.to_bytes(2, "big") for register in registers)
    text = raw.split(b"\0", 1)[0].decode("utf-8", errors="replace").strip()
    return text or None


def encode_model(model_id: int, values: Mapping[str, float | str | None], length: int | None = None) -> list[int]:
    """Returns the registers of one model, ID and L first; points without a value get their sentinel.

    Scale factors not given in `values` are chosen: the default exponent, raised until every value fits.
    `length` overrides L (models whose optional tail is absent).

    Raises:
        KeyError: a name that the model does not have.
        OverflowError: a value fits with no scale factor.
    """
    definition = model(model_id)
    unknown = sorted(values.keys() - definition.points.keys())
    if unknown:
        raise KeyError(f"SunSpec model {model_id} has no point {', '.join(unknown)}")
    size = definition.size if length is None else length + 2
    scales = _choose_scales(definition, values)
    image: list[int] = []
    for point in definition.points.values():
        if point.name in scales:
            value: float | str | None = scales[point.name]
        elif point.name == "ID":
            value = model_id
        elif point.name == "L":
            value = size - 2
        else:
            value = values.get(point.name)
        exponent = scales.get(point.scale, 0) if isinstance(point.scale, str) else point.scale or 0
        image.extend(encode_point(point, value, exponent))
    return image[:size]


def encode_point(point: PointDef, value: float | str | None, exponent: int = 0) -> tuple[int, ...]:
    """Returns the registers of one value [the point's unit] at scale factor 10^exponent; None = sentinel.

    Raises:
        OverflowError: the value does not fit at that exponent.
    """
    if point.type == "string" or isinstance(value, str):
        raw = str(value or "").encode()[: 2 * point.size].ljust(2 * point.size, b"\0")
        return tuple(int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2))
    if point.type not in NUMBERS:
        return (0x8000,) * point.size
    kind, absent = NUMBERS[point.type]
    if value is None:
        raw = (absent or 0).to_bytes(2 * kind.size, "big")
        return tuple(int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2))
    number = value if exponent == 0 else value * 10**-exponent if exponent < 0 else value / 10**exponent
    words = encode_number(kind, number)
    if absent is not None and not kind.real and round(number) % (1 << 16 * kind.size) == absent:
        raise OverflowError(f"{point.name}: {value} at 10^{exponent} would read as not implemented")
    return words


def _choose_scales(definition: ModelDef, values: Mapping[str, float | str | None]) -> dict[str, int]:
    chosen: dict[str, int] = {}
    for name, point in definition.points.items():
        if point.type != "sunssf":
            continue
        given = values.get(name)
        users = [p for p in definition.points.values() if p.scale == name and values.get(p.name) is not None]
        if isinstance(given, (int, float)):
            chosen[name] = round(given)
            continue
        exponent = DEFAULT_SCALE.get(name, 0)
        while exponent < 10 and not all(_fits(user, values[user.name], exponent) for user in users):
            exponent += 1
        chosen[name] = exponent
    return chosen


def _fits(point: PointDef, value: float | str | None, exponent: int) -> bool:
    try:
        encode_point(point, value, exponent)
    except OverflowError:
        return False
    return True


def encode_chain(models: Sequence[tuple[int, Mapping[str, float | str | None]]]) -> list[int]:
    """Returns a whole register image from its base: 'SunS', the models in order, the end model."""
    image = [*MARK]
    for model_id, values in models:
        image.extend(encode_model(model_id, values))
    return [*image, END_MODEL, 0]


@dataclass(frozen=True, slots=True)
class ModelAt:
    """Where a model begins: `address` of its ID register, 0-based; `length` = L, registers after ID and L."""

    id: int
    address: int
    length: int


@dataclass(slots=True)
class Scan:
    """The walk along a device's model chain: ask `request()`, read holding registers, hand over `answer()`.

    Done when `request()` is None: then `chain` holds the models, or is empty and `failure` says why.
    """

    bases: Sequence[int] = BASES
    chain: list[ModelAt] = field(default_factory=list[ModelAt])
    failure: str = ""
    _base: int = 0
    _address: int | None = None
    _done: bool = False

    def request(self) -> tuple[int, int] | None:
        """Returns the next (address, count) to read, None when the scan is over."""
        if self._done:
            return None
        return (self.bases[self._base], 4) if self._address is None else (self._address, 2)

    def answer(self, registers: Registers | BusFault) -> None:
        """Takes the answer to the last request. Silence leaves the scan where it is: ask again later."""
        if self._done or registers in _UNHEARD:
            return
        expected = 4 if self._address is None else 2
        if isinstance(registers, BusFault) or len(registers) != expected:
            self._reject()
        elif self._address is not None:
            self._header(self._address, registers[0], registers[1])
        elif tuple(registers[:2]) == MARK:
            self._header(self.bases[self._base] + 2, registers[2], registers[3])
        else:
            self._reject()

    def _header(self, address: int, model_id: int, length: int) -> None:
        if model_id == END_MODEL:
            self._done = True
            if not self.chain:
                self.failure = "the model chain is empty"
            return
        following = address + 2 + length
        if model_id == 0 or length == 0 or following > 65534 or len(self.chain) >= MODELS_MAX:
            self._fail(f"model chain broken at {address}: id {model_id}, length {length}")
            return
        self.chain.append(ModelAt(model_id, address, length))
        self._address = following

    def _reject(self) -> None:
        if self._address is not None:
            self._fail(f"no registers at {self._address}: the chain ends without an end model")
        elif self._base + 1 < len(self.bases):
            self._base += 1
        else:
            self._fail(f"no 'SunS' at {', '.join(map(str, self.bases))}: not a SunSpec device, or another unit id")

    def _fail(self, reason: str) -> None:
        self._done = True
        self.chain.clear()
        self.failure = reason
