"""The mode of the first slot, chosen over many futures instead of one forecast.

All batteries are taken as one. For each future, an exact dynamic program says what energy in the store at the end of
the first slot is worth; every mode is then run through the first slot of every future as the 1 s loop would run it,
and the best mean wins. Only the first slot binds: the next re-plan decides the next one. A scenario LP that shares
the first slot's power would be S times the model and would choose a setpoint, which is right in none of the futures.

The program needs no search: stage cost and value are convex and piecewise linear, and the cheapest way from one to the
other is to merge their slopes in order (infimal convolution).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from devices.units import W_PER_KW
from optimizer.arrays import FloatArray
from optimizer.energy import price_of_limits
from optimizer.plan import Mode
from optimizer.problem import AssetId, Battery, Problem
from optimizer.store import Store, store_of

LEVELS = 80
"""Steps of the grid on which values are kept between slots; slopes are merged exactly."""

POWERS = 32
"""Limits tried per mode, evenly spaced up to the ratings."""

GAIN_MIN = 1e-4
"""Relative to the mean price of a slot's energy at full power: a smaller gain does not move the plan."""

PEAK_SHARE = 0.1
"""Of a capacity charge, per slot above what is paid for: a peak is paid once, and many slots and later plans share it.
Half a year of 17 homes, 5 per kW and month: 11,672 without futures; with 11,566 (1.0), 11,254 (0.1), 11,345 (0.03)."""

_APART = 1e7
"""Distance between the curves of two futures when all are interpolated in one call."""

_NEAR_KW = 0.01


