"""Why a plan is as fast as it is, and what would help most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stagewright.formulation.problem import Settings
from stagewright.formulation.reasons.changes import Change
from stagewright.formulation.reasons.limits import Limits, find_limits
from stagewright.formulation.reasons.what_if import WhatIf, changes_to_try, what_if
from stagewright.formulation.run import Planned


@dataclass(frozen=True)
class Explanation:
    """What limits a plan, and what changes would do to it.

    Attributes
    ----------
    what_ifs
        Best first.
    complete
        Whether every change was planned; otherwise time was over, or somebody said stop.
    """

    planned: Planned
    limits: Limits
    what_ifs: tuple[WhatIf, ...]
    complete: bool


def explain_plan(
    planned: Planned, settings: Settings, on_step: Callable[[Change], None] | None = None
) -> Explanation:
    """Explain a plan; ``settings`` limit the time for all changes together."""
    limits = find_limits(planned.problem, planned.plan, planned.evaluation)
    found = what_if(planned, settings, on_step)
    complete = len(found) == len(changes_to_try(planned.problem))
    return Explanation(planned, limits, found, complete)
