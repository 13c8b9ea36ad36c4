"""A meter-day under a voted charter: any sharing key and price rule, levies and fees, as lines of a bill.

The same whole numbers as in the policy lab (`lab`), day by day. Prices that stand in the charter give lines of
energy times price; prices that change from slot to slot give one line with the exact amount (unit `amount`,
1e-15 of the major unit). Bill sharing, the premium and the fee per bill are lines of the whole period.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from controller.charter_file import parse_document, terms
from controller.charter_schema import CharterFile
from controller.ledger.canonical import Json
from controller.settlement.arrays import SharesBlock, Whole, by_hour, share_block
from controller.settlement.bills import AMOUNT, Line
from controller.settlement.charter import Charter, Member
from controller.settlement.intervals import PointDay
from controller.settlement.keys import Participation, Rounds
from controller.settlement.prices import (
    NO_EXCHANGE,
    BillSharing,
    Flat,
    MidMarket,
    PeriodTotals,
    Premium,
    Shapley,
    SlotPrices,
)
from controller.settlement.sharing import GridDay, MemberDay, SlotTotals
from controller.settlement.storage import (
    SlotRows,
    StorageDay,
    StorageTotals,
    is_divided,
    storage_day,
    storage_lines,
)
from controller.settlement.terms import Terms
from devices.clock import Instant
from devices.units import UWH_PER_WH

MICRO = 10**9
"""One micro-unit as a numerator over 10^15 major units."""
BOUGHT, SOLD = "energy from the community", "energy sold to the community"
SERVICES = {"delivery": "deliveries"}


class NotInForce(ValueError):
    """A rule that only the policy lab knows."""


@dataclass(frozen=True, slots=True)
class ClauseDay:
    """What a voted charter makes of one day for all."""

    members: Mapping[str, MemberDay]
    lines: Mapping[str, tuple[Line, ...]]
    public: Mapping[str, Json]  # per slot, what the key needs beside `taken` and `given`
    exchange: PeriodTotals  # for bill sharing
    premium: int  # numerator over 10^15 that the outside pays
    storage: StorageDay | None = None


@lru_cache(maxsize=64)
def file_of(charter: Charter) -> CharterFile | None:
    """Returns the voted charter file behind a published charter; None where the site file's rules hold.

    Read once for each charter: every line of every member and day asks for it.
    """
    return None if charter.clauses is None else parse_document(charter.clauses)


def clause_day(
    charter: Charter,
    start: Instant,
    bands: Sequence[int],
    members: Sequence[Member],
    points: Mapping[str, PointDay],
) -> ClauseDay:
    """Returns a day that begins at `start`, settled by the charter's own clauses.

    Raises:
        NotInForce: the charter has a price rule that no household can recompute.
        KeyBroken: its sharing key does not fit the members.
    """
    file = file_of(charter)
    assert file is not None, "a charter without clauses is settled by `sharing`"
    bound = terms(file, [member.id for member in members], start)
    slots = len(bands)
    taken, given = np.zeros((slots, len(members)), np.int64), np.zeros((slots, len(members)), np.int64)
    for index, member in enumerate(members):
        for name in member.usage_points:
            if name in points:
                taken[:, index] += np.array(points[name].imports, np.int64)
                given[:, index] += np.array(points[name].exports, np.int64)
    shares = share_block(bound.key, taken, given, 0)
    band_rows = np.array(bands, np.int64)
    prices = np.array([band.import_price for band in charter.bands], np.int64)[band_rows]
    day = _Day(file, bound, band_rows, prices, taken, given, shares)
    found = [day.member(index, member, _water(member, points)) for index, member in enumerate(members)]
    premium = bound.price.price * int(shares.shared.sum()) if isinstance(bound.price, Premium) else 0
    storage, public = day.storage(members, points), _public(bound, taken, given, shares)
    if storage is not None:
        public |= {"stored": list(storage.stored), "released": list(storage.released)}
    return ClauseDay(
        {member.id: one for member, (one, _) in zip(members, found, strict=True)},
        {member.id: lines for member, (_, lines) in zip(members, found, strict=True)},
        public,
        day.exchange(),
        premium,
        storage,
    )


@dataclass(frozen=True, slots=True)
class StoragePeriod:
    """The storages of a bill period as one member sees them."""

    totals: StorageTotals
    own: tuple[int, int]  # deposited, used
    keeper: bool


def period_lines(
    charter: Charter,
    exchange: PeriodTotals,
    own: MemberDay,
    storage: StoragePeriod,
    *,
    whole_bill: bool = True,
) -> tuple[Line, ...]:
    """Returns the lines that a voted charter reckons over all its days of a bill period; `own` is their sum.

    `whole_bill` says that this charter is the one in force at the end of the period, so that its fee is due.
    """
    file = file_of(charter)
    assert file is not None, "a charter without clauses has no lines of a period"
    rule, lines = terms(file, (), charter.valid_from).price, list[Line]()
    if isinstance(rule, BillSharing):
        took, gave = own.used // UWH_PER_WH, own.given // UWH_PER_WH
        owed = rule.amount(PeriodTotals(exchange.taken, exchange.given, exchange.cost, 0), took, 0)
        paid = rule.amount(PeriodTotals(exchange.taken, exchange.given, 0, exchange.income), 0, gave)
        lines += [
            Line("share of the outside's bill", owed, AMOUNT, 1),
            Line("share of the outside's payment", paid, AMOUNT, 1),
        ]
    elif isinstance(rule, Premium):
        lines.append(Line("premium on shared energy", -rule.amount(own.from_local, own.sold), AMOUNT, 1))
    if file.storage is not None and is_divided(file.storage):
        lines += storage_lines(file.storage, storage.totals, storage.own, keeper=storage.keeper)
    if whole_bill:
        lines.append(Line("fee per bill", file.fees.per_bill * MICRO, AMOUNT, 1))
    return tuple(line for line in lines if line.quantity)


def grid_cost(charter: Charter, grid: GridDay, totals: SlotTotals, prices: Sequence[int]) -> int:
    """Returns what the outside bills for a day [Wh x micro-units per kWh].

    Under a premium it bills every kWh and pays the premium apart; else it bills what passed the grid meter.
    """
    file = file_of(charter)
    if file is None or file.price.rule != "premium":
        return grid.cost
    bought = sum(wh * price for wh, price in zip(totals.taken, prices, strict=True))
    return bought - sum(totals.given) * charter.export_price


def service_lines(charter: Charter, counts: Mapping[str, int]) -> tuple[Line, ...]:
    """Returns the lines of what is not energy or water: how many deliveries a member got at the charter's price."""
    file = file_of(charter)
    rows = [] if file is None else file.service
    lines = [
        Line(SERVICES[row.name], counts.get(row.name, 0), row.name, row.price) for row in rows if row.name in SERVICES
    ]
    return tuple(line for line in lines if line.quantity and line.price)


