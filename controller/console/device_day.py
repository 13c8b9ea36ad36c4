"""A device's last day: one chart per point with its gaps and its quality, and what the device was told. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

from markupsafe import Markup

from controller.console import draw, words
from controller.console.grading import Graded, grade
from controller.console.source import ConsoleSource
from controller.hub_state import TOLD, TOLD_EVERY_MS
from controller.store.series import PointRange
from controller.views import DeviceView
from devices.clock import DAY_MS, Instant
from devices.model import Quality, point_id

CHANGES_SHOWN = 12
NOTHING = "nothing heard"
_WORDS = {Quality.UNCERTAIN: "uncertain", Quality.STALE: "stale", Quality.BAD: "bad"}


@dataclass(frozen=True, slots=True)
class PointChart:
    """One chart: what it shows in words, its picture and the labels of its axis, from the top."""

    label: str
    sentence: str
    picture: Markup
    scale: tuple[str, str, str]
    told: bool


@dataclass(frozen=True, slots=True)
class DeviceDay:
    """What the page needs; `told` are (when, what) of the last changes, newest first."""

    start: Instant
    end: Instant
    charts: tuple[PointChart, ...]
    told: tuple[tuple[Instant, str], ...]


def device_day(source: ConsoleSource, device: DeviceView, now: Instant, tz: tzinfo) -> DeviceDay:
    """Returns 24 hours of every point that the device reports, up to now.

    Of a device that speaks they end with what is stored: the last seconds are not yet, and that is no silence.
    """
    points = {value.label: point_id(device.id, value.label) for value in device.values}
    told_id = point_id(device.id, TOLD)
    found = source.ranges([*points.values(), told_id], Instant(now - DAY_MS), now)
    if device.online:
        now = max((one.times[-1] for one in found.values() if one.times), default=now)
    start = Instant(now - DAY_MS)
    told = steps_of(found[told_id]) if told_id in found else []
    writable = device.writable.point if device.writable is not None else ""
    charts: list[PointChart] = []
    for value in device.values:
        graded = grade(found.get(points[value.label], PointRange((), (), ())), start, Instant(now + 1))
        line = told if value.label == writable else []
        charts.append(_chart(value.label, value.unit, graded, line, (start, now, tz)))
    unit = next((value.unit for value in device.values if value.label == writable), "")
    changes = [
        (at, words.text(value, unit))
        for index, (at, _, value) in enumerate(told)
        if not index or told[index - 1][2] != value
    ]
    return DeviceDay(start, now, tuple(charts), tuple(reversed(changes[-CHANGES_SHOWN:])))


def steps_of(told: PointRange) -> list[tuple[Instant, Instant, float]]:
    """Returns (from, until, value): what was told stands until the next word, or until its lease cannot be renewed."""
    found: list[tuple[Instant, Instant, float]] = []
    for index, (at, value) in enumerate(zip(told.times, told.values, strict=True)):
        lapses = Instant(at + 2 * TOLD_EVERY_MS)
        if value is not None:
            found.append((at, min([lapses, *told.times[index + 1 : index + 2]]), value))
    return found


def _chart(
    label: str,
    unit: str,
    graded: Graded,
    told: Sequence[tuple[Instant, Instant, float]],
    span: tuple[Instant, Instant, tzinfo],
) -> PointChart:
    low, high = draw.day_range(label, unit, [*graded.means, *(value for _, _, value in told)])
    name = words.point_name(label)
    sentence = _sentence(unit, graded)
    picture = draw.day_line(graded, told, (low, high), span, f"{name}: {sentence}")
    scale = (words.text(high, unit), words.text((low + high) / 2, unit), words.text(low, unit))
    return PointChart(name, sentence, picture, scale, bool(told))


def _sentence(unit: str, graded: Graded) -> str:
    good = [value for value in graded.means if value is not None]
    if not good:
        return "no usable reading in 24 hours"
    parts = [f"{words.text(min(good), unit)} to {words.text(max(good), unit)}"]
    for quality, said in (*_WORDS.items(), (None, NOTHING)):
        steps = sum(1 for one in graded.worst if one is quality)
        if steps:
            parts.append(f"{said} for {words.span(steps * graded.step_ms)}")
    return "; ".join(parts)
