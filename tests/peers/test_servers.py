"""The filesystem, memory and time servers over each route: their answers are those they give without a gateway."""

import pytest

import servers
from processes import descendants, wait_until
from routes import Route

pytestmark = pytest.mark.anyio


async def test_files_are_listed_and_read(files, folder):
    async with files.client() as client:
        listed = await client.call_tool("list_directory", {"path": str(folder)})
        assert "[FILE] greeting.txt" in listed.content[0].text
        read = await client.call_tool("read_text_file", {"path": str(folder / "greeting.txt")})
        assert read.content[0].text == "hello from the file\n"


async def test_a_path_outside_the_folder_is_the_servers_to_refuse(files):
    async with files.client() as client:
        assert (await client.call_tool("read_text_file", {"path": "/etc/hostname"})).is_error


async def test_memories_are_kept_between_sessions(memory):
    entity = {"name": f"Ada {memory.through}", "entityType": "person", "observations": ["wrote the first program"]}
    async with memory.client() as client:
        await client.call_tool("create_entities", {"entities": [entity]})
    async with memory.client() as client:
        found = await client.call_tool("open_nodes", {"names": [entity["name"]]})
        assert "wrote the first program" in found.content[0].text
        await client.call_tool("delete_entities", {"entityNames": [entity["name"]]})


@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28"), ("2026-07-28",) * 2])
async def test_the_clock_answers_in_both_eras(clock, mode, version):
    async with clock.client(mode=mode) as client:
        assert client.protocol_version == version
        assert [tool.name for tool in (await client.list_tools()).tools] == ["get_current_time", "convert_time"]
        converted = await client.call_tool(
            "convert_time", {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Kathmandu"}
        )
        assert converted.structured_content["time_difference"] == "+5.75h"


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_an_unknown_tool_is_the_servers_to_refuse(clock, mode):
    async with clock.client(mode=mode) as client:
        with pytest.raises(Exception) as refused:
            await client.call_tool("stop_time", {})
    assert refused.value.code == -32602


@pytest.mark.parametrize("way", ["gateway", "bridge"])
async def test_answers_equal_those_straight_from_the_server(way, gateway, keys, folder):
    """Compared as the client's parsed models, which keep unknown fields out; bytes are compared elsewhere."""
    straight = Route("direct", "stdio", command=servers.filesystem(folder))
    through = Route(way, "stdio", gateway=gateway, service="files", key=keys["laptop"])
    calls = [
        ("list_directory", {"path": str(folder)}),
        ("read_text_file", {"path": str(folder / "greeting.txt")}),
        ("read_text_file", {"path": str(folder / "missing.txt")}),
        ("search_files", {"path": str(folder), "pattern": "greet*"}),
    ]
    async with straight.client() as ours, through.client() as theirs:
        allowed = {"read_", "list_", "search_files"}
        everything = (await ours.list_tools()).tools
        kept = [tool for tool in everything if any(tool.name.startswith(start) for start in allowed)]
        assert (await theirs.list_tools()).tools == kept
        assert ours.session.initialize_result == theirs.session.initialize_result
        for name, arguments in calls:
            assert await theirs.call_tool(name, arguments) == await ours.call_tool(name, arguments)


async def test_a_closed_session_takes_its_process_along(gateway, keys):
    def running():
        return [command for command in descendants(gateway.process.pid).values() if "server-memory" in command]

    route = Route("gateway", "stdio", gateway=gateway, service="memory", key=keys["laptop"])
    wait_until(lambda: not running(), "sessions of earlier tests have ended")
    async with route.client() as client:
        await client.call_tool("read_graph", {})
        assert len(running()) == 1
    wait_until(lambda: not running(), "the server's process ended with its session")
