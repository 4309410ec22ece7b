"""Reading bodies strictly, and turning every error into one shape."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException as BareHTTPException

from stagewright.model.boundary import describe
from stagewright.model.errors import InputError, StagewrightError, printable
from stagewright.service.intake import OverLimit
from stagewright.service.store import KeyTaken, QueueFull
from stagewright.service.views import ErrorView

_KINDS = {
    400: "syntax",
    404: "not-found",
    405: "method",
    409: "state",
    413: "limit",
    415: "encoding",
}


class _StrictRequest(Request):
    """A request whose body is JSON to the letter: no NaN, no lone surrogates, no deep nesting."""

    async def json(self) -> Any:
        """Parse the body."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise HTTPException(415, "expected a body with 'Content-Type: application/json'")
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise HTTPException(400, f"the body is not JSON: {error}") from None


class StrictRoute(APIRoute):
    """A route that reads its body with :class:`_StrictRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict


def error_answer(
    status: int, kind: str, message: str, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """Return an answer in the shape of :class:`~stagewright.service.views.ErrorView`."""
    known = {key: value for key, value in more.items() if value is not None}
    body = {"error": {"kind": kind, "message": printable(message, 1000), **known}}
    return JSONResponse(body, status, headers)


def add_error_handlers(app: FastAPI, retry_after_s: Callable[[], int]) -> None:
    """Make ``app`` answer every error in one shape.

    Parameters
    ----------
    retry_after_s
        When a caller whose job found no room should come back.
    """

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        place, message = describe(error.errors()[0])
        return error_answer(422, "input", message, place=printable(place, 200))

    @app.exception_handler(BareHTTPException)
    async def refused(_: Request, error: BareHTTPException) -> Response:
        kind = _KINDS.get(error.status_code, "refused")
        headers = dict(error.headers) if error.headers else None
        return error_answer(error.status_code, kind, str(error.detail), headers)

    @app.exception_handler(StagewrightError)
    async def wrong(_: Request, error: StagewrightError) -> Response:
        if not isinstance(error, InputError):
            return error_answer(422, "does-not-apply", str(error))
        place = error.source
        if place is not None and error.line is not None:
            place = f"{place}:{error.line}"
        kind = "limit" if isinstance(error, OverLimit) else "input"
        shown = None if place is None else printable(place, 200)
        return error_answer(422, kind, error.message, place=shown, hint=error.hint)

    @app.exception_handler(QueueFull)
    async def full(_: Request, _error: QueueFull) -> Response:
        headers = {"Retry-After": str(retry_after_s())}
        return error_answer(429, "queue-full", "as many jobs wait as may; try again", headers)

    @app.exception_handler(KeyTaken)
    async def taken(_: Request, _error: KeyTaken) -> Response:
        text = "this Idempotency-Key was used for another request; take a new one"
        return error_answer(409, "idempotency-key", text)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        structlog.get_logger("stagewright.http").exception("an answer failed", exc_info=error)
        return error_answer(500, "bug", "this is a bug of the service; its log says more")


def responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a route for OpenAPI."""
    texts = {
        400: "The body is not JSON",
        401: "The token is missing or wrong",
        404: "There is no such job",
        409: "Not in this state, or not with this Idempotency-Key",
        413: "The body is too large",
        415: "The body is not plain JSON",
        421: "Not a name of this machine",
        422: "Something in the request is wrong",
        429: "The queue is full; Retry-After says when to come back",
    }
    return {code: {"model": ErrorView, "description": texts[code]} for code in (401, 421, *codes)}
