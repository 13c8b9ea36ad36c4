"""Rounds by PyVRP: time windows, shipments, capacities, several trips, prizes, mixed fleet, releases, limits.

PyVRP's own stopping criteria are used; without seconds the result depends on problem, seed and iterations alone.
Measured trap: a fixed cost that dwarfs the distances makes it 15 % worse; keep fixed costs near what a round costs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyvrp
from pyvrp.search import (
    OPERATORS,
    LocalSearch,
    NeighbourhoodParams,
    PerturbationManager,
    PerturbationParams,
    compute_neighbours,
)
from pyvrp.stop import MaxIterations, MaxRuntime, MultipleCriteria, StoppingCriterion

from optimizer.logistics import (
    FOREVER,
    Loads,
    NoRounds,
    RoundsPlan,
    RoundsProblem,
    RoundsStop,
    Vehicle,
    VehicleId,
    VisitId,
)
from optimizer.rounds_schedule import Leg, Route, schedule

Ints = npt.NDArray[np.int64]
Expired = Callable[[], bool]
_Matrices = list[Any]  # PyVRP's stub misnames its arrays

FORBIDDEN = 2 * FOREVER
"""Distance and duration of what a vehicle may not do: beyond every limit, and no more. PyVRP multiplies them by its
penalties, up to 2^17, and adds up in 64 bits: with 2^44 its search never ended on data/routes/SDVRPTW/PR01."""

# PyVRP's own settings are made for minutes. Measured for ten CPU seconds on data/routes (docs/decisions/0006):
NEIGHBOURS: Final = 20
"""How many near visits each visit is tried beside; PyVRP: 50."""
SMALL_STEP: Final = 8
LARGE_STEP: Final = 25
LARGE_EVERY: Final = 4
"""A step shakes up to so many visits before it mends the routes. Small steps are more than twice as quick and settle
the order of visits; only large ones empty a route. PyVRP: always up to 25."""
PENALTY_PERIOD: Final = 200
"""Steps between changes of the prices of broken rules. They start far too high: with PyVRP's 500 steps, ten seconds end
before they are down to what a detour costs."""


def solve_pyvrp(problem: RoundsProblem, stop: RoundsStop, seed: int, expired: Expired | None = None) -> RoundsPlan:
    """Returns PyVRP's best plan; `expired` may end the search earlier (benchmarks count CPU time).

    Raises:
        NoRounds: its best solution breaks a rule.
    """
    types = _grouped(problem)
    data = _data(problem, types)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyVRP's hints on tuning; what it returns is checked
        best = _searched(data, _criterion(stop, expired), seed)
    if not best.is_feasible():
        raise NoRounds("PyVRP found no plan that keeps every window, load and limit")
    return schedule(problem, _routes(problem, types, best), "pyvrp")


class _Steps:
    """PyVRP's local search in steps of two sizes."""

    def __init__(self, data: pyvrp.ProblemData, dice: pyvrp.RandomNumberGenerator) -> None:
        neighbours = compute_neighbours(data, NeighbourhoodParams(num_neighbours=NEIGHBOURS))
        self._small, self._large = (
            LocalSearch(data, dice, neighbours, PerturbationManager(PerturbationParams(max_perturbations=most)))
            for most in (SMALL_STEP, LARGE_STEP)
        )
        for search in (self._small, self._large):
            for operator in OPERATORS:
                if operator.supports(data):
                    search.add_operator(operator(data))
        self._count = 0

    def __call__(
        self, solution: pyvrp.Solution, cost_evaluator: pyvrp.CostEvaluator, exhaustive: bool = False
    ) -> pyvrp.Solution:
        """Returns a solution near `solution`; `exhaustive`: without a shake, the best of all near ones."""
        self._count += 1
        search = self._small if self._count % LARGE_EVERY else self._large
        return search(solution, cost_evaluator, exhaustive)


def _searched(data: pyvrp.ProblemData, stop: StoppingCriterion, seed: int) -> pyvrp.Solution:
    """Returns the best solution of an iterated local search from a random start, as `pyvrp.solve` but for the steps."""
    dice = pyvrp.RandomNumberGenerator(seed)
    steps = _Steps(data, dice)
    rules = pyvrp.PenaltyParams(solutions_between_updates=PENALTY_PERIOD)
    prices = pyvrp.PenaltyManager(rules.midpoint_penalties(data), rules)
    start = steps(pyvrp.Solution.make_random(data, dice), prices.max_cost_evaluator(), exhaustive=True)
    return pyvrp.IteratedLocalSearch(data, prices, steps, start).run(stop, collect_stats=False).best


class _Until:
    """A stopping criterion that somebody else decides."""

    def __init__(self, expired: Expired) -> None:
        self._expired = expired

    def __call__(self, best_cost: int) -> bool:
        del best_cost
        return self._expired()


def _criterion(stop: RoundsStop, expired: Expired | None) -> StoppingCriterion:
    criteria: list[StoppingCriterion] = []
    if expired is not None:
        criteria.append(_Until(expired))
    elif stop.seconds is not None:
        criteria.append(MaxRuntime(stop.seconds))
    else:
        criteria.append(MaxIterations(stop.iterations))
    return MultipleCriteria(criteria)


