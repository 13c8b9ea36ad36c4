"""The community's published rules, as values. Every rule here can be recomputed by a household."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.ledger.canonical import Json
from devices.clock import Instant


@dataclass(frozen=True, slots=True)
class TariffBand:
    """A price of energy from the outside in civil time: [start, end) minutes of the day, on `days` (0 = Monday)."""

    name: str
    start_minute: int
    end_minute: int  # up to 1440; a band that crosses midnight is written as two
    days: tuple[int, ...]
    import_price: int  # micro-units (1e-6 of the major unit) per kWh


@dataclass(frozen=True, slots=True)
class Charter:
    """Prices in micro-units per kWh or m3; lifelines per household and local day."""

    version: int
    valid_from: Instant
    currency: str
    minor_digits: int  # 2: cents
    timezone: str
    bands: tuple[TariffBand, ...]
    export_price: int  # what the outside pays, per kWh
    local_price: int  # between members and the community, per kWh
    sharing: str  # "proportional" to consumption in each slot
    lifeline_wh: int
    lifeline_price: int  # per kWh inside the lifeline block
    lifeline_ml: int
    lifeline_water_price: int  # per m3
    water_price: int  # per m3 beyond
    bill_period: str  # day, week or month, in local time
    rounding: str = "half-even-per-bill"
    clauses: Mapping[str, Json] | None = field(default=None, hash=False)  # a voted charter file, whole (`clauses.py`)
    clock_tolerance_ms: int | None = None  # None: intervals are billed as they stand, whatever their clock


@dataclass(frozen=True, slots=True)
class Member:
    """A party with an account. `usage_points` are its energy meters, `water_points` its water meters."""

    id: str
    name: str
    usage_points: tuple[str, ...]
    water_points: tuple[str, ...]
    lifeline: bool = True  # households have one, the clinic and the community may not
    role: str = "household"  # household, clinic, community


class CharterBroken(ValueError):
    """A document that is not a charter."""


FOR_LIFE = ("timezone", "currency", "minor_digits", "bill_period")
"""What no later charter of a ledger may change: days, units of an account and bill periods would mix."""


def first_for_life(standing: Charter, new: Charter) -> str:
    """Returns the first field that a ledger keeps for life and a new charter would change, or ''."""
    return next((name for name in FOR_LIFE if getattr(standing, name) != getattr(new, name)), "")


def changed_for_life(standing: Charter, new: Charter) -> str:
    """Returns what a ledger keeps for life and a new charter would change, and what to do; '' where nothing is."""
    name = first_for_life(standing, new)
    if not name:
        return ""
    mine, other = getattr(standing, name), getattr(new, name)
    return (
        f"{name} is {mine!r} in this ledger and {other!r} in the charter; a ledger keeps it for life:"
        f" write {mine!r} again, or begin a new ledger in an empty data directory"
    )


def charter_document(charter: Charter) -> dict[str, Json]:
    """Returns the charter as it is published in the log; prices stay whole micro-units."""
    clauses: dict[str, Json] = {} if charter.clauses is None else {"clauses": charter.clauses}
    return {
        **clauses,
        "version": charter.version,
        "valid_from": charter.valid_from,
        "currency": charter.currency,
        "minor_digits": charter.minor_digits,
        "timezone": charter.timezone,
        "bands": [
            {
                "name": band.name,
                "start_minute": band.start_minute,
                "end_minute": band.end_minute,
                "days": list(band.days),
                "import_price": band.import_price,
            }
            for band in charter.bands
        ],
        "export_price": charter.export_price,
        "local_price": charter.local_price,
        "sharing": charter.sharing,
        "lifeline_wh": charter.lifeline_wh,
        "lifeline_price": charter.lifeline_price,
        "lifeline_ml": charter.lifeline_ml,
        "lifeline_water_price": charter.lifeline_water_price,
        "water_price": charter.water_price,
        "bill_period": charter.bill_period,
        "rounding": charter.rounding,
        **({} if charter.clock_tolerance_ms is None else {"clock_tolerance_ms": charter.clock_tolerance_ms}),
    }


def member_document(member: Member) -> dict[str, Json]:
    """Returns the membership as it is published in the log: the id and its meters, never the person's name."""
    return {
        "id": member.id,
        "usage_points": list(member.usage_points),
        "water_points": list(member.water_points),
        "lifeline": member.lifeline,
        "role": member.role,
    }


def parse_charter(document: Json) -> Charter:
    """Returns the charter in a published document.

    Raises:
        CharterBroken: a field is missing or of another type.
    """
    row = _object(document)
    bands, clauses = row.get("bands"), row.get("clauses")
    if not isinstance(bands, list):
        raise CharterBroken("a charter has a list of bands")
    return Charter(
        version=_int(row, "version"),
        valid_from=Instant(_int(row, "valid_from")),
        currency=_str(row, "currency"),
        minor_digits=_int(row, "minor_digits"),
        timezone=_str(row, "timezone"),
        bands=tuple(_band(_object(band)) for band in bands),
        export_price=_int(row, "export_price"),
        local_price=_int(row, "local_price"),
        sharing=_str(row, "sharing"),
        lifeline_wh=_int(row, "lifeline_wh"),
        lifeline_price=_int(row, "lifeline_price"),
        lifeline_ml=_int(row, "lifeline_ml"),
        lifeline_water_price=_int(row, "lifeline_water_price"),
        water_price=_int(row, "water_price"),
        bill_period=_str(row, "bill_period"),
        rounding=_str(row, "rounding"),
        clauses=None if clauses is None else _object(clauses),
        clock_tolerance_ms=_int(row, "clock_tolerance_ms") if "clock_tolerance_ms" in row else None,
    )


def parse_member(document: Json) -> Member:
    """Returns the member in a published document; its name is its id, names are not published.

    Raises:
        CharterBroken: a field is missing or of another type.
    """
    row = _object(document)
    lifeline = row.get("lifeline")
    if not isinstance(lifeline, bool):
        raise CharterBroken("lifeline is not true or false")
    return Member(
        id=_str(row, "id"),
        name=_str(row, "id"),
        usage_points=_strings(row, "usage_points"),
        water_points=_strings(row, "water_points"),
        lifeline=lifeline,
        role=_str(row, "role"),
    )


def _band(row: Mapping[str, Json]) -> TariffBand:
    days = row.get("days")
    if not isinstance(days, list) or not all(isinstance(day, int) and 0 <= day <= 6 for day in days):
        raise CharterBroken(f"days {days!r} are not weekdays 0 to 6")
    return TariffBand(
        _str(row, "name"),
        _int(row, "start_minute"),
        _int(row, "end_minute"),
        tuple(day for day in days if isinstance(day, int)),
        _int(row, "import_price"),
    )


def _object(document: Json) -> Mapping[str, Json]:
    if not isinstance(document, Mapping):
        raise CharterBroken(f"{document!r} is not an object")
    return document


def _int(row: Mapping[str, Json], key: str) -> int:
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise CharterBroken(f"{key} is {value!r}, not a whole number")
    return value


def _str(row: Mapping[str, Json], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise CharterBroken(f"{key} is {value!r}, not a text")
    return value


def _strings(row: Mapping[str, Json], key: str) -> tuple[str, ...]:
    value = row.get(key)
    if not isinstance(value, list):
        raise CharterBroken(f"{key} is {value!r}, not a list")
    texts = tuple(text for text in value if isinstance(text, str))
    if len(texts) != len(value):
        raise CharterBroken(f"{key} holds something that is not a text")
    return texts
