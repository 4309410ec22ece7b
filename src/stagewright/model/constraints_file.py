"""Constraints in a file, TOML or YAML (see ``docs/formats.md``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from stagewright.model.boundary import Price, first_error
from stagewright.model.constraints import Constraints, KeptPlan
from stagewright.model.errors import InputError
from stagewright.model.files import read_text
from stagewright.model.placement_names import PlacementNames
from stagewright.model.rules import Optimizer, Recompute, Versions
from stagewright.model.toml_text import parse_toml
from stagewright.model.yaml_text import parse_yaml

MOST_CHARACTERS = 256 * 1024

MOST_ENTRIES = 10_000

Word = Annotated[str, Field(min_length=1, max_length=1000)]
Words = Annotated[list[Word], Field(min_length=1, max_length=MOST_ENTRIES)]
Places = Annotated[
    dict[Word, Annotated[Words, BeforeValidator(lambda x: x if isinstance(x, list) else [x])]],
    Field(max_length=MOST_ENTRIES),
]
Limit = Annotated[int, Field(ge=1, le=10_000_000, strict=True)]
Switch = Annotated[bool, Field(strict=True)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Memory(_Part):
    use: Switch | None = None
    versions: Versions | None = None
    optimizer: Optimizer | None = None


class _Keep(_Part):
    plan: Word
    most_moved: Annotated[int, Field(ge=0, le=10_000_000, strict=True)]


class ConstraintsText(_Part):
    """What a constraints file states, apart from a plan to keep."""

    max_stages: Limit | None = None
    max_replicas: Limit | None = None
    max_gpus: Limit | None = None
    max_price_per_hour: Price | None = None
    use_all: Switch | None = None
    straight_pipeline: Switch | None = None
    recompute: Recompute | None = None
    memory: _Memory = _Memory()
    pin: Places = {}
    forbid: Places = {}
    together: Annotated[list[Words], Field(max_length=MOST_ENTRIES)] = []

    def stated(self) -> Constraints:
        """Return what is stated."""
        return Constraints(
            max_stages=self.max_stages,
            max_replicas=self.max_replicas,
            max_gpus=self.max_gpus,
            max_price_per_hour=self.max_price_per_hour,
            use_all=self.use_all,
            straight_pipeline=self.straight_pipeline,
            recompute=self.recompute,
            use_memory=self.memory.use,
            versions=self.memory.versions,
            optimizer=self.memory.optimizer,
            names=PlacementNames(
                pin=_pairs(self.pin),
                forbid=_pairs(self.forbid),
                together=tuple(tuple(words) for words in self.together),
            ),
        )


class ConstraintsTable(ConstraintsText):
    """What a constraints file may say, and a table of constraints in another file."""

    keep: _Keep | None = None

    def constraints(self, path: Path) -> Constraints:
        """Return them; the plan to keep lies beside ``path``."""
        keep = self.keep
        return replace(
            self.stated(),
            keep=None if keep is None else KeptPlan(path.parent / keep.plan, keep.most_moved),
        )


def read_constraints(path: str | Path) -> Constraints:
    """Read constraints from a ``.toml``, ``.yaml`` or ``.yml`` file.

    Raises
    ------
    InputError
        With the file and the place in it.
    """
    path = Path(path)
    if path.suffix not in {".toml", ".yaml", ".yml"}:
        raise InputError(
            f"found the suffix '{path.suffix}', expected .toml, .yaml or .yml", source=path
        )
    text = read_text(path, "constraints file")
    if len(text) > MOST_CHARACTERS:
        raise InputError(
            f"the file has {len(text):,} characters; a constraints file has at most "
            f"{MOST_CHARACTERS:,}",
            source=path,
        )
    raw = parse_toml(text, path) if path.suffix == ".toml" else parse_yaml(text, path)
    try:
        parsed = ConstraintsTable.model_validate(raw)
    except ValidationError as error:
        place, message = first_error(error)
        raise InputError(
            f"{place}: {message}" if place else message,
            source=path,
            hint="docs/formats.md describes the constraints file",
        ) from None
    return parsed.constraints(path)


def _pairs(places: dict[str, list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((layers, place) for layers, given in places.items() for place in given)
