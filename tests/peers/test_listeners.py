"""A stock client that listens is told when people change what it may list, and reads its list again."""

import json

import anyio
import pytest
from mcp.shared.subscriptions import ToolsListChanged

import gateway as gateways
import servers
from processes import PATIENCE
from routes import Route

pytestmark = pytest.mark.anyio

POLICY = """\
version: 1
roles:
  user:
    allow:
      - { service: probe, tools: [echo] }
""" + gateways.NO_LIMITS


@pytest.mark.parametrize("upstream", ["stdio", "http"])
@pytest.mark.parametrize("through", ["gateway", "bridge"])
async def test_a_listener_reads_its_list_again_when_people_have_changed_it(tmp_path, probe_url, upstream, through):
    place = f"command: {json.dumps(servers.probe(tmp_path / 'journal'))}" if upstream == "stdio" else f'url: "{probe_url}", network: private'
    services = f"services:\n  - {{ name: probe, kind: mcp, {place} }}\n"
    gateway = gateways.Gateway(tmp_path / "home", POLICY, services)
    key = gateway.key("laptop", "user", "probe")
    try:
        gateway.start()
        route = Route(through, upstream, gateway=gateway, service="probe", key=key)
        with anyio.fail_after(PATIENCE):
            async with route.client(mode="auto") as client:
                assert [tool.name for tool in (await client.list_tools()).tools] == ["echo"]
                async with client.listen(tools_list_changed=True) as listening:
                    assert listening.honored.tools_list_changed
                    (gateway.home / "policy.yaml").write_text(POLICY.replace("[echo]", "[echo, touch]"))
                    assert isinstance(await anext(listening), ToolsListChanged)
                names = [tool.name for tool in (await client.list_tools()).tools]
                assert sorted(names) == ["echo", "touch"]
    finally:
        gateway.stop()
