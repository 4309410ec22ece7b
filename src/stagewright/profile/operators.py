"""Functions of torch as descriptions: operators, and functions that are layers by another name."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from stagewright.profile.recording import Call, Ref, SizeOf
from stagewright.profile.spelling import NotSpelled

Operand = Ref | SizeOf


@dataclass(frozen=True)
class Spelled:
    """A description, and what the layer reads, in operand order."""

    text: str
    operands: tuple[Operand, ...]


@dataclass(frozen=True)
class Arguments:
    """The arguments of a function, looked up by place or name."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def get(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument, or ``default`` where it was left out."""
        if place < len(self.args):
            return self.args[place]
        return self.kwargs.get(name, default)

    def rest(self, place: int, name: str) -> list[Any]:
        """Return all arguments from ``place`` on, given one by one or as one list."""
        found = list(self.args[place:]) if len(self.args) > place else [self.kwargs[name]]
        if len(found) == 1 and isinstance(found[0], (tuple, list)):
            return list(found[0])
        return found


Look = Callable[[Ref], Any]
Speller = Callable[[Call, Arguments, Look], Spelled]


def function_text(call: Call, look: Look) -> Spelled:
    """Return the description of a function's call.

    Parameters
    ----------
    call
        What was called.
    look
        Gives the value of what it read.

    Raises
    ------
    NotSpelled
        If there is no description for it.
    """
    name = function_name(call)
    if name not in _SPELLERS:
        raise NotSpelled(f"'{name}' is not among the operators")
    if any(isinstance(x, torch.Tensor) for x in call.leaves()):
        raise NotSpelled(f"'{name}' reads a tensor that is no layer's output")
    return _SPELLERS[name](call, Arguments(call.args, call.kwargs), look)


def function_name(call: Call) -> str:
    """Return the plain name of a function: ``add`` for ``__iadd__``, ``add_`` and ``add``."""
    name = str(getattr(call.target, "__name__", type(call.target).__name__))
    reflected = name.startswith("__r") and name[3:-2] in _REFLECTED
    plain = name[3:-2] if reflected or (name[2:3] == "i" and name[3:-2] in _REFLECTED) else name
    return plain.strip("_") if call.target is not operator.getitem else "getitem"


_REFLECTED = frozenset({"add", "sub", "mul", "truediv", "div", "matmul"})


def _binary(word: str, scalar: str) -> Speller:
    """Two tensors, or a tensor and a number."""

    def spell(call: Call, given: Arguments, _: Look) -> Spelled:
        first, second = given.get(0, "input"), given.get(1, "other")
        if isinstance(first, Ref) and isinstance(second, Ref):
            if given.get(2, "alpha", 1) != 1 or given.get(2, "rounding_mode") not in {None, 1}:
                raise NotSpelled(f"'{word}' with a factor")
            inplace = "(inplace)" if call.overwrites and word in {"Add", "Mul"} else ""
            return Spelled(word + inplace, (first, second))
        tensor, number = (first, second) if isinstance(first, Ref) else (second, first)
        swapped = not isinstance(first, Ref) or _is_reflected(call)
        if not isinstance(number, (int, float)) or (swapped and word in {"Sub", "Div"}):
            raise NotSpelled(f"'{word}' of such operands")
        if word == "Sub":
            number = -number
        return Spelled(f"{scalar}({number!r})", (tensor,))

    return spell


def _is_reflected(call: Call) -> bool:
    name = str(getattr(call.target, "__name__", ""))
    return name.startswith("__r") and name[3:-2] in _REFLECTED


def _plain(word: str, *names: str) -> Speller:
    """A tensor, and arguments that are written as they are, those left out left out."""

    def spell(_: Call, given: Arguments, __: Look) -> Spelled:
        items = []
        for place, name in enumerate(names, start=1):
            value = given.get(place, name)
            if value is not None:
                items.append(f"{name}={_shown(value)}")
        return Spelled(f"{word}({', '.join(items)})", (_tensor(given),))

    return spell


def _shown(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_shown, value))}]"
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise NotSpelled("its arguments are no numbers")
    return str(value) if isinstance(value, str) else repr(value)


