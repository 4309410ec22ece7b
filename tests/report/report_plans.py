"""Plans that several tests of the report look at: ``from report_plans import facts_for``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from builders import chain, cluster_of, instance_of, layer
from stagewright.model.costs import CostModel, Topology
from stagewright.model.document import make_document
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import Instance
from stagewright.model.plan import Certificate, Plan, Stage, Status
from stagewright.model.plan_schema import PlanDocument
from stagewright.report.page.build import render_report
from stagewright.report.page.facts import Facts, OtherPlan, facts_of

HOSTILE = (
    "<script>window.hit=1</script>",
    "</script><script>window.hit=1</script>",
    "</title></svg><img src=x onerror=window.hit=1>",
    '" onmouseover="window.hit=1',
    "{{ 7 * 7 }}{% raw %}",
    "--><!--",
    "]]>&#x3c;script&#x3e;",
    "javascript:window.hit=1",
    "https://example.org/beacon.png",
    "$x^2$ \\frac{1}{2} 'quoted' `code` $(touch hit)",
)

OTHERS = (
    OtherPlan("linear-dp", 0.011, None, "TitanV×2 | TitanXP×1"),
    OtherPlan("sparsepipe-dp", 0.02, 0.018, "TitanXP×1"),
    OtherPlan("pipedream-dp", None, None, "it plans for one GPU type"),
)


def document_of(
    instance: Instance,
    plan: Plan,
    cost_model: CostModel | None = None,
    bound_s: float | None = None,
    status: Status = Status.FEASIBLE,
) -> PlanDocument:
    """The document of a plan, with a certificate of so much."""
    model = cost_model or Topology()
    plain = make_document(
        instance, plan, model, Certificate(status, None, bound_s, 1.5, "cpsat"), (0.02, 0.03)
    )
    proof = Certificate(status, plain.period_s, bound_s, 1.5, "cpsat")
    return make_document(instance, plan, model, proof, (0.02, 0.03))


def two_servers() -> tuple[Instance, Plan]:
    """Eight layers in three stages, one of them on two servers; one GPU stays idle."""
    graph = chain([2.0] * 8, 2e6, 4e6, name="eight")
    cluster = cluster_of(
        [{"TitanV": 2, "TitanXP": 2}, {"TitanV": 2}], 1e10, 1e9, 0.0001, memory_bytes=1e9
    )
    nodes = [x.id for x in graph.layers]
    plan = Plan(
        (
            Stage(tuple(nodes[:3]), (1, 0, 1)),
            Stage(tuple(nodes[3:5]), (0, 2, 0)),
            Stage(tuple(nodes[5:]), (1, 0, 0)),
        ),
        "by-hand",
    )
    return instance_of(graph, cluster, slower={"TitanXP": 1.5}), plan


@cache
def facts_for() -> Facts:
    """The facts of :func:`two_servers`, with other planners beside."""
    instance, plan = two_servers()
    return facts_of(document_of(instance, plan), OTHERS, "out/plan.json")


@cache
def page_for() -> str:
    """The page of :func:`two_servers`."""
    return render_report(facts_for())


def hostile() -> Facts:
    """A plan in which every name and description tries something."""
    words = list(HOSTILE)
    names = [f"{i}{word.replace(' ', '/')}" for i, word in enumerate(words)]
    layers = [
        layer(name, 1.0, 1.0, 1e6, 1e6, word) for name, word in zip(names, words, strict=True)
    ]
    graph = LayerGraph(tuple(layers), tuple(pairwise(names)), words[1])
    cluster = cluster_of([{words[0]: 1, words[2]: 1}, {words[1]: 1}])
    cluster = type(cluster)(
        (words[2], words[3]), cluster.groups, cluster.bandwidth_bytes_per_s, cluster.latency_s
    )
    plan = Plan((Stage(tuple(names[:4]), (1, 0, 0)), Stage(tuple(names[4:]), (0, 1, 1))), words[0])
    others = [OtherPlan(words[0], 0.1, None, words[1]), OtherPlan(words[2], None, None, words[3])]
    return facts_of(document_of(instance_of(graph, cluster), plan), others, "a b/$(hit);'.json")


def in_runs(graph: LayerGraph, stages: int, gpus: int) -> Facts:
    """Any graph in ``stages`` runs of about equal length, in topological order."""
    instance = instance_of(graph, cluster_of([{"TitanV": gpus}], 1e10))
    nodes = _ordered(graph)
    bounds = [round(i * len(nodes) / stages) for i in range(stages + 1)]
    runs = [Stage(tuple(nodes[a:b]), (1,)) for a, b in pairwise(bounds)]
    return facts_of(document_of(instance, Plan(tuple(runs), "by-hand")))


def _ordered(graph: LayerGraph) -> Sequence[str]:
    """Inputs first, dropped outputs not at all, else the order of the file."""
    rest = [x.id for x in graph.layers if x.id not in graph.inputs | graph.dropped]
    return [*(x.id for x in graph.layers if x.id in graph.inputs), *rest]


def cells(count: int) -> LayerGraph:
    """Blocks of four branches that are joined again: thirteen layers a block."""
    layers, edges, last = [layer("input", description="Input0")], [], "input"
    for block in range(count):
        ends = []
        for branch, length in enumerate((1, 3, 5, 3)):
            before = last
            for i in range(length):
                name = f"b{block}.{branch}.{i}"
                layers.append(layer(name, 1 + i, 2, 4e6, 1e5, "Conv2d(64, 96, kernel_size=3)"))
                edges.append((before, name))
                before = name
            ends.append(before)
        last = f"b{block}.concat"
        layers.append(layer(last, 0.1, 0.1, 16e6, description="Concat(1)"))
        edges += [(end, last) for end in ends]
    return LayerGraph(tuple(layers), tuple(edges), "cells")
