"""Where the period comes from: every stage and every cut against the longest of them."""

from __future__ import annotations

from dataclasses import dataclass

from stagewright.report.labels import size
from stagewright.report.page.bars import Bar, longest, stacked
from stagewright.report.page.facts import Facts, gpu_words, percent_words, time_words
from stagewright.report.page.theme import stage_class

COMPUTE, REDUCE, WAIT, TRANSFER = "compute", "reduce", "wait", "transfer"
PART_NAMES = {
    COMPUTE: "compute",
    REDUCE: "all-reduce",
    WAIT: "waiting for transfers",
    TRANSFER: "transfer",
}


@dataclass(frozen=True)
class PeriodRow:
    """One stage, or the cut after it.

    Attributes
    ----------
    stage
        The stage, or the earlier stage of a cut.
    is_cut
        Which of the two it is.
    where
        GPUs of a stage, bytes of a cut.
    parts
        (kind, seconds) of each part; together the row's time.
    limits
        Whether it sets the period.
    """

    stage: int
    is_cut: bool
    where: str
    parts: tuple[tuple[str, float], ...]
    limits: bool

    @property
    def name(self) -> str:
        """What the row is about."""
        return f"Cut {self.stage} → {self.stage + 1}" if self.is_cut else f"Stage {self.stage}"

    @property
    def total_s(self) -> float:
        """Seconds per minibatch."""
        return sum(seconds for _, seconds in self.parts)


@dataclass(frozen=True)
class DrawnPeriodRow:
    """A row with its words and its bar."""

    row: PeriodRow
    css: str
    total: str
    share: str
    parts: str
    bar: Bar


def period_rows(facts: Facts) -> list[PeriodRow]:
    """Return stages and cuts in the order of the pipeline."""
    rows = []
    period, stages = facts.evaluation.period_s, facts.evaluation.stages
    for k, (stage, figures) in enumerate(zip(facts.plan.stages, stages, strict=True)):
        waiting = max(0.0, figures.time_s - figures.compute_s - figures.sync_s)
        if waiting < 1e-9 * figures.time_s:  # what rounding leaves of a difference
            waiting = 0.0
        parts = [(COMPUTE, figures.compute_s), (REDUCE, figures.sync_s), (WAIT, waiting)]
        rows.append(
            PeriodRow(
                stage=k,
                is_cut=False,
                where=gpu_words(facts.cluster, stage.replicas),
                parts=tuple((kind, s) for kind, s in parts if s > 0),
                limits=figures.time_s == period,
            )
        )
        if k + 1 < len(stages) and not facts.cost_model.one_device:
            seconds = max(figures.output_transfer_s, stages[k + 1].input_transfer_s)
            rows.append(
                PeriodRow(
                    stage=k,
                    is_cut=True,
                    where=size(figures.output_bytes),
                    parts=((TRANSFER, seconds),) if seconds > 0 else (),
                    limits=seconds == period,
                )
            )
    return rows


def drawn_period_rows(facts: Facts) -> list[DrawnPeriodRow]:
    """Return the rows with their words and bars, all on one scale."""
    rows = period_rows(facts)
    period = facts.evaluation.period_s
    whole = longest([row.total_s for row in rows])
    return [
        DrawnPeriodRow(
            row=row,
            css=stage_class(row.stage),
            total=time_words(row.total_s),
            share=percent_words(row.total_s / period) if period > 0 else "–",
            parts=_parts(row),
            bar=stacked(row.parts, whole, period if period > 0 else None),
        )
        for row in rows
    ]


def _parts(row: PeriodRow) -> str:
    """The parts in words, where there are several."""
    if len(row.parts) < 2:
        return ""
    return ", ".join(f"{PART_NAMES[kind]} {time_words(s)}" for kind, s in row.parts)


def limit_sentence(facts: Facts) -> str:
    """Say what sets the period."""
    named = [row.name.lower() for row in period_rows(facts) if row.limits]
    if not named or facts.evaluation.period_s <= 0:
        return "Nothing takes time."
    first = named[0]
    for row in period_rows(facts):
        if row.name.lower() == first:
            kind, seconds = max(row.parts, key=lambda part: part[1])
            because = f", mostly {PART_NAMES[kind]} ({time_words(seconds)})"
            break
    also = f", and so do {len(named) - 1} more" if len(named) > 2 else ""
    also = f", and so does {named[1]}" if len(named) == 2 else also
    return f"The longest of them sets the period: {first}{because}{also}."
