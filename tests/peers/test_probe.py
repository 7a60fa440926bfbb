"""What a server sees and does not see, told by our own server's journal, over each route and in both eras."""

import anyio
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from processes import PATIENCE, wait_until

pytestmark = pytest.mark.anyio

eras = pytest.mark.parametrize("mode", ["legacy", "auto"])

NOTE = "note://probe/one"


def lines(route) -> list[str]:
    return route.journal.read_text().splitlines()


@eras
async def test_a_call_reaches_the_server_once(probe, mode):
    before = lines(probe)
    async with probe.client(mode=mode) as client:
        assert client.protocol_version == {"legacy": "2025-11-25", "auto": "2026-07-28"}[mode]
        assert (await client.call_tool("echo", {"text": "one \u00e9\u4e16 \U0001f600"})).content[0].text == "one \u00e9\u4e16 \U0001f600"
    assert lines(probe) == [*before, "call echo"]


@eras
async def test_a_large_text_comes_back_whole(probe, mode):
    text = "0123456789abcdef" * 16_384  # 256 KiB
    async with probe.client(mode=mode) as client:
        assert (await client.call_tool("echo", {"text": text})).content[0].text == text


@eras
async def test_a_cancelled_call_ends_at_the_server(probe, mode):
    before = lines(probe).count("cancelled slow")
    begun = anyio.Event()

    async def progress(_done, _total, _message):
        begun.set()

    async with probe.client(mode=mode) as client:
        async with anyio.create_task_group() as group:

            async def call():
                await client.call_tool("slow", {}, progress_callback=progress)

            group.start_soon(call)
            with anyio.fail_after(PATIENCE):
                await begun.wait()
            group.cancel_scope.cancel()
        await anyio.to_thread.run_sync(
            wait_until, lambda: lines(probe).count("cancelled slow") > before, "the server stopped working"
        )
        assert (await client.call_tool("echo", {"text": "next"})).content[0].text == "next"


@eras
async def test_a_resource_is_read(probe, mode):
    async with probe.client(mode=mode) as client:
        assert (await client.read_resource(NOTE)).contents[0].text == "the note"


async def test_a_listener_of_the_newest_version_hears_of_a_change(probe):
    async with probe.client(mode="auto") as client:
        async with client.listen(resource_subscriptions=[NOTE]) as subscription:
            await client.call_tool("touch", {})
            with anyio.fail_after(PATIENCE):
                async for event in subscription:
                    assert event.uri == NOTE
                    break


async def test_a_question_of_the_newest_version_is_answered_by_calling_again(probe):
    async def elicit(_context, params):
        assert params.message == "Which dish?"
        return types.ElicitResult(action="accept", content={"dish": "soup"})

    async with probe.client(mode="auto", elicitation_callback=elicit) as client:
        assert (await client.call_tool("order", {})).content[0].text == "soup for table 7"


@eras
async def test_a_denied_tool_is_not_listed_and_never_reached(guarded_probe, mode):
    before = lines(guarded_probe)
    async with guarded_probe.client(mode=mode) as client:
        assert "forbidden" not in [tool.name for tool in (await client.list_tools()).tools]
        with pytest.raises(MCPError) as refused:
            await client.call_tool("forbidden", {})
    assert refused.value.code == 403
    assert "Do not retry" in refused.value.message
    assert lines(guarded_probe) == before


@eras
async def test_a_denied_resource_is_not_listed_and_never_read(guarded_probe, mode):
    before = lines(guarded_probe)
    async with guarded_probe.client(mode=mode) as client:
        listed = [str(resource.uri) for resource in (await client.list_resources()).resources]
        assert listed == [NOTE]
        with pytest.raises(MCPError) as refused:
            await client.read_resource("note://probe/hidden")
    assert refused.value.code == 403
    assert lines(guarded_probe) == before
