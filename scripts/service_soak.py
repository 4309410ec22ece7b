"""Many jobs from many clients at once, while the server is killed again and again.

Says whether each job was done once, and how long it took. Exits with 1 if one was lost or doubled.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from stagewright.service.client import Client

LOOK_S = 5.0
"""Between two looks of one client; there are as many clients as jobs."""


def chain(times_ms: list[int]) -> str:
    """Return a profile of layers one after the other."""
    lines = [
        f"node{i} -- Linear(8, 8) -- forward_compute_time={t}, backward_compute_time={2 * t}, "
        "activation_size=1000.0, parameter_size=10.0"
        for i, t in enumerate(times_ms, 1)
    ]
    return "\n".join([*lines, *(f"\tnode{i} -- node{i + 1}" for i in range(1, len(times_ms)))])


def request(number: int) -> dict[str, Any]:
    """Return a small planning request, unlike all others."""
    return {
        "problem": {
            "cluster": "Server0\n    A 1 a.txt\n    B 2 b.txt\n",
            "profiles": {"a.txt": chain([1, 2, 3 + number]), "b.txt": chain([2, 3, 5])},
            "bandwidths_bytes_per_s": [1e9],
        },
        "search": {"time_limit_s": 300, "workers": 1},
    }


class Server:
    """A server on a database that outlives it."""

    def __init__(self, folder: Path, processes: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "log"
        self._command = [sys.executable, "-m", "stagewright", "serve", "--port", str(self.port)]
        self._command += ["--database", f"sqlite:///{folder / 'jobs.sqlite'}"]
        self._command += ["--processes", str(processes), "--threads", "1", "--queue", "500"]

    def start(self) -> None:
        """Start it, or start it again."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stderr=log)  # noqa: S603 - our own

    def kill(self) -> None:
        """End it without warning."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ended(self) -> list[str]:
        """Return the jobs whose end the log tells of, each as often as it does."""
        found = []
        for line in self._log.read_text().splitlines():
            if line.startswith("{") and line.endswith("}") and '"event": "ended"' in line:
                found.append(json.loads(line)["job"])
        return found


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2, help="solves at the same time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), options.processes)
        server.start()
        try:
            return soak(server, options.jobs, options.kills)
        finally:
            server.process.terminate()
            server.process.wait()


def soak(server: Server, jobs: int, kills: int) -> int:
    """Queue all jobs at once, kill the server as they are done, and look at what became of them."""
    client = Client(server.url, gone_s=300)
    client.fetch("GET", "/readyz")
    began = time.monotonic()
    ids: dict[int, str] = {}
    ends: dict[int, dict[str, Any]] = {}

    def one(number: int) -> None:
        job = client.post("/v1/jobs", request(number), uuid.uuid4().hex)
        ids[number] = job["id"]
        while job["state"] not in {"done", "failed", "cancelled"}:
            time.sleep(LOOK_S)
            job = client.job(job["id"])
        ends[number] = job

    callers = [threading.Thread(target=one, args=(number,)) for number in range(jobs)]
    for caller in callers:
        caller.start()
    for kill in range(1, kills + 1):
        while len(ends) < jobs * kill // (kills + 1):
            time.sleep(0.05)
        print(f"kill {kill}: {len(ids)} queued, {len(ends)} ended")  # noqa: T201
        server.kill()
        server.start()
    for caller in callers:
        caller.join()
    wall_s = time.monotonic() - began
    known = json.loads(client.fetch("GET", "/v1/jobs?most=500"))["jobs"]
    ended = Counter(server.ended())
    states = Counter((job["state"], job["status"]) for job in ends.values())
    again = sum(job["attempts"] > 1 for job in ends.values())
    once = len(set(ids.values())) == len(known) == jobs and max(ended.values()) == 1
    print(f"{jobs} jobs, {kills} kills, {wall_s:.1f} s: {dict(states)}")  # noqa: T201
    print(f"jobs in the database: {len(known)}; run more than once after a kill: {again}")  # noqa: T201
    print("none lost, none doubled" if once else "LOST OR DOUBLED")  # noqa: T201
    return 0 if once and set(states) == {("done", "optimal")} else 1


if __name__ == "__main__":
    raise SystemExit(main())
