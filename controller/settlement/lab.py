"""The policy lab: the same recorded intervals settled under another charter, before anybody votes.

Exact like the bills: whole uWh, numerators over 10^15 major units, one half-even rounding per bill. Water, deliveries
and the grid meter count where the data have them; without a grid meter the outside sells what the community does not
share and buys what it does not need, without losses. Only what storages bring (`[storage]`) is left to the trial.
Reads no clock and draws no chance; the same data and charter give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from itertools import accumulate

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
ML = 10**3
"""One micro-unit per m3, for one mL."""
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
    water: Whole | None = None  # [days, members] mL
    deliveries: Whole | None = None  # [days, members]
    grid: tuple[Whole, Whole] | None = None  # import and export [slots] Wh
    households: tuple[bool, ...] | None = None  # who has a part in a dividend; None: all

    def digest(self) -> str:
        """Returns the SHA-256 of members, start and every figure, in hex."""
        head = encode({"members": list(self.members), "start": self.start, "slots": len(self.taken)})
        more = [part for part in (self.water, self.deliveries, *(self.grid or ())) if part is not None]
        body = b"".join(np.ascontiguousarray(part, "<i8").tobytes() for part in (self.taken, self.given, *more))
        return sha256(head + body + bytes(self.households or ())).hexdigest()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one charter makes of the data. Money in minor units, energy in uWh."""

    bills: tuple[int, ...]  # each member's sum of bills
    alone: tuple[int, ...]  # what each would have paid to the outside by itself
    shared: int
    near: tuple[int, ...]
    outside: int  # the community's bill from outside, premium taken off
    treasury: int  # what the community keeps, dividends paid
    residue: int  # uWh that the floors left, both sides
    rounding: int  # sum of bills minus their exact sum
    dividends: int  # paid to households, in `bills` already
    funds: Mapping[str, int]  # where the treasury's money comes from and goes to, reckoned from totals alone
    tolerance: int  # by how much roundings and floors may part the two ways to reckon the members' side

    @property
    def balanced(self) -> bool:
        """Returns whether members, outside, treasury and roundings add up to zero, each reckoned by itself.

        The members' side is the sum of single bills; the other side what the outside asks for and the funds, from
        the totals of all. Apart by more than the roundings, a rule takes or gives what nobody pays.
        """
        apart = sum(self.bills) - self.outside - sum(self.funds.values())
        return abs(apart) <= self.tolerance and sum(self.bills) == self.outside + self.treasury + self.rounding


