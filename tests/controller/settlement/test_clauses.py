"""A voted charter settled day by day says what the policy lab says of the same intervals, to the last unit."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, cast

import numpy as np
import pytest

from controller.charter_check import check
from controller.charter_file import FORMAT, NotACharter, parse_document, published, terms
from controller.settlement.charter import charter_document as log_document
from controller.settlement.charter import parse_charter
from controller.settlement.intervals import PointDay
from controller.settlement.lab import Intervals, settle
from controller.settlement.runs import (
    BILL,
    DIVIDEND,
    RUN_BILL,
    RUN_DAY,
    SETTLE_DAY,
    SETTLE_GRID,
    BilledDay,
    Rules,
    parse_exchange,
    parse_lines,
    settle_day,
    settle_period,
)
from controller.settlement.storage import parse_grid_fields, parse_part
from controller.settlement.tariff import TariffTable, compile_year
from devices.clock import SLOT_MS, Instant
from tests.charters import FEES, charter_file, charter_text, document
from tests.ledger_village import local_midnight, members

START = local_midnight("2026-06-03")
SHARING = {
    "proportional": 'key = "proportional"',
    "static": 'key = "static"\nweights = { home-01 = 3, home-02 = 1 }\ndefault_weight = 2',
    "hourly": 'key = "hourly"\nhours = [{ home-01 = 5 }, { home-02 = 4 }, { home-03 = 3 }]',
    "rounds": 'key = "rounds"\nclasses = { home-02 = 0 }',
    "participation": 'key = "participation"\n[[sharing.communities]]\nname = "a"\n'
    "percent = { home-01 = 60, home-02 = 33 }\n"
    '[[sharing.communities]]\nname = "b"\npercent = { home-01 = 40, home-02 = 1, home-03 = 100 }',
}
PRICES = {
    "flat": 'rule = "flat"\nlocal_price = 140000',
    "mid-market": 'rule = "mid-market"',
    "supply-demand": 'rule = "supply-demand"',
    "bill-sharing": 'rule = "bill-sharing"',
}


def intervals(days: int = 3, seed: int = 5) -> Intervals:
    random = np.random.default_rng(seed)
    taken, given = random.integers(0, 900, (96 * days, 3)), random.integers(0, 1500, (96 * days, 3))
    given[:, 0] = 0
    return Intervals(("home-01", "home-02", "home-03"), START, taken, given)


@cache
def year() -> TariffTable:
    """Returns the table of the bands that all these charters have."""
    return compile_year(published(document(charter_file(START))), 2026, "test")


def settled(file, data: Intervals) -> tuple[Rules, list[BilledDay], list[dict]]:
    """Settles whole days as the hub does, through the bodies that stand in its log."""
    charter = parse_charter(log_document(published(document(file))))
    own = tuple(replace(one, water_points=()) for one in members() if one.id in data.members)
    rules, table = Rules(charter, own, ""), year()
    billed, bodies = [], []
    for first in range(0, len(data.taken), 96):
        day = table.day_of(Instant(data.start + first * SLOT_MS))
        bands = [table.band_at(Instant(at)) for at in range(day.start, day.end, SLOT_MS)]
        points = {
            name: PointDay(
                name, tuple(map(int, data.taken[first : first + 96, i])),
                tuple(map(int, data.given[first : first + 96, i])), 96, 0, bytes(32),
            )
            for i, name in enumerate(data.members)
        }  # fmt: skip
        result = settle_day(rules, "c", day, bands, points)
        drafts = {(one.kind, one.member): one for one in result.drafts}
        exchange, premium = parse_exchange(drafts[SETTLE_GRID, ""].body)
        lines = {name: parse_lines(drafts[SETTLE_DAY, name].body) for name in data.members}
        keeper, storage = parse_grid_fields(drafts[SETTLE_GRID, ""].body)
        parts = {name: parse_part(drafts[SETTLE_DAY, name].body) for name in data.members}
        counted = exchange, premium, {}, keeper, storage, parts
        billed.append(BilledDay(day.name, charter, result.members, result.grid.cost, {}, lines, *counted))
        bodies.append(dict(drafts[RUN_DAY, ""].body))
        for draft in result.drafts:
            assert sum(one.amount for one in draft.postings) == 0
    return rules, billed, bodies


def bills(rules: Rules, days: list[BilledDay]) -> tuple[dict[str, int], Any]:
    drafts = settle_period(rules, "p", days)
    closing = next(one.body for one in drafts if one.kind == RUN_BILL)
    return {one.member: int(str(one.body["amount"])) for one in drafts if one.kind == BILL}, closing


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("sharing", SHARING)
def test_the_hub_bills_what_the_lab_says(sharing: str, price: str) -> None:
    lifeline = 0 if price == "bill-sharing" else 2000
    file = charter_file(
        START, sharing=SHARING[sharing], price=PRICES[price], lifeline=lifeline, more=FEES, period="month"
    )
    data = intervals()
    rules, days, bodies = settled(file, data)
    found, closing = bills(rules, days)
    wanted = settle(terms(file, data.members, data.start), data)
    assert list(found.values()) == list(wanted.bills)
    assert sum(sum(map(int, body["public"]["shared"])) for body in bodies) == wanted.shared
    assert int(closing["billed"]) == sum(wanted.bills)
    if sharing == "rounds":
        assert [rank for rank, _ in bodies[0]["public"]["taken_by_class"]] == [0, 1]


def test_a_premium_is_paid_by_the_outside_and_divided_by_statute() -> None:
    price = 'rule = "premium"\npremium = 110000\ntakers_permille = 400\ngivers_permille = 500'
    file = charter_file(START, sharing='key = "shared-energy"', price=price, lifeline=0, period="month")
    data = intervals()
    rules, days, _ = settled(file, data)
    found, closing = bills(rules, days)
    wanted = settle(terms(file, data.members, data.start), data)
    assert list(found.values()) == list(wanted.bills)
    assert int(closing["outside"]) == wanted.outside
    assert any(line.text == "premium on shared energy" for draft in settle_period(rules, "p", days)
               for line in map(_line, cast("Any", draft.body.get("lines", ()))))  # fmt: skip


def _line(row):
    from controller.settlement.runs import parse_line

    return parse_line(row)


def test_a_charter_file_says_how_much_clock_error_is_billed_as_it_stands() -> None:
    plain, exact = charter_file(START), charter_file(START, top="clock_tolerance_ms = 2000")
    assert "clock_tolerance_ms" not in document(plain), "charters from before keep their hash"
    assert published(document(exact)).clock_tolerance_ms == document(exact)["clock_tolerance_ms"] == 2000
    file, found = check(charter_text(START, top="clock_tolerance_ms = -1"))
    assert file is None
    assert [one.path for one in found] == [("clock_tolerance_ms",)]


def test_what_the_log_publishes_is_read_back_alike() -> None:
    charter = published(document(charter_file(START)))
    assert charter.sharing == FORMAT, "a verifier of the old rule cannot take it for its own"
    assert parse_charter(log_document(charter)) == charter
    for change in ({"format": "x"}, {"valid_from": "2026"}, {"bill_period": "year"}, {"recomputable": {}}):
        with pytest.raises(NotACharter):
            parse_document({**document(charter_file(START)), **change})


STORAGE = '[storage]\nowner = "{}"\nlosses = "{}"\npoints = ["home-03"]\n'


def test_what_a_storage_brings_and_loses_goes_where_the_charter_says() -> None:
    """Two slots a day, by hand: 2 kWh stored from home-02's surplus at noon, 1 kWh taken out by home-01 at night."""
    taken, given = np.zeros((96, 3), np.int64), np.zeros((96, 3), np.int64)
    given[48, 1], taken[48, 2] = 2_000, 2_000
    taken[88, 0], given[88, 2] = 1_000, 1_000
    data = Intervals(("home-01", "home-02", "home-03"), START, taken, given)
    paid, fetched = 2_000 * 140_000 * 10**6, 1_000 * 140_000 * 10**6  # 0.28 EUR and 0.14 EUR, in 1e-15
    lost = paid // 2
    assert fetched - paid + lost == 0, "at one price there is no margin, only a loss"
    pays, back = ("home-02", "storage, by energy stored"), {("home-03", "storage, passed on"): -lost}
    for owner, losses, wanted in (
        ("depositor", "depositor", back | {pays: lost}),
        ("community", "depositor", back | {pays: lost}),
        ("community", "use", back | {("home-01", "storage losses, by use"): lost}),
        ("depositor", "community", {}),
    ):
        more = STORAGE.format(owner, losses)
        file = charter_file(START, price=PRICES["flat"], more=more, lifeline=0, period="month")
        rules, days, bodies = settled(file, data)
        assert (sum(bodies[0]["public"]["stored"]), sum(bodies[0]["public"]["released"])) == (2_000, 1_000)
        assert storage_rows(rules, days) == wanted, (owner, losses)