def _tensor(given: Arguments) -> Ref:
    first = given.get(0, "input")
    if not isinstance(first, Ref):
        raise NotSpelled("it does not begin with a tensor")
    return first


def _activation(word: str, *names: str) -> Speller:
    """An activation function, perhaps in place."""
    plain = _plain(word, *names)

    def spell(call: Call, given: Arguments, look: Look) -> Spelled:
        spelled = plain(call, given, look)
        if not call.overwrites:
            return spelled
        separator = "" if spelled.text.endswith("()") else ", "
        return Spelled(f"{spelled.text[:-1]}{separator}inplace=True)", spelled.operands)

    return spell


def _view(word: str) -> Speller:
    """Sizes that are lengths of the tensor stay so; they can only be written in front."""

    def spell(_: Call, given: Arguments, look: Look) -> Spelled:
        tensor = _tensor(given)
        name = "shape" if word == "Reshape" else "size"
        sizes = given.rest(1, name)
        value = look(tensor)
        lengths: list[SizeOf] = []
        numbers: list[str] = []
        for place, size in enumerate(sizes):
            number = look(size.ref).size(size.dim) if isinstance(size, SizeOf) else size
            if not isinstance(number, int):
                raise NotSpelled("its sizes are no numbers")
            if isinstance(size, SizeOf) and not numbers:
                own = [d for d in (place, *range(value.dim())) if d < value.dim()]
                same = [d for d in own if value.shape[d] == number]
                if same:
                    lengths.append(SizeOf(tensor, same[0]))
                    continue
            numbers.append(str(number))
        return Spelled(f"{word}({', '.join(numbers)})", (tensor, *lengths))

    return spell


def _concat(_: Call, given: Arguments, __: Look) -> Spelled:
    tensors = given.get(0, "tensors")
    if isinstance(tensors, Ref):
        tensors = [x for x in given.args if isinstance(x, Ref)]
        return Spelled("Concat", tuple(tensors))
    if not isinstance(tensors, (tuple, list)) or not all(isinstance(x, Ref) for x in tensors):
        raise NotSpelled("'cat' of such operands")
    return Spelled(f"Concat({given.get(1, 'dim', 0)})", tuple(tensors))


def _flatten(_: Call, given: Arguments, __: Look) -> Spelled:
    start, end = given.get(1, "start_dim", 0), given.get(2, "end_dim", -1)
    return Spelled(f"Flatten(start_dim={start}, end_dim={end})", (_tensor(given),))


def _dimensions(word: str, name: str) -> Speller:
    def spell(_: Call, given: Arguments, __: Look) -> Spelled:
        numbers = ", ".join(_shown(x) for x in given.rest(1, name))
        return Spelled(f"{word}({numbers})", (_tensor(given),))

    return spell


def _mean(_: Call, given: Arguments, __: Look) -> Spelled:
    dims = given.get(1, "dim")
    if dims is None:
        raise NotSpelled("'mean' of everything")
    numbers = ", ".join(map(str, dims)) if isinstance(dims, (tuple, list)) else str(dims)
    keep = ", keepdim=True" if given.get(2, "keepdim", default=False) else ""
    return Spelled(f"Mean({numbers}{keep})", (_tensor(given),))


def _dropout(_: Call, given: Arguments, __: Look) -> Spelled:
    if not given.get(2, "training", default=True):
        return Spelled("Dropout(p=0)", (_tensor(given),))
    return Spelled(f"Dropout(p={given.get(1, 'p', 0.5)!r})", (_tensor(given),))


def _pool(word: str) -> Speller:
    names = {
        "Max": ("kernel_size", "stride", "padding", "dilation", "ceil_mode"),
        "Avg": ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
    }[word[:3]]
    return _plain(word, *names)


def _indexed(_: Call, given: Arguments, __: Look) -> Spelled:
    """``x[k]``, and ``x[:, k]``, the forms that take one slice of a dimension away."""
    index = given.get(1, "index")
    if isinstance(index, int):
        return Spelled(f"Select(0, {index})", (_tensor(given),))
    whole = isinstance(index, tuple) and all(x == slice(None) for x in index[:-1])
    if whole and isinstance(index[-1], int):
        return Spelled(f"Select({len(index) - 1}, {index[-1]})", (_tensor(given),))
    raise NotSpelled("such an index")


