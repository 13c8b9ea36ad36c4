"""Plans that the network can carry: a power flow over all slots, limits where it is overloaded, and the plan anew.

A line, node or transformer beyond its limit becomes a feeder limit of the problem (`Plan.cuts`) in the slots in which
it is, by the sensitivity of the voltage to power along a radial line (LinDistFlow: dV = R x P / V, in parts of V).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from optimizer.arrays import FloatArray, IntArray
from optimizer.network import Line, Network, nodes_below
from optimizer.plan import Infeasible, Plan
from optimizer.powerflow import GridState, power_flow, transformer_ohm
from optimizer.problem import AssetId, Feeder, Problem, Stop

ROUNDS = 3
"""Times that a plan is solved again; what is then left over is told."""
SPARE_PU = 0.001
"""Cuts aim so far inside the voltage's limits: the sensitivity leaves out what is lost on the lines."""
SPARE = 0.98
"""Cuts aim at this part of an ampacity or rating."""
NEAR_PU = 1e-4
NEAR = 1.001
TRANSFORMER = "transformer"
_KEPT_KW = 0.02
"""A flow this much beyond its limit could not be kept within it: a narrower limit would change nothing."""

Solver = Callable[[Problem, Stop, int, Plan | None], Plan | Infeasible]


@dataclass(frozen=True, slots=True)
class Breach:
    """One thing beyond its limit, and the line on which power is to be cut for it."""

    what: str  # in words, with the worst value and the limit
    slots: tuple[int, ...]
    line: str  # or `TRANSFORMER`
    limit_kw: FloatArray  # per slot; where nothing is beyond a limit yet, what would bring it there
    outward: bool  # the power that is too much flows away from the devices


def solve_networked(
    problem: Problem, stop: Stop, seed: int, warm_start: Plan | None, solver: Solver
) -> Plan | Infeasible:
    """Returns a plan within the limits of the problem's network as far as may be; what is not is in its notices."""
    found = solver(problem, stop, seed, warm_start)
    network = problem.network
    if network is None or not isinstance(found, Plan):
        return found
    cuts: dict[str, Feeder] = {}
    flows, left = _judged(problem, network, found)
    for _ in range(ROUNDS):
        fresh = _tightened(problem, network, flows, left, cuts)
        if fresh == cuts:
            break
        limited = replace(problem, feeders=(*problem.feeders, *fresh.values()))
        again = solver(limited, stop, seed, found)
        if not isinstance(again, Plan):
            break
        cuts, found = fresh, replace(again, cuts=tuple(fresh.values()))
        flows, left = _judged(problem, network, found)
    said = _said_of_cuts(found, flows) + _said_of_breaches(found, left)
    return replace(found, notices=(*found.notices, *said))


# -- what a plan does to the network ---------------------------------------------------------------------------------


def node_powers(problem: Problem, network: Network, plan: Plan) -> tuple[FloatArray, FloatArray]:
    """Returns net power and uncontrolled load of each node [kW; slot, node]; what hangs nowhere is at the root.

    Solar that is curtailed on a line is taken from the nodes beyond it, the rest from all solar alike. Load that the
    plan sheds still counts.
    """
    at = {node.id: number for number, node in enumerate(network.nodes)}
    load = np.array([node.load_kw for node in network.nodes]).T.copy()
    sun = np.array([node.pv_kw for node in network.nodes]).T.copy()
    root = at[network.root]
    load[:, root] += np.maximum(np.array(problem.load_kw) - load.sum(axis=1), 0.0)
    sun[:, root] += np.maximum(np.array(problem.pv_kw) - sun.sum(axis=1), 0.0)
    left = np.array(plan.curtailed_kw)
    below = nodes_below(network.lines)
    for cut in sorted(plan.cuts, key=lambda one: len(below.get(str(one.id), at))):  # the innermost first
        nodes = [at[name] for name in below.get(str(cut.id), at)]
        taken = np.array(plan.feeder_curtailed_kw[cut.id])
        sun[:, nodes] -= _shared(sun[:, nodes], taken)
        left = left - taken
    sun -= _shared(sun, np.maximum(left, 0.0))
    assets = np.zeros_like(load)
    hung = {asset: at[node.id] for node in network.nodes for asset in node.assets}
    for asset, steps in plan.storages.items():
        assets[:, hung.get(asset, root)] += np.array([step.expected_w for step in steps]) / 1000
    for asset, units in plan.units.items():
        assets[:, hung.get(asset, root)] += np.array([step.power_w for step in units]) / 1000
    return load - sun + assets, load


