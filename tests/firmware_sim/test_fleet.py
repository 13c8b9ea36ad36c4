from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, Instant
from devices.model import BusFault, DeviceId, DeviceKind, DeviceSpec
from devices.simulated import Fleet, ProfileProblems
from firmware_sim.fleet import VillageFleet, factory
from firmware_sim.happenings import BUS_FAULTS, DEVICE_HAPPENINGS, UnknownHappening
from firmware_sim.machines import wh
from firmware_sim.state import ForeignState

ROOT = Path(__file__).parents[2]


def build(specs: Sequence[DeviceSpec], start: Instant, seed: int = 1) -> VillageFleet:
    fleet = factory.build(specs, start, seed, None)
    assert isinstance(fleet, VillageFleet)
    return fleet


@pytest.fixture
def fleet(specs: Sequence[DeviceSpec], start: Instant) -> VillageFleet:
    return build(specs, start)


def words(fleet: Fleet, unit: int, address: int, count: int = 2) -> int:
    found = fleet.read("127.0.0.1:5020", unit, 3, address, count)
    assert not isinstance(found, BusFault)
    return sum(word << 16 * i for i, word in enumerate(reversed(found)))


IMPORT_WH = 40_000 + 2 + 68 + 46
"""TotWhImp of model 203 behind model 1 (66 registers) in a meter's chain."""


def test_an_absent_unit_is_silent(fleet: VillageFleet) -> None:
    assert fleet.read("127.0.0.1:5020", 77, 3, 40_000, 2) is BusFault.TIMEOUT
    assert fleet.read("127.0.0.1:5099", 1, 3, 40_000, 2) is BusFault.TIMEOUT
    assert fleet.write("127.0.0.1:5020", 77, 6, 0, [1]) is BusFault.TIMEOUT


def test_registers_go_on_after_a_restart(specs: Sequence[DeviceSpec], fleet: VillageFleet, start: Instant) -> None:
    fleet.write("127.0.0.1:5020", 103, 5, 0, [1])
    fleet.happen("pv-dead", {"device": "pv-07"})
    fleet.advance(Instant(start + 26 * HOUR_MS + 1_234))
    before = words(fleet, 1, IMPORT_WH)
    text = fleet.save()
    assert json.loads(text)["village"]["at"] == start + 26 * HOUR_MS + 1_234
    other = build(specs, start)
    other.load(text)
    assert words(other, 1, IMPORT_WH) == before
    for each in (fleet, other):
        each.advance(Instant(start + 50 * HOUR_MS))
    assert words(other, 1, IMPORT_WH) == words(fleet, 1, IMPORT_WH) > before
    mine, theirs = json.loads(fleet.save()), json.loads(other.save())
    assert mine == theirs
    assert fleet.truth() == other.truth()


def test_a_gap_is_integrated_from_the_saved_instant(specs: Sequence[DeviceSpec], start: Instant) -> None:
    fleet = build(specs, start)
    fleet.advance(Instant(start + HOUR_MS))
    other = build(specs, Instant(start + 10 * DAY_MS))
    other.load(fleet.save())
    before = wh(fleet.village.meters[0].imported)
    other.advance(Instant(start + 3 * DAY_MS))
    fleet.advance(Instant(start + 3 * DAY_MS))
    assert other.truth() == fleet.truth()
    assert wh(other.village.meters[0].imported) > before


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version":1}', '{"version":1,"meters":{"home-01":{}}}'])
def test_a_foreign_state_is_refused(fleet: VillageFleet, text: str) -> None:
    with pytest.raises(ForeignState, match="delete the state file"):
        fleet.load(text)


