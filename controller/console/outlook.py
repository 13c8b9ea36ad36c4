"""View values -> what pages say about them: headlines, groups, next blocks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

from controller.console import words
from controller.views import AlarmView, DeviceView, NowView, PlanRow, PlanSeries, PlanView
from devices.clock import HOUR_MS, Instant

VEHICLES = frozenset({"robot", "drone"})
UNACKNOWLEDGED = frozenset({"unacknowledged", "returned-unacknowledged"})
_ORDER = {"high": 0, "medium": 1, "low": 2}
TONES = 6
KIND_WORDS = frozenset({"forecast", "plan", "planned", "actual", "so", "far", "measured", "low", "high"})
_CHART_NAMES = {"W": "Power", "fraction": "Stores", "L/min": "Water", "price": "Price"}


def open_alarms(alarms: Sequence[AlarmView]) -> tuple[AlarmView, ...]:
    """Returns the alarms that wait for an answer, the most urgent first."""
    waiting = [alarm for alarm in alarms if alarm.state in UNACKNOWLEDGED]
    return tuple(sorted(waiting, key=lambda alarm: (_ORDER.get(alarm.priority, 3), alarm.since)))


def sorted_alarms(alarms: Sequence[AlarmView]) -> tuple[AlarmView, ...]:
    """Returns all alarms, those that wait first."""
    rest = [alarm for alarm in alarms if alarm.state not in UNACKNOWLEDGED]
    return open_alarms(alarms) + tuple(sorted(rest, key=lambda alarm: (_ORDER.get(alarm.priority, 3), alarm.since)))


def headline(now: NowView) -> tuple[str, bool]:
    """Returns (one sentence, whether it is abnormal) that answers: is everything all right?"""
    waiting = open_alarms(now.alarms)
    if waiting:
        count = len(waiting)
        return f"{count} alarm{'s' if count > 1 else ''} wait{'' if count > 1 else 's'} for an answer", True
    if now.link != "live":
        return f"The devices are not heard: link {now.link}", True
    silent = [device.label for device in now.devices if not device.online]
    if silent:
        return f"{len(silent)} device{'s' if len(silent) > 1 else ''} silent: {', '.join(silent[:3])}", True
    held = [device.label for device in now.devices if device.hold]
    if held:
        return (
            f"All right, with {len(held)} device{'s' if len(held) > 1 else ''} held by hand: {', '.join(held[:3])}",
            True,
        )
    return "Everything is all right", False


def direction(kind: str, watts: float | None) -> str:
    """Returns which way power flows, in the word for that kind of device."""
    if watts is None:
        return "unknown"
    if abs(watts) < 20:
        return "idle"
    taking = watts > 0
    if kind == "battery":
        return "charging" if taking else "discharging"
    if kind == "grid":
        return "exporting" if taking else "importing"
    return "using" if taking else "producing"


def vehicles(now: NowView) -> tuple[DeviceView, ...]:
    """Returns the robots and drones."""
    return tuple(device for device in now.devices if device.kind in VEHICLES)


@dataclass(frozen=True, slots=True)
class Chart:
    """Series that share a unit, with the sentence that states what they show."""

    unit: str
    name: str
    sentence: str
    series: tuple[PlanSeries, ...]
    tones: tuple[int, ...]  # colour of each: what is forecast, planned and measured of one thing looks alike
    low: str
    high: str
    middle: str
    rows: tuple[tuple[Instant, tuple[str, ...]], ...]  # full hours, as text


def charts(plan: PlanView, bounds: tuple[tuple[float, float], ...], tz: tzinfo) -> tuple[Chart, ...]:
    """Returns one chart per unit; `bounds` are the axis ranges in the order of `units(plan)`."""
    made: list[Chart] = []
    for unit, (low, high) in zip(units(plan), bounds, strict=True):
        series = tuple(one for one in plan.series if one.unit == unit)
        hourly = [index for index, at in enumerate(plan.times) if at % HOUR_MS == 0]
        rows = tuple((plan.times[index], tuple(_cell(one, index) for one in series)) for index in hourly)
        middle = words.text((low + high) / 2, unit)
        made.append(
            Chart(unit, _CHART_NAMES.get(unit, unit), _sentence(plan, series, tz), series, tones(series),
                  words.text(low, unit), words.text(high, unit), middle, rows)
        )  # fmt: skip
    return tuple(made)


def tones(series: Sequence[PlanSeries]) -> tuple[int, ...]:
    """Returns a colour number per series, equal where only the kind of the number differs."""
    subjects: dict[str, int] = {}
    for one in series:
        subjects.setdefault(subject(one.name), len(subjects) % TONES)
    return tuple(subjects[subject(one.name)] for one in series)


def subject(name: str) -> str:
    """Returns what a series is about: `load` for `load forecast`."""
    return " ".join(word for word in name.split() if word not in KIND_WORDS) or name


def units(plan: PlanView) -> tuple[str, ...]:
    """Returns the units of the plan's series in order of first use."""
    return tuple(dict.fromkeys(one.unit for one in plan.series))


def _cell(one: PlanSeries, index: int) -> str:
    return words.text(one.values[index], one.unit) if index < len(one.values) else words.DASH


def _sentence(plan: PlanView, series: Sequence[PlanSeries], tz: tzinfo) -> str:
    """Returns where the largest and the smallest value ahead lie."""
    ahead = [
        (value, at, one)
        for one in series
        if one.kind not in ("actual", "band")
        for at, value in zip(plan.times, one.values, strict=False)
        if value is not None and at >= plan.at
    ]
    if not ahead:
        return "Nothing is planned or forecast yet"
    top = max(ahead, key=lambda point: abs(point[0]))
    value, at, one = top
    shown = abs(value) if one.unit == "W" else value
    words_top = f"{one.name} reaches {words.text(shown, one.unit)} at {words.when(at, plan.at, tz)}"
    if one.unit != "fraction":
        return words_top
    value, at, one = min(ahead, key=lambda point: point[0])
    return f"{words_top}; lowest is {one.name} with {words.text(value, one.unit)} at {words.when(at, plan.at, tz)}"


@dataclass(frozen=True, slots=True)
class Ahead:
    """What one device does now or next, and why."""

    label: str
    time: str
    text: str
    why: str


def ahead(rows: Sequence[PlanRow], now: Instant, tz: tzinfo) -> tuple[Ahead, ...]:
    """Returns each device's present or next block."""
    found: list[Ahead] = []
    for row in rows:
        block = next((block for block in row.blocks if block[1] > now), None)
        if block is None:
            found.append(Ahead(row.label, words.DASH, "nothing planned", ""))
            continue
        start, end, label, _, reason = block
        time = (
            f"now, until {words.when(end, now, tz)}"
            if start <= now
            else f"{words.when(start, now, tz)}–{words.clock(end, tz)}"
        )
        found.append(Ahead(row.label, time, label, reason))
    return tuple(found)
