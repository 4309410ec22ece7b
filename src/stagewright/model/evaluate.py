"""The evaluator: every figure of a plan, and everything that is wrong with it.

Plain loops over the definitions of DESIGN's cost models. It shares no code with any planner,
so that a mistake in a planner cannot hide here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from stagewright.model.costs import CostModel, CutTime
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan, Stage


class Kind(StrEnum):
    """What can be wrong with a plan."""

    MISSING = "missing"
    REPEATED = "repeated"
    UNKNOWN = "unknown"
    EMPTY = "empty"
    NOT_CONVEX = "not-convex"
    INPUT = "input"
    REPLICAS = "replicas"
    MEMORY = "memory"
    IDLE = "idle"
    REPLICATED = "replicated"
    STAGES = "stages"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a plan; ``stage`` is ``None`` if it is the whole plan's."""

    kind: Kind
    stage: int | None
    message: str


@dataclass(frozen=True, slots=True)
class StageFigures:
    """What one stage costs (seconds per minibatch) and holds (bytes per replica).

    ``time_s`` is compute and all-reduce, and the input transfer too where nothing overlaps.
    """

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

    @property
    def busiest_s(self) -> float:
        """The stage's time or its longest transfer, whichever is longer."""
        return max(self.time_s, self.input_transfer_s, self.output_transfer_s)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A plan's period, the figures of each stage, and its violations."""

    period_s: float
    stages: tuple[StageFigures, ...]
    violations: tuple[Violation, ...]

    @property
    def throughput_per_s(self) -> float:
        """Minibatches per second."""
        return math.inf if self.period_s == 0 else 1 / self.period_s

    @property
    def valid(self) -> bool:
        """Whether nothing is wrong with the plan."""
        return not self.violations


def evaluate(instance: Instance, plan: Plan, cost_model: CostModel) -> Evaluation:
    """Work out every figure of ``plan``, and list every violation.

    Parameters
    ----------
    instance
        The problem; its rules are checked too.
    plan
        Any plan, also a wrong one: figures are then given for what can be made of it.
    cost_model
        Under which the plan is to be judged.

    Raises
    ------
    DoesNotApply
        If the cost model is not defined on the instance's cluster.
    """
    cost_model.check(instance.cluster)
    violations = [*_node_violations(instance, plan), *_replica_violations(instance, plan)]
    figures: list[StageFigures] = []
    cuts = [_cut(instance, plan, cost_model, k) for k in range(len(plan.stages) - 1)]
    for k, stage in enumerate(plan.stages):
        received = cuts[k - 1] if k > 0 else (CutTime(0.0, 0.0), 0.0)
        sent = cuts[k] if k + 1 < len(plan.stages) else (CutTime(0.0, 0.0), 0.0)
        figures.append(_stage(instance, plan, cost_model, k, received, sent))
        violations += _memory_violations(instance, stage, figures[k], k)
    period = max((f.busiest_s for f in figures), default=0.0)
    return Evaluation(period, tuple(figures), tuple(violations))


def _has_gpus(instance: Instance, stage: Stage) -> bool:
    """Whether the replicas can be costed: a count for each group, none negative, one at least."""
    right = len(stage.replicas) == len(instance.cluster.groups)
    return right and min(stage.replicas) >= 0 and stage.replica_count >= 1


def _planned(instance: Instance, stage: Stage) -> list[int]:
    return [instance.index[node] for node in stage.nodes if node in instance.index]


def _stage(
    instance: Instance,
    plan: Plan,
    cost_model: CostModel,
    k: int,
    received: tuple[CutTime, float],
    sent: tuple[CutTime, float],
) -> StageFigures:
    stage = plan.stages[k]
    nodes = _planned(instance, stage)
    activation = sum(float(instance.activation_bytes[v]) for v in nodes)
    parameters = sum(float(instance.parameter_bytes[v]) for v in nodes)
    compute = sync = math.inf
    in_flight = 0
    if _has_gpus(instance, stage):
        times = [
            sum(float(instance.type_time_s[group.gpu][v]) for v in nodes)
            for group in instance.cluster.groups
        ]
        cost = cost_model.stage(instance.cluster, times, parameters, stage.replicas)
        compute, sync = cost.compute_s, cost.sync_s
        from_here = sum(later.replica_count for later in plan.stages[k:])
        in_flight = instance.rules.memory.in_flight(stage.replica_count, from_here)
    waiting = 0.0 if cost_model.overlap else received[0].received_s
    return StageFigures(
        compute_s=compute,
        sync_s=sync,
        input_transfer_s=received[0].received_s,
        output_transfer_s=sent[0].sent_s,
        time_s=compute + sync + waiting,
        in_flight=in_flight,
        activation_bytes=activation,
        parameter_bytes=parameters,
        memory_bytes=instance.rules.memory.stage_bytes(activation, parameters, in_flight),
        input_bytes=received[1],
        output_bytes=sent[1],
    )


