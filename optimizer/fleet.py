"""Commitment of several gensets: a small model in which all stores are one and all shiftable load is one.

What makes a village's plan hard is only which gensets run when; with that decided, the rest is an LP. So the commitment
is searched in a model with a hundredth of the columns: the batteries as one store, and everything that can be moved in
time (cars, heat, jobs) as one deviation from the powers of the last LP, within the envelope of what each could do
earlier or later. The LP over all devices then makes the powers exact, and gives the next powers to deviate from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from devices.clock import HOUR_MS, MINUTE_MS
from optimizer import engine, limits
from optimizer.arrays import Assembly, Coupling, FloatArray, Model
from optimizer.energy import GensetColumns, add_battery, add_genset, add_load
from optimizer.engine import NoPlanFound, Outcome
from optimizer.envelope import Envelope, envelope_of
from optimizer.formulation import Layout, decided
from optimizer.genset_states import Schedules, commit_in_blocks, corridor
from optimizer.problem import AssetId, Battery, Genset, Problem, Stop
from optimizer.store import store_of

REACHES_MS = (30 * MINUTE_MS, HOUR_MS)
"""How far the changes of the first search may move, one refinement after the other."""

REFINING = Stop(seconds=None, gap=0.003, nodes=100)

SHIFT_PRICE = 1e-5
"""Money per kWh moved: equal commitments leave the devices where the LP had them."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The small model and where each genset stands in it."""

    model: Model
    gensets: dict[AssetId, GensetColumns]


def search(problem: Problem, layout: Layout, x: FloatArray, used: tuple[Genset, ...], seed: int) -> Schedules | None:
    """Returns when each genset should run, or None where they are too many for a joint search.

    Args:
        problem: a valid problem.
        layout: of its model.
        x: a solution of the linear relaxation.
        used: the gensets that this solution uses. All are tried too: of a cheap one, the relaxation may use less than
            the whole one's least load.
        seed: for the solver.
    """
    envelope = envelope_of(problem, layout, x)
    found = fleet(problem, envelope)
    best: tuple[float, Schedules] | None = None
    for few in (used, problem.gensets) if len(used) < len(problem.gensets) else (used,):
        on = commit_in_blocks(replace(problem, gensets=few), envelope)
        if on is None:
            continue
        on, cost = {g.id: on.get(g.id, np.zeros(problem.slots)) for g in problem.gensets}, np.inf
        for reach_ms in REACHES_MS:
            on, cost = _refined(problem, found, on, max(1, reach_ms // problem.slot_ms), seed)
        if best is None or cost < best[0]:
            best = cost, on
    return None if best is None else best[1]


def _refined(problem: Problem, found: Fleet, on: Schedules, reach: int, seed: int) -> tuple[Schedules, float]:
    """Returns the best schedules that change at most `reach` slots from where the given ones do, and their cost."""
    model = found.model
    for genset in problem.gensets:
        possible = corridor(on[genset.id], reach, genset.running)
        at = np.flatnonzero(~possible.all(axis=1))
        model = decided(model, found.gensets[genset.id].on[at], on[genset.id][at])
    try:
        solution = engine.run(model, REFINING, seed)
    except NoPlanFound:
        return on, np.inf
    if solution.outcome is Outcome.INFEASIBLE:
        return on, np.inf
    better = {name: np.round(solution.x[columns.on]) for name, columns in found.gensets.items()}
    return better, float(model.cost @ solution.x)


def fleet(problem: Problem, envelope: Envelope) -> Fleet:
    """Returns the small commitment model of a problem around the powers of an LP."""
    n, h = problem.slots, problem.slot_h
    small = _small(problem, envelope)
    assembly = Assembly()
    net = np.array(small.load_kw) - np.array(small.pv_kw)
    coupling = Coupling(balance=assembly.rows(n, net, net), tanks={})
    add_load(assembly, coupling, small, elastic=False)
    batteries = {b.id: add_battery(assembly, coupling, small, b, 0.0) for b in small.batteries}
    gensets = {g.id: add_genset(assembly, coupling, small, g, blocks=False) for g in small.gensets}
    if small.reserve is not None:
        limits.add_reserve(assembly, small, small.reserve, batteries, gensets)
    more = assembly.columns(n, 0, envelope.more_kw, SHIFT_PRICE * h)
    less = assembly.columns(n, 0, envelope.less_kw)
    ahead = assembly.columns(n, -envelope.behind_kwh, envelope.ahead_kwh)
    assembly.add(coupling.balance, more, -1.0)
    assembly.add(coupling.balance, less, 1.0)
    rows = assembly.rows(n, 0.0, 0.0)  # ahead before + moved - ahead = 0
    assembly.add(rows, ahead, -1.0)
    assembly.add(rows[1:], ahead[:-1], 1.0)
    assembly.add(rows, more, h)
    assembly.add(rows, less, -h)
    return Fleet(assembly.finish(), gensets)


def _small(problem: Problem, envelope: Envelope) -> Problem:
    """Returns the problem with its stores as one and all other devices in the load."""
    load = np.array(problem.load_kw) + envelope.base_kw
    whole = store_of(problem.stores)
    one = Battery(
        AssetId("stores"),
        sum(b.energy_kwh for b in problem.stores),
        whole.charge_kw_max,
        whole.discharge_kw_max,
        whole.charge_efficiency,
        whole.discharge_efficiency,
        whole.now_kwh,
        whole.low_kwh,
        whole.high_kwh,
        whole.reserve_kwh,
        whole.reserve_price,
        whole.terminal_value,
        whole.wear_price,
        whole.final_kwh,
        forms_grid=any(b.forms_grid for b in problem.stores),
    )
    critical = np.minimum(np.array(problem.critical_kw) + envelope.base_kw, load)
    return replace(
        problem,
        load_kw=tuple(load.tolist()),
        critical_kw=tuple(critical.tolist()),
        batteries=(one,) if problem.stores else (),
        water=(),
        wells=(),
        plants=(),
        chargers=(),
        jobs=(),
        split_jobs=(),
        thermal=(),
        feeders=(),
    )
