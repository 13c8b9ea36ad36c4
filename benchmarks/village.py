"""A village's day: gap to a lower bound, beside plain HiGHS at one CPU second, and a warm re-plan beside a cold one.

Villages are those of `cases/villages.py`, by seed. `gap` is (cost - bound) / cost of the plan that `solve` gives under
node limits (no wall clock), `seconds` its CPU time, `valid` what the independent checker says. The bound is the best
of the plan's own and of a long run of HiGHS that `--long SECONDS` makes once, with gensets whole and jobs in parts, and
keeps in cases/village_bounds.json with seed and commit; `lp_gap` is against the plan's own alone. `plain_gap` is that
of HiGHS with its own settings on the whole model after one CPU second; 1.0 where it has no plan by then.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TypedDict

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.cases.villages import MODES, village
from controller.cli.checkout import commit
from optimizer import engine
from optimizer.check import check
from optimizer.engine import NoPlanFound
from optimizer.formulation import formulate
from optimizer.plan import Plan
from optimizer.problem import Problem, Stop
from optimizer.solve import solve

BOUNDS = Path(__file__).with_name("cases") / "village_bounds.json"
SEED = 1


class Bound(TypedDict):
    """What no plan of a village undercuts, and how that is known."""

    bound: float
    cpu_s: float
    seed: int
    commit: str


def run(args: Sequence[str]) -> Mapping[str, object]:
    """Returns the figures of one run."""
    parser = argparse.ArgumentParser(prog="atoll bench village", description=__doc__)
    parser.add_argument("--n", default="50,200,500", help="numbers of flexible devices")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument(
        "--long", type=float, help="only look for better bounds, so many seconds per village, and keep them"
    )
    options = parser.parse_args(args)
    sizes, seeds = ([int(word) for word in text.split(",")] for text in (options.n, options.seeds))
    solve(village(10, "weak", 1), Stop(seconds=None), SEED)  # loads the libraries
    known: dict[str, Bound] = json.loads(BOUNDS.read_text()) if BOUNDS.exists() else {}
    asked = [(n, mode, seed) for n in sizes for mode in MODES for seed in seeds]
    if options.long is not None:
        return {"bounds": [_keep_bound(known, n, mode, seed, options.long) for n, mode, seed in asked], "seed": SEED}
    cases = [_case(n, mode, seed, known.get(f"{n}-{mode}-{seed}")) for n, mode, seed in asked]
    found: dict[str, object] = {"case": f"n {options.n}", "cases": cases, "seed": SEED}
    for n in sizes:
        of_size = [case for case in cases if case["n"] == n]
        for figure, digits in (("gap", 4), ("lp_gap", 4), ("plain_gap", 4), ("seconds", 2)):
            found[f"median_{figure}_{n}"] = round(median(float(case[figure]) for case in of_size), digits)
    return {**found, "warm_ratio": _warm_ratio(min(sizes, key=lambda n: abs(n - 200)))}


def _case(n: int, mode: str, seed: int, known: Bound | None) -> Mapping[str, str | int | float | bool]:
    problem = village(n, mode, seed)
    began = time.process_time()
    plan = solve(problem, Stop(seconds=None), SEED)
    seconds = time.process_time() - began
    assert isinstance(plan, Plan), plan
    bound = plan.bound if known is None else max(plan.bound, known["bound"])
    assert bound <= plan.cost + 1e-3, f"{n}-{mode}-{seed}: a bound of {bound} above a plan of {plan.cost}"
    return {
        "n": n,
        "mode": mode,
        "seed": seed,
        "gap": round((plan.cost - bound) / abs(plan.cost), 5),
        "lp_gap": round((plan.cost - plan.bound) / abs(plan.cost), 5),
        "plain_gap": round(_plain_gap(problem, bound), 4),
        "seconds": round(seconds, 2),
        "valid": not check(problem, plan),
    }


def _plain_gap(problem: Problem, bound: float) -> float:
    """Returns the gap of HiGHS after one CPU second; on a busy machine its wall clock is given longer."""
    model, _ = formulate(problem)
    wall, gap = 1.0, 1.0
    for _ in range(6):
        began = time.process_time()
        try:
            solution = engine.run(model, Stop(seconds=wall, gap=1e-4, nodes=None), SEED, plain=True)
            gap = (float(model.cost @ solution.x) - bound) / abs(float(model.cost @ solution.x))
        except NoPlanFound:
            gap = 1.0
        used = time.process_time() - began
        if used > 0.9:
            break
        wall *= min(max(1.0 / max(used, 0.05), 1.1), 8.0)
    return gap


def _keep_bound(
    known: dict[str, Bound], n: int, mode: str, seed: int, seconds: float
) -> Mapping[str, str | int | float | bool]:
    """Returns the bound of a long run; it is kept where it is better than the one before.

    Jobs stay in parts: that is a relaxation too, and of all integers the gensets' are what the LP's bound lacks.
    """
    name = f"{n}-{mode}-{seed}"
    model, layout = formulate(village(n, mode, seed))
    gensets = np.zeros_like(model.integer)
    for genset in layout.gensets.values():
        gensets[genset.on] = True
    began = time.process_time()
    try:
        stop = Stop(seconds=seconds, gap=1e-3, nodes=None)
        bound = engine.run(replace(model, integer=gensets), stop, SEED).bound
    except NoPlanFound:
        return {"case": name, "bound": "none: no plan in time"}
    if name not in known or bound > known[name]["bound"]:
        used = round(time.process_time() - began, 1)
        known[name] = {"bound": round(bound - 5e-5, 4), "cpu_s": used, "seed": SEED, "commit": commit() or "-"}
        BOUNDS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    return {"case": name, "bound": known[name]["bound"]}


def _warm_ratio(n: int) -> float:
    """Returns the CPU time of a re-plan after a 3 % forecast update, from the last plan, over that from nothing."""
    problem = village(n, "weak", 1)
    last = solve(problem, Stop(seconds=None), SEED)
    assert isinstance(last, Plan)
    load = tuple(kw * (1 + 0.015 * ((7 * t) % 5 - 2)) for t, kw in enumerate(problem.load_kw))
    pv = tuple(kw * (1 + 0.01 * ((3 * t) % 7 - 3)) for t, kw in enumerate(problem.pv_kw))
    new = replace(problem, load_kw=load, pv_kw=pv, critical_kw=tuple(0.9 * kw for kw in problem.critical_kw))
    began = time.process_time()
    warm = solve(new, Stop(seconds=None), SEED, last)
    after = time.process_time()
    cold = solve(new, Stop(seconds=None), SEED)
    ended = time.process_time()
    assert isinstance(warm, Plan)
    assert isinstance(cold, Plan)
    assert not check(new, warm)
    assert warm.cost <= 1.02 * cold.cost, f"warm {warm.cost}, cold {cold.cost}"
    return round((after - began) / (ended - after), 3)
