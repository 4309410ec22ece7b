"""What a job has found: its plan, and the stages as a package; and plans of one's own."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Annotated, Literal

import anyio
from fastapi import APIRouter, HTTPException, Query, Response

from stagewright.emit.package import package_files, staged_graph
from stagewright.formulation.problem import Problem
from stagewright.model.document import check_document
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan
from stagewright.model.plan_schema import PlanDocument
from stagewright.service.intake import make_plan
from stagewright.service.requests import EvaluateRequest
from stagewright.service.state import JobId, Service, Shared, found_job
from stagewright.service.strict import StrictRoute, responses
from stagewright.service.tasks import Task, cut_off_document
from stagewright.service.views import ComparisonView, EvaluationView, evaluation_view

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every file in a package, so that the same plan gives the same bytes."""

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["plans"])
_READING = responses(404, 409, 422)


def plan_text(service: Service, job_id: str) -> str:
    """Return the plan document of a job, or of the best plan so far if its search was cut off.

    Raises
    ------
    HTTPException
        With 404 if there is no such job, with 409 if it has no plan (yet).
    """
    job = found_job(service, job_id)
    if job.kind != "plan":
        raise HTTPException(409, "this job compares planners; it has a comparison, not a plan")
    if not job.has_plan:
        raise HTTPException(409, f"the job is {job.state} and has no plan")
    text = service.store.text(job_id, "document")
    if text is not None:
        return text
    task = Task.loads(service.store.text(job_id, "task") or "")
    incumbent = json.loads(service.store.text(job_id, "incumbent") or "")
    return cut_off_document(task, incumbent["stages"], job.bound_s, incumbent["wall_s"]).dumps()


def open_plan(service: Service, job_id: str) -> tuple[Problem, Plan]:
    """Return the problem and the plan of a job."""
    document = PlanDocument.model_validate_json(plan_text(service, job_id))
    instance, plan, cost_model = check_document(document)
    return Problem(instance, cost_model), plan


@router.get("/jobs/{job_id}/plan", response_model=PlanDocument, responses=_READING)
def plan(job_id: JobId, service: Shared) -> Response:
    """Return the plan document; of a job that runs, that of the best plan so far."""
    return Response(plan_text(service, job_id), media_type="application/json")


Word = Annotated[str, Query(min_length=1, max_length=60)]


@router.get(
    "/jobs/{job_id}/package",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}, **_READING},
)
def package(
    job_id: JobId,
    service: Shared,
    name: Word = "Partitioned",
    arch: Word = "partitioned",
    target: Literal["pipedream", "torch"] = "torch",
) -> Response:
    """Return the stages as PyTorch modules, in a zip file: what ``stagewright emit`` writes."""
    problem, found = open_plan(service, job_id)
    staged = staged_graph(problem.instance, found, "the plan")
    files = package_files(staged, name=name, arch=arch, target=target)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, text in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(f"{arch}/{file}", EPOCH), text)
    headers = {"Content-Disposition": f'attachment; filename="{arch}.zip"'}
    return Response(packed.getvalue(), media_type="application/zip", headers=headers)


@router.get("/jobs/{job_id}/comparison", response_model=ComparisonView, responses=_READING)
def comparison(job_id: JobId, service: Shared) -> Response:
    """Return the table of a comparison."""
    job = found_job(service, job_id)
    text = service.store.text(job_id, "document") if job.kind == "compare" else None
    if text is None:
        raise HTTPException(409, f"the job is {job.state} and has no comparison")
    return Response(text, media_type="application/json")


@router.post("/evaluate", responses=responses(400, 413, 415, 422))
async def evaluate_own(body: EvaluateRequest, service: Shared) -> EvaluationView:
    """Judge a plan of one's own: every figure, and every rule that it breaks."""

    def judge() -> EvaluationView:
        problem, own = _own(service, body)
        return evaluation_view(evaluate(problem.instance, own, problem.cost_model))

    return await anyio.to_thread.run_sync(judge, limiter=service.builders)


def _own(service: Service, body: EvaluateRequest) -> tuple[Problem, Plan]:
    if body.plan is not None:
        return service.intake.own_plan(body.plan)
    assert body.problem is not None  # noqa: S101 - the request's own validator sees to it
    assert body.stages is not None  # noqa: S101
    problem = service.intake.problem(body.problem)
    return problem, make_plan(problem, body.stages)
