"""One plan over all sectors (energy, water, work, vehicles, rounds, gas) against sectors planned alone, in three modes.

`joint` is optimizer/joint.py, `still` the same with every round at the time that it was planned for. `sequence` plans
the same sectors with the same planner one after the other on the tariff with limits on: work and robots, gas engine,
water, vehicles and packs, at last batteries and gensets around all of it. `alone` lets each sector plan for itself on
the tariff without limits, the batteries too; what then passes a limit is priced as the problem prices it, and what
nobody can give is shed. In both, rounds leave as they were planned: just in time. Every plan passes the checkers. Costs
count what stores and packs lost or gained against their start. `saving` is the median of 1 - joint / other, per mode,
with the money of broken limits and unserved service in it; `bare` leaves that money out. The services stand in each
case: kWh shed, kWh above limits, kL and vehicle kWh not given, tasks not done.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, pi, sin
from random import Random
from statistics import median

from devices.clock import SLOT_MS, Instant
from optimizer.check import check
from optimizer.joint import joint, on_tariff
from optimizer.plan import Infeasible, Plan
from optimizer.plant_check import check_engine
from optimizer.problem import AssetId, Battery, Charger, Genset, Grid, Problem, Series, Stop, WaterSystem
from optimizer.scheduling import schedule
from optimizer.sectors import GasPlant, JointProblem, Sectors, asked_work, own_cost, tariff, with_sectors
from optimizer.solve import solve
from optimizer.task_check import check_work
from optimizer.tasks import Crew, Machine, Robot, Task, TaskKind, WorkPlan, WorkProblem
from optimizer.trip_ask import Pack, TripAsk
from optimizer.trip_packs import MISSING_PRICE, as_planned, check_leaves
from optimizer.waste import Digester, gas_made
from optimizer.work_cost import pack_value

MODES = ("tied", "weak", "island")
START = Instant(1_780_000_200_000 // SLOT_MS * SLOT_MS)
SLOTS = 96
STOP = Stop(seconds=None, gap=0.005, nodes=300)
EFFORT = 0.6


class PlanRefused(RuntimeError):
    """A plan did not pass the checker, or there was none."""


# ------------------------------------------------------------------------------------------------ villages


def village(mode: str, seed: int) -> JointProblem:
    """Returns a seeded village of 24 homes with a workshop, a digester, six vehicles, two robots, three carriers."""
    rng = Random(f"{mode}-{seed}")
    scale = rng.uniform(0.85, 1.15)
    cloud = rng.uniform(0.55, 1.0)
    load = tuple(
        scale * (14 + 15 * _bump(t, 19, 2.4) + 8 * _bump(t, 7.5, 1.4) + rng.uniform(-1, 1)) for t in range(SLOTS)
    )
    pv = tuple(cloud * 75 * max(0.0, sin(pi * (t / 4 - 6) / 14)) * rng.uniform(0.75, 1.0) for t in range(SLOTS))
    price = tuple(0.21 if t < 24 or t >= 88 else 0.29 if t < 68 else 0.42 for t in range(SLOTS))
    limit = {"tied": 60.0, "weak": 24.0, "island": 0.0}[mode]
    grid = Grid(
        (limit,) * SLOTS,
        (limit / 2,) * SLOTS,
        price,
        (0.05,) * SLOTS,
        (mode != "island",) * SLOTS,
        2.0,
    )
    energy = Problem(
        START,
        SLOT_MS,
        load,
        tuple(0.4 * kw for kw in load),
        pv,
        5.0,
        grid,
        batteries=(_battery(rng),),
        gensets=() if mode == "tied" else (_genset(25.0 if mode == "weak" else 45.0),),
        water=(_water(rng),),
        chargers=tuple(_charger(rng, number) for number in range(6)),
    )
    packs, trips = _rounds(Random(f"rounds-{mode}-{seed}"))
    return JointProblem(energy, _work(rng), (_gas(rng),), packs=packs, trips=trips)


def _bump(t: int, hour: float, width: float) -> float:
    return exp(-(((t / 4 - hour) / width) ** 2))


def _battery(rng: Random) -> Battery:
    now = rng.uniform(25.0, 60.0)
    return Battery(AssetId("battery"), 90.0, 35.0, 35.0, 0.955, 0.955, now, 7.0, 87.0, 15.0, 0.02, 0.2, 0.02)


def _genset(kw: float) -> Genset:
    return Genset(AssetId("genset"), kw, 0.3 * kw, 1.9, 0.38, 3.0, 2, 2, running=False, slots_in_state=8)


def _water(rng: Random) -> WaterSystem:
    """Desalination at 3.8 kWh per m3 and a tank of about a day (facts/optimizer.md, section 6)."""
    demand = tuple(0.14 + 0.18 * _bump(t, 7.5, 1.5) + 0.16 * _bump(t, 19.5, 1.8) for t in range(SLOTS))
    level = rng.uniform(7.0, 12.0)
    return WaterSystem(
        AssetId("desal"),
        AssetId("tank"),
        7.6,
        2.0,
        22.0,
        level,
        5.0,
        21.0,
        demand,
        tuple(0.4 * kl for kl in demand),
        20.0,
        1.0,
        0.9,
        0.05,
    )


def _charger(rng: Random, number: int) -> Charger:
    start = rng.randrange(60, 76) if number % 2 else rng.randrange(0, 8)
    until = SLOTS if number % 2 else rng.randrange(40, 72)
    return Charger(AssetId(f"car-{number}"), 7.4, rng.uniform(6.0, 18.0), start, until, 3.0)


def _work(rng: Random) -> WorkProblem:
    tasks: list[Task] = []

    def add(name: str, kind: TaskKind, kw: Series, **more: object) -> None:
        first = rng.randrange(0, 36)
        values: dict[str, object] = {
            "earliest_slot": first,
            "due_slot": min(SLOTS, first + len(kw) + rng.randrange(24, 60)),
            "deadline_slot": SLOTS,
            "late_price_per_h": 1.5,
            "skip_price": 60.0,
        }
        tasks.append(Task(AssetId(name), kind, kw, **{**values, **more}))  # pyright: ignore[reportArgumentType]

    for number in range(3):
        kw = (0.5,) * rng.randrange(8, 20)
        add(f"print-{number}", TaskKind.PRINT, kw, machine_kind="printer", skills=("make",), attended_slots=1)
    for number in range(3):
        kw = (rng.uniform(5.0, 9.0),) * rng.randrange(4, 9)
        add(f"mill-{number}", TaskKind.MILL, kw, machine_kind="mill", skills=("make",))
    add("dryer", TaskKind.WASTE, (6.0,) * 10, machine_kind="dryer")
    add("saw", TaskKind.CONSTRUCTION, (4.0,) * 6, skills=("build",))
    add("service", TaskKind.MAINTENANCE, (0.0,) * 4, services=AssetId("the-mill"), skills=("fit",))
    for number in range(4):
        add(
            f"carry-{number}", TaskKind.CARRY, (0.0,) * rng.randrange(3, 7), robot=True, robot_kwh=rng.uniform(0.8, 1.6)
        )
    day = ((24, 76),)
    return WorkProblem(
        SLOTS,
        0.25,
        (),
        0.0,
        tuple(tasks),
        (
            Machine(AssetId("the-printer"), "printer", ((0, SLOTS),)),
            Machine(AssetId("the-mill"), "mill", ((20, 84),), hours_left=4.0),
            Machine(AssetId("the-dryer"), "dryer", ((0, SLOTS),)),
        ),
        (Crew(AssetId("makers"), ("make", "fit"), day), Crew(AssetId("builders"), ("build", "fit"), ((28, 68),))),
        tuple(Robot(AssetId(f"robot-{n}"), ("carry",), ((20, 84),), 3.0, 1.2, 0.3, 1.5) for n in range(2)),
    )


def _gas(rng: Random) -> GasPlant:
    digester = Digester(
        AssetId("digester"), 0.09, 0.06, rng.uniform(3_000, 5_000), 12.0, 4.0, 30.0, 10.0, 4.0, 0.55, 0.8
    )
    feed = tuple(40.0 if t % 32 == 28 else 0.0 for t in range(SLOTS))
    return GasPlant(digester, gas_made(digester, feed, 0.25), 0.3)


def _rounds(rng: Random) -> tuple[tuple[Pack, ...], tuple[TripAsk, ...]]:
    """Returns three carriers whose packs hold little more than a round takes, and two rounds for each.

    A round is planned just in time for the windows that open first; what is free lies after that.
    """
    packs: list[Pack] = []
    trips: list[TripAsk] = []
    for number in range(3):
        carrier = AssetId(f"carrier-{number}")
        packs.append(Pack(carrier, 3.0, rng.uniform(0.7, 1.6), 2.4, 0.9, 0.5, 0.5, 0.2))
        leave = rng.randrange(28, 34)
        for which, latest in enumerate((rng.randrange(44, 56), rng.randrange(60, 70))):
            kwh, slots = rng.uniform(1.9, 2.3), rng.randrange(4, 8)
            first, back, last = (Instant(START + slot * SLOT_MS) for slot in (leave, leave + slots, latest))
            trips.append(TripAsk(AssetId(f"{carrier}.{which}"), carrier, first, back, kwh, first, last))
            leave += slots + rng.randrange(5, 9)
    return tuple(packs), tuple(trips)


# ----------------------------------------------------------------------------------------------- the others


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one way of planning comes to."""

    cost: float
    shed_kwh: float
    over_kwh: float
    water_kl: float
    vehicle_kwh: float
    undone: int
    fines: float  # money of all broken limits and unserved service in `cost`


