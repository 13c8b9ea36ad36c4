"""Problem, Stop, Plan and Infeasible as JSON text and back. Strict: what is not exactly right is `Unreadable`.

The shape is the dataclasses themselves; unknown and missing keys, wrong types, NaN and infinity are refused,
and the same value always gives the same bytes. Between hub and child, rows of records travel `packed`: one list per
field instead of one object per row, which writes and reads several times faster. Both shapes are read.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from math import isfinite
from operator import attrgetter
from typing import NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from optimizer.deliveries import DeliveriesPlan, DeliveriesProblem
from optimizer.plan import STAYS, Infeasible, Plan
from optimizer.problem import Problem, Stop


class Unreadable(ValueError):
    """A text is not the value that it should be; the message names the place."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the planner child is asked: a problem of energy or of deliveries; `number` comes back in the answer."""

    number: int
    problem: Problem | None
    stop: Stop
    seed: int
    deliveries: DeliveriesProblem | None = None
    warm: bool = False  # the decisions of the child's last plan may stand


@dataclass(frozen=True, slots=True)
class Answered:
    """What the planner child answers: exactly one of plan, deliveries, infeasible and failure is there."""

    number: int
    seconds: float
    peak_kib: int  # resident memory of the child, its highest so far
    plan: Plan | None = None
    infeasible: Infeasible | None = None
    failure: str | None = None
    deliveries: DeliveriesPlan | None = None


_Value = TypeVar("_Value")
_Place = str | tuple["_Place", str]
"""Where in the tree a value stands, put into words only when something is wrong with it."""

_Decoder = Callable[[object, _Place], object]


def encode(value: Problem | Stop | Plan | Infeasible | Question | Answered, *, packed: bool = False) -> str:
    """Returns one line of JSON; `packed`: with rows of records as columns, for who reads it with `decode`.

    Raises:
        Unreadable: a number is NaN or infinite.
    """
    tree: object = _packer(type(value))(value) if packed else value
    try:
        return json.dumps(tree, default=_fields, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
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


def _fields(value: object) -> dict[str, object]:
    """Returns a dataclass as its fields; the writer asks for what it cannot write itself."""
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    if not is_dataclass(value):
        raise Unreadable(f"{type(value).__name__} has no JSON form")
    return {name: getattr(value, name) for name in _names(type(value))}


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind) if STAYS not in f.metadata)


# ---------------------------------------------------------------------------------------- rows as columns

_Packer = Callable[[object], object]
_ColumnWriter = Callable[[Sequence[object]], object]
_ColumnReader = Callable[[object, "_Place"], list[object]]


def _as_it_is(value: object) -> object:
    return value


def _is_record(kind: object) -> bool:
    return isinstance(kind, type) and is_dataclass(kind)


def _unwrapped(kind: object) -> tuple[object, bool]:
    """Returns a type without its NewType and without None, and whether None was allowed."""
    kind = getattr(kind, "__supertype__", kind)
    if get_origin(kind) not in (types.UnionType, Union):
        return kind, False
    return next(a for a in get_args(kind) if a is not type(None)), True


@cache
def _packer(kind: object) -> _Packer:
    """Returns what makes a value of a type the tree to write: rows of records as columns, all else as it is."""
    kind, optional = _unwrapped(kind)
    if optional:
        inner = _packer(kind)
        return inner if inner is _as_it_is else lambda value: None if value is None else inner(value)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and _is_record(arguments[0]):
        write = _column_writer(arguments[0])
        return lambda rows: write(cast("Sequence[object]", rows)) if rows else []
    if origin is not None and issubclass(cast("type", origin), Mapping):
        item = _packer(arguments[1])
        if item is not _as_it_is:
            return lambda found: {key: item(one) for key, one in cast("Mapping[str, object]", found).items()}
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        parts = [(name, _packer(hints[name])) for name in _names(kind)]
        return lambda value: {name: pack(getattr(value, name)) for name, pack in parts}
    return _as_it_is


