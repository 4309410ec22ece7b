"""One run of one job: messages become progress in the store, and the last one a result."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sql

from stagewright.service.config import Limits
from stagewright.service.endings import Ending, conclude
from stagewright.service.solve import Solve
from stagewright.service.store import Result, Store
from stagewright.service.tasks import Task

POLL_S = 0.05
RECORD_EVERY_S = 0.25
CANCEL_S = 1.2
"""How long a cancelled solve may take to hand in its best plan; then its process is ended."""

OVERTIME = 1.25
OVERTIME_S = 20.0
"""A solve that has not ended by itself long after its time limit is ended."""


class Run:
    """A job that runs.

    Attributes
    ----------
    cancelled
        Set it to end the run with the best plan so far.
    """

    def __init__(
        self,
        job: sql.Row[Any],
        store: Store,
        limits: Limits,
        on_change: Callable[[str], None],
        closing: threading.Event,
    ) -> None:
        self.cancelled = threading.Event()
        self._job, self._store, self._limits = job, store, limits
        self._on_change, self._closing = on_change, closing
        self._period_s: float | None = job.period_s
        self._bound_s: float | None = job.bound_s
        self._wall_s = 0.0
        self._incumbent: str | None = None
        self._kept = bool(job.has_plan)
        self._recorded = time.monotonic()
        self._is_new = False

    def result(self) -> Result | None:
        """Run to the end; ``None`` if the server closes first."""
        text = self._store.text(self._job.id, "task") or ""
        planners = len(Task.loads(text).planners)
        end = time.monotonic() + OVERTIME * planners * self._job.time_limit_s + OVERTIME_S
        now = self._store.job(self._job.id)
        if now is not None and now.cancel_asked:  # between the claim and this run
            self.cancelled.set()
        solve = Solve(text, self._limits.memory_bytes)
        try:
            message = self._watch(solve, end)
        except EOFError:
            message = {"kind": "gone"}
        finally:
            code, said = solve.end()
        if message is None and self._closing.is_set():
            self._record()
            return None
        return self._conclude(message, code, said)

    def _watch(self, solve: Solve, end: float) -> dict[str, Any] | None:
        """Return the last message, or ``None`` if the process has to be ended."""
        told = False
        while time.monotonic() < end and not self._closing.is_set():
            if self.cancelled.is_set() and not told:
                solve.stop()
                told, end = True, min(end, time.monotonic() + CANCEL_S)
            message = solve.receive(POLL_S)
            if message is not None and not self._take(message):
                return message
            if self._is_new and time.monotonic() - self._recorded > RECORD_EVERY_S:
                self._record()
        return None

    def _take(self, message: dict[str, Any]) -> bool:
        """Take in what a message says of progress; return whether that is what it is."""
        if message["kind"] not in {"progress", "incumbent"}:
            return False
        self._wall_s = message["wall_s"]
        period_s, bound_s = message["period_s"], message.get("bound_s")
        better = period_s is not None and (self._period_s is None or period_s < self._period_s)
        if message["kind"] == "incumbent" and (better or not self._has_plan):
            self._incumbent = json.dumps({"stages": message["stages"], "wall_s": self._wall_s})
        if better:
            self._period_s, self._is_new = period_s, True
        if bound_s is not None and (self._bound_s is None or bound_s > self._bound_s):
            self._bound_s, self._is_new = bound_s, True
        return True

    @property
    def _has_plan(self) -> bool:
        return self._kept or self._incumbent is not None

    def _figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = {
            "period_s": self._period_s,
            "bound_s": self._bound_s,
            "wall_s": self._wall_s,
            "has_plan": self._has_plan,
        }
        if self._incumbent is not None:
            figures["incumbent"] = self._incumbent
        return figures

    def _record(self) -> None:
        self._recorded = time.monotonic()
        figures = self._figures()
        self._store.record(self._job.id, figures, self._point(figures) if self._is_new else None)
        self._is_new = False
        self._on_change(self._job.id)

    def _point(self, figures: dict[str, Any]) -> dict[str, Any]:
        point = {key: figures[key] for key in ("wall_s", "period_s", "bound_s")}
        return {"attempt": self._job.attempts, **point}

    def _conclude(self, message: dict[str, Any] | None, code: int | None, said: str) -> Result:
        if self._is_new or self._incumbent is not None:
            self._record()
        ending = Ending(
            cancelled=self.cancelled.is_set(),
            has_plan=self._has_plan,
            code=code,
            said=said,
            memory_bytes=self._limits.memory_bytes,
        )
        return conclude(message, ending)
