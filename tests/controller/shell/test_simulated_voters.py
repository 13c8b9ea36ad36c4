"""Votes in a simulation: opened, cast, counted, in force by itself; bills before and after are recomputed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from controller.cli import atoll
from controller.cli.sites import load_site
from controller.shell.bill_export import bills_with_runs, export_bill
from controller.shell.happenings import BadHappening
from controller.shell.simulated_voters import electorate, expanded
from controller.shell.simulation import Simulation, SimulationOptions, report_of, start_of
from controller.simulate import VOTE_CAST, VOTE_OPEN, Happening
from devices.clock import DAY_MS, HOUR_MS, Instant
from tests.charters import charter_text
from verifier.atoll_verify import judge

SITE = Path(__file__).parents[2] / "village.toml"
PLACE = load_site(SITE)
START = start_of(PLACE)
CHANGE = Instant(START + 2 * DAY_MS)
RULES = 'key = "rounds"\nclasses = { clinic = 0 }'


def vote(folder: Path, **arguments: str | float) -> Happening:
    file = folder / "next.toml"
    file.write_text(
        charter_text(CHANGE, sharing=RULES, price='rule = "supply-demand"', more="[fees]\nper_bill = 250000")
    )
    return Happening(Instant(START + 6 * HOUR_MS), "vote", {"charter": str(file), **arguments})


def test_a_charter_that_members_vote_for_takes_effect_by_itself(tmp_path: Path) -> None:
    options = SimulationOptions(
        cycle_ms=900_000, meter_poll_ms=900_000, plan=False, data_dir=tmp_path / "data",
        happenings=(vote(tmp_path, against="home-03,home-04"),),
    )  # fmt: skip
    simulation = Simulation(PLACE, options, START)
    try:
        simulation.world.run(Instant(START + 3 * DAY_MS + 8 * HOUR_MS))
        simulation.world.drain()
        report = report_of(simulation, 3.3, 1.0)
    finally:
        simulation.close()
    households = [one.id for one in PLACE.members if one.role == "household"]
    assert report.sound
    (row,) = report.votes
    assert (row["state"], row["yes"], row["no"]) == ("passed", len(households) - 2, 2)
    assert row["days_settled"] == 1
    path = tmp_path / "data" / "ledger.db"
    periods = sorted({period for _, period, _ in bills_with_runs(path)})
    assert len(periods) == 3
    for member in ("home-03", "clinic"):
        before, after = (
            cast("dict[str, Any]", judge(export_bill(path, member, period))) for period in (periods[1], periods[2])
        )
        assert (before["verdict"], after["verdict"]) == ("ok", "ok"), (before, after)
        lines = [[what for what, _ in report["lines"] if what.startswith("line ")] for report in (before, after)]
        assert "line fee per bill" in lines[1]
        assert "line fee per bill" not in lines[0]
        assert "line energy from the community, slot by slot" in lines[1]


def test_a_vote_is_one_opening_and_one_ballot_of_each_household(tmp_path: Path) -> None:
    asked = vote(tmp_path, against="home-03", absent="home-05", hours=12.0)
    found = expanded(PLACE.members, [asked])
    assert [one.name for one in found] == [VOTE_OPEN] + [VOTE_CAST] * (len(found) - 1)
    choices = {str(one.arguments["member"]): one.arguments["choice"] for one in found[1:]}
    assert "home-05" not in choices
    assert [name for name, choice in choices.items() if choice == "no"] == ["home-03"]
    voters = electorate(PLACE.members, [asked])
    assert (len(voters.of), voters.need, voters.expires_h) == (len(choices) + 1, (len(choices) + 1) // 2 + 1, 12)
    assert electorate(PLACE.members, []).of == {}


def test_what_is_wrong_with_a_vote_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadHappening, match=r"colour: a vote has .*\n.*home-99 is no household"):
        expanded(PLACE.members, [vote(tmp_path, against="home-99", colour="red")])
    with pytest.raises(BadHappening, match="cannot be read"):
        expanded(PLACE.members, [Happening(START, "vote", {"charter": str(tmp_path / "none.toml")})])
    vote(tmp_path)
    when = "2026-06-01T01:00"
    words = ["simulate", str(SITE), "--days", "0.1", "--no-plan", "--cycle", "900", "--happening"]
    refused = CliRunner().invoke(atoll, [*words, f"{when} vote charter={tmp_path / 'next.toml'} hours=96"])
    assert refused.exit_code == 2
    assert "too-early" in refused.output, "it would close after the charter begins"
