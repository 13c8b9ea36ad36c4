"""Wells, and the plants that bring water into tanks: on/off, variable speed, or in batches.

Whether a plant runs is an integer of the model; how fast is a mix of its points, which is exact while power rises
faster than flow: then no mix of distant points is cheaper than one of neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from devices.units import W_PER_KW
from optimizer.arrays import Assembly, BoolArray, Coupling, FloatArray, IntArray
from optimizer.problem import AssetId, Problem, Series, WaterPlant, Well


@dataclass(frozen=True, slots=True)
class Use:
    """Columns that are 1 where a plant runs at one point in the slots [kL/h, kW]."""

    slots: IntArray
    columns: IntArray
    flow_kl_per_h: float
    power_kw: float


@dataclass(frozen=True, slots=True)
class PlantColumns:
    """`decided` are the integers: running per slot, or the start of a batch."""

    decided: IntArray
    uses: tuple[Use, ...]


@dataclass(frozen=True, slots=True)
class PlantRun:
    """What a plan makes of a plant: whole watts, and the flow into its tank [kL/h]."""

    watts: tuple[int, ...]
    on: tuple[bool, ...]
    flow_kl_per_h: Series


def add_wells(assembly: Assembly, coupling: Coupling, problem: Problem) -> None:
    """Adds each well's rows to `coupling`: level before + inflow - taken - level = 0."""
    n, h = problem.slots, problem.slot_h
    for well in problem.wells:
        now = np.zeros(n)
        now[0] = -well.level_now_kl
        rows = assembly.rows(n, now, now)
        level = assembly.columns(n, 0, max(well.storage_kl, well.level_now_kl))
        inflow = assembly.columns(n, 0, well.yield_kl_per_h * h)
        assembly.add(rows, level, -1.0)
        assembly.add(rows[1:], level[:-1], 1.0)
        assembly.add(rows, inflow, 1.0)
        coupling.wells[well.id] = rows
        if well.limit_kl is not None:
            coupling.limits[well.id] = assembly.rows(1, upper=well.limit_kl)


def take(
    assembly: Assembly, coupling: Coupling, source: AssetId, slots: IntArray, columns: IntArray, kl: float
) -> None:
    """Lets columns take `kl` each from a well or a tank in some slots."""
    rows = coupling.wells.get(source)
    rows = coupling.tanks[source] if rows is None else rows
    assembly.add(rows[slots], columns, -kl)
    if source in coupling.limits:
        assembly.add(np.repeat(coupling.limits[source], len(columns)), columns, kl)


def add_plant(assembly: Assembly, coupling: Coupling, problem: Problem, plant: WaterPlant) -> PlantColumns:
    """Adds one plant."""
    columns = _batches(assembly, problem, plant) if plant.phases else _continuous(assembly, problem, plant)
    for use in columns.uses:
        kl = use.flow_kl_per_h * problem.slot_h
        assembly.add(coupling.balance[use.slots], use.columns, -use.power_kw)
        assembly.add(coupling.tanks[plant.tank][use.slots], use.columns, kl)
        if plant.source is not None:
            take(assembly, coupling, plant.source, use.slots, use.columns, kl / plant.recovery)
    return columns


def _continuous(assembly: Assembly, problem: Problem, plant: WaterPlant) -> PlantColumns:
    n = problem.slots
    every = np.arange(n)
    on = assembly.columns(n, 0, 1, integer=True)
    started = assembly.columns(n, 0, 1, plant.start_price)
    before = np.zeros(n)
    before[0] = float(plant.running)
    rows = assembly.rows(n, upper=before)  # on - on before - started <= 0
    assembly.add(rows, on, 1.0)
    assembly.add(rows[1:], on[:-1], -1.0)
    assembly.add(rows, started, -1.0)
    if plant.min_run_slots > 1:
        since = assembly.rows(n, upper=0.0)  # started within the last min_run_slots <= on
        for back in range(min(plant.min_run_slots, n)):
            assembly.add(since[back:], started[: n - back], 1.0)
        assembly.add(since, on, -1.0)
    keep = min(plant.keep_slots, n)
    if keep:
        stopped = assembly.columns(keep, 0, 1, plant.stop_price)
        kept = assembly.rows(keep, lower=1.0)
        assembly.add(kept, on[:keep], 1.0)
        assembly.add(kept, stopped, 1.0)
    if len(plant.points) == 1:
        return PlantColumns(on, (Use(every, on, plant.points[0].flow_kl_per_h, plant.points[0].power_kw),))
    shares = [assembly.columns(n, 0, 1) for _ in plant.points]
    sums = assembly.rows(n, 0.0, 0.0)
    for share in shares:
        assembly.add(sums, share, 1.0)
    assembly.add(sums, on, -1.0)
    uses = (Use(every, share, p.flow_kl_per_h, p.power_kw) for share, p in zip(shares, plant.points, strict=True))
    return PlantColumns(on, tuple(uses))


