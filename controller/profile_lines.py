"""Problems of a register map with their lines, and proposals that mend them; devices/ reads the map itself. Pure."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence

from controller.site_problems import LineIndex, Path, Problem
from controller.toml_sheet import Sheet, literal, mend_syntax
from devices.profile import BadProfile, parse_profile
from devices.profile_golden import GOLDEN_KEYS
from devices.profile_schema import CHANNEL_KEYS, POINT_KEYS, PROFILE_KEYS, STEP_KEYS, WRITE_KEYS

CODE = "PROF-001"
_SAMPLES = {"title": "A product", "source": "its manual", "suffix": "_ml", "address": 0, "function": 3, "count": 1}


def check_profile(name: str, text: str, file: str) -> list[Problem]:
    """Returns every problem of a profile, in file order."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        mend = mend_syntax(text)
        if mend is None:
            found = re.search(r"line (\d+)", str(error))
            line = int(found.group(1)) if found else 1
            return [Problem(CODE, file, line, "file", "", f"not TOML: {error}", "mend this line, then check again")]
        fix = "take this line away" if mend.text is None else f"write: {mend.text.strip()}"
        return [Problem(CODE, file, mend.line, "file", "", f"not TOML: {mend.said}", fix)]
    try:
        parse_profile(name, text)
    except BadProfile as error:
        index = LineIndex(text)
        problems = [_problem(index, file, said) for said in error.problems]
        return sorted(dict.fromkeys(problems), key=lambda problem: problem.line)
    return []


def _problem(index: LineIndex, file: str, said: str) -> Problem:
    """`profile NAME[.VARIANT]: [point.V]: scale is 0` -> the line of that key, or of its table."""
    head, _, rest = said.partition(": ")
    place, _, message = rest.partition(": ")
    _, _, variant = head.removeprefix("profile ").partition(".")
    path = _path(place)
    key = _key(message)
    paths: list[Path] = [("variant", variant, *path), path] if variant else [path]
    for start in paths:
        full: Path = (*start, key) if key else start
        line = index.find(full)
        if line > 1 or index.find((*start,)) > 1 or not start:
            break
    else:
        full, line = path, 1
    where = ".".join(str(part) for part in full)
    return Problem(CODE, file, line, where or "top level", "", message, _fix(message))


def _path(place: str) -> Path:
    table = re.match(r"\[{0,2}([A-Za-z0-9_.]+)\]{0,2}(?: step (\d+)| (\d+))?", place)
    if place.startswith("top level") or table is None:
        return ()
    step: Path = ("steps", int(table.group(2)) - 1) if table.group(2) else ()
    entry: Path = (int(table.group(3)) - 1,) if table.group(3) else ()
    return (*table.group(1).split("."), *step, *entry)


def _key(message: str) -> str:
    unknown = re.match(r"unknown key '([^']+)'", message)
    if unknown:
        return unknown.group(1)
    named = re.match(r"([a-z_]+) (?:is|does|has)\b", message)
    known = {*GOLDEN_KEYS, *PROFILE_KEYS, *POINT_KEYS, *CHANNEL_KEYS, *WRITE_KEYS, *STEP_KEYS}
    return named.group(1) if named and named.group(1) in known else ""


def _fix(message: str) -> str:
    near = re.search(r"did you mean '([^']+)'", message)
    if near:
        return f'did you mean "{near.group(1)}"?'
    if " is missing" in message:
        key = _key(message)
        return f"add {key} = {literal(_SAMPLES.get(key, 0))}"
    return message.partition("must be ")[2] or "see devices/profile_schema.py"


def repaired_profile(text: str, problems: Sequence[Problem]) -> str:
    """Returns the text with a proposal for every problem that there is one for."""
    sheet = Sheet(text)
    if any(problem.message.startswith("not TOML") for problem in problems):
        mend = mend_syntax(text)
        if mend is not None:
            sheet.put(mend.line, mend.text)
        return sheet.text()
    renamed: set[str] = set()
    for problem in sorted(problems, key=lambda one: "did you mean" not in one.fix):
        _mend(sheet, problem, renamed)
    return sheet.text()


def _mend(sheet: Sheet, problem: Problem, renamed: set[str]) -> None:
    table, _, last = problem.where.rpartition(".")
    key = _key(problem.message)
    meant = re.search(r'did you mean "([^"]+)"', problem.fix)
    if problem.message.startswith("unknown key"):
        if meant:
            renamed.add(f"{table}.{meant.group(1)}")
            sheet.rename(problem.line, last, meant.group(1))
        else:
            sheet.remove(problem.line, last)
    elif " is missing" in problem.message:
        if f"{table}.{key}" not in renamed and key:
            sheet.insert(problem.line, key, literal(_SAMPLES.get(key, 0)))
    elif key:
        value = _value(sheet.line(problem.line), key, problem.message)
        if value:
            sheet.set_value(problem.line, key, value)


def _value(line: str, key: str, message: str) -> str:
    """Returns what a key should say, as TOML."""
    shown = re.search(rf"(?<![a-z_]){key}\s*=\s*(\[[^\]]*\]|\"[^\"]*\"|[^,}}\s]+)", line)
    seen = shown.group(1) if shown else ""
    one_of = message.partition("must be one of ")[2]
    if one_of:
        return literal(
            (difflib.get_close_matches(seen.strip('"'), one_of.split(", "), 1, 0.3) or one_of.split(", "))[0]
        )
    span = re.search(r"must be (-?\d+) to (-?\d+)", message)
    if span:
        number = int(float(seen.strip('"') or 0)) if re.fullmatch(r'"?-?[\d.]+"?', seen) else 0
        return str(min(max(number, int(span.group(1))), int(span.group(2))))
    if "must be [low, high]" in message:
        numbers = sorted(float(one) for one in re.findall(r"-?[\d.]+(?:e\d+)?", seen))
        return literal([numbers[0], numbers[-1]] if len(set(numbers)) > 1 else [0.0, 1e12])
    wanted = re.search(r"must be of type (\w+)", message)
    if wanted:
        bare = seen.strip('"').replace(",", ".")
        number = bare if re.fullmatch(r"-?(0x[0-9A-Fa-f]+|\d+(\.\d+)?(e\d+)?)", bare) else "0"
        kinds = {
            "int": number.partition(".")[0],
            "float": number if number != "0" else "1",
            "str": literal(bare or "?"),
        }
        return kinds.get(wanted.group(1), f"[{seen}]" if wanted.group(1) == "list" else "")
    if message.startswith("scale is 0"):
        return "1"
    if message.startswith("type ") and "read function" in message:
        return literal("bit" if "function 1" in message or "function 2" in message else "uint16")
    if "must be 5, 6, 15 or 16" in message:
        return "16"
    return ""
