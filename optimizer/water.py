"""Water: one on/off pump filling one tank, demand with a lifeline that is hard and a rest that has a price."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.arrays import Assembly, Coupling, IntArray
from optimizer.energy import add_soft_floor
from optimizer.problem import Problem, WaterSystem


@dataclass(frozen=True, slots=True)
class WaterColumns:
    """Per slot: pump on, kL in the tank at the end, kL of demand not served, kL of lifeline missing."""

    on: IntArray
    level: IntArray
    unserved: IntArray
    missing: IntArray


def add_water(
    assembly: Assembly, coupling: Coupling, problem: Problem, water: WaterSystem, *, elastic: bool
) -> WaterColumns:
    """Adds one pump and tank; `elastic` lets the lifeline go unserved at no cost (to say what is missing)."""
    n, h = problem.slots, problem.slot_h
    demand, lifeline = np.array(water.demand_kl), np.array(water.lifeline_kl)
    worth = np.zeros(n)
    worth[-1] = -water.terminal_value
    on = assembly.columns(n, 0, 1, integer=True)
    started = assembly.columns(n, 0, 1, water.start_price)
    level = assembly.columns(n, 0, max(water.high_kl, water.level_now_kl), worth)
    unserved = assembly.columns(n, 0, np.maximum(demand - lifeline, 0.0), water.unserved_price)
    missing = assembly.columns(n, 0, lifeline if elastic else 0.0)
    assembly.add(coupling.balance, on, -water.pump_kw)
    rows = coupling.tanks[water.tank_id]
    assembly.add(rows, level, -1.0)
    assembly.add(rows[1:], level[:-1], 1.0)
    assembly.add(rows, on, water.pump_flow_kl_per_h * h)
    assembly.add(rows, unserved, 1.0)
    assembly.add(rows, missing, 1.0)
    before = np.zeros(n)
    before[0] = float(water.running)
    start = assembly.rows(n, upper=before)  # on - on before - started <= 0
    assembly.add(start, on, 1.0)
    assembly.add(start[1:], on[:-1], -1.0)
    assembly.add(start, started, -1.0)
    add_soft_floor(assembly, level, np.full(n, water.reserve_kl), water.reserve_price)
    return WaterColumns(on, level, unserved, missing)


def add_tank_rows(assembly: Assembly, water: WaterSystem) -> IntArray:
    """Returns the tank's rows: level before + inflow + unserved - taken - level = demand [kL]."""
    demand = np.array(water.demand_kl)
    demand[0] -= water.level_now_kl
    return assembly.rows(len(demand), demand, demand)
