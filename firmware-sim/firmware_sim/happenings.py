"""Named happenings: what may go wrong in the village, and go right again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from devices.simulated import HappeningKind
from firmware_sim.fridge import Fridge
from firmware_sim.images import Device
from firmware_sim.plain import PlainDevice
from firmware_sim.plumbing import Pump
from firmware_sim.vehicles import Vehicle
from firmware_sim.village import Meter, Plant, Village
from firmware_sim.water import MINUTES_PER_SLOT

DEVICE = ("device",)
WMS_PER_WH = 3_600_000
BUS_FAULTS: Mapping[str, str] = {
    "device-silent": "silent",
    "modbus-exception": "exception",
    "register-garbage": "garbage",
    "register-stuck": "stuck",
}
DEVICE_HAPPENINGS: Mapping[str, HappeningKind] = {
    "device-silent": HappeningKind("a device or vehicle does not answer", DEVICE),
    "modbus-exception": HappeningKind("a device answers with an exception", DEVICE),
    "register-garbage": HappeningKind("a device has 0x8000 in every register", DEVICE),
    "register-stuck": HappeningKind("a device answers with old values", DEVICE),
    "meter-swap": HappeningKind("a home's meter is exchanged and nobody says so: its registers begin at 0", DEVICE),
    "meter-stuck": HappeningKind("a home's meter stops counting; that energy is never metered", DEVICE),
    "pv-dead": HappeningKind("a plant makes nothing", DEVICE),
    "fridge-dead": HappeningKind("a fridge's compressor does nothing", DEVICE),
    "device-back": HappeningKind("ends every fault of a device", DEVICE),
}
SITE_HAPPENINGS: Mapping[str, HappeningKind] = {
    "grid-lost": HappeningKind("the outside grid is gone"),
    "grid-back": HappeningKind("the outside grid is there"),
    "genset-no-start": HappeningKind("the genset cranks but does not run"),
    "genset-mended": HappeningKind("the genset starts again"),
    "well-dry": HappeningKind("the pumps of all wells, or that of device, turn and no water comes", may=DEVICE),
    "well-wet": HappeningKind("the wells, or that of device, have water", may=DEVICE),
    "tank-leak": HappeningKind("the tank loses lpm litres a minute (0 ends it)", ("lpm",)),
}
WELL_HAPPENINGS = ("well-dry", "well-wet")
HAPPENINGS: Mapping[str, HappeningKind] = {**DEVICE_HAPPENINGS, **SITE_HAPPENINGS}


class UnknownHappening(ValueError):
    """No such happening, device or argument."""


def happen(
    village: Village,
    devices: Mapping[str, Device | PlainDevice],
    vehicles: Sequence[Vehicle],
    name: str,
    arguments: Mapping[str, str | float],
) -> None:
    """Makes `name` true from now on; see the tables of this module.

    Raises:
        UnknownHappening: unknown name, device or argument; the message lists what there is.
    """
    if name not in HAPPENINGS:
        raise UnknownHappening(f"no happening {name!r}: there are {', '.join(sorted(HAPPENINGS))}")
    if problem := HAPPENINGS[name].problem(name, arguments):
        raise UnknownHappening(problem)
    if name in SITE_HAPPENINGS:
        _site(village, name, arguments)
    else:
        _device(village, devices, vehicles, name, str(arguments["device"]))
    village.settle()
    village.next_slot = village.at
    village.touch()


def displayed(village: Village, device_id: str) -> tuple[int, int]:
    """Returns the import and export register [Wh] on a meter's display.

    Raises:
        UnknownHappening: no such meter.
    """
    meter = next((m for m in village.meters if m.id == device_id), None)
    if meter is None:
        raise UnknownHappening(f"no meter {device_id!r}: there are {', '.join(sorted(m.id for m in village.meters))}")
    return meter.imported // WMS_PER_WH, meter.exported // WMS_PER_WH


def _site(village: Village, name: str, arguments: Mapping[str, str | float]) -> None:
    genset = village.genset
    if name in ("grid-lost", "grid-back"):
        village.grid_present = name == "grid-back"
    elif name in ("genset-no-start", "genset-mended") and genset is not None:
        genset.broken = name == "genset-no-start"
        genset.running = genset.running and not genset.broken
        if not genset.broken and genset.wanted:
            genset.command(True, village.at)
    elif name in WELL_HAPPENINGS:
        for pump in _wells(village, name, arguments):
            pump.dry = name == "well-dry"
    elif name == "tank-leak":
        village.water.leak = max(0, round(float(arguments["lpm"]) * 1000)) * MINUTES_PER_SLOT


def _wells(village: Village, name: str, arguments: Mapping[str, str | float]) -> Sequence[Pump]:
    """Returns the pumps that draw from a well, not from a tank; the one that is named, or all."""
    wells = {str(pump.id): pump for pump in village.plumbing.pumps if not pump.source}
    if "device" not in arguments:
        return tuple(wells.values())
    device = str(arguments["device"])
    if device not in wells:
        raise UnknownHappening(f"{name}: no well pump {device!r}: there are {', '.join(sorted(wells)) or 'none'}")
    return (wells[device],)


def _device(
    village: Village,
    devices: Mapping[str, Device | PlainDevice],
    vehicles: Sequence[Vehicle],
    name: str,
    device_id: str,
) -> None:
    vehicle = next((v for v in vehicles if v.spec.id == device_id), None)
    if vehicle is not None and name in ("device-silent", "device-back"):
        vehicle.silent = name == "device-silent"
        return
    device = devices.get(device_id)
    if device is None:
        raise UnknownHappening(f"{name}: no device {device_id!r}: there are {', '.join(sorted(devices))}")
    if name in BUS_FAULTS:
        device.fault = BUS_FAULTS[name]
        return
    meter = next((m for m in village.meters if m.id == device_id), None)
    plant = next((p for p in village.plants if p.id == device_id), None)
    fridge = next((f for f in village.fridges if f.id == device_id), None)
    if name == "device-back":
        device.fault = ""
        _mend(meter, plant, fridge)
    elif name == "pv-dead" and plant is not None:
        plant.dead = True
    elif name == "fridge-dead" and fridge is not None:
        fridge.dead = True
    elif name in ("meter-swap", "meter-stuck") and meter is not None:
        village.settle()
        meter.stuck = name == "meter-stuck"
        if name == "meter-swap":
            meter.imported = meter.exported = 0
    else:
        raise UnknownHappening(f"{name} cannot befall {device_id}, a {device.spec.kind}")


def _mend(meter: Meter | None, plant: Plant | None, fridge: Fridge | None) -> None:
    if meter is not None:
        meter.stuck = False
    if plant is not None:
        plant.dead = False
    if fridge is not None:
        fridge.dead = False
