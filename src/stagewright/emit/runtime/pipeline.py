"""Synchronous 1F1B over processes: every stage on one or more ranks.

A step runs a number of microbatches through the pipeline, forward and backward, adds
the gradients up over them and over the copies of a stage, and only then changes
weights. So a step of the pipeline is a step of the unsplit network on the same
microbatches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .transfer import (
    Link,
    Received,
    features,
    needs_gradient,
    receive_gradients,
    receive_values,
    send_gradients,
    send_values,
    to_device,
)

LARGE_BYTES = 2**20


class Data(Protocol):
    """Where microbatches come from; the same on every rank."""

    def inputs(self, step: int, microbatch: int) -> Sequence[Any]:
        """Return the inputs of the network."""

    def target(self, step: int, microbatch: int) -> Any:
        """Return what the loss compares the outputs with."""


@dataclass(frozen=True)
class Place:
    """Where a rank stands.

    Attributes
    ----------
    stage, replica
        Its stage, and which of the stage's copies it is.
    ranks
        Ranks of every stage.
    """

    stage: int
    replica: int
    ranks: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, rank: int, ranks: tuple[tuple[int, ...], ...]) -> Place:
        """Return the place of a rank."""
        for stage, members in enumerate(ranks):
            if rank in members:
                return cls(stage, members.index(rank), ranks)
        raise ValueError(f"rank {rank} has no stage")

    @property
    def is_last(self) -> bool:
        """Whether it computes the loss."""
        return self.stage == len(self.ranks) - 1

    def rank_of(self, stage: int, microbatch: int) -> int:
        """Return the rank that has a microbatch in a stage; copies take turns."""
        members = self.ranks[stage]
        return members[microbatch % len(members)]


def one_f_one_b(
    place: Place, microbatches: int, under_way: int = 0
) -> list[tuple[str, int]]:
    """Return what a rank does in a step: ``("F", 0), ("F", 1), ("B", 0), …``.

    A copy of stage k first runs forward as often as there are ranks from stage k on for
    each copy of k, then backward and forward in turn. Fewer would leave later stages
    idle. Where transfers take time, ``under_way`` more at each cut keep the stages busy
    meanwhile, and hold that much more memory.
    """
    copies = len(place.ranks[place.stage])
    mine = range(place.replica, microbatches, copies)
    later = place.ranks[place.stage :]
    at_once = sum(len(members) for members in later) + under_way * (len(later) - 1)
    ahead = -(-at_once // copies)
    order: list[tuple[str, int]] = [("F", k) for k in mine[:ahead]]
    for done, microbatch in enumerate(mine):
        order.append(("B", microbatch))
        if done + ahead < len(mine):
            order.append(("F", mine[done + ahead]))
    return order


class Pipeline:
    """One rank's part of a pipeline.

    Parameters
    ----------
    place
        Where this rank stands.
    module
        Its stage.
    arriving
        How many tensors enter the stage.
    loss
        (outputs, target) to a scalar.
    data
        Where microbatches come from.
    device
        Where the stage lives.
    microbatches
        How many a step has.
    under_way
        How many of them may be under way at each cut; see :func:`one_f_one_b`.

    Attributes
    ----------
    starts_s
        When this rank began the forward pass of each microbatch of the latest step, on
        the clock of ``time.perf_counter``.
    """

    def __init__(
        self,
        place: Place,
        module: nn.Module,
        arriving: int,
        loss: Callable[[Sequence[Any], Any], Tensor],
        data: Data,
        device: torch.device,
        microbatches: int,
        under_way: int = 0,
    ) -> None:
        self.place = place
        self.module = module
        self.arriving = arriving
        self.loss = loss
        self.data = data
        self.device = device
        self.order = one_f_one_b(place, microbatches, under_way)
        self.microbatches = microbatches
        everyone = list(range(sum(len(members) for members in place.ranks)))
        self.forwards = Link(dist.new_group(everyone), device)
        self.backwards = Link(dist.new_group(everyone), device)
        groups = [dist.new_group(list(members)) for members in place.ranks]
        self.copies = groups[place.stage]
        self.starts_s: list[float] = []
        self._open: dict[int, tuple[Received | None, list[Any]]] = {}

    def step(self, number: int) -> float:
        """Run one step up to the gradients and return the mean loss."""
        total = torch.zeros((), device=self.device)
        self.starts_s.clear()
        for kind, microbatch in self.order:
            if kind == "B":
                self._backward(microbatch)
                continue
            self.starts_s.append(time.perf_counter())
            loss = self._forward(number, microbatch)
            if loss is not None:
                total += loss.detach()
        self.forwards.flush()
        self.backwards.flush()
        self._add_gradients()
        dist.all_reduce(total)
        return float(total)

    def _forward(self, step: int, microbatch: int) -> Tensor | None:
        place, received = self.place, None
        if place.stage == 0:
            arguments = self.data.inputs(step, microbatch)
            values = [to_device(x, self.device) for x in arguments]
        else:
            source = place.rank_of(place.stage - 1, microbatch)
            received = receive_values(self.forwards, self.arriving, source)
            values = received.values
        outputs = as_list(self.module(*values))
        if not place.is_last:
            send_values(
                self.forwards, outputs, place.rank_of(place.stage + 1, microbatch)
            )
            self._open[microbatch] = received, outputs
            return None
        target = to_device(self.data.target(step, microbatch), self.device)
        loss = self.loss(outputs, target) / self.microbatches
        self._open[microbatch] = received, [loss]
        return loss

    def _backward(self, microbatch: int) -> None:
        place = self.place
        received, outputs = self._open.pop(microbatch)
        if place.is_last:
            outputs[0].backward()
        else:
            source = place.rank_of(place.stage + 1, microbatch)
            gradients = receive_gradients(self.backwards, outputs, source)
            wanted = [features(x) for x in outputs if needs_gradient(x)]
            if wanted:
                torch.autograd.backward(wanted, gradients)
        if received is not None:
            target = place.rank_of(place.stage - 1, microbatch)
            send_gradients(self.backwards, received.leaves, target)

    def _add_gradients(self) -> None:
        """Add up the gradients of a stage's copies, each over its microbatches."""
        if len(self.place.ranks[self.place.stage]) == 1:
            return
        parameters = [x for x in self.module.parameters() if x.requires_grad]
        for x in parameters:
            if x.grad is None:
                x.grad = torch.zeros_like(x)
        _all_reduce_together(
            [x.grad for x in parameters if x.grad is not None], self.copies
        )

    def average_statistics(self) -> None:
        """Make batch-norm statistics those of all copies of a stage."""
        copies = len(self.place.ranks[self.place.stage])
        buffers = dict(self.module.named_buffers())
        means = [x for name, x in buffers.items() if ".running_" in name]
        counts = [x for name, x in buffers.items() if name.endswith("_tracked")]
        if copies > 1 and means:
            _all_reduce_together([*means, *counts], self.copies)
            torch._foreach_div_(means, copies)


def as_list(outputs: Any) -> list[Any]:
    """Return what a stage returned as a list."""
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def _all_reduce_together(tensors: Sequence[Tensor], group: dist.ProcessGroup) -> None:
    """Sum tensors over a group: large ones in place, small ones of a type together."""
    for x in tensors:
        if x.nbytes >= LARGE_BYTES:
            dense = x.contiguous()
            dist.all_reduce(dense, group=group)
            if dense is not x:
                x.copy_(dense)
    small = [x for x in tensors if x.nbytes < LARGE_BYTES]
    for dtype in sorted({x.dtype for x in small}, key=str):
        alike = [x for x in small if x.dtype == dtype]
        flat = torch.cat([x.flatten() for x in alike])
        dist.all_reduce(flat, group=group)
        for x, part in zip(alike, flat.split([x.numel() for x in alike]), strict=True):
            x.copy_(part.view_as(x))
