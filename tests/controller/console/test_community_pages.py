"""The Charter and Money pages without a browser, and the values that a real ledger gives them."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.commands import Command, CommandResult, MoneyRequest
from controller.community_values import ClosingLine, MoneyPage
from controller.ledger.identity import SigningKey, sign_document
from controller.money.rules import ArrearsStep, MoneyRules, Officer
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.community_reader import CommunityReader
from devices.clock import DAY_MS, HOUR_MS, Instant
from tests.controller.console.served import ORIGIN, client, operator
from tests.controller.console.village import Village
from tests.controller.shell.test_ballot_box import CHANGE, KEYS, START, Community, voting_rules
from tests.controller.shell.test_bill_paper import READ
from tests.controller.shell.test_books import live
from tests.ledger_village import Village as Meters
from tests.npm_packages import installed, run_node
from verifier.atoll_recount import judge


def test_the_charter_page_shows_votes_with_what_they_change_and_the_rules_in_force() -> None:
    page = client(Village(4)).get("/charter").text
    for seen in (
        "1 vote open",
        "A change needs 2 of 3 voters within 168 h",
        "Clinic first &lt;v3&gt;",
        '<th scope="row">Paid by the outside</th><td>0.05 EUR/kWh</td><td><b>0.06 EUR/kWh</b></td>',
        "/charter/vote/2/ballot-yes.json",
        "/charter/vote/1/recount.json",
        "atoll_recount.py vote-1.json",
        "by vote 1",
        "a0" * 32,
    ):
        assert seen in page, seen
    assert page.index('id="vote-2"') < page.index('id="vote-1"') < page.index('id="in-force"')


def test_ballots_and_recounts_are_files_and_what_is_not_there_is_said() -> None:
    one = client(Village(4))
    ballot = one.get("/charter/vote/2/ballot-no.json")
    assert (ballot.status_code, ballot.json()["choice"]) == (200, "no")
    assert ballot.headers["content-disposition"] == 'attachment; filename="ballot-2-no.json"'
    assert one.get("/charter/vote/1/recount.json").json() == {"atoll_vote": 1}
    for path, status in (
        ("/charter/vote/1/ballot-yes.json", 404),
        ("/charter/vote/2/recount.json", 404),
        ("/charter/vote/2/ballot-maybe.json", 422),
        ("/charter/vote/0/recount.json", 422),
    ):
        assert one.get(path).status_code == status, path
    assert "not counted yet" in one.get("/charter/vote/2/recount.json").text


class Voters(Village):
    """A village whose votes are those of real books; a vote on a charter is open."""

    def __init__(self) -> None:
        super().__init__(4)
        self.town = Community()
        self.town.books.run_due(START)
        assert self.town.open(START).accepted
        self.charter_value = replace(self.charter_value, votes=(replace(self.charter_value.votes[0], number=1),))

    def ballot(self, number: int, choice: str) -> Any:
        return self.town.vote().ballot(choice) if number == 1 else None

    def command(self, command: Command) -> CommandResult:
        assert isinstance(command, MoneyRequest)
        return Bookkeeper(self.town.books).money(command, START)


def test_a_signed_ballot_is_handed_in_on_the_page_and_nothing_else_is() -> None:
    voters = Voters()
    mele = operator(voters)
    found = re.search(r'action="/charter/vote/1/cast">\s*<input[^>]*value="([^"]+)"', mele.get("/charter").text)
    assert found is not None
    paper = sign_document("ballot", mele.get("/charter/vote/1/ballot-yes.json").json(), KEYS["home-02"])
    stranger = sign_document("ballot", dict(paper["document"]), SigningKey(bytes(32)))  # type: ignore[call-overload]
    for pasted, status, said in (
        ("", 422, "paste all of the file"),
        (json.dumps(paper)[:-9], 422, "paste all of the file"),
        ("[" * 5_000, 422, "paste all of the file"),
        (json.dumps(stranger), 409, "Refused"),
        (json.dumps(paper | {"purpose": "approval"}), 409, "Refused"),
        (json.dumps(paper, indent=2), 200, "home-02 votes yes"),
    ):
        answer = mele.post("/charter/vote/1/cast", data={"id": found[1], "paper": pasted}, headers=ORIGIN)
        assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert voters.town.vote().ballots == {"home-02": "yes"}
    form = {"id": found[1], "paper": json.dumps(paper)}
    assert client(voters).post("/charter/vote/1/cast", data=form, headers=ORIGIN).status_code == 403
    assert "Hand in a signed ballot" not in client(voters).get("/charter").text


def modules(svg: str) -> list[list[int]]:
    """Returns the rows of a QR code in segno's SVG: its one path of horizontal lines."""
    size = int(re.search(r'width="(\d+)"', svg)[1])  # type: ignore[index]
    scale = int(re.search(r"scale\((\d+)\)", svg)[1])  # type: ignore[index]
    rows = [[0] * (size // scale) for _ in range(size // scale)]
    x = y = 0.0
    path = re.findall(r' d="([^"]+)"', svg)[-1]
    for step, first, second in re.findall(r"([Mmh])(-?[\d.]+)(?: (-?[\d.]+))?", path):
        if step == "h":
            for column in range(int(first)):
                rows[int(y)][int(x) + column] = 1
            x += float(first)
        else:
            x, y = (float(first), float(second)) if step == "M" else (x + float(first), y + float(second))
    return rows


@pytest.mark.integration
def test_another_program_reads_the_ballot_from_its_code() -> None:
    voters = Voters()
    one = client(voters)
    answer = one.get("/charter/vote/1/ballot-no.svg")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    rows = [row for row in modules(answer.text) for _ in range(4)]
    pixels = b"".join(b"\x00\x00\x00\xff" * 4 if dark else b"\xff" * 16 for row in rows for dark in row)
    question = {"pixels": base64.b64encode(pixels).decode(), "size": len(rows)}
    read = run_node(installed("jsqr", "1.4.0"), READ, question)
    assert json.loads(str(read)) == one.get("/charter/vote/1/ballot-no.json").json()
    assert one.get("/charter/vote/2/ballot-no.svg").status_code == 404


def test_the_money_page_is_for_who_is_signed_in() -> None:
    guest = client(Village(4)).get("/money")
    assert (guest.status_code, guest.headers["location"]) == (303, "/login?next=/money")
    page = operator(Village(4)).get("/money").text
    for seen in (
        "2 waiting for a decision",
        "ana asks to close everything until the end of 2026-05-31",
        "45.00 EUR to Pump Ltd",
        "1 of 2 approvals are there",
        "ben, cleo may still agree",
        "You are signed in as <b>Mele</b>, who approves nothing",
        "Ana&#39;s house",
        "▲ <b>20.10 EUR</b>",
        "ana and ben",
        "7 receipts",
        '<a href="/money">Money</a>',
    ):
        assert seen in page, seen
    assert "/money" not in client(Village(4)).get("/charter").text


def test_empty_pages_say_so() -> None:
    village = Village(4)
    village.charter_value = replace(village.charter_value, votes=())
    village.money_value = MoneyPage(village.money_value.at, (), (), (), (), (), (), 0, (), None, {}, {})
    assert "None has been opened yet" in client(village).get("/charter").text
    page = operator(village).get("/money").text
    assert "Nothing waits for anybody" in page
    assert "name officers under [treasury]" in page


def test_a_real_ledger_gives_both_pages_their_values(tmp_path: Path) -> None:
    officers = (Officer("ana", "treasurer"), Officer("ben", "auditor"))
    money = MoneyRules(due_days=0, steps=(ArrearsStep(0, "reminder"),), officers=officers)
    path = tmp_path / "ledger.db"
    town = Community(path, replace(voting_rules(), money=money))
    town.books.run_due(START)
    assert town.open(START, export_price=60_000, more="[fees]\nlevy_per_kwh = 7000").accepted
    town.books.commit(START)
    reader = CommunityReader(path)
    early = reader.charter(START)
    assert (early.charter.vote, early.votes[0].state, len(early.votes[0].waiting)) == (0, "open", 3)
    assert ("Levy", "–", "0.007 EUR/kWh") in early.votes[0].changes
    assert reader.vote_file(1) is None
    assert reader.ballot(2, "yes") is None
    for who in ("home-01", "home-02"):
        ballot: Any = reader.ballot(1, "yes")
        paper = sign_document("ballot", json.loads(json.dumps(ballot)), KEYS[who])
        assert town.ask(START, do="vote-cast", vote=1, paper=paper).accepted
    end = Instant(CHANGE + DAY_MS)
    live(town.books, Meters(START).until(end), Instant(end + 7 * HOUR_MS))
    assert town.ask(end, do="pay", member="home-02", amount="1.50", method="cash").accepted
    assert town.ask(end, do="income", amount="99", method="cash", purpose="start").accepted
    assert town.ask(end, do="budget", budget="repairs", amount="30", purpose="parts").accepted
    assert town.ask(end, **{"do": "approve", "proposal": 1, "as": "ana"}).accepted
    assert town.ask(end, **{"do": "close", "period": "2026-06-01", "as": "ana"}).accepted
    later = Instant(end + 12 * HOUR_MS)
    town.books.close(later)
    page = reader.charter(later)
    assert (page.charter.vote, page.charter.version, page.votes[0].state) == (1, 2, "passed")
    assert page.votes[0].changes == (), "it is in force"
    assert ("Levy", "0.007 EUR/kWh") in page.charter.facts
    assert "of 1 voters within 24 h" in page.quorum
    recount = reader.vote_file(1)
    assert recount is not None
    assert judge(recount)["verdict"] == "ok"
    assert reader.ballot(1, "yes") is None, "it is closed"
    shown = reader.money(later, {"home-02": "The blue house"})
    assert dict(shown.accounts)["till:cash"] == "100.50 EUR"
    (proposal,) = shown.proposals
    assert (proposal.state, proposal.approved, proposal.missing) == ("open", ("ana",), "1 of 2 approvals are there")
    (receipt,) = shown.receipts
    assert (receipt.label, receipt.amount, receipt.number) == ("The blue house", "1.50 EUR", 1)
    late = next(one for one in shown.members if one.label == "The blue house")
    assert late.overdue.endswith("EUR")
    assert late.step == "reminder"
    assert shown.closing == ClosingLine("ana", "2026-06-01")
