"""Written packages: names, files, golden code."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from emit_networks import Text, cut_evenly, residual, sequence, sparse_unet, staged, write

from stagewright.emit import register_layer
from stagewright.emit.package import emit_package, package_files, staged_from_profile
from stagewright.model.errors import InputError
from stagewright.model.profile import format_profile

GOLDEN = Path(__file__).parent / "golden"
NETWORKS = {"residual": (residual, 3), "sparse_unet": (sparse_unet, 4), "sequence": (sequence, 3)}


def files_of(name: str) -> dict[str, str]:
    make, stages = NETWORKS[name]
    return package_files(staged(cut_evenly(make(), stages)), name="Net", arch="net")


@pytest.mark.parametrize("name", NETWORKS)
def test_golden_code(name):
    """The code a person would have written; set UPDATE_GOLDEN=1 to write it anew and read it."""
    files = files_of(name)
    written = "".join(
        f"# ---- {file}\n{files[file]}"
        for file in sorted(files)
        if file.endswith(".py") and file not in {"sparse.py", "sequence.py"}
    )
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(written, encoding="utf-8")
    assert written == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NETWORKS)
def test_writing_is_deterministic_and_compiles(name):
    files = files_of(name)
    assert files == files_of(name)
    for file, text in files.items():
        if file.endswith(".py"):
            compile(text, file, "exec")
            assert ".clone()" not in text
            assert "stagewright" not in text


@pytest.mark.parametrize("name", NETWORKS)
def test_the_launcher_comes_with_target_torch_only(name):
    make, stages = NETWORKS[name]
    plain = files_of(name)
    torch = package_files(
        staged(cut_evenly(make(), stages)), name="Net", arch="net", target="torch"
    )
    added = {"train.py", "pipeline.py", "transfer.py", "library_schedule.py"}
    assert torch.keys() - plain.keys() == added
    assert {file: torch[file] for file in plain} == plain
    assert all("import stagewright" not in text for text in torch.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_written_code_is_formatted(name, tmp_path):
    ruff = shutil.which(
        "ruff", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if ruff is None:
        pytest.skip("ruff is not installed")
    make, stages = NETWORKS[name]
    graph = staged(cut_evenly(make(), stages))
    for file, text in package_files(graph, name="Net", arch="net", target="torch").items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [ruff, "format", "--isolated", "--no-cache", "--diff", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    done = subprocess.run(
        [ruff, "check", "--isolated", "--no-cache", "--select=F,E4,E7,E9", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_configurations():
    node = Text()
    x = node("Input0", stage=0)
    x = node("Linear(4, 4)", x, stage=0)
    x = node("Linear(4, 4)", x, stage=1)
    graph = node.graph()
    files = package_files(
        type(staged(graph))(graph, ((0, 1, 3), (2,)), "g"), name="Net", arch="net"
    )
    assert json.loads(files["hybrid_conf.json"]) == {
        "module_to_stage_map": [0, 1, 1],
        "stage_to_rank_map": {"0": [0, 1, 3], "1": [2]},
    }
    assert json.loads(files["mp_conf.json"]) == {
        "module_to_stage_map": [0, 1, 1],
        "stage_to_rank_map": {"0": [0], "1": [1]},
    }
    assert json.loads(files["dp_conf.json"]) == {
        "module_to_stage_map": [0, 0, 0],
        "stage_to_rank_map": {"0": [0, 1, 2, 3]},
    }


def text_file(tmp_path: Path, stages: int = 2) -> Path:
    path = tmp_path / "gpus=4.txt"
    path.write_text(format_profile(cut_evenly(residual(), stages)), encoding="utf-8")
    return path


def test_replicas_of_each_stage(tmp_path):
    staged_graph = staged_from_profile(text_file(tmp_path), "0:3,1:1")
    assert staged_graph.ranks == ((0, 1, 2), (3,))
    assert staged_from_profile(text_file(tmp_path)).ranks == ((0,), (1,))


@pytest.mark.parametrize(
    "text", ["", "0:3", "0:3,1", "0:3,1:0", "0:3,0:1", "0:1,2:1", "0:-1,1:1", "a:b"]
)
def test_replicas_that_do_not_fit_are_refused(text, tmp_path):
    with pytest.raises(InputError, match="--stage-to-num-ranks"):
        staged_from_profile(text_file(tmp_path), text)


@pytest.mark.parametrize(
    ("name", "arch"),
    [
        ("Net; import os", "net"),
        ("../Net", "net"),
        ("class", "net"),
        ("", "net"),
        ("nn", "net"),
        ("Stage0", "net"),
        ("Ünet", "net"),
        ("Net", "../net"),
        ("Net", "/net"),
        ("Net", "net.py"),
        ("Net", "stage1"),
        ("Net", "__init__"),
        ("Net", "torch"),
        ("Net", "os"),
        ("Net", "import"),
        ("Net", "a\nb"),
        ("Net", "n" * 101),
    ],
)
def test_names_that_are_refused(name, arch, tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(InputError, match="cannot be the name"):
        emit_package(staged_from_profile(text_file(tmp_path)), folder, name=name, arch=arch)
    assert not folder.exists()


def test_node_names_that_text_cannot_hold_are_refused():
    graph = cut_evenly(residual(), 2)
    layers = (dataclasses.replace(graph.layers[0], id="a b"), *graph.layers[1:])
    edges = tuple(("a b" if u == "node1" else u, v) for u, v in graph.edges)
    with pytest.raises(InputError):
        package_files(
            staged(dataclasses.replace(graph, layers=layers, edges=edges)), name="Net", arch="net"
        )


def test_an_edge_back_is_refused():
    node = Text()
    x = node("Linear(4, 4)", node("Input0", stage=0), stage=1)
    node("Linear(4, 4)", x, stage=0)
    with pytest.raises(InputError, match=r"node 'node3': it is in stage 0 and reads 'node2'"):
        package_files(staged(node.graph()), name="Net", arch="net")


def test_an_empty_stage_is_refused():
    node = Text()
    x = node("Linear(4, 4)", node("Input0", stage=0), stage=0)
    node("Linear(4, 4)", x, stage=2)
    with pytest.raises(InputError, match="stage 1 holds no layers"):
        package_files(staged(node.graph()), name="Net", arch="net")


def test_a_profile_without_stages_is_refused(tmp_path):
    path = tmp_path / "graph.txt"
    path.write_text(format_profile(residual()), encoding="utf-8")
    with pytest.raises(InputError, match="the nodes have no stage_id"):
        staged_from_profile(path)


def test_a_state_that_would_cross_a_cut_is_refused():
    node = Text()
    x = node("LSTM(4, 4)", node("Input0", stage=0), stage=0)
    y, state = node("__getitem__(0)", x, stage=0), node("__getitem__(1)", x, stage=0)
    node("__getitem__(0)", node("LSTM(4, 4)", y, state, stage=1), stage=1)
    end = node("LSTM(4, 4)", y, state, stage=1)
    node("ReLU()", node("__getitem__(0)", end, stage=1), stage=1)
    with pytest.raises(InputError, match="its state is read in a later stage"):
        package_files(staged(node.graph()), name="Net", arch="net")


@pytest.mark.parametrize(
    ("descriptions", "message"),
    [
        (["Linear(4, 4)", "MinkowskiReLU()"], "takes a sparse tensor, its operand is dense"),
        (["MinkowskiReLU()", "Linear(4, 4)"], "Linear does not take a sparse tensor"),
        (["LSTM(4, 4)", "Linear(4, 4)"], "has 2 outputs"),
        (["Linear(4, 4)", "Add"], "Add takes 2 to 64 operands, found 1"),
        (["Linear(4, 4)", "Size(0)", "Linear(4, 4)"], "Linear reads a size"),
        (["LSTM(4, 4)", "__getitem__(7)", "ReLU()"], "output 7 does not exist"),
        (["Linear(4, 4)", "Concat(1)"], "Concat takes 2"),
        (["Linear(4, 4)", "Transpose(0)"], "lacks its argument 'dim1'"),
        (["Linear(4, 4)", "Transpose(0, True)"], "is not a whole number"),
    ],
)
def test_operands_that_do_not_fit(descriptions, message):
    node = Text()
    x = node("Input0", stage=0)
    for description in descriptions:
        x = node(description, x, stage=0)
    with pytest.raises(InputError, match=message):
        package_files(staged(node.graph()), name="Net", arch="net")


def test_a_registered_layer_is_imported_from_the_users_module(tmp_path):
    register_layer("Mish2", "my_layers.Mish2", "/ beta")
    node = Text()
    node("Mish2(beta=1.5)", node("Input0", stage=0), stage=0)
    text = package_files(staged(node.graph()), name="Net", arch="net")["stage0.py"]
    assert "from my_layers import Mish2\n" in text
    assert "self.user_mish21 = Mish2(beta=1.5)" in text
    with pytest.raises(InputError, match="is not a Python name"):
        register_layer("Swish", "os; import sys.Swish")


def test_in_place_only_where_nothing_else_needs_the_tensor():
    text = files_of("residual")["stage0.py"]
    assert "self.relu1 = nn.ReLU(inplace=True)" in text, "after batch norm, which keeps its input"
    node = Text()
    x = node("Linear(4, 4)", node("Input0", stage=0), stage=0)
    y = node("ReLU(inplace)", x, stage=0)
    y = node("ReLU(inplace)", y, stage=0)
    node("Add", x, y, stage=0)
    text = package_files(staged(node.graph()), name="Net", arch="net")["stage0.py"]
    assert "inplace=True" not in text, "Add needs x, and ReLU's backward needs its output"


def test_a_large_graph_is_written_in_under_2_seconds():
    node = Text()
    x = node("Input0")
    for _ in range(312):
        y = node("Conv2d(8, 8, kernel_size=(3, 3), padding=(1, 1))", x)
        y = node("BatchNorm2d(8)", y)
        x = node("ReLU(inplace)", node("Add", y, x))
    graph = cut_evenly(node.graph(), 4)
    assert len(graph.layers) >= 1_249
    start = time.perf_counter()
    package_files(staged(graph), name="Net", arch="net")
    assert time.perf_counter() - start < 2


WITHOUT_STAGEWRIGHT = """
import sys
sys.modules["stagewright"] = None
sys.path.insert(0, {parent!r})
import importlib, torch
package = importlib.import_module({name!r})
torch.manual_seed(0)
network = package.full_model()
rows = package.model(torch.nn.CrossEntropyLoss())
assert [row[1] for row in rows] == [[*row] for row in {inputs!r}], rows
print(package.arch(), tuple(network(torch.randn(2, 3, 32, 32)).shape))
"""


def test_a_package_runs_where_stagewright_cannot_be_imported(tmp_path):
    pytest.importorskip("torch")
    folder = write(cut_evenly(residual(), 2), tmp_path / "gpus=4")
    code = WITHOUT_STAGEWRIGHT.format(
        parent=str(tmp_path), name=folder.name, inputs=[["input0"], ["out0"], ["out1"]]
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout == "net (2, 5)\n", done.stderr
