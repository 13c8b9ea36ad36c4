"""The hub's state in the words and numbers that people see (controller.views); pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller import two_step
from controller.civil import clock_text
from controller.cycle import Decision, full_band
from controller.hub import Hub, others_w
from controller.image import Snapshot
from controller.missions import VEHICLE_KINDS
from controller.plan_water import UNPUMPED
from controller.site import Site
from controller.step_words import AWAY, OFF, steps_shown
from controller.views import AlarmView, DeviceView, FlowView, NextAction, NowView, PlanRow, Value, Writable
from devices.clock import Instant
from devices.model import TWO_STEP, WRITABLE, DeviceKind, DeviceSpec, Quality
from devices.outputs import STATE_POINTS
from optimizer.plan import Plan, StorageStep, UnitStep

NOTHING = Quality.BAD
UNITS = {
    "W": "W",
    "soc": "fraction",
    "level": "fraction",
    "fuel": "fraction",
    "limit": "fraction",
    "import_wh": "Wh",
    "export_wh": "Wh",
    "V": "V",
    "hz": "Hz",
    "flow_lpm": "L/min",
    "setpoint": "W",
    "celsius": "deg C",
    "clock_s": "s",
}
SHOWN_ALONE = (
    DeviceKind.GRID,
    DeviceKind.BATTERY,
    DeviceKind.GENSET,
    DeviceKind.PUMP,
    DeviceKind.CHARGER,
    DeviceKind.THERMAL,
)
KIND_LABELS = {
    DeviceKind.GRID: "Grid connection",
    DeviceKind.METER: "Meter",
    DeviceKind.PV: "Solar",
    DeviceKind.BATTERY: "Battery",
    DeviceKind.GENSET: "Diesel",
    DeviceKind.PUMP: "Well pump",
    DeviceKind.TANK: "Water tank",
    DeviceKind.WATER_METERS: "Water meters",
    DeviceKind.CHARGER: "Vehicle charger",
    DeviceKind.THERMAL: "Thermal store",
    DeviceKind.SWITCH: "Switch",
    DeviceKind.RELAY: "Relay",
    DeviceKind.BREAKER: "Breaker",
    DeviceKind.FLOW_METER: "Flow meter",
    DeviceKind.SENSOR: "Sensor",
    DeviceKind.ROBOT: "Ground robot",
    DeviceKind.DRONE: "Drone",
}
NAMED_BY_ID = {
    DeviceKind.THERMAL,
    DeviceKind.SWITCH,
    DeviceKind.RELAY,
    DeviceKind.BREAKER,
    DeviceKind.FLOW_METER,
    DeviceKind.SENSOR,
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the shell knows and the core does not."""

    speed: float
    clock: str
    broker: str
    counters: tuple[tuple[str, int], ...] = ()


def now_view(hub: Hub, now: Instant, around: Surroundings) -> NowView:
    """Returns the Now page."""
    site = hub.config.site
    snapshot = hub.snapshot or hub.image.freeze(now)
    soc, battery_hours = _battery(site, snapshot)
    level, tank_hours = _tank(hub, site, snapshot)
    names = {member.id: member.name for member in site.members}
    return NowView(
        version=hub.version,
        at=now,
        site=site.name,
        timezone=site.timezone,
        mode="hold" if hub.holds else "island" if hub.island else "auto",
        simulated=hub.config.simulated,
        clock=around.clock,
        speed=around.speed,
        broker=around.broker,
        link=_link(hub),
        flows=tuple(_flows(site, snapshot)),
        battery_soc=soc,
        battery_reserve=site.island_reserve,
        battery_hours=battery_hours,
        tank_level=level,
        tank_reserve=site.water_reserve,
        tank_hours=tank_hours,
        devices=tuple(_device(hub, snapshot, device, names) for device in site.devices),
        alarms=tuple(
            AlarmView(
                id=alarm.condition.id,
                state=alarm.state,
                priority=alarm.condition.priority,
                device=alarm.condition.device,
                text=alarm.condition.text,
                consequence=alarm.condition.consequence,
                response=alarm.condition.response,
                since=alarm.since,
                acknowledged_by=alarm.acknowledged_by,
                code=alarm.condition.code,
            )
            for alarm in hub.alarms.standing
        ),
        next_actions=tuple(next_actions(hub, now, 6)),
        plan_status=hub.planning.status,
        plan_age_ms=None if hub.planning.made_at is None else now - hub.planning.made_at,
        ledger_size=hub.booked.entries,
        ledger_root=hub.booked.root,
        counters=tuple(sorted(hub.host.counters.items())) + around.counters,
    )


