"""Rounds and flights as rows of the Plan page: one per vehicle, one block per stop, each with its reason. Pure."""

from __future__ import annotations

from controller.deliveries import Desk
from controller.delivery_trips import PlannedTrip, Stop
from controller.views import PlanRow
from devices.clock import Instant

Block = tuple[Instant, Instant, str, str, str]


def delivery_rows(desk: Desk) -> tuple[PlanRow, ...]:
    """Returns each vehicle's stops in order, under way and planned, with the ways between them."""
    trips = sorted([*(out.trip for out in desk.out.values()), *desk.trips], key=lambda trip: trip.leave)
    vehicles = dict.fromkeys(trip.vehicle for trip in trips)
    return tuple(
        PlanRow(
            f"trip.{vehicle}",
            f"{vehicle}: deliveries",
            tuple(block for trip in trips if trip.vehicle == vehicle for block in _blocks(desk, trip)),
        )
        for vehicle in vehicles
    )


def _blocks(desk: Desk, trip: PlannedTrip) -> list[Block]:
    number = len(trip.stops)
    first = f"leaves with {number} stop{'s' if number > 1 else ''}, {trip.energy_wh:.0f} Wh"
    blocks: list[Block] = []
    since = Instant(trip.leave - trip.loading_ms)
    way = "load and drive" if trip.loading_ms else "fly"
    for at, stop in enumerate(trip.stops, 1):
        blocks.append((since, stop.begin, way, "way", first if at == 1 else f"to stop {at} of {number}"))
        blocks.append((stop.begin, stop.end, f"{at}. {stop.place}: {_what(desk, stop)}", "stop", _why(desk, stop)))
        since, way = stop.end, way.rsplit(maxsplit=1)[-1]
    blocks.append((since, trip.back, "home", "way", "back at the dock"))
    return [block for block in blocks if block[1] > block[0]]


def _what(desk: Desk, stop: Stop) -> str:
    run = desk.runs.get(stop.run)
    name = stop.run.rsplit(".", 1)[0] if run is None else run.waiting.delivery.id
    return f"fetch {name}" if stop.part == "pickup" else name


def _why(desk: Desk, stop: Stop) -> str:
    run = desk.runs.get(stop.run)
    return "" if run is None else desk.reason(run)
