"""The evaluator: every figure of a plan, and everything that is wrong with it.

Plain loops over the definitions of DESIGN's cost models. It shares no code with any planner,
so that a mistake in a planner cannot hide here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stagewright.model.costs import CostModel, CutTime
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan, Stage
from stagewright.model.violations import (
    Kind,
    Violation,
    has_gpus,
    limit_violations,
    node_violations,
    placement_violations,
    planned_nodes,
    replica_violations,
)

__all__ = ["Evaluation", "Kind", "StageFigures", "Violation", "evaluate", "over_memory"]


@dataclass(frozen=True, slots=True)
class StageFigures:
    """What one stage costs (seconds per minibatch) and holds (bytes per replica).

    ``time_s`` is compute and all-reduce, the input transfer too where nothing overlaps, and both
    transfers where the cost model has the stage exchange tensors itself.
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
    violations = [
        *node_violations(instance, plan),
        *replica_violations(instance, plan),
        *limit_violations(instance, plan),
        *_one_device_violations(plan, cost_model),
        *placement_violations(instance, plan),
    ]
    figures: list[StageFigures] = []
    cuts = [_cut(instance, plan, cost_model, k) for k in range(len(plan.stages) - 1)]
    for k, stage in enumerate(plan.stages):
        received = cuts[k - 1] if k > 0 else (CutTime(0.0, 0.0), 0.0)
        sent = cuts[k] if k + 1 < len(plan.stages) else (CutTime(0.0, 0.0), 0.0)
        figures.append(_stage(instance, plan, cost_model, k, received, sent))
        violations += _memory_violations(instance, stage, figures[k], k)
    period = max((f.busiest_s for f in figures), default=0.0)
    return Evaluation(period, tuple(figures), tuple(violations))


def _stage(
    instance: Instance,
    plan: Plan,
    cost_model: CostModel,
    k: int,
    received: tuple[CutTime, float],
    sent: tuple[CutTime, float],
) -> StageFigures:
    stage = plan.stages[k]
    nodes = planned_nodes(instance, stage)
    activation = sum(float(instance.activation_bytes[v]) for v in nodes)
    parameters = sum(float(instance.parameter_bytes[v]) for v in nodes)
    compute = sync = math.inf
    exchange = cost_model.exchange(instance, nodes, stage.replicas)
    in_flight = 0
    if has_gpus(instance, stage):
        times = [
            sum(_seconds(instance, group.gpu, v, stage) for v in nodes)
            for group in instance.cluster.groups
        ]
        cost = cost_model.stage(instance.cluster, times, parameters, stage.replicas)
        compute, sync = cost.compute_s, cost.sync_s
        from_here = sum(later.replica_count for later in plan.stages[k:])
        in_flight = instance.rules.memory.in_flight(stage.replica_count, from_here)
    waiting = 0.0 if cost_model.overlap else received[0].received_s
    memory = instance.rules.memory
    if stage.recompute:
        held = memory.recomputed_bytes(activation, parameters, in_flight, received[1])
    else:
        held = memory.stage_bytes(activation, parameters, in_flight)
    return StageFigures(
        compute_s=compute,
        sync_s=sync,
        input_transfer_s=received[0].received_s + exchange.received_s,
        output_transfer_s=sent[0].sent_s + exchange.sent_s,
        time_s=compute + sync + waiting + exchange.received_s + exchange.sent_s,
        in_flight=in_flight,
        activation_bytes=activation,
        parameter_bytes=parameters,
        memory_bytes=held,
        input_bytes=received[1],
        output_bytes=sent[1],
    )


def _seconds(instance: Instance, gpu: str, v: int, stage: Stage) -> float:
    """Forward and backward of node ``v``; a stage that recomputes runs forward twice."""
    both = float(instance.type_time_s[gpu][v])
    return both + float(instance.type_forward_s[gpu][v]) if stage.recompute else both


def _cut(instance: Instance, plan: Plan, cost_model: CostModel, k: int) -> tuple[CutTime, float]:
    """Cost and bytes of the cut after stage ``k``: each early node with a late consumer, once."""
    early = {v for stage in plan.stages[: k + 1] for v in planned_nodes(instance, stage)}
    late = {v for stage in plan.stages[k + 1 :] for v in planned_nodes(instance, stage)}
    crossing = [v for v in early if any(w in late for w in instance.consumers[v])]
    cut_bytes = sum(float(instance.activation_bytes[v]) for v in sorted(crossing))
    here, there = plan.stages[k], plan.stages[k + 1]
    if not (has_gpus(instance, here) and has_gpus(instance, there)):
        return CutTime(math.inf, math.inf), cut_bytes
    time = cost_model.cut(
        instance.cluster, cut_bytes, here.replicas, there.replicas, earlier_is_first=k == 0
    )
    return time, cut_bytes


def _one_device_violations(plan: Plan, cost_model: CostModel) -> list[Violation]:
    if not cost_model.one_device:
        return []
    return [
        Violation(
            Kind.REPLICATED,
            k,
            f"stage {k} has {stage.replica_count} replicas, though under cost model "
            f"'{cost_model.name}' a stage is one device",
        )
        for k, stage in enumerate(plan.stages)
        if stage.replica_count > 1
    ]


def _memory_violations(
    instance: Instance, stage: Stage, figures: StageFigures, k: int
) -> list[Violation]:
    if not instance.rules.use_memory:
        return []
    return [Violation(Kind.MEMORY, k, text) for text in over_memory(instance, stage, figures, k)]


def over_memory(instance: Instance, stage: Stage, figures: StageFigures, k: int) -> Sequence[str]:
    """Say for each GPU type whose memory stage ``k`` exceeds what it needs, and why."""
    memory = instance.rules.memory
    copies, held = (f(figures.in_flight) for f in (memory.weight_copies, memory.activation_copies))
    activations = f"{held} × {figures.activation_bytes / 1e9:.2f} GB of activations"
    if stage.recompute:
        activations = (
            f"{held} × {figures.input_bytes / 1e9:.2f} GB of input, "
            f"{figures.activation_bytes / 1e9:.2f} GB of activations"
        )
    return [
        f"stage {k} needs {figures.memory_bytes / 1e9:.1f} GB on {group.gpu} "
        f"({group.memory_bytes / 1e9:.1f} GB): {copies} × {figures.parameter_bytes / 1e9:.2f} GB "
        f"of parameters, {activations}"
        for group, n in zip(instance.cluster.groups, stage.replicas, strict=False)
        if n > 0 and group.memory_bytes is not None and figures.memory_bytes > group.memory_bytes
    ]
