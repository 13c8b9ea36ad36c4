"""Problem to model: every domain adds its part, and the layout says which column is what."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from optimizer import energy, limits, plants, thermal, water, work
from optimizer.arrays import Assembly, Coupling, FloatArray, IntArray, Model
from optimizer.energy import BatteryColumns, GensetColumns, LoadColumns
from optimizer.limits import Flow
from optimizer.plants import PlantColumns
from optimizer.problem import AssetId, Problem
from optimizer.thermal import ThermalColumns
from optimizer.water import WaterColumns
from optimizer.work import ChargerColumns, JobColumns, SplitJobColumns

_BOTH_KW = 1e-4
"""Two opposite flows above this collide; below it is solver tolerance."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each part of the problem stands in the model."""

    coupling: Coupling
    load: LoadColumns
    batteries: dict[AssetId, BatteryColumns]
    gensets: dict[AssetId, GensetColumns]
    water: dict[AssetId, WaterColumns]  # by tank
    chargers: dict[AssetId, ChargerColumns]
    jobs: dict[AssetId, JobColumns]
    split_jobs: dict[AssetId, SplitJobColumns]
    thermal: dict[AssetId, ThermalColumns]
    plants: dict[AssetId, PlantColumns]
    feeders: dict[AssetId, IntArray] = field(default_factory=dict[AssetId, IntArray])  # kW of solar curtailed on each


def formulate(problem: Problem, *, blocks: bool = False, elastic: bool = False) -> tuple[Model, Layout]:
    """Returns the MILP of a valid problem; with `elastic`, lifelines may go unserved at no cost.

    Its linear relaxation has a point exactly when it has one: gensets may always run where the past does not
    bind them, jobs may be skipped, and pumps are fractions. So the relaxation decides what is impossible.
    """
    assembly = Assembly()
    net = np.array(problem.load_kw) - np.array(problem.pv_kw)
    coupling = Coupling(
        balance=assembly.rows(problem.slots, net, net),
        tanks={w.tank_id: water.add_tank_rows(assembly, w) for w in problem.water},
    )
    plants.add_wells(assembly, coupling, problem)
    early = _early_credit(problem)
    layout = Layout(
        coupling,
        energy.add_load(assembly, coupling, problem, elastic=elastic),
        {b.id: energy.add_battery(assembly, coupling, problem, b, early) for b in problem.batteries},
        {g.id: energy.add_genset(assembly, coupling, problem, g, blocks=blocks) for g in problem.gensets},
        {w.tank_id: water.add_water(assembly, coupling, problem, w, elastic=elastic) for w in problem.water},
        {c.id: work.add_charger(assembly, coupling, problem, c) for c in problem.chargers},
        {j.id: work.add_job(assembly, coupling, problem, j) for j in problem.jobs},
        {j.id: work.add_split_job(assembly, coupling, problem, j) for j in problem.split_jobs},
        {s.id: thermal.add_thermal(assembly, coupling, problem, s, early) for s in problem.thermal},
        {p.id: plants.add_plant(assembly, coupling, problem, p) for p in problem.plants},
    )
    if problem.feeders:
        using, spilled = flows(problem, layout), limits.spill_rows(assembly, problem, layout.load)
        added = {f.id: limits.add_feeder(assembly, problem, f, using, spilled) for f in problem.feeders}
        limits.nest_feeders(assembly, problem.feeders, added)
        layout.feeders.update({name: columns.curtailed for name, columns in added.items()})
    if problem.reserve is not None:
        limits.add_reserve(assembly, problem, problem.reserve, layout.batteries, layout.gensets)
    return assembly.finish(), layout


