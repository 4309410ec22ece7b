"""All planners by name. A planner's module is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from stagewright.model.errors import InputError

if TYPE_CHECKING:
    from stagewright.formulation.problem import Planner

_PLACES = {
    "cpsat": ("cpsat.planner", "CpSat"),
    "milp": ("milp.planner", "Milp"),
    "exact-dp": ("exact_dp", "ExactDp"),
    "linear-dp": ("linear_dp", "LinearDp"),
    "pipedream-dp": ("pipedream_dp", "PipeDreamDp"),
    "sparsepipe-dp": ("sparsepipe_dp", "SparsePipeDp"),
    "data-parallel": ("baselines", "DataParallel"),
    "single-gpu": ("baselines", "SingleGpu"),
    "equal-split": ("baselines", "EqualSplit"),
}

PLANNER_NAMES = tuple(_PLACES)
DEFAULT_PLANNER = "cpsat"


def get_planner(name: str) -> Planner:
    """Return the planner called ``name``.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in _PLACES:
        raise InputError(f"unknown planner '{name}'; expected {', '.join(PLANNER_NAMES)}")
    module, attribute = _PLACES[name]
    found = getattr(import_module(f"stagewright.formulation.{module}"), attribute)()
    return cast("Planner", found)
