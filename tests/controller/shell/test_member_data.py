"""A person's own data: sealed in the ledger, given out whole, and gone from every byte after they are erased."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from controller.cli import exit_code
from controller.cli.errors import ExitCode
from controller.image import Snapshot
from controller.ledger.canonical import encode
from controller.ledger.entries import SealedEntry, derived_id
from controller.ledger.merkle import leaf_hash, root_of
from controller.ledger.sealing import ERASED_TEXT
from controller.ledger.vault import Vault
from controller.mirror import Mirror
from controller.money.desk import Asked
from controller.money.rules import MoneyRules, Officer
from controller.settlement.intervals import record_leaf
from controller.shell.backup import make_backup, restore
from controller.shell.bill_export import NoSuchBill, export_bill
from controller.shell.books import Books, BooksRules
from controller.shell.ledger_verify import verify
from controller.shell.member_data import ERASED, StillMember, erase, export, own_spans
from controller.shell.member_readings import write_readings
from controller.store import months
from controller.store.ledger_file import LedgerFile
from controller.store.member_keys import ensure
from controller.store.telemetry import TelemetryReader, TelemetryWriter
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, ClockQuality, Instant, iso
from devices.model import DeviceId, IntervalRecord, PointId, Quality, Readings, RecordQuality
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, local_midnight, rules
from verifier.atoll_verify import judge

START = local_midnight("2026-06-01")
END = Instant(START + 2 * DAY_MS + 12 * HOUR_MS)
OWN = rules(3, key=None)
WITHOUT = replace(OWN, members=tuple(m for m in OWN.members if m.id != "home-02"))


def sealed_ledger(folder: Path) -> Path:
    path = folder / "ledger.db"
    books = Books.open(path, OWN)
    live(books, Village(START, 3).until(Instant(START + 2 * DAY_MS)), END)
    books.close(END)
    return path


@pytest.fixture
def path(tmp_path) -> Path:
    return sealed_ledger(tmp_path)


def payload_bytes(path: Path) -> list[bytes]:
    """Returns what nobody may find: bodies, salts, keys, registers of home-02, and the sealed bytes themselves."""
    file = LedgerFile.read(path)
    rows = [row for row in file.entries() if row.member == "home-02" and row.opened]
    db = file.database
    found = [row.opened for row in rows] + [row.salt for row in rows]
    rows_of = db.execute("SELECT sealed FROM payloads WHERE member = 'home-02'").fetchall()
    found += [sealed for (sealed,) in rows_of if isinstance(sealed, bytes)]
    sql = "SELECT leaf FROM records JOIN points ON points.id = point WHERE name IN ('home-02', 'home-02.water')"
    found += [leaf for (leaf,) in db.execute(sql).fetchall() if isinstance(leaf, bytes)]
    file.close()
    keys = LedgerFile.read(path).vault
    assert keys.has("member:home-02/own")
    return found


def raw(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def key_bytes(folder: Path) -> list[bytes]:
    import apsw

    db = apsw.Connection(str(folder / "keys.db"), flags=apsw.SQLITE_OPEN_READONLY)
    rows = db.execute("SELECT key FROM member_keys WHERE member = 'home-02'").fetchall()
    db.close()
    return [key for (key,) in rows if isinstance(key, bytes)]


def test_a_sealed_ledger_verifies_and_every_bill_is_recomputed(path):
    found = verify(path)
    assert found.findings == []
    assert (found.days, found.closed) == (2, ())
    for member in ("home-01", "home-02", "home-03"):
        report = judge(export_bill(path, member, "2026-06-01"))
        assert report["verdict"] == "ok", report
    bundle = json.loads(export_bill(path, "home-02", "2026-06-02"))
    assert bundle["atoll_bundle"] == 4
    entry = next(entry for entry in bundle["entries"] if '"kind":"bill"' in entry["document"])
    entry["opened"] = entry["opened"].replace('"amount":"', '"amount":"1', 1)
    assert judge(json.dumps(bundle, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())["verdict"] == (
        "differs"
    )


def test_the_log_holds_no_quantity_of_a_household(path):
    file = LedgerFile.read(path)
    own = [row for row in file.entries() if row.kind in ("settle.day", "bill") and row.member.startswith("home")]
    file.close()
    assert len(own) == 12
    assert all(b"quantit" not in row.document and b"lines" not in row.document for row in own)
    assert all(row.opened for row in own)


def test_books_go_on_after_a_restart_and_a_record_sent_again_is_a_duplicate(path):
    books = Books.open(path, OWN)
    again = books.accept(Village(START, 3).until(Instant(START + DAY_MS)))
    assert (again.accepted, again.refused) == (0, ())
    assert [run for run in books.run_due(END) if run.run != "provisional"] == []
    books.close(END)


def test_a_copy_without_keys_says_that_it_cannot_judge(path, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(path, bare / "ledger.db")
    found = verify(bare)
    assert found.findings == []
    assert "2026-06-01" in found.closed
    with pytest.raises(NoSuchBill, match="key of 'home-02'"):
        export_bill(bare / "ledger.db", "home-02", "2026-06-01")


def test_export_gives_a_person_everything_and_nothing_of_others(path, tmp_path):
    out = tmp_path / "out" / "home-02"
    out.parent.mkdir()
    readings(path.parent)
    assert exit_code(["member", "export", "home-02", "--data-dir", str(path.parent), "-o", str(out)]) == ExitCode.OK
    document = json.loads(out.with_suffix(".json").read_text())
    assert {point: len(rows) for point, rows in document["records"].items()} == {"home-02": 192, "home-02.water": 192}
    assert sum(entry["kind"] == "bill" for entry in document["entries"]) == 2
    assert "home-01" not in json.dumps(document["records"])
    text = out.with_suffix(".txt").read_text()
    assert "energy from outside, evening" in text
    assert re.search(r"balance  member:home-02:owes  \d+\.\d\d EUR\n", text)
    assert re.search(r"evening: [\d.]+ kWh x 0\.42 EUR/kWh = [\d.]+ EUR\n", text)
    assert "2026-06-01 00:00  import 1.000 kWh to " in text, "civil time, and registers as on the display"
    assert re.search(r"2026-06-01 00:00  import 0\.001000 m3 to \S+ m3\n", text)
    assert "money:" not in text
    with out.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 790
    assert {row["device"] for row in rows} == {"home-02"}, "nobody else's live readings"
    assert (rows[0]["utc"], rows[0]["point"], rows[0]["value"]) == (iso(END), "W", "300.0")
    more = ["member", "export", "home-02", "--data-dir", str(path.parent), "-o", str(out), "--device", "pv-02"]
    assert exit_code(more) == ExitCode.OK
    assert len(out.with_suffix(".csv").read_text().splitlines()) == 1 + 2 * 790
    for name in ("ledger.db", "tele-202606.db"):
        assert (path.parent / name).stat().st_mode & 0o007 == 0, "others on the machine do not read it"
    assert exit_code(["member", "export", "nobody", "--data-dir", str(path.parent), "-o", str(out)]) == 1


def readings(folder: Path) -> list[bytes]:
    """Writes two hours of live readings of two homes, most of it re-chunked; returns the bytes that hold home-02's."""
    writer = TelemetryWriter(folder)
    for second in range(0, 7_900, 10):
        at = Instant(END + second * 1_000)
        for home, watts in (("home-02", 300.0 + second % 97), ("home-03", 250.0 + second % 89), ("pv-02", second % 83)):
            writer.add(Readings(DeviceId(home), at, ("W",), (float(watts),), (Quality.GOOD,)))
        if not second % 60:
            writer.flush(at)
    writer.close(Instant(END + 7_900_000))
    db = months.open_month_reading(next(folder.glob("tele-*.db")))
    gone = {int(str(row)) for row, device in db.execute("SELECT id, device FROM layout") if device != "home-03"}
    bodies = [chunk for (body,) in db.execute("SELECT body FROM flush") for layout, chunk in
              months.unpack_flush(cast("bytes", body)) if layout in gone]  # fmt: skip
    sql = "SELECT body FROM hour JOIN series ON series.id = series WHERE point != 'home-03/W'"
    bodies += [cast("bytes", body) for (body,) in db.execute(sql)]
    db.close()
    return bodies


