"""Pumps and tanks of a site with a raw tank: a drive's points, recovery, empty sources, saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from devices.clock import MINUTE_MS, Instant
from devices.model import DeviceId, DeviceKind, DeviceSpec
from firmware_sim.build import build_village
from firmware_sim.fleet import VillageFleet
from firmware_sim.happenings import UnknownHappening
from firmware_sim.plumbing import Pump
from firmware_sim.profiles import Profiles

RATINGS = {"power_w": 1600.0, "flow_lpm": 90.0}


def pump_of(**simulate: str | float) -> Pump:
    spec = DeviceSpec(
        DeviceId("booster"), DeviceKind.PUMP, "profile:abb_acs", "gw-1", ratings=RATINGS, simulate=simulate
    )
    return Pump.of(spec, 0, 0)


@pytest.mark.parametrize(("speed", "watts", "lpm"), [(0.0, 0, 0), (0.5, 250, 40), (0.625, 475, 52.5), (1.0, 1600, 90)])
def test_a_drive_gives_what_its_points_say(speed: float, watts: int, lpm: float) -> None:
    pump = pump_of(speeds="0.5:40:250 0.75:65:700")
    pump.switch(speed, 0)
    assert pump.demand_w() == watts
    assert pump.on == (speed > 0)
    if speed:
        assert pump.point.flow == pytest.approx(lpm * 1000 * 15)


@pytest.fixture
def fleet(specs: Sequence[DeviceSpec], year: Profiles, start: Instant) -> VillageFleet:
    first = next(spec for spec in specs if spec.kind is DeviceKind.PUMP)
    tank = next(spec for spec in specs if spec.kind is DeviceKind.TANK)
    added = (
        replace(tank, id=DeviceId("raw-1"), unit=200, ratings={"volume_l": 2000.0}, simulate={"level": 0.5}),
        replace(
            first, id=DeviceId("filter-1"), unit=201, simulate={"tank": tank.id, "source": "raw-1", "recovery": 0.5}
        ),
    )
    devices = [*specs, *added]
    return VillageFleet(build_village(devices, start, 1, year, lambda: year), devices)


def test_a_filter_takes_twice_what_it_gives_until_its_source_is_empty(fleet: VillageFleet) -> None:
    village = fleet.village
    filter_, raw = village.plumbing.pumps[1], village.plumbing.tanks["raw-1"]
    filter_.switch(1.0, village.at)
    filter_.lease_until = village.at + 60 * MINUTE_MS
    village.touch()
    before = raw.level
    village.advance(village.at + MINUTE_MS)
    assert filter_.power_w == 3_000
    assert before - raw.level == pytest.approx(2 * filter_.point.flow * MINUTE_MS, rel=0.001)
    village.advance(village.at + 30 * MINUTE_MS)
    assert raw.level == 0
    assert not filter_.flowing, "it turns and brings nothing"


def test_what_the_tanks_hold_is_saved_and_loaded(fleet: VillageFleet) -> None:
    fleet.village.plumbing.tanks["raw-1"].level //= 3
    fleet.village.plumbing.pumps[1].switch(0.5, fleet.village.at)
    text = fleet.save()
    assert set(json.loads(text)["pumps"]) == {"pump-1", "filter-1"}
    fleet.village.plumbing.tanks["raw-1"].level = 0
    fleet.village.plumbing.pumps[1].switch(0.0, fleet.village.at)
    fleet.load(text)
    assert fleet.village.plumbing.tanks["raw-1"].fraction == pytest.approx(1 / 6, abs=1e-3)
    assert fleet.village.plumbing.pumps[1].speed_ppm == 500_000


def test_wells_run_dry_together_or_the_one_that_is_named_and_a_filter_is_no_well(fleet: VillageFleet) -> None:
    well, filter_ = fleet.village.plumbing.pumps
    second = replace(well, id=DeviceId("pump-2"))
    fleet.village.plumbing.pumps.append(second)
    fleet.happen("well-dry", {})
    assert (well.dry, filter_.dry, second.dry) == (True, False, True)
    fleet.happen("well-wet", {"device": "pump-2"})
    assert (well.dry, second.dry) == (True, False)
    with pytest.raises(UnknownHappening, match=r"no well pump 'filter-1': there are pump-1, pump-2"):
        fleet.happen("well-dry", {"device": "filter-1"})
