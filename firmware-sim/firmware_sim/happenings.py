"""Named happenings: what may go wrong in the village, and go right again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from firmware_sim.images import Device
from firmware_sim.vehicles import Vehicle
from firmware_sim.village import Meter, Plant, Village
from firmware_sim.water import MINUTES_PER_SLOT

BUS_FAULTS: Mapping[str, str] = {
    "device-silent": "silent",  # no answer (an absent unit)
    "modbus-exception": "exception",
    "register-garbage": "garbage",  # 0x8000 in every register
    "register-stuck": "stuck",  # answers, but with old values
}
DEVICE_HAPPENINGS: Mapping[str, str] = {
    "meter-swap": "a home's meter is replaced: its registers begin at 0",
    "meter-stuck": "a home's meter stops counting; that energy is never metered",
    "pv-dead": "a plant makes nothing",
    "device-back": "ends every fault of a device",
}
SITE_HAPPENINGS: Mapping[str, str] = {
    "grid-lost": "the outside grid is gone",
    "grid-back": "the outside grid is there",
    "genset-no-start": "the genset cranks but does not run",
    "genset-mended": "the genset starts again",
    "well-dry": "the pump turns but no water comes",
    "well-wet": "the well has water",
    "tank-leak": "the tank loses `lpm` litres a minute (0 ends it)",
}
NAMES = tuple(sorted((*BUS_FAULTS, *DEVICE_HAPPENINGS, *SITE_HAPPENINGS)))


class UnknownHappening(ValueError):
    """No such happening, device or argument."""


def happen(
    village: Village,
    devices: Mapping[str, Device],
    vehicles: Sequence[Vehicle],
    name: str,
    arguments: Mapping[str, str | float],
) -> None:
    """Makes `name` true from now on; see the tables of this module.

    Raises:
        UnknownHappening: unknown name, device or argument; the message lists what there is.
    """
    if name not in NAMES:
        raise UnknownHappening(f"no happening {name!r}: there are {', '.join(NAMES)}")
    wanted = {"lpm"} if name == "tank-leak" else {"device"} if name not in SITE_HAPPENINGS else set[str]()
    if set(arguments) != wanted:
        raise UnknownHappening(f"{name} takes {sorted(wanted)}, got {sorted(arguments)}")
    if name in SITE_HAPPENINGS:
        _site(village, name, arguments)
    else:
        _device(village, devices, vehicles, name, str(arguments["device"]))
    village.settle()
    village.next_slot = village.at
    village.touch()


def _site(village: Village, name: str, arguments: Mapping[str, str | float]) -> None:
    genset, pump = village.genset, village.pump
    if name in ("grid-lost", "grid-back"):
        village.grid_present = name == "grid-back"
    elif name in ("genset-no-start", "genset-mended") and genset is not None:
        genset.broken = name == "genset-no-start"
        genset.running = genset.running and not genset.broken
        if not genset.broken and genset.wanted:
            genset.command(True, village.at)
    elif name in ("well-dry", "well-wet") and pump is not None:
        pump.dry = name == "well-dry"
    elif name == "tank-leak":
        village.water.leak = max(0, round(float(arguments["lpm"]) * 1000)) * MINUTES_PER_SLOT


def _device(
    village: Village, devices: Mapping[str, Device], vehicles: Sequence[Vehicle], name: str, device_id: str
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
    if name == "device-back":
        device.fault = ""
        _mend(meter, plant)
    elif name == "pv-dead" and plant is not None:
        plant.dead = True
    elif name in ("meter-swap", "meter-stuck") and meter is not None:
        village.settle()
        meter.stuck = name == "meter-stuck"
        if name == "meter-swap":
            meter.imported = meter.exported = 0
    else:
        raise UnknownHappening(f"{name} cannot befall {device_id}, a {device.spec.kind}")


def _mend(meter: Meter | None, plant: Plant | None) -> None:
    if meter is not None:
        meter.stuck = False
    if plant is not None:
        plant.dead = False
