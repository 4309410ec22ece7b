"""What is measured before anything is planned: layers on each kind of core, and the link."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from stagewright.model.cluster_file import ClusterText
from stagewright.model.files import write_files
from stagewright.model.measured_links import Link, format_cluster_yaml, with_links
from stagewright.model.profile import format_profile
from stagewright.model.profile_document import Pass, ProfileDocument, WholeStep, document_path
from stagewright.profile.launch import profile
from stagewright.profile.link_document import LinkRequest, MeasuredLink
from stagewright.profile.link_launch import measure_links
from stagewright.profile.request import Request
from stagewright.scenarios.reality import feeds
from stagewright.scenarios.reality.cores import on_core

CORE, HALF = "core", "half-core"
"""The types of GPU. What runs on half a core stands still for half of the time."""

FEEDS = f"{feeds.__name__}."

_Times = TypeVar("_Times", Pass, WholeStep)


@dataclass(frozen=True)
class Effort:
    """How often things are run.

    Attributes
    ----------
    repeats
        Steps of a profile on each minibatch, and messages of each size.
    rounds, turns
        Rounds of each plan, and turns that make up a round.
    tries
        How often a turn is run at most, where other programs disturb it.
    """

    repeats: int = 25
    rounds: int = 5
    turns: int = 3
    tries: int = 3


def measure_network(cores: Sequence[int], effort: Effort) -> MeasuredLink:
    """Measure gloo between two processes, each on its core."""
    (link,) = measure_links(LinkRequest(cores=tuple(cores), repeats=effort.repeats))
    return link


def measure_layers(
    network: str, gpus: Sequence[str], cores: Sequence[int], folder: Path, effort: Effort
) -> tuple[ProfileDocument, ...]:
    """Profile a network on each core, and write a profile of each type of GPU as ``TYPE.txt``.

    All are measured at the same time: cores that work together share caches and memory. A type
    takes what its cores take on average.

    Parameters
    ----------
    network
        Name of a module of ``feeds``.
    gpus, cores
        Types and cores of the GPUs.
    folder
        Where to write.

    Returns
    -------
    tuple
        What was measured on each core.
    """
    with ThreadPoolExecutor() as pool:
        measuring = [
            pool.submit(_profiled, network, gpu, core, effort)
            for gpu, core in zip(gpus, cores, strict=True)
        ]
        found = tuple(document.result() for document in measuring)
    for gpu in dict.fromkeys(gpus):
        alike = [x for x, of in zip(found, gpus, strict=True) if of == gpu]
        _write(mean_of(alike), folder, f"{gpu}.txt")
    return found


def mean_of(documents: Sequence[ProfileDocument]) -> ProfileDocument:
    """Return the profile of a type from those of several GPUs of it: the mean of all times.

    What is not a time is the first one's.
    """
    first, *_ = documents
    nodes = [
        node.model_copy(
            update={
                "forward": _mean_of([x.forward for x in same]),
                "backward": _mean_of([x.backward for x in same]),
            }
        )
        for node, *same in zip(first.nodes, *(x.nodes for x in documents), strict=True)
    ]
    step = _mean_of([x.step for x in documents])
    return first.model_copy(update={"nodes": tuple(nodes), "step": step})


def _mean_of(parts: Sequence[_Times]) -> _Times:
    """Return the means of all fields that are milliseconds."""
    means = {
        name: np.mean([getattr(x, name) for x in parts], axis=0).tolist()
        for name in type(parts[0]).model_fields
        if name.endswith("_ms")
    }
    return type(parts[0]).model_validate(parts[0].model_dump() | means)


def _profiled(network: str, gpu: str, core: int, effort: Effort) -> ProfileDocument:
    request = Request(
        model=f"{FEEDS}{network}:network",
        input=f"{FEEDS}{network}:minibatch",
        threads=1,
        shared_core=gpu == HALF,
        repeats=effort.repeats,
        warm_up=2,
        minibatches=feeds.MINIBATCHES,
    )
    with on_core(core):
        return profile(request, _ignore, _ignore)


@dataclass(frozen=True)
class Replicas:
    """What a cost model does not know of replicas of the whole network, one on each GPU.

    Attributes
    ----------
    all_reduce_bytes_per_s
        Bandwidth of an all-reduce of all gradients.
    waiting_s
        How much longer the later of two replicas takes in a step, on average, than the GPU that is
        slower on average: minibatches differ, and the replicas wait for each other.
    """

    all_reduce_bytes_per_s: float
    waiting_s: float

    @classmethod
    def of(cls, documents: Sequence[ProfileDocument], link: MeasuredLink) -> Replicas:
        """Read both from what was measured: a profile on each GPU, and the link."""
        held = sum(node.parameter_bytes for node in documents[0].nodes)
        times = sorted(link.all_reduce_times, key=lambda x: x.bytes)
        took_s = np.interp(held, [x.bytes for x in times], [x.seconds for x in times])
        took_s *= max(1.0, held / times[-1].bytes)  # what is larger than all takes longer in line
        minibatches_s = [_minibatches_s(x) for x in documents]
        later_s = statistics.fmean(
            max(each[feeds.number_of(step, k)] for k, each in enumerate(minibatches_s))
            for step in range(feeds.MINIBATCHES // len(documents))
        )
        slower_s = max(statistics.fmean(each) for each in minibatches_s)
        return cls(float(held / took_s), max(0.0, later_s - slower_s))


def _minibatches_s(document: ProfileDocument) -> Sequence[float]:
    """Seconds of all layers on each of the minibatches."""
    times = [x.minibatches_ms for node in document.nodes for x in (node.forward, node.backward)]
    return [1e-3 * sum(column) for column in zip(*times, strict=True)]


def _ignore(*_: object) -> None:
    """Hear a note, or how far it is."""


def _write(document: ProfileDocument, folder: Path, name: str) -> None:
    write_files(
        folder,
        {
            name: format_profile(document.graph(Path(name).stem)),
            document_path(Path(name)).name: document.dumps(),
        },
    )


def write_cluster(gpus: Sequence[str], link: MeasuredLink, folder: Path) -> Path:
    """Write ``cluster.yaml``: one server whose GPUs are cores, with the measured link.

    Parameters
    ----------
    gpus
        Type of each GPU.
    link
        Between any two of them.
    folder
        Where to write.
    """
    measured = Link(link.latency_s, link.bandwidth_bytes_per_s)
    stated = ClusterText.model_validate(
        {
            "servers": [
                {
                    "name": "Server0",
                    "bandwidth_bytes_per_s": measured.bandwidth_bytes_per_s,
                    "gpus": [
                        {"gpu": gpu, "count": count, "profile": f"{gpu}.txt"}
                        for gpu, count in Counter(gpus).items()
                    ],
                }
            ]
        }
    )
    text = format_cluster_yaml(with_links(stated, {"Server0": measured}, {}))
    (path,) = write_files(folder, {"cluster.yaml": text})
    return path
