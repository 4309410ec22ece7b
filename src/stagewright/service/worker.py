"""The process of one solve: it reads a task, tells of progress, and ends with its answer.

It writes nothing but messages to the server, and leaves when the server is gone. Messages are
dictionaries with a ``kind``: ``progress``, ``incumbent``, and last ``document``, ``comparison``,
``infeasible``, ``no-plan``, ``refused`` or ``crashed``.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from stagewright.formulation.problem import Problem, Progress, Settings
from stagewright.formulation.reasons.infeasible import explain_infeasible
from stagewright.formulation.reasons.words import infeasible_sentences
from stagewright.formulation.run import NoPlanExists, plan_with_baselines
from stagewright.model.errors import (
    DoesNotApply,
    InfeasibleError,
    InputError,
    NoPlanFound,
    StagewrightError,
)
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan
from stagewright.scenarios.compare import compare, comparison_data
from stagewright.service.solve import STOP
from stagewright.service.tasks import Task, load_stages, save_stages

NICE = 10
"""Solves give way to the server that answers requests."""


def main(pipe: Connection, memory_bytes: float) -> None:
    """Run one task; what a forked process does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setpgid(0, 0)
    os.nice(NICE)
    limit = int(memory_bytes) + _address_space_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _Worker(pipe).run(Task.loads(pipe.recv_bytes().decode()))


def _address_space_bytes() -> int:
    """Bytes that this process has mapped already: libraries, not the solve's own."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


class _Worker:
    """One task, and the pipe to the server."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._stop = threading.Event()
        self._sending = threading.Lock()
        self._best_s = float("inf")

    def run(self, task: Task) -> None:
        """Do the task and send the answer."""
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            answer = self._answer(task)
        except MemoryError:
            answer = {"kind": "crashed", "text": "out of memory"}
        except Exception:  # noqa: BLE001 - whatever it is, the server has to hear of it
            answer = {"kind": "crashed", "text": traceback.format_exc()[-4000:]}
        self._send(answer)
        os._exit(0)  # a solver's thread may still run

    def _listen(self) -> None:
        """Heed the server: it says stop, or it is gone."""
        try:
            while True:
                if self._pipe.recv_bytes() == STOP:
                    self._stop.set()
        except (EOFError, OSError):
            os._exit(1)

    def _send(self, message: dict[str, Any]) -> None:
        with self._sending:
            try:
                self._pipe.send_bytes(json.dumps(message).encode())
            except OSError:
                os._exit(1)

    def _answer(self, task: Task) -> dict[str, Any]:
        problem = task.problem()
        settings = Settings(
            **task.search,
            on_progress=self._on_progress,
            on_plan=self._watch(problem),
            stop=self._stop,
        )
        try:
            if task.kind == "compare":
                return {"kind": "comparison", "data": _comparison(task, problem, settings)}
            planned = plan_with_baselines(task.planners[0], problem, settings)
        except StagewrightError as error:
            return _without_plan(error, settings)
        return {"kind": "document", "text": planned.document().dumps(), "second": planned.second}

    def _on_progress(self, progress: Progress) -> None:
        self._send(
            {
                "kind": "progress",
                "wall_s": progress.wall_s,
                "period_s": progress.period_s,
                "bound_s": progress.bound_s,
            }
        )

    def _watch(self, problem: Problem) -> Any:
        """Return a function that sends a plan if it is valid and better than those before."""
        began = time.monotonic()

        def on_plan(plan: Plan) -> None:
            judged = evaluate(problem.instance, plan, problem.cost_model)
            if not judged.valid or judged.period_s >= self._best_s:
                return
            self._best_s = judged.period_s
            self._send(
                {
                    "kind": "incumbent",
                    "wall_s": time.monotonic() - began,
                    "period_s": judged.period_s,
                    "stages": save_stages(plan),
                }
            )

        return on_plan


def _without_plan(error: StagewrightError, settings: Settings) -> dict[str, Any]:
    """Say why there is no plan."""
    if isinstance(error, InfeasibleError):
        notes: list[str] = []
        if isinstance(error, NoPlanExists):
            reasons = explain_infeasible(error.problem, error.planner, settings)
            notes = list(infeasible_sentences(error.problem, reasons))
        return {"kind": "infeasible", "text": str(error), "notes": notes}
    if isinstance(error, NoPlanFound):
        return {"kind": "no-plan", "text": str(error)}
    kinds = {DoesNotApply: "does-not-apply", InputError: "input"}
    return {"kind": "refused", "why": kinds.get(type(error), "failure"), "text": str(error)}


def _comparison(task: Task, problem: Problem, settings: Settings) -> dict[str, Any]:
    """Run all planners; a plan of the caller's own is a row of its own, first."""
    data = comparison_data(compare(problem, settings, task.planners))
    if task.own is None:
        return data
    judged = evaluate(problem.instance, load_stages(task.own, "own"), problem.cost_model)
    periods = [row["period_s"] for row in data["rows"] if row["valid"]]
    best = min([*periods, judged.period_s] if judged.valid else periods, default=None)
    for row in data["rows"]:
        row["ratio"] = _ratio(row["period_s"], best)
    row = {
        "planner": "own",
        "period_s": judged.period_s,
        "claimed_period_s": None,
        "status": "feasible",
        "gap": None,
        "wall_s": None,
        "ratio": _ratio(judged.period_s, best),
        "valid": judged.valid,
        "remark": f"breaks a rule: {judged.violations[0].message}" if judged.violations else "",
    }
    return {**data, "rows": [row, *data["rows"]]}


def _ratio(period_s: float | None, best_s: float | None) -> float | None:
    if period_s is None or best_s is None:
        return None
    return 1.0 if period_s == best_s else period_s / best_s if best_s > 0 else None
