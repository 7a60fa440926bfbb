"""Three real servers behind the one endpoint of all services, as stock clients of both eras see them."""

import contextlib
import json
import subprocess

import anyio
import pytest
from fastmcp import Client as FastClient
from fastmcp.client.transports import StreamableHttpTransport
from mcp import Client

import servers
from gateway import clean_environment
from processes import PATIENCE
from routes import bridge, http_transport

pytestmark = pytest.mark.anyio

SERVICES = ["everything-http", "files", "time"]
CLOCK = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Kathmandu"}
PROMPTS = ["simple-prompt", "args-prompt", "completable-prompt", "resource-prompt"]
SEEN = {
    "sum": "The sum of 19 and 23 is 42.",
    "file": "hello from the file\n",
    "clock": "+5.75h",
    "prompts": [f"everything-http__{name}" for name in PROMPTS],
    "prompt": "Please promote Eve to the head of the Sales team.",
    "denied": 403,
    "unknown": 403,
}


@pytest.fixture(scope="module")
def key(gateway) -> str:
    """A key of an agent with three services."""
    return gateway.key("all-services", "user", *SERVICES)


def check(seen: dict) -> None:
    """What every client must have seen, wherever it stood."""
    tools = seen.pop("tools")
    assert {name.split("__")[0] for name in tools} == set(SERVICES), tools
    assert "time__convert_time" in tools and "files__read_text_file" in tools
    assert "files__write_file" not in tools and "everything-http__get-env" not in tools
    assert len(set(tools)) == len(tools)
    assert seen.pop("progress") > 0
    assert seen == SEEN


async def all_of(list_tools) -> list[str]:
    """The names of all tools. A member that is still starting may be missing from a list; the next one has it."""
    for _ in range(60):
        names = [tool.name for tool in await list_tools()]
        if all(any(name.startswith(f"{service}__") for name in names) for service in SERVICES):
            return names
        await anyio.sleep(0.5)
    raise AssertionError(f"a service is missing: {names}")


@pytest.mark.parametrize("client", ["sdk", "client-legacy", "client-auto"])
def test_a_tour_with_the_typescript_clients(gateway, key, folder, client):
    script = str(servers.HERE / "other_clients" / "all.mjs")
    done = subprocess.run(
        ["node", script, client, f"{gateway.address}/mcp", key, str(folder)], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=PATIENCE * 2, env=clean_environment() | {"TOOLGATE_PEERS": str(servers.PEERS)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    check(json.loads(done.stdout))


@pytest.mark.parametrize("through", ["gateway", "bridge"])
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_tour_with_the_python_client(gateway, key, folder, through, mode):
    async with connected(gateway, key, through, mode) as client:
        async def listed():
            return (await client.list_tools()).tools

        assert client.protocol_version == ("2026-07-28" if mode == "auto" else "2025-11-25")
        progress = []

        async def noted(done, total, message):
            progress.append(done)

        async def text(name, arguments):
            return (await client.call_tool(name, arguments)).content[0].text

        async def refused(name):
            with pytest.raises(Exception) as error:
                await client.call_tool(name, {})
            return error.value.code

        seen = {"tools": await all_of(listed)}
        seen["prompts"] = [prompt.name for prompt in (await client.list_prompts()).prompts]
        seen["sum"] = await text("everything-http__get-sum", {"a": 19, "b": 23})
        seen["file"] = await text("files__read_text_file", {"path": str(folder / "greeting.txt")})
        seen["clock"] = (await client.call_tool("time__convert_time", CLOCK)).structured_content["time_difference"]
        long = {"duration": 0.4, "steps": 4}
        await client.call_tool("everything-http__trigger-long-running-operation", long, progress_callback=noted)
        seen["progress"] = len(progress)
        arguments = {"department": "Sales", "name": "Eve"}
        filled = await client.get_prompt("everything-http__completable-prompt", arguments)
        seen["prompt"] = filled.messages[0].content.text
        seen["denied"] = await refused("everything-http__get-env")
        seen["unknown"] = await refused("nosuch__tool")
        check(seen)


@contextlib.asynccontextmanager
async def connected(gateway, key: str, through: str, mode: str):
    """A client of the Python SDK at the endpoint of all services."""
    async with contextlib.AsyncExitStack() as stack:
        if through == "bridge":
            transport = bridge(gateway, None, key)
        else:
            transport = await http_transport(stack, f"{gateway.address}/mcp", {"Authorization": f"Bearer {key}"})
        yield await stack.enter_async_context(Client(transport, mode=mode, read_timeout_seconds=PATIENCE))


async def test_a_call_with_fastmcp(gateway, key, folder):
    transport = StreamableHttpTransport(f"{gateway.address}/mcp", headers={"Authorization": f"Bearer {key}"})
    async with FastClient(transport) as client:
        assert "files__read_text_file" in await all_of(client.list_tools)
        read = await client.call_tool("files__read_text_file", {"path": str(folder / "greeting.txt")})
        assert read.content[0].text == "hello from the file\n"
        clock = await client.call_tool("time__convert_time", CLOCK)
        assert clock.structured_content["time_difference"] == "+5.75h"
