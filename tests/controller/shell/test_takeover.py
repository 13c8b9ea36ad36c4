"""A takeover: the books of a backup beside a gateway's own outbox, and an old hub that nobody obeys any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli import atoll
from controller.ledger.entries import derived_id
from controller.shell.backup import make_backup
from controller.shell.books import Books
from controller.shell.data_dir import LEDGER, next_epoch
from controller.shell.simulation import books_rules
from controller.shell.takeover import next_term
from controller.site import load
from controller.store.member_keys import KEYS
from devices.clock import Instant
from devices.leases import Leases, Output
from devices.model import DeviceId, Setpoint
from devices.shell.outbox_file import OutboxFile

SITE = Path(__file__).parents[2] / "village.toml"
NOW = Instant(1_780_000_000_000)
PUMP = DeviceId("pump-1")


def setpoint(epoch: int, sequence: int) -> Setpoint:
    return Setpoint(PUMP, "run", 1.0, epoch, sequence, 58_000, 0.0, "test")


def old_hub(folder: Path) -> Path:
    """Makes a hub's data with a gateway of its own, and returns its backup."""
    folder.mkdir()
    books = Books.open(folder / LEDGER, books_rules(load(SITE.read_text(), str(SITE))))
    books.append("note", {"text": "before the lightning"}, derived_id(NOW, "note"), NOW)
    books.close(NOW)
    next_epoch(folder, NOW)
    (folder / "gw-1").mkdir()
    OutboxFile(folder / "gw-1" / "outbox.db").close()
    backup = folder.parent / "backup.tar.gz"
    make_backup(folder, backup, None, folder.parent / "keys.db")
    return backup


def test_a_gateways_machine_becomes_the_hub_and_the_old_one_stays_refused_however_often_it_starts(
    tmp_path: Path,
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    backup = old_hub(old)
    after_backup = [next_epoch(old, Instant(NOW + 86_400_000 * day)) for day in range(1, 4)][-1]
    (new / "gw-2").mkdir(parents=True)
    outbox = OutboxFile(new / "gw-2" / "outbox.db")  # its gateway runs on meanwhile
    outbox.write(meta=[("hub_epoch", after_backup)])
    words = ["takeover", str(backup), "--data-dir", str(new), "--keys", str(tmp_path / "keys.db"), "--json"]
    done = CliRunner().invoke(atoll, words)
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert said["gateways"] == ["gw-2"], "the old machine's own gateway stays with its wires"
    assert not (new / "gw-1").exists()
    outbox.close()

    books = Books.open(new / LEDGER, books_rules(load(SITE.read_text(), str(SITE))))  # the same log key: it goes on
    assert books.size == said["entries"] == json.loads(make_state(old))
    books.close(NOW)
    assert (new / KEYS).exists()

    leases = Leases({PUMP: Output(PUMP, "run", 0.0)})
    assert leases.accept(setpoint(after_backup, 1), 0, 0) == ""
    epoch = next_epoch(new, NOW)
    assert leases.accept(setpoint(epoch, 1), 1, 0) == "", "the new hub is obeyed though its clock is behind"
    for year in range(1, 30):
        again = next_epoch(old, Instant(NOW + 365 * 86_400_000 * year))
        assert leases.accept(setpoint(again, 1), 2, 0).startswith("superseded"), year


def make_state(folder: Path) -> str:
    from controller.shell.backup import ledger_state

    return str(ledger_state(folder / LEDGER)[0])


def test_a_second_takeover_beats_the_first_and_numbers_stay_whole_in_json() -> None:
    first = next_term([1_780_000_000], 5)
    second = next_term([first + 1_000_000], 4)
    assert second > first + 365 * 86_400 * 1_000
    assert next_term([first] * 3 + [second], 0) < 2**53


@pytest.mark.parametrize("there", [LEDGER, ""])
def test_a_machine_that_is_a_hub_and_a_file_that_is_no_backup_are_refused(tmp_path: Path, there: str) -> None:
    folder, backup = tmp_path / "here", tmp_path / "backup.tar.gz"
    folder.mkdir()
    if there:
        backup = old_hub(tmp_path / "old")
        (folder / there).touch()
    else:
        backup.write_bytes(b"no backup")
    done = CliRunner().invoke(atoll, ["takeover", str(backup), "--data-dir", str(folder)])
    assert done.exit_code == (6 if there else 3), done.output
    assert [path.name for path in folder.iterdir() if path.suffix != ".lock"] == ([there] if there else [])
