"""The books as a whole: days, late data, corrections, restarts, duplicates."""

from __future__ import annotations

import gc
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.entry_words import entry_text
from controller.ledger.entries import SealedEntry, derived_id
from controller.ledger.orders import Duplicate, Rejection
from controller.money.desk import Asked
from controller.money.rules import MoneyRules, Officer
from controller.settlement.intervals import Quarantine
from controller.settlement.published import parse_rules
from controller.settlement.run_names import RUN_KEYS, name_in, run_name
from controller.shell import rulebook
from controller.shell.books import Books, ChangedForLife, LedgerReader
from controller.shell.journal import JournalDamaged
from controller.shell.ledger_verify import verify
from controller.store.ledger_file import LedgerFile
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant
from devices.model import RecordQuality
from tests.ledger_village import Village, local_midnight, rules, without

START = local_midnight("2026-06-01")
SECOND = 1_000


def live(books, records, end=None):
    """Feeds records slot by slot, as they would arrive, and returns all runs but the provisional ones."""
    runs = []
    by_slot: dict[int, list] = {}
    for record in records:
        by_slot.setdefault(record.end, []).append(record)
    for at, rows in sorted(by_slot.items()):
        now = Instant(at + SECOND)
        books.accept(rows)
        runs += [run for run in books.run_due(now) if run.run != "provisional"]
        books.commit(now)
    if end is not None:
        runs += [run for run in books.run_due(end) if run.run != "provisional"]
        books.commit(end)
    return runs


def entries(books):
    return [(e.kind, e.state, e.period, e.member, e.postings) for e in reversed(books.reader().entries(None, 10_000))]


def settled(books):
    """What stands at last: (kind, period, member) -> postings of entries that are not reversed."""
    rows = books.reader().entries(None, 10_000)
    reversed_ids = {e.refers for e in rows if e.state == "reversal"}
    return {
        (e.kind, e.period, e.member): (e.postings, {k: v for k, v in e.body.items() if k not in RUN_KEYS})
        for e in rows
        if e.state == "posted" and e.id not in reversed_ids
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


def test_two_whole_days(path):
    books = Books.open(path, rules())
    runs = live(books, Village(START).until(Instant(START + 2 * DAY_MS)))
    assert [(run.run, run.period) for run in runs] == [
        ("final", "2026-06-01"), ("bill", "2026-06-01"), ("final", "2026-06-02"), ("bill", "2026-06-02"),
    ]  # fmt: skip
    assert books.imbalance() == 0
    reader = books.reader()
    assert reader.balance("pool:local", "energy") == reader.balance("pool:outside", "energy") == 0
    assert reader.balance("losses", "energy") > 0
    owed = sum(b.posted for b in reader.balances() if b.account.endswith(":owes"))
    others = ("community:rounding", "community:treasury", "outside:payable")
    assert owed == -sum(reader.balance(account, "money:EUR") for account in others)
    books.close(Instant(START + 2 * DAY_MS))
    found = verify(path)
    assert found.findings == []
    assert (found.records, found.days) == (2 * 96 * 10, 2)


@pytest.mark.parametrize(("day", "slots"), [("2026-03-29", 92), ("2026-10-25", 100)])
def test_days_on_which_the_clock_changes(path, day, slots):
    start = local_midnight(day)
    books = Books.open(path, rules())
    runs = live(books, Village(start).until(Instant(start + slots * SLOT_MS)))
    assert [(run.run, run.period, (run.end - run.start) // SLOT_MS) for run in runs] == [
        ("final", day, slots), ("bill", day, slots),
    ]  # fmt: skip
    books.close(Instant(start + 2 * DAY_MS))
    assert verify(path).ok


def test_a_month_is_billed_once_over_the_year_boundary(path):
    start = local_midnight("2026-12-30")
    books = Books.open(path, rules(2, bill_period="month"))
    runs = live(books, Village(start, homes=2).until(Instant(start + 3 * DAY_MS)))
    assert [run.period for run in runs if run.run == "bill"] == ["2026-12"]
    assert len([run for run in runs if run.run == "final"]) == 3
    running = books.reader().bill_so_far("home-01", Instant(start + 3 * DAY_MS))
    assert running is not None
    assert running.period == "2027-01"


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_order_and_repetition_of_records_change_nothing(seed):
    rng = random.Random(seed)
    records = Village(START).until(Instant(START + DAY_MS))
    shuffled = [*records, *rng.choices(records, k=200)]
    rng.shuffle(shuffled)
    first, second = Books.open(":memory:", rules()), Books.open(":memory:", rules())
    now = Instant(START + DAY_MS)
    first.accept(records)
    while shuffled:
        batch, shuffled = shuffled[:97], shuffled[97:]
        second.accept(batch)
    for books in (first, second):
        books.run_due(now)
        books.commit(now)
    assert second.counters["duplicates"] == 200
    assert first.root() == second.root()


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32))
def test_records_in_any_order_over_days_end_in_the_same_settlement(seed):
    rng = random.Random(seed)
    end = Instant(START + 3 * DAY_MS)
    records = without(Village(START, homes=2).until(end), "home-02", START + 20 * HOUR_MS, START + 30 * HOUR_MS)
    straight, wild = Books.open(":memory:", rules(2)), Books.open(":memory:", rules(2))
    live(straight, records, Instant(end + 7 * HOUR_MS))
    delayed = sorted(records, key=lambda r: r.end + rng.choice((0, 0, 0, SLOT_MS, 5 * HOUR_MS, 40 * HOUR_MS)))
    for index in range(0, len(delayed), 60):
        now = Instant(max(r.end for r in delayed[: index + 60]))
        wild.accept(delayed[index : index + 60])
        wild.run_due(now)
        wild.commit(now)
    for now in (end, Instant(end + 7 * HOUR_MS)):
        wild.run_due(now)
        wild.commit(now)
    assert wild.imbalance() == 0
    assert settled(wild) == settled(straight)


