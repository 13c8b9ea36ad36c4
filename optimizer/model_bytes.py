"""Models and bases as MathOpt's messages: whole columns at once, as protobuf's wire format has them.

Filling a message value by value cost 2 ms for a village's LP, a fifth of solving it; here a packed field of doubles is
the array's memory, little endian. Field numbers are asked of the message types, so a changed one is noticed.
Source: https://protobuf.dev/programming-guides/encoding/ (varints, length-delimited records).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message
from ortools.math_opt import model_pb2, solution_pb2, sparse_containers_pb2

from optimizer.arrays import Model

_LENGTH_DELIMITED = 2

Column = npt.NDArray[np.float64] | npt.NDArray[np.int64] | npt.NDArray[np.uint8] | npt.NDArray[np.bool_]


def model_proto(model: Model) -> model_pb2.ModelProto:
    """Returns the model as a message."""
    priced = np.flatnonzero(model.cost)
    return model_pb2.ModelProto.FromString(
        _record(
            model_pb2.ModelProto,
            variables=_record(
                model_pb2.VariablesProto,
                ids=_packed(np.arange(len(model.cost))),
                lower_bounds=_packed(model.lower),
                upper_bounds=_packed(model.upper),
                integers=_packed(model.integer),
            ),
            objective=_record(
                model_pb2.ObjectiveProto,
                linear_coefficients=_record(
                    sparse_containers_pb2.SparseDoubleVectorProto,
                    ids=_packed(priced),
                    values=_packed(model.cost[priced]),
                ),
            ),
            linear_constraints=_record(
                model_pb2.LinearConstraintsProto,
                ids=_packed(np.arange(len(model.row_lower))),
                lower_bounds=_packed(model.row_lower),
                upper_bounds=_packed(model.row_upper),
            ),
            linear_constraint_matrix=_record(
                sparse_containers_pb2.SparseDoubleMatrixProto,
                row_ids=_packed(model.row),
                column_ids=_packed(model.column),
                coefficients=_packed(model.value),
            ),
        )
    )


def basis_proto(columns: npt.NDArray[np.uint8], rows: npt.NDArray[np.uint8]) -> solution_pb2.BasisProto:
    """Returns a basis as a message; a `BasisStatusProto` per column and row."""
    return solution_pb2.BasisProto.FromString(
        _record(solution_pb2.BasisProto, variable_status=_statuses(columns), constraint_status=_statuses(rows))
    )


def _statuses(values: npt.NDArray[np.uint8]) -> bytes:
    return _record(solution_pb2.SparseBasisStatusVector, ids=_packed(np.arange(len(values))), values=_packed(values))


def _record(kind: type[Message], **fields: bytes) -> bytes:
    """Returns a message of a kind: each field with its number and length before it."""
    numbers = kind.DESCRIPTOR.fields_by_name
    return b"".join(
        _varints(np.array([numbers[name].number << 3 | _LENGTH_DELIMITED, len(content)])) + content
        for name, content in fields.items()
    )


def _packed(column: Column) -> bytes:
    """Returns what a packed field holds: doubles, bools and small enums are their memory, integers varints."""
    if column.dtype == np.int64:
        return _varints(column.astype(np.int64))
    return column.astype("<f8" if column.dtype == np.float64 else np.uint8).tobytes()


def _varints(numbers: npt.NDArray[np.int64]) -> bytes:
    """Returns numbers from 0 on in groups of seven bits, lowest first, the highest bit set where another follows.

    All are as long as the longest: leading groups of zeros are allowed, and no number has to be looked at by itself.
    """
    groups = -(-int(numbers.max(initial=1)).bit_length() // 7)
    found = np.empty((len(numbers), groups), dtype=np.uint8)
    for place in range(groups):
        found[:, place] = numbers >> 7 * place & 0x7F
    found[:, :-1] |= 0x80
    return found.tobytes()
