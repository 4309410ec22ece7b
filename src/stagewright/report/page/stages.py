"""Stages over GPUs: a table of stages, and every GPU with the stage that it holds."""

from __future__ import annotations

from dataclasses import dataclass

from stagewright.model.plan import assign_ranks
from stagewright.report.labels import clean, size
from stagewright.report.page.facts import Facts, gpu_words, percent_words, time_words
from stagewright.report.page.theme import stage_class


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
    """One GPU: the stage and rank that it has, or none if it stays idle."""

    gpu: str
    css: str
    stage: int | None
    rank: int | None

    @property
    def words(self) -> str:
        """The tile for those who do not see it."""
        if self.stage is None:
            return f"{self.gpu}: idle"
        return f"{self.gpu}: stage {self.stage}, rank {self.rank}"


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
    """Return every GPU of the cluster, server by server; idle ones last of their kind."""
    ranks = [list(x) for x in assign_ranks(facts.cluster, facts.plan.stages)]
    servers = []
    for server, name in enumerate(facts.cluster.servers):
        tiles: list[GpuTile] = []
        idle: list[GpuTile] = []
        groups = [(g, x) for g, x in enumerate(facts.cluster.groups) if x.server == server]
        for k, stage in enumerate(facts.plan.stages):
            for g, group in groups:
                for _ in range(stage.replicas[g]):
                    gpu = clean(group.gpu, 24)
                    tiles.append(GpuTile(gpu, stage_class(k), k, ranks[k].pop(0)))
        for g, group in groups:
            left = group.count - sum(stage.replicas[g] for stage in facts.plan.stages)
            idle += [GpuTile(clean(group.gpu, 24), stage_class(None), None, None)] * left
        servers.append(ServerTiles(clean(name, 40), (*tiles, *idle)))
    return servers