def _link(hub: Hub) -> str:
    if not hub.link_up:
        return "lost"
    expected = {gateway.id for gateway in hub.config.site.gateways}
    return "live" if expected <= hub.gateways else "stale"


def value_of(snapshot: Snapshot, device: str, point: str, label: str = "") -> Value:
    """Returns one point as shown, in the unit that is used inside; the label is the point's own name."""
    reading = snapshot.reading(device, point)
    unit = UNITS.get(point, "mL" if point.endswith("_ml") else "")
    if reading is None:
        return Value(label or point.removesuffix("_ml"), None, unit, NOTHING, 0)
    label = label or point.removesuffix("_ml")
    return Value(label, reading.value, unit, reading.quality, reading.age_ms(snapshot.now), reading.simulated)


def _sum(snapshot: Snapshot, devices: list[DeviceSpec], label: str) -> Value:
    """Returns the sum of powers; it is only as good as its worst part, and unknown when one part is."""
    values = [value_of(snapshot, device.id, "W") for device in devices]
    if not values:
        return Value(label, None, "W", NOTHING, 0)
    quality = max(value.quality for value in values)
    numbers = [value.value for value in values]
    total = sum(number for number in numbers if number is not None) if None not in numbers else None
    return Value(
        label,
        total,
        "W",
        quality if total is not None else Quality.BAD,
        max(value.age_ms for value in values),
        any(value.simulated for value in values),
    )


def _flows(site: Site, snapshot: Snapshot) -> list[FlowView]:
    """The picture's bars: homes gross of their own solar, so that the sun is visible."""
    meters = list(site.of_kind(DeviceKind.METER))
    plants = list(site.of_kind(DeviceKind.PV))
    solar = _sum(snapshot, plants, "Solar")
    net = _sum(snapshot, meters, "Homes")
    behind = [plant for plant in plants if plant.behind is not None]
    hidden = _sum(snapshot, behind, "")
    gross = None if net.value is None or hidden.value is None else net.value - hidden.value
    if gross is None and net.value is not None and not behind:
        gross = net.value
    homes = Value(
        "Homes", gross, "W", max(net.quality, hidden.quality) if behind else net.quality, net.age_ms, net.simulated
    )
    flows = [
        FlowView("solar", f"Solar ({len(plants)} roofs)", "pv", solar),
        FlowView("homes", f"{len(meters)} homes and buildings", "meter", homes),
    ]
    flows.extend(
        FlowView(device.id, device_label(site, device), device.kind, value_of(snapshot, device.id, "W"))
        for device in site.devices
        if device.kind in SHOWN_ALONE and not (snapshot.value(device.id, "W") is None and snapshot.online(device.id))
    )  # a drive that reports and has no meter is in nobody's sum
    return flows


def _battery(site: Site, snapshot: Snapshot) -> tuple[Value, float | None]:
    """Returns (charge of all batteries together, hours until the reserve at the present power)."""
    batteries = site.of_kind(DeviceKind.BATTERY)
    if not batteries:
        return Value("soc", None, "fraction", NOTHING, 0), None
    values = [value_of(snapshot, battery.id, "soc") for battery in batteries]
    capacity = sum(battery.ratings["energy_wh"] for battery in batteries)
    numbers = [value.value for value in values]
    if any(number is None for number in numbers):
        return Value("soc", None, "fraction", Quality.BAD, max(value.age_ms for value in values)), None
    soc = sum(
        (number or 0.0) * battery.ratings["energy_wh"] for number, battery in zip(numbers, batteries, strict=True)
    )
    soc /= capacity
    power = sum(snapshot.value(battery.id, "W") or 0.0 for battery in batteries)
    above = (soc - site.island_reserve) * capacity
    hours = above / -power if power < -50 and above > 0 else None
    worst = max(value.quality for value in values)
    age = max(value.age_ms for value in values)
    return Value("soc", soc, "fraction", worst, age, any(value.simulated for value in values)), hours


def _tank(hub: Hub, site: Site, snapshot: Snapshot) -> tuple[Value, float | None]:
    """Returns (level, hours to the drinking reserve at the demand that the plan expects with the pump off)."""
    tank = next(iter(site.of_kind(DeviceKind.TANK)), None)
    if tank is None:
        return Value("level", None, "fraction", NOTHING, 0), None
    value = value_of(snapshot, tank.id, "level")
    outlook = hub.planning.forecast
    if value.value is None or outlook is None or not outlook.water_kl:
        return value, None
    daily_kl = sum(outlook.water_kl) / len(outlook.water_kl) * 96
    above_kl = (value.value - site.water.tanks[tank.id].reserve) * tank.ratings["volume_l"] / 1000
    return value, max(0.0, above_kl) / daily_kl * 24 if daily_kl > 0 else None


