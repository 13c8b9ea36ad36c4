"""A storm in a simulation: the grid gone and no sun for some hours, with a warning before it or without one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

from controller import recall
from controller.report import StormSeen
from controller.shell.happenings import BadHappening, parse_local
from controller.simulate import Happening, World
from controller.site import Site
from controller.storm import LENGTH_MAX_MS
from devices.clock import HOUR_MS, Instant
from devices.model import DeviceKind

WARNING_MS = 6 * HOUR_MS
"""A warning is declared so long before, or when the simulation begins."""

HOURS_MAX = LENGTH_MAX_MS / HOUR_MS
"""The longest storm that can be declared."""


@dataclass(frozen=True, slots=True)
class StormTrial:
    """When a storm comes and goes, and whether anybody says so before."""

    begins: Instant
    ends: Instant
    warned: bool = True

    def happenings(self, site: Site, start: Instant) -> tuple[Happening, ...]:
        """Returns what happens to a site's simulation that begins at `start`."""
        lost, back = [Happening(self.begins, "grid-lost")], [Happening(self.ends, "grid-back")]
        for plant in site.of_kind(DeviceKind.PV):
            lost.append(Happening(self.begins, "pv-dead", {"device": plant.id}))
            back.append(Happening(self.ends, "device-back", {"device": plant.id}))
        if not self.warned:
            return (*lost, *back)
        declared = max(start, self.begins - WARNING_MS)
        length = {"in_h": (self.begins - declared) / HOUR_MS, "hours": (self.ends - self.begins) / HOUR_MS}
        return (Happening(Instant(declared), "storm-declared", length), *lost, *back)


def parse_storm(at: str, hours: float, zone: str, *, warned: bool, start: Instant, until: Instant) -> StormTrial:
    """Returns the storm of `--storm AT HOURS`.

    Raises:
        BadHappening: a time that cannot be read or lies outside the simulation, or no length of a storm; all at once.
    """
    wrong: list[str] = []
    if not (isfinite(hours) and 0.0 < hours <= HOURS_MAX):
        wrong.append(f"it lasts {hours:g} h: write a number above 0, at most {HOURS_MAX:g}")
    begins = start
    try:
        begins = parse_local(at, zone)
    except BadHappening as error:
        wrong.append(str(error))
    else:
        if begins <= start:
            wrong.append(f"it begins at {at}, not after the simulation does: choose a later time or an earlier --start")
        if begins >= until:
            wrong.append(f"it begins at {at}, when the simulation is over: choose an earlier time or more --days")
    if wrong:
        raise BadHappening(f"storm {at} {hours:g}: {'; '.join(wrong)}")
    return StormTrial(begins, Instant(begins + round(hours * HOUR_MS)), warned)


def live_through(
    world: World, trial: StormTrial | None, until: Instant, progress: Callable[[Instant], None] | None = None
) -> StormSeen | None:
    """Lives up to `until`; returns how the village met the storm, or None where there was none."""
    if trial is None:
        world.run(until, progress)
        return None
    fleet, hub = world.parts.fleet, world.parts.hub
    world.run(Instant(min(trial.begins - 1, until)), progress)
    site, snapshot = world.parts.site, hub.image.freeze(world.now)
    stored: dict[str, float | None] = {
        one.id: snapshot.value(one.id, "soc") for one in site.of_kind(DeviceKind.BATTERY)
    }
    stored |= {one.id: snapshot.value(one.id, "level") for one in site.of_kind(DeviceKind.TANK)}
    away = tuple(device for device in hub.board.sessions if recall.out(site, hub.board, snapshot, device))
    before = fleet.truth()
    world.run(Instant(min(trial.ends, until)), progress)
    after = fleet.truth()
    world.run(until, progress)
    return StormSeen(
        begins=trial.begins,
        ends=trial.ends,
        warned=trial.warned,
        stored=stored,
        away=away,
        unserved_wh=after.unserved_wh - before.unserved_wh,
        unserved_ml=after.unserved_ml - before.unserved_ml,
        restart=next((text for at, text in world.tally.restarts if at >= trial.ends), None),
    )
