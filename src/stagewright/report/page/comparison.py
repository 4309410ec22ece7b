"""The plan beside the plans of others, under one evaluator."""

from __future__ import annotations

from dataclasses import dataclass

from stagewright.model.plan import Status
from stagewright.report.labels import clean, figure
from stagewright.report.page.bars import Bar, longest, stacked
from stagewright.report.page.facts import Facts, gpu_words, time_words

THIS, OTHER, BOUND = "this", "other", "bound"
MOST_WORDS = 160


@dataclass(frozen=True)
class ComparisonRow:
    """A plan, or the bound that no plan can beat.

    Attributes
    ----------
    kind
        :data:`THIS`, :data:`OTHER` or :data:`BOUND`.
    period_s
        ``None`` where there is no plan.
    remark
        GPUs of the stages, or why there is no plan.
    """

    kind: str
    name: str
    period_s: float | None
    claimed_period_s: float | None
    remark: str


@dataclass(frozen=True)
class DrawnComparisonRow:
    """A row with its words and its bar."""

    row: ComparisonRow
    period: str
    claimed: str
    ratio: str
    bar: Bar


def comparison_rows(facts: Facts) -> list[ComparisonRow]:
    """Return the bound, this plan and the others: the fastest first, those without a plan last."""
    document, period = facts.document, facts.evaluation.period_s
    rows = []
    bound = document.certificate.bound_s
    if bound is not None and document.certificate.status != Status.OPTIMAL:
        rows.append(
            ComparisonRow(BOUND, "proven bound", bound, None, "no plan has a shorter period")
        )
    stages = " | ".join(gpu_words(facts.cluster, stage.replicas) for stage in facts.plan.stages)
    claimed = document.claimed_period_s
    name = f"this plan ({clean(facts.plan.planner, 40)})"
    rows.append(ComparisonRow(THIS, name, period, claimed, stages))
    others = list(facts.others)
    named = {other.planner for other in others}
    rows += [
        ComparisonRow(OTHER, clean(x.planner, 40), x.period_s, x.claimed_period_s, x.gpus)
        for x in sorted(others, key=lambda x: (x.period_s is None, x.period_s or 0.0))
    ]
    for planner, seconds in (
        ("single-gpu", document.baselines.single_gpu_s),
        ("data-parallel", document.baselines.data_parallel_s),
    ):
        if seconds is not None and planner not in named:
            rows.append(ComparisonRow(OTHER, planner, seconds, None, ""))
    return rows


def drawn_comparison_rows(facts: Facts) -> list[DrawnComparisonRow]:
    """Return the rows with their words and bars, all on one scale."""
    rows = comparison_rows(facts)
    this = facts.evaluation.period_s
    whole = longest([row.period_s or 0.0 for row in rows])
    drawn = []
    for row in rows:
        period, claimed = row.period_s, row.claimed_period_s
        drawn.append(
            DrawnComparisonRow(
                row=row,
                period="no plan" if period is None else time_words(period),
                claimed="" if claimed is None else time_words(claimed),
                ratio="" if period is None or this <= 0 else f"{figure(period / this, 3)} ×",
                bar=stacked([(row.kind, period or 0.0)], whole),
            )
        )
    return drawn


def speed_words(facts: Facts) -> list[tuple[str, str]]:
    """Return how many times as fast as the plans that one would make by hand it is."""
    found = []
    baselines, period = facts.document.baselines, facts.evaluation.period_s
    for words, seconds in (
        ("the best single GPU", baselines.single_gpu_s),
        ("data parallelism", baselines.data_parallel_s),
    ):
        if seconds is not None and period > 0:
            found.append((f"{figure(seconds / period, 3)} ×", words))
    return found
