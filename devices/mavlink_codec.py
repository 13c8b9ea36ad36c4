"""MAVLink 2 frames: bytes <-> values, by pymavlink's generated `common` dialect. No I/O, no clock.

A `Frame` is a message's name and fields as numbers, texts or tuples, so session cores need not know pymavlink. Junk,
bad checksums and unknown messages are skipped and counted; nothing that comes from a wire raises.

Source: https://mavlink.io/en/guide/serialization.html; message set `common`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pymavlink.dialects.v20 import common as _common

common = cast("Any", _common)  # pymavlink's generated code has no types

Value = int | float | str | tuple[int | float, ...]

BUFFER_MAX = 64 * 1024
"""One read of a socket or a serial line is never longer; what is longer is cut."""
_FRAME_ERRORS = (common.MAVError, struct.error, ValueError, IndexError, KeyError, TypeError)
_CLASSES: dict[str, Any] = {cls.msgname: cls for cls in common.mavlink_map.values()}


@dataclass(frozen=True, slots=True)
class Frame:
    """One message. `system` and `component` say who sent it (0 in a message that is still to be sent)."""

    name: str
    fields: Mapping[str, Value] = field(default_factory=dict[str, Value])
    system: int = 0
    component: int = 0

    def whole(self, key: str) -> int:
        """Returns a field as a whole number; 0 where it is none."""
        value = self.fields.get(key, 0)
        return value if isinstance(value, int) else 0

    def number(self, key: str) -> float:
        """Returns a field as a finite number; 0 where it is none."""
        value = self.fields.get(key, 0.0)
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0

    def text(self, key: str) -> str:
        """Returns a field as text; empty where it is none."""
        value = self.fields.get(key, "")
        return value if isinstance(value, str) else ""

    def many(self, key: str) -> tuple[int | float, ...]:
        """Returns an array field; empty where it is none."""
        value = self.fields.get(key, ())
        return value if isinstance(value, tuple) else ()


class Codec:
    """One end of a link: its own ids and sequence number, and the half frame that the last read ended with."""

    def __init__(self, system: int, component: int) -> None:
        """`system` 255 and `component` 190 are a ground station's, 1 and 1 a first aircraft's."""
        self.system, self.component = system, component
        self.counters: dict[str, int] = {}
        self._mav = self._fresh(0)

    def _fresh(self, sequence: int) -> Any:  # noqa: ANN401 -- as above
        mav: Any = common.MAVLink(None, srcSystem=self.system, srcComponent=self.component)
        mav.robust_parsing = True
        mav.seq = sequence
        return mav

    def encode(self, frame: Frame) -> bytes:
        """Returns a frame's bytes; fields that are left out are 0.

        Raises:
            ValueError: no such message, or a field that does not fit: a mistake of ours.
        """
        cls = _CLASSES.get(frame.name)
        if cls is None:
            raise ValueError(f"MAVLink's common set has no message {frame.name}")
        lengths = dict(zip(cls.ordered_fieldnames, cls.array_lengths, strict=True))
        kinds = dict(zip(cls.fieldnames, cls.fieldtypes, strict=True))
        values = [_to_wire(frame.fields.get(name, 0), kinds[name], lengths[name]) for name in cls.fieldnames]
        try:
            return bytes(cls(*values).pack(self._mav))
        except (struct.error, TypeError) as error:
            raise ValueError(f"{frame.name}: {error}") from error

    def decode(self, data: bytes) -> list[Frame]:
        """Returns the frames that `data` completes. Anything else is counted, never raised."""
        try:
            messages: list[Any] = self._mav.parse_buffer(data[:BUFFER_MAX]) or []
        except _FRAME_ERRORS:  # the parser's state cannot be trusted any more
            self._count("parser_reset")
            self._mav = self._fresh(self._mav.seq)
            return []
        frames: list[Frame] = []
        for message in messages:
            name: str = message.get_type()
            if name == "BAD_DATA" or name.startswith("UNKNOWN_"):
                self._count("skipped")
                continue
            names: list[str] = message.get_fieldnames()
            fields = {key: _from_wire(getattr(message, key)) for key in names}
            frames.append(Frame(name, fields, message.get_srcSystem(), message.get_srcComponent()))
        return frames

    def _count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1


def _to_wire(value: Value, kind: str, length: int) -> object:
    if kind == "char":
        return (value if isinstance(value, str) else "").encode("ascii", "replace")[: max(length, 1)]
    if length:
        items = list(value) if isinstance(value, tuple) else []
        return (items + [0] * length)[:length]
    return value


def _from_wire(value: object) -> Value:
    if isinstance(value, (int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).rstrip(b"\0").decode("ascii", "replace")
    return tuple(cast("list[int | float]", value))
