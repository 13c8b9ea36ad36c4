"""JSON from outside, with its limits checked before it is parsed: bytes, depth, no NaN or infinity."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import NoReturn, TypeAlias, cast

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"

BYTES_MAX = 256 * 1024
DEPTH_MAX = 16

_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STEP = dict(zip(b"[{]}", (1, 1, -1, -1), strict=True))
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


class BadJson(ValueError):
    """Bytes from outside that are not JSON within the limits."""


def parse(payload: bytes, bytes_max: int = BYTES_MAX, depth_max: int = DEPTH_MAX) -> JsonValue:
    """Returns the value that UTF-8 JSON text holds; every float in it is finite.

    Raises:
        BadJson: too long, too deep, not UTF-8, not JSON, or a number that is not finite.
    """
    if len(payload) > bytes_max:
        raise BadJson(f"{len(payload)} bytes, at most {bytes_max} are read")
    if payload.count(b"[") + payload.count(b"{") > depth_max and _depth(payload) > depth_max:
        raise BadJson(f"nested deeper than {depth_max}")
    try:
        return cast("JsonValue", _DECODER.decode(payload.decode()))
    except (ValueError, RecursionError) as error:  # ValueError: also UTF-8 and numbers of over 4,300 digits
        raise BadJson(str(error)) from None


def compact(value: JsonValue) -> bytes:
    """Returns JSON without spaces; keys stay in their order.

    Raises:
        ValueError: a float that is not finite (ours: never send one).
    """
    return _ENCODER.encode(value).encode()


def _depth(payload: bytes) -> int:
    brackets = _STRING.sub(b"", payload).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def _refuse(text: str) -> NoReturn:
    raise BadJson(f"{text} is not a number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0.0:
        raise BadJson(f"{text[:20]} is beyond a double")
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
