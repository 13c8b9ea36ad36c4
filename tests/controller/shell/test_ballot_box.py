"""Members vote on a charter through the books: who counts, who does not, and what happens by itself afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from controller.commands import CommandResult
from controller.ledger.entries import EntryState, derived_id
from controller.ledger.identity import SigningKey, sign_document
from controller.money.desk import Asked
from controller.money.rules import MoneyRules, Officer
from controller.settlement.runs import BILL, RUN_DAY
from controller.shell.ballot_box import PollReader
from controller.shell.bill_export import export_bill
from controller.shell.books import Books, BooksRules
from controller.shell.ledger_verify import verify
from controller.store.ledger_file import LedgerFile
from controller.voting import Electorate, Vote
from devices.clock import DAY_MS, HOUR_MS, Instant
from tests.charters import charter_file, document
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, local_midnight, rules
from verifier.atoll_verify import judge

KEYS = {f"home-{n:02d}": SigningKey(bytes([n]) * 32) for n in (1, 2, 3)}
START = local_midnight("2026-06-01")
CHANGE = local_midnight("2026-06-04")


def voting_rules(need: int = 2, hours: int = 24) -> BooksRules:
    return replace(rules(), voters=Electorate({name: key.did for name, key in KEYS.items()}, need, hours))


class Community:
    def __init__(self, path: str | Path = ":memory:", own: BooksRules | None = None) -> None:
        self.books = Books.open(path, own or voting_rules())
        self.asked = 0

    def ask(self, now: Instant, **request: object) -> CommandResult:
        self.asked += 1
        identity = derived_id(now, "test", self.asked)
        return self.books.till.ask(Asked(identity, str(request.get("as", "ana")), now), request)

    def open(self, now: Instant, start: Instant = CHANGE, **changes: str | int) -> CommandResult:
        return self.ask(now, do="vote-open", document=document(charter_file(start, **changes)))

    def vote(self, number: int = 1) -> Vote:
        return self.books.till.votes.polls().votes[number - 1]

    def cast(self, now: Instant, who: str, choice: str = "yes", number: int = 1, **changes: object) -> CommandResult:
        paper = sign_document("ballot", cast("Any", self.vote(number).ballot(choice) | changes), KEYS[who])
        return self.ask(now, do="vote-cast", vote=number, paper=paper)


def test_a_passed_charter_takes_effect_by_itself_at_its_date(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    town, village = Community(path), Village(START)
    town.books.run_due(START)
    assert town.open(START).accepted
    for who, choice in (("home-01", "yes"), ("home-02", "no"), ("home-03", "yes")):
        assert town.cast(Instant(START + HOUR_MS), who, choice).accepted
    for rows in village.slots(local_midnight("2026-06-07")):
        town.books.accept(rows)
        town.books.run_due(village.at)
    town.books.run_due(Instant(village.at + HOUR_MS))
    town.books.close(Instant(village.at + HOUR_MS))
    file = LedgerFile.read(path)
    published = PollReader(file)
    assert published.now().votes[0].passed
    voted = next(iter(published.published.votes))
    by_day = {row.period: row.sealed().entry.body["charter"] for row in file.of_kind(RUN_DAY)}
    assert [day for day, charter in by_day.items() if charter == voted] == ["2026-06-04", "2026-06-05", "2026-06-06"]
    assert len(by_day) == 6
    rows: list[Any] = [row.sealed().entry.body for row in file.of_kind(BILL) if row.member == "home-02"]
    bought = "energy from the community"
    texts = {str(body["period"]): [line["price"] for line in body["lines"] if line["text"] == bought] for body in rows}
    assert texts["2026-06-03"] == ["140000"], "the old price until the last day"
    assert set(texts["2026-06-04"]) <= {"130000", "170000"}, "the middle of outside and feed-in afterwards"
    file.close()
    found = verify(tmp_path)
    assert found.ok, found


def test_a_change_of_members_reaches_the_voted_charter_too(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    town = Community(path)
    town.books.run_due(START)
    assert town.open(START).accepted
    assert town.cast(START, "home-01").accepted
    assert town.cast(START, "home-02").accepted
    town.books.run_due(Instant(START + DAY_MS))
    town.books.close(Instant(START + DAY_MS))
    fewer = replace(voting_rules(), members=rules(homes=2).members)
    size = -1
    for _ in range(2):
        again = Community(path, fewer)
        again.books.run_due(Instant(START + DAY_MS))
        found = again.books.reader()._in_force(Instant(CHANGE + DAY_MS))
        assert found is not None
        assert [member.id for member in found[0].members] == ["home-01", "home-02", "community"]
        assert found[0].charter.clauses is not None
        size = again.books.size
        again.books.close(Instant(START + DAY_MS))
    assert Community(path, fewer).books.size == size, "a restart publishes nothing twice"


def test_too_few_yes_change_nothing() -> None:
    town = Community()
    town.books.run_due(START)
    assert town.open(START).accepted
    assert town.cast(START, "home-01").accepted
    assert town.cast(START, "home-02", "no").accepted
    town.books.run_due(Instant(START + 23 * HOUR_MS))
    assert town.vote().passed is None
    town.books.run_due(Instant(START + 24 * HOUR_MS))
    assert town.vote().passed is False
    assert town.cast(Instant(START + 25 * HOUR_MS), "home-03").code == "vote-closed"


def test_only_a_voters_own_ballot_for_this_vote_counts() -> None:
    town = Community()
    town.books.run_due(START)
    assert town.open(START).accepted
    cases = [
        (town.cast(START, "home-01", choice="maybe"), "bad-ballot"),
        (town.cast(START, "home-01", digest="0" * 64), "other-proposal"),
        (town.cast(START, "home-01", closes=1), "other-proposal"),
        (town.ask(START, do="vote-cast", vote=9), "unknown-vote"),
        (town.ask(START, do="vote-cast", vote=1), "bad-signature"),
    ]
    stranger = sign_document("ballot", town.vote().ballot("yes"), SigningKey(bytes(32)))
    cases.append((town.ask(START, do="vote-cast", vote=1, paper=stranger), "not-a-voter"))
    other = sign_document("approval", town.vote().ballot("yes"), KEYS["home-01"])
    cases.append((town.ask(START, do="vote-cast", vote=1, paper=other), "bad-signature"))
    good = sign_document("ballot", town.vote().ballot("yes"), KEYS["home-01"])
    altered = {**good, "document": town.vote().ballot("no")}
    cases.append((town.ask(START, do="vote-cast", vote=1, paper=altered), "bad-signature"))
    assert town.cast(START, "home-01").accepted
    cases.append((town.cast(START, "home-01", "no"), "voted-twice"))
    cases.append((town.cast(Instant(START + 24 * HOUR_MS), "home-02"), "vote-closed"))
    for answer, code in cases:
        assert (answer.accepted, answer.code) == (False, code), answer.message
    assert town.vote().ballots == {"home-01": "yes"}


@pytest.mark.parametrize(
    ("code", "start", "changes"),
    [
        ("too-early", "2026-06-02", {}),
        ("other-ledger", "2026-06-04", {"period": "month"}),
        ("old-version", "2026-06-04", {"version": 1}),
        ("unknown-member", "2026-06-04", {"sharing": 'key = "rounds"\nclasses = { nobody = 0 }'}),
    ],
)
def test_a_charter_that_could_not_hold_is_not_voted_on(code: str, start: str, changes: dict) -> None:
    town = Community()
    town.books.run_due(Instant(START + HOUR_MS))
    assert town.open(Instant(START + HOUR_MS), local_midnight(start), **changes).code == code


def test_a_charter_that_nobody_could_change_again_is_refused() -> None:
    town, stranger = Community(), SigningKey(bytes(32)).did
    town.books.run_due(START)
    answer = town.open(START, of=f'"{stranger}"')
    assert (answer.accepted, answer.code) == (False, "unknown-voter")
    assert stranger in answer.message
    assert "name the `key` of members" in answer.message
    assert town.open(START, of=f'"{stranger}", "{KEYS["home-03"].did}"').accepted  # one of the two is a member's


def test_a_charter_within_a_day_or_unsound_is_refused() -> None:
    town = Community()
    town.books.run_due(START)
    assert town.open(START, Instant(CHANGE + HOUR_MS)).code == "within-a-day"
    good = document(charter_file(CHANGE))
    assert town.ask(START, do="vote-open", document={**good, "export_price": 999_999}).code == "unsound-charter"
    assert town.ask(START, do="vote-open", document={**good, "format": "atoll-charter/9"}).code == "bad-charter"
    assert town.ask(START, do="vote-open", document="x").code == "bad-charter"
    assert Community(own=rules()).open(START).code == "wrong-quorum"
    assert town.open(START).accepted
    assert town.open(START).code == "duplicate"


def test_the_next_change_needs_the_quorum_of_the_charter_in_force() -> None:
    town = Community()
    town.books.run_due(START)
    assert town.open(START, of=f'"{KEYS["home-03"].did}"').accepted
    assert town.cast(START, "home-01").accepted
    assert town.cast(START, "home-02").accepted
    later = Instant(CHANGE + HOUR_MS)
    town.books.run_due(later)
    assert town.open(later, local_midnight("2026-06-08"), version=3).accepted
    assert town.vote(2).electorate.of == {"home-03": KEYS["home-03"].did}
    assert town.cast(later, "home-01", number=2).code == "not-a-voter"
    assert town.cast(later, "home-03", number=2).accepted
    town.books.run_due(later)
    assert town.vote(2).passed, "everybody has voted: nothing to wait for"


def test_asking_twice_opens_and_casts_once() -> None:
    town = Community()
    town.books.run_due(START)
    asked, request = (
        Asked(derived_id(START, "x"), "ana", START),
        {"do": "vote-open", "document": document(charter_file(CHANGE))},
    )
    assert [town.books.till.ask(asked, request).code for _ in range(2)] == ["ok", "duplicate"]
    paper = sign_document("ballot", town.vote().ballot("yes"), KEYS["home-01"])
    asked, request = Asked(derived_id(START, "y"), "ana", START), {"do": "vote-cast", "vote": 1, "paper": paper}
    assert [town.books.till.ask(asked, request).code for _ in range(2)] == ["ok", "duplicate"]
    rows = [row for row in town.books._file.of_kind("vote.cast") if row.state == EntryState.POSTED]
    assert len(rows) == 1


def test_work_credits_are_paid_by_the_clause_of_the_charter_in_force() -> None:
    officers = (Officer("ana", "treasurer"), Officer("ben", "auditor"))
    town = Community(own=replace(voting_rules(), money=MoneyRules(officers=officers)))
    town.books.run_due(START)
    work = {"do": "work", "member": "home-02", "credits": 3, "purpose": "mending the fence"}
    assert town.ask(START, **work).code == "no-clause"
    assert town.open(
        START,
        more='[[service]]\nname = "work-credit"\nprice = 8500000\n[[service]]\nname = "robot-hour"\nprice = 2000000',
    ).accepted
    for who in KEYS:
        assert town.cast(START, who).accepted
    town.books.run_due(START)
    assert town.ask(START, **work).code == "no-clause", "passed, but not in force yet"
    later = Instant(CHANGE + HOUR_MS)
    assert town.ask(later, **{**work, "credits": 0}).code == "bad-credits"
    assert town.ask(later, **work).accepted
    for name in ("ana", "ben"):
        assert town.ask(later, **{"do": "approve", "proposal": 1, "as": name}).accepted
    assert town.books.till.book().owed("home-02") == -2550
    assert town.ask(later, **{**work, "do": "charge"}).accepted
    for name in ("ana", "ben"):
        assert town.ask(later, **{"do": "approve", "proposal": 2, "as": name}).accepted
    assert town.books.till.book().owed("home-02") == -2550 + 600
    entry = town.books._file.of_kind("work.credit")[0].sealed().entry
    assert entry.body["clause"] == "[[service]] work-credit"


def test_who_leaves_is_out_at_midnight_and_gets_a_final_bill(tmp_path: Path) -> None:
    path, own = tmp_path / "ledger.db", replace(voting_rules(), charter=rules(bill_period="week").charter)
    town, village = Community(path, own), Village(START)
    town.books.run_due(START)
    read = {"home-02": [40_000, 500], "home-02.water": [9, 0]}
    leave = {"do": "member-leave", "member": "home-02", "on": "2026-06-03", "registers": read}
    for change, code in (
        ({"member": "home-09"}, "unknown-member"), ({"member": "community"}, "unknown-member"),
        ({"on": "2026-05-31"}, "bad-day"), ({"on": "soon"}, "bad-day"),
        ({"registers": {"home-02": [1, 2]}}, "bad-register"),
        ({"registers": {**read, "home-01": [1, 1]}}, "bad-register"),
        ({"registers": {**read, "home-02": [-1, 0]}}, "bad-register"),
    ):  # fmt: skip
        assert town.ask(START, **(leave | change)).code == code, change
    assert town.ask(START, **leave).accepted
    assert town.ask(START, **leave).code == "already-leaving"
    assert town.open(START, period="week").accepted
    for who in KEYS:
        assert town.cast(START, who).accepted
    for rows in village.slots(local_midnight("2026-06-08")):
        town.books.accept(rows)
        town.books.run_due(village.at)
    late = Instant(village.at + 7 * HOUR_MS)
    town.books.run_due(late)
    town.books.close(late)
    file = LedgerFile.read(path)
    days = [row.period for row in file.of_kind("settle.day") if row.member == "home-02"]
    last = {row.member: row.sealed().entry.body for row in file.of_kind(BILL)}
    size = file.size()
    file.close()
    assert days == ["2026-06-01", "2026-06-02"]
    assert (last["home-02"]["final"], len(last)) == (True, 4)
    assert "final" not in last["home-01"]
    found = verify(tmp_path)
    assert found.ok, found
    again = Community(path, own)
    again.books.run_due(late)
    assert again.books.size == size, "a restart publishes nothing twice"
    assert again.ask(late, do="pay", member="home-02", amount="1", method="cash").accepted == bool(
        again.books.till.book().owed("home-02")
    )
    assert again.ask(late, do="member-join", member="home-02", registers=read).accepted
    again.books.run_due(Instant(late + DAY_MS))
    assert "home-02" in [one.id for one in again.books.till.votes.rules(Instant(late + DAY_MS)).members]


def test_what_comes_late_for_somebody_who_has_left_changes_the_final_bill(tmp_path: Path) -> None:
    path, own = tmp_path / "ledger.db", replace(voting_rules(), charter=rules(bill_period="week").charter)
    town, village = Community(path, own), Village(START)
    town.books.run_due(START)
    read = {"home-02": [40_000, 500], "home-02.water": [9, 0]}
    assert town.ask(START, do="member-leave", member="home-02", on="2026-06-03", registers=read).accepted
    records = village.until(local_midnight("2026-06-08"))
    lost = [r for r in records if r.usage_point == "home-02" and START + DAY_MS <= r.start < START + 2 * DAY_MS]
    gone = [r for r in records if r.usage_point.startswith("home-02") and r.start >= START + 2 * DAY_MS]
    away = {id(r) for r in (*lost, *gone)}
    live(town.books, [r for r in records if id(r) not in away])
    late = Instant(village.at + 7 * HOUR_MS)
    town.books.run_due(late)
    first = final_bill(town)
    assert (first["run"], first["final"], first["held"]) == ("SF", True, [["2026-06-02", "home-02"]])
    town.books.accept(lost)
    town.books.run_due(late)
    last = final_bill(town)
    assert (last["run"], last["final"], last["held"]) == ("R1", True, [])
    assert int(last["amount"]) > int(first["amount"])
    town.books.close(late)
    found = verify(tmp_path)
    assert found.ok, found
    assert judge(export_bill(path, "home-02", "2026-W23"))["verdict"] == "ok"


def final_bill(town: Community) -> Any:
    bills = [e for e in town.books.reader().of_kind(BILL, 100) if e.member == "home-02" and e.state == "posted"]
    return cast("Any", bills[0].body)


def test_a_revoked_key_casts_no_ballot() -> None:
    town = Community()
    town.books.run_due(START)
    assert town.open(START).accepted
    keys = town.books.till._keys
    assert keys is not None
    keys._revoked.add(KEYS["home-01"].did)
    assert town.cast(START, "home-01").code == "revoked-key"
    assert town.cast(START, "home-02").accepted
