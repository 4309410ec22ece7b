"""Random demands on small instances, and the best plan under them by trying every plan.

``from demands import FAMILIES, best_of_all, problem_with``. Each family draws the demands that
one kind of rule can make; the evaluator alone decides which plans keep them.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterator

from brute_force import every_plan
from builders import layer
from stagewright.formulation.problem import Problem
from stagewright.model.cluster import Cluster, GpuGroup
from stagewright.model.costs import CostModel, SparsePipe, Topology
from stagewright.model.evaluate import evaluate
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import Instance, build_instance
from stagewright.model.placement import Kept, Placement
from stagewright.model.plan import Plan
from stagewright.model.rules import MemoryModel, Optimizer, Recompute, Rules, Versions

COSTS: tuple[CostModel, ...] = (
    Topology(),
    Topology(compression_ratio=None),
    Topology(overlap=False),
    SparsePipe(),
)


def random_instance(rng: random.Random, servers: int = 2) -> Instance:
    """Four or five layers on three GPUs of two types, with prices and memory."""
    size = rng.choice([4, 4, 5])
    names = [f"n{i}" for i in range(size)]
    pairs = [
        (names[u], names[v])
        for u, v in itertools.combinations(range(size), 2)
        if rng.random() < 0.5
    ]
    layers = [
        layer(
            x,
            float(rng.randint(0, 300)),
            float(rng.randint(0, 600)),
            float(rng.randint(0, 1000)),
            float(rng.randint(0, 1000)),
        )
        for x in names
    ]
    if rng.random() < 0.3:
        layers.append(layer("data", 5.0, 0.0, 1e6, 0.0, "Input0"))
        pairs.append(("data", names[0]))
    graph = LayerGraph(tuple(layers), tuple(pairs))
    slower = dataclasses.replace(
        graph,
        layers=tuple(
            dataclasses.replace(x, forward_ms=x.forward_ms * rng.choice([1, 2, 5]))
            for x in graph.layers
        ),
    )
    whole = sum(x.activation_bytes + 2 * x.parameter_bytes for x in graph.layers if x.id != "data")
    groups = []
    for s in range(servers):
        types = ["A", "B"] if servers == 1 else ["A" if s == 0 else "B"]
        for gpu in types:
            memory = max(1.0, float(whole * rng.choice([0.6, 1, 2, 3])))
            groups.append(
                GpuGroup(s, gpu, 2 if not groups else 1, memory, rng.choice([0.1, 0.2, 0.3, 2.5]))
            )
    inside, between = rng.choice([1e3, 2e4]), rng.choice([1e3, 5e3])
    links = tuple(
        tuple(inside if s == t else between for t in range(servers)) for s in range(servers)
    )
    late = tuple(tuple(0.0 if s == t else 0.02 for t in range(servers)) for s in range(servers))
    cluster = Cluster(tuple(f"S{s}" for s in range(servers)), tuple(groups), links, late)
    return build_instance({"A": graph, "B": slower}, cluster)


def _some(rng: random.Random, instance: Instance, count: int) -> list[str]:
    return rng.sample(list(instance.nodes), min(count, len(instance.nodes)))


def _memory(rng: random.Random, instance: Instance) -> Rules:
    model = MemoryModel(rng.choice(list(Versions)), rng.choice(list(Optimizer)))
    return Rules(use_memory=True, memory=model, recompute=rng.choice(list(Recompute)))


def _recompute(rng: random.Random, instance: Instance) -> Rules:
    del instance
    return Rules(recompute=rng.choice(list(Recompute)))


def _limits(rng: random.Random, instance: Instance) -> Rules:
    del instance
    return Rules(
        max_replicas=rng.choice([None, 1, 2]),
        max_gpus=rng.choice([None, 1, 2, 3]),
        max_price_per_hour=rng.choice([None, 0.05, 0.3, 0.4, 2.8]),
        max_stages=rng.choice([None, 1, 2]),
        straight_pipeline=rng.random() < 0.2,
        use_all=rng.random() < 0.3,
    )


def _pins(rng: random.Random, instance: Instance) -> Rules:
    pins = {node: rng.choice([0, 0, 1, 1, 2]) for node in _some(rng, instance, 2)}
    if instance.graph.inputs and rng.random() < 0.3:
        pins["data"] = 0
    return Rules(placement=Placement(stage=tuple(pins.items())))


def _forbidden(rng: random.Random, instance: Instance) -> Rules:
    groups = range(len(instance.cluster.groups))
    banned = tuple(
        (node, tuple(rng.sample(groups, rng.choice([1, 1, len(groups)]))))
        for node in _some(rng, instance, 2)
    )
    return Rules(placement=Placement(forbidden=banned))


def _together(rng: random.Random, instance: Instance) -> Rules:
    return Rules(placement=Placement(together=(tuple(_some(rng, instance, 2)),)))


def _kept(rng: random.Random, instance: Instance) -> Rules:
    return Rules(placement=Placement(kept=_old(rng, instance)))


def _old(rng: random.Random, instance: Instance) -> Kept:
    """A plan of old in any order, which may know layers that are gone."""
    names = [*_some(rng, instance, 4), "gone"]
    cut = sorted(rng.sample(range(len(names) + 1), 2))
    stages = (tuple(names[: cut[0]]), tuple(names[cut[0] : cut[1]]), tuple(names[cut[1] :]))
    return Kept(stages, rng.choice([0, 0, 1, 2]))


def _everything(rng: random.Random, instance: Instance) -> Rules:
    placement = Placement(
        stage=((instance.nodes[0], 0),),
        forbidden=((_some(rng, instance, 1)[0], (rng.randrange(len(instance.cluster.groups)),)),),
        together=_together(rng, instance).placement.together,
        kept=Kept(_old(rng, instance).stages, 3),
    )
    limits = Rules(max_gpus=2, max_price_per_hour=2.8, max_stages=rng.choice([None, 2]))
    memory = _memory(rng, instance)
    return dataclasses.replace(
        limits,
        use_memory=True,
        memory=memory.memory,
        recompute=memory.recompute,
        placement=placement,
    )


FAMILIES: dict[str, Callable[[random.Random, Instance], Rules]] = {
    "none": lambda rng, instance: Rules(),  # noqa: ARG005
    "memory": _memory,
    "recompute": _recompute,
    "limits": _limits,
    "pins": _pins,
    "forbidden": _forbidden,
    "together": _together,
    "kept": _kept,
    "everything": _everything,
}


def problem_with(family: str, seed: int) -> Problem:
    """A random instance under random demands of one family."""
    rng = random.Random(f"{family} {seed}")  # noqa: S311
    cost_model = rng.choice(COSTS)
    instance = random_instance(rng, servers=1 if isinstance(cost_model, SparsePipe) else 2)
    return Problem(instance.with_rules(FAMILIES[family](rng, instance)), cost_model)


def best_of_all(problem: Problem) -> float | None:
    """Smallest period of all plans in which the evaluator finds nothing wrong."""
    periods = (
        found.period_s
        for plan in every_plan(problem.instance)
        for variant in _variants(problem, plan)
        if (found := evaluate(problem.instance, variant, problem.cost_model)).valid
    )
    return min(periods, default=None)


def _variants(problem: Problem, plan: Plan) -> Iterator[Plan]:
    """The plan with every choice of stages that recompute."""
    choices = problem.instance.rules.recompute.choices
    for does in itertools.product(choices, repeat=len(plan.stages)):
        stages = (
            dataclasses.replace(x, recompute=y) for x, y in zip(plan.stages, does, strict=True)
        )
        yield dataclasses.replace(plan, stages=tuple(stages))
