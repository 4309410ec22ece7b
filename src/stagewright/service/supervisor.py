"""Threads that take jobs from the store and watch over the processes that solve them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sql
import structlog

from stagewright.service.config import Limits
from stagewright.service.run import Run
from stagewright.service.solve import warm_up
from stagewright.service.store import Result, Store

LOOK_S = 0.5
"""How often an idle thread looks for work that nobody told it of."""

FORGET_EVERY_S = 3600.0

Ended = Callable[[sql.Row[Any], Result, float], None]


class Supervisor:
    """Runs the jobs of a store, as many at once as the limits say.

    Parameters
    ----------
    on_change
        Told the job whenever something about it is new.
    on_end
        Told the job, its result and the seconds it ran.
    """

    def __init__(
        self, store: Store, limits: Limits, on_change: Callable[[str], None], on_end: Ended
    ) -> None:
        self._store = store
        self._limits = limits
        self._on_change = on_change
        self._on_end = on_end
        self._work = threading.Condition()
        self._runs: dict[str, Run] = {}
        self._closing = threading.Event()
        self._log = structlog.get_logger("stagewright.supervisor")
        self._threads = [
            threading.Thread(target=self._serve, name=f"slot-{k}", daemon=True)
            for k in range(limits.workers)
        ]
        self._threads.append(threading.Thread(target=self._forget, name="forget", daemon=True))

    def start(self) -> None:
        """Queue again what an earlier server left running, and begin to work."""
        again, cancelled = self._store.recover()
        if again or cancelled:
            self._log.info("recovered", queued_again=again, cancelled=cancelled)
        threading.Thread(target=warm_up, name="warm-up", daemon=True).start()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End all solves; their jobs are queued again for the next server."""
        self._closing.set()
        with self._work:
            self._work.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def running(self) -> int:
        """Solves that run now."""
        return len(self._runs)

    @property
    def alive(self) -> bool:
        """Whether all threads are at work."""
        return all(thread.is_alive() for thread in self._threads)

    def look(self) -> None:
        """Say that there is a new job."""
        with self._work:
            self._work.notify()

    def cancel(self, job_id: str) -> None:
        """End a solve, if it runs, with the best plan so far."""
        run = self._runs.get(job_id)
        if run is not None:
            run.cancelled.set()

    def _serve(self) -> None:
        """Do one job after the other."""
        while not self._closing.is_set():
            try:
                job = self._store.claim()
            except sql.exc.SQLAlchemyError as error:
                self._log.error("database", error=str(error))
                self._closing.wait(LOOK_S)
                continue
            if job is None:
                with self._work:
                    self._work.wait(LOOK_S)
            else:
                self._do(job)

    def _do(self, job: sql.Row[Any]) -> None:
        """Run one job; whatever goes wrong on our side, it is queued again."""
        self._on_change(job.id)
        self._log.info("started", job=job.id, planner=job.planner, attempt=job.attempts)
        began = time.monotonic()
        try:
            run = Run(job, self._store, self._limits, self._on_change, self._closing)
            self._runs[job.id] = run
            result = run.result()
            if result is None:
                self._store.requeue(job.id)
                self._log.info("queued again", job=job.id)
            else:
                self._end(job, result, time.monotonic() - began)
        except Exception:  # noqa: BLE001 - a job must not be lost to a bug of ours
            self._log.exception("a job could not be run", job=job.id)
            self._put_back(job.id)
        finally:
            self._runs.pop(job.id, None)
            self._on_change(job.id)

    def _end(self, job: sql.Row[Any], result: Result, wall_s: float) -> None:
        self._store.finish(job.id, result)
        self._log.info(
            "ended",
            job=job.id,
            state=result.state.value,
            status=result.values.get("status"),
            error=result.values.get("error"),
            wall_s=round(wall_s, 3),
        )
        self._on_end(job, result, wall_s)

    def _put_back(self, job_id: str) -> None:
        """Queue a job again as soon as the database lets us."""
        while not self._closing.wait(LOOK_S):
            try:
                self._store.requeue(job_id)
            except sql.exc.SQLAlchemyError as error:
                self._log.error("database", error=str(error))
            else:
                return

    def _forget(self) -> None:
        """Delete old jobs, now and then."""
        while True:
            try:
                gone = self._store.forget(time.time() - self._limits.keep_s)
                if gone:
                    self._log.info("deleted old jobs", jobs=gone)
            except sql.exc.SQLAlchemyError as error:
                self._log.error("database", error=str(error))
            if self._closing.wait(FORGET_EVERY_S):
                return