@pytest.mark.parametrize("price", ["flat", "mid-market", "supply-demand"])
@pytest.mark.parametrize(("owner", "losses"), [("depositor", "depositor"), ("depositor", "use"), ("community", "use")])
def test_what_is_divided_of_a_storage_adds_up_to_nothing(owner: str, losses: str, price: str) -> None:
    file = charter_file(START, price=PRICES[price], more=STORAGE.format(owner, losses), period="month")
    rules, days, _ = settled(file, intervals())
    amounts = storage_rows(rules, days)
    assert len(amounts) >= 2
    assert 0 <= sum(amounts.values()) < 2 * len(amounts), "each is floored once, in favour of nobody but the treasury"
    plain = charter_file(START, price=PRICES[price], period="month")
    assert storage_rows(*settled(plain, intervals())[:2]) == {}


def storage_rows(rules: Rules, days: list[BilledDay]) -> dict[tuple[str, str], int]:
    drafts = [one for one in settle_period(rules, "p", days) if one.kind == BILL]
    rows = [(one.member, _line(row)) for one in drafts for row in cast("Any", one.body["lines"])]
    return {(member, line.text): line.quantity for member, line in rows if line.text.startswith("storage")}


def test_a_dividend_shares_the_gain_and_names_its_clause() -> None:
    file = charter_file(START, more=FEES + "[dividend]\npermille = 500", period="month")
    data = intervals()
    rules, days, _ = settled(file, data)
    drafts = settle_period(rules, "p", days)
    closing = next(one for one in drafts if one.kind == RUN_BILL)
    gain = -sum(one.amount for one in closing.postings if one.account == "community:treasury")
    assert gain > 0
    paid = [one for one in drafts if one.kind == DIVIDEND]
    each = gain * 500 // 1000 // 3
    assert [one.member for one in paid] == list(data.members)
    assert {one.postings[0].amount for one in paid} == {-each}
    assert all(one.body["clause"] == "[dividend] permille" for one in paid)
    plain = charter_file(START, more=FEES, period="month")
    rules, days, _ = settled(plain, data)
    assert not [one for one in settle_period(rules, "p", days) if one.kind == DIVIDEND]


def test_deliveries_are_billed_at_the_charters_price() -> None:
    file = charter_file(START, more='[[service]]\nname = "delivery"\nprice = 2500000', period="month")
    data = intervals()
    rules, days, _ = settled(file, data)
    before, _ = bills(rules, days)
    after, _ = bills(rules, [replace(days[0], counts={"home-02": {"delivery": 3}}), *days[1:]])
    assert {name: after[name] - before[name] for name in before} == {"home-01": 0, "home-02": 750, "home-03": 0}
