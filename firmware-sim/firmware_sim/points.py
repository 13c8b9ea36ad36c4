"""What every device would report, by our point names, units and signs (devices/units.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from devices.clock import HOUR_MS, MINUTE_MS
from devices.model import DeviceKind, DeviceSpec
from devices.simulated import Truth
from firmware_sim.fridge import Fridge
from firmware_sim.machines import PPM, Battery, Charger, Genset, wh
from firmware_sim.plumbing import Pump
from firmware_sim.thermal import HeatStore
from firmware_sim.village import Meter, Plant, Village, by_id
from firmware_sim.water import PER_ML, Water, millilitres

Getter = Callable[[], float | None]
"""Returns a point's value as of the village's instant; None = the device has none to give."""

NOMINAL_V = 231.0
V_PER_W = 0.00012
"""Voltage drop of the feeder: 5 V at 40 kW."""


def getters(village: Village, spec: DeviceSpec) -> Mapping[str, Getter]:
    """Returns the standard points of one device.

    Raises:
        LookupError: a kind that has no place on a bus (robot, drone), or a device that the village lacks.
    """
    match spec.kind:
        case DeviceKind.GRID:
            return _grid(village)
        case DeviceKind.METER:
            return _meter(village, by_id(village.meters, spec.id))
        case DeviceKind.PV:
            return _plant(village, by_id(village.plants, spec.id))
        case DeviceKind.RELAY:
            load = by_id(village.switched, spec.id)
            return {"on": lambda: float(load.on)}
        case DeviceKind.THERMAL:
            return _store(by_id(village.stores, spec.id))
        case DeviceKind.SENSOR:
            return _sensor(village, spec)
        case DeviceKind.TANK | DeviceKind.PUMP | DeviceKind.FLOW_METER | DeviceKind.WATER_METERS:
            return _pipes(village, spec)
        case _:
            return _machine(village, spec)


def _pipes(village: Village, spec: DeviceSpec) -> Mapping[str, Getter]:
    plumbing = village.plumbing
    if spec.kind is DeviceKind.PUMP:
        return _pump(by_id(plumbing.pumps, spec.id))
    if spec.kind is DeviceKind.FLOW_METER:
        return {"flow_lpm": _pump(by_id(plumbing.pumps, spec.simulate["pump"]))["flow_lpm"]}
    if spec.kind is DeviceKind.TANK:
        tank = plumbing.tanks.get(spec.id) or plumbing.waters.get(spec.id, plumbing.main)
        return {"level": lambda: tank.fraction}
    taps = [(water, i, name) for water in village.waters for i, name in enumerate(water.names)]
    return {f"{name}_ml": _channel(village, water, i) for water, i, name in taps if name in spec.channels}


def _sensor(village: Village, spec: DeviceSpec) -> Mapping[str, Getter]:
    if "ua_w_per_k" in spec.simulate:
        return _fridge(by_id(village.fridges, spec.id))
    if "well" in spec.simulate:
        well = village.plumbing.tanks[str(spec.simulate["well"])]
        return {"level": lambda: well.fraction}
    if "holder_m3" in spec.simulate:
        digester = by_id(village.digesters, spec.id)
        return {"level": lambda: digester.fraction}
    return {name: _constant(float(value)) for name, value in spec.simulate.items()}


def _machine(village: Village, spec: DeviceSpec) -> Mapping[str, Getter]:
    kind = spec.kind
    if kind is DeviceKind.GENSET:
        return _genset(by_id(village.gensets, spec.id))
    if kind is DeviceKind.BATTERY and village.battery is not None:
        return _battery(village.battery)
    if kind is DeviceKind.CHARGER and village.charger is not None:
        return _charger(village.charger)
    raise LookupError(f"no simulated {kind} on a bus")


def truth(village: Village) -> Truth:
    """Returns the energies so far; the day that runs is included in `home_days`."""
    village.settle()
    for water in village.waters:
        water.settle(village.at)
    sums = village.sums
    return Truth(
        pv_wh=wh(sums.pv),
        import_wh=wh(sums.imported),
        export_wh=wh(sums.exported),
        genset_wh=wh(sums.genset),
        load_wh=wh(sums.load),
        battery_in_wh=wh(sums.battery_in),
        battery_out_wh=wh(sums.battery_out),
        unserved_wh=wh(sums.unserved),
        unserved_ml=millilitres(sum(sum(water.demanded) - sum(water.delivered) for water in village.waters)),
        home_days=(*village.days.done, *village.days.today(village.meters, village.waters)),
    )


def volts(village: Village) -> float:
    """Returns the voltage in the village [V]: lower the more is imported; 0 in a black-out."""
    if village.grid_present:
        return NOMINAL_V + village.grid_w * V_PER_W
    return NOMINAL_V - 1 if any(meter.connected for meter in village.meters) else 0.0


def _grid(village: Village) -> Mapping[str, Getter]:
    def hertz() -> float:
        return 50 + (village.at // 1000 * 7919 % 41 - 20) / 1000 if village.grid_present else 0.0

    imported, exported = village.grid_offsets
    return {
        "W": lambda: village.grid_w,
        "import_wh": lambda: wh(imported + village.sums.imported),
        "export_wh": lambda: wh(exported + village.sums.exported),
        "V": lambda: volts(village) if village.grid_present else 0.0,
        "hz": hertz,
    }


def _meter(village: Village, meter: Meter) -> Mapping[str, Getter]:
    def since() -> int:
        return 0 if meter.stuck else village.at - village.segment

    def imported() -> int:
        return (meter.imported + max(meter.net_w, 0) * since()) // HOUR_MS

    def exported() -> int:
        return (meter.exported + max(-meter.net_w, 0) * since()) // HOUR_MS

    def connected_v() -> float:
        return volts(village) if meter.connected else 0.0

    return {"W": lambda: meter.net_w, "import_wh": imported, "export_wh": exported, "V": connected_v}


def _plant(village: Village, plant: Plant) -> Mapping[str, Getter]:
    return {
        "W": lambda: -plant.power_w,
        "export_wh": lambda: (plant.exported + plant.power_w * (village.at - village.segment)) // HOUR_MS,
        "limit": lambda: plant.limit_ppm / PPM if plant.enabled else 1.0,
    }


def _channel(village: Village, water: Water, channel: int) -> Getter:
    return lambda: water.register_ml(channel, village.at)


def _battery(battery: Battery) -> Mapping[str, Getter]:
    return {
        "W": lambda: battery.power_w,
        "soc": lambda: battery.cells.soc,
        "import_wh": lambda: wh(battery.imported),
        "export_wh": lambda: wh(battery.exported),
        "setpoint": lambda: battery.set_w or 0,
    }


def _genset(genset: Genset) -> Mapping[str, Getter]:
    return {
        "W": lambda: -genset.power_w,
        "export_wh": lambda: wh(genset.exported),
        "running": lambda: float(genset.running),
        "fuel": lambda: genset.fraction,
        "setpoint": lambda: -genset.target_w,
    }


def _pump(pump: Pump) -> Mapping[str, Getter]:
    return {
        "W": lambda: pump.power_w,
        "import_wh": lambda: wh(pump.imported),
        "flow_lpm": lambda: pump.point.flow * MINUTE_MS / PER_ML / 1000 if pump.flowing else 0.0,
        "on": lambda: float(pump.on),
        "speed": lambda: pump.speed_ppm / PPM,
    }


def _constant(value: float) -> Getter:
    return lambda: value


def _fridge(fridge: Fridge) -> Mapping[str, Getter]:
    return {"celsius": lambda: fridge.celsius_uc / 1_000_000, "W": lambda: fridge.power_w}


def _charger(charger: Charger) -> Mapping[str, Getter]:
    return {
        "W": lambda: charger.power_w + charger.dock_w,
        "import_wh": lambda: wh(charger.imported),
        "soc": lambda: charger.cells.soc if charger.connected else None,
        "connected": lambda: float(charger.connected),
        "setpoint": lambda: charger.set_w,
    }


def _store(store: HeatStore) -> Mapping[str, Getter]:
    return {
        "W": lambda: store.power_w,
        "import_wh": lambda: wh(store.imported),
        "celsius": lambda: store.celsius,
        "setpoint": lambda: store.set_w,
    }
