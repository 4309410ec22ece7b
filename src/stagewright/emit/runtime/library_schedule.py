"""Steps run by torch.distributed.pipelining: dense networks, one rank a stage."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

from .pipeline import Pipeline, as_list
from .transfer import receive_values, send_values, to_device

SCHEDULES = {"auto": Schedule1F1B, "1f1b": Schedule1F1B, "gpipe": ScheduleGPipe}


def make_step(schedule: str, part: Pipeline) -> Callable[[int], float]:
    """Return a function that does what ``Pipeline.step`` does, by a library schedule.

    Microbatches are joined along the first dimension, and the schedule takes them apart
    again; they have to be of one size.
    """
    place = part.place
    inputs, outputs = _one_microbatch(part)
    stage = PipelineStage(
        part.module,
        place.stage,
        len(place.ranks),
        part.device,
        input_args=inputs,
        output_args=outputs,
    )
    runs = SCHEDULES[schedule](
        stage,
        n_microbatches=part.microbatches,
        loss_fn=lambda outputs, target: part.loss(as_list(outputs), target),
    )

    def step(number: int) -> float:
        numbers = range(part.microbatches)
        total = torch.zeros((), device=part.device)
        losses: list[Tensor] = []
        arguments: list[Tensor] = []
        target = None
        if place.stage == 0:
            given = [part.data.inputs(number, k) for k in numbers]
            arguments = [_joined(part, x) for x in zip(*given, strict=True)]
        if place.is_last:
            target = _joined(part, [part.data.target(number, k) for k in numbers])
        runs.step(*arguments, target=target, losses=losses)
        if losses:
            total += torch.stack(losses).mean().detach()
        dist.all_reduce(total)
        return float(total)

    return step


def _one_microbatch(part: Pipeline) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what enters and leaves this stage, so that the library need not try it.

    Its own trial would run the stage once more and count in batch-norm statistics; this
    one runs a copy.
    """
    place = part.place
    if place.stage == 0:
        values = [to_device(x, part.device) for x in part.data.inputs(0, 0)]
    else:
        source = place.rank_of(place.stage - 1, 0)
        values = receive_values(part.forwards, part.arriving, source).values
    with torch.random.fork_rng():
        outputs = as_list(copy.deepcopy(part.module)(*values))
    if not place.is_last:
        send_values(part.forwards, outputs, place.rank_of(place.stage + 1, 0))
    part.forwards.flush()
    return tuple(values), tuple(outputs)


def _joined(part: Pipeline, tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([x.to(part.device) for x in tensors])
