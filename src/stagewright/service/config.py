"""What an operator decides: where the service listens, where jobs are kept, and all limits."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass

from stagewright.model.errors import InputError

LEAST_TOKEN = 16
"""Characters of the shortest token that is accepted."""


@dataclass(frozen=True)
class Limits:
    """What one request may ask for, and what all of them together may take.

    Attributes
    ----------
    time_limit_s
        A solve ends after so many seconds with the best plan so far, whatever was asked.
    memory_bytes
        Memory that the process of one solve may take.
    layers, gpus, servers
        Size of the largest problem that is accepted.
    body_bytes
        Size of the largest request.
    queued
        Jobs that may wait; more are refused until there is room.
    workers
        Solves that run at the same time, each in a process of its own.
    threads
        Solver threads of one solve.
    keep_s
        Finished jobs are deleted after so many seconds.
    """

    time_limit_s: float = 600.0
    memory_bytes: float = 4e9
    layers: int = 5_000
    gpus: int = 1_024
    servers: int = 128
    body_bytes: int = 16 * 1024 * 1024
    queued: int = 256
    workers: int = 1
    threads: int = 1
    keep_s: float = 30 * 86_400.0


@dataclass(frozen=True)
class Config:
    """A service.

    Attributes
    ----------
    host, port
        Where it listens; port 0 takes a free one.
    database
        URL of SQLAlchemy.
    token
        What callers have to present, or ``None``.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    database: str = "sqlite:///stagewright-jobs.sqlite"
    token: str | None = None
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < LEAST_TOKEN:
            raise InputError(
                f"the token has {len(self.token)} characters; expected {LEAST_TOKEN} or more",
                hint="For example: openssl rand -hex 32",
            )
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise InputError("the token has characters that no HTTP header can carry")
        if self.token is None and not self.loopback:
            raise InputError(
                f"anybody who reaches {self.host} could use the service",
                hint="Give a token (STAGEWRIGHT_SERVE_TOKEN or --token-file), or bind 127.0.0.1",
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service.

        >>> Config(host="::1").loopback
        True
        """
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine and no other can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_share(workers: int) -> int:
    """Threads for each of ``workers`` solves at once, so that together they fit the machine."""
    return max(1, (os.cpu_count() or 1) // workers)