@dataclass(frozen=True, slots=True)
class _Part:
    """Devices that one sector plans for."""

    water: tuple[WaterSystem, ...] = ()
    chargers: tuple[Charger, ...] = ()
    batteries: tuple[Battery, ...] = ()


def _solved(problem: Problem) -> Plan:
    plan = solve(problem, STOP, 0)
    if not isinstance(plan, Plan):
        raise PlanRefused("; ".join(plan.reasons[:3]))
    wrong = check(problem, plan)
    if wrong:
        raise PlanRefused(wrong[0].message)
    return plan


def _outcome(problem: Problem, plan: Plan, more: float, work: WorkPlan, lost: Sequence[Plan] = ()) -> Outcome:
    grid, h = problem.grid, problem.slot_h
    over = sum(max(0.0, kw - limit) for kw, limit in zip(plan.grid_kw, grid.import_limit_kw, strict=True))
    over += sum(max(0.0, -kw - limit) for kw, limit in zip(plan.grid_kw, grid.export_limit_kw, strict=True))
    every = (plan, *lost)
    water = sum(sum(series) for one in every for series in one.water_unserved_kl.values())
    charge = sum(one.violations[name] / kwh for one in every for name, kwh in _vehicle_prices(one))
    fines = sum(sum(one.violations.values()) for one in every) + 60.0 * len(work.undone)
    return Outcome(plan.cost + more, sum(plan.shed_kw) * h, over * h, water, charge, len(work.undone), fines)


