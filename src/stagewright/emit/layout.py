"""Laying code out as the usual formatters do: 88 columns, brackets broken where they must."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stagewright.model.describe import Enumerated, Value

WIDTH = 88
INDENT = "    "


def bracketed(head: str, items: Sequence[str], tail: str, depth: int) -> list[str]:
    """Lay ``head items tail`` out: on one line, with the items on a line, or one item a line.

    >>> bracketed("f(", ["1", "2"], ")", 1)
    ['    f(1, 2)']
    """
    margin, inner = INDENT * depth, INDENT * (depth + 1)
    flat = f"{margin}{head}{', '.join(items)}{tail}"
    if len(flat) <= WIDTH or not items:
        return [flat]
    one_line = f"{inner}{', '.join(items)}"
    if len(one_line) <= WIDTH:
        return [f"{margin}{head}", one_line, f"{margin}{tail}"]
    return [f"{margin}{head}", *(f"{inner}{item}," for item in items), f"{margin}{tail}"]


def literal(value: Value) -> str:
    """Write an argument as Python code.

    >>> literal((3, 3)), literal("same"), literal(True)
    ('(3, 3)', '"same"', 'True')
    """
    match value:
        case Enumerated():
            return f"ME.{value.enumeration}.{value.member}"
        case str():
            return f'"{value}"'
        case tuple():
            inside = ", ".join(literal(x) for x in value)
            return f"({inside},)" if len(value) == 1 else f"({inside})"
        case _:
            return repr(value)


def imports(lines: Iterable[str]) -> list[str]:
    """Sort import lines: the standard library, other packages, then this package.

    >>> imports(["from .a import b", "import torch", "from torch import nn"])
    ['import torch', 'from torch import nn', '', 'from .a import b']
    """
    found = sorted({line for line in lines if line}, key=_import_key)
    local = [line for line in found if line.startswith("from .")]
    outside = [line for line in found if not line.startswith("from .")]
    return [*outside, "", *local] if local and outside else [*outside, *local]


def _import_key(line: str) -> tuple[bool, str, str]:
    words = line.split()
    return words[0] == "from", words[1].lower(), line


def module(docstring: str, import_lines: Iterable[str], body: Iterable[str]) -> str:
    """Join the parts of a Python file."""
    parts = [f'"""{docstring}"""', ""]
    if found := imports(import_lines):
        parts += [*found, "", ""]
    return "\n".join([*parts, *body]) + "\n"
