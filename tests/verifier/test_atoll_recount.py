"""The recount: the same result as the hub's, and every altered byte, stranger and lost ballot named."""

from __future__ import annotations

import base64
import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from controller.ledger.canonical import encode
from controller.ledger.identity import sign_document
from controller.shell.ballot_box import PollReader
from controller.shell.vote_export import NotCountedYet, export_vote
from controller.store.ledger_file import LedgerFile
from devices.clock import HOUR_MS, Instant
from tests.charters import KEY
from tests.controller.shell.test_ballot_box import CHANGE, KEYS, START, Community
from tests.ledger_village import local_midnight
from tests.verifier.mutations import forged as forged_log
from tests.verifier.mutations import mutated_bundle

PROGRAM = Path(__file__).parents[2] / "verifier" / "atoll_recount.py"
spec = importlib.util.spec_from_file_location("atoll_recount", PROGRAM)
assert spec is not None
assert spec.loader is not None
atoll_recount = importlib.util.module_from_spec(spec)
sys.modules["atoll_recount"] = atoll_recount
spec.loader.exec_module(atoll_recount)
judge = atoll_recount.judge


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a ledger with two votes that are over: the site's voters, then the quorum of the charter in force."""
    path = tmp_path_factory.mktemp("votes") / "ledger.db"
    town = Community(path)
    town.books.run_due(START)
    mine = f'"{KEYS["home-03"].did}", "{KEY}"'
    assert town.open(START, of=mine).accepted
    for who, choice in (("home-01", "yes"), ("home-02", "no"), ("home-03", "yes")):
        assert town.cast(START, who, choice).accepted
    later = Instant(CHANGE + HOUR_MS)
    town.books.run_due(later)
    assert town.open(later, local_midnight("2026-06-08"), version=3).accepted
    assert town.cast(later, "home-03", "no", number=2).accepted
    town.books.run_due(Instant(later + 24 * HOUR_MS))
    town.books.close(Instant(later + 24 * HOUR_MS))
    return path


def bundle(path: Path, number: int = 1) -> bytes:
    file = LedgerFile.read(path)
    try:
        return export_vote(file, PollReader(file).now().votes[number - 1])
    finally:
        file.close()


def words(report: dict) -> str:
    return f"{report['verdict']} {report['where']}: {report['message']}"


def test_the_recount_agrees_with_the_hub(counted: Path) -> None:
    first, second = judge(bundle(counted)), judge(bundle(counted, 2))
    assert words(first) == "ok : ", first
    assert ["result", "2 yes, 1 no: passed"] in first["lines"]
    assert words(second) == "ok : ", second
    assert ["result", "0 yes, 1 no: rejected"] in second["lines"]


def test_the_program_stands_alone(counted: Path, tmp_path: Path) -> None:
    (tmp_path / "vote.json").write_bytes(bundle(counted))
    alone = tmp_path / "recount.py"
    alone.write_text(PROGRAM.read_text())
    done = subprocess.run(
        [sys.executable, "-I", str(alone), "vote.json", "--json"], cwd=tmp_path, capture_output=True, check=False
    )
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "ok")
    assert subprocess.run([sys.executable, "-I", str(alone), "none"], cwd=tmp_path, check=False).returncode == 2
    assert len(PROGRAM.read_text().splitlines()) <= 500


def test_my_own_ballot_must_be_among_those_counted(counted: Path) -> None:
    data = bundle(counted)
    ids = [json.loads(row["document"])["id"] for row in json.loads(data)["entries"] if '"vote.cast"' in row["document"]]
    assert judge(data, ballot=ids[1])["verdict"] == "ok"
    assert words(judge(data, ballot="0190")).startswith("differs your ballot")
    assert judge(data, key="x+00000000+AQ==")["where"] == "log key"


