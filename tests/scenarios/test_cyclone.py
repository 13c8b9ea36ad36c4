"""A cyclone over the village: no grid for 30 h, no sun, little diesel; declared five hours before, or not at all."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from controller.shell.simulation import Simulation, SimulationOptions, start_of
from controller.simulate import Happening
from controller.site import Site, load
from devices.clock import HOUR_MS, MINUTE_MS, Instant
from devices.model import DeviceKind
from tests.controller.scene import VILLAGE

STORM_H, ENDS_H = 6.0, 36.0
LONGER = 1.5


def cyclone_site() -> Site:
    """Returns the village after a bad week: the battery low, the diesel nearly gone."""
    text = VILLAGE.read_text()
    for usual, bad in (("simulate = { fuel = 0.8 }", "simulate = { fuel = 0.05 }"), ("soc = 0.5 }", "soc = 0.3 }")):
        assert usual in text
        text = text.replace(usual, bad, 1)
    return load(text, "cyclone.toml")


@dataclass(frozen=True)
class Lived:
    """What came of it."""

    dark_after_h: float  # first home or building without power, hours after the grid went
    soc: float  # when the grid went
    level: float


def lived(*, declared: bool, hours: float) -> Lived:
    """Returns what came of it in at most so many hours after the grid went."""
    site = cyclone_site()
    start = start_of(site)

    def at(hour: float, name: str, **arguments: str | float) -> Happening:
        return Happening(Instant(start + round(hour * HOUR_MS)), name, arguments)

    happenings = [at(STORM_H, "grid-lost"), at(ENDS_H, "grid-back")]
    for plant in site.of_kind(DeviceKind.PV):
        happenings += [at(STORM_H, "pv-dead", device=plant.id), at(ENDS_H, "device-back", device=plant.id)]
    if declared:
        happenings.append(at(STORM_H - 5, "storm-declared", in_h=5, hours=ENDS_H - STORM_H))
    options = SimulationOptions(seed=7, replan_ms=3 * HOUR_MS, happenings=tuple(happenings))
    simulation = Simulation(site, options, start)
    world = simulation.world
    try:
        world.run(Instant(start + round(STORM_H * HOUR_MS)))
        snapshot = world.parts.hub.snapshot
        assert snapshot is not None
        soc, level = snapshot.value("battery-1", "soc"), snapshot.value("tank-1", "level")
        dark = hours
        for quarter in range(1, round(hours * 4) + 1):
            world.run(Instant(start + round(STORM_H * HOUR_MS) + quarter * 15 * MINUTE_MS))
            if simulation.fleet.truth().unserved_wh > 0:
                dark = quarter / 4
                break
        return Lived(dark, soc or 0.0, level or 0.0)
    finally:
        simulation.close()


@pytest.mark.integration
def test_a_declared_cyclone_finds_full_stores_and_lifelines_last_longer() -> None:
    surprised = lived(declared=False, hours=ENDS_H - STORM_H)
    warned = lived(declared=True, hours=LONGER * surprised.dark_after_h)

    assert warned.soc >= 0.96
    assert warned.level >= 0.93
    assert warned.soc > surprised.soc + 0.3
    assert 1.0 < surprised.dark_after_h < 12.0, "without a warning the first homes are soon dark"
    assert warned.dark_after_h >= LONGER * surprised.dark_after_h - 0.25, f"{warned} against {surprised}"
