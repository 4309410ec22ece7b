"""From the options of a command to a planning problem."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stagewright.cli.demands import Demands, all_constraints
from stagewright.cli.option_types import MAX_GPUS

if TYPE_CHECKING:
    from stagewright.formulation.problem import Problem
    from stagewright.model.server_file import ClusterFile


@dataclass(frozen=True)
class Inputs(Demands):
    """The values of ``problem_options``, by their names on the command line."""

    servers: str | None
    file: str | None
    profile: str | None
    machines: tuple[tuple[float, ...], ...]
    bandwidth: tuple[tuple[float, ...], ...]
    memory: tuple[float, ...] | None
    cost_model: str
    activation_compression_ratio: float | None
    no_transfers: bool
    no_overlap: bool
    dispatch: Literal["equal", "proportional"]
    quantile: float | None


def load_problem(inputs: Inputs) -> Problem:
    """Read all files and return the planning problem.

    Raises
    ------
    InputError
        For anything that is wrong with the files or the options.
    """
    from stagewright.formulation.problem import Problem
    from stagewright.model.costs import make_cost_model
    from stagewright.model.errors import InputError
    from stagewright.model.load import load_instance

    if inputs.no_transfers and inputs.activation_compression_ratio is not None:
        raise InputError("--no-transfers and --activation-compression-ratio exclude each other")
    ratio: float | None = inputs.activation_compression_ratio
    if ratio is None and not inputs.no_transfers:
        ratio = 1.0
    cost_model = make_cost_model(
        inputs.cost_model,
        compression_ratio=ratio,
        overlap=not inputs.no_overlap,
        dispatch=inputs.dispatch,
    )
    constraints = all_constraints(inputs)
    read = _read(inputs)
    cost_model.check(read.cluster)
    if read.cluster.gpu_count > MAX_GPUS:
        raise InputError(
            f"the cluster has {read.cluster.gpu_count:,} GPUs; expected at most {MAX_GPUS:,}",
            source=inputs.servers or inputs.file,
        )
    instance = load_instance(read, constraints.rules(), inputs.quantile)
    return Problem(constraints.applied_to(instance), cost_model)


def _read(inputs: Inputs) -> ClusterFile:
    """Read the cluster in whichever way it was given."""
    from stagewright.model.errors import InputError
    from stagewright.model.load import read_cluster, read_levels

    bandwidths = [x for group in inputs.bandwidth for x in group]
    levels = [int(x) for group in inputs.machines for x in group]
    profile, servers = inputs.profile, inputs.servers or inputs.file
    if inputs.servers and inputs.file:
        raise InputError("name the cluster once: either SERVERS or -f")
    if profile is not None and servers is not None:
        raise InputError("both SERVERS and --profile are given; name one of them")
    if inputs.memory is not None and len(inputs.memory) != 1:
        raise InputError("-s takes one number of bytes")
    memory = None if inputs.memory is None else inputs.memory[0]
    if levels and profile is None:
        profile, servers = servers, None
    if profile is not None and servers is None:
        if not levels:
            raise InputError("--profile needs -n, the number of GPUs (or of machines per level)")
        if math.prod(levels) > MAX_GPUS:
            raise InputError(f"more than {MAX_GPUS:,} GPUs (-n); expected at most so many")
        return read_levels(profile, levels, bandwidths, memory)
    if profile is None and servers is not None:
        return read_cluster(servers, bandwidths, memory)
    raise InputError(
        "name a server file, or a profile with -n",
        hint="For example: stagewright plan hete_files/test_server.txt -b 1e9; "
        "or: stagewright plan --profile graph.txt -n 4 -b 1e9",
    )
