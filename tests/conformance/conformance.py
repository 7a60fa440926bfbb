"""Holds the official conformance suite against the gateway: what it finds behind the gateway must be what it finds at the
same server without one. Differences that are meant stand in differences.toml, with their reason; that list may only shrink.

Usage: conformance.py PACKAGES OUT      PACKAGES has the suite's node_modules, OUT gets results and logs; TOOLGATE_BIN is the gateway
"""

import concurrent.futures
import contextlib
import dataclasses
import pathlib
import shutil
import subprocess
import sys
import tempfile
import tomllib

import anyio
import mcp_types as types
from mcp import Client
from mcp.shared.exceptions import MCPError

from client import ALLOW_ALL, http_transport
from suite import HERE, Findings, Suite
from gateway import NO_LIMITS, serving
from processes import PATIENCE, free_port, stop, wait_for_port, wait_until

VERSIONS = ["2025-06-18", "2025-11-25", "2026-07-28"]
FIXTURE = [sys.executable, str(HERE / "fixture.py")]
AT_ONCE = 3  # runs wait for each other's processes more than for the machine
TRIES = 5  # for scenarios that judge by the clock

DENIED_TOOL, DENIED_PROMPT = "test_image_content", "test_prompt_with_image"
DENY_SOME = ALLOW_ALL + f'deny:\n  - {{ service: "*", tools: [{DENIED_TOOL}], prompts: [{DENIED_PROMPT}] }}\n'


@dataclasses.dataclass(frozen=True)
class Route:
    """A way to the fixture."""

    name: str
    service: str = ""  # how the gateway is told of it; none: there is no gateway
    policy: str = ALLOW_ALL
    denies: bool = False


OVER_HTTP = "url: {url}, network: private"
OVER_STDIO = f"command: [{sys.executable}, -I, -S, {HERE / 'relay.py'}, {{url}}], processes: 64"
DIRECT = Route("direct")
ROUTES = [
    DIRECT,
    Route("http", OVER_HTTP),
    Route("stdio", OVER_STDIO),
    Route("http-deny", OVER_HTTP, DENY_SOME, denies=True),
    Route("stdio-deny", OVER_STDIO, DENY_SOME, denies=True),
]
CLIENT = "client"
"""The route of our stock client through a gateway to the suite's mock servers."""


