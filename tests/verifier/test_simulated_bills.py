"""Weeks of a village with late data, new meters, a change of tariff and a DST day: every bill, by both verifiers."""

from __future__ import annotations

import base64
import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from controller.cli import atoll
from controller.settlement.bills import round_minor
from controller.shell.bill_export import bills_with_runs, export_bill
from controller.shell.ledger_reader import LedgerReader
from controller.shell.ledger_verify import verify
from controller.store.ledger_file import LedgerFile
from tests.verifier.page import judged
from verifier.atoll_verify import judge

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3_600)]  # a simulation, on a machine that may be busy
SITE = Path(__file__).parent.parent.parent / "examples" / "village" / "site.toml"


@dataclass(frozen=True)
class Weeks:
    days: int
    start: str
    happenings: tuple[str, ...]
    replaced: str  # day of the meter that was told about
    changed: str  # first day of the new tariff


SHORT = Weeks(
    4,
    "2026-03-27",
    (
        "2026-03-27T10:20 meter-replaced device=home-03",
        "2026-03-27T12:00 link-lost",
        "2026-03-28T07:30 link-back",
        "2026-03-30 tariff-change local_price=155000 water_price=1900000",
    ),
    "2026-03-27",
    "2026-03-30",
)
LONG = Weeks(
    60,
    "2026-03-01",
    (
        "2026-03-08T10:20 meter-replaced device=home-03",
        "2026-03-12T05:00 link-lost",
        "2026-03-13T07:30 link-back",  # the day before is closed by then: what comes is late
        "2026-03-16T12:00 meter-swap device=home-05",
        "2026-03-20 tariff-change local_price=155000 water_price=1900000",
        "2026-04-02T00:00 message-loss rate=0.01",
        "2026-04-04T00:00 message-loss rate=0",
    ),
    "2026-03-08",
    "2026-03-20",
)


@pytest.fixture(scope="module", params=[SHORT, pytest.param(LONG, marks=pytest.mark.deep)], ids=["days", "weeks"])
def lived(request, tmp_path_factory) -> tuple[Weeks, Path]:
    weeks, folder = request.param, tmp_path_factory.mktemp("weeks") / "data"
    arguments = ["simulate", str(SITE), "--days", str(weeks.days), "--start", weeks.start, "--cycle", "900"]
    arguments += ["--meter-poll", "900", "--no-plan", "--data-dir", str(folder), "--json"]
    for happening in weeks.happenings:
        arguments += ["--happening", happening]
    done = CliRunner().invoke(atoll, arguments)
    assert done.exit_code == 0, done.output
    report = json.loads(done.output)
    assert (report["records_lost"], report["imbalance"], report["ledger_ok"]) == (0, 0, True)
    return weeks, folder


def test_every_bill_is_recomputed_by_both_verifiers(lived: tuple[Weeks, Path]) -> None:
    weeks, folder = lived
    bills = [(member, period) for member, period, _ in bills_with_runs(folder / "ledger.db")]
    assert len(bills) >= 15 * (weeks.days - 1)
    bundles = [export_bill(folder / "ledger.db", member, period) for member, period in bills]
    reports = [judge(bundle) for bundle in bundles]
    wrong = [(bill, r["where"], r["message"]) for bill, r in zip(bills, reports, strict=True) if r["verdict"] != "ok"]
    assert not wrong
    assert judged([base64.b64encode(bundle).decode() for bundle in bundles]) == reports
    said = {bill: [line[0] for line in r["lines"]] for bill, r in zip(bills, reports, strict=True)}  # type: ignore[union-attr, index]
    signed = [bill for bill, lines in said.items() if any(str(line).startswith("signed ") for line in lines)]
    assert len(signed) >= len(bills) - 15 * 2, "nearly every bill stands on days that a gateway has signed"


