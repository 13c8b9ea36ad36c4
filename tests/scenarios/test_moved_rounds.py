"""The village with a robot whose pack holds little more than one round: its rounds wait until the sun has filled it."""

from __future__ import annotations

from dataclasses import replace

from controller.cli.sites import load_site
from controller.shell.simulation import Simulation, SimulationOptions, report_of, start_of
from controller.site import Site
from devices.clock import HOUR_MS, MINUTE_MS, Instant
from devices.model import DeviceSpec
from tests.controller.scene import VILLAGE


def small_pack(site: Site) -> Site:
    """Returns the village with 0.4 kWh in its robot, long stops, and windows until 16:00 for all but medicine."""

    def device(spec: DeviceSpec) -> DeviceSpec:
        if spec.id != "robot-1":
            return spec
        ratings = {**spec.ratings, "energy_wh": 400.0, "charge_w_max": 200.0}
        return replace(spec, ratings=ratings, simulate={"soc": 0.3})

    deliveries = tuple(
        d if d.kind == "medicine" else replace(d, window=(480, 960), service_ms=8 * MINUTE_MS) for d in site.deliveries
    )
    jobs = tuple(replace(job, window=(18 * 60, 22 * 60)) if job.device == "robot-1" else job for job in site.jobs)
    return replace(site, deliveries=deliveries, jobs=jobs, devices=tuple(map(device, site.devices)))


def test_rounds_wait_for_the_sun_and_medicine_does_not() -> None:
    site = small_pack(load_site(VILLAGE))
    midnight = start_of(site)
    start = Instant(midnight + 7 * HOUR_MS)
    simulation = Simulation(site, SimulationOptions(seed=7, replan_ms=2 * HOUR_MS), start)
    left: dict[str, tuple[float, float]] = {}
    try:
        hub = simulation.world.parts.hub
        at = start
        while at < midnight + 16 * HOUR_MS:
            at = Instant(at + 10 * MINUTE_MS)
            simulation.world.run(at)
            assert hub.snapshot is not None
            for out in hub.desk.out.values():
                if out.trip.id not in left:
                    left[out.trip.id] = ((at - midnight) / HOUR_MS, hub.snapshot.value(out.trip.vehicle, "soc") or 0.0)
        report = report_of(simulation, 9 / 24, 1.0)
    finally:
        simulation.close()

    assert report.deliveries == {"sent": 6, "running": 6, "done": 6}
    assert report.alarms == {}
    rounds = {name: one for name, one in left.items() if name.startswith("robot-1")}
    assert len(rounds) >= 2
    assert all(hour > 11.0 for hour, _ in rounds.values()), rounds
    (medicine,) = (hour for name, (hour, _) in left.items() if "medicine" in name)
    assert medicine < 8.5
