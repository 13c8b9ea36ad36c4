"""The planner child's entry: a problem with work, gas, zones or trips in it is planned with all its sectors."""

from __future__ import annotations

from dataclasses import replace

from optimizer.check_whole import joint_problem
from optimizer.joint import JointPlan, joint
from optimizer.plan import AssetKind, Infeasible, Plan, Reason, Role, UnitStep
from optimizer.plant_check import check_engine
from optimizer.problem import AssetId, Problem, Stop
from optimizer.sectors import JointProblem, Sectors, with_sectors
from optimizer.solve import solve
from optimizer.tasks import WorkPlan
from optimizer.trip_packs import Leaves, as_planned, check_leaves
from optimizer.waste import EnginePlan, burn, within_gas
from optimizer.zone_ask import ZoneRun
from optimizer.zone_sector import go_on

EFFORT = 0.3
"""Of each search for a work plan; half a dozen of them make a joint plan."""


def solve_whole(
    problem: Problem, stop: Stop, seed: int, warm_start: Plan | None = None, sectors_of: Plan | None = None
) -> Plan | Infeasible:
    """Returns the plan of a problem; where it holds work, gas, pressure zones or trips, that of all sectors.

    `warm_start` is for problems without work (see `replan`): gas engines and zones go on as they were planned, where
    gas and levels allow it, and trips leave when they were planned to. Work is always planned anew. `sectors_of` is a
    late plan whose sectors go on in the same way while the rest is searched anew: an exchange costs ten times as much.
    Trips that it did not know are asked when they would rather leave, and with them the others.

    Raises:
        BrokenWork: the work problem is not well formed.
        NoPlanFound: a limit was hit before any plan was known.
    """
    asked = joint_problem(problem)
    if asked is None:
        return solve(problem, stop, seed, warm_start)
    last = warm_start or sectors_of
    kept = None if last is None or problem.work is not None else _kept(asked, last)
    new = sectors_of is not None and any(one.movable and one.id not in sectors_of.leaves for one in asked.trips)
    if kept is not None and not new:
        found = solve(with_sectors(asked, kept), stop, seed, warm_start)
        return found if isinstance(found, Infeasible) else _with_sectors(found, asked, kept)
    found = joint(asked, stop, seed, EFFORT, kept)
    if not isinstance(found, JointPlan):
        return found
    work = None if problem.work is None else found.sectors.work
    return replace(_with_sectors(found.energy, asked, found.sectors), work=work)


def _kept(asked: JointProblem, last: Plan) -> Sectors | None:
    """Returns what the engines were planned to do, moved to now; None where it does not fit any more."""
    n, (late, rest) = asked.energy.slots, divmod(asked.energy.start - last.start, asked.energy.slot_ms)
    known = {plant.digester.id for plant in asked.plants}, {zone.id for zone in asked.zones}
    if rest or late < 0 or late >= n or (set(last.engines), set(last.zones)) != known:
        return None
    zones: dict[AssetId, ZoneRun] = {}
    for zone in asked.zones:
        choice = last.zones[zone.id].choice
        run = go_on(zone, asked.energy.slot_h, (*choice[late:], *(choice[-1],) * late)) if len(choice) == n else None
        if run is None:
            return None
        zones[zone.id] = run
    engines: dict[AssetId, EnginePlan] = {}
    for plant in asked.plants:
        kw = (*last.engines[plant.digester.id].kw[late:], *(0.0,) * late)[:n]
        if len(kw) < n:
            return None
        kw = within_gas(plant.digester, plant.made_m3, kw, asked.energy.slot_h)  # a little less gas than was expected
        engine = burn(plant.digester, plant.made_m3, kw, asked.energy.slot_h)
        if check_engine(plant.digester, plant.made_m3, engine, asked.energy.slot_h):
            return None
        engines[plant.digester.id] = engine
    return Sectors(WorkPlan.nothing(n), engines, zones, _kept_leaves(asked, last))


def _kept_leaves(asked: JointProblem, last: Plan) -> Leaves:
    """Returns when trips leave by the last plan; as they are asked for where that does not fit any more."""
    planned = as_planned(asked.trips)
    kept = {name: last.leaves.get(name, leave) for name, leave in planned.items()}
    return planned if check_leaves(asked.trips, kept, asked.energy.slot_ms) else kept


def _with_sectors(plan: Plan, asked: JointProblem, sectors: Sectors) -> Plan:
    """Returns the plan with the steps of engines and zones among its units, and the zones' levels among its tanks."""
    prices = asked.energy.grid.import_price
    units, roles = dict(plan.units), dict(plan.roles)
    for plant in asked.plants:
        engine = sectors.engines[plant.digester.id]
        roles[plant.unit] = Role(AssetKind.GENSET, "burn gas")
        units[plant.unit] = tuple(
            UnitStep(kw > 0.0, -round(kw * 1000), _reason(plant.digester.holder_max_m3, engine, slot, prices[slot]))
            for slot, kw in enumerate(engine.kw)
        )
    levels = dict(plan.tank_kl)
    for zone in asked.zones:
        run = sectors.zones[zone.id]
        levels |= dict(zip(run.tanks, run.level_kl, strict=True))
        for pump in run.pumps:
            roles[pump] = Role(AssetKind.PUMP, f"pump for {zone.id}")
            units[pump] = tuple(_pump_step(zone.id, run, pump, slot, prices[slot]) for slot in range(len(run.choice)))
    plan = replace(plan, units=units, roles=roles, tank_kl=levels)
    return replace(plan, engines=sectors.engines, zones=sectors.zones, leaves=sectors.leaves)


def _pump_step(zone: AssetId, run: ZoneRun, pump: AssetId, slot: int, price: float) -> UnitStep:
    """Returns a pump's step; of the zone's power it has an equal share, because tables know no single pump."""
    running = {one.pump: one.speed for one in run.speeds[slot]}
    names = "+".join(running) or "no pump"
    if pump not in running:
        return UnitStep(False, 0, Reason(f"{zone}: {names} is the cheapest way to keep its levels", price))
    watts = round(run.power_kw[slot] * 1000 / len(running))
    return UnitStep(True, watts, Reason(f"{zone}: {names} fills its tanks at the lowest cost", price), running[pump])


def _reason(most_m3: float, engine: EnginePlan, slot: int, price: float) -> Reason:
    held = f"{engine.gas_m3[slot]:.1f} of {most_m3:.0f} m3 of gas"
    if engine.kw[slot] > 0.0:
        return Reason(f"gas is burnt where power is dear or the holder would be full: {held} are left", price)
    if engine.flared_m3[slot] > 0.0:
        return Reason("gas is flared: the holder is full and power is worth less than a start", price)
    return Reason(f"gas is kept for dearer hours: {held}", price)