def test_live_readings_are_gone_too_and_the_broker_is_told(path, capsys):
    folder = path.parent
    secret = readings(folder)
    assert len(secret) > 10
    before = TelemetryReader(folder).range(PointId("home-03/W"), END, Instant(END + DAY_MS))
    (folder / "tele-202605.db.corrupt-1").write_bytes(b"somebody's")
    (folder / "backups").mkdir()
    (folder / "backups" / "old.tar").write_bytes(b"old")
    Books.open(path, WITHOUT).close(END)
    erase = ["member", "erase", "home-02", "--data-dir", str(folder), "--yes", "--with-balance", "--device", "pv-02"]
    assert exit_code([*erase, "--json"]) == ExitCode.OK
    receipt = json.loads(capsys.readouterr().out)
    assert (receipt["readings"], receipt["left"]) == (len(secret), [str(folder / "backups" / "old.tar")])
    for name, content in raw(folder).items():
        assert not any(part in content for part in secret), name
    assert not list(folder.glob("*.corrupt-*"))
    reader = TelemetryReader(folder)
    assert reader.range(PointId("home-02/W"), END, Instant(END + DAY_MS)).times == ()
    assert reader.range(PointId("home-03/W"), END, Instant(END + DAY_MS)) == before
    books = Books.open(path, WITHOUT)
    gone = tuple(PointId(point) for point in books.reader().erased_points())
    books.close(END)
    assert gone == ("home-02/W", "pv-02/W")
    mirror = Mirror("test", 1_000, gone)
    empty = Snapshot(END, {}, {})
    told = mirror.take(empty, END)
    assert [(one.topic, one.payload, one.retain) for one in told] == [
        ("atoll/test/home-02/W", b"", True), ("atoll/test/pv-02/W", b"", True),
    ]  # fmt: skip
    assert mirror.take(empty, END) == []
    mirror.forget()  # a new session: the broker may have come back with an old store
    assert len(mirror.take(empty, END)) == 2
    assert exit_code(erase) == ExitCode.OK


