"""Form fields -> commands: every problem at once, in words, each beside its field. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from controller.commands import AcknowledgeAlarm, Actor, Command, HoldDevice, OperateDevice, ReleaseDevice
from controller.console.words import plain
from controller.views import NowView, Writable
from devices.clock import MINUTE_MS, Instant

NOTE_LETTERS_MAX = 200
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one field."""

    field: str
    text: str


Parsed = Command | tuple[Problem, ...]


def acknowledge(form: Mapping[str, str], actor: Actor, now: NowView) -> Parsed:
    """Returns the command, or what is wrong with the form."""
    alarm = form.get("alarm", "")
    problems = [*id_problems(form), *text_problems(form, "note", needed=False)]
    if alarm not in {one.id for one in now.alarms}:
        problems.append(Problem("alarm", f"There is no alarm {alarm!r} any more; it may have cleared."))
    if problems:
        return tuple(problems)
    return AcknowledgeAlarm(form["id"], actor, alarm, form.get("note", "").strip())


def hold(form: Mapping[str, str], actor: Actor, now: NowView, device: str, minutes_max: int) -> Parsed:
    """Returns the command, or everything that is wrong with the form."""
    found = next((one for one in now.devices if one.id == device), None)
    if found is None or found.writable is None:
        return (Problem("device", f"Device {device!r} has no point that can be held."),)
    value = _number(form.get("value", ""))
    minutes = _number(form.get("minutes", ""))
    problems = [
        *id_problems(form),
        *_value_problems(value, found.writable),
        *_minute_problems(minutes, minutes_max),
        *text_problems(form, "reason", needed=True),
    ]
    if problems or value is None or minutes is None:
        return tuple(problems)
    until = Instant(now.at + round(minutes) * MINUTE_MS)
    return HoldDevice(form["id"], actor, found.id, value, until, form["reason"].strip())


def release(form: Mapping[str, str], actor: Actor, now: NowView, device: str) -> Parsed:
    """Returns the command, or what is wrong with the form."""
    problems = [*id_problems(form), *text_problems(form, "reason", needed=False)]
    if device not in {one.id for one in now.devices}:
        problems.append(Problem("device", f"There is no device {device!r}."))
    if problems:
        return tuple(problems)
    return ReleaseDevice(form["id"], actor, device, form.get("reason", "").strip() or "released by hand")


def operate(form: Mapping[str, str], actor: Actor, now: NowView, device: str, step: str) -> Parsed:
    """Returns one of the two steps (`select`, `operate`), or everything that is wrong with the form."""
    found = next((one for one in now.devices if one.id == device), None)
    if found is None or not found.choices:
        return (Problem("device", f"Device {device!r} has nothing to operate just now."),)
    value = _number(form.get("value", ""))
    problems = [*id_problems(form), *text_problems(form, "reason", needed=True)]
    if value not in {choice for choice, _ in found.choices}:
        problems.append(Problem("value", f"Choose: {' or '.join(verb for _, verb in found.choices)}."))
    if step == "operate" and not _ID.fullmatch(form.get("selection", "")):
        problems.append(Problem("selection", "The form lost its selection. Select again."))
    if problems or value is None:
        return tuple(problems)
    return OperateDevice(form["id"], actor, device, value, step, form["reason"].strip(), form.get("selection", ""))


def id_problems(form: Mapping[str, str]) -> list[Problem]:
    """Returns what is wrong with a form's own number."""
    if _ID.fullmatch(form.get("id", "")):
        return []
    return [Problem("id", "The form lost its number. Load the page again and repeat.")]


def _value_problems(value: float | None, point: Writable) -> list[Problem]:
    if point.unit == "on/off":
        return [] if value in (0.0, 1.0) else [Problem("value", "Value: 1 for on or 0 for off.")]
    if value is not None and point.low <= value <= point.high:
        return []
    seen = "this is not a number" if value is None else f"{value:g} is outside"
    return [
        Problem("value", f"Value: from {plain_short(point.low)} to {plain_short(point.high)} {point.unit}; {seen}.")
    ]


def plain_short(value: float) -> str:
    """Returns a limit as short as it can be said."""
    return plain(value, 0 if value == int(value) else 2)


def _minute_problems(minutes: float | None, most: int) -> list[Problem]:
    if minutes is not None and minutes == int(minutes) and 1 <= minutes <= most:
        return []
    return [Problem("minutes", f"Minutes: a whole number from 1 to {most}. Every hold has an end.")]


def text_problems(form: Mapping[str, str], name: str, *, needed: bool) -> list[Problem]:
    """Returns what is wrong with one line of text."""
    given = form.get(name, "").strip()
    if needed and len(given) < 3:
        return [Problem(name, f"{name.capitalize()}: say in a few words why; it stands in the ledger.")]
    if len(given) > NOTE_LETTERS_MAX or not all(letter.isprintable() for letter in given):
        return [Problem(name, f"{name.capitalize()}: at most {NOTE_LETTERS_MAX} letters on one line.")]
    return []


def _number(text: str) -> float | None:
    """Returns a typed number (a comma or a real minus is fine), None when it is none."""
    try:
        value = float(text.strip().replace("\N{MINUS SIGN}", "-").replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def local_moment(text: str, tz: tzinfo) -> tuple[Instant | None, str]:
    """Returns (the instant of a local date and time such as 2026-06-03T14:30, what is wrong with it)."""
    try:
        moment = datetime.fromisoformat(text.strip())
        at = Instant(round((moment if moment.tzinfo else moment.replace(tzinfo=tz)).timestamp() * 1000))
    except (ValueError, OverflowError):
        return None, f"{text!r} is no date and time: write it as 2026-06-03T14:30"
    return at, ""
