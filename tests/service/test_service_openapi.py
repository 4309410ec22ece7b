"""The OpenAPI document: its examples work, and no request it allows breaks the service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from live_server import LiveServer

from stagewright.service.app import routes_only

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
DOCS = Path(__file__).parents[2] / "docs" / "service.md"


schema = schemathesis.openapi.from_dict(routes_only().openapi())


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_that_the_document_allows_breaks_the_service(case, server: LiveServer):
    answer = case.call(base_url=server.url, timeout=60)
    assert answer.status_code < 500, answer.text


def test_the_examples_are_accepted(server):
    document = server.call("GET", "/openapi.json").data
    tried = 0
    for path, operations in document["paths"].items():
        body = operations.get("post", {}).get("requestBody")
        if body is None:
            continue
        name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for example in document["components"]["schemas"][name]["examples"]:
            answer = server.call("POST", path, example)
            assert answer.status in {200, 202}, answer.body
            if answer.status == 202:
                assert server.wait(answer.data["id"])["state"] == "done"
            tried += 1
    assert tried == 3


def test_the_commands_of_the_documentation_work(server, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    blocks = [x.split("```")[0] for x in DOCS.read_text().split("```sh\n")[1:]]
    assert len(blocks) == 4
    script = "set -euo pipefail\n" + "\n".join(blocks)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "URL": server.url},
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert '"status":"optimal"' in done.stdout
    assert json.loads((tmp_path / "plan.json").read_text())["certificate"]["status"] == "optimal"
    assert "<html" in (tmp_path / "report.html").read_text()[:200]
    assert json.loads((tmp_path / "simulation.json").read_text())["order"] == "gpipe"
    assert json.loads((tmp_path / "trace.json").read_text())
