"""`atoll simulate --storm`: the village meets a storm with a warning and without one, and is back after it."""

from __future__ import annotations

from math import inf, nan

import pytest

from controller.report import Report, lines
from controller.shell.happenings import BadHappening, parse_local
from controller.shell.simulation import Simulation, SimulationOptions, report_of
from controller.shell.storm_trial import WARNING_MS, StormTrial, parse_storm
from controller.site import Site
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, Instant
from tests.controller.scene import village

ZONE = "Europe/Berlin"
START = parse_local("2026-06-02T04:00", ZONE)
BEGINS = parse_local("2026-06-02T08:00", ZONE)
"""The robot and the drone are out at this time of an ordinary day."""

HOURS = 3.0


def lived(site: Site, *, warned: bool, minutes: int) -> Report:
    """Returns what comes of it up to so many minutes after the storm came."""
    until = Instant(BEGINS + minutes * MINUTE_MS)
    trial = parse_storm("2026-06-02T08:00", HOURS, site.timezone, warned=warned, start=START, until=until)
    simulation = Simulation(site, SimulationOptions(seed=7, replan_ms=HOUR_MS, storm=trial), START)
    try:
        simulation.live(until)
        return report_of(simulation, (until - START) / DAY_MS, 1.0)
    finally:
        simulation.close()


@pytest.mark.integration
def test_a_warning_fills_stores_and_brings_vehicles_home_and_loads_come_back_in_order() -> None:
    site = village()
    assert site.timezone == ZONE
    warned, surprised = lived(site, warned=True, minutes=195), lived(site, warned=False, minutes=2)

    ready, caught = warned.storm, surprised.storm
    assert ready is not None
    assert caught is not None
    assert caught.away == ("robot-1", "drone-1")
    assert ready.away == ()
    for store, goal in (("battery-1", 0.8), ("tank-1", 0.9)):
        held, other = ready.stored[store], caught.stored[store]
        assert held is not None
        assert other is not None
        assert held >= goal > other + 0.3, f"{store}: {held:.0%} with a warning, {other:.0%} without"
    assert (ready.unserved_wh, ready.unserved_ml) == (0, 0)
    assert caught.restart is None, "it still blows"
    assert ready.restart is not None
    assert ready.restart.startswith("in this order: pump-1; then "), "water first"
    assert warned.alarms["storm"] == 1
    assert "storm" not in surprised.alarms
    told = "\n".join(lines(site, warned))
    assert "Tue 2 Jun 08:00 to Tue 2 Jun 11:00, with a warning" in told
    assert "vehicles out: none" in told


def test_a_storm_is_declared_six_hours_before_or_when_the_simulation_begins() -> None:
    site = village()
    trial = StormTrial(BEGINS, Instant(BEGINS + HOUR_MS))

    long_before = trial.happenings(site, Instant(BEGINS - DAY_MS))
    at_once = trial.happenings(site, START)

    assert (long_before[0].at, long_before[0].arguments) == (BEGINS - WARNING_MS, {"in_h": 6.0, "hours": 1.0})
    assert (at_once[0].at, at_once[0].arguments) == (START, {"in_h": 4.0, "hours": 1.0})
    unwarned = StormTrial(BEGINS, Instant(BEGINS + HOUR_MS), warned=False).happenings(site, START)
    assert unwarned == at_once[1:]
    assert {one.name for one in unwarned} == {"grid-lost", "grid-back", "pv-dead", "device-back"}


@pytest.mark.parametrize("hours", [0.0, -1.0, 337.0, nan, inf])
def test_a_storm_that_cannot_be_is_refused_with_all_that_is_wrong(hours: float) -> None:
    until = Instant(START + DAY_MS)
    with pytest.raises(BadHappening, match="write a number above 0, at most 336; 'soon' is no date"):
        parse_storm("soon", hours, ZONE, warned=True, start=START, until=until)
    with pytest.raises(BadHappening, match="not after the simulation does"):
        parse_storm("2026-06-02T04:00", 1.0, ZONE, warned=True, start=START, until=until)
    with pytest.raises(BadHappening, match="when the simulation is over: choose an earlier time or more --days"):
        parse_storm("2026-06-03T04:00", 1.0, ZONE, warned=True, start=START, until=until)
