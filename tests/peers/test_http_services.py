"""HTTP services as clients and servers of others see them: requests that arrived are the requests that were judged."""

import contextlib
import json
import subprocess

import httpx
import openai
import pytest
import requests
import stripe

import gateway as gateways
import web_servers
from processes import PATIENCE
from recorder import Answer, Arrived, Recorder

PLAIN = "sk_test_0123456789abcdef"

POLICY = """\
version: 1
roles:
  user:
    allow:
      - { service: "nginx", requests: ["* /v1/**"], risk: ignore }
      - { service: "apache", requests: ["* /v1/**"], risk: ignore }
      - { service: "haproxy", requests: ["* /v1/**"], risk: ignore }
      - { service: "plain", requests: ["* /v1/**"], risk: ignore }
      - { service: "openai", requests: ["GET /v1/models", "POST /v1/chat/completions"] }
      - { service: "stripe", requests: ["* /v1/**"] }
deny:
  - { service: "*", requests: ["DELETE /**"] }
""" + gateways.NO_LIMITS

FRONTS = {"nginx": web_servers.nginx, "apache": web_servers.apache, "haproxy": web_servers.haproxy}
COMPLETION = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "small",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
}


def api(request: Arrived) -> Answer:
    """What the services behind this gateway answer, by path."""
    path = request.target.partition("?")[0]
    if path == "/v1/models":
        return Answer(json.dumps({"object": "list", "data": [{"id": "small", "object": "model", "created": 1, "owned_by": "us"}]}).encode())
    if path == "/v1/chat/completions" and json.loads(request.body).get("stream"):
        return Answer(spoken(["hel", "lo"]), media="text/event-stream")
    if path == "/v1/chat/completions":
        return Answer(json.dumps(COMPLETION).encode())
    if path == "/v1/customers" and request.method == "POST":
        return Answer(b'{"id":"cus_1","object":"customer","email":"ada@example.com"}')
    if path == "/v1/customers/cus_1":
        return Answer(b'{"id":"cus_1","object":"customer"}')
    if path == "/v1/customers/none":
        return Answer(b'{"error":{"type":"invalid_request_error","message":"No such customer"}}', status=404)
    if path == "/v1/moved":
        return Answer(b"", status=307, headers=(("Location", "http://127.0.0.1:9/elsewhere"),))
    if path == "/v1/teapot":
        return Answer(b"short and stout", status=418, media="text/x-tea", headers=(("X-Pot", "1"), ("X-Pot", "2")))
    return Answer()


def spoken(words: list[str]):
    """A completion as server-sent events."""
    for word in words:
        delta = {**COMPLETION, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": word}}]}
        yield f"data: {json.dumps(delta)}\n\n".encode()
    yield b"data: [DONE]\n\n"


@pytest.fixture(scope="module")
def behind():
    with Recorder(api) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def fronts(work, behind):
    """The three servers, each in front of the recorder."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(start(work / f"front-{name}", behind.port)) for name, start in FRONTS.items()}


@pytest.fixture(scope="module")
def gateway(work, fronts, behind):
    """One gateway before all of them, with a bearer credential for each."""
    urls = {name: front.url for name, front in fronts.items()} | dict.fromkeys(["plain", "openai", "stripe"], behind.url)
    services = "services:\n" + "".join(
        f'  - {{ name: {name}, kind: http, url: "{url}", network: private,'
        f" credentials: [{{ name: secret, kind: bearer }}] }}\n"
        for name, url in urls.items()
    )
    values = {(name, "secret"): PLAIN for name in urls}
    with gateways.serving(work / "http-home", POLICY, services, values) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def key(gateway) -> str:
    return gateway.key("laptop", "user", *FRONTS, "plain", "openai", "stripe")


def curl(key: str, *arguments: str) -> tuple[int, dict[str, str], bytes]:
    """One request of curl's, its path as it is: status, headers, body."""
    done = subprocess.run(
        [web_servers.CURL, "--silent", "--show-error", "--path-as-is", "--globoff", "--include", "--max-time", str(PATIENCE),
         "--header", f"Authorization: Bearer {key}", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, env=web_servers.curl_environment(), timeout=2 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split(" ")[1]), headers, body


def assert_only_the_credential(request: Arrived, key: str) -> None:
    """The agent's key never arrives, and what was injected does."""
    assert key.encode() not in request.everything()
    assert key[13:56].encode() not in request.everything()
    assert request.header("authorization") == f"Bearer {PLAIN}"
    for name in ["x-api-key", "cookie", "proxy-authorization", "x-toolgate-intent"]:
        assert request.header(name) is None, name


TARGETS = [
    "/v1/notes",
    "/v1/notes/",
    "/v1/notes?",
    "/v1/notes?q=a+b&q=%2F..%2f&empty=&flag&=x",
    "/v1/a%20b/c;d=e,f:g@h!$&'()*+~_-.z",
    "/v1/caf%C3%A9?%C3%A9=%e2%82%ac",
    "/v1/deep/er/and/er/by/far",
]


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "OPTIONS"])
def test_what_arrives_is_what_was_sent_by_the_word_of_another_server(gateway, fronts, behind, key, front, method):
    for number, target in enumerate(TARGETS):
        before, seen = len(fronts[front].lines()), len(behind.seen)
        body = ["--data-binary", f"note={number}&\x7f\t\u00e9"] if method in ("POST", "PUT", "PATCH") else []
        status, headers, answer = curl(
            key, "--request", method, *body, gateway.api(front, target),
            "--header", "X-Custom: one", "--header", "X-Custom: two", "--header", "Cookie: a=b",
            "--header", "Te: trailers", "--header", "X-Toolgate-Intent: to see",
        )
        assert (status, headers["x-proxy-status"], answer) == (200, "forwarded", b'{"ok":true}'), (target, headers, answer)
        assert fronts[front].logged(before) == f"{method} {target} HTTP/1.1"
        (request,) = behind.seen[seen:]
        assert (request.method, request.target) == (method, target)
        assert request.body == (body[1].encode() if body else b"")
        assert [part for value in request.all("x-custom") for part in value.split(", ")] == ["one", "two"]
        assert request.header("host") == fronts[front].url.removeprefix("http://")
        assert_only_the_credential(request, key)


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin", "/v1/%2e%2e/admin", "/v1/.%2E/admin", "/v1/..;/admin", "/v1//x", "//v1/x", "/v1/a%2fb", "/v1/a%5cb",
        "/v1/a\\b", "/v1/%00", "/v1/x%0d%0aHost:%20evil", "/v1/%zz", "/v1/x%", "/v1/./x", "/v1/%252e%252e/x",
    ],
)
def test_what_servers_read_differently_reaches_none_of_them(gateway, fronts, behind, key, front, path):
    before, seen = fronts[front].lines(), len(behind.seen)
    status, headers, body = curl(key, gateway.api(front, path))
    assert (status, headers["x-proxy-status"]) == (400, "refused"), body
    assert json.loads(body)["type"] == "urn:toolgate:malformed"
    # A request that does arrive is the proof that nothing came before it.
    assert curl(key, gateway.api(front, "/v1/proof"))[0] == 200
    assert fronts[front].logged(len(before)) == "GET /v1/proof HTTP/1.1"
    assert [request.target for request in behind.seen[seen:]] == ["/v1/proof"]


