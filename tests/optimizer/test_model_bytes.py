"""Models as bytes are the messages that filling them value by value makes."""

from __future__ import annotations

import numpy as np
from ortools.math_opt import model_pb2, solution_pb2

from optimizer.arrays import Assembly, Model
from optimizer.model_bytes import basis_proto, model_proto


def filled(model: Model) -> model_pb2.ModelProto:
    proto = model_pb2.ModelProto()
    proto.variables.ids.extend(range(len(model.cost)))
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


def some_model(count: int) -> Model:
    """Returns a model with as many columns as rows; with 20,000 its ids take one, two and three bytes."""
    assembly = Assembly()
    first = assembly.columns(count, -1.5, np.inf, np.linspace(-1.0, 1.0, count) * (np.arange(count) % 3 > 0))
    second = assembly.columns(3, 0.0, 1.0, integer=True)
    rows = assembly.rows(count, -np.inf, 1e-9)
    assembly.add(rows, first, np.linspace(0.1, 1e6, count))
    assembly.add(rows[:3], second, [1.0, -2.0, 0.0])
    return assembly.finish()


def test_a_model_as_bytes_is_the_message_that_filling_it_makes() -> None:
    for count in (3, 127, 128, 20_000):
        model = some_model(count)
        assert model_proto(model) == filled(model), count


def test_a_basis_as_bytes_is_the_message_that_filling_it_makes() -> None:
    columns, rows = np.array([1, 2, 3, 4, 5] * 60, dtype=np.uint8), np.array([5, 2], dtype=np.uint8)
    proto = solution_pb2.BasisProto()
    for vector, values in ((proto.variable_status, columns), (proto.constraint_status, rows)):
        vector.ids.extend(range(len(values)))
        vector.values.extend(values.tolist())
    assert basis_proto(columns, rows) == proto
