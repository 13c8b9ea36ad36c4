"""What is wrong right now: small functions from the frozen view to alarm conditions, one cause each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller import edge_conditions
from controller.alarms import Condition, Priority
from controller.image import Snapshot
from controller.site import Site
from devices.clock import MINUTE_MS, Instant
from devices.gateway_events import SLOW_KINDS
from devices.model import DeviceId, DeviceKind

VEHICLES = (DeviceKind.ROBOT, DeviceKind.DRONE)
BUS_SILENT_MIN = 3
RESERVE_DEADBAND = 0.02
"""Of the tank: so far below its drinking reserve somebody is called; the alarm holds until the reserve is there."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the hub knows beside the image."""

    link_up: bool
    link_reason: str
    gateways_online: frozenset[str]
    watch_from: Instant  # nobody is missed before this (start-up, resume)
    island: bool
    planner_failures: int
    planner_status: str
    records_rejected: int
    failed_missions: Mapping[str, str]  # run key -> why
    quarantined: Mapping[str, str]  # account -> why
    safe_mode: bool = False
    unwitnessed: str = ""  # what the ledger's witness policy has lacked for too long
    restored: str = ""  # why a restored ledger signs and acknowledges nothing yet
    standing: frozenset[str] = frozenset()  # alarms that somebody has been called for and that still hold
    commands: bool = True  # False: this hub sends no setpoints (advisory, safe mode), so that every lease lapses
    settle_ms: int = 10_000  # silence must last this long, so that a bus that dies is one alarm and a restart is none


def find(site: Site, snapshot: Snapshot, health: Health) -> dict[str, Condition]:
    """Returns the conditions that hold now, by id. First-out: a dead broker or gateway hides what follows from it."""
    found: dict[str, Condition] = {}
    for condition in _all(site, snapshot, health):
        found[condition.id] = condition
    return found


def _all(site: Site, snapshot: Snapshot, health: Health) -> Iterable[Condition]:
    yield from _communication(site, snapshot, health)
    yield from edge_conditions.find(site, snapshot, commands=health.commands, settle_ms=health.settle_ms)
    yield from _water(site, snapshot, health)
    yield from _energy(site, snapshot, health)
    yield from _planning(health)
    if health.safe_mode:
        yield Condition(
            "safe-mode",
            Priority.HIGH,
            "hub",
            "the hub ended too often and runs in safe mode: it sends no commands and makes no plans",
            "devices run on their own safe values; records wait in the gateways",
            "read its log (journalctl -u atoll-hub), mend the cause, then: systemctl restart atoll-hub",
        )
    for run, why in health.failed_missions.items():
        yield Condition(
            f"mission.{run}",
            Priority.MEDIUM,
            run,
            f"{run} failed: {why}",
            "the job was not done today",
            "look at the vehicle, then let it run tomorrow or do it by hand",
        )
    for account, why in health.quarantined.items():
        yield Condition(
            f"quarantine.{account}",
            Priority.MEDIUM,
            account,
            f"the bill of {account} is on hold: {why}",
            "its energy is settled when the records are complete",
            f"read the meter of {account} and check its wiring",
        )

    if health.restored:
        yield Condition(
            "restored",
            Priority.MEDIUM,
            "ledger",
            health.restored,
            "the gateways keep their records until they are acknowledged; bills and payments wait",
            "start the witnesses' machines; a newer backup is better; else stop the hub: atoll restore FILE --new-log",
        )
    if health.unwitnessed:
        yield Condition(
            "witnesses",
            Priority.LOW,
            "ledger",
            f"the ledger's checkpoints are not witnessed: {health.unwitnessed}",
            "the ledger goes on; that nobody rewrites it is shown to fewer people",
            "see whether the witnesses' machines run (`atoll witness`) and are reached from the hub",
        )


def _communication(site: Site, snapshot: Snapshot, health: Health) -> Iterable[Condition]:
    if not health.link_up:
        if snapshot.now >= health.watch_from:
            yield Condition(
                "link",
                Priority.HIGH,
                "broker",
                f"no connection to the broker: {health.link_reason or 'not connected yet'}",
                "devices fall back to their own safe values; records wait in the gateways",
                "see whether the broker runs: atoll status",
            )
        return
    if snapshot.now < health.watch_from:
        return
    dead = {gateway.id for gateway in site.gateways if gateway.id not in health.gateways_online}
    for gateway in sorted(dead):
        yield Condition(
            f"gateway.{gateway}",
            Priority.HIGH,
            gateway,
            f"gateway {gateway} is silent",
            "its devices run on their own safe values; its records are kept there",
            "check its power and network",
            code="EDGE-009",
        )
    buses = [_bus(site, snapshot, gateway.id, health) for gateway in site.gateways if gateway.id not in dead]
    yield from (bus for bus in buses if bus is not None)
    hidden = dead | {bus.device for bus in buses if bus is not None}
    for device in site.devices:
        if device.gateway in hidden or snapshot.online(device.id):
            continue
        important = device.kind in (DeviceKind.GRID, DeviceKind.BATTERY, DeviceKind.TANK)
        yield Condition(
            f"offline.{device.id}",
            Priority.HIGH if important else Priority.LOW if device.kind in VEHICLES else Priority.MEDIUM,
            device.id,
            f"{device.id} does not report",
            "nothing is asked of it; its last values are not used",
            f"check power and wiring of {device.id} (unit {device.unit})"
            if device.gateway
            else f"check power and radio of {device.id}",
            health.settle_ms,
            "EDGE-007",
        )


