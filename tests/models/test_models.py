"""The networks that we plan and test on, as layer graphs."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter
from pathlib import Path

import networkx as nx
import pytest

from stagewright.model.errors import InputError
from stagewright.model.graph import LayerGraph
from stagewright.model.profile import format_profile, parse_profile, read_profile
from stagewright.scenarios.models import MODELS, SPARSE, model
from stagewright.scenarios.models.roofline import FLOAT_BYTES, Roofline

MEASURED = {
    "minkvgg16_bn": "minkvgg_b64_RTX.txt",
    "vgg16": "vgg16.txt",
    "resnet50": "resnet50.txt",
    "inception_v3": "inception_v3.txt",
    "gnmt": "gnmt.txt",
}


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def labelled(graph: LayerGraph) -> nx.DiGraph:
    """The graph with what a node is as its label, whatever its name."""
    labels = {x.id: f"{x.description} {x.parameter_bytes}" for x in graph.layers}
    result = nx.DiGraph(list(graph.edges))
    nx.set_node_attributes(result, labels, "label")
    return result


def descriptions_into(graph: LayerGraph, text: str) -> list[list[str]]:
    """What the operands are of each node whose description is ``text``, in order."""
    return [
        [graph.by_id[u].description for u in graph.operands(x.id)]
        for x in graph.layers
        if x.description == text
    ]


# --- the networks are the published ones ------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("minkvgg16_bn", 252_731_296 // FLOAT_BYTES),
        ("vgg16", 138_357_544),
        ("resnet50", 25_557_032),
        ("inception_v3", 27_161_264),
    ],
)
def test_number_of_weights(name, parameters):
    assert model(name).layer_graph().parameter_bytes == parameters * FLOAT_BYTES


def test_minkvgg_is_a_chain_of_53():
    graph = model("minkvgg16_bn").layer_graph()
    assert len(graph.layers) == 53
    assert list(graph.edges) == [(f"node{k}", f"node{k + 1}") for k in range(1, 53)]


@pytest.mark.reference
@pytest.mark.parametrize(("name", "file"), MEASURED.items())
def test_spelling_and_weights_are_those_of_the_measured_profile(name, file, reference):
    measured = read_profile(reference / "profiles" / file)
    ours = model(name).layer_graph()
    for figure in (lambda x: x.description, lambda x: (x.description, x.parameter_bytes)):
        assert Counter(map(figure, ours.layers)) == Counter(map(figure, measured.layers))


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore:The hashes produced:UserWarning")
@pytest.mark.parametrize(("name", "file"), MEASURED.items())
def test_edges_are_those_of_the_measured_profile(name, file, reference):
    graphs = (model(name).layer_graph(), read_profile(reference / "profiles" / file))
    ours, measured = (
        nx.weisfeiler_lehman_graph_hash(labelled(x), node_attr="label", iterations=8)
        for x in graphs
    )
    assert ours == measured


@pytest.mark.reference
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "inception_v3"])
def test_activations_are_those_of_the_measured_profile(name, reference):
    measured = read_profile(reference / "profiles" / MEASURED[name])
    ours = model(name).layer_graph()
    assert Counter((x.description, x.activation_bytes) for x in ours.layers) == Counter(
        (x.description, x.activation_bytes) for x in measured.layers
    )


@pytest.mark.reference
@pytest.mark.parametrize(("name", "file"), MEASURED.items())
def test_estimated_times_are_within_a_factor_of_three(name, file, reference):
    measured = read_profile(reference / "profiles" / file).total_ms
    assert measured / 3 < model(name).layer_graph().total_ms < measured * 3


# --- every graph ------------------------------------------------------------------------


def test_graph_survives_profile_text(name):
    graph = model(name).layer_graph()
    assert parse_profile(format_profile(graph)) == graph


def test_small_graph_is_small(name):
    small = model(name).layer_graph(model(name).SMALL)
    assert small.parameter_bytes < 4e6
    assert small.total_ms < model(name).layer_graph().total_ms


def test_every_node_is_reached_from_an_input_or_the_hidden_state(name):
    graph = model(name).layer_graph(model(name).SMALL)
    starts = {x for x in graph.digraph if graph.digraph.in_degree(x) == 0}
    assert {graph.by_id[x].description for x in starts} <= {
        "Input",
        "Input0",
        "Input1",
        "Input2",
        "hidden",
    }


def test_half_the_speed_takes_twice_the_time(name):
    fast = model(name).layer_graph(roofline=Roofline(2e13, 1e12, 0))
    slow = model(name).layer_graph(roofline=Roofline(1e13, 5e11, 0))
    assert slow.total_ms == pytest.approx(2 * fast.total_ms, rel=0.02)


def test_unknown_model():
    with pytest.raises(InputError, match=r"no model 'lenet'\. Take one of minkvgg16_bn, "):
        model("lenet")


# --- what makes each network hard to cut -------------------------------------------------


def test_unet_skips_join_levels_of_the_same_size():
    graph = model("minkunet").layer_graph()
    nodes = [x.id for x in graph.layers]
    spans = []
    for node in nodes:
        if graph.by_id[node].description == "Concat(1)":
            up, skip = graph.operands(node)
            assert graph.by_id[up].description == "MinkowskiReLU()"
            rows = {graph.by_id[x].activation_bytes % 4 for x in (up, skip)}
            assert rows == {0}
            spans.append(nodes.index(node) - nodes.index(skip))
    assert spans == sorted(spans)
    assert len(spans) == 4
    assert spans[-1] > len(nodes) / 2


def test_unet_climbs_to_the_rows_that_it_left():
    sizes = model("minkunet").FULL
    graph = model("minkunet").layer_graph(sizes)
    transposed = [x for x in graph.layers if x.description.startswith("MinkowskiConvolutionT")]
    rows = sizes.clouds * sizes.points
    widths = dict(zip(transposed, sizes.decoder, strict=True))
    assert [x.activation_bytes / (4 * widths[x] + 16) for x in transposed] == [
        rows / 64,
        rows / 16,
        rows / 4,
        rows,
    ]


def test_unet_of_uneven_levels_is_refused():
    module = model("minkunet")
    sizes = dataclasses.replace(module.SMALL, decoder=(8, 8))
    with pytest.raises(InputError, match="a U-Net of 3 levels down and 2 up"):
        module.layer_graph(sizes)


def test_resnet_adds_the_branch_to_the_shortcut():
    module = model("minkresnet")
    operands = descriptions_into(module.layer_graph(), "Add")
    kinds = [[x.split("(")[0].removeprefix("Minkowski") for x in pair] for pair in operands]
    same, halved = ["BatchNorm", "ReLU"], ["BatchNorm", "BatchNorm"]
    assert kinds == [["BatchNorm", "MaxPooling"], same] + 3 * [halved, same]


def test_image_too_small_for_the_network():
    module = model("inception_v3")
    with pytest.raises(InputError, match=r"does not fit a map of .*\. Take larger images"):
        module.layer_graph(dataclasses.replace(module.SMALL, image=40))


def test_gnmt_attention_reads_four_things():
    graph = model("gnmt").layer_graph()
    (attention,) = [x for x in graph.layers if x.description.startswith("RecurrentAttention")]
    assert [graph.by_id[u].description for u in graph.operands(attention.id)] == [
        "Embedding(32320, 1024, padding_idx=0)",
        "__getitem__(0)",
        "Add",
        "Input1",
    ]
    assert len(attention.activation_parts_bytes) == 5


# --- lightness --------------------------------------------------------------------------


def test_graphs_need_neither_torch_nor_minkowskiengine():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['MinkowskiEngine'] = None\n"
        "from stagewright.scenarios.models import MODELS, model\n"
        "print(sum(len(model(x).layer_graph().layers) for x in MODELS))"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    total = sum(len(model(x).layer_graph().layers) for x in MODELS)
    assert shown.stdout == f"{total}\n"


def test_sparse_networks_are_listed_as_such(name):
    graph = model(name).layer_graph(model(name).SMALL)
    sparse = any(x.description.startswith("Minkowski") for x in graph.layers)
    assert sparse == (name in SPARSE)
