"""The check of a plan in all its parts: other sectors by their own checkers, then energy with them; no solver."""

from __future__ import annotations

from dataclasses import replace

from optimizer.check import check
from optimizer.plan import Plan, Violation
from optimizer.plant_check import check_engine
from optimizer.problem import Problem
from optimizer.sectors import JointProblem, Sectors, asked_work, with_sectors
from optimizer.task_check import check_work
from optimizer.tasks import WorkPlan, WorkProblem
from optimizer.trip_packs import check_leaves


def check_whole(problem: Problem, plan: Plan) -> list[Violation]:
    """Returns everything that is wrong with a plan, its work and gas included."""
    asked = joint_problem(problem)
    if asked is None:
        return check(problem, plan)
    if (plan.work is None) != (problem.work is None):
        return [Violation("work_shape", None, 0.0, 1.0, "the plan holds no work though work was asked, or the reverse")]
    if set(plan.engines) != {plant.digester.id for plant in problem.gas}:
        return [Violation("gas_shape", None, len(plan.engines), len(problem.gas), "gas engines in the plan")]
    if set(plan.zones) != {zone.id for zone in problem.zones}:
        return [Violation("zone_shape", None, len(plan.zones), len(problem.zones), "pressure zones in the plan")]
    wrong = [] if plan.work is None else check_work(asked_work(asked), plan.work)
    for plant in problem.gas:
        engine = plan.engines[plant.digester.id]
        wrong += check_engine(plant.digester, plant.made_m3, engine, problem.slot_h)
        said = [step.power_w for step in plan.units.get(plant.unit, ())]
        if said != [-round(kw * 1000) for kw in engine.kw]:
            wrong.append(Violation("gas_units", None, len(said), problem.slots, f"{plant.unit} W per slot"))
    wrong += _zones(problem, plan)
    wrong += check_leaves(problem.trips, plan.leaves, problem.slot_ms)
    if wrong:
        return wrong
    return check(*energy_of(problem, plan))


def _zones(problem: Problem, plan: Plan) -> list[Violation]:
    if not problem.zones:
        return []
    from optimizer.zone_sector import check_run  # noqa: PLC0415 - numpy comes with it, only for zones

    wrong: list[Violation] = []
    for zone in problem.zones:
        run = plan.zones[zone.id]
        wrong += check_run(zone, run, problem.slot_h)
        for pump in run.pumps:
            said = [step.speed if step.on else 0.0 for step in plan.units.get(pump, ())]
            if said != [next((one.speed for one in running if one.pump == pump), 0.0) for running in run.speeds]:
                wrong.append(Violation("zone_units", None, len(said), problem.slots, f"{pump} speeds"))
    return wrong


def energy_of(problem: Problem, plan: Plan) -> tuple[Problem, Plan]:
    """Returns the energy problem with what the plan's other sectors do in it, and the plan without their engines."""
    asked = joint_problem(problem)
    if asked is None:
        return problem, plan
    sectors = Sectors(plan.work or WorkPlan.nothing(problem.slots), plan.engines, plan.zones, plan.leaves)
    others = {plant.unit for plant in problem.gas} | {pump for run in plan.zones.values() for pump in run.pumps}
    rest = {name: steps for name, steps in plan.units.items() if name not in others}
    tanks = {tank for run in plan.zones.values() for tank in run.tanks}
    levels = {name: kl for name, kl in plan.tank_kl.items() if name not in tanks}
    return with_sectors(asked, sectors), replace(plan, units=rest, tank_kl=levels)


def joint_problem(problem: Problem) -> JointProblem | None:
    """Returns the question of all sectors, or None where a problem has no other sector than energy and water."""
    if problem.work is None and not (problem.gas or problem.zones or problem.packs or problem.trips):
        return None
    idle = WorkProblem(problem.slots, problem.slot_h, (), 0.0, ())
    rest = replace(problem, work=None, gas=(), zones=(), packs=(), trips=())
    return JointProblem(rest, problem.work or idle, problem.gas, problem.zones, problem.packs, problem.trips)
