"""Water: one on/off pump filling one tank, demand with a lifeline that is hard and a rest that has a price.

The model knows the pump as the fraction of each slot that it runs; `whole_slots` then finds the best
schedule of whole slots at the prices which that plan gave. On four village days ninety-six pump binaries cost
3 to 11 s of search for 0.02 to 0.3 %, because one pump hardly moves the price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.arrays import Assembly, BoolArray, Coupling, FloatArray, IntArray
from optimizer.energy import add_soft_floor
from optimizer.plants import take
from optimizer.problem import Problem, WaterSystem


@dataclass(frozen=True, slots=True)
class WaterColumns:
    """Per slot: part that the pump runs, kL in the tank at the end, kL of demand unserved, kL of lifeline missing."""

    run: IntArray
    level: IntArray
    unserved: tuple[IntArray, ...]  # one per tier and one for the rest; together what is not served
    missing: IntArray


def add_water(
    assembly: Assembly, coupling: Coupling, problem: Problem, water: WaterSystem, *, elastic: bool
) -> WaterColumns:
    """Adds one pump and tank; `elastic` lets the lifeline go unserved at no cost (to say what is missing)."""
    n, h = problem.slots, problem.slot_h
    lifeline = np.array(water.lifeline_kl)
    worth = np.zeros(n)
    worth[-1] = -water.terminal_value
    run = assembly.columns(n, 0, float(water.pumped))
    started = assembly.columns(n, 0, 1, water.start_price)
    level = assembly.columns(n, 0, max(water.high_kl, water.level_now_kl), worth)
    unserved = tuple(assembly.columns(n, 0, kl, price) for kl, price in tiers_of(water))
    missing = assembly.columns(n, 0, lifeline if elastic else 0.0)
    assembly.add(coupling.balance, run, -water.pump_kw)
    rows = coupling.tanks[water.tank_id]
    assembly.add(rows, level, -1.0)
    assembly.add(rows[1:], level[:-1], 1.0)
    assembly.add(rows, run, water.pump_flow_kl_per_h * h)
    for part in unserved:
        assembly.add(rows, part, 1.0)
    if water.well is not None:
        take(assembly, coupling, water.well, np.arange(n), run, water.pump_flow_kl_per_h * h)
    assembly.add(rows, missing, 1.0)
    before = np.zeros(n)
    before[0] = float(water.running)
    start = assembly.rows(n, upper=before)  # run - run before - started <= 0
    assembly.add(start, run, 1.0)
    assembly.add(start[1:], run[:-1], -1.0)
    assembly.add(start, started, -1.0)
    add_soft_floor(assembly, level, np.full(n, water.reserve_kl), water.reserve_price)
    if water.margin_kl:
        add_soft_floor(assembly, level, water.reserve_kl + np.array(water.margin_kl), water.margin_price)
    return WaterColumns(run, level, unserved, missing)


def tiers_of(water: WaterSystem) -> list[tuple[FloatArray, float]]:
    """Returns (kL per slot, price) of each part of the demand that may go unserved, the rest of it last."""
    rest = np.maximum(np.array(water.demand_kl) - np.array(water.lifeline_kl), 0.0)
    found: list[tuple[FloatArray, float]] = []
    for tier in water.tiers:
        kl = np.minimum(np.array(tier.kl), rest)
        rest = rest - kl
        found.append((kl, tier.price))
    return [*found, (rest, water.unserved_price)]


def add_tank_rows(assembly: Assembly, water: WaterSystem) -> IntArray:
    """Returns the tank's rows: level before + inflow + unserved - taken - level = demand [kL]."""
    demand = np.array(water.demand_kl)
    demand[0] -= water.level_now_kl
    return assembly.rows(len(demand), demand, demand)


def whole_slots(water: WaterSystem, slot_h: float, drawn_kl: FloatArray, price: FloatArray) -> FloatArray | None:
    """Returns 1.0 or 0.0 per slot: the cheapest schedule of whole slots at given prices, or None.

    Dynamic programming over (slots pumped so far, pump on): exact for these prices and draws. None where the
    tank is too small for whole slots, so that only parts of slots keep it within its limits.

    Args:
        water: pump and tank.
        slot_h: length of a slot.
        drawn_kl: what leaves the tank in each slot [kL].
        price: what a kWh costs in each slot.
    """
    n = len(drawn_kl)
    flow = water.pump_flow_kl_per_h * slot_h
    pumped = np.arange(n + 1)
    cost: FloatArray = np.full((2, n + 1), np.inf)  # by (on now, slots pumped so far)
    cost[int(water.running), 0] = 0.0
    came_on = np.zeros((n, 2, n + 1), dtype=np.bool_)
    level = water.level_now_kl + pumped * flow - np.cumsum(drawn_kl)[:, None]  # [slot, slots pumped so far]
    wanted = water.reserve_kl + np.array(water.margin_kl or (0.0,) * n)[:, None]
    there = water.reserve_price * np.maximum(water.reserve_kl - level, 0.0)
    there += water.margin_price * np.maximum(wanted - level, 0.0)
    there[(level < -_LEVEL_NEAR) | (level > max(water.high_kl, water.level_now_kl) + _LEVEL_NEAR)] = np.inf
    for t in range(n):
        was_off, was_on = cost
        came_on[t, 0] = was_on < was_off
        start = np.minimum(was_on, was_off + water.start_price)
        came_on[t, 1, 1:] = (was_on <= was_off + water.start_price)[:-1]
        run = np.concatenate([[np.inf], start[:-1]]) + price[t] * water.pump_kw * slot_h
        cost = np.stack([np.minimum(was_off, was_on), run]) + there[t]
    return _walk_back(cost - water.terminal_value * pumped * flow, came_on)


_LEVEL_NEAR = 1e-6


def _walk_back(cost: FloatArray, came_on: BoolArray) -> FloatArray | None:
    if not np.isfinite(cost).any():
        return None
    on, count = (int(i) for i in np.unravel_index(int(np.argmin(cost)), cost.shape))
    schedule = np.zeros(len(came_on))
    for t in range(len(came_on) - 1, -1, -1):
        schedule[t] = on
        before = int(came_on[t, on, count])
        count -= on
        on = before
    return schedule
