"""Is a device fit for service? What it reads against what its own display shows, its E-stop first. Pure.

A wrong word order, scale or sign gives a number that looks like one. So every value that is billed or acted on is
compared with one known from elsewhere; what was not compared stays open, and with anything open nothing is armed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from devices.known_value import SCALES, TOLERANCE, Comparison, Fit, compare
from devices.model import WRITABLE, DeviceKind, DeviceSpec
from devices.plausible import PointVerdict, Verdict, is_flag
from devices.profile import Profile, ProfilePoint
from devices.sunspec_points import EXTRAS

NOMINAL: Mapping[str, tuple[tuple[float, float], ...]] = {
    "V": ((95.0, 135.0), (195.0, 265.0), (340.0, 460.0)),
    "hz": ((47.0, 53.0), (57.0, 63.0)),
}
"""What a grid has; a reading outside all of these is not the voltage or the frequency."""
UNITS: Mapping[str, tuple[str, float]] = {
    "W": ("W", 1.0),
    "kW": ("W", 1000.0),
    "MW": ("W", 1e6),
    "Wh": ("_wh", 1.0),
    "kWh": ("_wh", 1000.0),
    "MWh": ("_wh", 1e6),
    "mL": ("_ml", 1.0),
    "L": ("_ml", 1000.0),
    "m3": ("_ml", 1e6),
    "V": ("V", 1.0),
    "A": ("A", 1.0),
    "Hz": ("hz", 1.0),
    "%": ("fraction", 0.01),
}
"""Unit on a display -> (what it is for, our unit per one of it)."""
FRACTIONS = ("soc", "level", "fuel")


class State(StrEnum):
    """How a check went."""

    PASSED = "passed"
    FAILED = "failed"
    OPEN = "open"  # not done, or proved nothing


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the record."""

    name: str
    state: State
    said: str
    read: float | None = None
    known: float | None = None


class NoValue(ValueError):
    """A text that is no value of this point; the message says what to write."""


def wanted(spec: DeviceSpec, values: Mapping[str, float | None]) -> list[str]:
    """Returns the points whose value must be known from elsewhere before the device is trusted."""
    written = WRITABLE.get(spec.kind)
    shown_only = (extra.point for extra in EXTRAS.get(spec.kind, ()) if spec.driver == "sunspec")
    known = (*NOMINAL, written, "setpoint", "limit", "A", *shown_only)
    return [point for point in values if not is_flag(point) and point not in known]


def unit_of(point: str) -> str:
    """Returns the unit that people read off a display for a point."""
    if point.endswith("_wh"):
        return "kWh"
    if point.endswith("_ml"):
        return "m3"
    return "%" if point in FRACTIONS else {"W": "W", "A": "A", "V": "V", "hz": "Hz"}.get(point, "")


def known_value(point: str, text: str) -> float:
    """Returns a display's value in our unit: `123.4kWh` -> 123400; without a unit it is in our own.

    Raises:
        NoValue: no number, or a unit that does not go with the point.
    """
    found = re.fullmatch(r"\s*([-+]?\d+(?:[.,]\d+)?)\s*(%|[A-Za-z]\w*)?\s*", text)
    if found is None:
        raise NoValue(f"{text!r} is no number: write 123.4{unit_of(point)}")
    number, unit = float(found.group(1).replace(",", ".")), found.group(2)
    if unit is None:
        return number
    by_fold = {name.lower(): entry for name, entry in UNITS.items() if name not in ("MW", "MWh", "mL")}
    entry = UNITS.get(unit) or by_fold.get(unit.lower())
    suits = "fraction" if point in FRACTIONS else point if point in ("W", "V", "A", "hz") else point[-3:]
    if entry is None or entry[0] != suits:
        raise NoValue(f"{text!r}: {unit} does not go with {point}; write {unit_of(point) or 'the bare number'}")
    return number * entry[1]


def check_nominal(values: Mapping[str, float | None]) -> list[Check]:
    """Returns whether voltage and frequency are what a grid has."""
    found: list[Check] = []
    for point, bands in NOMINAL.items():
        value = values.get(point)
        if value is not None:
            fits = any(low <= value <= high for low, high in bands)
            usual = " or ".join(f"{low:g}-{high:g}" for low, high in bands)
            state = State.PASSED if fits else State.FAILED
            found.append(Check(point, state, f"known: a grid has {usual}", value))
    return found


