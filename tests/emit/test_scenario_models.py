"""The networks that we plan on: written at even and at random cuts, verified, and trained."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from emit_networks import cut_evenly, topological, write
from test_train import losses, train

from stagewright.emit.package import emit_package, staged_from_profile
from stagewright.emit.verify import verify_package
from stagewright.model.graph import LayerGraph
from stagewright.model.profile import format_profile
from stagewright.scenarios.models import MODELS, SPARSE, model

pytest.importorskip("torch")
pytestmark = pytest.mark.slow


def graph_of(name: str) -> LayerGraph:
    if name in SPARSE:
        pytest.importorskip("MinkowskiEngine")
    module = model(name)
    return module.layer_graph(module.SMALL)


def check(name: str, graph: LayerGraph, folder: Path) -> None:
    report = verify_package(write(graph, folder), inputs=lambda: model(name).make_input(0))
    assert report.equal, report.first_difference


@pytest.mark.parametrize("stages", [2, 3, 5])
@pytest.mark.parametrize("name", MODELS)
def test_even_cuts(name, stages, tmp_path):
    check(name, cut_evenly(graph_of(name), stages), tmp_path / "net")


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", SPARSE)
def test_random_convex_cuts(name, seed, tmp_path):
    """Any closed set of nodes may be a prefix: a random order, cut at random places."""
    graph = graph_of(name)
    source = random.Random(seed)  # noqa: S311
    waiting = {x.id: graph.digraph.in_degree(x.id) for x in graph.layers}
    ready = [x for x in topological(graph) if waiting[x] == 0]
    order = []
    while ready:
        node = ready.pop(source.randrange(len(ready)))
        order.append(node)
        for reader in graph.digraph.successors(node):
            waiting[reader] -= 1
            if waiting[reader] == 0:
                ready.append(reader)
    order = [x for x in order if x not in graph.inputs]
    ends = sorted(source.sample(range(1, len(order)), source.randint(1, 5)))
    stage_of = {x: sum(k >= end for end in ends) for k, x in enumerate(order)}
    cut = graph.with_stages({**dict.fromkeys(graph.inputs, 0), **stage_of})
    check(name, cut, tmp_path / "net")


VGG_DATA = """
import MinkowskiEngine as ME
import torch
from stagewright.scenarios.models import minkvgg16_bn

def inputs(step, microbatch):
    (cloud,) = minkvgg16_bn.make_input(100 * step + microbatch)
    return [ME.SparseTensor(cloud.F.to(torch.{dtype}), cloud.C)]

def target(step, microbatch):
    return minkvgg16_bn.make_target(100 * step + microbatch)
"""


def without_dropout(graph: LayerGraph) -> LayerGraph:
    """Take the dropout layers of a chain out."""
    layers = tuple(x for x in graph.layers if not x.description.startswith("Dropout"))
    chain = [x.id for x in layers]
    return LayerGraph(layers, tuple(itertools.pairwise(chain)))


@pytest.mark.parametrize(
    ("dtype", "options", "tolerance"),
    [("float64", ("--double", "--lr", "0.01"), 1e-6), ("float32", ("--lr", "0.0003"), 1e-4)],
)
def test_minkvgg_trains_in_two_processes_as_in_one(dtype, options, tolerance, tmp_path):
    """20 steps. A larger rate in float32 drifts apart: rounding grows a hundredfold a few steps.

    The sparse kernels add in the order of the rows, which a second process numbers anew.
    """
    text = tmp_path / "graph.txt"
    text.write_text(format_profile(cut_evenly(without_dropout(graph_of("minkvgg16_bn")), 2)))
    folder = tmp_path / "net"
    emit_package(staged_from_profile(text), folder, name="Net", arch="net", target="torch")
    (tmp_path / "my_data.py").write_text(VGG_DATA.format(dtype=dtype))
    options = ("--steps", "20", "--microbatches", "2", *options)
    expected = losses(train(folder, *options))
    assert len(expected) == 20
    assert losses(train(folder, *options, ranks=2)) == pytest.approx(expected, rel=tolerance)