def _vehicle_prices(plan: Plan) -> Iterator[tuple[str, float]]:
    """Yields (violation, money per kWh) of every vehicle that lacks something when it leaves."""
    for name in plan.violations:
        if name.startswith(("charge:", "departure:", "trip:")):
            yield name, 3.0 if name.startswith("charge:") else MISSING_PRICE


def _as_load(problem: Problem, plan: Plan, assets: Sequence[AssetId]) -> Problem:
    """Returns a problem in which what these assets draw by a plan is load, and what they give is on offer."""
    steps = [
        [step.power_w for step in plan.units[name]] if name in plan.units else _watts(plan, name) for name in assets
    ]
    total = [sum(column) / 1000 for column in zip(*steps, strict=True)] if steps else [0.0] * problem.slots
    return replace(
        problem,
        load_kw=tuple(kw + max(w, 0.0) for kw, w in zip(problem.load_kw, total, strict=True)),
        pv_kw=tuple(kw + max(-w, 0.0) for kw, w in zip(problem.pv_kw, total, strict=True)),
        water=tuple(w for w in problem.water if w.pump_id not in assets),
        chargers=tuple(c for c in problem.chargers if c.id not in assets),
        batteries=tuple(b for b in problem.batteries if b.id not in assets),
    )


def _watts(plan: Plan, name: AssetId) -> list[int]:
    return [step.expected_w for step in plan.storages[name]]


