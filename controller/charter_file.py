"""A charter file read: its canonical document, and its terms bound to members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from pydantic import ValidationError

from controller.charter_schema import CharterFile
from controller.ledger.canonical import Json
from controller.settlement.charter import Charter, TariffBand
from controller.settlement.keys import (
    Hourly,
    OwnKey,
    Participation,
    Proportional,
    Rounds,
    SharedEnergy,
    SharingKey,
    Static,
)
from controller.settlement.prices import BillSharing, Flat, MidMarket, Premium, PriceRule, Shapley, SupplyDemand
from controller.settlement.terms import Terms
from controller.site_types import DAYS, minutes
from devices.clock import HOUR_MS, Instant, iso, parse_iso

FORMAT = "atoll-charter/1"


class NotACharter(ValueError):
    """A document that is not the canonical one of a charter file."""


def charter_document(file: CharterFile) -> dict[str, Json]:
    """Returns the document whose canonical bytes are proposed, approved and published.

    Every clause stands in it, defaults too; each rule says who can recompute it.
    """
    row = cast("dict[str, Json]", file.model_dump(by_alias=True, exclude_none=True))
    row["format"] = FORMAT
    row["valid_from"] = parse_iso(file.valid_from)
    if file.valid_to is not None:
        row["valid_to"] = parse_iso(file.valid_to)
    row["recomputable"] = {"sharing": key_of(file, ()).recomputable, "price": price_of(file).recomputable}
    return row


def parse_document(document: Mapping[str, Json]) -> CharterFile:
    """Returns the charter in a canonical document.

    Raises:
        NotACharter: it is none, or not the one that `charter_document` writes.
    """
    row = {key: value for key, value in document.items() if key not in ("format", "recomputable")}
    for key in ("valid_from", "valid_to"):
        if key in row:
            moment = row[key]
            if not isinstance(moment, int):
                raise NotACharter(f"{key} is {moment!r}, not an instant")
            row[key] = iso(Instant(moment))
    try:
        file = CharterFile.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise NotACharter(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if charter_document(file) != document:
        raise NotACharter("it is not the canonical document of its own clauses")
    return file


def published(document: Mapping[str, Json]) -> Charter:
    """Returns the charter in a canonical document as the log publishes it: its rule id is the document's format.

    Raises:
        NotACharter: it is none.
    """
    return replace(base(parse_document(document)), sharing=FORMAT, clauses=document)


def terms(file: CharterFile, members: Sequence[str], start: Instant) -> Terms:
    """Returns the charter's terms for members in this order; those it does not name have its defaults.

    `start` is when the data begin: hourly coefficients count from valid_from, before it too.
    """
    networks = {member: row.per_kwh for row in file.network for member in row.members}
    return Terms(
        name=f"{file.name} v{file.version}",
        charter=base(file),
        key=key_of(file, members, (start - parse_iso(file.valid_from)) // HOUR_MS),
        price=price_of(file),
        lifeline=tuple(member not in file.lifeline.not_for for member in members),
        network=tuple(networks.get(member, 0) for member in members),
        levy=file.fees.levy_per_kwh + file.fees.solidarity_per_kwh,
        fee=file.fees.per_bill,
        delivery=next((row.price for row in file.service if row.name == "delivery"), 0),
        dividend=0 if file.dividend is None else file.dividend.permille,
    )


def base(file: CharterFile) -> Charter:
    """Returns bands, prices and lifelines as the settlement knows them."""
    bands = tuple(
        TariffBand(
            band.name,
            minutes(band.start),
            minutes(band.end),
            tuple(DAYS.index(day) for day in band.days),
            band.import_price,
        )
        for band in file.bands
    )
    return Charter(
        version=file.version,
        valid_from=parse_iso(file.valid_from),
        currency=file.currency,
        minor_digits=file.minor_digits,
        timezone=file.timezone,
        bands=bands,
        export_price=file.export_price,
        local_price=file.price.local_price or 0,
        sharing=file.sharing.key,
        lifeline_wh=file.lifeline.wh,
        lifeline_price=file.lifeline.price,
        lifeline_ml=file.lifeline.ml,
        lifeline_water_price=file.lifeline.water_price,
        water_price=file.water_price,
        bill_period=file.bill_period,
        clock_tolerance_ms=file.clock_tolerance_ms,
        rounding=file.rounding,
    )


def key_of(file: CharterFile, members: Sequence[str], origin: int = 0) -> SharingKey:
    """Returns the sharing key bound to members; `origin` is the first hour of the data, from valid_from.

    Raises:
        KeyBroken: a member's participation exceeds 100 %.
    """
    sharing = file.sharing
    match sharing.key:
        case "proportional":
            return Proportional()
        case "shared-energy":
            return SharedEnergy()
        case "static":
            return Static(_row(sharing.weights or {}, members, sharing.default_weight))
        case "hourly":
            rows = (_row(hour, members, sharing.default_weight) for hour in sharing.hours or [{}])
            return Hourly(tuple(rows), origin=origin)
        case "own-key":
            return OwnKey(tuple(_row(slot, members, sharing.default_weight) for slot in sharing.slots or []))
        case "rounds":
            return Rounds(_row(sharing.classes or {}, members, sharing.default_class))
        case "participation":
            rows = (_row(row.percent, members, row.default_percent) for row in sharing.communities or [])
            return Participation(tuple(tuple(percent * 100 for percent in row) for row in rows))


def price_of(file: CharterFile) -> PriceRule | BillSharing | Premium | Shapley:
    """Returns the price rule."""
    price = file.price
    match price.rule:
        case "flat":
            return Flat(price.local_price or 0)
        case "mid-market":
            return MidMarket()
        case "supply-demand":
            return SupplyDemand()
        case "bill-sharing":
            return BillSharing()
        case "shapley":
            return Shapley(price.samples or 1, price.seed or 0)
        case "premium":
            return Premium(price.premium or 0, price.takers_permille or 0, price.givers_permille or 0)


def _row(named: Mapping[str, int], members: Sequence[str], default: int) -> tuple[int, ...]:
    return tuple(named.get(member, default) for member in members)