def test_a_conflicting_page_is_refused_counted_and_written_down_once():
    books = Books.open(":memory:", rules())
    records = Village(START).slot()
    books.accept(records)
    forged = replace(records[0], import_end=records[0].import_end + 1)
    for _ in range(3):
        answer = books.accept([forged])
        assert (answer.accepted, len(answer.refused)) == (0, 1)
    books.commit(START)
    assert books.counters["conflicts"] == 3
    assert [e.kind for e in books.reader().entries(None, 5)].count("record.conflict") == 1
    slot = books.reader().home_energy(records[0].usage_point, START, Instant(START + SLOT_MS))[0]
    assert slot.imported == records[0].import_delta


def test_bad_records_are_refused_with_a_reason_and_do_not_block_the_pages_behind_them():
    books = Books.open(":memory:", rules())
    good = [rows[0] for rows in Village(START).slots(Instant(START + 3 * SLOT_MS))]
    bad = [replace(good[1], end=good[1].end + 5), replace(good[0], page=0), replace(good[0], usage_point="no such id!")]
    answer = books.accept([good[0], *bad, good[2]])
    assert answer.accepted == 2
    assert [bool(r.reason) for r in answer.refused] == [True] * 3
    assert books.commit(START).acks == ((good[0].usage_point, 1, 3),)


def test_acknowledgements_are_cumulative_and_repeated_for_repeats():
    books = Books.open(":memory:", rules())
    rows = [r for r in Village(START).until(Instant(START + 6 * SLOT_MS)) if r.usage_point == "home-02"]
    assert books.commit(START).acks == ()
    books.accept([rows[0], rows[1], rows[3]])
    assert books.commit(START).acks == (("home-02", 1, 2),)
    books.accept([rows[0]])
    assert books.commit(START).acks == (("home-02", 1, 2),)
    books.accept([rows[2]])
    assert books.commit(START).acks == (("home-02", 1, 4),)
    books.accept(rows[5:])
    assert books.commit(START).acks == (("home-02", 1, 4),)


