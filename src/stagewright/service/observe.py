"""Metrics for Prometheus and one line of JSON per event."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SOLVE_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800)
QUIET = ("/healthz", "/readyz", "/metrics")


class Metrics:
    """All metrics of one service.

    Parameters
    ----------
    queued, running
        Asked whenever somebody looks.
    """

    def __init__(self, queued: Callable[[], float], running: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self.jobs = self._counter("jobs_ended", "Jobs that ended.", ["kind", "state"])
        self.accepted = self._counter("jobs_accepted", "Jobs that were queued.", ["kind"])
        self.requests = self._counter("requests", "Requests.", ["method", "route", "status"])
        self.request_s = self._histogram("request_seconds", "Time to answer.", SECONDS, ["route"])
        self.solve_s = self._histogram("solve_seconds", "Time of a run.", SOLVE_SECONDS, ["kind"])
        for name, text, ask in (
            ("jobs_queued", "Jobs that wait.", queued),
            ("jobs_running", "Solves that run.", running),
        ):
            Gauge(f"stagewright_{name}", text, registry=self.registry).set_function(ask)

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"stagewright_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], labels: list[str]
    ) -> Histogram:
        return Histogram(
            f"stagewright_{name}", text, labels, buckets=buckets, registry=self.registry
        )

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class Observed:
    """Middleware that counts, times and logs each request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._log = structlog.get_logger("stagewright.http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(scope["method"], route, str(status)).inc()
        self._metrics.request_s.labels(route).observe(seconds)
        if scope["path"] not in QUIET:
            self._log.info(
                "request",
                method=scope["method"],
                path=scope["path"][:200],
                status=status,
                ms=round(seconds * 1000, 1),
            )


def log_as_json() -> None:
    """Write all logs, also those of libraries, as lines of JSON on stderr."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.dict_tracebacks,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(allow=set())],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers, root.level = [handler], logging.INFO
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = name != "uvicorn.access"
