"""Statements about meters and clocks, and signed days: what is refused, and what they change in a settled ledger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from controller.ledger.entries import derived_id
from controller.ledger.identity import SigningKey as PersonKey
from controller.ledger.identity import sign_document
from controller.money.desk import Asked
from controller.settlement.evidence import ClockSet
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.books import Books
from controller.shell.ledger_verify import verify
from controller.shell.member_data import erase
from controller.shell.statements import CLOCK_PURPOSE, clock_paper
from controller.store.ledger_file import LedgerFile
from controller.voting import Electorate
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, ClockQuality, Instant
from devices.meter_day import sign_day
from devices.ocmf_keys import SigningKey
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, members, rules
from tests.verifier import villages

START = villages.START
END = Instant(START + 3 * DAY_MS)
OWN_KEY = PersonKey(bytes([2]) * 32)


def asked(word: str) -> Asked:
    return Asked(derived_id(END, "test", word), "treasurer", END)


def held(books: Books) -> list[tuple[str, str, str]]:
    return books.reader().held()


def taken(books: Books, member: str, day: str) -> int:
    body = [
        e.body
        for e in books.reader().entries(None, 5_000)
        if (e.kind, e.period, e.member) == ("settle.day", day, member)
    ]
    quantities = body[0]["quantities"]
    assert isinstance(quantities, dict)
    return int(str(quantities["from_local"])) + int(str(quantities["from_outside"]))


def test_a_new_meter_holds_back_one_account_until_both_registers_are_told(tmp_path: Path) -> None:
    at = Instant(START + DAY_MS + 40 * SLOT_MS)
    plain = Village(START, 2).until(END)
    records = villages.swapped(plain, "home-02", at, lost=10)
    books = Books.open(tmp_path / "ledger.db", rules(2))
    live(books, records, END)
    assert held(books) == [("2026-06-02", "home-02", "suspect")]
    last = next(r for r in plain if r.usage_point == "home-02" and r.end == at)
    request: dict[str, object] = {"do": "meter", "usage_point": "home-02", "reason": "burnt"}
    for number, (more, code) in enumerate(
        (
            ({"usage_point": "home-99"}, "unknown-meter"),
            ({"reason": " "}, "bad-text"),
            ({"closing": [1]}, "bad-register"),
            ({"closing": [last.import_end - 1, last.export_end]}, "bad-register"),
            ({"closing": [last.import_end + 10**9, last.export_end]}, "bad-register"),
            ({"opening": [10**6, 0]}, "bad-register"),
            ({"at": END + 1}, "bad-time"),
            ({"epoch": 9}, "unknown-meter"),
        )
    ):
        good = {**request, "closing": [last.import_end + 7, last.export_end], "opening": [0, 0]}
        result = books.state(asked(str(number)), {**good, **more})
        assert (result.accepted, result.code) == (False, code), result
    books.state(asked("swap"), {**request, "closing": [last.import_end + 7, last.export_end], "opening": [0, 0]})
    runs = books.run_due(END)
    assert {run.run for run in runs} >= {"correction", "bill-correction"}
    assert held(books) == []
    truth = sum(
        r.import_delta for r in plain if r.usage_point == "home-02" and START + DAY_MS <= r.start < START + 2 * DAY_MS
    )
    assert taken(books, "home-02", "2026-06-02") == (truth + 10) * 10**6
    books.close(END)
    assert verify(tmp_path).ok


def test_doubtful_time_is_averaged_and_a_signed_time_set_bills_it_as_it_stands(tmp_path: Path) -> None:
    noon = START + DAY_MS + 48 * SLOT_MS
    records = [
        replace(r, clock=ClockQuality.UNKNOWN) if r.usage_point == "home-02" and r.start >= noon else r
        for r in Village(START, 2).until(END)
    ]
    voters = Electorate({"home-02": OWN_KEY.did}, 1, 24)
    books = Books.open(tmp_path / "ledger.db", replace(rules(2, clock_tolerance_ms=60_000), voters=voters))
    live(books, records, END)

    def methods(day: str) -> object:
        rows = [
            e
            for e in books.reader().entries(None, 5_000)
            if (e.kind, e.period, e.member) == ("settle.day", day, "home-02")
        ]
        return rows[0].body.get("methods")

    assert methods("2026-06-01") is None
    assert methods("2026-06-02") == [["home-02", "clock", 48]]
    clock = ClockSet(frozenset({"home-02"}), Instant(noon), 2_000, 100)
    paper = sign_document(CLOCK_PURPOSE, clock_paper(clock), PersonKey(bytes(range(32))))
    request = {
        "do": "clock", "usage_points": ["home-02"], "source": "technician", "reason": "yearly visit",
        "error_ms": 2_000, "drift_ppm": 100, "at": noon,
    }  # fmt: skip
    assert books.state(asked("a"), request).code == "not-signed"
    forged = {**request, "drift_ppm": 1, "signed": paper}
    assert books.state(asked("b"), forged).code == "bad-signature"
    assert books.state(asked("c"), {**request, "source": "guess"}).code == "bad-source"
    own = sign_document(CLOCK_PURPOSE, clock_paper(clock), OWN_KEY)
    answer = books.state(asked("own"), {**request, "signed": own})
    assert (answer.accepted, answer.code) == (False, "own-meter"), answer
    assert books.state(asked("d"), {**request, "signed": paper}).accepted
    books.run_due(END)
    assert methods("2026-06-02") == [["home-02", "marked", 48]]
    worse = {**request, "source": "gnss", "error_ms": HOUR_MS, "at": noon + 24 * SLOT_MS}
    assert books.state(asked("e"), worse).accepted
    books.run_due(END)
    assert methods("2026-06-02") == [["home-02", "clock", 25], ["home-02", "marked", 23]]
    books.close(END)
    assert verify(tmp_path).ok


def test_a_day_that_its_gateway_did_not_sign_holds_back_its_account_only(tmp_path: Path) -> None:
    records = Village(START, 2).until(Instant(START + 2 * DAY_MS))
    books = Books.open(tmp_path / "ledger.db", rules(2, key=None))
    keeper, key = Bookkeeper(books), villages.GATEWAY
    keeper.pin("gw-1", key.public.text(), START)
    keeper.accept("gw-1", records)
    keeper.settle(END)
    keeper.commit(END)
    assert held(books) == []
    day = [r for r in records if r.usage_point == "home-02" and r.start < START + DAY_MS]
    keeper.accept_day("gw-1", sign_day("gw-1", 1, day, SigningKey.from_number(8)))
    keeper.accept_day("gw-2", sign_day("gw-2", 1, day, key))
    keeper.settle(END)
    keeper.commit(END)
    assert held(books) == [("2026-06-01", "home-02", "signature")]
    assert verify(tmp_path).ok, verify(tmp_path).findings
    keeper.accept_day("gw-1", sign_day("gw-1", 1, day, key))
    keeper.settle(END)
    keeper.commit(END)
    assert held(books) == []
    books.close(END)
    assert verify(tmp_path).ok
    file = LedgerFile.write(tmp_path / "ledger.db")
    (text,) = file.database.execute("SELECT text FROM signed_days").fetchall()[0]
    assert b"OCMF" not in bytes(cast("bytes", text)), "a household's day lies sealed under its own key"
    file.database.execute("UPDATE signed_days SET start_ms = start_ms + 1")
    file.close()
    assert [f.table for f in verify(tmp_path).findings] == ["signed days"]


def test_erasure_leaves_no_signed_day(tmp_path: Path) -> None:
    records = Village(START, 2).until(Instant(START + DAY_MS))
    books = Books.open(tmp_path / "ledger.db", rules(2, key=None))
    keeper = Bookkeeper(books)
    keeper.pin("gw-1", villages.GATEWAY.public.text(), START)
    keeper.accept("gw-1", records)
    own = [r for r in records if r.usage_point == "home-02"]
    keeper.accept_day("gw-1", sign_day("gw-1", 1, own, villages.GATEWAY))
    keeper.accept_day("gw-1", sign_day("gw-1", 2, own[:9], SigningKey.from_number(8)))
    keeper.settle(END)
    books.close(END)
    fewer = replace(rules(1, key=None, version=2, valid_from=END))
    assert len(fewer.members) == len(members(1))
    Books.open(tmp_path / "ledger.db", fewer).close(Instant(END + HOUR_MS))
    erase(tmp_path, "home-02", Instant(END + DAY_MS), with_balance=True)
    file = LedgerFile.read(tmp_path / "ledger.db")
    assert file.database.execute("SELECT 1 FROM signed_days").fetchall() == []
    assert file.database.execute("SELECT 1 FROM refused_days").fetchall() == []
    file.close()


@pytest.mark.parametrize("word", ["closing", "opening"])
def test_a_bool_is_no_register(tmp_path: Path, word: str) -> None:
    books = Books.open(tmp_path / "ledger.db", rules(2))
    live(books, Village(START, 2).until(Instant(START + HOUR_MS)))
    request = {
        "do": "meter",
        "usage_point": "home-01",
        "reason": "r",
        "closing": [9**9, 9**9],
        "opening": [0, 0],
        word: "x",
    }
    assert books.state(asked("z"), request).code == "bad-register"
    books.close(END)
