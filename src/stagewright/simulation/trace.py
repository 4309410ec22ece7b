"""A run as a Chrome trace: ``trace.json`` for ui.perfetto.dev or chrome://tracing.

Trace Event Format: a process per server, a thread per GPU with its passes as complete events
(``X``), transfers as asynchronous events (``b``, ``e``) because they overlap, and the memory of each
GPU as a counter (``C``). Times are microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from stagewright.simulation.simulate import Simulation
from stagewright.simulation.timeline import Event, Gpu, Work

_SHORT = {
    Work.FORWARD: "F",
    Work.BACKWARD: "B",
    Work.RECOMPUTE: "recompute ",
    Work.ALL_REDUCE: "all-reduce ",
    Work.ACTIVATION: "activation ",
    Work.GRADIENT: "gradient ",
}

TraceEvent = dict[str, Any]


def chrome_trace(simulation: Simulation, servers: Sequence[str]) -> str:
    """Return the whole run as JSON text.

    Parameters
    ----------
    servers
        Names of the cluster's servers.
    """
    events = [
        *_names(simulation.gpus, servers),
        *_events(simulation),
        *_memory(simulation),
    ]
    data = {"displayTimeUnit": "ms", "traceEvents": events}
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"


def _names(gpus: Sequence[Gpu], servers: Sequence[str]) -> Iterator[TraceEvent]:
    for server in sorted({gpu.server for gpu in gpus}):
        yield _named("process_name", server, 0, {"name": servers[server]})
        yield _named("process_sort_index", server, 0, {"sort_index": server})
    for gpu in gpus:
        name = f"GPU {gpu.rank}, stage {gpu.stage}: {gpu.name}"
        yield _named("thread_name", gpu.server, gpu.rank, {"name": name})
        yield _named("thread_sort_index", gpu.server, gpu.rank, {"sort_index": gpu.rank})


def _named(what: str, pid: int, tid: int, args: dict[str, Any]) -> TraceEvent:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": args}


def _events(simulation: Simulation) -> Iterator[TraceEvent]:
    gpus = simulation.gpus
    for number, event in enumerate(simulation.events()):
        gpu = gpus[event.rank]
        common: TraceEvent = {
            "name": f"{_SHORT[event.work]}{event.minibatch}",
            "cat": str(event.work),
            "pid": gpu.server,
            "tid": gpu.rank,
        }
        if event.to_rank is None:
            yield {
                **common,
                "ph": "X",
                "ts": _us(event.start_s),
                "dur": _us(event.end_s - event.start_s),
                "args": {"stage": event.stage, "minibatch": event.minibatch},
            }
        else:
            yield from _transfer(event, common, number)


def _transfer(event: Event, common: TraceEvent, number: int) -> Iterator[TraceEvent]:
    args = {"minibatch": event.minibatch, "from": event.rank, "to": event.to_rank}
    yield {**common, "ph": "b", "id": number, "ts": _us(event.start_s), "args": args}
    yield {**common, "ph": "e", "id": number, "ts": _us(event.end_s)}


def _memory(simulation: Simulation) -> Iterator[TraceEvent]:
    for gpu in simulation.gpus:
        curve = simulation.memory(gpu.rank)
        last = None
        for time_s, held in zip(curve.time_s.tolist(), curve.held_bytes.tolist(), strict=True):
            if held != last:
                yield {
                    "ph": "C",
                    "name": f"memory of GPU {gpu.rank}",
                    "pid": gpu.server,
                    "tid": gpu.rank,
                    "ts": _us(time_s),
                    "args": {"bytes": held},
                }
            last = held


def _us(seconds: float) -> float:
    """Microseconds, to the picosecond."""
    return round(seconds * 1e6, 6)
