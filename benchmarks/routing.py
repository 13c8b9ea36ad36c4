"""Routing instances against their best known costs: PyVRP and the OR-Tools fallback, ten CPU seconds each.

The files are those of `data/routes` (--data): .vrp in PyVRP's VRPLIB dialect and .sol with the best known solution. The
two engines run side by side, one core each, and each is stopped by its own process's CPU time, so that a busy machine
changes nothing. Every cost is recomputed by optimizer/check_rounds.py under the rounding of the instance's folder; the
best known solution is too, and must come out at the cost that its file states. `gap` is (cost - best) / best.
The fallback counts where it models the variant: everything but several trips with releases (MTVRPTWR), which it plans
(`fallback_gap` of those cases) but as a chain of single trips.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from optimizer.check_rounds import check_rounds
from optimizer.logistics import (
    FOREVER,
    Depot,
    Matrix,
    NoRounds,
    RoundsProblem,
    RoundsStop,
    Travel,
    Vehicle,
    VehicleId,
    Visit,
    VisitId,
)
from optimizer.rounds_schedule import Leg, Route, schedule

NOT_MODELLED = ("MTVRPTWR",)
"""Variants that the fallback does not model as they are meant."""


class DataMissing(FileNotFoundError):
    """The folder given with --data holds no instances."""


class WrongCost(ValueError):
    """The best known solution does not cost what its file says: the instance is read wrongly."""


def _nearest(value: float) -> int:
    return math.floor(value + 0.5)


def _thousandths(value: float) -> int:
    return math.floor(1_000 * value + 0.5)


def _tenths(value: float) -> int:
    return math.floor(10 * value)


ROUNDING: Mapping[str, tuple[Callable[[float], int], int, float]] = {
    "CVRP": (_nearest, 1, 0.0),
    "HFVRP": (_thousandths, 100_000, 0.005),
    "MDVRPTW": (_thousandths, 1, 0.0),
    "SDVRPTW": (_thousandths, 1, 0.0),
    "MTVRPTWR": (_tenths, 1, 0.0),
}
"""By folder, from its README: how data become whole numbers; what one unit of a stated cost is in them; to what it is
rounded. HFVRP files state unit costs a hundredfold and costs with two decimals."""


@dataclass(slots=True)
class Instance:
    """A .vrp file: its single values and its sections, each a list of rows without the index."""

    values: dict[str, str] = field(default_factory=dict[str, str])
    sections: dict[str, list[list[float]]] = field(default_factory=dict[str, list[list[float]]])

    @classmethod
    def read(cls, path: Path) -> Instance:
        """Returns the content of a file."""
        made, rows = cls(), list[list[float]]()
        for line in path.read_text().splitlines():
            words = line.replace(":", " ").split()
            if not words or words[0] == "EOF":
                continue
            if words[0].endswith("_SECTION"):
                rows = made.sections.setdefault(words[0].removesuffix("_SECTION"), [])
            elif words[0][0].isalpha():
                made.values[words[0]] = " ".join(words[1:])
            else:
                rows.append([float(word) for word in words])
        return made

    def column(self, name: str, count: int, default: float) -> list[float]:
        """Returns one number for each of `count` rows: from a section, a single value, or the default."""
        if name in self.sections:
            return [row[1] for row in self.sections[name]]
        return [float(self.values.get(name, default))] * count


def problem_of(path: Path) -> RoundsProblem:
    """Returns an instance as a problem in the whole numbers of its folder's rounding."""
    instance, rounded = Instance.read(path), ROUNDING[path.parent.name][0]
    spots = [(row[1], row[2]) for row in instance.sections["NODE_COORD"]]
    rows: Matrix = tuple(tuple(rounded(math.dist(a, b)) for b in spots) for a in spots)
    depots = [int(row[0]) for row in instance.sections.get("DEPOT", [[1]]) if row[0] > 0]
    size = len(spots)
    demand = instance.column("DEMAND", size, 0)
    service = instance.column("SERVICE_TIME", size, 0)
    release = instance.column("RELEASE_TIME", size, 0)
    windows = [(row[1], row[2]) for row in instance.sections.get("TIME_WINDOW", [])] or [(0.0, math.inf)] * size

    def late(place: int) -> int:
        return FOREVER if windows[place][1] == math.inf else rounded(windows[place][1])

    visits = tuple(
        Visit(
            VisitId(str(place)),
            place,
            (rounded(demand[place]),),
            (),
            rounded(service[place]),
            rounded(windows[place][0]),
            late(place),
            rounded(release[place]),
        )
        for place in range(len(depots), size)
    )
    return RoundsProblem(
        (Travel(rows, rows),),
        tuple(Depot(at, rounded(windows[at][0]), late(at)) for at in range(len(depots))),
        _vehicles(instance, rounded, size - len(depots)),
        visits,
    )


