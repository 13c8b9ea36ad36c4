"""Simulated seconds per second of the village: days under rules alone, and a shorter stretch with real plans.

`speed` is without plans; `year_min` and `week_s` extrapolate. CPU seconds count, those of the planner child with them:
on a busy machine wall time says little. `wide_year_min` is the year with a control cycle of five minutes, not of one.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from controller.cli.sites import load_site
from controller.report import Report
from controller.shell.simulation import Simulation, SimulationOptions, report_of, start_of
from devices.clock import DAY_MS, MINUTE_MS, Instant

SITE = Path(__file__).parents[1] / "examples" / "village" / "site.toml"
DAY_S = 86_400


def run(args: Sequence[str]) -> Mapping[str, str | int | float]:
    """Returns the figures of one run."""
    parser = argparse.ArgumentParser(prog="atoll bench simulate", description=__doc__)
    parser.add_argument("--days", type=float, default=7.0, help="days without plans")
    parser.add_argument("--planned-days", type=float, default=2.0, help="days with plans")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(args)
    ruled_s, ruled = _live(SimulationOptions(seed=options.seed, plan=False), options.days)
    wide = SimulationOptions(seed=options.seed, plan=False, cycle_ms=5 * MINUTE_MS)
    wide_s, _ = _live(wide, options.days)
    planned_s, planned = _live(SimulationOptions(seed=options.seed), options.planned_days)
    return {
        "speed": round(options.days * DAY_S / ruled_s),
        "year_min": round(ruled_s / options.days * 365 / 60, 2),
        "wide_year_min": round(wide_s / options.days * 365 / 60, 2),
        "planned_speed": round(options.planned_days * DAY_S / planned_s),
        "week_s": round(planned_s / options.planned_days * 7, 1),
        "plans": planned.plans_used,
        "records": ruled.records_committed + planned.records_committed,
        "records_lost": ruled.records_lost + planned.records_lost,
        "seed": options.seed,
    }


def _live(options: SimulationOptions, days: float) -> tuple[float, Report]:
    """Returns the CPU seconds of so many days, the planner child's with them, and the report."""
    site = load_site(SITE)
    simulation = Simulation(site, options, start_of(site))
    children = _children_s()
    try:
        began = time.process_time()
        simulation.world.run(Instant(simulation.start + round(days * DAY_MS)))
        simulation.world.drain()
        own = time.process_time() - began
        report = report_of(simulation, days, 0.0)
    finally:
        simulation.close()
    return own + _children_s() - children, report


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
