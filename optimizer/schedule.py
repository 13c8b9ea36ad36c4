"""Dispatch to Plan: modes, expected values and reasons per step."""

from __future__ import annotations

from devices.units import W_PER_KW
from optimizer import explain
from optimizer.dispatch import Dispatch, cost_of
from optimizer.explain import Prices
from optimizer.hedge import Choice, shares
from optimizer.modes import Flow, allows, decide
from optimizer.plan import Plan, Reason, StorageStep, UnitStep
from optimizer.problem import AssetId, Battery, Problem


def make_plan(
    problem: Problem, dispatched: Dispatch, prices: Prices, bound: float, choice: Choice | None = None
) -> Plan:
    """Returns the plan; `bound` is lowered to the cost where rounding to watts went below it.

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
        bound=min(bound, cost),
        violations=violations,
    )


def _storage(
    problem: Problem, plan: Dispatch, prices: Prices, battery: Battery, choice: Choice | None
) -> tuple[StorageStep, ...]:
    steps: list[StorageStep] = []
    for t, (watts, soc) in enumerate(zip(plan.watts[battery.id], plan.soc_kwh[battery.id], strict=True)):
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
        if t == 0 and choice is not None:
            hedged, _ = shares(problem, choice)[battery.id]
            if allows(flow, choice.mode, hedged):
                mode, limit, reason = choice.mode, hedged, explain.hedged_reason(choice, prices)
        steps.append(StorageStep(mode, limit, watts, min(max(soc / battery.energy_kwh, 0.0), 1.0), reason))
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
        **{
            c.id: steps(c.id, [explain.charger_reason(problem, plan, prices, c, t) for t in slots])
            for c in problem.chargers
        },
        **{j.id: steps(j.id, [explain.job_reason(problem, plan, prices, j, t) for t in slots]) for j in problem.jobs},
    }
