"""The best plan at each bandwidth, and where it changes shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from stagewright.scenarios.sweep.results import Answered


@dataclass(frozen=True)
class Series:
    """What is the same but for the bandwidth and the planner.

    Attributes
    ----------
    name
        The labels that tell it from the other series.
    by_planner
        Valid answers of each planner, by ascending bandwidth.
    """

    name: str
    by_planner: dict[str, tuple[Answered, ...]]

    @property
    def best(self) -> tuple[Answered, ...]:
        """The shortest period at each bandwidth; of equals, of the planner named first."""
        least: dict[float, Answered] = {}
        for line in self.by_planner.values():
            for each in line:
                known = least.get(bandwidth(each))
                if known is None or period_s(each) < period_s(known) * (1 - 1e-9):
                    least[bandwidth(each)] = each
        return tuple(least[x] for x in sorted(least))

    @property
    def changes(self) -> tuple[tuple[Answered, Answered], ...]:
        """Neighbours among the best whose stages have other GPUs."""
        return tuple((a, b) for a, b in pairwise(self.best) if a.outcome.shape != b.outcome.shape)


def bandwidth(each: Answered) -> float:
    """The axis's value for the outermost link, bytes/s; 0 where the cluster states its own."""
    links = each.labels.bandwidths_bytes_per_s
    return links[-1] if links else 0.0


def period_s(each: Answered) -> float:
    """Seconds per minibatch of a valid answer."""
    if each.outcome.period_s is None:
        raise ValueError("there is no plan")
    return each.outcome.period_s


def series(found: Sequence[Answered]) -> tuple[Series, ...]:
    """Sort the valid answers into series."""
    sorted_in: dict[tuple[Any, ...], dict[str, list[Answered]]] = defaultdict(dict)
    for each in found:
        if each.outcome.valid:
            sorted_in[_of(each)].setdefault(each.labels.planner, []).append(each)
    told = [i for i, values in enumerate(zip(*sorted_in, strict=True)) if len(set(values)) > 1]
    return tuple(
        Series(
            name=", ".join(
                _SPELLED[i](key[i]) for i in (told or (1, 2)) if key[i] not in {"", None}
            ),
            by_planner={
                planner: tuple(sorted(line, key=bandwidth)) for planner, line in lines.items()
            },
        )
        for key, lines in sorted_in.items()
    )


def _of(each: Answered) -> tuple[Any, ...]:
    labels = each.labels
    return (
        labels.sweep,
        labels.workload,
        labels.cluster,
        labels.constraints,
        labels.memory_bytes,
        labels.cost_model,
        labels.dispatch,
        labels.compression_ratio,
        labels.bandwidths_bytes_per_s[:-1] or None,
    )


_SPELLED = (
    str,
    str,
    str,
    str,
    lambda x: f"{x / 1e9:g} GB",
    str,
    str,
    lambda x: f"activations ÷ {x:g}",
    lambda x: f"inside {' and '.join(f'{each:.3g}' for each in x)} bytes/s",
)
