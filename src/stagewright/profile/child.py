"""A measuring process: starting it, listening to it, and what it can die of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pydantic import ValidationError

from stagewright.model.errors import InputError, NetworkError
from stagewright.profile.request import Content, Failure, Message


@contextmanager
def started(
    module: str, request: str, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], Iterator[str]]]:
    """Start ``python -m module`` and give it its request; it does not outlive this.

    Parameters
    ----------
    module
        Is called with the file descriptor that its messages go to.
    request
        One line for its standard input.
    environment
        All of its environment.

    Yields
    ------
    tuple
        The process, and its messages line by line.
    """
    read, write = os.pipe()
    with os.fdopen(read, encoding="utf-8") as stream:
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own code is what is to be run
                [sys.executable, "-P", "-m", module, str(write)],
                stdin=subprocess.PIPE,
                stdout=sys.stderr.fileno() if _has_number(sys.stderr) else subprocess.DEVNULL,
                pass_fds=(write,),
                env=dict(environment),
            )
        finally:
            os.close(write)
        try:
            assert process.stdin is not None  # noqa: S101
            process.stdin.write(request.encode() + b"\n")
            process.stdin.close()
            yield process, iter(stream)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def _has_number(stream: object) -> bool:
    try:
        stream.fileno()  # type: ignore[attr-defined]
    except (OSError, AttributeError):
        return False
    return True


def content(line: str) -> Content:
    """Return what a line of the process says.

    Raises
    ------
    NetworkError
        If it is no message.
    """
    try:
        return Message.model_validate_json(line).content
    except ValidationError as wrong:
        raise NetworkError("the process that measured wrote something else") from wrong


def error(failure: Failure) -> InputError | NetworkError:
    """Return what the process could not do as the error to raise."""
    kind = InputError if failure.of == "input" else NetworkError
    return kind(failure.message, hint=failure.hint)


def death(code: int) -> str:
    """Say how a process with this exit code ended."""
    if code >= 0:
        return f"ended by itself with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}"


def advice(code: int) -> str:
    """Say what to do about it."""
    if code == -signal.SIGKILL:
        return "Perhaps the memory was not enough: make the minibatch smaller"
    return "What it printed before is above"
