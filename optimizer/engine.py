"""The one place that talks to OR-Tools: Model in, values, bound and duals out, HiGHS through a MathOpt proto.

Known limits of the pinned OR-Tools 9.15: MathOpt's HiGHS refuses `threads` and warm starts, MathOpt's own wrapper hides
every solver error behind an AttributeError, hence the call below it, and of some degenerate LPs that HiGHS has solved
MathOpt refuses to hand the answer over ("incompatible basis and dual solution"): these are solved again by GLOP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import cast

import numpy as np
import numpy.typing as npt
from ortools.math_opt import callback_pb2, model_parameters_pb2, model_pb2, parameters_pb2, result_pb2, solution_pb2
from ortools.math_opt.core.python import solver
from pybind11_abseil.status import StatusNotOk

from optimizer.arrays import FloatArray, Model
from optimizer.model_bytes import basis_proto, model_proto
from optimizer.plan import Basis
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
    basis: Basis | None = None  # of an LP


_STATUSES = {
    "f": solution_pb2.BASIS_STATUS_FREE,
    "l": solution_pb2.BASIS_STATUS_AT_LOWER_BOUND,
    "u": solution_pb2.BASIS_STATUS_AT_UPPER_BOUND,
    "x": solution_pb2.BASIS_STATUS_FIXED_VALUE,
    "b": solution_pb2.BASIS_STATUS_BASIC,
}
_LETTERS = np.zeros(max(_STATUSES.values()) + 1, dtype=np.uint8)  # by status
_LETTERS[list(_STATUSES.values())] = [ord(letter) for letter in _STATUSES]
_NUMBERS = np.zeros(128, dtype=np.uint8)  # by letter
_NUMBERS[[ord(letter) for letter in _STATUSES]] = list(_STATUSES.values())

_SLOW_HEURISTICS = ("mip_heuristic_run_root_reduced_cost", "mip_heuristic_run_rins", "mip_heuristic_run_rens")
"""Searches in copies of the problem: on two village days they took four fifths of the time for at most 0.1 %. Where
water plants are decided, the last two find in one node what branching finds in hundreds: 3.4 s a plan for 8.9."""

_PRESOLVED = 12_000
"""Columns from which presolving an LP pays; below, the simplex is done sooner: measured 3,000 columns 8 ms for 12,
10,000 the same, 34,000 a third more."""

EXACT = Stop(seconds=None, gap=0.0, nodes=None)
"""Until the optimum is proven."""

_EMPTY: FloatArray = np.zeros(0)
_REASON = result_pb2.TerminationReasonProto


def run(model: Model, stop: Stop, seed: int, *, thorough: bool = False, plain: bool = False) -> Solution:
    """Returns the solution of a MILP or LP; one thread, the same for the same arguments unless time runs out.

    `thorough` lets HiGHS look for plans in copies of the problem too; `plain` leaves every setting of HiGHS as it comes
    (for comparison).

    Raises:
        NoPlanFound: a limit was reached before any feasible point.
        SolverRefused: unbounded, numerical breakdown, or a model that the engine does not accept.
    """
    parameters = _parameters(stop, seed, model, _SLOW_HEURISTICS[: 1 if thorough else None])
    if plain:
        parameters.highs.Clear()
        parameters.ClearField("presolve")
    proto = model_proto(model)
    try:
        return _solution(_solve(proto, parameters), model)
    except SolverRefused:
        if model.integer.any():
            raise
        other = parameters_pb2.SolveParametersProto()
        if stop.seconds is not None:
            other.time_limit.FromTimedelta(timedelta(seconds=stop.seconds))
        return _solution(_solve(proto, other, parameters_pb2.SOLVER_TYPE_GLOP), model)


def run_warm(model: Model, basis: Basis | None, seed: int, *, wider: bool = False) -> Solution:
    """Returns the solution of an LP: by GLOP from a basis of a like model of the same shape, else as `run` does.

    GLOP is slower than HiGHS from nothing, and two to three times faster from a near basis: that of a model with other
    bounds by the dual simplex, of one whose points are all points of this `wider` one by the primal. Where GLOP breaks
    down HiGHS solves it from nothing.

    Raises:
        NoPlanFound: a limit was reached before any feasible point.
        SolverRefused: unbounded, numerical breakdown, or a model that the engine does not accept.
    """
    if basis is None or (len(basis.columns), len(basis.rows)) != (len(model.cost), len(model.row_lower)):
        return run(model, EXACT, seed)
    start = model_parameters_pb2.ModelSolveParametersProto(
        initial_basis=basis_proto(_statuses(basis.columns), _statuses(basis.rows))
    )
    parameters = parameters_pb2.SolveParametersProto(
        presolve=parameters_pb2.EMPHASIS_OFF,
        lp_algorithm=parameters_pb2.LP_ALGORITHM_PRIMAL_SIMPLEX if wider else parameters_pb2.LP_ALGORITHM_DUAL_SIMPLEX,
    )
    try:
        result = _solve(model_proto(model), parameters, parameters_pb2.SOLVER_TYPE_GLOP, start)
        return _solution(result, model)
    except SolverRefused:  # "abnormal", on one of some thousand islands: HiGHS begins from nothing
        return run(model, EXACT, seed)


def _solve(
    proto: model_pb2.ModelProto,
    parameters: parameters_pb2.SolveParametersProto,
    engine: parameters_pb2.SolverTypeProto.ValueType = parameters_pb2.SOLVER_TYPE_HIGHS,
    start: model_parameters_pb2.ModelSolveParametersProto | None = None,
) -> result_pb2.SolveResultProto:
    call = cast("Callable[..., result_pb2.SolveResultProto]", solver.solve)  # pyright: ignore[reportUnknownMemberType]
    try:
        return call(
            proto,
            engine,
            parameters_pb2.SolverInitializerProto(),
            parameters,
            start or model_parameters_pb2.ModelSolveParametersProto(),
            None,  # message callback
            callback_pb2.CallbackRegistrationProto(),
            None,  # user callback
            None,  # interrupter
        )
    except StatusNotOk as error:
        raise SolverRefused(f"{parameters_pb2.SolverTypeProto.Name(engine)}: {error}") from error


def _parameters(
    stop: Stop, seed: int, model: Model, left_out: Sequence[str] = _SLOW_HEURISTICS
) -> parameters_pb2.SolveParametersProto:
    integers = bool(model.integer.any())
    parameters = parameters_pb2.SolveParametersProto(random_seed=seed, relative_gap_tolerance=stop.gap)
    for heuristic in left_out:
        parameters.highs.bool_options[heuristic] = False
    if stop.seconds is not None:
        parameters.time_limit.FromTimedelta(timedelta(seconds=stop.seconds))
    if stop.worth:
        parameters.absolute_gap_tolerance = stop.worth
    if stop.nodes is not None and integers:
        parameters.node_limit = stop.nodes
    if not integers and len(model.cost) < _PRESOLVED:
        parameters.presolve = parameters_pb2.EMPHASIS_OFF
    return parameters


def _solution(result: result_pb2.SolveResultProto, model: Model) -> Solution:
    reason = result.termination.reason
    seconds = result.solve_stats.solve_time.ToTimedelta().total_seconds()
    if reason == _REASON.TERMINATION_REASON_INFEASIBLE:
        return Solution(Outcome.INFEASIBLE, _EMPTY, _EMPTY, np.inf, seconds)
    if reason == _REASON.TERMINATION_REASON_NO_SOLUTION_FOUND:
        raise NoPlanFound(f"no plan within the limits: {result.termination.detail or 'no feasible point yet'}")
    if reason not in (_REASON.TERMINATION_REASON_OPTIMAL, _REASON.TERMINATION_REASON_FEASIBLE) or not result.solutions:
        raise SolverRefused(f"the engine ended with {_REASON.Name(reason)}: {result.termination.detail}")
    outcome = Outcome.OPTIMAL if reason == _REASON.TERMINATION_REASON_OPTIMAL else Outcome.LIMIT
    best = result.solutions[0]
    x = _dense(best.primal_solution.variable_values.ids, best.primal_solution.variable_values.values, len(model.cost))
    dual = best.dual_solution.dual_values
    bound = result.termination.objective_bounds.dual_bound
    basis = None
    if best.HasField("basis"):
        basis = Basis(_letters(best.basis.variable_status.values), _letters(best.basis.constraint_status.values))
    return Solution(outcome, x, _dense(dual.ids, dual.values, len(model.row_lower)), bound, seconds, basis)


def _statuses(letters: str) -> npt.NDArray[np.uint8]:
    return _NUMBERS[np.frombuffer(letters.encode("ascii"), dtype=np.uint8)]


def _letters(statuses: Sequence[int]) -> str:
    return _LETTERS[np.fromiter(statuses, dtype=np.int64, count=len(statuses))].tobytes().decode("ascii")


def _dense(ids: Sequence[int], values: Sequence[float], count: int) -> FloatArray:
    if len(ids) == count:  # they are sorted
        return np.fromiter(values, dtype=np.float64, count=count)
    dense = np.zeros(count)
    dense[np.fromiter(ids, dtype=np.int64, count=len(ids))] = np.fromiter(values, dtype=np.float64, count=len(values))
    return dense
