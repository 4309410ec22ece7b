"""What a user may demand of any plan, and the memory that a stage needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from stagewright.model.placement import Placement


class Versions(StrEnum):
    """How many versions of the weights a replica keeps.

    ``stash`` is PipeDream's weight stashing (one per minibatch in flight), ``2bw`` is
    PipeDream-2BW's double buffering, ``flush`` is synchronous (one). ``once`` takes the sizes of a
    profile as all that a layer ever holds: nothing is multiplied, whatever is in flight.
    """

    STASH = "stash"
    TWO_BW = "2bw"
    FLUSH = "flush"
    ONCE = "once"


class Optimizer(StrEnum):
    """Optimizer state kept per parameter: none, one or two numbers."""

    SGD = "sgd"
    MOMENTUM = "momentum"
    ADAM = "adam"

    @property
    def states(self) -> int:
        """Copies of the parameters that the optimizer keeps."""
        return {"sgd": 0, "momentum": 1, "adam": 2}[self.value]


class Recompute(StrEnum):
    """Whether stages keep their activations or compute them again in the backward pass.

    A stage that recomputes keeps only its input for each minibatch in flight, and runs forward
    twice (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016). ``auto`` lets the
    planner decide for each stage.
    """

    NEVER = "never"
    ALWAYS = "always"
    AUTO = "auto"

    @property
    def choices(self) -> tuple[bool, ...]:
        """What a stage may do: keep (``False``), recompute (``True``)."""
        return {"never": (False,), "always": (True,), "auto": (False, True)}[self.value]


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """Bytes that one replica of a stage holds under 1F1B."""

    versions: Versions = Versions.STASH
    optimizer: Optimizer = Optimizer.SGD

    def in_flight(self, replicas: int, replicas_from_here: int) -> int:
        """Minibatches in flight at a stage: ``ceil(sum_{j>=k} m_j / m_k)``.

        PipeDream (Narayanan et al., SOSP 2019), section 3.2: the start-up count that keeps
        a 1F1B pipeline full.
        """
        return math.ceil(replicas_from_here / replicas)

    def activation_copies(self, in_flight: int) -> int:
        """Copies of the activations held: one for each minibatch in flight."""
        return 1 if self.versions is Versions.ONCE else in_flight

    def weight_copies(self, in_flight: int) -> int:
        """Copies of the parameters held: versions, one gradient, optimizer state."""
        if self.versions is Versions.ONCE:
            return 1
        versions = {Versions.STASH: in_flight, Versions.TWO_BW: 2, Versions.FLUSH: 1}
        return versions[self.versions] + 1 + self.optimizer.states

    def stage_bytes(self, activation: float, parameters: float, in_flight: int) -> float:
        """Bytes of one replica: in-flight activations and all copies of the weights."""
        copies = self.activation_copies(in_flight)
        return copies * activation + self.weight_copies(in_flight) * parameters

    def recomputed_bytes(
        self, activation: float, parameters: float, in_flight: int, cut_bytes: float
    ) -> float:
        """Bytes of one replica that recomputes.

        The stage's input for each minibatch in flight, the activations of the one minibatch whose
        backward pass runs, and all copies of the weights.
        """
        copies = self.activation_copies(in_flight)
        return copies * cut_bytes + activation + self.weight_copies(in_flight) * parameters


@dataclass(frozen=True, slots=True)
class Rules:
    """Demands on a plan beyond being a partition of the graph.

    Attributes
    ----------
    use_memory
        A stage must fit the memory of every GPU that holds it.
    memory
        How memory is counted.
    use_all
        Every GPU must be used.
    straight_pipeline
        No stage is replicated.
    max_stages, max_replicas, max_gpus
        At most so many stages, replicas of one stage, GPUs in all; or ``None``.
    max_price_per_hour
        At most this sum of the prices of the GPUs in use, or ``None``.
    recompute
        Whether stages recompute their activations.
    placement
        Demands on single layers.
    """

    use_memory: bool = False
    memory: MemoryModel = MemoryModel()
    use_all: bool = False
    straight_pipeline: bool = False
    max_stages: int | None = None
    max_replicas: int | None = None
    max_gpus: int | None = None
    max_price_per_hour: float | None = None
    recompute: Recompute = Recompute.NEVER
    placement: Placement = Placement()

    def most_replicas(self, gpus: int) -> int:
        """Replicas that one stage may have, of so many GPUs."""
        limits = (1 if self.straight_pipeline else gpus, self.max_replicas, self.max_gpus)
        return min(limit for limit in limits if limit is not None)
