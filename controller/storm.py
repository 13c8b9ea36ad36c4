"""A declared storm: when, why, by whom; and the checklist of what will be ready when it comes. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

from controller.civil import clock_text
from controller.image import Snapshot
from controller.site import Site
from controller.workbook import Workbook
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS, Instant
from devices.model import DeviceId, DeviceKind, DeviceSpec
from optimizer.plan import Plan
from optimizer.problem import AssetId

AHEAD_MAX_MS = 14 * DAY_MS
LENGTH_MAX_MS = 14 * DAY_MS
HOME_MS = 30 * MINUTE_MS
"""Vehicles are at home this long before a storm; who would come later is called back then."""

VEHICLE_EFFICIENCY = 0.93
NEARLY = 0.005
"""A store counts as full this far below its goal."""


@dataclass(frozen=True, slots=True)
class Storm:
    """What somebody has declared."""

    start: Instant
    end: Instant
    reason: str
    by: str
    declared: Instant

    def text(self, zone: str) -> str:
        """Returns it in one line."""
        return f"{self.reason}: {clock_text(zone, self.start)} to {clock_text(zone, self.end)}"


def refusal(start: Instant, end: Instant, reason: str, now: Instant) -> str:
    """Returns what is wrong with a declaration, all of it, or an empty text."""
    wrong: list[str] = []
    if end <= start:
        wrong.append("it ends before it begins")
    if end <= now:
        wrong.append("it is over already")
    if start > now + AHEAD_MAX_MS:
        wrong.append("it begins more than 14 days from now")
    if end - start > LENGTH_MAX_MS:
        wrong.append("it lasts more than 14 days: declare the rest when it is known")
    if len(reason.strip()) < 3:
        wrong.append("say why in a few words: the log and every household's page need a reason")
    return "; ".join(wrong)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the checklist. Levels are fractions; None where none can be told."""

    what: str
    goal: float | None
    expected: float | None
    ready: bool
    text: str


def checklist(site: Site, snapshot: Snapshot, plan: Plan | None, storm: Storm, work: Workbook) -> tuple[Check, ...]:
    """Returns what will and will not be ready when the storm comes, from the plan; what is not ready comes first."""
    now = snapshot.now
    at = None if plan is None else _last_slot(plan, max(storm.start, now))
    until = storm.start if plan is None else Instant(min(storm.start, plan.start + len(plan.grid_kw) * plan.slot_ms))
    seen = "" if until >= storm.start else f"; the plan reaches to {clock_text(site.timezone, until)} only"
    items: list[Check] = []
    if now >= storm.start:
        return tuple(_crops(work, storm, now, site.timezone))
    for battery in site.of_kind(DeviceKind.BATTERY):
        soc = snapshot.value(battery.id, "soc")
        if plan is not None and at is not None and AssetId(battery.id) in plan.storages:
            soc = plan.storages[AssetId(battery.id)][at].expected_soc
        items.append(_level(battery.id, "charged", battery.ratings["soc_max"], soc, seen))
    for tank in site.of_kind(DeviceKind.TANK):
        level = snapshot.value(tank.id, "level")
        if plan is not None and at is not None and AssetId(tank.id) in plan.tank_kl:
            level = plan.tank_kl[AssetId(tank.id)][at] * 1000 / tank.ratings["volume_l"]
        items.append(_level(tank.id, "full", site.water_high, level, seen))
    items += [_vehicle(one, snapshot, plan, at) for one in site.of_kind(DeviceKind.CHARGER)]
    items += _crops(work, storm, now, site.timezone)
    return tuple(sorted(items, key=lambda item: item.ready))


def _last_slot(plan: Plan, at: Instant) -> int | None:
    """Returns the plan's last slot that ends by then."""
    slot = min((at - plan.start) // plan.slot_ms, len(plan.grid_kw)) - 1
    return slot if slot >= 0 else None


def _level(name: str, word: str, goal: float, expected: float | None, seen: str) -> Check:
    if expected is None:
        return Check(name, goal, None, False, f"{name}: its level is not known")
    ready = expected >= goal - NEARLY
    text = f"{name} reaches {expected:.0%} of {goal:.0%}" if not ready else f"{name} is {word} ({expected:.0%})"
    return Check(name, goal, expected, ready, text + seen)


def _vehicle(device: DeviceSpec, snapshot: Snapshot, plan: Plan | None, at: int | None) -> Check:
    soc, connected = snapshot.value(device.id, "soc"), snapshot.value(device.id, "connected")
    if connected != 1.0:
        return Check(
            device.id, 1.0, None, False, f"the vehicle of {device.id} is not there: ask its driver to come home"
        )
    if soc is None:
        return Check(device.id, 1.0, None, False, f"the vehicle of {device.id} does not tell its charge")
    steps = () if plan is None or at is None else plan.units.get(AssetId(device.id), ())
    wh = sum(step.power_w for step in steps[: (at or 0) + 1] if step.on) * SLOT_MS / HOUR_MS
    expected = min(1.0, soc + VEHICLE_EFFICIENCY * wh / device.ratings["energy_wh"])
    ready = expected >= 0.95
    word = "is charged" if ready else "reaches"
    return Check(device.id, 1.0, expected, ready, f"the vehicle of {device.id} {word} ({expected:.0%} of 100%)")


def _crops(work: Workbook, storm: Storm, now: Instant, zone: str) -> list[Check]:
    """Returns the harvests: taken in before the storm, or left out and why."""
    found: list[Check] = []
    for item in work.list(now):
        if item.kind == "harvest":
            done = item.ends <= storm.start
            word = "taken in by" if done else "not before the storm: planned until"
            found.append(Check(item.key, None, None, done, f"{item.key}: {word} {clock_text(zone, item.ends)}"))
    found += [
        Check(one.key, None, None, False, f"{one.key} is not taken in: {one.why}")
        for one in work.left_out
        if one.kind == "harvest"
    ]
    return found


def not_done(storm: Storm, runs: tuple[tuple[str, Instant, Instant, int], ...]) -> tuple[Check, ...]:
    """Returns what falls away: runs (name, opens, closes, duration [ms]) that have no room beside the storm."""
    found: list[Check] = []
    for name, opens, closes, duration in runs:
        before = min(closes, storm.start - HOME_MS) - opens >= duration
        after = closes - max(opens, storm.end) >= duration
        if not before and not after and opens < storm.end and closes > storm.start - HOME_MS:
            found.append(Check(name, None, None, False, f"{name} is not done: its time falls into the storm"))
    return tuple(found)


def vehicles_home(devices: tuple[tuple[DeviceId, bool], ...], storm: Storm, zone: str) -> tuple[Check, ...]:
    """Returns the robots and drones: (id, whether it is on its way now)."""
    called = clock_text(zone, Instant(storm.start - HOME_MS))
    return tuple(
        Check(
            name, None, None, not out, f"{name} is on its way: called back at {called}" if out else f"{name} is at home"
        )
        for name, out in devices
    )
