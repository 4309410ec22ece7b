"""A real `stagewright serve` in a process of its own, to be called, stopped and killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDED = ("done", "failed", "cancelled")


@dataclass
class Answer:
    """Status, headers and body of an HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class LiveServer:
    """The server; `start` it as often as it is killed."""

    folder: Path
    options: tuple[str, ...] = ()
    token: str | None = None
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    killed: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        return self.folder / "jobs.sqlite"

    @property
    def log(self) -> list[dict[str, Any]]:
        """All lines of the log; a kill may tear one apart."""
        lines = (self.folder / "log").read_text().splitlines()
        return [json.loads(x) for x in lines if not self.killed or (x[:1] + x[-1:]) == "{}"]

    def start(self) -> LiveServer:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if self.token is not None:
            environment["STAGEWRIGHT_SERVE_TOKEN"] = self.token
        command = [sys.executable, "-m", "stagewright", "serve", "--port", str(self.port)]
        command += ["--database", f"sqlite:///{self.database}", *self.options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=log, env=environment
            )
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            try:
                if self.call("GET", "/readyz").status == 200:
                    return self
            except OSError:
                time.sleep(0.05)
        self.process.kill()
        self.process.wait()
        raise AssertionError("the server does not start")

    def end(self, how: int = signal.SIGTERM, within_s: float = 60) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        self.killed |= how == signal.SIGKILL
        return self.process.wait(within_s)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        timeout_s: float = 30,
    ) -> Answer:
        """Send a request; a body that is not bytes is sent as JSON."""
        sent = dict(headers or {})
        data = body
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(  # noqa: S310 - our own server
            self.url + path, data, sent, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())

    def queue(self, body: Any, path: str = "/v1/jobs") -> str:
        answer = self.call("POST", path, body)
        assert answer.status == 202, answer.body
        return str(answer.data["id"])

    def job(self, job_id: str) -> Any:
        return self.call("GET", f"/v1/jobs/{job_id}").data

    def wait(self, job_id: str, until: tuple[str, ...] = ENDED, within_s: float = 150) -> Any:
        """Return the job once it is in one of some states."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            job = self.job(job_id)
            if job["state"] in until:
                return job
            time.sleep(0.05)
        raise AssertionError(f"the job is still {job['state']} after {within_s} s")
