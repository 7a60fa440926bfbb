"""schemathesis against the console's own description of its API, as each role, as nobody, and as an agent.

What it makes of the description reaches real things: a service, an agent with a key, a held call, an operator.
"""

import copy
import json
import pathlib
import re
import subprocess
import urllib.error
import urllib.request

import pytest

import gateway as gateways
import servers
from processes import PATIENCE

POLICY = """\
version: 1
roles:
  user:
    allow:
      - { service: billing, requests: ["GET /**"] }
    approve:
      - { name: big refunds, service: billing, requests: ["POST /v1/refunds"], when: args.amount > 1000 }
""" + gateways.NO_LIMITS

SERVICES = """\
services:
  - { name: billing, kind: http, url: "http://127.0.0.1:9", network: private, credentials: [{ name: token, kind: bearer }] }
"""

PASSWORD = "copper otter violet 37"

# It has no end.
ENDLESS = "/api/events"

# A status in the description that stands for all refusals says nothing about a 5xx, and nothing about who may come in:
# these checks do.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
]

# Everybody that may ask, and each by what they present.
ROLES = ["viewer", "approver", "owner", "nobody", "agent"]

# How many requests of one kind for each operation. More of them belong to the soak, not here.
EXAMPLES = 4


class Desk:
    """A gateway with something of every kind, and what each role presents to its console."""

    def __init__(self, gateway: gateways.Gateway):
        self.gateway = gateway
        self.address = f"http://127.0.0.1:{gateway.console_port}"
        self.tokens = {"nobody": None, "agent": gateway.key("laptop", "user", "billing")}
        for role in ["viewer", "approver", "owner"]:
            email = f"{role}@example.com"
            self.say("operators", "create", email, "--role", role, "--password-stdin")
            self.tokens[role] = self.say("operators", "token", email, "--password-stdin").strip()
        self.say("operators", "create", "leaver@example.com", "--role", "viewer", "--password-stdin")
        self.call, self.approval = self.hold()

    def say(self, *arguments: str) -> str:
        """A command that asks for a password."""
        done = self.gateway.attempt(*arguments, stdin=PASSWORD + "\n")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def hold(self) -> tuple[str, str]:
        """A call of the agent that waits for a person: its id, and its approval's."""
        request = urllib.request.Request(
            self.gateway.api("billing", "/v1/refunds"),
            data=b'{"amount":5000}',
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.tokens['agent']}"},
        )
        with pytest.raises(urllib.error.HTTPError) as held:
            urllib.request.urlopen(request, timeout=PATIENCE)
        answer = json.loads(held.value.read())
        assert held.value.status == 428, answer
        return answer["call_id"], answer["approval"]["id"]

    def description(self) -> dict:
        """What the console says of itself, each name in a path replaced by one that is there, and by one that is not.

        In a path everything is text: a number, where a text is wanted, cannot be told from that text.
        """
        with urllib.request.urlopen(f"{self.address}/api/openapi.json", timeout=PATIENCE) as answer:
            document = json.load(answer)
        there = {
            "/api/services/{name}": ["billing", "nothing"],
            "/api/agents/{name}": ["laptop", "nobody"],
            "/api/keys/{id}": [self.tokens["agent"].split("_")[1], "00000000"],
            "/api/approvals/{id}": [self.approval, "ap_0000000000"],
            "/api/audit/{call}": [self.call, "c_000000000000"],
            "/api/operators/{email}": ["leaver@example.com", "stranger@example.com"],
            "/api/sessions/{id}": ["no-session", "1"],
            "/api/tokens/{id}": ["00000000", "1"],
        }
        described, document["paths"] = document["paths"], {}
        assert described.pop(ENDLESS)
        for path, operations in described.items():
            names = [names for start, names in there.items() if path.startswith(start)]
            assert bool(names) == ("{" in path), f"{path} wants names that are there"
            for number, name in enumerate(names[0] if names else [""]):
                these = copy.deepcopy(operations)
                for operation in these.values():
                    operation["operationId"] += f"_{number}"
                    kept = [parameter for parameter in operation.get("parameters", []) if parameter["in"] != "path"]
                    operation["parameters"] = kept
                document["paths"][re.sub("{[a-z]+}", name, path)] = these
        return document


@pytest.fixture(scope="module")
def desk(work):
    with gateways.serving(work / "console-home", POLICY, SERVICES, hold="10ms") as gateway:
        yield Desk(gateway)


@pytest.mark.parametrize("role", ROLES)
def test_the_api_does_what_it_says_for(role, desk, work):
    description = work / f"openapi-{role}.json"
    description.write_text(json.dumps(desk.description()))
    token = desk.tokens[role]
    program = pathlib.Path(servers.PEERS / "venv" / "bin" / "schemathesis")
    command = [
        str(program), "run", str(description), "--url", desk.address,
        "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--seed", "5", "--no-shrink",
        "--checks", ",".join(CHECKS), "--request-timeout", str(PATIENCE), "--generation-database", "none",
        "--suppress-health-check", "all", "--no-color", "--warnings", "off",
    ]
    if token:
        command += ["--header", f"Authorization: Bearer {token}"]
    done = subprocess.run(
        command, cwd=work, capture_output=True, text=True, timeout=4 * PATIENCE, env=gateways.clean_environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr
