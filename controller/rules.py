"""The rules of the control cycle, highest first.

Interlock floor, feeder limit, limits of single lines, lifeline, lock-out, operator hold, emergency, plan, default: each
is a small function of (context, device) that asks for a narrower band; infinity means "as far as is allowed". Values
are in the unit of the device's writable point: W by the sign rule (positive charges), 0/1 for a pump, a part for PV.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from controller.cycle import Context, Narrowing, Rule
from controller.emergency_rules import PLANNED_ON_ISLAND, emergency, served
from controller.site_energy import FeederSpec
from controller.site_water import TankSpec
from devices.model import DeviceKind, DeviceSpec
from optimizer.plan import Mode
from optimizer.survival import GENSET_STOP

FEEDER_MARGIN = 0.97
"""The fast loop steers to this part of the feeder limit, so that a cycle's lag does not cross it."""
MOVABLE = (DeviceKind.CHARGER, DeviceKind.THERMAL)
"""Loads that take what the connection has left."""
ISLAND_START_SOC = 0.30
ISLAND_STOP_SOC = 0.60


def interlock_floor(context: Context, device: DeviceSpec) -> Narrowing | None:
    """Bad or old data means the safe value; physical ends stop the flow (the gateway enforces the same again)."""
    match device.kind:
        case DeviceKind.BATTERY:
            return _battery_floor(context, device)
        case DeviceKind.PUMP:
            return _pump_floor(context, device)
        case DeviceKind.GENSET:
            return _genset_floor(context, device)
        case DeviceKind.THERMAL:
            return _thermal_floor(context, device)
        case DeviceKind.CHARGER:
            if context.snapshot.value(device.id, "connected") != 1.0:
                return Narrowing(0.0, 0.0, "no vehicle is connected")
        case _:
            return None
    return None


def _filled_tank(context: Context, pump: DeviceSpec) -> tuple[float | None, TankSpec]:
    """Returns (level, None while it is not known; what the site says) of the tank that a pump fills."""
    tank = context.site.tank_of[pump.id]
    return context.snapshot.value(tank, "level"), context.site.water.tanks[tank]


def _pump_floor(context: Context, device: DeviceSpec) -> Narrowing | None:
    level, filled = _filled_tank(context, device)
    if level is None:
        return Narrowing(0.0, 0.0, "the tank level is not known")
    if level >= filled.high:
        return Narrowing(0.0, 0.0, f"the tank is full ({level:.0%})")
    source = context.site.water.pumps[device.id].source or ""
    tank = context.site.water.tanks.get(source)
    if tank is None:
        return _dry_well(context, device, source)
    there = context.snapshot.value(source, "level")
    if there is None:
        return Narrowing(0.0, 0.0, f"the level of {source} is not known")
    return Narrowing(0.0, 0.0, f"{source} is at its reserve ({there:.0%})") if there <= tank.reserve else None


WELL_REFILL = 0.1
"""Of a well: so far above its dry level it stands before a pump starts again that had to stop."""


def _dry_well(context: Context, pump: DeviceSpec, source: str) -> Narrowing | None:
    well = context.site.water.well(source)
    if well is None or well.sensor is None or well.dry == 0.0:
        return None
    level = context.snapshot.value(well.sensor, "level")
    if level is None:
        return Narrowing(0.0, 0.0, f"the level of {well.id} is not known")
    running = context.previous.get(pump.id, 0.0) > 0.0 or context.snapshot.pumping(pump.id)
    low = level <= (well.dry if running else well.dry + WELL_REFILL)
    return Narrowing(0.0, 0.0, f"{well.id} is down to {level:.0%}") if low else None