def test_backups_and_copies_of_keys_are_written_anew(path, tmp_path, capsys):
    folder = path.parent
    secret = readings(folder)
    (folder / "tele-202605.db.corrupt-1").write_bytes(b"somebody's")
    keys, inside, stick = key_bytes(folder), folder / "snapshots" / "a.tar.gz", tmp_path / "stick" / "b.tar.gz"
    made = make_backup(folder, inside, keys=inside.with_name("a.keys.db"))
    make_backup(folder, stick)
    Books.open(path, WITHOUT).close(END)
    erase = ["member", "erase", "home-02", "--data-dir", str(folder), "--yes", "--with-balance", "--device", "pv-02"]
    for _ in range(2):  # the second time as after a crash
        assert exit_code([*erase, "--copy", str(stick), "--json"]) == ExitCode.OK
        receipt = json.loads(capsys.readouterr().out)
        assert (receipt["cleaned"], receipt["left"]) == (
            [str(inside.with_name("a.keys.db")), str(inside), str(stick)],
            [],
        )
    for number, copy in enumerate((inside, stick)):
        assert copy.stat().st_mode & 0o777 == 0o600
        restored = tmp_path / f"restored-{number}"
        assert restore(copy, restored, replace=False, older=False)["root"] == made.root
        assert not list(restored.glob("*.corrupt-*"))
        kept = TelemetryReader(restored).range(PointId("home-03/W"), END, Instant(END + DAY_MS))
        assert kept == TelemetryReader(folder).range(PointId("home-03/W"), END, Instant(END + DAY_MS))
        assert TelemetryReader(restored).range(PointId("home-02/W"), END, Instant(END + DAY_MS)).times == ()
    for name, content in raw(tmp_path).items():
        assert not any(part in content for part in [*secret, *keys]), name


