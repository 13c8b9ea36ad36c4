"""200 seeded faults in site files and profiles: how many are told at the right line with a fix that mends the file.

The grader knows where it put each fault. It asks the checker for the problems, takes the proposals as they are (at most
three rounds, as a person would check again), and counts a fault only where a problem names its very line and the mended
text has no problem left. A removed key counts at the head of its table, where nothing else can be named.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.profile_lines import check_profile, repaired_profile
from controller.site import check
from controller.site_problems import LineIndex, Problem
from controller.site_repair import repaired
from controller.site_template import Answers, site_text
from devices.profile import profile_names, profile_text

TOTAL = 200
ROUNDS = 3
VILLAGE = Path(__file__).parents[1] / "examples" / "village" / "site.toml"
NUMBER = re.compile(r"^(\s*)([a-z_]+) = (\d+(?:\.\d+)?)\b")
TEXT = re.compile(r'^(\s*)([a-z_]+) = "([^"]+)"')
KEY = re.compile(r"^(\s*)([a-z_]{4,}) = ")
INLINE = re.compile(r"([a-z_]{4,}) = ")
REFERENCES = ("gateway", "behind", "tank", "device", "place")


@dataclass(frozen=True, slots=True)
class Fault:
    """A text with one fault: where it stands (any of these lines), and what kind it is."""

    kind: str
    text: str
    lines: frozenset[int]


Maker = Callable[[random.Random, list[str]], tuple[list[str], set[int]] | None]


def run(arguments: Sequence[str]) -> dict[str, float | int | str]:
    """Returns the share of faults that were placed and mended, and how many there were."""
    parser = argparse.ArgumentParser(prog="atoll bench config-faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--total", type=int, default=TOTAL)
    parser.add_argument("--show", action="store_true", help="print what was not placed or mended")
    given = parser.parse_args(list(arguments))
    faults = seeded(given.seed, given.total)
    placed = mended = both = 0
    missed: Counter[str] = Counter()
    for fault in faults:
        right, sound = judged(fault)
        placed, mended, both = placed + right, mended + sound, both + (right and sound)
        if not (right and sound):
            missed[fault.kind] += 1
            if given.show:
                print(f"{fault.kind}: lines {sorted(fault.lines)} placed {right} mended {sound}")  # noqa: T201
                for problem in problems_of(fault, fault.text)[:3]:
                    print(f"    {problem.line}: {problem.where}: {problem.message} | {problem.fix}")  # noqa: T201
    total = len(faults)
    return {"share": both / total, "total": total, "placed": placed / total, "mended": mended / total,
            "seed": given.seed, "missed": " ".join(f"{kind}:{n}" for kind, n in missed.items()) or "-"}  # fmt: skip


def judged(fault: Fault) -> tuple[bool, bool]:
    """Returns whether a problem names the fault's line, and whether the proposals make the text sound."""
    found = problems_of(fault, fault.text)
    right = any(problem.line in fault.lines for problem in found)
    text = fault.text
    for _ in range(ROUNDS):
        if not found:
            break
        text = repaired_profile(text, found) if fault.kind.startswith("profile") else repaired(text, found)
        found = problems_of(fault, text)
    return right, not found


def problems_of(fault: Fault, text: str) -> list[Problem]:
    """Returns what the checker says of a text."""
    if fault.kind.startswith("profile"):
        return check_profile("mine", text, "mine.toml")
    return check(text, str(VILLAGE))[1]  # beside it lie the tables that it names


def seeded(seed: int, total: int) -> list[Fault]:
    """Returns faults in turn of every kind, three of four in site files, each of which the checker must refuse."""
    dice = random.Random(seed)
    small = site_text(
        Answers("m", "M", "Pacific/Apia", -13.8, -171.8, "WST", 0.9, 3e4, 3, "pi", "sunspec", "h:502", 1), "2026-01-01"
    )
    sites = [VILLAGE.read_text(encoding="utf-8"), small]
    faults: list[Fault] = []
    number = 0
    while len(faults) < total:
        profile = len(faults) % 4 == 3
        makers = PROFILE_MAKERS if profile else SITE_MAKERS
        name, maker = makers[number % len(makers)]
        number += 1
        text = profile_text(dice.choice(profile_names())) if profile else sites[0 if dice.random() < 0.8 else 1]
        made = maker(dice, text.splitlines())
        if made is None:
            continue
        fault = Fault(f"{'profile' if profile else 'site'} {name}", "\n".join(made[0]) + "\n", frozenset(made[1]))
        if problems_of(fault, fault.text):  # a fault that is none (an optional key taken away) does not count
            faults.append(fault)
    return faults


