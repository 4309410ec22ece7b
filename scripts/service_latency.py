"""How long GET of a job takes at a steady rate while a solve runs, beside an empty handler.

Both servers run on this machine, one after the other, each beside the same solve in the service's
worker, and take requests at the same times. The ratio of their 95th percentiles is what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from stagewright.service.client import Client

EMPTY = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get("/v1/jobs/{job_id}")
def job(job_id: str): return {}
uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"""


KEPT = 20
"""Connections that are kept open."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def load(url: str, rate_per_s: float, seconds: float) -> list[float]:
    """Send requests at fixed times, whether or not earlier ones are answered; return latencies.

    Connections are kept and taken in turn. A client library would need more of the machine than
    the service does.
    """
    target = urlsplit(url)
    request = f"GET {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\n\r\n".encode()
    opened = [await asyncio.open_connection(target.hostname, target.port) for _ in range(KEPT)]
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for pair in opened:
        free.put_nowait(pair)
    taken: list[float] = []
    began = time.perf_counter()

    async def one(due: float) -> None:
        await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
        reader, writer = await free.get()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200 "), head  # noqa: S101 - a run that measures errors
        await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        taken.append(time.perf_counter() - began - due)
        free.put_nowait((reader, writer))

    await asyncio.gather(*(one(k / rate_per_s) for k in range(int(rate_per_s * seconds))))
    for _, writer in opened:
        writer.close()
    return taken


def p95_ms(latencies_s: list[float]) -> float:
    """Return the 95th percentile in milliseconds."""
    return 1000 * statistics.quantiles(latencies_s, n=20)[-1]


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("request", type=Path, help="a planning request (JSON) that runs long")
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    service, empty = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        database = f"sqlite:///{folder}/jobs.sqlite"
        command = [sys.executable, "-m", "stagewright", "serve", "--port", str(service)]
        command += ["--database", database, "--threads", "1"]
        running = [
            subprocess.Popen(command, stderr=subprocess.DEVNULL),  # noqa: S603 - our own
            subprocess.Popen([sys.executable, "-c", EMPTY, str(empty)]),  # noqa: S603 - our own
        ]
        try:
            measure(service, empty, options)
        finally:
            for process in running:
                process.terminate()
                process.wait()


def measure(service: int, empty: int, options: argparse.Namespace) -> None:
    """Take turns, so that whatever else the machine does meets both."""
    client = Client(f"http://127.0.0.1:{service}")
    job = client.post("/v1/jobs", json.loads(options.request.read_text()), "one")["id"]
    Client(f"http://127.0.0.1:{empty}").fetch("GET", "/v1/jobs/x")
    while client.job(job)["state"] != "running":
        time.sleep(0.1)
    print(f"load averages before: {os.getloadavg()}, cores: {os.cpu_count()}")  # noqa: T201
    ratios = []
    for number in range(options.rounds):
        found = {}
        for name, port in (("empty", empty), ("service", service)):
            url = f"http://127.0.0.1:{port}/v1/jobs/{job}"
            found[name] = asyncio.run(load(url, options.rate, options.seconds))
        ratios.append(p95_ms(found["service"]) / p95_ms(found["empty"]))
        print(  # noqa: T201
            f"round {number + 1}: p95 service {p95_ms(found['service']):.1f} ms, empty handler "
            f"{p95_ms(found['empty']):.1f} ms, ratio {ratios[-1]:.2f}; median service "
            f"{1000 * statistics.median(found['service']):.1f} ms, empty "
            f"{1000 * statistics.median(found['empty']):.1f} ms"
        )
    assert client.job(job)["state"] == "running", "the solve ended too early"  # noqa: S101
    print(f"median ratio {statistics.median(ratios):.2f}; load after: {os.getloadavg()}")  # noqa: T201
    client.fetch("DELETE", f"/v1/jobs/{job}")


if __name__ == "__main__":
    main()
