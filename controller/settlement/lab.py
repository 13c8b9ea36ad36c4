"""The policy lab: the same recorded intervals settled under another charter, before anybody votes.

Exact like the bills: whole uWh, numerators over 10^15 major units, one half-even rounding per bill. The lab knows no
grid meter: the outside sells what the community does not share and buys what it does not need, without losses.
Reads no clock and draws no chance; the same data and charter give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256

import numpy as np

from controller.ledger.canonical import encode
from controller.settlement.arrays import SharesBlock, Whole, share_block
from controller.settlement.bills import round_minor
from controller.settlement.prices import (
    BillSharing,
    Flat,
    MidMarket,
    PeriodTotals,
    Premium,
    PriceRule,
    Shapley,
    SlotPrices,
)
from controller.settlement.tariff import Calendar, compile_year, local_year, period_name
from controller.settlement.terms import Terms
from devices.clock import SLOT_MS, Instant
from devices.units import UWH_PER_WH

MICRO = 10**9
"""One micro-unit as a numerator over 10^15 major units."""
WORD = 2**63 - 1


class LabBroken(ValueError):
    """Data that cannot be settled: not whole days, holes, or figures beyond all measure."""


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """What each member took and gave [slots, members] in Wh, from `start` on without holes."""

    members: tuple[str, ...]
    start: Instant
    taken: Whole
    given: Whole

    def digest(self) -> str:
        """Returns the SHA-256 of members, start and every figure, in hex."""
        head = encode({"members": list(self.members), "start": self.start, "slots": len(self.taken)})
        body = b"".join(np.ascontiguousarray(part, "<i8").tobytes() for part in (self.taken, self.given))
        return sha256(head + body).hexdigest()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one charter makes of the data. Money in minor units, energy in uWh."""

    bills: tuple[int, ...]  # each member's sum of bills
    alone: tuple[int, ...]  # what each would have paid to the outside by itself
    shared: int
    near: tuple[int, ...]
    outside: int  # the community's bill from outside, premium taken off
    treasury: int  # sum of bills minus outside
    residue: int  # uWh that the floors left, both sides


@dataclass(frozen=True, slots=True)
class Period:
    """Slots [first, last) of one bill period and how they are priced."""

    first: int
    last: int
    day_starts: Whole  # for each slot the index of its local day's first slot, from `first`
    prices: Whole  # the outside's price of each slot


def settle(terms: Terms, data: Intervals) -> Outcome:
    """Returns every member's bills over the data, whole bill periods or not.

    Raises:
        LabBroken: figures beyond what 63 bits hold.
        KeyBroken: the key does not fit the members.
    """
    count = len(data.members)
    if max(int(data.taken.max(initial=0)), int(data.given.max(initial=0))) > 10**7:
        raise LabBroken("an interval above 10 MWh: look at the meter before looking at the charter")
    bills, alone, near = [0] * count, [0] * count, [0] * count
    shared = outside = residue = 0
    digits = terms.charter.minor_digits
    for period in periods(terms, data):
        taken, given = data.taken[period.first : period.last], data.given[period.first : period.last]
        shares = share_block(terms.key, taken, given, period.first)
        amounts = _amounts(terms, data.members, period, (taken, given), shares)
        by_itself = _alone(terms, period, taken, given)
        for member in range(count):
            bills[member] += round_minor(amounts[member], digits)
            alone[member] += round_minor(by_itself[member], digits)
        near = [a + int(b) for a, b in zip(near, shares.near.sum(axis=0), strict=True)]
        total = int(shares.shared.sum())
        shared += total
        residue += 2 * total - int(shares.near.sum()) - int(shares.sold.sum())
        outside += _outside(terms, period, taken, given, shares)
    cost = round_minor(outside, digits)
    return Outcome(tuple(bills), tuple(alone), shared, tuple(near), cost, sum(bills) - cost, residue)


