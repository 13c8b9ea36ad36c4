"""The outbox file: what was stored is there after a kill, in order, and a damaged file is said to be one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from devices.clock import SLOT_MS, Instant
from devices.day_book import SignedDay
from devices.model import Commodity, IntervalRecord, UsagePointId
from devices.outbox import Ack, Fetch, Waiting
from devices.records import MeterMark
from devices.shell.data_lock import AlreadyRunning, DataLock
from devices.shell.outbox_file import DayChange, OutboxDamaged, OutboxFile

HOME = UsagePointId("home-01")


def record(page: int, epoch: int = 1) -> IntervalRecord:
    start = Instant(page * SLOT_MS)
    return IntervalRecord(HOME, Commodity.ENERGY, epoch, page, start, Instant(start + SLOT_MS), page, page + 1, 0, 0)


def mark(page: int) -> MeterMark:
    return MeterMark(HOME, Commodity.ENERGY, 1, page, Instant((page + 1) * SLOT_MS), page + 1, 0, 5, 6, suspect=True)


def unsent(disk: OutboxFile) -> list[IntervalRecord]:
    """All that waits, as a restarted gateway would read it."""
    spans = disk.load().waiting
    return disk.fetch([Fetch(one.usage_point, one.meter_epoch, one.first - 1, one.last) for one in spans])


def test_everything_comes_back(tmp_path: Path) -> None:
    disk = OutboxFile(tmp_path / "outbox.db")
    disk.write([record(1), record(2)], [mark(1)], (), [("hub_epoch", 7), ("bd_seq", 3)])
    disk.write([record(3)], [mark(3)], [Ack(HOME, 1, 2)])
    disk.close()
    disk = OutboxFile(tmp_path / "outbox.db")
    saved = disk.load()
    assert saved.waiting == (Waiting(HOME, 1, 3, 3),)
    assert unsent(disk) == [record(3)]
    assert saved.marks == (mark(3),)
    assert (saved.epoch, saved.bd_seq) == (7, 3)


def test_an_acknowledgement_of_one_epoch_leaves_the_next(tmp_path: Path) -> None:
    disk = OutboxFile(tmp_path / "outbox.db")
    disk.write([record(1), record(1, epoch=2)], [], [Ack(HOME, 1, 9)])
    assert unsent(disk) == [record(1, epoch=2)]


def test_a_page_is_never_stored_twice_and_nothing_of_that_batch_stays(tmp_path: Path) -> None:
    disk = OutboxFile(tmp_path / "outbox.db")
    disk.write([record(1)])
    with pytest.raises(apsw.ConstraintError):
        disk.write([record(2), record(1)], [mark(2)])
    assert unsent(disk) == [record(1)]
    assert disk.load().marks == ()


WRITER = """
import sys
from pathlib import Path
from tests.devices.shell.test_outbox_file import OutboxFile, mark, record
disk = OutboxFile(Path(sys.argv[1]))
page = 0
while True:
    page += 1
    disk.write([record(page)], [mark(page)])
    print(page, flush=True)
"""


def test_what_was_said_to_be_stored_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = max(int(child.stdout.readline()) for _ in range(20))
    child.send_signal(signal.SIGKILL)
    said = max([said, *(int(line) for line in child.stdout)])
    child.wait()
    disk = OutboxFile(path)
    pages = [r.page for r in unsent(disk)]
    assert pages[:said] == list(range(1, said + 1))
    assert disk.load().marks[0].page == pages[-1]


def test_unsent_pages_are_read_in_parts(tmp_path: Path) -> None:
    disk = OutboxFile(tmp_path / "outbox.db")
    disk.write([record(page) for page in range(1, 8)])
    assert disk.fetch([Fetch(HOME, 1, 2, 3), Fetch(HOME, 2, 0, 9)]) == [record(3), record(4), record(5)]


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"not a database at all" * 500)
    with pytest.raises(OutboxDamaged, match="recover"):
        OutboxFile(path)


def test_a_row_that_says_nonsense_is_named(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    OutboxFile(path).close()
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO record VALUES(1, 'home-01', 1, 1, x'7b7d')")
    connection.close()
    with pytest.raises(OutboxDamaged):
        OutboxFile(path).fetch([Fetch(HOME, 1, 0, 1)])


def test_a_second_process_on_the_directory_is_told_who_holds_it(tmp_path: Path) -> None:
    lock = DataLock(tmp_path, "gateway")
    with pytest.raises(AlreadyRunning, match=r"a gateway is already running on .* \(process \d+\)"):
        DataLock(tmp_path, "gateway")
    DataLock(tmp_path, "hub").close()
    lock.close()
    DataLock(tmp_path, "gateway").close()


def test_signed_days_replace_the_records_that_waited_for_them(tmp_path: Path) -> None:
    disk = OutboxFile(tmp_path / "outbox.db")
    disk.write([record(1), record(2)], days=DayChange(signs=True))
    day = SignedDay(HOME, 1, 1, 3, b"OCMF|..")
    disk.write([record(3), record(1, epoch=2)], [], [Ack(HOME, 1, 9)], days=DayChange([day], signs=True))
    disk.close()
    disk = OutboxFile(tmp_path / "outbox.db")
    saved = disk.load()
    assert unsent(disk) == [record(1, epoch=2)]
    disk.close()
    assert saved.unsigned == (record(1, epoch=2),), "acknowledged or not, it waits for its signature"
    assert (saved.days, saved.day_pages) == ((day,), ((HOME, 1),))
    disk = OutboxFile(tmp_path / "outbox.db")
    disk.write(days=DayChange(acked=[(HOME, 1)]))
    assert (disk.load().days, disk.load().day_pages) == ((), ((HOME, 1),))
