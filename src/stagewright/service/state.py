"""What all routes share: the store, the supervisor, metrics, and those who wait."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
import sqlalchemy as sql
from fastapi import Depends, HTTPException, Path, Request

from stagewright.service.changes import Changes
from stagewright.service.config import Config
from stagewright.service.intake import Intake
from stagewright.service.observe import Metrics
from stagewright.service.store import Result, Store
from stagewright.service.supervisor import Supervisor
from stagewright.service.tables import State

LONGEST_WAIT_S = 60


class Pace:
    """How long jobs take, to tell callers when there may be room."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mean_s = 1.0

    def note(self, wall_s: float) -> None:
        """Take one more job into the mean, in which later jobs count more."""
        with self._lock:
            self._mean_s += 0.2 * (wall_s - self._mean_s)

    def retry_after_s(self) -> int:
        """Return whole seconds until a job or so has ended."""
        return min(LONGEST_WAIT_S, max(1, round(self._mean_s)))


@dataclass(frozen=True)
class Service:
    """Everything that lives as long as the server."""

    config: Config
    store: Store
    supervisor: Supervisor
    metrics: Metrics
    changes: Changes
    intake: Intake
    pace: Pace
    builders: anyio.CapacityLimiter

    @staticmethod
    def build(config: Config, store: Store) -> Service:
        """Put the parts together; nothing runs yet."""
        changes, pace = Changes(), Pace()

        def ended(job: sql.Row[Any], result: Result, wall_s: float) -> None:
            metrics.jobs.labels(job.kind, result.state.value).inc()
            metrics.solve_s.labels(job.kind).observe(wall_s)
            pace.note(wall_s)

        supervisor = Supervisor(store, config.limits, changes.tell, ended)
        metrics = Metrics(
            queued=lambda: store.counts()[State.QUEUED.value], running=lambda: supervisor.running
        )
        return Service(
            config,
            store,
            supervisor,
            metrics,
            changes,
            Intake(config.limits),
            pace,
            anyio.CapacityLimiter(2),
        )


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Shared = Annotated[Service, Depends(_service)]
JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="The job's id")]


def found_job(service: Service, job_id: str) -> sql.Row[Any]:
    """Return a job.

    Raises
    ------
    HTTPException
        With 404, if there is none.
    """
    row = service.store.job(job_id)
    if row is None:
        raise HTTPException(404, f"there is no job '{job_id}'")
    return row
