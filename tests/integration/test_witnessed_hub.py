"""A hub process and a witness process: what was cosigned once, a restored copy cannot sign differently."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from controller.ledger.entries import derived_id
from controller.shell.books import Books
from controller.shell.broker import free_port
from controller.shell.children import wait_until
from controller.shell.simulation import books_rules, start_of
from controller.site import load
from tests.integration.stack import VILLAGE

pytestmark = pytest.mark.integration
ATOLL = (sys.executable, "-m", "controller.cli")


def test_a_hub_whose_ledger_was_restored_from_an_old_copy_does_not_start(tmp_path: Path) -> None:
    data, site = tmp_path / "data", tmp_path / "village.toml"
    data.mkdir()
    village = load(VILLAGE.read_text(), str(VILLAGE))
    rules, at = books_rules(village), start_of(village)
    Books.open(data / "ledger.db", rules).close(at)
    shutil.copy(data / "ledger.db", tmp_path / "backup.db")
    books = Books.open(data / "ledger.db", rules)
    books.append("note", {"text": "after the backup"}, derived_id(at, "note"), at)
    key, size = books._journal.verifier, books.close(at).entries
    port, broker, console = (free_port("127.0.0.1", first) for first in (24440, 24883, 31080))
    words = ["witness", "--data-dir", str(tmp_path / "w"), "--listen", f"127.0.0.1:{port}", "--log", key]
    with subprocess.Popen([*ATOLL, *words], stdout=subprocess.PIPE, text=True) as witness:
        try:
            assert witness.stdout is not None
            keys = [witness.stdout.readline().strip() for _ in range(2)]
            assert "answers on" in witness.stdout.readline()
            row = f'[[ledger.witnesses]]\nurl = "http://127.0.0.1:{port}"\nkeys = ["{keys[0]}", "{keys[1]}"]\n'
            site.write_text(f"{VILLAGE.read_text()}\n[ledger]\nquorum = 1\n\n{row}")
            command = [*ATOLL, "run", "hub", str(site), "--data-dir", str(data)]
            command += ["--port", str(console), "--broker-port", str(broker)]
            log = tmp_path / "log"
            with log.open("wb") as out:
                hub = subprocess.Popen(command, stdout=out, stderr=out)
            assert wait_until(lambda: seen(tmp_path / "w" / "witness.db") >= size, 60), log.read_text()
            assert wait_until(lambda: cosigned(data / "ledger.db", size), 60), log.read_text()
            hub.terminate()
            assert hub.wait(30) == 0, log.read_text()

            for old in data.glob("ledger.db*"):
                old.unlink()
            shutil.copy(tmp_path / "backup.db", data / "ledger.db")
            again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert again.returncode == 6, again.stderr
            assert "has seen a longer log" in again.stderr
            assert "This ledger is an old copy" in again.stderr
            assert (data / "ledger.db").read_bytes() == (tmp_path / "backup.db").read_bytes(), "nothing was written"
        finally:
            witness.terminate()


def seen(path: Path) -> int:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return db.execute("SELECT coalesce(max(size), 0) FROM seen").get
    finally:
        db.close()


def cosigned(path: Path, size: int) -> bool:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        note = db.execute("SELECT note FROM checkpoints WHERE size = ?", (size,)).get
    finally:
        db.close()
    return "witness.local" in str(note)
