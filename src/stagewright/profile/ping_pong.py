"""Timing messages between two ranks, and all-reduces among several, with torch.distributed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

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
        SizeTime(bytes=size, seconds=seconds / 2)
        for size, seconds in _medians_s(there_and_back, request)
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
        SizeTime(bytes=share * size, seconds=seconds)
        for size, seconds in _medians_s(reduce, request)
    )


def _medians_s(
    run: Callable[[torch.Tensor], None], request: LinkRequest
) -> Iterator[tuple[int, float]]:
    """Run on a tensor of each size as often as is asked for; yield sizes and median seconds.

    Sizes take turns, so that what another program does for a moment meets a few times of every
    size, and not most times of one.
    """
    tensors = {
        size: torch.zeros(max(1, size // 4), dtype=torch.float32, device=request.device)
        for size in request.sizes_bytes
    }
    found: dict[int, list[float]] = {size: [] for size in tensors}
    for number in range(request.warm_up + request.repeats):
        for size, tensor in tensors.items():
            start = time.perf_counter()
            run(tensor)
            if request.device == "cuda":
                torch.cuda.synchronize()
            if number >= request.warm_up:
                found[size].append(time.perf_counter() - start)
    for size in request.sizes_bytes:
        yield size, statistics.median(found[size])
