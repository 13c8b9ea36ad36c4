"""When each water plant runs, in whole slots and whole batches, without a search: the cheapest runs at given prices.

A relaxation knows what power costs in each slot and what everything else does to the tanks. With both held, one
plant's best runs are a shortest path over (slot, water brought so far, on since), which dynamic programming finds
exactly; what a well holds goes along with the best way to each state. One plant hardly moves the price, so plants are
decided one after the other, each at the prices that the ones before left. Whether that is good enough is for the caller
to see (`rounding.nearly`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.arrays import FloatArray, IntArray
from optimizer.formulation import Layout
from optimizer.plants import used
from optimizer.problem import Problem, WaterPlant, WaterSystem

_STEPS = 8
"""Parts of the highest flow by which a drive with variable speed is planned here; the LP then finds its speeds."""

_LEVEL_NEAR = 1e-6


@dataclass(frozen=True, slots=True)
class _Ways:
    """What a plant can do in a slot in which it runs: units of water [`unit_kl`] and power [kW]."""

    unit_kl: float
    units: tuple[int, ...]
    power_kw: tuple[float, ...]


def best_runs(
    problem: Problem,
    layout: Layout,
    x: FloatArray,
    price: FloatArray,
    plant: WaterPlant,
    lean: float = 0.0,
    *,
    yields: bool = False,
) -> FloatArray:
    """Returns the plant's decided columns: 1.0 where it runs, or a batch starts; all else does what it does in `x`.

    Empty where none keeps its tank and its source within their limits.

    Args:
        problem: what is planned.
        layout: where its model's columns are.
        x: a solution of the relaxation, in which this plant may run in parts.
        price: what a kWh costs in each slot.
        plant: whose integers are wanted.
        lean: how far the price goes towards the tariff beyond what the plant takes in `x` [0 to 1]. Without it a large
            plant whose water is worth what it costs would run always or never.
        yields: that other plants are not decided yet and can make room in tanks, or fill them: at a price, not a limit.
    """
    if plant.phases:
        powers = (0.0, *(phase.power_kw for phase in plant.phases))
        money = _power_money(problem, layout, x, price, plant, powers, lean)
        return _batches(problem, layout, x, money, plant, yields=yields)
    ways = _ways(plant, problem.slot_h)
    money = _power_money(problem, layout, x, price, plant, (0.0, *ways.power_kw), lean)
    return _slots(problem, layout, x, money, plant, ways, yields=yields)


def _power_money(
    problem: Problem,
    layout: Layout,
    x: FloatArray,
    price: FloatArray,
    plant: WaterPlant,
    power_kw: Sequence[float],
    lean: float,
) -> FloatArray:
    """Returns what it costs to take these powers in each slot [slot, power].

    The price holds for what the plant takes in `x`, for what `x` cuts or sells, and down to where it buys nothing.
    Beyond, stores have to move too, and the price goes towards the tariff: `lean` of the way is taken.
    """
    load, grid = layout.load, problem.grid
    _, own = used(layout.plants[plant.id], x, problem.slots)
    spare = x[load.sold] + x[load.sold_over] + x[load.curtailed]
    bought = x[load.bought] + x[load.bought_over]
    change = np.array(power_kw) - own[:, None]
    dear = np.maximum(np.array(problem.price_beyond) - price, 0.0) * lean
    cheap = np.maximum(price - np.where(grid.available, grid.export_price, 0.0), 0.0) * lean
    money = np.outer(price, power_kw)
    money += np.maximum(change - spare[:, None], 0.0) * dear[:, None]
    money += np.maximum(-change - bought[:, None], 0.0) * cheap[:, None]
    return money * problem.slot_h


class _Levels:
    """What it costs [money] to have brought so much water by the end of a slot."""

    def __init__(self, problem: Problem, layout: Layout, x: FloatArray, plant: WaterPlant, *, yields: bool) -> None:
        tanks = {water.tank_id: water for water in problem.water}
        brought = np.cumsum(_brought(problem, layout, x, plant))
        self._recovery = plant.recovery
        self._tank = _Tank(tanks[plant.tank], x[layout.water[plant.tank].level] - brought, yields=yields)
        self._source: _Tank | None = None
        self._most_kl = np.inf
        for well in problem.wells:
            if well.id == plant.source and well.limit_kl is not None:
                others = _taken(problem, layout, x, plant).sum()
                self._most_kl = (well.limit_kl - others) * plant.recovery
        source = None if plant.source is None else tanks.get(plant.source)
        if source is not None:
            level = x[layout.water[source.tank_id].level] + brought / plant.recovery
            self._source = _Tank(source, level, yields=yields, gives=True)

    def cost(self, slot: int, brought_kl: FloatArray) -> FloatArray:
        """Returns the money of reserves and margins that are missed; infinite beyond a limit."""
        found = self._tank.cost(slot, brought_kl)
        if self._source is not None:
            found = found + self._source.cost(slot, -brought_kl / self._recovery)
        return np.where(brought_kl > self._most_kl + _LEVEL_NEAR, np.inf, found)

    def value(self, brought_kl: FloatArray) -> FloatArray:
        """Returns what the water left at the end is worth [money]."""
        worth = self._tank.water.terminal_value * brought_kl
        if self._source is not None:
            worth = worth - self._source.water.terminal_value * brought_kl / self._recovery
        return worth


class _Source:
    """The well that a plant draws from, with what others take from it; without one there is no end of water."""

    def __init__(self, problem: Problem, layout: Layout, x: FloatArray, plant: WaterPlant) -> None:
        self._recovery, self._storage, self.now = plant.recovery, np.inf, np.inf
        self._gain = np.zeros(problem.slots)  # what flows in less what others take [kL]
        for well in problem.wells:
            if well.id == plant.source:
                self._storage, self.now = max(well.storage_kl, well.level_now_kl), well.level_now_kl
                self._gain = well.yield_kl_per_h * problem.slot_h - _taken(problem, layout, x, plant)

    def after(self, slot: int, held: FloatArray, brought_kl: float) -> FloatArray:
        """Returns what the well holds after a slot in which the plant brings so much; below 0: it has not got it."""
        return np.minimum(held + self._gain[slot] - brought_kl / self._recovery, self._storage)


def _taken(problem: Problem, layout: Layout, x: FloatArray, plant: WaterPlant) -> FloatArray:
    """Returns what all others take in each slot from the well that a plant draws from [kL]."""
    taken = np.zeros(problem.slots)
    for other in problem.plants:
        if other.source == plant.source and other is not plant:
            taken += _brought(problem, layout, x, other) / other.recovery
    for water in problem.water:
        if water.well == plant.source:
            taken += x[layout.water[water.tank_id].run] * water.pump_flow_kl_per_h * problem.slot_h
    return taken


class _Tank:
    def __init__(self, water: WaterSystem, level: FloatArray, *, yields: bool, gives: bool = False) -> None:
        self.water, self._level = water, level
        self._wanted = water.reserve_kl + np.array(water.margin_kl or (0.0,) * len(level))
        self._high = max(water.high_kl, water.level_now_kl)
        beyond = water.reserve_price + 2 * water.terminal_value if yields else np.inf
        self._over_price, self._under_price = beyond, beyond if gives else water.unserved_price

    def cost(self, slot: int, more_kl: FloatArray) -> FloatArray:
        level = self._level[slot] + more_kl
        found = self.water.reserve_price * np.maximum(self.water.reserve_kl - level, 0.0)
        found += self.water.margin_price * np.maximum(self._wanted[slot] - level, 0.0)
        for beyond, price in ((level - self._high, self._over_price), (-level, self._under_price)):
            out = beyond > _LEVEL_NEAR
            found[out] += beyond[out] * price
        return found


def _brought(problem: Problem, layout: Layout, x: FloatArray, plant: WaterPlant) -> FloatArray:
    """Returns what a plant brings in each slot of a solution [kL]."""
    flow, _ = used(layout.plants[plant.id], x, problem.slots)
    return flow * problem.slot_h


# ----------------------------------------------------------------------------------------------- on and off


def _ways(plant: WaterPlant, slot_h: float) -> _Ways:
    flows = [point.flow_kl_per_h for point in plant.points]
    powers = [point.power_kw for point in plant.points]
    if len(flows) == 1:
        return _Ways(flows[0] * slot_h, (1,), (powers[0],))
    step = flows[-1] / _STEPS
    units = tuple(count for count in range(1, _STEPS + 1) if count * step >= flows[0] - _LEVEL_NEAR)
    return _Ways(step * slot_h, units, tuple(np.interp([count * step for count in units], flows, powers).tolist()))


def _slots(
    problem: Problem, layout: Layout, x: FloatArray, money: FloatArray, plant: WaterPlant, ways: _Ways, *, yields: bool
) -> FloatArray:
    """Returns the best of all runs of whole slots, over (how long on, water brought so far)."""
    n, least = problem.slots, max(plant.min_run_slots, 1)
    levels, source = _Levels(problem, layout, x, plant, yields=yields), _Source(problem, layout, x, plant)
    brought_kl = np.linspace(0.0, n * ways.units[-1] * ways.unit_kl, n * ways.units[-1] + 1)
    held: FloatArray = np.full((least + 1, len(brought_kl)), source.now)
    cost: FloatArray = np.full((least + 1, len(brought_kl)), np.inf)  # by slots that it has been on (0: off), units
    cost[least if plant.running else 0, 0] = 0.0
    came: list[tuple[IntArray, IntArray]] = []  # per slot: age before, units brought in it
    for slot in range(n):
        stopped = plant.stop_price if slot < plant.keep_slots else 0.0
        then: FloatArray = np.full_like(cost, np.inf)
        left: FloatArray = np.zeros_like(cost)
        age: IntArray = np.zeros(cost.shape, dtype=np.int64)
        units: IntArray = np.zeros(cost.shape, dtype=np.int64)
        for before, after, extra in (
            (0, 0, stopped),
            (least, 0, stopped),
            (0, 1, plant.start_price),
            *((on, min(on + 1, least), 0.0) for on in range(1, least + 1)),
        ):
            for count, paid in zip(ways.units, money[slot, 1:], strict=True) if after else ((0, money[slot, 0]),):
                there, from_there = slice(count, None), slice(0, len(brought_kl) - count)
                water = source.after(slot, held[before, from_there], count * ways.unit_kl)
                new = np.where(water < -_LEVEL_NEAR, np.inf, cost[before, from_there] + extra + paid)
                better = new < then[after, there]
                then[after, there][better], left[after, there][better] = new[better], water[better]
                age[after, there][better], units[after, there][better] = before, count
        held, cost = left, then + levels.cost(slot, brought_kl)
        came.append((age, units))
    cost = cost - levels.value(brought_kl)
    if not np.isfinite(cost).any():
        return np.zeros(0)
    on, brought = (int(at) for at in np.unravel_index(int(np.argmin(cost)), cost.shape))
    runs = np.zeros(n)
    for slot in range(n - 1, -1, -1):
        runs[slot] = float(on > 0)
        age, units = came[slot]
        on, brought = int(age[on, brought]), brought - int(units[on, brought])
    return runs


# ------------------------------------------------------------------------------------------------- batches


def _batches(
    problem: Problem, layout: Layout, x: FloatArray, money: FloatArray, plant: WaterPlant, *, yields: bool
) -> FloatArray:
    """Returns the best starts of whole batches, over (slot, batches begun so far)."""
    n, h, length = problem.slots, problem.slot_h, len(plant.phases)
    rest, levels = min(plant.rest_slots, n), _Levels(problem, layout, x, plant, yields=yields)
    source = _Source(problem, layout, x, plant)
    flow = np.array([phase.flow_kl_per_h for phase in plant.phases]) * h
    under_way = np.zeros(n)
    under_way[:rest] = flow[length - plant.rest_slots :][:rest]
    first = np.cumsum(under_way)  # what the batch under way brings
    count = max(n - length + 1, 0)
    starts = np.arange(n // length + 1)
    cost: FloatArray = np.full((n + 1, len(starts)), np.inf)
    begun: IntArray = np.zeros((n + 1, len(starts)), dtype=np.int64)  # 1 where a batch ends here on the best way
    held: FloatArray = np.full((n + 1, len(starts)), source.now)
    cost[rest, 0] = sum(float(levels.cost(slot, first[slot : slot + 1])[0]) for slot in range(rest))
    for slot in range(rest):
        held[rest] = source.after(slot, held[rest], under_way[slot])
    for slot in range(rest, n):
        done = starts * flow.sum()
        idle = cost[slot] + money[slot, 0] + levels.cost(slot, first[slot] + done)
        better = idle < cost[slot + 1]
        cost[slot + 1][better], begun[slot + 1][better] = idle[better], 0
        held[slot + 1][better] = source.after(slot, held[slot], 0.0)[better]
        if slot < count:
            run, water = cost[slot] + plant.start_price + money[slot : slot + length, 1:].trace(), held[slot]
            for at, kl in enumerate(np.cumsum(flow).tolist()):
                water = source.after(slot + at, water, float(flow[at]))
                run = np.where(water < -_LEVEL_NEAR, np.inf, run + levels.cost(slot + at, first[slot + at] + done + kl))
            better = run[:-1] < cost[slot + length, 1:]
            cost[slot + length, 1:][better], begun[slot + length, 1:][better] = run[:-1][better], 1
            held[slot + length, 1:][better] = water[:-1][better]
    last = cost[n] - levels.value(starts * flow.sum())
    if not np.isfinite(last).any():
        return np.zeros(0)
    found = np.zeros(count)
    slot, batches = n, int(np.argmin(last))
    while slot > rest:
        if begun[slot, batches]:
            slot, batches = slot - length, batches - 1
            found[slot] = 1.0
        else:
            slot -= 1
    return found
