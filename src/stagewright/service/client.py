"""The other end of the service: plan there, with the answer that planning here would give.

A request carries an idempotency key, so that it can be sent again whenever the connection breaks
or the service restarts: the job stays one job.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from stagewright.formulation.problem import Problem, Progress, Settings
from stagewright.formulation.run import AGREEMENT, Planned
from stagewright.model.document import PlanDocument, open_document, save_instance
from stagewright.model.errors import (
    DisagreementError,
    DoesNotApply,
    InfeasibleError,
    InputError,
    NoPlanFound,
    StagewrightError,
    printable,
)
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Certificate

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 2.0
GONE_S = 60.0
"""How long a service may be out of reach before the client gives up."""

TIMEOUT_S = 30.0
MOST_BYTES = 256 * 1024 * 1024
TRY_AGAIN = (429, 502, 503, 504)

_ERRORS: dict[str, type[StagewrightError]] = {
    "infeasible": InfeasibleError,
    "no-plan": NoPlanFound,
    "does-not-apply": DoesNotApply,
    "input": InputError,
    "limit": InputError,
    "token": InputError,
    "host": InputError,
    "not-found": InputError,
}


@dataclass(frozen=True)
class Client:
    """A service at a URL.

    Attributes
    ----------
    url
        For example ``http://127.0.0.1:8000``.
    token
        The service's token, or ``None``.
    gone_s
        How long to try again while the service is out of reach.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    gone_s: float = GONE_S

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise InputError(
                f"'{printable(self.url, 80)}' is no URL of a service",
                hint="For example http://127.0.0.1:8000",
            )

    def plan(self, planner: str, problem: Problem, settings: Settings) -> Planned:
        """Plan on the service.

        ``settings.stop`` cancels the job there and keeps its best plan.

        Raises
        ------
        StagewrightError
            As planning here would, or if the service refuses or stays out of reach.
        """
        request = {
            "problem": {
                "instance": save_instance(problem.instance, problem.cost_model).model_dump(
                    mode="json"
                ),
                "cost_model": problem.cost_model.name,
            },
            "planner": planner,
            "search": {
                "time_limit_s": settings.time_limit_s,
                "gap": settings.gap,
                "workers": settings.workers,
                "seed": settings.seed,
                "tidy": settings.tidy,
                "use_fewer_machines": settings.fewer_machines,
                "solver": settings.solver,
            },
        }
        job = self.post("/v1/jobs", request, uuid.uuid4().hex)
        job = self._wait(job["id"], settings)
        if not job["has_plan"]:
            raise _error(job.get("error") or {}, f"the job is {job['state']}")
        return self._planned(problem, job)

    def post(self, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
        """Queue a job, once, however often it has to be sent."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        found: dict[str, Any] = json.loads(
            self.fetch("POST", path, json.dumps(body).encode(), headers)
        )
        return found

    def job(self, job_id: str) -> dict[str, Any]:
        """Return where a job stands."""
        found: dict[str, Any] = json.loads(self.fetch("GET", f"/v1/jobs/{job_id}"))
        return found

    def _wait(self, job_id: str, settings: Settings) -> dict[str, Any]:
        """Return a job when it has ended; tell of its progress, and cancel it if asked to."""
        wait_s, before, cancelled = FIRST_WAIT_S, None, False
        while True:
            job = self.job(job_id)
            if job["state"] not in {"queued", "running"}:
                return job
            figures = (job["state"], job["period_s"], job["bound_s"])
            wait_s = FIRST_WAIT_S if figures != before else min(1.5 * wait_s, LONGEST_WAIT_S)
            before = figures
            if settings.on_progress is not None:
                progress = Progress(settings.wall_s, job["period_s"], job["bound_s"])
                settings.on_progress(progress)
            if not settings.stop.wait(wait_s):
                continue
            if not cancelled:
                self.fetch("DELETE", f"/v1/jobs/{job_id}")
                cancelled = True
            time.sleep(FIRST_WAIT_S)

    def _planned(self, problem: Problem, job: dict[str, Any]) -> Planned:
        """Read the plan, and judge it here under the problem as it was read here."""
        try:
            text = self.fetch("GET", f"/v1/jobs/{job['id']}/plan")
            document = PlanDocument.model_validate_json(text)
        except ValidationError:
            raise InputError("the service answers with no plan document", source=self.url) from None
        _, plan, _ = open_document(document)
        evaluation = evaluate(problem.instance, plan, problem.cost_model)
        apart = abs(evaluation.period_s - document.period_s)
        if evaluation.violations or apart > AGREEMENT * evaluation.period_s:
            raise DisagreementError(
                f"the service finds a period of {document.period_s:.9g} s for its plan, the "
                f"evaluator here {evaluation.period_s:.9g} s; are the versions the same?"
            )
        proof = document.certificate
        certificate = Certificate(
            proof.status, evaluation.period_s, proof.bound_s, proof.wall_s, proof.solver
        )
        baselines = document.baselines
        return Planned(
            problem,
            plan,
            evaluation,
            certificate,
            baselines.single_gpu_s,
            baselines.data_parallel_s,
            job.get("second") or "",
        )

    def fetch(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        """Send a request, again and again while the service is out of reach or has no room.

        Raises
        ------
        StagewrightError
            If the service refuses, or is out of reach for too long.
        """
        wait_s, lost_at = FIRST_WAIT_S, time.monotonic()
        while True:
            try:
                return self._once(method, path, body, headers or {})
            except urllib.error.HTTPError as error:
                if error.code not in TRY_AGAIN:
                    raise _refusal(error) from None
                if error.code == 429:
                    lost_at = time.monotonic()  # it is there, and says when to come back
                reason, wait_s = str(error), _retry_after_s(error, wait_s)
            except (OSError, HTTPException) as error:
                reason = str(getattr(error, "reason", None) or error or type(error).__name__)
            if time.monotonic() - lost_at > self.gone_s:
                raise StagewrightError(
                    f"the service at {self.url} cannot be reached: {printable(reason, 200)}"
                )
            time.sleep(wait_s)
            wait_s = min(1.5 * wait_s, LONGEST_WAIT_S)

    def _once(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        if self.token is not None:
            headers = {**headers, "Authorization": f"Bearer {self.token}"}
        url = self.url.rstrip("/") + path
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - checked
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - checked
            found: bytes = answer.read(MOST_BYTES)
        return found


def _retry_after_s(error: urllib.error.HTTPError, otherwise_s: float) -> float:
    """Return when to come back, as the service says."""
    text = error.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 4 else otherwise_s


def _refusal(error: urllib.error.HTTPError) -> StagewrightError:
    """Return what the service says is wrong as the error that it would be here."""
    try:
        told = json.loads(error.read(MOST_BYTES))["error"]
        return _error(told, str(error))
    except (ValueError, KeyError, TypeError, OSError):
        return StagewrightError(f"the service answers {error.code} {printable(error.reason, 80)}")


def _error(told: dict[str, Any], otherwise: str) -> StagewrightError:
    kind = _ERRORS.get(str(told.get("kind")), StagewrightError)
    message, hint = str(told.get("message", otherwise)), told.get("hint")
    if kind is InputError:
        return InputError(f"the service refuses: {message}", hint=hint)
    error = kind(message if hint is None else f"{message}. {hint}")
    for note in told.get("notes") or ():
        error.add_note(printable(str(note), 1000))
    return error
