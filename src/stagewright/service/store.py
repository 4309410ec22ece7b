"""Jobs in a database: SQLite, PostgreSQL, or what else SQLAlchemy speaks to.

A job is queued, runs, and ends done, failed or cancelled. Every change of state is one statement
with its condition in it, so that two workers never take the same job and a kill at any moment
leaves each job in one state. Only the server writes here; the processes that solve do not.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from stagewright.service.tables import COLUMNS, JOBS, METADATA, PROGRESS, State, open_engine

OPEN = (State.QUEUED, State.RUNNING)


class QueueFull(Exception):
    """As many jobs wait as may."""


class KeyTaken(Exception):
    """An idempotency key was used before, for another request."""


@dataclass(frozen=True)
class NewJob:
    """A job to be queued.

    Attributes
    ----------
    kind
        ``plan`` or ``compare``.
    task
        What the worker is to do, as JSON.
    digest
        Of the request, to tell whether a repeated request is the same.
    key
        The caller's idempotency key, or ``None``.
    shown
        Columns that only describe the job: name, planner, layers, gpus, notes, limits.
    """

    kind: str
    task: str
    digest: str
    key: str | None
    shown: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes
    ----------
    state
        Done, failed or cancelled.
    values
        Columns to set: status, period_s, bound_s, gap, wall_s, document, error.
    """

    state: State
    values: dict[str, Any]


