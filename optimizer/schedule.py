"""Dispatch to Plan: modes, expected values and reasons per step."""

from __future__ import annotations

from math import inf

from devices.units import W_PER_KW
from optimizer import explain
from optimizer.bill import cost_of
from optimizer.dispatch import Dispatch
from optimizer.hedge import Choice, shares
from optimizer.modes import Flow, allows, decide
from optimizer.plan import AssetKind, Mode, Plan, Reason, Role, StorageStep, UnitStep
from optimizer.plant_reasons import plant_reasons
from optimizer.prices import Prices
from optimizer.problem import AssetId, Battery, Departure, Problem


def make_plan(problem: Problem, dispatched: Dispatch, prices: Prices, choice: Choice | None = None) -> Plan:
    """Returns the plan, with a bound that says nothing yet.

    `choice` is the storages' mode in the first slot where futures decided it.
    """
    cost, violations = cost_of(problem, dispatched)
    return Plan(
        start=problem.start,
        slot_ms=problem.slot_ms,
        storages={b.id: _storage(problem, dispatched, prices, b, choice) for b in problem.batteries},
        units=_units(problem, dispatched, prices),
        grid_kw=dispatched.grid_kw,
        curtailed_kw=dispatched.curtailed_kw,
        shed_kw=dispatched.shed_kw,
        tank_kl=dispatched.level_kl,
        water_unserved_kl=dispatched.water_unserved_kl,
        soc_kwh=dispatched.soc_kwh,
        cost=cost,
        bound=-inf,
        violations=violations,
        trip_unserved_kwh=dispatched.trip_unserved_kwh,
        heat_kwh=dispatched.heat_kwh,
        heat_unserved_kwh=dispatched.heat_unserved_kwh,
        shed_by_tier_kw=dispatched.shed_by_tier_kw,
        feeder_curtailed_kw=dispatched.feeder_curtailed_kw,
        well_kl=dispatched.well_kl,
        roles=_roles(problem),
    )


def _roles(problem: Problem) -> dict[AssetId, Role]:
    """Returns what each asset is and does, in words."""
    found = {
        b.id: Role(AssetKind.VEHICLE, departures=b.departures) if b.vehicle else Role(AssetKind.BATTERY)
        for b in problem.batteries
    }
    found |= {g.id: Role(AssetKind.GENSET, "run") for g in problem.gensets}
    found |= {w.pump_id: Role(AssetKind.PUMP, f"pump into {w.tank_id}") for w in problem.water}
    found |= {
        p.id: Role(AssetKind.PUMP, f"{'run a batch' if p.phases else 'bring water'} into {p.tank}")
        for p in problem.plants
    }
    found |= {
        c.id: Role(AssetKind.VEHICLE, "charge", departures=(Departure(c.until_slot, c.energy_kwh, c.unserved_price),))
        for c in problem.chargers
    }
    found |= {s.id: Role(AssetKind.THERMAL, "cool" if s.cold else "heat") for s in problem.thermal}
    found |= {j.id: Role(AssetKind.JOB, j.what or "run", j.device) for j in (*problem.jobs, *problem.split_jobs)}
    return found


def _storage(
    problem: Problem, plan: Dispatch, prices: Prices, battery: Battery, choice: Choice | None
) -> tuple[StorageStep, ...]:
    steps: list[StorageStep] = []
    taking = shares(problem, choice) if choice is not None else {}
    for t, (watts, soc) in enumerate(zip(plan.watts[battery.id], plan.soc_kwh[battery.id], strict=True)):
        fraction = min(max(soc / battery.energy_kwh, 0.0), 1.0)
        if battery.present and not battery.present[t]:
            steps.append(StorageStep(Mode.HOLD, 0, watts, fraction, explain.away_reason(battery, t), away=True))
            continue
        flow = Flow(
            watts / W_PER_KW,
            plan.grid_kw[t],
            not problem.grid.available[t],
            soc,
            battery.soc_min_kwh,
            battery.soc_max_kwh,
            battery.charge_kw_max,
            battery.discharge_kw_max,
        )
        mode, limit = decide(flow)
        reason = explain.storage_reason(problem, plan, prices, battery, t, mode)
        if t == 0 and choice is not None and battery.id in taking:
            hedged, _ = taking[battery.id]
            if allows(flow, choice.mode, hedged):
                mode, limit, reason = choice.mode, hedged, explain.hedged_reason(choice, prices)
        steps.append(StorageStep(mode, limit, watts, fraction, reason))
    return tuple(steps)


def _units(problem: Problem, plan: Dispatch, prices: Prices) -> dict[AssetId, tuple[UnitStep, ...]]:
    slots = range(problem.slots)

    def steps(asset: AssetId, reasons: list[Reason]) -> tuple[UnitStep, ...]:
        return tuple(map(UnitStep, plan.on[asset], plan.watts[asset], reasons))

    return {
        **{
            g.id: steps(g.id, [explain.genset_reason(problem, plan, prices, g, t) for t in slots])
            for g in problem.gensets
        },
        **{
            w.pump_id: steps(w.pump_id, [explain.pump_reason(problem, plan, prices, w, t) for t in slots])
            for w in problem.water
        },
        **{p.id: steps(p.id, plant_reasons(problem, plan, prices, p)) for p in problem.plants},
        **{
            c.id: steps(c.id, [explain.charger_reason(problem, plan, prices, c, t) for t in slots])
            for c in problem.chargers
        },
        **{j.id: steps(j.id, [explain.job_reason(problem, plan, prices, j, t) for t in slots]) for j in problem.jobs},
        **{
            j.id: steps(j.id, [explain.split_job_reason(problem, plan, prices, j, t) for t in slots])
            for j in problem.split_jobs
        },
        **{s.id: steps(s.id, [explain.thermal_reason(plan, prices, s, t) for t in slots]) for s in problem.thermal},
    }
