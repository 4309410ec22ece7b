"""Starting the measuring process, listening to it, and what it can die of."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from stagewright.model.errors import InputError, NetworkError
from stagewright.model.profile_document import ProfileDocument
from stagewright.profile.request import Answer, Failure, Message, Note, Progress, Request

OnNote = Callable[[str], None]
OnProgress = Callable[[int, int], None]


def profile(request: Request, on_note: OnNote, on_progress: OnProgress) -> ProfileDocument:
    """Measure a network in a process of its own.

    Raises
    ------
    InputError
        If the request names something that does not exist, or torch is not installed.
    NetworkError
        If the network cannot be measured, or its process ends by itself.
    """
    if importlib.util.find_spec("torch") is None:
        raise InputError(
            "torch is not installed; it is needed to run a network",
            hint="Install it: pip install 'stagewright[torch]'",
        )
    with _started(request) as (process, lines):
        for line in lines:
            content = _content(line)
            match content:
                case Note():
                    on_note(content.text)
                case Progress():
                    on_progress(content.done, content.total)
                case Failure():
                    raise _error(content)
                case Answer():
                    return content.document
        code = process.wait()
    raise NetworkError(f"the process that ran the network {_death(code)}", hint=_advice(code))


@contextmanager
def _started(request: Request) -> Iterator[tuple[subprocess.Popen[bytes], Iterator[str]]]:
    """Start the process and give it its request; it does not outlive this."""
    read, write = os.pipe()
    with os.fdopen(read, encoding="utf-8") as stream:
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own code is what is to be run
                [sys.executable, "-P", "-m", "stagewright.profile.worker", str(write)],
                stdin=subprocess.PIPE,
                stdout=sys.stderr.fileno() if _has_number(sys.stderr) else subprocess.DEVNULL,
                pass_fds=(write,),
                env=_environment(request),
            )
        finally:
            os.close(write)
        try:
            assert process.stdin is not None  # noqa: S101
            process.stdin.write(request.model_dump_json().encode() + b"\n")
            process.stdin.close()
            yield process, iter(stream)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def _environment(request: Request) -> dict[str, str]:
    """Return the environment of the process: torch and MinkowskiEngine read threads from it."""
    found = dict(os.environ)
    if request.threads is not None:
        found["OMP_NUM_THREADS"] = str(request.threads)
    else:
        found.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    return found


def _has_number(stream: object) -> bool:
    try:
        stream.fileno()  # type: ignore[attr-defined]
    except (OSError, AttributeError):
        return False
    return True


def _content(line: str) -> Note | Progress | Failure | Answer:
    try:
        return Message.model_validate_json(line).content
    except ValidationError as error:
        raise NetworkError("the process that ran the network wrote something else") from error


def _error(failure: Failure) -> InputError | NetworkError:
    kind = InputError if failure.of == "input" else NetworkError
    return kind(failure.message, hint=failure.hint)


def _death(code: int) -> str:
    if code >= 0:
        return f"ended by itself with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}"


def _advice(code: int) -> str:
    if code == -signal.SIGKILL:
        return "Perhaps the memory was not enough: make the minibatch smaller"
    return "What it printed before is above"