@dataclass(frozen=True, slots=True)
class Period:
    """Slots [first, last) of one bill period and how they are priced."""

    first: int
    last: int
    day_starts: Whole  # for each slot the index of its local day's first slot, from `first`
    prices: Whole  # the outside's price of each slot
    days: tuple[int, int]  # [first, last) of the data's local days


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
    shared = outside = residue = treasury = rounding = dividends = tolerance = 0
    funds: dict[str, int] = {}
    digits, houses = terms.charter.minor_digits, [at for at in range(count) if (data.households or [True] * count)[at]]
    for period in periods(terms, data):
        taken, given = data.taken[period.first : period.last], data.given[period.first : period.last]
        shares = share_block(terms.key, taken, given, period.first)
        priced, support = _amounts(terms, data.members, period, (taken, given), shares)
        extras = _extras(terms, data, period)
        fees = _fees(terms, taken)
        amounts = [a + b + c for a, b, c in zip(priced, fees, extras, strict=True)]
        by_itself = [a + b for a, b in zip(_alone(terms, period, taken, given), extras, strict=True)]
        for member in range(count):
            bills[member] += round_minor(amounts[member], digits)
            alone[member] += round_minor(by_itself[member], digits)
        near = [a + int(b) for a, b in zip(near, shares.near.sum(axis=0), strict=True)]
        total = int(shares.shared.sum())
        shared += total
        floored = 2 * total - int(shares.near.sum()) - int(shares.sold.sum())
        residue += floored
        cost, exchange = _outside(terms, period, data, shares)
        sums = {"lifelines": support, "fees": sum(fees), "water and deliveries": sum(extras), "losses": exchange - cost}
        sums["premium"] = _fund_of_premium(terms, shares)
        billed, exact = sum(round_minor(one, digits) for one in amounts), round_minor(sum(amounts), digits)
        asked = round_minor(cost, digits)
        gain = exact - asked
        each = gain * terms.dividend // 1000 // len(houses) if gain > 0 and houses else 0
        for member in houses:
            bills[member] -= each
        for name, amount in sums.items():
            funds[name] = funds.get(name, 0) + round_minor(amount, digits)
        outside, rounding = outside + asked, rounding + billed - exact
        dividends += each * len(houses)
        treasury += gain - each * len(houses)
        highest = max(int(period.prices.max(initial=0)), terms.charter.export_price, terms.charter.local_price)
        tolerance += count + len(sums) + 2 + round_minor(abs(floored) * highest, digits)
    funds["dividends"] = -dividends
    return Outcome(
        tuple(bills), tuple(alone), shared, tuple(near), outside, treasury, residue, rounding, dividends, funds,
        tolerance // 2 + 1,
    )  # fmt: skip


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
    days: list[int] = []  # of each period
    while at < end:
        if not calendar.covers(at):
            calendar.add(compile_year(charter, local_year(charter, at), "lab"))
        day = calendar.day_of(at)
        if day.start != at or day.end > end:
            raise LabBroken(f"the data do not hold the whole local day {day.name} ({charter.timezone})")
        name, first = period_name(charter, day), (day.start - data.start) // SLOT_MS
        if not found or found[-1][0] != name:
            found.append((name, first, first, []))
            days.append(0)
        days[-1] += 1
        name, begin, last, starts = found[-1]
        starts.extend([last - begin] * day.slots)
        found[-1] = (name, begin, last + day.slots, starts)
        bands.extend(calendar.bands(day))
        at = day.end
    slots = prices[np.array(bands, np.int64)] if bands else np.zeros(0, np.int64)
    ends = list(accumulate(days, initial=0))
    return [
        Period(first, last, np.array(starts, np.int64), slots[first:last], (ends[at], ends[at + 1]))
        for at, (_, first, last, starts) in enumerate(found)
    ]


def gini(values: Sequence[int]) -> str:
    """Returns the Gini coefficient of amounts (losses count as none) with four decimals; `0.0000` without any."""
    ordered = sorted(max(0, value) for value in values)
    total = sum(ordered)
    if not total:
        return "0.0000"
    weighted = sum((2 * rank - len(ordered) - 1) * value for rank, value in enumerate(ordered, start=1))
    exact = round(Fraction(weighted, len(ordered) * total) * 10_000)
    return f"{exact // 10_000}.{exact % 10_000:04d}"


def _fees(terms: Terms, taken: Whole) -> list[int]:
    """Returns each member's levies, network fee and fee per bill of one period."""
    used = [int(wh) * UWH_PER_WH for wh in taken.sum(axis=0)]
    return [uwh * (terms.levy + network) + terms.fee * MICRO for uwh, network in zip(used, terms.network, strict=True)]


def _extras(terms: Terms, data: Intervals, period: Period) -> list[int]:
    """Returns what each member pays for water and deliveries of one period; nothing where the data have none."""
    count, (first, last), charter = len(data.members), period.days, terms.charter
    found = [0] * count
    if data.water is not None:
        water = data.water[first:last]
        cheap = np.minimum(water, np.where(terms.lifeline, charter.lifeline_ml, 0)).sum(axis=0)
        rest = water.sum(axis=0) - cheap
        price, block = charter.water_price * ML, charter.lifeline_water_price * ML
        found = [int(a) * block + int(b) * price for a, b in zip(cheap, rest, strict=True)]
    if data.deliveries is not None:
        came = data.deliveries[first:last].sum(axis=0)
        found = [a + int(b) * terms.delivery * MICRO for a, b in zip(found, came, strict=True)]
    return found


