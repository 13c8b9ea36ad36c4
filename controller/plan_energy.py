"""The energy part of the question for the planner, as things stand now, in kW and kWh; prices in major units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

from controller.history import feeder_key, tier_key
from controller.image import Snapshot
from controller.outside import export_prices
from controller.plan_forecast import DAY_SLOTS, Forecast
from controller.site import Site
from controller.triggers import LONG_SLOTS
from devices.clock import MINUTE_MS, SLOT_MS, Instant
from devices.model import DeviceId, DeviceKind, DeviceSpec
from devices.outputs import IGNORES, LOCKED_OUT
from optimizer.problem import AssetId, Battery, Feeder, Genset, Grid, Reserve, Series, ShedTier

OVER_LIMIT_PRICE = 50.0
EMPTY_TANK = 0.02
"""A genset with no more of its fuel than this is left out."""
ISLAND_SLOTS = 8
"""Nothing says when the outside comes back: the next two hours are planned as an island."""


def grid(site: Site, start: Instant, prices: Sequence[float], peak_w: float, *, island: bool) -> Grid:
    """Returns the connection: limits, `prices` [money per kWh, per slot], planned islands, the month's peak so far."""
    slots = len(prices)

    def there(slot: int) -> bool:
        begins = start + slot * SLOT_MS
        cut = any(first < begins + SLOT_MS and begins < end for first, end in site.energy.islands)
        return not cut and not (island and slot < ISLAND_SLOTS)

    return Grid(
        import_limit_kw=(site.import_limit_w / 1000,) * slots,
        export_limit_kw=(site.export_limit_w / 1000,) * slots,
        import_price=tuple(prices),
        export_price=tuple(price / 1e6 for price in export_prices(site, start, slots)),
        available=tuple(there(slot) for slot in range(slots)),
        over_limit_price=OVER_LIMIT_PRICE,
        peak_price=site.energy.peak_price,
        peak_kw_so_far=peak_w / 1000 if site.energy.peak_price else 0.0,
    )


def obeys(snapshot: Snapshot, device: DeviceSpec) -> bool:
    """Returns False for a device that is locked out or found to ignore its setpoints: a plan must not count on it."""
    return snapshot.value(device.id, LOCKED_OUT) != 1.0 and snapshot.value(device.id, IGNORES) != 1.0


def batteries(site: Site, snapshot: Snapshot, prices: Sequence[float]) -> tuple[Battery, ...]:
    """Returns the batteries whose charge is known and that do what they are told.

    `prices` of the outside [money per kWh, per slot] value the end.
    """
    found: list[Battery] = []
    # Energy left at the end is worth what it can replace: the mean outside price, less the way out.
    worth = sum(prices) / len(prices)
    for device in site.of_kind(DeviceKind.BATTERY):
        soc = snapshot.value(device.id, "soc")
        if soc is None or not obeys(snapshot, device):
            continue
        ratings = device.ratings
        energy = ratings["energy_wh"] / 1000
        low, high = ratings["soc_min"] * energy, ratings["soc_max"] * energy
        found.append(
            Battery(
                id=AssetId(device.id),
                energy_kwh=energy,
                charge_kw_max=ratings["charge_w_max"] / 1000,
                discharge_kw_max=ratings["discharge_w_max"] / 1000,
                charge_efficiency=ratings["charge_efficiency"],
                discharge_efficiency=ratings["discharge_efficiency"],
                soc_now_kwh=soc * energy,
                soc_min_kwh=low,
                soc_max_kwh=high,
                reserve_kwh=max(low, site.island_reserve * energy),
                reserve_price=0.5,
                terminal_value=worth * ratings["discharge_efficiency"] * 0.9,
                wear_price=ratings["wear_price"],
                forms_grid=device.id not in site.energy.follow_grid,
            )
        )
    return tuple(found)


def gensets(site: Site, snapshot: Snapshot, in_state: Mapping[DeviceId, int]) -> tuple[Genset, ...]:
    """Returns the gensets that report and have fuel; `in_state` says for how many slots each has run or rested."""
    return tuple(
        _genset(device, snapshot, running >= 1.0, in_state.get(device.id, LONG_SLOTS))
        for device in site.of_kind(DeviceKind.GENSET)
        if device.id not in site.waste.engines  # gas engines are planned with their digesters
        and obeys(snapshot, device)
        and (running := snapshot.value(device.id, "running")) is not None
        and (snapshot.value(device.id, "fuel") or 0.0) > EMPTY_TANK
    )


