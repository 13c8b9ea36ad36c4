"""`atoll config`: a change that nobody confirms goes back by itself, whoever dies meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from controller.cli import exit_code
from controller.shell import site_change
from controller.shell.books import Books
from controller.shell.children import wait_until
from controller.shell.simulation import books_rules
from controller.site import load
from tests.said import said


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A sound site file, and new.toml that differs in one comment and one value."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ATOLL_SITE", raising=False)
    assert exit_code(["init", "--yes", "--name", "Motu", "--endpoint", "10.0.0.9:502"]) == 0
    text = Path("site.toml").read_text()
    Path("new.toml").write_text(text.replace("import_limit_w = 40000", "import_limit_w = 30000  # new fuse"))
    capsys.readouterr()
    return tmp_path / "site.toml"


def changed(site: Path) -> bool:
    return "new fuse" in site.read_text()


def test_a_change_that_is_confirmed_stays(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "+import_limit_w = 30000  # new fuse" in said(capsys, "config", "diff", "new.toml")
    assert not changed(site)
    said(capsys, "config", "apply", "new.toml", "--timeout", "60")
    assert "goes back in" in said(capsys, "config", "show")
    assert "CFG-001" in said(capsys, "config", "apply", "new.toml", code=75)
    said(capsys, "config", "confirm")
    assert changed(site)
    assert "CFG-002" in said(capsys, "config", "confirm", code=1)
    said(capsys, "config", "rollback")
    assert not changed(site)


def test_an_unsound_change_is_not_applied(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("new.toml").write_text(Path("new.toml").read_text().replace('sharing = "prop', 'sharing = "crop'))
    assert "SITE-012" in said(capsys, "config", "diff", "new.toml", code=3)
    assert "nothing was applied" in said(capsys, "config", "apply", "new.toml", code=3)
    assert not site_change.pending_file(site).exists()


def test_what_the_ledger_keeps_for_life_is_refused_where_a_site_file_is_checked_or_applied(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = load(site.read_text(), "site.toml")
    Path("data").mkdir()
    Books.open(Path("data/ledger.db"), books_rules(place, bytes(32))).close(place.charter.valid_from)
    assert "is sound" in said(capsys, "check", "site.toml", "--data-dir", "data")
    new = Path("new.toml")
    new.write_text(site.read_text().replace('bill_period = "month"', 'bill_period = "day"'))
    for verb in (("check", "new.toml"), ("config", "diff", "new.toml"), ("config", "apply", "new.toml")):
        text = said(capsys, *verb, "--data-dir", "data", code=3)
        assert "SITE-098" in text
        assert "new.toml" in text
        assert "write 'month' again" in text
    assert "month" in site.read_text()
    said(capsys, "check", "new.toml", "--data-dir", "elsewhere")
    new.write_text(site.read_text().replace("local_price = ", "local_price = 1"))
    assert "first local midnight" in said(capsys, "check", "new.toml", "--data-dir", "data")


@pytest.mark.integration
def test_who_applies_may_die_and_it_still_goes_back(site: Path) -> None:
    command = [sys.executable, "-m", "controller.cli", "config", "apply", "new.toml", "--timeout", "6", "--json"]
    applying = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    out, _ = applying.communicate(timeout=60)
    assert json.loads(out)["timeout_s"] == 6
    with pytest.raises(ProcessLookupError):
        os.killpg(applying.pid, signal.SIGKILL)  # its whole session is gone; the watcher is in another
    assert changed(site)
    assert wait_until(lambda: not changed(site), 60)
    assert wait_until(lambda: not site_change.pending_file(site).exists(), 10)
    assert "new fuse" in site.with_name("site.toml.rejected").read_text()


def test_a_power_cut_counts_as_not_confirmed(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = site.read_text()
    site_change.apply(site, before, Path("new.toml").read_text(), 3600, "Ana")
    assert site_change.settle(site) == ""
    monkeypatch.setattr(site_change, "boot_id", lambda: "another start")
    assert "Ana was not confirmed" in site_change.settle(site)
    assert site.read_text() == before


@pytest.mark.parametrize("done", ["last-good", "last-good pending", "last-good pending site"])
def test_wherever_the_power_goes_the_file_is_one_of_both(site: Path, done: str) -> None:
    """The three writes of `apply`, cut after each."""
    before, after = site.read_text(), Path("new.toml").read_text()
    change = site_change.apply(site, before, after, 0.0, "Ana")
    assert change.left_s() <= 0
    if "site" not in done.split():
        site.write_text(before)
    if "pending" not in done:
        site_change.pending_file(site).unlink()
    site_change.settle(site)
    assert site.read_text() == before


def test_a_note_that_cannot_be_read_is_due(site: Path) -> None:
    before = site.read_text()
    site_change.apply(site, before, Path("new.toml").read_text(), 3600, "Ana")
    site_change.pending_file(site).write_text("{half a no")
    assert site_change.settle(site)
    assert site.read_text() == before


def test_too_late_or_edited_since_is_not_confirmed(site: Path) -> None:
    before, after = site.read_text(), Path("new.toml").read_text()
    site_change.apply(site, before, after, 0.0, "Ana")
    with pytest.raises(site_change.NoChange, match="too late"):
        site_change.confirm(site)
    assert site.read_text() == before
    site_change.apply(site, before, after, 3600, "Ana")
    site.write_text(after + "# by hand\n")
    with pytest.raises(site_change.NoChange, match="edited"):
        site_change.confirm(site)


def test_the_supervisor_sees_changes_and_takes_back_what_is_due(site: Path) -> None:
    before, after = site.read_text(), Path("new.toml").read_text()
    watch = site_change.SiteWatch(site)
    assert watch.poll() == ""
    site_change.apply(site, before, after, 3600, "Ana")
    watch._next_s = 0.0
    assert "has changed" in watch.poll()
    site_change.pending_file(site).write_text("due")
    watch._next_s = 0.0
    assert "not confirmed" in watch.poll()
    assert site.read_text() == before
