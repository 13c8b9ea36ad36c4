"""How far shiftable load as a whole can be moved in time: cars, heat, jobs and chargers around the powers of an LP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.arrays import FloatArray
from optimizer.formulation import Layout, flows
from optimizer.problem import AssetId, Problem


@dataclass(frozen=True, slots=True)
class Envelope:
    """How far shiftable load as a whole may stray from the last LP, per slot."""

    base_kw: FloatArray  # what it takes in that LP
    less_kw: FloatArray  # by how much its power may be lower
    more_kw: FloatArray  # or higher
    behind_kwh: FloatArray  # by how much its energy so far may be lower
    ahead_kwh: FloatArray  # or higher


def envelope_of(problem: Problem, layout: Layout, x: FloatArray) -> Envelope:
    """Returns how far everything but stores and gensets may stray from the powers of a solution."""
    n, h = problem.slots, problem.slot_h
    apart = {asset.id for asset in (*problem.stores, *problem.gensets)}
    power: dict[AssetId, FloatArray] = {}
    for name, parts in flows(problem, layout).items():
        if name in apart:
            continue
        power[name] = np.zeros(n)
        for flow in parts:
            np.add.at(power[name], flow.slots, flow.kw * x[flow.columns])
    base = sum(power.values(), start=np.zeros(n))
    movable = [
        *_cars(problem, layout, x),
        *_heat(problem, layout, x),
        *_windows(problem, power),
    ]
    if not movable:
        return Envelope(base, *(np.zeros(n) for _ in range(4)))
    least, most, low, high = (np.array([m[i] for m in movable]) for i in (1, 2, 3, 4))
    now = np.array([power[m[0]] for m in movable])
    less, more = np.maximum(now - least, 0.0), np.maximum(most - now, 0.0)
    behind, ahead = np.maximum(-low, 0.0), np.maximum(high, 0.0)
    behind[:, -1] = ahead[:, -1] = 0.0
    ahead, behind = _reachable(ahead, more * h, less * h), _reachable(behind, less * h, more * h)
    return Envelope(base, less.sum(axis=0), more.sum(axis=0), behind.sum(axis=0), ahead.sum(axis=0))


def _reachable(limit: FloatArray, up: FloatArray, down: FloatArray) -> FloatArray:
    """Returns how far each device can stray and still be back in time: up by `up` and down by `down` per slot."""
    reached = limit.copy()
    reached[:, 0] = np.minimum(reached[:, 0], up[:, 0])
    for t in range(1, limit.shape[1]):
        reached[:, t] = np.minimum(reached[:, t], reached[:, t - 1] + up[:, t])
    for t in range(limit.shape[1] - 2, -1, -1):
        reached[:, t] = np.minimum(reached[:, t], reached[:, t + 1] + down[:, t + 1])
    return reached


_Movable = tuple[AssetId, FloatArray, FloatArray, FloatArray, FloatArray]
"""Id, least and most power [kW], and how much less and more energy it may have had [kWh, less is negative]."""


def _cars(problem: Problem, layout: Layout, x: FloatArray) -> list[_Movable]:
    found: list[_Movable] = []
    for battery in problem.batteries:
        if battery.stationary:
            continue
        soc = x[layout.batteries[battery.id].soc]
        floor = np.full(problem.slots, min(battery.soc_min_kwh, battery.soc_now_kwh))
        for leaves in battery.departures:
            floor[leaves.slot - 1] = max(floor[leaves.slot - 1], min(leaves.energy_kwh, soc[leaves.slot - 1]))
        there = np.array(battery.present or (True,) * problem.slots, dtype=np.float64)
        low, high = (floor - soc) / battery.charge_efficiency, (battery.soc_max_kwh - soc) / battery.charge_efficiency
        found.append((battery.id, np.zeros(problem.slots), battery.charge_kw_max * there, low, high))
    return found


def _heat(problem: Problem, layout: Layout, x: FloatArray) -> list[_Movable]:
    found: list[_Movable] = []
    for store in problem.thermal:
        level, cop = x[layout.thermal[store.id].level], np.maximum(np.array(store.cop), 1e-6)
        low, high = (np.minimum(store.low_kwh, level) - level) / cop, (store.high_kwh - level) / cop
        found.append((store.id, np.zeros(problem.slots), np.full(problem.slots, store.power_kw_max), low, high))
    return found


def _windows(problem: Problem, power: dict[AssetId, FloatArray]) -> list[_Movable]:
    """Returns what has a window: chargers, jobs in one run and jobs that may pause."""
    n, h = problem.slots, problem.slot_h
    windows = [(c.id, c.power_kw_max, c.from_slot, c.until_slot) for c in problem.chargers]
    windows += [(j.id, max(j.power_kw), j.earliest_slot, j.latest_slot + len(j.power_kw)) for j in problem.jobs]
    windows += [(j.id, j.power_kw, j.earliest_slot, j.until_slot) for j in problem.split_jobs]
    found: list[_Movable] = []
    for name, kw, first, until in windows:
        most = np.zeros(n)
        most[first:until] = kw
        so_far = np.cumsum(power[name]) * h
        found.append((name, np.zeros(n), most, -so_far, so_far[-1] - so_far))
    return found
