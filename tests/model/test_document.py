"""The plan document: what it says, that it is deterministic, and that it round-trips."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from document_example import BASE, COST_MODEL, RULES, document, example, saved
from hypothesis import given
from hypothesis import strategies as st

from builders import (
    certificate,
    cluster_of,
    diamond,
    graph_of,
    instance_of,
    layer,
    plan_of,
)
from stagewright.model.cluster import Cluster
from stagewright.model.costs import Topology
from stagewright.model.document import make_document, read_plan
from stagewright.model.errors import StagewrightError
from stagewright.model.evaluate import evaluate
from stagewright.model.instance import Instance
from stagewright.model.plan import Certificate, Status
from stagewright.model.rules import MemoryModel, Optimizer, Rules, Versions
from strategies import cost_models, planned

# --- what is written ------------------------------------------------------------------------


def test_top_level_keys_are_those_of_the_schema():
    assert list(json.loads(document().dumps())) == [
        "schema",
        "name",
        "cost_model",
        "planner",
        "period_s",
        "throughput_per_s",
        "claimed_period_s",
        "certificate",
        "baselines",
        "stages",
        "instance",
    ]


def test_figures_are_the_evaluators():
    instance, plan = example()
    found, written = evaluate(instance, plan, COST_MODEL), document()
    assert written.period_s == found.period_s
    assert written.throughput_per_s == found.throughput_per_s
    for stage, figures in zip(written.stages, found.stages, strict=True):
        for name in (
            "compute_s",
            "sync_s",
            "input_transfer_s",
            "output_transfer_s",
            "time_s",
            "memory_bytes",
        ):
            assert getattr(stage, name) == getattr(figures, name)


def test_a_stage_names_its_nodes_replicas_and_ranks():
    first, second = document().stages
    assert (first.index, first.nodes, first.ranks) == (0, ["x", "a"], [0, 1])
    assert [(r.server, r.gpu, r.count) for r in first.replicas] == [("Server0", "TitanV", 2)]
    assert (second.index, second.nodes, second.ranks) == (1, ["b", "c"], [2, 3])
    assert [(r.server, r.gpu, r.count) for r in second.replicas] == [
        ("Server0", "TitanXP", 1),
        ("Server1", "TitanV", 1),
    ]


def test_the_certificate_is_written_with_its_gap():
    written = json.loads(document().dumps())["certificate"]
    assert written == {
        "status": "optimal",
        "objective_s": 0.5,
        "bound_s": 0.4,
        "gap": pytest.approx(0.2),
        "wall_s": 1.25,
        "solver": "CP-SAT",
    }


def test_baselines_that_do_not_apply_are_null():
    assert json.loads(document().dumps())["baselines"] == {
        "single_gpu_s": 0.25,
        "data_parallel_s": None,
    }


def test_what_the_planner_claims_is_kept_beside_the_verdict():
    instance, plan = example()
    boasting = dataclasses.replace(plan, claimed_period_s=1e-9)
    written = make_document(instance, boasting, COST_MODEL, certificate(), (None, None))
    assert written.claimed_period_s == 1e-9
    assert written.period_s == document().period_s


def test_endless_throughput_is_null():
    instance = instance_of(graph_of([layer("a", 0.0)]), cluster_of([{"TitanV": 1}]))
    written = make_document(instance, plan_of(("a", [1])), Topology(), certificate(), (None, None))
    assert written.throughput_per_s is None


def test_the_text_ends_in_one_newline_and_keeps_letters_as_they_are():
    text = document().dumps()
    assert text.endswith("}\n")
    assert 'Foo([\\"ü\\", 1.5])' in text


def test_the_same_plan_gives_the_same_text():
    assert document().dumps() == document().dumps()


def test_the_text_does_not_depend_on_the_hash_seed():
    here = Path(__file__)
    code = "import document_example; print(document_example.document().dumps(), end='')"
    folders = [here.parent, here.parents[1], here.parents[2] / "src"]
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONIOENCODING": "utf-8",
                "PYTHONPATH": os.pathsep.join(map(str, folders)),
            },
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert {text.decode() for text in texts} == {document().dumps()}


@pytest.mark.parametrize(
    "wrong",
    [plan_of(("a b c", [0, 0, 0])), plan_of(("a b", [2, 1, 1])), plan_of(("b", [1, 0, 0]))],
    ids=["no GPU", "node missing", "nodes missing"],
)
def test_a_plan_that_is_wrong_gets_no_document(wrong):
    """Or else it would be written and then refused by every command that reads it."""
    instance, _ = example()
    with pytest.raises(StagewrightError):
        make_document(instance, wrong, COST_MODEL, certificate(), (None, None))


# --- round trip -----------------------------------------------------------------------------


def test_reading_gives_back_the_plan_the_rules_and_the_cost_model(tmp_path):
    _, plan = example()
    _, instance, again, cost_model = read_plan(saved(tmp_path, document().dumps()))
    assert again == plan
    assert instance.rules == RULES
    assert cost_model == COST_MODEL
    assert instance.cluster == example()[0].cluster
    assert instance.graph == example()[0].graph


@pytest.mark.parametrize(
    "rules",
    [
        Rules(straight_pipeline=True),
        Rules(max_stages=2),
        Rules(use_memory=True),
        Rules(memory=MemoryModel(Versions.FLUSH, Optimizer.MOMENTUM)),
        Rules(),
    ],
)
def test_each_rule_comes_back(tmp_path, rules):
    instance, _ = example(rules)
    plan = plan_of(("x a", [1, 0, 0]), ("b c", [0, 0, 1]))
    written = make_document(instance, plan, COST_MODEL, certificate(), (None, None))
    _, again, _, _ = read_plan(saved(tmp_path, written.dumps()))
    assert again.rules == rules


def test_the_planner_and_its_claim_come_back(tmp_path):
    instance, plan = example()
    boasting = dataclasses.replace(plan, claimed_period_s=1e-9)
    written = make_document(instance, boasting, COST_MODEL, certificate(), (None, None))
    assert read_plan(saved(tmp_path, written.dumps()))[2] == boasting


def test_two_lines_for_one_group_add_up(tmp_path):
    data = copy.deepcopy(BASE)
    (line,) = data["stages"][0]["replicas"]
    data["stages"][0]["replicas"] = [{**line, "count": 1}, {**line, "count": 1}]
    _, _, plan, _ = read_plan(saved(tmp_path, data))
    assert plan == example()[1]


def test_reading_and_writing_again_gives_the_same_text(tmp_path):
    text = document().dumps()
    read, instance, plan, cost_model = read_plan(saved(tmp_path, text))
    proof = Certificate(Status.OPTIMAL, 0.5, 0.4, 1.25, "CP-SAT")
    assert read.dumps() == text
    assert make_document(instance, plan, cost_model, proof, (0.25, None)).dumps() == text


@given(planned(), st.data())
def test_any_plan_evaluates_the_same_after_writing_and_reading(tmp_path_factory, case, data):
    instance, plan = case
    cost_model = data.draw(cost_models(instance.cluster))
    written = make_document(instance, plan, cost_model, certificate(), (None, None))
    path = saved(tmp_path_factory.mktemp("plan"), written.dumps())
    _, *again = read_plan(path)
    assert evaluate(*again) == evaluate(instance, plan, cost_model)
    assert evaluate(*again).period_s == written.period_s


def test_sizes_that_were_evened_out_stay_evened_out(tmp_path):
    graph = diamond(activation_bytes=1e6)
    profiles = {"TitanV": graph, "TitanXP": diamond(activation_bytes=3e6)}
    cluster = cluster_of([{"TitanV": 1, "TitanXP": 1}])
    instance = Instance(profiles, cluster)
    plan = plan_of(("node1 node2", [1, 0]), ("node3 node4", [0, 1]))
    written = make_document(instance, plan, Topology(), certificate(), (None, None))
    _, *again = read_plan(saved(tmp_path, written.dumps()))
    assert evaluate(*again) == evaluate(instance, plan, Topology())


def test_a_description_is_data_and_comes_back_as_it_was(tmp_path):
    description = "__import__('os').abort()"
    instance = instance_of(graph_of([layer("a", description=description)]), cluster_of([{"V": 1}]))
    written = make_document(instance, plan_of(("a", [1])), Topology(), certificate(), (None, None))
    _, again, _, _ = read_plan(saved(tmp_path, written.dumps()))
    assert again.graph.by_id["a"].description == description


def test_the_cluster_is_written_in_full():
    written = document().instance.cluster
    cluster = example()[0].cluster
    assert isinstance(cluster, Cluster)
    assert written.bandwidth_bytes_per_s == [[1e10, 1e9], [1e9, 2e10]]
    assert written.latency_s == [[0.0, 0.001], [0.001, 0.0]]
    assert [(g.server, g.gpu, g.count, g.memory_bytes) for g in written.groups] == [
        ("Server0", "TitanV", 2, 12e9),
        ("Server0", "TitanXP", 1, 12e9),
        ("Server1", "TitanV", 1, 12e9),
    ]
