"""16-bit registers to numbers and back: types, word order, sentinels, blocks of points read in one request."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

READ_MAX = 125
"""Registers in one Modbus read at most."""

Registers = Sequence[int]
Reader = Callable[[Registers], float | None]
"""Takes the registers of one block; returns the number, or None where the device has none to give."""


@dataclass(frozen=True, slots=True)
class NumberType:
    """One register type: how many registers, how to read them, what they hold at most."""

    name: str
    size: int
    signed: bool = False
    real: bool = False

    @property
    def low(self) -> int:
        """Returns the smallest whole number that fits."""
        return -(1 << (16 * self.size - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Returns the largest whole number that fits."""
        return (1 << (16 * self.size - self.signed)) - 1


TYPES = {
    t.name: t
    for t in (
        NumberType("bit", 1),
        NumberType("uint16", 1),
        NumberType("int16", 1, signed=True),
        NumberType("uint32", 2),
        NumberType("int32", 2, signed=True),
        NumberType("uint64", 4),
        NumberType("int64", 4, signed=True),
        NumberType("float32", 2, real=True),
        NumberType("float64", 4, real=True),
    )
}
"""Type names of profiles; `bit` is one coil or discrete input."""


@dataclass(frozen=True, slots=True)
class RegisterWrite:
    """One Modbus write request: function 5, 6, 15 or 16, 0-based address on the wire; coils are 0 or 1."""

    function: int
    address: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Points that one read request brings, with a reader for each.

    `function` is a Modbus read function (1-4), `address` 0-based as on the wire.
    """

    function: int
    address: int
    count: int
    points: tuple[str, ...]
    readers: tuple[Reader, ...]
    every: int = 1  # read only at every so many polls; in between its last answer stands
    scaled: bool = False  # its readers want the registers of the device's first block behind its own: scale registers

    def decode(self, registers: Registers, scales: Registers | None = None) -> list[float | None]:
        """Returns one value per point; all None where the answer has the wrong length, or its scales are not known.

        `scales` is the last answer of the device's first block.
        """
        if len(registers) != self.count or (self.scaled and scales is None):
            return [None] * len(self.points)
        whole = (*registers, *scales) if self.scaled and scales is not None else registers
        return [read(whole) for read in self.readers]


def raw_reader(kind: NumberType, index: int, absent: frozenset[int], low_word_first: bool = False) -> Reader:
    """Returns a reader of the unscaled number at `index` of a block; raw words in `absent` mean None.

    NaN and infinity of the float types always read as None.
    """
    if kind.real:
        return _real_reader(kind, index, low_word_first)
    if kind.size == 1:
        return _word_reader(index, kind.signed, absent)
    if kind.size == 2:
        high, low = (index + 1, index) if low_word_first else (index, index + 1)
        return _double_reader(high, low, kind.signed, absent)
    return _long_reader(kind, index, absent, low_word_first)


def _word_reader(index: int, signed: bool, absent: frozenset[int]) -> Reader:
    def read_unsigned(registers: Registers) -> float | None:
        raw = registers[index]
        return None if raw in absent else raw

    def read_signed(registers: Registers) -> float | None:
        raw = registers[index]
        if raw in absent:
            return None
        return raw - 65536 if raw >= 32768 else raw

    return read_signed if signed else read_unsigned


def _double_reader(high: int, low: int, signed: bool, absent: frozenset[int]) -> Reader:
    def read(registers: Registers) -> float | None:
        raw = registers[high] << 16 | registers[low]
        if raw in absent:
            return None
        return raw - 4294967296 if signed and raw >= 2147483648 else raw

    return read


def _long_reader(kind: NumberType, index: int, absent: frozenset[int], low_word_first: bool) -> Reader:
    order = range(index + kind.size - 1, index - 1, -1) if low_word_first else range(index, index + kind.size)
    words = tuple(order)
    modulus = 1 << (16 * kind.size)

    def read(registers: Registers) -> float | None:
        raw = 0
        for word in words:
            raw = raw << 16 | registers[word]
        if raw in absent:
            return None
        return raw - modulus if kind.signed and raw > kind.high else raw

    return read


def _real_reader(kind: NumberType, index: int, low_word_first: bool) -> Reader:
    words = tuple(range(index, index + kind.size))
    if low_word_first:
        words = words[::-1]
    pack = struct.Struct(f">{kind.size}H").pack
    unpack = struct.Struct(">f" if kind.size == 2 else ">d").unpack

    def read(registers: Registers) -> float | None:
        value: float = unpack(pack(*[registers[word] for word in words]))[0]
        return value if math.isfinite(value) else None

    return read


def scaled(read: Reader, factor: float, offset: float = 0.0) -> Reader:
    """Returns a reader of raw x factor + offset; a factor below 1 divides, so that 0.1 leaves no float dust."""
    if factor == 1 and offset == 0:
        return read
    divisor = round(1 / factor) if 0 < abs(factor) < 1 else 0
    exact = divisor != 0 and math.isclose(divisor * factor, 1.0, rel_tol=1e-12)
    multiplier = int(factor) if float(factor).is_integer() else factor

    def read_scaled(registers: Registers) -> float | None:
        raw = read(registers)
        if raw is None:
            return None
        return (raw / divisor if exact else raw * multiplier) + offset

    return read_scaled if offset else _without_offset(read, divisor if exact else 0, multiplier)


def _without_offset(read: Reader, divisor: int, multiplier: float) -> Reader:
    def read_divided(registers: Registers) -> float | None:
        raw = read(registers)
        return None if raw is None else raw / divisor

    def read_multiplied(registers: Registers) -> float | None:
        raw = read(registers)
        return None if raw is None else raw * multiplier + 0  # + 0: no minus zero

    return read_divided if divisor else read_multiplied


EXPONENT_MAX = 10
"""A scale register that says more is none: 0x8000 and whatever else stands where no exponent is."""


def times_power_of_ten(read: Reader, index: int) -> Reader:
    """Returns a reader of the number times 10^n; n is the signed register at `index`, None where that is none."""

    def read_shifted(registers: Registers) -> float | None:
        raw = registers[index]
        exponent = raw - 65536 if raw > 32767 else raw
        value = read(registers)
        if value is None or abs(exponent) > EXPONENT_MAX:
            return None
        return value * 10**exponent if exponent >= 0 else value / 10**-exponent

    return read_shifted


def within(read: Reader, low: float, high: float) -> Reader:
    """Returns a reader that has no number to give outside [low, high]."""

    def read_within(registers: Registers) -> float | None:
        value = read(registers)
        return value if value is not None and low <= value <= high else None

    return read_within


def whole(read: Reader) -> Reader:
    """Returns a reader of the nearest whole number (registers that count energy or water)."""

    def read_whole(registers: Registers) -> float | None:
        value = read(registers)
        return None if value is None else round(value)

    return read_whole


def encode_number(kind: NumberType, value: float, low_word_first: bool = False) -> tuple[int, ...]:
    """Returns the registers of an unscaled number.

    Raises:
        OverflowError: the number does not fit the type.
    """
    if kind.real:
        raw = struct.pack(">f" if kind.size == 2 else ">d", value)
    else:
        number = round(value)
        if not kind.low <= number <= kind.high:
            raise OverflowError(f"{number} does not fit {kind.name} ({kind.low} to {kind.high})")
        raw = (number % (1 << (16 * kind.size))).to_bytes(2 * kind.size, "big")
    words = struct.unpack(f">{kind.size}H", raw)
    return words[::-1] if low_word_first else words
