"""The site file: sound examples load, and every fault is told with its line and a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.site import check, json_schema, load
from controller.site_problems import Problem, SiteProblems
from devices.model import DeviceKind

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/site.toml"))
VILLAGE = (Path(__file__).parents[1] / "village.toml").read_text()


def problems(text: str) -> list[Problem]:
    site, found = check(text, "site.toml")
    assert (site is None) == bool(found)
    return found


def mutated(old: str, new: str) -> str:
    assert VILLAGE.count(old) >= 1, old
    return VILLAGE.replace(old, new, 1)


def test_a_serial_port_has_one_setting_and_variants_of_one_product_share_a_unit() -> None:
    wired = VILLAGE.replace('"127.0.0.1:5020"', '"rtu:/dev/serial/by-id/a?baud=9600"')
    assert problems(wired) == []
    (problem,) = problems(wired.replace("a?baud=9600", "a?baud=19200", 1))[:1]
    assert problem.code == "SITE-039"
    assert "another device names this serial port" in problem.message
    bus = '\ngateway = "gw-1"\nendpoint = "127.0.0.1:5020"\nunit = '
    shared = VILLAGE.replace(f'driver = "sunspec"{bus}101', f'driver = "profile:deye_3p"{bus}100')
    assert shared != VILLAGE
    assert [p.code for p in problems(shared)] == ["SITE-034"]
    grid = shared.replace('kind = "grid"\ndriver = "sunspec"', 'kind = "grid"\ndriver = "profile:deye_3p.grid"')
    assert grid != shared
    assert problems(grid) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_every_example_loads(path: Path) -> None:
    assert load(path.read_text(), str(path)).devices


def test_the_example_village_has_every_part_that_plans_know() -> None:
    """What `atoll simulate` and `atoll demo` show is all of the planner: issue 3, done when."""
    path = EXAMPLES[0]
    site = load(path.read_text(), str(path))
    homes = [member for member in site.members if member.role == "household"]
    assert len(homes) == 13
    assert len(site.of_kind(DeviceKind.PV)) >= 4
    assert {"clinic"} == set(site.critical)
    for kind in (DeviceKind.BATTERY, DeviceKind.CHARGER, DeviceKind.ROBOT, DeviceKind.DRONE, DeviceKind.RELAY):
        assert len(site.of_kind(kind)) == 1
    pumps = site.water.pumps
    assert any(pump.phases for pump in pumps.values())
    assert any(len(pump.points) > 1 for pump in pumps.values())
    assert any(site.water.well(pump.source or "") is not None for pump in pumps.values())
    assert [zone.id for zone in site.water.zones] == ["hill"]
    assert site.water.tiers
    assert {spec.ratings["cold"] for spec in site.of_kind(DeviceKind.THERMAL)} == {0.0, 1.0}
    assert site.waste.digesters
    assert site.waste.yards
    assert site.cold_boxes
    assert site.farm.fields
    assert site.farm.batches
    assert site.farm.stores
    assert {"construction", "repair", "print", "maintenance"} <= {order.kind for order in site.work.orders}
    assert {delivery.store for delivery in site.deliveries} >= {"cool"}


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("poll_ms = 1000", "pol_ms = 1000", "SITE-010", 'did you mean "poll_ms"'),
        ("energy_wh = 120000", 'energy_wh = "lots"', "SITE-012", "atoll check --schema"),
        ("energy_wh = 120000", "energy_wh = -1", "SITE-012", "allowed: gt 0"),
        ("energy_wh = 120000, ", "", "SITE-011", "add energy_wh"),
        ('behind = "home-02"', 'behind = "home-99"', "SITE-035", "name the meter"),
        ('tank = "tank-1"', 'tank = "tank-9"', "SITE-036", "name the tank"),
        ('usage_points = ["home-03"]', 'usage_points = ["home-02"]', "SITE-041", "belongs to one member"),
        ('to = "17:00"', 'to = "16:00"', "SITE-051", "starts at 16:00"),
        ('timezone = "Europe/Berlin"', 'timezone = "Europe/Atlantis"', "SITE-021", "IANA"),
        ('device = "robot-1"', 'device = "robot-7"', "SITE-060", "robot-1"),
        ('driver = "profile:dse73xx"', 'driver = "profile:dse99"', "SITE-032", "dse73xx"),
        ('driver = "profile:evse"', 'driver = "profile:deye_3p.hvv"', "SITE-032", "there are grid, pv"),
        ("unit = 101", "unit = 100", "SITE-034", "its own unit"),
        ('endpoint = "127.0.0.1:5020"', 'endpoint = "rtu:/dev/x?baud=960"', "SITE-039", "by-id"),
        ('endpoint = "127.0.0.1:5020"', 'endpoint = "rtu:x"', "SITE-039", "by-id"),
        ('gateway = "gw-1"', 'gateway = "gw-2"', "SITE-033", "gw-1"),
        ("reserve_fraction = 0.35", "reserve_fraction = 0.99", "SITE-022", "less than 0.95"),
        ('place = "field"', 'place = "moon"', "SITE-061", "field"),
        ("[water]", "[water", "SITE-001", "write: [water]"),
        ('id = "tank-1"', 'id = "Tank 1"', "SITE-012", "allowed"),
    ],
)
def test_a_fault_is_told_with_its_line_and_a_way_out(old: str, new: str, code: str, says: str) -> None:
    text = mutated(old, new)
    found = problems(text)
    first = VILLAGE[: VILLAGE.index(old)].count("\n") + 1
    match = [problem for problem in found if problem.code == code]
    assert match, [str(problem) for problem in found]
    assert says in match[0].fix
    assert 0 <= match[0].line - first <= 6, (match[0].line, first)  # a gap is told at the band after it


def test_all_problems_come_at_once_in_file_order() -> None:
    text = VILLAGE
    for old, new in (
        ("poll_ms = 1000", "pol_ms = 1000"),
        ("energy_wh = 120000", 'energy_wh = "lots"'),
        ('behind = "home-02"', 'behind = "home-99"'),
        ('device = "robot-1"', 'device = "robot-7"'),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    found = problems(text)
    assert {problem.code for problem in found} == {"SITE-010", "SITE-012", "SITE-035", "SITE-060"}
    assert [problem.line for problem in found] == sorted(problem.line for problem in found)


def test_a_broken_row_does_not_shift_the_numbers_of_the_others() -> None:
    text = mutated("energy_wh = 120000", 'energy_wh = "lots"').replace('behind = "home-02"', 'behind = "home-99"', 1)
    wrong = next(problem for problem in problems(text) if problem.code == "SITE-035")
    assert text.splitlines()[wrong.line - 1] == 'behind = "home-99"'


def test_one_fault_on_seven_days_is_one_problem() -> None:
    found = [problem for problem in problems(mutated('to = "17:00"', 'to = "16:00"')) if problem.code == "SITE-051"]
    assert len(found) == 1
    assert found[0].seen.startswith("mon, tue")


def test_load_raises_with_every_problem() -> None:
    with pytest.raises(SiteProblems) as caught:
        load(mutated("unit = 101", "unit = 100").replace('tank = "tank-1"', 'tank = "t"', 1), "site.toml")
    assert {problem.code for problem in caught.value.problems} == {"SITE-034", "SITE-036"}


def test_the_schema_states_units_and_ranges() -> None:
    text = str(json_schema())
    assert "[W]" in text
    assert "exclusiveMinimum" in text
