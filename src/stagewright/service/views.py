"""What callers get, as pydantic models."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sql
from pydantic import BaseModel, ConfigDict

from stagewright.model.evaluate import Evaluation, StageFigures
from stagewright.service.tables import State


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class Problem(_View):
    """What is wrong, and what to do about it."""

    kind: str
    message: str
    place: str | None = None
    hint: str | None = None
    notes: list[str] | None = None


class ErrorView(_View):
    """The body of every answer that is an error."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "kind": "input",
                        "message": "server 'Server0' has no GPUs",
                        "place": "cluster",
                        "hint": "Below it, write indented lines 'GPU COUNT PROFILE'",
                    }
                }
            ]
        }
    )

    error: Problem


class JobView(_View):
    """A job: where it stands, and how good its plan is proven to be so far.

    ``status`` is what is proven once it has ended: ``optimal``, ``feasible``, ``infeasible`` or
    ``unknown``.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0f8f4f0c8f6b4f0f9d7e2a1b3c4d5e6f",
                    "kind": "plan",
                    "state": "running",
                    "name": "minkvgg",
                    "planner": "cpsat",
                    "layers": 52,
                    "gpus": 4,
                    "time_limit_s": 60.0,
                    "attempts": 1,
                    "created_at": "2026-01-31T12:00:00Z",
                    "started_at": "2026-01-31T12:00:01Z",
                    "period_s": 0.1391,
                    "bound_s": 0.1336,
                    "gap": 0.0395,
                    "wall_s": 0.4,
                    "has_plan": True,
                    "cancel_asked": False,
                    "notes": [],
                }
            ]
        }
    )

    id: str
    kind: Literal["plan", "compare"]
    state: State
    status: Literal["optimal", "feasible", "infeasible", "unknown"] | None = None
    name: str
    planner: str
    layers: int
    gpus: int
    time_limit_s: float
    attempts: int
    ahead: int | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    period_s: float | None = None
    bound_s: float | None = None
    gap: float | None = None
    wall_s: float | None = None
    second: str | None = None
    has_plan: bool
    cancel_asked: bool
    notes: list[str]
    error: Problem | None = None


class JobsView(_View):
    """The latest jobs, latest first."""

    jobs: list[JobView]


class StageView(_View):
    """The figures of one stage; seconds per minibatch, bytes per replica."""

    compute_s: float
    sync_s: float
    input_transfer_s: float
    output_transfer_s: float
    time_s: float
    in_flight: int
    activation_bytes: float
    parameter_bytes: float
    memory_bytes: float
    input_bytes: float
    output_bytes: float


class EvaluationView(_View):
    """What the evaluator finds of a plan; its figures count only if it is valid."""

    valid: bool
    violations: list[str]
    period_s: float
    throughput_per_s: float | None
    stages: list[StageView]


class RowView(_View):
    """One planner's answer, or why it has none."""

    planner: str
    period_s: float | None
    claimed_period_s: float | None
    status: str | None
    gap: float | None
    wall_s: float | None
    ratio: float | None
    valid: bool
    remark: str


class ComparisonView(_View):
    """All planners under one evaluator, and proofs that contradict each other (there are none)."""

    rows: list[RowView]
    disagreements: list[str]


class HealthView(_View):
    """Whether the service works."""

    status: str


def job_view(row: sql.Row[Any], ahead: int | None = None) -> JobView:
    """Return what a caller sees of a job."""
    fields = row._asdict()
    del fields["number"], fields["version"]
    times = {key: _time(fields.pop(key)) for key in ("created_at", "started_at", "finished_at")}
    return JobView(**fields, **times, ahead=ahead, gap=gap(row.period_s, row.bound_s))


def gap(period_s: float | None, bound_s: float | None) -> float | None:
    """How far a plan can be from the best one: (period - bound) / period."""
    if period_s is None or bound_s is None:
        return None
    return 0.0 if period_s <= 0 else max(0.0, (period_s - bound_s) / period_s)


def evaluation_view(evaluation: Evaluation) -> EvaluationView:
    """Return what a caller sees of an evaluation."""
    throughput = evaluation.throughput_per_s
    return EvaluationView(
        valid=evaluation.valid,
        violations=[violation.message for violation in evaluation.violations[:100]],
        period_s=evaluation.period_s,
        throughput_per_s=throughput if math.isfinite(throughput) else None,
        stages=[_stage_view(figures) for figures in evaluation.stages],
    )


def _stage_view(figures: StageFigures) -> StageView:
    return StageView(**{name: getattr(figures, name) for name in StageView.model_fields})


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
