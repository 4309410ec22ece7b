"""From a request to a problem, within the service's limits. Nothing is read from disk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from stagewright.formulation.problem import Problem
from stagewright.model.cluster import Cluster
from stagewright.model.cluster_file import ClusterText, build_cluster, parse_cluster_yaml
from stagewright.model.constraints_file import ConstraintsText
from stagewright.model.costs import make_cost_model
from stagewright.model.document import check_document, open_instance
from stagewright.model.errors import InputError
from stagewright.model.load import load_instance, read_levels
from stagewright.model.plan import Plan, Stage
from stagewright.model.plan_schema import InstanceDocument, PlanDocument
from stagewright.model.server_file import ClusterFile, read_server_file
from stagewright.model.sources import Given
from stagewright.service.config import Limits
from stagewright.service.requests import OwnStage, ProblemAsInstance, ProblemInTexts

CLUSTER = Path("cluster")
"""What errors call the cluster of a request."""

MOST_CLUSTER_CHARACTERS = 256 * 1024
EDGES_PER_LAYER = 20
MOST_MATCHES = 2_000_000
"""Patterns times layers: each pattern is held against each layer."""


class OverLimit(InputError):
    """A request is understood, but larger than this service accepts."""


@dataclass(frozen=True)
class Intake:
    """Turns requests into problems.

    Attributes
    ----------
    limits
        What is too large.
    """

    limits: Limits

    def problem(self, asked: ProblemInTexts | ProblemAsInstance) -> Problem:
        """Return the problem that is asked for.

        Raises
        ------
        OverLimit
            If it is too large.
        InputError
            If something is wrong with it.
        DoesNotApply
            If the cost model is not defined on the cluster.
        """
        if isinstance(asked, ProblemAsInstance):
            return self._from_instance(asked.instance, asked.cost_model)
        return self._from_texts(asked)

    def own_plan(self, document: PlanDocument) -> tuple[Problem, Plan]:
        """Return what a plan document speaks of: an invalid plan is refused."""
        self._check_instance(document.instance)
        instance, plan, cost_model = check_document(document)
        return Problem(instance, cost_model), plan

    def _from_instance(self, saved: InstanceDocument, cost_model_name: str) -> Problem:
        self._check_instance(saved)
        instance, cost_model = open_instance(saved, cost_model_name)
        cost_model.check(instance.cluster)
        return Problem(instance, cost_model)

    def _check_instance(self, saved: InstanceDocument) -> None:
        self._check_graph(len(saved.graph.nodes), len(saved.graph.edges), "the instance")
        self._check_cluster(
            len(saved.cluster.servers), sum(group.count for group in saved.cluster.groups)
        )

    def _from_texts(self, asked: ProblemInTexts) -> Problem:
        for name, text in asked.profiles.items():
            lines = text.count("\n") + 1
            self._check_graph(text.count(" -- forward_compute_time="), lines, f"'{name}'")
        choice = asked.cost_model
        cost_model = make_cost_model(
            choice.name,
            compression_ratio=choice.activation_compression_ratio,
            overlap=choice.overlap,
            dispatch=choice.dispatch,
        )
        self._check_patterns(asked)
        read = self._cluster(asked)
        self._check_size(read.cluster)
        cost_model.check(read.cluster)
        constraints = asked.constraints.stated()
        instance = load_instance(read, constraints.rules())
        return Problem(constraints.applied_to(instance), cost_model)

    def _cluster(self, asked: ProblemInTexts) -> ClusterFile:
        given, bandwidths = Given(asked.profiles), asked.bandwidths_bytes_per_s
        if (asked.cluster is None) == (asked.machines is None):
            raise InputError("expected either 'cluster' or 'machines'")
        if asked.machines is not None:
            if len(asked.profiles) != 1:
                raise InputError(f"{len(asked.profiles)} profiles; 'machines' goes with one")
            gpus = math.prod(asked.machines)
            self._check_cluster(gpus // asked.machines[0], gpus)
            name = next(iter(asked.profiles))
            return read_levels(name, asked.machines, bandwidths, asked.memory_bytes, given)
        if isinstance(asked.cluster, str) and _is_server_file(asked.cluster):
            lines = asked.cluster.split("\n")
            self._check_cluster(sum(line[:1].strip() != "" for line in lines), 0)
            whole = Given({**asked.profiles, str(CLUSTER): asked.cluster})
            return read_server_file(CLUSTER, bandwidths, asked.memory_bytes, whole)
        if bandwidths or asked.memory_bytes is not None:
            raise InputError(
                "bandwidths_bytes_per_s and memory_bytes are for server files; a cluster.yaml "
                "states bandwidths and memory itself"
            )
        stated = self._yaml(asked.cluster) if isinstance(asked.cluster, str) else asked.cluster
        if stated is None:
            raise InputError("the cluster is missing")
        self._check_cluster(len(stated.servers), 0)
        return build_cluster(stated, CLUSTER, given)

    def _yaml(self, text: str) -> ClusterText:
        if len(text) > MOST_CLUSTER_CHARACTERS:
            raise OverLimit(
                f"the cluster has {len(text):,} characters; expected at most "
                f"{MOST_CLUSTER_CHARACTERS:,}",
                hint="Send it as JSON instead of YAML",
            )
        return parse_cluster_yaml(text, CLUSTER)

    def _check_patterns(self, asked: ProblemInTexts) -> None:
        layers = max(text.count(" -- forward_compute_time=") for text in asked.profiles.values())
        if _patterns(asked.constraints) * layers > MOST_MATCHES:
            raise OverLimit("there are too many demands on single layers for a graph of this size")

    def _check_size(self, cluster: Cluster) -> None:
        self._check_cluster(len(cluster.servers), cluster.gpu_count)

    def _check_graph(self, layers: int, edges: int, what: str) -> None:
        if layers > self.limits.layers or edges > EDGES_PER_LAYER * self.limits.layers:
            raise OverLimit(
                f"{what} has {layers:,} layers; this service plans at most "
                f"{self.limits.layers:,}, with {EDGES_PER_LAYER} edges each"
            )

    def _check_cluster(self, servers: int, gpus: int) -> None:
        if servers > self.limits.servers or gpus > self.limits.gpus:
            raise OverLimit(
                f"the cluster has {servers:,} servers and {gpus:,} GPUs; this service plans for "
                f"at most {self.limits.servers:,} and {self.limits.gpus:,}"
            )


def make_plan(problem: Problem, stages: list[OwnStage]) -> Plan:
    """Return a caller's own plan; it may break every rule, which the evaluator then says.

    Raises
    ------
    InputError
        If a stage uses GPUs that the cluster lacks.
    """
    cluster = problem.instance.cluster
    place = {(cluster.servers[g.server], g.gpu): i for i, g in enumerate(cluster.groups)}
    found = []
    for k, stage in enumerate(stages):
        replicas = [0] * len(cluster.groups)
        for entry in stage.replicas:
            if (entry.server, entry.gpu) not in place:
                raise InputError(
                    f"stage {k} uses '{entry.gpu}' in '{entry.server}', which the cluster lacks"
                )
            replicas[place[entry.server, entry.gpu]] += entry.count
        found.append(Stage(tuple(stage.nodes), tuple(replicas), stage.recompute))
    return Plan(tuple(found), "own")


def _is_server_file(text: str) -> bool:
    """Whether a cluster's text is a server file: its first line opens a server, with no colon."""
    first = text.lstrip("\ufeff\n\r\t ").split("\n", 1)[0]
    return first.startswith("Server") and ":" not in first


def _patterns(constraints: ConstraintsText) -> int:
    together = sum(len(words) for words in constraints.together)
    return len(constraints.pin) + len(constraints.forbid) + together
