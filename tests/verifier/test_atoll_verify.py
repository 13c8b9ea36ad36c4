"""The household's verifier: agrees with the ledger on every bill, and never says ok to an altered bundle."""

from __future__ import annotations

import ast
import json
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from controller.ledger.entries import derived_id
from controller.shell.bill_export import ForeignCheckpoint, NoSuchBill, export_bill
from controller.shell.books import Books
from controller.shell.ledger_reader import LedgerReader
from controller.store.ledger_file import LedgerFile
from devices.clock import DAY_MS, Instant
from tests.ledger_village import rules
from tests.verifier import villages
from verifier import atoll_verify
from verifier.atoll_verify import main

PROGRAM = Path(__file__).parent.parent.parent / "verifier" / "atoll_verify.py"
RIGHT = sorted(villages.GOLDEN.glob("*.json"))


def judge(data: bytes, key: str = "", last: str = "") -> dict[str, Any]:
    return dict(atoll_verify.judge(data, key, last))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory) -> Path:
    return villages.three_days(tmp_path_factory.mktemp("village"))


@pytest.fixture(scope="module")
def bundle(ledger) -> bytes:
    return export_bill(ledger, "home-01", "2026-06-02")


def stated(ledger: Path) -> dict[tuple[str, str], str]:
    reader = LedgerReader.open(ledger)
    found = {(e.member, e.period): str(e.body["amount"]) for e in reader.entries(None, 1_000) if e.kind == "bill"}
    reader.close()
    return found


@pytest.mark.parametrize("name", ["atoll_verify", "atoll_log", "atoll_records", "atoll_clauses", "atoll_recount"])
def test_it_is_small_and_imports_nothing_of_ours(name):
    text = (PROGRAM.parent / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 500
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or "."] if isinstance(node, ast.ImportFrom) else [n.name for n in node.names])
    }
    assert imported <= set(sys.stdlib_module_names) | {"cryptography", "atoll_log", "atoll_records", "atoll_clauses"}


def test_every_bill_of_every_member_is_recomputed_to_the_last_unit(ledger):
    amounts, found = stated(ledger), villages.bundles(ledger)
    assert len(found) == len(amounts) == 12
    for name, data in found.items():
        report = judge(data)
        assert report["verdict"] == "ok", (name, report)
        amount = dict(report["lines"])["amount"].split()[0]
        member, period = name.split()
        assert amount.replace(".", "").lstrip("0").replace("-0", "-") in (amounts[member, period], "")


@pytest.mark.parametrize("make", [villages.gaps, villages.autumn])
def test_days_with_gaps_and_of_100_slots_are_recomputed(make, tmp_path):
    found = villages.bundles(make(tmp_path))
    assert found
    for name, data in found.items():
        assert judge(data)["verdict"] == "ok", name


@pytest.mark.parametrize(
    ("what", "verdict", "where"),
    [
        ("price", "differs", "charter"),
        ("total", "differs", "run.day"),
        ("amount", "differs", "bill"),
        ("record", "differs", "records home-01 2026-06-0"),
        ("lost record", "differs", "records home-01 2026-06-0"),
        ("proof", "differs", "bill"),
        ("run proof", "differs", "records home-01 2026-06-02"),
        ("signature", "differs", "checkpoint"),
        ("version", "cannot judge", "bundle"),
        ("entry version", "cannot judge", "entry "),
        ("torn", "cannot judge", "bundle"),
        ("empty", "cannot judge", "bundle"),
    ],
)
def test_what_was_altered_is_named(bundle, what, verdict, where):
    report = judge(villages.tampered(bundle)[what])
    assert (report["verdict"], where in report["where"]) == (verdict, True), report


def test_no_flipped_byte_is_ok(bundle, request):
    rng = random.Random(5)
    places = rng.sample(range(len(bundle)), 2_000 if request.config.getoption("--deep") else 150)
    for at in places:
        damaged = bytearray(bundle)
        damaged[at] ^= 1 << rng.randrange(8)
        assert judge(bytes(damaged))["verdict"] != "ok", at


def leaves(value, path=()):
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*path, key))
    else:
        yield path


