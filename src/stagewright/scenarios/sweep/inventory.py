"""The workloads and clusters that a sweep file names, put together on demand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from stagewright.model.cluster import (
    DEFAULT_BANDWIDTH_BYTES_PER_S,
    Cluster,
    GpuGroup,
    level_cluster,
    uniform_links,
)
from stagewright.model.constraints import Constraints
from stagewright.model.errors import InputError
from stagewright.model.files import is_file
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import Instance, build_instance
from stagewright.model.load import read_cluster
from stagewright.model.profile import read_profile
from stagewright.model.server_file import ClusterFile
from stagewright.scenarios.models import model
from stagewright.scenarios.models.roofline import TYPICAL_GPU, Roofline
from stagewright.scenarios.sweep.tables import MOST_GPUS, SweepTable, WorkloadTable

Links = tuple[float, ...]


class Inventory:
    """Reads each file once, and says in whose words something is wrong.

    Parameters
    ----------
    path
        The sweep file. Files that it names are relative to it, or to the working directory; the
        first that exists.
    table
        What it says.
    """

    def __init__(self, path: Path, table: SweepTable) -> None:
        self._path = path
        self._table = table
        self._graphs: dict[Path, LayerGraph] = {}
        self._files: dict[str, ClusterFile] = {}

    @cached_property
    def workloads(self) -> tuple[str | None, ...]:
        """Their names; ``None`` is what a cluster's own file says."""
        if self._table.workloads:
            return tuple(self._table.workloads)
        for name, cluster in self._table.clusters.items():
            if cluster.file is None:
                raise InputError(
                    f"clusters.{name} names GPUs only, and there are no workloads",
                    hint="Write [workloads.NAME] with profile, profiles or network",
                )
        return (None,)

    def instance(
        self,
        workload: str | None,
        cluster: str,
        constraints: Constraints,
        links: Links,
        memory_bytes: float | None,
    ) -> tuple[str, Instance]:
        """Return the workload's name and the instance."""
        try:
            placed = self._cluster(cluster, links)
        except InputError as error:
            raise _at(f"clusters.{cluster}", error) from None
        if memory_bytes is not None:
            groups = tuple(dataclasses.replace(g, memory_bytes=memory_bytes) for g in placed.groups)
            placed = dataclasses.replace(placed, groups=groups)
            constraints = dataclasses.replace(constraints, use_memory=True)
        if constraints.use_memory and any(g.memory_bytes is None for g in placed.groups):
            raise InputError(
                f"the memory of GPUs in clusters.{cluster} is not known, but plans have to fit it",
                hint="Write axes.memory_bytes, or memory_bytes in a cluster.yaml",
            )
        try:
            profiles = self._profiles(workload, cluster, placed)
            built = build_instance(profiles, placed, constraints.rules())
            instance = constraints.applied_to(built)
        except InputError as error:
            place = f"clusters.{cluster}" if workload is None else f"workloads.{workload}"
            raise _at(place, error) from None
        return workload if workload is not None else instance.graph.name, instance

    def _cluster(self, name: str, links: Links) -> Cluster:
        table = self._table.clusters[name]
        if table.file is not None:
            cluster = self._file(name).cluster
            cluster = _rewired(cluster, links) if links else cluster
        elif table.machines is not None:
            given = links or (DEFAULT_BANDWIDTH_BYTES_PER_S,)
            levels = given * len(table.machines) if len(given) == 1 else given
            cluster = level_cluster(table.gpu, table.machines, levels)
        else:
            servers = table.servers or []
            groups = tuple(
                GpuGroup(s, gpu, count)
                for s, held in enumerate(servers)
                for gpu, count in held.items()
            )
            names = tuple(f"Server{s}" for s in range(len(servers)))
            default = (DEFAULT_BANDWIDTH_BYTES_PER_S,)
            matrices = uniform_links([1.0] * len(servers), 1.0)
            cluster = _rewired(Cluster(names, groups, *matrices), links or default)
        if cluster.gpu_count > MOST_GPUS:
            raise InputError(f"{cluster.gpu_count:,} GPUs; expected at most {MOST_GPUS:,}")
        return cluster

    def _file(self, name: str) -> ClusterFile:
        if name not in self._files:
            self._files[name] = read_cluster(self._find(self._table.clusters[name].file or ""))
        return self._files[name]

    def _profiles(
        self, workload: str | None, name: str, cluster: Cluster
    ) -> Mapping[str, LayerGraph]:
        if workload is None:
            own = self._file(name).profiles
            return {gpu: self._graph(own[gpu]) for gpu in cluster.gpu_types}
        table = self._table.workloads[workload]
        if table.network is not None:
            return {gpu: _derived(table, gpu) for gpu in cluster.gpu_types}
        if table.profile is not None:
            return dict.fromkeys(cluster.gpu_types, self._graph(self._find(table.profile)))
        stated = table.profiles or {}
        for gpu in cluster.gpu_types:
            if gpu not in stated:
                raise InputError(f"no profile for '{gpu}', which clusters.{name} has")
        return {gpu: self._graph(self._find(stated[gpu])) for gpu in cluster.gpu_types}

    def _graph(self, path: Path) -> LayerGraph:
        if path not in self._graphs:
            self._graphs[path] = read_profile(path)
        return self._graphs[path]

    def _find(self, text: str) -> Path:
        for candidate in (self._path.parent / text, Path(text)):
            if is_file(candidate):
                return candidate
        raise InputError(
            f"no file '{text}', neither beside the sweep file nor in the working directory"
        )


def _rewired(cluster: Cluster, links: Links) -> Cluster:
    """Give a cluster other bandwidths: one for all links, or (inside a server, between)."""
    if len(links) > 2:
        raise InputError(
            f"{len(links)} bandwidths in one entry; expected one (all links) or two (inside a "
            "server, between)"
        )
    bandwidth, _ = uniform_links([links[0]] * len(cluster.servers), links[-1])
    return dataclasses.replace(cluster, bandwidth_bytes_per_s=bandwidth)


def _derived(table: WorkloadTable, gpu: str) -> LayerGraph:
    """Return a built-in network as a roofline times it on one GPU type."""
    if table.gpus and gpu not in table.gpus:
        raise InputError(f"gpus has no rates for '{gpu}'")
    rates = table.gpus.get(gpu)
    line = TYPICAL_GPU
    if rates is not None:
        line = Roofline(rates.flops_per_s, rates.bytes_per_s, rates.launch_s)
    graph: LayerGraph = model(table.network or "").layer_graph(roofline=line)
    return graph


def _at(place: str, error: InputError) -> InputError:
    """Say where in the sweep file, unless the error lies in a file of its own."""
    if error.source is not None and is_file(Path(error.source)):
        return error
    return InputError(f"{place}: {error.message}", hint=error.hint)
