"""What runs: the GPUs of a plan, the seconds that each takes, and the bytes that it holds."""

from __future__ import annotations

from dataclasses import dataclass

from stagewright.model.errors import InputError
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan
from stagewright.simulation.timeline import Gpu


@dataclass(frozen=True, slots=True)
class StageWork:
    """One stage: who holds it, and its sizes.

    Attributes
    ----------
    ranks
        Its replicas, in the order in which minibatches are dealt.
    input_bytes, output_bytes
        Of what crosses the cut before it and the cut after it, per minibatch, uncompressed.
    recompute
        Whether forward is run again before backward.
    """

    ranks: tuple[int, ...]
    activation_bytes: float
    parameter_bytes: float
    input_bytes: float
    output_bytes: float
    recompute: bool


@dataclass(frozen=True)
class Machine:
    """Stages and GPUs; ``forward_s`` and ``backward_s`` are by rank, one minibatch each."""

    gpus: tuple[Gpu, ...]
    stages: tuple[StageWork, ...]
    forward_s: tuple[float, ...]
    backward_s: tuple[float, ...]

    def recompute_s(self, rank: int) -> float:
        """Seconds of running forward again in the backward pass of one minibatch."""
        return self.forward_s[rank] if self.stages[self.gpus[rank].stage].recompute else 0.0

    def turn_s(self, rank: int) -> float:
        """Seconds of all computing for one minibatch."""
        return self.forward_s[rank] + self.recompute_s(rank) + self.backward_s[rank]


def build_machine(instance: Instance, plan: Plan) -> Machine:
    """Work out who computes what, and how long it takes.

    Raises
    ------
    InputError
        If a stage has no GPU, or a layer is in no stage.
    """
    stage_of = plan.stage_of
    missing = [node for node in instance.nodes if node not in stage_of]
    if missing:
        raise InputError(f"'{missing[0]}' is in no stage; only a whole plan can be simulated")
    for k, stage in enumerate(plan.stages):
        if len(stage.replicas) != len(instance.cluster.groups) or sum(stage.replicas) < 1:
            raise InputError(f"stage {k} has no GPU; only a whole plan can be simulated")
    home = [stage_of[node] for node in instance.nodes]
    gpus = _gpus(instance, plan)
    cuts = _cut_bytes(instance, home, len(plan.stages))
    stages = tuple(
        StageWork(
            ranks=tuple(gpu.rank for gpu in gpus if gpu.stage == k),
            activation_bytes=_sum(instance.activation_bytes, home, k),
            parameter_bytes=_sum(instance.parameter_bytes, home, k),
            input_bytes=cuts[k],
            output_bytes=cuts[k + 1],
            recompute=stage.recompute,
        )
        for k, stage in enumerate(plan.stages)
    )
    groups = instance.cluster.groups
    forward = {
        (k, gpu): _sum(seconds, home, k)
        for gpu, seconds in instance.type_forward_s.items()
        for k in range(len(stages))
    }
    both = {
        (k, gpu): _sum(seconds, home, k)
        for gpu, seconds in instance.type_time_s.items()
        for k in range(len(stages))
    }
    places = [(gpu.stage, groups[gpu.group].gpu) for gpu in gpus]
    return Machine(
        gpus,
        stages,
        tuple(forward[place] for place in places),
        tuple(max(0.0, both[place] - forward[place]) for place in places),
    )


def _sum(values: object, home: list[int], stage: int) -> float:
    return sum(float(x) for x, k in zip(values, home, strict=True) if k == stage)  # type: ignore[call-overload]


def _gpus(instance: Instance, plan: Plan) -> tuple[Gpu, ...]:
    """Number the GPUs server by server, stage by stage within a server, as plan.json does."""
    cluster = instance.cluster
    gpus: list[Gpu] = []
    replicas = [0] * len(plan.stages)
    named = [0] * len(cluster.groups)
    for server, server_name in enumerate(cluster.servers):
        for k, stage in enumerate(plan.stages):
            for g, group in enumerate(cluster.groups):
                for _ in range(stage.replicas[g] if group.server == server else 0):
                    name = f"{group.gpu} {named[g]} in {server_name}"
                    gpus.append(Gpu(len(gpus), k, replicas[k], g, server, name))
                    replicas[k] += 1
                    named[g] += 1
    return tuple(gpus)


def _cut_bytes(instance: Instance, home: list[int], stages: int) -> list[float]:
    """Bytes before stage 0, 1, …, and after the last: a layer crosses until its last reader."""
    cuts = [0.0] * (stages + 1)
    for v, readers in enumerate(instance.consumers):
        last = max((home[w] for w in readers), default=home[v])
        for k in range(home[v] + 1, last + 1):
            cuts[k] += float(instance.activation_bytes[v])
    return cuts
