"""Calls that wait for people, made by clients that others wrote: they wait, retry, give up and come back. Approved
once is executed once, whatever they do, and however often the gateway dies meanwhile."""

import contextlib
import json
import pathlib
import subprocess

import anyio
import httpx
import pytest
from mcp.shared.exceptions import MCPError

import gateway as gateways
import servers
from processes import PATIENCE, wait_until
from recorder import Answer, Recorder
from routes import Route
from test_other_clients import tour

pytestmark = pytest.mark.anyio

PASSWORD = "copper otter violet 37"

POLICY = """\
version: 1
roles:
  user:
    approve:
      - { name: refunds, service: bank, requests: ["POST /v1/refunds"] }
      - { name: echoes, service: probe, tools: [echo] }
      - { name: echoes over http, service: probe-http, tools: [echo] }
""" + gateways.NO_LIMITS


class Desk:
    """An operator with a terminal of her own, and a token in it."""

    def __init__(self, gateway: gateways.Gateway):
        self.gateway = gateway
        create = ["operators", "create", "ada@example.com", "--role", "approver", "--password-stdin"]
        made = gateway.attempt(*create, stdin=PASSWORD)
        assert made.returncode == 0, made.stderr
        minted = gateway.attempt("operators", "token", "ada@example.com", "--password-stdin", stdin=PASSWORD)
        assert minted.returncode == 0, minted.stderr
        self.token = minted.stdout.strip()

    def all(self) -> list[dict]:
        return json.loads(self.gateway.run("approvals", "list", "--status", "all", "--json"))

    def pending(self) -> dict:
        """The one call that waits, as soon as it does."""
        def one() -> dict | None:
            listed = json.loads(self.gateway.run("approvals", "list", "--json"))
            return listed[0] if len(listed) == 1 else None

        return wait_until(one, "one call that waits for people")

    def decide(self, word: str, held: dict, *more: str) -> None:
        """Says yes or no to what is shown."""
        done = subprocess.run(
            [gateways.BINARY, "approvals", word, held["id"], "--digest", held["digest"], *more, "--home", str(self.gateway.home)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
            env={**gateways.clean_environment(), "TOOLGATE_OPERATOR_TOKEN": self.token},
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def bank():
    with Recorder(lambda request: Answer(json.dumps({"refunded": json.loads(request.body)["amount"]}).encode())) as bank:
        yield bank


@contextlib.contextmanager
def guarded(home, bank, probe_url, hold: str):
    """A gateway whose clients wait so long; who decides; an agent's key."""
    services = f"""\
services:
  - {{ name: bank, kind: http, url: "{bank.url}", network: private }}
  - {{ name: probe, kind: mcp, command: {json.dumps(servers.probe(journal_of(home)))} }}
  - {{ name: probe-http, kind: mcp, url: "{probe_url}", network: private }}
"""
    gateway = gateways.Gateway(home, POLICY, services, hold=hold)
    key, desk = gateway.key("laptop", "user", "bank", "probe", "probe-http"), Desk(gateway)
    try:
        gateway.start()
        yield gateway, desk, key
    finally:
        gateway.stop()


def journal_of(home) -> pathlib.Path:
    """What the server over stdio writes down."""
    return home.with_suffix(".journal")


def crash(gateway: gateways.Gateway) -> None:
    """Kills it, and starts it again."""
    gateway.process.kill()
    gateway.process.wait(PATIENCE)
    gateway.start()


async def insist(client: httpx.AsyncClient, url: str, body: dict, headers: dict) -> httpx.Response:
    """What a careful client does: it asks again until it knows, whatever happens to its connections."""
    with anyio.fail_after(PATIENCE * 2):
        while True:
            try:
                answer = await client.post(url, json=body, headers=headers)
            except httpx.TransportError:
                await anyio.sleep(0.1)  # the gateway is gone, or too slow for this client
                continue
            later = answer.status_code in (428, 503) or (
                answer.status_code == 409 and answer.json()["type"] == "urn:toolgate:in-progress"
            )
            if not later:
                return answer
            assert int(answer.headers["Retry-After"]) >= 1
            await anyio.sleep(0.1)


async def in_the_background(work, *arguments):
    return await anyio.to_thread.run_sync(work, *arguments)


async def test_a_storm_of_retries_under_one_key_is_one_approval_and_one_execution(tmp_path, bank, probe_url):
    with guarded(tmp_path / "home", bank, probe_url, "2s") as (gateway, desk, key):
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "refund-ch-81"}
        url, answers = gateway.api("bank", "/v1/refunds"), []

        async def one(patience: float):
            transport = httpx.AsyncHTTPTransport(retries=3)
            async with httpx.AsyncClient(transport=transport, timeout=patience) as client:
                answers.append(await insist(client, url, {"amount": 4900}, headers))

        async with anyio.create_task_group() as clients:
            for place in range(100):
                # Some hang up long before the gateway would answer.
                clients.start_soon(one, 0.5 if place % 3 == 0 else 60)
            await in_the_background(desk.pending)
            # It dies in the middle of the storm.
            await in_the_background(crash, gateway)
            held = await in_the_background(desk.pending)
            await in_the_background(desk.decide, "approve", held)
        assert len(answers) == 100
        assert {(answer.status_code, answer.text) for answer in answers} == {(200, '{"refunded": 4900}')}
        assert len(bank.seen) == 1 and len(desk.all()) == 1
        assert desk.all()[0]["status"] == "executed"


async def test_the_same_call_without_a_key_joins_and_a_denial_is_told_with_its_reason(tmp_path, bank, probe_url):
    with guarded(tmp_path / "home", bank, probe_url, "60s") as (gateway, desk, key):
        url, headers = gateway.api("bank", "/v1/refunds"), {"Authorization": f"Bearer {key}"}
        answers = []

        async def one():
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                answers.append(await insist(client, url, {"amount": 4900}, headers))

        async with anyio.create_task_group() as clients:
            for _ in range(10):
                clients.start_soon(one)
            held = await in_the_background(desk.pending)
            await in_the_background(gateway.recorded, 10, ("held",))
            await in_the_background(desk.decide, "deny", held, "--reason", "over the monthly budget")
        assert {answer.status_code for answer in answers} == {403}
        assert all("over the monthly budget" in answer.json()["reason"] for answer in answers)
        assert bank.seen == [] and len(desk.all()) == 1


@pytest.mark.parametrize("upstream", ["stdio", "http"])
@pytest.mark.parametrize("through", ["gateway", "bridge"])
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_an_mcp_client_that_waits_gets_the_plain_result(tmp_path, bank, probe_url, upstream, through, mode):
    with guarded(tmp_path / "home", bank, probe_url, "60s") as (gateway, desk, key):
        service = "probe-http" if upstream == "http" else "probe"
        route = Route(through, upstream, gateway=gateway, service=service, key=key)
        results = []

        async def call():
            async with route.client(mode=mode) as client:
                results.append(await client.call_tool("echo", {"text": f"{upstream} {through} {mode}"}))

        async with anyio.create_task_group() as clients:
            clients.start_soon(call)
            held = await in_the_background(desk.pending)
            await in_the_background(desk.decide, "approve", held)
        assert results[0].content[0].text == f"{upstream} {through} {mode}" and not results[0].is_error
        assert [one["status"] for one in desk.all()] == ["executed"]


@pytest.mark.parametrize("upstream", ["stdio", "http"])
@pytest.mark.parametrize("through", ["gateway", "bridge"])
async def test_a_client_that_takes_tasks_follows_one_to_its_end(tmp_path, bank, probe_url, upstream, through):
    with guarded(tmp_path / "home", bank, probe_url, "60s") as (gateway, desk, key):
        service = "probe-http" if upstream == "http" else "probe"
        route = Route(through, upstream, gateway=gateway, service=service, key=key)
        told = []

        async def call():
            told.append(await in_the_background(tour, "rust", "task", route))

        async with anyio.create_task_group() as clients:
            clients.start_soon(call)
            held = await in_the_background(desk.pending)
            await in_the_background(desk.decide, "approve", held)
        [seen] = told
        assert "io.modelcontextprotocol/tasks" in seen["offered"]
        assert (seen["created"]["taskId"], seen["created"]["status"]) == (held["id"], "working")
        assert (seen["ended"]["taskId"], seen["ended"]["status"]) == (held["id"], "completed")
        assert seen["ended"]["result"]["content"][0]["text"] == "a task's h\u00e9llo"
        assert [one["status"] for one in desk.all()] == ["executed"]


@pytest.mark.parametrize("dies", [False, True], ids=["gateway stays", "gateway dies"])
async def test_an_mcp_client_that_gives_up_and_comes_back_finds_the_answer(tmp_path, bank, probe_url, dies):
    with guarded(tmp_path / "home", bank, probe_url, "1s") as (gateway, desk, key):
        route = Route("gateway", "stdio", gateway=gateway, service="probe", key=key)
        with pytest.raises(BaseException) as told:
            async with route.client() as client:
                await client.call_tool("echo", {"text": "hello"})
        error = leaf(told.value)
        held = desk.pending()
        assert isinstance(error, MCPError) and error.code == 428
        assert held["id"] in error.message
        desk.decide("approve", held)
        if dies:
            wait_until(lambda: desk.all()[0]["status"] == "executed", "the call to be executed")
            crash(gateway)
        # A new session of a new client, that says the same thing again.
        with anyio.fail_after(PATIENCE):
            result = None
            while result is None:
                try:
                    async with route.client() as client:
                        result = await client.call_tool("echo", {"text": "hello"})
                except (MCPError, BaseExceptionGroup) as again:
                    assert leaf(again).code == 428
        assert result.content[0].text == "hello"
        assert journal_of(gateway.home).read_text().count("call echo") == 1
        assert [one["status"] for one in desk.all()] == ["executed"]


def leaf(error: BaseException) -> BaseException:
    """The one error inside a group."""
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error