def _genset_floor(context: Context, device: DeviceSpec) -> Narrowing | None:
    if not context.snapshot.online(device.id):
        return Narrowing(0.0, 0.0, "the genset does not report")
    digester = context.site.waste.digester(device.id)
    if digester is not None:
        level = context.snapshot.value(digester.sensor, "level")
        if level is None:
            return Narrowing(0.0, 0.0, f"nobody knows how much gas {digester.id} has")
        gas = level * digester.holder_m3
        return Narrowing(0.0, 0.0, f"{digester.id} has {gas:.1f} m3 of gas") if gas <= digester.holder_min_m3 else None
    fuel = context.snapshot.value(device.id, "fuel")
    if fuel is None:
        return Narrowing(0.0, 0.0, "the genset does not report")
    return Narrowing(0.0, 0.0, f"fuel is down to {fuel:.0%}") if fuel <= 0.02 else None


def _battery_floor(context: Context, device: DeviceSpec) -> Narrowing | None:
    soc = context.snapshot.value(device.id, "soc")
    if soc is None:
        return Narrowing(0.0, 0.0, "the state of charge is not known")
    if soc <= device.ratings["soc_min"]:
        return Narrowing(0.0, None, f"charge is at its minimum ({soc:.0%})")
    if soc >= device.ratings["soc_max"]:
        return Narrowing(None, 0.0, f"charge is at its maximum ({soc:.0%})")
    return None


def _thermal_floor(context: Context, device: DeviceSpec) -> Narrowing | None:
    celsius, ratings = context.snapshot.value(device.id, "celsius"), device.ratings
    if celsius is None:
        return Narrowing(0.0, 0.0, "the temperature is not known")
    if (celsius <= ratings["low_c"]) if ratings["cold"] else (celsius >= ratings["high_c"]):
        return Narrowing(0.0, 0.0, f"the store is full ({celsius:.0f} deg C)")
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
        most = highest - others
        if context.peak_w is not None:  # charging makes no new peak; what is kept for an outage is not spent on one
            most = min(most, max(0.0, context.peak_w - others))
        return Narrowing(lowest - others, most, f"feeder limit {highest / 1000:.1f} kW in, {-lowest / 1000:.1f} kW out")
    grid = _grid_w(context)
    if device.kind in MOVABLE and grid is not None:
        own = context.snapshot.value(device.id, "W") or 0.0
        left = own + highest + grid + _battery_room(context)
        if context.peak_w is not None:
            left = min(left, own + context.peak_w + grid)
        return Narrowing(None, max(0.0, left), "what the feeder has left")
    if device.kind is DeviceKind.PV and grid is not None:
        return _curtail(context, grid + lowest, context.site.of_kind(DeviceKind.PV))
    return None


def line_limit(context: Context, device: DeviceSpec) -> Narrowing | None:
    """Keeps each line within its own limits, by site file or plan, as far as everything on it reports."""
    wishes = [
        wish
        for line in context.lines
        if device.id in line.devices and (wish := _within_line(context, device, line)) is not None
    ]
    if not wishes:
        return None
    low = max((wish.low for wish in wishes if wish.low is not None), default=None)
    highs = [(wish.high, wish.reason) for wish in wishes if wish.high is not None]
    high, reason = min(highs) if highs else (None, wishes[0].reason)
    return Narrowing(low, high, reason)


def _within_line(context: Context, device: DeviceSpec, line: FeederSpec) -> Narrowing | None:
    flow = _flow_w(context, line)
    if flow is None:
        return None
    highest, lowest = line.import_limit_w * FEEDER_MARGIN, -line.export_limit_w * FEEDER_MARGIN
    others = flow - (context.snapshot.value(device.id, "W") or 0.0)
    match device.kind:
        case DeviceKind.BATTERY:
            return Narrowing(lowest - others, highest - others, f"limits of the line {line.id}")
        case DeviceKind.CHARGER | DeviceKind.THERMAL:
            return Narrowing(None, max(0.0, highest - others), f"what the line {line.id} has left")
        case DeviceKind.PV:
            plants = [plant for plant in context.site.of_kind(DeviceKind.PV) if plant.id in line.devices]
            batteries = [one for one in context.site.of_kind(DeviceKind.BATTERY) if one.id in line.devices]
            return _curtail(context, lowest - flow, plants, batteries)
        case _:
            return None