def check_point(
    point: str, read: float | None, known: float | None, profile: Profile | None, registers: Sequence[int] | None
) -> Check:
    """Returns what a display's value says of a point's map; `registers` are the point's own, where there are any."""
    if known is None:
        return Check(point, State.OPEN, "nobody read its display", read)
    found = _compared(point, read, known, profile, registers)
    if found.fit is Fit.FITS:
        if known == 0:
            return Check(point, State.OPEN, "0 as shown, which proves nothing: again with something flowing", read, 0.0)
        return Check(point, State.PASSED, "as its display shows", read, known)
    return Check(point, State.FAILED, _WORDS[found.fit] + _mended(found), read, known)


_WORDS: Mapping[Fit, str] = {
    Fit.NO_NUMBER: "no number: the map marks it as not available, or out of range",
    Fit.WORD_ORDER: "the words are swapped: turn word_order in the profile",
    Fit.SIGN: "the sign is turned: make scale negative in the profile, or turn the meter's current transformers",
    Fit.SCALE: "the scale is wrong",
    Fit.OTHER: "another register, type or device: neither swapped words, scale nor sign explain it",
}


def _mended(found: Comparison) -> str:
    if found.fit is Fit.SCALE and found.read and found.mended:
        return f": multiply it by {found.mended / found.read:g}"
    return "" if found.mended is None else f" (it would read {found.mended:g})"


def _compared(
    point: str, read: float | None, known: float, profile: Profile | None, registers: Sequence[int] | None
) -> Comparison:
    definition = None if profile is None else _definition(profile, point)
    if profile is not None and definition is not None and registers is not None:
        return compare(profile, definition, registers, known)
    if read is None:
        return Comparison(Fit.NO_NUMBER, None)
    near = TOLERANCE * abs(known)
    if abs(read - known) <= near:
        return Comparison(Fit.FITS, read)
    if abs(-read - known) <= near:
        return Comparison(Fit.SIGN, read, -read)
    for factor in SCALES:
        if abs(read * factor - known) <= near or abs(-read * factor - known) <= near:
            return Comparison(Fit.SCALE, read, read * factor)
    return Comparison(Fit.OTHER, read)


def _definition(profile: Profile, point: str) -> ProfilePoint | None:
    return next((one for one in profile.points if one.name == point), None)


def settle_zeros(checks: Sequence[Check], profile: Profile | None) -> list[Check]:
    """Returns the checks in which a register that stands at 0, as shown, passes with a like one that proved itself.

    A household without a solar plant has exported nothing: the register is of the type and scale of its import.
    """
    proved = [check.name for check in checks if check.state is State.PASSED]
    settled: list[Check] = []
    for check in checks:
        twin = next((name for name in proved if check.known == 0 and _alike(profile, check.name, name)), None)
        if check.state is State.OPEN and twin is not None:
            said = f"0 as shown; type and scale are those of {twin}"
            settled.append(Check(check.name, State.PASSED, said, 0.0, 0.0))
        else:
            settled.append(check)
    return settled


def _alike(profile: Profile | None, one: str, other: str) -> bool:
    if not (one.endswith(("_wh", "_ml")) and one[-3:] == other[-3:]):
        return False
    if profile is None:  # SunSpec: one scale factor for all registers of a model
        return True
    first, second = _definition(profile, one), _definition(profile, other)
    return first is not None and second is not None and (first.type, first.scale) == (second.type, second.scale)


def check_stop(kind: DeviceKind, answer: str) -> list[Check]:
    """Returns the E-stop's check; `answer` is `works`, `fails` or `` (nobody tried). Only outputs need one."""
    if kind not in WRITABLE:
        return []
    said = {
        "works": "pressed: the output was dead; released: it stayed off until told",
        "fails": "the output did not go dead, or came back by itself",
    }
    state = {"works": State.PASSED, "fails": State.FAILED}.get(answer, State.OPEN)
    return [Check("e-stop", state, said.get(answer, "nobody pressed it"))]


def from_verdicts(verdicts: Sequence[PointVerdict]) -> list[Check]:
    """Returns what was implausible by itself, and the energy-power consistency where enough flowed to tell."""
    states = {Verdict.BAD: State.FAILED, Verdict.OK: State.PASSED}
    return [
        Check(f"{verdict.point} plausible", states[verdict.state], verdict.said, verdict.value)
        for verdict in verdicts
        if verdict.state is Verdict.BAD or (verdict.point == "energy" and verdict.state in states)
    ]


def passed(checks: Sequence[Check]) -> bool:
    """Returns whether nothing failed and nothing is open."""
    return bool(checks) and all(check.state is State.PASSED for check in checks)