def test_happenings(fleet: VillageFleet, start: Instant) -> None:
    for name in BUS_FAULTS:
        fleet.happen(name, {"device": "home-02"})
        fleet.happen("device-back", {"device": "home-02"})
    fleet.happen("device-silent", {"device": "home-02"})
    assert fleet.read("127.0.0.1:5020", 2, 3, 40_000, 2) is BusFault.TIMEOUT
    fleet.happen("modbus-exception", {"device": "home-03"})
    assert fleet.read("127.0.0.1:5020", 3, 3, 40_000, 2) is BusFault.EXCEPTION
    fleet.happen("grid-lost", {})
    fleet.advance(Instant(start + MINUTE_MS))
    assert fleet.village.grid_w == 0
    assert fleet.village.battery is not None
    assert fleet.village.battery.power_w < 0
    fleet.happen("grid-back", {})
    fleet.happen("meter-swap", {"device": "home-05"})
    fleet.advance(Instant(start + 2 * MINUTE_MS))
    assert words(fleet, 5, IMPORT_WH) < 20
    fleet.happen("tank-leak", {"lpm": 1000})
    fleet.advance(Instant(start + 40 * MINUTE_MS))
    assert fleet.village.water.level == 0


def test_a_stuck_meter_loses_energy(fleet: VillageFleet, start: Instant) -> None:
    fleet.happen("meter-stuck", {"device": "home-08"})
    before = words(fleet, 8, IMPORT_WH)
    fleet.advance(Instant(start + 5 * HOUR_MS))
    assert words(fleet, 8, IMPORT_WH) == before
    fleet.happen("device-back", {"device": "home-08"})
    fleet.advance(Instant(start + 6 * HOUR_MS))
    assert 0 < words(fleet, 8, IMPORT_WH) - before < 14_000


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("earthquake", {}),
        ("grid-lost", {"device": "grid-1"}),
        ("device-silent", {}),
        ("device-silent", {"device": "home-99"}),
        ("meter-swap", {"device": "tank-1"}),
    ],
)
def test_unknown_happenings_say_what_there_is(fleet: VillageFleet, name: str, arguments: dict[str, str]) -> None:
    with pytest.raises(UnknownHappening) as caught:
        fleet.happen(name, arguments)
    assert len(str(caught.value)) > 30
    assert set(BUS_FAULTS) < set(DEVICE_HAPPENINGS)


def test_a_users_file_with_problems(tmp_path: Path, specs: Sequence[DeviceSpec], start: Instant) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("utc,home-01\n2026-01-01T00:00Z,-4\n")
    with pytest.raises(ProfileProblems) as caught:
        factory.build(specs, start, 1, str(path))
    assert len(caught.value.problems) > 20
    assert any("mine.csv:2: home-01: -4 is negative" in problem for problem in caught.value.problems)


SCRIPT = """
import sys; sys.path[:0] = ["tests/firmware_sim", "firmware-sim", "."]
import tomllib, hashlib
from conftest import SITE, spec_of
from firmware_sim.fleet import factory
from devices.clock import Instant, parse_iso
specs = [spec_of(row) for row in tomllib.loads(SITE.read_text())["device"]]
fleet = factory.build(specs, parse_iso("2026-06-01T00:00:00+02:00"), 7, None)
seen = hashlib.sha256()
for step in range(300):
    fleet.advance(Instant(fleet.next_deadline()))
    if step == 50: fleet.write("127.0.0.1:5020", 103, 5, 0, [1])
    if step == 60: fleet.happen("grid-lost", {})
    for message in fleet.messages(): seen.update(message.topic.encode() + message.payload)
seen.update(fleet.save().encode())
print(seen.hexdigest())
"""


def test_the_same_under_another_hash_seed() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert len(found.pop()) == 65


def test_another_seed_is_another_village(specs: Sequence[DeviceSpec], start: Instant) -> None:
    one, two = build(specs, start, 1), build(specs, start, 2)
    assert words(one, 1, IMPORT_WH) != words(two, 1, IMPORT_WH)


def test_a_device_that_the_village_cannot_play_is_named(specs: Sequence[DeviceSpec], start: Instant) -> None:
    spec = DeviceSpec(
        DeviceId("gate"), DeviceKind.RELAY, "profile:relay_4ch", "gw-1", "127.0.0.1:5020", 77, simulate={"level": 1.0}
    )
    with pytest.raises(LookupError, match="device gate: the village has nothing to play it with"):
        build([*specs, spec], start)
