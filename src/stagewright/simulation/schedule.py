"""Schedules: what each GPU does in which order, as data and as text.

A step is written ``2F0``: stage 2 runs forward for minibatch 0. ``2B0`` is its backward pass, and
``2R0`` averages the gradients of stage 2's replicas (all-reduce) and updates its weights for the
first time. A line per GPU, in order of rank::

    0: 0F0 0F1 0B0 0R0 0B1 0R1
    1: 1F0 1B0 1R0 1F1 1B1 1R1
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stagewright.model.errors import InputError, printable

FORWARD, BACKWARD, REDUCE = "F", "B", "R"

Step = tuple[str, int]
"""Kind (``F``, ``B``, ``R``) and the number of the minibatch, or of the update."""

_STEP = re.compile(r"(\d{1,7})([FBR])(\d{1,9})", re.ASCII)
_LINE = re.compile(r"(\d{1,7}):(.*)", re.ASCII)


@dataclass(frozen=True)
class Schedule:
    """The steps of every GPU.

    Attributes
    ----------
    stages
        The stage that each GPU holds, by rank.
    steps
        What each GPU does, by rank, in order.
    """

    stages: tuple[int, ...]
    steps: tuple[tuple[Step, ...], ...]

    @property
    def minibatches(self) -> int:
        """How many minibatches pass."""
        return sum(
            kind == FORWARD
            for stage, steps in zip(self.stages, self.steps, strict=True)
            if stage == 0
            for kind, _ in steps
        )

    def __str__(self) -> str:
        """As text, a line per GPU."""
        return "".join(
            f"{rank}: {' '.join(f'{stage}{kind}{number}' for kind, number in steps)}\n"
            for rank, (stage, steps) in enumerate(zip(self.stages, self.steps, strict=True))
        )


def parse_schedule(text: str, source: str | Path | None = None) -> Schedule:
    r"""Read a schedule; the inverse of ``str``.

    Raises
    ------
    InputError
        With the line, where something is not a step, or a GPU works for two stages.

    >>> parse_schedule("0: 0F0 0B0 0R0\n").steps
    ((('F', 0), ('B', 0), ('R', 0)),)
    """
    stages: list[int] = []
    steps: list[tuple[Step, ...]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None or int(match[1]) != len(stages):
            raise InputError(
                f"found '{printable(line, 40)}', expected the steps of GPU {len(stages)}, such as "
                f"'{len(stages)}: 0F0 0B0 0R0'",
                source=source,
                line=number,
            )
        found = [_step(word, source, number) for word in match[2].split()]
        held = {stage for stage, _ in found}
        if len(held) != 1:
            what = "does nothing" if not held else f"works for {len(held)} stages"
            raise InputError(
                f"GPU {len(stages)} {what}; expected steps of one stage",
                source=source,
                line=number,
            )
        stages.append(held.pop())
        steps.append(tuple(step for _, step in found))
    return Schedule(tuple(stages), tuple(steps))


def _step(word: str, source: str | Path | None, line: int) -> tuple[int, Step]:
    match = _STEP.fullmatch(word)
    if match is None:
        raise InputError(
            f"found '{printable(word, 40)}', expected a step such as 2F0, 2B0 or 2R0",
            source=source,
            line=line,
        )
    return int(match[1]), (match[2], int(match[3]))


def check_schedule(
    schedule: Schedule, stages: Iterable[int], source: str | Path | None = None
) -> None:
    """Check that a schedule fits the GPUs of a plan, and does everything once.

    Parameters
    ----------
    stages
        The stage that each GPU of the plan holds, by rank.

    Raises
    ------
    InputError
        If a minibatch is missing or repeated in a stage, passes backward before forward or on
        another GPU, or the replicas of a stage do not make the same updates.
    """
    expected = tuple(stages)
    if schedule.stages != expected:
        raise InputError(
            f"the schedule is for GPUs with stages {_some(schedule.stages)}, the plan has "
            f"{_some(expected)}",
            source=source,
        )
    minibatches = schedule.minibatches
    if minibatches < 1:
        raise InputError("the schedule passes no minibatch", source=source)
    for stage in sorted(set(expected)):
        _check_stage(schedule, stage, minibatches, source)


def _check_stage(
    schedule: Schedule, stage: int, minibatches: int, source: str | Path | None
) -> None:
    programs = [x for k, x in zip(schedule.stages, schedule.steps, strict=True) if k == stage]
    seen: set[int] = set()
    for steps in programs:
        forward: set[int] = set()
        backward: set[int] = set()
        for kind, number in steps:
            if kind == FORWARD and number not in seen:
                seen.add(number)
                forward.add(number)
            elif kind == BACKWARD and number in forward and number not in backward:
                backward.add(number)
            elif kind != REDUCE:
                what = "comes twice" if kind == FORWARD else "does not follow its forward pass once"
                raise InputError(f"{stage}{kind}{number} {what} on its GPU's line", source=source)
        if forward != backward:
            number = min(forward ^ backward)
            raise InputError(f"{stage}B{number} is missing", source=source)
    if seen != set(range(minibatches)):
        missing = min(set(range(minibatches)) ^ seen)
        what = "is missing" if missing < minibatches else "is one minibatch too many"
        raise InputError(f"{stage}F{missing} {what}", source=source)
    updates = [[number for kind, number in steps if kind == REDUCE] for steps in programs]
    if any(x != list(range(len(updates[0]))) for x in updates):
        raise InputError(
            f"the replicas of stage {stage} must make the same updates, {stage}R0, {stage}R1, …, "
            "in this order",
            source=source,
        )


def _some(stages: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, stages[:12]))
    return shown + (", …" if len(stages) > 12 else "")
