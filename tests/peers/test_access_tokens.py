"""Access tokens that others mint (PyJWT), and the Python SDK's OAuth clients, which find their issuer by our metadata."""

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import threading
import time
import urllib.parse

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

import gateway as gateways
import servers
from processes import PATIENCE
from recorder import Answer, Arrived, Recorder

pytestmark = pytest.mark.anyio

POLICY = """\
version: 1
roles:
  user:
    allow:
      - { service: probe, tools: ["*"] }
      - { service: api, requests: ["GET /**"] }
""" + gateways.NO_LIMITS


def by_hand(header: dict, claims: dict, secret: bytes) -> str:
    """An HMAC over a key that is public: PyJWT knows better than to make one."""
    part = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    signed = ".".join(part(json.dumps(one).encode()) for one in (header, claims))
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), 'sha256'))}"


class Issuer:
    """An authorization server: metadata, keys that a test may exchange, registration, codes with PKCE, and tokens for
    the resource that is asked for (RFC 8414, 7591, 7636, 8707)."""

    def __init__(self):
        self.keys = {"first": ("ES256", ec.generate_private_key(ec.SECP256R1()))}
        self.codes: dict[str, dict] = {}
        self.granted: list[dict] = []
        self.lock = threading.Lock()
        self.recorder = Recorder(self.answer)

    @property
    def url(self) -> str:
        return self.recorder.url

    def claims(self, audience: str, **other) -> dict:
        now = int(time.time())
        return {"iss": self.url, "sub": "subject", "aud": audience, "client_id": "laptop", "iat": now, "exp": now + 600} | other

    def mint(self, audience: str, kid: str = "first", **other) -> str:
        algorithm, key = self.keys[kid]
        headers = {"kid": kid, "typ": "at+jwt"}
        return jwt.encode(self.claims(audience, **other), key, algorithm=algorithm, headers=headers)

    def jwk(self, kid: str) -> dict:
        algorithm, key = self.keys[kid]
        by_family = {"E": jwt.algorithms.ECAlgorithm, "R": jwt.algorithms.RSAAlgorithm, "P": jwt.algorithms.RSAAlgorithm}
        family = jwt.algorithms.OKPAlgorithm if algorithm == "EdDSA" else by_family[algorithm[0]]
        return family.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "alg": algorithm, "use": "sig"}

    def answer(self, request: Arrived) -> Answer:
        path, _, query = request.target.partition("?")
        said = {
            "/.well-known/oauth-authorization-server": self.metadata,
            "/jwks": lambda _: {"keys": [self.jwk(kid) for kid in self.keys]},
            "/register": self.register,
            "/authorize": lambda _: self.authorize(dict(urllib.parse.parse_qsl(query))),
            "/token": self.token,
        }.get(path)
        if not said:
            return Answer(b"{}", status=404)
        made = said(request)
        return made if isinstance(made, Answer) else Answer(json.dumps(made).encode())

    def metadata(self, _) -> dict:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "registration_endpoint": f"{self.url}/register",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["tools", "other"],
        }

    def register(self, request: Arrived) -> Answer:
        asked = json.loads(request.body)
        return Answer(json.dumps(asked | {"client_id": "laptop", "client_id_issued_at": 1}).encode(), status=201)

    def authorize(self, asked: dict) -> Answer:
        code = secrets.token_urlsafe(16)
        with self.lock:
            self.codes[code] = asked
        back = urllib.parse.urlencode({"code": code, "state": asked["state"]})
        return Answer(b"", status=302, headers=(("Location", f"{asked['redirect_uri']}?{back}"),))

    def token(self, request: Arrived) -> dict | Answer:
        form = dict(urllib.parse.parse_qsl(request.body.decode(), strict_parsing=True))
        if form["grant_type"] == "authorization_code":
            with self.lock:
                asked = self.codes.pop(form["code"])
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
                return Answer(b'{"error":"invalid_grant"}', status=400)
            form["scope"] = asked.get("scope", "")
        self.granted.append(form)
        token = self.mint(form["resource"], scope=form.get("scope", ""), jti=secrets.token_hex(8))
        return {"access_token": token, "token_type": "Bearer", "expires_in": 600, "scope": form.get("scope", "")}


@pytest.fixture
def issuer():
    issuer = Issuer()
    with issuer.recorder:
        yield issuer


@contextlib.contextmanager
def gate(tmp_path, issuer: Issuer, api: Recorder, more: str = ""):
    """A gateway in front of our own MCP server and an API, with an agent `laptop`."""
    services = f"""\
services:
  - {{ name: probe, kind: mcp, command: {json.dumps(servers.probe(tmp_path / "journal"))} }}
  - {{ name: api, kind: http, url: "{api.url}", network: private }}
"""
    gateway = gateways.Gateway(tmp_path / "home", POLICY, services)
    settings = gateway.home / "toolgate.yaml"
    issuers = f'[{{ issuer: "{issuer.url}", network: private, agent_claim: client_id{more} }}]'
    settings.write_text(settings.read_text().replace("gateway: {", f"gateway: {{ issuers: {issuers},", 1))
    gateway.run("keys", "create", "laptop", "--role", "user", "--scope", "probe,api")
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


class Storage:
    """Where the SDK keeps what it was given."""

    def __init__(self):
        self.tokens = self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


