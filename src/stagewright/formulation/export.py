"""The model written out, for other solvers."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf import text_format
from ortools.sat.python import cp_model

from stagewright.formulation.cpsat.build import period_model
from stagewright.formulation.cpsat.planner import formulate, safe_ceiling_s
from stagewright.formulation.milp.mps import to_mps
from stagewright.formulation.milp.planner import CUSHION
from stagewright.formulation.milp.translate import Translation
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.warm_start import warm_start
from stagewright.model.errors import InputError

FORMATS = {
    ".mps": "the mixed-integer linear programme, free MPS",
    ".pb": "the CP-SAT model, binary CpModelProto",
    ".txtpb": "the CP-SAT model, CpModelProto as text",
}
"""File formats by suffix."""


@dataclass(frozen=True)
class Exported:
    """A model in one of :data:`FORMATS`.

    Attributes
    ----------
    content
        Of the file.
    columns, rows
        Variables and constraints.
    ceiling_s
        Period of the plan that the model was built from; it looks for nothing longer.
    """

    content: bytes
    columns: int
    rows: int
    ceiling_s: float


def export_model(problem: Problem, settings: Settings, suffix: str) -> Exported:
    """Return the model that ``cpsat`` and ``milp`` solve; its objective is the period in seconds.

    The best plan of the fast planners bounds the period, so that a shorter one is the only thing
    left to look for, and layers that no such plan separates are one.

    Raises
    ------
    InputError
        If the suffix stands for no format.
    DoesNotApply
        If an MPS is asked of a model that is not linear.
    """
    if suffix not in FORMATS:
        raise InputError(f"'{suffix}' is no format; expected {', '.join(FORMATS)}")
    start = warm_start(problem, settings)
    ceiling = safe_ceiling_s(problem) if start is None or start[0] <= 0 else start[0]
    formulation, work = formulate(problem, ceiling * CUSHION, settings)
    model, variables = period_model(formulation, work, None if start is None else start[1])
    if suffix == ".mps":
        seconds = formulation.unit_s * int(model.proto.variables[variables.period.index].domain[-1])
        linear = Translation(model.proto, seconds)
        text = to_mps(linear.model.export_model())
        return Exported(text.encode(), len(linear.columns), linear.rows, ceiling)
    return _cp_sat(model, formulation.unit_s, suffix, ceiling)


def _cp_sat(model: cp_model.CpModel, unit_s: float, suffix: str, ceiling_s: float) -> Exported:
    proto = type(model.proto)()
    proto.CopyFrom(model.proto)
    proto.objective.scaling_factor = unit_s
    if suffix == ".pb":
        content = proto.SerializeToString()
    else:
        content = text_format.MessageToString(proto).encode()
    return Exported(content, len(proto.variables), len(proto.constraints), ceiling_s)
