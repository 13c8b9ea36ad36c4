"""Thermal stores in the question for the planner: hot water and cold rooms whose power may be moved in time. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from controller.civil import every_day
from controller.image import Snapshot
from controller.site import Site
from devices.clock import SLOT_MS, Instant
from devices.model import DeviceKind, DeviceSpec
from optimizer.problem import AssetId, Series, ThermalStore


def thermal_stores(site: Site, snapshot: Snapshot, start: Instant, prices: Sequence[float]) -> tuple[ThermalStore, ...]:
    """Returns the stores whose temperature is known; outside `prices` [money per kWh, per slot] value the end."""
    worth = sum(prices) / len(prices)
    return tuple(
        thermal_store(site, device, celsius, start, len(prices), worth)
        for device in site.of_kind(DeviceKind.THERMAL)
        if (celsius := snapshot.value(device.id, "celsius")) is not None
    )


def thermal_store(
    site: Site, device: DeviceSpec, celsius: float, start: Instant, slots: int, worth: float
) -> ThermalStore:
    """Returns one store at a temperature; what is left in it is worth `worth` per kWh of electricity at the end."""
    spec, ratings = site.energy.thermal[device.id], device.ratings
    ends = (stored_kwh(device, ratings["low_c"]), stored_kwh(device, ratings["high_c"]))
    return ThermalStore(
        id=AssetId(device.id),
        power_kw_max=ratings["power_w_max"] / 1000,
        cop=(ratings["cop"],) * slots,
        level_now_kwh=stored_kwh(device, celsius),
        low_kwh=min(ends),
        high_kwh=max(ends),
        loss_per_h=ratings["loss_w_per_k"] / ratings["wh_per_k"],
        demand_kwh=_demand(site.timezone, spec.draws, start, slots),
        comfort_price=spec.comfort_price,
        unserved_price=spec.unserved_price,
        terminal_value=0.9 * worth / ratings["cop"],
        cold=bool(ratings["cold"]),
    )


def stored_kwh(device: DeviceSpec, celsius: float) -> float:
    """Returns what a store holds beyond the temperature of its surroundings [kWh]: heat, or cold in a cold one."""
    ratings = device.ratings
    warmer = celsius - ratings["ambient_c"]
    return max(0.0, -warmer if ratings["cold"] else warmer) * ratings["wh_per_k"] / 1000


def _demand(zone: str, draws: Sequence[tuple[int, float]], start: Instant, slots: int) -> Series:
    taken = [0.0] * slots
    for minute, energy_wh in draws:
        for at in every_day(zone, Instant(start - 1), Instant(start + slots * SLOT_MS), minute):
            taken[(at - start) // SLOT_MS] += energy_wh / 1000
    return tuple(taken)
