"""The ways a client reaches a server: straight, through the gateway's endpoint, through `toolgate bridge`.

The same test bodies run over all of them, so what is promised through the gateway is first shown to be
what the server does without it.
"""

import contextlib
import dataclasses
import pathlib

from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from gateway import BINARY, Gateway
from processes import PATIENCE


@dataclasses.dataclass(frozen=True)
class Route:
    """How clients reach the server of one test."""

    through: str  # direct, gateway, bridge
    upstream: str  # stdio, http: how the server itself is spoken to
    command: list[str] | None = None  # a direct stdio server
    environment: dict[str, str] | None = None
    url: str = ""  # a direct HTTP server
    gateway: Gateway | None = None
    service: str = ""
    key: str = ""
    journal: pathlib.Path | None = None  # what our own server wrote down

    @contextlib.asynccontextmanager
    async def client(self, *, key: str | None = None, mode: str = "legacy", **options):
        """A connected client of the Python SDK; another key makes it another agent."""
        async with contextlib.AsyncExitStack() as stack:
            transport = await self.transport(stack, key or self.key)
            yield await stack.enter_async_context(Client(transport, mode=mode, read_timeout_seconds=PATIENCE, **options))

    async def transport(self, stack: contextlib.AsyncExitStack, key: str):
        if self.through == "gateway":
            return await http_transport(stack, self.gateway.url(self.service), {"Authorization": f"Bearer {key}"})
        if self.through == "bridge":
            return bridge(self.gateway, self.service, key)
        if self.upstream == "http":
            return await http_transport(stack, self.url, {})
        return StdioServerParameters(command=self.command[0], args=self.command[1:], env=self.environment)


async def http_transport(stack: contextlib.AsyncExitStack, url: str, headers: dict[str, str]):
    """Streamable HTTP with these headers on every request."""
    http = await stack.enter_async_context(create_mcp_http_client(headers=headers))
    return streamable_http_client(url, http_client=http)


def bridge(gateway: Gateway, service: str | None, key: str) -> StdioServerParameters:
    """`toolgate bridge [SERVICE]` as a client's configuration starts it."""
    arguments = ["bridge", *([service] if service else [])]
    return StdioServerParameters(
        command=BINARY, args=arguments, env={"TOOLGATE_URL": gateway.address, "TOOLGATE_KEY": key}
    )
