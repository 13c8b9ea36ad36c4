"""The forms of the Money page over real books: two people agree, one cannot be two, and nothing is half done."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from controller.commands import Command, CommandResult, MoneyRequest
from controller.community_values import MoneyPage
from controller.community_view import money_page
from controller.ledger.entries import derived_id
from controller.ledger.identity import SigningKey, sign_document
from controller.ledger.quorum import sign_approval
from controller.money.desk import Asked
from controller.money.rules import MoneyRules, Officer
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.books import Books
from controller.shell.community_reader import close_paper
from devices.clock import Instant
from tests.controller.console.served import ORIGIN, client, operator
from tests.controller.console.village import KEY, Village
from tests.ledger_village import local_midnight, rules

NOW = Instant(local_midnight("2026-06-01") + 9)
OFFICERS = (Officer("ana", "treasurer"), Officer("ben", "auditor"), Officer("cleo", "member", KEY.did))


class Treasury(Village):
    """A village whose Money page and requests go to the real books."""

    def __init__(self, officers: tuple[Officer, ...] = OFFICERS) -> None:
        super().__init__(4)
        self.books = Books.open(":memory:", replace(rules(), money=MoneyRules(officers=officers)))
        self.keeper, self.asked = Bookkeeper(self.books), 0
        assert self.ask(do="income", amount="99", method="cash", purpose="start").accepted

    def ask(self, **request: object) -> CommandResult:
        self.asked += 1
        return self.books.till.ask(Asked(derived_id(NOW, "test", self.asked), "ana", NOW), request)

    def close_paper(self, period: str) -> Mapping[str, object] | None:
        return close_paper(self.books._file, period, self.books.till.book().timezone)

    def money(self) -> MoneyPage:
        return money_page(self.books.till.book(), NOW, {})

    def command(self, command: Command) -> CommandResult:
        return self.keeper.money(command, NOW) if isinstance(command, MoneyRequest) else super().command(command)


@pytest.fixture
def town() -> Treasury:
    made = Treasury()
    assert made.ask(do="budget", budget="repairs", amount="30", purpose="parts").accepted
    return made


def form_of(page: str, action: str) -> dict[str, str]:
    """Returns the hidden fields of the first form that is sent there."""
    found = re.search(rf'<form [^>]*action="{action}".*?</form>', page, re.DOTALL)
    assert found is not None, page
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', found[0]))


def send(town: Treasury, name: str, action: str, **more: str) -> tuple[int, str]:
    """Signs in, sends the form that the page shows for this (with other values where they are given)."""
    one = operator(town, name)
    answer = one.post(action, data=form_of(one.get("/money").text, action) | more, headers=ORIGIN)
    return answer.status_code, answer.text


def test_two_people_agree_and_the_money_moves_once(town: Treasury) -> None:
    status, said = send(town, "ana", "/money/approve")
    assert (status, "1 of 2 approvals are there" in said) == (200, True)
    assert town.money().budgets == ()
    page = operator(town, "ana").get("/money").text
    assert "You have agreed" in page
    assert 'action="/money/approve"' not in page, "one person has one voice"
    ben = operator(town, "ben")
    form = form_of(ben.get("/money").text, "/money/approve")
    first = ben.post("/money/approve", data=form, headers=ORIGIN)
    assert (first.status_code, "approved by ana, ben and booked" in first.text) == (200, True)
    assert town.money().budgets == (("repairs", "parts", "30.00 EUR"),)
    size = town.books.till.book().proposals[0], town.books.reader().head().size
    again = ben.post("/money/approve", data=form, headers=ORIGIN)
    assert (again.status_code, "not open any more" in again.text) == (422, True)
    assert (town.books.till.book().proposals[0], town.books.reader().head().size) == size


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("mele", {}, "You are signed in as mele; these may: ana, ben, cleo"),
        ("ana", {"proposal": "7"}, "Proposal &#39;7&#39; is not open any more"),
        ("ana", {"proposal": "\N{SUPERSCRIPT TWO}"}, "is not open any more"),
        ("ana", {"id": "mine"}, "The form lost its number"),
        ("cleo", {}, "you agree with your key"),
        ("cleo", {"signature": "AAAA"}, "it is not over this proposal"),
        ("cleo", {"signature": '{"signature": '}, "the pasted file is not whole"),
        ("cleo", {"signature": "[" * 9}, "it is not over this proposal"),
        ("cleo", {"signature": '{"a":' * 1_100}, "the pasted file is not whole"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_booked(
    town: Treasury, name: str, more: dict[str, str], words: str
) -> None:
    form = form_of(operator(town, "ben").get("/money").text, "/money/approve") | more
    answer = operator(town, name).post("/money/approve", data=form, headers=ORIGIN)
    assert (answer.status_code, words in answer.text) == (422, True), answer.text
    assert town.money().proposals[0].approved == ()


def test_an_officer_with_a_key_agrees_by_signature_alone(town: Treasury) -> None:
    cleo = operator(town, "cleo")
    page = cleo.get("/money").text
    assert "atoll key sign me.pem proposal-1.json --purpose approval" in page
    paper = cleo.get("/money/proposal/1.json").json()
    form = form_of(page, "/money/approve")
    stranger = sign_approval(SigningKey(bytes(32)), paper["leaf"])
    assert cleo.post("/money/approve", data={**form, "signature": stranger}, headers=ORIGIN).status_code == 422
    signed = json.dumps(sign_document("approval", paper, KEY), indent=2)
    assert cleo.post("/money/approve", data={**form, "signature": signed}, headers=ORIGIN).status_code == 200
    assert town.money().proposals[0].approved == ("cleo",)


def test_a_proposal_is_withdrawn_with_a_reason(town: Treasury) -> None:
    assert send(town, "ana", "/money/withdraw", reason="")[0] == 422
    assert send(town, "mele", "/money/withdraw", reason="not mine")[0] == 409
    assert town.money().proposals[0].state == "open"
    assert send(town, "ben", "/money/withdraw", reason="asked twice")[0] == 200
    assert town.money().proposals[0].state == "withdrawn"
    assert operator(town, "ana").get("/money/proposal/1.json").status_code == 404


def test_a_period_is_closed_by_a_second_person(town: Treasury) -> None:
    for period, words in (("", "is no period"), ("2026-13", "is no period"), ("june", "is no period")):
        status, said = send(town, "ana", "/money/close", period=period)
        assert (status, words in said) == (422, True), said
    form = form_of(operator(town, "ana").get("/money").text, "/money/close")
    assert (
        operator(town, "mele").post("/money/close", data={**form, "period": "2025"}, headers=ORIGIN).status_code == 422
    )
    assert send(town, "ana", "/money/close", period="2025")[0] == 200
    waiting = town.money().closing
    assert waiting is not None
    assert (waiting.by, waiting.period) == ("ana", "2025-12-31")
    assert send(town, "ana", "/money/close", period="2025")[0] == 409, "the same person asked before"
    assert town.money().closed == ()
    status, said = send(town, "ben", "/money/close")  # the form that the page shows first: agree to what ana asked
    assert (status, "closed by ana and ben" in said) == (200, True)
    ((_, by),) = town.money().closed
    assert (by, town.money().closing) == ("ana and ben", None)


def test_people_note_that_a_step_of_the_ladder_is_done() -> None:
    village = Village(4)
    page = village.money_value
    line = replace(page.members[0], id="home-07", devices=(("charger-1", "Car charger"),))
    village.money_value = replace(page, members=(line, *page.members[1:]))
    mele = operator(village)
    shown = mele.get("/money").text
    assert '<a href="/devices/charger-1">Car charger</a>' in shown
    form = form_of(shown, "/money/step")
    for wrong in ({"note": " "}, {"note": "talked", "member": "home-09"}, {"note": "talked", "id": ""}):
        assert mele.post("/money/step", data=form | wrong, headers=ORIGIN).status_code == 422, wrong
    assert village.commands == []
    mele.post("/money/step", data={**form, "note": "talked"}, headers=ORIGIN)
    (asked,) = village.commands
    assert isinstance(asked, MoneyRequest)
    assert asked.request == {"do": "step-done", "member": "home-07", "note": "talked"}
    village.money_value = replace(page, members=(replace(line, done="Mele: talked"),))
    shown = mele.get("/money").text
    assert "Mele: talked" in shown
    assert "/money/step" not in shown


def test_nobody_else_sends_these_forms(town: Treasury) -> None:
    form = form_of(operator(town, "ana").get("/money").text, "/money/approve")
    for action in ("/money/approve", "/money/withdraw", "/money/close"):
        assert client(town).post(action, data=form, headers=ORIGIN).status_code == 403, "a guest"
        ana = operator(town, "ana")
        assert ana.post(action, data=form, headers={"Origin": "http://elsewhere.example"}).status_code == 403
        assert ana.post(action, data=form).status_code == 403, "no origin"
    assert town.money().proposals[0].approved == ()


def test_without_officers_the_page_says_so() -> None:
    page = operator(Treasury(()), "ana").get("/money").text
    assert "name officers under [treasury]" in page
    assert "<form class" not in page.partition("<main")[2], "nobody may do anything"


def test_an_officer_with_a_key_pastes_what_it_has_signed(town: Treasury) -> None:
    assert send(town, "ana", "/money/close", period="2025")[0] == 200
    page = operator(town, "cleo").get("/money").text
    assert "/money/close?period=2025-12-31" in page
    assert 'formaction="/money/close"' in page, "the file of another period"
    assert "close with your key" not in operator(town, "ben").get("/money").text
    assert operator(town, "cleo").get("/money/close?period=June").status_code == 404
    paper = operator(town, "cleo").get("/money/close?period=2025-12-31")
    assert 'filename="close-2025-12-31.json"' in paper.headers["content-disposition"]
    for signature in ("", "{", "AA=="):
        assert send(town, "cleo", "/money/close", signature=signature)[0] in (409, 422)
    signed = json.dumps(sign_document("close", paper.json(), KEY))
    status, said = send(town, "cleo", "/money/close", signature=signed)
    assert (status, "closed by ana and cleo" in said) == (200, True)
