"""When a planned trip may leave instead: its stops' windows, the vehicle's other work, a storm. Pure.

The energy plan moves trips within this to where their packs charge at the lowest cost (`optimizer.trip_ask`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from controller.delivery_problem import Waiting, first_begin, last_begin
from controller.delivery_trips import PlannedTrip
from controller.missions import Board, RunState
from controller.storm import HOME_MS
from devices.clock import MINUTE_MS, SLOT_MS, Instant

SOON_MS = SLOT_MS
"""A trip that leaves within this stays: the plan could come too late for it."""
SPARE_MS = 15 * MINUTE_MS
"""A moved trip begins each stop so long before the last moment, for what delays it on the way."""

AHEAD = (RunState.WAITING, RunState.SENT, RunState.RUNNING)


def window(trip: PlannedTrip, asked: Mapping[str, Waiting], board: Board, now: Instant) -> tuple[Instant, Instant]:
    """Returns when loading may begin at the earliest and at the latest; both as planned for a trip that stays.

    Medicine waits for no sun. The trip moves as a whole: what it waits for on the way, it waits for as planned.
    """
    begin, soonest = trip.begin, Instant(now + SOON_MS)
    runs = [asked[name] for name in trip.runs if name in asked]
    if begin < soonest or len(runs) < len(trip.runs) or any(one.delivery.kind == "medicine" for one in runs):
        return begin, begin
    earlier, later = [begin - soonest], list[int]()
    for stop in trip.stops:
        one = asked[stop.run]
        earlier.append(stop.begin - first_begin(one, stop.part))
        later.append(last_begin(one) - SPARE_MS - stop.begin)
        if one.delivery.kind != "transfer":
            earlier.append(begin - one.ready)
    for opens, closes in _closed(trip, board):
        if trip.back <= opens:
            later.append(opens - trip.back)
        elif begin >= closes:
            earlier.append(begin - closes)
    return Instant(begin - max(0, min(earlier))), Instant(begin + max(0, min(later)))


def _closed(trip: PlannedTrip, board: Board) -> Iterator[tuple[Instant, Instant]]:
    """Yields what a trip must not be moved into: the vehicle's daily jobs, and a storm."""
    for run in board.runs():
        if run.job.device == trip.vehicle and run.state in AHEAD:
            yield run.opens, run.closes
    if board.closed is not None:
        yield Instant(board.closed[0] - HOME_MS), board.closed[1]


def at_once(trips: Sequence[PlannedTrip]) -> bool:
    """Returns whether a vehicle would leave before it is back from another trip."""
    away = sorted((trip.vehicle, trip.begin, trip.back) for trip in trips)
    return any(one[0] == two[0] and two[1] < one[2] for one, two in pairwise(away))