def _amounts(
    terms: Terms, members: Sequence[str], period: Period, energy: tuple[Whole, Whole], shares: SharesBlock
) -> tuple[list[int], int]:
    """Returns each member's exact amount for energy of one period, and what the lifelines bring all (mostly cost)."""
    taken, given = energy
    support = 0
    match terms.price:
        case BillSharing() as rule:
            totals = _totals(terms, period, taken, given, shares)
            own = zip(taken.sum(axis=0), given.sum(axis=0), strict=True)
            priced = [rule.amount(totals, int(took), int(gave)) for took, gave in own]
        case Shapley() as rule:
            priced = _shapley(rule, terms, members, period, given - taken)
        case Premium() as rule:
            none = np.zeros_like(taken)
            plain, support = _priced(terms, period, np.zeros(len(taken), np.int64), (taken, given), (none, none))
            near, sold = shares.near.sum(axis=0), shares.sold.sum(axis=0)
            priced = [owed - rule.amount(int(a), int(b)) for owed, a, b in zip(plain, near, sold, strict=True)]
        case rule:
            price = _slot_prices(rule, terms, period, taken, given)
            priced, support = _priced(terms, period, price, (taken, given), (shares.near, shares.sold))
    return priced, support


def _priced(
    terms: Terms, period: Period, price: Whole, energy: tuple[Whole, Whole], shared: tuple[Whole, Whole]
) -> tuple[list[int], int]:
    """Returns amounts where shared energy has a price per slot, the rest the outside's; lifeline first.

    Beside them the lifelines' price less what the same energy costs otherwise.
    """
    (taken, given), (near, sold) = energy, shared
    far = taken * UWH_PER_WH - near
    block = terms.charter.lifeline_wh
    lifeline = np.zeros(taken.shape[1], np.int64)
    worth = 0
    if block and any(terms.lifeline):
        before = np.cumsum(taken, axis=0) - taken
        before -= before[period.day_starts]
        left = np.maximum(0, np.where(terms.lifeline, block, 0) - before) * UWH_PER_WH
        first = np.minimum(left, near)
        second = np.minimum(left - first, far)
        lifeline = first.sum(axis=0) + second.sum(axis=0)
        near, far = near - first, far - second
        of_all = (part.sum(axis=1)[:, None] for part in (first, second))
        worth = sum(_dot(part, each)[0] for part, each in zip(of_all, (price, period.prices), strict=True))
    exported = given.sum(axis=0) * UWH_PER_WH - sold.sum(axis=0)
    bought, rest, income = _dot(near, price), _dot(far, period.prices), _dot(sold, price)
    amounts = [
        int(lifeline[i]) * terms.charter.lifeline_price + bought[i] + rest[i] - income[i]
        - int(exported[i]) * terms.charter.export_price
        for i in range(taken.shape[1])
    ]  # fmt: skip
    return amounts, int(lifeline.sum()) * terms.charter.lifeline_price - worth


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


def _outside(terms: Terms, period: Period, data: Intervals, shares: SharesBlock) -> tuple[int, int]:
    """Returns (the outside's bill, what it would be without losses), the premium that it pays taken off both.

    With a premium it bills all energy; else what passes the grid meter, or what is not shared where there is none.
    """
    first, last = period.first, period.last
    taken, given = data.taken[first:last], data.given[first:last]
    if isinstance(terms.price, Premium):
        all_of_it = sum(_alone(terms, period, taken, given)) - int(shares.shared.sum()) * terms.price.price
        return all_of_it, all_of_it
    totals = _totals(terms, period, taken, given, shares)
    exchange = totals.cost - totals.income
    if data.grid is None:
        return exchange, exchange
    imported, exported = (part[first:last] for part in data.grid)
    paid = _dot(imported[:, None], period.prices)[0] - int(exported.sum()) * terms.charter.export_price
    return paid * UWH_PER_WH, exchange


def _fund_of_premium(terms: Terms, shares: SharesBlock) -> int:
    """Returns the part of the premium that neither takers nor givers get."""
    rule = terms.price
    if not isinstance(rule, Premium):
        return 0
    return int(shares.shared.sum()) * rule.price * (1000 - rule.takers_permille - rule.givers_permille) // 1000


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
