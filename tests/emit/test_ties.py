"""Layers with the same weights: one module in the code, and one stage in the plan."""

from __future__ import annotations

import json

import pytest
from emit_networks import Text, write

from stagewright.cli.app import run
from stagewright.emit.build import build_program
from stagewright.emit.package import package_files, staged_from_profile
from stagewright.emit.verify import verify_package
from stagewright.model.errors import InputError
from stagewright.model.graph import LayerGraph
from stagewright.model.profile import format_profile
from stagewright.model.ties import tied_layers

SHARED = "Linear(in_features=8, out_features=8, bias=True, shared=1)"


def network(*descriptions: str) -> LayerGraph:
    """A chain after an input."""
    node = Text()
    x = node("Input0")
    for description in descriptions:
        x = node(description, x)
    return node.graph("tied")


def staged(graph: LayerGraph, *stages: int) -> LayerGraph:
    nodes = [x.id for x in graph.layers]
    return graph.with_stages(dict(zip(nodes, (0, *stages), strict=True)))


def code(graph: LayerGraph, folder) -> dict[str, str]:
    path = folder / "graph.txt"
    path.write_text(format_profile(graph))
    return package_files(staged_from_profile(path), name="Net", arch="net")


def test_one_module_is_written_and_called_twice(tmp_path):
    graph = staged(network("Linear(8, 8)", SHARED, "ReLU()", SHARED), 0, 1, 1, 1)
    text = code(graph, tmp_path)["stage1.py"]
    assert text.count("nn.Linear(") == 1
    assert text.count("= self.fc2(") == 2


def test_one_weight_of_two_modules_is_assigned(tmp_path):
    graph = network("Embedding(20, 8, tied=1)", "GELU()", "Linear(8, 20, bias=False, tied=1)")
    text = code(staged(graph, 0, 0, 0), tmp_path)["stage0.py"]
    assert "self.fc1.weight = self.embedding1.weight" in text


@pytest.mark.parametrize(
    "descriptions",
    [
        ("Linear(8, 8)", SHARED, "Tanh()", SHARED, "Linear(8, 8)"),
        ("Linear(8, 8)", "Linear(8, 8, tied=1)", "Tanh()", "Linear(8, 8, tied=1)", "Tanh()"),
    ],
)
def test_the_code_computes_with_the_same_weights(descriptions, tmp_path):
    pytest.importorskip("torch")
    folder = write(staged(network(*descriptions), 0, 1, 1, 1, 2), tmp_path / "net")
    report = verify_package(folder)
    assert report.first_difference is None
    weights = 8 * 8 + 8 if "shared" in descriptions[1] else 8 * 8 + 2 * 8
    assert report.stages[1].parameters == weights


def test_two_stages_cannot_hold_the_same_weights(tmp_path):
    graph = staged(network(SHARED, "ReLU()", SHARED), 0, 0, 1)
    with pytest.raises(InputError, match=r"'node4' holds the weights of 'node2', but lies in") as e:
        code(graph, tmp_path)
    assert e.value.hint == "Plan with --together 'node2,node4'"


@pytest.mark.parametrize(
    ("descriptions", "message"),
    [
        ((SHARED, "Linear(8, 4, shared=1)"), "is said to be the module of 'node2'"),
        ((SHARED, "Linear(8, 8, shared=True)"), "not a whole number"),
        (("Conv2d(3, 3, 1)", "Add(shared=1)"), "Add takes 2 to 64 operands"),
    ],
)
def test_marks_that_make_no_sense_are_refused(descriptions, message):
    graph = network(*descriptions)
    with pytest.raises(InputError, match=message):
        build_program(graph, {x.id: 0 for x in graph.layers}, "graph.txt")


def test_plan_keeps_them_in_one_stage_and_says_so(tmp_path, monkeypatch):
    """Without the marks both halves of the chain would be a stage of their own."""
    monkeypatch.chdir(tmp_path)
    periods = {}
    for name, text in (("free", "Linear(8, 8)"), ("tied", SHARED)):
        graph = network(text, "ReLU()", text)
        (tmp_path / "graph.txt").write_text(format_profile(graph))
        command = ["plan", "--profile", "graph.txt", "-n", "2", "-b", "1e12", "--workers", "1"]
        assert run([*command, "--straight-pipeline", "-o", name]) == 0
        plan = json.loads((tmp_path / name / "plan.json").read_text())
        periods[name] = len(plan["stages"])
        if name == "tied":
            assert tied_layers(graph) == (("node2", "node4"),)
    assert periods == {"free": 2, "tied": 1}
