"""The loop in its order: measure, plan, write, run in turns, compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from stagewright.formulation.problem import Problem, Settings
from stagewright.model.costs import Topology
from stagewright.model.load import load_instance, read_cluster
from stagewright.profile.link_document import MeasuredLink
from stagewright.scenarios.reality.cores import half_speed
from stagewright.scenarios.reality.cuts import Candidate, candidates
from stagewright.scenarios.reality.measured import (
    CORE,
    HALF,
    Effort,
    Replicas,
    measure_layers,
    measure_network,
    write_cluster,
)
from stagewright.scenarios.reality.turns import Runner, Turn, running
from stagewright.scenarios.reality.verdict import Row

CLUSTERS = {"two equal cores": (CORE, CORE), "a core and half a core": (CORE, HALF)}

SEARCH = Settings(workers=2, time_limit_s=30.0)

QUIET = 0.05
"""Share of its cores that other programs may have in a turn that counts as undisturbed."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What one network did on one cluster: a row for each plan.

    Attributes
    ----------
    link, all_reduce_bytes_per_s
        What gloo's messages were measured to take, and the bandwidth of its all-reduce of all
        gradients.
    """

    network: str
    cluster: str
    link: MeasuredLink
    all_reduce_bytes_per_s: float
    rows: tuple[Row, ...]


def close_loop(
    networks: Sequence[str],
    clusters: Sequence[str],
    cores: tuple[int, int],
    folder: Path,
    effort: Effort,
    tell: Tell,
) -> Iterator[Outcome]:
    """Measure, plan and run every network on every cluster; yield each when it is done.

    Parameters
    ----------
    networks
        Modules of ``feeds``.
    clusters
        Keys of :data:`CLUSTERS`.
    cores
        The two cores; the second is the slow one, where one is.
    folder
        Where profiles, clusters, plans and packages are written.
    tell
        Hears what is being done.
    """
    for network in networks:
        for cluster in clusters:
            gpus = CLUSTERS[cluster]
            place = folder / network / "-".join(gpus)
            with ExitStack() as stack:
                if HALF in gpus:
                    stack.enter_context(half_speed(cores[gpus.index(HALF)]))
                tell(f"{network}: measuring gloo between {cluster}")
                link = measure_network(cores, effort)
                tell(f"{network}: profiling on {cluster}")
                documents = measure_layers(network, gpus, cores, place, effort)
                instance = load_instance(read_cluster(write_cluster(gpus, link, place)))
                tell(f"{network}: planning")
                replicas = Replicas.of(documents, link)
                problem = Problem(instance, Topology(overlap=False))
                plans = candidates(problem, SEARCH, replicas)
                tell(f"{network}: running {len(plans)} plans in turns")
                placed = tuple(zip(gpus, cores, strict=True))
                rows = _in_turns(plans, network, placed, place, effort)
            yield Outcome(network, cluster, link, replicas.all_reduce_bytes_per_s, rows)


def _in_turns(
    plans: Sequence[Candidate],
    network: str,
    placed: Sequence[tuple[str, int]],
    folder: Path,
    effort: Effort,
) -> tuple[Row, ...]:
    """Run every plan, and again; the first turn warms up and does not count."""
    most = 1 + effort.rounds * effort.turns * effort.tries
    found: list[list[Turn]] = [[] for _ in plans]
    with ExitStack() as stack:
        runners = [
            stack.enter_context(running(x.planned, network, placed, folder / f"plan{k}", most))
            for k, x in enumerate(plans)
        ]
        for runner in runners:
            runner.run()
        for _ in range(effort.rounds):
            turns = [
                [_least_disturbed(runner, effort.tries) for runner in runners]
                for _ in range(effort.turns)
            ]
            for rounds, of_plan in zip(found, zip(*turns, strict=True), strict=True):
                rounds.append(Turn.mean_of(of_plan))
    return tuple(
        Row(
            x.kind,
            x.stages,
            x.predicted_s,
            tuple(r.period_s for r in rounds),
            max(r.others for r in rounds),
        )
        for x, rounds in zip(plans, found, strict=True)
    )


def _least_disturbed(runner: Runner, tries: int) -> Turn:
    """Run a turn; where other programs have more than :data:`QUIET`, again, and take the best.

    What is chosen by is what others had of the plan's cores, never how long it took.
    """
    found: list[Turn] = []
    while len(found) < tries and not any(x.others <= QUIET for x in found):
        found.append(runner.run())
    return min(found)
