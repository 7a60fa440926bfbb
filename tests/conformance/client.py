"""A stock client (the Python SDK's) for the suite's mock servers: uses everything that it is offered, once. Where
CONFORMANCE_HOME names a folder, it speaks to a gateway of its own, which has the mock server for its upstream.

The suite starts it: client.py URL, with the scenario in MCP_CONFORMANCE_SCENARIO and the version in
MCP_CONFORMANCE_PROTOCOL_VERSION.
"""

import contextlib
import json
import os
import pathlib
import sys

import anyio
import mcp_types as types
import pydantic
from mcp import Client
from mcp.shared.exceptions import MCPError

sys.path.append(str(pathlib.Path(__file__).parents[1] / "peers"))
from gateway import NO_LIMITS, serving  # noqa: E402
from processes import PATIENCE  # noqa: E402
from routes import http_transport  # noqa: E402

ALLOW_ALL = 'version: 1\nroles: { admin: { allow: ["*"] } }\n' + NO_LIMITS
NEWEST = "2026-07-28"


def filled(schema: dict, tools: list) -> dict:
    """Some value for every property."""
    def value(property: dict):
        if "default" in property:
            return property["default"]
        if "enum" in property:
            return property["enum"][0]
        return {"string": "text", "integer": 1, "number": 2.5, "boolean": True, "array": []}.get(
            property.get("type"), tools[0].input_schema if tools else {}
        )

    return {name: value(property) for name, property in schema.get("properties", {}).items()}


async def answers(context, params) -> types.ElicitResult:
    """What a user says who agrees with everything."""
    return types.ElicitResult(action="accept", content=filled(params.requested_schema, []))


async def use(client: Client) -> None:
    """Lists everything, calls, reads and gets each. An error ends one step only, and so does an answer that is none: the
    mock servers answer what they do not know with anything."""
    refused = contextlib.suppress(MCPError, pydantic.ValidationError)
    tools = []
    with refused:
        tools = (await client.list_tools()).tools
    given = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}").get("toolCalls")
    calls = given or [{"name": tool.name, "arguments": filled(tool.input_schema, tools)} for tool in tools]
    for call in calls:
        with refused:
            await client.call_tool(call["name"], call["arguments"])
    with refused:
        for resource in (await client.list_resources()).resources:
            await client.read_resource(str(resource.uri))
    with refused:
        for prompt in (await client.list_prompts()).prompts:
            await client.get_prompt(prompt.name, {argument.name: "text" for argument in prompt.arguments or []})


async def run(url: str, key: str | None) -> None:
    mode = "auto" if os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION") == NEWEST else "legacy"
    async with contextlib.AsyncExitStack() as stack:
        transport = await http_transport(stack, url, {"Authorization": f"Bearer {key}"} if key else {})
        client = Client(transport, mode=mode, read_timeout_seconds=PATIENCE, elicitation_callback=answers)
        await use(await stack.enter_async_context(client))


def main(url: str) -> None:
    home = os.environ.get("CONFORMANCE_HOME")
    if home is None:
        return anyio.run(run, url, None)
    home = pathlib.Path(home) / os.environ["MCP_CONFORMANCE_SCENARIO"]
    services = f"services:\n  - {{ name: suite, kind: mcp, url: {url}, network: private }}\n"
    with serving(home, ALLOW_ALL, services) as gateway:
        anyio.run(run, gateway.url("suite"), gateway.key("client", "admin", "suite"))


if __name__ == "__main__":
    main(sys.argv[-1])
