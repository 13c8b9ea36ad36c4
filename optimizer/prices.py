"""What each limit of a plan is worth: duals and reduced costs of the LP with integers fixed, by name of the limit.

The least cost of that LP is a convex function of every limit. So a price read here is exact for a small step, and no
alternative costs less than its prices say: a reason built on them can be tested by moving the limit and solving again
(`optimizer/relax.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from optimizer.arrays import FloatArray, IntArray, Model
from optimizer.formulation import Layout, power_price
from optimizer.plan import Binding, Limit
from optimizer.problem import AssetId, Job, Problem, SplitJob, WaterSystem

SMALL = 1e-6
"""Prices below this are nothing: solvers keep 1e-7, and equal plans are told apart by less."""


class Side(Enum):
    """Which number of the model a limit is."""

    ROW = 1
    UPPER = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where a limit stands in the model: loosening it by one unit adds `per_unit` to that number."""

    side: Side
    index: int
    per_unit: float


def place(problem: Problem, model: Model, layout: Layout, binding: Binding) -> Place | None:
    """Returns where a named limit stands; None where this problem has no such limit."""
    found = _places(problem, model, layout, binding.limit, binding.asset)
    return None if found is None else Place(found[0], int(found[1][binding.slot]), found[2])


def _places(
    problem: Problem, model: Model, layout: Layout, limit: Limit, asset: AssetId
) -> tuple[Side, IntArray, float] | None:
    """Returns side, index by slot and `per_unit` of a limit (see `Place`)."""
    h, battery, load = problem.slot_h, layout.batteries.get(asset), layout.load
    match limit:
        case Limit.LOAD:
            return Side.ROW, layout.coupling.balance, -1.0 / h
        case Limit.IMPORT:
            return Side.UPPER, load.bought, 1.0 / h
        case Limit.EXPORT:
            return Side.UPPER, load.sold, 1.0 / h
        case Limit.TANK:
            return Side.ROW, layout.coupling.tanks[asset], -1.0
        case Limit.NEED:  # one row, whatever the slot
            row = _row_of(model, int(layout.chargers[asset].unserved[0]))
            return Side.ROW, np.full(problem.slots, row), -1.0
        case _ if battery is None:
            return None
        case Limit.STORED:
            return Side.ROW, battery.soc_rows, -1.0
        case Limit.FULL:
            return Side.UPPER, battery.soc, 1.0
        case Limit.CHARGE_POWER:
            return Side.UPPER, battery.charge, 1.0 / h
        case Limit.DISCHARGE_POWER:
            return Side.UPPER, battery.discharge, 1.0 / h


def _row_of(model: Model, column: int) -> int:
    """Returns the one row in which a column stands."""
    return int(model.row[np.flatnonzero(model.column == column)[0]])


class Prices:
    """The prices of one solved LP. Money; per kWh (per kL for tanks) of the limit named."""

    def __init__(self, problem: Problem, model: Model, layout: Layout, duals: FloatArray) -> None:
        """Takes the model whose integers are fixed, and its duals per row."""
        self._problem, self._model, self._layout = problem, model, layout
        self._duals = duals
        spent = np.bincount(model.column, weights=model.value * duals[model.row], minlength=len(model.cost))
        self._reduced = model.cost - spent
        self._known: dict[tuple[Limit, str], tuple[list[float], dict[int, Binding]]] = {}  # prices and what was asked
        self.power = tuple(power_price(problem, layout, duals).tolist())
        self.told = tuple(round(price, 6) for price in self.power)

    def of(self, limit: Limit, slot: int, asset: AssetId | str = "") -> Binding:
        """Returns a limit with what one unit more of it would save; 0.0 where it does not bind."""
        prices, bindings = self._worth(limit, asset)
        binding = bindings.get(slot)
        if binding is None:
            binding = bindings[slot] = Binding(limit, AssetId(asset), slot, prices[slot])
        return binding

    def first(self, *limits: tuple[Limit, int, AssetId | str]) -> Binding:
        """Returns the first limit (kind, slot, asset) that binds; where none does, the last one."""
        for limit, slot, asset in limits:
            if self._worth(limit, asset)[0][slot] > SMALL:
                return self.of(limit, slot, asset)
        return self.of(*limits[-1])

    def binds(self, limit: Limit, slot: int, asset: AssetId | str) -> bool:
        """Returns whether one unit more of a limit would save anything."""
        return self._worth(limit, asset)[0][slot] > SMALL

    def _worth(self, limit: Limit, asset: AssetId | str) -> tuple[list[float], dict[int, Binding]]:
        """Returns what a limit is worth in each slot, and the bindings that have been asked for."""
        known = self._known.get((limit, asset))
        if known is None:
            prices = [round(price, 6) + 0.0 for price in self._priced(limit, AssetId(asset))]
            known = self._known[limit, asset] = (prices, {})
        return known

    def _priced(self, limit: Limit, asset: AssetId) -> list[float]:
        found = _places(self._problem, self._model, self._layout, limit, asset)
        if found is None:
            return [0.0] * self._problem.slots
        side, index, per_unit = found
        slope = self._duals if side is Side.ROW else self._reduced
        return (-slope[index] * per_unit).tolist()

    def stored(self, asset: AssetId, slot: int) -> float:
        """Returns what one kWh more in the cells is worth at the end of a slot."""
        return float(self._duals[self._layout.batteries[asset].soc_rows[slot]])

    def column(self, columns: IntArray, slot: int) -> float:
        """Returns what one kWh more through a flow's column in a slot would add to the cost."""
        return float(self._reduced[columns[slot]]) / self._problem.slot_h

    def charge(self, asset: AssetId, slot: int) -> float:
        """Returns what charging one kWh more in a slot would add to the cost."""
        return self.column(self._layout.batteries[asset].charge, slot)

    def discharge(self, asset: AssetId, slot: int) -> float:
        """Returns what discharging one kWh more in a slot would add to the cost."""
        return self.column(self._layout.batteries[asset].discharge, slot)

    def heat(self, asset: AssetId, slot: int) -> float:
        """Returns what one kWh more into a thermal store's device in a slot would add to the cost."""
        return self.column(self._layout.thermal[asset].power, slot)

    def deliver(self, asset: AssetId, slot_of_window: int) -> float:
        """Returns what one kWh more through a charger in a slot of its window would add to the cost."""
        return self.column(self._layout.chargers[asset].power, slot_of_window)

    def pump(self, water: WaterSystem, slot: int) -> float:
        """Returns what each kWh of the pump running in a slot would add to the cost, tank and starts counted."""
        return self.column(self._layout.water[water.tank_id].run, slot) / water.pump_kw

    def start(self, job: Job, slot: int | None) -> float:
        """Returns what a job's start in a slot (None: skipping it) adds to the cost. Only differences count."""
        columns = self._layout.jobs[job.id]
        at = columns.skipped[0] if slot is None else columns.start[slot - job.earliest_slot]
        return float(self._reduced[at])

    def part(self, job: SplitJob, slot: int) -> float:
        """Returns what each kWh of a job that may pause adds to the cost in a slot; only differences mean something."""
        return self.column(self._layout.split_jobs[job.id].run, slot - job.earliest_slot) / job.power_kw
