"""What a dispatch costs: energy, wear, fuel, starts, and the money of every named violation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from devices.units import W_PER_KW
from optimizer.dispatch import Dispatch
from optimizer.energy import price_of_limits
from optimizer.plan import ROUNDING_KW, ROUNDING_KWH
from optimizer.problem import Battery, Feeder, Genset, Problem, Reserve, ThermalStore, WaterPlant, WaterSystem
from optimizer.water import tiers_of

LISTED_MIN = 0.001
"""kWh, kL or started jobs below which a priced violation is rounding and not named."""


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
    _grid(bill, problem, plan)
    for battery in problem.batteries:
        _battery(bill, problem, battery, plan)
    for store in problem.thermal:
        _thermal(bill, problem, store, plan)
    for genset in problem.gensets:
        _genset(bill, problem, genset, plan)
    for water in problem.water:
        _water(bill, water, plan)
    for plant in problem.plants:
        _plant(bill, plant, plan.on[plant.id])
    for charger in problem.chargers:
        given = sum(plan.watts[charger.id]) / W_PER_KW * problem.slot_h
        bill.violate(f"charge:{charger.id}", max(charger.energy_kwh - given, 0.0), charger.unserved_price)
    for job in problem.jobs:
        bill.violate(f"skipped:{job.id}", float(plan.job_start[job.id] is None), job.skip_price)
    for split in problem.split_jobs:
        bill.violate(f"skipped:{split.id}", 1.0 - sum(plan.on[split.id]) / split.slots, split.skip_price)
    for feeder in problem.feeders:
        _feeder(bill, problem, feeder, plan)
    if problem.reserve is not None:
        _reserve(bill, problem, problem.reserve, plan)
    return bill.total, bill.violations


def _grid(bill: _Bill, problem: Problem, plan: Dispatch) -> None:
    grid, h = problem.grid, problem.slot_h
    over_in = over_out = 0.0
    for t, kw in enumerate(plan.grid_kw):
        bill.total += kw * h * (grid.import_price[t] if kw > 0 else grid.export_price[t])
        over_in += max(kw - grid.import_limit_kw[t], 0.0) * h
        over_out += max(-kw - grid.export_limit_kw[t], 0.0) * h
    bill.total += grid.peak_price * max(max(plan.grid_kw) - grid.peak_kw_so_far, 0.0)
    bill.violate("import_limit", over_in, grid.over_limit_price)
    bill.violate("export_limit", over_out, grid.over_limit_price)
    for tier in problem.shed_tiers:
        bill.violate(f"shed:{tier.name}", sum(plan.shed_by_tier_kw[tier.name]) * h, tier.price)
    rest = sum(plan.shed_kw) - sum(map(sum, plan.shed_by_tier_kw.values()))
    bill.violate("shed", max(rest, 0.0) * h, problem.shed_price)


def _battery(bill: _Bill, problem: Problem, battery: Battery, plan: Dispatch) -> None:
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
    bill.violate(f"trip:{battery.id}", sum(plan.trip_unserved_kwh.get(battery.id, ())), battery.trip_price)
    for leaves in battery.departures:
        short = _real(leaves.energy_kwh - soc[leaves.slot - 1], rounding)
        bill.violate(f"departure:{battery.id}:{leaves.slot}", short, leaves.price)


def _real(excess: float, rounding: float) -> float:
    """Returns what passes a limit, where it is more than whole watts make."""
    return excess if excess > rounding else 0.0


def _thermal(bill: _Bill, problem: Problem, store: ThermalStore, plan: Dispatch) -> None:
    level = plan.heat_kwh[store.id]
    rounding = ROUNDING_KWH * max(problem.slot_h, 1.0) * max(1.0, *store.cop)
    bill.total -= level[-1] * store.terminal_value
    below = sum(_real(store.low_kwh - kwh, rounding) for kwh in level)
    bill.violate(f"comfort:{store.id}", below, store.comfort_price)
    bill.violate(f"heat:{store.id}", sum(plan.heat_unserved_kwh[store.id]), store.unserved_price)


def _genset(bill: _Bill, problem: Problem, genset: Genset, plan: Dispatch) -> None:
    h, before, below, ramped = problem.slot_h, genset.running, 0.0, 0.0
    kw_before = genset.power_now_kw
    for w, on in zip(plan.watts[genset.id], plan.on[genset.id], strict=True):
        kw = -w / W_PER_KW
        bill.total += (genset.fixed_price_per_h * on + kw * genset.energy_price) * h
        bill.total += genset.start_price * (on and not before)
        below += max(genset.power_kw_min - kw, 0.0) * h * on
        if genset.ramp_kw is not None and kw_before is not None:
            most = genset.ramp_kw if on and before else max(genset.ramp_kw, genset.power_kw_min)
            ramped += _real(abs(kw - kw_before) - most, 2 * ROUNDING_KW) * h
        before, kw_before = on, kw
    bill.violate(f"min_load:{genset.id}", below, price_of_limits(problem))
    bill.violate(f"ramp:{genset.id}", ramped, genset.ramp_price)


def _plant(bill: _Bill, plant: WaterPlant, on: tuple[bool, ...]) -> None:
    if plant.phases:
        begun = sum(on) - min(plant.rest_slots, len(on))
        bill.total += plant.start_price * (begun / len(plant.phases))
        return
    starts = sum(here and not was for was, here in zip((plant.running, *on), on, strict=False))
    bill.total += plant.start_price * starts
    rested = sum(not here for here in on[: plant.keep_slots])
    bill.violate(f"stopped:{plant.id}", float(rested), plant.stop_price)


def _water(bill: _Bill, water: WaterSystem, plan: Dispatch) -> None:
    before = water.running
    for on in plan.on[water.pump_id]:
        bill.total += water.start_price * (on and not before)
        before = on
    level = plan.level_kl[water.tank_id]
    bill.total -= level[-1] * water.terminal_value
    left = np.array(plan.water_unserved_kl[water.tank_id])
    parts = list(zip([f":{tier.name}" for tier in water.tiers] + [""], tiers_of(water), strict=True))
    for name, (kl, price) in sorted(parts, key=lambda part: part[1][1]):  # the cheapest goes unserved first
        taken = np.minimum(left, kl)
        left = left - taken
        bill.violate(f"water:{water.tank_id}{name}", float(taken.sum()), price)
    below = sum(max(water.reserve_kl - kl, 0.0) for kl in level)
    bill.violate(f"water_reserve:{water.tank_id}", below, water.reserve_price)
    if water.margin_kl:
        short = sum(max(water.reserve_kl + kl - there, 0.0) for kl, there in zip(water.margin_kl, level, strict=True))
        bill.violate(f"water_margin:{water.tank_id}", short, water.margin_price)


def _feeder(bill: _Bill, problem: Problem, feeder: Feeder, plan: Dispatch) -> None:
    rounding = ROUNDING_KW * (len(feeder.assets) + 1)
    beyond = 0.0
    for t, kw in enumerate(feeder.load_kw):
        flow = kw - feeder.pv_kw[t] + sum(plan.feeder_curtailed_kw[name][t] for name in (feeder.id, *feeder.inner))
        flow += sum(plan.watts[name][t] for name in feeder.assets) / W_PER_KW
        beyond += _real(max(flow - feeder.import_limit_kw[t], -flow - feeder.export_limit_kw[t]), rounding)
    bill.violate(f"feeder:{feeder.id}", beyond * problem.slot_h, feeder.price)


def _reserve(bill: _Bill, problem: Problem, reserve: Reserve, plan: Dispatch) -> None:
    spinning = outage = 0.0
    rounding = ROUNDING_KW * (len(problem.batteries) + len(problem.gensets) + 1)
    for t, grid in enumerate(problem.grid.available):
        if not grid:
            spinning += _real(reserve.spinning_kw[t] - _headroom_kw(problem, plan, t), rounding)
            continue
        following = problem.critical_kw[t + 1 : t + 1 + reserve.outage_slots]
        need = sum(following) * problem.slot_h
        if need > 0.0:
            outage += _real(need - _stored_kwh(problem, plan, reserve, t), rounding * reserve.outage_slots)
    bill.violate("spinning", spinning * problem.slot_h, reserve.spinning_price)
    bill.violate("outage", outage, reserve.outage_price)


def _headroom_kw(problem: Problem, plan: Dispatch, t: int) -> float:
    found = sum(g.power_kw_max + plan.watts[g.id][t] / W_PER_KW for g in problem.gensets if plan.on[g.id][t])
    for battery in problem.batteries:
        if not battery.forms_grid or (battery.present and not battery.present[t]):
            continue
        room = battery.discharge_kw_max + plan.watts[battery.id][t] / W_PER_KW
        low = min(battery.soc_min_kwh, battery.soc_now_kwh)
        stored = (plan.soc_kwh[battery.id][t] - low) * battery.discharge_efficiency / problem.slot_h
        found += max(min(room, stored), 0.0)
    return found


def _stored_kwh(problem: Problem, plan: Dispatch, reserve: Reserve, t: int) -> float:
    h = problem.slot_h * reserve.outage_slots
    found = sum(g.power_kw_max * h for g in problem.gensets if plan.on[g.id][t])
    for battery in problem.batteries:
        if battery.forms_grid and not (battery.present and not battery.present[t]):
            low = min(battery.soc_min_kwh, battery.soc_now_kwh)
            found += (plan.soc_kwh[battery.id][t] - low) * battery.discharge_efficiency
    return found
