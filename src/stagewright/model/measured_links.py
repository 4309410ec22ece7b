"""Putting measured bandwidths and latencies into a ``cluster.yaml``, and writing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from stagewright.model.cluster_file import ClusterText

Ends = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Link:
    """What one message takes: ``latency_s + bytes / bandwidth_bytes_per_s``."""

    latency_s: float
    bandwidth_bytes_per_s: float


def with_links(
    stated: ClusterText, inside: Mapping[str, Link], between: Mapping[Ends, Link]
) -> ClusterText:
    """Return a cluster whose links are those that were measured; all else stays.

    Parameters
    ----------
    stated
        The cluster as it was.
    inside
        Links inside servers, by the server's name.
    between
        Links between two servers, by their names in either order.
    """
    servers = [
        server.model_copy(update=_figures(inside[server.name])) if server.name in inside else server
        for server in stated.servers
    ]
    measured = {frozenset(ends): _figures(link) for ends, link in between.items()}
    pairs = [x.model_dump() for x in stated.links.pairs if frozenset(x.servers) not in measured]
    pairs += [{"servers": list(ends), **_figures(link)} for ends, link in between.items()]
    links = {**stated.links.model_dump(), "pairs": pairs}
    return ClusterText.model_validate(
        {**stated.model_dump(), "servers": [x.model_dump() for x in servers], "links": links}
    )


def format_cluster_yaml(stated: ClusterText) -> str:
    """Write a cluster as ``cluster.yaml``; reading the text gives the same cluster.

    What has its default value is left out.
    """
    data: dict[str, Any] = stated.model_dump(exclude_defaults=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)


def _figures(link: Link) -> dict[str, float]:
    return {
        "bandwidth_bytes_per_s": link.bandwidth_bytes_per_s,
        "latency_s": link.latency_s,
    }
