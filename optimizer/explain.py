"""Why each step is as it is, in words, from the plan's structure and the prices of the LP with integers fixed.

Times are told as distance from the step ("3 h later"), since the planner knows no civil time. Every number is a tariff,
a limit or a price; where none says why, no number is given. A reason names its limit (`Binding`), so that
`optimizer/relax.py` can move it and solve again; the cost of what was rejected is a least cost (see `prices`).
"""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.dispatch import Dispatch
from optimizer.hedge import Choice
from optimizer.plan import Binding, Limit, Mode, Reason
from optimizer.prices import SMALL, Prices
from optimizer.problem import AssetId, Battery, Charger, Genset, Job, Problem, SplitJob, ThermalStore, WaterSystem
from optimizer.words import later

_WAITS = "charging waits for surplus or cheaper power"
_NEAR_KW = 0.01
_NEAR_KWH = 0.01


def _positive(cost: float) -> float | None:
    """Returns what an alternative costs more, or None where prices alone do not say that it does."""
    return round(max(cost, 0.0), 6) if cost > -SMALL else None


# ------------------------------------------------------------------------------------- storages


def storage_reason(problem: Problem, plan: Dispatch, prices: Prices, battery: Battery, t: int, mode: Mode) -> Reason:
    """Returns why a storage has this mode in slot t."""
    text, binding = _storage_cause(problem, plan, prices, battery, t, mode)
    alternative, cost = "", None
    if mode is Mode.CHARGE:
        alternative, cost = "hold", _positive(-prices.charge(battery.id, t))
    elif mode is Mode.HOLD and plan.grid_kw[t] > _NEAR_KW and battery.discharge_kw_max > 0.0:
        alternative, cost = "discharge now", _positive(prices.discharge(battery.id, t))
    elif mode is Mode.HOLD and plan.grid_kw[t] < -_NEAR_KW:
        alternative, cost = "charge now", _positive(prices.charge(battery.id, t))
    elif mode is Mode.DISCHARGE:
        alternative, cost = "hold", _positive(-prices.discharge(battery.id, t))
    return Reason(text, prices.told[t], alternative, cost, binding)


def away_reason(battery: Battery, t: int) -> Reason:
    """Returns why a vehicle is not plugged in in slot t."""
    what = next((one.what for one in battery.errands if one.first_slot <= t < one.until_slot), "not plugged in")
    return Reason(f"away: {what}")


def hedged_reason(choice: Choice, prices: Prices) -> Reason:
    """Returns why a storage has another mode in the first slot than the forecast alone would give it."""
    text = (
        f"best on average over {choice.futures} forecasts of the day: saves {choice.gain:.2f} against {choice.against}"
    )
    return Reason(text, prices.told[0], choice.against.value, None, prices.of(Limit.LOAD, 0))


def _storage_cause(
    problem: Problem, plan: Dispatch, prices: Prices, battery: Battery, t: int, mode: Mode
) -> tuple[str, Binding]:
    """Returns the words and the limit that they name."""
    soc, grid, here = plan.soc_kwh[battery.id][t], problem.grid, plan.grid_kw[t]
    load, stored = (Limit.LOAD, t, ""), (Limit.STORED, t, battery.id)
    if not grid.available[t]:
        return "island: the battery holds the balance", prices.of(*load)
    if mode is Mode.CHARGE:
        text = f"grid energy at {grid.import_price[t]:.3f} is stored: {_use(problem, plan, battery, t)}"
        return text, prices.first((Limit.CHARGE_POWER, t, battery.id), *_room(prices, plan, battery, t), stored)
    if mode is Mode.HOLD and here < -_NEAR_KW:
        text = "room is kept for solar surplus that comes later"
        return text, prices.first(*_room(prices, plan, battery, t), load)
    if mode is Mode.HOLD:
        if battery.discharge_kw_max <= 0.0:
            full = soc > battery.soc_max_kwh - _NEAR_KWH
            return "full" if full else _WAITS, prices.of(*stored)
        if battery.reserve_kwh > 0 and soc < battery.reserve_kwh + _NEAR_KWH:
            return f"reserve of {battery.reserve_kwh:.1f} kWh is kept for lifelines", prices.of(*stored)
        return f"stored energy is saved: {_use(problem, plan, battery, t)}", prices.of(*stored)
    if mode is Mode.DISCHARGE:
        if here > grid.import_limit_kw[t] - _NEAR_KW:
            text = f"import limit {grid.import_limit_kw[t]:.1f} kW: the battery carries the rest"
            return text, prices.first((Limit.IMPORT, t, ""), stored)
        return "stored energy does not cover all dear hours: it is rationed over them", prices.of(*stored)
    return _follow_cause(problem, plan, prices, battery, t)


