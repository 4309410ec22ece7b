"""The layers that are found are those of the network: counts, weights, descriptions, and bits."""

from __future__ import annotations

import pytest

from stagewright.model.errors import NetworkError
from stagewright.model.profile import read_profile
from stagewright.scenarios.models import MODELS, SPARSE, model

torch = pytest.importorskip("torch")

from profiled_networks import (  # noqa: E402
    DENSE_CASES,
    DataDependent,
    Encoder,
    OldAlias,
    SharedLayer,
    TiedBias,
    by_hand,
    clouds,
    minkvgg,
    rows,
    sequences,
    stock_encoder,
    tokens,
)

from stagewright.profile.capture import capture  # noqa: E402
from stagewright.profile.leaves import Leaves  # noqa: E402
from stagewright.profile.nodes import make_nodes  # noqa: E402
from stagewright.profile.recording import CannotRecord  # noqa: E402
from stagewright.profile.trace import trace  # noqa: E402
from stagewright.profile.watch import watch  # noqa: E402


def captured(network, inputs, is_leaf=None):
    """The nodes of a network, and what was said on the way."""
    notes = []
    found = capture(network.train(), (inputs, {}), is_leaf or Leaves(), notes.append)
    return make_nodes(found.recording, found.values), notes


def weights_bytes(network):
    return sum(x.numel() * x.element_size() for x in network.parameters())


@pytest.fixture(params=MODELS)
def module(request):
    if request.param in SPARSE:
        pytest.importorskip("MinkowskiEngine")
    return model(request.param)


def test_weights_are_those_of_the_network(module):
    network = module.network(module.SMALL)
    nodes, notes = captured(network, module.make_input(0))
    assert sum(x.parameter_bytes for x in nodes.nodes) == weights_bytes(network)
    assert notes == []
    assert not any(x.problem for x in nodes.nodes)


@pytest.mark.parametrize("name", SPARSE)
def test_sparse_networks_are_the_layer_graphs_written_by_hand(name):
    """Same layers, same order, same operands; only the reduction of a global pooling may differ."""
    pytest.importorskip("MinkowskiEngine")
    module = model(name)
    nodes, _ = captured(module.network(module.SMALL), module.make_input(0))
    graph = module.layer_graph(module.SMALL)
    assert [x.operands for x in nodes.nodes] == [tuple(graph.operands(x.id)) for x in graph.layers]
    assert [x.parameter_bytes for x in nodes.nodes] == [x.parameter_bytes for x in graph.layers]
    assert [kind(x) for x in nodes.nodes] == [kind(x) for x in graph.layers]


def kind(node):
    return node.description.partition("(")[0]


def test_tracing_and_watching_find_the_same_layers(module):
    inputs = (module.make_input(0), {})
    network = module.network(module.SMALL).train()
    found = []
    for way in (trace, watch):
        recording = way(network, inputs, Leaves())
        values = recording.replay(inputs)
        aliases = recording.passed_through(values)
        recording = recording.without(aliases)
        nodes = make_nodes(recording, recording.replay(inputs)).nodes
        found.append([(x.description, x.operands, x.parameter_bytes) for x in nodes])
    assert found[0] == found[1]


@pytest.mark.reference
def test_minkvgg_is_the_published_profile(reference):
    """53 nodes and 52 edges, in the same order, with the same weights."""
    pytest.importorskip("MinkowskiEngine")
    published = read_profile(reference / "profiles" / "minkvgg_b64_RTX.txt")
    module = model("minkvgg16_bn")
    nodes, _ = captured(module.network(module.FULL), clouds())
    edges = tuple((u, x.id) for x in nodes.nodes for u in x.operands)
    assert len(nodes.nodes) == 53
    assert len(edges) == 52
    assert edges == published.edges
    ours = [(x.id, kind(x), x.parameter_bytes) for x in nodes.nodes]
    assert ours == [(x.id, kind(x), x.parameter_bytes) for x in published.layers]
    for mine, theirs in zip(nodes.nodes, published.layers, strict=True):
        if "PoolingMode" not in theirs.description:
            assert mine.description == theirs.description


