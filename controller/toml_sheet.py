"""A TOML text as lines that are mended one by one without moving the others; and what is wrong where it is no TOML."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

VALUE = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|\[[^\]]*\]|[^,\s#}\]]+)"""
HEADER = re.compile(r"^(\s*)(\[\[?)\s*([^\[\]#]+?)\s*(\]{0,2})\s*(#.*)?$")
PAIR = re.compile(r"^(\s*)([A-Za-z0-9_\-]+)(\s*)=(\s*)(.*?)(\s*#.*)?$")


def literal(value: object) -> str:
    """Returns a value as TOML: strings, numbers, booleans and lists of them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(literal(one) for one in cast("list[object]", value)) + "]"
    return repr(value) if isinstance(value, int | float) else json.dumps(str(value), ensure_ascii=False)


class Sheet:
    """The lines of a text; numbers stay those of the text as it was given, whatever is mended."""

    def __init__(self, text: str) -> None:
        self._lines: list[str | None] = list(text.splitlines())

    def text(self) -> str:
        """Returns the mended text."""
        return "\n".join(line for line in self._lines if line is not None) + "\n"

    def line(self, number: int) -> str:
        """Returns a line as it is now, "" for one that is not there."""
        return (self._lines[number - 1] or "") if 1 <= number <= len(self._lines) else ""

    def put(self, number: int, text: str | None) -> None:
        """Replaces a line; None takes it away."""
        self._lines[number - 1] = text

    def set_value(self, number: int, key: str, value: str) -> bool:
        """Gives a key of a line another value; returns whether the key stands there."""
        pattern = re.compile(rf"(?<![A-Za-z0-9_\-]){re.escape(key)}(\s*=\s*){VALUE}")
        line, count = pattern.subn(lambda found: f"{key}{found.group(1)}{value}", self.line(number), count=1)
        if count:
            self.put(number, line)
        return bool(count)

    def replace(self, number: int, old: str, new: str) -> bool:
        """Replaces a text within a line; returns whether it stood there."""
        line = self.line(number)
        if old not in line:
            return False
        self.put(number, line.replace(old, new, 1))
        return True

    def rename(self, number: int, key: str, new: str) -> bool:
        """Renames a key of a line."""
        pattern = re.compile(rf"(?<![A-Za-z0-9_\-]){re.escape(key)}(\s*[=.\]])")
        line, count = pattern.subn(lambda found: new + found.group(1), self.line(number), count=1)
        if count:
            self.put(number, line)
        return bool(count)

    def remove(self, number: int, key: str) -> None:
        """Takes a key away: its line, or its part of an inline table."""
        line = self.line(number)
        pair = PAIR.match(line)
        if pair is not None and pair.group(2) == key:
            self.put(number, None)
            return
        inner = re.compile(rf"(?<=[{{,]) ?{re.escape(key)}\s*=\s*{VALUE}(\s*,)?|,\s*{re.escape(key)}\s*=\s*{VALUE}")
        self.put(number, inner.sub("", line, count=1))

    def insert(self, number: int, key: str, value: str) -> None:
        """Puts a key into the table that begins in a line: after its header, or into its braces."""
        line = self.line(number)
        if "{" in line:
            empty = re.search(r"\{\s*\}", line) is not None
            self.put(number, line.replace("{", f"{{ {key} = {value}" + ("" if empty else ","), 1))
        else:
            self.put(number, f"{line}\n{key} = {value}" if HEADER.match(line) else f"{key} = {value}\n{line}")


@dataclass(frozen=True, slots=True)
class SyntaxMend:
    """A line that is no TOML, what is wrong with it, and what it should be (None: take it away)."""

    line: int
    said: str
    text: str | None


def mend_syntax(text: str) -> SyntaxMend | None:
    """Returns the one line whose mending brings the parser further, looked for at the place it names and before."""
    reached = _reached(text)
    if reached is None:
        return None
    lines = text.splitlines()
    last = min(reached, len(lines))
    for number in range(last, max(0, last - 40), -1):
        for said, line in _candidates(lines, number):
            tried = [*lines[: number - 1], *([] if line is None else [line]), *lines[number:]]
            after = _reached("\n".join(tried) + "\n")
            if after is None or after > last + 1:
                return SyntaxMend(number, said, line)
    return None


def _reached(text: str) -> int | None:
    """Returns the line where the parser gave up; None where it did not."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        return int(found.group(1)) if found else text.count("\n") + 1
    return None


