"""One rank of measuring links: reads a request, joins the others, and the first one answers.

``python -P -m stagewright.profile.link_worker FD``: as ``worker``, with the ranks that torchrun
gives in the environment. Ranks with one ``GROUP_RANK`` are on one server.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
import sys
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

from stagewright.model.errors import InputError, NetworkError
from stagewright.profile.link_document import LinkRequest, MeasuredLink
from stagewright.profile.ping_pong import all_reduce, ping_pong
from stagewright.profile.request import Failure, LinksAnswer
from stagewright.profile.worker import Channel

TIMEOUT = dt.timedelta(seconds=60)


def main(descriptor: int) -> None:
    """Do what standard input asks for."""
    request = LinkRequest.model_validate_json(sys.stdin.readline())
    channel = Channel(descriptor)
    try:
        links = tuple(_measured(request))
    except InputError as error:
        channel.send(Failure(of="input", message=error.message, hint=error.hint))
    except NetworkError as error:
        channel.send(Failure(of="network", message=error.message, hint=error.hint))
    except (RuntimeError, ValueError) as error:  # what torch.distributed raises
        text = " ".join(str(error).split())[:200]
        channel.send(
            Failure(
                of="network",
                message=f"torch.distributed fails: {text}",
                hint="Every rank must be able to reach the others; did one of them end?",
            )
        )
    else:
        channel.send(LinksAnswer(links=links))


def _measured(request: LinkRequest) -> Iterator[MeasuredLink]:
    """Join the other ranks and yield every link on the first one, nothing elsewhere."""
    local = int(os.environ["LOCAL_RANK"])
    if request.cores:
        _pin(request.cores, local)
    if request.device == "cuda":
        _take_gpu(local)
    backend = "nccl" if request.device == "cuda" else "gloo"
    dist.init_process_group(
        backend,
        init_method=os.environ.get("INIT_METHOD"),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=TIMEOUT,
    )
    try:
        yield from _links(_ranks_by_server(), backend, request)
        dist.barrier()
    finally:
        dist.destroy_process_group()


def _links(servers: list[list[int]], backend: str, request: LinkRequest) -> Iterator[MeasuredLink]:
    """Measure link by link, so that none disturbs another: first inside servers, then between."""
    rank = dist.get_rank()
    for server, ranks in enumerate(servers):
        if len(ranks) > 1:
            times = ping_pong(ranks[0], ranks[1], request) if rank in ranks[:2] else ()
            reduced = all_reduce(ranks, request)
            found = _first_knows((times, reduced), ranks[0])
            if rank == 0:
                yield MeasuredLink.of((server, server), backend, *found)
    for s, t in itertools.combinations(range(len(servers)), 2):
        first, second = servers[s][0], servers[t][0]
        times = ping_pong(first, second, request) if rank in {first, second} else ()
        (found_times,) = _first_knows((times,), first)
        if rank == 0:
            yield MeasuredLink.of((s, t), backend, found_times)


def _first_knows(found: tuple[object, ...], source: int) -> tuple[Any, ...]:
    """Tell everyone what one rank found, so that rank 0 has it."""
    box: list[tuple[object, ...]] = [found]
    dist.broadcast_object_list(box, src=source)
    return box[0]


def _ranks_by_server() -> list[list[int]]:
    """Return the ranks of each server."""
    places: list[int | None] = [None] * dist.get_world_size()
    dist.all_gather_object(places, int(os.environ.get("GROUP_RANK", "0")))
    return [
        [rank for rank, place in enumerate(places) if place == server]
        for server in sorted({x for x in places if x is not None})
    ]


def _pin(cores: tuple[int, ...], local: int) -> None:
    """Keep this process, and the threads that it starts, on one core."""
    if local >= len(cores):
        raise InputError(f"--cores names {len(cores)} cores; this server has more ranks")
    try:
        os.sched_setaffinity(0, {cores[local]})
    except (OSError, AttributeError):
        raise InputError(
            f"core {cores[local]} cannot be used",
            hint=f"Name cores among {sorted(os.sched_getaffinity(0))}",
        ) from None
    torch.set_num_threads(1)


def _take_gpu(local: int) -> None:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if local >= count:
        raise InputError(
            f"nccl needs a GPU for each rank; torch sees {count} here",
            hint="Measure gloo between processes: --device cpu",
        )
    torch.cuda.set_device(local)


if __name__ == "__main__":
    main(int(sys.argv[1]))
