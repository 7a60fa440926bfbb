"""Keys, agents, limits and the trail, on a gateway in front of real servers."""

import contextlib
import http.client
import json
import urllib.error
import urllib.request

import anyio
import pytest
from mcp.shared.exceptions import MCPError

import gateway as gateways
import servers
from processes import PATIENCE, descendants
from routes import Route

pytestmark = pytest.mark.anyio

LIMITED = """\
version: 1
roles:
  user:
    allow:
      - { service: probe, tools: ["*"] }
limits:
  overrides:
    - { service: probe, tools: ["echo"], limit: 3/1h }
"""


def post(gateway, service: str, body: dict, **headers: str):
    """One bare HTTP request: status, headers, body."""
    request = urllib.request.Request(
        gateway.url(service),
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers},
    )
    try:
        answer = urllib.request.urlopen(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers, answer.read()


PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def test_no_key_and_wrong_keys_are_401_with_one_same_answer(gateway, keys):
    altered = keys["laptop"][:-1] + ("0" if keys["laptop"][-1] != "0" else "1")
    answers = [
        post(gateway, "probe", PING),
        post(gateway, "probe", PING, Authorization="Bearer agt_nonsense"),
        post(gateway, "probe", PING, Authorization=f"Bearer {altered}"),
    ]
    documents = []
    for status, headers, body in answers:
        assert status == 401
        assert headers["WWW-Authenticate"].startswith("Bearer")
        assert headers["Content-Type"] == "application/problem+json"
        document = json.loads(body)
        assert headers["X-Call-Id"] == document.pop("call_id")
        documents.append(document)
    assert documents[0] == documents[1] == documents[2]
    assert documents[0]["type"] == "urn:toolgate:unauthorized"


async def test_a_service_outside_the_scope_looks_like_one_that_does_not_exist(gateway, keys):
    refusals = []
    for service in ["files", "nothing-here"]:
        route = Route("gateway", "stdio", gateway=gateway, service=service, key=keys["visitor"])
        with pytest.raises(BaseException) as refused:
            async with route.client() as client:
                await client.list_tools()
        refusals.append(leaf(refused.value))
    codes = [refusal.code for refusal in refusals]
    assert codes == [403, 403]
    texts = [refusal.message.replace(name, "SERVICE") for refusal, name in zip(refusals, ["files", "nothing-here"])]
    assert texts[0].partition("Call c_")[0] == texts[1].partition("Call c_")[0]


async def test_a_role_sees_its_own_list(gateway, keys):
    for agent, expected in [("visitor", ["get_current_time"]), ("laptop", ["get_current_time", "convert_time"])]:
        route = Route("gateway", "stdio", gateway=gateway, service="time", key=keys[agent])
        for mode in ["legacy", "auto"]:
            async with route.client(mode=mode) as client:
                assert [tool.name for tool in (await client.list_tools()).tools] == expected


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_two_agents_never_share_a_process(gateway, keys, mode):
    route = Route("gateway", "stdio", gateway=gateway, service="probe", key=keys["laptop"])
    async with route.client(mode=mode) as laptop, route.client(mode=mode, key=keys["desktop"]) as desktop:
        first = [(await laptop.call_tool("who", {})).content[0].text for _ in range(2)]
        second = (await desktop.call_tool("who", {})).content[0].text
        assert first[0] == first[1] != second
        assert {int(first[0]), int(second)} <= descendants(gateway.process.pid).keys()


async def test_a_session_belongs_to_its_agent(gateway, keys):
    hello = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    status, headers, _ = post(gateway, "probe", hello, Authorization=f"Bearer {keys['laptop']}")
    session = headers["Mcp-Session-Id"]
    assert status == 200 and session
    own = {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
    assert post(gateway, "probe", PING, Authorization=f"Bearer {keys['laptop']}", **own)[0] == 200
    assert post(gateway, "probe", PING, Authorization=f"Bearer {keys['desktop']}", **own)[0] == 404
    assert post(gateway, "time", PING, Authorization=f"Bearer {keys['laptop']}", **own)[0] == 404


async def test_the_environment_of_the_gateway_is_withheld_from_servers(work, gateway, keys, monkeypatch):
    """server-everything prints its environment; a policy that allows `get-env` shows what it was given."""
    policy = 'version: 1\nroles: { user: { allow: [ { service: everything, tools: ["get-env"] } ] } }\n'
    services = f"services:\n  - {{ name: everything, kind: mcp, command: {servers.everything()} }}\n"
    monkeypatch.setenv("WITHHELD_FROM_SERVERS", "1")
    with gateways.serving(work / "environment", policy, services) as own:
        route = Route("gateway", "stdio", gateway=own, service="everything", key=own.key("laptop", "user", "everything"))
        async with route.client() as client:
            given = json.loads((await client.call_tool("get-env", {})).content[0].text)
    assert set(given) <= {"PATH", "HOME", "LANG"}


@pytest.mark.parametrize("way", ["gateway", "bridge"])
async def test_a_call_over_the_limit_is_429_and_never_reaches_the_server(work, way):
    journal = work / f"limited-{way}.journal"
    journal.touch()
    services = f"services:\n  - {{ name: probe, kind: mcp, command: {servers.probe(journal)} }}\n"
    with gateways.serving(work / f"limited-{way}", LIMITED, services) as own:
        route = Route(way, "stdio", gateway=own, service="probe", key=own.key("laptop", "user", "probe"))
        async with route.client() as client:
            for _ in range(3):
                await client.call_tool("echo", {"text": "within"})
            for _ in range(4):
                with pytest.raises(MCPError) as refused:
                    await client.call_tool("echo", {"text": "over"})
                assert refused.value.code == 429
                assert "Wait" in refused.value.message
            assert (await client.call_tool("who", {})).content[0].text.isdigit()  # another tool has its own limit
        assert journal.read_text().splitlines() == ["call echo"] * 3 + ["call who"]


async def test_a_refusal_for_the_limit_says_when_to_come_back(work):
    journal = work / "headers.journal"
    services = f"services:\n  - {{ name: probe, kind: mcp, command: {servers.probe(journal)} }}\n"
    with gateways.serving(work / "headers", LIMITED, services) as own:
        key = own.key("laptop", "user", "probe")
        call = {
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {
                "name": "echo", "arguments": {"text": "x"},
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientCapabilities": {},
                },
            },
        }
        headers = {
            "Authorization": f"Bearer {key}", "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call", "Mcp-Name": "echo",
        }
        answers = [post(own, "probe", call, **headers) for _ in range(4)]
        assert [headers["X-Proxy-Status"] for _, headers, _ in answers] == ["forwarded"] * 3 + ["refused"]
        status, headers, body = answers[-1]
        error = json.loads(body)["error"]
        assert (status, error["code"], error["data"]["status"]) == (200, 429, 429)
        assert 1 <= int(headers["Retry-After"]) <= 1200  # 3/1h: one more after 20 minutes
        assert headers["RateLimit"] and headers["RateLimit-Policy"]


async def test_a_revoked_key_stops_at_once_open_streams_too(gateway):
    key = gateway.key("leaving", "user", "probe", "everything")
    (entry,) = [entry for entry in json.loads(gateway.run("keys", "list", "--json")) if entry["agent"] == "leaving"]
    hello = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    _, headers, _ = post(gateway, "everything", hello, Authorization=f"Bearer {key}")
    stream = urllib.request.Request(
        gateway.url("everything"),
        headers={
            "Accept": "text/event-stream", "Authorization": f"Bearer {key}",
            "Mcp-Session-Id": headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-11-25",
        },
    )
    with urllib.request.urlopen(stream, timeout=PATIENCE) as opened:
        assert opened.status == 200
        gateway.run("keys", "revoke", entry["key_id"])
        with contextlib.suppress(ConnectionError, http.client.HTTPException):  # it may be cut in the middle of a chunk
            while opened.read(1):
                pass  # a stream that is not cut goes on: the read fails with its time-out
    assert post(gateway, "probe", PING, Authorization=f"Bearer {key}")[0] == 401


@pytest.mark.parametrize("way", ["gateway", "bridge"])
async def test_each_call_has_an_intent_and_an_outcome_in_the_trail(gateway, way):
    agent = f"recorded-{way}"
    key = gateway.key(agent, "user", "probe")
    route = Route(way, "stdio", gateway=gateway, service="probe", key=key)
    async with route.client() as client:
        await client.list_tools()
        await client.call_tool("echo", {"text": "noted"})
        with pytest.raises(MCPError):
            await client.call_tool("forbidden", {})
    events = gateway.recorded(3, agent=agent)
    calls = [(event["kind"], event["method"], event["action"]) for event in events]
    assert calls == [
        ("intent", "tools/call", "echo"),
        ("outcome", "tools/call", "echo"),
        ("refusal", "tools/call", "forbidden"),
    ]
    intent, outcome, refusal = events
    assert intent["call_id"] == outcome["call_id"] != refusal["call_id"]
    assert intent["args"] == {"text": "noted"}
    assert {event["service"] for event in events} == {"probe"}
    assert refusal["decision"]["effect"] == "deny"


def test_the_trail_of_all_these_calls_verifies(gateway):
    verdict = json.loads(gateway.run("audit", "verify", "--json"))
    assert verdict["ok"] is True
    assert verdict["events"] >= 10


def leaf(error: BaseException) -> BaseException:
    """The one error inside a group."""
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error