@pytest.mark.deep
def test_late_data_the_new_meter_the_tariff_and_the_short_day_are_in_them(lived: tuple[Weeks, Path]) -> None:
    weeks, folder = lived
    reader = LedgerReader.open(folder / "ledger.db")
    entries = reader.entries(None, 10**6)
    held = reader.held(400)
    reader.close()
    runs: list[Any] = [e.body for e in entries if e.kind == "run.day" and "taken" in e.body]  # reversals have none
    assert {len(run["taken"]) for run in runs} >= {92, 96}
    assert any(run["run"] in ("R1", "R2") for run in runs), "late data"
    assert [e.kind for e in entries if e.kind == "meter.replaced"] == ["meter.replaced"]
    assert (weeks.replaced, "home-03", "suspect") not in held
    untold = {(point, why) for _, point, why in held}
    assert untold <= {("home-05", "suspect")}, "only the meter that nobody told about"
    charters: dict[str, Any] = {
        e.id: cast("Any", e.body)["charter"]["local_price"] for e in entries if e.kind == "charter"
    }
    by_day = {run["day"]: charters[str(run["charter"])] for run in runs}
    assert {price for day, price in by_day.items() if str(day) >= weeks.changed} == {155_000}
    assert {price for day, price in by_day.items() if str(day) < weeks.changed} == {140_000}


def test_bills_and_rounding_are_the_total_to_the_last_unit(lived: tuple[Weeks, Path]) -> None:
    _, folder = lived
    reader = LedgerReader.open(folder / "ledger.db")
    entries = reader.entries(None, 10**6)
    undone = {e.refers for e in entries if e.state == "reversal"}
    standing = [e for e in entries if e.state == "posted" and e.id not in undone]
    rounding = 0
    for run in (e for e in standing if e.kind == "run.bill"):
        bills = [e.body for e in standing if e.kind == "bill" and e.period == run.period]
        billed, exact = (sum(int(str(body[key])) for body in bills) for key in ("amount", "exact"))
        assert (str(billed), str(exact)) == (run.body["billed"], run.body["exact"])
        assert billed + int(str(run.body["rounding"])) == round_minor(exact, 2)
        rounding += int(str(run.body["rounding"]))
    assert reader.balance("community:rounding", "money:EUR") == rounding
    assert reader.balance("community:billed", "money:EUR") == 0
    reader.close()


def test_one_altered_byte_anywhere_is_named(lived: tuple[Weeks, Path], tmp_path: Path, request) -> None:
    weeks, folder = lived
    whole = tmp_path / "whole"
    shutil.copytree(folder, whole)
    LedgerFile.write(whole / "ledger.db").close()  # its WAL is empty now
    good, before = (whole / "ledger.db").read_bytes(), contents(whole / "ledger.db")
    rng = random.Random(weeks.days)
    for _ in range(60 if request.config.getoption("--deep") else 6):
        at, bit = rng.randrange(100, len(good)), 1 << rng.randrange(8)
        (whole / "ledger.db").write_bytes(good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :])
        found = verify(whole).findings
        assert found or contents(whole / "ledger.db") == before, f"byte {at}: nothing is named"
    member, period, _ = bills_with_runs(folder / "ledger.db")[20]
    bundle = export_bill(folder / "ledger.db", member, period)
    many = 500 if request.config.getoption("--deep") else 40
    notes, signed = bundle.index(b'"checkpoint"'), bundle.index(b'"ocmf"')
    parts = ((0, len(bundle)), (notes, bundle.index(b'"entries"')), (signed, bundle.index(b'"period"', signed)))
    flipped = [
        bundle[:at] + bytes([bundle[at] ^ (1 << rng.randrange(8))]) + bundle[at + 1 :]
        for part in parts
        for at in rng.sample(range(*part), many)
    ]
    reports: list[Any] = [judge(one) for one in flipped]
    assert "ok" not in {report["verdict"] for report in reports}
    assert all(report["where"] and report["message"] for report in reports)
    page = judged([base64.b64encode(one).decode() for one in flipped])
    assert [(r["verdict"], r["where"]) for r in page] == [(r["verdict"], r["where"]) for r in reports]


def contents(path: Path) -> object:
    """Returns every row of a ledger, or why it cannot be read."""
    try:
        file = LedgerFile.read(path)
        names = [str(row[0]) for row in file.database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        rows = {name: file.database.execute(f"SELECT * FROM {name}").fetchall() for name in sorted(names)}
        file.close()
    except Exception as error:  # noqa: BLE001 - a damaged file fails in many ways
        return repr(error)
    return rows
