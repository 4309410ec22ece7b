"""Writing and reading the plan document, schema ``stagewright.plan/1``."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import ValidationError

from stagewright.model.boundary import first_error
from stagewright.model.cluster import Cluster, GpuGroup
from stagewright.model.costs import CostModel, Topology, make_cost_model
from stagewright.model.errors import DoesNotApply, InputError, StagewrightError
from stagewright.model.evaluate import Evaluation, evaluate
from stagewright.model.files import read_text
from stagewright.model.graph import Layer, LayerGraph
from stagewright.model.instance import Instance, build_instance
from stagewright.model.placement_document import load_placement, save_placement
from stagewright.model.plan import Certificate, Plan, Stage, assign_ranks
from stagewright.model.plan_schema import (
    SCHEMA,
    BaselinesDocument,
    CertificateDocument,
    ClusterDocument,
    GraphDocument,
    GroupDocument,
    InstanceDocument,
    NodeDocument,
    OptionsDocument,
    PlanDocument,
    ReplicasDocument,
    StageDocument,
    TensorDocument,
)
from stagewright.model.rules import MemoryModel, Rules
from stagewright.model.tensors import TimedTensor

__all__ = [
    "SCHEMA",
    "PlanDocument",
    "check_document",
    "make_document",
    "open_document",
    "open_instance",
    "read_plan",
    "save_instance",
]


def make_document(
    instance: Instance,
    plan: Plan,
    cost_model: CostModel,
    certificate: Certificate,
    baselines: tuple[float | None, float | None],
) -> PlanDocument:
    """Write down a plan; ``baselines`` are the periods of (single GPU, data parallel)."""
    evaluation = evaluate(instance, plan, cost_model)
    if evaluation.violations:
        raise StagewrightError(f"the plan is not valid: {evaluation.violations[0].message}")
    if not math.isfinite(evaluation.period_s):
        raise InputError("the figures are too large: the period is not finite")
    return PlanDocument(
        schema_=SCHEMA,
        name=instance.graph.name,
        cost_model=cost_model.name,
        planner=plan.planner,
        period_s=evaluation.period_s,
        throughput_per_s=_finite(evaluation.throughput_per_s),
        claimed_period_s=plan.claimed_period_s,
        certificate=CertificateDocument(
            status=certificate.status,
            objective_s=certificate.objective_s,
            bound_s=certificate.bound_s,
            gap=certificate.gap,
            wall_s=certificate.wall_s,
            solver=certificate.solver,
        ),
        baselines=BaselinesDocument(single_gpu_s=baselines[0], data_parallel_s=baselines[1]),
        stages=_stages(instance, plan, evaluation),
        instance=save_instance(instance, cost_model),
    )


def save_instance(instance: Instance, cost_model: CostModel) -> InstanceDocument:
    """Write down an instance and the parameters of a cost model."""
    return InstanceDocument(
        graph=_graph(instance),
        cluster=_cluster(instance.cluster),
        options=_options(instance.rules, cost_model, instance.cluster),
        tensors=_tensors(instance),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _stages(instance: Instance, plan: Plan, evaluation: Evaluation) -> list[StageDocument]:
    cluster = instance.cluster
    ranks = assign_ranks(cluster, plan.stages)
    return [
        StageDocument(
            index=k,
            nodes=list(stage.nodes),
            replicas=[
                ReplicasDocument(server=cluster.servers[g.server], gpu=g.gpu, count=n)
                for g, n in zip(cluster.groups, stage.replicas, strict=True)
                if n > 0
            ],
            compute_s=figures.compute_s,
            sync_s=figures.sync_s,
            input_transfer_s=figures.input_transfer_s,
            output_transfer_s=figures.output_transfer_s,
            time_s=figures.time_s,
            memory_bytes=figures.memory_bytes,
            recompute=stage.recompute,
            ranks=list(ranks[k]),
        )
        for k, (stage, figures) in enumerate(zip(plan.stages, evaluation.stages, strict=True))
    ]


def _graph(instance: Instance) -> GraphDocument:
    def times(node: str) -> dict[str, tuple[float, float]]:
        twins = ((gpu, graph.by_id[node]) for gpu, graph in instance.profiles.items())
        return {gpu: (x.forward_ms, x.backward_ms) for gpu, x in twins}

    return GraphDocument(
        name=instance.graph.name,
        nodes=[
            NodeDocument(
                id=x.id,
                description=x.description,
                activation_bytes=list(x.activation_parts_bytes),
                parameter_bytes=x.parameter_bytes,
                time_ms=times(x.id),
            )
            for x in instance.graph.layers
        ],
        edges=list(instance.graph.edges),
    )


def _tensors(instance: Instance) -> list[TensorDocument] | None:
    if instance.tensors is None:
        return None
    return [
        TensorDocument(source=x.source, targets=list(x.targets), transfer_s=x.transfer_s)
        for x in instance.tensors
    ]


def _cluster(cluster: Cluster) -> ClusterDocument:
    return ClusterDocument(
        servers=list(cluster.servers),
        groups=[
            GroupDocument(
                server=cluster.servers[g.server],
                gpu=g.gpu,
                count=g.count,
                memory_bytes=g.memory_bytes,
                price_per_hour=g.price_per_hour,
            )
            for g in cluster.groups
        ],
        bandwidth_bytes_per_s=[list(row) for row in cluster.bandwidth_bytes_per_s],
        latency_s=[list(row) for row in cluster.latency_s],
    )


def _options(rules: Rules, cost_model: CostModel, cluster: Cluster) -> OptionsDocument:
    return OptionsDocument(
        activation_compression_ratio=cost_model.compression_ratio,
        overlap=cost_model.overlap,
        dispatch=cost_model.dispatch if isinstance(cost_model, Topology) else "equal",
        cost_model_version=1,
        use_memory_constraint=rules.use_memory,
        versions=rules.memory.versions,
        optimizer=rules.memory.optimizer,
        use_all=rules.use_all,
        straight_pipeline=rules.straight_pipeline,
        max_stages=rules.max_stages,
        max_replicas=rules.max_replicas,
        max_gpus=rules.max_gpus,
        max_price_per_hour=rules.max_price_per_hour,
        recompute=rules.recompute,
        placement=save_placement(rules.placement, cluster),
    )


def read_plan(path: str | Path) -> tuple[PlanDocument, Instance, Plan, CostModel]:
    """Read ``plan.json`` and check it: a plan that is wrong is refused.

    Raises
    ------
    InputError
        If the file is no plan document, or the plan violates its own instance.
    """
    path = Path(path)
    text = read_text(path, "plan document")
    try:
        document = PlanDocument.model_validate_json(text)
    except ValidationError as error:
        place, message = first_error(error)
        raise InputError(
            f"{place}: {message}" if place else message,
            source=path,
            hint=f"Expected a plan document ({SCHEMA}), as 'stagewright plan -o DIR' writes it",
        ) from None
    try:
        return document, *check_document(document)
    except InputError as error:
        raise InputError(error.message, source=path, hint=error.hint) from None


def check_document(document: PlanDocument) -> tuple[Instance, Plan, CostModel]:
    """Return what a document speaks of: a plan that is wrong is refused.

    Raises
    ------
    InputError
        If the plan violates its own instance, or its ranks are not those of its stages.
    """
    try:
        instance, plan, cost_model = open_document(document)
        evaluation = evaluate(instance, plan, cost_model)
    except DoesNotApply as error:
        raise InputError(str(error)) from None
    if evaluation.violations:
        raise InputError(
            f"the plan is not valid: {evaluation.violations[0].message}",
            hint="Plan again, or correct the stages by hand",
        )
    ranks = assign_ranks(instance.cluster, plan.stages)
    for k, (saved, expected) in enumerate(zip(document.stages, ranks, strict=True)):
        if saved.index != k or tuple(saved.ranks) != expected:
            raise InputError(
                f"stages.{k}: found index {saved.index} and ranks {saved.ranks}, expected "
                f"{k} and {list(expected)}"
            )
    return instance, plan, cost_model


def open_document(document: PlanDocument) -> tuple[Instance, Plan, CostModel]:
    """Return the instance, the plan and the cost model that a document speaks of."""
    instance, cost_model = open_instance(document.instance, document.cost_model)
    stages = tuple(_stage(stage, instance.cluster) for stage in document.stages)
    return instance, Plan(stages, document.planner, document.claimed_period_s), cost_model


def open_instance(saved: InstanceDocument, cost_model_name: str) -> tuple[Instance, CostModel]:
    """Return the instance and the cost model that :func:`save_instance` wrote down.

    Raises
    ------
    InputError
        If they contradict themselves.
    """
    options = saved.options
    servers = {name: s for s, name in enumerate(saved.cluster.servers)}
    for entry in saved.cluster.groups:
        if entry.server not in servers:
            raise InputError(f"a GPU group names '{entry.server}', which is not a server")
    groups = tuple(
        GpuGroup(servers[g.server], g.gpu, g.count, g.memory_bytes, g.price_per_hour)
        for g in saved.cluster.groups
    )
    cluster = Cluster(
        tuple(saved.cluster.servers),
        groups,
        tuple(tuple(row) for row in saved.cluster.bandwidth_bytes_per_s),
        tuple(tuple(row) for row in saved.cluster.latency_s),
    )
    rules = Rules(
        use_memory=options.use_memory_constraint,
        memory=MemoryModel(options.versions, options.optimizer),
        use_all=options.use_all,
        straight_pipeline=options.straight_pipeline,
        max_stages=options.max_stages,
        max_replicas=options.max_replicas,
        max_gpus=options.max_gpus,
        max_price_per_hour=options.max_price_per_hour,
        recompute=options.recompute,
        placement=load_placement(options.placement, cluster),
    )
    profiles = {gpu: _profile(saved.graph, gpu) for gpu in cluster.gpu_types}
    tensors = None
    if saved.tensors is not None:
        tensors = tuple(
            TimedTensor(x.source, tuple(x.targets), x.transfer_s) for x in saved.tensors
        )
    instance = build_instance(profiles, cluster, rules, tensors=tensors)
    cost_model = make_cost_model(
        cost_model_name,
        compression_ratio=options.activation_compression_ratio,
        overlap=options.overlap,
        dispatch=options.dispatch,
    )
    return instance, cost_model


def _profile(graph: GraphDocument, gpu: str) -> LayerGraph:
    layers = []
    for node in graph.nodes:
        if gpu not in node.time_ms:
            raise InputError(f"node '{node.id}' has no time on '{gpu}'")
        if not node.activation_bytes:
            raise InputError(f"node '{node.id}' has no activation size")
        forward, backward = node.time_ms[gpu]
        sizes = tuple(node.activation_bytes)
        layers.append(
            Layer(node.id, node.description, forward, backward, sizes, node.parameter_bytes)
        )
    return LayerGraph(tuple(layers), tuple(graph.edges), graph.name)


def _stage(stage: StageDocument, cluster: Cluster) -> Stage:
    replicas = [0] * len(cluster.groups)
    place = {(cluster.servers[g.server], g.gpu): i for i, g in enumerate(cluster.groups)}
    for entry in stage.replicas:
        if (entry.server, entry.gpu) not in place:
            raise InputError(
                f"stage {stage.index} uses {entry.gpu} in {entry.server}, which the cluster lacks"
            )
        replicas[place[entry.server, entry.gpu]] += entry.count
    return Stage(tuple(stage.nodes), tuple(replicas), stage.recompute)
