"""Stages over GPUs: a table of stages, and every GPU with the stage that it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stagewright.model.plan import assign_ranks
from stagewright.report.labels import clean, size
from stagewright.report.page.facts import Facts, gpu_words, percent_words, time_words
from stagewright.report.page.theme import stage_class

MOST_TILES = 256
"""In larger clusters GPUs that do the same share a tile."""


@dataclass(frozen=True)
class StageRow:
    """One stage in words; ``limits`` marks what sets the period."""

    index: int
    css: str
    layers: int
    first: str
    last: str
    gpus: str
    replicas: int
    time: str
    share: str
    receives: str
    memory: str
    recomputes: bool
    limits: bool


@dataclass(frozen=True)
class GpuTile:
    """GPUs that do the same: one, or all of a kind where there are many.

    Attributes
    ----------
    gpu
        Their type, and how many they are if more than one.
    stage
        The stage that they hold, or ``None`` if they stay idle.
    ranks
        First and last of their ranks, in words.
    """

    gpu: str
    css: str
    stage: int | None
    ranks: str

    @property
    def words(self) -> str:
        """The tile for those who do not see it."""
        if self.stage is None:
            return f"{self.gpu}: idle"
        return f"{self.gpu}: stage {self.stage}, {self.ranks}"


@dataclass(frozen=True)
class ServerTiles:
    """The GPUs of one server."""

    name: str
    tiles: tuple[GpuTile, ...]


def stage_rows(facts: Facts) -> list[StageRow]:
    """Return the stages in pipeline order."""
    rows = []
    period = facts.evaluation.period_s
    for k, (stage, figures) in enumerate(
        zip(facts.plan.stages, facts.evaluation.stages, strict=True)
    ):
        nodes = [node for node in stage.nodes if node in facts.instance.index]
        received = f"{size(figures.input_bytes)} in {time_words(figures.input_transfer_s)}"
        rows.append(
            StageRow(
                index=k,
                css=stage_class(k),
                layers=len(nodes),
                first=clean(nodes[0], 40),
                last=clean(nodes[-1], 40),
                gpus=gpu_words(facts.cluster, stage.replicas),
                replicas=stage.replica_count,
                time=time_words(figures.time_s),
                share=percent_words(figures.time_s / period) if period > 0 else "–",
                receives=received if figures.input_transfer_s else "–",
                memory=size(figures.memory_bytes),
                recomputes=stage.recompute,
                limits=figures.time_s == period,
            )
        )
    return rows


def server_tiles(facts: Facts) -> list[ServerTiles]:
    """Return every GPU of the cluster, server by server; idle ones last."""
    together = facts.cluster.gpu_count > MOST_TILES
    ranks = [list(x) for x in assign_ranks(facts.cluster, facts.plan.stages)]
    servers = []
    for server, name in enumerate(facts.cluster.servers):
        tiles: list[GpuTile] = []
        groups = [(g, x) for g, x in enumerate(facts.cluster.groups) if x.server == server]
        for k, stage in enumerate(facts.plan.stages):
            for g, group in groups:
                mine, ranks[k] = ranks[k][: stage.replicas[g]], ranks[k][stage.replicas[g] :]
                tiles += _tiles(group.gpu, k, mine, len(mine), together)
        for g, group in groups:
            left = group.count - sum(stage.replicas[g] for stage in facts.plan.stages)
            tiles += _tiles(group.gpu, None, [], left, together)
        servers.append(ServerTiles(clean(name, 40), tuple(tiles)))
    return servers


def _tiles(
    gpu: str, stage: int | None, ranks: Sequence[int], count: int, together: bool
) -> list[GpuTile]:
    """One tile for each GPU, or one for all."""
    name, css = clean(gpu, 24), stage_class(stage)
    if count and together:
        words = f"ranks {ranks[0]}–{ranks[-1]}" if ranks else ""
        return [GpuTile(f"{name}×{count}", css, stage, words)]
    return [GpuTile(name, css, stage, f"rank {ranks[i]}" if ranks else "") for i in range(count)]
