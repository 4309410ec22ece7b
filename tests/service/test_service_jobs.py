"""Jobs: what comes back for a planning request, a comparison and a plan of one's own."""

from __future__ import annotations

import copy
import http.client
import io
import json
import time
import zipfile
from pathlib import Path

import pytest
from live_server import LiveServer
from service_requests import HARD, MINKVGG, SMALL, changed

from stagewright.emit.package import package_files, staged_from_plan
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.run import plan_with_baselines
from stagewright.model.costs import Topology
from stagewright.model.document import read_plan
from stagewright.model.load import load_instance, read_cluster

STAGES = [
    {"nodes": ["node1", "node2"], "replicas": [{"server": "Server0", "gpu": "A", "count": 1}]},
    {"nodes": ["node3", "node4"], "replicas": [{"server": "Server0", "gpu": "B", "count": 2}]},
]


@pytest.fixture(scope="module")
def minkvgg(server: LiveServer) -> str:
    """A job that has ended with a plan of a real network."""
    job_id = server.queue(MINKVGG)
    assert server.wait(job_id)["state"] == "done"
    return job_id


def test_a_plan_is_the_one_that_planning_here_gives(server, minkvgg, tmp_path):
    answer = server.call("GET", f"/v1/jobs/{minkvgg}/plan")
    assert answer.headers["content-type"] == "application/json"
    (tmp_path / "plan.json").write_bytes(answer.body)
    document, _, _, _ = read_plan(tmp_path / "plan.json")
    cluster = read_cluster("hete_files/test_server.txt", [1e8])
    problem = Problem(load_instance(cluster), Topology())
    here = plan_with_baselines("cpsat", problem, Settings(workers=1, time_limit_s=120)).document()
    assert document.period_s == pytest.approx(here.period_s, rel=1e-9)
    assert document.certificate.status == "optimal"
    assert document.baselines == here.baselines
    assert document.instance == here.instance


