"""The hub and its witnesses: cosignatures are stored, silence is an alarm, an old copy stops the hub."""

from __future__ import annotations

import shutil

import pytest

from controller.ledger.cosign import Policy
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.books import Books
from controller.shell.ledger_verify import verify
from controller.shell.witness_watch import Witnessing, WitnessWatch
from controller.shell.witnesses import WitnessAddress, WouldFork
from controller.store.ledger_file import LedgerFile
from devices.clock import DAY_MS, Instant
from tests.controller.shell.test_books import live
from tests.controller.shell.test_witnesses import START, answering, head_of
from tests.ledger_village import Village, rules

NIGHT = Instant(START + DAY_MS)


def watch_of(path, *addresses: WitnessAddress, needed: int = 2, alarm_after_s: float = 3600) -> WitnessWatch:
    keys = tuple(key for address in addresses for key in address.cosigners)
    return WitnessWatch(path, Witnessing(addresses, Policy(keys, needed), alarm_after_s))


def test_cosignatures_are_kept_in_the_ledger_and_an_old_copy_signs_nothing(tmp_path):
    path, village = tmp_path / "ledger.db", Village(START, 1)
    books = Books.open(path, rules(1))
    live(books, village.until(NIGHT), NIGHT)
    books.close(NIGHT)
    old = shutil.copy(path, tmp_path / "old.db")
    _, _, log = head_of(path)
    with answering(tmp_path / "a.db", log) as school, answering(tmp_path / "b.db", log, "clinic.local") as clinic:
        gone = WitnessAddress("http://127.0.0.1:9", ())
        watch = watch_of(path, school, gone, clinic)
        keeper = Bookkeeper(Books.open(path, rules(1)), watch)
        assert watch.ask()
        assert keeper.commit(NIGHT)[0].unwitnessed == ""
        morning = Instant(NIGHT + DAY_MS)
        live(keeper.books, village.until(morning), morning)
        keeper.books.close(morning)
        assert watch.ask()
        keeper = Bookkeeper(Books.open(path, rules(1)), watch)
        keeper.commit(morning)
        keeper.books.close(morning)
        policy = Policy((*school.cosigners, *clinic.cosigners), 2)
        file = LedgerFile.read(path)
        notes = [note for _, note in file.checkpoints() if policy.met(note)]
        file.close()
        assert len(notes) == 2
        assert verify(path).ok

        with pytest.raises(WouldFork, match=r"has seen a longer log .* It is an old copy"):
            watch_of(old, school, clinic).ask()
        # found out only later, by the thread: the next commit is refused, and nothing of it is written
        stale = watch_of(old, school, clinic)
        keeper = Bookkeeper(Books.open(old, rules(1)), stale)
        keeper.append("note", "0192f0c0-0000-7000-8000-000000000000", {"text": "after the restore"}, morning)
        with pytest.raises(WouldFork):
            stale.ask()
        before = head_of(old)[0]
        with pytest.raises(WouldFork):
            keeper.commit(morning)
        assert head_of(old)[0] == before


def test_silence_is_an_alarm_only_when_it_lasts(tmp_path):
    path = tmp_path / "ledger.db"
    books = Books.open(path, rules(1))
    books.close(START)
    _, _, log = head_of(path)
    with answering(tmp_path / "a.db", log) as school:
        dead = WitnessAddress("http://127.0.0.1:9", ())
        patient, hasty = watch_of(path, school, dead), watch_of(path, school, dead, alarm_after_s=0)
        assert not patient.ask()
        assert patient.alarm() == ""
        assert len(patient.take()) == 1  # what one witness has signed is kept all the same
        assert not hasty.ask()
        assert "1 of 2 witnesses" in hasty.alarm()
        assert "127.0.0.1:9" in hasty.alarm()
        assert watch_of(path, school, needed=1, alarm_after_s=0).ask()


def test_the_thread_asks_again_until_it_is_stopped(tmp_path):
    path = tmp_path / "ledger.db"
    Books.open(path, rules(1)).close(START)
    _, _, log = head_of(path)
    with answering(tmp_path / "a.db", log) as school:
        keys = Policy(school.cosigners, 1)
        watch = WitnessWatch(path, Witnessing((school,), keys, 3600), every_s=0.01)
        watch.start()
        found: list[tuple[int, str]] = []
        for _ in range(500):
            found += watch.take()
            if found:
                break
            watch._stopping.wait(0.02)
        watch.stop()
        assert keys.met(found[0][1])
