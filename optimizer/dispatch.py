"""The solver's numbers as whole watts, states recomputed from them, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import numpy as np

from devices.units import W_PER_KW
from optimizer.arrays import FloatArray, IntArray
from optimizer.formulation import Layout
from optimizer.plants import drawn_kl, run_of, well_levels
from optimizer.problem import (
    AssetId,
    Battery,
    Charger,
    Genset,
    Job,
    Problem,
    Series,
    SplitJob,
    ThermalStore,
    WaterSystem,
)

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
    trip_unserved_kwh: dict[AssetId, Series]
    heat_kwh: dict[AssetId, Series]
    heat_unserved_kwh: dict[AssetId, Series]
    shed_by_tier_kw: dict[str, Series]
    feeder_curtailed_kw: dict[AssetId, Series]
    well_kl: dict[AssetId, Series]


def dispatch(problem: Problem, layout: Layout, x: FloatArray) -> Dispatch:
    """Returns the plan's quantities; each power is off by at most half a watt, and the errors never pile up."""
    n, h = problem.slots, problem.slot_h
    starts = {job.id: _start(job, x[layout.jobs[job.id].start]) for job in problem.jobs}
    trips = {b.id: _trip(b, x, layout) for b in problem.batteries}
    watts, soc = _batteries(problem, layout, x, trips)
    watts |= _units(problem, layout, x, starts)
    on = _on(problem, layout, x, watts, starts)
    runs = {p.id: run_of(p, layout.plants[p.id], x, n) for p in problem.plants}
    watts |= {name: run.watts for name, run in runs.items()}
    on |= {name: run.on for name, run in runs.items()}
    unserved = {
        w.tank_id: _unserved(x, layout.water[w.tank_id].unserved, np.array(w.demand_kl) - np.array(w.lifeline_kl))
        for w in problem.water
    }
    cold = {s.id: _clean(x, layout.thermal[s.id].unserved, np.array(s.demand_kwh)) for s in problem.thermal}
    curtailed = _clean(x, layout.load.curtailed, np.array(problem.pv_kw))
    tiers = {tier.name: _clean(x, layout.load.tiers[tier.name], np.array(tier.kw)) for tier in problem.shed_tiers}
    shed = _shed(problem, layout, x, tiers)
    drawn = {w.tank_id: drawn_kl(problem, runs, w.tank_id) for w in problem.water}
    if problem.water:
        first = drawn[problem.water[0].tank_id]
        drawn[problem.water[0].tank_id] = [a + b for a, b in zip(first, _drawn(problem, starts, on), strict=True)]
    return Dispatch(
        watts=watts,
        on=on,
        soc_kwh=soc,
        level_kl={
            w.tank_id: _levels(w, h, watts[w.pump_id], unserved[w.tank_id], drawn[w.tank_id]) for w in problem.water
        },
        water_unserved_kl=unserved,
        grid_kw=_grid(problem, watts, curtailed, shed),
        curtailed_kw=curtailed,
        shed_kw=shed,
        job_start=starts,
        trip_unserved_kwh={name: series for name, series in trips.items() if series},
        heat_kwh={s.id: _heat(s, h, watts[s.id], cold[s.id]) for s in problem.thermal},
        heat_unserved_kwh=cold,
        shed_by_tier_kw=tiers,
        feeder_curtailed_kw={f.id: _clean(x, layout.feeders[f.id], np.array(f.pv_kw)) for f in problem.feeders},
        well_kl={well.id: well_levels(problem, well, runs, watts) for well in problem.wells},
    )


def _batteries(
    problem: Problem, layout: Layout, x: FloatArray, trips: dict[AssetId, Series]
) -> tuple[dict[AssetId, tuple[int, ...]], dict[AssetId, Series]]:
    watts: dict[AssetId, tuple[int, ...]] = {}
    soc: dict[AssetId, Series] = {}
    owed = [0.0] * problem.slots
    for battery in problem.batteries:
        columns = layout.batteries[battery.id]
        net = x[columns.charge] - x[columns.discharge]
        driven = [kwh - short for kwh, short in zip(battery.trip_kwh, trips[battery.id], strict=True)]
        watts[battery.id], soc[battery.id] = _battery(
            battery, problem.slot_h, net.tolist(), x[columns.soc].tolist(), owed, driven or [0.0] * problem.slots
        )
    return watts, soc


def _units(
    problem: Problem, layout: Layout, x: FloatArray, starts: dict[AssetId, int | None]
) -> dict[AssetId, tuple[int, ...]]:
    watts: dict[AssetId, tuple[int, ...]] = {}
    for genset in problem.gensets:
        columns = layout.gensets[genset.id]
        watts[genset.id] = _genset(genset, x[columns.on].tolist(), x[columns.power].tolist())
    for charger in problem.chargers:
        watts[charger.id] = _charger(charger, problem.slots, x[layout.chargers[charger.id].power].tolist())
    for job in problem.jobs:
        watts[job.id] = _job(job, problem.slots, starts[job.id])
    for split in problem.split_jobs:
        watts[split.id] = _split_job(split, problem.slots, x[layout.split_jobs[split.id].run].tolist())
    for water in problem.water:
        watts[water.pump_id] = _pump(water, x[layout.water[water.tank_id].run].tolist())
    for store in problem.thermal:
        watts[store.id] = _rounded(x[layout.thermal[store.id].power].tolist(), round(store.power_kw_max * W_PER_KW))
    return watts


