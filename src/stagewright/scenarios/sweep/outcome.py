"""What came out of one cell, and how it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stagewright.formulation.run import Planned, run_planner
from stagewright.model.errors import (
    DoesNotApply,
    InfeasibleError,
    NoPlanFound,
    printable,
)
from stagewright.model.files import write_files
from stagewright.scenarios.sweep.cells import Job

SCHEMA = "stagewright.cell/1"


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GpuShare(_Kept):
    """GPUs of one group that hold a stage."""

    server: str
    gpu: str
    count: int


class StageShape(_Kept):
    """A stage: its layers and its GPUs."""

    nodes: tuple[str, ...]
    replicas: tuple[GpuShare, ...]
    recompute: bool


class Outcome(_Kept):
    """What a cell answered.

    Attributes
    ----------
    status
        As in a certificate, or ``does-not-apply``, or ``failed``: a fault of ours or of the
        machine, which a later run tries again.
    remark
        Why there is no plan, or which rule the plan breaks.
    valid
        Whether there is a plan that breaks no rule.
    """

    status: Literal["optimal", "feasible", "infeasible", "unknown", "does-not-apply", "failed"]
    wall_s: float = 0.0
    period_s: float | None = None
    bound_s: float | None = None
    claimed_period_s: float | None = None
    valid: bool = False
    stages: tuple[StageShape, ...] = ()
    remark: str = ""

    @property
    def gap(self) -> float | None:
        """How far the plan can be from the best, as a fraction of its period."""
        if self.period_s is None or self.bound_s is None:
            return None
        return 0.0 if self.period_s <= 0 else max(0.0, 1 - self.bound_s / self.period_s)

    @property
    def gpus(self) -> int:
        """GPUs in use."""
        return sum(share.count for stage in self.stages for share in stage.replicas)

    @property
    def shape(self) -> str:
        """Stages as their GPUs: ``TitanXP×3 | TitanV×1``, with servers where there are several."""
        several = len({x.server for stage in self.stages for x in stage.replicas}) > 1
        return " | ".join(
            " + ".join(
                f"{x.gpu}×{x.count}" + (f" @{x.server}" if several else "") for x in stage.replicas
            )
            for stage in self.stages
        )


def solve(job: Job) -> Outcome:
    """Run one cell."""
    settings = job.limits.settings()
    try:
        planned = run_planner(job.planner, job.problem, settings)
    except DoesNotApply as error:
        return Outcome(status="does-not-apply", remark=printable(str(error)))
    except InfeasibleError as error:
        return Outcome(status="infeasible", remark=printable(str(error)), wall_s=settings.wall_s)
    except NoPlanFound as error:
        return Outcome(status="unknown", remark=printable(str(error)), wall_s=settings.wall_s)
    return _answered(planned)


def _answered(planned: Planned) -> Outcome:
    certificate, evaluation = planned.certificate, planned.evaluation
    cluster = planned.problem.instance.cluster
    broken = evaluation.violations
    return Outcome(
        status=certificate.status.value,
        wall_s=certificate.wall_s,
        period_s=evaluation.period_s,
        bound_s=certificate.bound_s,
        claimed_period_s=planned.plan.claimed_period_s,
        valid=not broken,
        stages=tuple(
            StageShape(
                nodes=stage.nodes,
                replicas=tuple(
                    GpuShare(server=cluster.servers[g.server], gpu=g.gpu, count=n)
                    for g, n in zip(cluster.groups, stage.replicas, strict=True)
                    if n > 0
                ),
                recompute=stage.recompute,
            )
            for stage in planned.plan.stages
        ),
        remark=printable(f"breaks a rule: {broken[0].message}") if broken else "",
    )


class _File(_Kept):
    schema_: Literal["stagewright.cell/1"] = Field(alias="schema")
    key: str
    outcome: Outcome


class Cells:
    """Finished cells in a folder, one file each, written whole or not at all.

    Parameters
    ----------
    folder
        Made when the first cell is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Outcome | None:
        """Return what a cell answered, or ``None``; a file that is damaged counts as none."""
        try:
            text = (self.folder / f"{key}.json").read_bytes()
            found = _File.model_validate_json(text)
        except (OSError, ValidationError):
            return None
        return found.outcome if found.key == key else None

    def keep(self, key: str, outcome: Outcome) -> None:
        """Write down an answer; a cell that failed is not one."""
        if outcome.status != "failed":
            file = _File(schema=SCHEMA, key=key, outcome=outcome)
            text = file.model_dump_json(by_alias=True, indent=1) + "\n"
            write_files(self.folder, {f"{key}.json": text})
