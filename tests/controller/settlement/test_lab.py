"""The policy lab: its arrays say what the keys say, its bills what the settlement says, to the last unit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.settlement.arrays import by_hour, share_block, split
from controller.settlement.charter import Charter
from controller.settlement.intervals import PointDay
from controller.settlement.keys import (
    Hourly,
    OwnKey,
    Participation,
    Proportional,
    Rounds,
    SharedEnergy,
    SharingKey,
    Slot,
    Static,
)
from controller.settlement.lab import Intervals, LabBroken, gini, settle
from controller.settlement.prices import BillSharing, Flat, MidMarket, Premium, PriceRule, Shapley, SupplyDemand
from controller.settlement.runs import BILL, BilledDay, Rules, settle_day, settle_period
from controller.settlement.tariff import compile_year
from controller.settlement.terms import Terms
from tests.ledger_village import charter, local_midnight, members

KEYS = (
    Proportional(),
    Static((1, 2, 3)),
    Hourly(((1, 0, 2), (0, 3, 1)), origin=-1),
    OwnKey(((1, 2, 3),) * 12),
    Rounds((1, 0, 1)),
    Participation(((6000, 3333, 0), (4000, 1, 10_000))),
)
PRICES = (Flat(140_000), MidMarket(), SupplyDemand(), BillSharing(), Premium(110_000, 400, 500), Shapley(2, 1))
ROWS = st.lists(st.tuples(*[st.integers(0, 10_000_000) | st.integers(0, 3000)] * 6), min_size=1, max_size=12)


def terms(
    price: PriceRule | BillSharing | Premium | Shapley = PRICES[0], key: SharingKey = KEYS[0], **changes
) -> Terms:
    return Terms("test", charter(**changes), key, price, (True, True, True), (0, 0, 0))


def village(days: int = 2, seed: int = 1, first: str = "2026-06-03") -> Intervals:
    random = np.random.default_rng(seed)
    shape = (96 * days, 3)
    taken, given = random.integers(0, 900, shape), random.integers(0, 1500, shape)
    given[:, 0] = 0
    return Intervals(("home-01", "home-02", "home-03"), local_midnight(first), taken, given)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)
@given(ROWS)
def test_arrays_share_as_the_keys_do(key, rows) -> None:
    table = np.array(rows, np.int64)
    block = share_block(key, table[:, :3], table[:, 3:], 0)
    for index, row in enumerate(rows):
        shares = key.share(Slot(row[:3], row[3:]), index)
        assert tuple(block.near[index]) == shares.near
        assert tuple(block.sold[index]) == shares.sold
        assert block.shared[index] == shares.shared


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=5), st.integers(0, 10**13))
def test_splitting_is_exact_beyond_63_bits(parts, amount) -> None:
    amount = min(amount, sum(parts))
    found = split(np.array([parts], np.int64), np.array([amount], np.int64))
    assert list(found[0]) == [part * amount // max(1, sum(parts)) for part in parts]


def test_shared_energy_counts_hours() -> None:
    taken, gave = np.array([[4], [0], [0], [0], [5]]), np.array([[0], [0], [0], [3], [5]])
    assert by_hour(taken).tolist() == [[4], [5]]
    assert share_block(SharedEnergy(), taken, gave, 0).shared.tolist() == [3_000_000, 5_000_000]


@given(st.integers(0, 1000), st.sampled_from(["day", "month"]))
@settings(max_examples=15)
def test_todays_charter_gives_the_bills_of_the_settlement(seed: int, period: str) -> None:
    rules = charter(bill_period=period)
    data = village(2, seed)
    found = settle(Terms("today", rules, Proportional(), Flat(rules.local_price), (True,) * 3, (0,) * 3), data)
    assert list(found.bills) == engine_bills(rules, data)


def engine_bills(rules: Charter, data: Intervals) -> list[int]:
    table = compile_year(rules, 2026, "test")
    parties = tuple(replace(member, water_points=()) for member in members() if member.id in data.members)
    village_rules, billed = Rules(rules, parties, ""), []
    for first in range(0, len(data.taken), 96):
        day = table.day_of(local_midnight(f"2026-06-{3 + first // 96:02d}"))
        bands = [table.band_at(type(day.start)(start)) for start in range(day.start, day.end, 900_000)]
        points = {
            name: PointDay(
                name,
                tuple(map(int, data.taken[first : first + 96, i])),
                tuple(map(int, data.given[first : first + 96, i])),
                96,
                0,
                bytes(32),
            )
            for i, name in enumerate(data.members)
        }
        result = settle_day(village_rules, "c", day, bands, points)
        billed.append(BilledDay(day.name, rules, result.members, result.grid.cost, {}))
    groups = [billed] if rules.bill_period == "month" else [[day] for day in billed]
    sums = dict.fromkeys(data.members, 0)
    for group in groups:
        for draft in settle_period(village_rules, group[0].day, group):
            if draft.kind == BILL:
                sums[draft.member] += int(str(draft.body["amount"]))
    return [sums[name] for name in data.members]


@pytest.mark.parametrize("price", PRICES, ids=lambda price: type(price).__name__)
@pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)
def test_without_lifelines_every_budget_balances(key, price) -> None:
    if isinstance(key, OwnKey):
        key = OwnKey(((1, 2, 3),) * 192)
    if isinstance(price, Premium | Shapley) and not isinstance(key, Proportional):
        return  # these divide money, whatever the key
    found = settle(terms(price, SharedEnergy() if isinstance(price, Premium) else key, lifeline_wh=0), village())
    spare = 110_000 * 100 * found.shared // 1000 // 10**13 if isinstance(price, Premium) else 0
    assert abs(found.treasury - spare) <= 6, "one rounding per bill"
    assert sum(found.bills) == found.outside + found.treasury + found.rounding
    assert found.balanced


def with_all(data: Intervals) -> Intervals:
    """The same village with water, deliveries and a grid meter that counts 5 Wh of losses in each slot."""
    random, days = np.random.default_rng(7), len(data.taken) // 96
    net = data.taken.sum(axis=1) - data.given.sum(axis=1) + 5
    return replace(
        data, water=random.integers(0, 400_000, (days, 3)), deliveries=random.integers(0, 3, (days, 3)),
        grid=(np.maximum(net, 0), np.maximum(-net, 0)), households=(True, True, False),
    )  # fmt: skip


def test_water_deliveries_losses_and_the_dividend_count() -> None:
    plain, data = village(), with_all(village())
    rule = replace(terms(Flat(140_000), Proportional()), delivery=2_500_000, dividend=500, levy=30_000)
    before, after = settle(rule, plain), settle(rule, data)
    assert data.water is not None
    assert data.deliveries is not None
    charter = rule.charter
    cheap = np.minimum(data.water, np.where(rule.lifeline, charter.lifeline_ml, 0)).sum(axis=0)
    rest, came = data.water.sum(axis=0) - cheap, data.deliveries.sum(axis=0)
    assert before.dividends > 0
    assert after.dividends > before.dividends
    part = after.dividends // 2
    for at in range(3):
        exact = int(cheap[at]) * charter.lifeline_water_price + int(rest[at]) * charter.water_price
        more = Fraction(exact, 10**10) + Fraction(int(came[at]) * 2_500_000, 10**4)
        paid = after.bills[at] + (part if at < 2 else 0) - before.bills[at] - before.dividends // 3
        assert abs(paid - more) <= 4, "one rounding per bill of each"
    assert after.funds["losses"] < 0 == before.funds["losses"], "the treasury bears what the lines lose"
    assert after.funds["water and deliveries"] > 0
    for found in (before, after):
        assert found.balanced
        assert sum(found.bills) == found.outside + found.treasury + found.rounding
        assert abs(sum(found.funds.values()) - found.treasury) <= found.tolerance
    assert plain.digest() != data.digest()


def test_what_does_not_add_up_is_not_balanced() -> None:
    found = settle(terms(Flat(140_000), Proportional()), with_all(village()))
    assert found.balanced
    short = found.tolerance + 1
    assert not replace(
        found, bills=(found.bills[0] - short, *found.bills[1:]), treasury=found.treasury - short
    ).balanced
    assert not replace(found, treasury=found.treasury + 1).balanced
    wasteful = settle(terms(Shapley(2, 1), Static((5, 1, 1)), lifeline_wh=0), village())
    assert not wasteful.balanced, "nobody pays for what a static key leaves to the outside"


def test_the_order_of_members_is_nothing() -> None:
    data, order = village(), [2, 0, 1]
    moved = Intervals(tuple(data.members[i] for i in order), data.start, data.taken[:, order], data.given[:, order])
    for price in PRICES:
        before, after = settle(terms(price), data), settle(terms(price), moved)
        assert after.bills == tuple(before.bills[i] for i in order)
        assert after.treasury == before.treasury


def test_days_of_92_and_100_slots_are_days() -> None:
    for first, slots in (("2026-03-29", 92), ("2026-10-25", 100)):
        data = Intervals(("a",), local_midnight(first), np.ones((slots, 1), np.int64), np.zeros((slots, 1), np.int64))
        made = replace(terms(), lifeline=(True,), network=(0,), levy=100_000_000)
        assert settle(made, data).bills[0] >= slots * 10


def test_half_a_day_is_refused() -> None:
    data = village()
    with pytest.raises(LabBroken, match="2026-06-04"):
        settle(terms(), replace(data, taken=data.taken[:-1], given=data.given[:-1]))


def test_an_absurd_interval_is_refused() -> None:
    data = village()
    data.taken[5, 1] = 10**8
    with pytest.raises(LabBroken, match="10 MWh"):
        settle(terms(), data)


def test_gini_of_equals_and_of_one_who_has_all() -> None:
    assert gini([5, 5, 5]) == "0.0000"
    assert gini([0, 0, 0, 8]) == "0.7500"
    assert gini([]) == gini([0, -3]) == "0.0000"


def test_the_hash_names_the_data() -> None:
    data, other = village(), village()
    assert data.digest() == other.digest()
    other.given[7, 2] += 1
    assert data.digest() != other.digest()
