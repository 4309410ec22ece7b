"""Memory of every kind of GPU that holds a stage, against what the GPU has."""

from __future__ import annotations

from dataclasses import dataclass

from stagewright.report.labels import clean, size
from stagewright.report.page.bars import Bar, longest, stacked
from stagewright.report.page.facts import Facts, count_words, percent_words
from stagewright.report.page.theme import stage_class

WEIGHTS, ACTIVATIONS = "weights", "activations"


@dataclass(frozen=True)
class MemoryRow:
    """One stage on one GPU group.

    Attributes
    ----------
    stage, gpu
        Which GPUs these are: their type, how many, and where.
    parts
        (kind, bytes); together what one GPU holds.
    limit_bytes
        What the GPU has, or ``None`` if nobody said.
    in_flight
        Minibatches whose activations the GPU holds at its peak.
    """

    stage: int
    gpu: str
    parts: tuple[tuple[str, float], ...]
    limit_bytes: float | None
    in_flight: int

    @property
    def total_bytes(self) -> float:
        """Bytes that one GPU holds."""
        return sum(held for _, held in self.parts)

    @property
    def fits(self) -> bool:
        """Whether that is no more than it has."""
        return self.limit_bytes is None or self.total_bytes <= self.limit_bytes


@dataclass(frozen=True)
class DrawnMemoryRow:
    """A row with its words and its bar."""

    row: MemoryRow
    css: str
    total: str
    limit: str
    share: str
    parts: str
    bar: Bar


def memory_rows(facts: Facts) -> list[MemoryRow]:
    """Return stages in pipeline order, and the GPU groups of each."""
    rows = []
    several = len(facts.cluster.servers) > 1
    for k, (stage, figures) in enumerate(
        zip(facts.plan.stages, facts.evaluation.stages, strict=True)
    ):
        copies = facts.instance.rules.memory.weight_copies(figures.in_flight)
        weights = copies * figures.parameter_bytes
        parts = ((WEIGHTS, weights), (ACTIVATIONS, max(0.0, figures.memory_bytes - weights)))
        for group, n in zip(facts.cluster.groups, stage.replicas, strict=True):
            if n > 0:
                at = f" @{clean(facts.cluster.servers[group.server], 40)}" if several else ""
                rows.append(
                    MemoryRow(
                        stage=k,
                        gpu=f"{clean(group.gpu, 40)}×{n}{at}",
                        parts=parts,
                        limit_bytes=group.memory_bytes,
                        in_flight=figures.in_flight,
                    )
                )
    return rows


def drawn_memory_rows(facts: Facts) -> list[DrawnMemoryRow]:
    """Return the rows with their words and bars, all on one scale."""
    rows = memory_rows(facts)
    whole = longest([max(row.total_bytes, row.limit_bytes or 0.0) for row in rows])
    return [
        DrawnMemoryRow(
            row=row,
            css=stage_class(row.stage),
            total=size(row.total_bytes),
            limit="not stated" if row.limit_bytes is None else size(row.limit_bytes),
            share="" if not row.limit_bytes else percent_words(row.total_bytes / row.limit_bytes),
            parts=_parts(facts, row),
            bar=stacked(row.parts, whole, row.limit_bytes),
        )
        for row in rows
    ]


def _parts(facts: Facts, row: MemoryRow) -> str:
    (_, weights), (_, activations) = row.parts
    copies = facts.instance.rules.memory.weight_copies(row.in_flight)
    return (
        f"weights {size(weights)} ({count_words(copies, 'copy', 'copies')}), "
        f"activations {size(activations)} ({row.in_flight} in flight)"
    )


def memory_sentence(facts: Facts) -> str:
    """Say whether everything fits."""
    rows = memory_rows(facts)
    if any(not row.fits for row in rows):
        over = [f"stage {row.stage} on {row.gpu}" for row in rows if not row.fits]
        return f"Too much for {'; '.join(over)}: plan again with --use-memory-constraint."
    stated = [row for row in rows if row.limit_bytes is not None]
    if not stated:
        return "The memory of the GPUs was not stated, so nothing is checked against it."
    fullest = max(stated, key=lambda row: row.total_bytes / (row.limit_bytes or 1.0))
    filled = percent_words(fullest.total_bytes / (fullest.limit_bytes or 1.0))
    return f"Everything fits. Fullest is stage {fullest.stage} on {fullest.gpu}, at {filled}."