def test_after_erasure_no_byte_is_left_and_every_proof_holds(path, tmp_path, capsys):
    folder = path.parent
    backup = tmp_path / "backups"
    backup.mkdir()
    shutil.copy(path, backup / "ledger-of-yesterday.db")  # a ledger backup, as it is told: without keys.db
    kept = json.loads(export_bill(path, "home-01", "2026-06-01"))["checkpoint"]
    secret, keys = payload_bytes(path), key_bytes(folder)
    erase = ["member", "erase", "home-02", "--data-dir", str(folder), "--yes"]
    assert exit_code(erase) == ExitCode.UNSAFE
    assert "take it out of the site file" in capsys.readouterr().err
    Books.open(path, WITHOUT).close(END)
    assert exit_code(erase) == ExitCode.UNSAFE
    assert "still has a balance" in capsys.readouterr().err
    assert exit_code([*erase, "--with-balance", "--json"]) == ExitCode.OK
    receipt = json.loads(capsys.readouterr().out)
    assert (receipt["bodies"], receipt["records"], receipt["keys"]) == (4, 384, 3)

    opened = secret[:8]  # plain bodies and salts are nowhere, not even in the backup
    for name, content in raw(tmp_path).items():
        assert not any(part in content for part in [*opened, *keys]), name
    for name, content in raw(folder).items():
        if not name.startswith("backups"):
            assert not any(part in content for part in secret), name
    found = verify(path)
    assert found.findings == []
    assert "2026-06-01" in found.closed
    report = judge(export_bill(path, "home-01", "2026-06-01", kept), last=kept)
    assert report["verdict"] == "ok", report
    file = LedgerFile.read(path)
    assert [row.id for row in file.of_kind(ERASED)] == [receipt["receipt"]]
    file.close()
    assert exit_code([*erase, "--with-balance"]) == ExitCode.OK  # after a crash it would end the work


def test_a_late_record_of_an_erased_member_changes_nothing(path):
    Books.open(path, WITHOUT).close(END)
    erase_home_02(path)
    books = Books.open(path, WITHOUT)
    late = [r for r in Village(START, 3).until(Instant(START + DAY_MS)) if r.usage_point == "home-02"]
    assert {refused.reason for refused in books.accept(late).refused} == {"its member's data were erased"}
    before = standing(path, "home-01", "home-02")
    books.run_due(Instant(END + HOUR_MS))
    books.close(END)
    assert standing(path, "home-01", "home-02") == before
    assert verify(path).findings == []


