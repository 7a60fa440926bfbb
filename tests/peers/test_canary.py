"""Forty secrets go in through stdin and out to the upstreams that they belong to, and are seen nowhere else.

Not in an answer, an error, a log at debug level, the trail, a list, or a file of the home, in no form that encoders give.
"""

import base64
import gzip
import json
import urllib.parse

import httpx
import pytest

import canaries
import gateway as gateways
import servers
from processes import PATIENCE, free_port
from recorder import Answer, Arrived, Recorder
from routes import Route

pytestmark = pytest.mark.anyio

HEADERS = canaries.tagged(canaries.IN_HEADERS, 10)
QUERIES = canaries.tagged(canaries.IN_QUERY, 40)
ELSEWHERE = canaries.tagged(canaries.ELSEWHERE, 50)
ENVIRONMENTS = canaries.tagged(canaries.IN_ENVIRONMENTS, 60)
KEY_ID = "AKIACANARY0000000001"


def slots() -> dict[str, tuple[str, str, bytes]]:
    """Each service's name: its credential as services.yaml declares it, the value for stdin, and what is secret in it."""
    found = {}
    for number, secret in enumerate(HEADERS):
        kind = ["kind: bearer", 'kind: header, header: X-Secret, format: "Token {}"', "kind: basic, username: us"][number % 3]
        found[f"head{number}"] = (kind, secret, secret.encode())
    for number, secret in enumerate(QUERIES):
        found[f"query{number}"] = ("kind: query, parameter: key", secret, secret.encode())
    password, wide, client, refresh, aws = ELSEWHERE
    found["basic0"] = ("kind: basic", f"someone:{password}", password.encode())
    found["basic1"] = ("kind: basic, username: someone", wide, wide.encode())
    oauth = 'token_url: "TOKEN_URL/token", client_id: gate'
    found["machine"] = (f"kind: oauth2_client_credentials, {oauth}", client, client.encode())
    found["person"] = (f"kind: oauth2_refresh_token, {oauth}, client_auth: none", refresh, refresh.encode())
    found["aws"] = (f"kind: aws_sigv4, access_key_id: {KEY_ID}, region: eu-central-1, aws_service: s3", aws, aws.encode())
    for number, secret in enumerate(ENVIRONMENTS):
        found[f"child{number}"] = ("kind: env", secret, secret.encode())
    certificate = canaries.pem()
    found["certificate"] = ("kind: client_certificate", certificate.decode().rstrip("\n"), private_part(certificate))
    return found


def private_part(pem: bytes) -> bytes:
    """Lines of the private key: certificates are public."""
    lines = pem.partition(b"-----BEGIN")[2].split(b"\n")
    return b"\n".join(lines[1:4])


SLOTS = slots()
SECRETS = {name: secret for name, (_, _, secret) in SLOTS.items()}


class Upstream:
    """Tells back all that it was told, in every form it knows: what a debugging endpoint or an error page does."""

    def __init__(self):
        self.recorder = Recorder(self.answer)

    def answer(self, request: Arrived) -> Answer:
        if request.target == "/token":
            return Answer(json.dumps({"access_token": "granted-0123456789", "token_type": "Bearer", "expires_in": 3600}).encode())
        echo = echoed(request)
        headers = (("X-Echo", header_text(request)), ("Set-Cookie", "a=b"))
        if "/error" in request.target:
            return Answer(echo, status=500, media="text/plain", headers=headers)
        if "/events" in request.target:
            return Answer((b"data: " + line + b"\n\n" for line in echo.split(b"\n")), media="text/event-stream")
        if "/gzip" in request.target:
            return Answer(gzip.compress(echo), media="text/plain", headers=(("Content-Encoding", "gzip"),))
        if "/bytes" in request.target:
            return Answer((echo[start : start + 7] for start in range(0, len(echo), 7)), media="text/plain")
        return Answer(echo, media="text/plain", headers=headers)


def echoed(request: Arrived) -> bytes:
    whole = request.everything()
    lines = [whole]
    for value in secrets_in(request):
        lines += [needle for needles in canaries.forms(value).values() for needle in needles]
        lines += [base64.b64encode(b"?" * lead + value) for lead in range(3)]
    return b"\n".join(lines)


