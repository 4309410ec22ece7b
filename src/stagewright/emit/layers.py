"""What the table of layers holds: how a kind of layer is written, and what it does to a tensor."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from enum import StrEnum

from stagewright.model.describe import Call, Value
from stagewright.model.errors import InputError

MANY = 64


class Takes(StrEnum):
    """What kind of tensor a layer works on."""

    DENSE = "dense"
    SPARSE = "sparse"
    EITHER = "either"


class Motion(StrEnum):
    """What a sparse layer does to the coordinates: nothing, coarser, finer, one per cloud."""

    STAY = "stay"
    DOWN = "down"
    UP = "up"
    ORIGIN = "origin"


@dataclass(frozen=True, slots=True)
class LayerType:
    """One kind of layer that descriptions may name.

    Attributes
    ----------
    name
        As descriptions spell it.
    constructor
        What the written code calls, such as ``nn.Conv2d``; empty for an operator.
    imports
        The import that the constructor needs, such as ``from torch import nn``.
    parameters
        Names of the constructor's arguments, in order; ``required`` of them have no default.
    attribute
        How the written code names such layers: ``conv`` makes ``conv1``, ``conv2``, …
    takes
        Which tensors it works on.
    operands
        Least and largest number of operands.
    outputs
        Names of its outputs if it has several (``__getitem__(k)`` picks one), else empty.
    states
        Positions among ``outputs`` that are tuples of tensors, not tensors.
    motion
        What it does to the coordinates of a sparse tensor.
    saves_output
        Whether its backward pass reads its own output, which then must not be overwritten.
    sparse_twin
        The layer that does the same to the features of a sparse tensor, if there is one.
    gives_dense
        Whether it takes a sparse tensor and gives a dense one.
    parts
        Modules inside that the description must show; the written code takes their figures.
    """

    name: str
    constructor: str
    imports: str
    parameters: tuple[str, ...] = ()
    required: int = 0
    attribute: str = "layer"
    takes: Takes = Takes.DENSE
    operands: tuple[int, int] = (1, 1)
    outputs: tuple[str, ...] = ()
    states: tuple[int, ...] = ()
    motion: Motion = Motion.STAY
    saves_output: bool = True
    sparse_twin: str = ""
    gives_dense: bool = False
    parts: tuple[str, ...] = ()

    @property
    def is_operator(self) -> bool:
        """Whether it is written as an expression, without a module."""
        return not self.constructor

    def arguments(self, call: Call) -> dict[str, Value]:
        """Return the arguments by name, checked against :attr:`parameters`.

        Raises
        ------
        InputError
            If there are too many, too few, unknown or repeated ones.
        """
        if len(call.args) > len(self.parameters):
            raise InputError(
                f"{self.name} takes at most {len(self.parameters)} arguments, "
                f"found {len(call.args)}"
            )
        named = dict(zip(self.parameters, call.args, strict=False))
        for key, value in call.kwargs:
            if key not in self.parameters:
                raise InputError(f"{self.name} has no argument '{key}'")
            if key in named:
                raise InputError(f"{self.name} gets '{key}' twice")
            named[key] = value
        missing = [key for key in self.parameters[: self.required] if key not in named]
        if missing:
            raise InputError(f"{self.name} lacks its argument '{missing[0]}'")
        return named


_TABLE: dict[str, LayerType] = {}


def add_layers(*types: LayerType) -> None:
    """Enter layer types into the table."""
    for layer in types:
        _TABLE[layer.name] = layer


def find_layer(name: str) -> LayerType:
    """Return the type of the layer that descriptions call ``name``.

    Raises
    ------
    InputError
        If it is not in the table; the message says how to register it.
    """
    if name not in _TABLE:
        raise InputError(
            f"'{name}' is not in the table of layers",
            hint="Register it: stagewright.emit.register_layer("
            f"'{name}', 'your_module.{name}', 'its argument names')",
        )
    return _TABLE[name]


def register_layer(
    name: str, constructor: str, arguments: str = "", *, sparse: bool = False, operands: int = 1
) -> None:
    """Teach the table a layer of your own; written packages import it from your module.

    Parameters
    ----------
    name
        As descriptions spell it.
    constructor
        Module and class, ``"mylayers.Swish"``.
    arguments
        Names of the constructor's arguments in order, separated by spaces; those after a
        ``/`` have defaults.
    sparse
        Whether it takes and gives sparse tensors, on the same coordinates.
    operands
        How many tensors it takes.

    Raises
    ------
    InputError
        If one of the names is not a Python name.

    Examples
    --------
    >>> register_layer("Swish", "mylayers.Swish", "/ beta")
    """
    module, _, cls = constructor.rpartition(".")
    required, _, optional = arguments.rpartition("/") if "/" in arguments else (arguments, "", "")
    names = (*required.split(), *optional.split())
    for part in (name, cls, *module.split("."), *names):
        if not is_name(part):
            raise InputError(
                f"'{part}' is not a Python name",
                hint="Call register_layer('Swish', 'mylayers.Swish', 'argument names')",
            )
    add_layers(
        LayerType(
            name,
            cls,
            f"from {module} import {cls}",
            names,
            len(required.split()),
            attribute=f"user_{snake_case(name)}",
            takes=Takes.SPARSE if sparse else Takes.DENSE,
            operands=(operands, operands),
        )
    )


def is_name(text: str) -> bool:
    """Return whether ``text`` can be a Python name in plain letters."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", text) is not None
    return plain and not keyword.iskeyword(text)


def snake_case(name: str) -> str:
    """Turn a class name into the name of an attribute.

    >>> snake_case("LayerNorm"), snake_case("ELU")
    ('layer_norm', 'elu')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")