def _batches(assembly: Assembly, problem: Problem, plant: WaterPlant) -> PlantColumns:
    n, length = problem.slots, len(plant.phases)
    count = max(n - length + 1, 0)
    start = assembly.columns(count, 0, 1, plant.start_price, integer=True)
    rows = assembly.rows(n, upper=1.0)
    for phase in range(length):
        assembly.add(rows[phase : phase + count], start, 1.0)
    first = np.arange(count)
    uses = [Use(first + at, start, p.flow_kl_per_h, p.power_kw) for at, p in enumerate(plant.phases)]
    under_way = assembly.columns(1, 1, 1)
    for at, p in enumerate(plant.phases[length - plant.rest_slots :][:n]):
        assembly.add(rows[at : at + 1], under_way, 1.0)
        uses.append(Use(np.array([at]), under_way, p.flow_kl_per_h, p.power_kw))
    return PlantColumns(start, tuple(uses))


# ------------------------------------------------------------------------------------------- what it comes to


def used(columns: PlantColumns, x: FloatArray, slots: int) -> tuple[FloatArray, FloatArray]:
    """Returns what a plant brings [kL/h] and takes [kW] in each slot of a solution, in which it may run in parts."""
    flow, power = np.zeros(slots), np.zeros(slots)
    for use in columns.uses:
        np.add.at(flow, use.slots, x[use.columns] * use.flow_kl_per_h)
        np.add.at(power, use.slots, x[use.columns] * use.power_kw)
    return flow, power


def run_of(plant: WaterPlant, columns: PlantColumns, x: FloatArray, slots: int) -> PlantRun:
    """Returns a solved plant in whole watts; a mixed speed gives what its watts give."""
    on: BoolArray = np.zeros(slots, dtype=np.bool_)
    flow, power = np.zeros(slots), np.zeros(slots)
    if plant.phases:
        under_way = [-plant.phase_now] if plant.phase_now else []
        for start in (*under_way, *np.flatnonzero(x[columns.decided] > _YES).tolist()):
            for slot, phase in enumerate(plant.phases, start):
                if 0 <= slot < slots:
                    on[slot], flow[slot], power[slot] = True, phase.flow_kl_per_h, phase.power_kw
    else:
        on = x[columns.decided] > _YES
        flow, _ = used(columns, x, slots)
        flows = [point.flow_kl_per_h for point in plant.points]
        powers = [point.power_kw for point in plant.points]
        power = np.where(on, np.interp(flow, flows, powers), 0.0)
        exact = np.full(slots, flows[0])
        if len(flows) > 1:
            exact = np.interp(np.round(power * W_PER_KW) / W_PER_KW, powers, flows)
        flow = np.where(on, exact, 0.0)
    watts = np.round(power * W_PER_KW).astype(np.int64)
    return PlantRun(tuple(watts.tolist()), tuple(on.tolist()), tuple(flow.tolist()))


_YES = 0.5


def drawn_kl(problem: Problem, runs: dict[AssetId, PlantRun], tank: AssetId) -> list[float]:
    """Returns what plants take out of a tank less what they bring, per slot [kL]."""
    net = np.zeros(problem.slots)
    for plant in problem.plants:
        kl = np.array(runs[plant.id].flow_kl_per_h) * problem.slot_h
        net += (plant.source == tank) * kl / plant.recovery - (plant.tank == tank) * kl
    return net.tolist()


def well_levels(
    problem: Problem, well: Well, runs: dict[AssetId, PlantRun], pumps: dict[AssetId, tuple[int, ...]]
) -> Series:
    """Returns the well's level at the end of each slot [kL]; `pumps` are the watts of the water systems' pumps."""
    taken = np.zeros(problem.slots)
    for plant in problem.plants:
        if plant.source == well.id:
            taken += np.array(runs[plant.id].flow_kl_per_h) * problem.slot_h / plant.recovery
    for water in problem.water:
        if water.well == well.id:
            part = np.array(pumps[water.pump_id]) / round(water.pump_kw * W_PER_KW)
            taken += part * water.pump_flow_kl_per_h * problem.slot_h
    level, levels = well.level_now_kl, list[float]()
    for kl in taken.tolist():
        level = min(max(well.storage_kl, well.level_now_kl), level + well.yield_kl_per_h * problem.slot_h - kl)
        levels.append(level)
    return tuple(levels)
