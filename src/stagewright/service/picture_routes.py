"""How the plan of a job looks: the layer graph, the report, and its life in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Query, Response

from stagewright.model.evaluate import evaluate
from stagewright.model.plan_schema import PlanDocument
from stagewright.report.page.build import render_report
from stagewright.report.page.facts import facts_of
from stagewright.report.svg import draw_plan
from stagewright.service.guard import FILE_POLICY, REPORT_POLICY
from stagewright.service.intake import OverLimit
from stagewright.service.plan_routes import open_plan, plan_text
from stagewright.service.state import JobId, Service, Shared
from stagewright.service.strict import StrictRoute, responses
from stagewright.simulation import Links, Order, Pace, Simulation, conditions_of, simulate
from stagewright.simulation.summary import summary
from stagewright.simulation.trace import chrome_trace

MOST_PASSES = 200_000
"""Minibatches times GPUs of one simulation: some seconds of work."""

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["plans"])
_READING = responses(404, 409, 422)


def _gives(kind: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {}}}, **_READING}


async def _drawn(service: Service, draw: Callable[[], str], kind: str, policy: str) -> Response:
    """Draw beside the event loop, and not too much at once."""
    text = await anyio.to_thread.run_sync(draw, limiter=service.builders)
    return Response(text, media_type=kind, headers={"Content-Security-Policy": policy})


@router.get("/jobs/{job_id}/svg", response_class=Response, responses=_gives("image/svg+xml"))
async def svg(job_id: JobId, service: Shared) -> Response:
    """Return the layer graph coloured by stage."""

    def draw() -> str:
        problem, plan = open_plan(service, job_id)
        judged = evaluate(problem.instance, plan, problem.cost_model)
        return draw_plan(problem.instance, plan, judged)

    return await _drawn(service, draw, "image/svg+xml", FILE_POLICY)


@router.get("/jobs/{job_id}/report", response_class=Response, responses=_gives("text/html"))
async def report(job_id: JobId, service: Shared) -> Response:
    """Return the report: one page that needs nothing else, as ``stagewright report`` writes it."""

    def draw() -> str:
        document = PlanDocument.model_validate_json(plan_text(service, job_id))
        return render_report(facts_of(document))

    return await _drawn(service, draw, "text/html; charset=utf-8", REPORT_POLICY)


Minibatches = Annotated[
    int | None, Query(ge=1, le=10_000, description="As many as show a steady state, if not given")
]
Kind = Annotated[Order, Query(description="How forward and backward passes take turns")]
Shares = Annotated[Links, Query(description="Which links are shared: own, cards or ports")]


@router.get("/jobs/{job_id}/simulation", responses=_READING)
async def simulation(
    job_id: JobId,
    service: Shared,
    minibatches: Minibatches = None,
    order: Kind = Order.ONE_F_ONE_B,
    links: Shares = Links.CARDS,
) -> dict[str, Any]:
    """Run the plan in time: period in steady state, fill, drain, and how each GPU spends it."""

    def run() -> dict[str, Any]:
        found, formula_s, _ = _simulate(service, job_id, minibatches, order, links)
        return summary(found, formula_s)

    return await anyio.to_thread.run_sync(run, limiter=service.builders)


@router.get("/jobs/{job_id}/trace", response_class=Response, responses=_gives("application/json"))
async def trace(
    job_id: JobId,
    service: Shared,
    minibatches: Minibatches = 16,
    order: Kind = Order.ONE_F_ONE_B,
    links: Shares = Links.CARDS,
) -> Response:
    """Return such a run as a trace for ui.perfetto.dev."""

    def run() -> str:
        found, _, servers = _simulate(service, job_id, minibatches, order, links)
        return chrome_trace(found, servers)

    return await _drawn(service, run, "application/json", FILE_POLICY)


def _simulate(
    service: Service, job_id: str, minibatches: int | None, order: Order, links: Links
) -> tuple[Simulation, float, tuple[str, ...]]:
    """Return a run, the period that the cost model states, and the names of the servers."""
    problem, plan = open_plan(service, job_id)
    if (minibatches or 0) * plan.gpu_count > MOST_PASSES:
        raise OverLimit(
            f"{minibatches} minibatches on {plan.gpu_count} GPUs are too many here; expected at "
            f"most {MOST_PASSES // plan.gpu_count:,}"
        )
    conditions = conditions_of(problem.cost_model, links)
    found = simulate(problem.instance, plan, conditions, Pace(order), minibatches)
    judged = evaluate(problem.instance, plan, problem.cost_model)
    return found, judged.period_s, problem.instance.cluster.servers
