"""The cost models: what a stage and a cut cost, in seconds per minibatch.

Each model is one small class with the same formulas. Symbols: a stage holds layers that
take ``T_g`` seconds on group g's type and ``P`` parameter bytes, replicated on ``n_g`` GPUs of
each group, ``m`` in all; a cut carries ``A`` bytes; β is bandwidth, ρ the compression ratio of
activations. ``docs/cost-models.md`` derives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from stagewright.model.cluster import Cluster
from stagewright.model.cost_model import CostModel, CutTime, StageTime, slowest
from stagewright.model.errors import DoesNotApply, InputError
from stagewright.model.max_load import MaxLoad

__all__ = [
    "COST_MODELS",
    "CostModel",
    "CutTime",
    "Dispatch",
    "MaxLoad",
    "PipeDream",
    "SparsePipe",
    "StageTime",
    "Topology",
    "is_proportional",
    "make_cost_model",
]

Dispatch = Literal["equal", "proportional"]


def _ring_all_reduce_s(parameter_bytes: float, replicas: int, bandwidth: float) -> float:
    """Seconds of a ring all-reduce: 2 (m-1) P / (m β) (Patarasuk and Yuan, 2009)."""
    return 2 * (replicas - 1) * parameter_bytes / (replicas * bandwidth)


@dataclass(frozen=True)
class _OneServer(CostModel):
    """What the two published cost models share: one bandwidth for everything."""

    def stage(
        self,
        cluster: Cluster,
        time_s: Sequence[float],
        parameter_bytes: float,
        replicas: Sequence[int],
    ) -> StageTime:
        """(max_g T_g + 2(m-1)P/(βm)) / m."""
        m = sum(replicas)
        sync = _ring_all_reduce_s(parameter_bytes, m, cluster.bandwidth_bytes_per_s[0][0])
        return StageTime(slowest(time_s, replicas) / m, sync / m)


@dataclass(frozen=True)
class PipeDream(_OneServer):
    """Flat and homogeneous: PipeDream (Narayanan et al., SOSP 2019), section 3.1.

    stage = (T + 2(m-1)P/(βm)) / m; the cut after stage k is charged 2A/(ρβ m_{k+1}) and, if k
    is not the first stage, also 2A/(ρβ m_k).
    """

    name: ClassVar[str] = "pipedream"

    def check(self, cluster: Cluster) -> None:
        """Need one server and one GPU type."""
        if len(cluster.servers) > 1 or len(cluster.gpu_types) > 1:
            raise DoesNotApply(
                "cost model 'pipedream' is flat: one server, one GPU type; this cluster has "
                f"{len(cluster.servers)} servers and {len(cluster.gpu_types)} types "
                "(use --cost-model topology)"
            )

    def cut(
        self,
        cluster: Cluster,
        cut_bytes: float,
        earlier: Sequence[int],
        later: Sequence[int],
        *,
        earlier_is_first: bool,
    ) -> CutTime:
        """2A/(ρβ m_{k+1}), and 2A/(ρβ m_k) if k is not the first stage."""
        bandwidth = cluster.bandwidth_bytes_per_s[0][0]
        received = self._round_trip_s(cut_bytes, bandwidth, sum(later))
        sent = self._round_trip_s(cut_bytes, bandwidth, sum(earlier))
        return CutTime(0.0 if earlier_is_first else sent, received)


@dataclass(frozen=True)
class SparsePipe(_OneServer):
    """One server with mixed GPU types: the cost that SparsePipe's planner assumes.

    stage = (max_g T_g + 2(m-1)P/(βm)) / m; cut = 2A/(ρβ).
    """

    name: ClassVar[str] = "sparsepipe"

    def check(self, cluster: Cluster) -> None:
        """Need one server."""
        if len(cluster.servers) > 1:
            raise DoesNotApply(
                "cost model 'sparsepipe' is for one server; this cluster has "
                f"{len(cluster.servers)} (use --cost-model topology)"
            )

    def cut(
        self,
        cluster: Cluster,
        cut_bytes: float,
        earlier: Sequence[int],
        later: Sequence[int],
        *,
        earlier_is_first: bool,
    ) -> CutTime:
        """2A/(ρβ), however many replicas share the work."""
        both = self._round_trip_s(cut_bytes, cluster.bandwidth_bytes_per_s[0][0], 1)
        return CutTime(both, both)


@dataclass(frozen=True)
class Topology(CostModel):
    """Any servers and types; bandwidth and latency by where the replicas are.

    Attributes
    ----------
    dispatch
        ``equal``: replicas take turns, so the slowest sets the pace, max_g T_g / m.
        ``proportional``: minibatches go to replicas in proportion to their speed,
        1 / Σ_g (n_g / T_g).
    """

    name: ClassVar[str] = "topology"

    dispatch: Dispatch = "equal"

    def check(self, cluster: Cluster) -> None:
        """Defined on every cluster."""

    def stage(
        self,
        cluster: Cluster,
        time_s: Sequence[float],
        parameter_bytes: float,
        replicas: Sequence[int],
    ) -> StageTime:
        """Compute as :attr:`dispatch` says, and a ring all-reduce over the slowest link used."""
        m = sum(replicas)
        servers = cluster.servers_of(replicas)
        if len(servers) == 1:
            bandwidth = cluster.bandwidth_bytes_per_s[servers[0]][servers[0]]
        else:
            bandwidth = min(
                cluster.bandwidth_bytes_per_s[s][t] for s in servers for t in servers if s != t
            )
        sync = _ring_all_reduce_s(parameter_bytes, m, bandwidth)
        if self.dispatch == "equal":
            return StageTime(slowest(time_s, replicas) / m, sync / m)
        used = [(t, n) for t, n in zip(time_s, replicas, strict=True) if n > 0]
        if any(t == 0 for t, _ in used):
            return StageTime(0.0, sync / m)
        return StageTime(1 / sum(n / t for t, n in used), sync / m)

    def cut(
        self,
        cluster: Cluster,
        cut_bytes: float,
        earlier: Sequence[int],
        later: Sequence[int],
        *,
        earlier_is_first: bool,
    ) -> CutTime:
        """Latency + 2A/(ρβs): s replicas inside one server, else s servers (one card each)."""
        if self.compression_ratio is None:
            return CutTime(0.0, 0.0)
        here, there = cluster.servers_of(earlier), cluster.servers_of(later)
        if here == there and len(here) == 1:
            s = here[0]
            parallel = min(sum(earlier), sum(later))
            bandwidth, latency = cluster.bandwidth_bytes_per_s[s][s], cluster.latency_s[s][s]
        else:
            parallel = min(len(here), len(there))
            pairs = [(s, t) for s in here for t in there if s != t]
            bandwidth = min(cluster.bandwidth_bytes_per_s[s][t] for s, t in pairs)
            latency = max(cluster.latency_s[s][t] for s, t in pairs)
        both = latency + self._round_trip_s(cut_bytes, bandwidth, parallel)
        return CutTime(both, both)


def is_proportional(model: CostModel) -> bool:
    """Whether replicas of a stage may run at their own pace."""
    return isinstance(model, Topology) and model.dispatch == "proportional"


COST_MODELS: dict[str, type[CostModel]] = {
    model.name: model for model in (Topology, PipeDream, SparsePipe, MaxLoad)
}


def make_cost_model(
    name: str,
    *,
    compression_ratio: float | None = 1.0,
    overlap: bool = True,
    dispatch: Dispatch = "equal",
) -> CostModel:
    """Return the cost model called ``name``.

    Raises
    ------
    InputError
        If there is none, or ``dispatch`` is asked of a model that has no such choice.
    """
    if name not in COST_MODELS:
        raise InputError(f"unknown cost model '{name}'; expected {', '.join(COST_MODELS)}")
    if dispatch not in {"equal", "proportional"}:
        raise InputError(f"unknown dispatch '{dispatch}'; expected equal or proportional")
    if name == Topology.name:
        return Topology(compression_ratio, overlap, dispatch)
    if dispatch != "equal":
        raise InputError(f"--dispatch {dispatch} needs cost model 'topology', not '{name}'")
    return COST_MODELS[name](compression_ratio, overlap)
