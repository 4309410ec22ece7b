"""What is measured: the document, its counts, its statistics, and the way back to the text."""

from __future__ import annotations

import pytest

from stagewright.emit.package import emit_package, staged_from_profile
from stagewright.model.errors import NetworkError
from stagewright.model.graph import LayerGraph
from stagewright.model.profile import format_profile, parse_profile
from stagewright.model.profile_document import ProfileDocument
from stagewright.scenarios.models import MODELS, SPARSE, model

torch = pytest.importorskip("torch")

import profiled_networks  # noqa: E402

from stagewright.emit.verify import verify_package  # noqa: E402
from stagewright.profile.measuring import Measuring  # noqa: E402
from stagewright.profile.request import Note, Progress, Request  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def measured(network: str, inputs: str, messages: list | None = None, **options) -> ProfileDocument:
    """Measure a network of ``profiled_networks`` in this process."""
    request = Request(
        model=f"profiled_networks:{network}",
        input=f"profiled_networks:{inputs}",
        **{"threads": 1, "repeats": 2, "warm_up": 1, **options},
    )
    return Measuring(request, (messages if messages is not None else []).append).document()


def test_document_goes_through_text_and_back():
    messages: list = []
    document = measured("Encoder", "tokens", messages, arguments={"blocks": "1"})
    assert ProfileDocument.model_validate_json(document.dumps()) == document
    graph = document.graph("encoder")
    assert parse_profile(format_profile(graph)) == graph
    assert graph.by_id["node1"].total_ms == 0
    assert all(x.forward_ms >= 0 for x in graph.layers)
    assert graph.by_id["node2"].activation_bytes == 4 * 3 * 8 * 32
    assert document.batch == 3
    assert document.precision == "float32"
    assert document.device.threads == 1
    assert document.measurement.clock == "thread"
    assert messages[-1] == Progress(what="measuring", done=3, total=3)


def test_products_are_counted():
    """Backward: a product for the weight, and one for the operand if that takes a gradient."""
    nodes = {x.name: x for x in measured("SharedLayer", "rows").nodes}
    one_product = 2 * 6 * 16 * 16
    assert nodes["first"].forward.flops == one_product
    assert nodes["first"].backward.flops == one_product
    assert nodes["between"].backward.flops == 2 * one_product
    weights, activation = 4 * (16 * 16 + 16), 4 * 6 * 16
    assert nodes["between"].forward.bytes == weights + 2 * activation
    assert nodes["between"].backward.bytes == 2 * weights + 3 * activation


def test_pairs_of_voxels_are_counted():
    pytest.importorskip("MinkowskiEngine")
    document = measured("minkvgg", "clouds", arguments={"width": "2", "hidden": "4"})
    (cloud,) = profiled_networks.clouds()
    places = {tuple(x) for x in cloud.C.tolist()}
    steps = [(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)]
    pairs = sum((b, x + u, y + v, z + w) in places for b, x, y, z in places for u, v, w in steps)
    convolutions = [x for x in document.nodes if "Convolution" in x.description]
    assert convolutions[0].forward.flops == 2 * pairs * 1 * 2
    assert convolutions[0].backward.flops == 2 * pairs * 1 * 2
    assert convolutions[1].forward.flops == 2 * pairs * 2 * 2
    assert convolutions[1].backward.flops == 2 * convolutions[1].forward.flops


def test_minibatches_differ_and_their_statistics_are_kept():
    pytest.importorskip("MinkowskiEngine")
    document = measured(
        "minkvgg",
        "clouds",
        arguments={"width": "2", "hidden": "4"},
        input_arguments={"more": "400"},
        minibatches=3,
        repeats=1,
    )
    points = [inputs[0].points for inputs in document.inputs]
    assert [x.clouds for x in points] == [2, 2, 2]
    assert points[0].mean < points[1].mean < points[2].mean
    node = document.nodes[1]
    assert len(node.forward.minibatches_ms) == 3
    assert node.forward.p95_ms >= node.forward.median_ms
    rows, coordinates = node.activation_bytes
    assert coordinates == 2 * rows  # two channels, and four numbers that say where
    assert sum(node.activation_bytes) == pytest.approx(sum(node.activation_minibatches_bytes) / 3)


def test_other_precisions_change_sizes():
    document = measured("SharedLayer", "rows", precision="float64")
    assert document.precision == "float64"
    assert document.nodes[1].activation_bytes == (8 * 6 * 16,)


@pytest.mark.parametrize("case", profiled_networks.DENSE_CASES)
def test_profile_is_emitted_and_verified_unedited(case, tmp_path):
    make, inputs = profiled_networks.DENSE_CASES[case]
    messages: list = []
    document = measured(make.__name__, inputs.__name__, messages, repeats=1, warm_up=0)
    close_the_loop(document, inputs, tmp_path)
    if document.shared:
        assert any("share weights" in x.text for x in messages if isinstance(x, Note))


def close_the_loop(document: ProfileDocument, inputs, folder) -> None:
    """Cut in two where the layers allow it, write the stages, and hold them against the whole."""
    text = folder / "graph.txt"
    text.write_text(format_profile(cut(document)))
    emit_package(staged_from_profile(text), folder / "net", name="Net", arch="net", target="torch")
    report = verify_package(folder / "net", inputs=inputs)
    assert report.first_difference is None
    assert len(report.stages) == 2


def cut(document: ProfileDocument) -> LayerGraph:
    """Two stages; layers that hold the same weights, and all between them, lie in one."""
    graph = document.graph()
    nodes = [x.id for x in graph.layers if x.id not in graph.inputs]
    end = len(nodes) // 2
    for group in document.shared:
        places = [nodes.index(x) for x in group]
        if min(places) < end <= max(places):
            end = max(places) + 1 if max(places) + 1 < len(nodes) else min(places)
    if end == 0:  # the first layer and the last: the rest is a stage, and no more can be
        pytest.skip("layers that hold the same weights span the network")
    stage_of = {x: int(k >= end) for k, x in enumerate(nodes)}
    return graph.with_stages(stage_of | dict.fromkeys(graph.inputs, 0))


def test_sizes_may_differ_between_minibatches():
    document = measured("by_hand", "changing_sequences", minibatches=2)
    assert [x[0].shape for x in document.inputs] == [(2, 5, 16), (3, 6, 16)]


def test_layers_may_not_differ_between_minibatches():
    """One step of the recurrence for each position: a longer sequence has more layers."""
    with pytest.raises(NetworkError, match=r"first minibatch compute something else on another"):
        measured("Unrolled", "changing_sequences", minibatches=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_networks_of_the_scenarios_close_the_loop(name, tmp_path, monkeypatch):
    if name in SPARSE:
        pytest.importorskip("MinkowskiEngine")
    module = model(name)
    made = {"loop_network": lambda: module.network(module.SMALL), "loop_input": module.make_input}
    for key, value in made.items():
        monkeypatch.setattr(profiled_networks, key, value, raising=False)
    document = measured("loop_network", "loop_input", repeats=1, warm_up=0)
    close_the_loop(document, lambda: module.make_input(0), tmp_path)
