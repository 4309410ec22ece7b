"""What a simulation shows: GPUs, events in time, memory over time. Plain data to draw and print."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Work(StrEnum):
    """What an event is: work of one GPU, or a transfer between two."""

    FORWARD = "forward"
    BACKWARD = "backward"
    RECOMPUTE = "recompute"
    ALL_REDUCE = "all-reduce"
    ACTIVATION = "activation"
    GRADIENT = "gradient"

    @property
    def is_transfer(self) -> bool:
        """Whether it goes from one GPU to another."""
        return self in {Work.ACTIVATION, Work.GRADIENT}


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU in use.

    Attributes
    ----------
    rank
        Its number, as in ``plan.json``.
    stage, replica
        The stage it holds, and which of the stage's replicas it is.
    group, server
        Indices of its group and its server in the cluster.
    name
        For people: ``TitanV 0 in Server0``.
    """

    rank: int
    stage: int
    replica: int
    group: int
    server: int
    name: str


@dataclass(frozen=True, slots=True)
class Event:
    """One piece of work, or one transfer, from ``start_s`` to ``end_s``.

    Attributes
    ----------
    work
        What it is.
    rank, stage
        The GPU that works or sends, and its stage.
    minibatch
        Its number from 0; for an all-reduce the number of the update.
    to_rank
        The GPU that receives; ``None`` for work.
    """

    work: Work
    rank: int
    stage: int
    minibatch: int
    start_s: float
    end_s: float
    to_rank: int | None = None


@dataclass(frozen=True)
class MemoryCurve:
    """Bytes that one GPU holds over time.

    Attributes
    ----------
    rank
        The GPU.
    time_s, held_bytes
        From ``time_s[i]`` on the GPU holds ``held_bytes[i]``, until the next time.
    """

    rank: int
    time_s: NDArray[np.float64]
    held_bytes: NDArray[np.float64]

    @property
    def peak_bytes(self) -> float:
        """The most that is held at any time."""
        return float(self.held_bytes.max())


@dataclass(frozen=True, slots=True)
class GpuFigures:
    """How one GPU spends the run, in seconds, and what it holds at most.

    Attributes
    ----------
    forward_s, backward_s, recompute_s, all_reduce_s
        Time spent on each.
    transfer_s
        Time that it waits for its own transfers, where nothing overlaps.
    bubble_share
        The part of the whole run, fill and drain included, in which it does none of these.
    steady_bubble_share
        The same while the pipeline is full; ``None`` where the run is too short to tell.
    peak_bytes
        Peak of its memory.
    """

    gpu: Gpu
    forward_s: float
    backward_s: float
    recompute_s: float
    all_reduce_s: float
    transfer_s: float
    bubble_share: float
    steady_bubble_share: float | None
    peak_bytes: float


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """How busy one link is.

    Attributes
    ----------
    name
        For people: ``network card of Server0``.
    users
        What goes over it: ``cut 0``, ``all-reduce of stage 1``.
    minibatch_s
        Seconds that it carries something, per minibatch.
    busy_share
        The part of the whole run in which it carries something.
    """

    name: str
    users: tuple[str, ...]
    minibatch_s: float
    busy_share: float
