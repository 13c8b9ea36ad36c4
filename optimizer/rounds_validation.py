"""Every problem of a RoundsProblem at once, before any solving; and what no vehicle can do at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from optimizer.logistics import FOREVER, Depot, Halt, Loads, RoundsProblem, Shipment, Travel, Vehicle, Visit

PLACES_MAX = 2_000


def validate_rounds(problem: RoundsProblem) -> list[str]:
    """Returns what is wrong with a problem, one sentence each; empty means that it can be planned."""
    return list(_problems(problem))


def _problems(problem: RoundsProblem) -> Iterator[str]:
    if not problem.travel or not problem.depots or not problem.vehicles:
        yield "rounds: at least one travel table, one depot and one vehicle are needed"
        return
    if not 0 < problem.places <= PLACES_MAX:
        yield f"travel 0: {problem.places} places; 1 to {PLACES_MAX} are possible"
        return
    for number, travel in enumerate(problem.travel):
        yield from _travel(f"travel {number}", travel, problem.places)
    for number, depot in enumerate(problem.depots):
        yield from _depot(f"depot {number}", depot, problem.places)
    dimensions = len(problem.vehicles[0].capacity)
    for vehicle in problem.vehicles:
        yield from _vehicle(f"vehicle {vehicle.id}", vehicle, problem, dimensions)
    for visit in problem.visits:
        yield from _visit(f"visit {visit.id}", visit, problem.places, dimensions)
    for shipment in problem.shipments:
        yield from _shipment(f"shipment {shipment.id}", shipment, problem.places, dimensions)
    names = Counter([*(visit.id for visit in problem.visits), *(one.id for one in problem.shipments)])
    yield from (f"visit {name}: this id stands {times} times" for name, times in names.items() if times > 1)
    fleet = Counter(vehicle.id for vehicle in problem.vehicles)
    yield from (f"vehicle {name}: this id stands {times} times" for name, times in fleet.items() if times > 1)


def _travel(at: str, travel: Travel, places: int) -> Iterator[str]:
    for name, matrix in (("distance", travel.distance), ("duration", travel.duration)):
        ragged = [row for row, values in enumerate(matrix) if len(values) != places]
        if len(matrix) != places or ragged:
            yield f"{at}: {name} is not {places} x {places}"
            continue
        bad = [(i, j) for i, row in enumerate(matrix) for j, value in enumerate(row) if not 0 <= value <= FOREVER]
        if bad:
            yield f"{at}: {len(bad)} values of {name} are negative or too large, first from {bad[0][0]} to {bad[0][1]}"


def _depot(at: str, depot: Depot, places: int) -> Iterator[str]:
    yield from _place(at, depot.place, places)
    yield from _window(at, depot.early, depot.late)
    yield from _whole(at, loading=depot.loading)


def _vehicle(at: str, vehicle: Vehicle, problem: RoundsProblem, dimensions: int) -> Iterator[str]:
    for name, depot in (
        ("start", vehicle.start),
        ("end", vehicle.end),
        *(("reload_depots", depot) for depot in vehicle.reload_depots),
    ):
        if not 0 <= depot < len(problem.depots):
            yield f"{at}: {name} {depot} is no depot; there are {len(problem.depots)}"
    if not 0 <= vehicle.profile < len(problem.travel):
        yield f"{at}: profile {vehicle.profile} is no travel table; there are {len(problem.travel)}"
    yield from _loads(at, "capacity", vehicle.capacity, dimensions)
    if len(vehicle.capacity) != dimensions:
        yield f"{at}: {len(vehicle.capacity)} capacities, the first vehicle has {dimensions}"
    yield from _window(at, vehicle.early, vehicle.late)
    yield from _whole(
        at,
        duration_max=vehicle.duration_max,
        distance_max=vehicle.distance_max,
        fixed_cost=vehicle.fixed_cost,
        distance_cost=vehicle.distance_cost,
        duration_cost=vehicle.duration_cost,
        reloads_max=vehicle.reloads_max,
    )
    if vehicle.only is not None:
        known = {visit.id for visit in problem.visits}
        unknown = [name for name in vehicle.only if name not in known]
        if unknown:
            yield f"{at}: may serve {unknown[0]}, which is no visit"


def _visit(at: str, visit: Visit, places: int, dimensions: int) -> Iterator[str]:
    yield from _place(at, visit.place, places)
    yield from _window(at, visit.early, visit.late)
    yield from _loads(at, "deliver", visit.deliver, dimensions)
    yield from _loads(at, "collect", visit.collect, dimensions)
    if visit.release > visit.late:
        yield f"{at}: is released at {visit.release}, after its window's end at {visit.late}"
    yield from _whole(at, service=visit.service, release=visit.release, prize=visit.prize or 0)


def _shipment(at: str, shipment: Shipment, places: int, dimensions: int) -> Iterator[str]:
    for name, halt in (("pickup", shipment.pickup), ("delivery", shipment.delivery)):
        yield from _halt(f"{at} {name}", halt, places)
    yield from _loads(at, "load", shipment.load, dimensions)
    yield from _whole(at, prize=shipment.prize or 0)


def _halt(at: str, halt: Halt, places: int) -> Iterator[str]:
    yield from _place(at, halt.place, places)
    yield from _window(at, halt.early, halt.late)
    yield from _whole(at, service=halt.service)


def _place(at: str, place: int, places: int) -> Iterator[str]:
    if not 0 <= place < places:
        yield f"{at}: place {place} is not in the travel tables; there are {places}"


def _window(at: str, early: int, late: int) -> Iterator[str]:
    if not 0 <= early <= late <= FOREVER:
        yield f"{at}: the window {early} to {late} is empty, negative or beyond {FOREVER}"


def _loads(at: str, name: str, loads: Loads, dimensions: int) -> Iterator[str]:
    if len(loads) > dimensions:
        yield f"{at}: {name} has {len(loads)} values, vehicles have {dimensions} capacities"
    if any(not 0 <= value <= FOREVER for value in loads):
        yield f"{at}: {name} is negative or too large: {loads}"


def _whole(at: str, **values: int) -> Iterator[str]:
    for name, value in values.items():
        if not 0 <= value <= FOREVER:
            yield f"{at}: {name} is {value}; it must be 0 to {FOREVER}"


def unreachable(problem: RoundsProblem) -> list[str]:
    """Returns why visits that must be served cannot be, each taken for itself; empty when each has a vehicle."""
    found: list[str] = []
    for visit in problem.visits:
        if visit.prize is None:
            why = [_alone(problem, vehicle, visit) for vehicle in problem.vehicles]
            if all(why):
                found.append(f"visit {visit.id} must be served but {Counter(why).most_common(1)[0][0]}")
    return found


def _alone(problem: RoundsProblem, vehicle: Vehicle, visit: Visit) -> str:
    """Returns why a vehicle cannot do a round of this visit alone, or an empty text."""
    if vehicle.only is not None and visit.id not in vehicle.only:
        return "no vehicle may serve it"
    if any(load > limit for load, limit in zip(visit.deliver, vehicle.capacity, strict=False)):
        return "no vehicle can carry its delivery"
    if any(load > limit for load, limit in zip(visit.collect, vehicle.capacity, strict=False)):
        return "no vehicle can carry what is collected there"
    travel, start, end = problem.travel[vehicle.profile], problem.depots[vehicle.start], problem.depots[vehicle.end]
    distance = travel.distance[start.place][visit.place] + travel.distance[visit.place][end.place]
    if distance > vehicle.distance_max:
        return f"it is too far: {distance} there and back"
    leave = max(vehicle.early, start.early, visit.release) + start.loading
    begin = max(leave + travel.duration[start.place][visit.place], visit.early)
    back = begin + visit.service + travel.duration[visit.place][end.place]
    if begin > visit.late:
        return f"it can be reached at {begin} at the earliest, its window ends at {visit.late}"
    if back > min(vehicle.late, end.late):
        return f"a vehicle would be back at {back}, after its shift or the depot's hours"
    return ""
