"""The rules of the control cycle, highest first.

Interlock floor, feeder limit, lifeline, lock-out, operator hold, plan, default: each is a small function of
(context, device) that asks for a narrower band; infinity means "as far as is allowed". Values are in the unit of the
device's writable point: W by the sign rule (positive charges), 0/1 for a pump, a fraction for PV.
"""

from __future__ import annotations

import math

from controller.cycle import Context, Narrowing, Rule
from devices.model import DeviceKind, DeviceSpec
from optimizer.plan import Mode

FEEDER_MARGIN = 0.97
"""The fast loop steers to this part of the feeder limit, so that a cycle's lag does not cross it."""
ISLAND_START_SOC = 0.30
ISLAND_STOP_SOC = 0.60


def interlock_floor(context: Context, device: DeviceSpec) -> Narrowing | None:
    """Bad or old data means the safe value; physical ends stop the flow (the gateway enforces the same again)."""
    match device.kind:
        case DeviceKind.BATTERY:
            return _battery_floor(context, device)
        case DeviceKind.PUMP:
            level = context.snapshot.value(context.site.tank_of[device.id], "level")
            if level is None:
                return Narrowing(0.0, 0.0, "the tank level is not known")
            if level >= context.site.water_high:
                return Narrowing(0.0, 0.0, f"the tank is full ({level:.0%})")
        case DeviceKind.GENSET:
            fuel = context.snapshot.value(device.id, "fuel")
            if fuel is None or not context.snapshot.online(device.id):
                return Narrowing(0.0, 0.0, "the genset does not report")
            if fuel <= 0.02:
                return Narrowing(0.0, 0.0, f"fuel is down to {fuel:.0%}")
        case DeviceKind.CHARGER:
            if context.snapshot.value(device.id, "connected") != 1.0:
                return Narrowing(0.0, 0.0, "no vehicle is connected")
        case _:
            return None
    return None


def _battery_floor(context: Context, device: DeviceSpec) -> Narrowing | None:
    soc = context.snapshot.value(device.id, "soc")
    if soc is None:
        return Narrowing(0.0, 0.0, "the state of charge is not known")
    if soc <= device.ratings["soc_min"]:
        return Narrowing(0.0, None, f"charge is at its minimum ({soc:.0%})")
    if soc >= device.ratings["soc_max"]:
        return Narrowing(None, 0.0, f"charge is at its maximum ({soc:.0%})")
    return None


def feeder_limit(context: Context, device: DeviceSpec) -> Narrowing | None:
    """Keeps the exchange with the outside within the feeder's limits, whatever anybody planned."""
    if context.island:
        return _island_surplus(context, device)
    others = context.others_w
    highest = context.site.import_limit_w * FEEDER_MARGIN
    lowest = -context.site.export_limit_w * FEEDER_MARGIN
    if device.kind is DeviceKind.BATTERY:
        if others is None:
            return Narrowing(0.0, 0.0, "the grid meter does not report: no exchange can be steered")
        return Narrowing(
            lowest - others, highest - others, f"feeder limit {highest / 1000:.1f} kW in, {-lowest / 1000:.1f} kW out"
        )
    grid = _grid_w(context)
    if device.kind is DeviceKind.CHARGER and grid is not None:
        own = context.snapshot.value(device.id, "W") or 0.0
        return Narrowing(None, max(0.0, own + highest + grid + _battery_room(context)), "what the feeder has left")
    if device.kind is DeviceKind.PV and grid is not None:
        return _curtail(context, grid + lowest)
    return None


def _grid_w(context: Context) -> float | None:
    """Returns the grid meter's power [W], negative while importing."""
    return next((context.snapshot.value(grid.id, "W") for grid in context.site.of_kind(DeviceKind.GRID)), None)


def _battery_room(context: Context) -> float:
    """Returns how much more the batteries could still discharge [W]."""
    room = 0.0
    for device in context.site.of_kind(DeviceKind.BATTERY):
        soc = context.snapshot.value(device.id, "soc")
        if soc is not None and soc > device.ratings["soc_min"] + 0.02:
            room += device.ratings["discharge_w_max"] + (context.snapshot.value(device.id, "W") or 0.0)
    return room


def _curtail(context: Context, surplus_w: float) -> Narrowing | None:
    """Cuts all PV by the same fraction when export exceeds its limit by `surplus_w` and no battery takes it."""
    plants = context.site.of_kind(DeviceKind.PV)
    limit = next((context.previous.get(plant.id, 1.0) for plant in plants), 1.0)
    if surplus_w <= 0.0 and limit >= 1.0:
        return None
    power = -sum(context.snapshot.value(plant.id, "W") or 0.0 for plant in plants)
    charge_room = 0.0
    for device in context.site.of_kind(DeviceKind.BATTERY):
        soc = context.snapshot.value(device.id, "soc")
        if soc is not None and soc < device.ratings["soc_max"] - 0.005:
            charge_room += device.ratings["charge_w_max"] - (context.snapshot.value(device.id, "W") or 0.0)
    excess = surplus_w - max(0.0, charge_room)
    rated = sum(plant.ratings["power_w_max"] for plant in plants)
    if excess <= 0.0 or rated <= 0.0:
        recovered = min(1.0, limit + 0.05 - min(0.0, excess) / rated) if limit < 1.0 and rated > 0.0 else 1.0
        return None if recovered >= 1.0 else Narrowing(None, recovered, "export limit: solar comes back step by step")
    return Narrowing(None, max(0.0, (power - excess) / rated), "export limit reached and no battery takes the rest")


