"""Who may call, and how much they may send: checked before anything reads a request."""

from __future__ import annotations

import hashlib
import hmac
import json
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stagewright.service.config import Config, is_loopback

COOKIE = "stagewright"
PUBLIC = ("/", "/healthz", "/readyz", "/openapi.json", "/v1/session")
"""Answered without the token: they tell nothing of any job. So are the files of the page."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PAGE_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'"
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "sandbox allow-scripts allow-popups allow-downloads allow-modals"
)
"""The report has a stricter policy of its own inside; this one also keeps it from the service."""

FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Guard:
    """Middleware that refuses strangers, foreign hosts and bodies that are too large."""

    def __init__(self, app: ASGIApp, config: Config) -> None:
        self._app = app
        self._token = None if config.token is None else config.token.encode()
        self._only_local = config.token is None
        self._most = config.limits.body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    out.setdefault(name, value)
                out.setdefault("Content-Security-Policy", PAGE_POLICY)
                out.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope["path"], headers)
        if refusal is None:
            await self._app(scope, self._counted(receive), send_with_headers)
            return
        status, kind, text = refusal
        await _answer(send_with_headers, status, {"error": {"kind": kind, "message": text}})

    def _refusal(self, path: str, headers: Headers) -> tuple[int, str, str] | None:
        """Return status, kind and message if a request is refused."""
        if self._only_local and not is_loopback(_host(headers.get("host", ""))):
            text = "this service answers to names of this machine only, such as 127.0.0.1"
            return 421, "host", text
        if not self._knows(path, headers):
            return 401, "token", "expected 'Authorization: Bearer TOKEN' with this service's token"
        if headers.get("content-encoding", "identity") != "identity":
            return 415, "encoding", "compressed bodies are not accepted"
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length[:12]) > self._most:
            return 413, "limit", self._too_large
        return None

    @property
    def _too_large(self) -> str:
        return f"the body is larger than {self._most:,} bytes"

    def _knows(self, path: str, headers: Headers) -> bool:
        """Whether a caller has the token, or needs none."""
        if self._token is None or path in PUBLIC or path.startswith("/static/"):
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and same(given.strip().encode(), self._token):
            return True
        return same(_cookie(headers), session_value(self._token))

    def _counted(self, receive: Receive) -> Receive:
        """Return ``receive`` that gives up when a body without a stated length grows too large."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise HTTPException(413, self._too_large)
            return message

        return counted


def same(given: bytes, expected: bytes) -> bool:
    """Compare in a time that tells nothing of where two secrets differ, nor how long they are."""
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())


def session_value(token: bytes) -> bytes:
    """Return what the page's cookie holds: it proves the token without telling it."""
    return hmac.new(token, b"stagewright page", hashlib.sha256).hexdigest().encode()


def _cookie(headers: Headers) -> bytes:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return b""
    return b"" if found is None else found.value.encode()


def _host(text: str) -> str:
    try:
        return urlsplit(f"//{text}").hostname or ""
    except ValueError:
        return ""


async def _answer(send: Send, status: int, body: dict[str, object]) -> None:
    text = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
