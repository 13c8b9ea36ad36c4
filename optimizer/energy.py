"""Energy: grid, load, PV, storages (vehicles too) and gensets as columns and rows.

Formulation rules that were measured to matter: no charge/discharge or import/export binaries (where a solution
shows both at once, `formulation.collisions` closes one of them); three-binary unit commitment with
Rajan-Takriti minimum up and down times; every limit soft with a price of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from devices.clock import HOUR_MS
from optimizer.arrays import Assembly, Coupling, FloatArray, IntArray
from optimizer.problem import Battery, Genset, Problem

FREE_MS = 2 * HOUR_MS
"""How far ahead a genset's commitment is planned slot by slot; the next re-plan refines the rest."""


@dataclass(frozen=True, slots=True)
class LoadColumns:
    """Per slot, kW: grid exchange within and above the limits, curtailed PV, shed and critical load not served."""

    bought: IntArray
    bought_over: IntArray
    sold: IntArray
    sold_over: IntArray
    curtailed: IntArray
    shed: IntArray  # above critical and above the tiers
    missing: IntArray
    tiers: dict[str, IntArray]
    peak: IntArray  # one column: kW of import above what was reached before; none without capacity charge


@dataclass(frozen=True, slots=True)
class BatteryColumns:
    """Per slot: kW charge and discharge at the bus, kWh in the cells at the end; `soc_rows` for the dual."""

    charge: IntArray
    discharge: IntArray
    soc: IntArray
    soc_rows: IntArray
    trip_unserved: IntArray  # kWh; none without trips


@dataclass(frozen=True, slots=True)
class GensetColumns:
    """Per slot: on, started, stopped, kW, kW below the minimum load."""

    on: IntArray
    started: IntArray
    stopped: IntArray
    power: IntArray
    below: IntArray


def price_of_limits(problem: Problem) -> float:
    """Returns money per kWh for breaking a limit that has no price of its own."""
    return max(problem.grid.over_limit_price, problem.shed_price)


def add_load(assembly: Assembly, coupling: Coupling, problem: Problem, *, elastic: bool) -> LoadColumns:
    """Adds grid, PV and load; `elastic` lets critical load go unserved at no cost (to say what is missing)."""
    n, h, grid = problem.slots, problem.slot_h, problem.grid
    load, critical, pv = np.array(problem.load_kw), np.array(problem.critical_kw), np.array(problem.pv_kw)
    there = np.array(grid.available, dtype=np.float64)
    tiers = {tier.name: np.array(tier.kw) for tier in problem.shed_tiers}
    last = np.maximum(load - critical - sum(tiers.values(), start=np.zeros(n)), 0.0)
    import_price, export_price = np.array(grid.import_price), np.array(grid.export_price)
    most_in, most_out = _largest_exchange(problem)
    columns = LoadColumns(
        bought=assembly.columns(n, 0, np.minimum(grid.import_limit_kw, most_in) * there, import_price * h),
        bought_over=assembly.columns(n, 0, most_in * there, (import_price + grid.over_limit_price) * h),
        sold=assembly.columns(n, 0, np.minimum(grid.export_limit_kw, most_out) * there, -export_price * h),
        sold_over=assembly.columns(n, 0, most_out * there, (grid.over_limit_price - export_price) * h),
        curtailed=assembly.columns(n, 0, pv),
        shed=assembly.columns(n, 0, last, problem.shed_price * h),
        missing=assembly.columns(n, 0, critical if elastic else 0.0),
        tiers={t.name: assembly.columns(n, 0, tiers[t.name], t.price * h) for t in problem.shed_tiers},
        peak=assembly.columns(int(grid.peak_price > 0.0), 0, np.inf, grid.peak_price),
    )
    if len(columns.peak):  # bought - above <= reached before
        rows = assembly.rows(n, upper=grid.peak_kw_so_far)
        assembly.add(rows, columns.bought, 1.0)
        assembly.add(rows, columns.bought_over, 1.0)
        assembly.add(rows, np.repeat(columns.peak, n), -1.0)
    for supply in (columns.bought, columns.bought_over, columns.shed, columns.missing, *columns.tiers.values()):
        assembly.add(coupling.balance, supply, 1.0)
    for use in (columns.sold, columns.sold_over, columns.curtailed):
        assembly.add(coupling.balance, use, -1.0)
    return columns


