"""One run of a MILP solver in a process of its own, which can be ended at any moment.

MathOpt offers Python no way to interrupt a solve, so the process ends instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ortools.math_opt.python import mathopt

from stagewright.formulation.problem import Settings
from stagewright.model.errors import InputError

SOLVERS = {
    "highs": "HIGHS",
    "scip": "GSCIP",
    "gurobi": "GUROBI",
    "glpk": "GLPK",
    "xpress": "XPRESS",
}
"""MathOpt's names of the solvers; the wheel of OR-Tools brings the first two."""

BUNDLED = ("highs", "scip")
POLL_S = 0.05
TOLERANCES = (1e-9, 5e-10, 2e-9)
"""HiGHS at times refuses its own answer, which misses the tolerance by a rounding error."""

GRACE_S = 3.0
"""How long the process may take to end by itself once its time is over."""


@dataclass(frozen=True)
class Answer:
    """What the solver said, in the model's own units.

    Attributes
    ----------
    proven
        Whether it says that ``values`` are optimal, or without values that there are none.
    values
        Of all columns in order, or ``None``.
    bound
        Lower bound on the objective, or ``None``.
    """

    proven: bool
    values: Sequence[float] | None
    bound: float | None


def check_solver(name: str) -> str:
    """Return MathOpt's name of a solver.

    Raises
    ------
    InputError
        If MathOpt has none of that name.
    """
    known = [x for x, enum in SOLVERS.items() if enum in mathopt.SolverType.__members__]
    if name not in known:
        raise InputError(f"unknown solver '{name}'; expected {', '.join(known)}")
    return SOLVERS[name]


def solve_apart(
    model: mathopt.Model,
    start: Sequence[float] | None,
    settings: Settings,
    gap: float,
    on_values: Callable[[Sequence[float]], None],
    tolerances: Sequence[float] = TOLERANCES,
) -> Answer:
    """Solve ``model`` in a process that is gone when this returns, however it returns.

    Parameters
    ----------
    start
        Values of all columns to begin with.
    on_values
        Called with each better solution.
    tolerances
        On feasibility; the next one is tried where the solver fails with one.

    Raises
    ------
    InputError
        If the solver is not there or not licensed.
    """
    wire = model.export_model().SerializeToString()
    with tempfile.TemporaryDirectory(prefix="stagewright-") as folder:
        limit_s = max(0.1, settings.time_limit_s - settings.wall_s)
        request = {
            "solver": check_solver(settings.solver),
            "model_bytes": len(wire),
            "folder": folder,
            "time_limit_s": limit_s,
            "threads": min(settings.workers, os.cpu_count() or 1),
            "seed": settings.seed,
            "gap": gap,
            "start": start,
            "tolerances": list(tolerances),
        }
        run = _Run(json.dumps(request).encode() + b"\n" + wire, settings, on_values)
        return run.answer(time.monotonic() + limit_s)


class _Run:
    """The process, and the lines that it has written so far."""

    def __init__(
        self, request: bytes, settings: Settings, on_values: Callable[[Sequence[float]], None]
    ) -> None:
        self._settings = settings
        self._on_values = on_values
        self._request = request
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._values: Sequence[float] | None = None

    def answer(self, deadline: float) -> Answer:
        """Wait for the answer, the deadline or a stop; then end the process."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(x for x in sys.path if x)}
        process = subprocess.Popen(
            [sys.executable, "-m", "stagewright.formulation.milp.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=False,
            start_new_session=True,
        )
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(self._request)  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
            message = self._wait(deadline + GRACE_S)
            if message is None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()  # type: ignore[union-attr]
                message = self._wait(time.monotonic() + GRACE_S, heed_stop=False)
        finally:
            process.kill()
            process.wait()
            reader.join()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()  # type: ignore[union-attr]
        return self._conclude(message)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        for line in process.stdout or ():
            self._lines.put(line.decode())
        self._lines.put(None)

    def _wait(self, deadline: float, *, heed_stop: bool = True) -> dict[str, Any] | None:
        """Take in lines until the last one, the deadline or a stop."""
        while time.monotonic() < deadline and not (heed_stop and self._settings.stop.is_set()):
            try:
                line = self._lines.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if line is None:
                return None
            message: dict[str, Any] = json.loads(line)
            if "status" in message or "error" in message:
                return message
            self._values = message["values"]
            self._on_values(message["values"])
        return None

    def _conclude(self, message: dict[str, Any] | None) -> Answer:
        if message is None:
            return Answer(False, self._values, None)
        if "error" in message:
            if self._settings.solver in BUNDLED:
                return Answer(False, self._values, None)
            raise InputError(
                f"solver '{self._settings.solver}' cannot be used here: {message['error']}",
                hint=f"It has to be installed and licensed; {' and '.join(BUNDLED)} always are",
            )
        reasons = ("OPTIMAL", "INFEASIBLE", "INFEASIBLE_OR_UNBOUNDED")
        return Answer(
            proven=message["status"] in reasons,
            values=message["values"] or self._values,
            bound=message["bound"],
        )
