"""Rounds by OR-Tools routing: the fallback that is always there. It knows every rule that PyVRP knows.

A vehicle that may reload becomes a chain of virtual vehicles, one per trip, each starting when the one before is back.
Without seconds the search ends after a number of its own checks, so equal questions get equal answers.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false
# The stubs that OR-Tools ships for its routing library know no types.

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ortools.constraint_solver import pywrapcp, routing_enums_pb2

from optimizer.logistics import FOREVER, Loads, NoRounds, RoundsPlan, RoundsProblem, RoundsStop, Vehicle, VisitId
from optimizer.rounds_schedule import Leg, Route, schedule

TRIPS_MAX: Final = 4
CHECKS_PER_ITERATION: Final = 20
REQUIRED_PRIZE: Final = 2**44
SECONDS_MAX: Final = 3_600
Expired = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class _Trip:
    """One virtual vehicle: a vehicle's nth trip."""

    vehicle: Vehicle
    number: int
    start: int  # depots
    end: int


@dataclass(frozen=True, slots=True)
class _Node:
    """One node of the routing model; depots' nodes come first."""

    visit: VisitId
    part: str
    place: int
    service: int
    early: int
    late: int
    change: Loads  # of the load aboard, beyond what a delivery takes from the start
    deliver: Loads = ()
    release: int = 0


def solve_ortools(problem: RoundsProblem, stop: RoundsStop, seed: int, expired: Expired | None = None) -> RoundsPlan:
    """Returns OR-Tools' best plan. It has no random seed: `seed` is taken so that engines look alike.

    Raises:
        NoRounds: nothing was found, or not with every visit that must be served.
    """
    del seed
    model = _Model(problem)
    found = model.search(stop, expired)
    if found is None:
        raise NoRounds("OR-Tools found no plan that keeps every window, load and limit")
    plan = schedule(problem, found, "ortools")
    missing = [item.id for item in (*problem.visits, *problem.shipments) if item.prize is None]
    missing = [name for name in missing if name in plan.unserved]
    if missing:
        raise NoRounds(f"OR-Tools leaves out {missing[0]}, which must be served")
    return plan


def _nodes(problem: RoundsProblem) -> list[_Node]:
    size = len(problem.vehicles[0].capacity)

    def filled(loads: Loads) -> Loads:
        return (*loads, *(0,) * (size - len(loads)))

    nodes = [
        _Node(
            visit.id,
            "serve",
            visit.place,
            visit.service,
            visit.early,
            visit.late,
            tuple(new - old for new, old in zip(filled(visit.collect), filled(visit.deliver), strict=True)),
            filled(visit.deliver),
            visit.release,
        )
        for visit in problem.visits
    ]
    for one in problem.shipments:
        for part, halt, sign in (("pickup", one.pickup, 1), ("delivery", one.delivery, -1)):
            change = tuple(sign * load for load in filled(one.load))
            nodes.append(_Node(one.id, part, halt.place, halt.service, halt.early, halt.late, change, (0,) * size))
    return nodes


def _trips(problem: RoundsProblem) -> list[_Trip]:
    trips: list[_Trip] = []
    for vehicle in _useful(problem):
        count = min(TRIPS_MAX, vehicle.reloads_max + 1) if vehicle.reload_depots else 1
        reload = vehicle.end if vehicle.end in vehicle.reload_depots or count == 1 else vehicle.reload_depots[0]
        for number in range(count):
            start = vehicle.start if number == 0 else reload
            trips.append(_Trip(vehicle, number, start, vehicle.end if number == count - 1 else reload))
    return trips