def periods(terms: Terms, data: Intervals) -> list[Period]:
    """Returns the bill periods of the data in order.

    Raises:
        LabBroken: the data do not begin at a local midnight or end within a day.
    """
    calendar, charter = Calendar(), terms.charter
    end = Instant(data.start + len(data.taken) * SLOT_MS)
    found: list[tuple[str, int, int, list[int]]] = []
    at = data.start
    prices = np.array([band.import_price for band in charter.bands], np.int64)
    bands: list[int] = []
    while at < end:
        if not calendar.covers(at):
            calendar.add(compile_year(charter, local_year(charter, at), "lab"))
        day = calendar.day_of(at)
        if day.start != at or day.end > end:
            raise LabBroken(f"the data do not hold the whole local day {day.name} ({charter.timezone})")
        name, first = period_name(charter, day), (day.start - data.start) // SLOT_MS
        if not found or found[-1][0] != name:
            found.append((name, first, first, []))
        name, begin, last, starts = found[-1]
        starts.extend([last - begin] * day.slots)
        found[-1] = (name, begin, last + day.slots, starts)
        bands.extend(calendar.bands(day))
        at = day.end
    slots = prices[np.array(bands, np.int64)] if bands else np.zeros(0, np.int64)
    return [Period(first, last, np.array(starts, np.int64), slots[first:last]) for _, first, last, starts in found]


def gini(values: Sequence[int]) -> str:
    """Returns the Gini coefficient of amounts (losses count as none) with four decimals; `0.0000` without any."""
    ordered = sorted(max(0, value) for value in values)
    total = sum(ordered)
    if not total:
        return "0.0000"
    weighted = sum((2 * rank - len(ordered) - 1) * value for rank, value in enumerate(ordered, start=1))
    exact = round(Fraction(weighted, len(ordered) * total) * 10_000)
    return f"{exact // 10_000}.{exact % 10_000:04d}"


def _amounts(
    terms: Terms, members: Sequence[str], period: Period, energy: tuple[Whole, Whole], shares: SharesBlock
) -> list[int]:
    """Returns each member's exact amount of one period, fees included."""
    taken, given = energy
    used = [int(wh) * UWH_PER_WH for wh in taken.sum(axis=0)]
    fees = [uwh * (terms.levy + network) + terms.fee * MICRO for uwh, network in zip(used, terms.network, strict=True)]
    match terms.price:
        case BillSharing() as rule:
            totals = _totals(terms, period, taken, given, shares)
            own = zip(taken.sum(axis=0), given.sum(axis=0), strict=True)
            priced = [rule.amount(totals, int(took), int(gave)) for took, gave in own]
        case Shapley() as rule:
            priced = _shapley(rule, terms, members, period, given - taken)
        case Premium() as rule:
            none = np.zeros_like(taken)
            plain = _priced(terms, period, np.zeros(len(taken), np.int64), (taken, given), (none, none))
            near, sold = shares.near.sum(axis=0), shares.sold.sum(axis=0)
            priced = [owed - rule.amount(int(a), int(b)) for owed, a, b in zip(plain, near, sold, strict=True)]
        case rule:
            price = _slot_prices(rule, terms, period, taken, given)
            priced = _priced(terms, period, price, (taken, given), (shares.near, shares.sold))
    return [a + b for a, b in zip(priced, fees, strict=True)]


