"""The launcher: a pipeline's steps are the unsplit network's, and a lost rank ends the run."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from emit_networks import cut_evenly, residual, sequence, sparse_unet
from hypothesis import given
from hypothesis import strategies as st

import stagewright
from stagewright.emit.package import emit_package, staged_from_profile
from stagewright.model.graph import LayerGraph
from stagewright.model.profile import format_profile

torch = pytest.importorskip("torch")
pipeline = pytest.importorskip("stagewright.emit.runtime.pipeline")

SOURCE = str(Path(stagewright.__file__).parents[1])

DENSE_DATA = """
import torch

def generator(step, microbatch):
    return torch.Generator().manual_seed(1000 * step + microbatch)

def inputs(step, microbatch):
    return [torch.randn(2, 3, 32, 32, generator=generator(step, microbatch))]

def target(step, microbatch):
    return torch.randint(0, 5, (2,), generator=generator(step, microbatch))
"""

CLOUD_DATA = """
import torch

def clouds(step, microbatch):
    import MinkowskiEngine as ME
    generator = torch.Generator().manual_seed(1000 * step + microbatch)
    found = []
    for _ in range(2):
        points = torch.rand(200, 3, generator=generator)
        found.append(torch.unique((points * 16).int(), dim=0))
    coordinates = ME.utils.batched_coordinates(found)
    return coordinates, torch.randn(len(coordinates), 3, generator=generator), generator

def inputs(step, microbatch):
    import MinkowskiEngine as ME
    coordinates, features, _ = clouds(step, microbatch)
    return [ME.SparseTensor(features, coordinates)]

def target(step, microbatch):
    coordinates, _, generator = clouds(step, microbatch)
    return torch.randint(0, 5, (len(coordinates),), generator=generator)
"""

SEQUENCE_DATA = """
import torch

def inputs(step, microbatch):
    generator = torch.Generator().manual_seed(1000 * step + microbatch)
    tokens = torch.randint(1, 20, (6, 2), generator=generator)
    return [tokens, torch.tensor([6, 4]), tokens.flip(0)]

def target(step, microbatch):
    generator = torch.Generator().manual_seed(7000 * step + microbatch)
    return torch.randint(0, 20, (12,), generator=generator)

def loss(outputs, target):
    return torch.nn.functional.cross_entropy(outputs[0].flatten(0, 1), target)
"""

KILLED = (
    DENSE_DATA
    + """
import os, signal

def target(step, microbatch):
    if step == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return torch.zeros(2, dtype=torch.int64)
"""
)


def without_dropout(graph: LayerGraph) -> LayerGraph:
    layers = tuple(
        dataclasses.replace(x, description="ReLU()") if x.description.startswith("Dropout") else x
        for x in graph.layers
    )
    return dataclasses.replace(graph, layers=layers)


def package(graph: LayerGraph, stages: int, ranks: str | None, folder: Path, data: str) -> Path:
    text = folder.with_suffix(".txt")
    text.write_text(format_profile(cut_evenly(graph, stages)), encoding="utf-8")
    staged = staged_from_profile(text, ranks)
    emit_package(staged, folder, name="Net", arch="net", target="torch")
    (folder.parent / "my_data.py").write_text(data, encoding="utf-8")
    return folder


def train(folder: Path, *more: str, ranks: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the launcher: with torchrun on so many ranks, or unsplit without."""
    launcher = [sys.executable]
    if ranks:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    else:
        more = (*more, "--unsplit")
    return subprocess.run(
        [*launcher, str(folder / "train.py"), "--data", "my_data", "--cpu", *more],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder.parent,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": SOURCE},
    )


def losses(done: subprocess.CompletedProcess[str]) -> list[float]:
    assert done.returncode == 0, done.stderr
    lines = [x.split() for x in done.stdout.splitlines() if x.startswith("step ")]
    assert [int(x[1]) for x in lines] == list(range(len(lines)))
    return [float(x[3]) for x in lines]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = {}
    for path in sorted(folder.glob("stage*.pt")):
        for key, value in torch.load(path).items():
            if "running" not in key:
                found[f"{path.stem}.{key}"] = value
    return found


def check(folder: Path, ranks: int, *more: str) -> None:
    options = ("--steps", "4", "--microbatches", "7", "--lr", "0.05", "--momentum", "0.9", *more)
    expected = losses(train(folder, *options, "--save", "unsplit"))
    assert len(expected) == 4
    assert losses(train(folder, *options, "--save", "split", ranks=ranks)) == pytest.approx(
        expected, rel=1e-5
    )
    right, found = weights(folder.parent / "unsplit"), weights(folder.parent / "split")
    assert right
    assert right.keys() == found.keys()
    for key, value in right.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["own", "1f1b", "gpipe"])
def test_straight_dense_pipelines(schedule, tmp_path):
    graph = without_dropout(residual())
    folder = package(graph, 2, None, tmp_path / "gpus=2", DENSE_DATA)
    check(folder, 2, "--schedule", schedule)


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "count"), [("0:2,1:1", 3), ("0:1,1:2,2:1", 4)])
def test_stages_with_different_numbers_of_copies(ranks, count, tmp_path):
    graph = without_dropout(residual())
    stages = 1 + ranks.count(",")
    check(package(graph, stages, ranks, tmp_path / "net", DENSE_DATA), count)


