"""`atoll backup`, `restore` and `doctor` on a real ledger, also while somebody writes."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from controller.cli import exit_code
from controller.shell.books import Books
from controller.shell.children import wait_until
from controller.shell.ledger_verify import verify
from devices.clock import DAY_MS, Instant
from devices.shell.data_lock import DataLock
from devices.shell.gateway_key import own_key
from tests.ledger_village import Village, local_midnight, rules
from tests.said import said

START = local_midnight("2026-06-01")


def fill(folder: Path, days: int) -> None:
    books = Books.open(folder / "ledger.db", replace(rules(), key=None))
    end = Instant(START + days * DAY_MS)
    books.accept(list(Village(START).until(end)))
    books.commit(end)
    books.run_due(Instant(end + DAY_MS))
    books.close(Instant(end + DAY_MS))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with a ledger, a gateway's files, a log and a lock."""
    folder = tmp_path / "data"
    (folder / "gw-1").mkdir(parents=True)
    (folder / "logs").mkdir()
    (folder / "logs" / "hub.log").write_text("secret chatter")
    own_key(folder / "gw-1")
    fill(folder, 1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATOLL_DATA", str(folder))
    return folder


def test_a_backup_comes_back_whole_and_holds_no_keys(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = verify(data)
    said(capsys, "backup", "b.tar.gz", "--keys", "k.db")
    assert Path("b.tar.gz").stat().st_mode & 0o077 == 0
    with tarfile.open("b.tar.gz") as tar:
        names = tar.getnames()
    assert names[:2] == ["manifest.json", "gw-1/gateway.key"]
    assert not [name for name in names if "keys.db" in name or "log" in name.split("/")]
    assert "sound" in said(capsys, "restore", "b.tar.gz", "--check")
    assert "no keys.db" in said(capsys, "restore", "b.tar.gz", "--data-dir", "bare")
    said(capsys, "restore", "b.tar.gz", "--data-dir", "new", "--keys", "k.db")
    after = verify(Path("new"))
    assert (after.ok, after.root, after.records) == (True, before.root, before.records)
    assert Path("new/gw-1/gateway.key").stat().st_mode & 0o077 == 0
    assert Path("new/gw-1/gateway.key").read_bytes() == (data / "gw-1" / "gateway.key").read_bytes()


def test_nothing_is_overwritten_and_no_second_truth_is_made(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "backup", "old.tar.gz")
    assert "never written over" in said(capsys, "backup", "old.tar.gz", code=3)
    assert "BACKUP-002" in said(capsys, "restore", "old.tar.gz", code=3)
    lock = DataLock(data, "hub")
    assert "already running" in said(capsys, "restore", "old.tar.gz", "--replace", code=6)
    lock.close()
    said(capsys, "restore", "old.tar.gz", "--replace")
    assert list(data.parent.glob("data.before-*"))
    fill(data, 2)
    held = verify(data).entries
    assert "BACKUP-003" in said(capsys, "restore", "old.tar.gz", "--replace", code=6)
    assert verify(data).entries == held
    said(capsys, "restore", "old.tar.gz", "--replace", "--older")
    assert verify(data).entries < held


def test_a_backup_that_was_cut_or_altered_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "backup", "b.tar.gz")
    whole = Path("b.tar.gz").read_bytes()
    Path("cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    Path("none.tar.gz").write_bytes(b"no backup")
    shutil.unpack_archive("b.tar.gz", "x")
    Path("x/gw-1/gateway.key").write_text("another key")
    with tarfile.open("altered.tar.gz", "w:gz") as tar:
        for name in ("manifest.json", "gw-1/gateway.key", "ledger.db"):
            tar.add(f"x/{name}", name)
    manifest = json.loads(Path("x/manifest.json").read_text())
    manifest["files"][0]["name"] = "../../outside"
    Path("x/manifest.json").write_text(json.dumps(manifest))
    with tarfile.open("outside.tar.gz", "w:gz") as tar:
        tar.add("x/manifest.json", "manifest.json")
    for name in ("cut", "none", "altered", "outside", "missing"):
        assert "BACKUP-001" in said(capsys, "restore", f"{name}.tar.gz", "--data-dir", "fresh", code=3), name
    assert not Path("fresh").exists()
    assert not list(Path().glob(".restore-*"))


def test_a_copy_under_writes_is_one_committed_state(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = apsw.Connection(str(data / "tele-202606.db"))
    writer.execute("PRAGMA journal_mode=WAL").fetchall()
    writer.execute("CREATE TABLE a(n); CREATE TABLE b(n); CREATE TABLE c(n)")
    writer.execute("INSERT INTO c VALUES(randomblob(30000000))")  # no copy of it is done before the next write
    over = threading.Event()
    done = 0

    def write() -> None:
        nonlocal done
        while not over.wait(0.002):  # at full speed the file grows by 30 MB a second
            with writer:
                writer.execute("INSERT INTO a VALUES(randomblob(4000)); INSERT INTO b VALUES(1)")
            done += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert wait_until(lambda: done > 50, 20)
        for number in range(3):
            said(capsys, "backup", f"{number}.tar.gz")
            said(capsys, "restore", f"{number}.tar.gz", "--data-dir", f"r{number}")
            copy = apsw.Connection(f"r{number}/tele-202606.db")
            rows: list[Any] = copy.execute("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)").fetchall()
            copy.close()
            assert rows[0][0] == rows[0][1] != 0
    finally:
        over.set()
        thread.join()
        writer.close()


# ---------------------------------------------------------------------------------------------------- doctor


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(["mosquitto", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def there() -> bool:
        with socket.socket() as link:
            return link.connect_ex(("127.0.0.1", port)) == 0

    assert wait_until(there, 10)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(5)


def checks(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, str]]:
    capsys.readouterr()
    exit_code(["doctor", "--json", *words])
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)["checks"]}


@pytest.mark.integration
@pytest.mark.needs("mosquitto")
def test_the_doctor_finds_and_mends(data: Path, broker: str, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "gw-1" / "gateway.key").chmod(0o644)
    (data / "hub.sock").touch()
    (data / "run.json.77.part").touch()
    before = checks(capsys, "--broker", broker)
    assert before["broker"]["state"] == "pass"
    assert (before["keys"]["state"], before["hub"]["state"]) == ("fail", "warn")
    assert before["backup"]["state"] == "warn"
    assert before["ledger"]["state"] in ("pass", "warn")  # a busy machine may not verify in time
    said(capsys, "backup")
    after = checks(capsys, "--broker", broker, "--fix")
    assert (after["keys"]["state"], after["hub"]["state"], after["backup"]["state"]) == ("pass", "skip", "pass")
    assert not list(data.glob("*.part"))


def test_the_doctor_names_a_broken_site_a_missing_port_and_a_stranger_for_a_broker(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["init", "--yes", "--name", "M", "--endpoint", "rtu:/dev/serial/by-id/none?baud=9600"]) == 0
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        threading.Thread(target=lambda: stranger.accept()[0].sendall(b"SSH-2.0"), daemon=True).start()
        found = checks(capsys, "--broker", f"127.0.0.1:{port}")
    assert "no MQTT broker" in found["broker"]["seen"]
    assert "by-id" in found["port none"]["fix"]
    assert found["device grid"]["state"] == "fail"
    Path("site.toml").write_text(Path("site.toml").read_text().replace('currency = "USD"', "currency = USD"))
    assert "SITE-001" in checks(capsys)["site file"]["seen"]


def test_the_doctor_says_that_a_restored_ledger_waits(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "backup", "b.tar.gz")
    assert "restored" not in checks(capsys)
    said(capsys, "restore", "b.tar.gz", "--replace")
    found = checks(capsys)["restored"]
    assert (found["state"], "--new-log" in found["fix"]) == ("warn", True)
