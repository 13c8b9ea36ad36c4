"""A past day of a vehicle, from what its charger showed at the start of each slot. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.plan_vehicles import ready_slots, vehicle_pack
from controller.site import Site
from devices.clock import Instant
from devices.model import DeviceSpec
from optimizer.problem import Battery


@dataclass(frozen=True, slots=True)
class Seen:
    """What a charger showed: whether a vehicle was there, and its charge (fraction) if it told."""

    plugged: bool
    soc: float | None


def pack_of_day(site: Site, device: DeviceSpec, seen: Sequence[Seen | None], start: Instant, worth: float) -> Battery:
    """Returns the vehicle's pack with the trips that it made; a slot of which nothing is known is like the last one."""
    vehicle = site.energy.vehicles[device.id]
    assert vehicle.trip is not None, "only a vehicle with a trip is a storage"
    energy = device.ratings["energy_wh"] / 1000
    usual = vehicle.trip.energy_wh / 1000
    present, trips = [False] * len(seen), [0.0] * len(seen)
    first: float | None = None  # charge when it is first seen
    last: float | None = None
    left: int | None = None  # the slot in which it drove away
    here = next((one.plugged for one in seen if one is not None), True)
    for slot, one in enumerate(seen):
        if one is not None and here and not one.plugged:
            left = slot
        here = here if one is None else one.plugged
        present[slot] = here
        soc = None if one is None or not here else one.soc
        if soc is None:
            continue
        if first is None:
            first = soc
        if left is not None and last is not None:
            trips[left] = max(0.0, last - soc) * energy
        left, last = None, soc
    if left is not None:  # it has not come home that day
        trips[left] = min(usual, (last or 0.0) * energy)
    soc_now = first if first is not None else max(0.0, vehicle.ready_soc - usual / energy)
    return vehicle_pack(
        device, vehicle, soc_now, present, trips, ready_slots(site.timezone, vehicle, start, present), worth
    )
