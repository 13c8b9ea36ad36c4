"""Thermal stores: hot water, heated houses, cold rooms. Their device is continuous, their comfort band soft."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.arrays import Assembly, Coupling, IntArray
from optimizer.energy import add_soft_floor
from optimizer.problem import Problem, ThermalStore


@dataclass(frozen=True, slots=True)
class ThermalColumns:
    """Per slot: electric kW, kWh of heat at the end, kWh of demand not served."""

    power: IntArray
    level: IntArray
    unserved: IntArray


def add_thermal(
    assembly: Assembly, coupling: Coupling, problem: Problem, store: ThermalStore, early: float
) -> ThermalColumns:
    """Adds one thermal store; `early` as for batteries: equal plans heat as soon as they can."""
    n, h = problem.slots, problem.slot_h
    kept = 1.0 - store.loss_per_h * h
    worth = np.full(n, -early * 0.1)
    worth[-1] -= store.terminal_value
    demand = np.array(store.demand_kwh)
    power = assembly.columns(n, 0, store.power_kw_max)
    level = assembly.columns(n, 0, max(store.high_kwh, store.level_now_kwh), worth)
    unserved = assembly.columns(n, 0, demand, store.unserved_price)
    assembly.add(coupling.balance, power, -1.0)
    taken = demand.copy()
    taken[0] -= kept * store.level_now_kwh
    rows = assembly.rows(n, taken, taken)  # kept x level before + heat + unserved - level = demand
    assembly.add(rows, level, -1.0)
    assembly.add(rows[1:], level[:-1], kept)
    assembly.add(rows, power, np.array(store.cop) * h)
    assembly.add(rows, unserved, 1.0)
    add_soft_floor(assembly, level, np.full(n, store.low_kwh), store.comfort_price)
    return ThermalColumns(power, level, unserved)
