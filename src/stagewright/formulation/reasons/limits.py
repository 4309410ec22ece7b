"""What keeps the period of a plan from being shorter, and where memory is nearly full."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stagewright.formulation.problem import Problem
from stagewright.model.costs import is_proportional
from stagewright.model.evaluate import Evaluation, StageFigures
from stagewright.model.plan import Plan, Stage

ATTAINS = 1e-6
"""Within this fraction of the period, a stage or a cut sets it."""

NEARLY_FULL = 0.05
"""Within this fraction of a GPU's memory, memory binds."""

MOST = 0.5


class Cause(StrEnum):
    """What takes most of the time of a stage that sets the period."""

    COMPUTE = "compute"
    LAYER = "layer"
    ALL_REDUCE = "all-reduce"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class StageLimit:
    """A stage that takes the whole period.

    Attributes
    ----------
    stage
        Its number.
    cause
        What takes most of its time; ``layer`` is computing that no further cut can divide.
    compute_s, sync_s, waiting_s
        Seconds per minibatch that it computes, all-reduces, and waits for its input.
    parameter_bytes
        What the all-reduce exchanges.
    type_s
        (GPU type, seconds of one whole minibatch on one such GPU), slowest first.
    pace
        The type that the others wait for, or ``None`` if the stage has one type, or replicas
        run at their own pace.
    heaviest, heaviest_share
        The layer that takes longest on the slowest type, and its part of the computing there.
    """

    stage: int
    cause: Cause
    compute_s: float
    sync_s: float
    waiting_s: float
    parameter_bytes: float
    type_s: tuple[tuple[str, float], ...]
    pace: str | None
    heaviest: str
    heaviest_share: float


@dataclass(frozen=True, slots=True)
class CutLimit:
    """A transfer between two stages that takes the whole period.

    Attributes
    ----------
    stage
        The earlier stage.
    transfer_s, cut_bytes
        Seconds per minibatch, both ways, and bytes one way.
    layers
        Layers whose outputs cross, largest first.
    servers
        Names of the servers of both stages, each once; one name is a transfer inside it.
    """

    stage: int
    transfer_s: float
    cut_bytes: float
    layers: tuple[str, ...]
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A stage that nearly fills the GPUs of one type; bytes of one replica."""

    stage: int
    gpu: str
    needed_bytes: float
    memory_bytes: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything that attains the period, and where memory binds; pipeline order."""

    period_s: float
    stages: tuple[StageLimit, ...]
    cuts: tuple[CutLimit, ...]
    memory: tuple[MemoryLimit, ...]


def find_limits(problem: Problem, plan: Plan, evaluation: Evaluation) -> Limits:
    """Find what sets the period of a plan, and where its memory is within 5 % of its limit."""
    period = evaluation.period_s
    reached = period * (1 - ATTAINS)
    stages = [
        _stage_limit(problem, stage, figures, k)
        for k, (stage, figures) in enumerate(zip(plan.stages, evaluation.stages, strict=True))
        if 0 < reached <= figures.time_s
    ]
    transfers = [
        max(before.output_transfer_s, after.input_transfer_s)
        for before, after in zip(evaluation.stages, evaluation.stages[1:], strict=False)
    ]
    cuts = [
        _cut_limit(problem, plan, evaluation, k, seconds)
        for k, seconds in enumerate(transfers)
        if 0 < reached <= seconds
    ]
    return Limits(period, tuple(stages), tuple(cuts), _memory(problem, plan, evaluation))


def _stage_limit(problem: Problem, stage: Stage, figures: StageFigures, k: int) -> StageLimit:
    instance = problem.instance
    types = {
        group.gpu for group, n in zip(instance.cluster.groups, stage.replicas, strict=True) if n > 0
    }
    layers = {gpu: _layer_seconds(problem, stage, gpu) for gpu in sorted(types)}
    totals = sorted(((gpu, sum(t.values())) for gpu, t in layers.items()), key=lambda x: -x[1])
    slowest, total = totals[0]
    heaviest, longest = max(layers[slowest].items(), key=lambda x: x[1])
    share = longest / total if total > 0 else 0.0
    waiting = 0.0 if problem.cost_model.overlap else figures.input_transfer_s
    return StageLimit(
        stage=k,
        cause=_cause(problem, stage, (figures.compute_s, figures.sync_s, waiting), share),
        compute_s=figures.compute_s,
        sync_s=figures.sync_s,
        waiting_s=waiting,
        parameter_bytes=figures.parameter_bytes,
        type_s=tuple(totals),
        pace=slowest if len(types) > 1 and not is_proportional(problem.cost_model) else None,
        heaviest=heaviest,
        heaviest_share=share,
    )


def _layer_seconds(problem: Problem, stage: Stage, gpu: str) -> dict[str, float]:
    """Seconds of each layer of a stage on one GPU; a stage that recomputes runs forward twice."""
    instance = problem.instance
    seconds = instance.type_time_s[gpu] + stage.recompute * instance.type_forward_s[gpu]
    return {x: float(seconds[instance.index[x]]) for x in stage.nodes if x in instance.index}


def _cause(
    problem: Problem, stage: Stage, parts: tuple[float, float, float], heaviest_share: float
) -> Cause:
    compute, sync, waiting = parts
    if compute < max(sync, waiting):
        return Cause.ALL_REDUCE if sync >= waiting else Cause.WAITING
    instance = problem.instance
    alone = sum(node in instance.index for node in stage.nodes) == 1
    most = instance.rules.most_replicas(instance.cluster.gpu_count)
    full = stage.replica_count >= most
    return Cause.LAYER if alone or (full and heaviest_share > MOST) else Cause.COMPUTE


def _cut_limit(
    problem: Problem, plan: Plan, evaluation: Evaluation, k: int, seconds: float
) -> CutLimit:
    instance, stage_of = problem.instance, plan.stage_of
    crossing = {
        u
        for u, w in instance.edges
        if stage_of[instance.nodes[u]] <= k < stage_of[instance.nodes[w]]
    }
    largest = sorted(crossing, key=lambda v: (-float(instance.activation_bytes[v]), v))
    cluster = instance.cluster
    used = [s for stage in plan.stages[k : k + 2] for s in cluster.servers_of(stage.replicas)]
    return CutLimit(
        stage=k,
        transfer_s=seconds,
        cut_bytes=evaluation.stages[k].output_bytes,
        layers=tuple(instance.nodes[v] for v in largest),
        servers=tuple(cluster.servers[s] for s in dict.fromkeys(used)),
    )


def _memory(problem: Problem, plan: Plan, evaluation: Evaluation) -> tuple[MemoryLimit, ...]:
    """Stages within 5 % of the memory of their GPUs, each type once: the one with least memory."""
    found: dict[tuple[int, str], MemoryLimit] = {}
    for k, (stage, figures) in enumerate(zip(plan.stages, evaluation.stages, strict=True)):
        for group, n in zip(problem.instance.cluster.groups, stage.replicas, strict=True):
            memory = group.memory_bytes
            if n == 0 or memory is None or figures.memory_bytes < memory * (1 - NEARLY_FULL):
                continue
            limit = MemoryLimit(k, group.gpu, figures.memory_bytes, memory)
            known = found.get((k, group.gpu), limit)
            found[k, group.gpu] = min(known, limit, key=lambda x: x.memory_bytes)
    return tuple(found.values())
