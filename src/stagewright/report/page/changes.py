"""What would help, where the plan document says so."""

from __future__ import annotations

from dataclasses import dataclass

from stagewright.model.plan import Status
from stagewright.model.plan_schema import WhatIfDocument
from stagewright.report.page.facts import Facts, percent_words, time_words


@dataclass(frozen=True)
class ChangeRow:
    """One change and the plan found under it, in words."""

    text: str
    period: str
    gain: str
    proof: str


def changed_rows(facts: Facts) -> list[ChangeRow]:
    """Return the changes that were planned anew, best first; none without an explanation."""
    told = facts.document.explanation
    return [] if told is None else [_row(found) for found in told.what_if]


def _row(found: WhatIfDocument) -> ChangeRow:
    if found.period_s is None:
        proof = "proven" if found.status == Status.INFEASIBLE else "not found in time"
        return ChangeRow(found.text, "no plan", "", proof)
    gain = f"{'-' if found.gain < 0 else ''}{percent_words(abs(found.gain))}"
    if found.status == Status.OPTIMAL:
        proof = "proven optimal"
    elif found.gap is None:
        proof = "not proven"
    else:
        proof = f"within {percent_words(found.gap)} of the best"
    return ChangeRow(found.text, time_words(found.period_s), gain, proof)
