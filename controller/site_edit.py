"""Edits of a site file's text that keep its comments, order and spacing. Pure: text in, text out."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, MutableMapping, MutableSequence
from typing import cast

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array

Scalar = str | int | float | bool | list[str]
Fields = Mapping[str, object]
Document = MutableMapping[str, object]
"""A parsed file that `tomlkit.dumps` writes as it was."""


class NotEditable(ValueError):
    """The text has no such place; the message says what was looked for."""


def with_device(text: str, keys: Fields, note: str = "") -> str:
    """Returns the file with one more `[[device]]` at its end; tables inside `keys` become sub-tables."""
    if isinstance(_document(text).get("device"), Array):
        raise NotEditable("`device = [ ... ]` stands in one line: write it as [[device]] tables")
    table = tomlkit.document()
    for key, value in keys.items():
        if not isinstance(value, Mapping):
            table.add(key, tomlkit.item(value))
    lines = ["[[device]]", *([f"# {note}"] if note else []), tomlkit.dumps(table).rstrip()]
    for key, value in keys.items():
        if isinstance(value, Mapping):
            lines += ["", *_sub_table(f"device.{key}", cast("Fields", value))]
    return text.rstrip("\n") + "\n\n" + "\n".join(lines) + "\n"


def _sub_table(name: str, keys: Fields) -> list[str]:
    inner = tomlkit.document()
    for key, value in keys.items():
        inner.add(key, tomlkit.item(value))
    return [f"[{name}]", *tomlkit.dumps(inner).rstrip().splitlines()]


def with_usage_point(text: str, member: str, point: str, key: str = "usage_points") -> str:
    """Returns the file in which a member also has this usage point.

    Raises:
        NotEditable: there is no such member.
    """
    document = _document(text)
    row = _row(document, "member", member)
    points = row.setdefault(key, tomlkit.array())
    if not isinstance(points, MutableSequence):
        raise NotEditable(f"{member}'s {key} is no list")
    if point not in points:
        cast("MutableSequence[str]", points).append(point)
    return tomlkit.dumps(document)


def with_keys(text: str, device: str, keys: Mapping[str, Scalar | None]) -> str:
    """Returns the file in which a device's keys have these values; None takes a key away.

    Raises:
        NotEditable: there is no such device.
    """
    document = _document(text)
    row = _row(document, "device", device)
    for key, value in keys.items():
        if value is None:
            row.pop(key, None)
        elif row.get(key) != value:
            row[key] = value
    return tomlkit.dumps(document)


def without_device(text: str, device: str) -> str:
    """Returns the file without a device and without its place in the members' lists.

    Raises:
        NotEditable: there is no such device.
    """
    document = _document(text)
    _row(document, "device", device)
    rows = cast("MutableSequence[Fields]", document["device"])
    del rows[next(index for index, row in enumerate(rows) if row.get("id") == device)]
    for member in cast("list[MutableMapping[str, object]]", document.get("member", [])):
        points = member.get("usage_points")
        if isinstance(points, MutableSequence) and device in points:
            cast("MutableSequence[str]", points).remove(device)
    return tomlkit.dumps(document)


def parse_value(text: str) -> object:
    """Returns what a `key=TEXT` of the command line means: TOML where it is that, else the text itself."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _document(text: str) -> Document:
    try:
        return cast("Document", tomlkit.parse(text))
    except TOMLKitError as error:
        raise NotEditable(f"not TOML: {error}") from error


def _row(document: Document, table: str, name: str) -> MutableMapping[str, object]:
    rows = cast("list[MutableMapping[str, object]]", document.get(table, []))
    for row in rows:
        if row.get("id") == name:
            return row
    known = ", ".join(str(row.get("id")) for row in rows)
    raise NotEditable(f"no {table} has the id {name!r}: there are {known or 'none'}")