@pytest.mark.slow
@pytest.mark.parametrize(("stages", "ranks", "count"), [(3, None, 3), (2, "0:2,1:1", 3)])
def test_sparse_tensors(stages, ranks, count, tmp_path):
    pytest.importorskip("MinkowskiEngine")
    graph = without_dropout(sparse_unet())
    check(package(graph, stages, ranks, tmp_path / "net", CLOUD_DATA), count)


@pytest.mark.slow
def test_times_are_written_and_more_under_way_changes_no_loss(tmp_path):
    folder = package(without_dropout(residual()), 2, None, tmp_path / "net", DENSE_DATA)
    options = ("--steps", "2", "--microbatches", "5", "--schedule", "own")
    expected = losses(train(folder, *options, ranks=2))
    more = ("--under-way", "1", "--times", "times.jsonl")
    assert losses(train(folder, *options, *more, ranks=2)) == pytest.approx(expected, rel=1e-6)
    lines = (tmp_path / "times.jsonl").read_text().splitlines()
    found = [json.loads(x) for x in lines]
    assert [x["step"] for x in found] == [0, 1]
    for x in found:
        starts = x["forward_starts_s"]
        assert len(starts) == 5
        assert 0 <= starts[0] <= starts[-1] < x["gradients_s"]
        assert x["update_s"] > 0


@pytest.mark.slow
def test_lengths_and_tokens_cross_cuts(tmp_path):
    check(package(sequence(), 3, None, tmp_path / "net", SEQUENCE_DATA), 3)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["own", "1f1b"])
def test_a_killed_rank_ends_the_run(schedule, tmp_path):
    folder = package(without_dropout(residual()), 2, None, tmp_path / "net", KILLED)
    start = time.monotonic()
    done = train(folder, "--steps", "50", "--schedule", schedule, ranks=2)
    assert done.returncode != 0
    assert time.monotonic() - start < 60
    assert "step 1 loss" in done.stdout
    assert "SIGKILL" in done.stderr


def test_the_wrong_number_of_ranks_is_an_error(tmp_path):
    folder = package(residual(), 2, "0:2,1:1", tmp_path / "net", DENSE_DATA)
    done = subprocess.run(
        [sys.executable, str(folder / "train.py"), "--data", "my_data"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode != 0
    assert "the plan has 3 ranks: torchrun --nproc-per-node=3" in done.stderr


def orders(
    counts: list[int], microbatches: int, under_way: int = 0
) -> dict[tuple[int, int], list[tuple[str, int]]]:
    ranks, free = [], 0
    for count in counts:
        ranks.append(tuple(range(free, free + count)))
        free += count
    return {
        (stage, copy): pipeline.one_f_one_b(
            pipeline.Place(stage, copy, tuple(ranks)), microbatches, under_way
        )
        for stage, count in enumerate(counts)
        for copy in range(count)
    }


def test_the_order_of_three_stages():
    order = orders([1, 1, 1], 4)

    def text(stage: int) -> str:
        return " ".join(f"{kind}{k}" for kind, k in order[stage, 0])

    assert text(0) == "F0 F1 F2 B0 F3 B1 B2 B3"
    assert text(1) == "F0 F1 B0 F2 B1 F3 B2 B3"
    assert text(2) == "F0 B0 F1 B1 F2 B2 F3 B3"


def test_one_more_under_way_at_each_cut():
    order = orders([1, 1, 1], 6, under_way=1)
    ahead = [[kind for kind, _ in order[k, 0]].index("B") for k in range(3)]
    assert ahead == [5, 3, 1]


@given(
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    microbatches=st.integers(1, 30),
    under_way=st.integers(0, 3),
)
def test_every_order_runs_to_its_end_within_its_memory(counts, microbatches, under_way):
    """Play all ranks: each does its next entry as soon as what it waits for has been sent."""
    planned = orders(counts, microbatches, under_way)
    waiting = {place: order[::-1] for place, order in planned.items()}
    sent: set[tuple[str, int, int]] = set()
    last = len(counts) - 1
    moved = True
    while moved:
        moved = False
        for (stage, copy), order in waiting.items():
            while order:
                kind, k = order[-1]
                needs = ("F", stage - 1, k) if kind == "F" else ("B", stage + 1, k)
                at_the_end = stage == 0 if kind == "F" else stage == last
                if not (at_the_end or needs in sent):
                    break
                assert k % counts[stage] == copy
                assert kind == "F" or ("F", stage, k) in sent
                sent.add((kind, stage, k))
                order.pop()
                moved = True
    assert not any(waiting.values()), "a rank waits for ever"
    assert len(sent) == 2 * len(counts) * microbatches
    for (stage, _), order in planned.items():
        held = most = 0
        for kind, _ in order:
            held += 1 if kind == "F" else -1
            most = max(most, held)
        later = counts[stage:]
        assert most <= -(-(sum(later) + under_way * (len(later) - 1)) // counts[stage])
