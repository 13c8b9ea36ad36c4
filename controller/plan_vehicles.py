"""Cars and boats in the question for the planner: packs with a deadline, away on their usual trips. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from controller.civil import clock_text, every_day, local_instant, local_time, next_minute
from controller.image import Snapshot
from controller.site import Site
from controller.site_energy import Trip, Vehicle
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant
from devices.model import DeviceKind, DeviceSpec
from optimizer.problem import AssetId, Battery, Charger, Departure, Errand

CHARGE_EFFICIENCY = 0.93
MISSING_PRICE = 3.0
"""Per kWh that a vehicle lacks when it should be ready."""
LATE_MS = HOUR_MS
"""A vehicle that should be back is planned for so long from now on."""
NEARLY = 0.05
"""kWh below which nothing is missing."""


def chargers(site: Site, snapshot: Snapshot, start: Instant) -> tuple[Charger, ...]:
    """Returns the needs of the vehicles of which no trip is known, while they are there and not ready."""
    found: list[Charger] = []
    for device in site.of_kind(DeviceKind.CHARGER):
        vehicle = site.energy.vehicles[device.id]
        soc = snapshot.value(device.id, "soc")
        if vehicle.trip is not None or soc is None or snapshot.value(device.id, "connected") != 1.0:
            continue
        until = (next_minute(site.timezone, snapshot.now, vehicle.ready_by) - start) // SLOT_MS
        need = max(0.0, (vehicle.ready_soc - soc) * device.ratings["energy_wh"] / 1000 / CHARGE_EFFICIENCY)
        until = min(max(1, until), site.plan_slots)
        if need > NEARLY:
            power = device.ratings["power_w_max"] / 1000
            found.append(Charger(AssetId(device.id), power, need, 0, until, unserved_price=MISSING_PRICE))
    return tuple(found)


def packs(site: Site, snapshot: Snapshot, start: Instant, prices: Sequence[float]) -> tuple[Battery, ...]:
    """Returns the packs of vehicles with a usual trip; `prices` of the outside [money per kWh, per slot] value the end.

    One whose charger does not report is left out: it charges by the rules.
    """
    found: list[Battery] = []
    worth = sum(prices) / len(prices) * CHARGE_EFFICIENCY * 0.9
    for device in site.of_kind(DeviceKind.CHARGER):
        vehicle = site.energy.vehicles[device.id]
        connected, soc = snapshot.value(device.id, "connected"), snapshot.value(device.id, "soc")
        if vehicle.trip is None or connected is None or (connected == 1.0 and soc is None):
            continue
        # A vehicle that is away comes home with what its usual trip leaves.
        usual = max(0.0, vehicle.ready_soc - vehicle.trip.energy_wh / device.ratings["energy_wh"])
        here = connected == 1.0 and soc is not None
        absences = _absences(site.timezone, vehicle.trip, snapshot.now, Instant(start + len(prices) * SLOT_MS), here)
        present, trips = _slots(start, len(prices), absences, vehicle.trip.energy_wh / 1000, snapshot.now)
        errands = _errands(site.timezone, start, len(prices), absences, snapshot.now)
        soc_now = soc if here and soc is not None else usual
        ready = ready_slots(site.timezone, vehicle, start, present)
        pack = vehicle_pack(device, vehicle, soc_now, present, trips, ready, worth)
        found.append(replace(pack, errands=errands))
    return tuple(found)


def vehicle_pack(
    device: DeviceSpec,
    vehicle: Vehicle,
    soc: float,
    present: Sequence[bool],
    trip_kwh: Sequence[float],
    ready: Sequence[int],
    worth: float,
) -> Battery:
    """Returns a vehicle's pack as a storage that only charges; to be ready at the start of each slot in `ready`."""
    energy = device.ratings["energy_wh"] / 1000
    return Battery(
        id=AssetId(device.id),
        energy_kwh=energy,
        charge_kw_max=device.ratings["power_w_max"] / 1000,
        discharge_kw_max=0.0,
        charge_efficiency=CHARGE_EFFICIENCY,
        discharge_efficiency=1.0,
        soc_now_kwh=min(soc, 1.0) * energy,
        soc_min_kwh=0.0,
        soc_max_kwh=energy,
        reserve_kwh=0.0,
        reserve_price=0.0,
        terminal_value=worth,
        wear_price=0.0,
        present=tuple(present),
        trip_kwh=tuple(trip_kwh),
        trip_price=MISSING_PRICE,
        departures=tuple(Departure(slot, vehicle.ready_soc * energy, MISSING_PRICE) for slot in ready),
        forms_grid=False,
    )


def _absences(zone: str, trip: Trip, now: Instant, end: Instant, here: bool) -> list[tuple[Instant, Instant]]:
    """Returns (leaves, returns) of the trips until `end`, the one under way included; a missed one is not."""
    found: list[tuple[Instant, Instant]] = []
    first = local_time(zone, Instant(now - DAY_MS)).date()
    for offset in range((end - now) // DAY_MS + 3):
        day = first + timedelta(days=offset)
        if day.weekday() not in trip.days:
            continue
        leaves = local_instant(zone, day, trip.leaves)
        home = day if trip.returns > trip.leaves else day + timedelta(days=1)
        returns = local_instant(zone, home, trip.returns)
        if returns <= now or leaves >= end or (here and leaves <= now):
            continue
        found.append((leaves, returns))
    if not here and not any(leaves <= now for leaves, _ in found):
        found.insert(0, (now, Instant(now + LATE_MS)))
    return found


def _slots(
    start: Instant, slots: int, absences: Sequence[tuple[Instant, Instant]], trip_kwh: float, now: Instant
) -> tuple[list[bool], list[float]]:
    """Returns per slot whether the vehicle is there, and what driving takes [kWh]; what is driven already is gone."""
    present, taken = [True] * slots, [0.0] * slots
    for leaves, returns in absences:
        first, last = max(0, (leaves - start) // SLOT_MS), min(slots, -(-(returns - start) // SLOT_MS))
        for slot in range(first, last):
            present[slot] = False
        if leaves > now and first < slots:
            taken[first] += trip_kwh
    return present, taken


def _errands(
    zone: str, start: Instant, slots: int, absences: Sequence[tuple[Instant, Instant]], now: Instant
) -> tuple[Errand, ...]:
    """Returns in words why the vehicle is away, and when."""
    found: list[Errand] = []
    for leaves, returns in absences:
        first, last = max(0, (leaves - start) // SLOT_MS), min(slots, -(-(returns - start) // SLOT_MS))
        late = leaves == now and returns == now + LATE_MS
        usual = f"its usual trip; home at {clock_text(zone, returns)}"
        found.append(Errand(first, last, "not home yet, expected within the hour" if late else usual))
    return tuple(found)


def ready_slots(zone: str, vehicle: Vehicle, start: Instant, present: Sequence[bool]) -> list[int]:
    """Returns the slots at whose start the vehicle must be ready and is there."""
    end = Instant(start + (len(present) + 1) * SLOT_MS)
    slots = ((at - start) // SLOT_MS for at in every_day(zone, start, end, vehicle.ready_by))
    return [slot for slot in slots if slot >= 1 and present[slot - 1]]
