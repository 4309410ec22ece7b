"""The process in which a MILP solver runs: ``python -m stagewright.formulation.milp.worker``.

Reads one line of JSON and a ``ModelProto`` from its input, and writes a line of JSON for each
better solution and for the end. It leaves when its input closes: the parent said stop, or is gone.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from ortools.math_opt import model_pb2
from ortools.math_opt.python import mathopt

NO_PLAN = {
    mathopt.TerminationReason.INFEASIBLE,
    mathopt.TerminationReason.INFEASIBLE_OR_UNBOUNDED,
}

LOOK_S = 0.2

HIGHS_OPTIONS = (
    "mip_feasibility_tolerance",
    "primal_feasibility_tolerance",
    "dual_feasibility_tolerance",
)


def rebuilt(proto: model_pb2.ModelProto) -> tuple[mathopt.Model, list[mathopt.Variable]]:
    """Return the linear model that ``proto`` describes, and its variables in order."""
    model = mathopt.Model(name=proto.name)
    shape = proto.variables
    variables = {
        i: model.add_variable(lb=low, ub=high, is_integer=whole, name=f"x{i}")
        for i, low, high, whole in zip(
            shape.ids, shape.lower_bounds, shape.upper_bounds, shape.integers, strict=True
        )
    }
    bounds = proto.linear_constraints
    rows = {
        i: model.add_linear_constraint(lb=low, ub=high)
        for i, low, high in zip(bounds.ids, bounds.lower_bounds, bounds.upper_bounds, strict=True)
    }
    entries = proto.linear_constraint_matrix
    for i, j, value in zip(entries.row_ids, entries.column_ids, entries.coefficients, strict=True):
        rows[i].set_coefficient(variables[j], value)
    goal = proto.objective.linear_coefficients
    for i, value in zip(goal.ids, goal.values, strict=True):
        model.objective.set_linear_coefficient(variables[i], value)
    return model, list(variables.values())


class Worker:
    """One solve, and the lines it writes."""

    def __init__(self) -> None:
        self._request: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
        wire = sys.stdin.buffer.read(self._request["model_bytes"])
        self._model, self._columns = rebuilt(model_pb2.ModelProto.FromString(wire))
        self._solver = mathopt.SolverType[self._request["solver"]]
        self._deadline = time.monotonic() + self._request["time_limit_s"]
        self._lock = threading.Lock()
        self._file = Path(self._request["folder"]) / "solutions.txt"
        self._told = 0
        self._failure = ""

    def run(self) -> None:
        """Solve and write the answer."""
        threading.Thread(target=self._listen, daemon=True).start()
        result = self._solve_with_care(presolve=True)
        excluded = result is not None and result.termination.reason in NO_PLAN
        if excluded and self._solver == mathopt.SolverType.HIGHS:
            # At tight tolerances HiGHS's presolve calls some feasible models infeasible.
            result = self._solve_with_care(presolve=False)
        if result is None:
            self._write({"error": self._failure})
        else:
            self._conclude(result)

    def _solve_with_care(self, *, presolve: bool) -> mathopt.SolveResult | None:
        """Return the answer at the first tolerance under which the solver does not fail."""
        for tolerance in self._request["tolerances"]:
            try:
                return self._solve(tolerance, presolve=presolve)
            except Exception as error:  # noqa: BLE001 - each solver fails in its own way
                cause = error.__context__ if isinstance(error, AttributeError) else error
                self._failure = str(cause or error)
        return None

    def _solve(self, tolerance: float, *, presolve: bool) -> mathopt.SolveResult:
        return mathopt.solve(
            self._model,
            self._solver,
            params=self._parameters(tolerance, presolve=presolve),
            model_params=self._start(),
            callback_reg=mathopt.CallbackRegistration(events={mathopt.Event.MIP_SOLUTION}),
            cb=self._on_solution,
        )

    def _conclude(self, result: mathopt.SolveResult) -> None:
        found = result.has_primal_feasible_solution()
        self._write(
            {
                "status": result.termination.reason.name,
                "bound": result.termination.objective_bounds.dual_bound,
                "values": result.variable_values(self._columns) if found else None,
            }
        )

    def _parameters(self, tolerance: float, *, presolve: bool) -> mathopt.SolveParameters:
        request = self._request
        parameters = mathopt.SolveParameters(
            time_limit=timedelta(seconds=max(0.1, self._deadline - time.monotonic())),
            random_seed=request["seed"],
            relative_gap_tolerance=request["gap"],
            absolute_gap_tolerance=0.0,
        )
        if self._solver == mathopt.SolverType.HIGHS:
            options = parameters.highs
            options.int_options["threads"] = request["threads"]
            options.string_options["presolve"] = "on" if presolve else "off"
            options.bool_options["mip_improving_solution_save"] = True
            options.string_options["mip_improving_solution_file"] = str(self._file)
            for name in HIGHS_OPTIONS:
                options.double_options[name] = tolerance
        else:
            parameters.threads = request["threads"]
        if self._solver == mathopt.SolverType.GSCIP:
            parameters.gscip.real_params["numerics/feastol"] = tolerance
        if self._solver == mathopt.SolverType.GUROBI:
            for name in ("FeasibilityTol", "IntFeasTol"):
                parameters.gurobi.param_values[name] = str(tolerance)
        return parameters

    def _start(self) -> mathopt.ModelSolveParameters:
        """Return the plan to begin with, for the solvers that take one."""
        values = self._request["start"]
        if values is None:
            return mathopt.ModelSolveParameters()
        hint = mathopt.SolutionHint(variable_values=dict(zip(self._columns, values, strict=True)))
        return mathopt.ModelSolveParameters(solution_hints=[hint])

    def _on_solution(self, data: mathopt.CallbackData) -> mathopt.CallbackResult:
        if data.solution is not None:
            self._write({"values": [data.solution[x] for x in self._columns]})
        return mathopt.CallbackResult()

    def _write(self, message: dict[str, Any]) -> None:
        with self._lock:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    def _listen(self) -> None:
        """Pass on what HiGHS saves, and leave when the input closes."""
        while True:
            ready, _, _ = select.select([sys.stdin], [], [], LOOK_S)
            self._pass_on()
            if ready and not os.read(sys.stdin.fileno(), 1):
                os._exit(0)

    def _pass_on(self) -> None:
        """HiGHS has no callbacks here; it writes "# Columns n" and n lines per solution."""
        if not self._file.exists():
            return
        blocks = self._file.read_text(encoding="utf-8").split("# Columns ")[1:]
        size = len(self._columns)
        complete = [block for block in blocks if block.count("\n") > size]
        if len(complete) > self._told:
            self._told = len(complete)
            lines = complete[-1].splitlines()[1 : size + 1]
            self._write({"values": [float(line.rsplit(" ", 1)[1]) for line in lines]})


def main() -> None:
    """Run one solve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Worker().run()


if __name__ == "__main__":
    main()