def test_a_missing_meter_is_quarantined_alone_and_corrected_when_its_records_come(path):
    end = Instant(START + DAY_MS)
    records = Village(START).until(Instant(end + 8 * HOUR_MS))
    missing = [r for r in records if r.usage_point == "home-02" and r.start < end]
    books = Books.open(path, rules())
    runs = live(books, without(records, "home-02"))
    final, _ = runs
    assert (final.run, final.held) == ("final", (("home-02", "missing"),))
    assert final.period == "2026-06-01"
    assert books.reader().held() == [("2026-06-01", "home-02", "missing")]
    bills = {e.member: e for e in books.reader().entries(None, 40) if e.kind == "bill"}
    assert bills["home-02"].body["held"] == [["2026-06-01", "home-02"]]
    assert bills["home-03"].postings[0].amount > 0
    assert books.accept(missing).late == 96
    now = Instant(end + 9 * HOUR_MS)
    correction, rebill = (run for run in books.run_due(now) if run.run != "provisional")
    assert (correction.run, correction.held, rebill.run) == ("correction", (), "bill-correction")
    assert books.reader().held() == []
    books.commit(now)
    direct = Books.open(":memory:", rules())
    live(direct, [r for r in records if r.usage_point != "home-02" or r.start < end], now)
    assert settled(books) == settled(direct)
    reversals = [e for e in books.reader().entries(None, 200) if e.state == "reversal"]
    assert len({e.refers for e in reversals}) == len(reversals) > 0
    books.close(now)
    assert verify(path).findings == []


def test_runs_have_names_and_a_resettlement_says_what_it_replaces(path):
    officers = (Officer("ana", "treasurer"), Officer("ben", "auditor"))
    end = Instant(START + DAY_MS)
    records = Village(START).until(Instant(end + 8 * HOUR_MS))
    late = [r for r in records if r.usage_point == "home-02" and r.start < end]
    books = Books.open(path, replace(rules(), money=MoneyRules(officers=officers)))
    runs = live(books, without(records, "home-02"))
    assert [run.name for run in runs] == ["SF", "SF"]
    now = Instant(end + 9 * HOUR_MS)
    books.accept(late[:50])
    assert [run.name for run in books.run_due(now) if run.entries] == ["R1"], "held back as before: no bill changes"
    for number, name in enumerate(("ana", "ben")):
        asked = Asked(derived_id(now, "close", number), name, now)
        assert books.till.ask(asked, {"do": "close", "period": "2026-06-01", "as": name}).accepted
    books.accept(late[50:])
    assert [run.name for run in books.run_due(now) if run.entries] == ["RF", "RF"]
    found = {kind: [e for e in books.reader().of_kind(kind, 50) if e.state == "posted"] for kind in ("run.day", "bill")}
    days = [(e.body["run"], e.id, e.body.get("replaces")) for e in reversed(found["run.day"])]
    assert [name for name, *_ in days] == ["SF", "R1", "RF"]
    assert [before for *_, before in days] == [None, days[0][1], days[1][1]]
    bills = {str(e.body["run"]): e for e in found["bill"] if e.member == "home-02"}
    assert "replaces" not in bills["SF"].body
    assert bills["RF"].body["replaces"] == bills["SF"].id
    assert entry_text("bill", bills["RF"].body, "home-02", "2026-06-01", zone="UTC") == "bill home-02 2026-06-01 (RF)"
    assert name_in({"run": "correction", "revision": 2}) == "R2", "as ledgers from before have it"
    assert (run_name(3), run_name(3, closed=True)) == ("R3", "RF")
    books.close(now)
    assert verify(path).findings == []


def test_a_gap_is_estimated_between_registers_and_marked(path):
    end = Instant(START + DAY_MS)
    records = Village(START).until(Instant(end + 8 * HOUR_MS))
    gap = START + 23 * HOUR_MS
    books = Books.open(path, rules())
    runs = live(books, without(records, "home-02", gap, gap + 2 * HOUR_MS))
    assert (runs[0].held, runs[0].estimated) == ((), 4)  # of the first day; the other half is on the second
    right = Books.open(":memory:", rules())
    live(right, records)
    used = ("member:home-02:used", "energy")
    assert abs(books.reader().balance(*used) - right.reader().balance(*used)) < 3_000 * 1_000_000
    books.close(Instant(end + 9 * HOUR_MS))
    assert verify(path).ok


