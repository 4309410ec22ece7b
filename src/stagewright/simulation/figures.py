"""How each GPU of a run spends its time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stagewright.simulation.measures import SteadyState, overlap_s
from stagewright.simulation.run import Run
from stagewright.simulation.schedule import BACKWARD, FORWARD
from stagewright.simulation.timeline import GpuFigures, MemoryCurve


def gpu_figures(
    run: Run, rank: int, memory: MemoryCurve, steady: SteadyState | None, *, overlap: bool
) -> GpuFigures:
    """Return the figures of one GPU.

    Parameters
    ----------
    overlap
        Whether it computes during the transfers of its input; otherwise they take its time.
    """
    steps, machine = run.steps[rank], run.machine
    work = _intervals([(start, end) for _, start, end in steps])
    waited = _intervals([] if overlap else list(run.fetches(rank)))
    kinds = [kind for (kind, _), _, _ in steps]
    reduced = [(start, end) for (kind, _), start, end in steps if kind not in {FORWARD, BACKWARD}]
    makespan_s = max(x[-1][2] for x in run.steps if x)
    busy_s = _length(work) + _length(waited)
    return GpuFigures(
        gpu=machine.gpus[rank],
        forward_s=kinds.count(FORWARD) * machine.forward_s[rank],
        backward_s=kinds.count(BACKWARD) * machine.backward_s[rank],
        recompute_s=kinds.count(BACKWARD) * machine.recompute_s(rank),
        all_reduce_s=_length(_intervals(reduced)),
        transfer_s=_length(waited),
        bubble_share=_idle(busy_s, makespan_s),
        steady_bubble_share=_steady_bubble(work, waited, steady),
        peak_bytes=memory.peak_bytes,
    )


def _intervals(pairs: list[tuple[float, float]]) -> NDArray[np.float64]:
    return np.array(pairs, dtype=float).reshape(-1, 2)


def _length(intervals: NDArray[np.float64]) -> float:
    return float((intervals[:, 1] - intervals[:, 0]).sum())


def _idle(busy_s: float, whole_s: float) -> float:
    return 0.0 if whole_s <= 0 else min(1.0, max(0.0, 1 - busy_s / whole_s))


def _steady_bubble(
    work: NDArray[np.float64], waited: NDArray[np.float64], steady: SteadyState | None
) -> float | None:
    if steady is None:
        return None
    window = steady.start_s, steady.end_s
    busy_s = sum(overlap_s(x[:, 0], x[:, 1], window) for x in (work, waited))
    return _idle(busy_s, steady.end_s - steady.start_s)
