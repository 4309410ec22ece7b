"""Who may call, and what an operator is told."""

from __future__ import annotations

import http.client

import pytest
from live_server import LiveServer
from service_requests import SMALL

from stagewright.cli.app import run
from stagewright.model.errors import InputError
from stagewright.service import guard
from stagewright.service.config import Config

TOKEN = "correct-horse-battery-staple"  # noqa: S105 - of a test


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A server that needs a token."""
    running = LiveServer(tmp_path_factory.mktemp("closed"), token=TOKEN).start()
    yield running
    running.end()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", ["/v1/jobs", "/metrics", "/v1/nothing", "/docs"])
@pytest.mark.parametrize("headers", [{}, bearer("wrong"), bearer(""), {"Cookie": "stagewright=x"}])
def test_strangers_learn_nothing(closed, path, headers):
    answer = closed.call("GET", path, headers=headers)
    assert (answer.status, answer.data["error"]["kind"]) == (401, "token")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/static/page.js", "/openapi.json"])
def test_what_tells_of_no_job_is_open(closed, path):
    assert closed.call("GET", path).status == 200


def test_a_caller_with_the_token_plans(closed):
    answer = closed.call("POST", "/v1/jobs", SMALL, bearer(TOKEN))
    assert answer.status == 202
    assert closed.call("GET", "/v1/jobs", headers=bearer(TOKEN)).status == 200


def test_the_page_signs_in_once(closed):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    wrong = closed.call("POST", "/v1/session", b"token=wrong", form)
    assert wrong.status == 401
    connection = http.client.HTTPConnection("127.0.0.1", closed.port, timeout=30)
    connection.request("POST", "/v1/session", f"token={TOKEN}", form)
    answer = connection.getresponse()
    cookie = answer.getheader("set-cookie", "")
    connection.close()
    assert answer.status == 303
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    value = cookie.split(";")[0]
    assert closed.call("GET", "/v1/jobs", headers={"Cookie": value}).status == 200


def test_secrets_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(
        guard.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or a == b
    )
    assert not guard.same(b"short", b"a much longer secret")
    assert guard.same(b"equal", b"equal")
    assert {len(x) for pair in compared for x in pair} == {32}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "10.0.0.1", "", "[", "a:b:c"]
)
def test_a_page_elsewhere_cannot_reach_a_service_on_this_machine(server, host):
    answer = server.call("GET", "/v1/jobs", headers={"Host": host})
    assert answer.status in {400, 421}


def test_names_of_this_machine_are_answered(server):
    for host in ("localhost:1", "127.0.0.1", "[::1]:8000"):
        assert server.call("GET", "/v1/jobs", headers={"Host": host}).status == 200


def test_beyond_this_machine_a_token_is_needed(capsys):
    assert run(["serve", "--host", "0.0.0.0"]) == 2  # noqa: S104 - refused
    assert capsys.readouterr().err == (
        "stagewright: error: anybody who reaches 0.0.0.0 could use the service. Give a token "
        "(STAGEWRIGHT_SERVE_TOKEN or --token-file), or bind 127.0.0.1\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token": "short"}, "the token has 5 characters; expected 16 or more"),
        ({"token": "x" * 16 + "\n"}, "the token has characters that no HTTP header can carry"),
    ],
)
def test_a_token_that_is_no_good_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        Config(**options)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "the database URL cannot be used"),
        ("sqlite://", "'sqlite' does not keep jobs"),
        ("sqlite:///:memory:", "'sqlite' does not keep jobs"),
        ("mysql://x/y", "'mysql' does not keep jobs"),
        ("sqlite:////nowhere/at/all/x.sqlite", "unable to open database file"),
    ],
)
def test_a_database_that_keeps_nothing_is_refused(url, message, capsys, restored_logging):
    assert run(["serve", "--port", "0", "--database", url]) == 2
    assert message in capsys.readouterr().err


def test_a_token_file(tmp_path, capsys):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    assert run(["serve", "--token", TOKEN, "--token-file", str(path)]) == 2
    assert "both --token and --token-file are given" in capsys.readouterr().err
    path.write_text("short\n")
    assert run(["serve", "--token-file", str(path)]) == 2
    assert "the token has 5 characters" in capsys.readouterr().err