def _flow_w(context: Context, feeder: FeederSpec) -> float | None:
    """Returns what flows into a feeder [W]; None when a device on it that has a meter does not report."""
    total = 0.0
    for name in feeder.devices:
        device = context.site.device(name)
        if device is None or (device.behind is not None and device.behind in feeder.devices):
            continue  # inside the reading of its meter
        power = context.snapshot.value(name, "W")
        if power is None and not context.snapshot.online(name):
            return None
        total += power or 0.0
    return total


def _grid_w(context: Context) -> float | None:
    """Returns the grid meter's power [W], negative while importing."""
    return next((context.snapshot.value(grid.id, "W") for grid in context.site.of_kind(DeviceKind.GRID)), None)


def _battery_room(context: Context) -> float:
    """Returns how much more the batteries could still discharge above what is kept for an outage [W]."""
    room = 0.0
    for device in context.site.of_kind(DeviceKind.BATTERY):
        soc = context.snapshot.value(device.id, "soc")
        kept = max(device.ratings["soc_min"], context.site.island_reserve)
        if soc is not None and soc > kept + 0.02:
            room += device.ratings["discharge_w_max"] + (context.snapshot.value(device.id, "W") or 0.0)
    return room


def _curtail(
    context: Context, surplus_w: float, plants: Sequence[DeviceSpec], batteries: Sequence[DeviceSpec] | None = None
) -> Narrowing | None:
    """Cuts plants by the same fraction when export exceeds its limit by `surplus_w` and no battery takes it."""
    limit = next((context.previous.get(plant.id, 1.0) for plant in plants), 1.0)
    if surplus_w <= 0.0 and limit >= 1.0:
        return None
    power = -sum(context.snapshot.value(plant.id, "W") or 0.0 for plant in plants)
    charge_room = 0.0
    for device in context.site.of_kind(DeviceKind.BATTERY) if batteries is None else batteries:
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
    return _curtail(context, charging + 1.0, context.site.of_kind(DeviceKind.PV))


def lifeline(context: Context, device: DeviceSpec) -> Narrowing | None:
    """Keeps what the lifelines need: drinking water in the tank, charge for an outage."""
    if device.kind is DeviceKind.PUMP:
        level, tank = _filled_tank(context, device)
        # A little beyond the reserve, or pump and level would chase each other around it.
        running = context.previous.get(device.id, 0.0) > 0.0
        enough = tank.reserve + (RESERVE_FILL if running else 0.0)
        if level is not None and level < enough:
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
    stop = GENSET_STOP if context.orders.active else ISLAND_STOP_SOC
    if lowest < ISLAND_START_SOC or (running and lowest < stop):
        # In an emergency litres count: a set burns least a kWh near its rating, and the battery takes what is over.
        share = 1.0 if context.orders.active else 0.25
        need = max(context.others_w or 0.0, 0.0) + share * device.ratings["power_w_max"]
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
    """The plan's step for this slot: modes for storages, on/off or power for the rest.

    On an island the battery follows physics; the rest follows only a plan that was made for that emergency.
    """
    if context.island and not (context.orders.active and device.kind in PLANNED_ON_ISLAND):
        return None
    step = context.storage_steps.get(device.id)
    if step is not None and device.kind is DeviceKind.CHARGER:  # a pack only charges
        return Narrowing(float(step.expected_w), float(step.expected_w), step.reason.constraint)
    if step is not None:
        wish = _mode_power(context, step.mode, step.limit_w)
        return None if wish is None else Narrowing(wish, wish, step.reason.constraint)
    unit = context.unit_steps.get(device.id)
    if unit is None or device.id in context.due:
        return None
    wish = float(unit.on) if device.kind is DeviceKind.RELAY else float(unit.power_w)
    if device.kind is DeviceKind.PUMP:
        spec = context.site.water.pumps[device.id]
        speed = unit.speed if context.site.water.zoned(device.id) else spec.speed_at(wish)
        wish = speed if unit.on else 0.0
    return Narrowing(wish, wish, unit.reason.constraint)


