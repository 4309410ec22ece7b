"""Cost model ``max-load``: device placement without replicas, and without overlap."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from stagewright.model.cluster import Cluster
from stagewright.model.cost_model import CostModel, CutTime, ExchangeTime, StageTime, slowest
from stagewright.model.errors import DoesNotApply
from stagewright.model.instance import Instance

HOST = "CPU"
"""Name of the GPU type that stands for processors of the host: no transfer costs them time."""


@dataclass(frozen=True)
class MaxLoad(CostModel):
    """Device placement: maximal load, as Tarnawski et al., NeurIPS 2020, define it.

    One device per stage, which computes and transfers by turns: stage = T + the time of each
    tensor that enters or leaves it, once. Cuts cost nothing themselves. An activation that a stage
    shares with another takes 2A/(ρβ), half of it in and half of it out; a stated tensor takes its
    time / ρ. Devices of type :data:`HOST` work where the tensors are and pay none.
    """

    name: ClassVar[str] = "max-load"
    one_device: ClassVar[bool] = True

    def check(self, cluster: Cluster) -> None:
        """Need one server."""
        if len(cluster.servers) > 1:
            raise DoesNotApply(
                "cost model 'max-load' is for the devices of one server; this cluster has "
                f"{len(cluster.servers)} (use --cost-model topology)"
            )

    def stage(
        self,
        cluster: Cluster,
        time_s: Sequence[float],
        parameter_bytes: float,
        replicas: Sequence[int],
    ) -> StageTime:
        """T: there is nothing to reduce."""
        return StageTime(slowest(time_s, replicas), 0.0)

    def cut(
        self,
        cluster: Cluster,
        cut_bytes: float,
        earlier: Sequence[int],
        later: Sequence[int],
        *,
        earlier_is_first: bool,
    ) -> CutTime:
        """Nothing: both stages have paid in :meth:`exchange`."""
        return CutTime(0.0, 0.0)

    def exchange(
        self, instance: Instance, nodes: Collection[int], replicas: Sequence[int]
    ) -> ExchangeTime:
        """Each tensor from outside and each with a reader outside, once."""
        ratio, groups = self.compression_ratio, instance.cluster.groups
        used = [g.gpu for g, n in zip(groups, replicas, strict=False) if n > 0]
        if ratio is None or all(gpu == HOST for gpu in used):
            return ExchangeTime(0.0, 0.0)
        if instance.tensors is None:
            shared = _shared_bytes(instance, nodes) / (
                ratio * instance.cluster.bandwidth_bytes_per_s[0][0]
            )
            return ExchangeTime(shared, shared)
        received = sent = 0.0
        here = {instance.nodes[v] for v in nodes}
        for tensor in instance.tensors:
            if tensor.source in here:
                sent += 0.0 if here.issuperset(tensor.targets) else tensor.transfer_s / ratio
            elif not here.isdisjoint(tensor.targets):
                received += tensor.transfer_s / ratio
        return ExchangeTime(received, sent)


def _shared_bytes(instance: Instance, nodes: Collection[int]) -> float:
    """Bytes of all activations that have one end among ``nodes`` and another outside."""
    here = set(nodes)
    ends = ({v, *readers} for v, readers in enumerate(instance.consumers))
    shared = [not here.isdisjoint(x) and not x <= here for x in ends]
    return float(instance.activation_bytes[shared].sum())
