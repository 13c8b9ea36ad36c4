"""One plan over all sectors: energy and water in one model, work, gas, zones and trips by exchange of prices. Pure.

Each round takes one sector out of the energy plan, asks what power then costs, lets the sector plan again at that
price, and keeps the answer only where the whole became cheaper. So the cost falls with every step, starts no higher
than sectors planned one after the other on the tariff, and the exchange ends when no sector wants to move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from optimizer.exchange import Market, market
from optimizer.gas_engine import run_engine
from optimizer.plan import Infeasible, Plan
from optimizer.problem import Problem, Series, Stop
from optimizer.scheduling import schedule
from optimizer.sectors import (
    JointProblem,
    Sectors,
    asked_work,
    over_price,
    own_cost,
    profile,
    with_packs,
    with_sectors,
)
from optimizer.solve import solve
from optimizer.tasks import Supply, WorkPlan
from optimizer.trip_ask import Pack
from optimizer.trip_packs import as_planned, trip_faults
from optimizer.trip_sector import rather
from optimizer.waste import EnginePlan, GasPlant
from optimizer.work_cost import priced
from optimizer.zone_ask import ZoneAsk
from optimizer.zone_sector import NoZonePlan, run_zone

ROUNDS = 3
_GAIN = 1e-3
"""Money below which a step is no gain."""
_NOTHING_KWH = 1e-6


@dataclass(frozen=True, slots=True)
class JointPlan:
    """The answer. `cost` is the energy plan's and the sectors' own; `trace` the relaxed cost after each step."""

    energy: Plan
    sectors: Sectors
    cost: float
    price: Series
    trace: tuple[float, ...]


def joint(
    problem: JointProblem, stop: Stop, seed: int = 0, effort: float = 1.0, kept: Sectors | None = None
) -> JointPlan | Infeasible:
    """Returns the plan of all sectors, or why the energy plan has none.

    With `kept` only trips are asked when they would rather leave; all else goes on as it is there.

    Raises:
        BrokenWork: the work problem is not well formed.
        NoPlanFound: a limit was hit before any plan was known.
    """
    broken = trip_faults(problem.packs, problem.trips)
    if broken:
        return Infeasible(tuple(broken))
    try:
        first = kept or on_tariff(problem, seed, effort)
    except NoZonePlan as none:
        return Infeasible(none.reasons)
    asked = _trips(problem, seed) if kept else _sectors(problem, seed, effort)
    sectors, trace, price = exchange(problem, first, tuple(asked), seed, _worth(problem.energy, stop))
    best: JointPlan | None = None
    for chosen in (first, sectors) if sectors is not first else (first,):
        energy = solve(with_sectors(problem, chosen), stop, seed)
        if isinstance(energy, Infeasible):
            return energy
        cost = energy.cost + own_cost(problem, chosen)
        # The relaxation that led the exchange knows no whole gensets.
        if best is None or (cost < best.cost and _missing(energy) <= _missing(best.energy) + _GAIN):
            best = JointPlan(energy, chosen, cost, price, trace)
    assert best is not None
    return best


def _missing(plan: Plan) -> float:
    """Returns the money of what vehicles lack when they leave."""
    return sum(money for name, money in plan.violations.items() if name.startswith(("departure:", "trip:")))


def _worth(problem: Problem, stop: Stop) -> float:
    """Returns the money of a round that is worth another: a quarter of the gap, of what the load would cost."""
    bill = sum(kw * price for kw, price in zip(problem.load_kw, problem.price_beyond, strict=True)) * problem.slot_h
    return stop.gap * abs(bill) / 4


def on_tariff(problem: JointProblem, seed: int, effort: float) -> Sectors:
    """Returns the sectors planned on the tariff, within what the forecast leaves of the limits."""
    asked = problem.work.tasks or problem.work.robots
    work = schedule(asked_work(problem), effort, seed) if asked else WorkPlan.nothing(problem.energy.slots)
    prices = problem.energy.grid.import_price
    return Sectors(
        work,
        {p.digester.id: _run(problem, p, prices) for p in problem.plants},
        {zone.id: run_zone(zone, problem.energy.slot_h, prices) for zone in problem.zones},
        as_planned(problem.trips),
    )


def _run(problem: JointProblem, plant: GasPlant, price: Sequence[float]) -> EnginePlan:
    return run_engine(plant.digester, plant.made_m3, price, problem.energy.slot_h, plant.end_value)


# ------------------------------------------------------------------------------------------------ exchange

_Wishes = Callable[[Sectors, Market], Iterator[Sectors]]
"""What one sector would rather do, as things stand and at the market with all of it."""


def exchange(
    problem: JointProblem, first: Sectors, asked: Sequence[_Wishes], seed: int, worth: float = 0.0
) -> tuple[Sectors, tuple[float, ...], Series]:
    """Returns the sectors after the exchange, the cost after each step that was kept, and the last prices.

    It ends after a round that gained no more than `worth` [money].
    """
    best = first
    now = _market(problem, best, seed)
    if now is None:
        return first, (), (0.0,) * problem.energy.slots
    cost = now.cost + own_cost(problem, best)
    trace = [cost]
    for _ in range(ROUNDS):
        before = cost
        for wishes in asked:
            for other in wishes(best, now):
                then = _market(problem, other, seed, now)
                if then is None or then.missing_kwh > now.missing_kwh + _NOTHING_KWH:
                    continue  # no money is worth a vehicle that cannot leave
                total = then.cost + own_cost(problem, other)
                if total < cost - _GAIN:
                    best, cost, now = other, total, then
                    trace.append(cost)
        if before - cost < max(_GAIN, worth):
            break
    return best, tuple(trace), now.price


def _market(problem: JointProblem, sectors: Sectors, seed: int, near: Market | None = None) -> Market | None:
    return market(with_packs(problem, sectors), profile(problem, sectors), seed, near and near.basis)


def _sectors(problem: JointProblem, seed: int, effort: float) -> Iterator[_Wishes]:
    """Yields the wishes of each sector: at the price without it, with it, and half-way between."""
    if problem.work.tasks:
        yield partial(_work_wishes, problem, seed, effort)
    for plant in problem.plants:
        yield partial(_engine_wishes, problem, seed, plant)
    for zone in problem.zones:
        yield partial(_zone_wishes, problem, seed, zone)
    yield from _trips(problem, seed)


def _trips(problem: JointProblem, seed: int) -> Iterator[_Wishes]:
    for pack in problem.packs:
        if any(trip.movable for trip in problem.trips if trip.vehicle == pack.vehicle):
            yield partial(_trip_wishes, problem, seed, pack)


def _work_wishes(problem: JointProblem, seed: int, effort: float, at: Sectors, now: Market) -> Iterator[Sectors]:
    idle = WorkPlan.nothing(problem.energy.slots)
    without = _market(problem, replace(at, work=idle), seed, now)
    for supply in () if without is None else _supplies(without, now):
        asked = replace(problem.work, supply=supply, over_price=over_price(problem.energy))
        found = schedule(asked, effort, seed, hint=at.work)
        own = priced(asked_work(problem), found.assignments, found.undone, found.charging_kw, 0.0, proven=False)
        yield replace(at, work=own)


def _engine_wishes(problem: JointProblem, seed: int, plant: GasPlant, at: Sectors, now: Market) -> Iterator[Sectors]:
    rest = {name: plan for name, plan in at.engines.items() if name != plant.digester.id}
    without = _market(problem, replace(at, engines=rest), seed, now)
    for price in () if without is None else (without.price, _middle(without.price, now.price), now.price):
        yield replace(at, engines={**rest, plant.digester.id: _run(problem, plant, price)})


def _zone_wishes(problem: JointProblem, seed: int, zone: ZoneAsk, at: Sectors, now: Market) -> Iterator[Sectors]:
    others = {name: run for name, run in at.zones.items() if name != zone.id}
    without = _market(problem, replace(at, zones=others), seed, now)
    if without is not None:
        price = _middle(without.price, now.price)
        yield replace(at, zones={**others, zone.id: run_zone(zone, problem.energy.slot_h, price)})


def _trip_wishes(problem: JointProblem, seed: int, pack: Pack, at: Sectors, now: Market) -> Iterator[Sectors]:
    mine = {trip.id for trip in problem.trips if trip.vehicle == pack.vehicle}
    rest = {name: leave for name, leave in at.leaves.items() if name not in mine}
    without = _market(problem, replace(at, leaves=rest), seed, now)
    seen = [at.leaves]
    for price in () if without is None else (without.price, _middle(without.price, now.price), now.price):
        chosen = rather(problem.energy, pack, problem.trips, at.leaves, price)
        if chosen not in seen:
            seen.append(chosen)
            yield replace(at, leaves=chosen)


def _supplies(without: Market, now: Market) -> Iterator[tuple[Supply, ...]]:
    yield without.supply()
    if max(abs(a - b) for a, b in zip(without.price, now.price, strict=True)) > 1e-3:
        yield without.supply(_middle(without.price, now.price))


def _middle(one: Series, other: Series) -> Series:
    return tuple((a + b) / 2 for a, b in zip(one, other, strict=True))
