"""Having a network measured in a process of its own."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable

from stagewright.model.errors import InputError, NetworkError
from stagewright.model.profile_document import ProfileDocument
from stagewright.profile import child
from stagewright.profile.request import Answer, Failure, Note, Progress, Request

OnNote = Callable[[str], None]
OnProgress = Callable[[int, int], None]

WORKER = "stagewright.profile.worker"


def profile(request: Request, on_note: OnNote, on_progress: OnProgress) -> ProfileDocument:
    """Measure a network in a process of its own.

    Raises
    ------
    InputError
        If the request names something that does not exist, or torch is not installed.
    NetworkError
        If the network cannot be measured, or its process ends by itself.
    """
    need_torch("run a network")
    environment = _environment(request)
    with child.started(WORKER, request.model_dump_json(), environment) as (process, lines):
        for line in lines:
            content = child.content(line)
            match content:
                case Note():
                    on_note(content.text)
                case Progress():
                    on_progress(content.done, content.total)
                case Failure():
                    raise child.error(content)
                case Answer():
                    return content.document
        code = process.wait()
    raise NetworkError(
        f"the process that ran the network {child.death(code)}", hint=child.advice(code)
    )


def need_torch(what_for: str) -> None:
    """Raise :class:`InputError` if torch is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise InputError(
            f"torch is not installed; it is needed to {what_for}",
            hint="Install it: pip install 'stagewright[torch]'",
        )


def _environment(request: Request) -> dict[str, str]:
    """Return the environment of the process: torch and MinkowskiEngine read threads from it."""
    found = dict(os.environ)
    if request.threads is not None:
        found["OMP_NUM_THREADS"] = str(request.threads)
    else:
        found.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    return found
