"""What determines the answer of a cell, as a hash: two cells with one key have one answer."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import stagewright
from stagewright.formulation.problem import Problem

PACKAGES = ("ortools", "numpy", "networkx")
SOURCES = ("model", "formulation")


@lru_cache(maxsize=1)
def versions() -> str:
    """Return a hash of the code that plans: this package's own, Python's and the libraries'.

    The text of our modules counts, not only the version, so that a changed checkout does not answer
    with what an older one found.
    """
    root = Path(stagewright.__file__).parent
    state = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((root / folder).rglob("*.py")):
            state.update(str(path.relative_to(root)).encode())
            state.update(path.read_bytes())
    found = {name: _version(name) for name in PACKAGES}
    return _digest([stagewright.__version__, state.hexdigest(), platform.python_version(), found])


def problem_digest(problem: Problem) -> str:
    """Hash a problem: profiles, cluster, rules and cost model, as read from their files."""
    instance = {
        field.name: getattr(problem.instance, field.name)
        for field in dataclasses.fields(problem.instance)
        if field.name != "notes"
    }
    model = problem.cost_model
    return _digest([instance, model.name, model.version, model])


def digest_key(problem_key: str, planner: str, limits: object) -> str:
    """Hash a problem's hash with who plans, how long, and the versions of everything."""
    return _digest([versions(), problem_key, planner, limits])


def _digest(value: object) -> str:
    text = json.dumps(value, default=_plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {x.name: getattr(value, x.name) for x in dataclasses.fields(value)}
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"cannot hash a {type(value).__name__}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
