"""The application: routes, middleware, and what starts and ends with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Annotated

import sqlalchemy as sql
from fastapi import APIRouter, FastAPI, Form, HTTPException, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.types import Lifespan

from stagewright import __version__
from stagewright.service import job_routes, picture_routes, plan_routes
from stagewright.service.config import Config
from stagewright.service.guard import COOKIE, Guard, same, session_value
from stagewright.service.observe import Observed
from stagewright.service.state import Service, Shared
from stagewright.service.store import Store
from stagewright.service.strict import add_error_handlers
from stagewright.service.views import ErrorView, HealthView

STATIC = Path(str(resources.files("stagewright.service"))) / "static"

router = APIRouter(tags=["service"])


@router.get("/healthz")
async def health() -> HealthView:
    """Tell that the process answers."""
    return HealthView(status="ok")


@router.get("/readyz", responses={503: {"model": ErrorView}})
def ready(service: Shared) -> HealthView:
    """Tell whether jobs can be taken: the database answers and the workers are at work."""
    if service.changes.closed or not service.supervisor.alive:
        raise HTTPException(503, "the service is closing")
    try:
        service.store.counts()
    except sql.exc.SQLAlchemyError:
        raise HTTPException(503, "the database does not answer") from None
    return HealthView(status="ready")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(service: Shared) -> Response:
    """Return metrics in Prometheus' text format."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.post("/v1/session", status_code=303, include_in_schema=False)
async def sign_in(token: Annotated[str, Form(max_length=1000)], service: Shared) -> Response:
    """Give the page a cookie, for a browser sends no header with a link."""
    expected = service.config.token
    if expected is not None and not same(token.encode(), expected.encode()):
        raise HTTPException(401, "this is not the service's token")
    answer = RedirectResponse("/", 303)
    if expected is not None:
        value = session_value(expected.encode()).decode()
        answer.set_cookie(COOKIE, value, httponly=True, samesite="strict")
    return answer


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """Return the page."""
    return FileResponse(STATIC / "index.html")


def create_app(config: Config, store: Store) -> FastAPI:
    """Return the application; workers start and end with its lifespan."""
    service = Service.build(config, store)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.changes.attach()
        await run_in_threadpool(service.supervisor.start)
        yield
        service.changes.close()
        await run_in_threadpool(service.supervisor.close)

    app = routes_only(lifespan)
    app.state.service = service
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    add_error_handlers(app, service.pace.retry_after_s)
    app.add_middleware(Guard, config=config)
    app.add_middleware(Observed, metrics=service.metrics)
    return app


def routes_only(lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """Return all routes with nothing behind them: enough for the OpenAPI document."""
    app = FastAPI(
        title="Stagewright",
        version=__version__,
        summary="Plan pipeline-parallel training on GPUs that are not all alike, with proof",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses={401: {"model": ErrorView, "description": "The token is missing or wrong"}},
    )
    for part in (router, job_routes.router, plan_routes.router, picture_routes.router):
        app.include_router(part)
    return app
