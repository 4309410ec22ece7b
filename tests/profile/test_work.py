"""Work that is estimated from descriptions, against counts that are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders import graph_of, layer
from stagewright.model.profile import read_profile
from stagewright.profile.roofline import Work
from stagewright.profile.work import (
    ON_CHIP_BYTES_PER_FLOP,
    LayerWork,
    estimate_work,
    neighbours,
    on_chip,
)
from stagewright.scenarios.models import inception_v3, resnet50, vgg16

SAMPLES = Path(__file__).parents[2] / "hete_files" / "profiles"


def work_of(description, written_bytes, read_bytes=0.0, parameter_bytes=0.0) -> LayerWork:
    graph = graph_of(
        [
            layer("x", activation_bytes=read_bytes, description="Input"),
            layer("y", 1, 1, written_bytes, parameter_bytes, description),
        ],
        "x->y",
    )
    return estimate_work(graph)["y"]


@pytest.mark.parametrize(
    ("network", "gigaflops"),
    [(vgg16, 30.94), (resnet50, 8.18), (inception_v3, 11.43)],
    ids=["vgg16", "resnet50", "inception_v3"],
)
def test_image_networks_take_the_published_number_of_operations(network, gigaflops):
    graph = network.layer_graph()
    flops = sum(x.forward.flops for x in estimate_work(graph).values())
    assert flops / network.FULL.batch / 1e9 == pytest.approx(gigaflops, rel=2e-3)


@pytest.mark.parametrize(
    ("description", "flops"),
    [
        ("Conv2d(3, 8, kernel_size=(3, 3))", 2 * 50 * 3 * 8 * 9),
        ("Conv2d(8, 8, kernel_size=3, stride=2, groups=4)", 2 * 50 * 8 * 8 * 9 / 4),
        ("Conv1d(4, 8, 5)", 2 * 50 * 4 * 8 * 5),
        ("ConvTranspose2d(5, 8, kernel_size=(2, 2), stride=(2, 2))", 2 * 20 * 5 * 8 * 4),
        ("Linear(in_features=16, out_features=8, bias=True)", 2 * 50 * 8 * 16),
        ("MinkowskiLinear(in_features=16, out_features=8, bias=True)", 2 * 50 * 8 * 16),
        ("LSTM(16, 8)", 2 * 50 * 1000),
        ("LSTM(16, 4, bidirectional=True)", 2 * 50 * 1000),
        ("Wrapped(  (inner): Linear(in_features=4, out_features=8, bias=False))", 2 * 50 * 1000),
        ("MinkowskiConvolution(in=16, out=8, kernel_size=[1, 1, 1], dimension=3)", 2 * 50 * 128),
        (
            "MinkowskiConvolution(in_channels=16, out_channels=8, kernel_size=[3, 3, 3], "
            "stride=[1, 1, 1], dilation=[1, 1, 1], bias=None, dimension=3)",
            2 * 50 * 13.5 * 128,
        ),
        ("MinkowskiChannelwiseConvolution(in_channels=8, kernel_size=[3, 3, 3])", 0),
        ("Swish(8)", 0),
        ("ReLU(inplace)", 0),
    ],
)
def test_operations_of_a_forward_pass(description, flops):
    # 50 places of 8 channels come out, 20 of 5 went in; 1,000 weights.
    found = work_of(description, 50 * 8 * 4, 20 * 5 * 4, 4000).forward.flops
    expected = pytest.approx(flops, rel=1e-12)
    if "Channelwise" in description:
        expected = pytest.approx(2 * 50 * 13.5 * 8)
    assert found == expected


def test_a_kernel_that_tiles_space_joins_each_fine_point_once():
    down = "MinkowskiConvolution(in=4, out=8, kernel_size=[2, 2, 2], stride=[2, 2, 2])"
    up = "MinkowskiConvolutionTranspose(in=8, out=4, kernel_size=[2, 2, 2], stride=[2, 2, 2])"
    fine, coarse = 70 * 4 * 4, 20 * 8 * 4
    assert work_of(down, coarse, fine).forward.flops == 2 * 70 * 4 * 8
    assert work_of(up, fine, coarse).forward.flops == 2 * 70 * 4 * 8


def test_wider_kernels_hold_more_points_but_never_more_than_cells():
    counts = [neighbours(side**3) for side in range(1, 8)]
    assert counts == sorted(counts)
    assert all(1 <= n <= side**3 for side, n in enumerate(counts, start=1))


def test_traffic_with_the_memory():
    assert work_of("ReLU()", 100, 100) == LayerWork(Work(0, 200), Work(0, 300))
    assert work_of("MinkowskiReLU()", 100, 100) == LayerWork(Work(0, 200), Work(0, 300))
    assert work_of("BatchNorm2d(8)", 100, 100, 64) == LayerWork(Work(0, 300), Work(0, 500))
    assert work_of("MaxPool2d(2)", 100, 400) == LayerWork(Work(0, 500), Work(0, 500))
    linear = work_of("Linear(4, 8)", 320, 160, 128)
    assert linear.forward == Work(2 * 80 * 4, 320 + 160 + 128)
    assert linear.backward == linear.forward.times(2)
    for view in ("View(-1)", "Size(0)", "__getitem__(0)", "hidden"):
        assert work_of(view, 100, 100) == LayerWork(Work(), Work())


def test_sparse_convolutions_alone_go_through_the_chip():
    sparse = "MinkowskiConvolution(in_channels=4, out_channels=8, kernel_size=[3, 3, 3])"
    work = LayerWork(Work(10, 1), Work(20, 1))
    assert on_chip(sparse, work).backward == Work(20, 1, 20 * ON_CHIP_BYTES_PER_FLOP)
    for other in ("Conv2d(4, 8, 3)", "MinkowskiLinear(4, 8)", "MinkowskiBatchNorm(4)"):
        assert on_chip(other, work) == work


@pytest.mark.parametrize(
    "description",
    ["__import__('os').system('touch hit')", "Conv2d(open('hit', 'w'), 3)", "Conv2d(3", "", "?"],
)
def test_descriptions_are_never_evaluated(description, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert work_of(description, 100, 100).forward == Work(0, 200)
    assert list(tmp_path.iterdir()) == []


def test_the_sample_profile_is_understood_layer_by_layer():
    graph = read_profile(SAMPLES / "minkvgg_titanv.txt")
    works = estimate_work(graph)
    for x in graph.layers:
        matrix = "Convolution" in x.description or "Linear" in x.description
        assert (works[x.id].forward.flops > 0) == matrix, x.description
        assert (works[x.id].forward.moved_bytes > 0) == (x.id != "node1")
