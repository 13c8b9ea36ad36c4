"""The solver's numbers as whole watts, states recomputed from them, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import numpy as np

from devices.units import W_PER_KW
from optimizer.arrays import FloatArray, IntArray
from optimizer.energy import price_of_limits
from optimizer.formulation import Layout
from optimizer.plan import ROUNDING_KWH
from optimizer.problem import AssetId, Battery, Charger, Genset, Job, Problem, Series, WaterSystem

LISTED_MIN = 0.001
"""kWh, kL or started jobs below which a priced violation is rounding and not named."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Powers in whole W as `Plan` has them, and the series that follow from them."""

    watts: dict[AssetId, tuple[int, ...]]  # by the sign rule: batteries, gensets, pumps, chargers, jobs
    on: dict[AssetId, tuple[bool, ...]]
    soc_kwh: dict[AssetId, Series]
    level_kl: dict[AssetId, Series]
    water_unserved_kl: dict[AssetId, Series]
    grid_kw: Series
    curtailed_kw: Series
    shed_kw: Series
    job_start: dict[AssetId, int | None]


def dispatch(problem: Problem, layout: Layout, x: FloatArray) -> Dispatch:
    """Returns the plan's quantities; each power is off by at most half a watt, and the errors never pile up."""
    watts: dict[AssetId, tuple[int, ...]] = {}
    soc: dict[AssetId, Series] = {}
    level: dict[AssetId, Series] = {}
    unserved: dict[AssetId, Series] = {}
    owed = [0.0] * problem.slots
    starts = {job.id: _start(job, x[layout.jobs[job.id].start]) for job in problem.jobs}
    for battery in problem.batteries:
        columns = layout.batteries[battery.id]
        net = x[columns.charge] - x[columns.discharge]
        watts[battery.id], soc[battery.id] = _battery(
            battery, problem.slot_h, net.tolist(), x[columns.soc].tolist(), owed
        )
    for genset in problem.gensets:
        columns = layout.gensets[genset.id]
        watts[genset.id] = _genset(genset, x[columns.on].tolist(), x[columns.power].tolist())
    for charger in problem.chargers:
        watts[charger.id] = _charger(charger, problem.slots, x[layout.chargers[charger.id].power].tolist())
    for job in problem.jobs:
        watts[job.id] = _job(job, problem.slots, starts[job.id])
    for water in problem.water:
        columns = layout.water[water.tank_id]
        watts[water.pump_id] = _pump(water, x[columns.run].tolist())
        unserved[water.tank_id] = _clean(x, columns.unserved, np.array(water.demand_kl) - np.array(water.lifeline_kl))
        drawn = _job_water(problem, starts) if water is problem.water[0] else [0.0] * problem.slots
        level[water.tank_id] = _levels(water, problem.slot_h, watts[water.pump_id], unserved[water.tank_id], drawn)
    on_off = {name: tuple(w != 0 for w in series) for name, series in watts.items()}
    for genset in problem.gensets:
        on_off[genset.id] = tuple(value > 0.5 for value in x[layout.gensets[genset.id].on].tolist())
    for job in problem.jobs:
        on_off[job.id] = _running(job, problem.slots, starts[job.id])
    curtailed = _clean(x, layout.load.curtailed, np.array(problem.pv_kw))
    shed = _clean(x, layout.load.shed, np.array(problem.load_kw) - np.array(problem.critical_kw))
    grid = _grid(problem, watts, curtailed, shed)
    return Dispatch(watts, on_off, soc, level, unserved, grid, curtailed, shed, starts)


def _clean(x: FloatArray, columns: IntArray, most: FloatArray) -> Series:
    """Returns values within [0, most], solver dust removed."""
    values = np.clip(np.round(x[columns], 7), 0.0, np.maximum(most, 0.0))
    return tuple(values.tolist())


def _grid(problem: Problem, watts: dict[AssetId, tuple[int, ...]], curtailed: Series, shed: Series) -> Series:
    assets = [sum(column) / W_PER_KW for column in zip(*watts.values(), strict=True)] or [0.0] * problem.slots
    return tuple(
        round(problem.load_kw[t] - shed[t] - problem.pv_kw[t] + curtailed[t] + assets[t], 9)
        if problem.grid.available[t]
        else 0.0
        for t in range(problem.slots)
    )


