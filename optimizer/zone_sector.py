"""Pressure zones as a sector of the whole plan: planned at a price of power, followed anew at another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from optimizer.check_zones import check_zone
from optimizer.names import AssetId
from optimizer.plan import Infeasible, Violation
from optimizer.zone_ask import PumpSpeed, ZoneAsk, ZoneRun
from optimizer.zone_file import from_text
from optimizer.zone_plan import follow, plan_zone
from optimizer.zones import Configuration, ZonePlan, ZoneProblem, ZoneTable


class NoZonePlan(RuntimeError):
    """A zone has no schedule that keeps its limits; `reasons` in words."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@lru_cache(maxsize=8)
def table_of(text: str) -> ZoneTable:
    """Returns the table of a file's text.

    Raises:
        BadZoneFile: it is none.
    """
    return from_text(text)


def zone_problem(ask: ZoneAsk, slot_h: float, price: Sequence[float]) -> ZoneProblem:
    """Returns the question about one zone at a price of power."""
    return ZoneProblem(
        table_of(ask.table),
        slot_h,
        ask.demand_kl_per_h,
        tuple(price),
        ask.level_now_kl,
        ask.reserve_kl,
        ask.final_kl,
        start_price=ask.start_price,
        now=Configuration(tuple((one.pump, one.speed) for one in ask.now)),
    )


def run_zone(ask: ZoneAsk, slot_h: float, price: Sequence[float]) -> ZoneRun:
    """Returns a good schedule of a zone at a price: the exchange asks for several, and its prices move.

    Raises:
        NoZonePlan: none keeps its limits.
    """
    problem = zone_problem(ask, slot_h, price)
    found = plan_zone(problem, searches=0)
    if isinstance(found, Infeasible):
        raise NoZonePlan(found.reasons)
    return _run(problem, found)


def go_on(ask: ZoneAsk, slot_h: float, choice: tuple[int, ...]) -> ZoneRun | None:
    """Returns what a schedule comes to from where the tanks stand now; None where it breaks a limit."""
    problem = zone_problem(ask, slot_h, (0.0,) * len(choice))
    found = follow(problem, choice)
    return None if isinstance(found, Infeasible) else _run(problem, found)


def _run(problem: ZoneProblem, plan: ZonePlan) -> ZoneRun:
    every = problem.table.configurations
    return ZoneRun(
        plan.choice,
        tuple(_speeds(every[at]) for at in plan.choice),
        plan.power_kw,
        _pumps(problem.table),
        tuple(AssetId(tank.id) for tank in problem.table.tanks),
        plan.level_kl,
        plan.starts,
        plan.cost - plan.energy_cost,
    )


def _speeds(configuration: Configuration) -> tuple[PumpSpeed, ...]:
    return tuple(PumpSpeed(pump, speed) for pump, speed in configuration.speeds)


def check_run(ask: ZoneAsk, run: ZoneRun, slot_h: float) -> list[Violation]:
    """Returns everything that is wrong with a zone's run."""
    problem = zone_problem(ask, slot_h, (0.0,) * len(ask.demand_kl_per_h))
    plan = ZonePlan(run.choice, run.power_kw, run.level_kl, 0.0, run.own_cost, run.starts, 0.0)
    wrong = check_zone(problem, plan)
    if wrong:
        return wrong
    said = tuple(_speeds(problem.table.configurations[at]) for at in run.choice)
    tanks = tuple(tank.id for tank in problem.table.tanks)
    if (run.speeds, run.tanks, run.pumps) != (said, tanks, _pumps(problem.table)):
        return [Violation("zone_speeds", None, 0.0, 0.0, f"{ask.id}: pumps or tanks are not those of its table")]
    return []


def _pumps(table: ZoneTable) -> tuple[AssetId, ...]:
    return tuple(sorted({pump for one in table.configurations for pump, _ in one.speeds}))