def dividend(charter: Charter, gain: int, members: Sequence[Member]) -> dict[str, int]:
    """Returns each household's equal part of the community's gain in a bill period, floored [minor units]."""
    file, households = file_of(charter), [member.id for member in members if member.role == "household"]
    if file is None or file.dividend is None or gain <= 0 or not households:
        return {}
    each = gain * file.dividend.permille // 1000 // len(households)
    return dict.fromkeys(households, each) if each else {}


def dividend_steps(charter: Charter, gain: int, count: int, each: int) -> list[Json]:
    """Returns the arithmetic of a dividend in words."""
    file = file_of(charter)
    assert file is not None, "only a charter file pays a dividend"
    assert file.dividend is not None, "only a charter with the clause pays one"
    permille = file.dividend.permille
    return [
        f"gain of the period {gain} (minor units) x {permille} / 1000 = {gain * permille // 1000}",
        f"/ {count} households = {each} each",
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Day:
    """One day as arrays [slots, members]."""

    file: CharterFile
    terms: Terms
    bands: Whole
    prices: Whole
    taken: Whole
    given: Whole
    shares: SharesBlock

    def member(self, index: int, member: Member, water: int) -> tuple[MemberDay, tuple[Line, ...]]:
        """Returns one member's quantities and lines."""
        took, gave = self.taken[:, index] * UWH_PER_WH, self.given[:, index] * UWH_PER_WH
        near, sold = self._own(index)
        far = took - near
        lifeline = np.zeros_like(took)
        if self.terms.lifeline[index] and self.terms.charter.lifeline_wh and self._by_slot():
            left = np.maximum(0, self.terms.charter.lifeline_wh * UWH_PER_WH - (np.cumsum(took) - took))
            first = np.minimum(left, near)
            second = np.minimum(left - first, far)
            lifeline, near, far = first + second, near - first, far - second
        outside = [int(far[self.bands == band].sum()) for band in range(len(self.terms.charter.bands))]
        charter = self.terms.charter
        free = min(water, charter.lifeline_ml) if self.terms.lifeline[index] else 0
        local, sold_all = int(self.shares.near[:, index].sum()), int(self.shares.sold[:, index].sum())
        used, all_given = int(took.sum()), int(gave.sum())
        day = MemberDay(
            int(lifeline.sum()), int(near.sum()), tuple(outside), sold_all, all_given - sold_all,
            free, water - free, local, used - local,
        )  # fmt: skip
        energy = self._energy(day, near, sold, all_given - int(sold.sum())) if self._by_slot() else ()
        lines = (*energy, *self._levies(index, member, used), *_water_lines(charter, day))
        return day, tuple(line for line in lines if line.quantity)

    def exchange(self) -> PeriodTotals:
        """Returns what the community exchanges with the outside, were there no losses."""
        if len(self.shares.shared) != len(self.taken):
            return NO_EXCHANGE  # shared energy counts hours; it is billed by the premium alone
        took, gave = self.taken.sum(axis=1), self.given.sum(axis=1)
        far = took * UWH_PER_WH - self.shares.shared
        cost = sum(int(a) * int(b) for a, b in zip(far, self.prices, strict=True))
        income = int((gave * UWH_PER_WH - self.shares.shared).sum()) * self.terms.charter.export_price
        return PeriodTotals(int(took.sum()), int(gave.sum()), cost, income)

    def storage(self, members: Sequence[Member], points: Mapping[str, PointDay]) -> StorageDay | None:
        """Returns the day of the storages whose result the charter divides; None where it divides none."""
        clause = self.file.storage
        if clause is None or not is_divided(clause):
            return None
        names = clause.points or []
        keeper = next((one for one in members if names and names[0] in one.usage_points), None)
        own = [points[name] for name in names if keeper and name in keeper.usage_points and name in points]
        slots = len(self.taken)
        stored, released = [0] * slots, [0] * slots
        for point in own:
            stored = [a + b for a, b in zip(stored, point.imports, strict=True)]
            released = [a + b for a, b in zip(released, point.exports, strict=True)]
        taken, given = ([int(wh) for wh in energy.sum(axis=1)] for energy in (self.taken, self.given))
        rows = SlotRows(
            taken, given, self._slot_prices(), [int(p) for p in self.prices], self.terms.charter.export_price
        )
        each = {
            member.id: ([int(wh) for wh in self.taken[:, at]], [int(wh) for wh in self.given[:, at]])
            for at, member in enumerate(members)
        }
        return storage_day("" if keeper is None else keeper.id, rows, stored, released, each)

    def _slot_prices(self) -> list[int]:
        """Returns the price of shared energy in each slot."""
        rule, feed_in = self.terms.price, self.terms.charter.export_price
        if isinstance(rule, BillSharing | Premium | Shapley):
            raise NotInForce(f"{type(rule).__name__} has no price of a slot")
        totals = zip(self.taken.sum(axis=1), self.given.sum(axis=1), self.prices, strict=True)
        return [rule.price(SlotPrices(int(t), int(g), int(p), feed_in)) for t, g, p in totals]

    def _by_slot(self) -> bool:
        return not isinstance(self.terms.price, BillSharing)

    def _own(self, index: int) -> tuple[Whole, Whole]:
        """Returns what is priced as the community's energy in each slot; under a premium nothing is."""
        if isinstance(self.terms.price, Premium):
            return np.zeros(len(self.taken), np.int64), np.zeros(len(self.taken), np.int64)
        return self.shares.near[:, index], self.shares.sold[:, index]

    def _energy(self, day: MemberDay, near: Whole, sold: Whole, exported: int) -> tuple[Line, ...]:
        charter = self.terms.charter
        bands = zip(charter.bands, day.outside, strict=True)
        return (
            Line("lifeline energy", day.lifeline, "uWh", charter.lifeline_price),
            *self._traded(BOUGHT, near, 1),
            *(
                Line(f"energy from outside, {band.name}", quantity, "uWh", band.import_price)
                for band, quantity in bands
            ),
            *self._traded(SOLD, sold, -1),
            Line("energy sold to the outside", exported, "uWh", -charter.export_price),
        )

    def _traded(self, text: str, energy: Whole, sign: int) -> tuple[Line, ...]:
        """Returns community energy at its price: a line per price of the charter, or the sum over the slots."""
        rule, feed_in = self.terms.price, self.terms.charter.export_price
        match rule:
            case Flat():
                return (Line(text, int(energy.sum()), "uWh", sign * rule.local_price),)
            case MidMarket():
                middle = (self.prices + feed_in) // 2
                return tuple(
                    Line(text, int(energy[middle == price].sum()), "uWh", sign * int(price))
                    for price in np.unique(middle)
                )
            case Premium():
                return ()
            case _:
                amount = sum(int(wh) * price for wh, price in zip(energy, self._slot_prices(), strict=True))
                quantity = Line(f"{text}, price by slot", int(energy.sum()), "uWh", 0)
                return quantity, Line(f"{text}, slot by slot", sign * amount, AMOUNT, 1)

    def _levies(self, index: int, member: Member, used: int) -> tuple[Line, ...]:
        fees = self.file.fees
        feeder = next((row for row in self.file.network if member.id in row.members), None)
        lines = [
            Line("levy", used, "uWh", fees.levy_per_kwh),
            Line("solidarity share", used, "uWh", fees.solidarity_per_kwh),
        ]
        if feeder is not None:
            lines.append(Line(f"network fee, feeder {feeder.feeder}", used, "uWh", feeder.per_kwh))
        return tuple(line for line in lines if line.price)


def _water(member: Member, points: Mapping[str, PointDay]) -> int:
    return sum(sum(points[name].imports) for name in member.water_points if name in points)


def _water_lines(charter: Charter, day: MemberDay) -> tuple[Line, ...]:
    return (
        Line("lifeline water", day.water_lifeline, "mL", charter.lifeline_water_price),
        Line("water", day.water, "mL", charter.water_price),
    )


def _public(bound: Terms, taken: Whole, given: Whole, shares: SharesBlock) -> dict[str, Json]:
    """Returns the public figures by which a household finds its own part: those that the key says it publishes."""
    found: dict[str, Json] = {"shared": [str(int(row)) for row in shares.shared]}
    match bound.key:
        case Rounds(classes):
            ranks = np.array(classes, np.int64)
            found["taken_by_class"] = [
                [int(rank), [int(wh) for wh in taken[:, ranks == rank].sum(axis=1)]] for rank in np.unique(ranks)
            ]
        case Participation(factors):
            rows = [np.array(row, np.int64) for row in factors]
            for name, energy in (("taken_by_community", taken), ("given_by_community", given)):
                parts = [(energy * UWH_PER_WH * row // 10_000).sum(axis=1) for row in rows]
                found[name] = [[str(int(part)) for part in column] for column in parts]
        case _:
            pass
    if len(shares.shared) != len(taken):
        found["hours"] = [
            [int(a), int(b)] for a, b in zip(by_hour(taken).sum(axis=1), by_hour(given).sum(axis=1), strict=True)
        ]
    return found
