"""Proposals that mend a site file, one line each: what `atoll check --fix` writes. Pure.

A proposal is the nearest thing that the schema and the rest of the file allow: a name that is spelt almost so, the
end of the range, a value that the other rows have. It makes the file sound; it does not know the truth: people read
the diff.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import cast
from zoneinfo import available_timezones

from controller.site_problems import LineIndex, Path, Problem, child
from controller.site_template import Answers, site_text
from controller.toml_sheet import Sheet, literal, mend_syntax
from devices.endpoints import BAUDS
from devices.mqtt_profile import mqtt_profile_names
from devices.profile import profile_names

Row = Mapping[str, object]
SAMPLES: Mapping[str, object] = {
    "power_w_max": 5000.0, "power_w_min": 1000.0, "power_w": 1000.0, "energy_wh": 10_000.0, "charge_w_max": 3000.0,
    "discharge_w_max": 3000.0, "soc_min": 0.1, "soc_max": 0.95, "charge_efficiency": 0.97, "discharge_efficiency": 0.97,
    "soc_reserve": 0.3, "fuel_l": 200.0, "fixed_price_per_h": 1.0, "energy_price": 0.5, "start_price": 1.0,
    "min_up_ms": 600_000, "min_down_ms": 600_000, "flow_lpm": 50.0, "max_on_ms": 3_600_000, "min_rest_ms": 300_000,
    "volume_l": 10_000.0, "ready_by": "07:00", "unit": 1, "x": 0.0, "y": 0.0, "duration_ms": 600_000, "skip_price": 1.0,
    "window": ["08:00", "17:00"], "start": "2026-06-01T00:00:00Z", "soc": 0.5, "level": 0.5, "fuel": 0.5,
    "wh_per_k": 350.0, "loss_w_per_k": 2.0, "low_c": 45.0, "high_c": 65.0,
    "trip_wh": 5000.0, "leaves": "07:30", "returns": "17:00", "kind": "meter", "driver": "sunspec",
    "usage_points": [], "role": "household",
}  # fmt: skip
"""What a missing key is proposed as where no other row of the file has it: an order of magnitude, to be looked up."""


def repaired(text: str, problems: Sequence[Problem]) -> str:
    """Returns the text with a proposal for every problem that there is one for."""
    if any(problem.code == "SITE-001" for problem in problems):
        return _with_syntax(text)
    content = cast("Row", tomllib.loads(text))
    repair = _Repair(content, Sheet(text), LineIndex(text))
    for problem in sorted(problems, key=lambda one: one.code != "SITE-010"):  # a renamed key is no missing one
        repair.one(problem)
    return repair.sheet.text()


def _with_syntax(text: str) -> str:
    mend = mend_syntax(text)
    if mend is None:
        return text
    sheet = Sheet(text)
    sheet.put(mend.line, mend.text)
    return sheet.text()


def path_of(where: str) -> Path:
    """Returns the key path of `device[3].ratings.energy_wh`."""
    parts = re.findall(r"([^.\[\]]+)|\[(\d+)\]", where)
    return tuple(int(number) if number else name for name, number in parts)


class _Repair:
    """One pass over a file; every proposal is made against the file as it was."""

    def __init__(self, content: Row, sheet: Sheet, index: LineIndex) -> None:
        self.content = content
        self.sheet = sheet
        self.index = index
        self.given: set[Path] = set()  # keys that a renaming will supply

    def one(self, problem: Problem) -> None:
        code = problem.code.removeprefix("SITE-")
        path = path_of(problem.where)
        work = _REPAIRS.get(code)
        if work is not None and path:
            work(self, problem, path)

    # ----------------------------------------------------------------------------------- what a key says

    def at(self, path: Path) -> object:
        value: object = self.content
        for part in path:
            value = child(value, part)
        return value

    def rows(self, table: str) -> list[Row]:
        value = self.content.get(table, [])
        return (
            [cast("Row", row) for row in cast("list[object]", value) if isinstance(row, dict)]
            if isinstance(value, list)
            else []
        )

    def ids(self, table: str, *kinds: str) -> list[str]:
        return [str(row.get("id")) for row in self.rows(table) if not kinds or row.get("kind") in kinds]

    def set(self, problem: Problem, path: Path, value: object) -> None:
        if isinstance(path[-1], int):  # an item of a list
            self.sheet.replace(problem.line, literal(self.at(path)), literal(value))
        else:
            self.sheet.set_value(problem.line, str(path[-1]), literal(value))

    def nearest(self, problem: Problem, path: Path, known: Sequence[str], otherwise: str = "") -> None:
        near = difflib.get_close_matches(str(self.at(path)), known, 1, 0.5)
        value = near[0] if near else otherwise or (known[0] if known else "")
        if value:
            self.set(problem, path, value)

    def named(self, problem: Problem, path: Path) -> None:
        """A name that nothing has: the nearest of those that the fix lists."""
        known = re.findall(r"'([^']+)'", problem.fix)
        if known:
            self.nearest(problem, path, known)

    # -------------------------------------------------------------------------------------- schema errors

    def unknown_key(self, problem: Problem, path: Path) -> None:
        near = re.search(r'did you mean "([^"]+)"', problem.fix)
        key = str(path[-1])
        if near is None or self.at((*path[:-1], near.group(1))) is not None:
            if isinstance(self.at(path), dict | list) and "=" not in self.sheet.line(problem.line):
                return  # a whole table that nothing reads: people decide
            self.sheet.remove(problem.line, key)
        else:
            self.given.add((*path[:-1], near.group(1)))
            self.sheet.rename(problem.line, key, near.group(1))

    def missing_key(self, problem: Problem, path: Path) -> None:
        if path in self.given:
            return
        key = str(path[-1])
        if len(path) == 1:
            block = _TEMPLATE.get(key)
            if isinstance(block, int):
                self.sheet.insert(1, key, literal(block))
            return
        value = self.sample(path)
        if key == "ratings" and value is None:
            value = {}
        if value is None:
            return
        if isinstance(value, dict):
            inner = ", ".join(f"{name} = {literal(one)}" for name, one in cast("Row", value).items())
            self.sheet.insert(problem.line, key, "{ " + inner + " }")
        else:
            self.sheet.insert(problem.line, key, literal(value))

    def sample(self, path: Path) -> object:
        """Returns a value for a missing key: what most rows like this one have, else an order of magnitude."""
        key = str(path[-1])
        if key == "id":
            place = max((depth for depth, part in enumerate(path) if isinstance(part, int)), default=0)
            return f"{path[place - 1]}-{cast('int', path[place]) + 1}" if place else _at(_TEMPLATE, path)
        if path[0] == "charter" and len(path) == 4:  # a band goes on where the one before it ends
            found = self.band(path)
            if found is not None:
                return found
        rows, rest = self.alike(path)
        if key == "name":
            return f"name-{len(rows) + 1}"
        like = [value for row in rows if (value := _at(row, rest)) not in (None, "")]
        plain = [value for value in like if isinstance(value, str | int | float)]
        if plain:
            return Counter(plain).most_common(1)[0][0]
        return like[0] if like else _at(_TEMPLATE, path) or _at(_TEMPLATE, (path[0], 0, *path[2:])) or SAMPLES.get(key)

    def alike(self, path: Path) -> tuple[list[Row], Path]:
        """Returns the other rows of the list that a key stands in, those of the same kind first, and the way on."""
        place = max((depth for depth, part in enumerate(path) if isinstance(part, int)), default=0)
        rows = self.at(path[:place]) if place else None
        if not isinstance(rows, list):
            return [], path
        found = [cast("Row", row) for row in cast("list[object]", rows) if isinstance(row, dict)]
        kind = _at(self.at(path[: place + 1]), ("kind",))
        return [row for row in found if kind is None or row.get("kind") == kind] or found, path[place + 1 :]

    def band(self, path: Path) -> object:
        bands = cast("list[Row]", self.at(("charter", "bands")))
        place = cast("int", path[2])
        if path[3] == "from":
            return bands[place - 1].get("to") if place else "00:00"
        if path[3] == "to":
            return bands[place + 1].get("from") if place + 1 < len(bands) else "24:00"
        return bands[place - 1].get(str(path[3])) if path[3] != "name" else f"band-{place + 1}"

    def wrong_value(self, problem: Problem, path: Path) -> None:
        seen = self.at(path)
        expected = re.findall(
            r"'([^']*)'", problem.fix.partition("expected")[2] or problem.message.partition("expected")[2]
        )
        value = _of_type(seen, problem.message)
        limits = {name: float(text) for name, text in re.findall(r"(ge|gt|le|lt) ([-+\d.e]+)", problem.fix)}
        meant = re.search(r'did you mean "([^"]+)"', problem.fix)
        if meant is not None:
            self.set(problem, path, meant.group(1))
        elif expected:
            self.nearest(problem, path, expected)
        elif value is not None:
            self.set(problem, path, value)
        elif limits and isinstance(seen, int | float):
            self.set(problem, path, _within(seen, limits))
        elif "pattern" in problem.message:
            self.set(problem, path, self.fitting(path, str(seen)))
        else:
            sample = self.sample(path)
            if sample is not None:
                self.set(problem, path, sample)

    def fitting(self, path: Path, seen: str) -> object:
        """Returns a text that its pattern allows, as near as may be."""
        key = str(path[-1]) if isinstance(path[-1], str) else str(path[-2])
        clock = re.fullmatch(r"(\d{1,2})[:.h]?(\d{2})?", seen.strip())
        if key in ("from", "to", "ready_by", "leaves", "returns", "window", "ready_at") and clock:
            hours, minutes = min(int(clock.group(1)), 24), min(int(clock.group(2) or 0), 59)
            return "24:00" if hours == 24 else f"{hours:02d}:{minutes:02d}"
        if key in ("from", "to") and len(path) == 4:
            return self.band(path)
        if key == "driver":
            return _driver(seen)
        if key == "endpoint":
            sample = self.sample(path)
            host = re.fullmatch(r"([A-Za-z0-9.\-]+):?(\d*)\S*", seen.strip())
            return f"{host.group(1)}:{host.group(2)[:5] or 502}" if host and not seen.startswith("rtu") else sample
        if key == "currency":
            return (re.sub(r"[^A-Z]", "", seen.upper()) + "XXX")[:3]
        named = re.sub(r"[^a-z0-9_.-]+", "-", seen.lower()).strip("-")[:64]
        known = self.ids({"gateway": "gateway", "device": "device", "place": "place", "tank": "device"}.get(key, ""))
        near = difflib.get_close_matches(named, known, 1, 0.5)
        return near[0] if near and key != "id" else named or "name"

    # ------------------------------------------------------------------------------------- cross-checks

    def duplicate(self, problem: Problem, path: Path) -> None:
        taken = self.ids(str(path[0]))
        if path[0] == "device":  # a meter whose id a member still waits for
            named = [str(p) for row in self.rows("member") for p in cast("list[object]", row.get("usage_points", []))]
            free = [name for name in named if name not in taken]
        else:
            free = []
        number = next(n for n in range(2, 10_000) if f"{problem.seen}-{n}" not in taken)
        self.set(problem, path, free[0] if free else f"{problem.seen}-{number}")

    def timezone(self, problem: Problem, path: Path) -> None:
        self.nearest(problem, path, sorted(available_timezones()), "UTC")

    def reserve(self, problem: Problem, path: Path) -> None:
        high = cast("float", self.at(("water", "high_fraction")))
        self.set(problem, path, round(high / 2, 3))

    def instant(self, problem: Problem, path: Path) -> None:
        found = re.match(r"(\d{4})\D?(\d\d)\D?(\d\d)(?:\D+(\d\d):?(\d\d))?", str(self.at(path)))
        year, month, day, hour, minute = found.groups() if found else ("2026", "01", "01", None, None)
        month, day = f"{min(max(int(month), 1), 12):02d}", f"{min(max(int(day), 1), 28):02d}"
        self.set(
            problem, path, f"{year}-{month}-{day}T{min(int(hour or 0), 23):02d}:{min(int(minute or 0), 59):02d}:00Z"
        )

    def grids(self, problem: Problem, path: Path) -> None:
        if len(path) > 2:
            self.set(problem, path, "meter")

    def driver(self, problem: Problem, path: Path) -> None:
        vehicle = self.at((*path[:-1], "kind")) in ("robot", "drone")
        self.set(problem, path, "vda5050" if vehicle else "sunspec")

    def profile(self, problem: Problem, path: Path) -> None:
        self.set(problem, path, _driver(str(self.at(path))))

    def gateway(self, problem: Problem, path: Path) -> None:
        self.nearest(problem, path, self.ids("gateway"))

    def unit(self, problem: Problem, path: Path) -> None:
        endpoint = self.at((*path[:-1], "endpoint"))
        taken = {row.get("unit") for row in self.rows("device") if row.get("endpoint") == endpoint}
        self.set(problem, path, next(n for n in range(1, 248) if n not in taken))

    def behind(self, problem: Problem, path: Path) -> None:
        self.nearest(problem, path, self.ids("device", "meter"))

    def tank(self, problem: Problem, path: Path) -> None:
        self.nearest(problem, path, self.ids("device", "tank"))

    def soc(self, problem: Problem, path: Path) -> None:
        high = cast("float", self.at((*path[:-1], "soc_max")))
        self.set(problem, path, round(min(0.1, high / 2), 3))

    def minimum(self, problem: Problem, path: Path) -> None:
        self.set(problem, path, self.at((*path[:-1], "power_w_max")))

    def endpoint(self, problem: Problem, path: Path) -> None:
        text = str(self.at(path))
        driver = str(self.at((*path[:-1], "driver")))
        if driver.startswith("mqtt:") != text.startswith("mqtt:"):
            other = f"mqtt:{self.at((*path[:-1], 'id'))}"
            self.set(problem, path, other if driver.startswith("mqtt:") else self.sample(path))
            return
        like = [str(row.get("endpoint")) for row in self.rows("device") if row.get("endpoint") != text]
        same = difflib.get_close_matches(text, like, 1, 0.8)
        mended = _endpoint(text)
        self.set(problem, path, same[0] if mended == text and same else mended if mended != text else self.sample(path))

    def usage_point(self, problem: Problem, path: Path) -> None:
        lists = [
            cast("list[object]", row.get(key, []))
            for row in self.rows("member")
            for key in ("usage_points", "water_points")
        ]
        owned = {str(point) for points in lists for point in points}
        channels = [str(c) for row in self.rows("device") for c in cast("list[object]", row.get("channels", []))]
        known = channels if path[2] == "water_points" else self.ids("device")
        if len(set(self.ids("device"))) < len(self.ids("device")):
            return  # one of the two that share an id is meant
        free = [name for name in known if name not in owned]
        near = difflib.get_close_matches(str(self.at(path)), free, 1, 0.5)
        if near:
            self.set(problem, path, near[0])
        else:
            self.drop_item(problem, path)

    def drop_item(self, problem: Problem, path: Path) -> None:
        item = re.escape(literal(self.at(path)))
        line = self.sheet.line(problem.line)
        self.sheet.put(problem.line, re.sub(rf"{item}\s*,\s*|,\s*{item}|{item}", "", line, count=1))

    def unowned(self, problem: Problem, path: Path) -> None:
        members = self.ids("member")
        named = {str(p) for row in self.rows("member") for p in cast("list[object]", row.get("usage_points", []))}
        wrong = [name for name in named if name not in self.ids("device")]
        if difflib.get_close_matches(problem.seen, wrong, 1, 0.5):
            return  # a misspelt usage point is mended instead
        near = difflib.get_close_matches(problem.seen, members, 1, 0.5)
        place = members.index(near[0]) if near else 0
        here: Path = ("member", place, "usage_points")
        if members and self.at(here) is not None:
            points = [*cast("list[object]", self.at(here)), problem.seen]
            self.sheet.set_value(self.index.find(here), "usage_points", literal(points))

    def role(self, problem: Problem, path: Path) -> None:
        roles = [str(row.get("role")) for row in cast("list[Row]", self.at(("treasury", "officer")) or [])]
        near = difflib.get_close_matches(str(path[-1]), roles, 1, 0.5)
        if near and len(path) == 3:
            self.sheet.rename(problem.line, str(path[-1]), near[0])
        else:
            self.set(problem, path, min(cast("int", self.at(path)), len(roles)))

    def band_starts(self, problem: Problem, path: Path) -> None:
        found = re.search(r"(\d\d:\d\d)$", problem.fix)
        bands = cast("list[Row]", self.at(("charter", "bands")))
        place = cast("int", path[2])
        before = bands[place - 1].get("to") if place else "00:00"
        self.set(problem, path, found.group(1) if found else before)

    def band_ends(self, problem: Problem, path: Path) -> None:
        bands = cast("list[Row]", self.at(("charter", "bands")))
        place = max(range(len(bands)), key=lambda index: str(bands[index].get("from")))
        line = self.index.find(("charter", "bands", place, "to"))
        self.sheet.set_value(line, "to", literal("24:00"))

    def job_device(self, problem: Problem, path: Path) -> None:
        self.nearest(problem, path, self.ids("device", "robot", "drone"))

    def place(self, problem: Problem, path: Path) -> None:
        self.nearest(problem, path, self.ids("place"))

    def at_most(self, problem: Problem, path: Path) -> None:
        """Takes the largest number that the fix allows."""
        found = re.search(r"at most ([\d.e+]+)", problem.fix)
        if found:
            self.set(problem, path, float(found.group(1)))

    def window(self, problem: Problem, path: Path) -> None:
        window, needed = cast("list[str]", self.at(path)), re.search(r"(\d+) minutes", problem.fix)
        start = int(window[0][:2]) * 60 + int(window[0][3:])
        length = int(needed.group(1)) if needed else 60
        start = min(start, 1440 - length)
        clock = [f"{(start + add) // 60:02d}:{(start + add) % 60:02d}" for add in (0, length)]
        self.set(problem, path, clock)


_TEMPLATE = cast(
    "Row",
    tomllib.loads(
        site_text(
            Answers("site", "Site", "UTC", 0.0, 0.0, "USD", 0.3, 40_000.0, 1, "gw-1", "sunspec", "127.0.0.1:502", 1),
            "2026-01-01",
        )
    ),
)
_REPAIRS: Mapping[str, Callable[[_Repair, Problem, Path], None]] = {
    "010": _Repair.unknown_key, "011": _Repair.missing_key, "012": _Repair.wrong_value, "020": _Repair.duplicate,
    "021": _Repair.timezone, "022": _Repair.reserve, "023": _Repair.instant, "030": _Repair.grids,
    "031": _Repair.driver, "032": _Repair.profile, "033": _Repair.gateway, "034": _Repair.unit,
    "035": _Repair.behind, "036": _Repair.tank, "037": _Repair.soc, "038": _Repair.minimum,
    "039": _Repair.endpoint, "040": _Repair.usage_point, "041": _Repair.drop_item, "042": _Repair.unowned,
    "050": _Repair.band_starts, "051": _Repair.band_starts, "052": _Repair.band_ends, "060": _Repair.job_device,
    "061": _Repair.place, "062": _Repair.window, "095": _Repair.role,
    "201": _Repair.named, "210": _Repair.named, "224": _Repair.named, "230": _Repair.named,
    "141": _Repair.named, "142": _Repair.drop_item, "143": _Repair.drop_item, "144": _Repair.named,
    "145": _Repair.drop_item, "146": _Repair.drop_item, "148": _Repair.at_most, "150": _Repair.named,
    "156": _Repair.named, "157": _Repair.named,
    "153": _Repair.drop_item,
}  # fmt: skip


def _at(value: object, path: Path) -> object:
    for part in path:
        value = child(value, part)
    return value


def _driver(text: str) -> str:
    """Returns the driver that a misspelt one means: one that exists."""
    known = ["sunspec", "vda5050", "gpio:header", *(f"profile:{n}" for n in profile_names()),
             *(f"mqtt:{n}" for n in mqtt_profile_names())]  # fmt: skip
    product, dot, _ = text.partition(".")
    near = difflib.get_close_matches(product if dot else text, known, 1, 0.5)
    return near[0] if near else "sunspec"


def _endpoint(text: str) -> str:
    """Returns a serial endpoint with settings that exist, or a TCP one with a port that does."""
    if not text.startswith("rtu:"):
        host, _, port = text.rpartition(":")
        return f"{host}:{port if port.isdigit() and 0 < int(port) <= 65535 else 502}"
    path, _, query = text.partition("?")
    settings: list[str] = []
    for part in query.split("&") if query else []:
        key, _, value = part.partition("=")
        near = difflib.get_close_matches(key, ("baud", "parity", "stop"), 1, 0.4)
        if near and near[0] == "baud":
            number = int(re.sub(r"\D", "", value) or 9600)
            settings.append(f"baud={min(BAUDS, key=lambda baud: abs(baud - number))}")
        elif near and near[0] == "parity":
            settings.append(f"parity={value[:1].upper() if value[:1].upper() in 'NEO' and value else 'N'}")
        elif near:
            settings.append("stop=2" if "2" in value else "stop=1")
    path = path if path.startswith("rtu:/") else "rtu:/" + path.removeprefix("rtu:")
    return path + ("?" + "&".join(settings) if settings else "")


def _of_type(seen: object, message: str) -> object:
    """Returns the value in the type that the message asks for, None where it cannot be turned into that."""
    wanted = re.search(r"valid (string|integer|number|boolean|list)", message)
    if wanted is None:
        return None
    kind, text = wanted.group(1), str(seen)
    if kind == "list" and isinstance(seen, str):
        return [seen]
    if kind == "string" and isinstance(seen, str | int | float):
        return text.lower() if isinstance(seen, bool) else text
    if kind == "boolean":
        return text.lower() in ("true", "yes", "on", "1")
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return None
    return round(number) if kind == "integer" else number


def _within(seen: float, limits: Mapping[str, float]) -> float:
    """Returns the number moved into its range, whole where it was whole."""
    value = float(seen)
    if "ge" in limits:
        value = max(value, limits["ge"])
    if "gt" in limits and value <= limits["gt"]:
        value = limits["gt"] + (1 if isinstance(seen, int) else abs(limits["gt"]) * 0.01 or 1.0)
    if "le" in limits:
        value = min(value, limits["le"])
    if "lt" in limits and value >= limits["lt"]:
        value = limits["lt"] - (1 if isinstance(seen, int) else abs(limits["lt"]) * 0.01 or 1.0)
    return round(value) if isinstance(seen, int) else value
