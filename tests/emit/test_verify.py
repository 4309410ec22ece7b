"""Verification: written packages equal the unsplit network, and mistakes are found."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from emit_networks import Text, cut_evenly, residual, sequence, sparse_unet, topological, write
from hypothesis import given, settings
from hypothesis import strategies as st

from stagewright.emit import register_layer
from stagewright.emit.verify import imported_package, verify_package
from stagewright.model.errors import InputError
from stagewright.model.graph import LayerGraph
from stagewright.model.profile import read_profile

torch = pytest.importorskip("torch")


def check(graph: LayerGraph, folder: Path) -> None:
    report = verify_package(write(graph, folder))
    assert report.equal, report.first_difference
    assert report.loss == pytest.approx(report.reference_loss, rel=1e-9)
    assert [row.stage for row in report.stages] == list(range(len(report.stages)))


@pytest.mark.parametrize("stages", [1, 2, 3, 5])
@pytest.mark.parametrize("make", [residual, sequence])
def test_dense_networks_are_equal_in_every_bit(make, stages, tmp_path):
    report = verify_package(write(cut_evenly(make(), stages), tmp_path / "net"))
    assert report.equal, report.first_difference
    assert all(x.bitwise for x in report.comparisons if not x.what.startswith("gradient"))
    parameters = sum(row.parameters for row in report.stages)
    assert parameters > 0


@pytest.mark.parametrize("stages", [1, 2, 3, 5, 8])
def test_sparse_networks(stages, tmp_path):
    pytest.importorskip("MinkowskiEngine")
    check(cut_evenly(sparse_unet(), stages), tmp_path / "net")


def without_skips() -> LayerGraph:
    """Down and up again with nothing beside: only coordinates go around the deep part."""
    node = Text()
    x = node("Input0", stage=0)
    into = 3
    for stage, (kind, out) in enumerate([("", 4), ("", 6), ("Transpose", 4), ("Transpose", 3)]):
        x = node(
            f"MinkowskiConvolution{kind}(in_channels={into}, out_channels={out}, "
            "kernel_size=[2, 2, 2], stride=[2, 2, 2], bias=None, dimension=3)",
            x,
            stage=stage,
        )
        into = out
    node("MinkowskiGlobalMaxPooling()", x, stage=3)
    return node.graph("without_skips")


def test_coordinates_cross_where_no_tensor_of_the_level_does(tmp_path):
    pytest.importorskip("MinkowskiEngine")
    folder = write(without_skips(), tmp_path / "net")
    assert "coordinates={(2, 2, 2): coordinates_2}" in (folder / "stage2.py").read_text()
    assert "coordinates={(1, 1, 1): coordinates_1}" in (folder / "stage3.py").read_text()
    report = verify_package(folder)
    assert report.equal, report.first_difference


def test_a_transposed_convolution_without_its_coordinates_is_found(tmp_path):
    pytest.importorskip("MinkowskiEngine")
    folder = write(without_skips(), tmp_path / "net")
    path = folder / "stage2.py"
    lines = [x for x in path.read_text().splitlines() if "one_manager(" not in x]
    path.write_text("\n".join(lines) + "\n")
    report = verify_package(folder)
    assert report.first_difference is not None
    assert report.first_difference.stage == 2
    assert "coordinates of conv_transpose1" in report.first_difference.what


MISTAKES = {
    "other operand": ("stage1.py", "x = relu2 + relu1", "x = relu2 + relu2", "output"),
    "a layer left out": ("stage0.py", "x = self.bn1(x)", "x = x", "output"),
    "another stride": (
        "stage1.py",
        "conv3 = self.conv3(pool1)",
        "conv3 = self.conv3(pool1) * 2",
        "output",
    ),
    "operands the other way round": ("stage1.py", "[conv3, x]", "[x, conv3]", "output"),
    "gradient cut": ("stage2.py", "x = self.fc1(x)", "x = self.fc1(x.detach())", "gradient"),
    "outputs swapped": ("stage0.py", "return relu1, relu2", "return relu2, relu1", "output"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found(mistake, tmp_path):
    file, right, wrong, where = MISTAKES[mistake]
    folder = write(cut_evenly(residual(), 3), tmp_path / "net")
    path = folder / file
    text = path.read_text()
    assert text.count(right) == 1
    path.write_text(text.replace(right, wrong))
    report = verify_package(folder)
    assert not report.equal
    assert report.first_difference.what.startswith(where)
    if where == "output":
        assert report.first_difference.stage == int(file[5])


def test_a_module_that_is_missing_is_an_error(tmp_path):
    folder = write(cut_evenly(residual(), 3), tmp_path / "net")
    path = folder / "stage0.py"
    path.write_text(path.read_text().replace("relu1", "relu9"))
    with pytest.raises(InputError, match="the module 'relu1' is not on both sides"):
        verify_package(folder)


def test_folders_that_are_no_packages_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        verify_package(tmp_path / "nothing")
    with pytest.raises(InputError, match="no such file"):
        verify_package(tmp_path)
    folder = write(cut_evenly(residual(), 2), tmp_path / "net")
    (folder / "stage1.py").write_text("import unheard_of_package\n")
    with pytest.raises(InputError, match="cannot be imported: No module named 'unheard_of"):
        verify_package(folder)


def test_a_registered_layer_runs_on_both_sides(tmp_path, monkeypatch):
    (tmp_path / "scaling_layers.py").write_text(
        "from torch import nn, ones\n"
        "class Scale(nn.Module):\n"
        "    def __init__(self, size, bias=0.0):\n"
        "        super().__init__()\n"
        "        self.factor, self.bias = nn.Parameter(2 * ones(size)), bias\n"
        "    def forward(self, x):\n"
        "        return self.factor * x + self.bias\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    register_layer("Scale", "scaling_layers.Scale", "size / bias")
    node = Text()
    x = node("Linear(4, 6)", node("Input0", stage=0), stage=0)
    node("Scale(6, bias=0.5)", x, stage=1)
    report = verify_package(write(node.graph(), tmp_path / "net"))
    assert report.equal
    assert report.stages[1].parameters == 6


def test_a_sparse_registered_layer_keeps_the_coordinates(tmp_path, monkeypatch):
    pytest.importorskip("MinkowskiEngine")
    (tmp_path / "sparse_layers.py").write_text(
        "import MinkowskiEngine as ME\n"
        "from torch import nn\n"
        "class Double(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x + x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    register_layer("Double", "sparse_layers.Double", sparse=True)
    node = Text()
    x = node(
        "MinkowskiConvolution(2, 4, kernel_size=3, dimension=3)", node("Input0", stage=0), stage=0
    )
    node("Double()", x, stage=1)
    report = verify_package(write(node.graph(), tmp_path / "net"))
    assert report.equal, report.first_difference


def test_input_and_code_that_do_not_run_are_errors(tmp_path):
    folder = write(cut_evenly(residual(), 2), tmp_path / "net")
    with pytest.raises(InputError, match="the unsplit network does not run on this input: "):
        verify_package(folder, inputs=lambda: [torch.ones(2, 4, 32, 32)])
    path = folder / "stage1.py"
    path.write_text(path.read_text().replace("dim=1", "dim=9"))
    with pytest.raises(InputError, match="stage 1 does not run: IndexError"):
        verify_package(folder)


def test_own_inputs_and_single_precision(tmp_path):
    folder = write(cut_evenly(residual(), 2), tmp_path / "net")
    report = verify_package(
        folder, inputs=lambda: [torch.ones(3, 3, 32, 32)], precision="float32", seed=7
    )
    assert report.equal
    assert report.tolerance == 1e-4


LAYERS = ("Conv2d(4, 4, kernel_size=(3, 3), padding=(1, 1))", "BatchNorm2d(4)", "ReLU(inplace)")


@st.composite
def random_networks(draw: st.DrawFn) -> LayerGraph:
    """A random acyclic graph of image layers at a random convex cut."""
    source = draw(st.randoms(use_true_random=False))
    node = Text()
    made = [node("Conv2d(3, 4, kernel_size=(1, 1))", node("Input0"))]
    for _ in range(draw(st.integers(3, 14))):
        kind = source.randrange(5)
        recent = made[-4:]
        if kind == 3:
            made.append(node("Add(inplace)", *source.choices(recent, k=2)))
        elif kind == 4:
            joined = node("Concat(1)", *source.choices(recent, k=2))
            made.append(node("Conv2d(8, 4, kernel_size=(1, 1))", joined))
        else:
            made.append(node(LAYERS[kind], source.choice(recent)))
    graph = node.graph("random")
    stages = draw(st.integers(1, 4))
    order = [x for x in topological(graph) if x not in graph.inputs]
    stages = min(stages, len(order))
    ends = sorted(source.sample(range(1, len(order)), stages - 1))
    stage_of = {x: sum(k >= end for end in ends) for k, x in enumerate(order)}
    return graph.with_stages({**dict.fromkeys(graph.inputs, 0), **stage_of})


@settings(max_examples=25, deadline=None, derandomize=True)
@given(graph=random_networks())
def test_random_networks_at_random_cuts(graph, tmp_path_factory):
    check(graph, tmp_path_factory.mktemp("random") / "net")


SMALL = ("example_tv", "example_txp", "resnet18")
LARGE = (
    "squeezenet1_0",
    "alexnet",
    "gnmt",
    "vgg16",
    "resnet50",
    "inception_v3",
    "minkvgg_b64_RTX",
    "nasnetamobile",
)


@pytest.mark.reference
@pytest.mark.parametrize(
    "name", [*SMALL, *(pytest.param(x, marks=pytest.mark.slow) for x in LARGE)]
)
def test_reference_profiles_verify(name, reference, tmp_path):
    if name.startswith("mink"):
        pytest.importorskip("MinkowskiEngine")
    graph = read_profile(reference / "profiles" / f"{name}.txt")
    check(cut_evenly(graph, 4), tmp_path / "net")


@pytest.mark.reference
def test_every_reference_profile_is_written_and_imports(reference, tmp_path):
    paths = sorted((reference / "profiles").glob("*.txt"))
    assert len(paths) >= 19
    for path in paths:
        folder = write(cut_evenly(read_profile(path), 4), tmp_path / path.stem)
        if path.stem.startswith("mink") and not importlib.util.find_spec("MinkowskiEngine"):
            continue
        with imported_package(folder) as package:
            assert package.arch() == "net"