# ------------------------------------------------------------------------------------------------- the faults


def _chosen(dice: random.Random, lines: list[str], pattern: re.Pattern[str], keys: Sequence[str] = ()) -> int | None:
    places = [i for i, line in enumerate(lines) if (m := pattern.match(line)) and (not keys or m.group(2) in keys)]
    return dice.choice(places) if places else None


def _line(pattern: re.Pattern[str], bend: Callable[[random.Random, re.Match[str], str], str], *keys: str) -> Maker:
    """Returns a maker that bends one line that fits the pattern."""

    def make(dice: random.Random, lines: list[str]) -> tuple[list[str], set[int]] | None:
        place = _chosen(dice, lines, pattern, keys)
        if place is None:
            return None
        found = pattern.match(lines[place])
        assert found is not None, "it was chosen because it fits"
        bent = bend(dice, found, lines[place])
        return [*lines[:place], bent, *lines[place + 1 :]], {place + 1}

    return make


def misspelt(dice: random.Random, word: str) -> str:
    """Returns a word with one slip of the finger."""
    at = dice.randrange(len(word) - 1)
    turned = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return dice.choice(
        (word[:at] + word[at + 1 :], word[: at + 1] + word[at:], turned if turned != word else word[:-1])
    )


def _removed(dice: random.Random, lines: list[str]) -> tuple[list[str], set[int]] | None:
    place = _chosen(dice, lines, KEY)
    if place is None:
        return None
    rest = [*lines[:place], *lines[place + 1 :]]
    heads = [i + 1 for i in range(place) if lines[i].startswith("[")]
    return rest, {max(heads, default=1)}


def _removed_inline(dice: random.Random, lines: list[str]) -> tuple[list[str], set[int]] | None:
    places = [i for i, line in enumerate(lines) if re.search(r"\{ [a-z_]+ = [^,{}\[\]]+, ", line)]
    if not places:
        return None
    place = dice.choice(places)
    bent = re.sub(r"\{ [a-z_]+ = [^,{}\[\]]+, ", "{ ", lines[place], count=1)
    return [*lines[:place], bent, *lines[place + 1 :]], {place + 1}


def _twice(dice: random.Random, lines: list[str]) -> tuple[list[str], set[int]] | None:
    place = _chosen(dice, lines, KEY)
    return None if place is None else ([*lines[: place + 1], lines[place], *lines[place + 1 :]], {place + 1, place + 2})


def _same_id(dice: random.Random, lines: list[str]) -> tuple[list[str], set[int]] | None:
    index = LineIndex("\n".join(lines))
    rows = [index.find(("device", n, "id")) for n in range(2)]
    more = [i + 1 for i, line in enumerate(lines) if line.startswith('id = "') and i + 1 > max(rows)]
    if len(set(rows)) < 2 or not more:
        return None
    inside = [i for i in more if lines[i - 2].startswith("[[device]]")]
    if not inside:
        return None
    place = dice.choice(inside)
    return [*lines[: place - 1], lines[rows[1] - 1], *lines[place:]], {place}


def _header(dice: random.Random, lines: list[str]) -> tuple[list[str], set[int]] | None:
    places = [i for i, line in enumerate(lines) if line.startswith("[")]
    place = dice.choice(places)
    bent = re.sub(r"\](\s*(#.*)?)$", r"\1", lines[place])
    return [*lines[:place], bent, *lines[place + 1 :]], {place + 1}


def _inline(bend: Callable[[random.Random, str], str]) -> Maker:
    def make(dice: random.Random, lines: list[str]) -> tuple[list[str], set[int]] | None:
        places = [i for i, line in enumerate(lines) if "{" in line and "}" in line and not line.startswith("#")]
        if not places:
            return None
        place = dice.choice(places)
        bent = bend(dice, lines[place])
        return None if bent == lines[place] else ([*lines[:place], bent, *lines[place + 1 :]], {place + 1})

    return make


def _inline_key(dice: random.Random, line: str) -> str:
    start = line.index("{")
    keys = [m for m in INLINE.finditer(line) if m.start() > start]
    if not keys:
        return line
    found = dice.choice(keys)
    return line[: found.start()] + misspelt(dice, found.group(1)) + line[found.end(1) :]


def _swap_range(_dice: random.Random, line: str) -> str:
    return re.sub(r"range = \[([-\d.e]+), ([-\d.e]+)\]", r"range = [\2, \1]", line, count=1)


def _word(pattern: re.Pattern[str], bend: Callable[[random.Random, str], str], *keys: str, quotes: int = 0) -> Maker:
    """Returns a maker that bends the third group of a line; `quotes` = 1 counts the quotes around it as part of it."""

    def bent(dice: random.Random, found: re.Match[str], line: str) -> str:
        return line[: found.start(3) - quotes] + bend(dice, found.group(3)) + line[found.end(3) + quotes :]

    return _line(pattern, bent, *keys)