def flows(problem: Problem, layout: Layout) -> dict[AssetId, list[Flow]]:
    """Returns the columns through which each asset takes power, pumps by their own id; sources are negative."""
    every = np.arange(problem.slots)
    found: dict[AssetId, list[Flow]] = {}
    for name, battery in layout.batteries.items():
        found[name] = [Flow(every, battery.charge, 1.0), Flow(every, battery.discharge, -1.0)]
    for name, genset in layout.gensets.items():
        found[name] = [Flow(every, genset.power, -1.0)]
    for name, store in layout.thermal.items():
        found[name] = [Flow(every, store.power, 1.0)]
    for one in problem.water:
        found[one.pump_id] = [Flow(every, layout.water[one.tank_id].run, one.pump_kw)]
    for name, plant in layout.plants.items():
        found[name] = [Flow(use.slots, use.columns, use.power_kw) for use in plant.uses]
    for charger in problem.chargers:
        window = every[charger.from_slot : charger.until_slot]
        found[charger.id] = [Flow(window, layout.chargers[charger.id].power, 1.0)]
    for job in problem.jobs:
        starts = every[job.earliest_slot : job.latest_slot + 1]
        start = layout.jobs[job.id].start
        found[job.id] = [Flow(starts + offset, start, kw) for offset, kw in enumerate(job.power_kw)]
    for split in problem.split_jobs:
        window = every[split.earliest_slot : split.until_slot]
        found[split.id] = [Flow(window, layout.split_jobs[split.id].run, split.power_kw)]
    return found


def power_price(problem: Problem, layout: Layout, duals: FloatArray) -> FloatArray:
    """Returns what one kWh of load more would cost in each slot, by the duals of an LP."""
    return duals[layout.coupling.balance] / problem.slot_h


def _early_credit(problem: Problem) -> float:
    """Returns money per kWh and slot that breaks ties between equal plans: a millionth of the mean tariff."""
    prices = [abs(p) for p in problem.grid.import_price]
    return 1e-6 * sum(prices) / len(prices)


def collisions(problem: Problem, layout: Layout, x: FloatArray, *, everywhere: bool = False) -> IntArray:
    """Returns the columns to close because a solution uses two flows at once that exclude each other.

    Import and export earn on paper, charge and discharge burn energy in the losses, and no mode can say
    discharging into export. Flows are netted in this order and the smaller one is closed, so the netted
    solution stays a plan. With `everywhere`, one side is closed in every slot: nothing can collide any more.
    """
    load = layout.load
    bought, sold = x[load.bought] + x[load.bought_over], x[load.sold] + x[load.sold_over]
    imports, exports = [load.bought, load.bought_over], [load.sold, load.sold_over]
    closed = _smaller(bought, sold, imports, exports, everywhere=everywhere)
    sold = np.maximum(sold - bought, 0.0)
    for battery in problem.batteries:
        columns = layout.batteries[battery.id]
        discharge = x[columns.discharge]
        stored = x[columns.charge] * battery.charge_efficiency * battery.discharge_efficiency
        closed += _smaller(stored, discharge, [columns.charge], [columns.discharge], everywhere=everywhere)
        discharge = np.maximum(discharge - stored, 0.0)
        closed += _smaller(discharge, sold, [columns.discharge], exports, everywhere=everywhere)
        sold = np.maximum(sold - discharge, 0.0)
    return np.unique(np.concatenate(closed))


def _smaller(
    one: FloatArray, other: FloatArray, ones: list[IntArray], others: list[IntArray], *, everywhere: bool
) -> list[IntArray]:
    both = np.ones(len(one), dtype=np.bool_) if everywhere else (one > _BOTH_KW) & (other > _BOTH_KW)
    return [columns[both & (one < other)] for columns in ones] + [columns[both & (one >= other)] for columns in others]


def lifelines_only(model: Model, layout: Layout) -> Model:
    """Returns the elastic model with one aim: as little missing lifeline (kWh and kL alike) as can be."""
    cost = np.zeros_like(model.cost)
    cost[layout.load.missing] = 1.0
    for columns in layout.water.values():
        cost[columns.missing] = 1.0
    return replace(model, cost=cost)


def relaxed(model: Model) -> Model:
    """Returns the linear relaxation."""
    return replace(model, integer=np.zeros_like(model.integer))


def integers_fixed(model: Model, x: FloatArray) -> Model:
    """Returns the LP that is left when every integer keeps its value: its duals are the prices."""
    at = np.flatnonzero(model.integer)
    return decided(model, at, np.round(x[at]))


def decided(model: Model, columns: IntArray, values: FloatArray) -> Model:
    """Returns the model with some columns held at given values, no longer integers to search."""
    lower, upper, integer = model.lower.copy(), model.upper.copy(), model.integer.copy()
    lower[columns] = upper[columns] = values
    integer[columns] = False
    return replace(model, lower=lower, upper=upper, integer=integer)
