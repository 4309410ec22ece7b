"""What measuring links is asked for, and what it found."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from stagewright.model.boundary import Bandwidth, Latency
from stagewright.profile.link_fit import LinkFit, Timing, fit_link

SIZES_BYTES = tuple(4_096 * 4**k for k in range(8))
"""Sizes of messages: 4 KiB to 64 MiB, each four times the one before."""

Rank = Annotated[int, Field(ge=0, le=1_000_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LinkRequest(_Part):
    """One measurement of links.

    Attributes
    ----------
    device
        ``cpu`` (gloo) or ``cuda`` (nccl).
    repeats, warm_up
        Messages of each size that count, and before those.
    cores
        Core of each rank of this machine, or nothing to leave them where they are.
    sizes_bytes
        Sizes of the messages.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    repeats: Annotated[int, Field(ge=1, le=100_000)] = 10
    warm_up: Annotated[int, Field(ge=0, le=100_000)] = 3
    cores: tuple[Rank, ...] = ()
    sizes_bytes: Annotated[tuple[Rank | int, ...], Field(min_length=2)] = SIZES_BYTES


class SizeTime(_Part):
    """Median seconds of a message of this size, one way."""

    bytes: Annotated[float, Field(gt=0)]
    seconds: Annotated[float, Field(gt=0)]


class MeasuredLink(_Part):
    """One link: between two servers, or inside one if both are the same.

    Attributes
    ----------
    servers
        Positions of the servers, from 0, in the order of their ranks.
    backend
        gloo or nccl.
    latency_s, bandwidth_bytes_per_s, deviation
        The line through the times of messages; see :class:`~stagewright.profile.link_fit.LinkFit`.
    all_reduce_bytes_per_s
        Bandwidth at which an all-reduce among the ranks of one server moves its
        2 (m - 1) / m bytes for each byte of gradient; None between servers.
    times, all_reduce_times
        Of every size; all-reduces only inside a server.
    """

    servers: tuple[Rank, Rank]
    backend: str
    latency_s: Latency
    bandwidth_bytes_per_s: Bandwidth
    deviation: float
    all_reduce_bytes_per_s: Bandwidth | None = None
    times: tuple[SizeTime, ...]
    all_reduce_times: tuple[SizeTime, ...] = ()

    @classmethod
    def of(
        cls,
        servers: tuple[int, int],
        backend: str,
        times: tuple[SizeTime, ...],
        all_reduce: tuple[SizeTime, ...] = (),
    ) -> MeasuredLink:
        """Fit the times of messages, and those of all-reduces where there are any."""
        fit = _fit(times)
        return cls(
            servers=servers,
            backend=backend,
            latency_s=fit.latency_s,
            bandwidth_bytes_per_s=fit.bandwidth_bytes_per_s,
            deviation=fit.deviation,
            all_reduce_bytes_per_s=_fit(all_reduce).bandwidth_bytes_per_s if all_reduce else None,
            times=times,
            all_reduce_times=all_reduce,
        )


def _fit(times: tuple[SizeTime, ...]) -> LinkFit:
    return fit_link([Timing(x.bytes, x.seconds) for x in times])
