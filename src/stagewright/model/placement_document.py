"""Demands on single layers, to and from the plan document."""

from __future__ import annotations

from stagewright.model.cluster import Cluster
from stagewright.model.errors import InputError
from stagewright.model.placement import Kept, Placement
from stagewright.model.plan_schema import (
    ForbiddenDocument,
    GpusDocument,
    KeptDocument,
    PinDocument,
    PlacementDocument,
)


def save_placement(placement: Placement, cluster: Cluster) -> PlacementDocument:
    """Write demands down; groups by server and GPU type."""
    kept = placement.kept
    return PlacementDocument(
        stage=[PinDocument(node=node, stage=k) for node, k in placement.stage],
        forbidden=[
            ForbiddenDocument(
                node=node,
                groups=[
                    GpusDocument(
                        server=cluster.servers[cluster.groups[g].server], gpu=cluster.groups[g].gpu
                    )
                    for g in groups
                ],
            )
            for node, groups in placement.forbidden
        ],
        together=[list(names) for names in placement.together],
        kept=None
        if kept is None
        else KeptDocument(stages=[list(x) for x in kept.stages], most_moved=kept.most_moved),
    )


def load_placement(saved: PlacementDocument, cluster: Cluster) -> Placement:
    """Read demands back.

    Raises
    ------
    InputError
        If a group is not one of ``cluster``.
    """
    place = {(cluster.servers[g.server], g.gpu): i for i, g in enumerate(cluster.groups)}

    def position(node: str, group: GpusDocument) -> int:
        if (group.server, group.gpu) not in place:
            raise InputError(
                f"a constraint on '{node}' names {group.gpu} in {group.server}, which the "
                "cluster lacks"
            )
        return place[group.server, group.gpu]

    kept = saved.kept
    return Placement(
        stage=tuple((pin.node, pin.stage) for pin in saved.stage),
        forbidden=tuple(
            (entry.node, tuple(position(entry.node, g) for g in entry.groups))
            for entry in saved.forbidden
        ),
        together=tuple(tuple(names) for names in saved.together),
        kept=None if kept is None else Kept(tuple(tuple(x) for x in kept.stages), kept.most_moved),
    )
