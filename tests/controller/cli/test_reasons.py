"""`atoll why bill|entry|refusal`, `atoll charter trial`, `atoll fairness` on one village whose charter changes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from controller.cli import exit_code
from controller.cli.errors import ExitCode
from controller.settlement.fairness import Sums, group_of, report
from controller.settlement.runs import BILL, RUN_DAY, SETTLE_DAY
from controller.store.ledger_file import LedgerFile
from devices.clock import HOUR_MS, Instant
from devices.model import RecordQuality
from tests.charters import charter_text
from tests.controller.shell.test_ballot_box import CHANGE, START, Community
from tests.ledger_village import Village, local_midnight, members


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a data directory: a voted charter from the fourth day on, a meter that was held back."""
    made = tmp_path_factory.mktemp("village")
    town, village = Community(made / "ledger.db"), Village(START)
    town.books.run_due(START)
    assert town.open(START, more="[fees]\nper_bill = 1000000").accepted
    assert town.cast(START, "home-01").accepted
    assert town.cast(START, "home-03").accepted
    rows = []
    for rows in village.slots(local_midnight("2026-06-06")):
        bad = village.at == START + 12 * HOUR_MS
        town.books.accept(
            [replace(r, quality=RecordQuality.SUSPECT) if bad and r.usage_point == "home-02" else r for r in rows]
        )
        town.books.run_due(village.at)
    town.books.accept([replace(rows[0], import_end=rows[0].import_end + 1)])
    town.books.run_due(Instant(village.at + 7 * HOUR_MS))
    town.books.close(Instant(village.at + 7 * HOUR_MS))
    return made


def atoll(folder: Path, capsys: pytest.CaptureFixture[str], *words: object, code: ExitCode = ExitCode.OK) -> str:
    found = exit_code([*map(str, words), "--data-dir", str(folder)])
    said = capsys.readouterr()
    assert found == code, said
    return said.out + said.err


