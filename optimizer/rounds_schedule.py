"""Sequences of calls to times: what both engines hand their routes to. Pure arithmetic, latest sensible start."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizer.logistics import (
    FOREVER,
    Call,
    Depot,
    Halt,
    Round,
    RoundsPlan,
    RoundsProblem,
    Travel,
    Trip,
    Vehicle,
    Visit,
    VisitId,
)


@dataclass(frozen=True, slots=True)
class Leg:
    """One trip as an engine knows it: depots (indices) and what is called at, in order."""

    start: int
    end: int
    calls: tuple[tuple[VisitId, str], ...]


@dataclass(frozen=True, slots=True)
class Route:
    """One vehicle's trips, without times."""

    vehicle: Vehicle
    legs: tuple[Leg, ...]


def schedule(problem: RoundsProblem, routes: Sequence[Route], engine: str) -> RoundsPlan:
    """Returns the plan of some routes: each stop as early as can be, each trip leaving just in time for its first.

    Where time on the road is limited or priced, the start slides on as far as the end stays where it is.
    """
    stops = _stops(problem)
    rounds = tuple(_round(problem, stops, route) for route in routes if any(leg.calls for leg in route.legs))
    served = {call.visit for one in rounds for trip in one.trips for call in trip.calls}
    prizes = {item.id: item.prize for item in (*problem.visits, *problem.shipments)}
    unserved = tuple(name for name in prizes if name not in served)
    missed = sum(prizes[name] or 0 for name in unserved)
    return RoundsPlan(rounds, unserved, sum(one.cost for one in rounds) + missed, engine)


def _stops(problem: RoundsProblem) -> Mapping[tuple[VisitId, str], Visit | Halt]:
    stops: dict[tuple[VisitId, str], Visit | Halt] = {(visit.id, "serve"): visit for visit in problem.visits}
    for shipment in problem.shipments:
        stops[shipment.id, "pickup"] = shipment.pickup
        stops[shipment.id, "delivery"] = shipment.delivery
    return stops


def _round(problem: RoundsProblem, stops: Mapping[tuple[VisitId, str], Visit | Halt], route: Route) -> Round:
    vehicle, legs = route.vehicle, [leg for leg in route.legs if leg.calls]
    travel = problem.travel[vehicle.profile]
    earliest = max(vehicle.early, problem.depots[legs[0].start].early, _release(legs[0], stops))
    trips = _trips(problem, travel, stops, legs, earliest)
    begin = trips[0].leave - problem.depots[legs[0].start].loading
    if vehicle.duration_max < FOREVER or vehicle.duration_cost:
        begin += _slack(problem, stops, vehicle, trips, begin)
        trips = _trips(problem, travel, stops, legs, begin)
    distance = sum(_distance(problem, travel, trip) for trip in trips)
    cost = vehicle.fixed_cost + distance * vehicle.distance_cost + (trips[-1].back - begin) * vehicle.duration_cost
    return Round(vehicle.id, begin, tuple(trips), distance, cost)


def _release(leg: Leg, stops: Mapping[tuple[VisitId, str], Visit | Halt]) -> int:
    return max((stop.release for key in leg.calls if isinstance(stop := stops[key], Visit)), default=0)


def _trips(
    problem: RoundsProblem,
    travel: Travel,
    stops: Mapping[tuple[VisitId, str], Visit | Halt],
    legs: Sequence[Leg],
    begin: int,
) -> list[Trip]:
    """Returns the trips when the first loading begins at `begin`, each stop as early as it can be."""
    trips: list[Trip] = []
    now = begin
    for leg in legs:
        depot = problem.depots[leg.start]
        leave = max(now, depot.early, _release(leg, stops)) + depot.loading
        first = stops[leg.calls[0]]
        wait = first.early - leave - travel.duration[depot.place][first.place]
        leave += max(0, min(wait, depot.late + depot.loading - leave))
        place, at, calls = depot.place, leave, list[Call]()
        for key in leg.calls:
            stop = stops[key]
            arrive = at + travel.duration[place][stop.place]
            start = max(arrive, stop.early)
            place, at = stop.place, start + stop.service
            calls.append(Call(key[0], key[1], stop.place, arrive, start, at))
        back = max(at + travel.duration[place][problem.depots[leg.end].place], problem.depots[leg.end].early)
        trips.append(Trip(leg.start, leg.end, leave, back, tuple(calls)))
        now = back
    return trips


def _slack(
    problem: RoundsProblem,
    stops: Mapping[tuple[VisitId, str], Visit | Halt],
    vehicle: Vehicle,
    trips: Sequence[Trip],
    begin: int,
) -> int:
    """Returns by how much the start may slide without moving the end of the round: waits before each deadline."""
    slack, waited, now = vehicle.late, 0, begin
    for trip in trips:
        loading = problem.depots[trip.start].loading
        waited += trip.leave - loading - now
        slack = min(slack, waited + max(0, problem.depots[trip.start].late - (trip.leave - loading)))
        for call in trip.calls:
            waited += call.begin - call.arrive
            slack = min(slack, waited + max(0, stops[call.visit, call.part].late - call.begin))
        now = trip.back
        last = problem.depots[trip.end]
        arrived = trip.calls[-1].end + _home(problem, vehicle, trip, last)
        waited += now - arrived
        slack = min(slack, waited + max(0, last.late - now))
    return max(0, min(slack, waited))


def _home(problem: RoundsProblem, vehicle: Vehicle, trip: Trip, depot: Depot) -> int:
    return problem.travel[vehicle.profile].duration[trip.calls[-1].place][depot.place]


def _distance(problem: RoundsProblem, travel: Travel, trip: Trip) -> int:
    places = [problem.depots[trip.start].place, *(call.place for call in trip.calls), problem.depots[trip.end].place]
    return sum(travel.distance[a][b] for a, b in itertools.pairwise(places))
