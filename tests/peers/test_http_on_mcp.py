"""HTTP services by the tools that the gateway makes of them, with MCP clients that others wrote."""

import json
import subprocess

import pytest
from mcp.shared.exceptions import MCPError

import gateway as gateways
import servers
from recorder import Answer, Arrived, Recorder
from routes import Route

pytestmark = pytest.mark.anyio

POLICY = """\
version: 1
roles:
  user:
    allow:
      - { service: shop, requests: ["GET /v1/**", "POST /v1/orders"] }
""" + gateways.NO_LIMITS

ORDER = {"method": "POST", "path": "/v1/orders", "query": {"dry": True}, "body": {"dish": "soup", "price": 7.5}}


def shop(request: Arrived) -> Answer:
    path = request.target.partition("?")[0]
    if path == "/v1/orders":
        return Answer(b'{"order":7, "price": 7.50}', status=201, headers=(("Location", "/v1/orders/7"),))
    if path == "/v1/menu":
        return Answer("Süppe\n".encode(), media="text/plain; charset=utf-8")
    if path == "/v1/picture":
        return Answer(b"\x89PNG\r\n\x1a\n\x00", media="image/png")
    return Answer(b'{"error":"no such thing"}', status=404)


@pytest.fixture(scope="module")
def behind():
    with Recorder(shop) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def gateway(work, behind):
    home = work / "on-mcp-home"
    home.with_suffix(".md").write_text("# The shop\n")
    services = f"""\
services:
  - {{ name: shop, kind: http, url: "{behind.url}", network: private, documentation: {home.name}.md }}
"""
    with gateways.serving(home, POLICY, services) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def key(gateway) -> str:
    return gateway.key("laptop", "user", "shop")


@pytest.mark.parametrize("through", ["gateway", "bridge"])
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_with_the_python_client(gateway, behind, key, through, mode):
    route = Route(through, "http", gateway=gateway, service="shop", key=key)
    async with route.client(mode=mode) as client:
        assert client.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
        assert "HTTP API `shop`" in client.instructions
        assert [tool.name for tool in (await client.list_tools()).tools] == ["request", "documentation"]
        read = await client.call_tool("documentation", {})
        assert read.content[0].text == "# The shop\n" and not read.is_error

        ordered = await client.call_tool("request", ORDER)
        arrived = behind.last()
        assert (arrived.method, arrived.target) == ("POST", "/v1/orders?dry=true")
        assert json.loads(arrived.body) == ORDER["body"]
        assert arrived.header("authorization") is None and arrived.header("mcp-method") is None
        assert not ordered.is_error
        assert ordered.structured_content == {
            "status": 201, "headers": {"content-type": "application/json", "location": "/v1/orders/7"},
            "body_is": "json", "body": {"order": 7, "price": 7.5},
        }
        assert ordered.content[1].text == '{"order":7, "price": 7.50}'

        menu = await client.call_tool("request", {"method": "GET", "path": "/v1/menu"})
        assert menu.content[1].text == menu.structured_content["body"] == "Süppe\n"
        picture = await client.call_tool("request", {"method": "GET", "path": "/v1/picture"})
        assert (picture.content[1].type, picture.content[1].mime_type) == ("image", "image/png")
        missing = await client.call_tool("request", {"method": "GET", "path": "/v1/none"})
        assert missing.is_error and missing.structured_content["status"] == 404

        before = len(behind.seen)
        wrong = await client.call_tool("request", {"method": "GET"})
        assert wrong.is_error and "`path` is missing" in wrong.content[0].text
        with pytest.raises(MCPError) as told:
            await client.call_tool("request", {"method": "DELETE", "path": "/v1/orders/7"})
        assert told.value.code == 403 and "DELETE /v1/orders/7" in told.value.message
        assert len(behind.seen) == before


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_with_the_typescript_client(gateway, behind, key, mode):
    script = servers.HERE / "other_clients" / "request.mjs"
    done = subprocess.run(
        ["node", str(script), mode, gateway.url("shop"), key, json.dumps(ORDER)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        env=gateways.clean_environment() | {"TOOLGATE_PEERS": str(servers.PEERS)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout)
    assert seen["version"] == ("2025-11-25" if mode == "legacy" else "2026-07-28")
    assert "HTTP API `shop`" in seen["instructions"]
    assert (seen["tools"], seen["documentation"]) == (["request", "documentation"], "# The shop\n")
    assert seen["answer"]["structuredContent"]["body"] == {"order": 7, "price": 7.5}
    assert seen["missing"]["isError"] and "`path` is missing" in seen["missing"]["content"][0]["text"]
    assert seen["refused"] == 403
