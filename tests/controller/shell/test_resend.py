"""A hub whose books are older than its acknowledgements gets the records again: outbox, its file, real books."""

from __future__ import annotations

from pathlib import Path

from controller.shell.books import Books
from devices.clock import SLOT_MS, Instant
from devices.model import Commodity, IntervalRecord, UsagePointId
from devices.outbox import Ack, Fetch, Gap, Outbox, Waiting
from devices.shell.outbox_file import OutboxFile
from tests.ledger_village import Village, local_midnight, rules

HOUR = 3_600_000
NOW = local_midnight("2026-06-03")


def hear(books: Books, outbox: Outbox, disk: OutboxFile, elapsed: int) -> list[Gap]:
    """One round over the wire: what is due, the hub's commit, its acknowledgement, and what becomes of it."""
    wanted = outbox.wanted()
    outbox.fetched(wanted, disk.fetch(wanted), elapsed)
    for batch in outbox.due(elapsed):
        books.accept(batch)
    acks = [Ack(UsagePointId(point), epoch, page) for point, epoch, page in books.commit(NOW).acks]
    disk.write(acks=outbox.acknowledge(acks, elapsed))
    gaps = outbox.gaps(acks)
    outbox.put_back(disk.recall(gaps), elapsed)
    return gaps


def test_after_a_takeover_from_an_old_backup_no_record_is_missing(tmp_path: Path) -> None:
    village = Village(local_midnight("2026-06-01"))
    records = [village.slot()[0] for _ in range(40)]
    disk, outbox = OutboxFile(tmp_path / "outbox.db"), Outbox()
    old, new = Books.open(":memory:", rules()), Books.open(":memory:", rules())
    disk.write(records[:39])
    outbox.add(records[:39], 0)
    assert hear(old, outbox, disk, HOUR) == []
    assert len(outbox) == 0, "the old hub has acknowledged them all"
    new.accept(records[:5])  # the backup
    new.commit(NOW)

    disk.close()
    disk, outbox = OutboxFile(tmp_path / "outbox.db"), Outbox()  # and the gateway was started again in between
    outbox.resume(disk.load().waiting, 0)
    disk.write(records[39:])
    outbox.add(records[39:], 0)
    gaps = hear(new, outbox, disk, HOUR)
    assert [(gap.first, gap.last) for gap in gaps] == [(6, 39)]
    assert hear(new, outbox, disk, 2 * HOUR) == []
    assert len(outbox) == 0
    assert new.records(Instant(0), Instant(2**52)) == records
    assert disk.load().waiting == ()
    disk.close()


def test_what_is_not_kept_any_more_is_asked_for_once_and_what_is_recalled_outlives_a_kill(tmp_path: Path) -> None:
    disk, outbox = OutboxFile(tmp_path / "outbox.db"), Outbox()
    point = UsagePointId("home-01")

    def record(page: int) -> IntervalRecord:
        start = Instant(page * SLOT_MS)
        return IntervalRecord(point, Commodity.ENERGY, 1, page, start, Instant(start + SLOT_MS), page, page + 1, 0, 0)

    disk.write([record(page) for page in (1, 2, 3, 4)])
    disk.write(acks=[Ack(point, 1, 3)])
    outbox.add([record(4)], 0)
    gaps = outbox.gaps([Ack(point, 1, 1)])
    assert [(gap.first, gap.last) for gap in gaps] == [(2, 3)]
    assert disk.recall([Gap(point, 1, 1, 0), *gaps]) == gaps
    assert disk.recall(gaps) == []
    disk.close()
    again = OutboxFile(tmp_path / "outbox.db")
    assert again.load().waiting == (Waiting(point, 1, 2, 4),), "unsent again on disk"
    assert again.fetch([Fetch(point, 1, 1, 9)]) == [record(2), record(3), record(4)]
    again.close()
    assert outbox.gaps([Ack(point, 1, 1)]) == [], "it was asked for; without an answer it would be asked for ever"
    assert outbox.gaps([Ack(point, 1, 2)]) != [], "another gap is another question"
