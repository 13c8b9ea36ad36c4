"""What the planner is asked of water: tanks with their main pumps, plants, wells and tiers, as things stand now. Pure.

A tank whose level is not known is left out, and so is every plant that fills it or takes from it: the rules look after
them. A well whose sensor is silent is planned as dry: it gives what flows in and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from controller.image import Snapshot
from controller.plan_forecast import DAY_SLOTS, Forecast
from controller.site import Site
from controller.site_water import Point, PumpSpec
from devices.clock import HOUR_MS, SLOT_MS
from devices.model import DeviceId, DeviceKind, DeviceSpec
from optimizer.problem import AssetId, OperatingPoint, Series, WaterPlant, WaterSystem, WaterTier, Well
from optimizer.zone_ask import PumpSpeed, ZoneAsk

UNPUMPED = ".unpumped"
"""After the id of a tank that has no main pump: its stand-in, which never runs."""
UNSERVED_PRICE = 20.0
RESERVE_PRICE = 1.0
MARGIN_PRICE = 0.5
MARGIN_SLOTS = 4
FUTURES_MIN = 4
MARGIN_ROOM = 0.25
"""Of a tank between reserve and top: more than this the planned margin never takes."""
STOP_PRICE = 1.0
"""Money per slot by which a plant ends its least run too early."""
LEVEL_PRICE = 0.25
"""Money per kWh that a full tank is worth, where the site file does not say what its water is."""


@dataclass(frozen=True, slots=True)
class WaterAsk:
    """The part of a problem that is about water."""

    systems: tuple[WaterSystem, ...] = ()
    plants: tuple[WaterPlant, ...] = ()
    wells: tuple[Well, ...] = ()
    zones: tuple[ZoneAsk, ...] = ()


def water_ask(site: Site, snapshot: Snapshot, outlook: Forecast, in_state: Mapping[DeviceId, int]) -> WaterAsk:
    """Returns the question; `in_state` says for how many slots each pump has run or rested.

    A tank's first plain pump is the main one of its system. Every other pump stands beside it as a plant, and so does
    one that takes from a well: a main pump may be planned for parts of slots, and would run them whole.
    """
    levels = {tank.id: snapshot.value(tank.id, "level") for tank in site.of_kind(DeviceKind.TANK)}
    zones = tuple(_zones(site, snapshot, outlook))
    known = {name for name, level in levels.items() if level is not None and not site.water.zoned(name)}
    always = {None, *(well.id for well in site.water.wells)}  # sources that are no tanks
    pumps = [
        pump
        for pump in site.of_kind(DeviceKind.PUMP)
        if site.tank_of[pump.id] in known
        and not site.water.zoned(pump.id)
        and site.water.pumps[pump.id].source in always | known
    ]
    main: dict[str, DeviceSpec] = {}
    for pump in pumps:
        spec = site.water.pumps[pump.id]
        if spec.plain and spec.source is None:
            main.setdefault(spec.tank, pump)
    fed = [tank for tank in site.of_kind(DeviceKind.TANK) if any(site.tank_of[pump.id] == tank.id for pump in pumps)]
    demand_kl, margin = outlook.water_kl, _margin(outlook)
    systems = tuple(
        _system(site, snapshot, tank, levels[tank.id] or 0.0, main.get(tank.id), demand_kl, margin) for tank in fed
    )
    names = {system.tank_id for system in systems}
    others = [pump for pump in pumps if pump not in main.values()]
    wells = tuple(_well(site, snapshot, len(demand_kl)))
    plants = tuple(
        _while_water_lasts(_plant(site.water.pumps[pump.id], pump, snapshot, in_state), wells)
        for pump in others
        if site.water.pumps[pump.id].source in always | names
    )
    if not systems:
        return WaterAsk(zones=zones)
    return WaterAsk(systems, plants, wells, zones)


def _zones(site: Site, snapshot: Snapshot, outlook: Forecast) -> Iterator[ZoneAsk]:
    """Yields each pressure zone whose tanks all report; it should end the plan no emptier than it began it."""
    for zone in site.water.zones:
        volumes = [tank.ratings["volume_l"] / 1000 for name in zone.tanks if (tank := site.device(name)) is not None]
        levels = [snapshot.value(name, "level") for name in zone.tanks]
        now = tuple(level * kl for level, kl in zip(levels, volumes, strict=True) if level is not None)
        if len(now) < len(zone.tanks):
            continue
        specs = [site.water.tanks[name] for name in zone.tanks]
        share = sum(spec.share for spec in specs) * HOUR_MS / SLOT_MS
        running = ((pump, snapshot.value(pump, "on") or 0.0) for pump in zone.pumps)
        yield ZoneAsk(
            AssetId(zone.id),
            zone.table,
            tuple(kl * share for kl in outlook.water_kl),
            now,
            tuple(spec.reserve * kl for spec, kl in zip(specs, volumes, strict=True)),
            now,
            zone.start_price,
            tuple(PumpSpeed(AssetId(pump), on) for pump, on in running if on > 0.0),
        )


def _system(
    site: Site,
    snapshot: Snapshot,
    tank: DeviceSpec,
    level: float,
    pump: DeviceSpec | None,
    demand_kl: Series,
    margin_kl: Series,
) -> WaterSystem:
    spec = site.water.tanks[tank.id]
    volume = tank.ratings["volume_l"] / 1000
    demand = tuple(kl * spec.share for kl in demand_kl)
    line = site.lifeline_homes * site.charter.lifeline_ml / 1e6 / DAY_SLOTS * spec.share
    lifeline = tuple(min(kl, line) for kl in demand)
    # A tank that only plants fill has no pump of its own: one that brings nothing stands in for it.
    kw, flow = (1.0, 0.0) if pump is None else (pump.ratings["power_w"] / 1000, pump.ratings["flow_lpm"] * 0.06)
    return WaterSystem(
        pump_id=AssetId(f"{tank.id}{UNPUMPED}" if pump is None else pump.id),
        tank_id=AssetId(tank.id),
        pump_kw=kw,
        pump_flow_kl_per_h=flow,
        volume_kl=volume,
        level_now_kl=min(level, 1.0) * volume,
        reserve_kl=spec.reserve * volume,
        high_kl=spec.high * volume,
        demand_kl=demand,
        lifeline_kl=lifeline,
        unserved_price=UNSERVED_PRICE,
        reserve_price=RESERVE_PRICE,
        terminal_value=_worth(site, tank) if spec.level_value is None else spec.level_value,
        running=pump is not None and snapshot.pumping(pump.id),
        start_price=0.02 if pump is None else site.water.pumps[pump.id].start_price,
        margin_kl=tuple(min(kl * spec.share, MARGIN_ROOM * (spec.high - spec.reserve) * volume) for kl in margin_kl),
        margin_price=MARGIN_PRICE,
        tiers=tuple(
            WaterTier(tier.name, tuple(tier.share * (a - b) for a, b in zip(demand, lifeline, strict=True)), tier.price)
            for tier in site.water.tiers
        ),
    )


def _worth(site: Site, tank: DeviceSpec) -> float:
    """Returns what bringing a kL into the tank costs with its cheapest pump [money]."""
    filling = [pump for pump in site.of_kind(DeviceKind.PUMP) if site.tank_of[pump.id] == tank.id]
    kwh = [pump.ratings["power_w"] / 1000 / (pump.ratings["flow_lpm"] * 0.06) for pump in filling]
    return LEVEL_PRICE * min(kwh)


def _plant(spec: PumpSpec, pump: DeviceSpec, snapshot: Snapshot, in_state: Mapping[DeviceId, int]) -> WaterPlant:
    running = snapshot.pumping(pump.id)
    least = max(1, -(-spec.min_run_ms // SLOT_MS))
    ran = in_state.get(pump.id, DAY_SLOTS)
    return WaterPlant(
        id=AssetId(pump.id),
        tank=AssetId(spec.tank),
        source=None if spec.source is None else AssetId(spec.source),
        points=() if spec.phases else tuple(map(_point, spec.points)),
        phases=tuple(map(_point, spec.phases)),
        recovery=spec.recovery,
        min_run_slots=1 if spec.phases else least,
        start_price=spec.start_price,
        running=running and not spec.phases,
        keep_slots=max(0, least - ran) if running and not spec.phases else 0,
        stop_price=STOP_PRICE,
        # What it was found doing may end any time: only batches that began before our eyes are followed.
        phase_now=ran % len(spec.phases) if running and spec.phases and ran < DAY_SLOTS else 0,
    )


def _while_water_lasts(plant: WaterPlant, wells: Sequence[Well]) -> WaterPlant:
    """Returns the plant with its least run cut to what its well gives at the lowest speed: it stops then anyway."""
    for well in wells:
        if well.id == plant.source and plant.keep_slots:
            sinks = (plant.points[0].flow_kl_per_h / plant.recovery - well.yield_kl_per_h) * SLOT_MS / HOUR_MS
            lasts = int(well.level_now_kl / sinks) if sinks > 0.0 else plant.keep_slots
            return replace(plant, keep_slots=min(plant.keep_slots, lasts))
    return plant


def _point(point: Point) -> OperatingPoint:
    return OperatingPoint(point.flow_lpm * 0.06, point.power_w / 1000)


def _well(site: Site, snapshot: Snapshot, slots: int) -> Iterator[Well]:
    for well in site.water.wells:
        level = None if well.sensor is None else snapshot.value(well.sensor, "level")
        there = max(0.0, min(level or 0.0, 1.0) - well.dry)
        limit = well.limit_l_per_day
        yield Well(
            AssetId(well.id),
            storage_kl=(1.0 - well.dry) * well.storage_l / 1000,
            level_now_kl=there * well.storage_l / 1000,
            yield_kl_per_h=well.yield_lpm * 0.06,
            limit_kl=None if limit is None else limit / 1000 * slots / DAY_SLOTS,
        )


def _margin(outlook: Forecast) -> Series:
    """Returns what people may draw beyond the forecast before a new plan has seen it and the pump has answered [kL].

    Per slot: in the thirstiest of the futures, over the hour that follows the slot; half the forecast of the thirstiest
    hour while there are too few futures to tell. The end of the plan is followed by its first hour again.
    """
    ahead = _hours_after(outlook.water_kl)
    futures = [_hours_after(future.water_kl) for future in outlook.futures if future.water_kl]
    if len(futures) < FUTURES_MIN:
        return (max(ahead) / 2,) * len(ahead)
    return tuple(max(0.0, max(drawn) - forecast) for forecast, *drawn in zip(ahead, *futures, strict=True))


def _hours_after(demand_kl: Series) -> Series:
    """Returns per slot what is drawn in the `MARGIN_SLOTS` slots after it [kL]."""
    again = demand_kl + demand_kl[:MARGIN_SLOTS]
    return tuple(sum(again[at + 1 : at + 1 + MARGIN_SLOTS]) for at in range(len(demand_kl)))
