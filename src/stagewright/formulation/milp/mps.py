"""Free MPS with every digit.

OR-Tools writes MPS too, but with six digits: too few for big-M rows, whose rounding can cut off
every solution.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

OBJECTIVE = "period_s"


def to_mps(proto: Any) -> str:
    """Return a minimisation as free MPS.

    Parameters
    ----------
    proto
        MathOpt's ``ModelProto`` of a mixed-integer linear programme.
    """
    return "\n".join(_lines(proto)) + "\n"


def _lines(proto: Any) -> Iterator[str]:
    rows = proto.linear_constraints
    names = [f"r{i}" for i in range(len(rows.ids))]
    bounds = list(zip(names, rows.lower_bounds, rows.upper_bounds, strict=True))
    yield "NAME stagewright"
    yield "ROWS"
    yield f" N {OBJECTIVE}"
    for name, low, high in bounds:
        yield f" {_sense(low, high)} {name}"
    yield from _columns(proto, dict(zip(rows.ids, names, strict=True)))
    yield "RHS"
    for name, low, high in bounds:
        side = high if _sense(low, high) == "L" else low
        if side and math.isfinite(side):
            yield f" RHS {name} {side!r}"
    ranges = [(name, high - low) for name, low, high in bounds if _is_range(low, high)]
    if ranges:
        yield "RANGES"
        for name, width in ranges:
            yield f" RANGE {name} {width!r}"
    yield "BOUNDS"
    columns = proto.variables
    for column, low, high in zip(
        columns.ids, columns.lower_bounds, columns.upper_bounds, strict=True
    ):
        yield f" LO BOUND x{column} {low!r}" if math.isfinite(low) else f" MI BOUND x{column}"
        yield f" UP BOUND x{column} {high!r}" if math.isfinite(high) else f" PL BOUND x{column}"
    yield "ENDATA"


def _sense(low: float, high: float) -> str:
    """E, L, G, or N for a row without bounds; a range is a G row."""
    if low == high:
        return "E"
    if math.isfinite(low):
        return "G"
    return "L" if math.isfinite(high) else "N"


def _is_range(low: float, high: float) -> bool:
    return low != high and math.isfinite(low) and math.isfinite(high)


def _columns(proto: Any, row_names: dict[int, str]) -> Iterator[str]:
    """Every column with its entries, whole ones between markers."""
    entries: dict[int, list[tuple[str, float]]] = defaultdict(list)
    goal = proto.objective.linear_coefficients
    for column, value in zip(goal.ids, goal.values, strict=True):
        entries[column].append((OBJECTIVE, value))
    matrix = proto.linear_constraint_matrix
    for row, column, value in zip(
        matrix.row_ids, matrix.column_ids, matrix.coefficients, strict=True
    ):
        entries[column].append((row_names[row], value))
    yield "COLUMNS"
    whole = False
    for column, integer in zip(proto.variables.ids, proto.variables.integers, strict=True):
        if integer != whole:
            whole = integer
            yield f" MARKER 'MARKER' '{'INTORG' if whole else 'INTEND'}'"
        for row, value in entries[column] or [(OBJECTIVE, 0.0)]:
            yield f" x{column} {row} {value!r}"
    if whole:
        yield " MARKER 'MARKER' 'INTEND'"
