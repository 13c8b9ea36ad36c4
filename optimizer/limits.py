"""Limits that hold across assets: feeders, spinning reserve, and energy for an outage that nobody announced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.arrays import Assembly, FloatArray, IntArray
from optimizer.energy import BatteryColumns, GensetColumns, LoadColumns
from optimizer.problem import AssetId, Feeder, Problem, Reserve


@dataclass(frozen=True, slots=True)
class Flow:
    """One group of columns that take power: `kw` per unit of column at each slot; sources are negative."""

    slots: IntArray
    columns: IntArray
    kw: float


Flows = Mapping[AssetId, Sequence[Flow]]


@dataclass(frozen=True, slots=True)
class FeederColumns:
    """The kW of its solar that are curtailed per slot, and the rows of both its limits."""

    curtailed: IntArray
    rows: tuple[IntArray, IntArray]


def add_feeder(assembly: Assembly, problem: Problem, feeder: Feeder, flows: Flows, spilled: IntArray) -> FeederColumns:
    """Adds one feeder's limits.

    `spilled` are rows that keep the curtailed parts of all feeders within what is curtailed at all.
    """
    n, h = problem.slots, problem.slot_h
    net = np.array(feeder.load_kw) - np.array(feeder.pv_kw)
    over = assembly.columns(n, 0, np.inf, feeder.price * h)
    under = assembly.columns(n, 0, np.inf, feeder.price * h)
    curtailed = assembly.columns(n, 0, np.array(feeder.pv_kw))
    top = assembly.rows(n, upper=np.array(feeder.import_limit_kw) - net)
    bottom = assembly.rows(n, lower=-np.array(feeder.export_limit_kw) - net)
    assembly.add(top, over, -1.0)
    assembly.add(bottom, under, 1.0)
    for rows in (top, bottom):
        assembly.add(rows, curtailed, 1.0)
        for asset in feeder.assets:
            for flow in flows[asset]:
                assembly.add(rows[flow.slots], flow.columns, flow.kw)
    assembly.add(spilled, curtailed, 1.0)
    return FeederColumns(curtailed, (top, bottom))


def nest_feeders(assembly: Assembly, feeders: Sequence[Feeder], columns: Mapping[AssetId, FeederColumns]) -> None:
    """Lets solar that is curtailed on an inner feeder count on those that it lies beyond."""
    for feeder in feeders:
        for rows in columns[feeder.id].rows:
            for inner in feeder.inner:
                assembly.add(rows, columns[inner].curtailed, 1.0)


def add_reserve(
    assembly: Assembly,
    problem: Problem,
    reserve: Reserve,
    batteries: Mapping[AssetId, BatteryColumns],
    gensets: Mapping[AssetId, GensetColumns],
) -> None:
    """Adds both parts of the reserve, each with a priced slack."""
    there = np.array(problem.grid.available)
    at = np.flatnonzero(~there & (np.array(reserve.spinning_kw) > 0.0))
    if len(at):
        _add_spinning(assembly, problem, reserve, at, batteries, gensets)
    at = np.flatnonzero(there & (_outage_need(problem, reserve) > 0.0))
    if len(at):
        _add_outage(assembly, problem, reserve, at, batteries, gensets)


def _add_spinning(
    assembly: Assembly,
    problem: Problem,
    reserve: Reserve,
    at: IntArray,
    batteries: Mapping[AssetId, BatteryColumns],
    gensets: Mapping[AssetId, GensetColumns],
) -> None:
    count, h = len(at), problem.slot_h
    rows = assembly.rows(count, lower=np.array(reserve.spinning_kw)[at])
    assembly.add(rows, assembly.columns(count, 0, np.inf, reserve.spinning_price * h), 1.0)
    for genset in problem.gensets:
        assembly.add(rows, gensets[genset.id].on[at], genset.power_kw_max)
        assembly.add(rows, gensets[genset.id].power[at], -1.0)
    for battery in problem.batteries:
        if not battery.forms_grid:
            continue
        columns, low = batteries[battery.id], min(battery.soc_min_kwh, battery.soc_now_kwh)
        present = np.array(battery.present or (True,) * problem.slots, dtype=np.float64)[at]
        headroom = assembly.columns(count, 0, 2 * battery.discharge_kw_max + battery.charge_kw_max)
        assembly.add(rows, headroom, 1.0)
        power = assembly.rows(count, upper=battery.discharge_kw_max * present)  # room - charge + discharge <= rating
        assembly.add(power, headroom, 1.0)
        assembly.add(power, columns.charge[at], -1.0)
        assembly.add(power, columns.discharge[at], 1.0)
        energy = assembly.rows(count, upper=-low * battery.discharge_efficiency / h)  # and backed by what is stored
        assembly.add(energy, headroom, 1.0)
        assembly.add(energy, columns.soc[at], -battery.discharge_efficiency / h)


def _outage_need(problem: Problem, reserve: Reserve) -> FloatArray:
    """Returns the critical kWh of the slots after each slot that an outage would have to be ridden through."""
    total = np.concatenate([[0.0], np.cumsum(problem.critical_kw)]) * problem.slot_h
    first = np.arange(1, problem.slots + 1)
    return total[np.minimum(first + reserve.outage_slots, problem.slots)] - total[first]


def _add_outage(
    assembly: Assembly,
    problem: Problem,
    reserve: Reserve,
    at: IntArray,
    batteries: Mapping[AssetId, BatteryColumns],
    gensets: Mapping[AssetId, GensetColumns],
) -> None:
    need = _outage_need(problem, reserve)[at]
    for battery in problem.batteries:
        if battery.forms_grid:
            present = np.array(battery.present or (True,) * problem.slots, dtype=np.float64)[at]
            low = min(battery.soc_min_kwh, battery.soc_now_kwh)
            need = need + low * battery.discharge_efficiency * present
    rows = assembly.rows(len(at), lower=need)
    assembly.add(rows, assembly.columns(len(at), 0, np.inf, reserve.outage_price), 1.0)
    for battery in problem.batteries:
        if battery.forms_grid:
            present = np.array(battery.present or (True,) * problem.slots, dtype=np.float64)[at]
            assembly.add(rows, batteries[battery.id].soc[at], battery.discharge_efficiency * present)
    for genset in problem.gensets:
        most = genset.power_kw_max * problem.slot_h * reserve.outage_slots
        assembly.add(rows, gensets[genset.id].on[at], most)


def spill_rows(assembly: Assembly, problem: Problem, load: LoadColumns) -> IntArray:
    """Returns rows: curtailed on feeders - curtailed at all <= 0."""
    rows = assembly.rows(problem.slots, upper=0.0)
    assembly.add(rows, load.curtailed, -1.0)
    return rows
