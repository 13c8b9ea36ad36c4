"""Is what a device says plausible by itself? Some polls in a row, judged point by point. Pure.

It finds what physics forbids: numbers that are none, voltages that no grid has, counters that run backwards or faster
than a wire carries, sensors that never move, spikes, and power that does not go with current or with the counters.
A wrong factor that stays within all of these only the device's own display tells (`devices.commissioning`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from devices.model import DeviceKind

LIMITS: Mapping[str, tuple[float, float]] = {
    "V": (80.0, 480.0),
    "hz": (45.0, 65.0),
    "soc": (0.0, 1.0),
    "level": (0.0, 1.0),
    "fuel": (0.0, 1.0),
    "limit": (0.0, 1.0),
    "celsius": (-40.0, 80.0),
}
FLAGS = ("on", "running", "connected", "closed")
COUNTERS = ("_wh", "_ml")
RATE_MAX = {"_wh": 2e6 / 3.6e6, "_ml": 1e6 / 1000.0}
"""Most that a counter gains per ms: 2 MW in Wh; 1,000 L/s in mL."""
RESOLUTION = 5
"""An energy difference of fewer counts says nothing of the power."""
FACTOR_MAX = 3.0
"""Power and energy of the same seconds agree within this factor; a wrong scale is a factor of 10 at least."""
CLOCK = "clock_s"
"""Point of a device with a clock of its own: seconds since 1970, UTC."""
CLOCK_OK_S, CLOCK_BAD_S = 3.0, 60.0
DRIFT_WINDOW_S = 600.0
"""A clock that counts seconds shows its drift after this time at the earliest."""
DRIFT_PPM_MAX = 200.0
"""A quartz is within 50 ppm; more is a fault."""
STUCK_SAMPLES = 5
SPIKE = 20.0
IDLE_W = 20.0


class Verdict(StrEnum):
    """How a point was judged."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Sample:
    """One poll: when [ms of the watch, and ms UTC of this machine where it is known], and values by point."""

    at_ms: int
    values: Mapping[str, float | None]
    wall_ms: int = 0


@dataclass(frozen=True, slots=True)
class PointVerdict:
    """What was found at one point; `value` is the last one."""

    point: str
    state: Verdict
    value: float | None
    said: str = ""


def is_flag(point: str) -> bool:
    """Returns whether a point is a yes or no; a relay block numbers its outputs (`on2`)."""
    return point.rstrip("0123456789") in FLAGS


def judge(kind: DeviceKind, samples: Sequence[Sample]) -> list[PointVerdict]:
    """Returns one verdict per point, and one per pair of points that contradict each other."""
    points = list(dict.fromkeys(point for sample in samples for point in sample.values if point != CLOCK))
    found = [_judge_point(point, samples) for point in points]
    found += _against_current(samples)
    found += energy_against_power(kind, samples)
    return found + clock_against_ours(samples)


def _judge_point(point: str, samples: Sequence[Sample]) -> PointVerdict:
    heard = [(sample.at_ms, sample.values.get(point)) for sample in samples]
    values = [value for _, value in heard if value is not None and math.isfinite(value)]
    last = values[-1] if values else None
    if len(values) < len(heard):
        said = f"no number in {len(heard) - len(values)} of {len(heard)} polls: not available, or out of range"
        return PointVerdict(point, Verdict.BAD, last, said)
    assert last is not None, "a point that was heard has a number"
    low, high = LIMITS.get(point, (-math.inf, math.inf))
    outside = [value for value in values if not low <= value <= high]
    if outside:
        return PointVerdict(point, Verdict.BAD, last, _said_outside(outside[-1], low, high))
    if is_flag(point) and any(value not in (0.0, 1.0) for value in values):
        return PointVerdict(point, Verdict.BAD, last, "neither 0 nor 1")
    if point.endswith(COUNTERS):
        return PointVerdict(point, *_judge_counter(point, last, heard))
    if _spiked(values):
        return PointVerdict(point, Verdict.WARN, last, f"a spike: {max(values, key=abs):g} between others")
    if not is_flag(point) and len(values) >= STUCK_SAMPLES and len(set(values)) == 1 and point in ("W", "A", "V"):
        return PointVerdict(point, Verdict.WARN, last, f"the same in {len(values)} polls: stuck, or off?")
    return PointVerdict(point, Verdict.OK, last)


def _said_outside(value: float, low: float, high: float) -> str:
    for factor in (0.001, 0.01, 0.1, 10.0, 100.0, 1000.0):
        if value and low <= value * factor <= high:
            return f"outside {low:g} to {high:g}; {value * factor:g} would fit: a wrong scale, factor {factor:g}?"
    return f"outside {low:g} to {high:g}: wrong register, word order or type?"


def _judge_counter(point: str, last: float, heard: Sequence[tuple[int, float | None]]) -> tuple[Verdict, float, str]:
    known = [(at, value) for at, value in heard if value is not None]
    rate = RATE_MAX[point[-3:]]
    for (at, value), (later, after) in pairwise(known):
        if after < value:
            return Verdict.BAD, last, f"runs backwards: {value:g} then {after:g}"
        if after - value > rate * max(1, later - at) + 10:
            return Verdict.BAD, last, f"jumps: {value:g} then {after:g} in {later - at} ms"
    if last < 0:
        return Verdict.BAD, last, "a counter below zero: sign or type?"
    return Verdict.OK, last, ""


