"""Everything that can be wrong with a plan, apart from what it costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

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
    GPUS = "gpus"
    PRICE = "price"
    RECOMPUTE = "recompute"
    PINNED = "pinned"
    FORBIDDEN = "forbidden"
    APART = "apart"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a plan; ``stage`` is ``None`` if it is the whole plan's."""

    kind: Kind
    stage: int | None
    message: str


def has_gpus(instance: Instance, stage: Stage) -> bool:
    """Whether the replicas can be costed: a count for each group, none negative, one at least."""
    right = len(stage.replicas) == len(instance.cluster.groups)
    return right and min(stage.replicas) >= 0 and stage.replica_count >= 1


def planned_nodes(instance: Instance, stage: Stage) -> list[int]:
    """Positions of the stage's layers that take part in planning."""
    return [instance.index[node] for node in stage.nodes if node in instance.index]


def node_violations(instance: Instance, plan: Plan) -> list[Violation]:
    """Layers that are missing, repeated, unknown or out of order, and stages without layers."""
    found: list[Violation] = []
    placed = Counter(node for stage in plan.stages for node in stage.nodes)
    stage_of: dict[str, int] = {}
    for k, stage in enumerate(plan.stages):
        if not planned_nodes(instance, stage):
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


def replica_violations(instance: Instance, plan: Plan) -> list[Violation]:
    """Stages without GPUs, groups overdrawn or left idle, and replicas in a straight pipeline."""
    found: list[Violation] = []
    cluster, rules = instance.cluster, instance.rules
    for k, stage in enumerate(plan.stages):
        if len(stage.replicas) != len(cluster.groups):
            message = f"stage {k} has {len(stage.replicas)} counts for {len(cluster.groups)} groups"
            found.append(Violation(Kind.REPLICAS, k, message))
        elif not has_gpus(instance, stage):
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
    return found


def limit_violations(instance: Instance, plan: Plan) -> list[Violation]:
    """Limits on counts and price, and the rule on recomputing."""
    found: list[Violation] = []
    rules = instance.rules
    if rules.max_stages is not None and len(plan.stages) > rules.max_stages:
        message = f"{len(plan.stages)} stages, though at most {rules.max_stages} are allowed"
        found.append(Violation(Kind.STAGES, None, message))
    if rules.max_gpus is not None and plan.gpu_count > rules.max_gpus:
        message = f"{plan.gpu_count} GPUs, though at most {rules.max_gpus} are allowed"
        found.append(Violation(Kind.GPUS, None, message))
    limit = rules.max_price_per_hour
    if limit is not None:
        price = sum(
            group.price_per_hour * n
            for stage in plan.stages
            for group, n in zip(instance.cluster.groups, stage.replicas, strict=False)
            if group.price_per_hour is not None
        )
        if price > limit * (1 + 1e-12):
            message = f"{price:g} per hour, though at most {limit:g} is allowed"
            found.append(Violation(Kind.PRICE, None, message))
    for k, stage in enumerate(plan.stages):
        if rules.max_replicas is not None and stage.replica_count > rules.max_replicas:
            message = (
                f"stage {k} has {stage.replica_count} replicas, though at most "
                f"{rules.max_replicas} are allowed"
            )
            found.append(Violation(Kind.REPLICATED, k, message))
        if stage.recompute not in rules.recompute.choices:
            does = "recomputes" if stage.recompute else "does not recompute"
            message = f"stage {k} {does}, though the rule is '{rules.recompute}'"
            found.append(Violation(Kind.RECOMPUTE, k, message))
    return found


def placement_violations(instance: Instance, plan: Plan) -> list[Violation]:
    """Pins, forbidden groups, layers that belong together, and how much of a plan is kept."""
    found: list[Violation] = []
    placement, groups = instance.rules.placement, instance.cluster.groups
    stage_of = plan.stage_of
    for node, wanted in placement.stage:
        k = stage_of.get(node)
        if k is not None and k != wanted:
            message = f"'{node}' is in stage {k}, though pinned to stage {wanted}"
            found.append(Violation(Kind.PINNED, k, message))
    for node, banned in placement.forbidden:
        k = stage_of.get(node)
        if k is None or node not in instance.index:
            continue
        for g in banned:
            if g < len(plan.stages[k].replicas) and plan.stages[k].replicas[g] > 0:
                where = f"{groups[g].gpu} in {instance.cluster.servers[groups[g].server]}"
                message = f"'{node}' is on {where}, where it is forbidden"
                found.append(Violation(Kind.FORBIDDEN, k, message))
    for names in placement.together:
        held = {stage_of[node] for node in names if node in stage_of and node in instance.index}
        if len(held) > 1:
            message = f"{', '.join(names)} belong together but lie in {len(held)} stages"
            found.append(Violation(Kind.APART, None, message))
    if placement.kept is not None:
        new = [[node for node in stage.nodes if node in instance.index] for stage in plan.stages]
        moved = placement.kept.moved(new)
        if moved > placement.kept.most_moved:
            message = f"{moved} layers move, though at most {placement.kept.most_moved} may"
            found.append(Violation(Kind.MOVED, None, message))
    return found
