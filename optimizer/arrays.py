"""A linear model as numpy columns: domains add variables, rows and coefficients, one engine solves it.

Coefficients are collected as COO arrays and handed to the engine whole: building the same model expression
by expression costs 100 to 300 times more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from optimizer.problem import AssetId

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Model:
    """minimise cost @ x subject to row_lower <= A x <= row_upper, lower <= x <= upper.

    A is given by (row, column, value), sorted by row then column and without duplicates.
    """

    cost: FloatArray
    lower: FloatArray
    upper: FloatArray
    integer: BoolArray
    row_lower: FloatArray
    row_upper: FloatArray
    row: IntArray
    column: IntArray
    value: FloatArray


@dataclass(slots=True)
class Assembly:
    """Collects a model piece by piece. Owned by one call of `formulate`."""

    columns_count: int = 0
    rows_count: int = 0
    _columns: list[tuple[FloatArray, FloatArray, FloatArray, BoolArray]] = field(default_factory=list)
    _rows: list[tuple[FloatArray, FloatArray]] = field(default_factory=list)
    _entries: list[tuple[IntArray, IntArray, FloatArray]] = field(default_factory=list)

    def columns(
        self,
        count: int,
        lower: npt.ArrayLike = 0.0,
        upper: npt.ArrayLike = np.inf,
        cost: npt.ArrayLike = 0.0,
        *,
        integer: bool = False,
    ) -> IntArray:
        """Returns the indices of `count` new variables."""
        self._columns.append(
            (_full(lower, count), _full(upper, count), _full(cost, count), np.full(count, integer, dtype=np.bool_))
        )
        start = self.columns_count
        self.columns_count += count
        return np.arange(start, self.columns_count, dtype=np.int64)

    def rows(self, count: int, lower: npt.ArrayLike = -np.inf, upper: npt.ArrayLike = np.inf) -> IntArray:
        """Returns the indices of `count` new rows lower <= A x <= upper."""
        self._rows.append((_full(lower, count), _full(upper, count)))
        start = self.rows_count
        self.rows_count += count
        return np.arange(start, self.rows_count, dtype=np.int64)

    def add(self, rows: IntArray, columns: IntArray, values: npt.ArrayLike) -> None:
        """Adds values[i] at (rows[i], columns[i]); repeated places add up."""
        self._entries.append((rows, columns, _full(values, len(rows))))

    def finish(self) -> Model:
        """Returns the whole model, coefficients sorted and merged."""
        row = np.concatenate([entry[0] for entry in self._entries])
        column = np.concatenate([entry[1] for entry in self._entries])
        value = np.concatenate([entry[2] for entry in self._entries])
        row, column, value = _merged(row, column, value, self.columns_count)
        return Model(
            cost=np.concatenate([c[2] for c in self._columns]),
            lower=np.concatenate([c[0] for c in self._columns]),
            upper=np.concatenate([c[1] for c in self._columns]),
            integer=np.concatenate([c[3] for c in self._columns]),
            row_lower=np.concatenate([r[0] for r in self._rows]),
            row_upper=np.concatenate([r[1] for r in self._rows]),
            row=row,
            column=column,
            value=value,
        )


@dataclass(frozen=True, slots=True)
class Coupling:
    """The rows that every domain adds to.

    `balance[t]` [kW]: supply less consumption by assets = load - pv, so its dual is the marginal price of load.
    `tanks[id][t]` [kL]: inflow and what is not served, less what is taken and the rise = demand.
    """

    balance: IntArray
    tanks: dict[AssetId, IntArray]
    wells: dict[AssetId, IntArray] = field(default_factory=dict)  # [kL]: what is taken, less what flows in
    limits: dict[AssetId, IntArray] = field(default_factory=dict)  # one row: what is taken of a well in all


def _full(values: npt.ArrayLike, count: int) -> FloatArray:
    if isinstance(values, float):
        return np.full(count, values)
    return np.array(np.broadcast_to(np.asarray(values, dtype=np.float64), (count,)))


def _merged(row: IntArray, column: IntArray, value: FloatArray, width: int) -> tuple[IntArray, IntArray, FloatArray]:
    key, inverse = np.unique(row * width + column, return_inverse=True)
    summed = np.zeros(len(key))
    np.add.at(summed, inverse, value)
    kept = summed != 0.0
    return key[kept] // width, key[kept] % width, summed[kept]
