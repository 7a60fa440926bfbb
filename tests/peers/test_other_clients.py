"""The TypeScript and the Rust SDK's clients take the same tour over each route and see the same things."""

import json
import subprocess

import pytest

import servers
from gateway import BINARY, clean_environment

CLIENTS = {
    "typescript": ["node", str(servers.HERE / "other_clients" / "typescript.mjs")],
    "rust": [str(servers.PEERS / "rmcp" / "debug" / "rmcp-tour")],
}
DOCUMENTS = ["architecture", "extension", "features", "how-it-works", "instructions", "startup", "structure"]
EVERYTHING = {
    "version": "2025-11-25",
    "resources": [f"demo://resource/static/document/{name}.md" for name in DOCUMENTS],
    "echo": "Echo: h\u00e9llo",
    "sum": "The sum of 19 and 23 is 42.",
    "structured": {"temperature": 36, "conditions": "Light rain / drizzle", "humidity": 82},
    "progress": True,
    "prompts": ["simple-prompt", "args-prompt", "completable-prompt", "resource-prompt"],
    "prompt": "Please promote Eve to the head of the Sales team.",
    "completion": ["Sales", "Support"],
    "elicitation": True,
    "sampling": True,
}
PROBE = {"echo": "h\u00e9llo", "note": "the note"}


def tour(client: str, mode: str, route) -> dict:
    """What one client saw of one server."""
    if route.through == "gateway":
        target = ["http", route.gateway.url(route.service), route.key]
    elif route.through == "bridge":
        target = ["stdio", BINARY, "bridge", route.service]
    elif route.upstream == "http":
        target = ["http", route.url]
    else:
        target = ["stdio", *route.command]
    environment = clean_environment() | {"TOOLGATE_PEERS": str(servers.PEERS)}
    if route.through == "bridge":
        environment |= {"TOOLGATE_URL": route.gateway.address, "TOOLGATE_KEY": route.key}
    done = subprocess.run(
        [*CLIENTS[client], mode, *target], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_a_tour_of_everything(everything, client, mode):
    seen = tour(client, mode, everything)
    tools, denied = seen.pop("tools"), seen.pop("denied")
    assert seen == EVERYTHING
    guarded = everything.through != "direct"
    assert ("get-env" in tools, denied) == ((False, 403) if guarded else (True, None))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_a_tour_of_a_server_of_both_eras(probe, client, mode):
    seen = tour(client, mode, probe)
    tools, denied, resources = seen.pop("tools"), seen.pop("denied"), seen.pop("resources")
    newest = {"version": "2026-07-28", "order": "soup for table 7"} if mode == "auto" else {"version": "2025-11-25"}
    assert seen == PROBE | newest
    guarded = probe.through != "direct"
    assert ("forbidden" in tools, denied) == ((False, 403) if guarded else (True, None))
    assert ("note://probe/hidden" in resources) is not guarded
