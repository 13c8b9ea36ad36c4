"""Tables made by EPANET and plans replayed in it. Not run where wntr has no wheel (aarch64)."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli.water import water
from controller.shell import epanet
from optimizer import zone_file
from optimizer.check_zones import check_zone
from optimizer.zone_plan import plan_zone
from optimizer.zones import ZonePlan, ZoneProblem, ZoneTable

NETWORK = Path(__file__).parents[2] / "golden" / "water" / "two-tanks.inp"
pytestmark = pytest.mark.skipif(find_spec("wntr") is None, reason="wntr (EPANET) has no wheel for this machine")


@pytest.fixture(scope="module")
def zone() -> tuple[ZoneTable, epanet.NetworkDay]:
    with epanet.open_network(NETWORK) as network:
        day = network.day(24, 3600)
    return epanet.table_of(NETWORK, day, points=7, demands=24, speeds=(1.0,), pressure_m_min=15.0), day


def test_a_plan_costs_in_epanet_what_the_table_said(zone: tuple[ZoneTable, epanet.NetworkDay]) -> None:
    table, day = zone
    wanted = tuple(kl * 1.001 for kl in day.level_now_kl)
    problem = ZoneProblem(table, 1.0, day.demand_kl_per_h, day.price, day.level_now_kl, (0.0, 0.0), wanted)
    plan = plan_zone(problem)
    assert isinstance(plan, ZonePlan)
    assert check_zone(problem, plan) == []
    with epanet.open_network(NETWORK) as network:
        seen = network.replay(table, plan, day.price, 3600, 900)
    assert seen.problems == ()
    assert abs(seen.energy_cost / plan.energy_cost - 1) < 0.001
    for tank, planned, is_, begun in zip(table.tanks, plan.level_kl, seen.level_kl, day.level_now_kl, strict=True):
        assert max(abs(a - b) for a, b in zip(planned, is_, strict=True)) < 0.01 * tank.high_kl
        assert is_[-1] >= begun
    # The same energy spread evenly over the day would cost more: the plan uses the cheap hours.
    assert plan.energy_cost < 0.95 * sum(plan.power_kw) * sum(day.price) / 24


def test_the_day_is_the_files_own(zone: tuple[ZoneTable, epanet.NetworkDay]) -> None:
    table, day = zone
    assert day.price[:2] == (0.09, 0.09)
    assert day.price[17] == 0.26
    assert day.demand_kl_per_h[0] == pytest.approx((25 + 14) * 0.52 * 3.6)
    assert [c.name for c in table.configurations] == [  # of the two equal pumps, one of each number
        "all pumps off",
        "booster",
        "pump-b",
        "pump-b+booster",
        "pump-a+pump-b",
        "pump-a+pump-b+booster",
    ]


def test_a_replay_says_which_limit_breaks(zone: tuple[ZoneTable, epanet.NetworkDay]) -> None:
    table, day = zone
    idle = ZonePlan((0,) * 24, (0.0,) * 24, ((0.0,) * 24,) * 2, 0.0, 0.0, 0, 0.0)
    with epanet.open_network(NETWORK) as network:
        seen = network.replay(table, idle, day.price, 3600, 900)
    assert seen.energy_cost == 0.0
    assert any("m of pressure" in text or "EPANET warns" in text for text in seen.problems)


def test_a_variable_speed_pump_takes_less_power_when_slow() -> None:
    with epanet.open_network(NETWORK) as network:
        table = network.table(points=2, demand_kl_per_h=(100.0,), speeds=(0.8, 1.0), pressure_m_min=15.0)
    by_name = {one.name: at for at, one in enumerate(table.configurations)}
    slow, fast = by_name["pump-b@80%"], by_name["pump-b"]
    assert 0 < table.power_kw[slow, 0, 0, 0] < 0.7 * table.power_kw[fast, 0, 0, 0]


def test_the_command_writes_a_table_that_show_reads(tmp_path: Path) -> None:
    out = tmp_path / "hill.json"
    made = CliRunner().invoke(water, ["table", str(NETWORK), "-o", str(out), "--levels", "3", "--demands", "2"])
    assert made.exit_code == 0, made.output
    table = zone_file.from_text(out.read_text())
    assert table.power_kw.shape == (6, 3, 3, 2)
    shown = CliRunner().invoke(water, ["show", str(out), "--json"])
    rows = json.loads(shown.output)["configurations"]
    assert rows[0] == {**rows[0], "configuration": "all pumps off", "power_kw": 0.0}
    assert max(row["power_kw"] for row in rows) > 100


def test_what_epanet_cannot_read_is_refused_in_words(tmp_path: Path) -> None:
    bad = tmp_path / "bad.inp"
    bad.write_text("[JUNCTIONS]\n a 1\n[END]\n")
    refused = CliRunner().invoke(water, ["table", str(bad)])
    assert refused.exit_code == 3
    assert "EPANET cannot read bad.inp" in refused.output


def test_a_machine_without_wntr_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wntr.epanet.toolkit", None)
    refused = CliRunner().invoke(water, ["table", str(NETWORK)])
    assert refused.exit_code == 3
    assert "no wheel for aarch64" in refused.output
