"""Reasons on the command line: below a plan, in its document, and where there is none."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from stagewright.cli.progress import trying
from stagewright.cli.render import open_console
from stagewright.cli.texts import milliseconds, percent
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.reasons.explanation import Explanation, explain_plan
from stagewright.formulation.reasons.infeasible import explain_infeasible
from stagewright.formulation.reasons.limits import Limits
from stagewright.formulation.reasons.what_if import WhatIf
from stagewright.formulation.reasons.words import (
    change_words,
    cut_sentence,
    infeasible_sentences,
    memory_sentence,
    stage_sentence,
)
from stagewright.formulation.run import NoPlanExists, Planned
from stagewright.model.document import PlanDocument
from stagewright.model.plan import Plan, Status
from stagewright.model.plan_schema import ExplanationDocument, LimitDocument, WhatIfDocument

SHOWN = 4


def explain(planned: Planned, settings: Settings) -> Explanation:
    """Explain a plan, showing on a terminal what is being tried."""
    with trying(settings) as tell:
        return explain_plan(
            planned, settings, lambda change: tell(change_words(planned.problem, change))
        )


def add_reasons(error: NoPlanExists, settings: Settings) -> None:
    """Note on the error why there is no plan, and what would help."""
    with trying(settings) as tell:
        reasons = explain_infeasible(error.problem, error.planner, settings, tell)
    for line in infeasible_sentences(error.problem, reasons):
        error.add_note(_wrapped(line))


def _wrapped(line: str) -> str:
    """Break a line at the width of the terminal; where there is none, lines stay whole."""
    if not sys.stderr.isatty():
        return line
    return textwrap.fill(
        line,
        shutil.get_terminal_size().columns,
        subsequent_indent="  " if line.startswith("- ") else "",
        break_long_words=False,
        break_on_hyphens=False,
    )


def document(planned: Planned, explanation: Explanation | None) -> PlanDocument:
    """Return the plan document, with its explanation if there is one."""
    plain = planned.document()
    if explanation is None:
        return plain
    problem = planned.problem
    told = ExplanationDocument(
        limits=_limits(problem, planned.plan, explanation.limits),
        what_if=[
            WhatIfDocument(
                kind=found.change.kind.value,
                text=change_words(problem, found.change),
                period_s=found.period_s,
                gain=found.gain,
                status=found.status,
                gap=found.gap,
            )
            for found in explanation.what_ifs
        ],
        complete=explanation.complete,
    )
    return plain.model_copy(update={"explanation": told})


def _limits(problem: Problem, plan: Plan, limits: Limits) -> list[LimitDocument]:
    """Every limit with its sentence, in the order in which they are told."""
    stages = [
        LimitDocument(kind=x.cause.value, stage=x.stage, text=stage_sentence(problem, plan, x))
        for x in limits.stages
    ]
    cuts = [
        LimitDocument(kind="transfer", stage=x.stage, text=cut_sentence(problem, x))
        for x in limits.cuts
    ]
    memory = [
        LimitDocument(kind="memory", stage=x.stage, text=memory_sentence(x)) for x in limits.memory
    ]
    return [*stages, *cuts, *memory]


def show(explanation: Explanation) -> None:
    """Print what limits a plan and a table of what would help."""
    planned = explanation.planned
    told = _limits(planned.problem, planned.plan, explanation.limits)
    with open_console() as console:
        console.print("\nWhat limits the period:")
        console.print(_bullets([limit.text for limit in told[:SHOWN]] or ["Nothing takes time."]))
        if len(told) > SHOWN:
            console.print(f"  … and {len(told) - SHOWN} more (--json tells all)")
        if explanation.what_ifs:
            console.print("\nWhat would help most, each planned anew:")
            console.print(_table(planned.problem, explanation.what_ifs))
        if not explanation.complete:
            console.print("[dim]Not everything was tried in the time.[/]")


def _bullets(texts: Sequence[str]) -> Table:
    grid = Table.grid(padding=(0, 1))
    for text in texts:
        grid.add_row("-", escape(text))
    return grid


def _table(problem: Problem, found: tuple[WhatIf, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("change", "period", "shorter by", ""):
        table.add_column(name, justify="left" if name in {"change", ""} else "right")
    for row in found:
        table.add_row(escape(change_words(problem, row.change)), *_figures(row))
    return table


def _figures(row: WhatIf) -> tuple[str, str, str]:
    if row.period_s is None:
        why = "proven" if row.status == Status.INFEASIBLE else "not found in time"
        return "no plan", "", why
    gain = percent(row.gain) if row.gain >= 0 else f"-{percent(-row.gain)}"
    if row.status == Status.OPTIMAL:
        proof = "proven optimal"
    elif row.gap is None:
        proof = "not proven"
    else:
        proof = f"within {percent(row.gap)} of the best"
    return milliseconds(row.period_s), gain, proof
