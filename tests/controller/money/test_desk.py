"""The treasurer's desk on a real ledger file: payments, loans, arrears, treasury, closing; the log proves all of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from controller import hub as core
from controller.cli.pay import pay
from controller.cli.statement import statement
from controller.cli.treasury import treasury
from controller.commands import Actor, MoneyRequest, Role
from controller.community_view import holdable, money_page
from controller.hub_events import Bookkeep
from controller.ledger.entries import EntryState, derived_id
from controller.ledger.identity import SigningKey, sign_document
from controller.ledger.orders import Post, Rejection, RejectionCode, SetLimits
from controller.ledger.quorum import sign_approval, sign_close
from controller.money.arrears import arrears, open_charges
from controller.money.bank_csv import BadMap, decoded, parse_map, read_bank
from controller.money.cashbook import CashBook, Move
from controller.money.desk import Asked, parse_money
from controller.money.due import due
from controller.money.rules import (
    ArrearsStep,
    MoneyRules,
    MoneyRulesBroken,
    Officer,
    parse_rules,
    rules_document,
)
from controller.operators import give
from controller.settlement.charter import Member
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.books import Books
from controller.shell.key_file import new_key_file
from controller.shell.ledger_verify import verify
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant
from tests.controller.scene import village
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, local_midnight, rules

START = local_midnight("2026-06-01")
NOW = Instant(START + 2 * DAY_MS)
KEY = SigningKey(bytes(32))
STEPS = (ArrearsStep(0, "reminder"), ArrearsStep(10, "talk"), ArrearsStep(30, "limit", 40))
MONEY = MoneyRules(
    due_days=14,
    steps=STEPS,
    officers=(Officer("ana", "treasurer"), Officer("ben", "auditor", KEY.did), Officer("cy", "auditor")),
    approvals=2,
    roles=(("treasurer", 1),),
)


def village_rules():
    return replace(rules(2, key=None), money=MONEY)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("money")
    books = Books.open(folder / "ledger.db", village_rules())
    live(books, Village(START, homes=2).until(NOW))
    books.close(NOW)
    return folder


@pytest.fixture
def data_dir(template, tmp_path):
    for name in ("ledger.db", "keys.db"):
        (tmp_path / name).write_bytes((template / name).read_bytes())
    return tmp_path


class Desk:
    """The books of a data directory and a treasurer in front of them."""

    def __init__(self, folder) -> None:
        self.folder, self.count, self.now = folder, 0, NOW
        self.books = Books.open(folder / "ledger.db", village_rules())

    def ask(self, do: str, id: str = "", login: str = "", **fields) -> tuple[str, str]:
        self.count += 1
        login = login or (
            str(fields.get("as_")) if do == "approve" else "root"
        )  # everybody approves at a login of their own
        own = id or derived_id(self.now, "desk", self.count)
        answer = self.books.till.ask(
            Asked(own, login, self.now), {"do": do, **{k.rstrip("_"): v for k, v in fields.items()}}
        )
        return answer.code, answer.message

    @property
    def book(self) -> CashBook:
        return self.books.till.book()

    def write(self, command):
        """Writes as somebody would who has the program and the disk, but not the desk."""
        return self.books.till._journal.write(command)

    def leaf(self, number: int) -> str:
        return self.book.proposals[number - 1].leaf

    def sound(self) -> bool:
        self.books.close(self.now)
        found = verify(self.folder)
        assert found.findings == []
        self.books = Books.open(self.folder / "ledger.db", village_rules())
        return True


@pytest.fixture
def desk(data_dir):
    made = Desk(data_dir)
    yield made
    made.books.close(made.now)


def test_a_payment_has_a_numbered_receipt_and_moves_what_is_owed(desk):
    before = desk.book.owed("home-02")
    bills = desk.books.reader().of_kind("bill", 100)
    own = derived_id(NOW, "own")
    assert desk.ask("pay", id=own, member="home-02", amount="5", method="cash")[0] == "ok"
    code, words = desk.ask("pay", id=own, member="home-02", amount="5", method="cash")
    assert (code, words[:10]) == ("duplicate", "receipt 1:")
    assert desk.ask("pay", id=own, member="home-02", amount="6", method="cash")[0] == "conflict"
    assert desk.ask("pay", member="home-01", amount="7.25", method="bank", ref="A")[0] == "ok"
    assert desk.ask("pay", member="home-02", amount="7.25", method="bank", ref="A")[0] == "duplicate-ref"
    assert desk.ask("pay", member="home-02", amount="7.25", method="mobile", ref="A")[0] == "ok"
    assert [one.number for one in desk.book.receipts] == [1, 2, 3]
    assert desk.book.owed("home-02") == before - 500 - 725
    assert desk.book.balances["till:cash"] == 500
    assert desk.books.imbalance() == 0
    assert desk.books.reader().of_kind("bill", 100) == bills
    assert desk.sound()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"member": "nobody"}, "unknown-member"),
        ({"amount": "0"}, "bad-amount"),
        ({"amount": "-5"}, "bad-amount"),
        ({"amount": "1.005"}, "bad-amount"),
        ({"amount": "many"}, "bad-amount"),
        ({"amount": "1e30"}, "bad-amount"),
        ({"method": "gold"}, "unknown-method"),
        ({"method": "bank"}, "no-ref"),
        ({"note": "x" * 201}, "bad-text"),
        ({"note": "a\x00b"}, "bad-text"),
        ({"amount": 5}, "missing"),
        ({"do": "steal"}, "unknown-request"),
        ({"id": "1"}, "bad-id"),
    ],
)
def test_what_the_desk_refuses_books_nothing(desk, fields, code):
    size = desk.books.size
    request = {"do": "pay", "member": "home-01", "amount": "5", "method": "cash"} | fields
    found, words = desk.ask(request.pop("do"), **request)
    assert (found, bool(words), desk.books.size) == (code, True, size)


def test_a_cancelled_receipt_frees_its_reference_but_not_its_number(desk):
    owed = desk.book.owed("home-01")
    desk.ask("pay", member="home-01", amount="9", method="bank", ref="B")
    assert desk.ask("cancel", receipt=1, reason="")[0] == "no-reason"
    assert desk.ask("cancel", receipt=2, reason="bounced")[0] == "unknown-receipt"
    assert desk.ask("cancel", receipt=1, reason="bounced")[0] == "ok"
    assert desk.ask("cancel", receipt=1, reason="again")[0] == "already-reversed"
    assert desk.book.owed("home-01") == owed
    assert "receipt 2:" in desk.ask("pay", member="home-01", amount="9", method="bank", ref="B")[1]
    assert desk.sound()


def test_spending_needs_a_budget_and_its_approvals(desk):
    desk.ask("pay", member="home-01", amount="50", method="cash")
    assert desk.ask("spend", amount="5", budget="pump", to="P", method="cash", purpose="x")[0] == "unknown-budget"
    assert desk.ask("budget", budget="Pump!", amount="30", purpose="parts")[0] == "bad-name"
    assert desk.ask("budget", budget="pump", amount="30", purpose="parts")[0] == "ok"
    assert desk.ask("approve", proposal=1, as_="dora")[0] == "not-approver"
    assert desk.ask("approve", proposal=1, as_="ben")[0] == "bad-signature"
    assert desk.ask("approve", proposal=1, as_="ben", signature=sign_approval(KEY, desk.leaf(1)))[0] == "ok"
    assert desk.book.proposals[0].state == "open"
    code, words = desk.ask("approve", proposal=1, as_="ana", login="ben")
    assert code == "wrong-quorum", "who has ben's key and login is not shown to be ana as well"
    assert "ana is logged in as ben, like ben: use a login of your own, or a key" in words
    assert "1 of 2" not in desk.ask("approve", proposal=1, as_="ana")[1]
    assert desk.book.proposals[0].state == "done"
    code, words = desk.ask("spend", amount="31", budget="pump", to="P", method="cash", purpose="x")
    assert (code, words) == ("above-limit", "budget pump has 30.00 EUR left, not 31.00 EUR")
    assert desk.ask("spend", amount="20", budget="pump", to="P", method="cash", purpose="seal")[0] == "ok"
    assert desk.ask("spend", amount="20", budget="pump", to="P", method="cash", purpose="seal")[0] == "above-limit"
    assert "0 of 1 by a treasurer" in desk.ask("approve", proposal=2, as_="cy")[1]
    signed = sign_approval(KEY, desk.leaf(2))
    assert "0 of 1 by a treasurer" in desk.ask("approve", proposal=2, as_="ben", signature=signed)[1]
    assert desk.ask("approve", proposal=2, as_="cy")[0] == "already-approved"
    assert desk.ask("approve", proposal=2, as_="ana")[0] == "ok"
    assert (desk.book.balances["till:cash"], desk.book.balances["budget:pump"]) == (3_000, -1_000)
    assert desk.ask("withdraw", proposal=2, as_="ana", reason="x")[0] == "not-pending"
    assert desk.sound()


def test_a_proposal_expires_and_frees_what_it_held(desk):
    desk.ask("loan", member="home-01", amount="12", device="lamp", bills=3)
    assert desk.ask("loan", member="home-01", amount="12", device="lamp", bills=0)[0] == "bad-bills"
    desk.now = Instant(NOW + 14 * DAY_MS)
    assert desk.ask("approve", proposal=1, as_="ana")[0] == "expired-approval"
    assert desk.books.till.due(desk.now) > 0
    assert desk.book.proposals[0].state == "expired"
    assert desk.sound()


def test_a_loan_is_paid_back_with_the_bills_and_the_bills_stay_as_they_are(data_dir):
    desk = Desk(data_dir)
    desk.now = Instant(NOW + 3_600_000)  # after the bills that stand
    desk.ask("loan", member="home-02", amount="10", device="lamp", bills=3)
    for who in ("ana", "cy"):
        assert desk.ask("approve", proposal=1, as_=who)[0] == "ok"
    loan = next(iter(desk.book.loans.values()))
    assert (loan.rest, loan.schedule()) == (1_000, (334, 334, 332))
    village = Village(START, homes=2)
    village.until(NOW)
    for number in range(1, 5):
        for rows in village.slots(Instant(NOW + number * DAY_MS)):
            desk.books.accept(rows)
        desk.now = Instant(NOW + number * DAY_MS + 7 * 3_600_000)
        desk.books.run_due(desk.now)
        owed = desk.book.owed("home-02")
        desk.books.till.due(desk.now)
        assert desk.books.till.due(desk.now) == 0
        assert desk.book.owed("home-02") - owed == (0, 334, 334, 332, 0)[number]
    assert (loan.rest, len(loan.periods)) == (0, 3)
    assert desk.sound()
    desk.books.close(desk.now)


def test_two_people_close_a_period_and_a_late_entry_is_refused(desk):
    assert desk.ask("close", period="2026-06-01", as_="dora")[0] == "not-approver"
    assert desk.ask("close", period="June", as_="ana")[0] == "bad-period"
    assert desk.ask("close", period="2026-13", as_="ana")[0] == "bad-period"
    assert desk.ask("close", period="2026", as_="ana")[0] == "not-over"
    assert desk.ask("close", period="2026-06-01", as_="ana")[0] == "ok"
    assert desk.ask("close", period="2026-06-01", as_="ana")[0] == "wrong-quorum"
    code, words = desk.ask("close", period="2026-06-01", as_="cy")
    assert (code, "is logged in as root, like ana" in words) == ("wrong-quorum", True)
    assert desk.ask("close", period="2026-06-01", as_="cy", login="cy")[0] == "ok"
    assert desk.book.closed == [(Instant(START + DAY_MS), ("ana", "cy"))]
    desk.now = START
    assert desk.ask("pay", member="home-01", amount="5", method="cash")[0] == "sealed-period"
    desk.now = NOW
    assert desk.sound()


def test_an_officer_with_a_key_closes_with_it(desk):
    until = Instant(START + DAY_MS)
    trial = desk.books.till.trial(until)
    assert desk.ask("close", period="2026-06-01", as_="ana")[0] == "ok"
    assert desk.ask("close", period="2026-06-01", as_="ben", login="ben")[0] == "bad-signature"
    other = sign_close(SigningKey(b"1" * 32), until, trial)
    assert desk.ask("close", period="2026-06-01", as_="ben", login="ben", signature=other)[0] == "bad-signature"
    signature = sign_close(KEY, until, trial)
    assert desk.ask("close", period="2026-06-01", as_="ben", login="ben", signature=signature)[0] == "ok"
    assert desk.book.closed == [(until, ("ana", "ben"))]
    assert desk.sound()


def test_the_command_signs_a_close(desk, tmp_path):
    key = tmp_path / "ben.pem"
    officer = Officer("ben", "auditor", new_key_file(key).did)
    desk.books.close(desk.now)
    own = replace(village_rules(), money=replace(MONEY, officers=(MONEY.officers[0], officer)))
    desk.books = Books.open(tmp_path / "ledger.db", own)
    assert desk.ask("close", period="2026-06-01", as_="ana", login="ana")[0] == "ok"
    desk.books.close(desk.now)
    close = ["close", "2026-06-01", "--as", "ben", "--data-dir", str(tmp_path)]
    refused = CliRunner().invoke(treasury, close)
    assert refused.exit_code == 6, "an officer with a key signs"
    done = CliRunner().invoke(treasury, [*close, "--key", str(key)])
    assert "closed by ana and ben" in done.output, done
    desk.books = Books.open(tmp_path / "ledger.db", own)
    assert verify(tmp_path).findings == []


def test_a_close_is_asked_anew_when_the_balances_have_changed(desk):
    assert desk.ask("close", period="2026-06-01", as_="ana", login="cy")[0] == "ok"
    assert desk.ask("close", period="2026-06-01", as_="cy", login="cy")[0] == "wrong-quorum", "ana sat at cy's login"
    assert desk.ask("close", period="2026-06-01", as_="ana", login="ana")[1].startswith("ana asks to close")
    desk.now = Instant(START + 20 * HOUR_MS)  # the clock was a day fast
    assert desk.ask("pay", member="home-01", amount="5", method="cash")[0] == "ok"
    desk.now = NOW
    assert desk.ask("close", period="2026-06-01", as_="cy", login="cy")[1].startswith("cy asks to close")
    assert desk.ask("close", period="2026-06-01", as_="ana", login="ana")[0] == "ok"
    assert desk.book.closed == [(Instant(START + DAY_MS), ("cy", "ana"))]
    assert desk.sound()


def charge(at: int, amount: int) -> Move:
    return Move(0, f"at-{at}", Instant(at), "service.charge" if amount > 0 else "payment", "posted", amount, {})


def bill(day: int, amount: int, period: str = "2026-06") -> Move:
    return Move(0, f"bill-{day}-{period}", Instant(day * DAY_MS), "bill", "posted", amount, {"period": period})


def undone(move: Move, day: int) -> Move:
    state, at = EntryState.REVERSAL, Instant(day * DAY_MS)
    return Move(0, f"undo-{move.id}", at, move.kind, state.value, -move.amount, {}, move.id)


def test_a_bill_that_is_settled_again_is_as_old_as_it_was():
    first = bill(0, 5_000)
    again = bill(80, 5_001)
    day = DAY_MS
    assert open_charges([first, undone(first, 80), again]) == [(0, 5_000), (80 * day, 1)]
    smaller = bill(80, 3_000)
    assert open_charges([first, undone(first, 80), smaller]) == [(0, 3_000)]
    third = bill(90, 6_000)
    chain = [first, undone(first, 80), smaller, undone(smaller, 90), third]
    assert open_charges(chain) == [(0, 3_000), (90 * day, 3_000)]
    paid = charge(10 * day, -2_000)
    other = bill(30, 700, "2026-07")
    rows = [first, paid, other, undone(first, 80), again]
    assert open_charges(rows) == [(0, 3_000), (30 * day, 700), (80 * day, 1)], "a part that was paid stays paid"
    assert open_charges([first, undone(first, 80)]) == []
    credit = bill(80, -400)
    assert open_charges([first, other, undone(first, 80), credit]) == [(30 * day, 300)]


def test_a_payment_that_bounces_makes_no_new_debt():
    first, paid = bill(0, 5_000), charge(5 * DAY_MS, -5_000)
    assert open_charges([first, paid]) == []
    assert open_charges([first, paid, undone(paid, 40)]) == [(0, 5_000)]
    more = charge(50 * DAY_MS, -7_000)
    assert open_charges([first, paid, undone(paid, 40), more, bill(60, 2_500, "2026-07")]) == [(60 * DAY_MS, 500)]


def test_a_late_reading_does_not_start_the_ladder_again(tmp_path):
    records = Village(START, homes=2).until(NOW)
    late = [
        one for one in records if one.usage_point == "home-02" and START + 40 * SLOT_MS <= one.start < START + DAY_MS
    ]
    there = set(map(id, late))
    books = Books.open(tmp_path / "ledger.db", village_rules())
    live(books, [one for one in records if id(one) not in there], Instant(NOW + 12 * HOUR_MS))
    far = Instant(NOW + 40 * DAY_MS)
    (before,) = [one for one in arrears(books.till.book(), far) if one.member == "home-02"]
    assert books.till.due(far) >= 1
    books.accept(late)
    assert {run.run for run in books.run_due(far)} >= {"bill-correction"}
    (after,) = [one for one in arrears(books.till.book(), Instant(far + DAY_MS)) if one.member == "home-02"]
    assert (after.due, after.days) == (before.due, before.days + 1)
    assert books.till.due(far) == 0, "the step is not noted a second time"
    books.close(far)


LIFELINES = ("member:home-02:used", "member:home-02:owes")


@pytest.mark.parametrize("account", LIFELINES)
@pytest.mark.parametrize("ceiling", [0, 10**12])
def test_no_administrator_cuts_a_lifeline_off(desk, account, ceiling):

    limits = SetLimits(derived_id(NOW, "cut"), NOW, account, None, ceiling, "has not paid")
    outcome = desk.write(limits)
    assert isinstance(outcome, Rejection)
    assert (outcome.code, "never cut off" in outcome.message) == (RejectionCode.LIFELINE, True)
    assert desk.book.has_lifeline("home-02")
    other = SetLimits(derived_id(NOW, "cap"), NOW, "member:community:owes", None, 10**6, "its own limit")
    assert not isinstance(desk.write(other), Rejection), "the community has no lifeline"
    assert desk.sound()


def test_who_has_run_out_of_credit_is_settled_and_billed_as_before(data_dir):
    desk = Desk(data_dir)
    desk.ask("pay", member="home-02", amount="1", method="cash")
    for account in LIFELINES:
        desk.write(SetLimits(derived_id(NOW, "cut", account), NOW, account, None, 0, "prepaid at zero"))
    village = Village(START, homes=2)
    village.until(NOW)
    owed = desk.book.owed("home-02")
    for rows in village.slots(Instant(NOW + DAY_MS)):
        desk.books.accept(rows)
    desk.now = Instant(NOW + DAY_MS + 7 * HOUR_MS)
    assert "bill" in {run.run for run in desk.books.run_due(desk.now)}
    assert desk.book.owed("home-02") > owed, "it takes and owes whatever its credit is"
    assert desk.sound()
    desk.books.close(desk.now)


def test_who_has_a_lifeline_by_any_charter_keeps_it_and_a_clinic_has_one_too(tmp_path):
    first = village_rules()
    clinic = Member("clinic", "Clinic", (), (), lifeline=False, role="clinic")
    first = replace(first, members=(*first.members, clinic))
    Books.open(tmp_path / "ledger.db", first).close(NOW)
    without = tuple(replace(one, lifeline=False) for one in first.members)
    books = Books.open(tmp_path / "ledger.db", replace(first, members=without))
    wanted = {f"member:{name}:{what}" for name in ("home-01", "home-02", "clinic") for what in ("used", "owes")}
    assert books.till.book().lifelines == books.till._journal.state.lifelines == wanted
    books.close(NOW)
    assert verify(tmp_path).ok


@pytest.mark.parametrize("step", [[30, "cut", 0], [30, "limit", -1], [30, "limit", 101]])
def test_no_rule_about_money_has_a_step_below_the_lifeline(step):
    document = {**rules_document(MONEY), "steps": [step]}
    with pytest.raises(MoneyRulesBroken):
        parse_rules(document)


def test_what_the_book_refuses_is_told_in_numbers_coins_and_civil_time(desk):
    desk.ask("pay", member="home-01", amount="40", method="cash")
    desk.ask("income", amount="100", method="bank", purpose="grant", ref="7")
    desk.ask("budget", budget="pump", amount="90", purpose="parts")
    assert desk.ask("approve", proposal=1, as_="ana")[0] == "ok"
    assert desk.ask("approve", proposal=1, as_="ana") == (
        "already-approved", "ana has approved proposal 1 already; another person must be next"
    )  # fmt: skip
    code, words = desk.ask("approve", proposal=1, as_="home-01")
    assert (code, words) == ("not-approver", "home-01 may not approve proposal 1; who may: ana, ben, cy")
    assert desk.ask("approve", proposal=1, as_="cy")[0] == "ok"
    desk.ask("spend", budget="pump", amount="30", to="smith", method="cash", purpose="weld")
    code, words = desk.ask("cancel", receipt=1, reason="counted twice")
    assert (code, words) == ("below-limit", "till:cash would hold -30.00 EUR, but never less than 0.00 EUR")
    assert desk.ask("pay", member="home-01", amount="30", method="cash")[0] == "ok"
    assert desk.ask("cancel", receipt=1, reason="counted twice")[0] == "ok"
    code, words = desk.ask("cancel", receipt=1, reason="again")
    assert (code, words[:26]) == ("already-reversed", "receipt 1 is taken back al")
    code, words = desk.ask("close", period="2026-12", as_="ana")
    assert (code, words[:39]) == ("not-over", "the period ends at 2027-01-01 00:00, wh")
    for person in ("ana", "cy"):
        assert desk.ask("close", period="2026-06-01", as_=person, login=person)[0] == "ok"
    code, words = desk.ask("close", period="2026-05", as_="ana")
    assert (code, words) == ("sealed-period", "everything before 2026-06-02 00:00 is closed already")


def test_the_ladder_ends_above_the_lifeline():
    book = CashBook(rules=MONEY, members={"h": "household", "clinic": "clinic", "community": "community"})
    book.lifelines, book.lifeline_days = {"member:h:owes"}, [(Instant(0), 2_000, 150_000)]
    for member in book.members:
        book.owes[member] = [charge(0, 100), charge(5 * DAY_MS, 50), charge(6 * DAY_MS, -120)]
        book.balances[f"member:{member}:owes"] = 30
    assert open_charges(book.owes["h"]) == [(5 * DAY_MS, 30)]
    steps = {
        day: [(one.member, one.step and one.step.step) for one in arrears(book, Instant(day * DAY_MS))]
        for day in (18, 19, 29, 60)
    }
    assert steps == {
        18: [],
        19: [("clinic", "reminder"), ("h", "reminder")],
        29: [("clinic", "talk"), ("h", "talk")],
        60: [("clinic", "talk"), ("h", "limit")],
    }
    (limit,) = [one for one in due(book, Instant(60 * DAY_MS)) if isinstance(one, Post) and one.body["step"] == "limit"]
    assert (limit.body["member"], limit.body["lifeline"]) == ("h", "untouched")
    assert (limit.body["lifeline_wh"], limit.body["lifeline_ml"]) == (2_000, 150_000)
    words = "40 % of the supply beyond the lifeline of 2 kWh and 150 L a day, by people: nothing is switched"
    assert words in str(limit.body["text"])
    (row,) = [one for one in money_page(book, Instant(60 * DAY_MS), {}).members if one.id == "h"]
    assert row.step == "limit to 40 % beyond the lifeline of 2 kWh and 150 L a day"


def test_income_is_received_into_a_till_and_one_reference_is_booked_once(desk):
    own = derived_id(NOW, "grant")
    grant = {"amount": "250.00", "method": "bank", "purpose": "grant for the pump", "ref": "G-1"}
    before = desk.book.balances["community:treasury"]
    assert desk.ask("income", id=own, **grant)[0] == "ok"
    assert desk.ask("income", id=own, **grant)[0] == "duplicate", "asked twice is received once"
    assert desk.ask("income", **{**grant, "amount": "-1"})[0] == "bad-amount"
    assert desk.ask("income", **{**grant, "purpose": " "})[0] != "ok"
    assert desk.ask("income", **{**grant, "method": "gold"})[0] == "unknown-method"
    assert desk.book.balances["till:bank"] == 25_000
    assert desk.book.balances["community:treasury"] == before - 25_000, "the community's gain"
    entry = desk.books.reader().of_kind("treasury.income", 5)[0]
    assert entry.body["text"] == "250.00 EUR received by bank: grant for the pump"
    assert desk.sound()


def test_an_officer_whose_key_is_revoked_approves_and_closes_nothing(desk):
    assert desk.ask("income", amount="99", method="cash", purpose="start")[0] == "ok"
    assert desk.ask("budget", budget="repairs", amount="30", purpose="parts")[0] == "ok"
    leaf = desk.leaf(1)
    signed = sign_document("approval", {"proposal": leaf}, KEY)
    assert desk.ask("revoke-member", name="ben", reason="phone lost")[0] == "ok"
    assert desk.ask("approve", proposal=1, as_="ben", signature=str(signed["signature"]))[0] == "revoked-key"
    assert desk.ask("close", period="2026-06-01", as_="ben")[0] == "revoked-key"
    assert not desk.book.proposals[0].approved
    assert desk.ask("approve", proposal=1, as_="ana")[0] == "ok", "others go on"
    assert desk.ask("close", period="2026-06-01", as_="ana")[0] == "ok"
    assert desk.ask("close", period="2026-06-01", as_="cy", login="cy")[0] == "ok"
    assert desk.sound()


def test_a_step_of_the_ladder_is_done_by_people_once(desk):
    desk.books.till.due(Instant(NOW + 200 * DAY_MS))
    assert desk.ask("step-done", member="home-01", note="talked")[0] == "not-behind"
    desk.now = Instant(NOW + 200 * DAY_MS)
    late = {one.member: one for one in arrears(desk.book, desk.now)}
    member = next(one.member for one in late.values() if one.step is not None)
    assert desk.ask("step-done", member=member)[0] == "missing"
    assert desk.ask("step-done", member="nobody", note="x")[0] == "unknown-member"
    own = derived_id(desk.now, "done")
    code, words = desk.ask("step-done", own, member=member, note="charger held at 1 kW")
    assert (code, words.startswith(f"{member}: ")) == ("ok", True)
    assert desk.ask("step-done", own, member=member, note="charger held at 1 kW")[0] == "duplicate"
    assert desk.ask("step-done", member=member, note="again")[0] == "done-already"
    entry = desk.books.reader().of_kind("arrears.done", 5)[0]
    assert (entry.body["note"], entry.body["lifeline"], entry.postings) == ("charger held at 1 kW", "untouched", ())
    line = next(one for one in money_page(desk.book, desk.now, {}).members if one.id == member)
    assert line.done == "root: charger held at 1 kW"
    assert desk.sound()


def test_what_may_be_held_is_a_load_in_a_home_that_nobodys_life_depends_on():
    found = holdable(village())
    assert found["home-08"] == [("washer-1", "washer-1")]
    assert "clinic" not in found, "a clinic is never limited"
    assert not {"pump-1", "battery-1"} & {device for rows in found.values() for device, _ in rows}


def test_arrears_are_noted_once_a_step(desk):
    desk.now = Instant(NOW + 40 * DAY_MS)
    first = desk.books.till.due(desk.now)
    assert first >= 1
    assert desk.books.till.due(desk.now) == 0
    kinds = {entry.body["step"] for entry in desk.books.reader().of_kind("arrears.step", 50)}
    assert kinds <= {"reminder", "talk", "limit"}
    assert desk.sound()


BANK = "Datum;Betrag;Ref;Text\n30.06.2026;1.234,50;R1;Miete HOME-01, danke\n01.07.2026;-3,00;R2;home-01\n"


def test_a_banks_file_names_every_bad_line(desk):
    columns = parse_map("date=Datum, amount=Betrag,ref=Ref,member=Text")
    text = BANK + "31.02.2026;abc;;hello\n30.06.2026;3;R1;home-02\n30.06.2026;3;R4;home-01 home-02\n2026-06-30;3;R5;x\n"
    found = read_bank(decoded(("\ufeff" + text).encode()), columns, desk.book, ",")
    assert [(one.line, one.date, one.amount, one.ref, one.member) for one in found.lines] == [
        (2, "2026-06-30", "1234.50", "R1", "home-01")
    ]
    assert [one.line for one in found.bad] == [4, 5, 6, 7]
    assert [words in found.bad[0].message for words in ("amount", "date", "reference", "names no member")] == [True] * 4
    assert found.skipped == 1
    for wrong in (
        "",
        "date=A",
        "date=Datum,amount=Betrag,ref=Ref,member=Nothing",
        "x=1,date=A,amount=B,ref=C,member=D",
    ):
        with pytest.raises(BadMap):
            read_bank(text, parse_map(wrong), desk.book, ",")


@pytest.mark.parametrize(("text", "minor"), [("20", 2000), ("20.5", 2050), (" 0.01 ", 1), ("1500.00", 150_000)])
def test_amounts_are_read_exactly(text, minor):
    assert parse_money(text, 2) == minor


def test_only_an_operator_gives_money_commands():
    site = village()
    hub = core.start(core.HubConfig(site, 7, 1_000, 1_000, 0, 900_000), NOW)
    own = derived_id(NOW, "x")
    wanted = MoneyRequest(own, Actor("ana", Role.OPERATOR, "cli"), {"do": "pay"})
    assert give(hub, wanted, NOW) == [Bookkeep(wanted)]
    effects = give(hub, MoneyRequest(own, Actor("eve", Role.VIEWER, "console"), {"do": "pay"}), NOW)
    assert [type(one).__name__ for one in effects] == ["Audit", "Reply"]


def test_the_bookkeeper_answers_and_commits(data_dir):
    books = Books.open(data_dir / "ledger.db", village_rules())
    keeper = Bookkeeper(books)
    request = {"do": "pay", "member": "home-01", "amount": "5", "method": "cash"}
    command = MoneyRequest(derived_id(NOW, "y"), Actor("ana", Role.OPERATOR, "cli"), request)
    assert keeper.money(command, NOW).code == "ok"
    keeper.commit(NOW)
    books.close(NOW)
    assert verify(data_dir).ok


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_the_command_line_works_where_no_hub_runs(data_dir, tmp_path):
    here = ("--data-dir", data_dir)
    result = run(pay, "home-01", "20.50", "--method", "cash", *here, "--json")
    assert (result.exit_code, json.loads(result.output)["receipt"]) == (0, 1)
    assert "20.50 EUR" in run(pay, "receipt", 1, *here).output
    assert "<h1>test: receipt 1</h1>" in run(pay, "receipt", 1, "--html", *here).output
    named = run(pay, "receipt", 1, "--html", "--community", "Kahurangi", *here).output
    assert "<h1>Kahurangi: receipt 1</h1>" in named
    assert "Signature of who took the money" in named
    file = tmp_path / "bank.csv"
    file.write_text(BANK)
    columns = ("--map", "date=Datum,amount=Betrag,ref=Ref,member=Text", "--decimal", ",", *here)
    assert run(pay, "import", file, *columns).exit_code == 0
    again = json.loads(run(pay, "import", file, "--json", *columns).output)
    assert (again["booked"], again["refused"][0]["line"], again["refused"][0]["code"]) == (0, 2, "duplicate-ref")
    year = json.loads(run(statement, "home-01", 2026, "--json", *here).output)
    assert [line["amount"] for line in year["lines"]][-2:] == ["-20.50", "-1234.50"]
    assert year["closing"] == year["lines"][-1]["balance"]
    assert int(year["energy_used_uwh"]) > 0
    assert "<table>" in run(statement, "home-01", 2026, "--html", *here).output
    assert "'-5' is not above zero" in run(pay, "home-01", "-5", "--method", "cash", *here).output
    assert "'-45' is not above zero" in run(treasury, "budget", "pump", "-45", "--for", "parts", *here).output
    assert "No such option" in run(pay, "home-01", "5", "--metod", "cash", *here).output
    assert run(treasury, "budget", "pump", 10, "--for", "parts", *here).exit_code == 0
    assert "not-approver" not in run(treasury, "approve", 1, "--as", "ana", *here).output
    shown = json.loads(run(treasury, "show", "--json", *here).output)
    assert shown["proposals"][0]["approved"] == ["ana"]
    assert run(treasury, "approve", 1, "--as", "dora", *here).exit_code != 0
    assert run(treasury, "done", "home-01", "--note", "talked", *here).exit_code == 6, "it has credit"
    assert run(treasury, "done", "home-02", "--note", "talked", *here).exit_code == 0
    assert "(done by " in run(treasury, "arrears", "--at", "2026-12-31", *here).output
    assert verify(data_dir).ok
