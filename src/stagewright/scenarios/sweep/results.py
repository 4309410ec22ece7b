"""The table of a sweep: one row a cell, as CSV and as Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from typing import Any

from stagewright.scenarios.sweep.cells import Cell, Labels
from stagewright.scenarios.sweep.outcome import Outcome
from stagewright.scenarios.sweep.run import Run


@dataclass(frozen=True)
class Row:
    """One cell and what it answered.

    Attributes
    ----------
    inside_bytes_per_s, between_bytes_per_s
        The smallest bandwidth inside a server, and between two (``None`` for one server).
    ratio
        Period over the best valid one of the planners on the same problem.
    shape
        GPUs of each stage.
    wall_s
        Seconds that the planner took, where the cell ran.
    """

    sweep: str
    workload: str
    cluster: str
    constraints: str
    inside_bytes_per_s: float
    between_bytes_per_s: float | None
    memory_bytes: float | None
    cost_model: str
    dispatch: str
    compression_ratio: float | None
    planner: str
    status: str
    period_s: float | None
    throughput_per_s: float | None
    bound_s: float | None
    gap: float | None
    ratio: float | None
    claimed_period_s: float | None
    valid: bool
    stages: int
    gpus: int
    shape: str
    remark: str
    wall_s: float


COLUMNS = tuple(field.name for field in fields(Row))


@dataclass(frozen=True)
class Answered:
    """A finished cell."""

    cell: Cell
    outcome: Outcome
    row: Row

    @property
    def labels(self) -> Labels:
        """Which cell it is."""
        return self.cell.labels


def answered(run: Run) -> list[Answered]:
    """Return the finished cells in the order of the file."""
    found = [
        Answered(cell, outcome, _row(cell, outcome))
        for cell in run.cells
        if (outcome := run.outcomes.get(cell.key)) is not None
    ]
    rated: list[Answered] = []
    for _, same in groupby(found, key=lambda x: (x.labels.sweep, x.cell.problem_key)):
        rated += _with_ratios(list(same))
    return rated


def to_csv(found: Sequence[Answered]) -> str:
    """Return the rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for each in found:
        row = {k: v for k, v in asdict(each.row).items() if v is not None}
        writer.writerow({**row, "valid": str(each.row.valid).lower()})
    return text.getvalue()


def to_parquet(found: Sequence[Answered]) -> bytes:
    """Return the rows as a Parquet file; the columns have the same types in every sweep."""
    import pyarrow as pa  # noqa: PLC0415 - optional
    import pyarrow.parquet as pq  # noqa: PLC0415

    kinds = {"str": pa.string(), "bool": pa.bool_(), "int": pa.int64()}
    schema = pa.schema(
        [
            (x.name, kinds.get(str(x.type).removesuffix(" | None"), pa.float64()))
            for x in fields(Row)
        ]
    )
    table = pa.Table.from_pylist([asdict(each.row) for each in found], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def _row(cell: Cell, outcome: Outcome) -> Row:
    labels = cell.labels
    inside, between = _links(cell)
    period = outcome.period_s
    return Row(
        sweep=labels.sweep,
        workload=labels.workload,
        cluster=labels.cluster,
        constraints=labels.constraints,
        inside_bytes_per_s=inside,
        between_bytes_per_s=between,
        memory_bytes=labels.memory_bytes,
        cost_model=labels.cost_model,
        dispatch=labels.dispatch,
        compression_ratio=labels.compression_ratio,
        planner=labels.planner,
        status=outcome.status,
        period_s=period,
        throughput_per_s=1 / period if period else None,
        bound_s=outcome.bound_s,
        gap=outcome.gap,
        ratio=None,
        claimed_period_s=outcome.claimed_period_s,
        valid=outcome.valid,
        stages=len(outcome.stages),
        gpus=outcome.gpus,
        shape=outcome.shape,
        remark=outcome.remark,
        wall_s=outcome.wall_s,
    )


def _links(cell: Cell) -> tuple[float, float | None]:
    bandwidth: Any = cell.job.problem.instance.cluster.bandwidth
    size = len(bandwidth)
    inside = float(bandwidth.diagonal().min())
    between = [float(bandwidth[s, t]) for s in range(size) for t in range(s)]
    return inside, min(between, default=None)


def _with_ratios(same: list[Answered]) -> list[Answered]:
    """Compare the planners of one problem."""
    periods = [x.row.period_s for x in same if x.row.valid and x.row.period_s is not None]
    best = min(periods, default=0.0)
    if best <= 0:
        return same
    return [
        x if x.row.period_s is None else replace(x, row=replace(x.row, ratio=x.row.period_s / best))
        for x in same
    ]
