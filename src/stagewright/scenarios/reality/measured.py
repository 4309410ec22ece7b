"""What is measured before anything is planned: layers on each kind of core, and the link."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from stagewright.model.cluster_file import ClusterText
from stagewright.model.files import write_files
from stagewright.model.measured_links import Link, format_cluster_yaml, with_links
from stagewright.model.profile import format_profile
from stagewright.model.profile_document import ProfileDocument, document_path
from stagewright.profile.launch import profile
from stagewright.profile.link_document import LinkRequest, MeasuredLink
from stagewright.profile.link_launch import measure_links
from stagewright.profile.request import Request
from stagewright.scenarios.reality import feeds
from stagewright.scenarios.reality.cores import half_speed, on_core

FULL, HALF = "core", "half-core"
"""What the two kinds of GPU are called: a core alone, and one that a competitor has half of."""

FEEDS = f"{feeds.__name__}."


@dataclass(frozen=True)
class Effort:
    """How often things are run.

    Attributes
    ----------
    repeats
        Steps of a profile on each minibatch, and messages of each size.
    rounds
        Rounds of each plan.
    tries
        How often a round is run at most, where other programs disturb it.
    """

    repeats: int = 9
    rounds: int = 5
    tries: int = 3


def measure_network(cores: Sequence[int], effort: Effort) -> MeasuredLink:
    """Measure gloo between two processes, each on its core."""
    (link,) = measure_links(LinkRequest(cores=tuple(cores), repeats=effort.repeats))
    return link


def measure_layers(network: str, core: int, gpu: str, folder: Path, effort: Effort) -> Path:
    """Profile a network on a core and write the profile as ``GPU.txt``.

    Parameters
    ----------
    network
        Name of a module of ``feeds``.
    core, gpu
        Where, and what it stands for; a competitor runs there if that is the half core.
    folder
        Where to write.
    """
    request = Request(
        model=f"{FEEDS}{network}:network",
        input=f"{FEEDS}{network}:minibatch",
        threads=1,
        shared_core=gpu == HALF,
        repeats=effort.repeats,
        warm_up=2,
        minibatches=feeds.MINIBATCHES,
    )
    with ExitStack() as stack:
        if gpu == HALF:
            stack.enter_context(half_speed(core))
        stack.enter_context(on_core(core))
        document = profile(request, _ignore, _ignore)
    return _write(document, folder, f"{gpu}.txt")


def _ignore(*_: object) -> None:
    """Hear a note, or how far it is."""


def _write(document: ProfileDocument, folder: Path, name: str) -> Path:
    text, _ = write_files(
        folder,
        {
            name: format_profile(document.graph(Path(name).stem)),
            document_path(Path(name)).name: document.dumps(),
        },
    )
    return text


def write_cluster(gpus: Sequence[str], link: MeasuredLink, folder: Path) -> Path:
    """Write ``cluster.yaml``: one server whose GPUs are cores, with the measured link."""
    measured = Link(link.latency_s, link.bandwidth_bytes_per_s)
    stated = ClusterText.model_validate(
        {
            "servers": [
                {
                    "name": "Server0",
                    "bandwidth_bytes_per_s": measured.bandwidth_bytes_per_s,
                    "gpus": [
                        {"gpu": gpu, "count": gpus.count(gpu), "profile": f"{gpu}.txt"}
                        for gpu in dict.fromkeys(gpus)
                    ],
                }
            ]
        }
    )
    text = format_cluster_yaml(with_links(stated, {"Server0": measured}, {}))
    (path,) = write_files(folder, {"cluster.yaml": text})
    return path