def _device(hub: Hub, snapshot: Snapshot, device: DeviceSpec, names: dict[str, str]) -> DeviceView:
    lease, hold = hub.leases.get(device.id), hub.holds.get(device.id)
    return DeviceView(
        id=device.id,
        kind=device.kind,
        label=_label(device, names),
        online=snapshot.online(device.id),
        values=tuple(value_of(snapshot, device.id, point) for point in _shown_points(device, snapshot)),
        setpoint="" if lease is None else setpoint_text(device, lease.value),
        why="" if lease is None else lease.reason,
        hold=""
        if hold is None
        else f"{hold.by} holds {setpoint_text(device, hold.value)} until"
        f" {clock_text(hub.config.site.timezone, hold.until)}: {hold.reason}",
        ready=hub.board.ready_text(device.id, snapshot) if device.kind in VEHICLE_KINDS else "",
        writable=writable(device),
        choices=two_step.choices(hub, device),
    )


def _label(device: DeviceSpec, names: Mapping[str, str]) -> str:
    """Returns the member's name for its meter, `Solar (Bruno)` for what stands behind one, else the kind.

    Kinds that say little of themselves go with the id: `Relay (washer-1, Hemi)`.
    """
    if device.kind is DeviceKind.METER:
        return names.get(device.id, device.id)
    told = [device.id] if device.kind in NAMED_BY_ID else []
    owner = names.get(device.behind or "")
    told += [owner] if owner else []
    return f"{KIND_LABELS[device.kind]} ({', '.join(told)})" if told else KIND_LABELS[device.kind]


def _shown_points(device: DeviceSpec, snapshot: Snapshot) -> tuple[str, ...]:
    """Returns the points that say something to a person just now: no charge without a vehicle at the charger."""
    image = snapshot.devices.get(device.id)
    if image is None:
        return ()
    if device.kind in VEHICLE_KINDS:
        return ("soc",)
    if device.kind is DeviceKind.CHARGER and snapshot.value(device.id, "connected") == 0.0:
        return tuple(point for point in image.points if point != "soc")
    return tuple(point for point in image.points if point not in STATE_POINTS or snapshot.value(device.id, point))


def writable(device: DeviceSpec) -> Writable | None:
    """Returns what an operator may hold of a device, with its unit and range."""
    point = WRITABLE.get(device.kind)
    if point is None or device.read_only or device.kind in TWO_STEP:
        return None
    band = full_band(device)
    unit = {DeviceKind.PUMP: "on/off", DeviceKind.PV: "fraction"}.get(device.kind, "W")
    return Writable(point, unit, band.low, band.high)


def setpoint_text(device: DeviceSpec, value: float) -> str:
    """Returns a setpoint in words: `charge 12.0 kW`, `on`, `no limit`."""
    match device.kind:
        case DeviceKind.BATTERY:
            if value == 0.0:
                return "hold"
            return f"{'charge' if value > 0 else 'discharge'} {abs(value) / 1000:.1f} kW"
        case DeviceKind.PUMP:
            return "off" if value == 0.0 else "on" if value >= 1.0 else f"on at {value:.0%} speed"
        case DeviceKind.PV:
            return "no limit" if value >= 1.0 else f"at most {value:.0%}"
        case DeviceKind.GENSET:
            return "off" if value == 0.0 else f"run at {-value / 1000:.1f} kW"
        case _:
            return "off" if value == 0.0 else f"up to {value / 1000:.1f} kW"


def next_actions(hub: Hub, now: Instant, limit: int) -> list[NextAction]:
    """Returns what changes next by the plan, soonest first, with the reason of each step."""
    current = hub.planning.current(now)
    if current is None:
        return []
    plan, slot = current
    found: list[NextAction] = []
    for asset, steps in plan.storages.items():
        said = steps_shown(plan, asset)
        for index in range(slot + 1, len(steps)):
            if said[index] != said[index - 1]:
                step = steps[index]
                about = f", about {abs(step.expected_w) / 1000:.1f} kW" if abs(step.expected_w) >= 50 else ""
                text = f"{_asset_label(hub, asset)}: {said[index][1]}{about}"
                found.append(NextAction(_slot_start(plan, index), asset, text, step.reason.constraint))
                break
    for asset, units in plan.units.items():
        for index in range(slot + 1, len(units)):
            if units[index].on is not units[index - 1].on:
                text = f"{_asset_label(hub, asset)} {'starts' if units[index].on else 'stops'}"
                found.append(NextAction(_slot_start(plan, index), asset, text, units[index].reason.constraint))
                break
    return sorted(found, key=lambda action: action.at)[:limit]


