"""What the tests share: the real servers, one gateway in front of all of them, and the routes to each."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import gateway as gateways
import servers
from routes import Route

THROUGH = ["direct", "gateway", "bridge"]

POLICY = """\
version: 1
roles:
  user:
    allow:
      - { service: everything, tools: ["*"], resources: ["demo://resource/**"], prompts: ["*"] }
      - { service: everything-http, tools: ["*"], resources: ["demo://resource/**"], prompts: ["*"] }
      - { service: files, tools: ["read_*", "list_*", "search_files"] }
      - { service: memory, tools: ["*"] }
      - { service: time, tools: ["*"] }
      - { service: probe, tools: ["*"], resources: ["note://probe/one"] }
      - { service: probe-http, tools: ["*"], resources: ["note://probe/one"] }
  guest:
    allow:
      - { service: time, tools: ["get_*"] }
deny:
  - { service: "*", tools: ["get-env", "forbidden"] }
""" + gateways.NO_LIMITS


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session")
def work(tmp_path_factory) -> pathlib.Path:
    """The folder of this run."""
    return tmp_path_factory.mktemp("peers")


@pytest.fixture(scope="session")
def folder(work) -> pathlib.Path:
    """What the filesystem server serves."""
    folder = work / "data"
    folder.mkdir()
    (folder / "greeting.txt").write_text("hello from the file\n")
    return folder


@pytest.fixture(scope="session")
def everything_url(work):
    with servers.everything_over_http(work / "everything-http.log") as url:
        yield url


@pytest.fixture(scope="session")
def probe_url(work):
    with servers.probe_over_http(work / "probe-http.journal", work / "probe-http.log") as url:
        yield url


@pytest.fixture(scope="session")
def gateway(work, folder, everything_url, probe_url):
    """One gateway in front of every server, with limits that no test meets. Clients differ in what they can do, and some
    servers show more tools to those that can do more; what memory calls destructive would wait for people; what time does
    not list is its own to refuse."""
    declared = f"""\
services:
  - {{ name: everything, kind: mcp, pins: off, command: {servers.everything()} }}
  - {{ name: everything-http, kind: mcp, pins: off, url: "{everything_url}", network: private }}
  - {{ name: files, kind: mcp, command: {servers.filesystem(folder)} }}
  - {{ name: memory, kind: mcp, pins: off, command: {servers.memory()}, env: {{ MEMORY_FILE_PATH: "{work}/gateway-memory.json" }} }}
  - {{ name: time, kind: mcp, pins: off, command: {servers.time()} }}
  - {{ name: probe, kind: mcp, command: {servers.probe(work / 'gateway-probe.journal')} }}
  - {{ name: probe-http, kind: mcp, url: "{probe_url}", network: private }}
"""
    with gateways.serving(work / "home", POLICY, declared) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def keys(gateway) -> dict[str, str]:
    """A key for each of three agents: two users and a guest."""
    services = ["everything", "everything-http", "files", "memory", "time", "probe", "probe-http"]
    return {
        "laptop": gateway.key("laptop", "user", *services),
        "desktop": gateway.key("desktop", "user", *services),
        "visitor": gateway.key("visitor", "guest", "time"),
    }


def through(request, service: str, upstream: str, **direct) -> Route:
    """The route that the parameter of a fixture names. The gateway starts with the first that needs it."""
    way = request.param[0] if isinstance(request.param, tuple) else request.param
    name = f"{service}-http" if upstream == "http" else service
    if way == "direct":
        return Route(way, upstream, **direct)
    gateway, keys = request.getfixturevalue("gateway"), request.getfixturevalue("keys")
    return Route(way, upstream, gateway=gateway, service=name, key=keys["laptop"], journal=direct.get("journal"))


BOTH = [(way, upstream) for upstream in ("stdio", "http") for way in THROUGH]
GUARDED = [(way, upstream) for way, upstream in BOTH if way != "direct"]
BOTH_IDS = [f"{way}-{upstream}" for way, upstream in BOTH]


@pytest.fixture(params=BOTH, ids=BOTH_IDS)
def everything(request, everything_url) -> Route:
    return through(request, "everything", request.param[1], command=servers.everything(), url=everything_url)


@pytest.fixture(params=BOTH, ids=BOTH_IDS)
def probe(request, work, probe_url) -> Route:
    """Our own server, however it is reached."""
    return to_probe(request, work, probe_url)


@pytest.fixture(params=GUARDED, ids=[f"{way}-{upstream}" for way, upstream in GUARDED])
def guarded_probe(request, work, probe_url) -> Route:
    """Our own server behind the gateway."""
    return to_probe(request, work, probe_url)


def to_probe(request, work: pathlib.Path, url: str) -> Route:
    way, upstream = request.param
    kind = "probe-http" if upstream == "http" else "direct-probe" if way == "direct" else "gateway-probe"
    journal = work / f"{kind}.journal"
    journal.touch()
    return through(request, "probe", upstream, command=servers.probe(journal), url=url, journal=journal)


@pytest.fixture(params=THROUGH)
def files(request, folder) -> Route:
    return through(request, "files", "stdio", command=servers.filesystem(folder))


@pytest.fixture(params=THROUGH)
def memory(request, work) -> Route:
    environment = {"MEMORY_FILE_PATH": str(work / "direct-memory.json")}
    return through(request, "memory", "stdio", command=servers.memory(), environment=environment)


@pytest.fixture(params=THROUGH)
def clock(request) -> Route:
    return through(request, "time", "stdio", command=servers.time())
