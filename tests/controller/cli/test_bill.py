"""`atoll bill` and `atoll witness`: files, exit codes, what they print."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from controller.cli.bill import bill
from controller.cli.witness import witness
from controller.ledger.cosign import Algorithm, Cosigner
from tests.verifier import villages
from verifier.atoll_verify import judge


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bills")
    villages.three_days(folder, 1)
    return folder


def run(*arguments):
    return CliRunner().invoke(bill, [str(argument) for argument in arguments])


def test_a_bill_is_exported_and_judged(data_dir, tmp_path):
    bundle = tmp_path / "bill.json"
    result = run("export", "home-01", "2026-06-02", "--data-dir", data_dir, "-o", bundle)
    assert (result.exit_code, result.output) == (
        0,
        f"{bundle}: the bill of home-01 for 2026-06-02, {bundle.stat().st_size} bytes\n",
    )
    assert judge(bundle.read_bytes())["verdict"] == "ok"
    kept = tmp_path / "kept.txt"
    kept.write_text(json.loads(bundle.read_bytes())["checkpoint"])
    again = tmp_path / "again.json"
    assert run("export", "home-01", "2026-06-03", "--data-dir", data_dir, "-o", again, "--since", kept).exit_code == 0
    assert judge(again.read_bytes(), last=kept.read_text())["verdict"] == "ok"


def test_the_program_that_judges_goes_with_it_as_one_file(data_dir, tmp_path):
    bundle, program = tmp_path / "bill.json", tmp_path / "atoll-verify.pyz"
    export = "export", "home-01", "2026-06-02", "--data-dir", data_dir, "-o", bundle, "--with-verifier"
    assert run(*export).exit_code == 0
    first = program.read_bytes()
    done = subprocess.run(
        [sys.executable, "-I", program, bundle, "--json"], cwd=tmp_path, capture_output=True, check=False
    )
    assert (done.returncode, json.loads(done.stdout)) == (0, judge(bundle.read_bytes()))
    assert run(*export).exit_code == 0
    assert program.read_bytes() == first, "the same sources, the same bytes"
    recount = subprocess.run([sys.executable, "-I", program, "recount", bundle], capture_output=True, check=False)
    assert (recount.returncode, b"CANNOT JUDGE" in recount.stdout) == (2, True)
    lost = tmp_path / "none" / "bill.json"
    assert run(*export[:6], lost, "--with-verifier").exit_code == 3


def test_what_cannot_be_exported_is_a_short_text(data_dir, tmp_path):
    nobody = run("export", "home-99", "2026-06-02", "--data-dir", data_dir, "-o", tmp_path / "x")
    assert (nobody.exit_code, "home-99" in nobody.output) == (1, True)
    assert run("export", "home-01", "2026-06-02", "--data-dir", tmp_path, "-o", tmp_path / "x").exit_code == 3
    junk = tmp_path / "junk.txt"
    junk.write_text("no checkpoint")
    result = run("export", "home-01", "2026-06-02", "--data-dir", data_dir, "-o", tmp_path / "x", "--since", junk)
    assert (result.exit_code, "checkpoint" in result.output) == (3, True)
    assert not (tmp_path / "x").exists()


def test_bills_are_listed(data_dir):
    assert run("list", "--data-dir", data_dir, "--member", "home-01").output.split("\n")[:3] == [
        "2026-06-01  SF  home-01", "2026-06-02  SF  home-01", "2026-06-03  SF  home-01",
    ]  # fmt: skip
    assert run("list", "--data-dir", data_dir, "--member", "home-99").exit_code == 1


def test_a_witness_has_the_same_keys_each_time(tmp_path):
    def keys() -> list[str]:
        result = CliRunner().invoke(witness, ["--data-dir", str(tmp_path), "--name", "school.local", "--keys"])
        assert result.exit_code == 0
        return result.output.split()

    first = keys()
    assert keys() == first
    assert [Cosigner.parse(text).algorithm for text in first] == list(Algorithm)
    bad = CliRunner().invoke(witness, ["--data-dir", str(tmp_path), "--log", "nonsense"])
    assert (bad.exit_code, "nonsense" in bad.output) == (3, True)
