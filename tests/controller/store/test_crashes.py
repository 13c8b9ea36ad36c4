"""Power cuts at every write and sync of the ledger: what was acknowledged is there, and the books balance.

Twice: a bare journal, whose commits are many and small, and the books as a hub keeps them: records that gateways
forget once they are acknowledged, their members' data sealed, signed meter-days, runs, bills and heads signed twice.
The same harness must see the loss when durability is lowered: a harness that finds nothing there finds nothing.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import apsw
import pytest

from controller.ledger.entries import Posting, SealedEntry, derived_id
from controller.ledger.note import Signer
from controller.ledger.orders import OpenAccount, Post
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.books import Books
from controller.shell.journal import Journal, JournalDamaged
from controller.shell.ledger_verify import verify
from controller.store.ledger_file import LedgerFile, NotALedger
from devices.clock import DAY_MS, SLOT_MS, Instant
from devices.meter_day import sign_day
from devices.ocmf_keys import SigningKey as DaySigningKey
from tests.controller.store.crash_disk import Step, after_power_cuts, put, recorded
from tests.ledger_village import Village, local_midnight, rules

SIGNER = Signer("crash.atoll/ledger", bytes(32))
AT = Instant(1_780_000_000_000)
ACCOUNTS = [f"account-{n}" for n in range(6)]
SEED = 20_261
START = local_midnight("2026-06-01")
END_OF_TIME = Instant(2**52)
OWN = replace(rules(1, key=None), checkpoint_ms=SLOT_MS)


def record_life(folder: Path, commits: int, durability: str) -> tuple[list[Step], dict[int, bytes]]:
    """Writes commits of one to four entries each; returns what the disk saw, and the root of each acknowledged size."""
    roots: dict[int, bytes] = {}
    with recorded(checkpoint_pages=24) as steps:
        file = LedgerFile.write(folder / "ledger.db", durability)
        journal = Journal(file, SIGNER, 2_000)
        for name in ACCOUNTS:
            journal.must(OpenAccount(derived_id(AT, name), AT, name))
        for number in range(commits):
            now = Instant(AT + 1_000 * number)
            for part in range(1 + number % 4):
                debit, credit = ACCOUNTS[(number + part) % 6], ACCOUNTS[(number * 3 + part + 1) % 6]
                amount = 1 + number + part
                moved = (Posting(debit, "money:EUR", amount), Posting(credit, "money:EUR", -amount))
                body = {"text": "x" * (number % 7) * 60}
                outcome = journal.write(Post(derived_id(now, number, part), now, "transfer", moved, body))
                assert isinstance(outcome, SealedEntry) or debit == credit
            journal.flush(now)
            file.commit()
            steps.append(Step("ack", "", journal.size))
            roots[journal.size] = journal.root()
        file.close()
    return steps, roots


def lost_or_broken(folder: Path, acknowledged: int, roots: dict[int, bytes]) -> str:
    """Returns what is wrong with a ledger after a power cut, or ''."""
    try:
        file = LedgerFile.write(folder / "ledger.db")
    except NotALedger as error:
        return "" if acknowledged < 0 else f"not a ledger any more: {error}"
    try:
        journal = Journal(file, SIGNER, 2_000)
        if journal.size < acknowledged:
            return f"{acknowledged} entries were acknowledged, {journal.size} are there"
        if journal.size in roots and journal.root() != roots[journal.size]:
            return f"other entries than those acknowledged, {journal.size} of them"
        if journal.state.imbalance():
            return f"out of balance by {journal.state.imbalance()}"
        sums: dict[str, int] = {}
        for posting in (posting for row in file.entries() for posting in row.sealed().entry.postings):
            sums[posting.account] = sums.get(posting.account, 0) + posting.amount
        held = {account: balance.posted for (account, _), balance in journal.state.balances.items()}
        if any(sums.get(name, 0) != held.get(name, 0) for name in ACCOUNTS):
            return "balances are not the sums of the postings"
    except (JournalDamaged, apsw.Error, ValueError) as error:
        return f"cannot be used: {type(error).__name__}: {error}"
    else:
        return ""
    finally:
        file.close()


def survey(tmp_path: Path, commits: int, durability: str) -> tuple[int, list[str]]:
    """Returns (states looked at, what was wrong in those that were wrong)."""
    steps, roots = record_life(tmp_path, commits, durability)
    states, wrong = 0, list[str]()
    memory = Path("/dev/shm")  # the states are thrown away: no need to wait for a real disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as after:
        for number, acknowledged, disk in after_power_cuts(steps, SEED):
            put(disk, Path(after))
            states += 1
            problem = lost_or_broken(Path(after), acknowledged, roots)
            if problem:
                wrong.append(f"step {number} (seed {SEED}): {problem}")
    return states, wrong


@dataclass(frozen=True, slots=True)
class Promise:
    """What one commit named: gateways have forgotten these pages and signed days, people have seen these entries."""

    size: int
    root: str
    pages: dict[tuple[str, int], int]
    days: set[tuple[str, int]]


def hub_life(folder: Path, commits: int, durability: str) -> tuple[dict[str, bytes], list[Step], list[Promise]]:
    """Returns the files before, what the disk saw of a hub's commits around midnight, and what each promised."""
    path, village, key = folder / "ledger.db", Village(START, homes=1), DaySigningKey.from_number(1)
    dark = Instant(START + DAY_MS - commits // 2 * SLOT_MS)
    records = village.until(dark)
    books = Books.open(path, OWN)
    books.accept(records)
    books.close(dark)
    start = {file.name: file.read_bytes() for file in folder.iterdir()}
    promised, pages, days = list[Promise](), dict[tuple[str, int], int](), set[tuple[str, int]]()
    with recorded(checkpoint_pages=24) as steps:
        books = Books.open(path, OWN, durability)
        keeper = Bookkeeper(books)
        keeper.pin("gw-1", key.public.text(), dark)
        for number in range(commits):
            fresh = village.slot()
            records += fresh
            now = Instant(village.at + SLOT_MS)
            books.accept(fresh)
            if number % 3 == 0:
                books.append("note", {"text": "x" * number * 20}, derived_id(now, "note"), now)
            if number % 4 == 0:
                own = [record for record in records if record.usage_point == "home-01"][-4:]
                assert keeper.shelf.accept("gw-1", sign_day("gw-1", 1 + number // 4, own, key)) == ""
            books.run_due(now)
            done = books.commit(now)
            pages |= {(point, epoch): page for point, epoch, page in done.acks}
            days |= {day for acks in keeper.shelf.acks().values() for day in acks}
            promised.append(Promise(done.entries, done.root, dict(pages), set(days)))
            steps.append(Step("ack", "", number))
        assert {row.kind for row in books._file.entries()} >= {"run.day", "settle.day", "bill", "gateway.key"}
        assert books._file.payloads()
        assert all(note.count("— ") == 2 for _, note in books._file.checkpoints()[-1:]), "two signatures on a head"
        books._file.close()
    return start, [step for step in steps if step.file.startswith("ledger.db") or step.what == "ack"], promised


def broken_promise(folder: Path, promised: Sequence[Promise], last: int) -> str:
    """Returns what a hub that starts after a power cut has lost of what was promised, or finds broken, or ''."""
    path = folder / "ledger.db"
    try:
        books = Books.open(path, OWN)
    except (NotALedger, JournalDamaged, apsw.Error, ValueError) as error:
        return f"cannot be used: {type(error).__name__}: {error}"
    try:
        if books.imbalance():
            return f"out of balance by {books.imbalance()}"
        for promise in promised[last : last + 1] if last >= 0 else ():
            if books.size < promise.size:
                return f"{promise.size} entries were acknowledged, {books.size} are there"
            if books.size == promise.size and books.root() != promise.root:
                return "other entries than those acknowledged"
            records = books.records(START, END_OF_TIME)
            kept = Counter((str(record.usage_point), record.meter_epoch) for record in records)
            lost = {meter: page for meter, page in promise.pages.items() if kept[meter] < page}
            signed = {(row.day.records[0].usage_point, row.day.page) for row in books.shelf().days(START, END_OF_TIME)}
            if lost or not promise.days <= signed:
                return f"records were acknowledged and are gone: {lost}; signed days: {promise.days - signed}"
    finally:
        books._file.close()
    findings = verify(path).findings
    return str(findings[0]) if findings else ""


def survey_hub(tmp_path: Path, commits: int, durability: str, every: int = 1) -> tuple[int, list[str]]:
    """Returns (states looked at: each `every`th, what was wrong in those that were wrong)."""
    start, steps, promised = hub_life(tmp_path, commits, durability)
    keys = {"keys.db": bytearray(start["keys.db"])}
    states, wrong = 0, list[str]()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as after:
        for count, (number, last, disk) in enumerate(after_power_cuts(steps, SEED, {"ledger.db": start["ledger.db"]})):
            if count % every:
                continue
            put(disk | keys, Path(after))
            states += 1
            problem = broken_promise(Path(after), promised, last)
            if problem:
                wrong.append(f"step {number} (seed {SEED}): {problem}")
    return states, wrong


@pytest.mark.parametrize(
    ("commits", "every", "at_least"), [(12, 8, 100), pytest.param(40, 1, 2_000, marks=pytest.mark.deep)]
)
@pytest.mark.timeout(3_600)
def test_no_power_cut_loses_what_a_hub_has_acknowledged(tmp_path, commits, every, at_least):
    states, wrong = survey_hub(tmp_path, commits, "FULL", every)
    assert wrong == []
    assert states >= at_least


@pytest.mark.parametrize("durability", ["NORMAL", "OFF"])
def test_the_harness_sees_what_a_hub_loses_with_lower_durability(tmp_path, durability):
    states, wrong = survey_hub(tmp_path, 8, durability, every=12)
    assert len(wrong) > states // 20
    assert any("were acknowledged" in problem for problem in wrong)


@pytest.mark.parametrize(("commits", "at_least"), [(12, 300), pytest.param(75, 4_000, marks=pytest.mark.deep)])
def test_no_power_cut_loses_what_was_acknowledged(tmp_path, commits, at_least):
    states, wrong = survey(tmp_path, commits, "FULL")
    assert wrong == []
    assert states >= at_least


@pytest.mark.parametrize("durability", ["NORMAL", "OFF"])
def test_the_harness_sees_what_lower_durability_loses(tmp_path, durability):
    states, wrong = survey(tmp_path, 8, durability)
    assert len(wrong) > states // 20
    assert any("were acknowledged" in problem for problem in wrong)
