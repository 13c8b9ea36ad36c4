"""Keys that change: the log's own is handed over, those of gateways and members are revoked, all of it in the log."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any, cast

import apsw
import pytest

from controller.ledger.identity import SigningKey
from controller.ledger.merkle import Tree
from controller.ledger.note import Signer, Verifier, sign
from controller.ledger.witness import Submission
from controller.money.desk import Asked
from controller.shell.bill_export import ForeignCheckpoint, export_bill
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.books import Books
from controller.shell.journal import JournalDamaged
from controller.shell.ledger_verify import verify
from controller.shell.log_keys import Keyring, LogKeyMissing
from controller.shell.offline_till import ask_offline
from controller.shell.witness_server import OtherKey, Witness
from controller.store.ledger_file import LedgerFile
from controller.voting import Electorate
from devices.clock import DAY_MS, HOUR_MS, Instant
from devices.ocmf_keys import SigningKey as GatewayKey
from tests.controller.shell.test_books import live
from tests.controller.shell.test_witnesses import clock
from tests.ledger_village import Village, local_midnight, rules
from tests.verifier import villages
from verifier.atoll_verify import judge

START = local_midnight("2026-06-01")
NOON = Instant(START + DAY_MS + 12 * HOUR_MS)
END = Instant(START + 2 * DAY_MS + 12 * HOUR_MS)
ID = "0192f0c0-0000-7000-8000-{:012d}"
OWN = rules(1, key=None)


def asked(number: int, now: Instant = NOON) -> Asked:
    return Asked(ID.format(number), "treasurer", now)


def seeds(path):
    db = apsw.Connection(str(path.parent / "keys.db"))
    found: dict[Any, Any] = dict(cast("Any", db.execute("SELECT name, seed FROM keys").fetchall()))
    db.close()
    return found


def notes(path):
    file = LedgerFile.read(path)
    found = file.checkpoints()
    file.close()
    return found


@pytest.fixture(scope="module")
def rotated(tmp_path_factory):
    """Returns (ledger with two keys, copy from before, old seed, old and new key as text)."""
    path = tmp_path_factory.mktemp("keys") / "ledger.db"
    village = Village(START, 1)
    books = Books.open(path, OWN)
    live(books, village.until(NOON), NOON)
    books.commit(NOON)
    before, old = path.with_name("before.db"), books._journal.verifier
    seed = seeds(path)["log"]
    apsw.Connection(str(path)).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(path, before)
    answer = books.till.ask(asked(1), {"do": "rotate-log-key", "reason": "the treasurer left"})
    assert answer.accepted
    assert books.till.ask(asked(2), {"do": "rotate-log-key", "reason": "again"}).code == "too-soon"
    assert seeds(path)["log"] == seed  # nothing is destroyed before the commit
    books.commit(NOON)
    new = books._journal.verifier
    assert new in answer.message
    assert books.till.ask(asked(1), {"do": "rotate-log-key", "reason": "the treasurer left"}).code == "duplicate"
    books.close(NOON)
    books = Books.open(path, OWN)
    live(books, village.until(END), END)
    books.close(END)
    return path, before, seed, old, new


def test_every_head_is_signed_by_the_key_of_its_time_and_the_old_key_is_gone(rotated):
    path, _, seed, old, new = rotated
    assert old != new
    found = verify(path)
    assert found.findings == []
    assert found.checkpoints == len(notes(path)) > 2
    assert verify(path, old).ok
    assert verify(path, [old, new]).ok
    stranger = Signer("test.atoll/ledger", bytes([7] * 32)).verifier.text()
    (finding,) = verify(path, [new, stranger]).findings
    assert stranger in finding.message
    assert list(seeds(path)) == ["log"]
    for file in path.parent.iterdir():
        assert seed not in file.read_bytes(), file.name


def test_both_keys_open_the_bundle_and_an_older_head_proves_growth(rotated):
    path, _, _, old, new = rotated
    first, last = notes(path)[0][1], notes(path)[-1][1]
    grown = export_bill(path, "home-01", "2026-06-01", first)
    for key, kept in ((old, first), (new, first), (new, "")):
        assert judge(grown, key, kept)["verdict"] == "ok"
    assert judge(export_bill(path, "home-01", "2026-06-01", last), new, last)["verdict"] == "ok"
    # the new key cannot sign for the time before it, nor the old one for the time after
    with pytest.raises(ForeignCheckpoint):
        export_bill(path, "home-01", "2026-06-01", first.replace("test.atoll", "else.atoll"))


def test_a_head_signed_by_the_old_key_after_its_time_is_found(rotated, tmp_path):
    path, _, seed, _, _ = rotated
    damaged = tmp_path / "ledger.db"
    shutil.copy(path, damaged)
    size, note = notes(path)[-1]
    text = note[: note.index("\n\n") + 1]
    forged = sign(text, [Signer("test.atoll/ledger", seed)])
    apsw.Connection(str(damaged)).execute("UPDATE checkpoints SET note = ? WHERE size = ?", (forged, size))
    assert {(one.table, one.where) for one in verify(damaged).findings} == {("checkpoints", f"size {size}")}
    bundle = json.loads(export_bill(path, "home-01", "2026-06-01"))
    bundle["checkpoint"] = forged
    report = judge(villages.resealed(bundle))
    assert (report["verdict"], report["where"]) == ("differs", "bundle.checkpoint")


def test_a_handover_by_somebody_else_is_found(tmp_path, monkeypatch):
    path = tmp_path / "ledger.db"
    books = Books.open(path, rules(1))
    live(books, Village(START, 1).until(NOON), NOON)
    thief = Signer("test.atoll/ledger", bytes([7] * 32))
    books._journal._signer = thief
    books._journal.rotate(ID.format(1), NOON, Signer("test.atoll/ledger", bytes([8] * 32)), {})
    books.close(NOON)
    assert "log.key" in str(verify(path).findings[0])
    monkeypatch.setattr("controller.shell.bill_export.published_keys", lambda store: ())  # no honest hub exports it
    report: Any = judge(export_bill(path, "home-01", "2026-06-01"))
    assert (report["verdict"], "log key" in report["message"] or "signed" in report["message"]) == ("differs", True)


@pytest.mark.parametrize("committed", [False, True])
def test_a_rotation_that_was_cut_off_leaves_a_log_that_goes_on(committed, tmp_path):
    path = tmp_path / "ledger.db"
    Books.open(path, OWN).close(START)
    books = Books.open(path, OWN)
    old = books._journal.verifier
    assert books.till.ask(asked(1), {"do": "rotate-log-key", "reason": "test"}).accepted
    if committed:
        books._keys._handed_over = False  # the power fails between the two files
        books.commit(NOON)
    new = books._journal.verifier
    books._file.close()
    assert len(seeds(path)) == 2
    books = Books.open(path, OWN)
    assert books._journal.verifier == (new if committed else old)
    assert list(seeds(path)) == ["log"]
    books.append("note", {"text": "on"}, ID.format(2), END)
    books.close(END)
    assert verify(path).ok


def test_a_copy_from_before_the_rotation_cannot_be_signed_any_more(rotated, tmp_path):
    path, before, *_ = rotated
    shutil.copy(before, tmp_path / "ledger.db")
    shutil.copy(path.parent / "keys.db", tmp_path / "keys.db")
    with pytest.raises(LogKeyMissing, match=r"bring back the keys\.db"):
        Books.open(tmp_path / "ledger.db", OWN)
    (tmp_path / "keys.db").unlink()
    with pytest.raises(JournalDamaged):
        Books.open(tmp_path / "ledger.db", OWN)


def test_where_no_hub_runs_the_desk_rotates_by_itself(tmp_path):
    Books.open(tmp_path / "ledger.db", OWN).close(START)
    old = seeds(tmp_path / "ledger.db")["log"]
    answer = ask_offline(tmp_path, ID.format(1), "treasurer", {"do": "rotate-log-key", "reason": "every year"})
    assert answer.accepted
    assert seeds(tmp_path / "ledger.db")["log"] != old
    assert verify(tmp_path / "ledger.db").ok
    assert ask_offline(tmp_path, ID.format(2), "t", {"do": "rotate-log-key", "reason": " "}).code == "bad-reason"


def test_a_simulated_ledger_has_no_key_to_change():
    books = Books.open(":memory:", OWN)
    assert books.till.ask(asked(1), {"do": "rotate-log-key", "reason": "test"}).code == "no-key-file"
    assert not Keyring(":memory:", "x").lasting


def test_a_revoked_gateway_key_is_never_taken_again(tmp_path):
    path = tmp_path / "ledger.db"
    old, new = (GatewayKey.from_number(number).public.text() for number in (1, 2))
    keeper = Bookkeeper(Books.open(path, OWN))
    keeper.pin("gw-1", old, START)
    keeper.pin("gw-1", old, NOON)
    till = keeper.books.till
    assert till.ask(asked(1), {"do": "revoke-gateway", "name": "gw-9", "reason": "x"}).code == "unknown-key"
    assert till.ask(asked(2), {"do": "revoke-gateway", "name": "gw-1", "reason": "stolen"}).accepted
    keeper.pin("gw-1", old, NOON)
    assert (keeper.shelf.key("gw-1"), keeper.shelf.counters["keys_refused"]) == ("", 1)
    keeper.pin("gw-1", new, NOON)
    keeper.books.close(NOON)
    keeper = Bookkeeper(Books.open(path, OWN))
    assert keeper.shelf.key("gw-1") == new
    keeper.pin("gw-2", old, END)
    assert keeper.shelf.nodes() == ("gw-1",)
    kinds = [(row.kind, row.sealed().entry.body["key"]) for row in keeper.books._file.latest(None, 3)]
    assert kinds == [("gateway.key", new), ("key.revoked", old), ("gateway.key", old)]
    keeper.books.close(END)
    assert verify(path).ok


def test_member_keys_are_in_the_log_and_a_revoked_one_casts_no_ballot(tmp_path):
    path = tmp_path / "ledger.db"
    first, second = (SigningKey(bytes([number] * 32)).did for number in (1, 2))
    one = replace(OWN, voters=Electorate({"home-01": first}, 1))
    Books.open(path, one).close(START)
    books = Books.open(path, one)  # the same site again: nothing new to write down
    revoke = {"do": "revoke-member", "name": "home-01", "reason": "lost"}
    cast = {"do": "vote-cast", "vote": 1, "as": "home-01"}
    assert books.till.ask(asked(1), cast).code != "revoked-key"
    assert books.till.ask(asked(2), {**revoke, "name": "home-09"}).code == "unknown-key"
    assert books.till.ask(asked(3), revoke).accepted
    assert books.till.ask(asked(4), revoke).code == "revoked-key"
    assert books.till.ask(asked(5), cast).code == "revoked-key"
    books.close(START)
    books = Books.open(path, replace(OWN, voters=Electorate({"home-01": second}, 1)))
    assert books.till.ask(asked(6), cast).code != "revoked-key"
    books.close(NOON)
    Books.open(path, OWN).close(NOON)
    file = LedgerFile.read(path)
    bodies = [row.sealed().entry.body for row in file.of_kind("member.key")]
    file.close()
    assert [(body["before"], body["key"]) for body in bodies] == [("", first), (first, second), (second, "")]
    assert verify(path).ok


def test_a_witness_follows_a_log_to_its_new_key(rotated, tmp_path):
    path, *_ = rotated
    file = LedgerFile.read(path)
    tree, heads = Tree(file.leaves()), file.checkpoints()
    file.close()
    old, new = Verifier.parse(rotated[3]), Verifier.parse(rotated[4])
    witness = Witness(tmp_path / "w.db", "school.local", clock)
    with pytest.raises(OtherKey):
        witness.hand_over(new)
    witness.know([old])

    def show(old_size: int, size: int) -> int:
        proof = tree.consistency(old_size, size) if old_size else ()
        return witness.add_checkpoint(Submission(old_size, tuple(proof), dict(heads)[size]).body())[0]

    first, last = heads[0][0], heads[-1][0]
    assert show(0, first) == 200
    assert show(first, last) == 403  # the new key is not known yet
    with pytest.raises(OtherKey):
        witness.know([new])
    witness.hand_over(new)
    assert show(first, first) == 200  # the old one is still good
    assert show(first, last) == 200
    assert witness._logs() == {old.name: (new,)}
    witness.close()
