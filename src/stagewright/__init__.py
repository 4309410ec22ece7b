"""Plan pipeline-parallel training on GPUs that are not all alike, with proof.

The names below are what a program needs to plan; they are imported when first used, so that
``import stagewright`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stagewright.formulation.problem import Problem, Settings
    from stagewright.formulation.run import Planned, plan_with_baselines
    from stagewright.model.costs import PipeDream, SparsePipe, Topology
    from stagewright.model.document import read_plan
    from stagewright.model.errors import StagewrightError
    from stagewright.model.evaluate import evaluate
    from stagewright.model.load import load_instance, read_cluster, read_levels
    from stagewright.model.profile import read_profile
    from stagewright.model.rules import Rules
    from stagewright.scenarios.compare import compare

try:
    __version__ = version("stagewright")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

__all__ = [
    "PipeDream",
    "Planned",
    "Problem",
    "Rules",
    "Settings",
    "SparsePipe",
    "StagewrightError",
    "Topology",
    "compare",
    "evaluate",
    "load_instance",
    "plan_with_baselines",
    "read_cluster",
    "read_levels",
    "read_plan",
    "read_profile",
]

_PLACES = {
    "Problem": "formulation.problem",
    "Settings": "formulation.problem",
    "Planned": "formulation.run",
    "plan_with_baselines": "formulation.run",
    "PipeDream": "model.costs",
    "SparsePipe": "model.costs",
    "Topology": "model.costs",
    "read_plan": "model.document",
    "StagewrightError": "model.errors",
    "evaluate": "model.evaluate",
    "load_instance": "model.load",
    "read_cluster": "model.load",
    "read_levels": "model.load",
    "read_profile": "model.profile",
    "Rules": "model.rules",
    "compare": "scenarios.compare",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'stagewright' has no attribute '{name}'")
    return getattr(import_module(f"stagewright.{_PLACES[name]}"), name)
