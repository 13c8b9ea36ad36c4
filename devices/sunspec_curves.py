"""SunSpec's curves (models 705-712): what an inverter does by itself at odd voltage or frequency. Only ever read.

They nest (set > must trip > points), their sizes are counts in the model's own registers, and their scale factors may
change at run time; so the whole is decoded from registers only, those of the first set: "The first set is read-only and
indicates the current settings." Nothing here raises for what a wire brings: what cannot be is a `problem`.

Source: SunSpec models 705-712, their JSON definitions in pysunspec2 (also of the words above).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import cast

from devices.registers import READ_MAX, Registers
from devices.sunspec import NUMBERS, ModelAt, PointDef, model, point_of, point_reader, scale_of, top_group

CURVES: Mapping[int, str] = {
    705: "volt_var",
    706: "volt_watt",
    707: "trip_lv",
    708: "trip_hv",
    709: "trip_lf",
    710: "trip_hf",
    711: "freq_droop",
    712: "watt_var",
}
"""Model -> the name that its points begin with; the name alone tells whether the device does it (1) or not (0)."""
TRIPS = {"trip_lv": "low", "trip_hv": "high", "trip_lf": "low", "trip_hf": "high"}
"""Curves that take the device off the line -> on which side of nominal."""
ACTIVE = "ActPt"
REGISTERS_MAX = 1000
"""No curve needs more; counts that say so are noise."""
_PATHS = {"MustTrip": "must", "MayTrip": "may", "MomCess": "cease"}
_NAMES: Mapping[str, str] = {
    "V": "v_pct",
    "Hz": "hz",
    "Tms": "s",
    "W": "w_pct",
    "Var": "var_pct",
    "RspTms": "response_s",
    "DbOf": "over_deadband_hz",
    "DbUf": "under_deadband_hz",
    "KOf": "over_ratio",
    "KUf": "under_ratio",
    "PMin": "p_min_pct",
}
"""SunSpec's name -> ours, with its unit: percent of nominal voltage or of the device's maximum, Hz, s."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve model in force; `problem` says why there are no points, or too few.

    `points` are flat and named, like `trip_lv_must1_v_pct` and `trip_lv_must1_s`; None = not implemented.
    """

    model: int
    name: str
    enabled: bool | None
    points: Mapping[str, float | None] = field(default_factory=dict[str, "float | None"])
    problem: str = ""

    @property
    def values(self) -> dict[str, float | None]:
        """Returns all, `name` (1: on, 0: off) first."""
        return {self.name: None if self.enabled is None else float(self.enabled), **self.points}

    def steps(self, path: str = "must") -> list[tuple[float, float]]:
        """Returns (level [percent of nominal voltage, or Hz], seconds) of a trip curve; broken points are left out."""
        unit = "hz" if self.name in ("trip_lf", "trip_hf") else "v_pct"
        found: list[tuple[float, float]] = []
        for number in range(1, len(self.points) + 1):
            level = self.points.get(f"{self.name}_{path}{number}_{unit}")
            seconds = self.points.get(f"{self.name}_{path}{number}_s")
            if level is not None and seconds is not None:
                found.append((level, seconds))
        return found


@dataclass(frozen=True, slots=True)
class _Group:
    """A group of a model: its points (offsets from its own start), size of those, repetitions, groups within."""

    name: str
    points: tuple[PointDef, ...]
    size: int
    count: str | int
    groups: tuple[_Group, ...]


@cache
def _groups(model_id: int) -> tuple[_Group, ...]:
    return tuple(_group(entry) for entry in cast("list[dict[str, object]]", top_group(model_id)["groups"]))


def _group(entry: Mapping[str, object]) -> _Group:
    points: list[PointDef] = []
    size = 0
    for one in cast("list[dict[str, object]]", entry["points"]):
        points.append(point_of(one, str(one["name"]), size))
        size += points[-1].size
    count = entry.get("count", 1)
    inner = tuple(_group(one) for one in cast("list[dict[str, object]]", entry.get("groups", [])))
    return _Group(str(entry["name"]), tuple(points), size, count if isinstance(count, int) else str(count), inner)


def next_read(at: ModelAt, registers: Registers) -> tuple[int, int] | None:
    """Returns the next (address, count) to read of a curve model, given what was read from its start; None: enough."""
    need = min(_extent(at.id, registers), at.length + 2)
    if len(registers) >= need:
        return None
    return at.address + len(registers), min(need - len(registers), READ_MAX)


def _extent(model_id: int, registers: Registers) -> int:
    """Returns how many registers the fixed part and the first set take; only the fixed part while that is not known."""
    fixed = model(model_id).size
    if len(registers) < fixed:
        return fixed
    first = _groups(model_id)[0]
    if _count(model_id, first, registers) == 0:
        return fixed
    return min(fixed + _size(model_id, first, registers), REGISTERS_MAX)


def _count(model_id: int, group: _Group, registers: Registers) -> int:
    """Returns a group's repetitions: fixed, or as the model's register says (0xFFFF: not implemented)."""
    if isinstance(group.count, int):
        return group.count
    told = registers[model(model_id).points[group.count].offset]
    return 0 if told == 0xFFFF else told


def _size(model_id: int, group: _Group, registers: Registers) -> int:
    inner = (_count(model_id, one, registers) * _size(model_id, one, registers) for one in group.groups)
    return group.size + sum(inner)


def decode_curve(at: ModelAt, registers: Registers) -> Curve:
    """Returns the curve in force, from the registers that `next_read` asked for (ID register first)."""
    name = CURVES[at.id]
    fixed = model(at.id)
    if len(registers) < fixed.size:
        return Curve(at.id, name, None, problem=f"{len(registers)} registers, its fixed part has {fixed.size}")
    told = registers[fixed.points["Ena"].offset]
    enabled = bool(told) if told in (0, 1) else None
    first = _groups(at.id)[0]
    sets = _count(at.id, first, registers)
    need = fixed.size + _size(at.id, first, registers)
    if sets == 0:
        return Curve(at.id, name, enabled, problem="no set of settings is stored in it")
    if need > len(registers):
        said = f"its counts ask for {need} registers, it has {at.length + 2}"
        return Curve(at.id, name, enabled, problem=said)
    points: dict[str, float | None] = {}
    problems: list[str] = []
    _walk(_Walk(at.id, name, registers, points, problems), first, fixed.size, "")
    return Curve(at.id, name, enabled, points, "; ".join(problems))


@dataclass(frozen=True, slots=True)
class _Walk:
    """What stays the same down the tree of groups."""

    model: int
    name: str
    registers: Registers
    points: dict[str, float | None]
    problems: list[str]


def _walk(walk: _Walk, group: _Group, offset: int, path: str) -> int:
    """Adds the points of one repetition that starts at `offset`; returns where the next one starts."""
    values = {point.name: _read(walk, point, offset) for point in group.points}
    walk.points.update(_named(walk.name, path, values))
    offset += group.size
    for inner in group.groups:
        below = path + _PATHS.get(inner.name, "") or "pt"
        there = _count(walk.model, inner, walk.registers)
        active = _active(walk, values, there, below) if inner.name == "Pt" else there
        for number in range(1, there + 1):
            if inner.name == "Pt":
                if number <= active:
                    read = {point.name: _read(walk, point, offset) for point in inner.points}
                    walk.points.update(_named(walk.name, f"{below}{number}", read))
                offset += inner.size
            else:
                offset = _walk(walk, inner, offset, below)
    return offset


def _active(walk: _Walk, values: Mapping[str, float | None], there: int, path: str) -> int:
    told = values.get(ACTIVE)
    if told is None:
        return 0
    if told > there:
        walk.problems.append(f"{walk.name}_{path}: {told:g} active points of {there}")
    return min(round(told), there)


def _read(walk: _Walk, point: PointDef, offset: int) -> float | None:
    if point.type not in NUMBERS:
        return None
    placed = PointDef(point.name, point.type, offset + point.offset, point.size, point.scale)
    return point_reader(placed, scale_of(model(walk.model), placed), 0)(walk.registers)


def _named(name: str, path: str, values: Mapping[str, float | None]) -> Iterator[tuple[str, float | None]]:
    for point, value in values.items():
        if point in _NAMES:
            yield f"{name}_{path}_{_NAMES[point]}" if path else f"{name}_{_NAMES[point]}", value


def trips_after_s(curve: Curve, level: float, path: str = "must") -> float | None:
    """Returns after how many seconds at `level` [% of nominal voltage, or Hz] the device trips; None = never.

    Where points lie on a slope instead of steps it is the latest that may be: the time of the next point outwards.
    """
    low = TRIPS[curve.name] == "low"
    times = [seconds for at, seconds in curve.steps(path) if (level <= at if low else level >= at)]
    return min(times, default=None)


_UNITS = {"v_pct": "% V", "w_pct": "% W", "var_pct": "% var", "hz": "Hz", "s": "s"}


def curve_text(curve: Curve) -> str:
    """Returns one line for people: `trip_lv on: must1 45 % V 0.16 s, must2 70 % V 2 s`."""
    state = {True: "on", False: "off", None: "on or off: not told"}[curve.enabled]
    parts: list[str] = []
    last = ""
    for point, value in curve.points.items():
        where, _, unit = point.removeprefix(f"{curve.name}_").partition("_")
        if not where[-1:].isdigit():  # a single setting: its name holds its unit
            where, unit = point.removeprefix(f"{curve.name}_"), ""
        said = f"{'--' if value is None else f'{value:g}'} {_UNITS.get(unit, '')}".rstrip()
        parts.append(f" {said}" if where == last else f"{', ' if parts else ''}{where} {said}")
        last = where
    shown = "".join(parts)
    return f"{curve.name} {state}" + (f": {shown}" if shown else "") + (f" ({curve.problem})" if curve.problem else "")


def named(curves: Sequence[Curve]) -> dict[str, float | None]:
    """Returns the points of all curves by name."""
    return {point: value for curve in curves for point, value in curve.values.items()}
