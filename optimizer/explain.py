"""Why each step is as it is, in words, from the plan's structure and the duals of the LP with integers fixed.

Times are told as distance from the step ("3 h later"), since the planner knows no civil time. Every number is
a tariff, a limit or a dual; where none says why, no number is given.
"""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.dispatch import Dispatch
from optimizer.hedge import Choice
from optimizer.plan import Mode, Reason
from optimizer.problem import AssetId, Battery, Charger, Genset, Job, Problem, WaterSystem

_NEAR_KW = 0.01
_NEAR_KWH = 0.01


@dataclass(frozen=True, slots=True)
class Prices:
    """Duals with integers fixed: money per kWh of load per slot, and per kWh in each storage's cells."""

    power: tuple[float, ...]
    stored: dict[AssetId, tuple[float, ...]]


def later(slots: int, slot_ms: int) -> str:
    """Returns a distance in time: `45 min`, `3 h`, `2 h 30 min`."""
    minutes = slots * slot_ms // 60_000
    hours, rest = divmod(minutes, 60)
    return " ".join(
        part for part in (f"{hours} h" if hours else "", f"{rest} min" if rest or not hours else "") if part
    )


def storage_reason(problem: Problem, plan: Dispatch, prices: Prices, battery: Battery, t: int, mode: Mode) -> Reason:
    """Returns why a storage has this mode in slot t."""
    price, worth = prices.power[t], prices.stored[battery.id][t]
    text = _storage_text(problem, plan, battery, t, mode)
    if mode is Mode.CHARGE:
        return Reason(text, price, "hold", _positive(worth * battery.charge_efficiency - price))
    if mode is Mode.HOLD and plan.grid_kw[t] > _NEAR_KW:
        kept = worth / battery.discharge_efficiency + battery.wear_price
        return Reason(text, price, "discharge now", _positive(kept - price))
    if mode is Mode.DISCHARGE:
        used = price - worth / battery.discharge_efficiency - battery.wear_price
        return Reason(text, price, "hold", _positive(used))
    return Reason(text, price)


def hedged_reason(choice: Choice, prices: Prices) -> Reason:
    """Returns why a storage has another mode in the first slot than the forecast alone would give it."""
    text = (
        f"best on average over {choice.futures} forecasts of the day: saves {choice.gain:.2f} against {choice.against}"
    )
    return Reason(text, prices.power[0], choice.against.value)


def _positive(cost: float) -> float | None:
    """Returns a reduced cost, or None when the duals are degenerate and say nothing."""
    return round(cost, 6) if cost > -1e-6 else None


def _storage_text(problem: Problem, plan: Dispatch, battery: Battery, t: int, mode: Mode) -> str:
    soc, grid = plan.soc_kwh[battery.id][t], problem.grid
    if not grid.available[t]:
        return "island: the battery holds the balance"
    if mode is Mode.CHARGE:
        return f"grid energy at {grid.import_price[t]:.3f} is stored: {_use(problem, plan, battery, t)}"
    if mode is Mode.HOLD:
        if plan.grid_kw[t] < 0:
            return "room is kept for solar surplus that comes later"
        if battery.reserve_kwh > 0 and soc < battery.reserve_kwh + _NEAR_KWH:
            return f"reserve of {battery.reserve_kwh:.1f} kWh is kept for lifelines"
        return f"stored energy is saved: {_use(problem, plan, battery, t)}"
    if mode is Mode.DISCHARGE:
        if plan.grid_kw[t] > grid.import_limit_kw[t] - _NEAR_KW:
            return f"import limit {grid.import_limit_kw[t]:.1f} kW: the battery carries the rest"
        return "stored energy does not cover all dear hours: it is rationed over them"
    return _follow_text(problem, plan, battery, t)


def _follow_text(problem: Problem, plan: Dispatch, battery: Battery, t: int) -> str:
    w, soc = plan.watts[battery.id][t], plan.soc_kwh[battery.id][t]
    if w > 0:
        return f"surplus is stored: {_use(problem, plan, battery, t)}"
    if w < 0:
        return f"stored energy replaces import at {problem.grid.import_price[t]:.3f}"
    if soc > battery.soc_max_kwh - _NEAR_KWH:
        return "full: it follows the load when surplus ends"
    if soc < battery.soc_min_kwh + _NEAR_KWH:
        return "empty: it takes the next surplus"
    return "supply and load balance without it"


