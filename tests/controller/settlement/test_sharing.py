"""Sharing and bills: exact sums, and what a household computes by itself."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.ledger.entries import totals
from controller.settlement.bills import (
    Line,
    day_lines,
    decimal_text,
    exact,
    member_day_fields,
    merge,
    minor_text,
    parse_member_day,
    round_minor,
)
from controller.settlement.intervals import PointDay, Quarantine
from controller.settlement.runs import BILL, RUN_BILL, SETTLE_DAY, BilledDay, Rules, settle_day, settle_period
from controller.settlement.tariff import compile_year
from devices.clock import Instant
from tests.ledger_village import charter, local_midnight, members

CHARTER = charter()
TABLE = compile_year(CHARTER, 2026, "test")
DAY = TABLE.day_of(local_midnight("2026-06-03"))
BANDS = tuple(TABLE.band_at(Instant(start)) for start in range(DAY.start, DAY.end, 900_000))
RULES = Rules(CHARTER, members(), "grid-1")
SLOTS = 96
SERIES = st.lists(st.integers(0, 5_000), min_size=SLOTS, max_size=SLOTS).map(tuple)
QUIET = (0,) * SLOTS


def point(name: str, imports=QUIET, exports=QUIET, quarantine=None) -> PointDay:
    return PointDay(name, imports, exports, SLOTS, 0, bytes(32), quarantine)


@st.composite
def villages(draw) -> dict[str, PointDay]:
    return {
        name: point(name, draw(SERIES), draw(SERIES) if not name.endswith("water") and draw(st.booleans()) else QUIET)
        for name in RULES.points()
    }


def by_hand(member, points, taken, given_) -> Fraction:
    """A household's bill from its own intervals and the public totals alone, in fractions of the major unit."""
    money, left = Fraction(0), CHARTER.lifeline_wh * 1_000_000 if member.lifeline else 0
    for slot in range(SLOTS):
        own = sum(points[p].imports[slot] for p in member.usage_points)
        gave = sum(points[p].exports[slot] for p in member.usage_points)
        matched = min(taken[slot], given_[slot])
        near = own * 1_000_000 * matched // taken[slot] if own else 0
        far = own * 1_000_000 - near
        cheap_near = min(left, near)
        cheap_far = min(left - cheap_near, far)
        left -= cheap_near + cheap_far
        sold = gave * 1_000_000 * matched // given_[slot] if gave else 0
        price = CHARTER.bands[BANDS[slot]].import_price
        money += Fraction(
            (cheap_near + cheap_far) * CHARTER.lifeline_price
            + (near - cheap_near) * CHARTER.local_price
            + (far - cheap_far) * price
            - sold * CHARTER.local_price
            - (gave * 1_000_000 - sold) * CHARTER.export_price,
            10**15,
        )
    water = sum(sum(points[p].imports) for p in member.water_points)
    free = min(water, CHARTER.lifeline_ml) if member.lifeline else 0
    return money + Fraction(free * CHARTER.lifeline_water_price + (water - free) * CHARTER.water_price, 10**12)


@settings(max_examples=25, deadline=None)
@given(villages())
def test_every_entry_balances_and_every_bill_is_what_the_household_computes(points):
    result = settle_day(RULES, "c", DAY, BANDS, points)
    for draft in result.drafts:
        assert set(totals(draft.postings).values()) <= {0}
    billed = BilledDay(DAY.name, CHARTER, result.members, result.grid.cost, {})
    drafts = settle_period(RULES, DAY.name, [billed])
    for draft in drafts:
        assert set(totals(draft.postings).values()) <= {0}
    for member in RULES.members:
        own = {name: points[name] for name in (*member.usage_points, *member.water_points)}
        right = by_hand(member, own, result.totals.taken, result.totals.given)
        bill = next(d for d in drafts if d.kind == BILL and d.member == member.id)
        cents = Decimal(right.numerator * 100) / Decimal(right.denominator)
        assert int(str(bill.body["amount"])) == int(cents.quantize(Decimal(1), ROUND_HALF_EVEN))
    closing = next(d for d in drafts if d.kind == RUN_BILL)
    assert abs(int(str(closing.body["rounding"]))) <= len(RULES.members) // 2 + 1


