"""Every network, cut at random, written out, and proved equal to the unsplit network."""

from __future__ import annotations

import dataclasses
import heapq
import random

import pytest

from stagewright.model.graph import LayerGraph
from stagewright.model.profile import format_profile
from stagewright.scenarios.models import MODELS, SPARSE, model

pytest.importorskip("torch")

from stagewright.emit.package import emit_package, staged_from_profile
from stagewright.emit.verify import verify_package


@pytest.fixture(params=MODELS)
def module(request):
    if request.param in SPARSE:
        pytest.importorskip("MinkowskiEngine")
    return model(request.param)


def random_stages(graph: LayerGraph, stages: int, seed: int) -> dict[str, int]:
    """Cut a random topological order at random places: every stage is convex."""
    rng = random.Random(seed)  # noqa: S311
    waiting = dict(graph.digraph.in_degree)
    ready = [(rng.random(), x) for x, degree in waiting.items() if degree == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        _, node = heapq.heappop(ready)
        order.append(node)
        for reader in graph.digraph.successors(node):
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, (rng.random(), reader))
    planned = [x for x in order if x not in graph.inputs]
    cuts = sorted(rng.sample(range(1, len(planned)), stages - 1))
    stage_of = {x: sum(k >= cut for cut in cuts) for k, x in enumerate(planned)}
    return stage_of | dict.fromkeys(graph.inputs, 0)


def verified(module, sizes, stages, seed, target, folder, precision="float64"):
    """Write a network cut at random, and hold it against the unsplit one."""
    graph = module.layer_graph(sizes)
    profile = folder / "gpus=4.txt"
    profile.write_text(format_profile(graph.with_stages(random_stages(graph, stages, seed))))
    package = folder / "package"
    emit_package(staged_from_profile(profile), package, name="Net", arch="net", target=target)
    return verify_package(
        package, inputs=lambda: module.make_input(seed, sizes), precision=precision
    )


@pytest.mark.parametrize("target", ["pipedream", "torch"])
@pytest.mark.parametrize("stages", [2, 3, 5])
def test_random_cuts_compute_the_same(module, stages, target, tmp_path):
    report = verified(module, module.SMALL, stages, stages, target, tmp_path)
    assert report.first_difference is None
    assert len(report.stages) == stages


@pytest.mark.slow
@pytest.mark.parametrize("points", [2_000, 8_000, 20_000])
@pytest.mark.parametrize("name", SPARSE)
def test_larger_clouds_compute_the_same(name, points, tmp_path):
    pytest.importorskip("MinkowskiEngine")
    module = model(name)
    sizes = dataclasses.replace(module.SMALL, clouds=4, points=points)
    report = verified(module, sizes, 4, points, "pipedream", tmp_path, "float32")
    assert report.first_difference is None
