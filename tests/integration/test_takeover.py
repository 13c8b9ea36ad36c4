"""A takeover with real processes: the gateway obeys the new hub, and not the old one that comes back later."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from controller.shell.backup import make_backup
from controller.shell.data_dir import HUB, LEDGER
from controller.shell.takeover import TERM_BITS, seen_epochs, take_over
from controller.store.member_keys import KEYS
from tests.integration.stack import Stack

pytestmark = [pytest.mark.integration, pytest.mark.deep, pytest.mark.needs("mosquitto"), pytest.mark.timeout(600)]


def obeyed(folder: Path) -> int:
    """Returns the highest hub epoch that the gateway has obeyed."""
    return max(seen_epochs(folder))


def test_the_gateway_obeys_the_hub_that_took_over_and_refuses_the_old_one(tmp_path: Path) -> None:
    old, new, back = tmp_path / "old", tmp_path / "new", tmp_path / "back"
    stack = Stack(old, 60.0)
    try:
        stack.wait_live()
        stack.run(5)
        make_backup(old, tmp_path / "backup.tar.gz", None, tmp_path / "keys.db")
    finally:
        stack.stop()
    assert 0 < obeyed(old) < 1 << TERM_BITS

    shutil.copytree(old / "gw-1", new / "gw-1", ignore=shutil.ignore_patterns("*.sock", "*.lock"))
    taken = take_over(tmp_path / "backup.tar.gz", new, tmp_path / "keys.db", 0)
    stack = Stack(new, 60.0)
    try:
        stack.wait_live()
        stack.run(5)
        (new / HUB).unlink()  # what the gateway itself remembers
        assert obeyed(new) >= taken.epoch
    finally:
        stack.stop()

    shutil.copytree(new / "gw-1", back / "gw-1", ignore=shutil.ignore_patterns("*.sock", "*.lock"))
    for name in (LEDGER, KEYS, HUB):
        shutil.copy(old / name, back / name)
    stack = Stack(back, 60.0)
    try:
        stack.wait_live()
        stack.run(5)
        log = (back / "logs" / "gw-1.log").read_text()
    finally:
        stack.stop()
    assert "superseded" in log
    assert f"now {obeyed(new)}" in log
