"""Operators on dense tensors beyond those of the published profiles: arithmetic and shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stagewright.emit import layout
from stagewright.emit.layers import LayerType, Takes, add_layers
from stagewright.emit.operators import FUNCTIONAL, OPERATORS, Arguments, Operator, numbers, whole
from stagewright.model.describe import Value
from stagewright.model.errors import InputError

Write = Callable[[Arguments, Sequence[str], bool], str]
Run = Callable[[Arguments, Sequence[Any], bool], Any]


def number(value: Value) -> int | float:
    """Return ``value`` if it is a number, else refuse."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"'{value}' is not a number")
    return value


def _with_number(sign: str, run: Callable[[Any, int | float], Any]) -> Operator:
    return Operator(
        lambda given, names, _: f"{names[0]} {sign} {layout.literal(number(given['value']))}",
        lambda given, values, _: run(values[0], number(given["value"])),
    )


def _between(sign: str, run: Callable[[Any, Any], Any]) -> Operator:
    return Operator(
        lambda _, names, __: f"{names[0]} {sign} {names[1]}",
        lambda _, values, __: run(values[0], values[1]),
    )


def _write_mean(given: Arguments, names: Sequence[str], _: bool) -> str:
    dims = numbers(given, "dim")
    shown = str(dims[0]) if len(dims) == 1 else f"({', '.join(map(str, dims))})"
    keep = ", keepdim=True" if given.get("keepdim") is True else ""
    return f"{names[0]}.mean({shown}{keep})"


def _run_mean(given: Arguments, values: Sequence[Any], _: bool) -> Any:
    return values[0].mean(numbers(given, "dim"), keepdim=given.get("keepdim") is True)


def _chunk(given: Arguments) -> tuple[int, int, int]:
    return tuple(whole(given[key], key) for key in ("chunks", "dim", "index"))  # type: ignore[return-value]


def _write_chunk(given: Arguments, names: Sequence[str], _: bool) -> str:
    chunks, dim, index = _chunk(given)
    return f"{names[0]}.chunk({chunks}, dim={dim})[{index}]"


def _run_chunk(given: Arguments, values: Sequence[Any], _: bool) -> Any:
    chunks, dim, index = _chunk(given)
    return values[0].split(-(-values[0].size(dim) // chunks), dim)[index]


def _select(given: Arguments) -> tuple[int, int]:
    return whole(given["dim"], "a dimension"), whole(given["index"], "the index")


def _write_attention(given: Arguments, names: Sequence[str], _: bool) -> str:
    items = list(names)
    if given.get("dropout_p"):
        items.append(f"dropout_p={number(given['dropout_p'])}")
    if given.get("is_causal") is True:
        items.append("is_causal=True")
    return f"F.scaled_dot_product_attention({', '.join(items)})"


def _run_attention(given: Arguments, values: Sequence[Any], _: bool) -> Any:
    from torch.nn import functional  # noqa: PLC0415

    dropout = float(number(given.get("dropout_p", 0.0)))
    causal = given.get("is_causal") is True
    return functional.scaled_dot_product_attention(
        values[0], values[1], values[2], dropout_p=dropout, is_causal=causal
    )


def _method(name: str, argument: str) -> Operator:
    """A method with one whole number, or a few."""
    return Operator(
        lambda given, names, _: (
            f"{names[0]}.{name}({', '.join(map(str, numbers(given, argument)))})"
        ),
        lambda given, values, _: getattr(values[0], name)(*numbers(given, argument)),
    )


OPERATORS.update(
    {
        "Sub": _between("-", lambda x, y: x - y),
        "Div": _between("/", lambda x, y: x / y),
        "MatMul": _between("@", lambda x, y: x.matmul(y)),
        "AddNumber": _with_number("+", lambda x, y: x + y),
        "MulNumber": _with_number("*", lambda x, y: x * y),
        "DivNumber": _with_number("/", lambda x, y: x / y),
        "Permute": _method("permute", "dim"),
        "Unsqueeze": _method("unsqueeze", "dim"),
        "Squeeze": _method("squeeze", "dim"),
        "Contiguous": _method("contiguous", "none"),
        "Mean": Operator(_write_mean, _run_mean),
        "Chunk": Operator(_write_chunk, _run_chunk),
        "Select": Operator(
            lambda given, names, _: f"{names[0]}.select{_select(given)}",
            lambda given, values, _: values[0].select(*_select(given)),
        ),
        "Attention": Operator(_write_attention, _run_attention, lambda _: FUNCTIONAL),
        "Features": Operator(
            lambda _, names, __: f"{names[0]}.F", lambda _, values, __: values[0].F
        ),
    }
)


def _dense(
    name: str,
    arguments: str = "",
    required: int = 0,
    *,
    operands: int = 1,
    gives_view: bool = False,
) -> LayerType:
    return LayerType(
        name,
        "",
        "",
        tuple(arguments.split()),
        required,
        attribute=name.lower(),
        operands=(operands, operands),
        saves_output=gives_view,
    )


_MANY_DIMS = " ".join(f"dim{k}" for k in range(8))

add_layers(
    _dense("Sub", operands=2),
    _dense("Div", operands=2, gives_view=True),
    _dense("MatMul", operands=2),
    _dense("AddNumber", "value", 1),
    _dense("MulNumber", "value", 1),
    _dense("DivNumber", "value", 1),
    _dense("Permute", _MANY_DIMS, 1, gives_view=True),
    _dense("Unsqueeze", "dim", 1, gives_view=True),
    _dense("Squeeze", "dim", 1, gives_view=True),
    _dense("Contiguous", gives_view=True),
    _dense("Mean", f"{_MANY_DIMS} keepdim", 1),
    _dense("Chunk", "chunks dim index", 3, gives_view=True),
    _dense("Select", "dim index", 2, gives_view=True),
    _dense("Attention", "dropout_p is_causal", operands=3, gives_view=True),
    LayerType(
        "Features",
        "",
        "",
        attribute="features",
        takes=Takes.SPARSE,
        saves_output=True,
        gives_dense=True,
    ),
)
