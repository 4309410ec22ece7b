"""What stages and cuts cost on one flat cluster of like GPUs, as searches at a period ask it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.problem import Problem
from stagewright.formulation.rates import rates_of
from stagewright.model.costs import PipeDream, SparsePipe, Topology, is_proportional

Floats = NDArray[np.float64]

SLACK = 1 + 1e-9


@dataclass(frozen=True)
class FlatCosts:
    """One server, one GPU type, replicas that take turns.

    Attributes
    ----------
    gpus, most
        GPUs that a plan may use, and replicas that one stage may have.
    sync_s_per_byte
        2/β: the all-reduce of m replicas takes (m-1)/m of it for each parameter byte.
    transfer_s_per_byte
        2/(ρβ), or 0 where transfers are free.
    latency_s
        Added to every transfer; the published cost models know none.
    cost_model
        Its name.
    overlap
        Whether computing overlaps transfers.
    """

    gpus: int
    most: int
    sync_s_per_byte: float
    transfer_s_per_byte: float
    latency_s: float
    cost_model: str
    overlap: bool

    @staticmethod
    def apply(problem: Problem) -> bool:
        """Whether the problem is flat."""
        one_group = len(problem.instance.cluster.groups) == 1
        return one_group and not is_proportional(problem.cost_model)

    @classmethod
    def of(cls, problem: Problem) -> FlatCosts:
        """Read the costs of a flat problem."""
        cluster, rules = problem.instance.cluster, problem.instance.rules
        rates = rates_of(problem.cost_model, cluster)
        beta = float(cluster.bandwidth[0, 0])
        gpus = min(cluster.gpu_count, rules.max_gpus or cluster.gpu_count)
        charged = rates.name == Topology.name and not rates.free
        return cls(
            gpus=gpus,
            most=rules.most_replicas(gpus),
            sync_s_per_byte=2 / beta,
            transfer_s_per_byte=rates.round_trip / beta,
            latency_s=float(cluster.latency[0, 0]) if charged else 0.0,
            cost_model=rates.name,
            overlap=problem.cost_model.overlap,
        )

    @property
    def first_sends_for_free(self) -> bool:
        """Whether a cut asks nothing of the first stage."""
        return self.cost_model == PipeDream.name

    def most_cut_bytes(self, period_s: float, limit: int | None = None) -> float:
        """Bytes that no cut exceeds in a plan with such a period and at most so many replicas."""
        if self.transfer_s_per_byte == 0:
            return float("inf")
        alone = self.cost_model == SparsePipe.name
        beside = self.gpus - 1 if self.first_sends_for_free else self.gpus // 2
        replicas = 1 if alone else max(1, min(self.most, beside, limit or self.most))
        waits = 0.0 if alone else self.latency_s
        return max(0.0, replicas * (period_s - waits) / self.transfer_s_per_byte) * (1 + 1e-8)

    def asked(self, cut_bytes: Floats, period_s: float) -> Floats:
        """Replicas that cuts ask of the stages beside them; infinite where none will do."""
        moved = self.transfer_s_per_byte * cut_bytes
        if self.cost_model == SparsePipe.name or self.transfer_s_per_byte == 0:
            return np.where(moved <= period_s * SLACK, 1.0, np.inf)
        left = period_s * SLACK - self.latency_s
        if left <= 0:
            return np.full(len(cut_bytes), np.inf)
        asked = np.maximum(np.ceil(moved / left - 1e-9), 1.0)
        return np.where(asked <= self.most, asked, np.inf)
