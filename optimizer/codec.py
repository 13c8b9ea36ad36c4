"""Problem, Stop, Plan and Infeasible as JSON text and back. Strict: what is not exactly right is `Unreadable`.

The shape is the dataclasses themselves; unknown and missing keys, wrong types, NaN and infinity are refused,
and the same value always gives the same bytes.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from math import isfinite
from typing import NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from optimizer.plan import Infeasible, Plan
from optimizer.problem import Problem, Stop


class Unreadable(ValueError):
    """A text is not the value that it should be; the message names the place."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the planner child is asked; `number` comes back in the answer."""

    number: int
    problem: Problem
    stop: Stop
    seed: int


@dataclass(frozen=True, slots=True)
class Answered:
    """What the planner child answers: exactly one of plan, infeasible and failure is there."""

    number: int
    seconds: float
    peak_kib: int  # resident memory of the child, its highest so far
    plan: Plan | None = None
    infeasible: Infeasible | None = None
    failure: str | None = None


_Value = TypeVar("_Value")
_Decoder = Callable[[object, str], object]


def encode(value: Problem | Stop | Plan | Infeasible | Question | Answered) -> str:
    """Returns one line of JSON.

    Raises:
        Unreadable: a number is NaN or infinite.
    """
    try:
        return json.dumps(_plain(value), separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    except ValueError as error:
        raise Unreadable(f"{type(value).__name__} cannot be written: {error}") from error


def decode(kind: type[_Value], text: str | bytes) -> _Value:
    """Returns the value of `kind` that a text holds.

    Raises:
        Unreadable: not JSON, or not exactly such a value.
    """
    try:
        tree: object = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{kind.__name__}: not JSON: {str(error)[:200]}") from error
    return cast("_Value", _decoder(kind)(tree, kind.__name__))


def _refuse_constant(name: str) -> NoReturn:
    raise Unreadable(f"{name} is not a number")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise Unreadable("a key stands twice")
    return tree


def _plain(value: object) -> object:
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in cast("Mapping[object, object]", value).items()}
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    raise Unreadable(f"{type(value).__name__} has no JSON form")


@cache
def _decoder(kind: object) -> _Decoder:
    kind = getattr(kind, "__supertype__", kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is float:
        return _float
    if kind is int or kind is str or kind is bool:
        return _exactly(kind)
    if origin is tuple:
        return _tuple(_decoder(arguments[0]))
    if origin in (types.UnionType, Union):
        return _optional(_decoder(next(a for a in arguments if a is not type(None))))
    if origin is not None and issubclass(cast("type", origin), Mapping):
        return _mapping(_decoder(arguments[1]))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _enum(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return _record(kind)
    raise TypeError(f"no decoder for {kind}")


def _float(value: object, at: str) -> float:
    if type(value) not in (int, float):
        raise Unreadable(f"{at}: {value!r:.80} is not a number")
    try:
        number = float(cast("float", value))
    except OverflowError as error:
        raise Unreadable(f"{at}: number too large") from error
    if not isfinite(number):
        raise Unreadable(f"{at}: number too large")
    return number


def _exactly(kind: type) -> _Decoder:
    def decode_one(value: object, at: str) -> object:
        if type(value) is not kind:
            raise Unreadable(f"{at}: {value!r:.80} is not {kind.__name__}")
        return value

    return decode_one


def _tuple(item: _Decoder) -> _Decoder:
    def decode_one(value: object, at: str) -> object:
        if not isinstance(value, list):
            raise Unreadable(f"{at}: {value!r:.80} is not a list")
        return tuple([item(one, at) for one in cast("list[object]", value)])

    return decode_one


def _optional(item: _Decoder) -> _Decoder:
    return lambda value, at: None if value is None else item(value, at)


def _mapping(item: _Decoder) -> _Decoder:
    return lambda value, at: {key: item(one, f"{at}.{key}") for key, one in _object(value, at).items()}


def _enum(kind: type[StrEnum]) -> _Decoder:
    names = {member.value: member for member in kind}

    def decode_one(value: object, at: str) -> object:
        if not isinstance(value, str) or value not in names:
            raise Unreadable(f"{at}: {value!r:.80} is not one of {', '.join(names)}")
        return names[value]

    return decode_one


def _record(kind: type) -> _Decoder:
    hints = get_type_hints(kind)
    parts = [(f.name, _decoder(hints[f.name])) for f in fields(kind)]
    expected = {name for name, _ in parts}

    def decode_one(value: object, at: str) -> object:
        tree = _object(value, at)
        if tree.keys() != expected:
            missing, unknown = sorted(expected - tree.keys()), sorted(tree.keys() - expected)
            raise Unreadable(f"{at}: missing {missing[:5]}, unknown {unknown[:5]}")
        return kind(*[part(tree[name], f"{at}.{name}") for name, part in parts])

    return decode_one


def _object(value: object, at: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Unreadable(f"{at}: {value!r:.80} is not an object")
    return cast("dict[str, object]", value)