def _mode_power(context: Context, mode: Mode, limit_w: int) -> float | None:
    follow = follow_power(context)
    if follow is None and mode in (Mode.FOLLOW, Mode.DISCHARGE):
        return None
    return mode_power(mode, float(limit_w), follow or 0.0)


def mode_power(mode: Mode, limit: float, follow: float) -> float:
    """Returns the power that a mode asks of a storage, positive charges, all in one unit.

    Args:
        mode: what the plan says.
        limit: its limit, never negative.
        follow: the power that would bring the exchange with the outside to zero.
    """
    match mode:
        case Mode.HOLD:
            return 0.0
        case Mode.CHARGE:
            return max(limit, follow)
        case Mode.DISCHARGE:
            return max(min(follow, 0.0), -limit)
        case Mode.FOLLOW:
            return min(max(follow, -limit), limit)


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
        case DeviceKind.THERMAL:
            return _thermostat(context, device)
        case DeviceKind.RELAY if "rest" in device.ratings:
            return Narrowing(served(device), served(device), "its load is served")
        case DeviceKind.RELAY if device.id in context.due:
            return Narrowing(1.0, 1.0, "its run would not be done in its window")
        case DeviceKind.PV:
            return Narrowing(math.inf, math.inf, "all the sun there is")
        case DeviceKind.GENSET:
            return _burn_gas(context, device)
        case _:
            return Narrowing(0.0, 0.0, "off")


GAS_START, GAS_STOP = 0.9, 0.6
"""Of a gas holder: without a plan its engine starts before gas would be flared, and stops while some is left."""


def _burn_gas(context: Context, device: DeviceSpec) -> Narrowing:
    digester = context.site.waste.digester(device.id)
    level = None if digester is None else context.snapshot.value(digester.sensor, "level")
    running = context.previous.get(device.id, 0.0) < 0.0
    if level is None or level < (GAS_STOP if running else GAS_START):
        return Narrowing(0.0, 0.0, "off")
    power = -device.ratings["power_w_max"]
    return Narrowing(power, power, f"the gas holder is {level:.0%} full")


def thermostat_levels(low: float, high: float) -> tuple[float, float]:
    """Returns (level below which a thermal store is filled, level at which that ends) between its ends."""
    return low + 0.25 * (high - low), high - 0.1 * (high - low)


def _thermostat(context: Context, device: DeviceSpec) -> Narrowing | None:
    celsius, ratings = context.snapshot.value(device.id, "celsius"), device.ratings
    if celsius is None:
        return None
    low, high = ratings["low_c"], ratings["high_c"]
    level = low + high - celsius if ratings["cold"] else celsius  # a cold store fills downwards
    start, stop = thermostat_levels(low, high)
    on = level < start or (context.previous.get(device.id, 0.0) > 0.0 and level < stop)
    wish = math.inf if on else 0.0
    return Narrowing(wish, wish, f"thermostat: {celsius:.0f} deg C")


RESERVE_FILL = 0.01
"""Of the tank: so far above its drinking reserve a pump goes on that had to start there."""


def pump_levels(reserve: float, high: float) -> tuple[float, float]:
    """Returns (level below which the pump starts, level at which it stops) between the reserve and the top."""
    span = high - reserve
    return reserve + 0.25 * span, high - 0.1 * span


def _pump_hysteresis(context: Context, device: DeviceSpec) -> Narrowing | None:
    level, tank = _filled_tank(context, device)
    if level is None:
        return None
    start, stop = pump_levels(tank.reserve, tank.high)
    running = context.previous.get(device.id, 0.0) > 0.0
    on = level < start or (running and level < stop)
    wish = 1.0 if on else 0.0
    return Narrowing(wish, wish, f"tank at {level:.0%}: {'fill' if on else 'wait'}")


RULES: tuple[tuple[str, Rule], ...] = (
    ("interlock", interlock_floor),
    ("feeder", feeder_limit),
    ("line", line_limit),
    ("lifeline", lifeline),
    ("lock-out", lock_out),
    ("operator", operator_hold),
    ("emergency", emergency),
    ("plan", plan),
    ("default", default),
)
