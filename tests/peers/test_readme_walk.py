"""The README's walk, as a newcomer does it: a home, the filesystem server, a key, a client, the trail."""

import json

import pytest
from mcp.shared.exceptions import MCPError

import gateway as gateways
import servers
from routes import Route

pytestmark = pytest.mark.anyio

POLICY = """\
version: 1
roles:
  user:
    allow:
      - { service: files, tools: ["read_*", "list_*"] }
limits:
  overrides:
    - { service: files, tools: ["list_directory"], limit: 2/1h }
"""


@pytest.mark.parametrize("way", ["gateway", "bridge"])
async def test_a_newcomer_reads_a_file_is_refused_a_write_is_limited_and_finds_all_of_it_recorded(work, folder, way):
    services = f"services:\n  - {{ name: files, kind: mcp, command: {servers.filesystem(folder)} }}\n"
    with gateways.serving(work / f"walk-{way}", POLICY, services) as gateway:
        key = gateway.key("laptop", "user", "files")
        route = Route(way, "stdio", gateway=gateway, service="files", key=key)
        async with route.client() as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert "read_text_file" in names and "write_file" not in names
            listed = await client.call_tool("list_directory", {"path": str(folder)})
            assert "greeting.txt" in listed.content[0].text
            read = await client.call_tool("read_text_file", {"path": str(folder / "greeting.txt")})
            assert read.content[0].text == "hello from the file\n"
            with pytest.raises(MCPError) as refused:
                await client.call_tool("write_file", {"path": str(folder / "planted.txt"), "content": "x"})
            assert refused.value.code == 403
            assert not (folder / "planted.txt").exists()
            await client.call_tool("list_directory", {"path": str(folder)})
            with pytest.raises(MCPError) as limited:
                await client.call_tool("list_directory", {"path": str(folder)})
            assert limited.value.code == 429
        ends = [(event["action"], event["kind"], event["status"]) for event in gateway.recorded(5, ("outcome", "refusal"))]
        assert ends == [
            ("list_directory", "outcome", 200),
            ("read_text_file", "outcome", 200),
            ("write_file", "refusal", 403),
            ("list_directory", "outcome", 200),
            ("list_directory", "refusal", 429),
        ]
        page = gateway.run("audit", "list")
        for word in ["read_text_file", "write_file", "forwarded", "refused", "403", "429"]:
            assert word in page
        assert json.loads(gateway.run("audit", "verify", "--json"))["ok"] is True


def test_init_never_overwrites(work):
    home = work / "twice"
    gateway = gateways.Gateway(home, POLICY, "services: []\n")
    before = {path.name: path.read_bytes() for path in home.iterdir() if path.suffix in (".yaml", ".key")}
    gateway.run("init")
    assert {name: (home / name).read_bytes() for name in before} == before
    assert (home / "vault.key").stat().st_mode & 0o777 == 0o600


def test_a_fresh_home_serves_with_what_init_wrote(work):
    """Nothing but `init`: settings, policy and key file as they come must be enough to start."""
    home = work / "fresh"
    with gateways.serving(home, None, "services: []\n") as gateway:
        assert gateway.ready()
        doctor = json.loads(gateway.run("doctor", "--json"))
    assert doctor["store"] and doctor["vault"] and doctor["policy"]
