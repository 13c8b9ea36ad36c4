"""The one place that talks to OR-Tools: Model in, values, bound and duals out, HiGHS through a MathOpt proto.

Known limits of the pinned OR-Tools 9.15: MathOpt's HiGHS refuses `threads` and warm starts, and MathOpt's own
wrapper hides every solver error behind an AttributeError, hence the call below it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import cast

import numpy as np
from ortools.math_opt import callback_pb2, model_parameters_pb2, model_pb2, parameters_pb2, result_pb2
from ortools.math_opt.core.python import solver
from pybind11_abseil.status import StatusNotOk

from optimizer.arrays import FloatArray, Model
from optimizer.problem import Stop


class SolverRefused(RuntimeError):
    """The engine rejected the model or broke down; its own words are in the message."""


class NoPlanFound(TimeoutError):
    """Time or nodes ran out before any feasible plan was known."""


class Outcome(StrEnum):
    """How a solve ended."""

    OPTIMAL = "optimal"
    LIMIT = "limit"
    INFEASIBLE = "infeasible"


@dataclass(frozen=True, slots=True)
class Solution:
    """`x` per column; `duals` per row (only for models without integers); empty when infeasible."""

    outcome: Outcome
    x: FloatArray
    duals: FloatArray
    bound: float
    seconds: float


_SLOW_HEURISTICS = ("mip_heuristic_run_rins", "mip_heuristic_run_rens", "mip_heuristic_run_root_reduced_cost")
"""Searches in copies of the problem: on two village days they took four fifths of the time for at most 0.1 %."""

_EMPTY: FloatArray = np.zeros(0)
_REASON = result_pb2.TerminationReasonProto


def run(model: Model, stop: Stop, seed: int) -> Solution:
    """Returns the solution of a MILP or LP; one thread, the same for the same arguments unless time runs out.

    Raises:
        NoPlanFound: a limit was reached before any feasible point.
        SolverRefused: unbounded, numerical breakdown, or a model that the engine does not accept.
    """
    return _solution(_solve(_proto(model), _parameters(stop, seed, integers=bool(model.integer.any()))), model)


def _solve(proto: model_pb2.ModelProto, parameters: parameters_pb2.SolveParametersProto) -> result_pb2.SolveResultProto:
    call = cast("Callable[..., result_pb2.SolveResultProto]", solver.solve)  # pyright: ignore[reportUnknownMemberType]
    try:
        return call(
            proto,
            parameters_pb2.SOLVER_TYPE_HIGHS,
            parameters_pb2.SolverInitializerProto(),
            parameters,
            model_parameters_pb2.ModelSolveParametersProto(),
            None,  # message callback
            callback_pb2.CallbackRegistrationProto(),
            None,  # user callback
            None,  # interrupter
        )
    except StatusNotOk as error:
        raise SolverRefused(f"HiGHS: {error}") from error


def _parameters(stop: Stop, seed: int, *, integers: bool) -> parameters_pb2.SolveParametersProto:
    parameters = parameters_pb2.SolveParametersProto(random_seed=seed, relative_gap_tolerance=stop.gap)
    for heuristic in _SLOW_HEURISTICS:
        parameters.highs.bool_options[heuristic] = False
    if stop.seconds is not None:
        parameters.time_limit.FromTimedelta(timedelta(seconds=stop.seconds))
    if stop.nodes is not None and integers:
        parameters.node_limit = stop.nodes
    return parameters


def _proto(model: Model) -> model_pb2.ModelProto:
    proto = model_pb2.ModelProto()
    count = len(model.cost)
    proto.variables.ids.extend(range(count))
    proto.variables.lower_bounds.extend(model.lower.tolist())
    proto.variables.upper_bounds.extend(model.upper.tolist())
    proto.variables.integers.extend(model.integer.tolist())
    priced = np.flatnonzero(model.cost)
    proto.objective.linear_coefficients.ids.extend(priced.tolist())
    proto.objective.linear_coefficients.values.extend(model.cost[priced].tolist())
    proto.linear_constraints.ids.extend(range(len(model.row_lower)))
    proto.linear_constraints.lower_bounds.extend(model.row_lower.tolist())
    proto.linear_constraints.upper_bounds.extend(model.row_upper.tolist())
    proto.linear_constraint_matrix.row_ids.extend(model.row.tolist())
    proto.linear_constraint_matrix.column_ids.extend(model.column.tolist())
    proto.linear_constraint_matrix.coefficients.extend(model.value.tolist())
    return proto


def _solution(result: result_pb2.SolveResultProto, model: Model) -> Solution:
    reason = result.termination.reason
    seconds = result.solve_stats.solve_time.ToTimedelta().total_seconds()
    if reason == _REASON.TERMINATION_REASON_INFEASIBLE:
        return Solution(Outcome.INFEASIBLE, _EMPTY, _EMPTY, np.inf, seconds)
    if reason == _REASON.TERMINATION_REASON_NO_SOLUTION_FOUND:
        raise NoPlanFound(f"no plan within the limits: {result.termination.detail or 'no feasible point yet'}")
    if reason not in (_REASON.TERMINATION_REASON_OPTIMAL, _REASON.TERMINATION_REASON_FEASIBLE) or not result.solutions:
        raise SolverRefused(f"HiGHS ended with {_REASON.Name(reason)}: {result.termination.detail}")
    outcome = Outcome.OPTIMAL if reason == _REASON.TERMINATION_REASON_OPTIMAL else Outcome.LIMIT
    best = result.solutions[0]
    x = _dense(best.primal_solution.variable_values.ids, best.primal_solution.variable_values.values, len(model.cost))
    dual = best.dual_solution.dual_values
    bound = result.termination.objective_bounds.dual_bound
    return Solution(outcome, x, _dense(dual.ids, dual.values, len(model.row_lower)), bound, seconds)


def _dense(ids: Sequence[int], values: Sequence[float], count: int) -> FloatArray:
    dense = np.zeros(count)
    dense[np.fromiter(ids, dtype=np.int64, count=len(ids))] = np.fromiter(values, dtype=np.float64, count=len(values))
    return dense
