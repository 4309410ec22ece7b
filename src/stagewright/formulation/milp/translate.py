"""From the CP-SAT model to a mixed-integer linear programme with the same solutions.

Whole numbers of a small range stay whole; times and bytes become continuous, measured in units of
the objective's upper bound (the ceiling on the period), so that all columns are of one size. A
constraint that holds only under literals is relaxed by its own largest violation for each literal
that does not hold (big-M, from the bounds of its variables).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ortools.math_opt.python import mathopt

from stagewright.model.errors import DoesNotApply

WIDEST_INTEGER = 10_000
"""Larger ranges are those of times and bytes, which the whole numbers determine."""

UNBOUNDED = 2**62


@dataclass(frozen=True)
class Column:
    """A variable of the CP-SAT model: ``scale`` times the linear programme's."""

    variable: mathopt.Variable
    scale: int
    low: int
    high: int
    whole: bool


Term = tuple[int, int]
"""Variable of the CP-SAT model by index, and its coefficient."""


class Translation:
    """A CP-SAT model as a MathOpt model.

    Parameters
    ----------
    proto
        A ``CpModelProto`` with an objective of one variable.
    objective_unit
        What the objective's upper bound is worth: the linear programme minimises
        ``objective_unit * objective / upper bound``.

    Raises
    ------
    DoesNotApply
        If the model has constraints that are not linear.
    """

    def __init__(self, proto: Any, objective_unit: float) -> None:
        self._proto = proto
        self.model = mathopt.Model(name="stagewright")
        self.rows = 0
        self.columns = self._columns()
        for number, constraint in enumerate(proto.constraints):
            self._add(constraint, f"c{number}")
        goal = self.columns[proto.objective.vars[0]]
        unit = objective_unit * goal.scale / self._largest
        self.model.minimize(unit * goal.variable)

    @cached_property
    def _largest(self) -> int:
        """Upper bound of the objective: the size of a time."""
        return max(1, int(self._proto.variables[self._proto.objective.vars[0]].domain[-1]))

    def _columns(self) -> list[Column]:
        columns: list[Column] = []
        names: set[str] = set()
        for number, variable in enumerate(self._proto.variables):
            low, high = int(variable.domain[0]), int(variable.domain[-1])
            whole = high - low <= WIDEST_INTEGER
            scale = 1 if whole else min(max(abs(low), abs(high)), self._largest)
            name = re.sub(r"[^\w\[\],.]", "_", variable.name) or f"x{number}"
            name = f"{name}_{number}" if name in names else name
            names.add(name)
            added = self.model.add_variable(
                lb=low / scale, ub=high / scale, is_integer=whole, name=name
            )
            columns.append(Column(added, scale, low, high, whole))
        return columns

    def _add(self, constraint: Any, name: str) -> None:
        kind = constraint.WhichOneof("constraint")
        if kind == "linear":
            self._linear(constraint, name)
        elif kind == "bool_or":
            self._clause([*constraint.bool_or.literals, *self._off(constraint)], name)
        elif kind == "bool_and":
            for part, literal in enumerate(constraint.bool_and.literals):
                self._clause([literal, *self._off(constraint)], f"{name}_{part}")
        elif kind in {"at_most_one", "exactly_one"} and not constraint.enforcement_literal:
            terms, offset = self._literals(getattr(constraint, kind).literals)
            least = 1 - offset if kind == "exactly_one" else None
            self._row(terms, least, 1 - offset, name)
        elif kind == "lin_max" and not constraint.enforcement_literal:
            self._or(constraint.lin_max, name)
        else:
            raise DoesNotApply(
                f"the model has a constraint that is not linear ({kind}), such as the shares of "
                "--dispatch proportional"
            )

    @staticmethod
    def _off(constraint: Any) -> list[int]:
        """Negations of the literals under which a constraint holds."""
        return [-literal - 1 for literal in constraint.enforcement_literal]

    @staticmethod
    def _literals(literals: Iterable[int]) -> tuple[list[Term], int]:
        """Σ of literals as terms and a constant; index -i-1 is the negation of i."""
        terms = [(x, 1) if x >= 0 else (-x - 1, -1) for x in literals]
        return terms, sum(1 for _, sign in terms if sign < 0)

    def _clause(self, literals: Iterable[int], name: str) -> None:
        """At least one literal holds."""
        terms, offset = self._literals(literals)
        self._row(terms, 1 - offset, None, name)

    def _or(self, constraint: Any, name: str) -> None:
        """A target x_1 ∨ … ∨ x_n of literals: x_i <= target <= Σ x_i."""
        goal = constraint.target
        parts = [goal, *constraint.exprs]
        plain = all(list(x.coeffs) == [1] and x.offset == 0 for x in parts)
        if not plain or any(self.columns[x.vars[0]].high > 1 for x in parts):
            raise DoesNotApply("the model has a maximum of numbers, which is not linear")
        literals = [x.vars[0] for x in constraint.exprs]
        for part, literal in enumerate(literals):
            self._row([(goal.vars[0], 1), (literal, -1)], 0, None, f"{name}_{part}")
        self._row([*((x, 1) for x in literals), (goal.vars[0], -1)], 0, None, f"{name}_or")

    def _linear(self, constraint: Any, name: str) -> None:
        """A range low <= Σ c x <= high, each side relaxed where a literal does not hold."""
        linear = constraint.linear
        if len(linear.domain) != 2:
            raise DoesNotApply("the model has a constraint with gaps, which is not linear")
        terms = list(zip(linear.vars, linear.coeffs, strict=True))
        low, high = (int(x) for x in linear.domain)
        least, most = self._range(terms)
        off, offset = self._literals(self._off(constraint))
        above, below = most > high and high < UNBOUNDED, least < low and low > -UNBOUNDED
        if not off:
            self._row(terms, low if below else None, high if above else None, name)
            return
        if above:
            slack = most - high
            relaxed = [*terms, *((x, -slack * sign) for x, sign in off)]
            self._row(relaxed, None, high + slack * offset, f"{name}_up")
        if below:
            slack = low - least
            relaxed = [*terms, *((x, slack * sign) for x, sign in off)]
            self._row(relaxed, low - slack * offset, None, f"{name}_low")

    def _range(self, terms: Sequence[Term]) -> tuple[int, int]:
        """Least and largest value of Σ c x within the bounds of its variables."""
        pairs = [
            sorted((factor * self.columns[x].low, factor * self.columns[x].high))
            for x, factor in terms
        ]
        return sum(low for low, _ in pairs), sum(high for _, high in pairs)

    def _row(self, terms: Sequence[Term], low: int | None, high: int | None, name: str) -> None:
        """Add a row; its continuous columns, or else all of them, get coefficients up to 1."""
        if low is None and high is None:
            return
        factors: dict[int, int] = {}
        for x, factor in terms:
            factors[x] = factors.get(x, 0) + factor * self.columns[x].scale
        sizes = [abs(f) for x, f in factors.items() if not self.columns[x].whole]
        unit = max(sizes or [abs(f) for f in factors.values()], default=1) or 1
        row = self.model.add_linear_constraint(
            lb=-float("inf") if low is None else low / unit,
            ub=float("inf") if high is None else high / unit,
            name=name,
        )
        for x, factor in factors.items():
            row.set_coefficient(self.columns[x].variable, factor / unit)
        self.rows += 1

    def values(self, whole: Sequence[int]) -> dict[mathopt.Variable, float]:
        """Values of the linear programme's variables from those of the CP-SAT model."""
        return {
            column.variable: value / column.scale
            for column, value in zip(self.columns, whole, strict=True)
        }
