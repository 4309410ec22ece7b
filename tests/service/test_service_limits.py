"""What is too large, malformed or hostile is refused, and nothing breaks."""

from __future__ import annotations

import http.client
import json

import pytest
from hostile_bodies import SCRIPT, Hostile, hostile_bodies
from live_server import LiveServer
from service_requests import SMALL, chain_text, changed

BODIES = hostile_bodies()


def test_there_are_fifty_hostile_bodies():
    assert len(BODIES) >= 50
    assert len({hostile.name for hostile in BODIES}) == len(BODIES)


@pytest.mark.parametrize("hostile", BODIES, ids=lambda hostile: hostile.name)
def test_a_hostile_body_is_refused_or_inert(server: LiveServer, hostile: Hostile):
    answer = server.call("POST", "/v1/jobs", hostile.body, hostile.headers)
    assert answer.headers["content-type"] == "application/json"
    if not hostile.harmless:
        assert 400 <= answer.status < 500, answer.body
        assert answer.data["error"]["message"]
        assert b"root:" not in answer.body
        return
    assert answer.status == 202
    assert server.wait(answer.data["id"])["state"] == "done"
    picture = server.call("GET", f"/v1/jobs/{answer.data['id']}/svg").body
    assert b"<script" not in picture
    assert b"<img" not in picture


def test_script_in_a_layer_name_is_text_wherever_it_is_shown(server):
    text = chain_text([1, 2], SCRIPT)
    job_id = server.queue(changed(SMALL, profiles={"a.txt": text, "b.txt": text}))
    server.wait(job_id)
    plan = server.call("GET", f"/v1/jobs/{job_id}/plan")
    assert plan.headers["content-type"] == "application/json"
    assert plan.headers["x-content-type-options"] == "nosniff"
    assert SCRIPT in plan.body.decode()
    package = server.call("GET", f"/v1/jobs/{job_id}/package")
    assert package.status == 422


@pytest.mark.parametrize(
    ("request_body", "text"),
    [
        (
            changed(SMALL, profiles={"a.txt": chain_text([1] * 201)}),
            "'a.txt' has 201 layers; this service plans at most 200, with 20 edges each",
        ),
        (
            changed(SMALL, cluster="Server0\n A 65 a.txt\n"),
            "the cluster has 1 servers and 65 GPUs; this service plans for at most 128 and 64",
        ),
        (
            changed(SMALL, cluster="\n".join(f"Server{k}\n A 1 a.txt" for k in range(129))),
            "the cluster has 129 servers and 0 GPUs; this service plans for at most 128 and 64",
        ),
    ],
)
def test_what_is_over_a_limit_is_told(server, request_body, text):
    answer = server.call("POST", "/v1/jobs", request_body)
    assert answer.status == 422
    assert answer.data == {"error": {"kind": "limit", "message": text}}


def test_bad_input_names_place_and_what_to_do(server):
    answer = server.call("POST", "/v1/jobs", changed(SMALL, cluster="Server0\n A 1 c.txt\n"))
    assert answer.status == 422
    assert answer.data == {
        "error": {
            "kind": "input",
            "message": "the profile 'c.txt' of 'A' does not exist, for no profile of that name is "
            "given beside it",
            "place": "cluster:2",
        }
    }


def test_a_body_without_a_stated_length_is_counted(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(
        "POST",
        "/v1/jobs",
        iter([b" " * 100_000] * 15),
        {"Content-Type": "application/json", "Transfer-Encoding": "chunked"},
        encode_chunked=True,
    )
    answer = connection.getresponse()
    assert answer.status == 413
    assert (
        json.loads(answer.read())["error"]["message"] == "the body is larger than 1,048,576 bytes"
    )
    connection.close()


@pytest.mark.slow
def test_a_solve_that_takes_too_much_memory_fails_alone(tmp_path):
    """Its best plan so far is kept."""
    long = {
        "a.txt": chain_text([1 + k % 7 for k in range(200)]),
        "b.txt": chain_text([2 + k % 5 for k in range(200)]),
    }
    request = changed(SMALL, cluster="Server0\n A 8 a.txt\n B 8 b.txt\n", profiles=long)
    server = LiveServer(tmp_path, ("--memory", "0.02", "--threads", "4")).start()
    try:
        job = server.wait(server.queue(request))
        assert (job["state"], job["error"]["kind"]) == ("failed", "memory")
        assert "--memory" in job["error"]["hint"]
        assert job["has_plan"]
        assert server.wait(server.queue(SMALL))["status"] == "optimal"
    finally:
        server.end()
