"""Topological orders with narrow cuts, by bisection along minimum cuts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.ideal_boxes import BoxTree

FEW = 2


def narrow_order(tree: BoxTree, base: Sequence[int], share: float) -> tuple[int, ...]:
    """Order the blocks so that many prefixes are left by few bytes.

    Between the first and the last ``share`` of the work of a stretch of the base order, the
    narrowest ideal splits the stretch in two, and both halves are ordered likewise.

    Parameters
    ----------
    base
        A topological order of the blocks.
    share
        Above 0 and below 1/2: how far from its ends a stretch may be split.
    """
    time = tree.time_s + 1e-9 * float(tree.time_s.sum())
    size = len(tree.graph)
    order: list[int] = []
    nothing = np.zeros(size, dtype=bool)
    stretches: list[tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]] = [
        (nothing, nothing, np.array(base, dtype=np.int64))
    ]
    while stretches:
        before, after, nodes = stretches.pop()
        if len(nodes) <= FEW:
            order += nodes.tolist()
            continue
        done = np.cumsum(time[nodes])
        first, last = np.searchsorted(done, [share * done[-1], (1 - share) * done[-1]]).tolist()
        first = min(max(first, 1), len(nodes) - 2)
        last = max(min(last, len(nodes) - 2), first) + 1
        inside, outside = before.copy(), after.copy()
        inside[nodes[:first]] = True
        outside[nodes[last:]] = True
        ideal = tree.narrow_cut(inside, outside)
        stretches.append((ideal, after, nodes[~ideal[nodes]]))
        stretches.append((before, after | ~ideal, nodes[ideal[nodes]]))
    return tuple(order)
