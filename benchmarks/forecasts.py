"""Who should forecast: the example village lived through with each forecaster, same seed and days, two of them dark.

The hub of every case has learnt from the same weeks before (lived under rules), then plans as in production; only who
forecasts differs, and whether the planner is handed futures. `cost` is what was paid outside and for diesel, plus what
was not served at its price, less the worth of what is in store at the end; `ratio` is to the dearest case, `rules`
plans nothing, `chosen` is the hub as it is. A run takes 8.6 minutes of CPU; `--only` takes single cases.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import click

from controller.beliefs import SERIES
from controller.civil import local_time
from controller.cli.sites import load_site
from controller.history import History
from controller.hub_plans import expect
from controller.plan_forecast import LIKE, MEAN, RIDGE, forecast
from controller.scores import Scorebook
from controller.shell.simulation import Simulation, SimulationOptions, report_of, start_of
from controller.simulate import Happening
from controller.site import Site
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, Instant
from devices.model import DeviceKind
from optimizer.answer import Answer
from optimizer.deliveries import DeliveriesProblem
from optimizer.problem import Problem

SITE = Path(__file__).parents[1] / "examples" / "village" / "site.toml"
OUTAGES_H = ((42, 6), (101, 9))
"""(hours from the start, hours without the outside)"""

KWH_WORTH, KL_WORTH = 0.29, 0.3
UNSERVED_KWH, UNSERVED_KL = 5.0, 20.0
JUDGED_DAYS = 8


class _Fixed(Scorebook):
    """Lets one member forecast everything."""

    member = LIKE

    def choice(self, members: Sequence[str]) -> dict[str, str]:
        return dict.fromkeys(SERIES, self.member)


class _Blind(Simulation):
    """Hands the planner the forecast alone."""

    def ask(self, problem: Problem | DeliveriesProblem, *, warm: bool) -> Answer:
        seen = replace(problem, scenarios=()) if isinstance(problem, Problem) else problem
        return super().ask(seen, warm=warm)


@dataclass(frozen=True, slots=True)
class _Case:
    """`member` None: the hub chooses by its scores."""

    name: str
    member: str | None
    kind: Callable[[Site, SimulationOptions, Instant], Simulation] = Simulation
    plan: bool = True


CASES = (
    _Case("rules", LIKE, plan=False),
    _Case("like-days, no futures", LIKE, _Blind),
    _Case("like-days", LIKE),
    _Case("ridge", RIDGE),
    _Case("mean", MEAN),
    _Case("chosen", None),
)


def run(args: Sequence[str]) -> Mapping[str, object]:
    """Returns the figures of one run."""
    parser = argparse.ArgumentParser(prog="atoll bench forecasts", description=__doc__)
    parser.add_argument("--learn", type=int, default=35, help="days lived under rules before, to learn from")
    parser.add_argument("--days", type=int, default=5, help="days that are compared")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="names of cases, with semicolons between them")
    options = parser.parse_args(args)
    site = load_site(SITE)
    learnt, begun = _learnt(site, options.seed, options.learn)
    judged = _judged(site, learnt, begun)
    wanted = [case for case in CASES if not options.only or case.name in options.only.split(";")]
    found: list[tuple[str, float]] = []
    for case in wanted:
        found.append((case.name, _lived(site, case, deepcopy((learnt, judged)), begun, options)))
        click.echo(f"{case.name}: {found[-1][1]:.2f}", err=True)
    dearest = max(cost for _, cost in found)
    cases = [{"name": name, "cost": round(cost, 2), "ratio": round(cost / dearest, 4)} for name, cost in found]
    return {"cases": cases, "days": options.days, "learn": options.learn, "seed": options.seed}


def _learnt(site: Site, seed: int, days: int) -> tuple[History, Instant]:
    simulation = Simulation(site, SimulationOptions(seed=seed, plan=False, cycle_ms=5 * MINUTE_MS), start_of(site))
    try:
        until = Instant(simulation.start + days * DAY_MS)
        simulation.world.run(until)
        return simulation.world.parts.hub.history, until
    finally:
        simulation.close()


def _judged(site: Site, learnt: History, until: Instant) -> Scorebook:
    """Returns how the members would have done in the last days of what was learnt from."""
    scores = Scorebook(site.timezone)
    for at in range(until - JUDGED_DAYS * DAY_MS, until - DAY_MS, HOUR_MS):
        expect(scores, forecast(site, learnt, Instant(at)))
    scores.settle(learnt, until)
    scores.take(local_time(site.timezone, until).date().isoformat())
    return scores


def _lived(
    site: Site, case: _Case, known: tuple[History, Scorebook], begun: Instant, options: argparse.Namespace
) -> float:
    """Returns the money of one case."""
    happenings = [
        Happening(Instant(begun + at * HOUR_MS), name, {})
        for first, hours in OUTAGES_H
        for at, name in ((first, "grid-lost"), (first + hours, "grid-back"))
        if first < 24 * options.days
    ]
    simulation = case.kind(
        site, SimulationOptions(seed=options.seed, plan=case.plan, happenings=tuple(happenings)), begun
    )
    hub = simulation.world.parts.hub
    hub.history, hub.scores = known
    if case.member is not None:
        hub.scores = _Fixed(site.timezone)
        hub.scores.member = case.member
    try:
        simulation.world.run(Instant(begun + options.days * DAY_MS))
        stored = _stored(site, simulation)
        simulation.world.drain()
        report = report_of(simulation, options.days, 0.0)
    finally:
        simulation.close()
    unserved = UNSERVED_KWH * report.unserved_wh / 1e3 + UNSERVED_KL * report.unserved_ml / 1e6
    return report.cost_minor / 10**site.charter.minor_digits + unserved - stored


def _stored(site: Site, simulation: Simulation) -> float:
    """Returns what is in battery and tank, in money."""
    snapshot = simulation.world.parts.hub.snapshot
    assert snapshot is not None
    money = 0.0
    for kind, point, rating, worth in (
        (DeviceKind.BATTERY, "soc", "energy_wh", KWH_WORTH),
        (DeviceKind.TANK, "level", "volume_l", KL_WORTH),
    ):
        for device in site.of_kind(kind):
            money += worth * (snapshot.value(device.id, point) or 0.0) * device.ratings[rating] / 1000
    return money
