"""The MCP server that the official conformance suite is run against: every fixture of the suite by its fixed name, both
protocol eras, over Streamable HTTP or stdio. Not for anything else: it lets everybody do everything.

Usage: fixture.py PORT        over HTTP
       fixture.py SOCKET      over the standard streams of `relay.py SOCKET`
"""

import os
import signal
import socket
import sys

import anyio
import mcp_types as types
import uvicorn
from mcp.server.caching import CacheHint
from mcp.server.lowlevel.server import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http import EventMessage, EventStore
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError

import questions  # noqa: F401  (puts its tools into the table)
from prompts import PROMPTS, listed, read, templates
from tools import BUS, TOOLS

CACHED_FOR = CacheHint(ttl_ms=60_000, scope="public")
RETRY_MS = 100
EVENTS_MAX = 10_000


class Events(EventStore):
    """What went out on streams of the older protocol, so that a client can come back for the rest."""

    def __init__(self):
        self.events = []  # (stream, message); an event's id is its place, from 1

    async def store_event(self, stream_id, message):
        assert len(self.events) < EVENTS_MAX
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id, send_callback):
        if not last_event_id.isdigit() or not 1 <= int(last_event_id) <= len(self.events):
            return None
        stream = self.events[int(last_event_id) - 1][0]
        for place, (of, message) in list(enumerate(self.events, 1))[int(last_event_id):]:
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(place)))
        return stream


async def list_tools(ctx, params):
    return types.ListToolsResult(tools=[described for described, _ in TOOLS.values()])


async def call_tool(ctx, params):
    if params.name not in TOOLS:
        raise MCPError(code=types.INVALID_PARAMS, message=f"there is no tool {params.name!r}")
    return await TOOLS[params.name][1](ctx, params)


async def list_prompts(ctx, params):
    return types.ListPromptsResult(prompts=[described for described, _ in PROMPTS.values()])


async def get_prompt(ctx, params):
    if params.name not in PROMPTS:
        raise MCPError(code=types.INVALID_PARAMS, message=f"there is no prompt {params.name!r}")
    return await PROMPTS[params.name][1](ctx, params)


async def list_resources(ctx, params):
    return types.ListResourcesResult(resources=listed())


async def list_templates(ctx, params):
    return types.ListResourceTemplatesResult(resource_templates=templates())


async def read_resource(ctx, params):
    return read(str(params.uri))


async def complete(ctx, params):
    values = [word for word in ["paris", "park", "party"] if word.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))


async def nothing(ctx, params):
    return types.EmptyResult()


def server() -> Server:
    """The server with every handler."""
    cached = ["server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"]
    made = Server(
        "conformance-fixture",
        version="1.0.0",
        cache_hints={method: CACHED_FOR for method in cached},
        get_tool_input_schema=lambda name: TOOLS[name][0].input_schema if name in TOOLS else None,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_completion=complete,
        on_subscribe_resource=nothing,
        on_unsubscribe_resource=nothing,
        on_subscriptions_listen=ListenHandler(BUS),
    )
    made.add_request_handler("logging/setLevel", types.SetLevelRequestParams, nothing)
    made.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=made.name))
    return made


async def over_stdio() -> None:
    made = server()
    async with stdio_server() as (incoming, outgoing):
        await made.run(incoming, outgoing, made.create_initialization_options())


def over_relays(path: str) -> None:
    """A process for each relay, with the relay's connection for its standard streams. Forked, because starting one anew
    takes the SDK a second of the machine, and the suite opens hundreds of sessions and waits 5 s for some."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os.dup2(connection.fileno(), 0)
            os.dup2(connection.fileno(), 1)
            connection.close()
            anyio.run(over_stdio)
            os._exit(0)
        connection.close()


def over_http(port: int) -> None:
    app = server().streamable_http_app(event_store=Events(), retry_interval=RETRY_MS)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    over_http(int(sys.argv[1])) if sys.argv[1].isdigit() else over_relays(sys.argv[1])
