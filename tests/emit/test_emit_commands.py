"""``stagewright emit`` and ``stagewright verify`` as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from emit_networks import Text, cut_evenly, residual

from stagewright.cli.app import run
from stagewright.model.cluster import Cluster, GpuGroup
from stagewright.model.costs import make_cost_model
from stagewright.model.document import make_document
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import build_instance
from stagewright.model.plan import Certificate, Plan, Stage, Status
from stagewright.model.profile import format_profile
from stagewright.model.rules import Rules


@pytest.fixture
def graph_file(tmp_path: Path) -> Path:
    path = tmp_path / "gpus=2.txt"
    path.write_text(format_profile(cut_evenly(residual(), 2)), encoding="utf-8")
    return path


def emit(graph_file: Path, *more: str) -> int:
    return run(["emit", "-f", str(graph_file), "-n", "Net", "-a", "net", *more])


def test_emit_writes_a_package(graph_file, tmp_path, capsys):
    folder = tmp_path / "out"
    assert emit(graph_file, "-o", str(folder), "--stage_to_num_ranks", "0:2,1:1") == 0
    names = {path.name for path in folder.iterdir()}
    assert {"stage0.py", "stage1.py", "net.py", "__init__.py", "hybrid_conf.json"} <= names
    assert "2 stages of Net" in capsys.readouterr().out


def plan_document(graph: LayerGraph) -> str:
    """A plan by hand: two stages, the first on two GPUs of one server and one of another."""
    cluster = Cluster(
        ("S0", "S1"),
        (GpuGroup(0, "A", 2, None), GpuGroup(1, "A", 2, None)),
        ((1e9, 1e8), (1e8, 1e9)),
        ((0.0, 0.0), (0.0, 0.0)),
    )
    instance = build_instance({"A": graph}, cluster, Rules())
    nodes = [x.id for x in graph.layers]
    stages = (Stage(tuple(nodes[:6]), (2, 1)), Stage(tuple(nodes[6:]), (0, 1)))
    model = make_cost_model("topology", compression_ratio=1.0, overlap=True, dispatch="equal")
    certificate = Certificate(Status.FEASIBLE, None, None, 0.0, "by hand")
    plan = Plan(stages, "by hand")
    return make_document(instance, plan, model, certificate, (None, None)).dumps()


def test_emit_from_a_plan_document(tmp_path, capsys):
    path = tmp_path / "plan.json"
    path.write_text(plan_document(residual()), encoding="utf-8")
    folder = tmp_path / "out"
    assert run(["emit", str(path), "-n", "Net", "-a", "net", "-o", str(folder), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ranks"] == [[0, 1, 2], [3]], "ranks go server by server"
    assert {Path(path).name for path in answer["files"]} == {x.name for x in folder.iterdir()}
    configuration = json.loads((folder / "hybrid_conf.json").read_text())
    assert configuration["stage_to_rank_map"] == {"0": [0, 1, 2], "1": [3]}
    text = tmp_path / "gpus=4.txt"
    text.write_text((folder / "graph.txt").read_text(), encoding="utf-8")
    assert emit(text, "-o", str(tmp_path / "again"), "--stage-to-num-ranks", "0:3,1:1") == 0
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_text() == file.read_text()


def test_errors_exit_with_2_and_write_nothing(graph_file, tmp_path, capsys):
    folder = tmp_path / "out"
    assert emit(graph_file) == 2
    assert run(["emit", "-n", "Net", "-a", "net", "-o", str(folder)]) == 2
    assert run(["emit", "p", "-f", "g", "-n", "Net", "-a", "net", "-o", str(folder)]) == 2
    assert run(["emit", "-f", str(graph_file), "-n", "a b", "-a", "net", "-o", str(folder)]) == 2
    assert "cannot be the name of the class" in capsys.readouterr().err
    assert emit(graph_file, "-o", str(folder), "--layers", "no_such_module_here") == 2
    assert "cannot import the module 'no_such_module_here'" in capsys.readouterr().err
    assert not folder.exists()


def test_layers_of_ones_own(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_own_layers.py").write_text(
        "from stagewright.emit import register_layer\n"
        "register_layer('Twice', 'my_own_layers_code.Twice')\n"
    )
    node = Text()
    node("Twice()", node("Input0", stage=0), stage=0)
    path = tmp_path / "graph.txt"
    path.write_text(str(node))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert emit(path, "-o", "out") == 2
    assert "register_layer('Twice'" in capsys.readouterr().err
    assert emit(path, "-o", "out", "--layers", "my_own_layers") == 0
    assert "from my_own_layers_code import Twice" in Path("out/stage0.py").read_text()


def test_verify_tells_equal_from_different(graph_file, tmp_path, capsys):
    pytest.importorskip("torch")
    folder = tmp_path / "out"
    assert emit(graph_file, "-o", str(folder)) == 0
    capsys.readouterr()
    assert run(["verify", str(folder)]) == 0
    assert "Equal: outputs, loss, gradients and statistics" in capsys.readouterr().out
    path = folder / "stage0.py"
    text = path.read_text()
    path.write_text(text.replace("x = self.bn1(x)", "x = -self.bn1(x)"))
    assert run(["verify", str(folder), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert not answer["equal"]
    assert answer["first_difference"]["stage"] == 0


def test_verify_takes_input_from_a_function(graph_file, tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    (tmp_path / "my_minibatch.py").write_text(
        "import torch\ndef one():\n    return [torch.ones(4, 3, 32, 32)]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert emit(graph_file, "-o", "out") == 0
    assert run(["verify", "out", "--input", "my_minibatch:one"]) == 0
    assert run(["verify", "out", "--input", "my_minibatch:two"]) == 2
    assert "'my_minibatch:two' is not a function" in capsys.readouterr().err
    assert run(["verify", "nowhere"]) == 2
