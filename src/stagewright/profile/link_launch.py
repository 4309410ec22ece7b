"""Having links measured: by two processes of this machine, or between the ranks of torchrun."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stagewright.model.errors import NetworkError
from stagewright.profile import child
from stagewright.profile.launch import need_torch
from stagewright.profile.link_document import LinkRequest, MeasuredLink
from stagewright.profile.request import Failure, LinksAnswer

WORKER = "stagewright.profile.link_worker"
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")
"""What torchrun puts into the environment of every rank."""


def under_torchrun() -> bool:
    """Whether this process is one of the ranks that torchrun started."""
    return all(name in os.environ for name in TORCHRUN)


def is_first_rank() -> bool:
    """Whether this process is the one that reports."""
    return not under_torchrun() or os.environ["RANK"] == "0"


def measure_links(request: LinkRequest) -> tuple[MeasuredLink, ...]:
    """Measure the links between ranks.

    Started by torchrun, this process is one of the ranks, and all but the first return nothing.
    Otherwise two processes are started on this machine.

    Raises
    ------
    InputError
        If torch is not installed, or a core or GPU is asked for that is not there.
    NetworkError
        If the ranks do not find each other, one of them ends, or the times make no sense.
    """
    need_torch("send messages")
    if under_torchrun():
        if int(os.environ["WORLD_SIZE"]) < 2:
            raise NetworkError(
                "torchrun started one rank; a link has two ends",
                hint="Start two ranks at least, such as --nproc-per-node=2",
            )
        with child.started(WORKER, request.model_dump_json(), dict(os.environ)) as one:
            return _answer(*one)
    asked = request.model_dump_json()
    with (
        _loopback() as (first, second),
        child.started(WORKER, asked, first) as one,
        _heard(asked, second, one[0]) as refusals,
    ):
        return _answer(*one, refusals)


def _answer(
    process: subprocess.Popen[bytes], lines: Iterator[str], refusals: Sequence[Failure] = ()
) -> tuple[MeasuredLink, ...]:
    """Return what a rank found, or raise what it or the other one refused."""
    for line in lines:
        match content := child.content(line):
            case Failure():
                raise child.error(content)
            case LinksAnswer():
                process.wait()
                return content.links
    code = process.wait()
    for refusal in refusals:
        raise child.error(refusal)
    raise NetworkError(
        f"the process that measured the network {child.death(code)}", hint=child.advice(code)
    )


@contextmanager
def _heard(
    request: str, environment: Mapping[str, str], first: subprocess.Popen[bytes]
) -> Iterator[list[Failure]]:
    """Run the second rank as a process, and listen to it meanwhile.

    Where it refuses its input, or ends by itself with an error, the first rank would wait for it
    for a minute; it is ended instead, and what the second one said is in the list.
    """
    refusals: list[Failure] = []

    def refuse(why: Failure) -> None:
        refusals.append(why)
        first.kill()

    def listen(process: subprocess.Popen[bytes], lines: Iterator[str]) -> None:
        with contextlib.suppress(NetworkError, UnicodeDecodeError):
            for line in lines:
                content = child.content(line)
                if isinstance(content, Failure) and content.of == "input":
                    refuse(content)
        if (code := process.wait()) != 0:
            text = f"the second process that measured the network {child.death(code)}"
            refuse(Failure(of="network", message=text, hint=child.advice(code)))

    with child.started(WORKER, request, environment) as (process, lines):
        listener = threading.Thread(target=listen, args=(process, lines), daemon=True)
        listener.start()
        try:
            yield refusals
        finally:
            process.kill()
            listener.join(timeout=5)


@contextmanager
def _loopback() -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Yield the environments of two ranks that find each other by a file."""
    with tempfile.TemporaryDirectory(prefix="stagewright-") as folder:
        shared = {
            **os.environ,
            "WORLD_SIZE": "2",
            "GROUP_RANK": "0",
            "OMP_NUM_THREADS": "1",
            "INIT_METHOD": (Path(folder) / "ranks").as_uri(),
        }
        first, second = ({**shared, "RANK": str(k), "LOCAL_RANK": str(k)} for k in range(2))
        yield first, second