def _island_surplus(context: Context, device: DeviceSpec) -> Narrowing | None:
    """On an island a full battery cannot take more: solar is cut to what is used."""
    if device.kind is not DeviceKind.PV:
        return None
    batteries = context.site.of_kind(DeviceKind.BATTERY)
    charge = [(battery, context.snapshot.value(battery.id, "soc")) for battery in batteries]
    if any(soc is not None and soc < battery.ratings["soc_max"] - 0.02 for battery, soc in charge):
        return None
    charging = sum(max(0.0, context.snapshot.value(battery.id, "W") or 0.0) for battery in batteries)
    return _curtail(context, charging + 1.0)


def lifeline(context: Context, device: DeviceSpec) -> Narrowing | None:
    """Keeps what the lifelines need: drinking water in the tank, charge for an outage."""
    if device.kind is DeviceKind.PUMP:
        level = context.snapshot.value(context.site.tank_of[device.id], "level")
        if level is not None and level < context.site.water_reserve:
            return Narrowing(1.0, None, f"the tank is below its drinking reserve ({level:.0%})")
    if device.kind is DeviceKind.BATTERY and not context.island:
        soc = context.snapshot.value(device.id, "soc")
        if soc is not None and soc <= context.site.island_reserve:
            return Narrowing(0.0, None, f"the last {context.site.island_reserve:.0%} are kept for an outage")
    if device.kind is DeviceKind.GENSET and context.island:
        return _island_genset(context, device)
    return None


def _island_genset(context: Context, device: DeviceSpec) -> Narrowing | None:
    batteries = context.site.of_kind(DeviceKind.BATTERY)
    charges = [soc for battery in batteries if (soc := context.snapshot.value(battery.id, "soc")) is not None]
    lowest = min(charges, default=0.0)
    running = context.previous.get(device.id, 0.0) < 0.0
    if lowest < ISLAND_START_SOC or (running and lowest < ISLAND_STOP_SOC):
        need = max(context.others_w or 0.0, 0.0) + 0.25 * device.ratings["power_w_max"]
        power = min(max(need, device.ratings["power_w_min"]), device.ratings["power_w_max"])
        return Narrowing(-power, -power, f"island: the battery is down to {lowest:.0%}")
    return None


def lock_out(context: Context, device: DeviceSpec) -> Narrowing | None:
    """Somebody has locked the device out at the device itself: nothing is asked of it."""
    if device.id not in context.locked_out:
        return None
    safe = 1.0 if device.kind is DeviceKind.PV else 0.0
    return Narrowing(safe, safe, "locked out at the device")


def operator_hold(context: Context, device: DeviceSpec) -> Narrowing | None:
    """An operator's override, until it expires."""
    hold = context.holds.get(device.id)
    if hold is None or hold.until <= context.now:
        return None
    return Narrowing(hold.value, hold.value, f"{hold.by}: {hold.reason}")


def plan(context: Context, device: DeviceSpec) -> Narrowing | None:
    """The plan's step for this slot: modes for storages, on/off or power for the rest."""
    if context.island:
        return None
    step = context.storage_steps.get(device.id)
    if step is not None:
        wish = _mode_power(context, step.mode, step.limit_w)
        return None if wish is None else Narrowing(wish, wish, step.reason.constraint)
    unit = context.unit_steps.get(device.id)
    if unit is None:
        return None
    wish = float(unit.on) if device.kind is DeviceKind.PUMP else float(unit.power_w)
    return Narrowing(wish, wish, unit.reason.constraint)


def _mode_power(context: Context, mode: Mode, limit_w: int) -> float | None:
    if mode is Mode.HOLD:
        return 0.0
    follow = follow_power(context)
    if mode is Mode.CHARGE:
        return max(float(limit_w), follow or 0.0)
    if follow is None:
        return None
    if mode is Mode.DISCHARGE:
        return max(min(follow, 0.0), -float(limit_w))
    return min(max(follow, -float(limit_w)), float(limit_w))


def follow_power(context: Context) -> float | None:
    """Returns the battery power that brings the exchange with the outside to zero [W], or None if it is unknown."""
    if context.others_w is None:
        return None
    return -context.others_w / max(1, len(context.site.of_kind(DeviceKind.BATTERY)))


def default(context: Context, device: DeviceSpec) -> Narrowing | None:
    """What happens without a plan: simple rules that are never far from good."""
    match device.kind:
        case DeviceKind.BATTERY:
            follow = follow_power(context)
            return None if follow is None else Narrowing(follow, follow, "follow the community's meter")
        case DeviceKind.PUMP:
            return _pump_hysteresis(context, device)
        case DeviceKind.CHARGER:
            return Narrowing(math.inf, math.inf, "charge when connected")
        case DeviceKind.PV:
            return Narrowing(math.inf, math.inf, "all the sun there is")
        case _:
            return Narrowing(0.0, 0.0, "off")


def _pump_hysteresis(context: Context, device: DeviceSpec) -> Narrowing | None:
    level = context.snapshot.value(context.site.tank_of[device.id], "level")
    if level is None:
        return None
    span = context.site.water_high - context.site.water_reserve
    start, stop = context.site.water_reserve + 0.25 * span, context.site.water_high - 0.1 * span
    running = context.previous.get(device.id, 0.0) >= 1.0
    on = level < start or (running and level < stop)
    wish = 1.0 if on else 0.0
    return Narrowing(wish, wish, f"tank at {level:.0%}: {'fill' if on else 'wait'}")


RULES: tuple[tuple[str, Rule], ...] = (
    ("interlock", interlock_floor),
    ("feeder", feeder_limit),
    ("lifeline", lifeline),
    ("lock-out", lock_out),
    ("operator", operator_hold),
    ("plan", plan),
    ("default", default),
)