def _largest_exchange(problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Returns the most that could flow in and out per slot [kW]: it keeps the model bounded at any price."""
    loads = (
        sum(b.charge_kw_max for b in problem.batteries)
        + sum(w.pump_kw for w in problem.water)
        + sum(max(point.power_kw for point in (*p.points, *p.phases)) for p in problem.plants)
        + sum(c.power_kw_max for c in problem.chargers)
        + sum(max(j.power_kw) for j in problem.jobs)
        + sum(j.power_kw for j in problem.split_jobs)
        + sum(s.power_kw_max for s in problem.thermal)
    )
    sources = sum(b.discharge_kw_max for b in problem.batteries) + sum(g.power_kw_max for g in problem.gensets)
    return np.array(problem.load_kw) + loads, np.array(problem.pv_kw) + sources


def add_battery(
    assembly: Assembly, coupling: Coupling, problem: Problem, battery: Battery, early: float
) -> BatteryColumns:
    """Adds one storage. `early` is a tiny credit per kWh and slot so that equal plans charge as soon as they can."""
    n, h = problem.slots, problem.slot_h
    low, high = min(battery.soc_min_kwh, battery.soc_now_kwh), max(battery.soc_max_kwh, battery.soc_now_kwh)
    worth = np.full(n, -early)
    worth[-1] -= battery.terminal_value
    present = np.array(battery.present or (True,) * n, dtype=np.float64)
    trip = np.array(battery.trip_kwh or (0.0,) * n)
    charge = assembly.columns(n, 0, battery.charge_kw_max * present)
    discharge = assembly.columns(n, 0, battery.discharge_kw_max * present, battery.wear_price * h)
    soc = assembly.columns(n, low, high, worth)
    assembly.add(coupling.balance, discharge, 1.0)
    assembly.add(coupling.balance, charge, -1.0)
    taken = trip.copy()
    taken[0] -= battery.soc_now_kwh
    rows = assembly.rows(n, taken, taken)  # soc before + charged - discharged + trip unserved - soc = trip
    unserved = assembly.columns(n if trip.any() else 0, 0, trip if trip.any() else 0.0, battery.trip_price)
    assembly.add(rows[: len(unserved)], unserved, 1.0)
    assembly.add(rows, soc, -1.0)
    assembly.add(rows[1:], soc[:-1], 1.0)
    assembly.add(rows, charge, h * battery.charge_efficiency)
    assembly.add(rows, discharge, -h / battery.discharge_efficiency)
    add_soft_floor(assembly, soc, np.where(problem.grid.available, battery.reserve_kwh, 0.0), battery.reserve_price)
    for leaves in battery.departures:
        add_soft_floor(assembly, soc[leaves.slot - 1 :][:1], np.array([leaves.energy_kwh]), leaves.price)
    if battery.final_kwh > 0.0:
        add_soft_floor(assembly, soc[-1:], np.array([battery.final_kwh]), price_of_limits(problem))
    if low < battery.soc_min_kwh:
        add_soft_floor(assembly, soc, np.full(n, battery.soc_min_kwh), price_of_limits(problem))
    if high > battery.soc_max_kwh:
        over = assembly.columns(n, 0, np.inf, price_of_limits(problem))
        ceiling = assembly.rows(n, upper=battery.soc_max_kwh)
        assembly.add(ceiling, soc, 1.0)
        assembly.add(ceiling, over, -1.0)
    return BatteryColumns(charge, discharge, soc, rows, unserved)


def add_soft_floor(assembly: Assembly, level: IntArray, floor: FloatArray, price: float) -> None:
    """Adds level + below >= floor with a price on `below`, where the floor is above zero."""
    at = np.flatnonzero(floor > 0.0)
    if not len(at):
        return
    below = assembly.columns(len(at), 0, floor[at], price)
    rows = assembly.rows(len(at), lower=floor[at])
    assembly.add(rows, level[at], 1.0)
    assembly.add(rows, below, 1.0)


def add_genset(
    assembly: Assembly, coupling: Coupling, problem: Problem, genset: Genset, *, blocks: bool
) -> GensetColumns:
    """Adds one diesel set: on, started, stopped, power and the priced power below its minimum load.

    With `blocks`, later slots share one commitment per hour: a third of the binaries; 0.4 and 1.8 % dearer on two days.
    """
    n, h = problem.slots, problem.slot_h
    forced_on, forced_off = _forced(genset, n)
    first, block = _blocks(problem, genset) if blocks else (np.arange(n), np.arange(n))
    length = np.bincount(block)
    block_columns = assembly.columns(
        len(first), forced_on[first], 1.0 - forced_off[first], genset.fixed_price_per_h * h * length, integer=True
    )
    on = block_columns[block]
    started = assembly.columns(n, 0, 1, genset.start_price)
    stopped = assembly.columns(n, 0, 1)
    power = assembly.columns(n, 0, genset.power_kw_max, genset.energy_price * h)
    below = assembly.columns(n, 0, genset.power_kw_min, price_of_limits(problem) * h)
    assembly.add(coupling.balance, power, 1.0)
    before = np.zeros(n)
    before[0] = float(genset.running)
    change = assembly.rows(n, before, before)  # on - on before - started + stopped = 0
    assembly.add(change, on, 1.0)
    assembly.add(change[1:], on[:-1], -1.0)
    assembly.add(change, started, -1.0)
    assembly.add(change, stopped, 1.0)
    top = assembly.rows(n, upper=0.0)
    assembly.add(top, power, 1.0)
    assembly.add(top, on, -genset.power_kw_max)
    bottom = assembly.rows(n, lower=0.0)
    assembly.add(bottom, power, 1.0)
    assembly.add(bottom, below, 1.0)
    assembly.add(bottom, on, -genset.power_kw_min)
    _add_minimum_time(assembly, started, on, genset.min_up_slots, limit=0.0, sign=-1.0)
    _add_minimum_time(assembly, stopped, on, genset.min_down_slots, limit=1.0, sign=1.0)
    columns = GensetColumns(on, started, stopped, power, below)
    if genset.fuel_kwh is not None:
        fuel = assembly.rows(1, upper=genset.fuel_kwh / h)
        assembly.add(np.repeat(fuel, n), power, 1.0)
    if genset.ramp_kw is not None:
        _add_ramp(assembly, problem, genset, genset.ramp_kw, columns)
    return columns


def _add_ramp(assembly: Assembly, problem: Problem, genset: Genset, ramp_kw: float, columns: GensetColumns) -> None:
    """Adds |power - power before| <= ramp + over; starting and stopping may also pass the minimum load at once."""
    n = problem.slots
    step = max(ramp_kw, genset.power_kw_min)
    over = assembly.columns(n, 0, np.inf, genset.ramp_price * problem.slot_h)
    known = genset.power_now_kw is not None
    now = genset.power_now_kw or 0.0
    first = np.zeros(n)
    first[0] = now + ramp_kw * genset.running if known else np.inf
    up = assembly.rows(n, upper=first)  # power - before - ramp x on before - step x started - over <= 0
    assembly.add(up, columns.power, 1.0)
    assembly.add(up[1:], columns.power[:-1], -1.0)
    assembly.add(up[1:], columns.on[:-1], -ramp_kw)
    assembly.add(up, columns.started, -step)
    assembly.add(up, over, -1.0)
    first = np.zeros(n)
    first[0] = -now if known else np.inf
    down = assembly.rows(n, upper=first)  # before - power - ramp x on - step x stopped - over <= 0
    assembly.add(down, columns.power, -1.0)
    assembly.add(down[1:], columns.power[:-1], 1.0)
    assembly.add(down, columns.on, -ramp_kw)
    assembly.add(down, columns.stopped, -step)
    assembly.add(down, over, -1.0)


def _forced(genset: Genset, slots: int) -> tuple[FloatArray, FloatArray]:
    """Returns 1.0 in the first slots that the past still binds to on, and to off."""
    slot = np.arange(slots)
    up = slot < (genset.min_up_slots - genset.slots_in_state if genset.running else 0)
    down = slot < (genset.min_down_slots - genset.slots_in_state if not genset.running else 0)
    return up.astype(np.float64), down.astype(np.float64)


def _blocks(problem: Problem, genset: Genset) -> tuple[IntArray, IntArray]:
    """Returns (first slot of each block, block of each slot): single slots for 2 h and while bound, then hours."""
    n = problem.slots
    free = max(FREE_MS // problem.slot_ms, genset.min_up_slots, genset.min_down_slots)
    size = max(1, HOUR_MS // problem.slot_ms)
    slot = np.arange(n)
    first = slot[(slot < free) | ((slot - free) % size == 0)]
    return first, np.searchsorted(first, slot, side="right") - 1


def _add_minimum_time(
    assembly: Assembly, change: IntArray, on: IntArray, slots: int, *, limit: float, sign: float
) -> None:
    """Adds sum of changes in the last `slots` + sign * on <= limit (Rajan and Takriti, IBM RC23628, 2005)."""
    n = len(on)
    rows = assembly.rows(n, upper=limit)
    assembly.add(rows, on, sign)
    for lag in range(min(max(slots, 1), n)):
        assembly.add(rows[lag:], change[: n - lag], 1.0)