def test_a_bill_names_clause_inputs_and_arithmetic(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = atoll(folder, capsys, "why", "bill", "home-01/2026-06-03")
    assert "[lifeline] wh, price" in old
    assert "0.14 EUR/kWh" in old
    new = atoll(folder, capsys, "why", "bill", "home-01/2026-06-04")
    assert "passed by vote" in new
    assert "fee per bill: 1.00 EUR   [fees] per_bill" in new
    file = LedgerFile.read(folder / "ledger.db")
    row = next(one for one in file.of_kind(BILL) if (one.member, one.period) == ("home-01", "2026-06-04"))
    day = next(one for one in file.of_kind(SETTLE_DAY) if (one.member, one.period) == ("home-01", "2026-06-04"))
    amount = int(str(row.sealed().entry.body["amount"]))
    file.close()
    found = json.loads(atoll(folder, capsys, "why", "bill", row.id, "--json"))
    assert f"entry {day.seq}," in found["inputs"][0]
    assert str(row.seq) in found["what"], "and the entry is found by its number"
    assert json.loads(atoll(folder, capsys, "why", "bill", row.seq, "--json")) == found
    total = found["arithmetic"][-1]
    stated = [Fraction(line.rsplit(" EUR ", 1)[0].rsplit(" ", 1)[-1]) for line in found["arithmetic"][:-1]]
    assert round(sum(stated) * 100) == amount, "the lines add up to the bill"
    assert f"rounded once: {Decimal(amount).scaleb(-2)} EUR" in total
    assert all("no clause" not in line for line in found["arithmetic"])


def test_an_entry_names_its_clause(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = LedgerFile.read(folder / "ledger.db")
    rows = {row.kind: row for row in file.entries()}
    ids = {kind: row.id for kind, row in rows.items()}
    file.close()
    assert atoll(folder, capsys, "why", "entry", rows["bill"].seq) == atoll(folder, capsys, "why", "entry", ids["bill"])
    assert "valid_from" not in atoll(folder, capsys, "why", "entry", ids["bill"])
    day = atoll(folder, capsys, "why", "entry", ids["run.day"])
    assert "start = 2026-06-05 00:00" in day, "instants are told in civil time"
    assert f"charter = entry {rows['charter'].seq}" in day
    assert "[quorum] approvals" in atoll(folder, capsys, "why", "entry", ids["vote.result"])
    closing = atoll(folder, capsys, "why", "entry", ids["run.bill"])
    assert "sum of money:EUR = 0.00 EUR" in closing
    assert "there is no entry" in atoll(folder, capsys, "why", "entry", "x", code=ExitCode.FINDINGS)
    atoll(folder, capsys, "why", "entry", code=ExitCode.USAGE)


def test_a_refusal_names_what_was_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = LedgerFile.read(folder / "ledger.db")
    conflict = file.of_kind("record.conflict")[0].sealed().entry.body
    held = next(row.sealed().entry.body for row in file.of_kind(RUN_DAY) if row.sealed().entry.body["held"])
    file.close()
    record = f"{conflict['usage_point']}/{conflict['epoch']}/{conflict['page']}"
    assert "first content" in atoll(folder, capsys, "why", "refusal", record)
    asked = atoll(folder, capsys, "why", "refusal", f"{held['day']}/home-02")
    assert "suspect: its registers ran backwards" in asked
    assert "atoll meter replace home-02" in asked
    bill = atoll(folder, capsys, "why", "bill", f"home-02/{held['day']}")
    assert f"{held['day']}: meter home-02 is held back, nothing of it is billed yet: suspect" in bill
    atoll(folder, capsys, "why", "refusal", "2026-06-05/home-02", code=ExitCode.FINDINGS)
    atoll(folder, capsys, "why", "refusal", "nothing", code=ExitCode.FINDINGS)
    atoll(folder, capsys, "why", "bill", "home-09/2026-06-04", code=ExitCode.FINDINGS)


def test_a_trial_settles_both_as_the_hub_would(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    charter = tmp_path / "next.toml"
    charter.write_text(charter_text(CHANGE, more="[fees]\nper_bill = 1000000"))
    file = LedgerFile.read(folder / "ledger.db")
    billed: dict[str, int] = {}
    for row in file.of_kind(BILL):
        body = row.sealed().entry.body
        billed[row.member] = billed.get(row.member, 0) + int(str(body["amount"]))
    file.close()
    found = json.loads(atoll(folder, capsys, "charter", "trial", charter, "--days", 30, "--json"))
    assert {row["member"]: int(row["before"]) for row in found["members"]} == billed
    assert (len(found["days"]), found["slots"]) == (5, 480)
    same = json.loads(atoll(folder, capsys, "charter", "trial", charter, "--days", 2, "--json"))
    assert [row["change"] for row in same["members"]] == ["0"] * 4, "its own days, settled by itself"
    assert same["treasury"]["before"] == same["treasury"]["after"]
    assert "5 days (2026-06-01 to 2026-06-05)" in atoll(folder, capsys, "charter", "trial", charter)
    charter.write_text(charter_text(CHANGE, period="month"))
    assert "bill_period" in atoll(folder, capsys, "charter", "trial", charter, code=ExitCode.CONFIG)


def test_fairness_adds_up_and_hides_the_few(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(atoll(folder, capsys, "fairness", "--json"))["quarters"]
    assert [one["quarter"] for one in found] == ["2026-Q2"]
    groups = {row["group"]: row for row in found[0]["groups"]}
    homes = groups["household, with lifeline"]
    assert homes["members"] == 3
    file = LedgerFile.read(folder / "ledger.db")
    bodies: list[Any] = [row.sealed().entry.body for row in file.of_kind(SETTLE_DAY) if row.member.startswith("home")]
    bills: list[Any] = [row.sealed().entry.body for row in file.of_kind(BILL) if row.member.startswith("home")]
    file.close()
    assert int(homes["community_uwh"]) == sum(int(body["quantities"]["from_local"]) for body in bodies)
    assert int(homes["billed_minor"]) == sum(int(body["amount"]) for body in bills)
    assert "home-0" not in json.dumps(found)
    text = atoll(folder, capsys, "fairness", "--quarter", "2026-Q2")
    assert re.search(r"a kWh cost 0\.\d{4} EUR on average", text)
    assert re.search(r"energy from the community +[\d.]+ kWh  0\.14 EUR/kWh", text), "each tier has its price"
    atoll(folder, capsys, "fairness", "--quarter", "2026-Q3", code=ExitCode.USAGE)
    few = {one.id: one for one in members(2)}
    small: Any = report("2026-Q2", few, {name: Sums(used=5, near=1, days=1) for name in few})
    hidden = next(row for row in small["groups"] if row["group"] == group_of(few["home-01"]))
    assert "used_uwh" not in hidden
