"""Who must have signed the log's heads: its own two keys and the witnesses of the time, as the log itself says."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import apsw
import pytest

from controller.ledger.cosign import Algorithm, CosignKey, Policy, split_note, with_cosignatures
from controller.ledger.entries import derived_id
from controller.ledger.log_policy import LOG_POLICY, LogSigner, policy_of, read_policy, sign_head, without_own
from controller.ledger.note import Checkpoint, Signer, sign
from controller.money.desk import Asked
from controller.shell.bill_export import export_bill
from controller.shell.books import Books
from controller.shell.ledger_verify import verify
from controller.store.ledger_file import LedgerFile
from devices.clock import DAY_MS, HOUR_MS, Instant
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, rules
from tests.verifier import villages
from tests.verifier.page import judged
from tests.verifier.villages import START
from verifier.atoll_log import policy_in
from verifier.atoll_verify import judge, main

SCHOOL = CosignKey("school", Algorithm.ED25519, bytes(32))
CLINIC = CosignKey("clinic", Algorithm.ML_DSA_44, bytes(32))
BOTH = Policy((SCHOOL.cosigner, CLINIC.cosigner), 2)
DAY, END = Instant(START + DAY_MS + HOUR_MS), Instant(START + 2 * DAY_MS + 12 * HOUR_MS)


def policies(file: LedgerFile) -> list:
    return [read_policy(row.seq, row.sealed().entry.body) for row in file.of_kind(LOG_POLICY)]


def cosign(books: Books, keys: Sequence[CosignKey], now: Instant) -> None:
    last = books._file.last_checkpoint()
    assert last is not None
    size, note = last
    lines = [key.cosign(split_note(note)[0], now) for key in keys]
    books.cosigned(size, with_cosignatures(note, lines, [key.cosigner for key in keys]))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a ledger without witnesses on its first day, with two from the second on; then the log key is changed."""
    path, own = tmp_path_factory.mktemp("policy") / "ledger.db", rules(1, key=None)
    village = Village(START, 1)
    books = Books.open(path, own)
    live(books, village.until(DAY), DAY)
    books.close(DAY)
    books = Books.open(path, replace(own, witnesses=BOTH))
    live(books, village.until(END), END)
    request = {"do": "rotate-log-key", "reason": "every year"}
    assert books.till.ask(Asked(derived_id(END, "rotate"), "ana", END), request).accepted
    books.commit(END)
    cosign(books, [SCHOOL, CLINIC], END)
    books.commit(END)
    books._file.close()
    return path


def words(report: dict[str, Any]) -> str:
    return f"{report['verdict']} {report['where']} {report['message']}".strip()


def altered(bundle: bytes, change) -> bytes:
    document = json.loads(bundle)
    text, lines = split_note(document["checkpoint"])
    document["checkpoint"] = text + "\n" + "".join(f"{line}\n" for line in change(lines))
    return villages.resealed(document)


def both(bundle: bytes, policy: str = "") -> str:
    """Returns what the program says of a bundle; the page says the same."""
    (page,) = judged([base64.b64encode(bundle).decode()], policy=policy)
    assert page == judge(bundle, policy=policy)
    return words(page)


def test_the_log_says_who_must_sign_and_each_head_is_judged_by_the_policy_of_its_time(town: Path) -> None:
    file = LedgerFile.read(town)
    found = policies(file)
    heads = file.checkpoints()
    file.close()
    assert [len(one.witnesses.witnesses) for one in found] == [0, 2, 2], (
        "first none, then two, then with the new log key"
    )
    assert found[1].cosigner != found[2].cosigner
    assert policy_of(found, found[1].since) is found[0]
    assert policy_of(found, found[1].since + 1) is found[1]
    assert found[2].lacking(heads[-1][1]) == ""
    assert "the log's policy asks for more" in found[1].lacking(heads[-2][1]), "no witness saw that one"
    assert verify(town).findings == []
    report: dict[str, Any] = judge(export_bill(town, "home-01", "2026-06-01"))
    assert ["cosigned", "by the log itself (ML-DSA-44), school, clinic"] in report["lines"]


