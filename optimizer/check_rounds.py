"""Recomputes a RoundsPlan from its problem: windows, loads, order, releases, limits and cost. Trusts no engine.

Shares nothing with the engines and their scheduling: it walks the times that the plan states.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from optimizer.logistics import Call, Halt, Round, RoundsPlan, RoundsProblem, Shipment, Trip, Vehicle, Visit


def check_rounds(problem: RoundsProblem, plan: RoundsPlan) -> list[str]:
    """Returns every rule that a plan breaks, one sentence each."""
    found = [*_coverage(problem, plan)]
    fleet = {vehicle.id: vehicle for vehicle in problem.vehicles}
    for one in plan.rounds:
        vehicle = fleet.get(one.vehicle)
        if vehicle is None:
            found.append(f"round of {one.vehicle}: no such vehicle")
        else:
            found += [f"round of {vehicle.id}: {text}" for text in _Walk(problem, vehicle, one).broken()]
    return found + _money(problem, plan)


def _coverage(problem: RoundsProblem, plan: RoundsPlan) -> Iterator[str]:
    """Each visit once or named as unserved with a prize; each vehicle once; both ends of a shipment in one round."""
    seen: dict[tuple[str, str], int] = {}
    for one in plan.rounds:
        for trip in one.trips:
            for call in trip.calls:
                seen[call.visit, call.part] = seen.get((call.visit, call.part), 0) + 1
    wanted = {(visit.id, "serve") for visit in problem.visits}
    wanted |= {(one.id, part) for one in problem.shipments for part in ("pickup", "delivery")}
    left_out = set(plan.unserved)
    for name, part in sorted(set(seen) - wanted):
        yield f"{name}: {part} is not asked for"
    for name, part in sorted(wanted):
        times = seen.get((name, part), 0)
        if times != (0 if name in left_out else 1):
            yield f"{name}: {part} happens {times} times" + (" though it is named as unserved" if times else "")
    prizes = {item.id: item.prize for item in (*problem.visits, *problem.shipments)}
    for name in plan.unserved:
        if name not in prizes:
            yield f"{name}: named as unserved but not asked for"
        elif prizes[name] is None:
            yield f"{name}: must be served and is not"
    if len(left_out) != len(plan.unserved):
        yield "a visit is named as unserved twice"
    vehicles = [one.vehicle for one in plan.rounds]
    yield from (f"vehicle {name} has two rounds" for name in sorted({v for v in vehicles if vehicles.count(v) > 1}))


def _money(problem: RoundsProblem, plan: RoundsPlan) -> list[str]:
    prizes = {item.id: item.prize or 0 for item in (*problem.visits, *problem.shipments)}
    cost = sum(one.cost for one in plan.rounds) + sum(prizes.get(name, 0) for name in set(plan.unserved))
    return [] if cost == plan.cost else [f"cost {plan.cost} is stated, rounds and prizes add up to {cost}"]


class _Walk:
    """One round, walked along its own times."""

    def __init__(self, problem: RoundsProblem, vehicle: Vehicle, one: Round) -> None:
        self.problem, self.vehicle, self.round = problem, vehicle, one
        self.tables = problem.travel[vehicle.profile]
        self.visits: Mapping[str, Visit] = {visit.id: visit for visit in problem.visits}
        self.shipments: Mapping[str, Shipment] = {shipment.id: shipment for shipment in problem.shipments}
        self.distance = 0
        self.aboard: dict[str, Shipment] = {}

    def broken(self) -> Iterator[str]:
        """Yields what is wrong with the round."""
        one, vehicle = self.round, self.vehicle
        if not one.trips:
            yield "it has no trips"
            return
        yield from self._chain()
        clock = one.begin
        for number, trip in enumerate(one.trips):
            for text in self._trip(trip, clock):
                yield f"trip {number}: {text}"
            clock = trip.back
        if self.aboard:
            yield f"{sorted(self.aboard)} are picked up and never delivered"
        duration = one.trips[-1].back - one.begin
        if one.begin < vehicle.early or one.trips[-1].back > vehicle.late:
            yield f"{one.begin} to {one.trips[-1].back} is outside its shift {vehicle.early} to {vehicle.late}"
        if duration > vehicle.duration_max:
            yield f"takes {duration}, at most {vehicle.duration_max}"
        if self.distance > vehicle.distance_max:
            yield f"is {self.distance} long, at most {vehicle.distance_max}"
        if self.distance != one.distance:
            yield f"says distance {one.distance}, its legs add up to {self.distance}"
        cost = vehicle.fixed_cost + vehicle.distance_cost * self.distance + vehicle.duration_cost * duration
        if cost != one.cost:
            yield f"says cost {one.cost}, it is {cost}"

    def _chain(self) -> Iterator[str]:
        trips, vehicle = self.round.trips, self.vehicle
        if trips[0].start != vehicle.start or trips[-1].end != vehicle.end:
            yield f"goes from depot {trips[0].start} to {trips[-1].end}, not {vehicle.start} to {vehicle.end}"
        if len(trips) - 1 > vehicle.reloads_max:
            yield f"reloads {len(trips) - 1} times, at most {vehicle.reloads_max}"
        for before, after in itertools.pairwise(trips):
            if before.end != after.start:
                yield f"a trip ends at depot {before.end} and the next starts at {after.start}"
            if before.end not in vehicle.reload_depots:
                yield f"may not reload at depot {before.end}"

    def _trip(self, trip: Trip, ready: int) -> Iterator[str]:
        start, end = self.problem.depots[trip.start], self.problem.depots[trip.end]
        loading_at = trip.leave - start.loading
        if loading_at < ready:
            yield f"loads at {loading_at}, before the vehicle is there at {ready}"
        if not start.early <= loading_at <= start.late:
            yield f"loads at {loading_at}, the depot is open {start.early} to {start.late}"
        yield from self._loads(trip)
        clock, place = trip.leave, start.place
        for call in trip.calls:
            stop = self._stop(call)
            if stop is None:
                yield f"{call.visit} is unknown"
                continue
            yield from self._call(call, stop, trip, clock, place)
            self.distance += self.tables.distance[place][stop.place]
            clock, place = call.end, stop.place
        self.distance += self.tables.distance[place][end.place]
        if trip.back < clock + self.tables.duration[place][end.place]:
            yield f"is back at {trip.back}, sooner than it can drive"
        if not end.early <= trip.back <= end.late:
            yield f"is back at {trip.back}, the depot is open {end.early} to {end.late}"

    def _stop(self, call: Call) -> Visit | Halt | None:
        if call.part == "serve":
            return self.visits.get(call.visit)
        shipment = self.shipments.get(call.visit)
        if shipment is None:
            return None
        return shipment.pickup if call.part == "pickup" else shipment.delivery

    def _call(self, call: Call, stop: Visit | Halt, trip: Trip, clock: int, place: int) -> Iterator[str]:
        name = f"{call.visit} ({call.part})"
        if call.place != stop.place:
            yield f"{name}: at place {call.place}, it is at {stop.place}"
        if call.arrive < clock + self.tables.duration[place][stop.place]:
            yield f"{name}: arrives at {call.arrive}, sooner than it can drive"
        if not call.arrive <= call.begin or not stop.early <= call.begin <= stop.late:
            yield f"{name}: begins at {call.begin}, its window is {stop.early} to {stop.late}"
        if call.end < call.begin + stop.service:
            yield f"{name}: ends at {call.end}, its service takes {stop.service}"
        if isinstance(stop, Visit):
            if trip.leave - self.problem.depots[trip.start].loading < stop.release:
                yield f"{name}: its trip leaves before its release at {stop.release}"
            if self.vehicle.only is not None and stop.id not in self.vehicle.only:
                yield f"{name}: this vehicle may not serve it"

    def _loads(self, trip: Trip) -> Iterator[str]:
        """Walks the loads of each dimension: deliveries are aboard from the start, collections to the end."""
        size = len(self.vehicle.capacity)
        load = [0] * size
        for call in trip.calls:
            visit = self.visits.get(call.visit)
            if call.part == "serve" and visit is not None:
                _add(load, visit.deliver, 1)
        for shipment in self.aboard.values():
            _add(load, shipment.load, 1)
        yield from self._over(load, "at the depot")
        for call in trip.calls:
            visit, shipment = self.visits.get(call.visit), self.shipments.get(call.visit)
            if call.part == "serve" and visit is not None:
                _add(load, visit.deliver, -1)
                _add(load, visit.collect, 1)
            elif call.part == "pickup" and shipment is not None:
                self.aboard[shipment.id] = shipment
                _add(load, shipment.load, 1)
            elif shipment is not None:
                if self.aboard.pop(shipment.id, None) is None:
                    yield f"{shipment.id} is delivered before it is picked up"
                _add(load, shipment.load, -1)
            yield from self._over(load, f"after {call.visit}")

    def _over(self, load: list[int], where: str) -> Iterator[str]:
        for dimension, (value, limit) in enumerate(zip(load, self.vehicle.capacity, strict=True)):
            if value > limit:
                yield f"carries {value} of load {dimension} {where}, at most {limit}"


def _add(load: list[int], part: tuple[int, ...], sign: int) -> None:
    for dimension, value in enumerate(part):
        load[dimension] += sign * value
