"""What a scenario says must come out, against what came out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stagewright.model.errors import InputError
from stagewright.scenarios.sweep.cells import Cell, Sweep
from stagewright.scenarios.sweep.results import Answered
from stagewright.scenarios.sweep.tables import ExpectTable

AGREEMENT = 1e-6


def check_expectations(sweep: Sweep) -> None:
    """Refuse an expectation that no cell could meet or miss.

    Raises
    ------
    InputError
        With its place in the file.
    """
    for place, expected in enumerate(sweep.table.expect):
        if not any(_picked(expected, cell) for cell in sweep.cells):
            raise InputError(
                f"expect.{place}: no cell has these labels",
                source=sweep.path,
                hint="Its labels are what this file calls its workloads, clusters and so on",
            )


def unmet(sweep: Sweep, found: Sequence[Answered]) -> list[str]:
    """Say in one sentence each what did not come out as expected; failed cells are told apart."""
    own = [x for x in found if x.labels.sweep == sweep.path.stem and x.row.status != "failed"]
    return [
        f"{_name(each.cell)}: {text}"
        for expected in sweep.table.expect
        for each in own
        if _picked(expected, each.cell)
        for text in _misses(expected, each)
    ]


def _picked(expected: ExpectTable, cell: Cell) -> bool:
    labels, links = cell.labels, expected.bandwidths_bytes_per_s
    return all(
        wanted is None or wanted == has
        for wanted, has in (
            (expected.workload, labels.workload),
            (expected.cluster, labels.cluster),
            (expected.constraints, labels.constraints),
            (None if links is None else tuple(links), labels.bandwidths_bytes_per_s),
            (expected.memory_bytes, labels.memory_bytes),
            (expected.planner, labels.planner),
        )
    )


def _misses(expected: ExpectTable, each: Answered) -> Iterator[str]:
    row = each.row
    if expected.status is not None and row.status != expected.status:
        yield f"status is {row.status}, expected {expected.status}"
    if expected.stages is not None and row.stages != expected.stages:
        yield f"{row.stages} stages, expected {expected.stages}"
    if expected.gpus is not None and row.gpus != expected.gpus:
        yield f"{row.gpus} GPUs in use, expected {expected.gpus}"
    period = row.period_s if row.valid else None
    if expected.period_s is not None and (
        period is None or abs(period - expected.period_s) > AGREEMENT * expected.period_s
    ):
        yield f"the period is {_seconds(period)}, expected {expected.period_s:.9g} s"
    if expected.at_most_s is not None and (
        period is None or period > expected.at_most_s * (1 + AGREEMENT)
    ):
        yield f"the period is {_seconds(period)}, expected at most {expected.at_most_s:.9g} s"


def _seconds(value: float | None) -> str:
    return "not there" if value is None else f"{value:.9g} s"


def _name(cell: Cell) -> str:
    labels = cell.labels
    words = (labels.sweep, labels.workload, labels.cluster, labels.constraints, labels.planner)
    links = " ".join(f"{x:g}" for x in labels.bandwidths_bytes_per_s)
    return ", ".join(word for word in (*words, links) if word)
