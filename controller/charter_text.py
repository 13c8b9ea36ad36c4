"""A charter in words: the same lines for any two, so that a change is shown beside what it changes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from controller.community_values import Fact
from controller.ledger.canonical import Json
from controller.settlement.bills import decimal_text
from controller.settlement.charter import Charter, TariffBand

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MICRO = 1_000_000


def facts(charter: Charter) -> tuple[Fact, ...]:
    """Returns the lines of a published charter."""
    return tuple(_facts(charter))


def changes(old: Charter, new: Charter) -> tuple[tuple[str, str, str], ...]:
    """Returns (what, old, new) of the lines in which two charters differ; "–" where one has no such line."""
    before, after = dict(facts(old)), dict(facts(new))
    names = [*before, *(name for name in after if name not in before)]
    rows = [(name, before.get(name, "–"), after.get(name, "–")) for name in names]
    return tuple(row for row in rows if row[1] != row[2])


def _facts(charter: Charter) -> Iterator[Fact]:
    clauses = charter.clauses or {}
    sharing, price = _table(clauses, "sharing"), _table(clauses, "price")
    yield "Sharing", str(sharing.get("key", charter.sharing))
    yield "Price of shared energy", _rule(charter, price)
    for band in charter.bands:
        yield f"From outside, {band.name}", f"{_price(charter, band.import_price)}/kWh, {_hours(band)}"
    yield "Paid by the outside", f"{_price(charter, charter.export_price)}/kWh"
    yield "Lifeline energy", _lifeline(charter, charter.lifeline_wh, 1_000, "kWh", charter.lifeline_price)
    yield "Lifeline water", _lifeline(charter, charter.lifeline_ml, 1_000, "L", charter.lifeline_water_price, "m3")
    yield "Water", f"{_price(charter, charter.water_price)}/m3"
    fees = _table(clauses, "fees")
    for name, key, per in (
        ("Levy", "levy_per_kwh", "/kWh"),
        ("Solidarity share", "solidarity_per_kwh", "/kWh"),
        ("Fee per bill", "per_bill", ""),
    ):
        if amount := _whole(fees.get(key)):
            yield name, _price(charter, amount) + per
    for row in _rows(clauses, "network"):
        yield f"Network fee, feeder {row.get('feeder')}", f"{_price(charter, _whole(row.get('per_kwh')))}/kWh"
    for row in _rows(clauses, "service"):
        yield f"Per {row.get('name')}", _price(charter, _whole(row.get("price")))
    if permille := _whole(_table(clauses, "dividend").get("permille")):
        yield "Dividend", f"{permille / 10:g} % of the period's gain, in equal parts"
    if storage := _table(clauses, "storage"):
        words = {"community": "the community", "depositor": "who stored it, by energy stored", "use": "all, by use"}
        yield "What stored energy brings goes to", words[str(storage["owner"])]
        yield "Its losses are borne by", words[str(storage["losses"])]
    yield "Bills", f"every {charter.bill_period}, rounded once"
    if charter.clock_tolerance_ms is not None:
        yield "Clock error billed as it stands", f"{charter.clock_tolerance_ms / 1000:g} s"
    if hours := _whole(clauses.get("late_window_h")):
        yield "Late records are waited for", f"{hours} h"
    if quorum := _table(clauses, "quorum"):
        voters = quorum.get("of")
        count = len(voters) if isinstance(voters, list) else 0
        yield "A change needs", f"{quorum.get('approvals')} of {count} voters within {quorum.get('expires_h')} h"


def _rule(charter: Charter, price: Mapping[str, Json]) -> str:
    rule = str(price.get("rule", "flat"))
    if rule == "premium":
        return f"as from outside, and a premium of {_price(charter, _whole(price.get('premium')))}/kWh"
    return f"{_price(charter, charter.local_price)}/kWh" if rule == "flat" else rule.replace("-", " ")


def _lifeline(charter: Charter, amount: int, scale: int, unit: str, price: int, per: str = "") -> str:
    return f"{amount / scale:g} {unit} per household and day at {_price(charter, price)}/{per or unit}"


def _hours(band: TariffBand) -> str:
    span = "-".join(f"{at // 60:02d}:{at % 60:02d}" for at in (band.start_minute, band.end_minute))
    return span if len(band.days) == len(_DAYS) else f"{span} {' '.join(_DAYS[day] for day in band.days)}"


def _price(charter: Charter, micro: int) -> str:
    return f"{decimal_text(micro, _MICRO)} {charter.currency}"


def _table(clauses: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    found = clauses.get(key)
    return found if isinstance(found, Mapping) else {}


def _rows(clauses: Mapping[str, Json], key: str) -> list[Mapping[str, Json]]:
    found = clauses.get(key)
    return [cast("Mapping[str, Json]", row) for row in found] if isinstance(found, list) else []


def _whole(value: Json | None) -> int:
    return value if isinstance(value, int) else 0