def _battery(
    battery: Battery, h: float, net_kw: list[float], soc_kwh: list[float], owed: list[float]
) -> tuple[tuple[int, ...], Series]:
    """Returns watts that keep the charge of all batteries so far within half a watt-slot of the solver's.

    `owed` [kWh] is what earlier batteries lack by the end of each slot; this one makes it up by rounding, no more.
    """
    watts: list[int] = []
    states: list[float] = []
    soc = battery.soc_now_kwh
    half = h / W_PER_KW / 2
    for t, (net, target) in enumerate(zip(net_kw, soc_kwh, strict=True)):
        change = target - soc + min(max(owed[t], -half), half)
        kw = change / (h * battery.charge_efficiency) if change > 0 else change * battery.discharge_efficiency / h
        quiet = abs(net) * W_PER_KW < 0.5
        w = 0 if quiet else round(min(max(kw, -battery.discharge_kw_max), battery.charge_kw_max) * W_PER_KW)
        soc += stored_kwh(battery, w, h)
        owed[t] += target - soc
        watts.append(w)
        states.append(soc)
    return tuple(watts), tuple(states)


def stored_kwh(battery: Battery, watts: int, h: float) -> float:
    """Returns what `watts` at the bus change in the cells over `h` hours [kWh]."""
    kwh = watts / W_PER_KW * h
    return kwh * battery.charge_efficiency if kwh > 0 else kwh / battery.discharge_efficiency


def _genset(genset: Genset, on: list[float], power_kw: list[float]) -> tuple[int, ...]:
    most = round(genset.power_kw_max * W_PER_KW)
    return tuple(
        -min(max(round(kw * W_PER_KW), 0), most) if run > 0.5 else 0 for run, kw in zip(on, power_kw, strict=True)
    )


def _charger(charger: Charger, slots: int, power_kw: list[float]) -> tuple[int, ...]:
    watts = [0] * slots
    total, given = 0.0, 0
    for t, kw in enumerate(power_kw, start=charger.from_slot):
        total += kw * W_PER_KW
        watts[t] = max(0, floor(total + 0.5) - given)
        given += watts[t]
    return tuple(watts)


def _start(job: Job, start: FloatArray) -> int | None:
    return job.earliest_slot + int(np.argmax(start)) if start.max() > 0.5 else None


def _job(job: Job, slots: int, start: int | None) -> tuple[int, ...]:
    watts = [0] * slots
    if start is not None:
        watts[start : start + len(job.power_kw)] = [round(kw * W_PER_KW) for kw in job.power_kw]
    return tuple(watts)


def _running(job: Job, slots: int, start: int | None) -> tuple[bool, ...]:
    return tuple(start is not None and start <= t < start + len(job.power_kw) for t in range(slots))


def _job_water(problem: Problem, starts: dict[AssetId, int | None]) -> list[float]:
    drawn = [0.0] * problem.slots
    for job in problem.jobs:
        start = starts[job.id]
        for offset, kl in enumerate(job.water_kl if start is not None else ()):
            drawn[(start or 0) + offset] += kl
    return drawn


def _pump(water: WaterSystem, run: list[float]) -> tuple[int, ...]:
    """Returns watts whose sum never strays more than half a watt-slot from the solver's."""
    most = round(water.pump_kw * W_PER_KW)
    watts: list[int] = []
    total, given = 0.0, 0
    for part in run:
        total += part * most
        watts.append(min(max(floor(total + 0.5) - given, 0), most))
        given += watts[-1]
    return tuple(watts)


def _levels(water: WaterSystem, h: float, watts: tuple[int, ...], unserved: Series, drawn: list[float]) -> Series:
    level, levels = water.level_now_kl, list[float]()
    for t, w in enumerate(watts):
        run = w / round(water.pump_kw * W_PER_KW)
        level += water.pump_flow_kl_per_h * h * run - (water.demand_kl[t] - unserved[t]) - drawn[t]
        levels.append(level)
    return tuple(levels)


