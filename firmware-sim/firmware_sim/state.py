"""A village's state as plain JSON values and back. Only what moves is kept; ratings come from the site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from devices.clock import Instant
from devices.model import DeviceId
from devices.simulated import HomeDay
from firmware_sim.village import Village

METER = ("imported", "exported", "stuck", "demanded", "served")
PLANT = ("exported", "limit_ppm", "lease_until", "reversion_s", "enabled", "dead")
BATTERY = ("imported", "exported", "set_w", "lease_until", "reversion_w", "reversion_s")
GENSET = ("fuel", "exported", "target_w", "wanted", "ready_at", "running", "broken")
CHARGER = ("imported", "connected", "set_w", "lease_until", "next_move", "trips")
DIGESTER = ("held", "undigested", "next_feed", "flared")
STORE = ("energy", "imported", "set_w", "lease_until", "next_draw")
SWITCHED = ("on", "lease_until")
PUMP = ("imported", "speed_ppm", "dry", "lease_until", "ran_ms")
TANK = ("level",)
FRIDGE = ("celsius_uc", "on", "dead")
WATER = ("level", "registers", "demanded", "delivered", "irrigated", "leak")
SUMS = ("pv", "imported", "exported", "genset", "load", "battery_in", "battery_out", "unserved")
VILLAGE = ("at", "grid_present", "grid_offsets")
DAYS = ("start", "marks")


class ForeignState(ValueError):
    """A saved state that does not belong to this site or version."""


def dump(thing: object, names: Sequence[str]) -> dict[str, object]:
    """Returns the named attributes."""
    return {name: getattr(thing, name) for name in names}


def restore(thing: object, names: Sequence[str], saved: object) -> None:
    """Sets the named attributes.

    Raises:
        ForeignState: one is missing or of another type.
    """
    if not isinstance(saved, dict):
        raise ForeignState(f"saved state has no table for {type(thing).__name__}: delete the state file to start anew")
    table = cast("dict[str, object]", saved)
    for name in names:
        if name not in table:
            raise ForeignState(f"saved state lacks {type(thing).__name__}.{name}: delete the state file to start anew")
        old, new = getattr(thing, name), table[name]
        setattr(thing, name, tuple(cast("list[object]", new)) if isinstance(old, tuple) else new)


def dump_village(village: Village) -> dict[str, object]:
    """Returns the state as of the village's instant."""
    village.settle()
    for water in village.waters:
        water.settle(village.at)
    parts: dict[str, object] = {
        "village": dump(village, VILLAGE),
        "days": dump(village.days, DAYS),
        "sums": dump(village.sums, SUMS),
        "meters": {meter.id: dump(meter, METER) for meter in village.meters},
        "plants": {plant.id: dump(plant, PLANT) for plant in village.plants},
        "stores": {store.id: dump(store, STORE) for store in village.stores},
        "switched": {load.id: dump(load, SWITCHED) for load in village.switched},
        "fridges": {fridge.id: dump(fridge, FRIDGE) for fridge in village.fridges},
        "gensets": {genset.id: dump(genset, GENSET) for genset in village.gensets},
        "digesters": {digester.id: dump(digester, DIGESTER) for digester in village.digesters},
        "waters": {tank: dump(water, WATER) for tank, water in village.plumbing.waters.items()},
        "pumps": {pump.id: dump(pump, PUMP) for pump in village.plumbing.pumps},
        "tanks": {tank.id: dump(tank, TANK) for tank in village.plumbing.tanks.values()},
        "home_days": [[d.home, d.day, d.demand_wh, d.served_wh, d.demand_ml, d.served_ml] for d in village.days.done],
    }
    if village.battery is not None:
        parts["battery"] = dump(village.battery, BATTERY) | {"energy": village.battery.cells.energy}
    if village.charger is not None:
        parts["charger"] = dump(village.charger, CHARGER) | {"energy": village.charger.cells.energy}
    return parts


def restore_village(village: Village, saved: Mapping[str, object]) -> None:
    """Puts a village into a saved state; the next advance integrates from its instant.

    Raises:
        ForeignState: the state is of another site or version.
    """
    for kind, things, names in (
        ("meters", village.meters, METER),
        ("plants", village.plants, PLANT),
        ("gensets", village.gensets, GENSET),
        ("digesters", village.digesters, DIGESTER),
        ("fridges", village.fridges, FRIDGE),
        ("stores", village.stores, STORE),
        ("switched", village.switched, SWITCHED),
        ("pumps", village.plumbing.pumps, PUMP),
        ("tanks", list(village.plumbing.tanks.values()), TANK),
    ):
        table = cast("dict[str, object]", saved.get(kind, {}))
        if sorted(table) != sorted(thing.id for thing in things):
            raise ForeignState(f"saved {kind} are {sorted(table)}, the site's differ: delete the state file")
        for thing in things:
            restore(thing, names, table[thing.id])
    restore(village, VILLAGE, saved.get("village"))
    restore(village.days, DAYS, saved.get("days"))
    restore(village.sums, SUMS, saved.get("sums"))
    waters = cast("dict[str, object]", saved.get("waters", {}))
    for tank, water in village.plumbing.waters.items():
        restore(water, WATER, waters.get(tank))
        water.since = village.at
    for name, machine, names in (
        ("battery", village.battery, BATTERY),
        ("charger", village.charger, CHARGER),
    ):
        if machine is not None:
            restore(machine, names, saved.get(name))
    for name, machine in (("battery", village.battery), ("charger", village.charger)):
        if machine is not None:
            restore(machine.cells, ("energy",), saved.get(name))
    rows = cast("list[tuple[str, int, int, int, int, int]]", saved.get("home_days", []))
    village.days.done = [HomeDay(DeviceId(home), Instant(day), *rest) for home, day, *rest in rows]
    village.segment = village.at
    village.next_slot = village.next_event = village.at
