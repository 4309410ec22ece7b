"""Layer descriptions: text from a file, parsed into a call and never evaluated.

A description is a name with literal arguments, ``Conv2d(3, 64, kernel_size=(3, 3))``, or a
module as torch prints it with the modules inside it,
``Classifier(  (classifier): Linear(in_features=8, out_features=4, bias=True))``.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from stagewright.model.errors import InputError, printable

Plain = int | float | bool | str | None

MAX_LENGTH = 4_000
MAX_DEPTH = 8
MAX_INTEGER = 2**31 - 1

PACKAGES = ("torch.nn.functional", "torch.nn", "torch", "nn", "F", "MinkowskiEngine", "ME")
PADDING_MODES = frozenset({"zeros", "reflect", "replicate", "circular", "same", "valid"})
UPSAMPLE_MODES = frozenset({"nearest", "linear", "bilinear", "bicubic", "trilinear", "area"})
WORDS = PADDING_MODES | UPSAMPLE_MODES | {"none", "tanh"}
FLAGS = frozenset({"inplace"})
SYNONYMS = {"cat": "Concat", "concat": "Concat", "add": "Add", "mul": "Mul", "view": "View"}
ENUMERATIONS = {
    "PoolingMode": frozenset(
        f"{reach}_{kind}_POOLING_{way}"
        for reach in ("LOCAL", "GLOBAL")
        for kind in ("SUM", "AVG", "MAX")
        for way in ("DEFAULT", "KERNEL", "PYTORCH_INDEX")
    ),
    "RegionType": frozenset({"HYPER_CUBE", "HYPER_CROSS"}),
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_CHILD = re.compile(r"\((?P<key>[A-Za-z0-9_]+)\):\s*(?=[A-Za-z_])")
_CHANNELS = re.compile(r"(?<=[(,\s])(in|out)=")


@dataclass(frozen=True, slots=True)
class Enumerated:
    """A member of a known enumeration, such as ``PoolingMode.GLOBAL_MAX_POOLING_KERNEL``."""

    enumeration: str
    member: str


Value = Plain | tuple[Plain, ...] | Enumerated


@dataclass(frozen=True, slots=True)
class Call:
    """What a description says: a name, its arguments, and the modules inside it.

    Attributes
    ----------
    name
        Name of the layer, without the package in front of it.
    args, kwargs
        Literal arguments, in the order of the text.
    children
        Modules inside the module, by the name that torch prints for them.
    """

    name: str
    args: tuple[Value, ...] = ()
    kwargs: tuple[tuple[str, Value], ...] = ()
    children: tuple[tuple[str, Call], ...] = ()

    def child(self, key: str) -> Call | None:
        """Return the module inside that is called ``key``."""
        return dict(self.children).get(key)


def parse_description(text: str) -> Call:
    """Parse one description.

    Raises
    ------
    InputError
        If it is anything but a known form: only names and literals are accepted.

    Examples
    --------
    >>> parse_description("Dropout(p=0.5)")
    Call(name='Dropout', args=(), kwargs=(('p', 0.5),), children=())
    """
    if len(text) > MAX_LENGTH:
        raise InputError(
            f"the description has {len(text):,} characters, at most {MAX_LENGTH:,} are read"
        )
    return _module(text.strip(), 0)


def _module(text: str, depth: int) -> Call:
    if depth > MAX_DEPTH:
        raise InputError(f"modules are nested more than {MAX_DEPTH} deep")
    head, bracket, rest = text.partition("(")
    if bracket and _CHILD.match(rest.lstrip()):
        if not text.endswith(")"):
            raise InputError(f"the brackets of '{printable(text, 60)}' do not close")
        return Call(_known_path(head.strip()), children=_children(rest[:-1], depth))
    return _call(text)


def _children(text: str, depth: int) -> tuple[tuple[str, Call], ...]:
    """Split ``(key): Module(...)  (key): Module(...)`` at the outermost brackets."""
    children: dict[str, Call] = {}
    rest = text.strip()
    while rest:
        match = _CHILD.match(rest)
        if match is None:
            raise InputError(f"found '{printable(rest, 40)}', expected '(name): Module(...)'")
        end = _end_of_module(rest, match.end())
        if match["key"] in children:
            raise InputError(f"the module inside is named '{match['key']}' twice")
        children[match["key"]] = _module(rest[match.end() : end].strip(), depth + 1)
        rest = rest[end:].lstrip()
    return tuple(children.items())


def _end_of_module(text: str, start: int) -> int:
    depth = 0
    for position in range(start, len(text)):
        if text[position] == "(":
            depth += 1
        elif text[position] == ")":
            depth -= 1
            if depth == 0:
                return position + 1
    raise InputError(f"the brackets of '{printable(text, 60)}' do not close")


def _call(text: str) -> Call:
    if _PATH.fullmatch(text):
        return Call(_known_path(text))
    refused = InputError(
        f"'{printable(text, 60)}' is not a layer: expected a name with literal arguments, "
        "such as Conv2d(3, 64, kernel_size=(3, 3))"
    )
    try:
        node = ast.parse(_CHANNELS.sub(r"\1_channels=", text), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise refused from None
    if not isinstance(node, ast.Call):
        raise refused
    name = _known_path(_dotted(node.func))
    args: list[Value] = []
    kwargs: dict[str, Value] = {}
    for argument in node.args:
        if isinstance(argument, ast.Name) and argument.id in FLAGS:
            kwargs[argument.id] = True
        else:
            args.append(_literal(argument))
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in kwargs:
            raise refused
        kwargs[keyword.arg] = _literal(keyword.value)
    return Call(name, tuple(args), tuple(kwargs.items()))


def _dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` of a plain chain of names; anything else is refused."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise InputError("a layer is called by its name alone")
    return ".".join([node.id, *reversed(parts)])


def _known_path(path: str) -> str:
    package, _, name = path.rpartition(".")
    if package and package not in PACKAGES:
        raise InputError(f"'{printable(path, 60)}' is not a layer of torch or MinkowskiEngine")
    if not _NAME.fullmatch(name):
        raise InputError(f"'{printable(path, 60)}' is not the name of a layer")
    return SYNONYMS.get(name, name)


def _literal(node: ast.expr) -> Value:
    match node:
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(_plain(item) for item in items)
        case ast.Attribute():
            return _enumerated(_dotted(node))
    return _plain(node)


def _plain(node: ast.expr) -> Plain:
    """Return a number, a truth value, None, or one of the words that torch prints."""
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1, node.operand
    match node:
        case ast.Constant(value=bool() | None as value) if sign > 0:
            return value
        case ast.Constant(value=int() | float() as value) if abs(value) <= MAX_INTEGER:
            return sign * value
        case ast.Constant(value=str() as word) | ast.Name(id=word) if word in WORDS:
            return word
    raise InputError(f"the argument '{printable(ast.unparse(node), 60)}' is not a literal")


def _enumerated(path: str) -> Enumerated:
    enumeration, _, member = path.rpartition(".")
    enumeration = enumeration.removeprefix("ME.").removeprefix("MinkowskiEngine.")
    if member not in ENUMERATIONS.get(enumeration, frozenset()):
        raise InputError(f"the argument '{printable(path, 60)}' is not a literal")
    return Enumerated(enumeration, member)