@dataclass(slots=True)
class _Bill:
    """Adds up money; violations also by name."""

    total: float
    violations: dict[str, float]

    def violate(self, name: str, amount: float, price: float) -> None:
        self.total += amount * price
        if amount > LISTED_MIN:
            self.violations[name] = amount * price


def cost_of(problem: Problem, plan: Dispatch) -> tuple[float, dict[str, float]]:
    """Returns (money for the whole plan, money of each named violation)."""
    bill = _Bill(0.0, {})
    _bill_grid(bill, problem, plan)
    for battery in problem.batteries:
        _bill_battery(bill, problem, battery, plan)
    for genset in problem.gensets:
        _bill_genset(bill, problem, genset, plan)
    for water in problem.water:
        _bill_water(bill, water, plan)
    for charger in problem.chargers:
        given = sum(plan.watts[charger.id]) / W_PER_KW * problem.slot_h
        bill.violate(f"charge:{charger.id}", max(charger.energy_kwh - given, 0.0), charger.unserved_price)
    for job in problem.jobs:
        bill.violate(f"skipped:{job.id}", float(plan.job_start[job.id] is None), job.skip_price)
    return bill.total, bill.violations


def _bill_grid(bill: _Bill, problem: Problem, plan: Dispatch) -> None:
    grid, h = problem.grid, problem.slot_h
    over_in = over_out = 0.0
    for t, kw in enumerate(plan.grid_kw):
        bill.total += kw * h * (grid.import_price[t] if kw > 0 else grid.export_price[t])
        over_in += max(kw - grid.import_limit_kw[t], 0.0) * h
        over_out += max(-kw - grid.export_limit_kw[t], 0.0) * h
    bill.violate("import_limit", over_in, grid.over_limit_price)
    bill.violate("export_limit", over_out, grid.over_limit_price)
    bill.violate("shed", sum(plan.shed_kw) * h, problem.shed_price)


def _bill_battery(bill: _Bill, problem: Problem, battery: Battery, plan: Dispatch) -> None:
    soc = plan.soc_kwh[battery.id]
    out = -sum(w for w in plan.watts[battery.id] if w < 0) / W_PER_KW * problem.slot_h
    bill.total += out * battery.wear_price - soc[-1] * battery.terminal_value
    there = zip(soc, problem.grid.available, strict=True)
    below = sum(max(battery.reserve_kwh - kwh, 0.0) for kwh, grid in there if grid)
    rounding = ROUNDING_KWH * max(problem.slot_h, 1.0)
    bill.violate(f"reserve:{battery.id}", below, battery.reserve_price)
    outside = sum(_real(max(battery.soc_min_kwh - kwh, kwh - battery.soc_max_kwh), rounding) for kwh in soc)
    bill.violate(f"final:{battery.id}", _real(battery.final_kwh - soc[-1], rounding), price_of_limits(problem))
    bill.violate(f"soc_limit:{battery.id}", outside, price_of_limits(problem))


def _real(excess: float, rounding: float) -> float:
    """Returns what passes a limit, where it is more than whole watts make."""
    return excess if excess > rounding else 0.0


def _bill_genset(bill: _Bill, problem: Problem, genset: Genset, plan: Dispatch) -> None:
    h, before, below = problem.slot_h, genset.running, 0.0
    for w, on in zip(plan.watts[genset.id], plan.on[genset.id], strict=True):
        bill.total += (genset.fixed_price_per_h * on - w / W_PER_KW * genset.energy_price) * h
        bill.total += genset.start_price * (on and not before)
        below += max(genset.power_kw_min + w / W_PER_KW, 0.0) * h * on
        before = on
    bill.violate(f"min_load:{genset.id}", below, price_of_limits(problem))


def _bill_water(bill: _Bill, water: WaterSystem, plan: Dispatch) -> None:
    before = water.running
    for on in plan.on[water.pump_id]:
        bill.total += water.start_price * (on and not before)
        before = on
    level = plan.level_kl[water.tank_id]
    bill.total -= level[-1] * water.terminal_value
    bill.violate(f"water:{water.tank_id}", sum(plan.water_unserved_kl[water.tank_id]), water.unserved_price)
    below = sum(max(water.reserve_kl - kl, 0.0) for kl in level)
    bill.violate(f"water_reserve:{water.tank_id}", below, water.reserve_price)