def test_both_verifiers_ask_for_what_the_log_asks_for(town: Path) -> None:
    bundle = export_bill(town, "home-01", "2026-06-01")
    assert both(bundle) == "ok"
    lines = split_note(json.loads(bundle)["checkpoint"])[1]
    assert [line.split(" ")[1] for line in lines] == ["test.atoll/ledger", "test.atoll/ledger", "school", "clinic"]
    assert both(altered(bundle, lambda lines: [lines[0], *lines[2:]])).startswith(
        "differs bundle.checkpoint is not cosigned by test"
    )
    for gone, seen in ((2, "clinic"), (3, "school")):
        said = both(altered(bundle, lambda lines, gone=gone: lines[:gone] + lines[gone + 1 :]))
        assert said.startswith(f"cannot judge bundle.checkpoint is cosigned by the log itself (ML-DSA-44), {seen};")
    for at in (1, 2, 3):

        def flip(lines: list[str], at: int = at) -> list[str]:
            head, _, encoded = lines[at].rpartition(" ")
            data = bytearray(base64.b64decode(encoded))
            data[-30] ^= 1
            return [*lines[:at], f"{head} {base64.b64encode(data).decode()}", *lines[at + 1 :]]

        assert both(altered(bundle, flip)).startswith("differs bundle.checkpoint the cosignature of"), at


def left_out(bundle: bytes) -> bytes:
    """Returns the bundle as a hub hands it out that hides who must sign, with the log's own signature only."""
    document = json.loads(altered(bundle, lambda lines: lines[:1]))
    document["entries"] = [row for row in document["entries"] if '"kind":"log.policy"' not in row["document"]]
    return villages.resealed(document)


def test_a_bundle_without_its_policy_says_that_nobody_has_seen_the_log_and_fails_a_known_one(town: Path) -> None:
    bundle = export_bill(town, "home-01", "2026-06-01")
    hidden, known = left_out(bundle), policy_in(bundle)
    nobody = ["cosigned", "nobody else is shown to have seen this log"]
    assert both(hidden) == "ok"
    assert nobody in cast("list[list[str]]", judge(hidden)["lines"])
    assert nobody not in cast("list[list[str]]", judge(bundle)["lines"])
    assert both(hidden, known) == (
        "cannot judge bundle.checkpoint is cosigned by nobody; the policy that you know asks for more witnesses"
    )
    assert both(bundle, known) == "ok"
    for no_policy in ("none", "\n", "quorum both\n", "witness a nonsense\nquorum a\n"):
        assert both(bundle, no_policy).startswith("cannot judge"), no_policy
    assert both(hidden, "quorum none\n") == "ok"


def test_keep_keeps_the_policy_and_last_takes_it_again(town: Path, tmp_path: Path, capsys) -> None:
    bundle, hidden, kept = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "kept.txt"
    bundle.write_bytes(export_bill(town, "home-01", "2026-06-01"))
    hidden.write_bytes(left_out(bundle.read_bytes()))
    assert main([str(bundle), "--keep", str(kept)]) == 0
    policy = tmp_path / "kept.txt.policy"
    assert "quorum" in policy.read_text()
    assert main([str(bundle), "--last", str(kept), "--keep", str(kept)]) == 0
    assert main([str(hidden)]) == 0
    assert main([str(hidden), "--last", str(kept)]) == 2
    assert main([str(hidden), "--policy", str(policy)]) == 2
    assert main([str(hidden), "--policy", str(tmp_path / "nowhere")]) == 2
    policy.write_text("")
    assert main([str(bundle), "--policy", str(policy)]) == 2
    assert "the policy that you know" in capsys.readouterr().out


def test_a_head_without_the_logs_second_signature_is_found(town: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "ledger.db"
    LedgerFile.write(town).close()
    damaged.write_bytes(town.read_bytes())
    (tmp_path / "keys.db").write_bytes((town.parent / "keys.db").read_bytes())
    file = LedgerFile.read(damaged)
    last = file.last_checkpoint()
    file.close()
    assert last is not None
    text, lines = split_note(last[1])
    bare = text + "\n" + "".join(f"{line}\n" for line in lines if "test.atoll" not in line or line is lines[0])
    apsw.Connection(str(damaged)).execute("UPDATE checkpoints SET note = ? WHERE size = ?", (bare, last[0]))
    (finding,) = verify(tmp_path).findings
    assert "is not cosigned by test.atoll/ledger" in finding.message


def test_heads_of_one_hour_keep_one_cosignature() -> None:
    signer, text = LogSigner("a.atoll/ledger", bytes(32)), Checkpoint("a.atoll/ledger", 5, bytes(32)).text()
    note = sign_head(signer, sign(text, [signer]), Instant(0))
    assert len(note) > 3_000
    assert without_own(note, signer) == sign(text, [signer])
    plain = Signer("a.atoll/ledger", bytes(32))
    assert sign_head(plain, sign(text, [plain]), Instant(0)) == sign(text, [plain]), (
        "tests and simulations have one key"
    )