def _follow_cause(problem: Problem, plan: Dispatch, prices: Prices, battery: Battery, t: int) -> tuple[str, Binding]:
    w, soc = plan.watts[battery.id][t], plan.soc_kwh[battery.id][t]
    load = (Limit.LOAD, t, "")
    if w > 0:
        text = f"surplus is stored: {_use(problem, plan, battery, t)}"
        return text, prices.first((Limit.CHARGE_POWER, t, battery.id), load)
    if w < 0:
        text = f"stored energy replaces import at {problem.grid.import_price[t]:.3f}"
        return text, prices.first((Limit.DISCHARGE_POWER, t, battery.id), load)
    if soc > battery.soc_max_kwh - _NEAR_KWH:
        text = "full" if battery.discharge_kw_max <= 0.0 else "full: it follows the load when surplus ends"
        return text, prices.first((Limit.FULL, t, battery.id), load)
    if battery.discharge_kw_max <= 0.0:
        return _WAITS, prices.of(*load)
    if soc < battery.soc_min_kwh + _NEAR_KWH:
        return "empty: it takes the next surplus", prices.of(Limit.STORED, t, battery.id)
    return "supply and load balance without it", prices.of(*load)


def _room(prices: Prices, plan: Dispatch, battery: Battery, t: int) -> list[tuple[Limit, int, AssetId]]:
    """Returns the slot from t on, before the store empties again, in which its capacity binds; nothing where none."""
    for s in range(t, len(plan.grid_kw)):
        if plan.soc_kwh[battery.id][s] > battery.soc_max_kwh - _NEAR_KWH and prices.binds(Limit.FULL, s, battery.id):
            return [(Limit.FULL, s, battery.id)]
    return []


def _use(problem: Problem, plan: Dispatch, battery: Battery, t: int) -> str:
    """Returns what the stored energy is for: the next slot in which it is used, or its value at the end."""
    for s in range(t + 1, problem.slots):
        if plan.watts[battery.id][s] < 0:
            distance = later(s - t, problem.slot_ms)
            if not problem.grid.available[s]:
                return f"needed {distance} later without grid"
            return f"used {distance} later, when import costs {problem.grid.import_price[s]:.3f}"
    leaves = next((leaves for leaves in battery.departures if leaves.slot > t), None)
    if leaves is not None:
        return f"it leaves {later(leaves.slot - t, problem.slot_ms)} later and needs {leaves.energy_kwh:.1f} kWh then"
    return f"worth {battery.terminal_value:.3f} per kWh at the end of the plan"


# ------------------------------------------------------------------------------ gensets and pumps


