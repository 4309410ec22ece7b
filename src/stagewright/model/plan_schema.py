"""Schema ``stagewright.plan/1``: the shape of ``plan.json``, checked by pydantic."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from stagewright.model.boundary import (
    Bandwidth,
    Bytes,
    Latency,
    Memory,
    Milliseconds,
    Price,
    Seconds,
)
from stagewright.model.costs import Dispatch
from stagewright.model.plan import Status
from stagewright.model.rules import Optimizer, Recompute, Versions

SCHEMA: Literal["stagewright.plan/1"] = "stagewright.plan/1"

Count = Annotated[int, Field(ge=1, le=10_000_000)]
Index = Annotated[int, Field(ge=0, le=10_000_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CertificateDocument(_Part):
    """How good the plan is proven to be."""

    status: Status
    objective_s: Seconds | None
    bound_s: Seconds | None
    gap: Seconds | None
    wall_s: Seconds
    solver: str


class BaselinesDocument(_Part):
    """Periods of the plans that one would make by hand; null where they do not apply."""

    single_gpu_s: Seconds | None
    data_parallel_s: Seconds | None


class ReplicasDocument(_Part):
    """GPUs of one group that hold a stage."""

    server: str
    gpu: str
    count: Count


class StageDocument(_Part):
    """One stage and its figures, per minibatch and per replica."""

    index: Index
    nodes: list[str]
    replicas: list[ReplicasDocument]
    compute_s: Seconds
    sync_s: Seconds
    input_transfer_s: Seconds
    output_transfer_s: Seconds
    time_s: Seconds
    memory_bytes: Bytes
    recompute: bool = False
    ranks: list[Index]


class NodeDocument(_Part):
    """One layer; ``time_ms`` is (forward, backward) by GPU type."""

    id: str
    description: str
    activation_bytes: list[Bytes]
    parameter_bytes: Bytes
    time_ms: dict[str, tuple[Milliseconds, Milliseconds]]


class GraphDocument(_Part):
    """The layer graph."""

    name: str
    nodes: list[NodeDocument]
    edges: list[tuple[str, str]]


class GroupDocument(_Part):
    """Like GPUs of one server."""

    server: str
    gpu: str
    count: Count
    memory_bytes: Memory | None
    price_per_hour: Price | None = None


class ClusterDocument(_Part):
    """The cluster; matrices are by server, the diagonal inside a server."""

    servers: list[str]
    groups: list[GroupDocument]
    bandwidth_bytes_per_s: list[list[Bandwidth]]
    latency_s: list[list[Latency]]


class PinDocument(_Part):
    """A layer that must lie in one stage."""

    node: str
    stage: Index


class GpusDocument(_Part):
    """One GPU group by its server and type."""

    server: str
    gpu: str


class ForbiddenDocument(_Part):
    """GPU groups that must not hold a layer."""

    node: str
    groups: list[GpusDocument]


class KeptDocument(_Part):
    """A plan that was in use, and how many layers may leave their stage."""

    stages: list[list[str]]
    most_moved: Index


class PlacementDocument(_Part):
    """Demands on single layers."""

    stage: list[PinDocument] = []
    forbidden: list[ForbiddenDocument] = []
    together: list[list[str]] = []
    kept: KeptDocument | None = None


class OptionsDocument(_Part):
    """Parameters of the cost model, and the rules."""

    activation_compression_ratio: Bandwidth | None
    overlap: bool
    dispatch: Dispatch
    cost_model_version: Literal[1]
    use_memory_constraint: bool
    versions: Versions
    optimizer: Optimizer
    use_all: bool
    straight_pipeline: bool
    max_stages: Count | None
    max_replicas: Count | None = None
    max_gpus: Count | None = None
    max_price_per_hour: Price | None = None
    recompute: Recompute = Recompute.NEVER
    placement: PlacementDocument = PlacementDocument()


class TensorDocument(_Part):
    """A tensor between layers whose transfer time is stated."""

    source: str
    targets: list[str]
    transfer_s: Seconds


class InstanceDocument(_Part):
    """Enough to evaluate the plan again."""

    graph: GraphDocument
    cluster: ClusterDocument
    options: OptionsDocument
    tensors: list[TensorDocument] | None = None


class LimitDocument(_Part):
    """What sets the period, or where memory binds; ``stage`` is the earlier one of a transfer."""

    kind: Literal["compute", "layer", "all-reduce", "waiting", "transfer", "memory"]
    stage: Index
    text: str


class WhatIfDocument(_Part):
    """A change, the best period found under it, and the part of the old period that it saves."""

    kind: str
    text: str
    period_s: Seconds | None
    gain: float
    status: Status
    gap: Seconds | None


class ExplanationDocument(_Part):
    """What limits the period, and what would help most, best first."""

    limits: list[LimitDocument]
    what_if: list[WhatIfDocument]
    complete: bool


class SharedCardDocument(_Part):
    """A network card that carries several cuts or all-reduces."""

    name: str
    users: list[str]


class SimulationDocument(_Part):
    """The plan's period as simulated, in seconds per minibatch; docs/simulate.md says how."""

    own_links_s: Seconds
    shared_cards_s: Seconds
    shared_ports_s: Seconds
    slack: Index
    start_up_s: Seconds
    agrees: bool
    simplifications: list[str]
    shared_cards: list[SharedCardDocument]


class PlanDocument(_Part):
    """A plan with its figures, its certificate and the instance it is for."""

    model_config = ConfigDict(populate_by_name=True)

    schema_: Annotated[Literal["stagewright.plan/1"], Field(alias="schema")]
    name: str
    cost_model: str
    planner: str
    period_s: Seconds
    throughput_per_s: Seconds | None
    claimed_period_s: Seconds | None
    certificate: CertificateDocument
    baselines: BaselinesDocument
    stages: Annotated[list[StageDocument], Field(min_length=1)]
    instance: InstanceDocument
    explanation: ExplanationDocument | None = None
    simulation: SimulationDocument | None = None

    def dumps(self) -> str:
        """Return the document as JSON text, the same for the same plan."""
        absent = {x for x in ("explanation", "simulation") if getattr(self, x) is None}
        data = self.model_dump(mode="json", by_alias=True, exclude=absent)
        return json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
