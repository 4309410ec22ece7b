"""From the options, and the constraints file, to what is demanded of any plan."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagewright.cli.option_types import MAX_GPUS

if TYPE_CHECKING:
    from stagewright.model.constraints import Constraints

_SPELLED = {
    "max_stages": ("max_stages", "--max-stages"),
    "max_replicas": ("max_replicas", "--max-replicas"),
    "max_gpus": ("max_gpus", "--max-gpus"),
    "max_price_per_hour": ("max_price_per_hour", "--max-price"),
    "use_all": ("use_all", "--use-all"),
    "straight_pipeline": ("straight_pipeline", "--straight-pipeline"),
    "recompute": ("recompute", "--recompute"),
    "use_memory": ("memory.use", "--use-memory-constraint"),
    "versions": ("memory.versions", "--versions"),
    "optimizer": ("memory.optimizer", "--optimizer"),
    "keep": ("keep", "--replan"),
}
"""Key in a constraints file and option of each field of ``Constraints``."""


@dataclass(frozen=True)
class Demands:
    """The values of ``constraint_options``, by their names on the command line."""

    use_memory_constraint: bool
    versions: str | None
    optimizer: str | None
    recompute: str | None
    straight_pipeline: bool
    use_all: bool
    max_stages: int | None
    max_replicas: int | None
    max_gpus: int | None
    max_price: float | None
    pin: tuple[tuple[str, str], ...]
    forbid: tuple[tuple[str, str], ...]
    together: tuple[tuple[str, ...], ...]
    replan: str | None
    max_moved: int | None
    constraints: str | None


def all_constraints(demands: Demands) -> Constraints:
    """Join what the options say and what the constraints file says.

    Raises
    ------
    InputError
        If the file is wrong, or contradicts an option.
    """
    from stagewright.model.constraints_file import read_constraints

    stated = _stated(demands)
    if demands.constraints is not None:
        path = Path(demands.constraints)
        stated = _joined(stated, read_constraints(path), path)
    # No cluster has more, and a plan document has room for no more.
    return replace(
        stated,
        max_stages=_capped(stated.max_stages),
        max_replicas=_capped(stated.max_replicas),
        max_gpus=_capped(stated.max_gpus),
    )


def _stated(demands: Demands) -> Constraints:
    from stagewright.model.constraints import Constraints, KeptPlan
    from stagewright.model.errors import InputError
    from stagewright.model.placement_names import PlacementNames
    from stagewright.model.rules import Optimizer, Recompute, Versions

    keep = None
    if demands.replan is not None:
        if demands.max_moved is None:
            raise InputError(
                "--replan needs --max-moved, how many layers may leave their stage",
                hint="--max-moved 0 keeps every stage as it is, perhaps on other GPUs",
            )
        keep = KeptPlan(Path(demands.replan), demands.max_moved)
    elif demands.max_moved is not None:
        raise InputError("--max-moved goes with --replan, the plan that layers move from")
    return Constraints(
        max_stages=demands.max_stages,
        max_replicas=demands.max_replicas,
        max_gpus=demands.max_gpus,
        max_price_per_hour=demands.max_price,
        use_all=demands.use_all or None,
        straight_pipeline=demands.straight_pipeline or None,
        recompute=None if demands.recompute is None else Recompute(demands.recompute),
        use_memory=demands.use_memory_constraint or None,
        versions=None if demands.versions is None else Versions(demands.versions),
        optimizer=None if demands.optimizer is None else Optimizer(demands.optimizer),
        names=PlacementNames(demands.pin, demands.forbid, demands.together),
        keep=keep,
    )


def _joined(options: Constraints, file: Constraints, path: Path) -> Constraints:
    """Take each from where it is stated; both may state the same."""
    from stagewright.model.errors import InputError

    found: dict[str, Any] = {"names": options.names.and_also(file.names)}
    for field in fields(options):
        if field.name == "names":
            continue
        ours, theirs = getattr(options, field.name), getattr(file, field.name)
        if ours is not None and theirs is not None and ours != theirs:
            key, option = _SPELLED[field.name]
            raise InputError(
                f"{key} is {_shown(theirs)} here, but "
                f"{option if ours is True else f'{option} {_shown(ours)}'} is given",
                source=path,
                hint="State it once",
            )
        found[field.name] = theirs if ours is None else ours
    return replace(options, **found)


def _shown(value: object) -> str:
    """Spell a value as the file and the options do."""
    from stagewright.model.constraints import KeptPlan

    if isinstance(value, KeptPlan):
        return f"{value.path} with {value.most_moved} moved"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _capped(limit: int | None) -> int | None:
    return None if limit is None else min(limit, MAX_GPUS)
