"""Operators: layers without a module, written as expressions and run by the reference model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stagewright.emit.layers import MANY, LayerType, Takes, add_layers
from stagewright.model.describe import Value
from stagewright.model.errors import InputError

TORCH = "import torch"
FUNCTIONAL = "from torch.nn import functional as F"
MINKOWSKI = "import MinkowskiEngine as ME"

Arguments = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Operator:
    """How an operator is written and what it computes.

    Attributes
    ----------
    write
        (arguments, operands as code, sparse) to code.
    run
        (arguments, operands, sparse) to the value; used by the reference model only, so that
        the written code is checked against something else than itself.
    imports
        (sparse) to the import that the code needs, or "".
    """

    write: Callable[[Arguments, Sequence[str], bool], str]
    run: Callable[[Arguments, Sequence[Any], bool], Any]
    imports: Callable[[bool], str] = lambda _: ""


def numbers(arguments: Arguments, prefix: str) -> list[int]:
    """Return the arguments ``prefix0``, ``prefix1``, … as integers."""
    values = [arguments[key] for key in arguments if key.startswith(prefix)]
    return [whole(value, prefix) for value in values]


def whole(value: Value, what: str) -> int:
    """Return ``value`` if it is an integer, else refuse."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"'{value}' is not a whole number; expected one for {what}")
    return value


def _write_concat(arguments: Arguments, operands: Sequence[str], sparse: bool) -> str:
    names = ", ".join(operands)
    if sparse:
        return f"ME.cat({names})"
    return f"torch.cat([{names}], dim={_concat_dim(arguments)})"


def _run_concat(arguments: Arguments, values: Sequence[Any], sparse: bool) -> Any:
    if sparse:
        import MinkowskiEngine  # noqa: PLC0415

        return MinkowskiEngine.cat(*values)
    import torch  # noqa: PLC0415

    return torch.cat(list(values), dim=_concat_dim(arguments))


def _concat_dim(arguments: Arguments) -> int:
    if "dim" not in arguments:
        raise InputError("Concat of dense tensors lacks its dimension; expected Concat(1)")
    return whole(arguments["dim"], "the dimension")


def _write_view(arguments: Arguments, operands: Sequence[str], _: bool) -> str:
    tensor, *sizes = operands
    return f"{tensor}.view({', '.join([*sizes, *map(str, numbers(arguments, 'size'))])})"


def _run_view(arguments: Arguments, values: Sequence[Any], _: bool) -> Any:
    tensor, *sizes = values
    return tensor.reshape(*sizes, *numbers(arguments, "size"))


def _write_reshape(arguments: Arguments, operands: Sequence[str], _: bool) -> str:
    return _write_view(arguments, operands, _).replace(".view(", ".reshape(", 1)


def _dims(arguments: Arguments) -> tuple[int, int]:
    return whole(arguments["dim0"], "a dimension"), whole(arguments["dim1"], "a dimension")


def _run_product(_: Arguments, values: Sequence[Any], __: bool) -> Any:
    result = values[0]
    for value in values[1:]:
        result = result * value
    return result


def _run_sum(_: Arguments, values: Sequence[Any], __: bool) -> Any:
    result = values[0]
    for value in values[1:]:
        result = result + value
    return result


def _run_shift(_: Arguments, values: Sequence[Any], __: bool) -> Any:
    import torch  # noqa: PLC0415

    (tensor,) = values
    shifted = torch.zeros_like(tensor)
    shifted[..., :-1, :-1] = tensor[..., 1:, 1:]
    return shifted


OPERATORS: dict[str, Operator] = {
    "Add": Operator(lambda _, names, __: " + ".join(names), _run_sum),
    "Mul": Operator(lambda _, names, __: " * ".join(names), _run_product),
    "Concat": Operator(_write_concat, _run_concat, lambda sparse: MINKOWSKI if sparse else TORCH),
    "View": Operator(_write_view, _run_view),
    "Reshape": Operator(_write_reshape, _run_view),
    "Transpose": Operator(
        lambda given, names, _: f"{names[0]}.transpose{_dims(given)}",
        lambda given, values, _: values[0].transpose(*_dims(given)),
    ),
    "__getitem__": Operator(
        lambda given, names, _: f"{names[0]}[{whole(given['index'], 'the index')}]",
        lambda given, values, _: values[0][whole(given["index"], "the index")],
    ),
    "Shift": Operator(
        lambda _, names, __: f"F.pad({names[0]}, (0, 1, 0, 1))[:, :, 1:, 1:]",
        _run_shift,
        lambda _: FUNCTIONAL,
    ),
}


def _operator(
    name: str,
    arguments: str = "",
    required: int = 0,
    *,
    attribute: str,
    takes: Takes = Takes.DENSE,
    operands: tuple[int, int] = (1, 1),
    saves_output: bool = False,
) -> LayerType:
    return LayerType(
        name,
        "",
        "",
        tuple(arguments.split()),
        required,
        attribute=attribute,
        takes=takes,
        operands=operands,
        saves_output=saves_output,
    )


add_layers(
    _operator("Add", "inplace", attribute="add", takes=Takes.EITHER, operands=(2, MANY)),
    _operator(
        "Mul",
        "inplace",
        attribute="mul",
        takes=Takes.EITHER,
        operands=(2, MANY),
        saves_output=True,
    ),
    _operator("Concat", "dim", attribute="concat", takes=Takes.EITHER, operands=(2, MANY)),
    _operator(
        "View",
        " ".join(f"size{k}" for k in range(8)),
        attribute="view",
        operands=(1, 8),
        saves_output=True,
    ),
    _operator(
        "Reshape",
        " ".join(f"size{k}" for k in range(8)),
        attribute="view",
        operands=(1, 8),
        saves_output=True,
    ),
    _operator("Transpose", "dim0 dim1", 2, attribute="transpose", saves_output=True),
    _operator("Size", "dim", 1, attribute="size"),
    _operator("__getitem__", "index", attribute="item", saves_output=True),
    _operator("Shift", attribute="shift", saves_output=True),
    _operator("hidden", attribute="hidden", operands=(0, 0)),
    _operator("Input", attribute="input", takes=Takes.EITHER, operands=(0, 0)),
)