def test_every_altered_part_is_named(counted: Path) -> None:
    data = bundle(counted)
    top = json.loads(data)
    for index, row in enumerate(top["entries"]):
        document = row["document"].replace('"v":1', '"v":1 ') if index % 2 else row["document"].replace("yes", "no!")
        if document == row["document"]:
            document = document.replace('"at":1', '"at":2')
        changed = json.loads(data)
        changed["entries"][index]["document"] = document
        assert judge(encode(changed))["verdict"] == "differs", index
    for cut in range(1, len(top["entries"])):
        changed = json.loads(data)
        del changed["entries"][cut]
        assert judge(encode(changed))["verdict"] != "ok", "nothing can be left out"
    for junk in (b"", b"{}", b"[]", b'{"atoll_vote":2}', data[:-1], b" " + encode({"atoll_vote": 2})):
        assert judge(junk)["verdict"] == "cannot judge"


def test_flipped_bits_never_pass(counted: Path) -> None:
    data = bundle(counted)
    for at in range(0, len(data), max(1, len(data) // 300)):
        flipped = bytearray(data)
        flipped[at] ^= 4
        report = judge(bytes(flipped))
        assert report["verdict"] != "ok", (at, data[at - 20 : at + 20])


def test_no_part_is_dropped_doubled_moved_or_changed(counted: Path, request: pytest.FixtureRequest) -> None:
    rng, files = random.Random(20261126), [bundle(counted), bundle(counted, 2)]
    for number in range(4_000 if request.config.getoption("--deep") else 300):
        changed = mutated_bundle(files[number % 2], rng)
        assert judge(changed)["verdict"] != "ok", changed


def test_a_forged_log_is_judged_by_what_it_says(counted: Path, request: pytest.FixtureRequest) -> None:
    """Whatever an entry says, there is a verdict; without the published key the forger's own log may be sound."""
    rng, data, seen = random.Random(7), bundle(counted), set[str]()
    for _ in range(3_000 if request.config.getoption("--deep") else 150):
        report = judge(forged_log(data, rng))
        seen.add(report["verdict"])
        assert (report["where"] == "") == (report["verdict"] == "ok"), report
    assert seen == {"ok", "differs", "cannot judge"}


def forged(data: bytes, monkeypatch: pytest.MonkeyPatch, change) -> str:
    """Returns the verdict where the log itself holds something false."""
    monkeypatch.setattr(atoll_recount, "climb", lambda index, size, leaf, proof: base64.b64decode(root))
    top = json.loads(data)
    root = top["checkpoint"].split("\n")[2]
    rows = [(row, json.loads(row["document"])) for row in top["entries"]]
    for row, entry in rows:
        change(entry["kind"], entry["body"])
        row["document"] = encode(entry).decode()
    return words(judge(encode(top)))


def test_a_hub_that_counts_wrongly_is_found_out(counted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def result(kind: str, body: dict) -> None:
        if kind == "vote.result":
            body["passed"] = not body["passed"]

    def quorum(kind: str, body: dict) -> None:
        if kind == "vote.open":
            body["need"] = 1

    def proposal(kind: str, body: dict) -> None:
        if kind == "vote.open":
            body["document"]["export_price"] = 1

    def stuffed(kind: str, body: dict) -> None:
        if kind == "vote.cast" and body["voter"] == "home-02":
            document = {**body["paper"]["document"], "choice": "yes"}
            body["paper"] = {**body["paper"], "document": document}

    def stranger(kind: str, body: dict) -> None:
        if kind == "vote.cast" and body["voter"] == "home-02":
            from controller.ledger.identity import SigningKey

            body["paper"] = sign_document("ballot", body["paper"]["document"], SigningKey(bytes(32)))

    data = bundle(counted)
    for change, where in (
        (result, "result"),
        (quorum, "quorum"),
        (proposal, "proposal"),
        (stuffed, "ballot"),
        (stranger, "ballot"),
    ):
        assert forged(data, monkeypatch, change).startswith(f"differs {where}"), change


def test_an_open_vote_has_no_file() -> None:
    town = Community()
    town.books.run_due(START)
    assert town.open(START).accepted
    with pytest.raises(NotCountedYet):
        export_vote(town.books._file, town.vote())
