"""The planner's child: resident memory at its highest and CPU seconds for one plan of a village with 200 devices.

Starts the real child as the hub does, asks it once, and reads its peak from the answer.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.cases.villages import village
from controller.shell.planner import Planner, PlannerLimits
from optimizer.answer import Planned
from optimizer.problem import Stop


def run(args: Sequence[str]) -> Mapping[str, str | int | float]:
    """Returns the figures of one run."""
    parser = argparse.ArgumentParser(prog="atoll bench import", description=__doc__)
    parser.add_argument("--n", type=int, default=200, help="flexible devices")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(args)
    planner = Planner(PlannerLimits(timeout_s=600.0))
    try:
        answer = planner.ask(village(options.n, "weak", options.seed), Stop(seconds=None), options.seed)
    finally:
        planner.close()
    assert isinstance(answer, Planned), answer
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "peak_mib": round(answer.child_peak_kib / 1024, 1),
        "seconds": round(used.ru_utime + used.ru_stime, 2),
        "wall_s": round(answer.seconds, 2),
        "n": options.n,
        "seed": options.seed,
    }
