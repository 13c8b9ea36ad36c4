"""`atoll charter`: files, exit codes, what they print."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from controller.charter_check import check
from controller.charter_file import base
from controller.cli.charter import charter
from controller.shell.books import Books
from devices.clock import DAY_MS, HOUR_MS, Instant
from tests.ledger_village import Village, local_midnight, rules

FOLDER = Path(__file__).parents[3] / "examples" / "charters"
TODAY, NEXT = FOLDER / "today.toml", FOLDER / "clinic-first.toml"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(charter, [str(argument) for argument in arguments])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path, start = tmp_path / "intervals.csv", datetime(2026, 6, 2, 22, tzinfo=UTC)
    rows = ["utc,home-01,home-02,clinic,pv-01,home-01.water"]
    for slot in range(96):
        at = start + timedelta(minutes=15 * slot)
        sun = 3000 if 6 <= at.hour < 16 else 0
        rows.append(f"{at:%Y-%m-%dT%H:%MZ},400,{800 + slot},1500,{sun},20")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_sound_charter_has_a_proposal_hash(tmp_path: Path) -> None:
    found = json.loads(run("check", TODAY, "--json").output)
    assert found["ok"]
    assert found["proposal"] in run("check", TODAY).output
    bad = tmp_path / "bad.toml"
    bad.write_text(TODAY.read_text().replace("local_price = 140000", "local_price = 220000"))
    result = run("check", bad)
    assert (result.exit_code, "shows in 2026-01" in result.output) == (3, True)
    assert run("compare", bad, TODAY, "--data", tmp_path).exit_code == 3


def test_a_charter_for_the_lab_is_sound_and_says_what_it_is_not_for(tmp_path: Path) -> None:
    lab = tmp_path / "lab.toml"
    flat = 'rule = "flat"\nlocal_price = 140000'
    lab.write_text(TODAY.read_text().replace(flat, 'rule = "shapley"\nsamples = 2\nseed = 1'))
    result = run("check", lab)
    assert (result.exit_code, "sound for the policy lab" in result.output) == (0, True), result.output
    assert not json.loads(run("check", lab, "--json").output)["ok"], "it cannot be put into force"


def test_a_csv_is_compared_alike_every_time(table: Path) -> None:
    first = run("compare", TODAY, NEXT, "--data", table, "--json").output
    assert run("compare", TODAY, NEXT, "--data", table, "--json").output == first
    found = json.loads(first)
    assert [row["member"] for row in found["members"]] == ["home-01", "home-02", "clinic"]
    assert all(int(row["after"]) - int(row["before"]) == int(row["change"]) for row in found["members"])
    assert found["winners"] + found["losers"] <= 3
    for side in found["charters"]:
        assert int(side["bills"]) == int(side["outside"]) + int(side["treasury"])
    assert "worst off: " in run("compare", TODAY, NEXT, "--data", table).output


def test_a_charter_against_itself_changes_nothing(table: Path) -> None:
    found = json.loads(run("compare", TODAY, TODAY, "--data", table, "--json").output)
    assert {row["change"] for row in found["members"]} == {"0"}


def test_the_recorded_days_give_the_bills_that_stand_in_the_ledger(tmp_path: Path) -> None:
    start = local_midnight("2026-06-01")
    end = Instant(start + 2 * DAY_MS)
    file = check(TODAY.read_text())[0]
    assert file is not None
    own = rules(bill_period="day", bands=base(file).bands)
    books = Books.open(tmp_path / "ledger.db", own)
    books.accept(Village(start).until(end))
    books.run_due(Instant(end + 7 * HOUR_MS))
    books.commit(Instant(end + 7 * HOUR_MS))
    owed = {
        balance.account.split(":")[1]: balance.posted
        for balance in books.reader().balances()
        if balance.account.endswith(":owes")
    }
    held = {balance.account: balance.posted for balance in books.reader().balances() if balance.asset == "money:EUR"}
    books.close(Instant(end + 8 * HOUR_MS))
    result = run("compare", TODAY, NEXT, "--data", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert {row["member"]: int(row["before"]) for row in found["members"]} == owed, "water among it"
    side = found["charters"][0]
    assert int(side["treasury"]) == -held["community:treasury"], "by the grid meter, with its losses"
    assert int(side["rounding"]) == -held["community:rounding"]
    assert int(side["outside"]) == -held["outside:payable"]
    assert side["balanced"]
    assert found["held"] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("T22:15Z", "T22:20Z"), (",400,", ",x,"), (",400,", ",nan,"), ("pv-01", "pv-01.per_kw"), ("utc", "time")],
)
def test_a_broken_csv_is_a_short_text(table: Path, old: str, new: str) -> None:
    table.write_text(table.read_text().replace(old, new, 1))
    assert run("compare", TODAY, NEXT, "--data", table).exit_code == 3


def test_half_a_day_and_no_ledger_are_refused(table: Path, tmp_path: Path) -> None:
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))
    assert "2026-06-03" in run("compare", TODAY, NEXT, "--data", table).output
    assert run("compare", TODAY, NEXT, "--data", tmp_path / "none").exit_code == 3
