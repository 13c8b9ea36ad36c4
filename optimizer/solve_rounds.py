"""The one entry of rounds: RoundsProblem in, checked RoundsPlan or the reasons why there is none out. Pure."""

from __future__ import annotations

from collections.abc import Callable

from optimizer.check_rounds import check_rounds
from optimizer.logistics import NoRounds, RoundsPlan, RoundsProblem, RoundsStop
from optimizer.plan import Infeasible
from optimizer.rounds_ortools import solve_ortools
from optimizer.rounds_validation import unreachable, validate_rounds

SECOND_OPINION = 60
"""Up to so many visits both engines are asked and the cheaper plan is taken: with few visits, prizes and reloads PyVRP
stops short of the optimum for some seeds, OR-Tools did not (docs/decisions/0006)."""

Engine = Callable[[RoundsProblem, RoundsStop, int], RoundsPlan]


def solve_rounds(problem: RoundsProblem, stop: RoundsStop, seed: int) -> RoundsPlan | Infeasible:
    """Returns the plan of PyVRP, or OR-Tools' where PyVRP cannot be loaded, fails or is dearer; checked either way.

    Every visit with a prize can be left out, so a problem without visits that must be served always has a plan.
    """
    wrong = validate_rounds(problem) or unreachable(problem)
    if wrong:
        return Infeasible(tuple(wrong))
    if not problem.visits and not problem.shipments:
        return RoundsPlan((), (), 0, "none")
    reasons: list[str] = []
    plans: list[RoundsPlan] = []
    small = len(problem.visits) + len(problem.shipments) <= SECOND_OPINION
    for engine in (_pyvrp, solve_ortools):
        if plans and not small:
            break
        try:
            plan = engine(problem, stop, seed)
        except (ImportError, NoRounds, ValueError, RuntimeError) as error:  # pybind turns C++ exceptions into these
            reasons.append(str(error))
            continue
        broken = check_rounds(problem, plan)
        reasons += [f"{plan.engine}: {text}" for text in broken[:3]]
        if not broken:
            plans.append(plan)
    return min(plans, key=lambda plan: plan.cost) if plans else Infeasible(tuple(reasons))


def _pyvrp(problem: RoundsProblem, stop: RoundsStop, seed: int) -> RoundsPlan:
    from optimizer.rounds import solve_pyvrp  # noqa: PLC0415 - its import fails where there is no wheel of it

    return solve_pyvrp(problem, stop, seed)