def by_code(url: str) -> OAuthClientProvider:
    """A client with a person before it, who agrees at once: the browser is two requests of ours."""
    came_back = {}

    async def redirect(address: str):
        async with httpx.AsyncClient(timeout=PATIENCE) as browser:
            answer = await browser.get(address)
        query = urllib.parse.urlparse(answer.headers["location"]).query
        came_back.update(urllib.parse.parse_qsl(query))

    async def callback() -> AuthorizationCodeResult:
        return AuthorizationCodeResult(code=came_back["code"], state=came_back["state"])

    metadata = OAuthClientMetadata(
        client_name="peer", redirect_uris=["http://127.0.0.1:1/callback"], token_endpoint_auth_method="none"
    )
    return OAuthClientProvider(url, metadata, Storage(), redirect, callback)


def by_secret(url: str, issuer: Issuer) -> ClientCredentialsOAuthProvider:
    """A client without one."""
    return ClientCredentialsOAuthProvider(url, Storage(), "laptop", "secret-0123456789", issuer=issuer.url)


@contextlib.asynccontextmanager
async def connected(url: str, auth, mode: str):
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(create_mcp_http_client(auth=auth))
        transport = streamable_http_client(url, http_client=http)
        yield await stack.enter_async_context(Client(transport, mode=mode, read_timeout_seconds=PATIENCE))


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("grant", ["code", "secret"])
async def test_a_stock_client_finds_the_issuer_gets_a_token_and_calls(tmp_path, issuer, grant, mode):
    with Recorder() as api, gate(tmp_path, issuer, api, ", scope: tools") as gateway:
        url = gateway.url("probe")
        auth = by_code(url) if grant == "code" else by_secret(url, issuer)
        async with connected(url, auth, mode) as client:
            answer = await client.call_tool("echo", {"text": "through"})
            assert "through" in answer.content[0].text
        # It asked for the resource that our metadata names, and for the scope that it wants.
        assert [(form["resource"], form["scope"]) for form in issuer.granted] == [(url, "tools")]
        # The same agent, the same subject, and no token in any file of the home.
        events = [json.loads(line) for line in gateway.run("audit", "export", "--format", "jsonl").splitlines()]
        calls = [event for event in events if event.get("action") == "echo"]
        assert {event["agent"] for event in calls} == {"laptop"} and {event["key_id"][0] for event in calls} == {"o"}
        token = auth.context.current_tokens.access_token
        for file in gateway.home.rglob("*"):
            assert not file.is_file() or token.encode() not in file.read_bytes(), file
        assert token not in gateway.log.read_text()


def status(gateway, path: str, token: str) -> int:
    return httpx.get(f"{gateway.address}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE).status_code


async def test_tokens_that_pyjwt_mints_are_taken_by_every_algorithm_and_lies_are_not(tmp_path, issuer):
    issuer.keys |= {
        "rsa": ("RS256", rsa.generate_private_key(65537, 2048)),
        "pss": ("PS384", rsa.generate_private_key(65537, 3072)),
        "p384": ("ES384", ec.generate_private_key(ec.SECP384R1())),
        "ed": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
        "small": ("RS256", rsa.generate_private_key(65537, 1024)),
    }
    with Recorder() as api, gate(tmp_path, issuer, api) as gateway:
        audience = gateway.api("api")
        for kid in ["first", "rsa", "pss", "p384", "ed"]:
            assert status(gateway, "/http/api/v1", issuer.mint(audience, kid)) == 200, kid
        taken = len(api.seen)
        assert all("authorization" not in (name.lower() for name, _ in request.headers) for request in api.seen)
        private = issuer.keys["rsa"][1]
        public = private.public_key()
        as_pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        as_jwk = json.dumps(issuer.jwk("rsa")).encode()
        claims = issuer.claims(audience)
        lies = {
            "none": jwt.encode(claims, None, algorithm="none", headers={"kid": "rsa"}),
            "an HMAC of the public key": by_hand({"alg": "HS256", "kid": "rsa"}, claims, as_pem),
            "an HMAC of the published key": by_hand({"alg": "HS256", "kid": "rsa"}, claims, as_jwk),
            "an HMAC that says RSA": by_hand({"alg": "RS256", "kid": "rsa"}, claims, as_pem),
            "another algorithm of the key": jwt.encode(claims, private, algorithm="RS512", headers={"kid": "rsa"}),
            "a small key": issuer.mint(audience, "small"),
            "an old one": issuer.mint(audience, exp=int(time.time()) - 31),
            "of tomorrow": issuer.mint(audience, nbf=int(time.time()) + 86_400),
            "an ID token": issuer.mint(audience, nonce="n"),
            "for somebody else": issuer.mint("https://elsewhere.example/http/api"),
            "of nobody": issuer.mint(audience, client_id="nobody"),
        }
        for what, token in lies.items():
            assert status(gateway, "/http/api/v1", token) == 401, what
        assert len(api.seen) == taken


async def test_a_key_that_its_issuer_adds_later_is_found(tmp_path, issuer):
    with Recorder() as api, gate(tmp_path, issuer, api) as gateway:
        audience = gateway.api("api")
        assert status(gateway, "/http/api/v1", issuer.mint(audience)) == 200
        issuer.keys["second"] = ("EdDSA", ed25519.Ed25519PrivateKey.generate())
        token = issuer.mint(audience, "second")
        # No two looks at an issuer's keys begin within ten seconds, and strangers are limited: the test has patience.
        deadline = time.monotonic() + PATIENCE
        while (last := status(gateway, "/http/api/v1", token)) != 200 and time.monotonic() < deadline:
            time.sleep(1)
        assert last == 200
