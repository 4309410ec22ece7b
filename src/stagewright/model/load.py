"""From files to an instance: a cluster description and the profiles that it names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from stagewright.model.cluster import DEFAULT_BANDWIDTH_BYTES_PER_S, level_cluster
from stagewright.model.cluster_file import read_cluster_yaml
from stagewright.model.errors import InputError
from stagewright.model.instance import Instance, build_instance
from stagewright.model.profile import parse_profile
from stagewright.model.profile_document import at_quantile
from stagewright.model.rules import Rules
from stagewright.model.server_file import ClusterFile, read_server_file
from stagewright.model.sources import DISK, Sources

DEFAULT_MEMORY_BYTES = 16e9
"""Memory of a GPU that the published tools assume when none is given."""

LEVEL_GPU = "GPU"
"""Name of the one GPU type where a profile is given instead of a server file."""


def read_cluster(
    path: str | Path,
    bandwidths_bytes_per_s: Sequence[float] = (),
    memory_bytes: float | None = None,
    sources: Sources = DISK,
) -> ClusterFile:
    """Read a cluster.yaml (by its suffix) or a server file.

    Raises
    ------
    InputError
        Also if bandwidths or memory are given beside a cluster.yaml, which states its own.
    """
    if Path(path).suffix not in {".yaml", ".yml"}:
        return read_server_file(path, bandwidths_bytes_per_s, memory_bytes, sources)
    if bandwidths_bytes_per_s or memory_bytes is not None:
        raise InputError(
            "-b and -s are for server files; a cluster.yaml states bandwidths and memory itself",
            source=path,
        )
    return read_cluster_yaml(path, sources)


def read_levels(
    profile: str | Path,
    machines: Sequence[int],
    bandwidths_bytes_per_s: Sequence[float] = (),
    memory_bytes: float | None = None,
    sources: Sources = DISK,
) -> ClusterFile:
    """Describe like GPUs in PipeDream's levels, inside out, all with one profile."""
    notes: tuple[str, ...] = ()
    bandwidths = list(bandwidths_bytes_per_s)
    if not bandwidths and machines:
        bandwidths = [DEFAULT_BANDWIDTH_BYTES_PER_S] * len(machines)
        notes = (
            f"no bandwidth given (-b): assuming {bandwidths[0]:g} bytes/s, the published tools' "
            "default",
        )
    cluster = level_cluster(LEVEL_GPU, machines, bandwidths)
    groups = tuple(dataclasses.replace(g, memory_bytes=memory_bytes) for g in cluster.groups)
    cluster = dataclasses.replace(cluster, groups=groups)
    return ClusterFile(cluster, {LEVEL_GPU: Path(profile)}, notes, sources)


def load_instance(
    read: ClusterFile, rules: Rules | None = None, quantile: float | None = None
) -> Instance:
    """Read the profiles that a cluster description names, and join everything.

    With a ``quantile``, times and activations are those of that quantile of the minibatches that
    each profile was measured on. If memory is a rule and a group states none, the published tools'
    default is assumed, with a note.
    """
    rules = rules or Rules()
    cluster, notes = read.cluster, read.notes
    if rules.use_memory and any(g.memory_bytes is None for g in cluster.groups):
        groups = tuple(
            dataclasses.replace(g, memory_bytes=g.memory_bytes or DEFAULT_MEMORY_BYTES)
            for g in cluster.groups
        )
        cluster = dataclasses.replace(cluster, groups=groups)
        notes = (
            *notes,
            f"no memory given for some GPUs (-s): assuming {DEFAULT_MEMORY_BYTES:g} bytes, the "
            "published tools' default",
        )
    graphs = {
        path: parse_profile(read.sources.text(path, "profile"), source=str(path), name=path.stem)
        for path in dict.fromkeys(read.profiles.values())
    }
    if quantile is not None:
        graphs = {path: at_quantile(graph, path, quantile) for path, graph in graphs.items()}
        notes = (*notes, f"planned for quantile {quantile:g} of the minibatches")
    profiles = {gpu: graphs[path] for gpu, path in read.profiles.items()}
    try:
        return build_instance(profiles, cluster, rules, notes)
    except InputError as error:
        # The message names a graph; its reader wants the file.
        source = next((path for path in graphs if path.stem == error.source), error.source)
        raise InputError(error.message, source=source, hint=error.hint) from None