@pytest.mark.parametrize("case", DENSE_CASES)
def test_transformers_and_shared_layers_have_all_their_weights(case):
    make, inputs = DENSE_CASES[case]
    network = make()
    nodes, _ = captured(network, (inputs(),))
    assert sum(x.parameter_bytes for x in nodes.nodes) == weights_bytes(network)
    assert not any(x.problem for x in nodes.nodes)


def test_graph_is_that_of_autograd():
    """Every weight hangs where autograd has it: taking an edge away takes its gradient away."""
    network = Encoder()
    found = capture(network.train(), ((tokens(),), {}), Leaves(), [].append)
    nodes = make_nodes(found.recording, found.values)
    seen, waiting = set(), [found.recording.results(found.values)[0].grad_fn]
    while waiting:
        function = waiting.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        waiting += [x for x, _ in function.next_functions]
    reached = {x.variable for x in seen if hasattr(x, "variable")}
    assert reached == set(network.parameters())
    backwards = [x.name() for x in seen]
    for layer, function in (("LayerNorm", "NativeLayerNormBackward0"), ("GELU", "GeluBackward0")):
        assert sum(kind(x) == layer for x in nodes.nodes) == backwards.count(function)


def test_computing_with_sizes_is_watched_and_said():
    nodes, notes = captured(by_hand(), (sequences(),))
    assert notes == [
        "torch.fx does not fit this network (sizes of tensors are computed with (floordiv)); "
        "watching a run instead"
    ]
    texts = [x.description for x in nodes.nodes]
    assert texts.count("Chunk(3, -1, 0)") == 2
    assert "View(4, 4)" in texts  # the two lengths in front are operands, good for any batch
    assert "Size(0)" in texts


def test_layers_of_torch_that_are_made_of_layers_are_taken_apart():
    nodes, _ = captured(stock_encoder(), (sequences(),))
    assert sum(kind(x) == "MultiheadAttention" for x in nodes.nodes) == 2
    assert sum(kind(x) == "Add" for x in nodes.nodes) == 4


def test_a_class_of_ones_own_is_one_layer_if_it_is_named():
    nodes, _ = captured(by_hand(), (sequences(),), Leaves({"AttentionByHand"}))
    assert [x.description for x in nodes.nodes[2:]] == ["AttentionByHand(heads=4)"] * 2


def test_shared_weights_are_marked_and_counted_once():
    nodes, _ = captured(SharedLayer(), (rows(),))
    shared = [x for x in nodes.nodes if "shared=1" in x.description]
    assert nodes.shared == (tuple(x.id for x in shared),)
    assert [x.parameter_bytes for x in shared] == [4 * (16 * 16 + 16), 0]
    assert sum(x.description == "ReLU(inplace=True)" for x in nodes.nodes) == 3


def test_weights_that_no_description_can_share_are_a_problem():
    nodes, _ = captured(TiedBias(), (rows(),))
    assert nodes.shared == (("node2", "node3"),)
    assert all("other than 'weight'" in x.problem for x in nodes.nodes[1:])


def test_an_overwritten_tensor_that_is_read_again_is_found_out():
    """Following the code mistakes it; the check against the network itself sees that."""
    nodes, notes = captured(OldAlias(), (rows(),))
    assert "compute something else" in notes[0]
    assert nodes.nodes[-1].description.startswith("Linear")


def test_a_choice_by_numbers_is_refused_with_its_place():
    with pytest.raises(NetworkError, match=r"depends on the numbers .*if y\.sum\(\) > 0"):
        captured(DataDependent(), (rows(),))


def test_tracing_does_not_fit_a_choice_by_numbers():
    with pytest.raises(CannotRecord, match="control flow"):
        trace(DataDependent(), ((rows(),), {}), Leaves())


def test_features_taken_from_a_sparse_tensor_are_a_layer():
    pytest.importorskip("MinkowskiEngine")

    class Head(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = minkvgg(width=2, hidden=4)

        def forward(self, x):
            return self.net(x).F

    nodes, _ = captured(Head(), clouds())
    assert nodes.nodes[-1].description == "Features"
