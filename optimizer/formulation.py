"""Problem to model: every domain adds its part, and the layout says which column is what."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from optimizer import energy, water, work
from optimizer.arrays import Assembly, Coupling, FloatArray, IntArray, Model
from optimizer.energy import BatteryColumns, GensetColumns, LoadColumns
from optimizer.problem import AssetId, Problem
from optimizer.water import WaterColumns
from optimizer.work import ChargerColumns, JobColumns

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
    early = _early_credit(problem)
    layout = Layout(
        coupling,
        energy.add_load(assembly, coupling, problem, elastic=elastic),
        {b.id: energy.add_battery(assembly, coupling, problem, b, early) for b in problem.batteries},
        {g.id: energy.add_genset(assembly, coupling, problem, g, blocks=blocks) for g in problem.gensets},
        {w.tank_id: water.add_water(assembly, coupling, problem, w, elastic=elastic) for w in problem.water},
        {c.id: work.add_charger(assembly, coupling, problem, c) for c in problem.chargers},
        {j.id: work.add_job(assembly, coupling, problem, j) for j in problem.jobs},
    )
    return assembly.finish(), layout


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
