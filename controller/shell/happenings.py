"""Happenings as a person writes them for a simulation, and changes of tariff among them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

from controller.civil import moment_text
from controller.settlement.charter import Charter
from controller.simulate import HAPPENINGS, Happening
from controller.site import Site
from devices.clock import Instant
from devices.simulated import FleetFactory, HappeningKind

TARIFF, VOTE = "tariff-change", "vote"
PRICES = ("export_price", "local_price", "lifeline_price", "lifeline_water_price", "water_price")


OF_THE_BOOKS: Mapping[str, HappeningKind] = {
    TARIFF: HappeningKind("other prices [micro-units] from the next midnight on", may=(*PRICES, "BAND")),
    VOTE: HappeningKind(
        "every household votes on a charter file (against, absent: member,member)",
        ("charter",),
        ("against", "absent", "hours"),
    ),
}
"""What concerns tariffs and votes; their arguments are judged where they are carried out."""


class BadHappening(ValueError):
    """A happening that cannot be read; the text says what was seen and how it is written."""


def parse_happening(text: str, zone: str) -> Happening:
    """Returns the happening in `2026-03-20T14:30 meter-swap device=home-03`; the time is the community's own.

    Raises:
        BadHappening: it is not written so.
    """
    words = text.split()
    if len(words) < 2:
        raise BadHappening(f"{text!r} is no happening: write 'TIME NAME key=value ...'")
    arguments: dict[str, str | float] = {}
    for word in words[2:]:
        key, equals, value = word.partition("=")
        if not equals or not key or not value:
            raise BadHappening(f"{word!r} in {text!r} is not key=value")
        arguments[key] = _value(value)
    return Happening(parse_local(words[0], zone), words[1], arguments)


def kinds(fleet: FleetFactory) -> dict[str, HappeningKind]:
    """Returns every happening that a simulation knows."""
    return {**OF_THE_BOOKS, **HAPPENINGS, **fleet.happenings}


def kinds_text(known: Mapping[str, HappeningKind]) -> list[str]:
    """Returns a line for each kind: how it is written, and what it does."""
    rows: list[tuple[str, str]] = []
    for name, kind in known.items():
        words = [name, *(f"{key}=..." for key in kind.needs), *(f"[{key}=...]" for key in kind.may)]
        rows.append((" ".join(words), kind.words))
    return [f"{how:<44} {words}" if len(how) <= 44 else f"{how}\n{'':<44} {words}" for how, words in rows]


def misplaced(
    happenings: Sequence[Happening], known: Mapping[str, HappeningKind], site: Site, begin: Instant, until: Instant
) -> list[str]:
    """Returns what is wrong with happenings: name, arguments, a device that is not there, a time not simulated."""
    devices = [str(device.id) for device in site.devices]
    problems: list[str] = []
    for one in happenings:
        kind = known.get(one.name)
        if kind is None:
            near = difflib.get_close_matches(one.name, known, 1)
            problems.append(f"there is no happening {one.name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        elif one.name not in OF_THE_BOOKS and (problem := kind.problem(one.name, one.arguments)):
            problems.append(problem)
        elif (device := one.arguments.get("device")) is not None and device not in devices:
            problems.append(f"{one.name}: there is no device {device!r}: there are {', '.join(devices)}")
        if not begin <= one.at < until:
            at, first, last = (moment_text(site.timezone, moment) for moment in (one.at, begin, until))
            problems.append(f"{one.name} at {at} is not simulated: from {first} to before {last}")
    return problems


def parse_local(text: str, zone: str) -> Instant:
    """Returns the instant of a civil date (its midnight) or time at the community.

    Raises:
        BadHappening: not a date or time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadHappening(f"{text!r} is no date and no time: write 2026-03-20 or 2026-03-20T14:30") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone))
    return Instant(round(moment.timestamp()) * 1000)


def tariff_changes(charter: Charter, happenings: Sequence[Happening]) -> list[Charter]:
    """Returns the charters that changes of tariff make one after the other, each from the next civil midnight on.

    Raises:
        BadHappening: a price that the charter does not have.
    """
    made: list[Charter] = []
    for happening in sorted((one for one in happenings if one.name == TARIFF), key=lambda one: one.at):
        charter = changed(charter, happening.arguments, _midnight(happening.at, charter.timezone))
        made.append(charter)
    return made


def changed(charter: Charter, arguments: Mapping[str, str | float], valid_from: Instant) -> Charter:
    """Returns the charter's next version with other prices [micro-units]: `local_price=155000`, `evening=450000`.

    Raises:
        BadHappening: a price that the charter does not have, or no whole number.
    """
    bands = {band.name: band for band in charter.bands}
    prices: dict[str, int] = {}
    for name, value in arguments.items():
        if (name not in PRICES and name not in bands) or not isinstance(value, float) or not value.is_integer():
            known = ", ".join((*PRICES, *bands))
            raise BadHappening(f"{TARIFF}: {name}={value} is no whole price of {known}")
        if name in bands:
            bands[name] = replace(bands[name], import_price=int(value))
        else:
            prices[name] = int(value)
    return replace(
        charter,
        version=charter.version + 1,
        valid_from=valid_from,
        bands=tuple(bands.values()),
        export_price=prices.get("export_price", charter.export_price),
        local_price=prices.get("local_price", charter.local_price),
        lifeline_price=prices.get("lifeline_price", charter.lifeline_price),
        lifeline_water_price=prices.get("lifeline_water_price", charter.lifeline_water_price),
        water_price=prices.get("water_price", charter.water_price),
    )


def _midnight(at: Instant, zone: str) -> Instant:
    """Returns the first civil midnight at or after an instant."""
    local = datetime.fromtimestamp(at / 1000, ZoneInfo(zone))
    begin = datetime.combine(local.date(), datetime.min.time(), ZoneInfo(zone))
    if local > begin:
        begin = datetime.combine(date.fromordinal(local.date().toordinal() + 1), datetime.min.time(), ZoneInfo(zone))
    return Instant(round(begin.timestamp()) * 1000)


def _value(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
