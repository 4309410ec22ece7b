"""``trace.json``: well-formed in the Trace Event Format, and true to the run."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from typing import Annotated, Any, Literal

import pytest
from pipelines import pipeline
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from builders import cluster_of
from stagewright.simulation import Simulation, Work, simulate
from stagewright.simulation.trace import chrome_trace

Time = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    pid: int
    tid: int


class Metadata(_Event):
    ph: Literal["M"]
    args: dict[str, Any]


class Complete(_Event):
    ph: Literal["X"]
    cat: str
    ts: Time
    dur: Time
    args: dict[str, int]


class Async(_Event):
    ph: Literal["b", "e"]
    cat: str
    id: int
    ts: Time
    args: dict[str, int] | None = None


class Counter(_Event):
    ph: Literal["C"]
    ts: Time
    args: dict[str, float]


Event = Annotated[Metadata | Complete | Async | Counter, Field(discriminator="ph")]


@pytest.fixture(scope="module")
def run() -> Simulation:
    cluster = cluster_of([{"TitanV": 2}, {"TitanV": 2}], 1e9, 1e8)
    instance, plan = pipeline(
        cluster, [(1, 2), (0.5, 1), (1, 1)], [[1, 1], [1, 0], [0, 1]], 1e8, 1e8, recompute=True
    )
    return simulate(instance, plan, minibatches=7)


@pytest.fixture(scope="module")
def events(run: Simulation) -> list[Any]:
    data = json.loads(chrome_trace(run, ["Server0", 'a "name" <b>']))
    assert data.keys() == {"displayTimeUnit", "traceEvents"}
    return TypeAdapter(list[Event]).validate_python(data["traceEvents"])


def test_every_event_is_one_of_the_format(events):
    assert {x.ph for x in events} == {"M", "X", "b", "e", "C"}


def test_complete_events_of_a_thread_do_not_overlap(events):
    threads = defaultdict(list)
    for x in events:
        if x.ph == "X":
            threads[x.pid, x.tid].append((x.ts, x.ts + x.dur))
    assert len(threads) == 4
    for spans in threads.values():
        spans.sort()
        assert all(a[1] <= b[0] + 1e-3 for a, b in itertools.pairwise(spans))


def test_asynchronous_events_come_in_pairs(events):
    begun = {(x.cat, x.id): x.ts for x in events if x.ph == "b"}
    ended = {(x.cat, x.id): x.ts for x in events if x.ph == "e"}
    assert begun.keys() == ended.keys()
    assert len(begun) == sum(x.ph == "b" for x in events)
    assert all(begun[x] < ended[x] for x in begun)


def test_threads_and_processes_are_named(events):
    named = {(x.pid, x.tid): x.args["name"] for x in events if x.name == "thread_name"}
    assert named[0, 0] == "GPU 0, stage 0: TitanV 0 in Server0"
    used = {(x.pid, x.tid) for x in events if x.ph != "M"}
    assert used == named.keys()
    processes = {x.pid: x.args["name"] for x in events if x.name == "process_name"}
    assert processes == {0: "Server0", 1: 'a "name" <b>'}


def test_nothing_is_lost(run, events):
    shown = sum(x.ph in {"X", "b"} for x in events)
    assert shown == len(list(run.events()))
    computing = sum(x.dur for x in events if x.ph == "X") / 1e6
    spent = sum(
        x.forward_s + x.backward_s + x.recompute_s + x.all_reduce_s for x in run.gpu_figures
    )
    assert computing == pytest.approx(spent)
    assert {x.cat for x in events if x.ph in {"X", "b"}} == set(Work)


def test_counters_show_the_peak(run, events):
    peaks = defaultdict(float)
    for x in events:
        if x.ph == "C":
            peaks[x.tid] = max(peaks[x.tid], x.args["bytes"])
    assert peaks == {x.gpu.rank: x.peak_bytes for x in run.gpu_figures}