def test_what_is_forbidden_reaches_nobody_and_is_recorded(gateway, behind, key):
    seen = len(behind.seen)
    for arguments in (["--request", "DELETE", gateway.api("plain", "/v1/x")], [gateway.api("plain", "/v2/x")]):
        status, headers, body = curl(key, *arguments)
        problem = json.loads(body)
        assert (status, headers["x-proxy-status"], headers["content-type"]) == (403, "refused", "application/problem+json")
        assert problem["type"] == "urn:toolgate:forbidden" and problem["next"]
        assert headers["x-call-id"] == problem["call_id"]
        (event,) = gateway.recorded_call(problem["call_id"], 1)
        assert (event["kind"], event["status"], event["service"]) == ("refusal", 403, "plain")
    assert len(behind.seen) == seen


def test_status_headers_and_body_come_back_as_they_came(gateway, key):
    answer = requests.get(gateway.api("plain", "/v1/teapot"), headers={"X-API-Key": key}, timeout=PATIENCE)
    assert (answer.status_code, answer.text, answer.headers["Content-Type"]) == (418, "short and stout", "text/x-tea")
    assert answer.headers["X-Pot"] == "1, 2"
    assert answer.headers["X-Proxy-Status"] == "forwarded"


@pytest.mark.parametrize("client", [requests, httpx])
def test_clients_in_python_work_by_base_url_alone(gateway, behind, key, client):
    authorized = {"Authorization": f"Bearer {key}"}
    answer = client.post(gateway.api("plain", "/v1/notes"), json={"text": "\u00e9"}, headers=authorized, params={"a": "b c"}, timeout=PATIENCE)
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert behind.last().target in ("/v1/notes?a=b+c", "/v1/notes?a=b%20c")
    assert json.loads(behind.last().body) == {"text": "\u00e9"}
    assert_only_the_credential(behind.last(), key)
    form = client.post(gateway.api("plain", "/v1/notes"), data={"a": "1"}, files={"f": ("n.txt", b"\x00\xff")}, headers=authorized, timeout=PATIENCE)
    assert form.status_code == 200 and b"\x00\xff" in behind.last().body
    head = client.head(gateway.api("plain", "/v1/notes"), headers=authorized, timeout=PATIENCE)
    assert (head.status_code, head.content) == (200, b"")


def test_a_redirect_is_handed_back_and_not_followed(gateway, key):
    answer = requests.get(
        gateway.api("plain", "/v1/moved"), headers={"X-API-Key": key}, timeout=PATIENCE, allow_redirects=False
    )
    assert (answer.status_code, answer.headers["Location"]) == (307, "http://127.0.0.1:9/elsewhere")


