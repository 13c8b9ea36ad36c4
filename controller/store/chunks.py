"""Telemetry chunks: columns of one time axis -> delta -> bytes by significance -> zlib -> CRC32. Pure.

A chunk is `crc32 (4 bytes) | zlib(body)`; the CRC covers the compressed bytes, so that every flipped bit is
seen before anything is parsed. The body holds the sample count, the times, and per column marks and values.
"""

from __future__ import annotations

import math
import struct
import sys
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from operator import sub
from typing import cast

from devices.model import Quality

SIMULATED = 0x10
"""Flag in a mark beside the quality."""
QUALITY_MASK = 0x0F
SAMPLES_MAX = 1_000_000
BODY_BYTES_MAX = 64 * 1024 * 1024
SCALE_DIGITS_MAX = 4
EXACT_INT_MAX = 2**52

_COUNT = struct.Struct("<BII")
_INT = struct.Struct("<q")
_LENGTH = struct.Struct("<I")
_CRC = struct.Struct("<I")
_VERSION = 1
_NO_VALUE = frozenset({Quality.BAD, Quality.BAD | SIMULATED})
_WIDTHS = (("b", 1 << 7), ("h", 1 << 15), ("i", 1 << 31), ("q", 1 << 63))


class BadChunk(ValueError):
    """A chunk whose bytes are not what was written."""


@dataclass(frozen=True, slots=True)
class Column:
    """One point's samples: `values[i]` is None exactly when the quality in `marks[i]` is BAD."""

    values: tuple[float | None, ...]
    marks: bytes  # Quality | SIMULATED


@dataclass(frozen=True, slots=True)
class Block:
    """Columns over one time axis [ms UTC], as they were polled."""

    times: tuple[int, ...]
    columns: tuple[Column, ...]


def encode(block: Block) -> bytes:
    """Returns the chunk of a block; non-finite values are stored as BAD without a value.

    Raises:
        ValueError: columns and times differ in length, or there are more than 1,000,000 samples.
    """
    count = len(block.times)
    if count > SAMPLES_MAX or any(len(c.values) != count or len(c.marks) != count for c in block.columns):
        raise ValueError(f"columns of {count} times (at most {SAMPLES_MAX}) must all have that length")
    parts = [_COUNT.pack(_VERSION, count, len(block.columns)), _pack_ints(block.times)]
    for column in block.columns:
        parts += _pack_column(column)
    packed = zlib.compress(b"".join(parts), 6)
    return _CRC.pack(zlib.crc32(packed)) + packed


def decode(chunk: bytes) -> Block:
    """Returns the block of a chunk.

    Raises:
        BadChunk: the CRC or the structure is wrong.
    """
    packed = chunk[_CRC.size :]
    if len(chunk) < _CRC.size or _CRC.unpack_from(chunk)[0] != zlib.crc32(packed):
        raise BadChunk(f"chunk of {len(chunk)} bytes: its CRC32 is wrong")
    inflate = zlib.decompressobj()
    try:
        body = inflate.decompress(packed, BODY_BYTES_MAX)
        if inflate.unconsumed_tail:
            raise BadChunk(f"chunk body exceeds {BODY_BYTES_MAX} bytes")
        return _parse(_Cursor(body))
    except (zlib.error, struct.error, IndexError, OverflowError) as error:
        raise BadChunk(f"chunk of {len(chunk)} bytes: {error}") from error