@contextlib.contextmanager
def fixture(out: pathlib.Path, name: str, by_relay: bool):
    """The fixture; its address, which for children is a socket's path."""
    port, log = free_port(), out / f"{name}.fixture.log"
    # The path of a socket must be short.
    path = pathlib.Path(tempfile.gettempdir()) / f"toolgate-conformance-{port}.socket"
    with log.open("wb") as output:
        at = str(path) if by_relay else str(port)
        process = subprocess.Popen([*FIXTURE, at], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        if by_relay:
            wait_until(path.exists, f"the fixture at {path}: {log.read_text(errors='replace')[-2000:]}")
        else:
            wait_for_port(port, process, log)
        yield str(path) if by_relay else f"http://127.0.0.1:{port}/mcp"
    finally:
        stop(process)
        path.unlink(missing_ok=True)


def server_leg(suite: Suite, hurried: set[str], route: Route, version: str, out: pathlib.Path, direct: Findings | None) -> Findings:
    """What the suite finds on this route."""
    name = f"{route.name}-{version}"
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(fixture(out, name, route.service == OVER_STDIO))
        key = None
        if route.service:
            declared = f"services:\n  - {{ name: fixture, kind: mcp, {route.service.format(url=url)} }}\n"
            gateway = stack.enter_context(serving(out / name, route.policy, declared))
            key, url = gateway.key("suite", "admin", "fixture"), gateway.url("fixture")
        found = suite.server(name, url, version, key)
        for scenario in unsettled(found, direct, hurried):
            for _ in range(TRIES):
                again = suite.server(f"{name}-{scenario}", url, version, key, scenario)
                rest = Findings({finding: count for finding, count in found.items() if finding[0] != scenario})
                found = rest + again
                if scenario not in unsettled(found, direct, hurried):
                    break
        if route.denies:
            anyio.run(denied, url, key, version)
    return found


def unsettled(found: Findings, direct: Findings | None, hurried: set[str]) -> set[str]:
    """Scenarios with a check that judges by the clock, and that came out otherwise than it should: otherwise than directly,
    or, directly, other than well."""
    odd = found - direct if direct is not None else found
    return {scenario for scenario, check, status in odd if check in hurried and status != "SUCCESS"}


async def denied(url: str, key: str, version: str) -> None:
    """What the policy denies is not listed, and is refused on call with a reason."""
    async with contextlib.AsyncExitStack() as stack:
        transport = await http_transport(stack, url, {"Authorization": f"Bearer {key}"})
        mode = "auto" if version == VERSIONS[-1] else "legacy"
        client = await stack.enter_async_context(Client(transport, mode=mode, read_timeout_seconds=PATIENCE))
        tools, prompts = (await client.list_tools()).tools, (await client.list_prompts()).prompts
        assert DENIED_TOOL not in [tool.name for tool in tools] and len(tools) > 20, tools
        assert DENIED_PROMPT not in [prompt.name for prompt in prompts] and len(prompts) > 3, prompts
        for call in [client.call_tool(DENIED_TOOL, {}), client.get_prompt(DENIED_PROMPT)]:
            try:
                raise AssertionError(f"this was denied: {await call}")
            except MCPError as error:
                assert error.code == 403 and "deny[0]" in error.message, error


def client_leg(suite: Suite, version: str, scenario: str, out: pathlib.Path) -> tuple[Findings, Findings]:
    """What the suite finds of our client, without a gateway and with one."""
    name = f"{CLIENT}-{version}-{scenario}"
    home = out / name
    home.mkdir()
    return suite.client(f"{name}-direct", version, scenario, None), suite.client(name, version, scenario, home)


class Differences:
    """The list of differences that are meant."""

    def __init__(self, file: pathlib.Path):
        self.list = tomllib.loads(file.read_text())
        self.unused = {(place, *change) for place, entry in enumerate(self.list["difference"]) for change in entry["changes"]}

    @property
    def hurried(self) -> set[str]:
        """Checks that judge by the clock."""
        return {check for entry in self.list["hurried"] for check in entry["checks"]}

    def meant(self, route: str, version: str, finding: tuple[str, str, str], change: str) -> bool:
        """Whether a finding more ("+") or less ("-") on this route is meant."""
        scenario, check, status = finding
        for place, entry in enumerate(self.list["difference"]):
            fits = route in entry["routes"] and version in entry["versions"] and scenario in entry["scenarios"]
            if fits and [change + status, check] in entry["changes"]:
                self.unused.discard((place, change + status, check))
                return True
        return False


def main(packages: pathlib.Path, out: pathlib.Path) -> int:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    suite = Suite(packages, out / "results")
    differences = Differences(HERE / "differences.toml")
    found, failures = {}, []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        def server(route, direct=None):
            return {v: pool.submit(server_leg, suite, differences.hurried, route, v, out, direct and direct[v]) for v in VERSIONS}

        direct = {version: run.result() for version, run in server(DIRECT).items()}
        clients = [
            (version, pool.submit(client_leg, suite, version, scenario, out))
            for version in VERSIONS for scenario in suite.client_scenarios(version)
        ]
        routes = {route.name: server(route, direct) for route in ROUTES if route is not DIRECT}
        for name, runs in routes.items():
            for version, run in runs.items():
                found[name, version] = (direct[version], run.result())
        for version, run in clients:
            without, through = found.get((CLIENT, version), (Findings(), Findings()))
            more_without, more_through = run.result()
            found[CLIENT, version] = (without + more_without, through + more_through)
    print(f"{'route':<12}{'version':<12}{'direct':>14}{'gateway':>14}   differences", file=sys.stderr)
    for (route, version), (without, through) in found.items():
        changes = [("-", finding, count) for finding, count in (without - through).items()]
        changes += [("+", finding, count) for finding, count in (through - without).items()]
        unexplained = [change for change in changes if not differences.meant(route, version, change[1], change[0])]
        said = f"{len(changes)}, all explained" if changes else "none"
        said = f"{len(changes)}, {len(unexplained)} UNEXPLAINED" if unexplained else said
        print(f"{route:<12}{version:<12}{counted(without):>14}{counted(through):>14}   {said}", file=sys.stderr)
        failures += [f"{route} {version}: {change}{count} {' '.join(finding)}" for change, finding, count in unexplained]
    failures += [
        f"differences.toml, entry {place + 1}: `{change} {check}` does not occur any more; take it out"
        for place, change, check in sorted(differences.unused)
    ]
    print("\n".join(failures), file=sys.stderr)
    return 1 if failures else 0


def counted(findings: Findings) -> str:
    """Checks that passed and those that did not."""
    passed = sum(count for (_, _, status), count in findings.items() if status == "SUCCESS")
    return f"{passed} / {findings.total() - passed}"


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))
