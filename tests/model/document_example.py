"""One plan document that several test modules write, read and tamper with."""

from __future__ import annotations

import json
from pathlib import Path

from builders import (
    cluster_of,
    graph_of,
    instance_of,
    layer,
    plan_of,
)
from stagewright.model.costs import Topology
from stagewright.model.document import make_document
from stagewright.model.instance import Instance
from stagewright.model.plan import Certificate, Plan, Status
from stagewright.model.rules import MemoryModel, Optimizer, Rules, Versions

RULES = Rules(
    use_memory=True,
    memory=MemoryModel(Versions.TWO_BW, Optimizer.ADAM),
    use_all=True,
    straight_pipeline=False,
    max_stages=3,
)
COST_MODEL = Topology(2.0, overlap=False, dispatch="proportional")


def example(rules: Rules = RULES) -> tuple[Instance, Plan]:
    """A network with an input and an unused output on two servers, in two stages."""
    graph = graph_of(
        [
            layer("x", description="Input0"),
            layer("a", 1.0, 2.0, (1e6, 5e5), 4e6, description='Foo(["ü", 1.5]) -- then, more'),
            layer("u", description="__getitem__(1)"),
            layer("b", 3.0, 1.0, 2e6, 1e6),
            layer("c", 0.1, 0.2, 3e6, 2e6),
        ],
        "x->a a->u a->b a->c b->c b->c",
        "net",
    )
    cluster = cluster_of(
        [{"TitanV": 2, "TitanXP": 1}, {"TitanV": 1}], [1e10, 2e10], 1e9, 0.001, memory_bytes=12e9
    )
    plan = plan_of(("x a", [2, 0, 0]), ("b c", [0, 1, 1]))
    return instance_of(graph, cluster, rules, {"TitanXP": 2.0}), plan


def document(rules: Rules = RULES):
    instance, plan = example(rules)
    proof = Certificate(Status.OPTIMAL, 0.5, 0.4, 1.25, "CP-SAT")
    return make_document(instance, plan, COST_MODEL, proof, (0.25, None))


def saved(folder: Path, content: object) -> Path:
    path = folder / "plan.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


BASE = json.loads(document().dumps())
