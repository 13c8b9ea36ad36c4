"""Problems of a site file: where each stands in the text, what was seen, and how to mend it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel

from controller import site_schema as schema
from controller.site_device_schema import BusDeviceTable, DeviceTable
from controller.toml_sheet import mend_syntax
from devices.clock import parse_iso
from devices.model import DeviceKind

Path = tuple[str | int, ...]
Finding = tuple[str, Path, str, str, str]
"""(code, key path, what was seen, what is wrong, what to do)."""


def instant_problem(path: Path, text: str) -> Iterable[Finding]:
    """Yields what is wrong with an instant."""
    try:
        parse_iso(text)
    except ValueError as error:
        yield "023", path, text, str(error), "write 2026-06-03T09:40:00Z"


def unknown_device(code: str, path: Path, name: str, kind: str, kinds: Mapping[str, str]) -> Iterable[Finding]:
    """Yields that no device of a kind has an id; `kinds` are those of the file's devices, by id."""
    if kinds.get(name) != kind:
        known = sorted(one for one, its in kinds.items() if its == kind)
        yield code, path, name, f"no {kind.replace('_', ' ')} has this id", f"one of: {known}"


_KINDS = frozenset(kind.value for kind in DeviceKind)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a site file."""

    code: str
    file: str
    line: int
    where: str
    seen: str
    message: str
    fix: str

    def __str__(self) -> str:
        seen = f" (seen: {self.seen})" if self.seen else ""
        return f"error[{self.code}] {self.file}:{self.line} {self.where}: {self.message}{seen}\n    fix: {self.fix}"


_TYPES = {
    "int_type": "whole number", "int_from_float": "whole number", "int_parsing": "whole number",
    "float_type": "number", "float_parsing": "number", "string_type": "text in quotes", "bool_type": "true or false",
    "list_type": "list", "dict_type": "table", "model_type": "table", "model_attributes_type": "table",
}  # fmt: skip
_LIMITS = {
    "ge": "at least", "gt": "more than", "le": "at most", "lt": "less than", "pattern": "what fits",
    "min_length": "at least as many as", "max_length": "at most as many as",
}  # fmt: skip


class SiteProblems(ValueError):
    """A site file that cannot be used."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class LineIndex:
    """Finds the line of a key path in TOML text; falls back to the nearest table that exists."""

    _HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\-\"' ]+?)\s*\]\]?\s*(?:#.*)?$")
    _KEY = re.compile(r"^\s*([A-Za-z0-9_\-\"'.]+)\s*=")
    _TOKEN = re.compile(r"""#.*|"(?:[^"\\]|\\.)*"|'[^']*'|[{}\[\],]|([A-Za-z0-9_\-.]+)\s*=|[^\s,\[\]{}#"'=]+""")

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        self._open: list[tuple[str, Path, int]] = []  # brackets and braces that are not closed yet
        self._here: Path = ()
        counts: dict[Path, int] = {}
        table: Path = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if self._open:
                self._scan(line, number)
                continue
            header = self._HEADER.match(line)
            if header:
                table = self._table_path(header.group(1) == "[[", header.group(2), counts)
                self._lines.setdefault(table, number)
                continue
            key = self._KEY.match(line)
            if key:
                parts = [part.strip().strip("\"'") for part in key.group(1).split(".")]
                for depth in range(1, len(parts) + 1):
                    self._lines.setdefault((*table, *parts[:depth]), number)
                self._here = (*table, *parts)
                self._scan(line[key.end() :], number)

    def _scan(self, text: str, number: int) -> None:
        """Walks through a value: lists and inline tables, over as many lines as they take."""
        for found in self._TOKEN.finditer(text):
            part, key = found.group(), found.group(1)
            if part.startswith("#"):
                return
            if part not in ("]", "}"):
                self._lines.setdefault(self._here, number)
            if part in ("{", "["):
                self._open.append((part, self._here, 0))
                self._here = (*self._here, 0) if part == "[" else self._here
            elif part in ("}", "]") and self._open:
                self._here = self._open.pop()[1]
            elif part == "," and self._open:
                kind, path, place = self._open.pop()
                self._open.append((kind, path, place + 1))
                self._here = (*path, place + 1) if kind == "[" else path
            elif key and self._open and self._open[-1][0] == "{":
                self._here = (*self._open[-1][1], *key.split("."))
                self._lines.setdefault(self._here, number)

    @staticmethod
    def _table_path(is_array: bool, name: str, counts: dict[Path, int]) -> Path:
        parts = [part.strip().strip("\"'") for part in name.split(".")]
        path: Path = ()
        for depth, part in enumerate(parts):
            path = (*path, part)
            if is_array and depth == len(parts) - 1:
                counts[path] = counts.get(path, -1) + 1
            if path in counts:
                path = (*path, counts[path])
        return path

    def find(self, path: Path) -> int:
        """Returns the 1-based line of `path`, or of its nearest parent; 1 when there is none."""
        for length in range(len(path), 0, -1):
            for known in (path[:length], (*path[:length], 0)):  # a list of tables as a whole: its first
                if known in self._lines:
                    return self._lines[known]
        return 1


