"""The file itself: new, foreign, newer; modes; what a reader may do."""

from __future__ import annotations

import apsw
import pytest

from controller.settlement.arrivals import ProvisionalSlot
from controller.store.ledger_file import LedgerFile, NotALedger
from controller.store.sqlite import SQLITE_MIN, SqliteTooOld, require_sqlite
from devices.clock import Instant


def test_wal_and_full_synchronous_on_the_writing_connection(tmp_path):
    file = LedgerFile.write(tmp_path / "ledger.db")
    assert file._db.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    assert file._db.execute("PRAGMA synchronous").fetchall() == [(2,)]
    with pytest.raises(ValueError, match="durability"):
        LedgerFile.write(tmp_path / "other.db", "SOMETIMES")


def test_an_old_sqlite_is_refused(monkeypatch):
    require_sqlite()
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.40.1")
    with pytest.raises(SqliteTooOld, match=r"3\.40\.1"):
        require_sqlite()
    assert SQLITE_MIN == (3, 51, 3)


def test_foreign_newer_and_missing_files_are_refused(tmp_path):
    (tmp_path / "text.db").write_text("hello " * 1000)
    LedgerFile.write(tmp_path / "newer.db").close()
    db = apsw.Connection(str(tmp_path / "newer.db"))
    db.execute("PRAGMA user_version = 99")
    db.close()
    other = apsw.Connection(str(tmp_path / "other.db"))
    other.execute("CREATE TABLE x(y)")
    other.close()
    for name in ("text.db", "newer.db", "other.db"):
        for opener in (LedgerFile.read, LedgerFile.write):
            with pytest.raises(NotALedger, match=name):
                opener(tmp_path / name)
    with pytest.raises(NotALedger, match=r"missing\.db"):
        LedgerFile.read(tmp_path / "missing.db")


def test_a_reader_cannot_write(tmp_path):
    LedgerFile.write(tmp_path / "ledger.db").close()
    reader = LedgerFile.read(tmp_path / "ledger.db")
    with pytest.raises(apsw.Error):
        reader.mark_late([Instant(1)])


def test_nothing_is_there_before_the_commit(tmp_path):
    writer, reader = LedgerFile.write(tmp_path / "l.db"), LedgerFile.read(tmp_path / "l.db")
    row = ProvisionalSlot(Instant(900_000), 5, 4, 3, 2, ("home-01",))
    writer.put_provisional([row])
    assert reader.provisional(Instant(0), Instant(10**12)) == []
    writer.commit()
    assert reader.provisional(Instant(0), Instant(10**12)) == [(row, row.digest())]
