"""Frozen dataclasses <-> JSON objects: every field is checked by its type, and every problem is listed.

A field may carry `metadata`: `key` (its JSON name where that is no Python name), `low` and `high` (inclusive). Optional
fields (`X | None`) may be missing and are left out when None; other fields with a default may be missing too.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from dataclasses import MISSING, dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from devices.bounded_json import JsonValue

T = TypeVar("T")

TEXT_MAX = 1_024
ITEMS_MAX = 1_000
PROBLEMS_MAX = 20
NUMBER_MAX = float(1 << 53)
_PLAIN = frozenset({str, int, float, bool})

Place: TypeAlias = "str | tuple[Place, str | int]"
"""Where a value stands, with the key or index last; put into words only when something is wrong with it."""

Reader = Callable[[JsonValue, Place, list[str]], object]
"""(value, where it stands, problems so far) -> the Python value, or None after adding a problem."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    key: str
    read: Reader
    required: bool


def read(cls: type[T], value: JsonValue, path: Place, problems: list[str]) -> T | None:
    """Returns an instance of the dataclass `cls`, or None after adding what is wrong (at most 20 texts)."""
    if not isinstance(value, dict):
        return _wrong(problems, path, "an object", value)
    before = len(problems)
    found: dict[str, object] = {}
    for field in _fields(cls):
        entry = value.get(field.key)
        if entry is not None:
            found[field.name] = field.read(entry, (path, field.key), problems)
        elif field.required:
            _wrong(problems, (path, field.key), "a value", None)
        if problems and len(problems) >= PROBLEMS_MAX:
            return None
    return cls(**found) if len(problems) == before else None


def write(value: object) -> JsonValue:
    """Returns the JSON value of a dataclass instance (or of a field of one)."""
    if value is None or type(value) in _PLAIN:
        return cast("JsonValue", value)
    if isinstance(value, tuple):
        return [write(entry) for entry in cast("tuple[object, ...]", value)]
    if isinstance(value, StrEnum):
        return str(value)
    if not dataclasses.is_dataclass(value):
        return cast("JsonValue", value)
    out: dict[str, JsonValue] = {}
    for field in _fields(type(value)):
        entry = getattr(value, field.name)
        if entry is not None:
            out[field.key] = cast("JsonValue", entry) if type(entry) in _PLAIN else write(entry)
    return out


@cache
def _fields(cls: type[Any]) -> tuple[_Field, ...]:
    hints = get_type_hints(cls)
    return tuple(
        _Field(
            name=field.name,
            key=cast("str", field.metadata.get("key", field.name)),
            read=_reader(hints[field.name], field.metadata.get("low"), field.metadata.get("high")),
            required=field.default is MISSING and field.default_factory is MISSING,
        )
        for field in dataclasses.fields(cls)
    )


def _reader(hint: Any, low: float | None, high: float | None) -> Reader:  # noqa: ANN401 - a type hint is any object
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not types.NoneType]
        return _reader(inner[0], low, high) if len(inner) == 1 else _anything
    if origin is tuple:
        return _items(_reader(arguments[0], low, high))
    if dataclasses.is_dataclass(hint):
        return lambda value, path, problems: read(cast("type[object]", hint), value, path, problems)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _choice(hint)
    if hint is bool:
        return lambda value, path, problems: (
            value if isinstance(value, bool) else _wrong(problems, path, "true or false", value)
        )
    if hint in (int, float):
        return _number(whole=hint is int, low=low, high=high)
    return _text if hint is str else _anything


def _anything(value: JsonValue, _path: Place, _problems: list[str]) -> object:
    return value


def _text(value: JsonValue, path: Place, problems: list[str]) -> object:
    if isinstance(value, str) and len(value) <= TEXT_MAX:
        return value
    return _wrong(problems, path, f"a text of at most {TEXT_MAX} characters", value)


def _number(*, whole: bool, low: float | None, high: float | None) -> Reader:
    at_least, at_most = (-NUMBER_MAX if low is None else low), (NUMBER_MAX if high is None else high)
    kind = "a whole number" if whole else "a number"
    text = kind if low is None and high is None else f"{kind} from {at_least:g} to {at_most:g}"

    def reader(value: JsonValue, path: Place, problems: list[str]) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float) or not at_least <= value <= at_most:
            return _wrong(problems, path, text, value)
        if whole and value != int(value):
            return _wrong(problems, path, text, value)
        return int(value) if whole else float(value)

    return reader


def _choice(kind: type[StrEnum]) -> Reader:
    members = {member.value: member for member in kind}

    def reader(value: JsonValue, path: Place, problems: list[str]) -> object:
        member = members.get(value) if isinstance(value, str) else None
        return member if member is not None else _wrong(problems, path, f"one of {', '.join(members)}", value)

    return reader


def _items(inner: Reader) -> Reader:
    def reader(value: JsonValue, path: Place, problems: list[str]) -> object:
        if not isinstance(value, list) or len(value) > ITEMS_MAX:
            return _wrong(problems, path, f"a list of at most {ITEMS_MAX}", value)
        out: list[object] = []
        for index, entry in enumerate(value):
            out.append(inner(entry, (path, index), problems))
            if len(problems) >= PROBLEMS_MAX:
                break
        return tuple(out)

    return reader


def _words(path: Place) -> str:
    if isinstance(path, str):
        return path
    return f"{_words(path[0])}[{path[1]}]" if isinstance(path[1], int) else f"{_words(path[0])}.{path[1]}"


def _wrong(problems: list[str], path: Place, wanted: str, seen: JsonValue) -> None:
    problems.append(f"{_words(path)}: want {wanted}, saw {'nothing' if seen is None else repr(seen)[:60]}")