def _priced(
    terms: Terms, period: Period, price: Whole, energy: tuple[Whole, Whole], shared: tuple[Whole, Whole]
) -> list[int]:
    """Returns amounts where shared energy has a price per slot, the rest the outside's; lifeline first."""
    (taken, given), (near, sold) = energy, shared
    far = taken * UWH_PER_WH - near
    block = terms.charter.lifeline_wh
    lifeline = np.zeros(taken.shape[1], np.int64)
    if block and any(terms.lifeline):
        before = np.cumsum(taken, axis=0) - taken
        before -= before[period.day_starts]
        left = np.maximum(0, np.where(terms.lifeline, block, 0) - before) * UWH_PER_WH
        first = np.minimum(left, near)
        second = np.minimum(left - first, far)
        lifeline = first.sum(axis=0) + second.sum(axis=0)
        near, far = near - first, far - second
    exported = given.sum(axis=0) * UWH_PER_WH - sold.sum(axis=0)
    bought, rest, income = _dot(near, price), _dot(far, period.prices), _dot(sold, price)
    return [
        int(lifeline[i]) * terms.charter.lifeline_price + bought[i] + rest[i] - income[i]
        - int(exported[i]) * terms.charter.export_price
        for i in range(taken.shape[1])
    ]  # fmt: skip


def _slot_prices(rule: PriceRule, terms: Terms, period: Period, taken: Whole, given: Whole) -> Whole:
    feed_in = terms.charter.export_price
    if isinstance(rule, Flat):
        return np.full(len(taken), rule.local_price, np.int64)
    if isinstance(rule, MidMarket):
        return (period.prices + feed_in) // 2
    rows = zip(taken.sum(axis=1), given.sum(axis=1), period.prices, strict=True)
    return np.array([rule.price(SlotPrices(int(t), int(g), int(p), feed_in)) for t, g, p in rows], np.int64)


def _totals(terms: Terms, period: Period, taken: Whole, given: Whole, shares: SharesBlock) -> PeriodTotals:
    took, gave = taken.sum(axis=1), given.sum(axis=1)
    cost = _dot((took * UWH_PER_WH - shares.shared)[:, None], period.prices)[0]
    income = int((gave * UWH_PER_WH - shares.shared).sum()) * terms.charter.export_price
    return PeriodTotals(int(took.sum()), int(gave.sum()), cost, income)


def _outside(terms: Terms, period: Period, taken: Whole, given: Whole, shares: SharesBlock) -> int:
    """Returns the outside's bill for what is not shared; with a premium it bills all and pays the premium."""
    if isinstance(terms.price, Premium):
        all_of_it = sum(_alone(terms, period, taken, given))
        return all_of_it - int(shares.shared.sum()) * terms.price.price
    totals = _totals(terms, period, taken, given, shares)
    return totals.cost - totals.income


def _alone(terms: Terms, period: Period, taken: Whole, given: Whole) -> list[int]:
    bought = _dot(taken, period.prices)
    sold = given.sum(axis=0)
    export = terms.charter.export_price
    return [(cost - int(gave) * export) * UWH_PER_WH for cost, gave in zip(bought, sold, strict=True)]


def _shapley(rule: Shapley, terms: Terms, members: Sequence[str], period: Period, net: Whole) -> list[int]:
    """Returns Shapley amounts; the cost of a coalition is the outside's bill for its net exchange per slot."""
    export = terms.charter.export_price
    sums = [0] * len(members)
    for order in rule.orders(members):
        met = np.cumsum(net[:, order], axis=1)
        costs = [
            (a - int(b) * export) * UWH_PER_WH
            for a, b in zip(_dot(np.maximum(-met, 0), period.prices), np.maximum(met, 0).sum(axis=0), strict=True)
        ]
        for place, member in enumerate(order):
            sums[member] += costs[place] - (costs[place - 1] if place else 0)
    return [-(-total // (2 * rule.samples)) for total in sums]


def _dot(energy: Whole, price: Whole) -> list[int]:
    """Returns sum over slots of energy x price per member, in two halves that cannot overflow."""
    high, low = np.divmod(energy, UWH_PER_WH)
    top = int(price.max(initial=0)) * len(price)
    if top * max(int(high.max(initial=0)), UWH_PER_WH) > WORD:
        raise LabBroken("prices times energy beyond 63 bits: use shorter bill periods")
    if not high.any():
        return [int(value) for value in price @ low]
    return [int(a) * UWH_PER_WH + int(b) for a, b in zip(price @ high, price @ low, strict=True)]