def test_no_altered_value_is_ok_even_when_its_sum_is_made_right_again(bundle):
    rng, document = random.Random(6), json.loads(bundle)
    paths = [path for path in leaves(document) if path[0] not in ("sha256", "consistency")]
    for path in rng.sample(paths, 80):
        altered = json.loads(bundle)
        place = altered
        for key in path[:-1]:
            place = place[key]
        value = place[path[-1]]
        place[path[-1]] = value + 1 if isinstance(value, int) else "x" + value if isinstance(value, str) else not value
        assert judge(villages.resealed(altered))["verdict"] != "ok", path


def test_growth_from_the_checkpoint_kept_last_time(ledger, tmp_path, bundle):
    file = LedgerFile.read(ledger)
    notes = [note for _, note in file.checkpoints()]
    file.close()
    grown = export_bill(ledger, "home-01", "2026-06-02", notes[0])
    assert judge(grown, last=notes[0])["verdict"] == "ok"
    assert judge(grown)["verdict"] == "ok"
    assert judge(bundle, last=notes[-1])["verdict"] == "ok"
    assert judge(bundle, last=notes[0])["verdict"] == "cannot judge"
    forked = villages.written(tmp_path, villages.Village(villages.START, 3, seed=2).until(
        villages.Instant(villages.START + 3 * villages.DAY_MS)), 3)  # fmt: skip
    other = json.loads(export_bill(forked, "home-01", "2026-06-02"))["checkpoint"]
    report = judge(bundle, last=other)
    assert (report["verdict"], report["where"]) == ("differs", "last checkpoint")
    with pytest.raises(ForeignCheckpoint):
        export_bill(ledger, "home-01", "2026-06-02", notes[0].replace("test.atoll", "else.atoll"))


def test_another_key_than_the_published_one_differs(bundle):
    key = dict(judge(bundle)["lines"])["log key"].split()[0]
    assert judge(bundle, key)["verdict"] == "ok"
    report = judge(bundle, key.replace("test.", "else."))
    assert (report["verdict"], report["where"]) == ("differs", "log key")


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_golden_bundles_have_their_reports(path):
    assert judge(path.read_bytes()) == json.loads(path.with_suffix(".report").read_text())


def test_golden_bundles_are_what_the_ledger_still_writes():
    made = villages.golden()
    assert {path.name: path.read_bytes() for path in RIGHT if path.name not in villages.OLD} == made


def test_as_a_program(tmp_path, capsys):
    kept = tmp_path / "kept.txt"
    good, bad, newer = villages.GOLDEN / "seller.json", tmp_path / "bad.json", tmp_path / "newer.json"
    altered = villages.tampered(good.read_bytes())
    bad.write_bytes(altered["record"])
    newer.write_bytes(altered["version"])
    assert main([str(good), "--keep", str(kept)]) == 0
    assert capsys.readouterr().out.endswith("OK\n")
    assert main([str(good), "--last", str(kept), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "ok"
    assert main([str(newer)]) == 2
    assert main([str(tmp_path / "nothing")]) == 2
    alone = tmp_path / "alone"  # the folder and `cryptography` are all that it needs
    shutil.copytree(PROGRAM.parent, alone)
    command = [sys.executable, "-E", "-s", str(alone / PROGRAM.name), str(bad)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, "DIFFERS records home-01" in done.stdout) == (1, True)


def test_a_hub_that_writes_meanwhile_disturbs_no_export(tmp_path):
    path, start = villages.three_days(tmp_path), villages.START
    books, stop, written = Books.open(path, rules()), threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            at = Instant(start + 5 * DAY_MS + len(written))
            written.append(books.append("note", {"text": "x"}, derived_id(at, "note", len(written)), at))
            books.commit(at)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        before = len(written)
        for member in ("home-01", "home-02", "home-03", "community"):
            assert judge(export_bill(path, member, "2026-06-02"))["verdict"] == "ok"
        assert len(written) > before, "the hub wrote all the while"
    finally:
        stop.set()
        writer.join()
    books.close(Instant(start + 6 * DAY_MS))


def test_only_bills_that_stand_are_exported(ledger):
    with pytest.raises(NoSuchBill):
        export_bill(ledger, "home-01", "2026-06-09")
