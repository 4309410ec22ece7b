"""Layers with the same weights: ``shared=N`` and ``tied=N`` in their descriptions.

See :mod:`stagewright.model.ties` for what the two mean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from stagewright.emit.operators import whole
from stagewright.emit.program import Step
from stagewright.model.describe import Call
from stagewright.model.errors import InputError, printable

SHARED, TIED = "shared", "tied"


@dataclass(frozen=True, slots=True)
class Ties:
    """The numbers that a description carries; None where it carries none."""

    shared: int | None = None
    tied: int | None = None


def without_ties(call: Call) -> tuple[Call, Ties]:
    """Split a description into the layer itself and its ties to others."""
    found = {key: value for key, value in call.kwargs if key in {SHARED, TIED}}
    if not found:
        return call, Ties()
    kwargs = tuple((key, value) for key, value in call.kwargs if key not in found)
    numbers = {key: whole(value, f"'{key}'") for key, value in found.items()}
    return dataclasses.replace(call, kwargs=kwargs), Ties(**numbers)


def settled(steps: Iterable[Step], ties: dict[str, Ties], source: str) -> tuple[Step, ...]:
    """Return the steps with the module that each of them calls.

    Parameters
    ----------
    steps
        In the order in which they run.
    ties
        Of each node that has some.
    source
        The file to name in errors.

    Raises
    ------
    InputError
        If layers with the same weights lie in different stages or cannot be one module.
    """
    first: dict[tuple[str, int], Step] = {}
    found = []
    for step in steps:
        mine = ties.get(step.node, Ties())
        for kind, number in ((SHARED, mine.shared), (TIED, mine.tied)):
            if number is None:
                continue
            owner = first.setdefault((kind, number), step)
            _check(owner, step, kind, source)
            step = (  # noqa: PLW2901 - the step as it is known by now
                dataclasses.replace(step, module=owner.module)
                if kind == SHARED
                else dataclasses.replace(step, weight_of=owner.module if owner != step else "")
            )
        found.append(step)
    return tuple(found)


def _check(owner: Step, step: Step, kind: str, source: str) -> None:
    node, other = printable(step.node, 60), printable(owner.node, 60)
    if step.layer.is_operator:
        raise InputError(f"node '{node}': an operator has no weights to share", source=source)
    if step.stage != owner.stage:
        raise InputError(
            f"node '{node}' holds the weights of '{other}', but lies in stage {step.stage} and "
            f"not {owner.stage}",
            source=source,
            hint=f"Plan with --together '{other},{node}'",
        )
    if kind == SHARED and (step.layer, step.arguments) != (owner.layer, owner.arguments):
        raise InputError(
            f"node '{node}' is said to be the module of '{other}', but is another layer",
            source=source,
        )