class Store:
    """All jobs.

    Parameters
    ----------
    url
        Of the database; tables are made if they are not there.
    """

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        METADATA.create_all(self.engine)
        self._adding = threading.Lock()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def add(self, job: NewJob, most_queued: int) -> tuple[sql.Row[Any], bool]:
        """Queue a job, or find the one that the same request has queued before.

        Returns
        -------
        tuple
            The job, and whether it is new.

        Raises
        ------
        QueueFull
            If ``most_queued`` jobs wait.
        KeyTaken
            If the key was used for another request.
        """
        with self._adding, self.engine.begin() as connection:
            known = self._by_key(connection, job)
            if known is not None:
                return known, False
            if self._count(connection, State.QUEUED) >= most_queued:
                raise QueueFull
            values = {
                "id": uuid.uuid4().hex,
                "kind": job.kind,
                "state": State.QUEUED,
                "created_at": time.time(),
                "idempotency_key": job.key,
                "digest": job.digest,
                "task": job.task,
                **job.shown,
            }
            try:
                connection.execute(sql.insert(JOBS).values(values))
            except IntegrityError:
                raise KeyTaken from None
            return self._row(connection, values["id"]), True  # type: ignore[return-value]

    def _by_key(self, connection: sql.Connection, job: NewJob) -> sql.Row[Any] | None:
        if job.key is None:
            return None
        used = JOBS.c.idempotency_key == job.key
        digest = connection.execute(sql.select(JOBS.c.digest).where(used)).scalar_one_or_none()
        if digest is None:
            return None
        if digest != job.digest:
            raise KeyTaken
        return connection.execute(sql.select(*COLUMNS).where(used)).one()

    def _count(self, connection: sql.Connection, state: State) -> int:
        query = sql.select(sql.func.count()).select_from(JOBS).where(JOBS.c.state == state)
        return int(connection.execute(query).scalar_one())

    @staticmethod
    def _row(connection: sql.Connection, job_id: str) -> sql.Row[Any] | None:
        return connection.execute(sql.select(*COLUMNS).where(JOBS.c.id == job_id)).one_or_none()

    def job(self, job_id: str) -> sql.Row[Any] | None:
        """Return what is known of a job apart from its texts."""
        with self.engine.connect() as connection:
            return self._row(connection, job_id)

    def jobs(self, most: int) -> Sequence[sql.Row[Any]]:
        """Return the latest jobs, latest first."""
        query = sql.select(*COLUMNS).order_by(JOBS.c.number.desc()).limit(most)
        with self.engine.connect() as connection:
            return connection.execute(query).all()

    def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state."""
        query = sql.select(JOBS.c.state, sql.func.count()).group_by(JOBS.c.state)
        with self.engine.connect() as connection:
            found: dict[str, int] = dict(connection.execute(query).tuples().all())
        return {state.value: found.get(state.value, 0) for state in State}

    def ahead(self, number: int) -> int:
        """Return how many jobs wait in front of one."""
        waiting = (JOBS.c.state == State.QUEUED) & (JOBS.c.number < number)
        query = sql.select(sql.func.count()).select_from(JOBS).where(waiting)
        with self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def text(self, job_id: str, column: str) -> str | None:
        """Return one of the long texts of a job: task, incumbent or document."""
        query = sql.select(JOBS.c[column]).where(JOBS.c.id == job_id)
        with self.engine.connect() as connection:
            found: str | None = connection.execute(query).scalar_one_or_none()
        return found

    def claim(self) -> sql.Row[Any] | None:
        """Take the job that has waited longest and mark it as running."""
        waiting = JOBS.alias()
        longest = (
            sql.select(waiting.c.id)
            .where(waiting.c.state == State.QUEUED)
            .order_by(waiting.c.number)
            .limit(1)
            .scalar_subquery()
        )
        statement = (
            sql.update(JOBS)
            .where(JOBS.c.id == longest, JOBS.c.state == State.QUEUED)
            .values(
                state=State.RUNNING,
                started_at=time.time(),
                attempts=JOBS.c.attempts + 1,
                version=JOBS.c.version + 1,
            )
            .returning(*COLUMNS)
        )
        with self.engine.begin() as connection:
            return connection.execute(statement).one_or_none()

    def record(self, job_id: str, values: dict[str, Any], point: dict[str, Any] | None) -> None:
        """Note progress of a running job: columns, and a point of its curve."""
        running = (JOBS.c.id == job_id) & (JOBS.c.state == State.RUNNING)
        change = sql.update(JOBS).where(running).values(version=JOBS.c.version + 1, **values)
        with self.engine.begin() as connection:
            connection.execute(change)
            if point is not None:
                connection.execute(sql.insert(PROGRESS).values(job=job_id, **point))

    def finish(self, job_id: str, result: Result) -> bool:
        """End a running job; return whether it was running."""
        return self._change(
            job_id,
            (State.RUNNING,),
            {"state": result.state, "finished_at": time.time(), **result.values},
        )

    def requeue(self, job_id: str) -> bool:
        """Queue a running job again; return whether it was running."""
        return self._change(job_id, (State.RUNNING,), {"state": State.QUEUED})

    def recover(self) -> tuple[int, int]:
        """Put away what a server that is gone left running.

        Returns
        -------
        tuple
            How many jobs are queued again, and how many are cancelled because somebody had asked.
        """
        left = sql.update(JOBS).where(JOBS.c.state == State.RUNNING)
        with self.engine.begin() as connection:
            cancelled = connection.execute(
                left.where(JOBS.c.cancel_asked).values(
                    state=State.CANCELLED, finished_at=time.time(), version=JOBS.c.version + 1
                )
            )
            again = connection.execute(left.values(state=State.QUEUED, version=JOBS.c.version + 1))
            return int(again.rowcount), int(cancelled.rowcount)

    def ask_to_cancel(self, job_id: str) -> bool:
        """Cancel a job that waits, or note on one that runs that it is to end."""
        now = {"state": State.CANCELLED, "finished_at": time.time(), "cancel_asked": True}
        if self._change(job_id, (State.QUEUED,), now):
            return True
        return self._change(job_id, (State.RUNNING,), {"cancel_asked": True})

    def _change(self, job_id: str, states: Sequence[State], values: dict[str, Any]) -> bool:
        here = (JOBS.c.id == job_id) & JOBS.c.state.in_(states)
        statement = sql.update(JOBS).where(here).values(version=JOBS.c.version + 1, **values)
        with self.engine.begin() as connection:
            return connection.execute(statement).rowcount > 0

    def progress(self, job_id: str, after: int = 0) -> Sequence[sql.Row[Any]]:
        """Return the points of a job's curve that come after one."""
        query = (
            sql.select(PROGRESS)
            .where(PROGRESS.c.job == job_id, PROGRESS.c.number > after)
            .order_by(PROGRESS.c.number)
        )
        with self.engine.connect() as connection:
            return connection.execute(query).all()

    def forget(self, before: float) -> int:
        """Delete jobs that ended before a time; return how many."""
        old = sql.select(JOBS.c.id).where(JOBS.c.finished_at < before, JOBS.c.state.not_in(OPEN))
        with self.engine.begin() as connection:
            connection.execute(sql.delete(PROGRESS).where(PROGRESS.c.job.in_(old)))
            return int(connection.execute(sql.delete(JOBS).where(JOBS.c.id.in_(old))).rowcount)
