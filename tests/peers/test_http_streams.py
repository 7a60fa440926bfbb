"""Bodies that flow: both ways, piece by piece, large ones whole. Order is told by events, never by a clock."""

import contextlib
import hashlib
import http.client
import json
import threading

import httpx
import pytest

import gateway as gateways
from processes import PATIENCE
from recorder import Answer, Arrived, Recorder

POLICY = """\
version: 1
roles:
  user:
    allow:
      - { service: "api", requests: ["* /**"] }
      - { service: "streams", requests: ["* /**"] }
""" + gateways.NO_LIMITS

LARGE = bytes(range(251)) * 39_840  # 9 999 840 bytes: under the limit of 10 MB
PIECE = 64 * 1024


class Stage:
    """What an upstream and a client tell each other about how far they are."""

    def __init__(self):
        self.arrived, self.go_on = threading.Event(), threading.Event()


STAGE = Stage()


def arriving(request: Arrived, piece: bytes) -> None:
    if request.target == "/step" and piece == b"first":
        STAGE.arrived.set()


def waited(event: threading.Event, what: str) -> None:
    assert event.wait(PATIENCE), f"waited in vain: {what}"


def api(request: Arrived) -> Answer:
    if request.target == "/hash":
        return Answer(hashlib.sha256(request.body).hexdigest().encode(), media="text/plain")
    if request.target == "/large":
        return Answer(LARGE, media="application/octet-stream")
    if request.target in ("/large-chunked", "/three-times"):
        return Answer(pieces(1 if request.target == "/large-chunked" else 3), media="application/octet-stream")
    if request.target == "/events":
        return Answer(events(), media="text/event-stream")
    return Answer()


def pieces(times: int):
    for _ in range(times):
        for start in range(0, len(LARGE), PIECE):
            yield LARGE[start : start + PIECE]


def events():
    yield b"event: one\nid: 1\ndata: first\n\n"
    waited(STAGE.go_on, "the client to have the first event")
    yield b": a comment\n\ndata: second\n\n"


@pytest.fixture(scope="module")
def behind():
    with Recorder(api, arriving) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def gateway(work, behind):
    services = f"""\
services:
  - {{ name: api, kind: http, url: "{behind.url}", network: private }}
  - {{ name: streams, kind: http, url: "{behind.url}", network: private, stream: true }}
"""
    with gateways.serving(work / "streams-home", POLICY, services) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(gateway):
    headers = {"Authorization": f"Bearer {gateway.key('laptop', 'user', 'api', 'streams')}"}
    with httpx.Client(headers=headers, timeout=PATIENCE) as client:
        yield client


@pytest.fixture(autouse=True)
def rewound():
    STAGE.__init__()


@pytest.mark.parametrize("service", ["api", "streams"])
@pytest.mark.parametrize("chunked", [False, True])
def test_ten_megabytes_up_arrive_whole(gateway, behind, client, service, chunked):
    body = pieces(1) if chunked else LARGE
    answer = client.post(gateway.api(service, "/hash"), content=body)
    assert (answer.status_code, answer.text) == (200, hashlib.sha256(LARGE).hexdigest())
    assert behind.last().body == LARGE


@pytest.mark.parametrize("service", ["api", "streams"])
@pytest.mark.parametrize("path", ["/large", "/large-chunked"])
def test_ten_megabytes_down_arrive_whole(gateway, client, service, path):
    answer = client.get(gateway.api(service, path))
    assert answer.status_code == 200 and answer.content == LARGE


def test_an_answer_over_the_limit_is_whole_only_where_the_service_streams(gateway, client):
    streamed = client.get(gateway.api("streams", "/three-times"))
    assert streamed.content == 3 * LARGE
    with pytest.raises(httpx.TransportError):
        client.get(gateway.api("api", "/three-times"))


def test_a_body_that_is_announced_as_too_large_is_413_before_a_byte_of_it_was_sent(gateway, behind, client):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        headers = {"Authorization": client.headers["Authorization"], "Content-Length": str(3 * len(LARGE))}
        seen = behind.connections
        connection.request("POST", "/http/api/hash", headers=headers)
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)["type"]) == (413, "urn:toolgate:too-large")
    assert behind.connections == seen


def test_the_first_piece_of_a_body_arrives_before_the_second_is_sent(gateway, client):
    def body():
        yield b"first"
        waited(STAGE.arrived, "the first piece to arrive upstream")
        yield b"second"

    answer = client.post(gateway.api("streams", "/step"), content=body())
    assert answer.status_code == 200


@pytest.mark.parametrize("service", ["api", "streams"])
def test_an_event_arrives_before_the_next_one_is_made(gateway, client, service):
    with client.stream("GET", gateway.api(service, "/events")) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        received = b""
        for piece in answer.iter_raw():
            received += piece
            if received == b"event: one\nid: 1\ndata: first\n\n":
                STAGE.go_on.set()
    assert received == b"event: one\nid: 1\ndata: first\n\n: a comment\n\ndata: second\n\n"


def test_a_client_that_leaves_does_not_disturb_others(gateway, client):
    with client.stream("GET", gateway.api("streams", "/events")) as answer:
        assert answer.status_code == 200
    STAGE.go_on.set()
    assert client.get(gateway.api("api", "/x")).json() == {"ok": True}
