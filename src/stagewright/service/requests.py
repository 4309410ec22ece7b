"""What callers send, checked by pydantic."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from stagewright.model.boundary import Bandwidth, Memory
from stagewright.model.cluster_file import ClusterText
from stagewright.model.constraints_file import ConstraintsText
from stagewright.model.costs import Dispatch
from stagewright.model.plan_schema import Count, InstanceDocument, PlanDocument, ReplicasDocument

PROFILE = (
    "node1 -- Linear(64, 256) -- forward_compute_time=2.0, backward_compute_time=4.0, "
    "activation_size=1048576, parameter_size=65536\n"
    "node2 -- Linear(256, 10) -- forward_compute_time=1.0, backward_compute_time=2.0, "
    "activation_size=4096, parameter_size=10240\n"
    "\tnode1 -- node2\n"
)
"""Two layers, for examples."""

PlannerName = Literal[
    "cpsat",
    "milp",
    "exact-dp",
    "linear-dp",
    "pipedream-dp",
    "sparsepipe-dp",
    "data-parallel",
    "single-gpu",
    "equal-split",
]
Name = Annotated[str, Field(min_length=1, max_length=1000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CostModelChoice(_Part):
    """What a stage and a transfer cost."""

    name: Literal["topology", "pipedream", "sparsepipe", "max-load"] = "topology"
    activation_compression_ratio: Bandwidth | None = Field(
        1.0, description="null charges no transfers at all"
    )
    overlap: bool = True
    dispatch: Dispatch = "equal"


class ProblemInTexts(_Part):
    """Profiles and a cluster as their files say it; nothing is read from the server's disk."""

    cluster: ClusterText | str | None = Field(
        None,
        description="The text of a server file or of a cluster.yaml, or the latter as JSON",
    )
    profiles: Annotated[dict[Name, str], Field(min_length=1, max_length=64)] = Field(
        description="Profile texts by the names that the cluster calls them"
    )
    machines: Annotated[list[Count], Field(min_length=1, max_length=8)] | None = Field(
        None,
        description="Instead of a cluster: like GPUs, so many per level, inside out; one profile",
    )
    bandwidths_bytes_per_s: Annotated[list[Bandwidth], Field(max_length=8)] = []
    memory_bytes: Memory | None = None
    cost_model: CostModelChoice = CostModelChoice()
    constraints: ConstraintsText = ConstraintsText()


class ProblemAsInstance(_Part):
    """The ``instance`` of a plan document, and the name of its cost model."""

    instance: InstanceDocument
    cost_model: Literal["topology", "pipedream", "sparsepipe", "max-load"] = "topology"


def _form(value: Any) -> str:
    known = isinstance(value, ProblemAsInstance) or (
        isinstance(value, dict) and "instance" in value
    )
    return "instance" if known else "texts"


ProblemRequest = Annotated[
    Annotated[ProblemInTexts, Tag("texts")] | Annotated[ProblemAsInstance, Tag("instance")],
    Discriminator(_form),
]


class Search(_Part):
    """How long and how hard to search; the service's own limits come on top."""

    time_limit_s: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] = 60.0
    gap: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    workers: Annotated[int, Field(ge=1, le=1024)] = 8
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    tidy: bool = False
    use_fewer_machines: bool = False
    solver: Literal["highs", "scip", "gurobi"] = "highs"


class OwnStage(_Part):
    """A stage of a plan of one's own."""

    nodes: Annotated[list[Name], Field(min_length=1, max_length=100_000)]
    replicas: Annotated[list[ReplicasDocument], Field(min_length=1, max_length=10_000)]
    recompute: bool = False


OwnStages = Annotated[list[OwnStage], Field(min_length=1, max_length=10_000)]

_PROBLEM: dict[str, Any] = {
    "cluster": "Server0\n    TitanV 1 tv.txt\n    TitanXP 1 txp.txt\n",
    "profiles": {"tv.txt": PROFILE, "txp.txt": PROFILE.replace("=2.0", "=3.0")},
    "bandwidths_bytes_per_s": [1e9],
}
_STAGES: list[Any] = [
    {"nodes": ["node1"], "replicas": [{"server": "Server0", "gpu": "TitanV", "count": 1}]},
    {"nodes": ["node2"], "replicas": [{"server": "Server0", "gpu": "TitanXP", "count": 1}]},
]


class PlanRequest(_Part):
    """A planning request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"problem": _PROBLEM, "planner": "cpsat", "search": {"time_limit_s": 30}}]
        }
    )

    problem: ProblemRequest
    planner: PlannerName = "cpsat"
    search: Search = Search()


class _WithOwnPlan(_Part):
    problem: ProblemRequest | None = None
    stages: OwnStages | None = None
    plan: PlanDocument | None = Field(None, description="A plan.json, instead of the other two")

    @property
    def has_own(self) -> bool:
        """Whether it comes with a plan of the caller's own."""
        return self.plan is not None or self.stages is not None


class EvaluateRequest(_WithOwnPlan):
    """A plan of one's own: a problem with stages, or a plan document."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"problem": _PROBLEM, "stages": _STAGES}]}
    )

    @model_validator(mode="after")
    def _complete(self) -> EvaluateRequest:
        both = self.problem is not None and self.stages is not None
        if both == (self.plan is not None) or (self.problem is None) != (self.stages is None):
            raise ValueError("expected either 'problem' and 'stages', or 'plan'")
        return self


class CompareRequest(_WithOwnPlan):
    """A problem, perhaps with a plan of one's own, and the planners to set beside it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "problem": _PROBLEM,
                    "stages": _STAGES,
                    "planners": ["cpsat", "exact-dp", "data-parallel"],
                    "search": {"time_limit_s": 30},
                }
            ]
        }
    )

    planners: Annotated[list[PlannerName], Field(min_length=1, max_length=9)] = [
        "cpsat",
        "exact-dp",
        "linear-dp",
        "data-parallel",
        "single-gpu",
    ]
    search: Search = Search()

    @model_validator(mode="after")
    def _complete(self) -> CompareRequest:
        if (self.problem is None) == (self.plan is None) or (self.plan and self.stages):
            raise ValueError("expected either 'problem', with or without 'stages', or 'plan'")
        return self