@settings(max_examples=25, deadline=None)
@given(villages())
def test_all_shares_of_a_slot_are_what_was_measured(points):
    result = settle_day(RULES, "c", DAY, BANDS, points)
    energy = [points[name] for name in RULES.energy_points()]
    assert sum(m.used for m in result.members.values()) == sum(sum(p.imports) for p in energy) * 1_000_000
    assert sum(m.given for m in result.members.values()) == sum(sum(p.exports) for p in energy) * 1_000_000
    floors = sum(m.sold - m.from_local for m in result.members.values())
    assert abs(floors) <= SLOTS * len(RULES.members)
    for m in result.members.values():
        assert m.lifeline + m.local + sum(m.outside) == m.used
        assert parse_member_day(member_day_fields(m)) == m


def test_a_quarantined_point_is_left_out_and_the_others_are_settled():
    noon = tuple(1_000 if 40 <= slot < 60 else 0 for slot in range(SLOTS))
    points = {name: point(name) for name in RULES.points()}
    points["home-01"] = point("home-01", exports=noon)
    points["home-02"] = point("home-02", imports=noon)
    points["home-03"] = point("home-03", quarantine=Quarantine.SUSPECT)
    result = settle_day(RULES, "c", DAY, BANDS, points)
    assert result.held == (("home-03", "suspect"),)
    assert result.members["home-03"].used == 0
    assert result.members["home-02"].from_local == 20_000 * 1_000_000
    body = next(d for d in result.drafts if d.kind == SETTLE_DAY and d.member == "home-03").body
    assert body["held"] == [["home-03", "suspect"]]


def test_without_its_grid_meter_the_community_is_charged_by_the_totals():
    points = {name: point(name) for name in RULES.points()}
    points["home-02"] = point("home-02", imports=(100,) * SLOTS)
    points["grid-1"] = point("grid-1", quarantine=Quarantine.MISSING)
    grid = settle_day(RULES, "c", DAY, BANDS, points).grid
    assert (grid.import_wh, grid.export_wh, grid.estimated) == (9_600, 0, True)


def test_losses_are_what_only_the_grid_meter_saw():
    points = {name: point(name) for name in RULES.points()}
    points["home-02"] = point("home-02", imports=(100,) * SLOTS)
    points["grid-1"] = point("grid-1", imports=(103,) * SLOTS)
    result = settle_day(RULES, "c", DAY, BANDS, points)
    grid = next(d for d in result.drafts if d.kind == "settle.grid")
    assert {p.account: p.amount for p in grid.postings}["losses"] == 3 * SLOTS * 1_000_000


@pytest.mark.parametrize(
    ("numerator", "cents"),
    [
        (5 * 10**12, 0),
        (15 * 10**12, 2),
        (25 * 10**12, 2),
        (25 * 10**12 + 1, 3),
        (-5 * 10**12, 0),
        (-15 * 10**12, -2),
        (0, 0),
    ],
)
def test_money_is_rounded_half_to_even(numerator, cents):
    assert round_minor(numerator, 2) == cents


@given(st.integers(-(10**30), 10**30), st.integers(0, 4))
def test_rounding_is_decimals_half_even(numerator, digits):
    right = (Decimal(numerator).scaleb(-15, None)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
    assert round_minor(numerator, digits) == int(right.scaleb(digits))


def test_lines_read_as_people_write_them():
    line = Line("energy from outside, day", 1_234_500_000, "uWh", 290_000)
    assert (line.quantity_text(), line.price_text("EUR"), line.amount_text()) == (
        "1.2345 kWh",
        "0.29 EUR/kWh",
        "0.358005",
    )
    assert Line("water", 3_000_000, "mL", 1_800_000).amount_text() == "5.40"
    assert decimal_text(-1_500_000, 1_000_000) == "-1.50"
    assert minor_text(-307, CHARTER) == "-3.07 EUR"
    assert minor_text(5, replace(CHARTER, currency="JPY", minor_digits=0)) == "5 JPY"


def test_days_of_a_bill_merge_by_text_and_price():
    points = {name: point(name, imports=(100,) * SLOTS) for name in RULES.points()}
    day = settle_day(RULES, "c", DAY, BANDS, points).members["home-01"]
    one, two = day_lines(CHARTER, day), merge([day_lines(CHARTER, day)] * 2)
    assert [line.text for line in one] == [line.text for line in two]
    assert exact(two) == 2 * exact(one)


def test_a_table_of_another_day_is_refused():
    with pytest.raises(ValueError, match="slots"):
        settle_day(RULES, "c", DAY, BANDS[:-4], {})
