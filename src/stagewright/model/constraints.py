"""Constraints as people state them: what is not stated is left open."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from stagewright.model.instance import Instance
from stagewright.model.kept_plan import kept_stages
from stagewright.model.placement_names import PlacementNames, resolve_placement
from stagewright.model.rules import MemoryModel, Optimizer, Recompute, Rules, Versions
from stagewright.model.ties import with_ties


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """An earlier plan's file, and how many layers may leave their stage."""

    path: Path
    most_moved: int


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a user demands, in the words of the user; ``None`` is not stated.

    The fields are those of :class:`~stagewright.model.rules.Rules` and of its memory model.
    ``names`` and ``keep`` become its placement.
    """

    max_stages: int | None = None
    max_replicas: int | None = None
    max_gpus: int | None = None
    max_price_per_hour: float | None = None
    use_all: bool | None = None
    straight_pipeline: bool | None = None
    recompute: Recompute | None = None
    use_memory: bool | None = None
    versions: Versions | None = None
    optimizer: Optimizer | None = None
    names: PlacementNames = PlacementNames()
    keep: KeptPlan | None = None

    def rules(self) -> Rules:
        """Return the rules, apart from those on single layers."""
        return Rules(
            use_memory=bool(self.use_memory),
            memory=MemoryModel(self.versions or Versions.STASH, self.optimizer or Optimizer.SGD),
            use_all=bool(self.use_all),
            straight_pipeline=bool(self.straight_pipeline),
            max_stages=self.max_stages,
            max_replicas=self.max_replicas,
            max_gpus=self.max_gpus,
            max_price_per_hour=self.max_price_per_hour,
            recompute=self.recompute or Recompute.NEVER,
        )

    def applied_to(self, instance: Instance) -> Instance:
        """Return the instance under all these constraints.

        Raises
        ------
        InputError
            If a layer, a place or the plan to keep is not one of the instance's.
        """
        graph = instance.graph
        placement = resolve_placement(self.names, graph, instance.cluster)
        if self.keep is not None:
            kept = kept_stages(self.keep.path, self.keep.most_moved, graph)
            placement = dataclasses.replace(placement, kept=kept)
        rules = dataclasses.replace(self.rules(), placement=placement)
        return instance.with_rules(with_ties(rules, graph))