def _market(problem: Problem, *, limits: bool) -> Problem:
    """Returns the problem without devices but with all their power to be bought on the tariff, gensets for a grid."""
    grid = problem.grid
    diesel = sum(g.power_kw_max for g in problem.gensets)
    most = tuple(limit + diesel for limit in grid.import_limit_kw) if limits else (1e4,) * problem.slots
    out = grid.export_limit_kw if limits else (1e4,) * problem.slots
    open_ = replace(grid, import_limit_kw=most, export_limit_kw=out, available=(True,) * problem.slots)
    return replace(problem, grid=open_, batteries=(), gensets=(), water=(), chargers=())


def _beside_power(problem: Problem, plan: Plan) -> float:
    """Returns a sector's own cost: its plan's, less what the outside was paid in it."""
    money = 0.0
    for t, kw in enumerate(plan.grid_kw):
        money += kw * problem.slot_h * (problem.grid.import_price[t] if kw > 0 else problem.grid.export_price[t])
    broken = sum(plan.violations.get(name, 0.0) for name in ("import_limit", "export_limit", "shed"))
    return plan.cost - money - broken


def sequence(problem: JointProblem) -> Outcome:
    """Returns what comes of sectors one after the other on the tariff, each within what is left of the limits."""
    sectors = on_tariff(problem, 0, EFFORT)
    return _one_by_one(problem, sectors, limits=True)


def alone(problem: JointProblem) -> Outcome:
    """Returns what comes of sectors that each plan for themselves on the tariff and know of no limit."""
    asked = replace(problem.work, supply=tariff(problem.energy, limits=False), over_price=2.0)
    work, engines = schedule(asked, EFFORT, 0), on_tariff(problem, 0, EFFORT).engines
    selfish = Sectors(work, engines, leaves=as_planned(problem.trips))
    return _one_by_one(problem, selfish, limits=False)


def _one_by_one(problem: JointProblem, sectors: Sectors, *, limits: bool) -> Outcome:
    whole = with_sectors(problem, sectors)
    lost: list[Plan] = []
    more = own_cost(problem, sectors)
    energy, packs = problem.energy, tuple(one for one in whole.batteries if one not in problem.energy.batteries)
    parts = [_Part(water=energy.water), _Part(chargers=energy.chargers, batteries=packs)]
    parts += [] if limits else [_Part(batteries=energy.batteries)]
    for part in parts:
        base = _market(whole, limits=limits)
        if not limits:  # nobody looks at the others
            nothing = (0.0,) * whole.slots
            own = (energy.load_kw, energy.pv_kw) if part.batteries == energy.batteries else (nothing, nothing)
            base = replace(base, load_kw=own[0], pv_kw=own[1], critical_kw=nothing, jobs=())
        asked = replace(base, water=part.water, chargers=part.chargers, batteries=part.batteries)
        plan = _solved(asked)
        more += _beside_power(asked, plan)
        lost.append(plan)
        names = [*(one.pump_id for one in part.water), *(one.id for one in (*part.chargers, *part.batteries))]
        whole = _as_load(whole, plan, names)
    return _outcome(whole, _solved(whole), more, sectors.work, lost)


