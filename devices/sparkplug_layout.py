"""Live Sparkplug messages read by their layout: one `struct` call for a message shaped like one seen before.

A device repeats itself: the same metrics in the same order, and only numbers, time stamps and `seq` change. `learn`
takes such a message apart once and notes which bytes are fixed and where the changing ones stand. `Layout.read` then
believes a message only if every fixed byte is the same and every changing piece has the form that it had, so that
protobuf would read the very same; anything else is answered with None and goes the usual way.

Source: protobuf encoding (varints, tags, little-endian doubles); Sparkplug 3.0.0, section 6.4.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from devices.clock import Instant
from devices.model import DeviceId, Quality, Readings

METRICS_MAX = 200
"""Longer messages go the usual way: their struct would be compiled for little."""
REGISTERS_KNOWN_MAX = 4_096
_STAMP = 6  # bytes of a varint for any instant from 2004 to 2109

Pick = Callable[[Sequence[Any]], Any]


@dataclass(slots=True)
class Layout:
    """The form of one device's message of one length."""

    unpack: Callable[[bytes], tuple[Any, ...]]
    fixed: Pick
    constants: object
    stamps: Pick
    count: int
    values: Pick
    registers: tuple[int, ...]  # which of the values are varints
    seq: int  # where the sequence number stands
    points: tuple[str, ...]
    qualities: tuple[Quality, ...]
    known: dict[bytes, int]

    def read(self, device: DeviceId, payload: bytes, simulated: bool) -> tuple[int, Readings] | None:
        """Returns (seq, readings), or None for a message of another form; `payload` has the learnt length."""
        parts = self.unpack(payload)
        stamps = self.stamps(parts)
        raw = stamps[0]
        if self.fixed(parts) != self.constants or stamps.count(raw) != self.count:
            return None
        bits = int.from_bytes(raw, "little")
        values = list(self.values(parts))
        for index in self.registers:
            piece = values[index]
            number = self.known.get(piece)
            if number is None:
                number = self._register(piece)
                if number is None:
                    return None
            values[index] = number
        total = sum(values)
        seq = parts[self.seq] if type(parts[self.seq]) is int else varint(parts[self.seq])
        if bits & 0x808080808080 != 0x8080808080 or total - total != 0.0 or seq is None:
            return None
        at = (
            bits & 0x7F
            | bits >> 1 & 0x3F80
            | bits >> 2 & 0x1FC000
            | bits >> 3 & 0xFE00000
            | bits >> 4 & 0x7F0000000
            | bits >> 5 & 0x3F800000000
        )
        return seq, Readings(device, Instant(at), self.points, tuple(values), self.qualities, simulated)

    def _register(self, piece: bytes) -> int | None:
        number = varint(piece)
        if number is None:
            return None
        number = number - (1 << 64) if number >> 63 else number
        if len(self.known) >= REGISTERS_KNOWN_MAX:
            self.known.clear()
        self.known[piece] = number
        return number


def learn(payload: bytes, points: tuple[str, ...]) -> Layout | None:
    """Returns the layout of a message that was read as good values of `points`, or None for one of another form.

    Taken are: payload time stamp, metrics of alias, time stamp, datatype and one Double or Int64, and seq.
    """
    pieces: list[tuple[str, int, int]] = []
    if not 0 < len(points) <= METRICS_MAX or not _payload(payload, pieces):
        return None
    kinds = [kind for kind, _, _ in pieces]
    stamps = [index for index, kind in enumerate(kinds) if kind == "t"]
    numbers = [index for index, kind in enumerate(kinds) if kind in "dv"]
    if len(stamps) != len(points) + 1 or len(numbers) != len(points) or kinds.count("q") != 1:
        return None
    fixed = [index for index, kind in enumerate(kinds) if kind == "c"]
    return Layout(
        unpack=struct.Struct("<" + "".join(_format(kind, end - start) for kind, start, end in pieces)).unpack,
        fixed=itemgetter(*fixed),
        constants=itemgetter(*fixed)([payload[start:end] for _, start, end in pieces]),
        stamps=itemgetter(*stamps),
        count=len(stamps),
        values=_pick(numbers),
        registers=tuple(place for place, index in enumerate(numbers) if kinds[index] == "v"),
        seq=kinds.index("q"),
        points=points,
        qualities=(Quality.GOOD,) * len(points),
        known={},
    )


def varint(piece: bytes) -> int | None:
    """Returns the number that exactly these bytes encode, or None where they are no whole varint of 64 bits."""
    result = shift = 0
    for byte in piece[:-1]:
        if byte < 0x80:
            return None
        result |= (byte & 0x7F) << shift
        shift += 7
    last = piece[-1]
    return None if last > 0x7F or shift > 63 else (result | last << shift) & 0xFFFFFFFFFFFFFFFF


def _pick(indices: Sequence[int]) -> Pick:
    """Returns what picks these parts as a sequence, also for one."""
    if len(indices) == 1:
        only = indices[0]
        return lambda parts: (parts[only],)
    return itemgetter(*indices)


def _format(kind: str, size: int) -> str:
    return "d" if kind == "d" else "B" if kind == "q" and size == 1 else f"{size}s"


def _payload(data: bytes, pieces: list[tuple[str, int, int]]) -> bool:
    """Splits a payload into pieces (kind, start, end): c fixed, t time stamp, d double, v varint, q seq."""
    position, size = 0, len(data)
    while position < size:
        tag = data[position]
        start = position + 1
        if tag == 0x08:
            position = _stamp(data, start, pieces)
        elif tag == 0x18:
            position = _varint_end(data, start)
            pieces += [("c", start - 1, start), ("q", start, position)]
        elif tag == 0x12:
            inside = _varint_end(data, start)
            length = varint(data[start:inside]) if inside > 0 else None
            if length is None or inside + length > size:
                return False
            position = inside + length
            pieces.append(("c", start - 1, inside))
            if not _metric(data, inside, position, pieces):
                return False
        else:
            return False
        if position < 0:
            return False
    return True


def _metric(data: bytes, position: int, end: int, pieces: list[tuple[str, int, int]]) -> bool:
    seen: list[int] = []
    while position < end:
        tag = data[position]
        start = position + 1
        if tag in (0x10, 0x20):  # alias, datatype
            position = _varint_end(data, start)
            pieces.append(("c", start - 1, position))
        elif tag == 0x18:
            position = _stamp(data, start, pieces)
        elif tag == 0x69:  # double
            position = start + 8
            pieces += [("c", start - 1, start), ("d", start, position)]
            tag = 0x58  # one value, of either kind
        elif tag == 0x58:  # int64
            position = _varint_end(data, start)
            pieces += [("c", start - 1, start), ("v", start, position)]
        else:
            return False
        if not 0 < position <= end:
            return False
        seen.append(tag)
    return {0x10, 0x18, 0x58} <= set(seen)  # `learn` counts them, so each stands once


def _stamp(data: bytes, start: int, pieces: list[tuple[str, int, int]]) -> int:
    end = _varint_end(data, start)
    pieces += [("c", start - 1, start), ("t", start, end)]
    return end if end - start == _STAMP else -1


def _varint_end(data: bytes, start: int) -> int:
    """Returns where a varint of at most ten bytes ends, -1 where none does."""
    for end in range(start, min(start + 10, len(data))):
        if data[end] < 0x80:
            return end + 1
    return -1
