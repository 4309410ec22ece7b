"""Plans and what is known about how good they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from stagewright.model.cluster import Cluster


class Status(StrEnum):
    """What a planner can say about its answer."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Stage:
    """A convex set of layers and the GPUs that replicate it.

    Attributes
    ----------
    nodes
        Names of the layers.
    replicas
        GPUs used of each group of the cluster, shape (groups,).
    recompute
        Whether the stage runs forward again in its backward pass instead of keeping activations.
    """

    nodes: tuple[str, ...]
    replicas: tuple[int, ...]
    recompute: bool = False

    @property
    def replica_count(self) -> int:
        """GPUs that hold the stage."""
        return sum(self.replicas)


@dataclass(frozen=True, slots=True)
class Plan:
    """Stages in pipeline order.

    Attributes
    ----------
    stages
        First stage first.
    planner
        Which planner made it.
    claimed_period_s
        What that planner itself believes the period to be, if it says so.
    """

    stages: tuple[Stage, ...]
    planner: str
    claimed_period_s: float | None = None

    @property
    def gpu_count(self) -> int:
        """GPUs used."""
        return sum(stage.replica_count for stage in self.stages)

    @property
    def stage_of(self) -> dict[str, int]:
        """Stage of each node."""
        return {node: k for k, stage in enumerate(self.stages) for node in stage.nodes}


@dataclass(frozen=True, slots=True)
class Certificate:
    """How good a plan is proven to be.

    Attributes
    ----------
    status
        ``optimal`` and ``infeasible`` are proofs; ``feasible`` is a plan, perhaps not the best.
    objective_s
        Period of the plan, as evaluated.
    bound_s
        No plan has a smaller period than this; ``None`` if nothing is proven.
    wall_s
        Seconds that the planner took.
    solver
        What proved it.
    """

    status: Status
    objective_s: float | None
    bound_s: float | None
    wall_s: float
    solver: str

    @property
    def gap(self) -> float | None:
        """How far the plan can be from the best one: (objective - bound) / objective."""
        if self.objective_s is None or self.bound_s is None:
            return None
        if self.objective_s <= 0:
            return 0.0
        return max(0.0, (self.objective_s - self.bound_s) / self.objective_s)


def price_per_hour(cluster: Cluster, plan: Plan) -> float | None:
    """Price of the GPUs that ``plan`` uses, or ``None`` if one of them has no price."""
    used = [(g, n) for x in plan.stages for g, n in zip(cluster.groups, x.replicas, strict=True)]
    prices = [(g.price_per_hour, n) for g, n in used if n > 0]
    known = [price * n for price, n in prices if price is not None]
    return sum(known) if len(known) == len(prices) else None


def assign_ranks(cluster: Cluster, stages: Sequence[Stage]) -> tuple[tuple[int, ...], ...]:
    """Number the GPUs in use, server by server and stage by stage within a server.

    Returns
    -------
    tuple
        Ranks of each stage; together 0 to (GPUs in use - 1).
    """
    ranks: list[list[int]] = [[] for _ in stages]
    free = 0
    for server in range(len(cluster.servers)):
        for k, stage in enumerate(stages):
            here = sum(
                n
                for group, n in zip(cluster.groups, stage.replicas, strict=True)
                if group.server == server
            )
            ranks[k] += range(free, free + here)
            free += here
    return tuple(tuple(x) for x in ranks)
