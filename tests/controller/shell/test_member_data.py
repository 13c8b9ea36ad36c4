"""A person's own data: sealed in the ledger, given out whole, and gone from every byte after they are erased."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from controller.cli import exit_code
from controller.cli.errors import ExitCode
from controller.image import Snapshot
from controller.mirror import Mirror
from controller.shell.backup import make_backup, restore
from controller.shell.bill_export import NoSuchBill, export_bill
from controller.shell.books import Books
from controller.shell.ledger_verify import verify
from controller.shell.member_data import ERASED
from controller.store import months
from controller.store.ledger_file import LedgerFile
from controller.store.telemetry import TelemetryReader, TelemetryWriter
from devices.clock import DAY_MS, HOUR_MS, Instant, iso
from devices.model import DeviceId, PointId, Quality, Readings
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
    assert keys.has("member:home-02")
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
    assert bundle["atoll_bundle"] == 2
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


def test_a_late_record_after_erasure_changes_nothing_that_was_settled(path, tmp_path):
    Books.open(path, WITHOUT).close(END)
    assert exit_code(["member", "erase", "home-02", "--data-dir", str(path.parent), "--yes", "--with-balance"]) == 0
    books = Books.open(path, WITHOUT)
    before = settled_entries(path)
    late = [r for r in Village(START, 3).until(Instant(START + DAY_MS)) if r.usage_point == "home-02"]
    assert {refused.reason for refused in books.accept(late).refused} == {"its member's data were erased"}
    neighbour = replace(Village(START, 3).until(Instant(START + 2 * DAY_MS))[0], page=10_000)
    assert books.accept([neighbour]).late == 1  # a correction that would need the data that are gone
    books.run_due(Instant(END + DAY_MS))
    books.close(END)
    assert settled_entries(path) == before
    assert verify(path).findings == []


def settled_entries(path: Path) -> list[tuple[str, str, str]]:
    file = LedgerFile.read(path)
    found = [
        (row.id, row.kind, row.state) for row in file.entries() if row.period.startswith(("2026-06-01", "2026-06-02"))
    ]
    file.close()
    return found


def test_a_body_that_was_altered_or_lost_is_found(path):
    file = LedgerFile.write(path)
    file.database.execute("UPDATE payloads SET sealed = zeroblob(60) WHERE seq = (SELECT max(seq) FROM payloads)")
    file.close()
    assert any("was altered" in str(finding) for finding in verify(path).findings)
    file = LedgerFile.write(path)
    file.database.execute("DELETE FROM payloads WHERE seq = (SELECT max(seq) FROM payloads)")
    file.close()
    assert any("no receipt says that it was erased" in str(finding) for finding in verify(path).findings)
