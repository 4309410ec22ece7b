"""From a plan, or a profile text with stage ids, to a folder that runtimes import."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from stagewright.emit.boundaries import Partition, partition
from stagewright.emit.build import build_program
from stagewright.emit.layers import is_name
from stagewright.emit.package_code import configurations, fused_code, init_code
from stagewright.emit.stage_code import stage_code
from stagewright.model.document import read_plan
from stagewright.model.errors import InputError, printable
from stagewright.model.files import write_files
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan, assign_ranks
from stagewright.model.profile import format_profile, parse_profile, read_profile

Target = Literal["pipedream", "torch"]

GRAPH_FILE = "graph.txt"
_OWN_FILES = frozenset(
    {"sparse", "sequence", "transfer", "pipeline", "library_schedule", "train", "__init__"}
)
_OWN_NAMES = frozenset({"nn", "ME", "F", "torch", "arch", "model", "full_model"})
_STAGE = re.compile(r"[Ss]tage\d*")


@dataclass(frozen=True)
class StagedGraph:
    """A layer graph, the stage of each node, and the ranks of each stage.

    Attributes
    ----------
    graph
        The layers; each knows its stage.
    ranks
        Ranks of each stage.
    source
        The file to name in errors.
    """

    graph: LayerGraph
    ranks: tuple[tuple[int, ...], ...]
    source: str

    @property
    def stage_of(self) -> dict[str, int]:
        """Stage of each node that has one."""
        return {x.id: x.stage for x in self.graph.layers if x.stage is not None}


def staged_from_plan(path: str | Path) -> StagedGraph:
    """Read ``plan.json``.

    Raises
    ------
    InputError
        If it is no valid plan document.
    """
    _, instance, plan, _ = read_plan(path)
    return staged_graph(instance, plan, str(path))


def staged_graph(instance: Instance, plan: Plan, source: str) -> StagedGraph:
    """Return the layer graph of an instance with the stages of a plan; errors name ``source``."""
    graph = instance.graph
    stage_of = {**dict.fromkeys(graph.inputs, 0), **plan.stage_of}
    for node in graph.dropped:
        stage_of[node] = max((stage_of[u] for u in graph.operands(node)), default=0)
    return StagedGraph(
        graph.with_stages(stage_of), assign_ranks(instance.cluster, plan.stages), source
    )


def staged_from_profile(path: str | Path, stage_to_num_ranks: str | None = None) -> StagedGraph:
    """Read a profile text with stage ids, as planners write ``gpus=4.txt``.

    Parameters
    ----------
    path
        The file.
    stage_to_num_ranks
        Replicas of each stage, ``"0:3,1:1"``; one each if it is not given.

    Raises
    ------
    InputError
        If the file is no profile, has no stage ids, or the replicas do not fit the stages.
    """
    graph = read_profile(path)
    stages = {x.stage for x in graph.layers if x.stage is not None}
    if not stages:
        raise InputError(
            "the nodes have no stage_id",
            source=path,
            hint="Plan first: 'stagewright plan … -o DIR' writes a file with stage ids",
        )
    if max(stages) >= len(graph.layers):
        raise InputError(
            f"stage_id {max(stages)} is more than there are nodes; "
            "stages are numbered 0, 1, 2, … without gaps",
            source=path,
        )
    counts = _replicas(stage_to_num_ranks, 1 + max(stages))
    ranks, free = [], 0
    for count in counts:
        ranks.append(tuple(range(free, free + count)))
        free += count
    return StagedGraph(graph, tuple(ranks), str(path))


def _replicas(text: str | None, stages: int) -> list[int]:
    if text is None:
        return [1] * stages
    counts: dict[int, int] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,6}):(\d{1,6})\s*", part, re.ASCII)
        if match is None or int(match[2]) == 0 or int(match[1]) in counts:
            raise InputError(
                f"--stage-to-num-ranks '{printable(text, 60)}' is not understood; "
                "expected the replicas of each stage once, such as 0:3,1:1"
            )
        counts[int(match[1])] = int(match[2])
    if sorted(counts) != list(range(stages)):
        raise InputError(
            f"--stage-to-num-ranks '{printable(text, 60)}' names stages {sorted(counts)}; "
            f"the graph has stages 0 to {stages - 1}"
        )
    return [counts[k] for k in range(stages)]


def emit_package(
    staged: StagedGraph, folder: str | Path, *, name: str, arch: str, target: Target = "pipedream"
) -> list[Path]:
    """Write the stages of a network as a Python package.

    Parameters
    ----------
    staged
        From :func:`staged_from_plan` or :func:`staged_from_profile`.
    folder
        Where to write; made if it is not there. Either all files are written or none.
    name
        Class of the whole network.
    arch
        What ``arch()`` returns, and the name of the file that holds that class.
    target
        ``pipedream`` for the published runtimes, ``torch`` to add a launcher for torchrun.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        If a name or a layer is refused, or the folder cannot be written.
    """
    files = package_files(staged, name=name, arch=arch, target=target)
    return write_files(Path(folder), files)


def package_files(
    staged: StagedGraph, *, name: str, arch: str, target: Target = "pipedream"
) -> dict[str, str]:
    """Return the files of a package, by name; see :func:`emit_package`."""
    _check_names(name, arch)
    program = build_program(staged.graph, staged.stage_of, staged.source)
    cut = partition(program, staged.source)
    files = {f"stage{k}.py": stage_code(cut, k) for k in range(program.stage_count)}
    files[f"{arch}.py"] = fused_code(cut, name)
    files["__init__.py"] = init_code(cut, name, arch)
    files.update(configurations(staged.ranks))
    files[GRAPH_FILE] = _graph_text(staged)
    files.update(_runtime_files(cut, files, target))
    return files


def _runtime_files(cut: Partition, files: dict[str, str], target: Target) -> dict[str, str]:
    wanted = [
        x
        for x in ("attention", "sparse", "sequence")
        if any(f"from .{x} " in y for y in files.values())
    ]
    if target == "torch":
        wanted += ["transfer", "pipeline", "library_schedule", "train"]
        wanted += ["sparse"] if cut.is_sparse and "sparse" not in wanted else []
    here = resources.files("stagewright.emit.runtime")
    return {f"{x}.py": (here / f"{x}.py").read_text(encoding="utf-8") for x in wanted}


def _check_names(name: str, arch: str) -> None:
    if not is_name(name) or name in _OWN_NAMES or _STAGE.fullmatch(name):
        raise InputError(
            f"the model name '{printable(name, 60)}' cannot be the name of the class",
            hint="Choose a Python name with -n, such as MinkVggPartitioned",
        )
    taken = arch in _OWN_FILES or arch in sys.stdlib_module_names or _STAGE.fullmatch(arch)
    if not is_name(arch) or taken or arch in {"torch", "numpy", "MinkowskiEngine"}:
        raise InputError(
            f"the architecture '{printable(arch, 60)}' cannot be the name of a module",
            hint="Choose a Python name that nothing else has with -a, such as minkvgg",
        )


def _graph_text(staged: StagedGraph) -> str:
    """Return the graph with stage ids, which is what ``stagewright verify`` reads."""
    text = format_profile(staged.graph)
    again = parse_profile(text, source=staged.source, name=staged.graph.name)
    if again != staged.graph:
        raise InputError(
            "the names of the nodes cannot be written as profile text",
            source=staged.source,
            hint="Use names without spaces and line breaks",
        )
    return text
