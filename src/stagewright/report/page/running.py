"""How to run the plan: commands to copy, in which nothing from a file stands unquoted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from stagewright.report.labels import clean
from stagewright.report.page.facts import Facts
from stagewright.report.page.stages import GpuTile, server_tiles

PORT = 29500


@dataclass(frozen=True)
class Step:
    """What to do, and the commands that do it."""

    title: str
    words: str
    commands: tuple[str, ...]


def running_steps(facts: Facts) -> list[Step]:
    """Return the way from the plan to training."""
    arch, name = identifiers(facts.document.name)
    plan, folder = shlex.quote(facts.plan_path), f"models/{arch}"
    return [
        Step(
            "Write the stages",
            "PyTorch modules, one a stage, with a launcher. They import torch (and "
            "MinkowskiEngine where the network is sparse), not stagewright.",
            (f"stagewright emit {plan} -n {name} -a {arch} -o {folder} --target torch",),
        ),
        Step(
            "Check them",
            "Runs the stages and the unsplit network on the same minibatch, and compares outputs, "
            "loss and the gradient of every parameter.",
            (f"stagewright verify {folder}",),
        ),
        Step(
            "Train",
            "DATA is a Python module with inputs(step, microbatch) and target(step, microbatch)."
            + _where_words(facts),
            tuple(_launches(facts, folder)),
        ),
    ]


def identifiers(name: str) -> tuple[str, str]:
    """Return a module's and a class's name for a network, whatever it is called.

    >>> identifiers("minkvgg_b64"), identifiers("$(rm -rf /)"), identifiers("3d")
    (('minkvgg_b64', 'MinkvggB64'), ('rm_rf', 'RmRf'), ('net_3d', 'Net3d'))
    """
    words = re.findall(r"[A-Za-z0-9]+", name[:200])[:6] or ["network"]
    if words[0][0].isdigit():
        words = ["net", *words]
    module = "_".join(words).lower()[:60]
    return module, "".join(word[:1].upper() + word[1:].lower() for word in words)[:60]


def _where_words(facts: Facts) -> str:
    words = ""
    if len(_ranks_by_server(facts)) > 1:
        words = (
            " Ranks are numbered server by server: start one command on each server, and put the "
            "first server's address in place of ADDRESS."
        )
    if any(len({tile.gpu for tile in tiles}) > 1 for tiles in _used_tiles(facts)):
        words += (
            " In a server with unlike GPUs, CUDA_VISIBLE_DEVICES has to list them in the order of "
            "their ranks."
        )
    return words


def _used_tiles(facts: Facts) -> list[list[GpuTile]]:
    """GPUs in use, server by server."""
    return [[x for x in server.tiles if x.stage is not None] for server in server_tiles(facts)]


def _launches(facts: Facts, folder: str) -> Iterator[str]:
    used = _ranks_by_server(facts)
    train = f"{folder}/train.py --data DATA --steps 100"
    if len(used) == 1:
        yield f"torchrun --nproc-per-node={used[0][1]} {train}"
        return
    for node, (server, ranks) in enumerate(used):
        yield (
            f"torchrun --nnodes={len(used)} --node-rank={node} --nproc-per-node={ranks} "
            f"--master-addr=ADDRESS --master-port={PORT} {train}  # {server}"
        )


def _ranks_by_server(facts: Facts) -> list[tuple[str, int]]:
    """Servers in use, and how many GPUs of each are."""
    counts = [0] * len(facts.cluster.servers)
    for stage in facts.plan.stages:
        for group, n in zip(facts.cluster.groups, stage.replicas, strict=True):
            counts[group.server] += n
    return [
        (re.sub(r"[^\w.@ -]", "", clean(facts.cluster.servers[s], 40)), n)
        for s, n in enumerate(counts)
        if n > 0
    ]
