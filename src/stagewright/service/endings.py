"""From the last message of a worker, or its silence, to the result of a job."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stagewright.service.store import Result
from stagewright.service.tables import State

Message = dict[str, Any]

_OUT_OF_MEMORY = ("out of memory", "bad_alloc", "cannot allocate memory", "memoryerror")


@dataclass(frozen=True)
class Ending:
    """How a run came to its end, apart from the worker's last message.

    Attributes
    ----------
    cancelled
        Whether a caller asked for it.
    has_plan
        Whether a plan is kept, so that the job has one without a last word of its worker.
    code
        The process's exit code, or ``None`` if it had to be ended.
    said
        What the process has printed: libraries tell there why they gave up.
    memory_bytes
        The limit it ran under.
    """

    cancelled: bool
    has_plan: bool
    code: int | None
    said: str
    memory_bytes: float

    @property
    def state(self) -> State:
        """Of a job whose worker did what it was asked to."""
        return State.CANCELLED if self.cancelled else State.DONE

    @property
    def status(self) -> str:
        """What is known where nothing is proven."""
        return "feasible" if self.has_plan else "unknown"


def conclude(message: Message | None, ending: Ending) -> Result:
    """Return the result of a job.

    Parameters
    ----------
    message
        The worker's last one; ``None`` if its process had to be ended.
    """
    if message is None:
        return _cut_off(ending)
    return _ENDINGS.get(message["kind"], _crashed)(message, ending)


def _cut_off(ending: Ending) -> Result:
    error = None
    if not ending.cancelled and not ending.has_plan:
        error = {"kind": "no-plan", "message": "the time was over before any plan was found"}
    return Result(ending.state, {"status": ending.status, "error": error})


def _document(message: Message, ending: Ending) -> Result:
    document = json.loads(message["text"])
    certificate = document["certificate"]
    values = {
        "document": message["text"],
        "has_plan": True,
        "status": certificate["status"],
        "period_s": document["period_s"],
        "bound_s": certificate["bound_s"],
        "wall_s": certificate["wall_s"],
        "second": message["second"],
    }
    return Result(ending.state, values)


def _comparison(message: Message, ending: Ending) -> Result:
    text = json.dumps(message["data"], indent=1, ensure_ascii=False)
    return Result(ending.state, {"document": text, "has_plan": False})


def _infeasible(message: Message, _: Ending) -> Result:
    error = {"kind": "infeasible", "message": message["text"], "notes": message["notes"]}
    return Result(State.DONE, {"status": "infeasible", "error": error})


def _no_plan(message: Message, ending: Ending) -> Result:
    error = {"kind": "no-plan", "message": message["text"]}
    return Result(ending.state, {"status": "unknown", "error": error})


def _refused(message: Message, _: Ending) -> Result:
    return Result(State.FAILED, {"error": {"kind": message["why"], "message": message["text"]}})


def _crashed(message: Message, ending: Ending) -> Result:
    """Say why a process ended without an answer."""
    text = message.get("text", "").strip() or ending.said.strip()
    last = text.split("\n")[-1][:400]
    hint = (
        "Ask for fewer solver threads, or raise the limit "
        f"({ending.memory_bytes / 1e9:g} GB) with --memory"
    )
    error = {"kind": "crashed", "message": f"the solve ended with code {ending.code}", "hint": hint}
    if any(sign in text.lower() for sign in _OUT_OF_MEMORY):
        error = {"kind": "memory", "message": "the solve ran out of memory", "hint": hint}
    elif text:
        error = {"kind": "crashed", "message": f"the solve failed: {last}"}
    return Result(State.FAILED, {"status": ending.status, "error": error})


_ENDINGS: dict[str, Callable[[Message, Ending], Result]] = {
    "document": _document,
    "comparison": _comparison,
    "infeasible": _infeasible,
    "no-plan": _no_plan,
    "refused": _refused,
}
