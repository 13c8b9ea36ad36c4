"""`atoll ledger`: exit codes and what it prints."""

from __future__ import annotations

import json

import apsw
import pytest
from click.testing import CliRunner

from controller.cli.ledger import ledger
from controller.ledger.note import Verifier
from controller.ledger.proof import LogProof
from controller.shell.books import Books
from devices.clock import DAY_MS, Instant
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, local_midnight, rules

START = local_midnight("2026-06-01")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    books = Books.open(folder / "ledger.db", rules(1))
    live(books, Village(START, homes=1).until(Instant(START + DAY_MS)))
    books.close(Instant(START + DAY_MS))
    return folder


def run(*arguments):
    return CliRunner().invoke(ledger, [str(argument) for argument in arguments])


def test_verify_a_sound_ledger(data_dir):
    result = run("verify", data_dir)
    assert (result.exit_code, "sound" in result.output) == (0, True)
    found = json.loads(run("verify", data_dir, "--json").output)
    assert (found["ok"], found["days"], found["findings"]) == (True, 1, [])


def test_verify_names_what_is_wrong(data_dir, tmp_path):
    damaged = tmp_path / "ledger.db"
    damaged.write_bytes((data_dir / "ledger.db").read_bytes())
    apsw.Connection(str(damaged)).execute("UPDATE balances SET posted = posted + 1 WHERE account = 'losses'")
    result = run("verify", tmp_path)
    assert result.exit_code == 1
    assert result.output.startswith("balances losses energy: the table says ")
    assert json.loads(run("verify", tmp_path, "--json").output)["findings"][0]["table"] == "balances"


def test_show(data_dir):
    text = run("show", data_dir, "--limit", 3).output
    assert "member:home-01:owes" in text
    assert "run.bill" in text
    key = json.loads(run("proof", data_dir, 0).output)["entry"]["body"]["key"]
    assert text.startswith(f"log key {key}\n"), "what a witness is told"
    assert json.loads(run("show", data_dir, "--json").output)["key"] == key
    found = json.loads(run("show", data_dir, "--account", "member:home-01:owes", "--json").output)
    assert [entry["kind"] for entry in found["entries"]] == ["bill"]
    assert {balance["account"] for balance in found["balances"]} == {"member:home-01:owes"}
    nobody = run("show", data_dir, "--account", "nobody")
    assert (nobody.exit_code, "nobody" in nobody.output) == (1, True)


def test_proof(data_dir):
    found = json.loads(run("proof", data_dir, 5).output)
    assert found["entry"]["seq"] == 5
    assert found["checkpoint"].startswith("test.atoll/ledger\n")
    assert run("proof", data_dir, 99_999).exit_code == 1
    proof = LogProof.parse(run("proof", data_dir, 5, "--tlog").output)
    genesis = json.loads(run("proof", data_dir, 0).output)["entry"]["body"]
    head = proof.check(bytes.fromhex(found["leaf"]), [Verifier.parse(genesis["key"])])
    assert head.root.hex() == found["root"]


def test_no_ledger_is_a_short_text(tmp_path):
    for verb in ("verify", "show"):
        result = run(verb, tmp_path)
        assert result.exit_code == 3
        assert "no ledger" in result.output
