"""No job is lost or done twice, however the server ends."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from pathlib import Path

import pytest
from live_server import ENDED, LiveServer
from service_requests import HARD, SMALL, chain_text, changed

from stagewright.service.client import Client


def descendants(pid: int) -> list[int]:
    """All processes below one, nearest first."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == pid:
                found.append(int(entry.name))
    return [*found, *(below for child in found for below in descendants(child))]


def until(true, within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    live = LiveServer(tmp_path_factory.mktemp("restart"), ("--threads", "1", "--queue", "3"))
    yield live.start()
    assert live.end() == 0


@pytest.fixture
def server(one):
    """A server with nothing left to do."""
    yield one
    for job in one.call("GET", "/v1/jobs?most=500").data["jobs"]:
        if job["state"] not in ENDED:
            one.call("DELETE", f"/v1/jobs/{job['id']}")
            one.wait(job["id"])


def running_with_plan(server: LiveServer) -> str:
    job_id = server.queue(HARD)
    until(lambda: server.job(job_id)["has_plan"], 30)
    return job_id


def test_a_job_that_ran_when_the_server_was_killed_is_queued_again(server):
    job_id = running_with_plan(server)
    waiting = server.queue(SMALL)
    workers = descendants(server.process.pid)
    server.end(signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}/status").exists() for pid in workers))
    server.start()
    job = server.wait(job_id, ("running",))
    assert job["attempts"] == 2
    assert job["has_plan"]
    server.call("DELETE", f"/v1/jobs/{job_id}")
    assert server.wait(waiting)["status"] == "optimal"
    assert server.job(job_id)["state"] == "cancelled"


def test_ending_in_an_orderly_way_queues_running_jobs_again_and_ends_streams(server):
    job_id = running_with_plan(server)
    received = []
    stream = threading.Thread(
        target=lambda: received.append(server.call("GET", f"/v1/jobs/{job_id}/events"))
    )
    stream.start()
    time.sleep(0.5)
    began = time.monotonic()
    assert server.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 5
    stream.join(5)
    assert b"event: state" in received[0].body
    server.start()
    assert server.job(job_id)["state"] in {"queued", "running"}
    server.call("DELETE", f"/v1/jobs/{job_id}")
    assert server.wait(job_id)["state"] == "cancelled"


def test_a_worker_that_does_not_listen_is_ended_and_its_plan_kept(server):
    job_id = running_with_plan(server)
    waiting = server.queue(SMALL)
    worker = descendants(server.process.pid)[-1]
    os.kill(worker, signal.SIGSTOP)
    time.sleep(0.5)  # what it said before has arrived
    period_s = server.job(job_id)["period_s"]
    began = time.monotonic()
    server.call("DELETE", f"/v1/jobs/{job_id}")
    server.wait(waiting, ("running", "done"))
    assert time.monotonic() - began < 2
    assert server.job(job_id)["state"] == "cancelled"
    plan = server.call("GET", f"/v1/jobs/{job_id}/plan").data
    assert plan["period_s"] == pytest.approx(period_s)
    assert plan["certificate"]["status"] == "feasible"


def test_a_worker_that_dies_fails_its_job_only(server):
    job_id = running_with_plan(server)
    os.kill(descendants(server.process.pid)[-1], signal.SIGKILL)
    job = server.wait(job_id)
    assert (job["state"], job["error"]["kind"]) == ("failed", "crashed")
    assert server.call("GET", f"/v1/jobs/{job_id}/plan").status == 200
    assert server.wait(server.queue(SMALL))["status"] == "optimal"


def test_a_job_to_be_cancelled_when_the_server_was_killed_stays_cancelled(server):
    job_id = running_with_plan(server)
    worker = descendants(server.process.pid)[-1]
    os.kill(worker, signal.SIGSTOP)
    server.call("DELETE", f"/v1/jobs/{job_id}")
    server.end(signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)  # stopped, it would not notice that its server is gone
    server.start()
    assert server.job(job_id)["state"] == "cancelled"
    assert server.call("GET", f"/v1/jobs/{job_id}/plan").status == 200


def test_a_full_queue_says_when_to_come_back(server):
    hard = running_with_plan(server)
    for _ in range(3):
        server.queue(SMALL)
    answer = server.call("POST", "/v1/jobs", SMALL)
    assert (answer.status, answer.data["error"]["kind"]) == (429, "queue-full")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    server.call("DELETE", f"/v1/jobs/{hard}")


def test_two_servers_do_not_share_a_database(server):
    second = LiveServer(server.folder)
    with pytest.raises(AssertionError, match="another 'stagewright serve' uses this database"):
        second.start()


@pytest.mark.slow
def test_no_job_is_lost_or_doubled_across_kills(server):
    """30 jobs from 6 clients at once, two kills; scripts/service_soak.py does 200 and three."""
    client = Client(server.url, gone_s=60)
    before = len(server.call("GET", "/v1/jobs?most=500").data["jobs"])
    ids: list[str] = []

    def send(numbers: range) -> None:
        for number in numbers:
            profiles = {"a.txt": chain_text([1, 2, 3 + number]), "b.txt": chain_text([2, 3, 5])}
            request = changed(SMALL, profiles=profiles)
            ids.append(client.post("/v1/jobs", request, uuid.uuid4().hex)["id"])

    senders = [threading.Thread(target=send, args=(range(k * 5, k * 5 + 5),)) for k in range(6)]
    for sender in senders:
        sender.start()
    for _ in range(2):
        time.sleep(0.7)
        server.end(signal.SIGKILL)
        server.start()
    for sender in senders:
        sender.join()
    assert len(set(ids)) == len(ids) == 30
    jobs = [server.wait(job_id, ENDED) for job_id in ids]
    assert {job["status"] for job in jobs} == {"optimal"}
    assert len(server.call("GET", "/v1/jobs?most=500").data["jobs"]) == 30 + before
    ended = [line["job"] for line in server.log if line["event"] == "ended"]
    assert len(ended) == len(set(ended))
    assert set(ids) <= set(ended)
