"""The hub and its witnesses: cosignatures are stored, silence is an alarm, an old copy stops the hub."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from controller.commands import Actor, MoneyRequest, Role
from controller.ledger.cosign import Algorithm, CosignKey, Policy
from controller.shell.backup import make_backup
from controller.shell.backup import restore as put_back
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.books import Books
from controller.shell.ledger_verify import verify
from controller.shell.member_data import erase
from controller.shell.offline_till import ask_offline
from controller.shell.restored import LOG_RESTORED, Restored, Withheld, leave_mark, mark_beside
from controller.shell.witness_watch import Witnessing, WitnessWatch, lift_where_nobody_is_asked
from controller.shell.witnesses import WitnessAddress, WouldFork
from controller.store.ledger_file import LedgerFile
from devices.clock import DAY_MS, Instant
from tests.controller.shell.test_books import live
from tests.controller.shell.test_witnesses import START, answering, head_of
from tests.ledger_village import Village, rules

NIGHT = Instant(START + DAY_MS)
OWN = rules(1, key=None)
CLINIC = (CosignKey("clinic.local", Algorithm.ED25519, bytes(32)).cosigner,)


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

        with pytest.raises(WouldFork, match=r"has seen a longer log .* old copy"):
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


def moved_back(tmp_path) -> tuple[Path, Village]:
    """Returns a data directory restored from a backup of one day, and the village as it was then."""
    live_dir, village = tmp_path / "live", Village(START, 1)
    live_dir.mkdir()
    books = Books.open(live_dir / "ledger.db", OWN)
    live(books, village.until(NIGHT), NIGHT)
    books.close(NIGHT)
    make_backup(live_dir, tmp_path / "b.tar.gz", keys=tmp_path / "b.keys.db")
    put_back(tmp_path / "b.tar.gz", tmp_path / "hub", replace=False, older=False, keys=tmp_path / "b.keys.db")
    return tmp_path / "hub" / "ledger.db", village


def test_a_restored_ledger_signs_and_acknowledges_nothing_until_enough_witnesses_have_answered(tmp_path):
    path, village = moved_back(tmp_path)
    head, _, log = head_of(path)
    with answering(tmp_path / "a.db", log) as school:
        own = Policy((*school.cosigners, *CLINIC), 2)
        dead = WitnessAddress("http://127.0.0.1:9", CLINIC)
        watch = WitnessWatch(path, Witnessing((school, dead), own, 3600))
        keeper = Bookkeeper(Books.open(path, OWN), watch)
        assert not watch.ask()
        morning = Instant(NIGHT + DAY_MS)
        keeper.accept("gw-1", village.until(morning))
        keeper.settle(morning)
        booked, acks = keeper.commit(morning)
        assert (acks, keeper.day_acks()) == ({}, {})
        assert "nothing is signed" in booked.restored
        assert "1 of 2 witnesses" in booked.restored
        asked = keeper.money(MoneyRequest("x", Actor("ana", Role.OPERATOR, "cli"), {"do": "receive"}), morning)
        assert (asked.accepted, asked.code) == (False, "restored")
        keeper.books.close(morning)
        assert head_of(path)[0].splitlines()[1] == head.splitlines()[1], (
            "no newer head is signed, not at the end either"
        )
        assert ask_offline(path.parent, "y", "ana", {"do": "rotate-log-key", "reason": "x"}).code == "restored"
        with pytest.raises(Withheld):
            erase(path.parent, "home-01", morning)

        keeper = Bookkeeper(Books.open(path, OWN), watch)  # the mark is there after a restart, too
        assert keeper.commit(morning)[0].restored
        keeper.accept("gw-1", Village(START, 1).until(morning))
        assert not keeper.commit(morning)[1]
        with answering(tmp_path / "b.db", log, "clinic.local") as clinic:
            policy = Policy((*school.cosigners, *clinic.cosigners), 2)
            watch = WitnessWatch(path, Witnessing((school, clinic), policy, 3600))
            keeper._witnesses = watch
            assert watch.ask()
            booked, acks = keeper.commit(Instant(morning + 60_000))
            assert booked.restored == ""
            assert list(acks) == ["gw-1"], "what was kept meanwhile is acknowledged now"
        keeper.books.close(Instant(morning + 120_000))
    assert head_of(path)[0].splitlines()[1] > head.splitlines()[1]
    assert verify(path).ok


def test_a_stored_cosignature_is_no_answer(tmp_path):
    path, _ = moved_back(tmp_path)
    log = head_of(path)[2]
    with answering(tmp_path / "a.db", log) as school:
        watch = watch_of(path, school, needed=1)
        assert watch.ask()
        ((size, note),) = watch.take()
    file = LedgerFile.write(path)
    file.put_cosigned(size, note)
    file.commit()
    file.close()
    again = watch_of(path, school, needed=1)
    again.ask()
    assert (again.lacking(), again.answered()) == ("", False)


def test_without_any_witness_a_restored_ledger_goes_on_unless_its_own_policy_asks_for_some(tmp_path):
    path, _ = moved_back(tmp_path)
    lift_where_nobody_is_asked(path)
    assert mark_beside(path) is None
    leave_mark(path.parent, Restored("then", 1, ""))
    keys = CosignKey("school.local", Algorithm.ED25519, bytes(32)).cosigner
    Books.open(path, replace(OWN, witnesses=Policy((keys,), 1))).close(NIGHT)
    lift_where_nobody_is_asked(path)
    keeper = Bookkeeper(Books.open(path, OWN))
    assert "the site file names none" in keeper.commit(NIGHT)[0].restored


def test_with_new_log_it_goes_on_at_once_and_the_log_says_so(tmp_path):
    path, _ = moved_back(tmp_path)
    put_back(tmp_path / "b.tar.gz", path.parent, replace=True, older=False, new_log=True)
    books = Books.open(path, OWN)
    assert not books.withheld
    books.close(Instant(NIGHT + DAY_MS))
    file = LedgerFile.read(path)
    (row,) = file.of_kind(LOG_RESTORED)
    assert row.sealed().entry.body["entries"] == row.seq
    file.close()
    Books.open(path, OWN).close(Instant(NIGHT + DAY_MS))
    assert verify(path).ok
