"""Price rules: budgets balance, nobody pays more than alone where that is claimed, and a case where it is not."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.settlement.keys import Proportional, Recomputable, Slot
from controller.settlement.prices import (
    BillSharing,
    Flat,
    MidMarket,
    Premium,
    PriceBroken,
    Shapley,
    SlotPrices,
    SupplyDemand,
    net_exchange,
)

UWH = 1_000_000
RETAIL, FEED_IN = 290_000, 50_000
WH = st.integers(0, 20_000)
SLOTS = st.lists(st.tuples(WH, WH), min_size=1, max_size=8).map(
    lambda rows: Slot(tuple(row[0] for row in rows), tuple(row[1] for row in rows))
)
RULES = (Flat(140_000), MidMarket(), SupplyDemand())


def public(slot: Slot, retail: int = RETAIL, feed_in: int = FEED_IN) -> SlotPrices:
    return SlotPrices(sum(slot.taken), sum(slot.given), retail, feed_in)


def alone(taken: int, gave: int) -> int:
    return (taken * RETAIL - gave * FEED_IN) * UWH


def owed(rule, slot: Slot) -> list[int]:
    shares, price = Proportional().share(slot, 0), rule.price(public(slot))
    return [
        near * price + (taken * UWH - near) * RETAIL - sold * price - (gave * UWH - sold) * FEED_IN
        for near, sold, taken, gave in zip(shares.near, shares.sold, slot.taken, slot.given, strict=True)
    ]


@given(SLOTS)
def test_members_pay_together_what_the_outside_asks_but_for_the_floors(slot: Slot) -> None:
    totals = net_exchange([public(slot)])
    for rule in RULES:
        gap = sum(owed(rule, slot)) - (totals.cost - totals.income)
        assert 0 <= gap <= len(slot.taken) * 2 * RETAIL


@given(SLOTS)
def test_nobody_pays_more_than_alone(slot: Slot) -> None:
    for rule in RULES:
        for amount, taken, gave in zip(owed(rule, slot), slot.taken, slot.given, strict=True):
            assert amount <= alone(taken, gave)


@given(WH, WH, st.integers(0, 10**6), st.integers(0, 10**6))
def test_prices_stay_in_the_band(taken: int, gave: int, one: int, other: int) -> None:
    slot = SlotPrices(taken, gave, max(one, other), min(one, other))
    for rule in (MidMarket(), SupplyDemand()):
        assert slot.export_price <= rule.price(slot) <= slot.import_price


@given(WH, st.integers(1, 20_000))
def test_more_supply_never_raises_the_ratio_price(gave: int, more: int) -> None:
    price = SupplyDemand().price
    assert price(SlotPrices(10_000, gave + more, RETAIL, FEED_IN)) <= price(SlotPrices(10_000, gave, RETAIL, FEED_IN))


def test_supply_demand_reaches_both_ends() -> None:
    rule = SupplyDemand()
    assert rule.price(SlotPrices(1000, 0, RETAIL, FEED_IN)) == RETAIL
    assert rule.price(SlotPrices(1000, 1000, RETAIL, FEED_IN)) == FEED_IN
    assert rule.price(SlotPrices(1000, 500, RETAIL, FEED_IN)) == 85_294  # 0.29 x 0.05 / (0.24 / 2 + 0.05)
    assert rule.price(SlotPrices(1000, 500, 100, 300)) == 200  # the outside pays more than it asks


def test_mid_market_is_the_textbooks_average_price() -> None:
    slot = Slot((3000, 1000), (1000, 1000))
    mid, demand, supply = (RETAIL + FEED_IN) // 2, 4000, 2000
    textbook = (mid * supply + RETAIL * (demand - supply)) * UWH // demand
    assert owed(MidMarket(), slot)[0] == 3000 * textbook - 1000 * mid * UWH


@given(SLOTS)
def test_bill_sharing_balances_and_is_never_short(slot: Slot) -> None:
    totals = net_exchange([public(slot)])
    members = list(zip(slot.taken, slot.given, strict=True))
    paid = sum(BillSharing().amount(totals, taken, gave) for taken, gave in members)
    assert 0 <= paid - (totals.cost * (totals.taken > 0) - totals.income * (totals.given > 0)) <= 2 * len(members)


def test_bill_sharing_can_cost_a_member_more_than_alone() -> None:
    totals = net_exchange([SlotPrices(1000, 1000, RETAIL, FEED_IN)])  # one takes all that the other gives
    producer = BillSharing().amount(totals, 0, 1000)
    assert producer == 0 > alone(0, 1000)


def test_bill_sharing_refuses_a_stranger() -> None:
    with pytest.raises(PriceBroken):
        BillSharing().amount(net_exchange([SlotPrices(10, 10, 1, 1)]), 11, 0)


@given(SLOTS, st.integers(0, 500), st.integers(0, 500))
def test_the_premium_pays_out_no_more_than_it_brings(slot: Slot, takers: int, givers: int) -> None:
    shares, rule = Proportional().share(slot, 0), Premium(110_000, takers, givers)
    paid = [rule.amount(near, sold) for near, sold in zip(shares.near, shares.sold, strict=True)]
    assert min(paid) >= 0
    assert rule.fund(shares.shared, sum(paid)) >= 0


def test_premium_parts_beyond_the_whole_are_refused() -> None:
    with pytest.raises(PriceBroken):
        Premium(1, 600, 500)


def coalition(slot: Slot):
    def cost(members) -> int:
        net = sum(slot.taken[i] - slot.given[i] for i in members)
        return net * (RETAIL if net > 0 else FEED_IN) * UWH

    return cost


@given(SLOTS, st.randoms())
def test_shapley_balances_and_ignores_the_order_of_the_list(slot: Slot, random) -> None:
    names = [f"m{i}" for i in range(len(slot.taken))]
    order = list(range(len(names)))
    random.shuffle(order)
    rule = Shapley(samples=3, seed=1)
    found = rule.amounts(names, coalition(slot))
    assert 0 <= sum(found) - coalition(slot)(range(len(names))) < len(names)
    moved = Slot(tuple(slot.taken[i] for i in order), tuple(slot.given[i] for i in order))
    assert rule.amounts([names[i] for i in order], coalition(moved)) == tuple(found[i] for i in order)


@given(SLOTS)
def test_shapley_leaves_nobody_worse_off_than_alone(slot: Slot) -> None:
    found = Shapley(samples=3, seed=2).amounts([f"m{i}" for i in range(len(slot.taken))], coalition(slot))
    for i, amount in enumerate(found):
        assert amount <= coalition(slot)([i])


def test_shapley_samples_come_near_the_exact_value() -> None:
    slot = Slot((4000, 1000, 0), (0, 0, 3000))
    cost, members = coalition(slot), range(3)
    exact = [0.0] * 3
    for order in permutations(members):
        for count in range(3):
            exact[order[count]] += (cost(order[: count + 1]) - cost(order[:count])) / 6
    found = Shapley(samples=2000, seed=3).amounts(["a", "b", "c"], cost)
    assert found == pytest.approx(exact, rel=0.05)


def test_only_shapley_needs_an_auditor() -> None:
    rules = (*RULES, BillSharing(), Premium(1, 0, 0), Shapley(1, 0))
    assert [type(rule) for rule in rules if rule.recomputable is Recomputable.AUDITOR] == [Shapley]
