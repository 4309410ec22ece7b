"""Where layers may go: what a user demands of single layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stagewright.model.errors import InputError


@dataclass(frozen=True, slots=True)
class Kept:
    """A plan in use that a new plan may only change a little.

    A layer stays if its new stage continues its old one. Every new stage continues one old stage
    or none, in the same order; each layer in any other stage has moved.

    Attributes
    ----------
    stages
        Names of the layers of each stage in use.
    most_moved
        At most so many layers may move. Layers that the plan in use does not know are free.
    """

    stages: tuple[tuple[str, ...], ...]
    most_moved: int

    @property
    def stage_of(self) -> dict[str, int]:
        """Old stage of each layer."""
        return {node: k for k, stage in enumerate(self.stages) for node in stage}

    def moved(self, stages: Sequence[Iterable[str]]) -> int:
        """Count the layers that ``stages`` moves, under the best continuation.

        The heaviest order-preserving matching of new to old stages, as in the weighted longest
        common subsequence: K(i, j) = max(K(i-1, j), K(i, j-1), K(i-1, j-1) + overlap(i, j)).

        >>> Kept((("a", "b"), ("c",)), 0).moved([["a"], ["b", "c"]])
        1
        """
        old = self.stage_of
        known = 0
        best = [0] * (len(self.stages) + 1)
        for stage in stages:
            overlap = [0] * len(self.stages)
            for node in stage:
                if node in old:
                    overlap[old[node]] += 1
            known += sum(overlap)
            following = [0]
            for j, shared in enumerate(overlap):
                following.append(max(best[j + 1], following[j], best[j] + shared))
            best = following
        return known - best[-1]


@dataclass(frozen=True, slots=True)
class Placement:
    """Demands on single layers; names are those of the layer graph, groups positions.

    Attributes
    ----------
    stage
        (layer, stage number) of layers that must lie in that stage, counted from 0.
    forbidden
        (layer, groups) that no replica of the layer's stage may use.
    together
        Layers that must share a stage, such as layers with tied weights.
    kept
        A plan in use, and how much of it may change.
    """

    stage: tuple[tuple[str, int], ...] = ()
    forbidden: tuple[tuple[str, tuple[int, ...]], ...] = ()
    together: tuple[tuple[str, ...], ...] = ()
    kept: Kept | None = None

    def __post_init__(self) -> None:
        pinned: dict[str, int] = {}
        for node, k in self.stage:
            if pinned.setdefault(node, k) != k:
                raise InputError(
                    f"'{node}' is pinned to stage {pinned[node]} and to stage {k}",
                    hint="A layer lies in one stage only",
                )

    @property
    def named(self) -> tuple[str, ...]:
        """Every layer that a demand names, each once."""
        parts = [
            *(node for node, _ in self.stage),
            *(node for node, _ in self.forbidden),
            *(node for group in self.together for node in group),
        ]
        return tuple(dict.fromkeys(parts))