def _bus(site: Site, snapshot: Snapshot, gateway: str, health: Health) -> Condition | None:
    """Returns the one condition for a gateway that hears less than half of its devices: they share a cause."""
    devices = [device for device in site.devices if device.gateway == gateway]
    silent = [device for device in devices if not snapshot.online(device.id)]
    if len(silent) < BUS_SILENT_MIN or 2 * len(silent) <= len(devices):
        return None
    places = ", ".join(sorted({device.endpoint for device in silent if device.endpoint})) or "their bus"
    return Condition(
        f"bus.{gateway}",
        Priority.HIGH,
        gateway,
        f"{len(silent)} of {len(devices)} devices of gateway {gateway} do not report",
        "they fall back to their own safe values; their last values are not used and nothing is asked of them",
        f"check power and cable between gateway {gateway} and {places}; atoll status --json names each device",
        health.settle_ms,
        "EDGE-008",
    )


def _water(site: Site, snapshot: Snapshot, health: Health) -> Iterable[Condition]:
    for tank in site.of_kind(DeviceKind.TANK):
        level = snapshot.value(tank.id, "level")
        # At the reserve a rule starts the pump, and what the taps take meanwhile is no fault of anybody.
        short = 0.0 if f"reserve.{tank.id}" in health.standing else RESERVE_DEADBAND
        if level is not None and level < site.water.tanks[tank.id].reserve - short:
            yield Condition(
                f"reserve.{tank.id}",
                Priority.HIGH,
                tank.id,
                f"{tank.id} is below its drinking reserve ({level:.0%})",
                "irrigation stops; if it falls further, taps run dry",
                "see that the pump runs; ask people to save water",
                5 * MINUTE_MS,
            )


def _energy(site: Site, snapshot: Snapshot, health: Health) -> Iterable[Condition]:
    if health.island:
        yield Condition(
            "island",
            Priority.HIGH,
            "grid-1",
            "the outside grid is gone: the village is an island",
            "battery and diesel carry the village; lifelines come first",
            "call the grid operator; check the diesel level",
        )
    for battery in site.of_kind(DeviceKind.BATTERY):
        soc = snapshot.value(battery.id, "soc")
        if soc is not None and soc < site.island_reserve - 0.03:
            yield Condition(
                f"reserve.{battery.id}",
                Priority.MEDIUM,
                battery.id,
                f"{battery.id} is below its outage reserve ({soc:.0%})",
                "an outage now would reach critical loads sooner",
                "let it charge; hold back heavy machines",
                15 * MINUTE_MS,
            )
    for grid in site.of_kind(DeviceKind.GRID):
        power = snapshot.value(grid.id, "W")
        if power is not None and -power > site.import_limit_w * 1.02:
            yield Condition(
                "feeder",
                Priority.MEDIUM,
                grid.id,
                f"the feeder carries {-power / 1000:.1f} kW, more than its {site.import_limit_w / 1000:.0f} kW",
                "the feeder's fuse may open",
                "switch off heavy machines, or hold the charger at 0 W",
                5 * MINUTE_MS,
            )


def _planning(health: Health) -> Iterable[Condition]:
    if health.planner_failures >= 3:
        yield Condition(
            "planner",
            Priority.MEDIUM,
            "planner",
            f"no usable plan: {health.planner_status}",
            "simple rules run the village: safe, but dearer",
            "read the reason; the hub tries again by itself",
        )
    if health.records_rejected:
        yield Condition(
            "records",
            Priority.MEDIUM,
            "ledger",
            f"{health.records_rejected} meter records contradict accepted ones and were refused",
            "the first version stands; nothing is billed twice",
            "compare the gateway's outbox with the ledger: atoll ledger show",
        )


def data_deadline_ms(kind: DeviceKind, period_ms: int, floor_ms: int) -> int:
    """Returns how old a device's last data may be before it counts as stale [ms].

    Vehicles report at least every 30 s (VDA 5050). `floor_ms` is half a second of real time at the run's speed; six of
    them let a fully loaded machine breathe.
    """
    nominal = 65_000 if kind in VEHICLES else max(3 * period_ms, 5_000) + 1_000
    return max(nominal, 6 * floor_ms)


def deadlines(site: Site, period_ms: int, floor_ms: int, slow_period_ms: int = 0) -> dict[DeviceId, int]:
    """Returns the data deadline of every device [ms]; `slow_period_ms` is that of `SLOW_KINDS`, 0: the same."""
    slow = max(period_ms, slow_period_ms)
    return {
        device.id: data_deadline_ms(device.kind, slow if device.kind in SLOW_KINDS else period_ms, floor_ms)
        for device in site.devices
    }