@cache
def _column_writer(kind: object) -> _ColumnWriter:
    """Returns what writes many values of one type: records as one list per field, optional ones behind a mask."""
    inner, optional = _unwrapped(kind)
    if isinstance(inner, type) and is_dataclass(inner):
        hints = get_type_hints(inner)
        parts = [(name, attrgetter(name), _column_writer(hints[name])) for name in _names(inner)]

        def write(rows: Sequence[object]) -> object:
            return {name: column(list(map(get, rows))) for name, get, column in parts}

        if optional:
            return lambda rows: {
                "there": [row is not None for row in rows],
                "rows": write([row for row in rows if row is not None]),
            }
        return write
    pack = _packer(kind)
    return _as_it_is if pack is _as_it_is else lambda rows: [pack(row) for row in rows]


@cache
def _column_reader(kind: object) -> _ColumnReader:
    """Returns what reads many values of one type as `_column_writer` wrote them."""
    inner, optional = _unwrapped(kind)
    if isinstance(inner, type) and is_dataclass(inner):
        rows = _columns(inner)
        return _masked(rows) if optional else rows
    decode_one = _decoder(kind)
    if inner in (float, int, str, bool):
        return _scalars(decode_one, {cast("type", inner), type(None)} if optional else {cast("type", inner)})
    if isinstance(inner, type) and issubclass(inner, StrEnum) and not optional:
        return _members(decode_one, inner)

    def read(value: object, at: _Place) -> list[object]:
        return [decode_one(one, (at, str(row))) for row, one in enumerate(_list(value, at))]

    return read


def _scalars(decode_one: _Decoder, kinds: set[type]) -> _ColumnReader:
    def finite(column: list[object]) -> bool:
        return float not in kinds or isfinite(sum(one for one in cast("list[float | None]", column) if one))

    def read(value: object, at: _Place) -> list[object]:
        column = _list(value, at)
        if kinds.issuperset(map(type, column)) and finite(column):
            return column
        return [decode_one(one, (at, str(row))) for row, one in enumerate(column)]

    return read


def _members(decode_one: _Decoder, kind: type[StrEnum]) -> _ColumnReader:
    names = {member.value: member for member in kind}

    def read(value: object, at: _Place) -> list[object]:
        column = _list(value, at)
        if {str}.issuperset(map(type, column)) and names.keys() >= set(column):
            return [names[cast("str", one)] for one in column]
        return [decode_one(one, (at, str(row))) for row, one in enumerate(column)]

    return read


def _columns(kind: type) -> _ColumnReader:
    hints = get_type_hints(kind)
    parts = [(name, _column_reader(hints[name])) for name in _names(kind)]
    expected = set(_names(kind))

    def read(value: object, at: _Place) -> list[object]:
        tree = _keyed(value, expected, at)
        columns = [column(tree[name], (at, name)) for name, column in parts]
        if len({len(column) for column in columns}) > 1:
            raise Unreadable(f"{_words(at)}: columns of different lengths")
        return list(map(kind, *columns))

    return read


def _masked(rows: _ColumnReader) -> _ColumnReader:
    flags = _scalars(_exactly(bool), {bool})

    def read(value: object, at: _Place) -> list[object]:
        tree = _keyed(value, {"there", "rows"}, at)
        there, found = flags(tree["there"], (at, "there")), rows(tree["rows"], (at, "rows"))
        if sum(cast("list[bool]", there)) != len(found):
            raise Unreadable(f"{_words(at)}: {len(found)} rows are not those that are said to be there")
        following = iter(found)
        return [next(following) if one else None for one in there]

    return read


# ------------------------------------------------------------------------------------------------- reading


def _words(at: _Place) -> str:
    return at if isinstance(at, str) else f"{_words(at[0])}.{at[1]}"


