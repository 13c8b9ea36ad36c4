"""Appliances on a relay that run once a day inside a window: what is still to be done, and when it has to be now.

How long each has run is counted from what its relay shows; a hub that starts anew counts that day's run from nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from controller.civil import local_instant, local_time
from controller.image import Snapshot
from controller.site import Site
from controller.site_energy import Appliance
from devices.clock import SLOT_MS, Instant
from devices.model import DeviceId
from optimizer.plan import UnitStep
from optimizer.problem import AssetId, Job, SplitJob

GAP_MS = 5 * 60_000
"""A relay that has not been looked at for longer counts as off in between."""
DAYS_KEPT = 2


@dataclass(frozen=True, slots=True)
class Run:
    """One day's run: its key, its window, and for how long it has to run still."""

    key: AssetId
    appliance: Appliance
    opens: Instant
    closes: Instant
    left_ms: int

    @property
    def must_by(self) -> Instant:
        """Returns the latest instant at which it can still begin, or go on, and be done in its window."""
        return Instant(self.closes - self.left_ms)


_Window = tuple[AssetId, Appliance, Instant, Instant]
"""(key, appliance, opens, closes)"""


@dataclass(slots=True)
class Appliances:
    """How long each has run; owned by the hub's core."""

    site: Site
    done_ms: dict[AssetId, int] = field(default_factory=dict[AssetId, int])
    on: set[DeviceId] = field(default_factory=set[DeviceId])
    looked_at: Instant | None = None
    _today: date | None = None
    _windows: list[_Window] = field(default_factory=list["_Window"])  # of today and tomorrow

    def look(self, snapshot: Snapshot) -> None:
        """Counts the time since the last look for those that were on, and forgets days that are over."""
        if not self.site.energy.appliances:
            return
        passed = 0 if self.looked_at is None else snapshot.now - self.looked_at
        if self.on and 0 < passed <= GAP_MS:
            for run in self._runs(snapshot.now):
                if run.appliance.device in self.on and run.opens <= snapshot.now:
                    self.done_ms[run.key] = self.done_ms.get(run.key, 0) + passed
        self.on = {one.device for one in self.site.energy.appliances if snapshot.value(one.device, "on") == 1.0}
        self.looked_at = snapshot.now
        self._new_day(snapshot.now)

    def _new_day(self, now: Instant) -> None:
        """Once a day: finds the windows of today and tomorrow, and forgets what ran on days that are over."""
        today = local_time(self.site.timezone, now).date()
        if today == self._today:
            return
        self._today = today
        zone, days = self.site.timezone, [today, today + timedelta(days=1)]
        self._windows = [
            (
                AssetId(f"{one.id}.{day:%Y%m%d}"),
                one,
                local_instant(zone, day, one.window[0]),
                local_instant(zone, day, one.window[1]),
            )
            for one in self.site.energy.appliances
            for day in days
            if day.weekday() in one.days
        ]
        kept = {f"{today + timedelta(days=offset):%Y%m%d}" for offset in range(-DAYS_KEPT, 2)}
        self.done_ms = {key: done for key, done in self.done_ms.items() if key.rpartition(".")[2] in kept}

    def _runs(self, now: Instant) -> Iterable[Run]:
        """Yields today's and tomorrow's runs that are not done and not over."""
        self._new_day(now)
        for key, one, opens, closes in self._windows:
            left = one.duration_ms - self.done_ms.get(key, 0)
            if left > 0 and closes > now:
                yield Run(key, one, opens, closes, left)

    def jobs(self, start: Instant, now: Instant, slots: int) -> tuple[tuple[Job, ...], tuple[SplitJob, ...]]:
        """Returns what is to be planned: runs in one piece, and runs that may pause. One that is late is cut short."""
        whole: list[Job] = []
        split: list[SplitJob] = []
        for run in self._runs(now):
            earliest = max(0, -(-(run.opens - start) // SLOT_MS))
            until = min(slots, (run.closes - start) // SLOT_MS)
            count = min(-(-run.left_ms // SLOT_MS), until - earliest)
            if count < 1 or run.closes > start + slots * SLOT_MS:
                continue
            one, kw = run.appliance, run.appliance.power_w / 1000
            what = f"{one.id} on {one.device}"
            if one.interruptible:
                split.append(
                    SplitJob(run.key, kw, count, earliest, until, one.skip_price, device=one.device, what=what)
                )
            else:
                begun = run.left_ms < one.duration_ms
                latest = earliest if begun else until - count
                whole.append(
                    Job(
                        run.key,
                        (kw,) * count,
                        (0.0,) * count,
                        earliest,
                        latest,
                        one.skip_price,
                        device=one.device,
                        what=what,
                    )
                )
        return tuple(whole), tuple(split)

    def steps(self, units: Mapping[DeviceId, UnitStep], now: Instant) -> dict[DeviceId, UnitStep]:
        """Returns the plan's steps by relay: those of the runs whose window is open."""
        return {
            run.appliance.device: units[DeviceId(run.key)]
            for run in self._runs(now)
            if run.opens <= now and DeviceId(run.key) in units
        }

    def due(self, now: Instant) -> frozenset[DeviceId]:
        """Returns the relays that have to be on now, or their run is not done in its window; begun runs go on."""
        return frozenset(
            run.appliance.device
            for run in self._runs(now)
            if run.opens <= now
            and (now >= run.must_by or (not run.appliance.interruptible and run.left_ms < run.appliance.duration_ms))
        )