def genset_reason(problem: Problem, plan: Dispatch, prices: Prices, genset: Genset, t: int) -> Reason:
    """Returns why a genset runs or rests in slot t."""
    price, grid = prices.told[t], problem.grid
    load = prices.of(Limit.LOAD, t)
    if not plan.on[genset.id][t]:
        text = f"not needed: its energy costs {genset.energy_price:.3f} and more to start"
        block = genset_block(problem, plan.on[genset.id], prices.power, genset, t)
        extra = _run_extra(problem, prices.power, genset, t, block) if block else -1.0
        return Reason(text, price, "run it" if block else "", _positive(extra), load)
    if genset.running and t < genset.min_up_slots - genset.slots_in_state:
        return Reason("minimum run time is not over", price, binding=load)
    if not grid.available[t]:
        text = "island: solar and batteries alone do not carry the load until it ends"
        return Reason(text, price, binding=load)
    if plan.grid_kw[t] > grid.import_limit_kw[t] - _NEAR_KW:
        text = f"import limit {grid.import_limit_kw[t]:.1f} kW is reached"
        return Reason(text, price, binding=prices.first((Limit.IMPORT, t, ""), (Limit.LOAD, t, "")))
    if genset.energy_price < grid.import_price[t]:
        text = f"its energy costs {genset.energy_price:.3f}, import {grid.import_price[t]:.3f}"
        return Reason(text, price, binding=load)
    if not all(grid.available[t:]):
        return Reason("stores energy for the time without grid", price, binding=load)
    return Reason("kept running: cheaper than stopping and starting again", price, binding=load)


def genset_block(
    problem: Problem, on: Sequence[bool], power: Sequence[float], genset: Genset, t: int
) -> tuple[float, ...]:
    """Returns the kW of the shortest run from slot t that pays best at given prices; empty where none stands alone."""
    length = max(genset.min_up_slots, 1)
    if t == 0 or t + length >= problem.slots or any(on[t - 1 : t + length + 1]):
        return ()
    low, high = genset.power_kw_min, genset.power_kw_max
    return tuple(low if power[s] < genset.energy_price else high for s in range(t, t + length))


def _run_extra(problem: Problem, power: Sequence[float], genset: Genset, t: int, block: Sequence[float]) -> float:
    """Returns what each kWh of such a run costs more than it saves."""
    h = problem.slot_h
    money = genset.start_price + len(block) * genset.fixed_price_per_h * h
    money += sum((genset.energy_price - power[t + k]) * kw * h for k, kw in enumerate(block))
    return money / (sum(block) * h) if sum(block) else -1.0


def pump_reason(problem: Problem, plan: Dispatch, prices: Prices, water: WaterSystem, t: int) -> Reason:
    """Returns why a pump runs or rests in slot t."""
    price, level = prices.told[t], plan.level_kl[water.tank_id][t]
    on = plan.on[water.pump_id]
    load = prices.of(Limit.LOAD, t)
    if on[t]:
        if level < water.reserve_kl:
            text = f"tank is below its reserve of {water.reserve_kl:.1f} kL"
            return Reason(text, price, binding=prices.first((Limit.TANK, t, water.tank_id), (Limit.LOAD, t, "")))
        if plan.curtailed_kw[t] > _NEAR_KW or plan.grid_kw[t] < -_NEAR_KW:
            return Reason("tank is filled from surplus", price, binding=load)
        return Reason("tank is filled here at the lowest cost of energy and starts", price, binding=load)
    if level > water.high_kl - water.pump_flow_kl_per_h * problem.slot_h:
        return Reason("tank is full", price, binding=load)
    following = next_on(on, t)
    if following is None:
        return Reason("tank lasts to the end of the plan", price, binding=load)
    text = f"tank lasts; pumping {later(following - t, problem.slot_ms)} later costs less"
    return Reason(text, price, "pump now", _positive(prices.pump(water, t) - prices.pump(water, following)), load)


# ---------------------------------------------------------------------------- chargers, jobs, heat


def charger_reason(problem: Problem, plan: Dispatch, prices: Prices, charger: Charger, t: int) -> Reason:
    """Returns why a charger gives power or not in slot t."""
    price = prices.told[t]
    if not charger.from_slot <= t < charger.until_slot:
        return Reason("no vehicle is expected", price)
    left = later(charger.until_slot - t, problem.slot_ms)
    need = prices.of(Limit.NEED, charger.from_slot, charger.id)
    dearer = prices.deliver(charger.id, t - charger.from_slot)
    given = sum(plan.watts[charger.id][: t + 1]) / 1000 * problem.slot_h
    if plan.watts[charger.id][t]:
        text = f"ready in {left}: charged in the cheapest hours before"
        return Reason(text, price, "charge later", _positive(-dearer), need)
    if given > charger.energy_kwh - _NEAR_KWH:
        return Reason("charged", price, binding=need)
    return Reason(f"ready in {left}: cheaper hours come before", price, "charge now", _positive(dearer), need)


