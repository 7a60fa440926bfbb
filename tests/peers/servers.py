"""The MCP servers that the tests put behind the gateway: how each is started."""

import contextlib
import os
import pathlib
import subprocess
import sys

from processes import free_port, stop, wait_for_port

HERE = pathlib.Path(__file__).resolve().parent
PEERS = pathlib.Path(os.environ.get("TOOLGATE_PEERS") or HERE.parent.parent / "target" / "peers").resolve()
NODE_MODULES = PEERS / "node_modules" / "@modelcontextprotocol"


def everything() -> list[str]:
    """Every feature of 2025-11-25, over stdio."""
    return ["node", str(NODE_MODULES / "server-everything" / "dist" / "index.js"), "stdio"]


def filesystem(folder: pathlib.Path) -> list[str]:
    """Files below one folder, over stdio."""
    return ["node", str(NODE_MODULES / "server-filesystem" / "dist" / "index.js"), str(folder)]


def memory() -> list[str]:
    """A knowledge graph in the file $MEMORY_FILE_PATH, over stdio."""
    return ["node", str(NODE_MODULES / "server-memory" / "dist" / "index.js")]


def time() -> list[str]:
    """Clocks, in both protocol eras, over stdio."""
    return [sys.executable, "-m", "mcp_server_time", "--local-timezone", "UTC"]


def probe(journal: pathlib.Path) -> list[str]:
    """Our own server, which writes down what reaches it; over stdio."""
    return [sys.executable, str(HERE / "probe_server.py"), str(journal)]


@contextlib.contextmanager
def everything_over_http(log: pathlib.Path):
    """Runs server-everything over Streamable HTTP; yields its address."""
    port = free_port()
    command = ["node", "--import", str(HERE / "loopback.mjs"), *everything()[1:-1], "streamableHttp"]
    with running(command, port, log, {"PORT": str(port)}):
        yield f"http://127.0.0.1:{port}/mcp"


@contextlib.contextmanager
def probe_over_http(journal: pathlib.Path, log: pathlib.Path):
    """Runs our own server over Streamable HTTP, in both eras; yields its address."""
    port = free_port()
    with running([*probe(journal), str(port)], port, log, {}):
        yield f"http://127.0.0.1:{port}/mcp"


@contextlib.contextmanager
def running(command: list[str], port: int, log: pathlib.Path, environment: dict[str, str]):
    """Runs a server from when it listens until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **environment}
        )
        try:
            wait_for_port(port, process, log)
            yield process
        finally:
            stop(process)
