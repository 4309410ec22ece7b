"""Planning for a quantile of the minibatches that a profile was measured on."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from command_line import command, quiet_place  # noqa: F401

from stagewright.model.profile import format_profile, read_profile
from stagewright.model.profile_document import (
    Device,
    Measurement,
    Node,
    Pass,
    ProfileDocument,
    WholeStep,
    at_quantile,
)


def one_pass(*minibatches_ms: float) -> Pass:
    mean = sum(minibatches_ms) / len(minibatches_ms)
    return Pass(
        median_ms=mean,
        spread_ms=0,
        p95_ms=max(minibatches_ms),
        minibatches_ms=minibatches_ms,
        flops=0,
        bytes=0,
    )


def node(name: str, *minibatches_ms: float) -> Node:
    sizes = tuple(1000 * x for x in minibatches_ms)
    return Node(
        id=name,
        description="Linear(8, 8)",
        activation_bytes=(sum(sizes) / len(sizes),),
        activation_minibatches_bytes=sizes,
        parameter_bytes=0,
        forward=one_pass(*minibatches_ms),
        backward=one_pass(*minibatches_ms),
    )


def written(folder: Path, *nodes: Node, minibatches: int = 3) -> Path:
    """Write a profile and its document."""
    document = ProfileDocument(
        schema="stagewright.profile/1",
        model="m:f",
        input="m:g",
        device=Device(kind="cpu", name="a CPU", threads=1, memory_bytes=1),
        versions={},
        precision="float32",
        batch=1,
        inputs=(),
        measurement=Measurement(
            capture="torch.fx",
            clock="thread",
            warm_up=1,
            repeats=1,
            minibatches=minibatches,
            overhead_forward_ms=0,
            overhead_backward_ms=0,
        ),
        step=WholeStep(forward_ms=1, backward_ms=1, total_ms=2, spread_ms=0, layers_ms=2),
        nodes=nodes,
        edges=tuple((x.id, y.id) for x, y in itertools.pairwise(nodes)),
    )
    path = folder / "graph.txt"
    path.write_text(format_profile(document.graph()))
    (folder / "graph.profile.json").write_text(document.dumps())
    return path


def test_times_and_sizes_are_those_of_the_quantile(tmp_path):
    path = written(tmp_path, node("a", 1, 2, 6), node("b", 3, 3, 3))
    graph = at_quantile(read_profile(path), path, 1.0)
    assert graph.by_id["a"].forward_ms == 6
    assert graph.by_id["a"].activation_bytes == pytest.approx(6000)
    assert graph.by_id["b"].total_ms == 6
    assert at_quantile(read_profile(path), path, 0.5).by_id["a"].backward_ms == 2


def period(path: Path, *options: str) -> float:
    answer = command("plan", "--profile", path, "-n", "1", "-b", "1e9", "--json", *options)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)["period_s"]


def test_plan_is_made_for_the_quantile(tmp_path):
    path = written(tmp_path, node("a", 1, 2, 6), node("b", 3, 3, 3))
    assert period(path) == pytest.approx((3 + 3 + 3 + 3) / 1000)
    assert period(path, "--quantile", "1") == pytest.approx((6 + 6 + 3 + 3) / 1000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "graph.profile.json").unlink(), "needs 'graph.profile.json'"),
        (lambda folder: (folder / "graph.profile.json").write_text("{}"), "model is missing"),
        (
            lambda folder: written(folder, node("a", 1), minibatches=1),
            "measured on one minibatch, which has no quantiles",
        ),
        (
            lambda folder: (folder / "graph.txt").write_text(
                (folder / "graph.txt").read_text().replace("a --", "c --").replace("-- a", "-- c")
            ),
            "its layers are not those of graph.txt",
        ),
    ],
)
def test_a_document_that_does_not_fit_is_refused(change, message, tmp_path):
    path = written(tmp_path, node("a", 1, 2, 6), node("b", 3, 3, 3))
    change(tmp_path)
    answer = command("plan", "--profile", path, "-n", "1", "--quantile", "0.9")
    assert answer.code == 2
    assert message in answer.err
