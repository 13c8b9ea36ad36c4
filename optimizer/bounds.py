"""Lower bounds on what any plan can cost: of the linear relaxation, by its optimum or by weak duality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer import engine
from optimizer.arrays import FloatArray, Model
from optimizer.engine import Outcome, SolverRefused
from optimizer.formulation import relaxed
from optimizer.plan import Basis

_NO_PRICE = 1e-7
"""Reduced costs this far on the wrong side are the solver's tolerance, not a way to earn without end."""


_LOOSE = 0.1
"""Of the cost: prices of before whose bound is further below it are of another day; the relaxation is solved again."""


@dataclass(frozen=True, slots=True)
class Proof:
    """No plan of a problem costs less than `bound`; `prices`, one per row of its model, show it (`dual_bound`)."""

    bound: float
    prices: FloatArray


def proof(model: Model, cost: float, before: FloatArray | None, kept: Basis | None, seed: int) -> Proof:
    """Returns the bound of a model's relaxation, which has a point.

    Row prices do not depend on what loads, sun and charges are, so those of the last relaxation (`before`, None: of
    other slots) mostly prove as much of a new forecast as its own, for nothing. `kept` is the basis of the same model
    with some columns held, from which the relaxation is near.

    Raises:
        NoPlanFound: a limit was reached.
        SolverRefused: the engine broke down.
    """
    if before is not None and len(before) == len(model.row_lower):
        bound = dual_bound(model, before)
        if cost - bound <= _LOOSE * max(abs(cost), 1.0):
            return Proof(bound, before)
    relaxation = engine.run_warm(relaxed(model), kept, seed, wider=True)
    if relaxation.outcome is not Outcome.OPTIMAL:
        raise SolverRefused(f"the relaxation of a problem that has a plan is {relaxation.outcome}")
    return Proof(float(model.cost @ relaxation.x), relaxation.duals)


def dual_bound(model: Model, duals: FloatArray) -> float:
    """Returns a cost that no point of the model's relaxation undercuts, from any row prices: weak duality.

    Each row's price is paid at the row's cheaper end and each column stands at the end where it costs least. It is
    minus infinity where the prices would let an unbounded column earn.
    """
    reduced = model.cost - np.bincount(model.column, model.value * duals[model.row], minlength=len(model.cost))
    return _least(duals, model.row_lower, model.row_upper) + _least(reduced, model.lower, model.upper)


def _least(price: FloatArray, lower: FloatArray, upper: FloatArray) -> float:
    """Returns the least of sum price x value with every value between its ends."""
    end = np.where(price > 0.0, lower, upper)
    free = np.isinf(end)
    if (np.abs(price[free]) > _NO_PRICE).any():
        return -np.inf
    return float(price[~free] @ end[~free])