def header_text(request: Arrived) -> str:
    return (request.header("authorization") or request.header("x-secret") or "none").encode("latin-1").decode("latin-1")


def secrets_in(request: Arrived) -> list[bytes]:
    """The secrets that came with a request, decoded as an upstream would decode them."""
    told = [request.everything().decode("latin-1").encode("latin-1")]
    authorization = request.header("authorization") or ""
    if authorization.startswith("Basic "):
        told.append(base64.b64decode(authorization.removeprefix("Basic ")))
        told.append(urllib.parse.unquote_to_bytes(told[-1].replace(b"+", b" ")))  # RFC 6749 section 2.3.1
    told.append(httpx.QueryParams(request.target.partition("?")[2]).get("key", "").encode())
    told.append("\n".join(value for _, value in httpx.QueryParams(request.body.decode("latin-1")).multi_items()).encode())
    return [secret for secret in SECRETS.values() if any(secret in text for text in told)]


def policy() -> str:
    rules = "".join(
        f'      - {{ service: {name}, tools: ["*"] }}\n' if name.startswith("child") else f'      - {{ service: {name}, requests: ["* /v1/**"] }}\n'
        for name in SLOTS
    )
    return f"version: 1\nroles:\n  user:\n    allow:\n{rules}{gateways.NO_LIMITS}"


def declared(url: str, journal) -> str:
    text = "services:\n"
    for name, (kind, _, _) in SLOTS.items():
        if name.startswith("child"):
            text += f"  - {{ name: {name}, kind: mcp, command: {servers.probe(journal)}, env: {{ CANARY: {{ credential: secret }} }} }}\n"
            continue
        address = f"https://127.0.0.1:{free_port()}" if name == "certificate" else url
        kind = kind.replace("TOKEN_URL", url)
        text += f'  - {{ name: {name}, kind: http, url: "{address}", network: private, credentials: [{{ name: secret, {kind} }}] }}\n'
    return text


def requests_to(name: str) -> list[dict]:
    """Every way to call one service, good and bad."""
    base = f"/http/{name}"
    envelope = {"service": name, "method": "POST", "path": "/v1/envelope", "body": {"a": 1}}
    return [
        {"method": "GET", "url": f"{base}/v1/echo?x=1"},
        {"method": "POST", "url": f"{base}/v1/echo", "json": {"a": "b"}},
        {"method": "POST", "url": f"{base}/v1/bytes", "content": b"\x00\xff" * 100},
        {"method": "GET", "url": f"{base}/v1/error"},
        {"method": "GET", "url": f"{base}/v1/events"},
        {"method": "GET", "url": f"{base}/v1/gzip"},
        {"method": "POST", "url": f"{base}/v1/once", "json": {"a": 1}, "headers": {"Idempotency-Key": f"once-{name}"}},
        {"method": "POST", "url": f"{base}/v1/once", "json": {"a": 1}, "headers": {"Idempotency-Key": f"once-{name}"}},
        {"method": "POST", "url": f"{base}/v1/once", "json": {"a": 2}, "headers": {"Idempotency-Key": f"once-{name}"}},
        {"method": "GET", "url": f"{base}/v2/forbidden"},
        {"method": "GET", "url": f"{base}/v1/a%2Fb"},
        {"method": "POST", "url": "/proxy", "json": envelope},
        {"method": "POST", "url": "/proxy", "json": envelope | {"surprise": 1}},
    ]


def whole_answer(client: httpx.Client, request: dict) -> bytes:
    """Head and body of an answer, which must come to its end."""
    with client.stream(**request) as answer:
        head = "".join(f"{name}: {value}\n" for name, value in answer.headers.multi_items()).encode()
        body = b""
        try:
            for piece in answer.iter_bytes():
                body += piece
        except httpx.HTTPError as error:
            raise AssertionError(f"{request}: {error}: {head.decode()}{body[-300:]}") from error
    return head + body


