"""What a restarted hub knows again: its number, the standing holds, the missions that are over."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.ledger.entries import derived_id
from controller.shell.books import Books
from controller.shell.data_dir import HUB, HubFileBroken, next_epoch
from controller.shell.hub_process import known_runs, standing_holds
from controller.shell.simulation import books_rules
from devices.clock import HOUR_MS, Instant, iso
from tests.controller.scene import NOW, village


def test_every_start_has_a_higher_number(tmp_path: Path) -> None:
    first = next_epoch(tmp_path, NOW)
    second = next_epoch(tmp_path, NOW)
    assert second == first + 1


def test_a_hub_whose_file_is_lost_is_still_above_what_gateways_have_seen(tmp_path: Path) -> None:
    before = next_epoch(tmp_path, NOW)
    (tmp_path / HUB).unlink()
    assert next_epoch(tmp_path, Instant(NOW + 5_000)) > before


def test_a_broken_hub_file_is_said_and_not_guessed(tmp_path: Path) -> None:
    (tmp_path / HUB).write_text('{"epoch": "seven"}')
    with pytest.raises(HubFileBroken, match="holds no epoch"):
        next_epoch(tmp_path, NOW)


def test_holds_and_missions_outlive_a_restart_however_much_was_logged_since() -> None:
    books = Books.open(":memory:", books_rules(village()))

    def log(kind: str, number: int, **body: str) -> None:
        books.append(kind, body, derived_id(NOW, kind, number), NOW)

    until = iso(Instant(NOW + HOUR_MS))
    for number, (device, value) in enumerate((("pump-1", "1"), ("genset-1", "12345.678"), ("pump-1", "0"))):
        log("hold", number, result="ok", device=device, value=value, until=until, reason="works", by="ana")
    log("hold", 7, result="out-of-range", device="battery-1", value="9", until=until, reason="works", by="ana")
    log("release", 0, result="ok", device="pump-1", reason="done")
    log("mission", 0, run="irrigation.20260603", state="sent", device="robot-1", text="")
    log("mission", 1, run="irrigation.20260603", state="done", device="robot-1", text="")
    for number in range(2_500):
        log("alarm", number, alarm="offline.home-01", to="returned")
    assert [(hold.device, hold.value) for hold in standing_holds(books, NOW)] == [("genset-1", 12345.678)]
    assert standing_holds(books, Instant(NOW + HOUR_MS)) == []
    assert known_runs(books) == {"irrigation.20260603": "done"}
