"""``cluster.yaml``: everything a server file says, memory, prices, bandwidths and latencies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stagewright.model.boundary import Bandwidth, Latency, Memory, Price, first_error
from stagewright.model.cluster import Cluster, GpuGroup
from stagewright.model.errors import InputError
from stagewright.model.server_file import MAX_GPUS, ClusterFile
from stagewright.model.sources import DISK, Sources
from stagewright.model.yaml_text import parse_yaml

MAX_SERVERS = 2000
Name = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^\S.*$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Spec(_Part):
    profile: Name | None = None
    memory_bytes: Memory | None = None
    price_per_hour: Price | None = None


class _Gpus(_Part):
    gpu: Name
    count: Annotated[int, Field(ge=1, le=MAX_GPUS)]
    profile: Name | None = None
    memory_bytes: Memory | None = None
    price_per_hour: Price | None = None


class _Server(_Part):
    name: Name
    bandwidth_bytes_per_s: Bandwidth
    latency_s: Latency = 0.0
    gpus: Annotated[list[_Gpus], Field(min_length=1)]


class _Pair(_Part):
    servers: Annotated[list[Name], Field(min_length=2, max_length=2)]
    bandwidth_bytes_per_s: Bandwidth
    latency_s: Latency = 0.0


class _Links(_Part):
    bandwidth_bytes_per_s: Bandwidth | None = None
    latency_s: Latency = 0.0
    pairs: list[_Pair] = []


class ClusterText(_Part):
    """A cluster as ``cluster.yaml`` states it."""

    gpus: dict[Name, _Spec] = {}
    servers: Annotated[list[_Server], Field(min_length=1, max_length=MAX_SERVERS)]
    links: _Links = _Links()


def read_cluster_yaml(path: str | Path, sources: Sources = DISK) -> ClusterFile:
    """Read a cluster description in YAML (see ``docs/formats.md``).

    Raises
    ------
    InputError
        With the file and the place in it.
    """
    path = Path(path)
    parsed = parse_cluster_yaml(sources.text(path, "cluster file"), path)
    return build_cluster(parsed, path, sources)


def parse_cluster_yaml(text: str, path: Path) -> ClusterText:
    """Return what a ``cluster.yaml`` states; ``path`` is named in errors.

    Raises
    ------
    InputError
        With the place in it.
    """
    raw = parse_yaml(text, path)
    try:
        return ClusterText.model_validate(raw)
    except ValidationError as error:
        place, message = first_error(error)
        raise InputError(
            f"{place}: {message}" if place else message,
            source=path,
            hint="docs/formats.md describes cluster.yaml",
        ) from None


def build_cluster(parsed: ClusterText, path: Path, sources: Sources) -> ClusterFile:
    """Return the cluster that is stated; ``path`` is named in errors.

    Raises
    ------
    InputError
        If names are unknown or given twice, or a link or a profile is missing.
    """
    groups: list[GpuGroup] = []
    profiles: dict[str, Path] = {}
    for index, server in enumerate(parsed.servers):
        for line in server.gpus:
            spec = parsed.gpus.get(line.gpu, _Spec())
            memory = line.memory_bytes if line.memory_bytes is not None else spec.memory_bytes
            price = line.price_per_hour if line.price_per_hour is not None else spec.price_per_hour
            groups.append(GpuGroup(index, line.gpu, line.count, memory, price))
            profile = _profile(line.profile or spec.profile, line.gpu, server.name, path, sources)
            first = profiles.setdefault(line.gpu, profile)
            texts = (sources.text(x, "profile") for x in (first, profile) if first != profile)
            if len(set(texts)) > 1:
                raise InputError(
                    f"'{line.gpu}' has two different profiles",
                    source=path,
                    hint="One GPU type has one profile; give the second type another name",
                )
    names = tuple(s.name for s in parsed.servers)
    bandwidth, latency = _links(parsed, names, path)
    try:
        cluster = Cluster(names, tuple(groups), bandwidth, latency)
    except InputError as error:
        raise InputError(error.message, source=path, hint=error.hint) from None
    return ClusterFile(cluster, profiles, (), sources)


def _profile(text: str | None, gpu: str, server: str, path: Path, sources: Sources) -> Path:
    if text is None:
        raise InputError(
            f"'{gpu}' in {server} has no profile",
            source=path,
            hint=f"Write 'profile:' below it or in the 'gpus:' section under '{gpu}'",
        )
    found = sources.find(text, path)
    if found is None:
        raise InputError(f"the profile '{text}' of '{gpu}' does not exist", source=path)
    return found


def _links(
    parsed: ClusterText, names: tuple[str, ...], path: Path
) -> tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]:
    pairs: dict[frozenset[str], _Pair] = {}
    for pair in parsed.links.pairs:
        for name in pair.servers:
            if name not in names:
                raise InputError(f"links.pairs names '{name}', which is not a server", source=path)
        ends = frozenset(pair.servers)
        if len(ends) == 1 or ends in pairs:
            raise InputError(f"links.pairs repeats {' and '.join(pair.servers)}", source=path)
        pairs[ends] = pair

    def link(s: int, t: int) -> tuple[float, float]:
        if s == t:
            return parsed.servers[s].bandwidth_bytes_per_s, parsed.servers[s].latency_s
        pair = pairs.get(frozenset((names[s], names[t])))
        if pair is not None:
            return pair.bandwidth_bytes_per_s, pair.latency_s
        if parsed.links.bandwidth_bytes_per_s is None:
            raise InputError(
                f"no bandwidth between {names[s]} and {names[t]}",
                source=path,
                hint="Write links.bandwidth_bytes_per_s, or the pair under links.pairs",
            )
        return parsed.links.bandwidth_bytes_per_s, parsed.links.latency_s

    size = range(len(names))
    table = [[link(s, t) for t in size] for s in size]
    return (
        tuple(tuple(cell[0] for cell in row) for row in table),
        tuple(tuple(cell[1] for cell in row) for row in table),
    )