def _slot_start(plan: Plan, index: int) -> Instant:
    return Instant(plan.start + index * plan.slot_ms)


def plan_rows(hub: Hub, plan: Plan) -> tuple[PlanRow, ...]:
    """Returns the Gantt rows: equal neighbouring steps are one block."""
    rows: list[PlanRow] = []
    hidden = plan.zones.keys()  # a zone's pumps have rows of their own
    for asset in (*plan.storages, *(one for one in plan.units if not one.endswith(UNPUMPED) and one not in hidden)):
        steps = plan.storages.get(asset) or plan.units[asset]
        cells = [
            None
            if said[0] == OFF
            else (said, _with_power(said[1], step), "" if said[0] == AWAY else step.reason.constraint)
            for said, step in zip(steps_shown(plan, asset), steps, strict=True)
        ]
        rows.append(PlanRow(asset, _asset_label(hub, asset), _blocks(plan, cells)))
    return tuple(rows)


def _with_power(words: str, step: StorageStep | UnitStep) -> str:
    """Returns a unit's words with its power; a storage's change from slot to slot."""
    if isinstance(step, StorageStep) or not step.power_w:
        return words
    return f"{words}, {abs(step.power_w) / 1000:.1f} kW"


def device_label(site: Site, device: DeviceSpec) -> str:
    """Returns what people call a device; with its id where the site has several of its kind."""
    if device.id in site.waste.engines:
        return f"Gas engine ({device.id})"
    if len(site.of_kind(device.kind)) == 1:
        return KIND_LABELS[device.kind]
    return f"{'Pump' if device.kind is DeviceKind.PUMP else KIND_LABELS[device.kind]} ({device.id})"


def _asset_label(hub: Hub, asset: str) -> str:
    device = hub.config.site.device(asset)
    if device is not None:
        return device_label(hub.config.site, device)
    for job in hub.config.site.jobs:
        if asset.startswith(f"{job.id}."):
            return f"{job.id.capitalize()} ({job.device})"
    return work_label(asset)


def work_label(key: str) -> str:
    """Returns a piece of work as people read it, without its day: its place in the plan tells that.

    `organics.1` is "Organics 2", `lettuce-7.dose0.20260603` is "Lettuce-7 dose 1".
    """
    what, *more = key.split(".")
    words = [what[:1].upper() + what[1:]]
    for part in more:
        if match := re.fullmatch(r"([a-z]*)(\d{1,3})", part):
            words += [word for word in (match[1], str(int(match[2]) + 1)) if word]
        elif not re.fullmatch(r"\d{8}", part):
            words.append(part)
    return " ".join(words)


def _blocks(
    plan: Plan, cells: Sequence[tuple[tuple[str, str], str, str] | None]
) -> tuple[tuple[Instant, Instant, str, str, str], ...]:
    blocks: list[tuple[Instant, Instant, str, str, str]] = []
    begun = 0
    for index in range(1, len(cells) + 1):
        here = cells[begun]
        last = index == len(cells)
        if last or (cells[index] or ("",))[0] != (here or ("",))[0]:
            if here is not None:
                (mode, _), label, why = here
                blocks.append((_slot_start(plan, begun), _slot_start(plan, index), label, mode, why))
            begun = index
    return tuple(blocks)


def trail_text(decision: Decision) -> list[str]:
    """Returns who narrowed what, one line per rule."""
    return [f"{name}: {reason} -> {band.low:g} .. {band.high:g}" for name, reason, band in decision.trail]


def balance_text(hub: Hub) -> str:
    """Returns the one-line power balance of the terminal."""
    snapshot = hub.snapshot
    if snapshot is None:
        return "waiting for readings"
    site = hub.config.site
    grid = _sum(snapshot, list(site.of_kind(DeviceKind.GRID)), "")
    battery = _sum(snapshot, list(site.of_kind(DeviceKind.BATTERY)), "")
    solar = _sum(snapshot, list(site.of_kind(DeviceKind.PV)), "")
    load = others_w(site, snapshot)
    parts = [
        "load " + _kw(None if load is None or solar.value is None else load - solar.value),
        "solar " + _kw(None if solar.value is None else -solar.value),
        "battery " + _kw(battery.value, signed=True),
        "grid " + _kw(None if grid.value is None else -grid.value, signed=True),
    ]
    return "  ".join(parts)


def _kw(watts: float | None, signed: bool = False) -> str:
    if watts is None:
        return "--"
    return f"{watts / 1000:+.1f} kW" if signed else f"{watts / 1000:.1f} kW"
