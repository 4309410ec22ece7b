"""Proof that a written package computes what the unsplit network computes."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from stagewright.emit.boundaries import partition
from stagewright.emit.build import build_program
from stagewright.emit.package import GRAPH_FILE
from stagewright.model.errors import InputError, printable
from stagewright.model.profile import read_profile

Precision = Literal["float64", "float32"]

RUN_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What code of the package, or layers on input that does not fit them, may raise."""

TOLERANCE = {"float64": 1e-9, "float32": 1e-4}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One tensor of the stages beside the same tensor of the unsplit network.

    Attributes
    ----------
    stage
        Stage that it belongs to.
    what
        Such as ``output relu3`` or ``gradient of conv1.weight``.
    difference
        Largest difference, relative to the largest magnitude in the unsplit network's.
    bitwise
        Whether the two are equal in every bit.
    problem
        What is wrong, or "".
    """

    stage: int
    what: str
    difference: float
    bitwise: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class StageReport:
    """The comparisons of one stage, summed up."""

    stage: int
    layers: int
    parameters: int
    compared: int
    bitwise: int
    largest_difference: float
    equal: bool


@dataclass(frozen=True)
class VerifyReport:
    """What :func:`verify_package` found.

    Attributes
    ----------
    stages
        One row per stage.
    comparisons
        In the order of the computation: outputs, loss, gradients from the last stage to the
        first, and batch-norm statistics.
    reference_loss, loss
        Of the unsplit network and of the stages.
    tolerance
        Largest relative difference that counts as equal.
    """

    stages: tuple[StageReport, ...]
    comparisons: tuple[Comparison, ...]
    reference_loss: float
    loss: float
    tolerance: float

    @property
    def first_difference(self) -> Comparison | None:
        """The first tensor that differs, in the order of the computation."""
        return next((x for x in self.comparisons if x.problem), None)

    @property
    def equal(self) -> bool:
        """Whether everything is equal."""
        return self.first_difference is None


def verify_package(
    folder: str | Path,
    *,
    inputs: Callable[[], Sequence[Any]] | None = None,
    precision: Precision = "float64",
    seed: int = 0,
) -> VerifyReport:
    """Run a written package and the unsplit network side by side, and compare.

    The package's own code is imported and run. The stages get what crosses a cut as another
    process would: detached, each sparse tensor in a coordinate manager of its own.

    Parameters
    ----------
    folder
        What ``stagewright emit`` wrote.
    inputs
        Makes one minibatch; by default random inputs of the right shape.
    precision
        What to compute in. In ``float64`` rounding cannot hide a mistake.
    seed
        Of weights, inputs and dropout.

    Raises
    ------
    InputError
        If the folder is not a written package, or a package that it needs is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("no such folder; expected a written package", source=folder)
    path = folder / GRAPH_FILE
    graph = read_profile(path)
    stage_of = {x.id: x.stage for x in graph.layers if x.stage is not None}
    cut = partition(build_program(graph, stage_of, str(path)), str(path))
    _require("torch")
    if cut.is_sparse:
        _require("MinkowskiEngine")
    from stagewright.emit.side_by_side import compare  # noqa: PLC0415

    with imported_package(folder) as package:
        return compare(package, cut, inputs, precision, seed)


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise InputError(f"{package} is not installed; it is needed to run the stages")


@contextmanager
def imported_package(folder: Path) -> Iterator[ModuleType]:
    """Import a folder as a package under a name of its own, and forget it afterwards.

    Raises
    ------
    InputError
        If it cannot be imported.
    """
    name = f"_stagewright_package_{abs(hash(folder.resolve()))}"
    start = folder / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        name, start, submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None or not start.is_file():
        raise InputError("is not a written package: there is no __init__.py", source=folder)
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    try:
        try:
            spec.loader.exec_module(package)
        except RUN_ERRORS as error:
            raise InputError(
                f"the package cannot be imported: {printable(str(error), 200)}", source=folder
            ) from error
        yield package
    finally:
        for key in [x for x in sys.modules if x == name or x.startswith(f"{name}.")]:
            del sys.modules[key]
