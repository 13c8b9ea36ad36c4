"""Outside judges: beancount and hledger accept the export of a ledger, and refuse each altered one."""

from __future__ import annotations

import csv
import random
import re
import subprocess

import pytest
from beancount import loader
from click.testing import CliRunner

from controller.cli.ledger import ledger
from controller.ledger.entries import derived_id
from controller.money.desk import Asked
from controller.shell.books import Books
from devices.clock import DAY_MS, Instant
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, local_midnight, rules

START = local_midnight("2026-06-01")
NOW = Instant(START + 2 * DAY_MS)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    books = Books.open(folder / "ledger.db", rules(2, key=None))
    live(books, Village(START, homes=2).until(NOW))
    for number, amount in enumerate(("5", "7.25"), 1):
        request = {"do": "pay", "member": "home-02", "amount": amount, "method": "cash", "note": 'a "quoted" \\ word'}
        assert books.till.ask(Asked(derived_id(NOW, number), "root", NOW), request).accepted
    request = {"do": "cancel", "receipt": 1, "reason": "wrong | member; really"}
    assert books.till.ask(Asked(derived_id(NOW, "cancel"), "root", NOW), request).accepted
    books.close(NOW)
    return folder


def export(data_dir, form: str) -> str:
    result = CliRunner().invoke(ledger, ["export", str(data_dir), "--format", form])
    assert result.exit_code == 0, result.output
    return result.output


def beancount_errors(text: str) -> list:
    return loader.load_string(text)[1]


def hledger_says(text: str) -> int:
    command = ["hledger", "-f", "-", "check", "--strict"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False).returncode


AMOUNT = re.compile(r"^ +Assets:\S+  (-?\d+) ")
ASSERTED = re.compile(r"(balance Assets:\S+  |= )(-?\d+) ")


def altered(text: str, draw: random.Random) -> tuple[str, str]:
    """Returns (what was done, the text) with one amount, account, line or transaction changed."""
    lines = text.split("\n")
    postings = [at for at, line in enumerate(lines) if AMOUNT.match(line) and " = " not in line]
    at = draw.choice(postings)
    what = draw.choice(("amount", "sign", "account", "gone", "twice", "assertion", "transaction", "moved"))
    match what:
        case "amount" | "moved":
            change = draw.choice((-1, 1)) * draw.choice((1, 10, 10**6))
            lines[at] = re.sub(r"  -?\d+ ", lambda found: f"  {int(found[0]) + change} ", lines[at], count=1)
            if what == "moved":  # balanced still: somebody is helped at another's cost
                other = draw.choice([one for one in _same(lines, at, postings) if one != at])
                lines[other] = re.sub(r"  -?\d+ ", lambda found: f"  {int(found[0]) - change} ", lines[other], count=1)
        case "sign":
            lines[at] = re.sub(
                r"  (-?)(\d)", lambda found: f"  {'' if found[1] else '-'}{found[2]}", lines[at], count=1
            )
        case "account":
            names = sorted({lines[one].split()[0] for one in postings} - {lines[at].split()[0]})
            lines[at] = lines[at].replace(lines[at].split()[0], draw.choice(names))
        case "gone":
            del lines[at]
        case "twice":
            lines.insert(at, lines[at])
        case "assertion":
            found = [one for one, line in enumerate(lines) if ASSERTED.search(line)]
            one = draw.choice(found)
            lines[one] = ASSERTED.sub(lambda seen: f"{seen[1]}{int(seen[2]) + 1} ", lines[one])
        case _:
            first = max(one for one in range(at) if re.match(r"^\d{4}-", lines[one]))
            end = next(one for one in range(at, len(lines)) if not lines[one].startswith(" "))
            del lines[first:end]
    return what, "\n".join(lines)


def _same(lines: list[str], at: int, postings: list[int]) -> list[int]:
    """Returns the postings of the transaction that holds line `at`, of the same commodity."""
    found = [at]
    for step in (-1, 1):
        one = at + step
        while one in postings:
            found.append(one)
            one += step
    return [one for one in found if lines[one].split()[2] == lines[at].split()[2]]


COUNTS = [100, pytest.param(1_000, marks=pytest.mark.deep)]


@pytest.mark.parametrize("count", COUNTS)
def test_beancount_accepts_the_export_and_no_altered_one(data_dir, count):
    text = export(data_dir, "beancount")
    assert beancount_errors(text) == []
    draw = random.Random(20261126)
    for number in range(count):
        what, other = altered(text, draw)
        assert other != text
        assert beancount_errors(other), f"alteration {number} ({what}) was accepted"


@pytest.mark.needs("hledger")
@pytest.mark.integration
@pytest.mark.parametrize("count", COUNTS)
def test_hledger_accepts_the_export_and_no_altered_one(data_dir, count):
    text = export(data_dir, "hledger")
    assert hledger_says(text) == 0
    draw = random.Random(20261126)
    for number in range(count):
        what, other = altered(text, draw)
        assert hledger_says(other) != 0, f"alteration {number} ({what}) was accepted"


def test_bean_check_itself_accepts_the_file(data_dir, tmp_path):
    import sys
    from pathlib import Path

    file = tmp_path / "ledger.beancount"
    result = CliRunner().invoke(ledger, ["export", str(data_dir), "--format", "beancount", "-o", str(file)])
    assert result.exit_code == 0
    program = Path(sys.executable).with_name("bean-check")
    assert subprocess.run([str(program), str(file)], capture_output=True, check=False).returncode == 0
    file.write_text(altered(file.read_text(), random.Random(1))[1])
    assert subprocess.run([str(program), str(file)], capture_output=True, check=False).returncode != 0


def test_the_csv_has_every_posting_once(data_dir):
    rows = list(csv.DictReader(export(data_dir, "csv").splitlines()))
    sums: dict[tuple[str, str], int] = {}
    for row in rows:
        key = row["account"], row["asset"]
        sums[key] = sums.get(key, 0) + int(row["amount"])
    books = Books.open(data_dir / "ledger.db", rules(2, key=None))
    assert sums == {(one.account, one.asset): one.posted for one in books.reader().balances()}
    books.close(NOW)


def test_without_signed_days_ocmf_says_so(data_dir):
    result = CliRunner().invoke(ledger, ["export", str(data_dir), "--format", "ocmf"])
    assert result.exit_code == 1
    assert "signed meter-day" in result.output or "signed meter-day" in str(result.exception)
