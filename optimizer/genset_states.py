"""Commitment of several gensets by exact dynamic programming over (state of every genset, stored energy).

Batteries and shiftable load count as one store; what is cheapest within a slot is merit order, in closed form. The
state of a genset is how long it has been on or off, up to its minimum time. Gensets change state only between blocks
of slots; `fleet` then moves each change by single slots, with stores and shiftable load apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from optimizer.arrays import BoolArray, FloatArray, IntArray
from optimizer.energy import price_of_limits
from optimizer.envelope import Envelope
from optimizer.problem import AssetId, Genset, Problem, Reserve
from optimizer.store import store_of

LEVELS = 100
"""Steps of the stored energy between its least and its most."""

STATES_MAX = 700
"""Joint states of all gensets; with more, blocks are made longer."""

BLOCKS_MIN = (15, 30, 60, 120)

_FORBIDDEN = 1e9
_NEVER = 1e12
"""Money beyond the ends of the store: finite, since infinities do not interpolate."""

_HUGE = 1e4
"""Money per kWh of critical load not served: avoided whatever the prices are."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """The joint states that can be reached after a block, and the arcs into them, sorted by source."""

    combination: IntArray  # by state: which gensets are on, as bits
    source: IntArray  # of each arc, an index into the stage before
    target: IntArray
    money: FloatArray


@dataclass(frozen=True, slots=True)
class _Exact:
    """Actions in which the store takes, slot by slot, what the sources leave over: no whole level balances it.

    By [block, combination, sources]: gensets at their least or most, each without the grid and with all it may give.
    A whole level is 33 kW for a slot on an island of 200 devices: without these, gensets were hardly ever off.
    """

    shift: FloatArray  # in levels, with fraction
    money: FloatArray


@dataclass(frozen=True, slots=True)
class _Store:
    """Batteries and shiftable load as one, on a grid of levels."""

    delta_kwh: float
    level: FloatArray  # kWh above the least that the batteries may hold
    now: float  # in levels, with fraction
    moves: IntArray  # levels that a block can move
    charge_kw: FloatArray  # [slot] the most at the bus
    discharge_kw: FloatArray
    charge_efficiency: float
    discharge_efficiency: float
    wear_price: float
    power_kw: FloatArray  # [block, move] at the bus
    allowed: FloatArray  # [block, move] 0, or money that forbids it
    held: FloatArray  # [block, level] money of ending a block there
    final: FloatArray  # [level] value of what is left


Schedules = Mapping[AssetId, FloatArray]
"""1.0 per slot in which a genset runs."""


def commit_in_blocks(problem: Problem, envelope: Envelope) -> Schedules | None:
    """Returns when each genset should run, minimum times kept; None where there are too many states for any block.

    Args:
        problem: a valid problem with gensets.
        envelope: what everything but stores and gensets takes, and how far that can move.
    """
    for minutes in BLOCKS_MIN:
        size = max(1, minutes * 60_000 // problem.slot_ms)
        total = np.prod([sum(_phases(g, size)) for g in problem.gensets])
        if total <= STATES_MAX:
            return _commit(problem, envelope, size)
    return None


def corridor(schedule: FloatArray, reach: int, running: bool) -> BoolArray:
    """Returns [slot, off or on]: which of the two a schedule has within `reach` slots."""
    ends = np.concatenate([np.full(reach, float(running)), schedule, np.full(reach, schedule[-1])])
    window = sliding_window_view(ends, 2 * reach + 1)
    return np.stack([window.min(axis=1) < 0.5, window.max(axis=1) > 0.5], axis=1)


def _phases(genset: Genset, size: int) -> tuple[int, int]:
    """Returns the minimum times up and down in blocks, at least one each."""
    return max(-(-genset.min_up_slots // size), 1), max(-(-genset.min_down_slots // size), 1)


def _commit(problem: Problem, envelope: Envelope, size: int) -> Schedules:
    stages = _stages(problem.gensets, size, -(-problem.slots // size))
    store = _store(problem, envelope, size)
    cost, exact = _costs(problem, envelope, store, size), _exact(problem, envelope, store, size)
    ends = _backward(stages, store, cost, exact)
    slots = np.repeat(_forward(stages, store, cost, exact, ends), size)[: problem.slots]
    return {g.id: ((slots >> i) & 1).astype(np.float64) for i, g in enumerate(problem.gensets)}


def _stages(gensets: Sequence[Genset], size: int, blocks: int) -> list[_Stage]:
    """Returns the reachable joint states block by block.

    A genset's phase counts the blocks that it has been on (0 to up - 1, the last: or longer), then off.
    """
    up, down = (np.array(one) for one in zip(*(_phases(g, size) for g in gensets), strict=True))
    width = int((up + down).max())
    place = width ** np.arange(len(gensets))
    start_price = np.array([g.start_price for g in gensets])
    states = np.array([[_phase_now(g, size) for g in gensets]])
    stages: list[_Stage] = []
    for _ in range(blocks):
        on = states < up
        free = states == np.where(on, up - 1, up + down - 1)  # its minimum time is over
        stay = np.where(free, states, states + 1)
        switch = np.where(on, up, 0)
        sources, targets, money = list[IntArray](), list[IntArray](), list[FloatArray]()
        for changes in product((False, True), repeat=len(gensets)):
            changed = np.array(changes)
            after = np.where(changed, switch, stay)
            at = np.flatnonzero((free | ~changed).all(axis=1))
            sources.append(at)
            targets.append((after[at] * place).sum(axis=1))
            money.append(((changed & ~on[at]) * start_price).sum(axis=1))
        codes, target = np.unique(np.concatenate(targets), return_inverse=True)
        source = np.concatenate(sources)
        order = np.argsort(source, kind="stable")
        states = codes[:, None] // place % width
        bits = ((states < up) * (1 << np.arange(len(gensets)))).sum(axis=1)
        stages.append(_Stage(bits, source[order], target[order], np.concatenate(money)[order]))
    return stages


def _phase_now(genset: Genset, size: int) -> int:
    """Returns the phase that the past leaves; what it still binds is rounded up to whole blocks."""
    up, down = _phases(genset, size)
    least = genset.min_up_slots if genset.running else genset.min_down_slots
    left = -(-max(least - genset.slots_in_state, 0) // size)
    return max(up - 1 - left, 0) if genset.running else up + max(down - 1 - left, 0)


def _store(problem: Problem, envelope: Envelope, size: int) -> _Store:
    h, blocks = problem.slot_h, -(-problem.slots // size)
    whole = store_of(problem.stores)
    room = whole.high_kwh - whole.low_kwh
    behind, ahead = _ends(envelope.behind_kwh, size), _ends(envelope.ahead_kwh, size)
    low, high = -float(behind.max()), room + float(ahead.max())
    delta = max(high - low, 1e-6) / LEVELS
    level = np.asarray(low + delta * np.arange(LEVELS + 1), dtype=np.float64)
    charge = _means(envelope.more_kw, size) + whole.charge_kw_max
    discharge = _means(envelope.less_kw, size) + whole.discharge_kw_max
    part = room / max(high - low, 1e-6)  # of the store that has losses
    charge_efficiency = 1.0 - (1.0 - whole.charge_efficiency) * part if problem.stores else 1.0
    discharge_efficiency = 1.0 - (1.0 - whole.discharge_efficiency) * part if problem.stores else 1.0
    hours = h * size
    up = min(int(charge.max() * hours * charge_efficiency / delta), LEVELS)
    down = min(int(discharge.max() * hours / discharge_efficiency / delta), LEVELS)
    moves = np.arange(-down, up + 1)
    kwh = moves * delta
    power = np.where(kwh > 0, kwh / charge_efficiency, kwh * discharge_efficiency) / hours
    power_kw = np.broadcast_to(power, (blocks, len(moves)))
    beyond = (power_kw > charge[:, None] + 1e-9) | (power_kw < -discharge[:, None] - 1e-9)
    outside = (level < -behind[:, None] - delta / 2) | (level > room + ahead[:, None] + delta / 2)
    held = np.where(outside, _FORBIDDEN, 0.0)
    held = held + whole.reserve_price * size * np.maximum(whole.reserve_kwh - whole.low_kwh - level, 0.0)
    short = price_of_limits(problem) * np.maximum(whole.final_kwh - whole.low_kwh - level, 0.0)
    return _Store(
        delta,
        level,
        (whole.now_kwh - whole.low_kwh - low) / delta,
        moves,
        envelope.more_kw + whole.charge_kw_max,
        envelope.less_kw + whole.discharge_kw_max,
        charge_efficiency,
        discharge_efficiency,
        whole.wear_price * part,
        power_kw,
        np.where(beyond, _FORBIDDEN, 0.0) + whole.wear_price * hours * np.maximum(-power_kw, 0.0) * part,
        held,
        short - whole.terminal_value * level,
    )


def _ends(series: FloatArray, size: int) -> FloatArray:
    """Returns the value at the end of each block."""
    last = np.minimum(np.arange(size - 1, len(series) + size - 1, size), len(series) - 1)
    return series[last]


def _means(series: FloatArray, size: int) -> FloatArray:
    return np.add.reduceat(series, np.arange(0, len(series), size)) / size


def _costs(problem: Problem, envelope: Envelope, store: _Store, size: int) -> FloatArray:
    """Returns [block, combination, move] the money of a block."""
    net = np.array(problem.load_kw) - np.array(problem.pv_kw) + envelope.base_kw
    block = np.arange(problem.slots) // size
    need = net[:, None] + store.power_kw[block]
    found = np.zeros((int(block[-1]) + 1, 1 << len(problem.gensets), len(store.moves)))
    for combination in range(found.shape[1]):
        running = [g for i, g in enumerate(problem.gensets) if combination >> i & 1]
        per_slot = _served(problem, running, need, store.power_kw[block])
        found[:, combination] = np.add.reduceat(per_slot, np.arange(0, problem.slots, size), axis=0) + store.allowed
    return found


def _exact(problem: Problem, envelope: Envelope, store: _Store, size: int) -> _Exact:
    """Returns the exact actions; where the store cannot take all that is left over, the merit order covers the rest."""
    h, first = problem.slot_h, np.arange(0, problem.slots, size)
    net = np.array(problem.load_kw) - np.array(problem.pv_kw) + envelope.base_kw
    bought = np.where(problem.grid.available, problem.grid.import_limit_kw, 0.0)[:, None]
    shape = len(first), 1 << len(problem.gensets), 4
    shift, money = np.zeros(shape), np.zeros(shape)
    for combination in range(shape[1]):
        running = [g for i, g in enumerate(problem.gensets) if combination >> i & 1]
        least, most = sum(g.power_kw_min for g in running), sum(g.power_kw_max for g in running)
        source = np.concatenate([least + 0.0 * bought, most + 0.0 * bought, least + bought, most + bought], axis=1)
        power = np.clip(source - net[:, None], -store.discharge_kw[:, None], store.charge_kw[:, None])
        kwh = np.where(power > 0, power * store.charge_efficiency, power / store.discharge_efficiency) * h
        cost = _served(problem, running, net[:, None] + power, power)
        cost = cost + store.wear_price * h * np.maximum(-power, 0.0)
        levels = np.add.reduceat(kwh, first, axis=0) / store.delta_kwh
        shift[:, combination] = np.clip(levels, -LEVELS - 1.0, LEVELS + 1.0)  # out of reach all the same
        money[:, combination] = np.add.reduceat(cost, first, axis=0)
    return _Exact(shift, money)


def _served(problem: Problem, running: Sequence[Genset], need_kw: FloatArray, power_kw: FloatArray) -> FloatArray:
    """Returns money [slot, move] for what is needed, `power_kw` of it by the store, and for the reserve that lacks."""
    money = merit_order(problem, running, need_kw) * problem.slot_h
    if problem.reserve is None:
        return money
    return money + _lacking(problem, problem.reserve, running, need_kw, power_kw)


def _lacking(
    problem: Problem, reserve: Reserve, running: Sequence[Genset], need_kw: FloatArray, power_kw: FloatArray
) -> FloatArray:
    """Returns money [slot, move] for the spinning reserve that is missing on an island."""
    most = sum(g.power_kw_max for g in running)
    spare = most - np.clip(need_kw, 0.0, most)
    forming = sum(b.discharge_kw_max for b in problem.stores if b.forms_grid)
    stored = np.clip(forming + power_kw, 0.0, forming + np.maximum(power_kw, 0.0)) if forming else 0.0
    wanted = np.where(problem.grid.available, 0.0, reserve.spinning_kw)[:, None]
    return np.maximum(wanted - spare - stored, 0.0) * reserve.spinning_price * problem.slot_h


def merit_order(problem: Problem, running: Sequence[Genset], need_kw: FloatArray) -> FloatArray:
    """Returns money per hour of covering `need_kw` [slot, case] from gensets, grid and shedding in merit order."""
    grid, slots = problem.grid, problem.slots
    there = np.array(grid.available, dtype=np.float64)
    limit = np.array(grid.import_limit_kw) * there
    base = sum(g.power_kw_min for g in running)
    sheddable = np.array(problem.load_kw) - np.array(problem.critical_kw)
    shed_price = min([problem.shed_price, *(tier.price for tier in problem.shed_tiers)])
    price = [np.full(slots, g.energy_price) for g in running]
    width = [np.full(slots, g.power_kw_max - g.power_kw_min) for g in running]
    price += [np.array(grid.import_price), np.array(grid.import_price) + grid.over_limit_price]
    width += [limit, np.where(there > 0, 1e6, 0.0)]
    price += [np.full(slots, shed_price), np.full(slots, _HUGE)]
    width += [sheddable, np.full(slots, 1e6)]
    order = np.argsort(np.array(price), axis=0, kind="stable")
    prices = np.take_along_axis(np.array(price), order, 0)
    widths = np.take_along_axis(np.array(width), order, 0)
    rest = np.maximum(need_kw - base, 0.0)
    money = np.full_like(need_kw, sum(g.power_kw_min * g.energy_price + g.fixed_price_per_h for g in running))
    for kw_price, kw in zip(prices, widths, strict=True):
        taken = np.minimum(rest, kw[:, None])
        money += taken * kw_price[:, None]
        rest -= taken
    spare = np.maximum(base - need_kw, 0.0)
    sold = np.minimum(spare, (np.array(grid.export_limit_kw) * there)[:, None])
    money -= sold * np.maximum(np.array(grid.export_price), 0.0)[:, None]
    stuck = np.maximum(spare - sold - np.array(problem.pv_kw)[:, None], 0.0)
    return money + stuck * price_of_limits(problem)


def _backward(stages: Sequence[_Stage], store: _Store, cost: FloatArray, exact: _Exact) -> list[FloatArray]:
    """Returns, per block, what ending it in (state, level) costs from there on."""
    value = np.tile(store.final, (len(stages[-1].combination), 1))
    ends: list[FloatArray] = []
    for block in range(len(cost) - 1, -1, -1):
        stage = stages[block]
        end = value + store.held[block]
        ends.append(end)
        through = _through(stage.combination, store, cost, exact, end, block)
        before = len(stages[block - 1].combination) if block else 1
        value = np.full((before, len(store.level)), _NEVER)
        first = np.flatnonzero(np.diff(stage.source, prepend=-1))
        best = np.minimum.reduceat(through[stage.target] + stage.money[:, None], first, axis=0)
        value[stage.source[first]] = best
    return ends[::-1]


def _through(
    combination: IntArray, store: _Store, cost: FloatArray, exact: _Exact, end: FloatArray, block: int
) -> FloatArray:
    """Returns [state, level] the best before a block, by the state that it ends in."""
    count, shift, money = len(store.level), exact.shift[block], exact.money[block]
    reach = max(-int(store.moves[0]), int(store.moves[-1]), int(np.abs(shift).max())) + 2
    padded = np.full((len(end), count + 2 * reach), _NEVER)
    padded[:, reach : reach + count] = end
    found = np.full((len(end), count), _NEVER)
    for at in np.flatnonzero(store.allowed[block] < _FORBIDDEN).tolist():
        move = reach + int(store.moves[at])
        np.minimum(found, padded[:, move : move + count] + cost[block, combination, at][:, None], out=found)
    for action in range(shift.shape[1]):
        moved = shift[combination, action]
        whole = np.floor(moved).astype(np.int64)
        part = (moved - whole)[:, None]
        column = reach + whole[:, None] + np.arange(count)
        low, high = np.take_along_axis(padded, column, 1), np.take_along_axis(padded, column + 1, 1)
        np.minimum(found, low + part * (high - low) + money[combination, action][:, None], out=found)
    return found


def _forward(
    stages: Sequence[_Stage], store: _Store, cost: FloatArray, exact: _Exact, ends: Sequence[FloatArray]
) -> IntArray:
    """Returns the combination of each block that follows from the values, with the energy kept exactly."""
    chosen = np.zeros(len(ends), dtype=np.int64)
    state, level = 0, store.now
    grid = np.arange(len(store.level), dtype=np.float64)
    for block, (stage, end) in enumerate(zip(stages, ends, strict=True)):
        best = (np.inf, -1, level)
        for arc in np.flatnonzero(stage.source == state).tolist():
            target = int(stage.target[arc])
            combination = stage.combination[target]
            reached = level + np.concatenate([store.moves, exact.shift[block, combination]])
            money = np.concatenate([cost[block, combination], exact.money[block, combination]])
            after = np.interp(reached, grid, np.asarray(end[target], dtype=np.float64), left=np.inf, right=np.inf)
            total = np.asarray(after + money + stage.money[arc], dtype=np.float64)
            at = int(np.argmin(total))
            if best[1] < 0 or total[at] < best[0]:
                best = (float(total[at]), target, float(reached[at]))
        _, state, level = best
        chosen[block] = stage.combination[state]
    return chosen