def _vehicles(instance: Instance, rounded: Callable[[float], int], clients: int) -> tuple[Vehicle, ...]:
    count = int(instance.values.get("VEHICLES", clients))
    capacity = instance.column("CAPACITY", count, math.inf)
    fixed = instance.column("VEHICLES_FIXED_COST", count, 0)
    per_distance = instance.column("VEHICLES_UNIT_DISTANCE_COST", count, 1)
    home = instance.column("VEHICLES_DEPOT", count, 1)
    longest = instance.column("VEHICLES_MAX_DURATION", count, math.inf)
    allowed = [row[1:] for row in instance.sections.get("VEHICLES_ALLOWED_CLIENTS", [])]
    reloads = [row[1:] for row in instance.sections.get("VEHICLES_RELOAD_DEPOT", [])]
    return tuple(
        Vehicle(
            VehicleId(str(at)),
            int(home[at]) - 1,
            int(home[at]) - 1,
            (FOREVER if capacity[at] == math.inf else rounded(capacity[at]),),
            duration_max=FOREVER if longest[at] == math.inf else rounded(longest[at]),
            fixed_cost=rounded(fixed[at]),
            distance_cost=int(per_distance[at]),
            reload_depots=tuple(int(depot) - 1 for depot in reloads[at]) if reloads else (),
            only=tuple(VisitId(str(int(place) - 1)) for place in allowed[at]) if allowed else None,
        )
        for at in range(count)
    )


def best_known(path: Path, problem: RoundsProblem) -> int:
    """Returns the cost of the best known solution in the problem's whole numbers.

    Raises:
        WrongCost: the solution breaks a rule or does not cost what its file states.
    """
    routes: list[Route] = []
    stated = 0.0
    for line in path.read_text().splitlines():
        head, _, rest = line.partition(":")
        if head.startswith("Route"):
            vehicle = problem.vehicles[int(head.split("#")[1]) - 1]
            legs: list[Leg] = []
            calls: list[tuple[VisitId, str]] = []
            for word in rest.split():
                if int(word) < len(problem.depots):
                    legs.append(Leg(vehicle.start, int(word), tuple(calls)))
                    calls = []
                else:
                    calls.append((VisitId(word), "serve"))
            if calls or legs:
                routes.append(Route(vehicle, (*legs, Leg(vehicle.start, vehicle.end, tuple(calls)))))
        elif line.startswith("Cost"):
            stated = float(line.replace(":", " ").split()[1])
    plan = schedule(problem, routes, "file")
    _, unit, tolerance = ROUNDING[path.parent.name]
    broken = check_rounds(problem, plan)
    if broken or abs(plan.cost / unit - stated) > tolerance:
        raise WrongCost(f"{path}: states {stated}, comes out at {plan.cost / unit}; {broken[:3]}")
    return plan.cost


def measured(path: Path, engine: str, seconds: float, seed: int) -> int | None:
    """Returns the checked cost that an engine finds within CPU seconds, or None where it finds none."""
    from optimizer.rounds import solve_pyvrp
    from optimizer.rounds_ortools import solve_ortools

    problem = problem_of(path)
    solve = solve_pyvrp if engine == "pyvrp" else solve_ortools
    until = time.process_time() + seconds
    try:
        plan = solve(problem, RoundsStop(None), seed, lambda: time.process_time() >= until)
    except NoRounds:
        return None
    broken = check_rounds(problem, plan)
    if broken:
        raise WrongCost(f"{path.name}: the plan of {engine} is wrong: {broken[:3]}")
    return plan.cost


def run(args: Sequence[str]) -> Mapping[str, object]:
    """Returns the figures of one run."""
    parser = argparse.ArgumentParser(prog="atoll bench routing", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with CVRP/, HFVRP/, ... of .vrp and .sol")
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU seconds for each engine and instance")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="instances whose name holds this")
    options = parser.parse_args(args)
    paths = [path for path in sorted(options.data.glob("*/*.vrp")) if path.parent.name in ROUNDING]
    paths = [path for path in paths if options.only in str(path)]
    if not paths:
        raise DataMissing(f"{options.data} holds no instances; give the routes folder")
    best = {path: best_known(path.with_suffix(".sol"), problem_of(path)) for path in paths}
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        jobs = {
            (path, engine): pool.submit(measured, path, engine, options.seconds, options.seed)
            for path in paths
            for engine in ("pyvrp", "ortools")
        }
        costs: dict[tuple[Path, str], int | None] = {}
        for (path, engine), job in jobs.items():
            costs[path, engine] = cost = job.result()
            gap = "none" if cost is None else f"{cost / best[path] - 1:.2%}"
            print(f"{path.parent.name}/{path.stem} {engine}: {gap}", file=sys.stderr, flush=True)  # noqa: T201
    cases = [_case(path, best[path], costs[path, "pyvrp"], costs[path, "ortools"]) for path in paths]
    gaps = [case["gap"] for case in cases if isinstance(case["gap"], float)]
    modelled = [case["fallback_gap"] for case in cases if case["variant"] not in NOT_MODELLED]
    fallback = [gap for gap in modelled if isinstance(gap, float)]
    return {
        "mean_gap": sum(gaps) / len(gaps) if gaps else None,
        "fallback_mean_gap": sum(fallback) / len(fallback) if fallback else None,
        "unsolved": len(cases) - len(gaps),
        "fallback_unsolved": len(modelled) - len(fallback),
        "cpu_seconds": options.seconds,
        "seed": options.seed,
        "cases": cases,
    }


def _case(path: Path, best: int, cost: int | None, fallback: int | None) -> Mapping[str, str | float | None]:
    return {
        "variant": path.parent.name,
        "name": path.stem,
        "best": best,
        "cost": cost,
        "gap": None if cost is None else cost / best - 1,
        "fallback_gap": None if fallback is None else fallback / best - 1,
    }