def job_reason(problem: Problem, plan: Dispatch, prices: Prices, job: Job, t: int) -> Reason:
    """Returns why a job runs, waits or is skipped in slot t."""
    price, start = prices.told[t], plan.job_start[job.id]
    load = prices.of(Limit.LOAD, t)
    if start is None:
        best = min(prices.start(job, s) for s in range(job.earliest_slot, job.latest_slot + 1))
        over = (best - prices.start(job, None)) / job_kwh(problem, job)
        text = f"skipped: serving it costs more than {job.skip_price:.2f}"
        return Reason(text, price, "run it", _positive(over), load)
    if t < job.earliest_slot:
        return Reason(f"may start {later(job.earliest_slot - t, problem.slot_ms)} later", price)
    if t < start:
        extra = (prices.start(job, t) - prices.start(job, start)) / job_kwh(problem, job)
        text = f"starts {later(start - t, problem.slot_ms)} later, where it costs least"
        return Reason(text, price, "start now", _positive(extra), load)
    if t < start + len(job.power_kw):
        return Reason("runs where it costs least in its window", price, binding=load)
    return Reason("done", price)


def job_kwh(problem: Problem, job: Job) -> float:
    """Returns what a job uses; 1.0 for one without power, so that money per kWh is its money."""
    return sum(job.power_kw) * problem.slot_h or 1.0


def next_on(on: Sequence[bool], slot: int) -> int | None:
    """Returns the first slot after `slot` that runs: what running now would be instead of."""
    return next((s for s in range(slot + 1, len(on)) if on[s]), None)


def split_job_reason(problem: Problem, plan: Dispatch, prices: Prices, job: SplitJob, t: int) -> Reason:
    """Returns why a job that may pause runs or rests in slot t."""
    price, on = prices.told[t], plan.on[job.id]
    window = range(job.earliest_slot, job.until_slot)
    load = prices.of(Limit.LOAD, t)
    if on[t]:
        others = [prices.part(job, s) for s in window if not on[s]]
        text = f"one of the {sum(on)} cheapest slots of its window"
        cost = _positive(min(others) - prices.part(job, t)) if others else None
        return Reason(text, price, "another slot" if others else "", cost, load)
    if t not in window:
        return Reason("outside its window", price)
    following = next_on(on, t)
    if following is not None:
        text = f"goes on {later(following - t, problem.slot_ms)} later, where it costs less"
        return Reason(text, price, "run it now", _positive(prices.part(job, t) - prices.part(job, following)), load)
    if sum(on) == job.slots:
        return Reason("done", price)
    return Reason(f"cut short: more would cost above {job.skip_price:.2f}", price, binding=load)


def thermal_reason(plan: Dispatch, prices: Prices, store: ThermalStore, t: int) -> Reason:
    """Returns why a thermal store heats or rests in slot t."""
    price, level = prices.told[t], plan.heat_kwh[store.id][t]
    load, dearer = prices.of(Limit.LOAD, t), prices.heat(store.id, t)
    does, warm = ("cool", "cold") if store.cold else ("heat", "warm")
    if plan.watts[store.id][t]:
        if level < store.low_kwh + _NEAR_KWH:
            return Reason(f"keeps the {'warm' if store.cold else 'cool'} end of its band", price, binding=load)
        return Reason(f"{does}s ahead where energy costs least", price, f"{does} later", _positive(-dearer), load)
    if level > store.high_kwh - _NEAR_KWH:
        return Reason(f"as {warm} as it may be", price, binding=load)
    text = f"{warm} enough: {does}ing in other hours costs less"
    return Reason(text, price, f"{does} now", _positive(dearer), load)
