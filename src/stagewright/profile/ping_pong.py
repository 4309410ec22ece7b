"""Timing messages between two ranks, and all-reduces among several, with torch.distributed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist

from stagewright.profile.link_document import LinkRequest, SizeTime


def ping_pong(first: int, second: int, request: LinkRequest) -> tuple[SizeTime, ...]:
    """Send messages there and back between two ranks; both call this.

    Returns
    -------
    tuple of SizeTime
        Half of the median time there and back, for each size.
    """
    leads = dist.get_rank() == first
    other = second if leads else first

    def there_and_back(message: torch.Tensor) -> None:
        if leads:
            dist.send(message, other)
            dist.recv(message, other)
        else:
            dist.recv(message, other)
            dist.send(message, other)

    return tuple(
        SizeTime(bytes=size, seconds=_median_s(there_and_back, size, request) / 2)
        for size in request.sizes_bytes
    )


def all_reduce(ranks: Sequence[int], request: LinkRequest) -> tuple[SizeTime, ...]:
    """Sum tensors over ranks; every rank of the whole run calls this, for it makes a group.

    Returns
    -------
    tuple of SizeTime
        For each size the bytes that every rank sends and receives in a ring, 2 (m - 1) / m of the
        tensor's (Patarasuk and Yuan, 2009), and the median time; nothing on other ranks.
    """
    group = dist.new_group(list(ranks))
    if dist.get_rank() not in ranks:
        return ()
    share = 2 * (len(ranks) - 1) / len(ranks)

    def reduce(tensor: torch.Tensor) -> None:
        dist.all_reduce(tensor, group=group)

    return tuple(
        SizeTime(bytes=share * size, seconds=_median_s(reduce, size, request))
        for size in request.sizes_bytes
    )


def _median_s(run: Callable[[torch.Tensor], None], size: int, request: LinkRequest) -> float:
    """Run on a tensor of ``size`` bytes as often as is asked for."""
    tensor = torch.zeros(max(1, size // 4), dtype=torch.float32, device=request.device)
    found = []
    for number in range(request.warm_up + request.repeats):
        start = time.perf_counter()
        run(tensor)
        if request.device == "cuda":
            torch.cuda.synchronize()
        if number >= request.warm_up:
            found.append(time.perf_counter() - start)
    return statistics.median(found)