def _grouped(problem: RoundsProblem) -> list[list[Vehicle]]:
    """Returns the vehicles by what they can do: PyVRP counts equal vehicles, which halves its work with a fleet."""
    groups: dict[Vehicle, list[Vehicle]] = {}
    for vehicle in problem.vehicles:
        groups.setdefault(replace(vehicle, id=VehicleId("")), []).append(vehicle)
    return list(groups.values())


def _data(problem: RoundsProblem, types: Sequence[Sequence[Vehicle]]) -> pyvrp.ProblemData:
    profiles, matrices = _profiles(problem, types)
    first_visit = len(problem.depots)
    first_halt = first_visit + len(problem.visits)
    return pyvrp.ProblemData(
        locations=[pyvrp.Location(0, 0) for _ in _locations(problem)],
        clients=[
            pyvrp.Client(
                first_visit + number,
                _filled(visit.deliver, problem),
                _filled(visit.collect, problem),
                visit.service,
                visit.early,
                visit.late,
                visit.release,
                visit.prize or 0,
                visit.prize is None,
            )
            for number, visit in enumerate(problem.visits)
        ],
        depots=[pyvrp.Depot(at, one.early, one.late, one.loading) for at, one in enumerate(problem.depots)],
        vehicle_types=[_type(group, profile) for group, profile in zip(types, profiles, strict=True)],
        distance_matrices=cast("_Matrices", [distance for distance, _ in matrices]),
        duration_matrices=cast("_Matrices", [duration for _, duration in matrices]),
        shipments=[
            pyvrp.Shipment(
                first_halt + 2 * number,
                first_halt + 2 * number + 1,
                one.pickup.early,
                one.pickup.late,
                one.pickup.service,
                one.delivery.early,
                one.delivery.late,
                one.delivery.service,
                _filled(one.load, problem),
                one.prize or 0,
                one.prize is None,
            )
            for number, one in enumerate(problem.shipments)
        ],
    )


def _locations(problem: RoundsProblem) -> list[int]:
    """Returns the place of each PyVRP location: one for every depot, visit and halt, so that each can be forbidden."""
    halts = [halt.place for one in problem.shipments for halt in (one.pickup, one.delivery)]
    return [*(depot.place for depot in problem.depots), *(visit.place for visit in problem.visits), *halts]


def _filled(loads: Loads, problem: RoundsProblem) -> list[int]:
    return [*loads, *[0] * (len(problem.vehicles[0].capacity) - len(loads))]


def _type(group: Sequence[Vehicle], profile: int) -> pyvrp.VehicleType:
    vehicle = group[0]
    return pyvrp.VehicleType(
        num_available=len(group),
        capacity=list(vehicle.capacity),
        start_depot=vehicle.start,
        end_depot=vehicle.end,
        fixed_cost=vehicle.fixed_cost,
        tw_early=vehicle.early,
        tw_late=vehicle.late,
        shift_duration=vehicle.duration_max,
        max_distance=vehicle.distance_max,
        unit_distance_cost=vehicle.distance_cost,
        unit_duration_cost=vehicle.duration_cost,
        profile=profile,
        reload_depots=list(vehicle.reload_depots),
        max_reloads=min(vehicle.reloads_max, len(vehicle.reload_depots) * FOREVER),
    )


def _profiles(
    problem: RoundsProblem, types: Sequence[Sequence[Vehicle]]
) -> tuple[list[int], Sequence[tuple[Ints, Ints]]]:
    """Returns each group's travel table, with what it may not serve made unreachable."""
    index: dict[tuple[int, tuple[VisitId, ...] | None], int] = {}
    matrices: list[tuple[Ints, Ints]] = []
    profiles: list[int] = []
    for group in types:
        key = (group[0].profile, group[0].only)
        if key not in index:
            index[key] = len(matrices)
            matrices.append(_matrices(problem, group[0]))
        profiles.append(index[key])
    return profiles, matrices


def _matrices(problem: RoundsProblem, vehicle: Vehicle) -> tuple[Ints, Ints]:
    travel, places = problem.travel[vehicle.profile], _locations(problem)
    pick = np.ix_(places, places)
    distance = np.array(travel.distance, dtype=np.int64)[pick]
    duration = np.array(travel.duration, dtype=np.int64)[pick]
    if vehicle.only is not None:
        allowed = set(vehicle.only)
        barred = [len(problem.depots) + at for at, visit in enumerate(problem.visits) if visit.id not in allowed]
        for matrix in (distance, duration):
            matrix[:, barred] = matrix[barred, :] = FORBIDDEN
            np.fill_diagonal(matrix, 0)
    return distance, duration


def _routes(problem: RoundsProblem, types: Sequence[Sequence[Vehicle]], solution: pyvrp.Solution) -> list[Route]:
    left = [list(group) for group in types]
    routes: list[Route] = []
    for route in solution.routes():
        vehicle = left[route.vehicle_type()].pop(0)
        legs: list[Leg] = []
        depots: list[int] = []
        calls: list[tuple[VisitId, str]] = []
        for activity in route:
            if activity.is_depot():
                if depots:
                    legs.append(Leg(depots[-1], activity.idx, tuple(calls)))
                depots.append(activity.idx)
                calls = []
            elif activity.is_client():
                calls.append((problem.visits[activity.idx].id, "serve"))
            else:
                part = "pickup" if activity.is_pickup() else "delivery"
                calls.append((problem.shipments[activity.idx].id, part))
        routes.append(Route(vehicle, tuple(legs)))
    return routes
