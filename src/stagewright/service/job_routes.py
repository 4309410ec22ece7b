"""Jobs: queue one, look at it, wait for it, cancel it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import anyio
import sqlalchemy as sql
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from stagewright.formulation.problem import Problem
from stagewright.model.errors import printable
from stagewright.model.plan import Plan
from stagewright.service.intake import make_plan
from stagewright.service.requests import CompareRequest, PlanRequest, Search
from stagewright.service.state import JobId, Service, Shared, found_job
from stagewright.service.store import OPEN, NewJob
from stagewright.service.strict import StrictRoute, responses
from stagewright.service.tables import State
from stagewright.service.tasks import Task, save_problem, save_stages
from stagewright.service.views import JobsView, JobView, gap, job_view

KEEP_ALIVE_S = 15.0

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["jobs"])

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key with the same request gives the same job, however often sent",
    ),
]
_QUEUING = responses(400, 409, 413, 415, 422, 429)


@router.post("/jobs", status_code=202, responses=_QUEUING)
async def plan(body: PlanRequest, service: Shared, response: Response, key: Key = None) -> JobView:
    """Queue a planning request."""

    def build() -> NewJob:
        problem = service.intake.problem(body.problem)
        search, shown = _search(service, body.search, problem)
        task = Task("plan", save_problem(problem), problem.cost_model.name, (body.planner,), search)
        return NewJob("plan", task.dumps(), _digest(body), key, {**shown, "planner": body.planner})

    return await _queue(service, build, response)


@router.post("/compare", status_code=202, responses=_QUEUING)
async def compare(
    body: CompareRequest, service: Shared, response: Response, key: Key = None
) -> JobView:
    """Queue a comparison of planners, perhaps with a plan of one's own."""

    def build() -> NewJob:
        problem, own = _compared(service, body)
        search, shown = _search(service, body.search, problem)
        planners = tuple(dict.fromkeys(body.planners))
        saved = None if own is None else save_stages(own)
        cost_model = problem.cost_model.name
        task = Task("compare", save_problem(problem), cost_model, planners, search, saved)
        shown["planner"] = ",".join(planners)[:64]
        return NewJob("compare", task.dumps(), _digest(body), key, shown)

    return await _queue(service, build, response)


def _compared(service: Service, body: CompareRequest) -> tuple[Problem, Plan | None]:
    if body.plan is not None:
        return service.intake.own_plan(body.plan)
    assert body.problem is not None  # noqa: S101 - the request's own validator sees to it
    problem = service.intake.problem(body.problem)
    return problem, None if body.stages is None else make_plan(problem, body.stages)


def _search(
    service: Service, asked: Search, problem: Problem
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a search within the service's limits, and what shows of the job."""
    limits, instance = service.config.limits, problem.instance
    time_limit_s = min(asked.time_limit_s, limits.time_limit_s)
    notes = [printable(note) for note in instance.notes]
    if time_limit_s < asked.time_limit_s:
        notes.append(f"this service searches for {time_limit_s:g} s at most")
    search = {
        "time_limit_s": time_limit_s,
        "gap": asked.gap,
        "workers": min(asked.workers, limits.threads),
        "seed": asked.seed,
        "solver": asked.solver,
        "tidy": asked.tidy,
        "fewer_machines": asked.use_fewer_machines,
    }
    shown = {
        "name": printable(instance.graph.name, 200),
        "layers": len(instance.nodes),
        "gpus": instance.cluster.gpu_count,
        "time_limit_s": time_limit_s,
        "notes": notes,
    }
    return search, shown


def _digest(body: PlanRequest | CompareRequest) -> str:
    return hashlib.sha256(f"{type(body).__name__} {body.model_dump_json()}".encode()).hexdigest()


async def _queue(service: Service, build: Callable[[], NewJob], response: Response) -> JobView:
    job = await anyio.to_thread.run_sync(build, limiter=service.builders)
    most = service.config.limits.queued
    row, is_new = await run_in_threadpool(service.store.add, job, most)
    response.headers["Location"] = f"/v1/jobs/{row.id}"
    if is_new:
        service.metrics.accepted.labels(job.kind).inc()
        service.supervisor.look()
    return job_view(row)


@router.get("/jobs")
def jobs(service: Shared, most: Annotated[int, Query(ge=1, le=500)] = 50) -> JobsView:
    """List the latest jobs, latest first."""
    return JobsView(jobs=[job_view(row) for row in service.store.jobs(most)])


@router.get("/jobs/{job_id}", responses=responses(404, 422))
def job(job_id: JobId, service: Shared) -> JobView:
    """Tell where a job stands: its best plan's period so far, the bound and the gap."""
    row = found_job(service, job_id)
    waits = row.state == State.QUEUED
    return job_view(row, service.store.ahead(row.number) if waits else None)


@router.delete("/jobs/{job_id}", responses=responses(404, 409, 422))
def cancel(job_id: JobId, service: Shared) -> JobView:
    """Cancel a job: one that runs ends with its best plan, which stays; one that ended stays so."""
    found_job(service, job_id)
    service.store.ask_to_cancel(job_id)
    service.supervisor.cancel(job_id)
    service.changes.tell(job_id)
    return job_view(found_job(service, job_id))


@router.get(
    "/jobs/{job_id}/events",
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "Server-sent events"},
        **responses(404, 422),
    },
    response_class=StreamingResponse,
)
async def events(
    job_id: JobId,
    service: Shared,
    last: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
) -> StreamingResponse:
    """Follow a job: ``progress`` events are points of its curve, ``state`` events the job itself.

    The stream ends after the last ``state``. With Last-Event-ID it goes on after that point.
    """
    await run_in_threadpool(found_job, service, job_id)
    after = int(last) if last is not None and last.isascii() and last.isdigit() else 0
    stream = _events(service, job_id, min(after, 2**62))
    return StreamingResponse(stream, media_type="text/event-stream")


async def _events(service: Service, job_id: str, after: int) -> AsyncIterator[str]:
    store, changes = service.store, service.changes
    event, version = changes.watch(job_id), -1
    try:
        while True:
            row = await run_in_threadpool(store.job, job_id)
            for point in await run_in_threadpool(store.progress, job_id, after):
                after = point.number
                yield _event("progress", _point(point), after)
            if row is None or changes.closed:
                return
            if row.version != version:
                version = row.version
                yield _event("state", job_view(row).model_dump_json())
            if row.state not in OPEN:
                return
            if not await changes.wait(event, KEEP_ALIVE_S):
                yield ": waiting\n\n"
    finally:
        changes.leave(job_id, event)


def _point(row: sql.Row[Any]) -> str:
    """Return a point of the curve as JSON."""
    point = {key: getattr(row, key) for key in ("attempt", "wall_s", "period_s", "bound_s")}
    return json.dumps({**point, "gap": gap(row.period_s, row.bound_s)})


def _event(name: str, data: str, number: int | None = None) -> str:
    identity = "" if number is None else f"id: {number}\n"
    return f"{identity}event: {name}\ndata: {data}\n\n"