def test_a_kept_connection_answers_without_waiting_for_acknowledgements(server, minkvgg):
    """With Nagle's algorithm on, each answer but the first would wait for 40 ms."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    taken = []
    for _ in range(40):
        sent = time.perf_counter()
        connection.request("GET", f"/v1/jobs/{minkvgg}")
        assert json.loads(connection.getresponse().read())["state"] == "done"
        taken.append(time.perf_counter() - sent)
    connection.close()
    assert sorted(taken)[10] < 0.030


def test_a_job_tells_what_it_is_and_where_it_stands(server, minkvgg):
    job = server.job(minkvgg)
    assert (job["name"], job["layers"], job["gpus"], job["planner"]) == ("minkvgg", 52, 4, "cpsat")
    assert job["status"] == "optimal"
    assert job["has_plan"]
    assert job["attempts"] == 1
    assert 0 <= job["gap"] < 1e-5
    assert job["bound_s"] <= job["period_s"]
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    assert job in server.call("GET", "/v1/jobs?most=500").data["jobs"]


def test_what_was_assumed_is_a_note(server):
    job_id = server.queue(changed(SMALL, bandwidths_bytes_per_s=[]))
    (note,) = server.wait(job_id)["notes"]
    assert note.startswith("no bandwidth given (-b): assuming 1e+08 bytes/s")


def test_a_longer_search_than_allowed_is_cut_and_noted(server):
    request = copy.deepcopy(SMALL)
    request["search"]["time_limit_s"] = 1e6
    job = server.wait(server.queue(request))
    assert job["time_limit_s"] == 600
    assert job["notes"] == ["this service searches for 600 s at most"]


def test_the_picture_is_an_image_without_scripts(server, minkvgg):
    answer = server.call("GET", f"/v1/jobs/{minkvgg}/svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.body.startswith(b"<svg")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_package_is_what_emit_writes(server, minkvgg, tmp_path):
    query = "name=MinkVgg&arch=minkvgg&target=pipedream"
    answer = server.call("GET", f"/v1/jobs/{minkvgg}/package?{query}")
    plan = tmp_path / "plan.json"
    plan.write_bytes(server.call("GET", f"/v1/jobs/{minkvgg}/plan").body)
    expected = package_files(staged_from_plan(plan), name="MinkVgg", arch="minkvgg")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        found = {Path(x).name: archive.read(x).decode() for x in archive.namelist()}
    assert found == expected
    assert answer.body == server.call("GET", f"/v1/jobs/{minkvgg}/package?{query}").body


def test_a_package_with_a_bad_name_is_refused(server, minkvgg):
    answer = server.call("GET", f"/v1/jobs/{minkvgg}/package?arch=../x")
    assert answer.status == 422
    assert "cannot be the name of a module" in answer.data["error"]["message"]


def test_the_same_key_and_request_give_the_same_job(server):
    headers = {"Idempotency-Key": "once-and-again"}
    first = server.call("POST", "/v1/jobs", SMALL, headers)
    again = server.call("POST", "/v1/jobs", SMALL, headers)
    assert first.data["id"] == again.data["id"]
    assert first.headers["location"] == f"/v1/jobs/{first.data['id']}"


def test_the_same_key_for_another_request_is_refused(server):
    headers = {"Idempotency-Key": "used"}
    server.call("POST", "/v1/jobs", SMALL, headers)
    answer = server.call("POST", "/v1/jobs", changed(SMALL, memory_bytes=1e9), headers)
    assert answer.status == 409
    assert answer.data["error"]["kind"] == "idempotency-key"


def test_a_proof_that_there_is_no_plan_is_an_answer(server):
    job_id = server.queue(changed(SMALL, constraints={"use_all": True, "max_gpus": 1}))
    job = server.wait(job_id)
    assert (job["state"], job["status"]) == ("done", "infeasible")
    assert "no plan exists" in job["error"]["message"]
    assert "- at most 1 GPU may be used (--max-gpus)" in job["error"]["notes"]
    assert server.call("GET", f"/v1/jobs/{job_id}/plan").status == 409


def test_a_planner_that_does_not_apply_fails_with_the_reason(server):
    job = server.wait(server.queue({**SMALL, "planner": "pipedream-dp"}))
    assert (job["state"], job["error"]["kind"]) == ("failed", "does-not-apply")
    assert "it plans for one GPU type" in job["error"]["message"]


def test_levels_of_like_gpus(server):
    problem = {"profiles": {"g.txt": SMALL["problem"]["profiles"]["a.txt"]}, "machines": [2, 2]}
    job = server.wait(server.queue({"problem": problem}))
    assert (job["gpus"], job["status"]) == (4, "optimal")


def test_an_own_plan_is_judged(server):
    answer = server.call("POST", "/v1/evaluate", {"problem": SMALL["problem"], "stages": STAGES})
    assert answer.status == 200
    assert answer.data["valid"]
    assert answer.data["stages"][0]["compute_s"] == pytest.approx(0.009)
    assert answer.data["stages"][1]["compute_s"] == pytest.approx(0.015)


def test_an_own_plan_that_breaks_rules_is_told_which(server):
    wrong = [{**STAGES[0], "nodes": ["node1", "node3"]}, {**STAGES[1], "nodes": ["node2"]}]
    answer = server.call("POST", "/v1/evaluate", {"problem": SMALL["problem"], "stages": wrong})
    assert not answer.data["valid"]
    assert any("node4" in text for text in answer.data["violations"])


def test_a_plan_document_is_judged_as_it_is(server, minkvgg):
    document = server.call("GET", f"/v1/jobs/{minkvgg}/plan").data
    answer = server.call("POST", "/v1/evaluate", {"plan": document})
    assert answer.data["period_s"] == document["period_s"]


def test_an_own_plan_is_compared(server):
    request = {"problem": SMALL["problem"], "stages": STAGES, "planners": ["cpsat", "exact-dp"]}
    job_id = server.queue(request, "/v1/compare")
    assert server.wait(job_id)["state"] == "done"
    found = server.call("GET", f"/v1/jobs/{job_id}/comparison").data
    assert [row["planner"] for row in found["rows"]] == ["own", "cpsat", "exact-dp"]
    own, best, check = found["rows"]
    assert best["ratio"] == check["ratio"] == 1
    assert own["ratio"] == pytest.approx(own["period_s"] / best["period_s"])
    assert found["disagreements"] == []


def test_events_tell_progress_and_end_with_the_job(server, minkvgg):
    answer = server.call("GET", f"/v1/jobs/{minkvgg}/events")
    events = answer.body.decode().strip().split("\n\n")
    assert events[-1].startswith("event: state\n")
    state = json.loads(events[-1].split("data: ")[1])
    assert state["state"] == "done"
    points = [x for x in events if "event: progress" in x]
    assert points
    last = json.loads(points[-1].split("data: ")[1])
    assert last["period_s"] == pytest.approx(state["period_s"])
    number = points[-1].split("\n")[0].removeprefix("id: ")
    rest = server.call("GET", f"/v1/jobs/{minkvgg}/events", headers={"Last-Event-ID": number})
    assert rest.body.count(b"event: progress") == 0
    assert rest.body.count(b"event: state") == 1


def test_a_cancelled_solve_keeps_its_plan_and_frees_its_worker(server):
    hard = server.queue(HARD)
    server.wait(hard, ("running",))
    deadline = time.monotonic() + 20
    while not server.job(hard)["has_plan"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    best = server.call("GET", f"/v1/jobs/{hard}/plan").data
    assert best["certificate"]["status"] == "feasible"
    waiting = server.queue(SMALL)
    assert server.job(waiting)["ahead"] == 0
    began = time.monotonic()
    assert server.call("DELETE", f"/v1/jobs/{hard}").status == 200
    server.wait(waiting, ("running", "done"))
    assert time.monotonic() - began < 2
    job = server.job(hard)
    assert (job["state"], job["status"]) == ("cancelled", "feasible")
    kept = server.call("GET", f"/v1/jobs/{hard}/plan").data
    assert kept["period_s"] <= best["period_s"]
    server.wait(waiting)
    assert server.call("DELETE", f"/v1/jobs/{hard}").data["state"] == "cancelled"


def test_a_job_that_waits_is_cancelled_at_once(server):
    hard = server.queue(HARD)
    waiting = server.queue(SMALL)
    assert server.call("DELETE", f"/v1/jobs/{waiting}").data["state"] == "cancelled"
    server.call("DELETE", f"/v1/jobs/{hard}")
    server.wait(hard)
    assert server.job(waiting)["started_at"] is None


def test_jobs_that_are_not_there(server):
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/plan"), ("GET", "/events")):
        answer = server.call(method, f"/v1/jobs/{'0' * 32}{path}")
        assert (answer.status, answer.data["error"]["kind"]) == (404, "not-found")


def test_health_readiness_and_metrics(server, minkvgg):
    assert server.call("GET", "/healthz").data == {"status": "ok"}
    assert server.call("GET", "/readyz").data == {"status": "ready"}
    text = server.call("GET", "/metrics").body.decode()
    figures = dict(x.rsplit(" ", 1) for x in text.splitlines() if not x.startswith("#"))
    assert float(figures['stagewright_jobs_ended_total{kind="plan",state="done"}']) >= 1
    assert float(figures["stagewright_jobs_queued"]) == 0
    assert 'stagewright_requests_total{method="GET",route="/v1/jobs/{job_id}",status="200"}' in text


def test_every_line_of_the_log_is_json(server, minkvgg):
    ended = [line for line in server.log if line["event"] == "ended" and line["job"] == minkvgg]
    assert [line["state"] for line in ended] == ["done"]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in server.log)
