"""Profile text: PipeDream's ``graph.txt``, read strictly and written back losslessly.

A node line is ``ID -- DESCRIPTION -- forward_compute_time=F, backward_compute_time=B,
activation_size=A, parameter_size=P[ -- stage_id=K]`` (milliseconds and bytes; ``A`` may be
a list ``[a; b]``, meaning the sum). An edge line is ``SRC -- DST``, indented or not.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from stagewright.model.boundary import LARGEST
from stagewright.model.errors import InputError, printable
from stagewright.model.files import read_text
from stagewright.model.graph import Layer, LayerGraph

_NODE = re.compile(
    r"^(?P<id>\S+) -- (?P<description>.*) -- (?P<figures>forward_compute_time=.*?)"
    r"(?: -- stage_id=(?P<stage>.*))?$"
)
_EDGE = re.compile(r"^(?P<source>\S+) -- (?P<target>\S+)$")
_FIGURES = ("forward_compute_time", "backward_compute_time", "activation_size", "parameter_size")
_NODE_FORM = (
    "ID -- DESCRIPTION -- forward_compute_time=F, backward_compute_time=B, "
    "activation_size=A, parameter_size=P"
)


def read_profile(path: str | Path) -> LayerGraph:
    """Read a profile text file.

    Raises
    ------
    InputError
        With file and line, if the file cannot be read or is not a profile.
    """
    path = Path(path)
    return parse_profile(read_text(path, "profile"), source=str(path), name=path.stem)


def parse_profile(text: str, *, source: str = "<profile>", name: str = "graph") -> LayerGraph:
    """Parse the text of a profile; ``source`` is named in errors."""
    layers: dict[str, Layer] = {}
    edges: list[tuple[str, str]] = []
    edge_lines: list[int] = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line:
            continue
        if edge := _EDGE.match(line):
            edges.append((edge["source"], edge["target"]))
            edge_lines.append(number)
        elif node := _NODE.match(line):
            layer = _layer(node, source, number)
            if layer.id in layers:
                raise InputError(
                    f"node '{layer.id}' is defined a second time",
                    source=source,
                    line=number,
                    hint="Give every node a name of its own",
                )
            layers[layer.id] = layer
        else:
            raise InputError(
                f"found '{printable(line, 60)}', expected a node '{_NODE_FORM}' "
                "or an edge 'SRC -- DST'",
                source=source,
                line=number,
            )
    if not layers:
        raise InputError("no nodes found", source=source, hint=f"A node line reads '{_NODE_FORM}'")
    for (u, v), number in zip(edges, edge_lines, strict=True):
        for end in (u, v):
            if end not in layers:
                raise InputError(
                    f"edge '{u} -- {v}' names '{end}', which is not a node of this file",
                    source=source,
                    line=number,
                )
    try:
        return LayerGraph(tuple(layers.values()), tuple(edges), name)
    except InputError as error:
        raise InputError(error.message, source=source, hint=error.hint) from None


def _layer(match: re.Match[str], source: str, line: int) -> Layer:
    figures: dict[str, str] = {}
    for part in match["figures"].split(","):
        key, _, value = part.partition("=")
        if key.strip() in figures:
            raise InputError(
                f"node '{match['id']}' has {printable(key.strip(), 40)} twice",
                source=source,
                line=line,
            )
        figures[key.strip()] = value.strip()
    for key in _FIGURES:
        if key not in figures:
            raise InputError(f"node '{match['id']}' has no {key}", source=source, line=line)
    if unknown := sorted(figures.keys() - set(_FIGURES)):
        raise InputError(
            f"node '{match['id']}' has an unknown figure '{unknown[0]}', "
            f"expected {', '.join(_FIGURES)}",
            source=source,
            line=line,
        )

    def number(key: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if value > LARGEST and math.isfinite(value):
            raise InputError(
                f"node '{match['id']}': {key} is '{printable(text, 40)}', expected at most "
                f"{LARGEST:g}",
                source=source,
                line=line,
            )
        if not math.isfinite(value) or value < 0:
            raise InputError(
                f"node '{match['id']}': {key} is '{printable(text, 40)}', "
                "expected a number of 0 or more",
                source=source,
                line=line,
            )
        return value

    activation = figures["activation_size"]
    if activation.startswith("[") and activation.endswith("]"):
        parts = tuple(number("activation_size", x.strip()) for x in activation[1:-1].split(";"))
    else:
        parts = (number("activation_size", activation),)
    stage = match["stage"]
    if stage is not None and not re.fullmatch(r"\d{1,6}", stage.strip()):
        raise InputError(
            f"node '{match['id']}': stage_id is '{printable(stage, 40)}', "
            "expected a whole number of 0 or more",
            source=source,
            line=line,
        )
    return Layer(
        id=match["id"],
        description=match["description"],
        forward_ms=number("forward_compute_time", figures["forward_compute_time"]),
        backward_ms=number("backward_compute_time", figures["backward_compute_time"]),
        activation_parts_bytes=parts,
        parameter_bytes=number("parameter_size", figures["parameter_size"]),
        stage=None if stage is None else int(stage),
    )


def format_profile(graph: LayerGraph) -> str:
    """Write ``graph`` as profile text; :func:`parse_profile` gives the same graph back."""
    lines = []
    for x in graph.layers:
        parts = [_exact(part, 1) for part in x.activation_parts_bytes]
        activation = parts[0] if len(parts) == 1 else f"[{'; '.join(parts)}]"
        stage = "" if x.stage is None else f" -- stage_id={x.stage}"
        lines.append(
            f"{x.id} -- {x.description} -- forward_compute_time={_exact(x.forward_ms, 3)}, "
            f"backward_compute_time={_exact(x.backward_ms, 3)}, activation_size={activation}, "
            f"parameter_size={_exact(x.parameter_bytes, 3)}{stage}"
        )
    lines += [f"\t{u} -- {v}" for u, v in graph.edges]
    return "\n".join(lines) + "\n"


def _exact(value: float, decimals: int) -> str:
    """Format as the published tools do where that loses nothing, else in full.

    >>> _exact(1.5, 3), _exact(0.00012345, 3)
    ('1.500', '0.00012345')
    """
    short = f"{value:.{decimals}f}"
    return short if float(short) == value else repr(value)