def _cut(instance: Instance, plan: Plan, cost_model: CostModel, k: int) -> tuple[CutTime, float]:
    """Cost and bytes of the cut after stage ``k``: each early node with a late consumer, once."""
    early = {v for stage in plan.stages[: k + 1] for v in _planned(instance, stage)}
    late = {v for stage in plan.stages[k + 1 :] for v in _planned(instance, stage)}
    crossing = [v for v in early if any(w in late for w in instance.consumers[v])]
    cut_bytes = sum(float(instance.activation_bytes[v]) for v in sorted(crossing))
    here, there = plan.stages[k], plan.stages[k + 1]
    if not (_has_gpus(instance, here) and _has_gpus(instance, there)):
        return CutTime(math.inf, math.inf), cut_bytes
    time = cost_model.cut(
        instance.cluster, cut_bytes, here.replicas, there.replicas, earlier_is_first=k == 0
    )
    return time, cut_bytes


def _node_violations(instance: Instance, plan: Plan) -> list[Violation]:
    found: list[Violation] = []
    placed = Counter(node for stage in plan.stages for node in stage.nodes)
    stage_of: dict[str, int] = {}
    for k, stage in enumerate(plan.stages):
        if not _planned(instance, stage):
            found.append(Violation(Kind.EMPTY, k, f"stage {k} holds no layers"))
        for node in stage.nodes:
            stage_of[node] = k
            if node not in instance.graph.by_id or node in instance.graph.dropped:
                found.append(
                    Violation(Kind.UNKNOWN, k, f"stage {k} names '{node}', which is not a layer")
                )
            if node in instance.graph.inputs and k > 0:
                found.append(
                    Violation(Kind.INPUT, k, f"input '{node}' is in stage {k}, not in stage 0")
                )
    for node, times in placed.items():
        if times > 1:
            found.append(Violation(Kind.REPEATED, None, f"'{node}' is in {times} stages"))
    for node in instance.nodes:
        if node not in placed:
            found.append(Violation(Kind.MISSING, None, f"'{node}' is in no stage"))
    for u, v in instance.edges:
        producer, consumer = instance.nodes[u], instance.nodes[v]
        if producer not in placed or consumer not in placed:
            continue
        k, j = stage_of[producer], stage_of[consumer]
        if k > j:
            found.append(
                Violation(
                    Kind.NOT_CONVEX,
                    k,
                    f"'{consumer}' in stage {j} needs '{producer}', which is in the later stage "
                    f"{k}: the stages are not convex sets in pipeline order",
                )
            )
    return found


def _replica_violations(instance: Instance, plan: Plan) -> list[Violation]:
    found: list[Violation] = []
    cluster, rules = instance.cluster, instance.rules
    for k, stage in enumerate(plan.stages):
        if len(stage.replicas) != len(cluster.groups):
            message = f"stage {k} has {len(stage.replicas)} counts for {len(cluster.groups)} groups"
            found.append(Violation(Kind.REPLICAS, k, message))
        elif not _has_gpus(instance, stage):
            found.append(Violation(Kind.REPLICAS, k, f"stage {k} has no GPU"))
        if rules.straight_pipeline and stage.replica_count > 1:
            message = f"stage {k} has {stage.replica_count} replicas in a straight pipeline"
            found.append(Violation(Kind.REPLICATED, k, message))
    for g, group in enumerate(cluster.groups):
        used = sum(stage.replicas[g] for stage in plan.stages if g < len(stage.replicas))
        where = f"{group.gpu} in {cluster.servers[group.server]}"
        if used > group.count:
            found.append(
                Violation(Kind.REPLICAS, None, f"{used} × {where} in use, of {group.count}")
            )
        if rules.use_all and used < group.count:
            message = f"{group.count - used} × {where} idle, though every GPU is to be used"
            found.append(Violation(Kind.IDLE, None, message))
    if rules.max_stages is not None and len(plan.stages) > rules.max_stages:
        message = f"{len(plan.stages)} stages, though at most {rules.max_stages} are allowed"
        found.append(Violation(Kind.STAGES, None, message))
    return found


def _memory_violations(
    instance: Instance, stage: Stage, figures: StageFigures, k: int
) -> list[Violation]:
    if not instance.rules.use_memory:
        return []
    return [Violation(Kind.MEMORY, k, text) for text in over_memory(instance, stage, figures, k)]


def over_memory(instance: Instance, stage: Stage, figures: StageFigures, k: int) -> Sequence[str]:
    """Say for each GPU type whose memory stage ``k`` exceeds what it needs, and why."""
    copies = instance.rules.memory.weight_copies(figures.in_flight)
    return [
        f"stage {k} needs {figures.memory_bytes / 1e9:.1f} GB on {group.gpu} "
        f"({group.memory_bytes / 1e9:.1f} GB): {copies} × {figures.parameter_bytes / 1e9:.2f} GB "
        f"of parameters, {figures.in_flight} × {figures.activation_bytes / 1e9:.2f} GB of "
        "activations"
        for group, n in zip(instance.cluster.groups, stage.replicas, strict=False)
        if n > 0 and group.memory_bytes is not None and figures.memory_bytes > group.memory_bytes
    ]
