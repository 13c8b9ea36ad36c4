"""Trips that have been given their times: what they make of the packs, and what is wrong with them. Loads no solver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import isfinite

from devices.clock import Instant
from optimizer.names import AssetId
from optimizer.plan import Violation
from optimizer.problem import Battery, Departure, Errand
from optimizer.trip_ask import Pack, TripAsk

Leaves = Mapping[AssetId, Instant]
"""When each trip leaves, by trip. One that is not named is not made."""

MISSING_PRICE = 5.0
"""Money per kWh that a vehicle lacks when it should leave."""
READY_PRICE = 0.5
"""Money per kWh and slot below `ready_kwh`."""


def as_planned(trips: Sequence[TripAsk]) -> Leaves:
    """Returns the times that the trips have been planned for."""
    return {trip.id: trip.leave for trip in trips}


def charging_needs(
    packs: Sequence[Pack], trips: Sequence[TripAsk], leaves: Leaves, start: Instant, slots: int, slot_ms: int
) -> tuple[Battery, ...]:
    """Returns each pack as a storage of the energy plan: at home between its trips, full enough before each.

    A trip's energy leaves in the first slot that the vehicle is away.
    """
    found: list[Battery] = []
    for pack in packs:
        present, taken = [True] * slots, [0.0] * slots
        departures: dict[int, float] = {}
        errands: list[Errand] = []
        for trip in trips:
            if trip.vehicle != pack.vehicle or trip.id not in leaves:
                continue
            leave, back = trip.moved(leaves[trip.id])
            first, last = (leave - start) // slot_ms, (back - 1 - start) // slot_ms
            if last < 0 or first >= slots:
                continue
            first = max(0, first)
            taken[first] += trip.energy_kwh
            errands.append(Errand(first, min(last, slots - 1) + 1, trip.what or "under way"))
            for slot in range(first, min(last, slots - 1) + 1):
                present[slot] = False
            if first > 0:
                wanted = min(pack.energy_kwh, trip.energy_kwh + pack.floor_kwh)
                departures[first] = max(departures.get(first, 0.0), wanted)
        for at in pack.full_by:
            if 0 < (slot := (at - start) // slot_ms) < slots:
                departures[slot] = pack.energy_kwh
        storage = _storage(pack, present, taken, departures)
        found.append(replace(storage, errands=tuple(sorted(errands, key=lambda one: one.first_slot))))
    return tuple(found)


def _storage(pack: Pack, present: list[bool], taken: list[float], departures: Mapping[int, float]) -> Battery:
    return Battery(
        id=pack.vehicle,
        energy_kwh=pack.energy_kwh,
        charge_kw_max=pack.charge_kw,
        discharge_kw_max=0.0,  # a vehicle's pack does not feed the village
        charge_efficiency=pack.efficiency,
        discharge_efficiency=1.0,
        soc_now_kwh=min(pack.charge_now_kwh, pack.energy_kwh),
        soc_min_kwh=0.0,
        soc_max_kwh=pack.energy_kwh,
        reserve_kwh=min(pack.ready_kwh, pack.energy_kwh),
        reserve_price=READY_PRICE,
        terminal_value=pack.worth,
        wear_price=0.0,
        present=tuple(present),
        trip_kwh=tuple(taken),
        trip_price=MISSING_PRICE,
        departures=tuple(Departure(slot, kwh, MISSING_PRICE) for slot, kwh in sorted(departures.items())),
        forms_grid=False,
    )


def collide(trips: Sequence[TripAsk], leaves: Leaves) -> bool:
    """Returns whether a vehicle would leave on one of its trips before it is back from another."""
    away = sorted((trip.vehicle, *trip.moved(leaves[trip.id])) for trip in trips if trip.id in leaves)
    return any(one[0] == two[0] and two[1] < one[2] for one, two in pairwise(away))


def check_leaves(trips: Sequence[TripAsk], leaves: Leaves, slot_ms: int) -> list[Violation]:
    """Returns everything that is wrong with the times that a plan gives to trips."""
    if set(leaves) != {trip.id for trip in trips}:
        return [Violation("trip_shape", None, len(leaves), len(trips), "trips in the plan")]
    wrong: list[Violation] = []
    for trip in trips:
        leave = leaves[trip.id]
        if not trip.earliest <= leave <= trip.latest:
            limit = trip.earliest if leave < trip.earliest else trip.latest
            wrong.append(Violation("trip_window", None, leave, limit, f"{trip.id} leaves outside its window"))
        if (leave - trip.leave) % slot_ms:
            wrong.append(Violation("trip_slot", None, leave, trip.leave, f"{trip.id} is not moved by whole slots"))
    if collide(trips, leaves) and not collide(trips, as_planned(trips)):
        wrong.append(Violation("trip_order", None, 0.0, 0.0, "a vehicle leaves before it is back from another trip"))
    return wrong


def trip_faults(packs: Sequence[Pack], trips: Sequence[TripAsk]) -> list[str]:
    """Returns what makes trips and packs meaningless, one sentence each."""
    return list(_faults(packs, trips))


def _faults(packs: Sequence[Pack], trips: Sequence[TripAsk]) -> Iterator[str]:
    names = Counter([*(pack.vehicle for pack in packs), *(trip.id for trip in trips)])
    yield from (f"{name}: {count} packs or trips have this id" for name, count in names.items() if count > 1)
    for pack in packs:
        for name in ("energy_kwh", "charge_now_kwh", "charge_kw", "floor_kwh", "ready_kwh", "efficiency"):
            yield from _number(pack.vehicle, name, getattr(pack, name))
        if not isfinite(pack.worth):
            yield f"{pack.vehicle}: worth is {pack.worth}; it must be a number"
        if pack.energy_kwh == 0.0 or not 0.0 < pack.efficiency <= 1.0:
            yield f"{pack.vehicle}: a pack of {pack.energy_kwh} kWh that charges at efficiency {pack.efficiency}"
    known = {pack.vehicle for pack in packs}
    for trip in trips:
        yield from _number(trip.id, "energy_kwh", trip.energy_kwh)
        if trip.vehicle not in known:
            yield f"{trip.id}: {trip.vehicle} has no pack in this problem"
        if trip.back <= trip.leave:
            yield f"{trip.id}: back at {trip.back}, not after it leaves at {trip.leave}"
        if not trip.earliest <= trip.leave <= trip.latest:
            yield f"{trip.id}: leaves at {trip.leave}, outside its own window {trip.earliest} to {trip.latest}"


def _number(at: str, name: str, value: float) -> Iterator[str]:
    if not isfinite(value) or value < 0.0:
        yield f"{at}: {name} is {value}; it must be a number that is not negative"