def lacking(folder: Path, *, erased: bool) -> tuple[Path, list[IntervalRecord]]:
    """Returns a ledger of two days in which a neighbour's readings were missing, twice, and those; home-02 has gone."""
    folder.mkdir()
    path, records = folder / "ledger.db", Village(START, 3).until(Instant(START + 2 * DAY_MS))
    gaps = (*range(40, 43), 60, *range(93, 98))
    late = [r for r in records if r.usage_point in ("home-01", "home-03") and (r.start - START) // SLOT_MS in gaps]
    books = Books.open(path, OWN)
    live(books, [r for r in records if r not in late], END)
    books.close(END)
    Books.open(path, WITHOUT).close(END)
    if erased:
        erase_home_02(path)
    return path, late


def standing(path: Path, *members: str) -> dict[tuple[str, str, str], object]:
    """Returns what stands of members' days and bills: the text, but for the entry that it replaces."""
    file = LedgerFile.read(path)
    undone = {row.sealed().entry.refers for row in file.resolutions()}
    rows = [row for row in file.entries() if row.kind in ("settle.day", "bill") and row.id not in undone]
    found: dict[tuple[str, str, str], object] = {}
    for row in rows:
        if row.member in members and row.state == "posted":
            body = dict(row.sealed().entry.body)
            bare = {k: v for k, v in body.items() if k not in ("replaces", "inputs", "sealed", "leaves", "charter")}
            found[row.kind, row.period, row.member] = bare, row.sealed().entry.postings
    file.close()
    return found


@pytest.mark.parametrize("restart", [False, True])
def test_what_comes_late_of_a_neighbour_is_settled_after_an_erasure(tmp_path, restart):
    found: list[dict[tuple[str, str, str], object]] = []
    for erased in (False, True):
        path, late = lacking(tmp_path / str(erased), erased=erased)
        before = standing(path, "home-02")
        books = Books.open(path, WITHOUT)
        assert books.accept(late).accepted == len(late)
        books.commit(END)
        if restart:
            books.close(END)
            books = Books.open(path, WITHOUT)
        runs = [(run.run, run.period) for run in books.run_due(Instant(END + HOUR_MS)) if run.run != "provisional"]
        assert {("correction", "2026-06-01"), ("bill-correction", "2026-06-01")} <= set(runs)
        books.commit(END)
        assert [one for one in books.run_due(Instant(END + 2 * HOUR_MS)) if one.run != "provisional"] == []
        assert books.imbalance() == 0
        books.close(Instant(END + 2 * HOUR_MS))
        report = verify(path)
        assert report.findings == []
        assert judge(export_bill(path, "home-01", "2026-06-01"))["verdict"] == "ok"
        found.append(standing(path, "home-01", "home-03", "community"))
        if erased:
            assert standing(path, "home-02") == before  # as its postings say
    assert found[0] == found[1]  # the neighbours' bills are what they would be, had nobody been erased


def test_a_correction_that_cannot_be_made_is_written_down(tmp_path, capsys):
    path, late = lacking(tmp_path / "a", erased=True)
    books = Books.open(path, WITHOUT)
    before = standing(path, "home-01", "home-03")
    books.accept(late)
    books._file.clear_unseen()  # as if nobody knew what the run had not seen
    books.run_due(Instant(END + HOUR_MS))
    books.close(END)
    assert standing(path, "home-01", "home-03") == before
    assert verify(path).findings == []
    capsys.readouterr()
    assert exit_code(["why", "refusal", "2026-06-01/home-01", "--data-dir", str(path.parent)]) == ExitCode.OK
    assert "stays as it was settled, without what came late of home-01, home-03" in capsys.readouterr().out


def test_a_body_that_was_altered_or_lost_is_found(path):
    file = LedgerFile.write(path)
    file.database.execute("UPDATE payloads SET sealed = zeroblob(60) WHERE seq = (SELECT max(seq) FROM payloads)")
    file.close()
    assert any("was altered" in str(finding) for finding in verify(path).findings)
    file = LedgerFile.write(path)
    file.database.execute("DELETE FROM payloads WHERE seq = (SELECT max(seq) FROM payloads)")
    file.close()
    assert any("no receipt says that it was erased" in str(finding) for finding in verify(path).findings)


NOON, EVENING = Instant(START + 3 * DAY_MS + 12 * HOUR_MS), Instant(START + DAY_MS - HOUR_MS)
TENANT = replace(
    OWN,
    members=tuple(replace(m, id="tenant-b", name="B") if m.id == "home-02" else m for m in OWN.members),
    charter=replace(OWN.charter, valid_from=Instant(START + DAY_MS)),
)


def handed_over(folder: Path, rules_before: BooksRules = OWN) -> Path:
    """Returns a ledger in which tenant-b has taken over the meters of home-02 after the first of three days."""
    path, village = folder / "ledger.db", Village(START, 3)
    books = Books.open(path, rules_before)
    live(books, village.until(EVENING), EVENING)
    books.close(EVENING)
    books = Books.open(path, TENANT)
    live(books, village.until(Instant(START + 3 * DAY_MS)), NOON)
    books.close(NOON)
    return path


def erase_home_02(path: Path) -> None:
    erase = ["member", "erase", "home-02", "--data-dir", str(path.parent), "--yes", "--with-balance"]
    assert exit_code(erase) == ExitCode.OK


def counted(path: Path, member: str) -> dict[str, int]:
    """Returns how many records of each meter a person's own data hold."""
    records = cast("dict[str, list[object]]", export(path, member)["records"])
    return {point: len(rows) for point, rows in records.items()}


def judged(path: Path, *names: str) -> list[object]:
    return [judge(export_bill(path, name, "2026-06-02"))["verdict"] for name in names]


def test_a_new_tenant_keeps_everything_when_the_former_one_is_erased(tmp_path):
    path = handed_over(tmp_path)
    export_of = export(path, "tenant-b")["records"]
    assert counted(path, "tenant-b") == {"home-02": 192, "home-02.water": 192}
    assert counted(path, "home-02") == {"home-02": 96, "home-02.water": 96}
    file = LedgerFile.read(path)
    secret = [row.opened for row in file.entries() if row.member == "home-02" and row.opened]
    sql = "SELECT leaf FROM records JOIN points ON points.id = point WHERE name LIKE 'home-02%' AND start_ms < ?"
    secret += [leaf for (leaf,) in file.database.execute(sql, (START + DAY_MS,)).fetchall() if isinstance(leaf, bytes)]
    file.close()
    keys = key_bytes(tmp_path)
    assert (len(secret), len(keys)) == (2 + 192, 3)
    erase_home_02(path)
    for name, content in raw(tmp_path).items():
        assert not any(part in content for part in [*secret, *keys]), name
    assert export(path, "tenant-b")["records"] == export_of
    found = verify(path)
    assert (found.findings, found.closed) == ([], ("2026-06-01",))
    assert judged(path, "tenant-b", "home-01") == ["ok", "ok"]
    books = Books.open(path, TENANT)  # pages go on, and what is late for the one who is gone is not taken
    village = Village(START, 3).until(Instant(START + 4 * DAY_MS))
    taken = books.accept([r for r in village if r.usage_point == "home-02"])
    assert (taken.accepted, taken.duplicates, {one.reason for one in taken.refused}) == (
        96, 192, {"its member's data were erased"},
    )  # fmt: skip
    books.close(NOON)
    assert verify(path).findings == []


def test_a_gap_between_two_tenants_is_billed_to_neither(tmp_path):
    path, village = tmp_path / "ledger.db", Village(START, 3)
    books = Books.open(path, OWN)
    live(books, village.until(EVENING), EVENING)
    books.close(EVENING)
    books = Books.open(path, TENANT)
    books.run_due(EVENING)  # publishes the charter
    rest = [r for r in village.until(Instant(START + 3 * DAY_MS)) if r.start >= START + DAY_MS + 4 * SLOT_MS]
    live(books, rest, NOON)
    books.close(NOON)
    assert verify(path).findings == []
    assert judged(path, "tenant-b") == ["ok"]
    erase_home_02(path)
    assert verify(path).findings == []
    assert judged(path, "tenant-b") == ["ok"]


def test_live_readings_of_the_new_tenant_stay(tmp_path):
    path = handed_over(tmp_path)
    writer = TelemetryWriter(tmp_path)
    at, change = Instant(START + DAY_MS - 90_000), Instant(START + DAY_MS)
    for second in range(0, 180, 10):
        now = Instant(at + second * 1_000)
        writer.add(Readings(DeviceId("home-02"), now, ("W",), (float(second),), (Quality.GOOD,)))
    writer.flush(Instant(at + 180_000))
    writer.close(Instant(at + 180_000))
    for who, count in (("home-02", 9), ("tenant-b", 9)):
        assert write_readings(tmp_path, own_spans(path, who), tmp_path / "own.csv") == count
    (tmp_path / "own.csv").unlink()
    erase_home_02(path)
    times = TelemetryReader(tmp_path).range(PointId("home-02/W"), START, NOON).times
    assert times == tuple(range(change, change + 90_000, 10_000))
    books = Books.open(path, TENANT)
    assert books.reader().erased_points() == []  # the broker retains what is another's now
    books.close(NOON)


def test_what_an_older_ledger_sealed_for_the_wrong_tenant_is_sealed_anew(tmp_path):
    path = handed_over(tmp_path)
    old = old_key(path, "home-02", "home-02")
    file = LedgerFile.read(path)
    kept = {kept.record.start: kept for kept in file.records(START, NOON, "home-02")}
    place = {start: f"{start}/{item.record.meter_epoch}/{item.record.page}" for start, item in kept.items()}
    rows = [(old.seal("point:home-02", place[at], sealed_text(item.record)), at) for at, item in kept.items()]
    file.close()
    file = LedgerFile.write(path)
    file.begin()
    file.database.executemany(
        "UPDATE records SET leaf = ? WHERE start_ms = ? AND point = (SELECT id FROM points WHERE name = 'home-02')",
        rows,
    )
    file.commit()
    file.close()
    assert verify(path).findings == []
    erase_home_02(path)
    assert verify(path).findings == []
    assert judged(path, "tenant-b") == ["ok"]


def old_key(path: Path, point: str, member: str) -> Vault:
    """Adds a key as ledgers from before had one: of a usage point, by its first member."""
    return ensure(path.parent / "keys.db", {f"point:{point}": member})


def sealed_text(record: IntervalRecord) -> bytes:
    numbers = (record.import_start, record.import_end, record.export_start, record.export_end)
    quality, clock = list(RecordQuality).index(record.quality), list(ClockQuality).index(record.clock)
    return struct.pack(">QQQQBB", *numbers, quality, clock)


MONEY = MoneyRules(officers=(Officer("ana", "treasurer"), Officer("ben", "auditor")), approvals=1)


class Desk:
    """Asks the books of one ledger."""

    def __init__(self, books: Books) -> None:
        self.books, self.count = books, 0

    def ask(self, **request: object) -> str:
        self.count += 1
        asked = Asked(derived_id(END, "q", self.count), "ana", END)
        if request["do"] in ("meter", "clock"):
            return self.books.state(asked, request).code
        return self.books.till.ask(asked, request).code


def test_words_and_registers_about_a_person_go_with_its_key(tmp_path, capsys):
    path = tmp_path / "ledger.db"
    books = Books.open(path, replace(OWN, money=MONEY))
    records = Village(START, 3).until(Instant(START + 2 * DAY_MS))
    live(books, records, END)
    desk, last = Desk(books), next(r for r in reversed(records) if r.usage_point == "home-02")
    closing = [last.import_end + 777, last.export_end]
    told = [
        desk.ask(do="pay", member="home-02", amount="5", method="bank", ref="IBAN-Maria-Rossi", note="hospital stay"),
        desk.ask(do="cancel", receipt=1, reason="Maria's bank bounced it"),
        desk.ask(do="pay", member="home-02", amount="5", method="bank", ref="IBAN-Maria-Rossi", received="2026-06-02"),
        desk.ask(do="loan", member="home-02", amount="50", device="oxygen concentrator", bills=5),
        desk.ask(do="approve", proposal=1, **{"as": "ben"}),
        desk.ask(do="loan", member="home-02", amount="50", device="stair lift", bills=5),
        desk.ask(do="withdraw", proposal=2, reason="Maria moves to her daughter", **{"as": "ben"}),
        desk.ask(do="meter", usage_point="home-02", closing=closing, opening=[0, 0], reason="burnt after Maria's fire"),
        desk.ask(
            do="member-leave", member="home-02", on="2026-06-04",
            registers={"home-02": [987654321, 5], "home-02.water": [123123123, 0]},
        ),
    ]  # fmt: skip
    came = {"member": "home-02", "state": "done", "kind": "medicine", "text": "insulin for Maria"}
    assert isinstance(books.append("delivery", came, derived_id(END, "came"), END), SealedEntry)
    conflict = replace(last, import_end=last.import_end + 1)
    assert books.accept([conflict]).refused
    books.run_due(END)
    assert set(told) == {"ok"}
    assert books.till.book().receipts[0].note == "hospital stay"
    assert [loan.device for loan in books.till.book().loans.values()] == ["oxygen concentrator"]
    books.close(END)
    words = [
        b"IBAN-Maria", b"hospital", b"bounced", b"oxygen", b"stair lift", b"daughter", b"fire", b"987654321",
        b"123123123", str(closing[0]).encode(), b"insulin", b"medicine", record_leaf(conflict).hex().encode(),
    ]  # fmt: skip
    text = json.dumps(export(path, "home-02"))
    assert [word for word in words[:-1] if word.decode() not in text] == []
    assert verify(path).findings == []
    for name, content in raw(tmp_path).items():  # not even before: without the key no copy says it
        assert [word for word in words if word in content] == [], name
    books = Books.open(path, replace(WITHOUT, money=MONEY))
    books.close(END)
    erase_home_02(path)
    found = verify(path)
    assert (found.findings, found.closed) == ([], ("2026-06-01", "2026-06-02"))
    for name, content in raw(tmp_path).items():
        assert [word for word in words if word in content] == [], name
    assert "home-02.water" not in LedgerFile.read(path).of_kind(ERASED)[0].document.decode()
    books = Books.open(path, replace(WITHOUT, money=MONEY))
    receipt = books.till.book().receipts[0]
    assert (receipt.member, receipt.amount, receipt.note) == ("home-02", 500, ERASED_TEXT)
    later = Desk(books)
    later.count = 100
    assert later.ask(do="pay", member="home-02", amount="1", method="bank", ref="Maria again") == "ok"
    books.close(END)
    assert not any(b"Maria" in content for content in raw(tmp_path).values())
    capsys.readouterr()
    folder = str(tmp_path)
    for command in (
        ["ledger", "show", folder, "--limit", "200"], ["statement", "home-02", "2026", "--data-dir", folder],
        ["treasury", "show", "--data-dir", folder], ["ledger", "export", folder, "--format", "beancount"],
    ):  # fmt: skip
        assert exit_code(command) == ExitCode.OK, command
    assert ERASED_TEXT in capsys.readouterr().out
    erase_home_02(path)  # what was written since goes too, with a receipt of its own
    assert verify(path).findings == []


def test_who_is_a_member_until_midnight_is_not_erased_before(tmp_path):
    sealed_ledger(tmp_path)
    books = Books.open(tmp_path / "ledger.db", WITHOUT)
    books.run_due(END)
    books.close(END)
    with pytest.raises(StillMember, match="wait for the midnight"):
        erase(tmp_path, "home-02", END, with_balance=True)
    assert erase(tmp_path, "home-02", Instant(END + DAY_MS), with_balance=True).records > 0


def test_nobody_guesses_an_erased_day_from_the_log(tmp_path):
    path, books = tmp_path / "ledger.db", Books.open(tmp_path / "ledger.db", OWN)
    idle = [
        replace(r, import_start=47, import_end=47, export_start=0, export_end=0) if r.usage_point == "home-02" else r
        for r in Village(START, 3).until(Instant(START + DAY_MS))
    ]
    live(books, idle, END)
    books.close(END)
    Books.open(path, WITHOUT).close(END)
    erase_home_02(path)
    file = LedgerFile.read(path)
    body = next(row for row in file.of_kind("settle.day") if row.member == "home-02").sealed().entry.body
    file.close()
    own = [r for r in idle if r.usage_point == "home-02"]
    guess = leaf_hash(encode(["home-02", 96, root_of([record_leaf(r) for r in own]).hex()]))
    assert isinstance(body["leaves"], list)
    assert guess.hex() not in body["leaves"]


def test_a_ledger_sealed_by_an_earlier_program_goes_on(tmp_path, capsys):
    """`ledger_sealed.db.gz` is by commit 9515edd: two homes, one key a point, payment and meter in the clear."""
    golden, path = Path(__file__).parents[2] / "golden", tmp_path / "ledger.db"
    path.write_bytes(gzip.decompress((golden / "ledger_sealed.db.gz").read_bytes()))
    (tmp_path / "keys.db").write_bytes(gzip.decompress((golden / "ledger_sealed.keys.db.gz").read_bytes()))
    (tmp_path / "keys.db").chmod(0o600)
    found = verify(path)
    assert (found.findings, found.days, found.closed) == ([], 1, ())
    assert json.loads(export_bill(path, "home-02", "2026-06-01"))["atoll_bundle"] == 2
    two, village = rules(2, key=None), Village(START, 2)
    books = Books.open(path, two)
    assert verify(path).findings == []
    live(books, village.until(Instant(START + 2 * DAY_MS)), END)
    books.close(END)
    found = verify(path)
    assert (found.findings, found.days, found.closed) == ([], 2, ())
    for period, version in (("2026-06-01", 2), ("2026-06-02", 4)):
        bundle = export_bill(path, "home-02", period)
        assert (judge(bundle)["verdict"], json.loads(bundle)["atoll_bundle"]) == ("ok", version)
    assert counted(path, "home-02") == {"home-02": 192, "home-02.water": 192}
    keys = key_bytes(tmp_path)
    assert len(keys) == 6
    Books.open(path, replace(two, members=tuple(one for one in two.members if one.id != "home-02"))).close(END)
    backup = path.read_bytes()
    erase_home_02(path)
    for name, content in raw(tmp_path).items():
        assert not any(key in content for key in keys), name
    found = verify(path)
    assert (found.findings, found.closed, found.locked) == ([], ("2026-06-01", "2026-06-02"), ())
    assert found.ok
    assert exit_code(["ledger", "verify", str(tmp_path)]) == ExitCode.OK
    assert "sound but for what was erased" in capsys.readouterr().out
    Books.open(path, replace(two, members=tuple(one for one in two.members if one.id != "home-02"))).close(END)
    old = tmp_path / "old"
    old.mkdir()
    shutil.copy(tmp_path / "keys.db", old)  # with a new key of home-02: it opens nothing from before
    (old / "ledger.db").write_bytes(backup)
    found = verify(old)
    assert (found.findings, found.closed) == ([], ("2026-06-01", "2026-06-02"))
    assert (found.locked, found.ok) == (found.closed, False), "no receipt in this copy says why"