def _useful(problem: RoundsProblem) -> list[Vehicle]:
    """Returns the fleet without the equal vehicles that there is nothing to do for."""
    most = len(problem.visits) + len(problem.shipments)
    loads = [sum(visit.deliver[:1]) + sum(visit.collect[:1]) for visit in problem.visits]
    total = sum(loads)
    kept: dict[tuple[object, ...], int] = {}
    useful: list[Vehicle] = []
    for vehicle in problem.vehicles:
        kind = (vehicle.capacity, vehicle.start, vehicle.end, vehicle.profile, vehicle.fixed_cost, vehicle.only)
        kind = (*kind, vehicle.distance_cost, vehicle.early, vehicle.late, vehicle.distance_max)
        kept[kind] = kept.get(kind, 0) + 1
        enough = min(most, 3 + 2 * total // vehicle.capacity[0]) if vehicle.capacity and vehicle.capacity[0] else most
        if kept[kind] <= max(enough, 3) or not total:
            useful.append(vehicle)
    return useful


class _Model:
    """The routing model of one problem: depots are its first nodes."""

    def __init__(self, problem: RoundsProblem) -> None:
        self.problem = problem
        self.nodes = _nodes(problem)
        self.trips = _trips(problem)
        self.depots = sorted({depot for trip in self.trips for depot in (trip.start, trip.end)})
        first = len(self.depots)  # a depot that no trip uses would be a node to be visited
        self.manager = pywrapcp.RoutingIndexManager(
            first + len(self.nodes),
            len(self.trips),
            [self.depots.index(trip.start) for trip in self.trips],
            [self.depots.index(trip.end) for trip in self.trips],
        )
        self.routing = pywrapcp.RoutingModel(self.manager)
        self.solver = self.routing.solver()
        self.places = [*(problem.depots[depot].place for depot in self.depots), *(node.place for node in self.nodes)]
        self.index = [self.manager.NodeToIndex(first + at) for at in range(len(self.nodes))]
        self._evaluators: dict[tuple[int, int, bool], int] = {}
        ends = [min(vehicle.late, problem.depots[vehicle.end].late) for vehicle in problem.vehicles]
        bounded = max(ends) < FOREVER
        longest = max(max(row) for table in problem.travel for row in table.duration)
        service = sum(node.service for node in self.nodes)
        latest = max([0, *(node.early for node in self.nodes), *(node.release for node in self.nodes)])
        self.horizon = max(ends) if bounded else latest + service + longest * (len(self.nodes) + 2)
        self._costs()
        self._times()
        self._distances()
        self._load()
        self._choices()

    def _evaluator(self, profile: int, factor: int, *, time: bool) -> int:
        """Returns the number of a transit matrix: factor x distance, or service at the first node and the drive."""
        key = (profile, factor, time)
        if key not in self._evaluators:
            table = self.problem.travel[profile]
            rows = table.duration if time else table.distance
            before = [0] * len(self.depots) + [node.service if time else 0 for node in self.nodes]
            matrix = [
                [factor * rows[a][b] + extra for b in self.places] for a, extra in zip(self.places, before, strict=True)
            ]
            self._evaluators[key] = self.routing.RegisterTransitMatrix(matrix)
        return self._evaluators[key]

    def _costs(self) -> None:
        for at, trip in enumerate(self.trips):
            vehicle = trip.vehicle
            evaluator = self._evaluator(vehicle.profile, vehicle.distance_cost, time=False)
            self.routing.SetArcCostEvaluatorOfVehicle(evaluator, at)
            self.routing.SetFixedCostOfVehicle(vehicle.fixed_cost if trip.number == 0 else 0, at)

    def _times(self) -> None:
        routing, problem = self.routing, self.problem
        evaluators = [self._evaluator(trip.vehicle.profile, 1, time=True) for trip in self.trips]
        routing.AddDimensionWithVehicleTransits(evaluators, self.horizon, self.horizon, False, "time")
        time = routing.GetDimensionOrDie("time")
        for node, index in zip(self.nodes, self.index, strict=True):
            if node.early > self.horizon:  # nobody can be there: it is left out, at its prize
                self.solver.Add(routing.ActiveVar(index) == 0)
                continue
            time.CumulVar(index).SetRange(node.early, max(node.early, min(node.late, self.horizon)))
        for at, trip in enumerate(self.trips):
            vehicle, start, end = trip.vehicle, problem.depots[trip.start], problem.depots[trip.end]
            leave, back = time.CumulVar(routing.Start(at)), time.CumulVar(routing.End(at))
            leave.SetRange(
                max(vehicle.early, start.early) + start.loading, min(self.horizon, start.late + start.loading)
            )
            back.SetRange(end.early, min(self.horizon, vehicle.late, end.late))
            routing.AddVariableMinimizedByFinalizer(back)
            if vehicle.duration_cost:
                time.SetSpanCostCoefficientForVehicle(vehicle.duration_cost, at)
            if vehicle.duration_max < FOREVER:
                time.SetSpanUpperBoundForVehicle(max(0, vehicle.duration_max - start.loading), at)
            if trip.number:
                self._follow(at)
        self._releases()

    def _follow(self, at: int) -> None:
        """A trip starts when the one before is back, and only if there was one."""
        routing, trip = self.routing, self.trips[at]
        time = routing.GetDimensionOrDie("time")
        used, before = routing.ActiveVehicleVar(at), routing.ActiveVehicleVar(at - 1)
        leave, back = time.CumulVar(routing.Start(at)), time.CumulVar(routing.End(at - 1))
        loading = self.problem.depots[trip.start].loading
        self.solver.Add(leave >= back + used * loading)
        self.solver.Add(before >= used)
        if trip.vehicle.duration_max < FOREVER:
            first = time.CumulVar(routing.Start(at - trip.number))
            self.solver.Add(time.CumulVar(routing.End(at)) - first <= trip.vehicle.duration_max - loading)

    def _releases(self) -> None:
        time = self.routing.GetDimensionOrDie("time")
        for node, index in zip(self.nodes, self.index, strict=True):
            if not node.release:
                continue
            for at, trip in enumerate(self.trips):
                leave = time.CumulVar(self.routing.Start(at))
                here = self.routing.VehicleVar(index) == at
                self.solver.Add(leave >= here * (node.release + self.problem.depots[trip.start].loading))

    def _distances(self) -> None:
        if all(vehicle.distance_max >= FOREVER for vehicle in self.problem.vehicles):
            return
        routing = self.routing
        limits = [min(trip.vehicle.distance_max, FOREVER) for trip in self.trips]
        evaluators = [self._evaluator(trip.vehicle.profile, 1, time=False) for trip in self.trips]
        routing.AddDimensionWithVehicleTransitAndCapacity(evaluators, 0, limits, True, "distance")
        distance = routing.GetDimensionOrDie("distance")
        for at, trip in enumerate(self.trips):
            if trip.number:
                ends = [distance.CumulVar(routing.End(at - back)) for back in range(trip.number + 1)]
                self.solver.Add(self.solver.Sum(ends) <= limits[at])

    def _load(self) -> None:
        for dimension in range(len(self.problem.vehicles[0].capacity)):
            changes = [node.change[dimension] for node in self.nodes]
            deliver = [node.deliver[dimension] for node in self.nodes]
            only_deliver = all(change == -load for change, load in zip(changes, deliver, strict=True))
            if not any(changes) and not any(deliver):
                continue
            if only_deliver:
                self._dimension(f"out {dimension}", deliver, dimension, fixed=True)
                continue
            self._dimension(f"aboard {dimension}", changes, dimension, fixed=not any(deliver))
            if any(deliver):  # what is aboard at the start is what the trip delivers
                self._dimension(f"out {dimension}", deliver, dimension, fixed=True)
                aboard = self.routing.GetDimensionOrDie(f"aboard {dimension}")
                out = self.routing.GetDimensionOrDie(f"out {dimension}")
                for at in range(len(self.trips)):
                    begin, end = self.routing.Start(at), self.routing.End(at)
                    self.solver.Add(aboard.CumulVar(begin) == out.CumulVar(end))

    def _dimension(self, name: str, amounts: Sequence[int], dimension: int, *, fixed: bool) -> None:
        """Adds a dimension that grows by each node's amount as the vehicle leaves it."""
        by_node = [0] * len(self.depots) + list(amounts)
        evaluator = self.routing.RegisterUnaryTransitVector(by_node)
        limits = [min(trip.vehicle.capacity[dimension], FOREVER) for trip in self.trips]
        self.routing.AddDimensionWithVehicleCapacity(evaluator, 0, limits, fixed, name)

    def _choices(self) -> None:
        """What may be left out at which price, who may serve it, and that shipments stay together."""
        problem, routing = self.problem, self.routing
        for visit, index in zip(problem.visits, self.index, strict=False):
            routing.AddDisjunction([index], REQUIRED_PRIZE if visit.prize is None else visit.prize)
            allowed = [
                at for at, trip in enumerate(self.trips) if trip.vehicle.only is None or visit.id in trip.vehicle.only
            ]
            if not allowed:
                routing.ActiveVar(index).SetValue(0)
            elif len(allowed) < len(self.trips):
                routing.VehicleVar(index).SetValues([-1, *allowed])
        time = routing.GetDimensionOrDie("time")
        for number, shipment in enumerate(problem.shipments):
            pickup, delivery = self.index[len(problem.visits) + 2 * number :][:2]
            routing.AddPickupAndDelivery(pickup, delivery)
            self.solver.Add(routing.VehicleVar(pickup) == routing.VehicleVar(delivery))
            self.solver.Add(time.CumulVar(pickup) <= time.CumulVar(delivery))
            routing.AddDisjunction([pickup], REQUIRED_PRIZE if shipment.prize is None else shipment.prize)
            routing.AddDisjunction([delivery], 0)

    def search(self, stop: RoundsStop, expired: Expired | None) -> list[Route] | None:
        """Returns the best routes found within the limits."""
        parameters = pywrapcp.DefaultRoutingSearchParameters()
        strategy = routing_enums_pb2.FirstSolutionStrategy
        # Measured (3 CPU s): without windows arcs give 4.3 % where insertion gives 24.5 % (mixed fleet), and 6.4 for
        # 10.1 (one size); with windows and 360 visits arcs leave some out.
        windows = self.problem.shipments or any(visit.late < FOREVER for visit in self.problem.visits)
        parameters.first_solution_strategy = (
            strategy.PARALLEL_CHEAPEST_INSERTION if windows else strategy.PATH_CHEAPEST_ARC
        )
        parameters.local_search_metaheuristic = routing_enums_pb2.LocalSearchMetaheuristic.GUIDED_LOCAL_SEARCH
        parameters.time_limit.seconds = SECONDS_MAX  # without any limit it warns on stderr
        if stop.seconds is not None:
            parameters.time_limit.FromMilliseconds(round(1000 * stop.seconds))
        left = iter(range(stop.iterations * CHECKS_PER_ITERATION))
        if expired is not None or stop.seconds is None:
            over = expired or (lambda: next(left, None) is None)
            self.routing.AddSearchMonitor(self.solver.CustomLimit(over))
        solution = self.routing.SolveWithParameters(parameters)
        return None if solution is None else self._routes(solution)

    def _routes(self, solution: pywrapcp.Assignment) -> list[Route]:
        first = len(self.depots)
        by_vehicle: dict[str, tuple[Vehicle, list[Leg]]] = {}
        for at, trip in enumerate(self.trips):
            calls: list[tuple[VisitId, str]] = []
            index = solution.Value(self.routing.NextVar(self.routing.Start(at)))
            while not self.routing.IsEnd(index):
                node = self.nodes[self.manager.IndexToNode(index) - first]
                calls.append((node.visit, node.part))
                index = solution.Value(self.routing.NextVar(index))
            legs = by_vehicle.setdefault(trip.vehicle.id, (trip.vehicle, []))[1]
            if calls:
                legs.append(Leg(trip.start, trip.end, tuple(calls)))
        routes: list[Route] = []
        for vehicle, legs in by_vehicle.values():
            if legs:
                last = legs[-1]  # trailing trips that are not used leave the last one at the reload depot
                legs[-1] = Leg(last.start, vehicle.end, last.calls)
                routes.append(Route(vehicle, tuple(legs)))
        return routes