def _candidates(lines: list[str], number: int) -> Iterator[tuple[str, str | None]]:
    line = lines[number - 1]
    header = HEADER.match(line)
    if header is not None and "=" not in line:
        opening = header.group(2)
        closed = f"{header.group(1)}{opening}{header.group(3)}{']' * len(opening)}"
        yield "a bracket is not closed", closed
        yield "this table is there already", None
        return
    colon = re.match(r"^(\s*[A-Za-z0-9_\-]+)\s*:\s*(.*)$", line)
    if colon is not None:
        yield "a colon where = belongs", f"{colon.group(1)} = {colon.group(2)}"
    missing = re.match(r"^(\s*[A-Za-z0-9_\-]+)\s+([\"'\[{\d\-]|true|false)(.*)$", line)
    if missing is not None:
        yield "= is missing", f"{missing.group(1)} = {missing.group(2)}{missing.group(3)}"
    pair = PAIR.match(line)
    if pair is None:
        yield from _inline_candidates(line)
        return
    before = f"{pair.group(1)}{pair.group(2)}{pair.group(3)}={pair.group(4)}"
    value, note = pair.group(5).strip(), pair.group(6) or ""
    for said, mended in _value_candidates(value):
        yield said, f"{before}{mended}{note}"
    yield from _inline_candidates(line)
    if any(re.match(rf"\s*{re.escape(pair.group(2))}\s*=", other) for other in lines[: number - 1]):
        yield "this key is there already", None


def _value_candidates(value: str) -> Iterator[tuple[str, str]]:
    if re.fullmatch(r"[-+]?\d+,\d+", value):
        yield "a comma where a decimal point belongs", value.replace(",", ".")
    if re.fullmatch(r"[-+]?0\d+(\.\d+)?", value):
        yield "a number with zeros in front", value.lstrip("0") or "0"
    if value.lower() in ("true", "false", "yes", "no", "on", "off"):
        yield "a boolean is true or false", "true" if value.lower() in ("true", "yes", "on") else "false"
    for quote in ('"', "'"):
        if value.startswith(quote) and not value[1:].endswith(quote):
            yield "a quote is not closed", value + quote
        if value.endswith(quote) and not value.startswith(quote):
            yield "a quote is not opened", quote + value
    if value.startswith("[") and not value.endswith("]"):
        yield "a bracket is not closed", value.rstrip(", ") + "]"
    if value.startswith("{") and not value.endswith("}"):
        yield "a brace is not closed", value.rstrip(", ") + " }"
    if value and value[0] not in "\"'[{":
        yield "a text without quotes", json.dumps(value, ensure_ascii=False)
    if "\\" in value:
        yield "a backslash in a text", value.replace("\\", "/")
    if not value:
        yield "a key without a value", '""'


def _inline_candidates(line: str) -> Iterator[tuple[str, str]]:
    """Faults within an inline table, or on a line of a longer list."""
    if line.count("{") > line.count("}"):
        for found in re.finditer(r"(?<=[^\s{,])\s*(?=,\s*(?:[A-Za-z_]+\s*=\s*)?\{|\s*\])", line):
            yield "a brace is not closed", f"{line[: found.start()]} }}{line[found.end() :]}"
        body, mark, note = line.partition("#")
        yield "a brace is not closed", body.rstrip().rstrip(",") + " }" + (f"  {mark}{note}" if mark else "")
    if "[" in line and "]" not in line:
        body, mark, note = line.partition("#")
        yield "a bracket is not closed", body.rstrip().rstrip(",") + "]" + (f"  {mark}{note}" if mark else "")
    for found in re.finditer(r"\[([^\[\]{}#=]*?)(?=\s*[,}]\s*(?:[A-Za-z_]+\s*=|\}|$))", line):
        yield "a bracket is not closed", line[: found.end()] + "]" + line[found.end() :]
    for found in re.finditer(r"=(\s*)(\d+),(\d+)", line):
        yield (
            "a comma where a decimal point belongs",
            f"{line[: found.start()]}={found.group(1)}{found.group(2)}.{found.group(3)}{line[found.end() :]}",
        )
    for found in re.finditer(r"=(\s*)([A-Za-z][A-Za-z0-9_:./\-]*)(?=\s*[,}])", line):
        word = found.group(2)
        value = word.lower() if word.lower() in ("true", "false") else f'"{word}"'
        yield "a text without quotes", f"{line[: found.start()]}={found.group(1)}{value}{line[found.end() :]}"
    for found in re.finditer(r"([{,]\s*[A-Za-z0-9_\-]+)\s*:\s*", line):
        yield "a colon where = belongs", f"{line[: found.start()]}{found.group(1)} = {line[found.end() :]}"
    for found in re.finditer(r"=\s*(?=[,}])", line):
        yield "a key without a value", f'{line[: found.start()]}= ""{line[found.end() :]}'
    for found in re.finditer(r"=(\s*)\"([^\",}]*)(?=\s*[,}])", line):
        yield (
            "a quote is not closed",
            f'{line[: found.start()]}={found.group(1)}"{found.group(2).rstrip()}"{line[found.end() :]}',
        )
