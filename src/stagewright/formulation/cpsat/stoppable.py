"""One solve of CP-SAT that somebody else can stop."""

from __future__ import annotations

import threading
from typing import Any

from ortools.sat.python import cp_model

from stagewright.model.errors import DisagreementError

POLL_S = 0.05


def solve_until(
    solver: cp_model.CpSolver,
    model: cp_model.CpModel,
    stop: threading.Event,
    callback: cp_model.CpSolverSolutionCallback | None = None,
) -> Any:
    """Solve in a thread of its own, so that ``stop`` and Ctrl-C are heeded; return the status.

    Raises
    ------
    DisagreementError
        If the solver does not accept the model.
    """
    solver.parameters.catch_sigint_signal = False
    status: list[Any] = []
    failures: list[BaseException] = []

    def solve() -> None:
        try:
            status.append(solver.solve(model, callback))
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            failures.append(error)

    thread = threading.Thread(target=solve, name="cp-sat", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_S)
        if stop.is_set():
            solver.stop_search()
    if failures:
        raise failures[0]
    if status[0] == cp_model.MODEL_INVALID:
        raise DisagreementError(f"the solver rejects the model: {model.validate()}")
    return status[0]