def test_a_gap_without_a_register_behind_it_is_settled_when_the_meter_comes_back(path):
    end = Instant(START + DAY_MS)
    records = Village(START).until(Instant(end + 12 * HOUR_MS))
    books = Books.open(path, rules())
    silent = START + 20 * HOUR_MS, end + 10 * HOUR_MS
    runs = live(books, without(records, "home-02", *silent))
    assert [(run.run, run.period, run.held) for run in runs] == [
        ("final", "2026-06-01", (("home-02", "missing"),)),
        ("bill", "2026-06-01", ()),
        ("correction", "2026-06-01", ()),
        ("bill-correction", "2026-06-01", ()),
    ]
    assert runs[2].estimated == 16
    books.close(Instant(end + 12 * HOUR_MS))
    assert verify(path).ok


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"quality": RecordQuality.SUSPECT}, Quarantine.SUSPECT),
        ({"import_end": 0}, Quarantine.REGISTER),
    ],
)
def test_a_register_that_runs_backwards_quarantines_one_account(path, change, why):
    records = [
        replace(r, **change) if r.usage_point == "home-03" and r.start == START + 40 * SLOT_MS else r
        for r in Village(START).until(Instant(START + DAY_MS))
    ]
    books = Books.open(path, rules())
    runs = live(books, records)
    assert runs[0].held == (("home-03", why.value),)
    assert books.reader().balance("member:home-03:used", "energy") == 0
    assert books.reader().balance("member:home-03:used", "water") > 0
    assert books.reader().balance("member:home-02:used", "energy") > 0
    books.close(Instant(START + DAY_MS))
    assert verify(path).ok