@dataclass(frozen=True, slots=True)
class SchemaFinding:
    """One pydantic error, typed: kind, key path in the file, what was seen and the allowed range."""

    kind: str
    path: Path
    message: str
    seen: object
    context: Mapping[str, object]

    @classmethod
    def parse(cls, error: Mapping[str, object]) -> SchemaFinding:
        """Returns the finding without the discriminator that pydantic puts behind a device's index."""
        path = list(cast("Path", error["loc"]))
        if len(path) > 2 and path[0] == "device" and path[2] in _KINDS:
            del path[2]
        context = cast("Mapping[str, object]", error.get("ctx", {}))
        return cls(str(error["type"]), tuple(path), str(error["msg"]), error.get("input"), context)

    def words(self) -> tuple[str, str]:
        """Returns what is wrong with a value, and what to write instead."""
        seen = f"{self.seen!r:.60}"
        if self.kind in _TYPES:
            return f"{seen} is no {_TYPES[self.kind]}", f"write a {_TYPES[self.kind]}"
        if self.kind == "literal_error":
            allowed = str(self.context["expected"])
            return f"{seen} is not known here", f"write {allowed}"
        limits = [f"{_LIMITS[key]} {value}" for key, value in self.context.items() if key in _LIMITS]
        if limits:
            return f"{seen} is out of range", f"write {' and '.join(limits)}"
        return f"{seen}: {self.message}", "see docs/charter.md for what may stand here"


class Document:
    """A parsed site file that can turn findings into problems with lines."""

    def __init__(self, text: str, file: str, content: Mapping[str, object]) -> None:
        self._lines = LineIndex(text)
        self._file = file
        self._content = content

    def problem(self, finding: Finding) -> Problem:
        """Returns a cross-check's finding as a problem."""
        code, path, seen, message, fix = finding
        return Problem("SITE-" + code, self._file, self._lines.find(path), where(path), seen, message, fix)

    def schema_problem(self, finding: SchemaFinding) -> Problem:
        """Returns a schema error as a problem: unknown key, missing key, or wrong value."""
        path = finding.path
        if finding.kind == "extra_forbidden":
            known = known_keys(path, self._content)
            close = difflib.get_close_matches(str(path[-1]), known, 1)
            fix = f'did you mean "{close[0]}"?' if close else f"remove it; known keys here: {', '.join(known)}"
            return self.problem(("010", path, "", f'unknown key "{path[-1]}": nothing reads it', fix))
        if finding.kind == "missing":
            line = self._lines.find(path[:-1])
            return Problem(
                "SITE-011", self._file, line, where(path), "", "this key is missing", f"add {path[-1]} = ..."
            )
        if finding.kind == "union_tag_invalid":  # pydantic names the row; what is wrong is its kind
            path, kinds = (*path, "kind"), sorted(_KINDS)
            kind = str(child(finding.seen, "kind"))
            near = difflib.get_close_matches(kind, kinds, 1)
            fix = f'did you mean "{near[0]}"?' if near else "expected one of " + ", ".join(f"'{k}'" for k in kinds)
            return self.problem(("012", path, kind, "there is no such kind of device", fix))
        if finding.kind == "union_tag_not_found":
            line = self._lines.find(path)
            here = where((*path, "kind"))
            return Problem("SITE-011", self._file, line, here, "", "this key is missing", 'add kind = "meter" (or ...)')
        seen = repr(finding.seen)
        seen = seen if len(seen) <= 60 else seen[:57] + "..."
        return self.problem(("012", path, seen, finding.message, _range_hint(finding.context)))


def where(path: Path) -> str:
    """Returns `device[3].ratings.energy_wh`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text or "file"


def syntax_problem(error: tomllib.TOMLDecodeError, file: str, text: str = "") -> Problem:
    """Returns what the TOML parser could not read, at the line that is wrong rather than where the parser gave up."""
    mend = mend_syntax(text) if text else None
    if mend is not None:
        seen = text.splitlines()[mend.line - 1].strip()[:80]
        fix = "take this line away" if mend.text is None else f"write: {mend.text.strip()}"
        return Problem("SITE-001", file, mend.line, "file", seen, f"not TOML: {mend.said}", fix)
    found = re.search(r"line (\d+)", str(error))
    line = int(found.group(1)) if found else 1
    return Problem("SITE-001", file, line, "file", "", f"not TOML: {error}", "mend this line, then check again")


def _range_hint(context: Mapping[str, object]) -> str:
    if not context:
        return "give a value of the type and unit that `atoll check --schema` states"
    return "allowed: " + ", ".join(f"{key} {value}" for key, value in context.items())


def known_keys(path: Path, content: Mapping[str, object]) -> list[str]:
    """Returns the keys that the schema knows in the table which holds `path`."""
    model: type[BaseModel] | None = schema.SiteFile
    value: object = content
    for part in path[:-1]:
        value = child(value, part)
        if isinstance(part, int):
            model = _device_model(value) if path[0] == "device" else model
        elif model is not None:
            model = _field_model(model, part)
    if model is None:
        return []
    return sorted(field.alias or name for name, field in model.model_fields.items())


def child(value: object, part: str | int) -> object:
    """Returns one step into parsed TOML; None where there is nothing."""
    if isinstance(value, dict):
        return cast("dict[object, object]", value).get(part)
    if isinstance(value, list) and isinstance(part, int):
        rows = cast("list[object]", value)
        return rows[part] if part < len(rows) else None
    return None


def _field_model(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    for name, field in model.model_fields.items():
        if key in (name, field.alias):
            return _model_in(field.annotation)
    return None


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    for argument in cast("tuple[object, ...]", getattr(annotation, "__args__", ())):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def _device_model(value: object) -> type[BaseModel] | None:
    kind = child(value, "kind")
    for model in (*DeviceTable.__subclasses__(), *BusDeviceTable.__subclasses__()):
        field = model.model_fields.get("kind")
        if field is not None and kind in cast("tuple[object, ...]", getattr(field.annotation, "__args__", ())):
            return model
    return None
