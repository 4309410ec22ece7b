"""Predicted profiles as files, from a text alone and from a text with its document."""

from __future__ import annotations

import json

import pytest

from builders import graph_of, layer
from stagewright.model.errors import InputError
from stagewright.model.profile import format_profile, parse_profile, read_profile
from stagewright.model.profile_document import (
    Device,
    Measurement,
    Node,
    Pass,
    ProfileDocument,
    WholeStep,
    at_quantile,
)
from stagewright.profile.devices import Precision, known_device
from stagewright.profile.prediction import SCHEMA, Measured, measured_profile, predict
from stagewright.profile.roofline import Work
from stagewright.profile.transfer import Transfer
from stagewright.profile.work import ON_CHIP_BYTES_PER_FLOP, LayerWork, estimate_work

SPARSE = (
    "MinkowskiConvolution(in_channels=4, out_channels=8, kernel_size=[3, 3, 3], stride=[1, 1, 1], "
    "dilation=[1, 1, 1], bias=None, dimension=3)"
)
GRAPH = graph_of(
    [
        layer("node1", 0, 0, 1600, description="Input0"),
        layer("node2", 2.0, 5.0, 3200, 3456, SPARSE),
        layer("node3", 0.5, 0.25, 3200, 0, "MinkowskiReLU()"),
    ],
    "node1->node2 node2->node3",
)
V100_TO_A100 = Transfer(known_device("V100"), known_device("A100"))


def one_pass(median_ms: float, flops: float) -> Pass:
    return Pass(
        median_ms=median_ms,
        spread_ms=median_ms / 10,
        p95_ms=median_ms * 1.2,
        minibatches_ms=(median_ms * 0.8, median_ms * 1.2),
        flops=flops,
        bytes=flops / 100,
    )


def document(precision: str = "float32", kind: str = "cuda") -> ProfileDocument:
    nodes = tuple(
        Node(
            id=x.id,
            description=x.description,
            activation_bytes=x.activation_parts_bytes,
            activation_minibatches_bytes=(x.activation_bytes, x.activation_bytes),
            parameter_bytes=x.parameter_bytes,
            forward=one_pass(x.forward_ms, 1e9),
            backward=one_pass(x.backward_ms, 2e9),
        )
        for x in GRAPH.layers
    )
    return ProfileDocument(
        schema="stagewright.profile/1",
        model="m:f",
        input="m:g",
        device=Device(kind=kind, name="Tesla V100-SXM2-16GB", threads=1, memory_bytes=16e9),
        versions={},
        precision=precision,
        batch=2,
        inputs=((),),
        measurement=Measurement(
            capture="torch.fx",
            clock="cuda-events",
            warm_up=1,
            repeats=2,
            minibatches=2,
            overhead_forward_ms=0,
            overhead_backward_ms=0,
        ),
        step=WholeStep(forward_ms=3, backward_ms=5, total_ms=8, spread_ms=1, layers_ms=7.75),
        nodes=nodes,
        edges=GRAPH.edges,
    )


@pytest.fixture
def folder(tmp_path):
    """A folder with ``graph.txt`` and its document."""
    (tmp_path / "graph.txt").write_text(format_profile(GRAPH))
    (tmp_path / "graph.profile.json").write_text(document().dumps())
    return tmp_path


def test_counts_are_taken_from_the_document(folder):
    found = measured_profile(folder / "graph.txt")
    assert found.works["node3"] == LayerWork(Work(1e9, 1e7), Work(2e9, 2e7))
    assert found.works["node2"].backward == Work(2e9, 2e7, 2e9 * ON_CHIP_BYTES_PER_FLOP)
    assert found.precision is Precision.FP32
    (folder / "graph.profile.json").unlink()
    alone = measured_profile(folder / "graph.txt")
    assert alone.document is None
    assert alone.works == estimate_work(GRAPH)


def test_the_text_is_a_profile_and_the_rest_says_what_it_is(folder):
    measured = measured_profile(folder / "graph.txt")
    files = predict(measured, V100_TO_A100).files("graph")
    assert sorted(files) == [
        "graph_A100.prediction.json",
        "graph_A100.profile.json",
        "graph_A100.txt",
    ]
    predicted = parse_profile(files["graph_A100.txt"])
    wanted_ms = V100_TO_A100.pass_ms(2.0, measured.works["node2"].forward)
    assert predicted.by_id["node2"].forward_ms == round(wanted_ms, 6)
    assert predicted.edges == GRAPH.edges
    told = json.loads(files["graph_A100.prediction.json"])
    assert told["schema"] == SCHEMA
    assert told["predicted"] is True
    assert (told["gpu"], told["measured_on"], told["work"]) == ("A100", "V100", "counted")
    assert told["predicted_ms"] == predicted.total_ms
    assert told["nodes"][1]["forward"]["measured_ms"] == 2.0
    assert told["nodes"][1]["forward"]["predicted_ms"] == predicted.by_id["node2"].forward_ms


def test_the_document_is_carried_over_for_quantiles(folder):
    files = predict(measured_profile(folder / "graph.txt"), V100_TO_A100).files("graph")
    for name, text in files.items():
        (folder / name).write_text(text)
    path = folder / "graph_A100.txt"
    predicted = read_profile(path)
    assert json.loads(files["graph_A100.profile.json"])["predicted_for"] == "A100"
    worst = at_quantile(predicted, path, 1.0)
    for x in predicted.layers:
        assert worst.by_id[x.id].forward_ms == pytest.approx(1.2 * x.forward_ms, rel=1e-4)
        assert worst.by_id[x.id].backward_ms == pytest.approx(1.2 * x.backward_ms, rel=1e-4)


def test_a_text_alone_gives_no_document():
    files = predict(Measured(GRAPH, estimate_work(GRAPH)), V100_TO_A100).files("net")
    assert sorted(files) == ["net_A100.prediction.json", "net_A100.txt"]
    assert json.loads(files["net_A100.prediction.json"])["work"] == "estimated"


def test_the_measured_gpu_gets_the_measured_text_back():
    odd = graph_of([layer("node1", 1 / 3, 2 / 7, 10, 0, "ReLU()")])
    same = Transfer(known_device("T4"), known_device("T4"))
    files = predict(Measured(odd, estimate_work(odd)), same).files("net")
    assert files["net_T4.txt"] == format_profile(odd)


def test_half_precision_is_read_from_the_document():
    assert Measured(GRAPH, {}, document("float16")).precision is Precision.FP16
    assert Measured(GRAPH, {}, document("float64")).precision is Precision.FP32
    assert Measured(GRAPH, {}).precision is Precision.FP32


def test_a_prediction_is_not_carried_on(folder):
    for name, text in (
        predict(measured_profile(folder / "graph.txt"), V100_TO_A100).files("graph").items()
    ):
        (folder / name).write_text(text)
    with pytest.raises(InputError, match=r"is a prediction itself \('graph_A100.prediction.json'"):
        measured_profile(folder / "graph_A100.txt")


def test_a_document_of_another_network_is_refused(folder):
    (folder / "graph.txt").write_text(format_profile(graph_of([layer("other")])))
    with pytest.raises(InputError, match=r"its layers are not those of graph.txt. Measure again"):
        measured_profile(folder / "graph.txt")
