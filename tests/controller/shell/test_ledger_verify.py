"""Verify finds every change of content, by bit flip or by hand, and names the place."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from typing import cast

import apsw
import pytest

from controller.ledger.entries import derived_id
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.books import Books
from controller.shell.ledger_verify import verify
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant
from devices.meter_day import sign_day
from devices.model import UsagePointId
from devices.ocmf_keys import SigningKey
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, local_midnight, rules, without
from tests.verifier import villages

START = local_midnight("2026-06-01")
TABLES = (
    "points", "records", "meters", "refused", "names", "entries", "account_entries", "accounts", "balances",
    "checkpoints", "provisional", "late",
)  # fmt: skip
OF_A_HUB = (*TABLES, "payloads", "signed_days", "refused_days", "gateway_keys")
END = Instant(START + DAY_MS + 7 * HOUR_MS)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """A closed ledger of a day and a bit, with a refused page, an audit entry and a quarantined meter."""
    path = tmp_path_factory.mktemp("verify") / "ledger.db"
    books = Books.open(path, rules(1))
    records = without(Village(START, homes=1).until(Instant(START + DAY_MS + 5 * SLOT_MS)), "pump-1")
    odd = UsagePointId("odd")
    books.accept([replace(records[3], usage_point=odd, import_start=5, import_end=4, export_start=-1, export_end=0)])
    books.append("command.hold", {"device": "battery-1", "value": "0"}, derived_id(START, "x"), START)
    live(books, records, Instant(START + DAY_MS + 7 * 3_600_000))
    books.close(Instant(START + DAY_MS + 7 * 3_600_000))
    assert not path.with_name("ledger.db-wal").exists()
    assert verify(path).findings == []
    return path


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A ledger as a hub writes it: each home's data under its own keys, meter-days signed, some of them wrongly."""
    path = tmp_path_factory.mktemp("sealed") / "ledger.db"
    books = Books.open(path, rules(1, key=None))
    keeper, key = Bookkeeper(books), villages.GATEWAY
    keeper.pin("gw-1", key.public.text(), START)
    records = Village(START, homes=1).until(Instant(START + DAY_MS + 5 * SLOT_MS))
    for point in ("home-01", "battery-1"):  # one that seals, one that is everybody's
        day = [r for r in records if r.usage_point == point and r.start < START + DAY_MS]
        keeper.accept_day("gw-1", sign_day("gw-1", 1, day[:48], key))
        keeper.accept_day("gw-1", sign_day("gw-1", 2, day[48:], SigningKey.from_number(8)))
    keeper.accept("gw-1", [replace(records[3], usage_point=UsagePointId("odd"), export_start=-1)])
    live(books, records, END)
    books.close(END)
    assert verify(path).findings == []
    assert [table for table in OF_A_HUB if not any((content(path, [table]) or {}).values())] == ["late"]
    return path


