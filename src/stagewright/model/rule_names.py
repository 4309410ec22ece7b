"""Rules in words: as the command line spells them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stagewright.model.cluster import Cluster
from stagewright.model.placement import Placement
from stagewright.model.placement_names import group_places
from stagewright.model.rules import Recompute, Rules

MOST_NAMED = 3
"""Layers named in one go; the others are counted."""


def rules_in_words(rules: Rules, cluster: Cluster) -> list[str]:
    """Return every rule in force, such as ``--max-gpus 4``.

    >>> from stagewright.model.cluster import level_cluster
    >>> cluster = level_cluster("TitanV", [4], [1e9])
    >>> rules_in_words(Rules(straight_pipeline=True, max_gpus=3), cluster)
    ['--straight-pipeline', '--max-gpus 3']
    """
    return [*_memory(rules, cluster), *_counts(rules, cluster), *_placement(rules, cluster)]


def _memory(rules: Rules, cluster: Cluster) -> Iterator[str]:
    memory = [g.memory_bytes for g in cluster.groups if g.memory_bytes is not None]
    if rules.use_memory and memory:
        yield f"--use-memory-constraint, at most {max(memory) / 1e9:g} GB per GPU"


def _counts(rules: Rules, cluster: Cluster) -> Iterator[str]:
    if rules.use_all:
        yield f"--use-all, {cluster.gpu_count} GPUs"
    if rules.straight_pipeline:
        yield "--straight-pipeline"
    for option, limit in (
        ("--max-stages", rules.max_stages),
        ("--max-replicas", rules.max_replicas),
        ("--max-gpus", rules.max_gpus),
        ("--max-price", rules.max_price_per_hour),
    ):
        if limit is not None:
            yield f"{option} {limit:g}" if isinstance(limit, float) else f"{option} {limit}"
    if rules.recompute is not Recompute.NEVER:
        yield f"--recompute {rules.recompute}"


def _placement(rules: Rules, cluster: Cluster) -> Iterator[str]:
    placement = rules.placement
    yield from _by_place("--pin", [(node, f"stage:{k}") for node, k in placement.stage])
    yield from _places(placement, cluster)
    for names in placement.together:
        yield f"--together {_several(names, ',')}"
    if placement.kept is not None:
        yield f"--replan, --max-moved {placement.kept.most_moved}"


def _places(placement: Placement, cluster: Cluster) -> Iterator[str]:
    """Spell forbidden groups in the fewest words: by what is left, or by what is forbidden."""
    named: dict[frozenset[int], str] = {}
    for place, groups in group_places(cluster).items():
        named.setdefault(groups, place)
    everywhere = frozenset(range(len(cluster.groups)))
    pinned, forbidden = [], []
    for node, banned in placement.forbidden:
        left = everywhere - frozenset(banned)
        if left in named:
            pinned.append((node, named[left]))
        elif frozenset(banned) in named:
            forbidden.append((node, named[frozenset(banned)]))
        else:
            single = [cluster.groups[g] for g in banned]
            forbidden += [(node, f"{cluster.servers[x.server]}/{x.gpu}") for x in single]
    yield from _by_place("--pin", pinned)
    yield from _by_place("--forbid", forbidden)


def _by_place(option: str, pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """One phrase per place."""
    nodes: dict[str, list[str]] = {}
    for node, place in pairs:
        nodes.setdefault(place, []).append(node)
    for place, found in nodes.items():
        yield f"{option} {_several(found, ', ')}={place}"


def _several(names: Sequence[str], between: str) -> str:
    rest = len(names) - MOST_NAMED
    text = between.join(names[:MOST_NAMED])
    return f"{text} and {rest} more" if rest > 0 else text
