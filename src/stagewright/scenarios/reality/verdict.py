"""Whether what was measured bears out what was predicted."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

TIE = 0.1
"""Plans whose predicted periods differ by less than this fraction count as equal.

The median of five rounds of one plan moves by some per cent from run to run on a machine with
other users, and the chosen plan's prediction is off by about as much; a smaller difference is not
one that five rounds can tell.
"""


class Kind(StrEnum):
    """What a plan is there for."""

    SINGLE = "single"
    DATA_PARALLEL = "data-parallel"
    CHOSEN = "chosen (cpsat)"
    WORSE = "worse cut"


@dataclass(frozen=True)
class Row:
    """One plan: its stages, seconds per minibatch as predicted, and as measured in each round.

    Attributes
    ----------
    rounds_s
        In one order for all plans: round k of one plan ran right before or after that of another.
    others
        Largest share of its cores that other programs had in a round.
    """

    kind: Kind
    name: str
    predicted_s: float
    rounds_s: tuple[float, ...]
    others: float = 0.0

    @property
    def measured_s(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.rounds_s)

    @property
    def error(self) -> float:
        """How far the prediction is off: predicted / measured - 1."""
        return self.predicted_s / self.measured_s - 1


def ratio(row: Row, other: Row) -> float:
    """Return how many times as long ``row`` takes: the median of the ratios in each round.

    >>> ratio(Row(Kind.CHOSEN, "a", 1, (2.0, 4.0, 6.0)), Row(Kind.SINGLE, "b", 1, (1.0, 1.0, 2.0)))
    3.0
    """
    return statistics.median(x / y for x, y in zip(row.rounds_s, other.rounds_s, strict=True))


@dataclass(frozen=True)
class Verdict:
    """What holds and what does not, in words."""

    holds: tuple[str, ...]
    fails: tuple[str, ...]


def judge(rows: Sequence[Row]) -> Verdict:
    """Judge the measured periods of plans.

    Three things must hold: of two plans whose predicted periods differ by :data:`TIE` or more,
    the one that is predicted to be faster is faster; the chosen plan beats the single GPU; and no
    cut is faster than it.

    Parameters
    ----------
    rows
        All plans, one of them chosen.
    """
    best = next(x for x in rows if x.kind == Kind.CHOSEN)
    statements = [*_order(rows), *(_no_slower(best, x) for x in rows if x.kind == Kind.WORSE)]
    statements += [_beats(best, x) for x in rows if x.kind == Kind.SINGLE]
    return Verdict(
        tuple(text for good, text in statements if good),
        tuple(text for good, text in statements if not good),
    )


def _order(rows: Sequence[Row]) -> Iterator[tuple[bool, str]]:
    """Judge every pair that is not a tie."""
    ranked = sorted(rows, key=lambda x: x.predicted_s)
    for fast, slow in itertools.combinations(ranked, 2):
        if slow.predicted_s >= fast.predicted_s * (1 + TIE):
            found = ratio(slow, fast)
            predicted = slow.predicted_s / fast.predicted_s
            yield (
                found > 1,
                f"{slow.name} takes {found:.2f} times as long as {fast.name}, "
                f"predicted {predicted:.2f}",
            )


def _no_slower(best: Row, cut: Row) -> tuple[bool, str]:
    found = ratio(best, cut)
    return found <= 1, f"{best.name} takes {found:.2f} times as long as {cut.name}, at most 1"


def _beats(best: Row, single: Row) -> tuple[bool, str]:
    found = ratio(best, single)
    return found < 1, f"{best.name} takes {found:.2f} times as long as {single.name}, less than 1"