def together(problem: JointProblem) -> Outcome:
    """Returns what the joint plan comes to."""
    plan = joint(problem, STOP, 0, EFFORT)
    if isinstance(plan, Infeasible):
        raise PlanRefused("; ".join(plan.reasons[:3]))
    whole = with_sectors(problem, plan.sectors)
    wrong = check(whole, plan.energy)
    wrong += check_work(asked_work(problem), plan.sectors.work)
    wrong += check_leaves(problem.trips, plan.sectors.leaves, SLOT_MS)
    for plant in problem.plants:
        wrong += check_engine(plant.digester, plant.made_m3, plan.sectors.engines[plant.digester.id], 0.25)
    if wrong:
        raise PlanRefused(wrong[0].message)
    return _outcome(whole, plan.energy, own_cost(problem, plan.sectors), plan.sectors.work)


def still(problem: JointProblem) -> Outcome:
    """Returns what the joint plan comes to where every round leaves as it was planned."""
    trips = tuple(replace(trip, earliest=trip.leave, latest=trip.leave) for trip in problem.trips)
    return together(replace(problem, trips=trips))


WAYS = {"joint": together, "still": still, "sequence": sequence, "alone": alone}


def _at_start(problem: JointProblem) -> float:
    """Returns the value of what is stored at the start: with it in, a cost is what the day used up."""
    energy = problem.energy
    money = sum(b.soc_now_kwh * b.terminal_value for b in energy.batteries)
    money += sum(pack.charge_now_kwh * pack.worth for pack in problem.packs)
    money += sum(w.level_now_kl * w.terminal_value for w in energy.water)
    money += sum(p.digester.gas_now_m3 * p.end_value for p in problem.plants)
    asked = asked_work(problem)
    return money + sum(r.charge_now_kwh * pack_value(asked, r) for r in problem.work.robots)


def _case(mode: str, seed: int) -> dict[str, str | int | float]:
    problem = village(mode, seed)
    start = _at_start(problem)
    row: dict[str, str | int | float] = {"mode": mode, "seed": seed}
    for name, plan in WAYS.items():
        began = time.process_time()
        found = plan(problem)
        row[name] = round(found.cost + start, 3)
        row[f"{name}_bare"] = round(found.cost + start - found.fines, 3)
        row[f"{name}_shed_kwh"] = round(found.shed_kwh, 3)
        row[f"{name}_over_kwh"] = round(found.over_kwh, 3)
        row[f"{name}_water_kl"] = round(found.water_kl, 3)
        row[f"{name}_vehicle_kwh"] = round(found.vehicle_kwh, 3)
        row[f"{name}_undone"] = found.undone
        row[f"{name}_cpu_s"] = round(time.process_time() - began, 1)
    costs = ", ".join(f"{name} {row[name]}" for name in WAYS)
    sys.stderr.write(f"{mode} {seed}: {costs}; {row['joint_cpu_s']} CPU seconds joint\n")
    return row


def _saving(rows: Sequence[Mapping[str, str | int | float]], other: str, end: str = "") -> float:
    return round(median(1 - float(row[f"joint{end}"]) / float(row[f"{other}{end}"]) for row in rows), 4)


def run(arguments: Sequence[str]) -> Mapping[str, object]:
    """Returns the figures; `--seeds N` plans fewer villages per mode than ten."""
    parser = argparse.ArgumentParser(prog="atoll bench joint")
    parser.add_argument("--seeds", type=int, default=10)
    chosen = parser.parse_args(list(arguments))
    cases = [_case(mode, seed) for mode in MODES for seed in range(chosen.seeds)]
    saving: list[dict[str, str | float]] = []
    for mode in MODES:
        rows = [row for row in cases if row["mode"] == mode]
        saving.append(
            {
                "mode": mode,
                "over_still": _saving(rows, "still"),
                "over_sequence": _saving(rows, "sequence"),
                "over_alone": _saving(rows, "alone"),
                "bare_over_sequence": _saving(rows, "sequence", "_bare"),
                "bare_over_alone": _saving(rows, "alone", "_bare"),
            }
        )
    return {"seed": f"0-{chosen.seeds - 1}", "saving": saving, "cases": cases}
