"""Pump schedules of a two-tank network by its table, replayed in EPANET: predicted against simulated cost.

`error` is |simulated - predicted| / simulated cost of energy of the planned day, `cost` what EPANET says it costs.
The network is tests/golden/water/two-tanks.inp; with `--data DIR` a `van_zyl.inp` found there (day from 07:00, as in
the literature: hybrid GA 344.43 best, 348.6 mean of seven runs) is planned instead.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from controller.cli.checkout import ROOT
from controller.cli.errors import ExitCode, Refusal
from controller.shell.epanet import MissingEpanet, open_network, table_of
from optimizer.check_zones import check_zone
from optimizer.plan import Infeasible
from optimizer.zone_plan import plan_zone
from optimizer.zones import ZoneProblem

OWN = ROOT / "tests" / "golden" / "water" / "two-tanks.inp"
PUBLISHED = 344.43
_OVER = 1.001
"""The table's levels differ from EPANET's by less than this: so much more is planned to be left at the end."""


def run(arguments: Sequence[str]) -> Mapping[str, float | int | str | None]:
    """Returns {error, cost} and what belongs to them."""
    parser = argparse.ArgumentParser(prog="atoll bench water")
    parser.add_argument("--data", type=Path, help="a folder that may hold van_zyl.inp")
    parser.add_argument("--searches", type=int, default=30)
    parser.add_argument("--start-price", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    found = sorted(options.data.rglob("van_zyl.inp")) if options.data else []
    path: Path = found[0] if found else OWN
    try:
        with open_network(path) as network:
            day = network.day(24, 3600)
    except MissingEpanet as missing:
        raise Refusal(f"this bench needs EPANET: {missing}.", ExitCode.CONFIG, hint="pip install wntr six") from missing
    began = time.process_time()
    table = table_of(path, day, points=9, demands=24, speeds=(1.0,), pressure_m_min=15.0)
    tabled = time.process_time()
    none = (0.0,) * len(table.tanks)
    wanted = tuple(kl * _OVER for kl in day.level_now_kl)
    problem = ZoneProblem(
        table,
        1.0,
        day.demand_kl_per_h,
        day.price,
        day.level_now_kl,
        none,
        wanted,
        start_price=options.start_price,
    )
    first = plan_zone(problem, seed=options.seed)
    planned = time.process_time()
    plan = plan_zone(problem, searches=options.searches, seed=options.seed)
    if isinstance(plan, Infeasible) or isinstance(first, Infeasible):
        raise Refusal("; ".join(plan.reasons if isinstance(plan, Infeasible) else ()))
    searched = time.process_time()
    wrong = [violation.message for violation in check_zone(problem, plan)]
    with open_network(path) as network:
        seen = network.replay(table, plan, day.price, 3600, 900)
    missing_kl = max(a - b[-1] for a, b in zip(day.level_now_kl, seen.level_kl, strict=True))
    return {
        "case": path.stem,
        "seed": options.seed,
        "error": abs(plan.energy_cost - seen.energy_cost) / seen.energy_cost,
        "cost": seen.energy_cost,
        "published": PUBLISHED if found else None,
        "first_cost": first.energy_cost,
        "starts": plan.starts,
        "pressure_m": seen.pressure_m,
        "end_short_kl": max(missing_kl, 0.0),
        "violations": len(wrong) + len(seen.problems),
        "table_seconds": tabled - began,
        "first_seconds": planned - tabled,
        "search_seconds": searched - planned,
    }
