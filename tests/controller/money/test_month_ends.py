"""A treasurer's month ends: loans, who leaves, credit paid out, requests sent twice, statements across a year's end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.community_view import money_page
from controller.ledger.canonical import Json
from controller.ledger.entries import Entry, EntryState, Posting, derived_id
from controller.ledger.orders import Post, Rejection, RejectionCode, Reserve
from controller.money.arrears import arrears
from controller.money.bank_csv import FIELDS, read_bank
from controller.money.cashbook import Bill, CashBook, Loan, transfer
from controller.money.closing import period_bounds
from controller.money.desk import Asked, owes_text, parse_money
from controller.money.due import due
from controller.money.overview import overview, overview_text
from controller.money.statement import quantities, statement
from controller.shell.books import Books
from controller.shell.fairness_report import quarters
from devices.clock import DAY_MS, HOUR_MS, Instant
from tests.controller.money.test_desk import MONEY, NOW, START, data_dir, desk, template
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, local_midnight, rules

__all__ = ["data_dir", "desk", "template"]  # fixtures
LENT = Instant(35 * DAY_MS)


def book_with(*bills: tuple[str, int], member: bool = True) -> CashBook:
    made = CashBook(rules=MONEY, members={"h": "household"} if member else {})
    made.loans["loan"] = Loan("loan", LENT, "h", "lamp", 1_000, 4)
    made.bills["h"] = {period: Bill(period, Instant(day * DAY_MS)) for period, day in bills}
    return made


def instalments(book: CashBook) -> list[tuple[str, int, str]]:
    posts = [one for one in due(book, Instant(400 * DAY_MS)) if isinstance(one, Post) and one.kind == "loan.instalment"]
    return [(str(one.body["bill"]), one.postings[0].amount, str(one.body["rest"])) for one in posts]


def test_a_bill_from_before_the_loan_brings_no_instalment_when_it_is_settled_again():
    book = book_with(("2026-01", 31), ("2026-02", 60))
    old = Entry("b1", Instant(31 * DAY_MS), "bill", EntryState.POSTED, (), {"member": "h", "period": "2026-01"})
    book.absorb(1, old, b"")
    book.absorb(2, Entry("r1", Instant(40 * DAY_MS), "bill", EntryState.REVERSAL, (), {}, refers="b1"), b"")
    again = Entry("b2", Instant(40 * DAY_MS), "bill", EntryState.POSTED, (), {"member": "h", "period": "2026-01"})
    book.absorb(3, again, b"")
    assert instalments(book) == [("2026-02", 250, "750")]


def test_a_bill_of_nothing_is_a_bill_and_a_bill_taken_back_is_none():
    book = book_with()
    for number, period in enumerate(("2026-02", "2026-03")):
        body: dict[str, Json] = {"member": "h", "period": period}
        book.absorb(number, Entry(f"b{number}", Instant(60 * DAY_MS), "bill", EntryState.POSTED, (), body), b"")
    book.absorb(3, Entry("r", Instant(61 * DAY_MS), "bill", EntryState.REVERSAL, (), {}, refers="b0"), b"")
    assert instalments(book) == [("2026-03", 250, "750")]


def test_who_leaves_pays_the_rest_of_a_loan_with_the_last_bill():
    book = book_with(("2026-02", 60), ("2026-03", 91), member=False)
    assert instalments(book) == [("2026-02", 250, "750"), ("2026-03", 750, "0")]
    book.loans["loan"].paid, book.loans["loan"].periods = 250, {"2026-02", "2026-03"}
    assert instalments(book) == [], "nothing is due without a bill"


def test_a_statement_shows_a_loan_as_it_stood_at_the_end_of_its_year():
    book = book_with()
    for year, bill in ((2026, "2026-12"), (2027, "2027-01")):
        at = local_midnight(f"{year}-12-05", "UTC")
        postings = Posting("member:h:owes", "money:EUR", 250), Posting("member:h:loan", "money:EUR", -250)
        body: dict[str, Json] = {"loan": "loan", "bill": bill, "member": "h", "rest": "0"}
        book.absorb(year, Entry(bill, at, "loan.instalment", EntryState.POSTED, postings, body), b"")
    first, second = (statement(book, "h", year, (0, 0, 0)).loans[0] for year in ("2026", "2027"))
    assert (first.paid, first.rest, len(first.schedule)) == (250, 750, 3)
    assert (second.paid, second.rest, len(second.schedule)) == (500, 500, 2)


def test_a_day_of_december_that_is_settled_again_in_january_counts_in_december():
    day, later = local_midnight("2026-12-31", "UTC"), local_midnight("2027-01-09", "UTC")

    def settled(id: str, at: Instant, amount: int, refers: str = "") -> Entry:
        state = EntryState.REVERSAL if refers else EntryState.POSTED
        body: dict[str, Json] = {} if refers else {"start": day}
        return Entry(id, at, "settle.day", state, (Posting("member:h:used", "energy", amount),), body, refers=refers)

    entries = [settled("c", later, 30), settled("b", later, -20, "a"), settled("a", day, 20)]  # newest first
    assert quantities(entries, "h", period_bounds("2026", "UTC")) == (30, 0, 0)
    assert quantities(entries, "h", period_bounds("2027", "UTC")) == (0, 0, 0)


def test_credit_is_paid_out_by_those_who_approve_spending_and_no_more_than_there_is(desk):
    credit = -desk.book.owed("home-01")  # it has sold energy
    assert credit > 100
    whole = f"{credit / 100:.2f}"
    too_much = f"{(credit + 1) / 100:.2f}"
    assert desk.ask("payout", member="home-01", amount=too_much, method="bank")[0] == "above-limit"
    assert desk.ask("payout", member="home-02", amount="0.01", method="bank")[0] == "above-limit", "it owes"
    assert desk.ask("payout", member="home-01", amount=whole, method="cash")[0] == "below-limit", "no cash in the box"
    assert desk.ask("payout", member="home-01", amount=whole, method="bank", ref="T-1")[0] == "ok"
    code, words = desk.ask("payout", member="home-01", amount="0.01", method="bank")
    assert (code, "proposed already" in words) == ("above-limit", True), "not promised twice"
    for who in ("ana", "cy"):
        assert desk.ask("approve", proposal=1, as_=who)[0] == "ok"
    assert (desk.book.owed("home-01"), desk.book.balances["till:bank"]) == (0, -credit)
    assert not [one for one in arrears(desk.book, Instant(NOW + 90 * DAY_MS)) if one.member == "home-01"]
    assert desk.sound()


def test_credit_that_a_bill_has_used_up_is_not_paid_out(desk):
    desk.ask("pay", member="home-02", amount="20", method="cash")
    left = f"{-desk.book.owed('home-02') / 100:.2f}"
    assert desk.ask("payout", member="home-02", amount=left, method="cash")[0] == "ok"
    assert desk.ask("approve", proposal=1, as_="ana")[0] == "ok"
    village = Village(START, homes=2)
    village.until(NOW)
    for rows in village.slots(Instant(NOW + DAY_MS)):
        desk.books.accept(rows)
    desk.now = Instant(NOW + DAY_MS + 7 * HOUR_MS)
    desk.books.run_due(desk.now)
    code, words = desk.ask("approve", proposal=1, as_="cy")
    assert (code, "withdraw it" in words) == ("above-limit", True)
    assert desk.ask("withdraw", proposal=1, as_="cy", reason="billed")[0] == "ok"
    assert desk.sound()


def test_what_is_sent_twice_an_hour_apart_is_done_once(desk):
    def twice(do: str, **fields) -> list[str]:
        own = derived_id(desk.now, do, str(fields))
        codes = [desk.ask(do, id=own, **fields)[0]]
        desk.now = Instant(desk.now + HOUR_MS)
        return [*codes, desk.ask(do, id=own, **fields)[0]]

    once = ["ok", "duplicate"]
    assert twice("income", amount="99", method="bank", purpose="grant", ref="G-1") == once
    assert twice("pay", member="home-01", amount="5", method="cash") == once
    assert twice("cancel", receipt=1, reason="wrong member") == once
    assert twice("budget", budget="pump", amount="30", purpose="parts") == once
    assert twice("approve", proposal=1, as_="ana") == once
    assert twice("approve", proposal=1, as_="cy") == once, "the last one, too"
    assert twice("spend", budget="pump", amount="20", to="P", method="bank", purpose="seal") == once
    assert twice("withdraw", proposal=2, as_="ana", reason="too dear") == once
    assert desk.book.budgets == {"pump": "parts"}
    assert desk.sound()


def test_one_reference_is_one_payment_however_it_is_written_and_whoever_it_is_from(desk):
    assert desk.ask("pay", member="home-01", amount="9", method="bank", ref="RF18 a")[0] == "ok"
    assert desk.ask("pay", member="home-02", amount="9", method="bank", ref="rf18A")[0] == "duplicate-ref"
    assert desk.ask("income", amount="9", method="bank", purpose="gift", ref="RF18a")[0] == "duplicate-ref"
    assert desk.ask("income", amount="9", method="bank", purpose="gift", ref="G1")[0] == "ok"
    assert desk.ask("income", amount="9", method="bank", purpose="gift", ref="g 1")[0] == "duplicate-ref"
    assert desk.ask("pay", member="home-02", amount="9", method="bank", ref="G1")[0] == "duplicate-ref"
    assert desk.sound()


def test_who_has_left_and_owes_is_not_forgotten_and_a_cancelled_receipt_shows(desk):
    desk.ask("pay", member="home-02", amount="5", method="cash")
    desk.ask("cancel", receipt=1, reason="wrong member")
    assert desk.book.owed("home-02") > 0
    del desk.book.members["home-02"]  # as after a member.leave
    text = "date,amount,ref,member\n2026-07-01,5,R9,from home-02\n"
    (line,) = read_bank(text, {one: one for one in FIELDS}, desk.book, ".").lines
    assert line.member == "home-02", "who has left still pays"
    assert desk.ask("loan", member="home-02", amount="12", device="lamp", bills=3)[0] == "unknown-member"
    page = money_page(desk.book, Instant(NOW + 90 * DAY_MS), {})
    (row,) = [one for one in page.members if one.id == "home-02"]
    assert (row.overdue != "", row.step) == (True, "talk"), "no limit: it has no supply here any more"
    assert [one.cancelled for one in page.receipts] == [True]
    text = overview_text(desk.book)
    assert f"{owes_text('home-02', desk.book.owed('home-02'), desk.book)} (has left)" in text
    assert "1 receipts, 1 of them cancelled" in text
    assert [one["member"] for one in overview(desk.book)["members"]][-1] == "home-02"  # type: ignore[index]


def test_a_budget_is_not_overspent_by_a_cent_whoever_writes_it(desk):
    desk.ask("income", amount="99", method="bank", purpose="start")
    desk.ask("budget", budget="pump", amount="30", purpose="parts")
    for who in ("ana", "cy"):
        desk.ask("approve", proposal=1, as_=who)
    spend = {"budget": "pump", "to": "P", "method": "bank", "purpose": "seal"}
    assert desk.ask("spend", amount="30.01", **spend)[0] == "above-limit"
    assert desk.ask("spend", amount="20", **spend)[0] == "ok"
    assert desk.ask("spend", amount="10.01", **spend)[0] == "above-limit", "what is proposed is held back"
    postings = transfer("money:EUR", "budget:pump", "till:bank", 1_001)
    until = Instant(NOW + DAY_MS)
    outcome = desk.write(Reserve(derived_id(NOW, "by hand"), NOW, "treasury.spend", postings, {}, until))
    assert isinstance(outcome, Rejection)
    assert outcome.code is RejectionCode.ABOVE_LIMIT
    assert desk.ask("spend", amount="10", **spend)[0] == "ok"
    assert desk.sound()


def test_two_members_with_one_name_are_told_apart(desk):
    desk.ask("pay", member="home-02", amount="5", method="cash")
    page = money_page(desk.book, NOW, {"home-01": "Maria", "home-02": "Maria", "community": "Cooperative"})
    assert [one.label for one in page.members] == ["Maria (home-01)", "Maria (home-02)", "Cooperative"]
    assert page.receipts[0].label == "Maria (home-02)"


def test_arrears_as_of_a_day_do_not_see_what_came_later(desk):
    late = Instant(NOW + 20 * DAY_MS)
    desk.now = Instant(NOW + 30 * DAY_MS)
    before = [(one.member, one.amount) for one in arrears(desk.book, late)]
    assert [member for member, _ in before] == ["home-02"]
    desk.ask("pay", member="home-02", amount="500", method="cash")
    assert [(one.member, one.amount) for one in arrears(desk.book, late)] == before
    assert arrears(desk.book, desk.now) == []


def test_a_charter_that_has_ended_prices_no_service():
    book = CashBook()
    book.charters = [
        (Instant(0), None, "first", {"work-credit": 1}),
        (Instant(100), Instant(200), "trial", {"work-credit": 2}),
    ]
    found = [book.service("work-credit", Instant(at)) for at in (50, 150, 200)]
    assert found == [("first", 1), ("trial", 2), ("first", 1)]


def test_a_last_bill_that_ends_in_the_next_quarter_counts_where_its_member_was(tmp_path):
    start, end = local_midnight("2026-06-29"), local_midnight("2026-07-06")
    village = Village(start, homes=2)
    books = Books.open(tmp_path / "ledger.db", replace(rules(2, key=None, bill_period="week"), money=MONEY))
    live(books, village.until(Instant(start + DAY_MS // 2)))
    registers = {point: [2_000, 600] for point in ("home-02", "home-02.water")}
    leave: dict[str, object] = {"do": "member-leave", "member": "home-02", "on": "2026-06-30", "registers": registers}
    asked = Asked(derived_id(start, "leave"), "root", Instant(start + DAY_MS // 2))
    assert books.till.ask(asked, leave).code == "ok"
    live(books, village.until(end), Instant(end + 12 * HOUR_MS))
    (last,) = [one for one in books.reader().of_kind("bill", 20) if one.member == "home-02"]
    assert last.body["final"] is True
    books.close(Instant(end + 12 * HOUR_MS))
    assert [one["quarter"] for one in quarters(tmp_path / "ledger.db")] == ["2026-Q2", "2026-Q3"]


@pytest.mark.parametrize("text", ["1e3", "1_000", "20,50", "٢٠", "nan", "inf", "", "0x10", "9" * 40])
def test_what_only_a_program_takes_for_a_number_is_no_amount(text: str):
    with pytest.raises(ValueError, match=r"amount|too large"):
        parse_money(text, 2)