def _genset(device: DeviceSpec, snapshot: Snapshot, running: bool, slots_in_state: int) -> Genset:
    ratings = device.ratings
    power, fuel = snapshot.value(device.id, "W"), snapshot.value(device.id, "fuel") or 0.0
    ramp, per_litre = ratings.get("ramp_w_per_min"), ratings.get("kwh_per_l")
    return Genset(
        id=AssetId(device.id),
        power_kw_max=ratings["power_w_max"] / 1000,
        power_kw_min=ratings["power_w_min"] / 1000,
        fixed_price_per_h=ratings["fixed_price_per_h"],
        energy_price=ratings["energy_price"],
        start_price=ratings["start_price"],
        min_up_slots=round(ratings["min_up_ms"] / SLOT_MS),
        min_down_slots=round(ratings["min_down_ms"] / SLOT_MS),
        running=running,
        slots_in_state=slots_in_state,
        ramp_kw=None if ramp is None else ramp * SLOT_MS / MINUTE_MS / 1000,
        power_now_kw=None if power is None or not running else max(0.0, -power / 1000),
        fuel_kwh=None if per_litre is None else fuel * ratings["fuel_l"] * per_litre,
    )


def shed_tiers(site: Site, outlook: Forecast) -> tuple[ShedTier, ...]:
    """Returns what each tier has above its homes' lifelines; together never more than the load above critical."""
    rest = [max(0.0, load - kept) for load, kept in zip(outlook.load_kw, outlook.critical_kw, strict=True)]
    found: list[ShedTier] = []
    for tier in sorted(site.energy.tiers, key=lambda one: one.price):
        homes = sum(1 for member in site.members if member.lifeline and tier.meters & set(member.usage_points))
        lifeline = homes * site.charter.lifeline_wh / DAY_SLOTS * 4 / 1000
        load = outlook.group_kw[tier_key(tier.id)]
        kw = tuple(min(max(0.0, part - lifeline), left) for part, left in zip(load, rest, strict=True))
        rest = [left - part for left, part in zip(rest, kw, strict=True)]
        found.append(ShedTier(tier.id, kw, tier.price))
    return tuple(found)


def feeders(site: Site, outlook: Forecast, assets: Iterable[AssetId]) -> tuple[Feeder, ...]:
    """Returns the feeders with their part of load and sun, and those of `assets` that are on them."""
    known, slots = tuple(assets), len(outlook.load_kw)
    return tuple(
        Feeder(
            id=AssetId(spec.id),
            load_kw=outlook.group_kw[feeder_key(spec.id)],
            pv_kw=solar_part(site, outlook, spec.devices),
            assets=tuple(asset for asset in known if asset in spec.devices),
            import_limit_kw=(spec.import_limit_w / 1000,) * slots,
            export_limit_kw=(spec.export_limit_w / 1000,) * slots,
            price=spec.price,
            inner=tuple(AssetId(one.id) for one in site.energy.feeders if one.devices < spec.devices),
        )
        for spec in site.energy.feeders
    )


def solar_part(site: Site, outlook: Forecast, devices: Set[DeviceId]) -> Series:
    """Returns what some of the plants offer of the forecast solar power, by their ratings [kW per slot]."""
    plants = {plant.id: plant.ratings["power_w_max"] for plant in site.of_kind(DeviceKind.PV)}
    rated = sum(plants.values())
    share = sum(plants[name] for name in devices if name in plants) / rated if rated else 0.0
    return tuple(share * kw for kw in outlook.pv_kw)


def reserve(site: Site, outlook: Forecast, available: Sequence[bool]) -> Reserve | None:
    """Returns what is kept ready; None where there is no island to plan for and no outage to be ready for."""
    spec = site.energy.reserve
    if all(available) and not spec.outage_ms:
        return None
    return Reserve(
        spinning_kw=tuple(spec.spinning_share * kw for kw in outlook.load_kw),
        spinning_price=spec.spinning_price,
        outage_slots=-(-spec.outage_ms // SLOT_MS),
        outage_price=spec.outage_price,
    )
