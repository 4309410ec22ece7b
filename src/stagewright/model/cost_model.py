"""What every cost model answers: the time of a stage, of a cut, and of what a stage exchanges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from stagewright.model.boundary import LARGEST, SMALLEST
from stagewright.model.cluster import Cluster
from stagewright.model.errors import DoesNotApply, InputError
from stagewright.model.instance import Instance


@dataclass(frozen=True, slots=True)
class StageTime:
    """Seconds per minibatch that a stage computes, and that its all-reduce takes."""

    compute_s: float
    sync_s: float


@dataclass(frozen=True, slots=True)
class CutTime:
    """Seconds per minibatch that the earlier stage sends, and that the later one receives."""

    sent_s: float
    received_s: float


@dataclass(frozen=True, slots=True)
class ExchangeTime:
    """Seconds per minibatch that a stage itself spends on receiving and sending tensors."""

    received_s: float
    sent_s: float


@dataclass(frozen=True)
class CostModel(ABC):
    """What all cost models share.

    Attributes
    ----------
    compression_ratio
        ρ, by which activations shrink before they cross a cut; ``None`` charges no transfers
        at all, as the published planners do without a ratio.
    overlap
        Whether computing overlaps transfers; otherwise a stage also waits for its input.
    one_device
        Whether the model is for stages of one device only.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    one_device: ClassVar[bool] = False

    compression_ratio: float | None = 1.0
    overlap: bool = True

    def __post_init__(self) -> None:
        ratio = self.compression_ratio
        if ratio is not None and not SMALLEST <= ratio <= LARGEST:
            raise InputError(f"the compression ratio is {ratio}; expected a positive number")

    @abstractmethod
    def check(self, cluster: Cluster) -> None:
        """Raise :class:`DoesNotApply` if the model is not defined on ``cluster``."""

    @abstractmethod
    def stage(
        self,
        cluster: Cluster,
        time_s: Sequence[float],
        parameter_bytes: float,
        replicas: Sequence[int],
    ) -> StageTime:
        """Cost of a stage.

        Parameters
        ----------
        time_s
            ``T_g``: seconds of the stage's layers on each group's type, shape (groups,).
        replicas
            ``n_g``, shape (groups,), at least one of them positive.
        """

    @abstractmethod
    def cut(
        self,
        cluster: Cluster,
        cut_bytes: float,
        earlier: Sequence[int],
        later: Sequence[int],
        *,
        earlier_is_first: bool,
    ) -> CutTime:
        """Cost of the cut between two stages with replicas ``earlier`` and ``later``."""

    def exchange(
        self, instance: Instance, nodes: Collection[int], replicas: Sequence[int]
    ) -> ExchangeTime:
        """Time of a stage that depends on which layers (positions) it holds; most models have none.

        Raises
        ------
        DoesNotApply
            If the instance states transfer times tensor by tensor and the model knows only cuts.
        """
        if instance.tensors is not None:
            raise DoesNotApply(
                f"cost model '{self.name}' does not know transfer times that are stated tensor by "
                "tensor (use --cost-model max-load)"
            )
        return ExchangeTime(0.0, 0.0)

    def _round_trip_s(self, cut_bytes: float, bandwidth: float, parallel: int) -> float:
        """Seconds of activations forward and gradients back: 2A / (ρ β parallel)."""
        if self.compression_ratio is None:
            return 0.0
        return 2 * cut_bytes / (self.compression_ratio * bandwidth * parallel)


def slowest(time_s: Sequence[float], replicas: Sequence[int]) -> float:
    """Seconds of the slowest type in use."""
    return max(t for t, n in zip(time_s, replicas, strict=True) if n > 0)