def _shared(parts: FloatArray, amount: FloatArray) -> FloatArray:
    """Returns an amount per slot, split like the parts."""
    total = parts.sum(axis=1)
    share = np.divide(np.minimum(amount, total), total, out=np.zeros_like(total), where=total > 0.0)
    return parts * share[:, None]


def line_flows(network: Network, kw: FloatArray) -> Mapping[str, FloatArray]:
    """Returns the power into what each line feeds, losses left out [kW per slot]; the transformer's too."""
    at = {node.id: number for number, node in enumerate(network.nodes)}
    flows = {
        line: kw[:, [at[name] for name in nodes]].sum(axis=1) for line, nodes in nodes_below(network.lines).items()
    }
    return {**flows, TRANSFORMER: kw.sum(axis=1)}


def breaches(problem: Problem, network: Network, plan: Plan) -> list[Breach]:
    """Returns everything that a plan has beyond its limit."""
    return _judged(problem, network, plan)[1]


def _judged(problem: Problem, network: Network, plan: Plan) -> tuple[Mapping[str, FloatArray], list[Breach]]:
    """Returns a plan's `line_flows`, and everything that it has beyond its limit."""
    kw, load = node_powers(problem, network, plan)
    state, flows = power_flow(network, kw, load), line_flows(network, kw)
    return flows, [
        *_collapses(state, flows),
        *_overloads(network, state, flows),
        *_voltages(network, state, flows),
    ]


def _collapses(state: GridState, flows: Mapping[str, FloatArray]) -> list[Breach]:
    """Slots in which no voltage carries the power at all: half of it may stay for now."""
    slots = np.flatnonzero(np.isnan(state.transformer_kva))
    if not len(slots):
        return []
    flow = flows[TRANSFORMER]
    half = np.full_like(flow, np.abs(flow[slots]).min() / 2)
    what = "the network cannot carry the power at any voltage"
    return [Breach(what, _numbers(slots), TRANSFORMER, half, bool(flow[slots].sum() < 0.0))]


def _numbers(slots: IntArray) -> tuple[int, ...]:
    return tuple(int(slot) for slot in slots)


def _overloads(network: Network, state: GridState, flows: Mapping[str, FloatArray]) -> list[Breach]:
    found: list[Breach] = []
    carriers = [(line.id, state.current_a[:, place], line.ampacity_a, "A") for place, line in enumerate(network.lines)]
    carriers.append((TRANSFORMER, state.transformer_kva, network.transformer.rating_kva, "kVA"))
    for name, carried, most, unit in carriers:
        what = name if name == TRANSFORMER else f"line {name}"
        for outward in (False, True):
            way = flows[name] < 0.0 if outward else flows[name] >= 0.0
            slots = np.flatnonzero((carried > most * NEAR) & way)
            if len(slots):
                least = (np.abs(flows[name][slots]) * SPARE * most / carried[slots]).min()
                said = f"{what} up to {carried[slots].max():.0f} {unit} (limit {most:g} {unit})"
                found.append(Breach(said, _numbers(slots), name, np.full_like(carried, least), outward))
    return found


def _voltages(network: Network, state: GridState, flows: Mapping[str, FloatArray]) -> list[Breach]:
    found: list[Breach] = []
    for place, node in enumerate(network.nodes):
        volts = state.voltage_pu[:, place]
        for outward, excess, limit in (
            (True, volts - network.high_pu, network.high_pu),
            (False, network.low_pu - volts, network.low_pu),
        ):
            slots = np.flatnonzero(excess > NEAR_PU)
            if len(slots):
                worst = volts[slots].max() if outward else volts[slots].min()
                what = f"voltage at {node.id} {'up' if outward else 'down'} to {worst:.3f} (limit {limit:g})"
                line, limits = _cut_for(network, node.id, excess, flows, outward=outward)
                found.append(Breach(what, _numbers(slots), line, limits, outward))
    return found


def _cut_for(
    network: Network, node: str, excess: FloatArray, flows: Mapping[str, FloatArray], *, outward: bool
) -> tuple[str, FloatArray]:
    """Returns what has to be cut for a voltage: the line of its path over which it changes most, and its limits."""
    sign, slot = -1.0 if outward else 1.0, int(np.nanargmax(excess))
    path = network.path(node)
    ohms = np.cumsum([transformer_ohm(network), *(line.r_ohm for line in path)])
    name, ohm = TRANSFORMER, float(ohms[0])
    if path:
        place = int(np.argmax([line.r_ohm * sign * flows[line.id][slot] for line in path]))
        name, ohm = path[place].id, float(ohms[place + 1])
    volts = (network.high_pu if outward else network.low_pu) * network.nominal_v
    less_kw = (np.nan_to_num(excess) + SPARE_PU) * network.nominal_v * volts / ohm / 1000
    return name, np.maximum(0.0, sign * flows[name] - less_kw)