def _on(
    problem: Problem,
    layout: Layout,
    x: FloatArray,
    watts: dict[AssetId, tuple[int, ...]],
    starts: dict[AssetId, int | None],
) -> dict[AssetId, tuple[bool, ...]]:
    on = {name: tuple(w != 0 for w in series) for name, series in watts.items()}
    for genset in problem.gensets:
        on[genset.id] = tuple(value > 0.5 for value in x[layout.gensets[genset.id].on].tolist())
    for job in problem.jobs:
        on[job.id] = _running(job, problem.slots, starts[job.id])
    for split in problem.split_jobs:
        on[split.id] = _split_running(split, problem.slots, x[layout.split_jobs[split.id].run].tolist())
    return on


def _shed(problem: Problem, layout: Layout, x: FloatArray, tiers: dict[str, Series]) -> Series:
    rest = np.array(problem.load_kw) - np.array(problem.critical_kw)
    for tier in problem.shed_tiers:
        rest = rest - np.array(tier.kw)
    total = np.array(_clean(x, layout.load.shed, rest))
    for kw in tiers.values():
        total = total + np.array(kw)
    return tuple(total.tolist())


def _trip(battery: Battery, x: FloatArray, layout: Layout) -> Series:
    columns = layout.batteries[battery.id].trip_unserved
    if not battery.trip_kwh:
        return ()
    return _clean(x, columns, np.array(battery.trip_kwh)) if len(columns) else (0.0,) * len(battery.trip_kwh)


def _unserved(x: FloatArray, parts: tuple[IntArray, ...], most: FloatArray) -> Series:
    total = np.sum([np.round(x[part], 7) for part in parts], axis=0)
    return tuple(np.clip(total, 0.0, np.maximum(most, 0.0)).tolist())


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
    battery: Battery, h: float, net_kw: list[float], soc_kwh: list[float], owed: list[float], driven_kwh: list[float]
) -> tuple[tuple[int, ...], Series]:
    """Returns watts that keep the charge of all batteries so far within half a watt-slot of the solver's.

    `owed` [kWh] is what earlier batteries lack by the end of each slot; this one makes it up by rounding, no more.
    """
    watts: list[int] = []
    states: list[float] = []
    soc = battery.soc_now_kwh
    half = h / W_PER_KW / 2
    for t, (net, target) in enumerate(zip(net_kw, soc_kwh, strict=True)):
        soc -= driven_kwh[t]
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


def _split_job(job: SplitJob, slots: int, run: list[float]) -> tuple[int, ...]:
    return tuple(round(job.power_kw * W_PER_KW) * on for on in _split_running(job, slots, run))


def _split_running(job: SplitJob, slots: int, run: list[float]) -> tuple[bool, ...]:
    return tuple(job.earliest_slot <= t < job.until_slot and run[t - job.earliest_slot] > 0.5 for t in range(slots))


def _drawn(problem: Problem, starts: dict[AssetId, int | None], on: dict[AssetId, tuple[bool, ...]]) -> list[float]:
    """Returns what jobs take from the first tank per slot [kL]."""
    drawn = [0.0] * problem.slots
    for job in problem.jobs:
        start = starts[job.id]
        for offset, kl in enumerate(job.water_kl if start is not None else ()):
            drawn[(start or 0) + offset] += kl
    for split in problem.split_jobs:
        drawn = [kl + split.water_kl * run for kl, run in zip(drawn, on[split.id], strict=True)]
    return drawn


def _pump(water: WaterSystem, run: list[float]) -> tuple[int, ...]:
    most = round(water.pump_kw * W_PER_KW)
    return _rounded([part * most / W_PER_KW for part in run], most)


def _rounded(power_kw: list[float], most: int) -> tuple[int, ...]:
    """Returns watts whose sum never strays more than half a watt-slot from the solver's."""
    watts: list[int] = []
    total, given = 0.0, 0
    for kw in power_kw:
        total += kw * W_PER_KW
        watts.append(min(max(floor(total + 0.5) - given, 0), most))
        given += watts[-1]
    return tuple(watts)


def _heat(store: ThermalStore, h: float, watts: tuple[int, ...], unserved: Series) -> Series:
    level, levels = store.level_now_kwh, list[float]()
    for t, w in enumerate(watts):
        level *= 1.0 - store.loss_per_h * h
        level += store.cop[t] * w / W_PER_KW * h - (store.demand_kwh[t] - unserved[t])
        levels.append(level)
    return tuple(levels)


def _levels(water: WaterSystem, h: float, watts: tuple[int, ...], unserved: Series, drawn: list[float]) -> Series:
    level, levels = water.level_now_kl, list[float]()
    for t, w in enumerate(watts):
        run = w / round(water.pump_kw * W_PER_KW)
        level += water.pump_flow_kl_per_h * h * run - (water.demand_kl[t] - unserved[t]) - drawn[t]
        levels.append(level)
    return tuple(levels)