def test_a_restart_goes_on_exactly(path):
    records = Village(START).until(Instant(START + 2 * DAY_MS))
    whole = Books.open(":memory:", rules())
    live(whole, records)
    for cut in (records[: len(records) // 3], records[len(records) // 3 : 1300], records[1300:]):
        books = Books.open(path, rules())
        live(books, cut)
        books.close(cut[-1].end)
    again = Books.open(path, rules())
    assert again.root() == whole.root()
    assert again.run_due(Instant(START + 2 * DAY_MS)) == []
    assert again.accept(records).duplicates == len(records)
    assert verify(path).ok


def test_what_was_not_committed_is_gone_and_can_be_sent_again(path):
    records = Village(START).until(Instant(START + DAY_MS))
    books = Books.open(path, rules())
    live(books, records[:500])
    books.accept(records[500:])
    books.run_due(Instant(START + DAY_MS))
    del books  # no commit: as if the process had died
    gc.collect()  # books and their desks know each other
    books = Books.open(path, rules())
    assert books.reader().records() == 500
    assert books.accept(records).accepted == len(records) - 500
    assert [run.run for run in books.run_due(Instant(START + DAY_MS)) if run.run != "provisional"] == ["final", "bill"]


def test_what_a_start_publishes_is_not_dated_before_what_was_written(path):
    start = local_midnight("2026-06-01")
    books = Books.open(path, rules())
    books.accept(Village(start).until(Instant(start + DAY_MS)))
    books.run_due(Instant(start + 2 * DAY_MS))
    books.close(Instant(start + 2 * DAY_MS))
    size = Books.open(path, rules()).size
    books = Books.open(path, replace(rules(), money=MoneyRules(due_days=21)))
    books.close(Instant(start + 2 * DAY_MS))
    file = LedgerFile.read(path)
    before, after = (
        [row.sealed().entry.at for row in file.entries(0) if (row.seq < size) is old] for old in (True, False)
    )
    file.close()
    assert after
    assert min(after) >= before[-1]


def test_late_days_survive_a_restart(path):
    end = Instant(START + DAY_MS)
    records = Village(START).until(end)
    late = [r for r in records if r.usage_point == "battery-1"]
    books = Books.open(path, rules())
    live(books, without(records, "battery-1"), Instant(end + 7 * HOUR_MS))
    books.accept(late)
    books.commit(end)
    del books
    gc.collect()
    assert verify(path).waiting == ("2026-06-01",)
    books = Books.open(path, rules())
    assert [run.run for run in books.run_due(end)] == ["correction", "bill-correction"]
    books.close(end)
    assert verify(path).findings == []


def test_days_older_than_the_first_settled_one_are_settled_when_they_come(path):
    records = Village(START).until(Instant(START + 3 * DAY_MS))
    books = Books.open(path, rules())
    live(books, [r for r in records if r.start >= START + 2 * DAY_MS])
    books.accept([r for r in records if r.start < START + 2 * DAY_MS])
    runs = books.run_due(Instant(START + 3 * DAY_MS))
    assert sorted((run.run, run.period) for run in runs if run.run in ("final", "bill")) == [
        ("bill", "2026-06-01"), ("bill", "2026-06-02"), ("final", "2026-06-01"), ("final", "2026-06-02"),
    ]  # fmt: skip
    books.close(Instant(START + 3 * DAY_MS))
    assert verify(path).findings == []


def charters(books):
    """Which version of the charter settled each day."""
    rows = list(reversed(books.reader().entries(None, 2_000)))
    versions = {e.id: parse_rules(e.body).charter.version for e in rows if e.kind == "charter"}
    return {e.period: versions[e.body["charter"]] for e in rows if e.kind == "run.day"}


def test_a_changed_site_file_holds_from_the_next_midnight_and_never_for_days_lived(path):
    noon = Instant(START + DAY_MS // 2)
    records = Village(START).until(Instant(START + 3 * DAY_MS))
    books = Books.open(path, rules())
    live(books, [r for r in records if r.end <= noon])
    books.close(noon)
    books = Books.open(path, rules(version=2, local_price=200_000))  # with the date of the first: long past
    live(books, [r for r in records if r.end > noon and r.start < START + DAY_MS])
    (said,) = books.notices()
    assert "version 2, holds from 2026-06-01T22:00" in said
    assert books.notices() == []
    books.close(Instant(START + DAY_MS))
    books = Books.open(path, rules(version=2, local_price=200_000))
    live(books, [r for r in records if r.start >= START + DAY_MS])
    assert books.notices() == []
    assert charters(books) == {"2026-06-01": 1, "2026-06-02": 2, "2026-06-03": 2}
    published = [e for e in books.reader().entries(None, 2_000) if e.kind == "charter"]
    assert [parse_rules(e.body).charter.valid_from for e in published] == [START + DAY_MS, rules().charter.valid_from]
    books.close(Instant(START + 3 * DAY_MS))
    assert verify(path).findings == []


def test_a_charter_dated_ahead_waits_and_may_be_put_off_or_withdrawn(path):
    village, ahead = Village(START), Instant(START + 4 * DAY_MS)
    second: dict[str, Any] = {"version": 2, "local_price": 200_000}
    third: dict[str, Any] = {"version": 3, "local_price": 210_000, "valid_from": Instant(START + 12 * DAY_MS)}
    books = Books.open(path, rules())
    changes: tuple[tuple[int, dict[str, Any]], ...] = (
        (1, second | {"valid_from": ahead}),
        (2, second | {"valid_from": Instant(ahead + 2 * DAY_MS)}),
        (3, second | {"valid_from": Instant(ahead + 2 * DAY_MS)}),  # a restart
        (7, second | {"valid_from": Instant(ahead + 2 * DAY_MS)}),
        (8, third),
        (10, {}),  # what was the first again, before the third ever held
    )
    for day, edited in changes:
        now = Instant(START + day * DAY_MS + HOUR_MS)
        live(books, village.until(now), now)
        books.close(now)
        books = Books.open(path, rules(**edited))
    live(books, village.until(Instant(START + 14 * DAY_MS)))
    seen = charters(books)
    assert [seen[f"2026-06-{day:02d}"] for day in range(1, 14)] == [1] * 6 + [2] * 5 + [1] * 2
    books.close(Instant(START + 14 * DAY_MS))
    assert verify(path).findings == []


def test_a_new_member_of_the_site_file_is_one_from_the_next_midnight(path):
    noon = Instant(START + DAY_MS // 2)
    records = Village(START, 3).until(Instant(START + 2 * DAY_MS))
    books = Books.open(path, rules(2))
    live(books, [r for r in records if r.end <= noon])
    books.close(noon)
    books = Books.open(path, rules(3))
    live(books, [r for r in records if r.end > noon])
    days = {e.period for e in books.reader().entries(None, 2_000) if (e.kind, e.member) == ("settle.day", "home-03")}
    assert days == {"2026-06-02"}
    assert "members" in books.notices()[0]
    books.close(Instant(START + 2 * DAY_MS))
    assert verify(path).findings == []


@pytest.mark.parametrize(
    "change", [{"timezone": "Pacific/Auckland"}, {"bill_period": "month"}, {"minor_digits": 4}, {"currency": "USD"}]
)
def test_what_a_ledger_keeps_for_life_is_refused_at_the_start(path, change):
    books = Books.open(path, rules())
    live(books, Village(START).until(Instant(START + DAY_MS)))
    books.close(Instant(START + DAY_MS))
    (name,) = change
    with pytest.raises(ChangedForLife, match=rf"{name} is .* keeps it for life: write .* again, or begin a new ledger"):
        Books.open(path, rules(**change))
    Books.open(path, rules()).close(Instant(START + DAY_MS))
    assert verify(path).findings == []


def test_verify_names_a_charter_in_another_money_than_the_log_began_with(path, monkeypatch):
    """What the release before let through: cents and hundredths of cents in one account."""
    books = Books.open(path, rules())
    live(books, Village(START).until(Instant(START + DAY_MS)))
    books.close(Instant(START + DAY_MS))
    monkeypatch.setattr(rulebook, "changed_for_life", lambda *_: "")
    Books.open(path, rules(minor_digits=4)).close(Instant(START + DAY_MS))
    (found,) = verify(path).findings
    assert "counts money:EUR in 1e-4, the log's first entry in 1e-2" in str(found)


def test_audit_entries_are_idempotent():
    books = Books.open(":memory:", rules())
    identity = derived_id(START, "command", 1)
    body = {"device": "battery-1", "value": "2000", "reason": "cleaning"}
    first = books.append("command.hold", body, identity, START)
    assert books.append("command.hold", body, identity, START) == Duplicate(identity)
    assert isinstance(books.append("command.hold", {**body, "value": "1"}, identity, START), Rejection)
    assert isinstance(books.append("command.hold", body, "not-an-id", START), Rejection)
    newest = books.reader().entry(books.size - 1)
    assert isinstance(first, SealedEntry)
    assert newest is not None
    assert newest.leaf == first.leaf.hex()


def test_a_log_that_was_not_signed_like_this_is_not_continued(path):
    books = Books.open(path, rules())
    books.close(START)
    import apsw

    apsw.Connection(str(path)).execute("UPDATE entries SET leaf = zeroblob(32) WHERE seq = 3")
    with pytest.raises(JournalDamaged, match=r"ledger\.db"):
        Books.open(path, rules())


def test_another_reader_sees_only_what_is_committed(path):
    books = Books.open(path, rules())
    records = Village(START).slot()
    books.commit(START)
    reader = LedgerReader.open(path)
    books.accept(records)
    assert reader.records() == 0
    books.commit(START)
    assert reader.records() == len(records)


def test_records_of_a_clock_that_is_wrong_harm_nothing():
    books = Books.open(":memory:", rules())
    rows = [rows[0] for rows in Village(START).slots(Instant(START + 3 * SLOT_MS))]
    books.accept(rows[:1])
    books.commit(Instant(START + HOUR_MS))
    ahead = replace(rows[1], start=Instant(START + 900 * DAY_MS), end=Instant(START + 900 * DAY_MS + SLOT_MS))
    unset = replace(rows[1], start=Instant(0), end=Instant(SLOT_MS))
    never = replace(rows[2], start=Instant(9 * 10**15), end=Instant(9 * 10**15 + SLOT_MS))
    assert "ahead" in books.accept([ahead]).refused[0].reason
    assert books.commit(START).acks == ()  # it may be right, and the hub's clock wrong: sent again later
    assert len(books.accept([unset, never]).refused) == 2
    assert books.counters["early"] == 2
    assert books.commit(START).acks == ((rows[0].usage_point, 1, 2),)  # what can never be right does not block
    assert [run for run in books.run_due(Instant(START + HOUR_MS)) if run.run != "provisional"] == []


def test_a_hub_clock_that_jumps_years_ahead_closes_few_days_at_a_time():
    books = Books.open(":memory:", rules())
    live(books, Village(START).until(Instant(START + 2 * SLOT_MS)))
    runs = books.run_due(Instant(START + 400 * DAY_MS))
    assert len([run for run in runs if run.run == "final"]) == 40
    assert len([run for run in books.run_due(START) if run.run == "final"]) == 0
