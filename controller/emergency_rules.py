"""The emergency rule of the control cycle: fill up before a storm, ration on an island, come back in stages.

It stands between the operator's hold and the plan: whoever holds a device by hand knows better, no plan does.
"""

from __future__ import annotations

import math

from controller.cycle import Context, Narrowing
from devices.model import DeviceKind, DeviceSpec

SURPLUS_BELOW_FULL = 0.03
"""Vehicles may charge in a rationed island while the battery is fuller than its end less this: sun would be cut."""

PLANNED_ON_ISLAND = (DeviceKind.GENSET, DeviceKind.PUMP, DeviceKind.CHARGER, DeviceKind.THERMAL)
"""What follows an emergency plan where there is no grid; the battery there follows physics."""


def emergency(context: Context, device: DeviceSpec) -> Narrowing | None:
    """Asks what the emergency asks of one device; None on an ordinary day."""
    orders = context.orders
    shed = orders.shed.get(device.id)
    if shed is not None:
        away = 1.0 - served(device)
        return Narrowing(away, away, f"load is shed: {shed}")
    until = orders.waits.get(device.id)
    if until is not None and context.now < until:
        return Narrowing(0.0, 0.0, "restart: it waits for its turn, so that not everything starts at once")
    if not orders.active:
        return None
    if orders.top_up and not context.island:
        return _top_up(device)
    if orders.keep and not context.island and device.kind is DeviceKind.BATTERY:
        return Narrowing(0.0, None, "storm: what is stored is kept for an outage")
    if context.island:
        return _rationed(context, device)
    return None


def served(switch: DeviceSpec) -> float:
    """Returns the value of a shed switch while its load is there."""
    return switch.ratings.get("rest", 0.0)


def _top_up(device: DeviceSpec) -> Narrowing | None:
    match device.kind:
        case DeviceKind.BATTERY:
            return Narrowing(math.inf, math.inf, "a storm is near: charge with all that the feeder leaves")
        case DeviceKind.PUMP:
            return Narrowing(1.0, 1.0, "a storm is near: fill the tank")
        case DeviceKind.CHARGER:
            return Narrowing(math.inf, math.inf, "a storm is near: charge the vehicle")
        case DeviceKind.THERMAL:
            return Narrowing(math.inf, math.inf, "a storm is near: fill the store")
        case _:
            return None


def _rationed(context: Context, device: DeviceSpec) -> Narrowing | None:
    orders = context.orders
    if device.kind is DeviceKind.CHARGER and not orders.vehicles:
        if _sun_would_be_cut(context):
            return None
        return Narrowing(0.0, 0.0, f"ration {orders.ration}: no vehicle is charged without the outside")
    if device.id in {switch.device for switch in context.site.energy.switches}:
        return None  # its tier says when it is off
    if device.kind in (DeviceKind.RELAY, DeviceKind.THERMAL) and not orders.machines:
        return Narrowing(0.0, 0.0, f"ration {orders.ration}: loads beyond the lifelines are off")
    return None


def _sun_would_be_cut(context: Context) -> bool:
    batteries = context.site.of_kind(DeviceKind.BATTERY)
    charges = [(context.snapshot.value(one.id, "soc"), one.ratings["soc_max"]) for one in batteries]
    full = bool(charges) and all(soc is not None and soc >= top - SURPLUS_BELOW_FULL for soc, top in charges)
    return full and context.others_w is not None and context.others_w < 0.0