def _in_braces(pattern: str, bend: Callable[[random.Random, str], str]) -> Maker:
    """Returns a maker that bends what a pattern's first group finds in an inline table."""

    def bent(dice: random.Random, line: str) -> str:
        found = re.search(pattern, line)
        return line if found is None else line[: found.start(1)] + bend(dice, found.group(1)) + line[found.end(1) :]

    return _inline(bent)


def _key(bend: Callable[[random.Random, str], str]) -> Maker:
    return _line(KEY, lambda dice, found, line: line.replace(found.group(2), bend(dice, found.group(2)), 1))


LIST = re.compile(r"^(\s*)([a-z_]+) = (\[[^\]]+\])")
FLAG = re.compile(r"^(\s*)([a-z_]+) = (true|false)")
CLOCK = re.compile(r'^(\s*)([a-z_]+) = "(\d\d:\d\d)"')
POINT = re.compile(r'^(\s*)(usage_points|water_points) = \["([^"]+)"')
ORDER = re.compile(r'^(\s*)(word_order) = "([^"]+)"')
WORDS = ("kind", "role", "sharing", "bill_period", "timezone", "currency")
TYPE = r'type = "(\w+)"'
SITE_MAKERS: Sequence[tuple[str, Maker]] = (
    ("key misspelt", _key(misspelt)),
    ("key missing", _removed),
    ("inline key missing", _removed_inline),
    ("inline key misspelt", _inline(_inline_key)),
    ("number quoted", _word(NUMBER, lambda _, word: f'"{word}"')),
    ("text unquoted", _word(TEXT, lambda _, word: word, quotes=1)),
    ("number below", _word(NUMBER, lambda _, word: f"-{word}")),
    ("number far above", _word(NUMBER, lambda _, word: word.partition(".")[0] + "000000000")),
    ("decimal comma", _word(NUMBER, lambda _, word: word.partition(".")[0] + ",5")),
    ("word misspelt", _word(TEXT, misspelt, *WORDS)),
    ("driver misspelt", _word(TEXT, misspelt, "driver")),
    ("reference misspelt", _word(TEXT, misspelt, *REFERENCES)),
    ("id with a space", _word(TEXT, lambda _, word: f"My {word.title()}", "gateway", "tank", "behind")),
    ("quote open", _word(TEXT, lambda _, word: f'"{word}', quotes=1)),
    ("list open", _word(LIST, lambda _, word: word.replace("]", "", 1))),
    ("header open", _header),
    ("key twice", _twice),
    ("colon", _line(KEY, lambda _, found, line: line.replace(f"{found.group(2)} =", f"{found.group(2)}:", 1))),
    ("equals missing", _line(KEY, lambda _, found, line: line.replace(f"{found.group(2)} =", found.group(2), 1))),
    ("value missing", _word(NUMBER, lambda _, _word: "")),
    ("True", _word(FLAG, lambda _, word: word.title())),
    ("time of day", _word(CLOCK, lambda _, word: word.lstrip("0").replace(":", "."))),
    ("band gap", _word(CLOCK, lambda _, _word: "23:45", "from")),
    ("usage point", _word(POINT, misspelt)),
    ("endpoint", _word(TEXT, lambda _, word: word.partition(":")[0], "endpoint")),
    ("unit twice", _word(NUMBER, lambda _, word: "2" if word == "1" else "1", "unit")),
    ("id twice", _same_id),
)
PROFILE_MAKERS: Sequence[tuple[str, Maker]] = (
    ("key misspelt", _key(misspelt)),
    ("inline key misspelt", _inline(_inline_key)),
    ("key missing", _removed),
    ("type misspelt", _in_braces(TYPE, misspelt)),
    ("number quoted", _in_braces(r"scale = (-?[\d.]+)", lambda _, word: f'"{word}"')),
    ("range turned", _inline(_swap_range)),
    ("brace open", _in_braces(r"(\})", lambda _, _word: "")),
    ("address too large", _in_braces(r"address = (\w+)", lambda _, _word: "99999")),
    ("function", _word(NUMBER, lambda _, _word: "7", "function")),
    ("word order", _word(ORDER, misspelt)),
    ("scale zero", _in_braces(r"scale = (-?[\d.]+)", lambda _, _word: "0")),
    ("quote open", _word(TEXT, lambda _, word: f'"{word}', quotes=1)),
    ("colon", _in_braces(r"address( =)", lambda _, _word: ":")),
)