def _spiked(values: Sequence[float]) -> bool:
    for before, value, after in zip(values, values[1:], values[2:], strict=False):
        usual = max(abs(before), abs(after), IDLE_W)
        if abs(value) > SPIKE * usual:
            return True
    return False


def _against_current(samples: Sequence[Sample]) -> list[PointVerdict]:
    """Power is at most voltage times current of three phases; a tenth of one phase's is a wrong factor."""
    if not samples:
        return []
    last = samples[-1].values
    watts, volts, amperes = last.get("W"), last.get("V"), last.get("A")
    if watts is None or not volts or amperes is None or abs(amperes) < 0.2:
        return []
    apparent = abs(volts * amperes)
    if abs(watts) > 3.6 * apparent + IDLE_W:
        said = f"{abs(watts):g} W is more than {volts:g} V x {amperes:g} A can be on three phases: a scale is wrong"
        return [PointVerdict("W", Verdict.BAD, watts, said)]
    if abs(watts) < 0.05 * apparent - IDLE_W:
        said = f"{abs(watts):g} W is nearly nothing of {volts:g} V x {amperes:g} A: a scale is wrong"
        return [PointVerdict("W", Verdict.BAD, watts, said)]
    return []


def energy_against_power(kind: DeviceKind, samples: Sequence[Sample]) -> list[PointVerdict]:
    """Returns what counters and power of the same seconds say against each other; nothing where too little flowed."""
    if len(samples) < 2:
        return []
    first, last = samples[0], samples[-1]
    hours = (last.at_ms - first.at_ms) / 3.6e6
    powers = [value for sample in samples if (value := sample.values.get("W")) is not None]
    gained = {p: _gain(first, last, p) for p in ("import_wh", "export_wh") if p in last.values}
    if not powers or not gained or hours <= 0:
        return []
    mean_w = sum(powers) / len(powers)
    counted = gained.get("import_wh", 0.0) - gained.get("export_wh", 0.0)
    expected = mean_w * hours
    if max(abs(counted), abs(expected)) < RESOLUTION:
        return []
    if abs(counted) >= RESOLUTION and abs(expected) >= RESOLUTION and counted * expected < 0:
        way = "taking" if mean_w > 0 else "giving"
        other = "export_wh" if counted < 0 else "import_wh"
        return [PointVerdict("W", Verdict.BAD, powers[-1], f"it is {way}, but {other} grows: the sign of W is turned")]
    ratio = abs(counted) / max(abs(expected), 1e-9)
    if not 1 / FACTOR_MAX <= ratio <= FACTOR_MAX:
        said = f"counters gained {abs(counted):g} Wh where the power makes {abs(expected):.3g} Wh: a scale is wrong"
        return [PointVerdict("W", Verdict.BAD, powers[-1], said)]
    return [PointVerdict("energy", Verdict.OK, counted, f"goes with W: {expected:.3g} Wh expected ({kind})")]


def clock_against_ours(samples: Sequence[Sample]) -> list[PointVerdict]:
    """Returns how far a device's own clock is from this machine's, and its drift where the watch was long enough."""
    read = [(s.wall_ms / 1000, value) for s in samples if s.wall_ms and (value := s.values.get(CLOCK)) is not None]
    if not read:
        asked = any(CLOCK in sample.values for sample in samples)
        return [PointVerdict(CLOCK, Verdict.BAD, None, "its clock shows no time")] if asked else []
    offsets = [clock - wall for wall, clock in read]
    offset, window_s = offsets[-1], read[-1][0] - read[0][0]
    if len(read) >= STUCK_SAMPLES and window_s >= STUCK_SAMPLES and read[-1][1] == read[0][1]:
        return [PointVerdict(CLOCK, Verdict.BAD, offset, "its clock stands still")]
    way = "ahead of" if offset > 0 else "behind"
    said = f"{abs(offset):.0f} s {way} this machine's clock"
    state = Verdict.OK if abs(offset) <= CLOCK_OK_S else Verdict.WARN if abs(offset) <= CLOCK_BAD_S else Verdict.BAD
    if abs(offset) >= 1800 and abs(offset % 1800 - 900) > 900 - CLOCK_BAD_S:
        said += ": local time instead of UTC?"
    drift = offsets[-1] - offsets[0]
    if window_s >= DRIFT_WINDOW_S and abs(drift) >= 2:
        ppm = drift / window_s * 1e6
        said += f"; it runs {ppm:+.0f} ppm, {abs(ppm) * 0.0864:.1f} s a day"
        state = Verdict.BAD if abs(ppm) > DRIFT_PPM_MAX else state
    elif window_s >= DRIFT_WINDOW_S:
        said += f"; no drift seen in {window_s / 60:.0f} min"
    return [PointVerdict(CLOCK, state, offset, said)]


def _gain(first: Sample, last: Sample, point: str) -> float:
    before, after = first.values.get(point), last.values.get(point)
    return 0.0 if before is None or after is None else after - before
