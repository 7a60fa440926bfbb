"""A small MCP server that writes down what reaches it: both protocol eras, over stdio or Streamable HTTP.

The journal gets one line for each call ("call NAME") and for each end that somebody else caused
("cancelled NAME"), so a test can say what an upstream saw and, after a refusal, that it saw nothing.

Usage: probe_server.py JOURNAL [PORT]      without a port it speaks stdio
"""

import os
import sys

import anyio
import mcp_types as types
from mcp.server.mcpserver import Context, MCPServer

JOURNAL = sys.argv[1]
NOTE = "note://probe/one"

server = MCPServer("probe", instructions="Writes down what reaches it.")


def journal(line: str) -> None:
    with open(JOURNAL, "a", encoding="utf-8") as file:
        file.write(line + "\n")


@server.tool()
def echo(text: str) -> str:
    """Gives back the text it is given."""
    journal("call echo")
    return text


@server.tool()
def who() -> str:
    """The process that answers."""
    journal("call who")
    return str(os.getpid())


@server.tool()
def environment() -> str:
    """What $CANARY holds, told in hexadecimal digits backwards, which nobody looks for."""
    journal("call environment")
    return os.environ.get("CANARY", "").encode().hex()[::-1]


@server.tool()
def forbidden() -> str:
    """A tool that the tests' policy never allows."""
    journal("call forbidden")
    return "this should not have been reachable"


@server.tool()
async def slow(ctx: Context) -> str:
    """Reports that it has begun, then takes longer than any test waits."""
    journal("call slow")
    await ctx.report_progress(1, 2, "begun")
    try:
        await anyio.sleep(600)
    except BaseException:
        journal("cancelled slow")
        raise
    return "nobody waited this long"


@server.tool()
async def order(ctx: Context) -> str | types.InputRequiredResult:
    """Asks which dish, the way 2026-07-28 asks: an interim result that the client answers by calling again."""
    journal("call order")
    answers = ctx.input_responses
    if not answers:
        question = types.ElicitRequest(
            params=types.ElicitRequestFormParams(
                message="Which dish?",
                requested_schema={"type": "object", "properties": {"dish": {"type": "string"}}},
            )
        )
        return types.InputRequiredResult(input_requests={"dish": question}, request_state="table 7")
    dish = answers["dish"].content["dish"]
    return f"{dish} for {ctx.request_state}"


@server.tool()
async def touch(ctx: Context) -> str:
    """Tells every subscriber that the note has changed."""
    journal("call touch")
    await ctx.notify_resource_updated(NOTE)
    return "touched"


@server.resource(NOTE)
def note() -> str:
    """A text that can be read and subscribed to."""
    journal("read note")
    return "the note"


@server.resource("note://probe/hidden")
def hidden() -> str:
    """A text that the tests' policy never allows."""
    journal("read hidden")
    return "this should not have been readable"


if __name__ == "__main__":
    if len(sys.argv) > 2:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
    else:
        server.run("stdio")
