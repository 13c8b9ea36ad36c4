"""The sectors beside energy and water, as values: what they ask, what they chose, what that does to the energy plan.

No solver is loaded here: the hub checks plans with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from devices.clock import Instant
from optimizer.problem import AssetId, Job, Problem, Series
from optimizer.tasks import Supply, WorkPlan, WorkProblem
from optimizer.trip_ask import Pack, TripAsk
from optimizer.trip_packs import Leaves, charging_needs
from optimizer.waste import EnginePlan, GasPlant
from optimizer.work_cost import power_cost
from optimizer.zone_ask import ZoneAsk, ZoneRun


@dataclass(frozen=True, slots=True)
class JointProblem:
    """All sectors. The energy problem knows nothing of work and gas; `work.supply` is found here."""

    energy: Problem
    work: WorkProblem
    plants: tuple[GasPlant, ...] = ()
    zones: tuple[ZoneAsk, ...] = ()
    packs: tuple[Pack, ...] = ()
    trips: tuple[TripAsk, ...] = ()


@dataclass(frozen=True, slots=True)
class Sectors:
    """What the sectors beside energy and water have chosen."""

    work: WorkPlan
    engines: Mapping[AssetId, EnginePlan] = field(default_factory=dict[AssetId, EnginePlan])
    zones: Mapping[AssetId, ZoneRun] = field(default_factory=dict[AssetId, ZoneRun])
    leaves: Leaves = field(default_factory=dict[AssetId, Instant])


@dataclass(frozen=True, slots=True)
class Profile:
    """What the other sectors do to the energy plan: power taken, power offered, water taken from the first tank."""

    used_kw: Series
    offered_kw: Series
    water_kl: Series

    @classmethod
    def nothing(cls, slots: int) -> Profile:
        """Returns the profile of sectors that do nothing."""
        return cls((0.0,) * slots, (0.0,) * slots, (0.0,) * slots)


def tariff(problem: Problem, used_kw: Sequence[float] | None = None, *, limits: bool = True) -> tuple[Supply, ...]:
    """Returns power as the tariff offers it: solar left over at the export price, then imports up to the limit.

    `used_kw` is what others have taken already. Without a grid the gensets stand in for it at the same tariff.
    """
    grid = problem.grid
    net = [
        load - pv + (used_kw[t] if used_kw is not None else 0.0)
        for t, (load, pv) in enumerate(zip(problem.load_kw, problem.pv_kw, strict=True))
    ]
    diesel = sum(g.power_kw_max for g in problem.gensets)
    most = [
        (limit if there else 0.0) + diesel for limit, there in zip(grid.import_limit_kw, grid.available, strict=True)
    ]
    room = tuple(max(0.0, m - max(kw, 0.0)) if limits else 1e4 for m, kw in zip(most, net, strict=True))
    left_over = tuple(max(0.0, -kw) if limits else 0.0 for kw in net)
    return Supply(left_over, grid.export_price), Supply(room, grid.import_price)


def asked_work(problem: JointProblem) -> WorkProblem:
    """Returns the work problem with power at the tariff: what every work plan here is priced and checked by."""
    return replace(problem.work, supply=tariff(problem.energy), over_price=over_price(problem.energy))


def over_price(problem: Problem) -> float:
    """Returns money per kWh beyond every limit."""
    return max(problem.grid.over_limit_price, problem.shed_price)


def own_cost(problem: JointProblem, sectors: Sectors) -> float:
    """Returns what the sectors cost apart from power: crews, lateness, work left out, engine starts.

    What is left in packs and gas holders is credited: packs at the tariff, whatever the prices of the exchange were.
    """
    work = sectors.work
    money = work.cost - power_cost(asked_work(problem), work.power_kw)
    for plant in problem.plants:
        engine = sectors.engines.get(plant.digester.id)
        if engine is None:
            continue
        was = plant.digester.running
        for kw in engine.kw:
            money += plant.digester.start_price if kw > 0.0 and not was else 0.0
            was = kw > 0.0
        money -= engine.gas_m3[-1] * plant.end_value
    return money + sum(run.own_cost for run in sectors.zones.values())


def profile(problem: JointProblem, sectors: Sectors) -> Profile:
    """Returns what the sectors do to the energy plan."""
    n = problem.energy.slots
    offered = [sum(plan.kw[t] for plan in sectors.engines.values()) for t in range(n)]
    water = [0.0] * n
    tasks = {task.id: task for task in problem.work.tasks}
    for one in sectors.work.assignments:
        for offset, kl in enumerate(tasks[one.task].water_kl):
            water[one.start_slot + offset] += kl
    used = [kw + sum(run.power_kw[t] for run in sectors.zones.values()) for t, kw in enumerate(sectors.work.power_kw)]
    return Profile(tuple(used), tuple(offered), tuple(water))


def with_packs(problem: JointProblem, sectors: Sectors) -> Problem:
    """Returns the energy problem with the packs of the vehicles in it, as storages that are away on their trips."""
    if not problem.packs:
        return problem.energy
    energy = problem.energy
    packs = charging_needs(problem.packs, problem.trips, sectors.leaves, energy.start, energy.slots, energy.slot_ms)
    return replace(energy, batteries=(*energy.batteries, *packs))


def with_sectors(problem: JointProblem, sectors: Sectors) -> Problem:
    """Returns the energy problem with the sectors in it: tasks and charging as jobs that cannot move."""
    energy, n = with_packs(problem, sectors), problem.energy.slots
    tasks = {task.id: task for task in problem.work.tasks}
    jobs = list(energy.jobs)
    for one in sectors.work.assignments:
        task = tasks[one.task]
        water = task.water_kl if energy.water and task.water_kl else (0.0,) * task.slots
        jobs.append(_fixed(energy, task.id, task.power_kw, water, one.start_slot))
    for robot, kw in sectors.work.charging_kw.items():
        jobs.append(_fixed(energy, AssetId(f"{robot}.charging"), kw, (0.0,) * n, 0))
    for zone, run in sectors.zones.items():
        jobs.append(_fixed(energy, zone, run.power_kw, (0.0,) * n, 0))
    offered = profile(problem, sectors).offered_kw

    def more(pv_kw: Series) -> Series:
        return tuple(a + b for a, b in zip(pv_kw, offered, strict=True))

    futures = tuple(replace(one, pv_kw=more(one.pv_kw)) for one in energy.scenarios)
    return replace(energy, jobs=tuple(jobs), pv_kw=more(energy.pv_kw), scenarios=futures)


def _fixed(energy: Problem, name: AssetId, kw: Series, water: Series, start: int) -> Job:
    """Returns a job that cannot move; not doing it costs more than any power that it could take."""
    dear = 10.0 * (1.0 + sum(kw) * energy.slot_h + sum(water)) * (over_price(energy) + 1.0)
    return Job(name, kw, water, start, start, dear)