def content(path, tables=TABLES):
    """Returns every row of every table by table scan, or None where they cannot be read."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {table: db.execute(f"SELECT * FROM {table} NOT INDEXED").fetchall() for table in tables}
    except (apsw.Error, UnicodeDecodeError):
        return None
    finally:
        db.close()


def flip_and_check(ledger, tmp_path, flips, seed):
    tables = OF_A_HUB if ledger.with_name("keys.db").exists() else TABLES
    data, before = ledger.read_bytes(), content(ledger, tables)
    rng = random.Random(seed)
    changed = 0
    damaged = tmp_path / "ledger.db"
    for keys in ledger.parent.glob("keys.db*"):
        shutil.copy(keys, tmp_path)
    for _ in range(flips):
        at, bit = rng.randrange(len(data)), rng.randrange(8)
        damaged.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
        if content(damaged, tables) != before:
            changed += 1
            found = verify(damaged)
            assert found.findings, f"seed {seed}: bit {bit} of byte {at} changed the content and was not found"
            assert str(found.findings[0])
    return changed


def test_every_flipped_bit_that_changes_content_is_found(ledger, tmp_path):
    assert flip_and_check(ledger, tmp_path, 300, seed=20261120) > 100


def test_every_flipped_bit_in_a_sealed_ledger_is_found(sealed, tmp_path):
    assert flip_and_check(sealed, tmp_path, 700, seed=20261127) > 250


@pytest.mark.deep
@pytest.mark.timeout(3_600)
def test_every_flipped_bit_that_changes_content_is_found_many(ledger, sealed, tmp_path):
    assert flip_and_check(ledger, tmp_path, 3_000, seed=1) > 1_000
    assert flip_and_check(sealed, tmp_path, 7_000, seed=2) > 2_500


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE records SET import_end = import_end + 1, import_start = import_start + 1 WHERE page = 7", "records"),
        ("UPDATE records SET leaf = zeroblob(32) WHERE page = 7", "records"),
        ("DELETE FROM records WHERE page = 7", "meters"),
        ("UPDATE meters SET page = page + 1", "meters"),
        ("UPDATE refused SET reason = 'fine'", "refused"),
        ("UPDATE points SET name = 'home-09' WHERE name = 'home-01'", "records"),
        ("UPDATE entries SET kind = kind + 1 WHERE seq = 20", "entries"),
        ("UPDATE entries SET kind = 999 WHERE seq = 20", "entries"),
        ("UPDATE entries SET state = 99 WHERE seq = 20", "entries"),
        ("UPDATE entries SET period = '2026-06-02' WHERE seq = 20", "entries"),
        ("UPDATE entries SET member = 'home-09' WHERE seq = 20", "entries"),
        ("UPDATE entries SET at = at + 1 WHERE seq = 20", "entries"),
        ("UPDATE entries SET expires = '5' WHERE seq = 20", "entries"),
        ("UPDATE entries SET link = '1,1' WHERE seq = 20", "entries"),
        ("UPDATE entries SET refers = 'x' WHERE seq = 20", "entries"),
        ("UPDATE entries SET id = zeroblob(16) WHERE seq = 20", "entries"),
        ("UPDATE entries SET id = 'x' WHERE seq = 20", "entries"),
        ("UPDATE entries SET moves = moves || ',1' WHERE moves <> ''", "entries"),
        ("UPDATE entries SET moves = '1,1,+5,2,1,-5' WHERE seq = 20", "entries"),
        ("UPDATE entries SET moves = '999,1,5,2,1,-5' WHERE seq = 20", "entries"),
        ("UPDATE entries SET body = CAST(replace(body, 'losses', 'lesses') AS BLOB)", "entries"),
        ("UPDATE entries SET document = X'7B7D' WHERE seq = 20", "entries"),
        ("UPDATE names SET name = 'lesses' WHERE name = 'losses'", "entries"),
        ("DELETE FROM names WHERE name = 'losses'", "entries"),
        ("DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries)", "checkpoints"),
        ("DELETE FROM entries WHERE seq = (SELECT max(seq) FROM account_entries)", "account_entries"),
        ("DELETE FROM entries WHERE seq = 12", "entries"),
        ("DELETE FROM account_entries WHERE seq = (SELECT max(seq) FROM account_entries)", "account_entries"),
        ("INSERT INTO account_entries VALUES(1, 5)", "account_entries"),
        ("INSERT INTO account_entries VALUES(1, 99999)", "account_entries"),
        ("UPDATE balances SET posted = posted + 1 WHERE account = 'losses'", "balances"),
        ("DELETE FROM balances WHERE account = 'losses'", "balances"),
        ("UPDATE accounts SET lowest = -5 WHERE name = 'losses'", "accounts"),
        ("UPDATE checkpoints SET note = replace(note, '=', '!')", "checkpoints"),
        ("UPDATE checkpoints SET size = size + 1 WHERE size = (SELECT max(size) FROM checkpoints)", "checkpoints"),
        ("UPDATE provisional SET taken = taken + 1", "provisional"),
        ("INSERT INTO late VALUES(1780000000000000)", "late"),
    ],
)
def test_a_change_by_hand_is_named_with_its_table(ledger, tmp_path, change, table):
    damaged = tmp_path / "ledger.db"
    for file in ledger.parent.glob("*.db"):
        shutil.copy(file, tmp_path)
    db = apsw.Connection(str(damaged))
    db.execute(change)
    assert db.total_changes() > 0
    db.close()
    assert table in {finding.table for finding in verify(damaged).findings}


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE records SET import_start = 1 WHERE length(leaf) <> 32", "records"),
        ("UPDATE records SET clock = 2, quality = 1 WHERE length(leaf) <> 32", "records"),
        ("UPDATE records SET end_ms = end_ms + 1 WHERE start_ms = (SELECT max(start_ms) FROM records)", "records"),
        ("UPDATE payloads SET member = 'home-09'", "payloads"),
        ("UPDATE payloads SET seq = 1 WHERE seq = (SELECT max(seq) FROM payloads)", "payloads"),
        ("UPDATE signed_days SET last = last + 1", "signed days"),
        ("UPDATE refused_days SET text = CAST(replace(text, '1', '2') AS BLOB)", "signed days"),
        ("UPDATE refused_days SET node = 'gw-2'", "signed days"),
        ("UPDATE gateway_keys SET since_ms = since_ms + 1", "signed days"),
    ],
)
def test_a_change_in_a_sealed_ledger_is_named_with_its_table(sealed, tmp_path, change, table):
    test_a_change_by_hand_is_named_with_its_table(sealed, tmp_path, change, table)


def test_a_damaged_page_of_any_table_is_a_finding_and_no_crash(sealed, tmp_path):
    for keys in sealed.parent.glob("keys.db*"):
        shutil.copy(keys, tmp_path)
    db = apsw.Connection(str(sealed), flags=apsw.SQLITE_OPEN_READONLY)
    pages = db.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0").fetchall()
    db.close()
    data, damaged = sealed.read_bytes(), tmp_path / "ledger.db"
    for name, page in cast("list[tuple[str, int]]", pages):
        damaged.write_bytes(data[: (page - 1) * 4096] + bytes([255]) * 4096 + data[page * 4096 :])
        assert verify(damaged).findings, name


def test_a_ledger_from_before_digests_gets_them_from_its_next_writer(sealed, tmp_path):
    for file in sealed.parent.iterdir():
        shutil.copy(file, tmp_path)
    path = tmp_path / "ledger.db"
    db = apsw.Connection(str(path))
    db.execute("ALTER TABLE refused_days DROP COLUMN digest; ALTER TABLE gateway_keys DROP COLUMN digest")
    db.close()
    assert verify(path).findings == []
    books = Books.open(path, rules(1, key=None))
    books.shelf()
    books.close(END)
    assert verify(path).findings == []
    assert content(path, ["gateway_keys"]) == content(sealed, ["gateway_keys"])


def test_a_consistent_lie_in_records_is_found_by_settling_again(ledger, tmp_path):
    from dataclasses import replace

    from controller.settlement.intervals import record_leaf
    from controller.store.ledger_file import LedgerFile

    damaged = tmp_path / "ledger.db"
    shutil.copy(ledger, damaged)
    kept = next(LedgerFile.read(damaged).records(Instant(START), Instant(START + DAY_MS), "home-01"))
    forged = replace(kept.record, import_start=kept.record.import_start - 5)
    db = apsw.Connection(str(damaged))
    db.execute(
        "UPDATE records SET import_start = ?, leaf = ? WHERE leaf = ?",
        (forged.import_start, record_leaf(forged), kept.leaf),
    )
    db.close()
    first = verify(damaged).findings[0]
    assert (first.table, first.where) == ("settlement", "2026-06-01 home-01")


def test_a_log_by_another_key_is_found(ledger):
    other = "x+00000000+AQ=="
    assert [f.table for f in verify(ledger, key=other).findings] == ["entries"]


def test_what_is_no_ledger_is_a_finding(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"not a database at all" * 500)
    assert verify(tmp_path).findings[0].table == "file"
    assert verify(tmp_path / "nothing").findings[0].table == "file"