def _softmax(word: str) -> Speller:
    return _plain(word, "dim")


def _attention(_: Call, given: Arguments, __: Look) -> Spelled:
    if given.get(3, "attn_mask") is not None or given.get(6, "scale") is not None:
        raise NotSpelled("attention with a mask or a scale")
    dropout = given.get(4, "dropout_p", 0.0)
    causal = bool(given.get(5, "is_causal", default=False))
    operands = tuple(given.get(k, x) for k, x in enumerate(("query", "key", "value")))
    parts = [f"dropout_p={dropout!r}"] if dropout else []
    parts += ["is_causal=True"] if causal else []
    return Spelled(f"Attention({', '.join(parts)})", operands)


def _interpolate(_: Call, given: Arguments, __: Look) -> Spelled:
    items = []
    for place, name in enumerate(("size", "scale_factor", "mode", "align_corners"), start=1):
        value = given.get(place, name)
        if value is not None:
            items.append(f"{name}={_shown(value)}")
    return Spelled(f"Upsample({', '.join(items)})", (_tensor(given),))


def _features(_: Call, given: Arguments, __: Look) -> Spelled:
    return Spelled("Features", (_tensor(given),))


_SPELLERS: dict[str, Speller] = {
    "add": _binary("Add", "AddNumber"),
    "sub": _binary("Sub", "AddNumber"),
    "mul": _binary("Mul", "MulNumber"),
    "multiply": _binary("Mul", "MulNumber"),
    "div": _binary("Div", "DivNumber"),
    "truediv": _binary("Div", "DivNumber"),
    "matmul": _binary("MatMul", "MatMul"),
    "bmm": _binary("MatMul", "MatMul"),
    "cat": _concat,
    "concat": _concat,
    "view": _view("View"),
    "reshape": _view("Reshape"),
    "flatten": _flatten,
    "transpose": _dimensions("Transpose", "dim0"),
    "swapaxes": _dimensions("Transpose", "axis0"),
    "permute": _dimensions("Permute", "dims"),
    "unsqueeze": _dimensions("Unsqueeze", "dim"),
    "squeeze": _dimensions("Squeeze", "dim"),
    "contiguous": _plain("Contiguous"),
    "mean": _mean,
    "getitem": _indexed,
    "select": _dimensions("Select", "dim"),
    "relu": _activation("ReLU"),
    "relu6": _activation("ReLU6"),
    "leaky_relu": _activation("LeakyReLU", "negative_slope"),
    "elu": _activation("ELU", "alpha"),
    "silu": _activation("SiLU"),
    "gelu": _activation("GELU"),
    "hardswish": _activation("Hardswish"),
    "sigmoid": _activation("Sigmoid"),
    "tanh": _activation("Tanh"),
    "softmax": _softmax("Softmax"),
    "log_softmax": _softmax("LogSoftmax"),
    "dropout": _dropout,
    "max_pool1d": _pool("MaxPool1d"),
    "max_pool2d": _pool("MaxPool2d"),
    "max_pool3d": _pool("MaxPool3d"),
    "avg_pool1d": _pool("AvgPool1d"),
    "avg_pool2d": _pool("AvgPool2d"),
    "avg_pool3d": _pool("AvgPool3d"),
    "adaptive_avg_pool1d": _plain("AdaptiveAvgPool1d", "output_size"),
    "adaptive_avg_pool2d": _plain("AdaptiveAvgPool2d", "output_size"),
    "adaptive_max_pool1d": _plain("AdaptiveMaxPool1d", "output_size"),
    "adaptive_max_pool2d": _plain("AdaptiveMaxPool2d", "output_size"),
    "pixel_shuffle": _plain("PixelShuffle", "upscale_factor"),
    "interpolate": _interpolate,
    "scaled_dot_product_attention": _attention,
    "features_of": _features,
}
