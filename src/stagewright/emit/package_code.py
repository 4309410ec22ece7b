"""The files around the stages: the fused model, the package's entry points, the configurations."""

from __future__ import annotations

import json
from collections.abc import Sequence

from stagewright.emit import layout
from stagewright.emit.boundaries import Partition


def tensor_names(partition: Partition) -> list[tuple[list[str], list[str]]]:
    """Name what enters and leaves each stage, unique across the pipeline.

    A tensor that a stage only hands on leaves it under a new name.
    """
    inputs = [f"input{k}" for k in range(len(partition.program.inputs))]
    names: list[tuple[list[str], list[str]]] = []
    count = 0
    for cut in partition.cuts:
        outputs = [f"out{k}" for k in range(count, count + len(cut))]
        count += len(cut)
        names.append((inputs, outputs))
        inputs = outputs
    return names


def fused_code(partition: Partition, name: str) -> str:
    """Return the text of the module that holds the whole network in one class."""
    stages = range(partition.program.stage_count)
    names = tensor_names(partition)
    lines = [f"class {name}(nn.Module):", "    def __init__(self):"]
    lines += ["        super().__init__()"]
    lines += [f"        self.stage{k} = Stage{k}()" for k in stages]
    lines += ["", *layout.bracketed("def forward(", ["self", *names[0][0]], "):", 1)]
    for k in stages:
        inputs, outputs = names[k]
        lines += _assign_call(outputs, f"self.stage{k}", inputs)
    outputs = names[-1][1]
    lines.append(f"        return {', '.join(outputs)}")
    found = ["from torch import nn", *(f"from .stage{k} import Stage{k}" for k in stages)]
    return layout.module("The whole network: all stages, one after the other.", found, lines)


def _assign_call(targets: Sequence[str], function: str, arguments: Sequence[str]) -> list[str]:
    if len(", ".join(targets)) > layout.WIDTH // 2 and len(targets) > 1:
        lines = layout.bracketed("outputs = " + function + "(", arguments, ")", 2)
        return [*lines, *layout.bracketed("(", targets, ") = outputs", 2)]
    return layout.bracketed(f"{', '.join(targets)} = {function}(", arguments, ")", 2)


def init_code(partition: Partition, name: str, arch: str) -> str:
    """Return the text of ``__init__.py``: ``arch()``, ``model(criterion)``, ``full_model()``."""
    stages = range(partition.program.stage_count)
    names = tensor_names(partition)
    rows = []
    for k in stages:
        inputs, outputs = names[k]
        rows += _row(f"Stage{k}()", inputs, outputs)
    rows += _row("criterion", names[-1][1], ["loss"])
    body = [
        "def arch():",
        '    """Return the name of the network."""',
        f'    return "{arch}"',
        "",
        "",
        "def model(criterion):",
        '    """Return (module, inputs, outputs) of each stage, and of the loss."""',
        "    return [",
        *rows,
        "    ]",
        "",
        "",
        "def full_model():",
        '    """Return the whole network as one module."""',
        f"    return {name}()",
    ]
    found = [f"from .{arch} import {name}", *(f"from .stage{k} import Stage{k}" for k in stages)]
    docstring = f"{name}: {len(stages)} pipeline {'stage' if len(stages) == 1 else 'stages'}."
    return layout.module(docstring, found, body)


def _row(module: str, inputs: Sequence[str], outputs: Sequence[str]) -> list[str]:
    lists = [_list(inputs), _list(outputs)]
    items = [module, *lists]
    flat = f"{layout.INDENT * 2}({', '.join(items)}),"
    if len(flat) <= layout.WIDTH:
        return [flat]
    lines = [f"{layout.INDENT * 2}(", f"{layout.INDENT * 3}{module},"]
    for names in (inputs, outputs):
        quoted = [f'"{x}"' for x in names]
        lines += _with_comma(layout.bracketed("[", quoted, "]", 3))
    return [*lines, f"{layout.INDENT * 2}),"]


def _list(names: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{x}"' for x in names) + "]"


def _with_comma(lines: list[str]) -> list[str]:
    return [*lines[:-1], f"{lines[-1]},"]


def configurations(ranks: Sequence[Sequence[int]]) -> dict[str, str]:
    """Return the three configuration files of the runtimes, by file name.

    Parameters
    ----------
    ranks
        Ranks of each stage. ``hybrid`` is that; ``mp`` gives each stage one rank of its own,
        ``dp`` gives all stages to every rank. The loss belongs to the last stage.
    """
    total = sum(len(x) for x in ranks)
    hybrid = {str(k): list(x) for k, x in enumerate(ranks)}
    stages = list(range(len(ranks)))
    return {
        "dp_conf.json": _configuration([0] * (len(ranks) + 1), {"0": list(range(total))}),
        "mp_conf.json": _configuration([*stages, stages[-1]], {str(k): [k] for k in stages}),
        "hybrid_conf.json": _configuration([*stages, stages[-1]], hybrid),
    }


def _configuration(modules: list[int], ranks: dict[str, list[int]]) -> str:
    rows = ",\n".join(f'        "{key}": {json.dumps(value)}' for key, value in ranks.items())
    return (
        "{\n"
        f'    "module_to_stage_map": {json.dumps(modules)},\n'
        f'    "stage_to_rank_map": {{\n{rows}\n    }}\n'
        "}\n"
    )
