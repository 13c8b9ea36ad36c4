"""Numbers, ages and times in the words that people read. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from controller.views import Value
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Instant
from devices.model import Quality

DASH = "–"
MINUS = "\N{MINUS SIGN}"
QUALITY_WORDS = {
    Quality.GOOD: "good",
    Quality.UNCERTAIN: "uncertain",
    Quality.STALE: "stale",
    Quality.BAD: "bad",
}
POINT_NAMES = {
    "W": "power",
    "V": "voltage",
    "hz": "frequency",
    "soc": "charge",
    "flow_lpm": "flow",
    "import_wh": "taken",
    "export_wh": "given",
    "on": "on",
    "clock_s": "its clock",
}
_KILO = {"W": "kW", "Wh": "kWh", "VA": "kVA"}
_PER_CENT = frozenset({"fraction", "1", ""})


def plain(value: float, digits: int) -> str:
    """Returns a number with a proper minus, thousands apart and no negative zero."""
    text = f"{value:,.{digits}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if text.startswith("-"):
        text = text[1:] if not any(letter in "123456789" for letter in text) else MINUS + text[1:]
    return text


def amount(value: float | None, unit: str) -> tuple[str, str]:
    """Returns (number, unit) as shown: kW from 1000 W, per cent for fractions, litres for mL."""
    shown = {"fraction": "%", "1": "%", "mL": "L"}.get(unit, unit)
    if value is None or not math.isfinite(value):
        return DASH, shown
    if unit in _PER_CENT - {""}:
        return plain(value * 100, 0), "%"
    if unit in _KILO and abs(value) >= 999.5:
        return plain(value / 1000, 1), _KILO[unit]
    if unit in ("W", "Wh", "VA"):
        return plain(value, 0), unit
    if unit == "mL":
        return plain(value / 1000, 0), "L"
    size = abs(value)
    return plain(value, 0 if size >= 100 or value == int(value) else 1 if size >= 10 else 2), unit


def text(value: float | None, unit: str) -> str:
    """Returns `12.4 kW`."""
    number, shown = amount(value, unit)
    return f"{number} {shown}".strip()


def energy(wh: int | float) -> str:
    """Returns `1.25 kWh`: two decimals, since bills are read from it."""
    return f"{plain(wh / 1000, 2)} kWh"


def litres(ml: int | float) -> str:
    """Returns `84 L`."""
    return f"{plain(ml / 1000, 0)} L"


def span(ms: float) -> str:
    """Returns a duration in its largest fitting unit: `4 s`, `12 min`, `3 h`, `2 d`."""
    for unit_ms, unit in ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "min")):
        if ms >= (2 if unit_ms == DAY_MS else 1) * unit_ms:
            return f"{int(ms // unit_ms)} {unit}"
    return f"{int(max(0, ms) // SECOND_MS)} s"


def brief(number: str, digits: int) -> str:
    """Returns exact text such as `5.414707836 kWh` with at most `digits` decimals; other text as it is."""
    amount_part, gap, unit = number.partition(" ")
    try:
        exact = Decimal(amount_part)
    except InvalidOperation:
        return number
    if not exact.is_finite() or -int(exact.as_tuple().exponent) <= digits:
        return number
    return f"{exact:.{digits}f}{gap}{unit}"


def hours(count: float | None) -> str:
    """Returns `9 h 20 min`, or `more than 4 d`, or a dash."""
    if count is None or not math.isfinite(count):
        return DASH
    if count > 96:
        return "more than 4 d"
    minutes = max(0, round(count * 60))
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes < 24 * 60 else f"{minutes // 60} h"


def quality(value: Value) -> str:
    """Returns the quality and age in words: `good, 2 s old`."""
    words = QUALITY_WORDS[value.quality]
    if value.simulated:
        words += ", simulated"
    return f"{words}, {span(value.age_ms)} old"


def zone(name: str) -> tzinfo:
    """Returns the time zone, UTC when this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def clock(at: Instant, tz: tzinfo) -> str:
    """Returns `09:40` in civil time."""
    return _civil(at, tz).strftime("%H:%M")


def day(at: Instant, tz: tzinfo) -> str:
    """Returns `Wed 3 Jun`."""
    civil = _civil(at, tz)
    return f"{civil:%a} {civil.day} {civil:%b}"


def moment(at: Instant, tz: tzinfo) -> str:
    """Returns `Wed 3 Jun 09:40`."""
    return f"{day(at, tz)} {clock(at, tz)}"


def dated(at: Instant, tz: tzinfo) -> str:
    """Returns `2026-06-03 09:40`: what may be read years later."""
    return f"{_civil(at, tz):%Y-%m-%d %H:%M}"


def when(at: Instant, now: Instant, tz: tzinfo) -> str:
    """Returns `09:40` on the same civil day, else with the day."""
    return clock(at, tz) if _civil(at, tz).date() == _civil(now, tz).date() else moment(at, tz)


def _civil(at: Instant, tz: tzinfo) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(tz)


def point_name(label: str) -> str:
    """Returns what people call a point: `power` for `W`."""
    return POINT_NAMES.get(label, label.replace("_", " "))


FILTERS: dict[str, Callable[..., str]] = {
    "amount_text": text,
    "energy": energy,
    "litres": litres,
    "span": span,
    "hours": hours,
    "brief": brief,
    "quality": quality,
    "clock": clock,
    "day": day,
    "moment": moment,
    "dated": dated,
    "when": when,
    "point_name": point_name,
}
"""What templates may call as filters."""
