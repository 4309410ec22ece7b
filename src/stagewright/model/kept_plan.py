"""A plan in use, read to be kept: only which layers shared a stage matters."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stagewright.model.boundary import first_error
from stagewright.model.errors import InputError, printable
from stagewright.model.files import read_text
from stagewright.model.graph import LayerGraph
from stagewright.model.placement import Kept
from stagewright.model.plan_schema import SCHEMA


class _Stage(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    nodes: list[Annotated[str, Field(min_length=1)]]


class _Plan(BaseModel):
    """The part of a plan document that outlives its cluster, profiles and options."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    stages: Annotated[list[_Stage], Field(min_length=1)]


def read_stages(path: str | Path) -> tuple[tuple[str, ...], ...]:
    """Return the layers of each stage of a plan document, whatever cluster it was for.

    Raises
    ------
    InputError
        If the file is no plan document, or a layer is in two stages.
    """
    path = Path(path)
    text = read_text(path, "plan document")
    try:
        parsed = _Plan.model_validate_json(text)
    except ValidationError as error:
        place, message = first_error(error)
        raise InputError(
            f"{place}: {message}" if place else message,
            source=path,
            hint=f"Expected a plan document ({SCHEMA}), as 'stagewright plan -o DIR' writes it",
        ) from None
    stages = tuple(tuple(stage.nodes) for stage in parsed.stages)
    placed = Counter(node for stage in stages for node in set(stage))
    twice = [node for node, times in placed.items() if times > 1]
    if twice:
        raise InputError(f"'{twice[0]}' is in {placed[twice[0]]} stages", source=path)
    return stages


def kept_stages(path: str | Path, most_moved: int, graph: LayerGraph) -> Kept:
    """Return the plan in ``path`` as far as ``graph`` knows its layers.

    Raises
    ------
    InputError
        As :func:`read_stages`, or if ``graph`` knows none of them.
    """
    known = set(graph.planned)
    old = read_stages(path)
    stages = tuple(tuple(node for node in stage if node in known) for stage in old)
    if not any(stages):
        example = next((node for stage in old for node in stage), "nothing")
        raise InputError(
            f"the plan holds none of the layers to be planned (it has '{printable(example, 60)}')",
            source=path,
            hint="Name an earlier plan of the same network",
        )
    return Kept(tuple(stage for stage in stages if stage), most_moved)