# -- limits ----------------------------------------------------------------------------------------------------------


def _tightened(
    problem: Problem,
    network: Network,
    flows: Mapping[str, FloatArray],
    left: Sequence[Breach],
    cuts: Mapping[str, Feeder],
) -> dict[str, Feeder]:
    """Returns the cuts with narrower limits where a plan still breaks the network's; the same where nothing helps."""
    result = dict(cuts)
    for breach in left:
        cut = result.get(breach.line) or _unlimited(problem, network, breach.line)
        known = np.array(cut.export_limit_kw if breach.outward else cut.import_limit_kw)
        flow = (-1.0 if breach.outward else 1.0) * flows[breach.line]
        kept = (flow <= known + _KEPT_KW) | (breach.line not in cuts)
        helps = kept & (breach.limit_kw < known)
        if helps[list(breach.slots)].any():
            limits = tuple(np.minimum(known, breach.limit_kw).tolist())
            changed = {"export_limit_kw" if breach.outward else "import_limit_kw": limits}
            result[breach.line] = replace(cut, **changed)
    return _nested(network, result)


def _unlimited(problem: Problem, network: Network, name: str) -> Feeder:
    """Returns what a line feeds as a feeder with its ampacity for a limit."""
    line = next((one for one in network.lines if one.id == name), None)
    whole = line is None
    below = frozenset[str]() if whole else nodes_below(network.lines)[name]
    nodes = [node for node in network.nodes if whole or node.id in below]
    most = _ampacity_kw(network, line)
    load = problem.load_kw if whole else tuple(map(sum, zip(*(node.load_kw for node in nodes), strict=True)))
    sun = problem.pv_kw if whole else tuple(map(sum, zip(*(node.pv_kw for node in nodes), strict=True)))
    known = set(problem.steered)
    jobs = {job.id for job in (*problem.jobs, *problem.split_jobs)}
    assets = sorted(known | jobs) if whole else [asset for node in nodes for asset in node.assets if asset in known]
    limits = (most,) * problem.slots
    return Feeder(AssetId(name), load, sun, tuple(assets), limits, limits, network.price)


def _ampacity_kw(network: Network, line: Line | None) -> float:
    if line is None:
        return network.transformer.rating_kva
    return line.ampacity_a * sqrt(3.0) * network.nominal_v * network.high_pu / 1000


def _nested(network: Network, cuts: Mapping[str, Feeder]) -> dict[str, Feeder]:
    """Returns the cuts with the names of those that lie beyond them: solar curtailed there is curtailed here too."""
    below = nodes_below(network.lines)
    every = frozenset(node.id for node in network.nodes)
    fed = {name: below.get(name, every) for name in cuts}
    return {
        name: replace(
            cut, inner=tuple(AssetId(other) for other in sorted(cuts) if other != name and fed[other] <= fed[name])
        )
        for name, cut in cuts.items()
    }


# -- words -----------------------------------------------------------------------------------------------------------


def _said_of_cuts(plan: Plan, flows: Mapping[str, FloatArray]) -> list[str]:
    """Returns in words where the added limits bind."""
    found: list[str] = []
    for cut in plan.cuts:
        flow = flows[str(cut.id)]
        for sign, series, way in ((1.0, cut.import_limit_kw, "towards"), (-1.0, cut.export_limit_kw, "away from")):
            limits = np.array(series)
            slots = np.flatnonzero((sign * flow > 0.0) & (sign * flow > limits - _KEPT_KW))
            if len(slots):
                found.append(
                    f"network: power {way} what {cut.id} feeds is held to {limits[slots].min():.1f} kW and more "
                    f"in {len(slots)} slots, first in slot {slots[0]}"
                )
    return found


def _said_of_breaches(plan: Plan, left: Sequence[Breach]) -> list[str]:
    found: list[str] = []
    for breach in left:
        money = plan.violations.get(f"feeder:{breach.line}", 0.0)
        found.append(
            f"network: {breach.what} in {len(breach.slots)} slots, first in slot {breach.slots[0]}: "
            f"nothing planned can lower it further (priced {money:.2f})"
        )
    return found