class _Cursor:
    """Takes bytes off the front of a body."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, count: int) -> bytes:
        if count < 0 or self._at + count > len(self._body):
            raise BadChunk(f"chunk body ends at {len(self._body)}, {count} bytes wanted at {self._at}")
        part = self._body[self._at : self._at + count]
        self._at += count
        return part


def _parse(cursor: _Cursor) -> Block:
    version, count, columns = _COUNT.unpack(cursor.take(_COUNT.size))
    if version != _VERSION or count > SAMPLES_MAX:
        raise BadChunk(f"chunk version {version} with {count} samples: this program reads version {_VERSION}")
    times = tuple(_unpack_ints(cursor, count))
    return Block(times, tuple(_unpack_column(cursor, count) for _ in range(columns)))


def _pack_column(column: Column) -> list[bytes]:
    values, marks = _sane(column)
    alike = not marks or marks.count(marks[0]) == len(marks)
    head = b"=" + marks[:1] if alike else b"*" + marks
    scaled = _scaled(values)
    if scaled is None:
        return [head, b"d", _shuffled(_little(array("d", values)))]
    digits, numbers = scaled
    return [head, b"%d" % digits, _pack_ints(numbers)]


def _unpack_column(cursor: _Cursor, count: int) -> Column:
    if count == 0:
        cursor.take(2 + len(_pack_ints(())))
        return Column((), b"")
    marks = cursor.take(1) * count if cursor.take(1) == b"=" else cursor.take(count)
    coding = cursor.take(1)
    if coding == b"d":
        numbers = _from_little("d", _unshuffled(cursor.take(8 * count), 8)).tolist()
    elif coding.isdigit():
        scale = 10 ** int(coding)
        numbers = [number / scale for number in _unpack_ints(cursor, count)]
    else:
        raise BadChunk(f"unknown value coding {coding!r}")
    bad = Quality.BAD
    if any(mark & QUALITY_MASK == bad for mark in set(marks)):
        pairs = zip(numbers, marks, strict=True)
        return Column(tuple(None if mark & QUALITY_MASK == bad else number for number, mark in pairs), marks)
    return Column(tuple(numbers), marks)


def _sane(column: Column) -> tuple[list[float], bytes]:
    """Returns the column without gaps and with the rule enforced: no value <=> BAD.

    A gap takes the value before it, which costs nothing after the delta.
    """
    values, marks = column.values, column.marks
    if None not in values and not _NO_VALUE.intersection(marks):
        numbers = list(map(float, values))  # pyright: ignore[reportArgumentType]  # None is ruled out above
        if math.isfinite(sum(numbers)):
            return numbers, marks
    last, filled, fixed = 0.0, list[float](), bytearray()
    for value, mark in zip(values, marks, strict=True):
        if value is not None and mark not in _NO_VALUE and math.isfinite(value):
            last = float(value)
        else:
            mark = Quality.BAD | (mark & SIMULATED)  # noqa: PLW2901  # the mark is what this loop mends
        filled.append(last)
        fixed.append(mark)
    return filled, bytes(fixed)


def _scaled(values: list[float]) -> tuple[int, list[int]] | None:
    """Returns (digits, whole numbers) with `number / 10**digits` exactly each value, or None."""
    if not values:
        return 0, []
    largest = max(values, key=abs)
    if abs(largest) >= EXACT_INT_MAX / 10**SCALE_DIGITS_MAX:
        return None
    numbers = list(map(int, values))
    if numbers == values:
        return 0, numbers
    probe = values[:8]
    for digits in range(1, SCALE_DIGITS_MAX + 1):
        scale = 10**digits
        if [round(value * scale) / scale for value in probe] == probe:
            numbers = [round(value * scale) for value in values]
            if [number / scale for number in numbers] == values:
                return digits, numbers
    return None


def _pack_ints(numbers: Sequence[int]) -> bytes:
    """Returns the first number and the deltas of the rest, in the narrowest width that holds them."""
    if not numbers:
        return b"="
    deltas = list(map(sub, islice(numbers, 1, None), numbers))
    first = _INT.pack(numbers[0])
    low, high = (min(deltas), max(deltas)) if deltas else (0, 0)
    if low == high:
        return b"=" + first + _INT.pack(low)
    code = next(code for code, limit in _WIDTHS if -limit <= low and high < limit)
    packed = _little(array(code, deltas))
    return code.encode() + first + _LENGTH.pack(len(packed)) + _shuffled(packed, array(code).itemsize)


def _unpack_ints(cursor: _Cursor, count: int) -> Sequence[int]:
    code = cursor.take(1)
    if count == 0:
        return ()
    (first,) = _INT.unpack(cursor.take(_INT.size))
    if code == b"=":
        (step,) = _INT.unpack(cursor.take(_INT.size))
        return range(first, first + step * count, step) if step else [first] * count
    if code not in (b"b", b"h", b"i", b"q"):
        raise BadChunk(f"unknown width {code!r}")
    width = array(code.decode()).itemsize
    (length,) = _LENGTH.unpack(cursor.take(_LENGTH.size))
    if length != (count - 1) * width:
        raise BadChunk(f"{length} bytes of deltas for {count} samples of width {width}")
    deltas = cast("array[int]", _from_little(code.decode(), _unshuffled(cursor.take(length), width)))
    return list(accumulate(deltas, initial=first))


def _shuffled(data: bytes, width: int = 8) -> bytes:
    """Returns the bytes grouped by significance: the high ones are nearly all equal and compress away."""
    return data if width == 1 else b"".join(data[place::width] for place in range(width))


def _unshuffled(data: bytes, width: int) -> bytes:
    if width == 1:
        return data
    count = len(data) // width
    out = bytearray(len(data))
    for place in range(width):
        out[place::width] = data[place * count : (place + 1) * count]
    return bytes(out)


def _little(numbers: array[int] | array[float]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _from_little(code: str, data: bytes) -> array[float]:
    numbers: array[float] = array(code)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
