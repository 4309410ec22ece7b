"""Device placement workloads: what is read, what is refused, and the loads of the published DP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from brute_force import best_period_s
from builders import error_text
from stagewright.formulation.problem import Settings
from stagewright.formulation.run import plan_with_baselines, run_planner
from stagewright.model.document import open_document
from stagewright.model.errors import InfeasibleError
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Status
from stagewright.scenarios.device_placement import read_workload
from workloads import (
    edge,
    max_load_ms,
    node,
    nodes_of_layers,
    problem_of,
    workload,
    workloads,
)

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
SETTINGS = Settings(time_limit_s=120.0)


def colour(number: int, colour_class: int, *, backward: bool = False) -> dict[str, Any]:
    return node(number, colorClass=colour_class, isBackwardNode=backward)


class TestReading:
    def test_a_class_is_a_layer(self, tmp_path):
        content = workload(
            [colour(1, 7), colour(2, 8), colour(11, 7, backward=True)],
            [edge(1, 2, 3.0), edge(2, 11, 5.0)],
            cpus=1,
        )
        problem = problem_of(tmp_path, content)
        instance = problem.instance
        assert nodes_of_layers(problem) == {"1": [1, 11], "2": [2]}
        assert instance.graph.edges == (("1", "2"),)
        assert instance.graph.by_id["1"].backward_ms == 1.0
        assert instance.tensors is not None
        assert [(x.source, x.targets, x.transfer_s) for x in instance.tensors] == [
            ("1", ("2",), 0.003),
            ("2", ("1",), 0.005),
        ]
        assert instance.cluster.describe() == "host: accelerator×2, CPU×1"

    def test_classes_on_a_cycle_are_one_layer(self, tmp_path):
        nodes = [colour(1, 1), colour(2, 2), colour(3, 1)]
        problem = problem_of(tmp_path, workload(nodes, [edge(1, 2), edge(2, 3)]))
        assert nodes_of_layers(problem) == {"1": [1, 2, 3]}

    def test_a_lonely_backward_node_mirrors_its_edges(self, tmp_path):
        """11 -> 12 -> 13 backwards, and 12 has no forward node: it lies between 3 and 1."""
        nodes = [colour(1, 1), colour(3, 3)]
        nodes += [colour(n, n - 10, backward=True) for n in (11, 12, 13)]
        edges = [edge(1, 3), edge(13, 12), edge(12, 11)]
        problem = problem_of(tmp_path, workload(nodes, edges))
        assert set(problem.instance.graph.edges) == {("1", "3"), ("1", "12"), ("12", "3")}

    def test_a_node_for_cpus_only_keeps_its_class_there(self, tmp_path):
        nodes = [node(1, 1.0, 1.0, supportedOnFpga=0), node(2, 9.0, 1.0)]
        problem = problem_of(tmp_path, workload(nodes, [edge(1, 2)], fpgas=1, cpus=1))
        plan = run_planner("exact-dp", problem, SETTINGS).plan
        assert [(s.nodes, s.replicas) for s in plan.stages] == [(("1",), (0, 1)), (("2",), (1, 0))]

    def test_size_counts_once(self, tmp_path):
        nodes = [node(1, size=6.0), node(2, size=6.0)]
        tight = problem_of(tmp_path, workload(nodes, [edge(1, 2, 50.0)], fpgas=2, memory=11.0))
        assert run_planner("exact-dp", tight, SETTINGS).evaluation.period_s == pytest.approx(0.051)
        roomy = problem_of(tmp_path, workload(nodes, [edge(1, 2, 50.0)], fpgas=2, memory=12.0))
        assert run_planner("exact-dp", roomy, SETTINGS).evaluation.period_s == pytest.approx(0.002)

    def test_names_that_read_like_inputs_are_layers(self, tmp_path):
        content = workload([node(1, name="Input"), node(2, name="__getitem__")], [edge(1, 2)])
        assert problem_of(tmp_path, content).instance.nodes == ("1", "2")


BAD = {
    "no JSON": ("{", "network.json: invalid JSON"),
    "a field is missing": ({"nodes": []}, "maxSizePerFPGA: is missing"),
    "an unknown field": (
        workload([node(1, colour=3)], []),
        "nodes.0.colour: extra inputs are not permitted (found 3)",
    ),
    "a negative time": (workload([node(1, fpga=-1.0)], []), "nodes.0.fpgaLatency: input should be"),
    "a node twice": (workload([node(1), node(1)], []), "nodes.1: node 1 is defined twice"),
    "no such node": (
        workload([node(1)], [edge(1, 2)]),
        "edges.0: names node 2, which does not exist",
    ),
    "two costs": (
        workload([node(1), node(2), node(3)], [edge(1, 2, 1.0), edge(1, 3, 2.0)]),
        "edges.1: costs 2, another edge out of node 1 1",
    ),
    "back to forward": (
        workload([node(1, isBackwardNode=1), node(2)], [edge(1, 2)]),
        "edges.0: leads from backward node 1 to forward node 2",
    ),
    "a cycle": (
        workload([node(1), node(2)], [edge(1, 2), edge(2, 1)]),
        "edges: there is a cycle: 1 -> 2 -> 1",
    ),
    "no device": (workload([node(1)], [], fpgas=0), "maxFPGAs, maxCPUs: there is no device"),
    "no nodes": (workload([], []), "nodes: list should have at least 1 item"),
}


@pytest.mark.parametrize("case", BAD)
def test_refused(tmp_path, case):
    content, expected = BAD[case]
    text = error_text(lambda: problem_of(tmp_path, content))
    assert text.startswith(str(tmp_path / "network.json"))
    assert expected in text


def test_no_such_file(tmp_path):
    assert "no such file; expected a workload" in error_text(lambda: read_workload(tmp_path / "x"))


@settings(max_examples=60)
@given(content=workloads())
def test_planners_agree_with_the_format(tmp_path_factory, content):
    """Both exact planners find the best plan; its load is what the format says."""
    problem = problem_of(tmp_path_factory.mktemp("workload"), content)
    expected_s = best_period_s(problem)
    for name in ("exact-dp", "cpsat"):
        try:
            planned = run_planner(name, problem, Settings(workers=1))
        except InfeasibleError:
            assert expected_s is None, name
            continue
        assert planned.evaluation.valid, name
        assert planned.certificate.status == Status.OPTIMAL, name
        assert planned.evaluation.period_s == pytest.approx(expected_s, rel=1e-6), name
        load_ms = max_load_ms(content, problem, planned.plan)
        assert planned.evaluation.period_s * 1000 == pytest.approx(load_ms, rel=1e-9), name


def test_the_plan_document_is_enough(tmp_path):
    nodes = [node(v, 4.0 + v, 1.0 + v, size=1.0, colorClass=v) for v in range(4)]
    edges = [edge(v, v + 1, 0.25) for v in range(3)]
    problem = problem_of(tmp_path, workload(nodes, edges, fpgas=2, cpus=1))
    planned = plan_with_baselines("cpsat", problem, SETTINGS)
    instance, plan, cost_model = open_document(planned.document())
    judged = evaluate(instance, plan, cost_model)
    assert judged.valid
    assert judged.period_s == planned.evaluation.period_s
    assert instance.tensors == problem.instance.tensors


def published() -> dict[str, float]:
    """Loads of the published dynamic programme, for the workloads that are here."""
    path = REFERENCE / "goldens" / "dnn_partitioning_dp.json"
    if not path.is_file():
        return {}
    answers = json.loads(path.read_text())
    return {
        name: answer["dp"]["max_load"]
        for name, answer in answers.items()
        if answer["dp"]["max_load"] is not None
        and (REFERENCE / "dnn_partitioning" / name).is_file()
    }


PUBLISHED = published()


@pytest.mark.reference
class TestPublished:
    def test_all_are_there(self, reference):
        """So that an empty parametrisation below cannot pass for parity."""
        assert reference == REFERENCE
        assert len(PUBLISHED) == 9

    @pytest.mark.slow
    @pytest.mark.parametrize("planner", ["exact-dp", "cpsat"])
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_same_load(self, name, planner):
        """Both are exact under the same definitions: neither can be above the other."""
        problem = read_workload(REFERENCE / "dnn_partitioning" / name)
        planned = run_planner(planner, problem, SETTINGS)
        assert planned.certificate.status == Status.OPTIMAL
        assert planned.evaluation.valid
        assert planned.evaluation.period_s * 1000 == pytest.approx(PUBLISHED[name], rel=1e-9)

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["inference", "training"])
    def test_inceptionv3(self, reference, kind):
        """The published programme does not finish on it."""
        folder = reference / "dnn_partitioning" / "LayerGraphs"
        problem = read_workload(folder / f"inceptionv3_{kind}.json")
        exact, cpsat = (run_planner(x, problem, SETTINGS) for x in ("exact-dp", "cpsat"))
        assert exact.certificate.status == Status.OPTIMAL
        assert cpsat.certificate.gap is not None
        assert cpsat.certificate.gap <= 0.01
        assert cpsat.certificate.bound_s is not None
        assert cpsat.certificate.bound_s <= exact.evaluation.period_s * (1 + 1e-6)
        assert cpsat.evaluation.period_s >= exact.evaluation.period_s * (1 - 1e-6)