def _use(problem: Problem, plan: Dispatch, battery: Battery, t: int) -> str:
    """Returns what the stored energy is for: the next slot in which it is used, or its value at the end."""
    for s in range(t + 1, problem.slots):
        if plan.watts[battery.id][s] < 0:
            distance = later(s - t, problem.slot_ms)
            if not problem.grid.available[s]:
                return f"needed {distance} later without grid"
            return f"used {distance} later, when import costs {problem.grid.import_price[s]:.3f}"
    return f"worth {battery.terminal_value:.3f} per kWh at the end of the plan"


def genset_reason(problem: Problem, plan: Dispatch, prices: Prices, genset: Genset, t: int) -> Reason:
    """Returns why a genset runs or rests in slot t."""
    price, grid = prices.power[t], problem.grid
    if not plan.on[genset.id][t]:
        return Reason(f"not needed: its energy costs {genset.energy_price:.3f} and more to start", price)
    if genset.running and t < genset.min_up_slots - genset.slots_in_state:
        return Reason("minimum run time is not over", price)
    if not grid.available[t]:
        return Reason("island: solar and batteries alone do not carry the load until it ends", price)
    if plan.grid_kw[t] > grid.import_limit_kw[t] - _NEAR_KW:
        return Reason(f"import limit {grid.import_limit_kw[t]:.1f} kW is reached", price)
    if genset.energy_price < grid.import_price[t]:
        return Reason(f"its energy costs {genset.energy_price:.3f}, import {grid.import_price[t]:.3f}", price)
    if not all(grid.available[t:]):
        return Reason("stores energy for the time without grid", price)
    return Reason("kept running: cheaper than stopping and starting again", price)


def pump_reason(problem: Problem, plan: Dispatch, prices: Prices, water: WaterSystem, t: int) -> Reason:
    """Returns why a pump runs or rests in slot t."""
    price, level = prices.power[t], plan.level_kl[water.tank_id][t]
    on = plan.on[water.pump_id]
    if on[t]:
        if level < water.reserve_kl:
            return Reason(f"tank is below its reserve of {water.reserve_kl:.1f} kL", price)
        if plan.curtailed_kw[t] > _NEAR_KW or plan.grid_kw[t] < -_NEAR_KW:
            return Reason("tank is filled from surplus", price)
        return Reason("tank is filled here at the lowest cost of energy and starts", price)
    if level > water.high_kl - water.pump_flow_kl_per_h * problem.slot_h:
        return Reason("tank is full", price)
    following = next((s for s in range(t + 1, problem.slots) if on[s]), None)
    if following is None:
        return Reason("tank lasts to the end of the plan", price)
    return Reason(f"tank lasts; pumping {later(following - t, problem.slot_ms)} later costs less", price, "pump now")


def charger_reason(problem: Problem, plan: Dispatch, prices: Prices, charger: Charger, t: int) -> Reason:
    """Returns why a charger gives power or not in slot t."""
    price = prices.power[t]
    if not charger.from_slot <= t < charger.until_slot:
        return Reason("no vehicle is expected", price)
    left = later(charger.until_slot - t, problem.slot_ms)
    given = sum(plan.watts[charger.id][: t + 1]) / 1000 * problem.slot_h
    if plan.watts[charger.id][t]:
        return Reason(f"ready in {left}: charged in the cheapest hours before", price)
    if given > charger.energy_kwh - _NEAR_KWH:
        return Reason("charged", price)
    return Reason(f"ready in {left}: cheaper hours come before", price, "charge now")


def job_reason(problem: Problem, plan: Dispatch, prices: Prices, job: Job, t: int) -> Reason:
    """Returns why a job runs, waits or is skipped in slot t."""
    price, start = prices.power[t], plan.job_start[job.id]
    if start is None:
        return Reason(f"skipped: serving it costs more than {job.skip_price:.2f}", price, "run it")
    if t < start:
        return Reason(f"starts {later(start - t, problem.slot_ms)} later, where it costs least", price)
    if t < start + len(job.power_kw):
        return Reason("runs where it costs least in its window", price)
    return Reason("done", price)
