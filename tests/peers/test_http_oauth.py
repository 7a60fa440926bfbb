"""Tokens: fetched once for concurrent calls, refreshed with rotation that survives a crash, and never shown."""

import concurrent.futures
import json
import signal
import threading
import urllib.parse

import httpx
import pytest

import gateway as gateways
from processes import PATIENCE, wait_until
from recorder import Answer, Arrived, Recorder

POLICY = """\
version: 1
roles:
  user:
    allow:
      - { service: "machine", requests: ["* /**"] }
      - { service: "person", requests: ["* /**"] }
""" + gateways.NO_LIMITS

CLIENT_SECRET = "client-secret-0123456789"


class TokenServer:
    """An OAuth token server (RFC 6749): hands out tokens, rotates refresh tokens, and can be told to fail."""

    def __init__(self):
        self.lock = threading.Lock()
        self.count = 0
        self.lifetime = 3600
        self.refresh_token = "refresh-0-0123456789"
        self.reused = []  # refresh tokens that came a second time: a real server would end the whole family
        self.trouble: Answer | None = None
        self.recorder = Recorder(self.answer)

    def answer(self, request: Arrived) -> Answer:
        if self.trouble:
            return self.trouble
        form = dict(urllib.parse.parse_qsl(request.body.decode(), strict_parsing=True))
        with self.lock:
            refreshing = form["grant_type"] == "refresh_token"
            if refreshing and form["refresh_token"] != self.refresh_token:
                self.reused.append(form["refresh_token"])
                return Answer(b'{"error":"invalid_grant"}', status=400)
            self.count += 1
            token = {"access_token": f"access-{self.count}-0123456789", "token_type": "Bearer", "expires_in": self.lifetime}
            if refreshing:
                self.refresh_token = token["refresh_token"] = f"refresh-{self.count}-0123456789"
            return Answer(json.dumps(token).encode(), headers=(("Cache-Control", "no-store"),))


@pytest.fixture
def tokens():
    server = TokenServer()
    with server.recorder:
        yield server


@pytest.fixture
def behind():
    with Recorder() as recorder:
        yield recorder


@pytest.fixture
def gateway(tmp_path, tokens, behind):
    """A gateway before one API, reached with either kind of token."""
    services = f"""\
services:
  - name: machine
    kind: http
    url: "{behind.url}"
    network: private
    credentials:
      - {{ name: client, kind: oauth2_client_credentials, token_url: "{tokens.recorder.url}/token", client_id: gate, scope: "read write" }}
  - name: person
    kind: http
    url: "{behind.url}"
    network: private
    credentials:
      - {{ name: grant, kind: oauth2_refresh_token, token_url: "{tokens.recorder.url}/token", client_id: gate, client_auth: none }}
"""
    values = {("machine", "client"): CLIENT_SECRET, ("person", "grant"): tokens.refresh_token}
    with gateways.serving(tmp_path / "home", POLICY, services, values) as gateway:
        yield gateway


@pytest.fixture
def key(gateway) -> str:
    return gateway.key("laptop", "user", "machine", "person")


def get(gateway, service: str, key: str) -> httpx.Response:
    return httpx.get(gateway.api(service, "/x"), headers={"X-API-Key": key}, timeout=PATIENCE)


def test_a_token_is_fetched_once_for_calls_at_the_same_time(gateway, tokens, behind, key):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: get(gateway, "machine", key), range(16)))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert {request.header("authorization") for request in behind.seen} == {"Bearer access-1-0123456789"}
    (request,) = tokens.recorder.seen
    form = dict(urllib.parse.parse_qsl(request.body.decode()))
    assert (form["grant_type"], form["scope"]) == ("client_credentials", "read write")
    assert httpx.BasicAuth("gate", CLIENT_SECRET)._auth_header == request.header("authorization")
    assert get(gateway, "machine", key).status_code == 200
    assert len(tokens.recorder.seen) == 1, "a token that is good is not fetched again"


def test_a_token_that_is_about_to_expire_is_replaced_before(gateway, tokens, behind, key):
    tokens.lifetime = 1
    assert get(gateway, "machine", key).status_code == 200
    tokens.lifetime = 3600

    def is_replaced() -> bool:
        assert get(gateway, "machine", key).status_code == 200
        return behind.last().header("authorization") == "Bearer access-2-0123456789"

    wait_until(is_replaced, "another token")
    for _ in range(3):
        assert get(gateway, "machine", key).status_code == 200
    assert len(tokens.recorder.seen) == 2
    assert behind.last().header("authorization") == "Bearer access-2-0123456789"


def test_a_rotated_refresh_token_outlives_a_crash(gateway, tokens, behind, key):
    for turn in range(1, 4):
        assert get(gateway, "person", key).status_code == 200
        assert behind.last().header("authorization") == f"Bearer access-{turn}-0123456789"
        gateway.process.send_signal(signal.SIGKILL)
        gateway.process.wait()
        gateway.start()
    assert tokens.reused == []
    assert len(tokens.recorder.seen) == 3


def test_a_refresh_token_is_used_once_by_calls_at_the_same_time(gateway, tokens, key):
    tokens.lifetime = 1
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: get(gateway, "person", key), range(24)))
    assert [answer.status_code for answer in answers] == [200] * 24
    assert tokens.reused == []


TROUBLE = {
    "an error": Answer(b'{"error":"server_error","error_description":"' + CLIENT_SECRET.encode() + b'"}', status=500),
    "a refusal": Answer(b'{"error":"invalid_client"}', status=401),
    "no JSON": Answer(b"<html>" + CLIENT_SECRET.encode() + b"</html>", media="text/html"),
    "no token": Answer(b'{"token_type":"Bearer","expires_in":3600}'),
    "a token that is no text": Answer(b'{"access_token":7,"token_type":"Bearer"}'),
    "a token with a line break": Answer(b'{"access_token":"a\\r\\nX: y","token_type":"Bearer"}'),
    "a redirect": Answer(b"", status=302, headers=(("Location", "http://127.0.0.1:9/token"),)),
    "too much": Answer(b'{"access_token":"' + b"a" * 5_000_000 + b'"}'),
}


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("service", ["machine", "person"])
def test_without_a_token_nothing_is_sent_and_nothing_is_told(gateway, tokens, behind, key, trouble, service):
    tokens.trouble = TROUBLE[trouble]
    answer = get(gateway, service, key)
    assert answer.status_code in (502, 503, 504), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "Nothing was sent" in answer.text
    assert CLIENT_SECRET not in answer.text and str(tokens.recorder.port) not in answer.text
    assert behind.seen == []
    assert CLIENT_SECRET not in gateway.log.read_text()


def test_calls_pass_again_when_the_token_server_has_recovered(gateway, tokens, key):
    tokens.trouble = TROUBLE["an error"]
    assert get(gateway, "machine", key).status_code >= 502
    tokens.trouble = None
    wait_until(lambda: get(gateway, "machine", key).status_code == 200, "a call to pass")