async def test_forty_secrets_are_seen_only_where_they_belong(tmp_path):
    assert len(SLOTS) >= 40
    upstream, journal = Upstream(), tmp_path / "journal"
    journal.touch()
    shown: list[tuple[str, bytes]] = []  # all that people and agents get to see, and where
    settings = "telemetry: { level: debug }\naudit: { record: everything }\n"
    values = {(name, "secret"): value for name, (_, value, _) in SLOTS.items()}
    with upstream.recorder:
        gateway = gateways.Gateway(tmp_path / "home", policy(), declared(upstream.recorder.url, journal), settings)
        for (service, name), value in values.items():
            done = gateway.attempt("credentials", "set", service, name, stdin=value + "\n")
            assert done.returncode == 0, f"{service}: {done.stdout}{done.stderr}"
            shown.append((f"credentials set {service}", (done.stdout + done.stderr).encode()))
        key = gateway.key("laptop", "user", *SLOTS)
        gateway.start()
        try:
            with httpx.Client(base_url=gateway.address, timeout=PATIENCE, headers={"Authorization": f"Bearer {key}"}) as client:
                for name in SLOTS:
                    for request in requests_to(name):
                        shown.append((f"{request['method']} {request['url']}", whole_answer(client, request)))
                shown.append(("GET /v1/services", client.get("/v1/services").content))
            for name in SLOTS:
                if name.startswith("child"):
                    route = Route("gateway", "stdio", gateway=gateway, service=name, key=key)
                    async with route.client() as session:
                        said = await session.call_tool("environment", {})
                    held = bytes.fromhex(said.content[0].text[::-1])
                    upstream.recorder.seen.append(Arrived("CHILD", name, [], held))
            for command in (
                ["services", "list"], ["services", "list", "--json"], ["agents", "list", "--json"], ["config", "show"], ["doctor"],
                ["audit", "list", "--limit", "10000"], ["audit", "export", "--format", "jsonl"], ["audit", "export", "--format", "csv"],
                ["vault", "status"], *(["services", "show", name] for name in SLOTS), *(["credentials", "list", name] for name in SLOTS),
            ):
                done = gateway.attempt(*command)
                shown.append((" ".join(command), (done.stdout + done.stderr).encode()))
            console = httpx.get(f"http://127.0.0.1:{gateway.console_port}/healthz", timeout=PATIENCE)
            shown.append(("console", console.content))
        finally:
            gateway.stop()

    arrived = b"\n".join(request.everything() for request in upstream.recorder.seen)
    decoded = [secret for request in upstream.recorder.seen for secret in secrets_in(request)]
    for name, secret in SECRETS.items():
        if name in ("aws", "certificate"):
            continue  # these prove themselves with a signature: the secret never leaves the gateway
        assert secret in decoded or secret in arrived, f"{name} never arrived: its canary proves nothing"

    shown.append(("log", gateway.log.read_bytes()))
    # Libraries log from warnings on whatever the level is, so the level itself is looked at.
    assert b"debug" in dict(shown)["config show"], "the log is not at debug level"
    files = [path for path in gateway.home.rglob("*") if path.is_file()]
    assert any(path.name == "toolgate.db" for path in files)
    shown += [(str(path), path.read_bytes()) for path in files]
    leaks = [f"{where}: {leak}" for where, text in shown for leak in canaries.search(text, SECRETS)]
    assert not leaks, f"{len(leaks)} leaks:\n" + "\n".join(leaks[:60])


@pytest.mark.parametrize("secret", [*HEADERS, *QUERIES, *ELSEWHERE, *ENVIRONMENTS])
def test_a_search_finds_what_it_should_find(secret):
    """The search itself: a canary that could not be found would prove nothing."""
    value = secret.encode()
    for lead in range(3):
        assert canaries.search(b"x" * 7 + base64.b64encode(b"abc"[:lead] + value + b"tail"), {"it": value}) != []
    assert canaries.search(json.dumps({"a": secret}).encode(), {"it": value}) != []
    assert canaries.search(b"x" + value + b"y", {"it": value}) != []
    assert canaries.search(b"nothing of it", {"it": value}) == []
