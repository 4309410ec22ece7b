"""From the values of the variables to a plan."""

from __future__ import annotations

from collections.abc import Callable

from ortools.sat.python import cp_model

from stagewright.formulation.assemble import with_inputs
from stagewright.formulation.cpsat.variables import Linear, Variables
from stagewright.formulation.keep_activations import keep_activations
from stagewright.model.plan import Plan, Stage

Read = Callable[[Linear | cp_model.BoolVarT], int]


def read_plan(variables: Variables, read: Read, planner: str) -> Plan:
    """Return the plan that ``read`` gives the values of; every slot in use is a stage."""
    v = variables
    problem, blocks = v.formulation.problem, v.formulation.graph.blocks
    stages = []
    for k in v.slots:
        here = [b for b in v.blocks if read(v.upto(b, k)) > read(v.upto(b, k - 1))]
        if here:
            nodes = tuple(problem.instance.nodes[x] for b in here for x in blocks[b])
            replicas = tuple(read(v.count[k][g]) for g in v.groups)
            does = any(does and all(map(read, choice)) for does, choice in v.recomputes(k))
            stages.append(Stage(nodes, replicas, does))
    return keep_activations(problem, Plan(with_inputs(problem.instance, stages), planner))
