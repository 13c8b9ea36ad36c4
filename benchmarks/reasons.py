"""Reasons put to the test: of a seeded sample of steps, how many named limits do what their price says when moved.

Each limit is loosened by 0.02 kWh (load: or tightened) and the LP with the plan's decisions held is solved again; the
money must change as told, within a fifth. `alternatives` are forced the same way: none may cost less than told.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.cases.villages import MODES, village
from optimizer import relax
from optimizer.plan import Plan
from optimizer.problem import Stop
from optimizer.solve import solve

NEAR = 0.002


def run(args: Sequence[str]) -> Mapping[str, object]:
    """Returns the figures of one run."""
    parser = argparse.ArgumentParser(prog="atoll bench reasons", description=__doc__)
    parser.add_argument("--n", type=int, default=20, help="flexible devices of a village")
    parser.add_argument("--seeds", type=int, default=5, help="villages per mode")
    parser.add_argument("--sample", type=int, default=60, help="steps per village")
    options = parser.parse_args(args)
    confirmed = total = dearer = alternatives = 0
    for mode in MODES:
        for seed in range(options.seeds):
            problem = village(options.n, mode, seed)
            plan = solve(problem, Stop(seconds=None), 1)
            assert isinstance(plan, Plan), plan
            base = relax.held(problem, plan)
            assert base is not None
            every = [
                (asset, slot, step.reason)
                for asset, steps in (*plan.storages.items(), *plan.units.items())
                for slot, step in enumerate(steps)
            ]
            bound = [reason.binding for _, _, reason in every if reason.binding is not None]
            told = [one for one in every if one[2].alternative_cost is not None]
            rng = Random(seed)
            for binding in rng.sample(bound, min(options.sample, len(bound))):
                total += 1
                confirmed += relax.confirmed(base, binding)
            for asset, slot, reason in rng.sample(told, min(options.sample, len(told))):
                real, least = relax.rejected(base, plan, asset, slot), reason.alternative_cost or 0.0
                alternatives += 1
                dearer += real is None or real >= least - max(0.02 * least, NEAR)
    return {
        "share": round(confirmed / total, 4),
        "total": total,
        "alternatives_share": round(dearer / alternatives, 4),
        "alternatives": alternatives,
        "seed": options.seeds,
    }
