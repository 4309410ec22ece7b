"""What would make a plan faster: changed problems, each planned anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.reasons.changes import (
    Change,
    memory_lifted,
    more_bandwidth,
    one_more_gpu,
    recompute_auto,
)
from stagewright.formulation.reasons.trials import Trial, Trials
from stagewright.formulation.run import Planned
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Status

MORE_BANDWIDTH = 2.0

PROVEN_GAP = 1e-6


@dataclass(frozen=True)
class WhatIf:
    """What one change does to the period.

    Attributes
    ----------
    period_s
        Period of the best plan found for the changed problem; ``None`` if there is none.
    gain
        Part of the old period that is saved; below 0 if the change costs time.
    status, gap
        What is proven of the new period, as in a certificate.
    """

    change: Change
    period_s: float | None
    gain: float
    status: Status
    gap: float | None


def changes_to_try(problem: Problem) -> tuple[Change, ...]:
    """One more GPU of each kind, twice the bandwidth, memory lifted or spent less."""
    rules = problem.instance.rules
    single = problem.instance.cluster.gpu_count == 1
    return (
        *one_more_gpu(problem),
        *(() if single else (more_bandwidth(problem, MORE_BANDWIDTH),)),
        *((memory_lifted(problem),) if rules.use_memory else ()),
        *recompute_auto(problem),
    )


def what_if(
    planned: Planned, settings: Settings, on_step: Callable[[Change], None] | None = None
) -> tuple[WhatIf, ...]:
    """Plan every change anew and return them by gain, best first.

    Each change gets an equal share of the time that is left; those that are never begun, because
    time is over or ``settings.stop`` is set, are left out. The planner is the one that proved
    the plan.
    """
    trials = Trials(planned.certificate.solver, settings.started())
    changes = changes_to_try(planned.problem)
    found = []
    for done, change in enumerate(changes):
        if trials.over:
            break
        if on_step is not None:
            on_step(change)
        trial = trials.best(change.problem, len(changes) - done)
        found.append(_judge(planned, change, trial))
    return tuple(sorted(found, key=lambda x: (x.period_s is None, -x.gain)))


def _judge(planned: Planned, change: Change, trial: Trial) -> WhatIf:
    """Take the old plan where it is allowed and the new one is worse or was not found in time."""
    old = evaluate(change.problem.instance, planned.plan, change.problem.cost_model)
    periods = [old.period_s] if old.valid else []
    if trial.planned is not None:
        periods.append(trial.planned.evaluation.period_s)
    if not periods:
        status = Status.INFEASIBLE if trial.excluded else Status.UNKNOWN
        return WhatIf(change, None, 0.0, status, None)
    period = min(periods)
    bound = None if trial.planned is None else trial.planned.certificate.bound_s
    gap = None if bound is None or period <= 0 else max(0.0, 1 - bound / period)
    before = planned.evaluation.period_s
    gain = 1 - period / before if before > 0 else 0.0
    proven = trial.planned is not None and trial.planned.certificate.status == Status.OPTIMAL
    status = Status.OPTIMAL if proven and (gap or 0.0) <= PROVEN_GAP else Status.FEASIBLE
    return WhatIf(change, period, gain, status, gap)
