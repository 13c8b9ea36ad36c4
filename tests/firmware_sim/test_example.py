"""The example village's own devices, read by their drivers: well, plant in batches, drive, hill taps, gas engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.site import Site, load
from devices.clock import HOUR_MS, MINUTE_MS, SLOT_MS, Instant
from firmware_sim.build import build_village
from firmware_sim.fleet import VillageFleet
from firmware_sim.images import Device
from firmware_sim.profiles import Profiles
from tests.firmware_sim.test_bus import Bench

EXAMPLE = Path(__file__).parents[2] / "examples" / "village" / "site.toml"


@pytest.fixture(scope="module")
def site() -> Site:
    return load(EXAMPLE.read_text(), str(EXAMPLE))


@pytest.fixture
def bench(site: Site, year: Profiles, start: Instant) -> Bench:
    return Bench(site.devices, year, start)


def run(bench: Bench, pump: str, minutes: int, speed: float = 1.0) -> None:
    """Lets a pump run, written to every minute."""
    for _ in range(minutes):
        bench.write(pump, "on", speed)
        bench.wait(MINUTE_MS)


def test_a_well_falls_while_its_pump_runs_and_a_dry_one_gives_nothing(bench: Bench) -> None:
    full = bench.poll("depth-1")["level"]
    run(bench, "pump-1", 30)
    low = bench.poll("depth-1")["level"]
    assert full is not None
    assert low is not None
    assert full - low == pytest.approx(30 * (90 - 14) / 6000, abs=2e-3)
    assert bench.poll("pump-1")["flow_lpm"] == pytest.approx(90)
    bench.village.plumbing.tanks["well-1"].level = 0
    bench.village.plumbing.tanks["well-1"].inflow = 0
    run(bench, "pump-1", 1)
    assert bench.poll("pump-1")["flow_lpm"] == 0


def test_a_plant_goes_through_its_phases_and_a_drive_tells_that_it_runs(bench: Bench) -> None:
    seen: list[tuple[float | None, float | None]] = []
    for _ in range(9):
        run(bench, "desal-1", SLOT_MS // MINUTE_MS // 15)
        found = bench.poll("desal-1")
        seen.append((found["W"], found["flow_lpm"]))
        run(bench, "desal-1", SLOT_MS // MINUTE_MS - 1)
    assert seen == [(2500, 0), *[(7000, 33)] * 6, (1500, 10), (2500, 0)]
    run(bench, "booster-1", 2, speed=0.75)
    assert bench.poll("booster-1")["on"] == 1
    assert bench.poll("booster-1")["fault"] in (0, None)
    assert bench.poll("flow-1")["flow_lpm"] == pytest.approx(65)
    bench.write("booster-1", "on", 0)
    assert bench.poll("booster-1")["on"] == 0


def test_the_hill_drinks_from_its_own_tank(bench: Bench) -> None:
    hill, village = bench.village.plumbing.waters["tank-3"], bench.village.water
    before = hill.level, village.level
    metered = {tap: bench.poll("water-2")[f"{tap}_ml"] or 0.0 for tap in hill.names}
    bench.wait(12 * HOUR_MS)
    drunk = sum((bench.poll("water-2")[f"{tap}_ml"] or 0.0) - ml for tap, ml in metered.items())
    assert (before[0] - hill.level) / 900_000 == pytest.approx(drunk, abs=40)
    assert 0 < drunk < (before[1] - village.level) / 900_000
    assert not set(bench.poll("water-1")) & {f"{tap}_ml" for tap in hill.names}


def test_an_engine_empties_the_holder_that_its_digester_fills(bench: Bench) -> None:
    first = bench.poll("gas-1")["level"] or 0.0
    bench.wait(4 * HOUR_MS)
    later = bench.poll("gas-1")["level"] or 0.0
    assert (later - first) * 40 == pytest.approx(4 / 24 * 150 * 0.4, rel=0.1), "what goes in comes out, long fed so"
    for _ in range(60):
        bench.write("engine-1", "setpoint", -12_000)
        bench.wait(MINUTE_MS)
    assert bench.poll("engine-1")["W"] == -12_000
    used = (later - (bench.poll("gas-1")["level"] or 0.0)) * 40
    assert used == pytest.approx(12 * 0.55 - 2.5, rel=0.1)
    bench.village.digesters[0].held = 0
    bench.write("engine-1", "setpoint", -12_000)
    bench.wait(2 * MINUTE_MS)
    assert bench.poll("engine-1")["running"] == 0
    assert bench.poll("genset-1")["running"] == 0, "the diesel is another engine"


def test_all_of_it_is_saved_and_goes_on(site: Site, year: Profiles, start: Instant) -> None:
    def made() -> VillageFleet:
        return VillageFleet(build_village(site.devices, start, 1, year, lambda: year), site.devices)

    one, other = made(), made()
    desal: Device = one.bus["127.0.0.1:5020", 111]
    assert desal.spec.id == "desal-1"
    one.village.plumbing.pumps[1].switch(1.0, one.village.at)
    one.advance(Instant(start + 10 * HOUR_MS))
    other.load(one.save())
    for fleet in (one, other):
        fleet.advance(Instant(start + 20 * HOUR_MS))
    assert one.save() == other.save()