def test_the_openai_package_works_by_base_url_alone(gateway, behind, key):
    client = openai.OpenAI(base_url=gateway.api("openai", "/v1"), api_key=key, max_retries=0, timeout=PATIENCE)
    assert [model.id for model in client.models.list()] == ["small"]
    assert_only_the_credential(behind.last(), key)
    messages = [{"role": "user", "content": "say hello"}]
    said = client.chat.completions.create(model="small", messages=messages)
    assert said.choices[0].message.content == "hello"
    assert json.loads(behind.last().body)["messages"] == messages
    assert_only_the_credential(behind.last(), key)
    words = [part.choices[0].delta.content for part in client.chat.completions.create(model="small", messages=messages, stream=True)]
    assert words == ["hel", "lo"]
    assert_only_the_credential(behind.last(), key)
    seen = len(behind.seen)
    with pytest.raises(openai.PermissionDeniedError):
        client.files.list()
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=gateway.api("openai", "/v1"), api_key=PLAIN, max_retries=0).models.list()
    assert len(behind.seen) == seen


def test_the_stripe_package_works_by_base_url_alone(gateway, behind, key):
    client = stripe.StripeClient(key, base_addresses={"api": gateway.api("stripe")}, max_network_retries=0)
    made = client.v1.customers.create(params={"email": "ada@example.com", "metadata": {"a": "b c"}})
    assert made.id == "cus_1"
    assert behind.last().body.startswith(b"email=ada")
    assert_only_the_credential(behind.last(), key)
    assert client.v1.customers.retrieve("cus_1").id == "cus_1"
    assert_only_the_credential(behind.last(), key)
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        client.v1.customers.retrieve("none")
    seen = len(behind.seen)
    # The package finds no error of its own kind in our document, and shows all of it.
    with pytest.raises(stripe.APIError, match="Nothing was sent.*Do not retry"):
        client.v1.customers.delete("cus_1")
    assert len(behind.seen) == seen


def test_the_same_key_acts_once(gateway, behind, key):
    url, headers = gateway.api("plain", "/v1/notes"), {"X-API-Key": key, "Idempotency-Key": "note-1"}
    seen = len(behind.seen)
    first = requests.post(url, json={"n": 1}, headers=headers, timeout=PATIENCE)
    again = requests.post(url, json={"n": 1}, headers=headers, timeout=PATIENCE)
    other = requests.post(url, json={"n": 2}, headers=headers, timeout=PATIENCE)
    assert (first.status_code, first.headers["X-Idempotency-Status"]) == (200, "stored")
    assert (again.status_code, again.content, again.headers["X-Proxy-Status"]) == (200, first.content, "replayed")
    assert again.headers["X-Idempotency-Status"] == "replayed"
    assert (other.status_code, other.headers["X-Idempotency-Status"]) == (422, "mismatch")
    assert len(behind.seen) == seen + 1


def test_the_envelope_is_the_same_request(gateway, behind, key):
    envelope = {
        "service": "plain", "method": "POST", "path": "/v1/notes", "query": {"page": "2"},
        "headers": {"X-Custom": "one", "Content-Type": "application/json"}, "body": {"text": "\u00e9"},
    }
    answer = requests.post(f"{gateway.address}/proxy", json=envelope, headers={"X-API-Key": key}, timeout=PATIENCE)
    assert (answer.status_code, answer.json(), answer.headers["X-Proxy-Status"]) == (200, {"ok": True}, "forwarded")
    assert (behind.last().method, behind.last().target) == ("POST", "/v1/notes?page=2")
    assert behind.last().header("x-custom") == "one"
    assert json.loads(behind.last().body) == {"text": "\u00e9"}
    assert_only_the_credential(behind.last(), key)
    seen = len(behind.seen)
    for wrong in ({"path": "http://127.0.0.1:9/v1/x"}, {"path": "/v1/../x"}, {"surprise": 1}):
        refused = requests.post(f"{gateway.address}/proxy", json=envelope | wrong, headers={"X-API-Key": key}, timeout=PATIENCE)
        assert refused.status_code == 400, refused.text
    assert len(behind.seen) == seen


def test_an_agent_finds_the_services_of_its_scope(gateway, key):
    listed = requests.get(f"{gateway.address}/v1/services", headers={"X-API-Key": key}, timeout=PATIENCE)
    assert listed.status_code == 200
    for name in [*FRONTS, "plain", "openai", "stripe"]:
        assert f'"{name}"' in listed.text
    assert PLAIN not in listed.text


def test_each_request_has_an_intent_and_an_outcome_without_the_secret(gateway, key):
    answer = requests.post(gateway.api("plain", "/v1/notes"), json={"n": 1}, headers={"X-API-Key": key}, timeout=PATIENCE)
    intent, outcome = gateway.recorded_call(answer.headers["X-Call-Id"], 2)
    assert (intent["kind"], outcome["kind"], outcome["status"]) == ("intent", "outcome", 200)
    assert intent["method"] == "POST"
    assert PLAIN not in json.dumps([intent, outcome])
    assert json.loads(gateway.run("audit", "verify", "--json"))["ok"] is True
