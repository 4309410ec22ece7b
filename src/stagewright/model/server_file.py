"""Server files: the published tools' description of a cluster.

::

    Server0
        TitanV 1 path/to/profile
        TitanXP 3 path/to/profile
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stagewright.model.cluster import (
    DEFAULT_BANDWIDTH_BYTES_PER_S,
    Cluster,
    GpuGroup,
    uniform_links,
)
from stagewright.model.errors import InputError, printable
from stagewright.model.sources import DISK, Sources

MAX_GPUS = 1_000_000


@dataclass(frozen=True)
class ClusterFile:
    """What a cluster description holds: the cluster, a profile per GPU type, and remarks.

    Attributes
    ----------
    cluster
        Servers, groups and links.
    profiles
        Path of the profile of each GPU type.
    notes
        What was assumed, in words, for the output.
    sources
        Where the profiles come from.
    """

    cluster: Cluster
    profiles: dict[str, Path]
    notes: tuple[str, ...] = ()
    sources: Sources = DISK


def read_server_file(
    path: str | Path,
    bandwidths_bytes_per_s: Sequence[float] = (),
    memory_bytes: float | None = None,
    sources: Sources = DISK,
) -> ClusterFile:
    """Read a server file.

    Parameters
    ----------
    path
        The file. A profile's path is relative to it or to the working directory, whichever
        exists first.
    bandwidths_bytes_per_s
        Nothing (the published default, 1e8), one value (inside a server; between servers
        the same), or two (inside, between).
    memory_bytes
        Memory of every GPU, if known.
    sources
        Where the file and the profiles come from.

    Raises
    ------
    InputError
        With file and line.
    """
    path = Path(path)
    servers: list[str] = []
    groups: list[GpuGroup] = []
    profiles: dict[str, Path] = {}
    for number, raw in enumerate(sources.text(path, "server file").split("\n"), start=1):
        if not raw.strip():
            continue
        if not raw[0].isspace():
            servers.append(_server(raw.strip(), servers, path, number))
        else:
            if not servers:
                raise InputError(
                    "a GPU line stands before any server; expected a line that starts with "
                    "'Server'",
                    source=path,
                    line=number,
                )
            group, name = _gpu(raw.strip(), len(servers) - 1, memory_bytes, path, number)
            profile = _profile(name, group.gpu, sources, path, number)
            if any(g.server == group.server and g.gpu == group.gpu for g in groups):
                raise InputError(
                    f"'{group.gpu}' is listed twice in {servers[-1]}",
                    source=path,
                    line=number,
                    hint="Add up the counts in one line",
                )
            first = profiles.setdefault(group.gpu, profile)
            if first != profile and not _alike(sources, first, profile):
                raise InputError(
                    f"'{group.gpu}' has two different profiles, {first} and {profile}",
                    source=path,
                    line=number,
                    hint="One GPU type has one profile; give the second type another name",
                )
            groups.append(group)
    if not servers:
        raise InputError(
            "no servers found", source=path, hint="A line that starts with 'Server' opens one"
        )
    for server, name in enumerate(servers):
        if not any(g.server == server for g in groups):
            raise InputError(
                f"server '{name}' has no GPUs",
                source=path,
                hint="Below it, write indented lines 'GPU COUNT PROFILE'",
            )
    inside, between, notes = _bandwidths(bandwidths_bytes_per_s, len(servers))
    bandwidth, latency = uniform_links([inside] * len(servers), between)
    cluster = Cluster(tuple(servers), tuple(groups), bandwidth, latency)
    return ClusterFile(cluster, profiles, notes, sources)


def _alike(sources: Sources, first: Path, second: Path) -> bool:
    return sources.text(first, "profile") == sources.text(second, "profile")


def _server(line: str, servers: Sequence[str], path: Path, number: int) -> str:
    if not re.fullmatch(r"Server\S*", line):
        raise InputError(
            f"found '{printable(line, 60)}', expected a server name that starts with 'Server' "
            "or an indented line 'GPU COUNT PROFILE'",
            source=path,
            line=number,
        )
    if line in servers:
        raise InputError(
            f"server '{line}' is named twice", source=path, line=number, hint="Use unique names"
        )
    return line


def _gpu(
    line: str, server: int, memory_bytes: float | None, path: Path, number: int
) -> tuple[GpuGroup, str]:
    words = line.split(maxsplit=2)
    if len(words) != 3:
        raise InputError(
            f"found '{printable(line, 60)}', expected 'GPU COUNT PROFILE'", source=path, line=number
        )
    gpu, count_text, profile_text = words
    if re.fullmatch(r"\d{7,}", count_text) and len(count_text.lstrip("0")) >= 7:
        raise InputError(
            f"'{gpu}' has count '{printable(count_text, 40)}', expected fewer than {MAX_GPUS:,}",
            source=path,
            line=number,
        )
    if not re.fullmatch(r"\d{1,6}", count_text, re.ASCII) or int(count_text) < 1:
        raise InputError(
            f"'{gpu}' has count '{printable(count_text, 40)}', expected a whole number of "
            "1 or more",
            source=path,
            line=number,
        )
    return GpuGroup(server, gpu, int(count_text), memory_bytes), profile_text


def _profile(name: str, gpu: str, sources: Sources, path: Path, number: int) -> Path:
    found = sources.find(name, path)
    if found is None:
        raise InputError(
            f"the profile '{printable(name, 120)}' of '{gpu}' does not exist, {sources.searched}",
            source=path,
            line=number,
        )
    return found


def _bandwidths(values: Sequence[float], servers: int) -> tuple[float, float, tuple[str, ...]]:
    if len(values) > 2:
        raise InputError(
            f"{len(values)} bandwidths (-b); a server file takes one (inside a server) or two "
            "(inside, between)",
            hint="Use a cluster.yaml for a bandwidth per server or pair",
        )
    if not values:
        inside = between = DEFAULT_BANDWIDTH_BYTES_PER_S
        note = f"no bandwidth given (-b): assuming {inside:g} bytes/s, the published tools' default"
        return inside, between, (note,)
    inside, between = values[0], values[-1]
    if len(values) == 1 and servers > 1:
        note = f"one bandwidth given (-b): using {inside:g} bytes/s between servers too"
        return inside, between, (note,)
    return inside, between, ()