@dataclass(frozen=True, slots=True)
class Choice:
    """A mode for the whole store in the first slot, and what it saves on average against the plan's own."""

    mode: Mode
    limit_kw: float
    expected_kw: float  # under the forecast, positive charges
    gain: float  # money
    against: Mode
    futures: int


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices and limits per slot, as arrays."""

    buy: FloatArray
    sell: FloatArray  # never negative: PV would be curtailed
    import_limit_kw: FloatArray
    export_limit_kw: FloatArray
    over: FloatArray  # per kWh above the import limit, on top of the price
    peak_kw: float  # import that costs no more capacity charge; infinite without one
    peak: float  # per kWh above it, on top of the price

    def cost(self, slot: int | tuple[slice | None, ...], grid_kw: FloatArray, slot_h: float) -> FloatArray:
        """Returns the money of an exchange in one slot, or in all; export beyond its limit is curtailed."""
        over = np.maximum(grid_kw - self.import_limit_kw[slot], 0.0)
        sold = np.minimum(np.maximum(-grid_kw, 0.0), self.export_limit_kw[slot])
        bought = np.maximum(grid_kw, 0.0)
        money = self.buy[slot] * bought + self.over[slot] * over - self.sell[slot] * sold
        if self.peak:
            money += self.peak * np.maximum(grid_kw - self.peak_kw, 0.0)
        return money * slot_h


def choose(problem: Problem, other_kw: FloatArray, planned: tuple[Mode, float], peak_kw: float = 0.0) -> Choice | None:
    """Returns the best mode for the store over the problem's scenarios, or None where the planned one is as good.

    Args:
        problem: a valid problem with scenarios, grid there in the first slot, prices of import above export.
        other_kw: per slot what everything but load, PV and batteries takes in the plan.
        planned: mode and limit [kW] of the whole store in the first slot of the plan.
        peak_kw: the plan's own highest import, where there is a capacity charge.
    """
    store, tariff = store_of(problem.stores, price_of_limits(problem)), tariff_of(problem, peak_kw)
    if store.charge_kw_max + store.discharge_kw_max <= 0 or store.high_kwh <= store.low_kwh:
        return None
    futures = np.array([s.load_kw for s in problem.scenarios]) - np.array([s.pv_kw for s in problem.scenarios])
    forecast = np.array(problem.load_kw) - np.array(problem.pv_kw)
    net = np.concatenate([forecast[None, :], futures]) + other_kw
    worth = values(store, tariff, net, problem.slot_h)
    candidates = _candidates(store)
    candidates.append(planned)
    power = np.stack([loop_power(store, tariff, mode, limit, net[:, 0], problem.slot_h) for mode, limit in candidates])
    mean = _score(store, tariff, net[:, 0], power, worth, problem.slot_h).mean(axis=1)
    free = np.array([_unforced(candidate, net[0, 0], power[i, 0]) for i, candidate in enumerate(candidates)])
    best = int(np.argmin(np.where(free, mean, np.inf)))
    gain = float(mean[-1] - mean[best])
    scale = float(np.abs(tariff.buy).mean()) * max(store.charge_kw_max, store.discharge_kw_max) * problem.slot_h
    if not free[best] or gain <= GAIN_MIN * scale:
        return None
    mode, limit = candidates[best]
    return Choice(mode, limit, float(power[best, 0]), gain, planned[0], len(net))


def fits(problem: Problem) -> bool:
    """Returns whether modes can be chosen over futures: some, a grid, and no price at which burning pays.

    A store on a feeder of its own stays as planned: the choice knows only the limits of the exchange.
    """
    grid = problem.grid
    if not problem.scenarios or not problem.stores or not grid.available[0]:
        return False
    if {store.id for store in problem.stores} & {asset for feeder in problem.feeders for asset in feeder.assets}:
        return False
    return all(buy >= max(sell, 0.0) for buy, sell in zip(grid.import_price, grid.export_price, strict=True))


def tariff_of(problem: Problem, peak_kw: float = 0.0) -> Tariff:
    """Returns the exchange's prices; without a grid, import is shedding and export is curtailing.

    A capacity charge is priced per slot above what the month has paid for, or the plan will: `PEAK_SHARE` of it.
    """
    grid = problem.grid
    there = np.array(grid.available)
    return Tariff(
        buy=np.where(there, grid.import_price, problem.shed_price),
        sell=np.where(there, np.maximum(grid.export_price, 0.0), 0.0),
        import_limit_kw=np.where(there, grid.import_limit_kw, 0.0),
        export_limit_kw=np.where(there, grid.export_limit_kw, 0.0),
        over=np.where(there, grid.over_limit_price, 0.0),
        peak_kw=max(grid.peak_kw_so_far, peak_kw) if grid.peak_price else np.inf,
        peak=PEAK_SHARE * grid.peak_price / problem.slot_h,
    )


# ---------------------------------------------------------------------------------- the value of stored energy


def values(store: Store, tariff: Tariff, net_kw: FloatArray, slot_h: float) -> FloatArray:
    """Returns [future, level] what the slots from the second on cost, by charge at the end of the first.

    Args:
        store: the batteries.
        tariff: prices and limits.
        net_kw: [future, slot] what the store and the grid have to cover.
        slot_h: hours per slot.
    """
    futures, slots = net_kw.shape
    level = np.linspace(store.low_kwh, store.high_kwh, LEVELS + 1)
    below = store.reserve_price * np.maximum(store.reserve_kwh - level, 0.0)
    short = store.final_price * np.maximum(store.final_kwh - level, 0.0)
    worth: FloatArray = np.tile(below + short - store.terminal_value * level, (futures, 1))
    stages = _stages(store, tariff, net_kw, slot_h)
    for slot in range(slots - 1, 0, -1):
        worth = below + _before(stages, slot, level, worth)
    return worth


@dataclass(frozen=True, slots=True)
class _Stages:
    """What taking energy out of the store costs, per [slot, future]: convex, as pieces in rising order."""

    taken: FloatArray  # [slot, future] kWh out of the cells at the first corner
    cost: FloatArray  # [slot, future] money there
    width: FloatArray  # [slot, future, piece] kWh
    slope: FloatArray  # [slot, future, piece] money per kWh


def _stages(store: Store, tariff: Tariff, net_kw: FloatArray, slot_h: float) -> _Stages:
    net = net_kw.T[:, :, None]
    corner = _corners(store, tariff, net_kw.T)
    cost = tariff.cost(np.s_[:, None, None], net + corner, slot_h)
    cost += store.wear_price * slot_h * np.maximum(-corner, 0.0)
    taken, cost = -store.stored(corner, slot_h)[:, :, ::-1], cost[:, :, ::-1]
    width = np.diff(taken, axis=2)
    slope = np.diff(cost, axis=2) / np.maximum(width, 1e-12)
    return _Stages(taken[:, :, 0], cost[:, :, 0], width, np.where(width > 1e-12, slope, 0.0))


def _before(stages: _Stages, slot: int, level: FloatArray, worth: FloatArray) -> FloatArray:
    """Returns the value before a slot: min over what is taken out of (its cost + the value of what is left)."""
    step = float(level[1] - level[0])
    widths = np.concatenate([np.full((len(worth), LEVELS), step), stages.width[slot]], axis=1)
    slopes = np.concatenate([np.diff(worth, axis=1) / step, stages.slope[slot]], axis=1)
    order = np.argsort(slopes, axis=1, kind="stable")
    future = np.arange(len(worth))[:, None]
    widths, slopes = widths[future, order], slopes[future, order]
    at = _running(widths) + level[0] + stages.taken[slot][:, None]
    value = _running(widths * slopes) + worth[:, :1] + stages.cost[slot][:, None]
    return _interpolated(np.broadcast_to(level, worth.shape), at, value)


def _corners(store: Store, tariff: Tariff, net_kw: FloatArray) -> FloatArray:
    """Returns [slot, future, corner] the bus powers at which the slope of the cost changes, rising."""
    kinks = [
        np.zeros_like(net_kw),
        -net_kw,
        tariff.import_limit_kw[:, None] - net_kw,
        -tariff.export_limit_kw[:, None] - net_kw,
        *([tariff.peak_kw - net_kw] if tariff.peak else []),
    ]
    ends = [np.full_like(net_kw, -store.discharge_kw_max), np.full_like(net_kw, store.charge_kw_max)]
    return np.sort(np.clip(np.stack(kinks + ends, axis=2), -store.discharge_kw_max, store.charge_kw_max), axis=2)


def _running(parts: FloatArray) -> FloatArray:
    found = np.zeros((len(parts), parts.shape[1] + 1))
    np.cumsum(parts, axis=1, out=found[:, 1:])
    return found


def _interpolated(x: FloatArray, at: FloatArray, value: FloatArray) -> FloatArray:
    """Returns every row of `value` over `at`, interpolated at the same row of x."""
    apart = (_APART * np.arange(len(at)))[:, None]
    return np.interp((x + apart).ravel(), (at + apart).ravel(), value.ravel()).reshape(x.shape)


# ------------------------------------------------------------------------------------------------ modes


def _candidates(store: Store) -> list[tuple[Mode, float]]:
    whole = max(store.charge_kw_max, store.discharge_kw_max)
    part = np.arange(1, POWERS + 1) / POWERS
    found = [(Mode.FOLLOW, whole), (Mode.HOLD, 0.0)]
    found += [(Mode.CHARGE, float(kw)) for kw in part * store.charge_kw_max]
    found += [(Mode.DISCHARGE, float(kw)) for kw in part * store.discharge_kw_max]
    return found + [(Mode.FOLLOW, float(kw)) for kw in part[1:-1:2] * whole]


def loop_power(
    store: Store, tariff: Tariff, mode: Mode, limit_kw: float, net_kw: FloatArray, slot_h: float
) -> FloatArray:
    """Returns what the 1 s loop makes of a mode in the first slot of each future; the import limit comes first."""
    follow = -net_kw
    match mode:
        case Mode.FOLLOW:
            power = np.clip(follow, -limit_kw, limit_kw)
        case Mode.HOLD:
            power = np.zeros_like(follow)
        case Mode.CHARGE:
            power = np.maximum(follow, limit_kw)
        case Mode.DISCHARGE:
            power = np.maximum(np.minimum(follow, 0.0), -limit_kw)
    return store.clipped(np.minimum(power, tariff.import_limit_kw[0] - net_kw), slot_h)


def _score(
    store: Store, tariff: Tariff, net_kw: FloatArray, power_kw: FloatArray, worth: FloatArray, slot_h: float
) -> FloatArray:
    """Returns [candidate, future] money of the first slot and all that follows."""
    left = store.now_kwh + store.stored(power_kw, slot_h)
    level = np.linspace(store.low_kwh, store.high_kwh, LEVELS + 1)
    at = np.broadcast_to(level, worth.shape)
    after = _interpolated(left.T, at, worth).T
    wear = store.wear_price * slot_h * np.maximum(-power_kw, 0.0)
    return tariff.cost(0, net_kw + power_kw, slot_h) + wear + after


def _unforced(candidate: tuple[Mode, float], net_kw: float, power_kw: float) -> bool:
    """Returns whether a mode says what it does under the forecast: not held back by the import limit into another."""
    mode, limit = candidate
    grid = net_kw + power_kw
    match mode:
        case Mode.HOLD:
            return abs(power_kw) <= _NEAR_KW
        case Mode.CHARGE:
            return power_kw >= -_NEAR_KW and (power_kw <= limit + _NEAR_KW or grid <= _NEAR_KW)
        case Mode.DISCHARGE:
            return power_kw >= -limit - _NEAR_KW and (power_kw > -_NEAR_KW or grid > -_NEAR_KW)
        case Mode.FOLLOW:
            return abs(power_kw) <= limit + _NEAR_KW


def shares(problem: Problem, choice: Choice) -> dict[AssetId, tuple[int, float]]:
    """Returns (limit [W], planned kW) of every battery: the store's in proportion to what each can do now.

    A whole-store FOLLOW or HOLD is the same for all.
    """
    h, kw = problem.slot_h, choice.expected_kw
    able = {b.id: _able(b, h, charging=kw > 0 or choice.mode is Mode.CHARGE) for b in problem.stores}
    total = sum(able.values())
    found: dict[AssetId, tuple[int, float]] = {}
    for battery in problem.stores:
        part = able[battery.id] / total if total > 0 else 1.0 / len(able)
        rated = max(battery.charge_kw_max, battery.discharge_kw_max)
        limit = min(choice.limit_kw * part, rated)
        planned = min(max(kw * part, -battery.discharge_kw_max), battery.charge_kw_max)
        found[battery.id] = (round(limit * W_PER_KW), planned)
    return found


def _able(battery: Battery, slot_h: float, *, charging: bool) -> float:
    if charging:
        room = max(battery.soc_max_kwh - battery.soc_now_kwh, 0.0)
        return min(battery.charge_kw_max, room / battery.charge_efficiency / slot_h)
    left = max(battery.soc_now_kwh - battery.soc_min_kwh, 0.0)
    return min(battery.discharge_kw_max, left * battery.discharge_efficiency / slot_h)
