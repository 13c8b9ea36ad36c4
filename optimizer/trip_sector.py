"""Trips as a sector of the whole plan: when one would rather leave at a price of power. Pure.

What a pack pays for each time that a trip may leave is found at once, by one backward pass over the plan: the value of
what is in the cells is convex, so in each slot the pack charges up to the level where one kWh more is worth its price.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from devices.clock import Instant
from optimizer.arrays import FloatArray
from optimizer.names import Series
from optimizer.problem import Battery, Problem
from optimizer.trip_ask import Pack, TripAsk
from optimizer.trip_packs import Leaves, charging_needs, collide

GAIN = 1e-3
"""Money below which a trip is not moved."""
LEVELS = 121
"""Of a pack's charge; between them its value is taken as straight."""


def rather(problem: Problem, pack: Pack, trips: Sequence[TripAsk], leaves: Leaves, price: Series) -> Leaves:
    """Returns the leaves with one pack's trips moved, one after the other, to where it charges for the least money.

    `trips` are those of all packs. A trip that would gain nothing stays where it is.
    """
    mine = sorted((trip for trip in trips if trip.vehicle == pack.vehicle), key=lambda trip: leaves[trip.id])
    chosen = dict(leaves)
    for trip in (*reversed(mine), *mine):  # the later ones first: they may stand in the way
        tried = ({**chosen, trip.id: time} for time in times(trip, problem.slot_ms))
        offered = [one for one in tried if not collide(mine, one)]
        storages = [
            charging_needs([pack], mine, one, problem.start, problem.slots, problem.slot_ms)[0]
            for one in (chosen, *offered)
        ]
        money = charging_costs(problem, storages, price)
        best = int(np.argmin(money))
        if money[best] < money[0] - GAIN:
            chosen = offered[best - 1]
    return chosen


def times(trip: TripAsk, slot_ms: int) -> list[Instant]:
    """Returns when a trip may leave: whole slots from when it is planned to."""
    first, last = -((trip.leave - trip.earliest) // slot_ms), (trip.latest - trip.leave) // slot_ms
    return [Instant(trip.leave + shift * slot_ms) for shift in range(first, last + 1)]


def charging_costs(problem: Problem, storages: Sequence[Battery], price: Series) -> FloatArray:
    """Returns the least money that each variant of one pack costs when it charges alone at a price [per variant].

    The money of a pack in the energy plan: power, what is missing on departure, on a trip and below the reserve, less
    the value of what is left.
    """
    pack = storages[0]
    levels = np.linspace(0.0, pack.energy_kwh, LEVELS)
    most = pack.charge_kw_max * problem.slot_h * pack.charge_efficiency
    present = np.array([one.present for one in storages])
    taken = np.array([one.trip_kwh for one in storages])
    wanted = np.zeros((len(storages), problem.slots))  # at the end of the slot
    for row, one in enumerate(storages):
        for leaves in one.departures:
            wanted[row, leaves.slot - 1] = leaves.energy_kwh
    below = np.maximum(pack.reserve_kwh - levels, 0.0) * pack.reserve_price
    value = np.tile(-pack.terminal_value * levels, (len(storages), 1))  # money still to come, by what is in the cells
    for slot in reversed(range(problem.slots)):
        value = value + np.maximum(wanted[:, slot, None] - levels, 0.0) * pack.trip_price
        value += below if problem.grid.available[slot] else 0.0
        gone = taken[:, slot, None]
        if gone.any():  # what of the trip is not in the cells
            value = _raised(value, levels, levels - gone, gone, pack.trip_price)
        reach = np.where(present[:, slot, None], most, 0.0)
        if reach.any():
            value = _raised(value, levels, levels, reach, price[slot] / pack.charge_efficiency)
    return _at(value, levels, np.full((len(storages), 1), pack.soc_now_kwh))[:, 0]


def _raised(value: FloatArray, levels: FloatArray, low: FloatArray, most: FloatArray, price: float) -> FloatArray:
    """Returns the value from `low` when it may first be raised by up to `most` at a price per kWh."""
    whole = value + price * levels
    best = levels[np.argmin(whole, axis=1), None]
    target = np.clip(best, np.maximum(low, 0.0), np.minimum(low + most, levels[-1]))
    return _at(whole, levels, target) - price * low


def _at(value: FloatArray, levels: FloatArray, level: FloatArray) -> FloatArray:
    """Returns a value at other levels, read between the two nearest of the grid."""
    place = level / levels[1]
    low = np.minimum(place.astype(np.int64), len(levels) - 2)
    part = place - low
    rows = np.arange(len(value))[:, None]
    return value[rows, low] * (1.0 - part) + value[rows, low + 1] * part