@cache
def _decoder(kind: object) -> _Decoder:
    kind, optional = _unwrapped(kind)
    if optional:
        return _optional(_decoder(kind))
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is float:
        return _float
    if kind is int or kind is str or kind is bool:
        return _exactly(kind)
    if origin is tuple:
        return _series if arguments[0] is float else _rows_decoder(arguments[0])
    if origin is not None and issubclass(cast("type", origin), Mapping):
        return _mapping(_decoder(arguments[1]))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _enum(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return _record(kind)
    raise TypeError(f"no decoder for {kind}")


def _float(value: object, at: _Place) -> float:
    if type(value) not in (int, float):
        raise Unreadable(f"{_words(at)}: {value!r:.80} is not a number")
    try:
        number = float(cast("float", value))
    except OverflowError as error:
        raise Unreadable(f"{_words(at)}: number too large") from error
    if not isfinite(number):
        raise Unreadable(f"{_words(at)}: number too large")
    return number


def _exactly(kind: type) -> _Decoder:
    def decode_one(value: object, at: _Place) -> object:
        if type(value) is not kind:
            raise Unreadable(f"{_words(at)}: {value!r:.80} is not {kind.__name__}")
        return value

    return decode_one


def _tuple(item: _Decoder) -> _Decoder:
    def decode_one(value: object, at: _Place) -> object:
        return tuple([item(one, at) for one in _list(value, at)])

    return decode_one


def _rows_decoder(kind: object) -> _Decoder:
    """Returns what reads a tuple: as a list; of records also as columns."""
    listed = _tuple(_decoder(kind))
    if not _is_record(kind):
        return listed
    columns = _column_reader(kind)

    def decode_rows(value: object, at: _Place) -> object:
        return tuple(columns(value, at)) if _is_object(value) else listed(value, at)

    return decode_rows


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _optional(item: _Decoder) -> _Decoder:
    return lambda value, at: None if value is None else item(value, at)


_floats = _tuple(_float)


def _series(value: object, at: _Place) -> object:
    """Returns a tuple of numbers; most of what travels is these."""
    if isinstance(value, list):
        numbers = cast("list[float]", value)
        if all(type(one) is float for one in numbers) and isfinite(sum(numbers)):
            return tuple(numbers)
    return _floats(cast("object", value), at)


def _mapping(item: _Decoder) -> _Decoder:
    return lambda value, at: {key: item(one, (at, key)) for key, one in _object(value, at).items()}


def _enum(kind: type[StrEnum]) -> _Decoder:
    names = {member.value: member for member in kind}

    def decode_one(value: object, at: _Place) -> object:
        if not isinstance(value, str) or value not in names:
            raise Unreadable(f"{_words(at)}: {value!r:.80} is not one of {', '.join(names)}")
        return names[value]

    return decode_one


def _record(kind: type) -> _Decoder:
    hints = get_type_hints(kind)
    parts = [(name, _decoder(hints[name])) for name in _names(kind)]
    expected = {name for name, _ in parts}

    def decode_one(value: object, at: _Place) -> object:
        tree = _keyed(value, expected, at)
        return kind(*[part(tree[name], (at, name)) for name, part in parts])

    return decode_one


def _list(value: object, at: _Place) -> list[object]:
    if not isinstance(value, list):
        raise Unreadable(f"{_words(at)}: {value!r:.80} is not a list")
    return cast("list[object]", value)


def _keyed(value: object, expected: Set[str], at: _Place) -> dict[str, object]:
    """Returns an object that has exactly the keys expected."""
    tree = _object(value, at)
    if tree.keys() != expected:
        missing, unknown = sorted(expected - tree.keys()), sorted(tree.keys() - expected)
        raise Unreadable(f"{_words(at)}: missing {missing[:5]}, unknown {unknown[:5]}")
    return tree


def _object(value: object, at: _Place) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Unreadable(f"{_words(at)}: {value!r:.80} is not an object")
    return cast("dict[str, object]", value)
