"""What is measured: the upstream itself, nginx in front of it, Toolgate in front of it; for MCP and for HTTP."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

from servers import Servers, free_port

VERSION = "2025-11-25"
MODERN = "2026-07-28"
SERVICE = "bench"
# What `upstream/src/api.rs` looks for.
CREDENTIAL = "bench-credential-0123456789abcdef"


class Subject:
    """A process on a port of 127.0.0.1 that takes MCP calls and HTTP requests."""

    name = ""
    path = "/mcp"  # where MCP calls go
    api = "/api"  # what the path of an HTTP request begins with

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        self.headers: dict[str, str] = {}
        self.environment = dict(os.environ)

    def spawn(self, command: list[str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def wait(self, seconds: float = 20, port: int = 0) -> None:
        """Returns once the port, else its own one, takes connections."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}, see {self.folder}"
            try:
                socket.create_connection(("127.0.0.1", port or self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.001)
        raise AssertionError(f"{self.name} does not listen")

    def post(self, message: dict, headers: dict[str, str]) -> tuple[int, dict, bytes]:
        sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        return self.ask("POST", self.path, json.dumps(message).encode(), {**sent, **self.headers, **headers})

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, dict, bytes]:
        """One request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def session(self) -> str:
        """Initializes one session of the older protocol; its id."""
        hello = {
            "jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}},
        }
        status, headers, body = self.post(hello, {})
        assert status == 200 and b'"result"' in body, f"{self.name}: initialize: {status} {body[:300]}"
        session = headers["mcp-session-id"]
        self.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, {"Mcp-Session-Id": session})
        return session


class Upstream(Subject):
    """The server itself: what every other row is compared with."""

    name = "direct"

    def __init__(self, folder: pathlib.Path, binary: str, tools: int):
        super().__init__(folder)
        self.command = [binary, str(self.port), str(tools)]

    def start(self) -> None:
        self.spawn(self.command)
        self.wait()

    def stats(self) -> dict[str, int]:
        """How many calls and lists reached it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/stats")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


class Nginx(Subject):
    """A plain reverse proxy: connections kept alive on both sides, one header added, no log."""

    name = "nginx"

    def __init__(self, folder: pathlib.Path, upstream: Upstream):
        super().__init__(folder)
        self.upstream = upstream

    def start(self) -> None:
        folder = self.folder
        folder.mkdir(parents=True, exist_ok=True)
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(f"""
daemon off; pid {folder}/nginx.pid; worker_processes 2;
events {{ worker_connections 1024; }}
http {{
  access_log off; {temporary} client_max_body_size 16m; client_body_buffer_size 2m;
  keepalive_requests 100000000; tcp_nodelay on;
  upstream bench {{ server 127.0.0.1:{self.upstream.port}; keepalive 128; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{self.port};
    location / {{
      proxy_pass http://bench; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header X-Added one;
      proxy_buffers 32 64k; proxy_buffer_size 64k;
    }}
    location ~ ^/api/(down|up)$ {{
      proxy_pass http://bench; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header X-Added one;
      proxy_buffering off; proxy_request_buffering off;
    }}
  }}
}}
""")
        binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        self.spawn([binary, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
        self.wait()


class Toolgate(Subject):
    """The gateway with every gate on: key, 20 rules, limits, a chained and redacted record. Here for MCP."""

    path = f"/mcp/{SERVICE}"
    declaration = f"{{ name: {SERVICE}, kind: mcp, url: http://127.0.0.1:PORT/mcp, network: private }}"
    credential = ""

    def __init__(self, folder: pathlib.Path, binary: str, upstream: Upstream, sync: str):
        self.name = self.name or f"toolgate-{sync}"
        super().__init__(folder)
        self.binary = binary
        self.home = folder / self.name
        self.prepare(upstream, sync)

    def prepare(self, upstream: Upstream, sync: str) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.run("init")
        self.console = free_port()
        (self.home / "toolgate.yaml").write_text(
            f"gateway: {{ listen: 127.0.0.1:{self.port} }}\nconsole: {{ listen: 127.0.0.1:{self.console} }}\n"
            f"audit: {{ sync: {sync} }}\n"
        )
        (self.home / "policy.yaml").write_text(self.policy())
        services = self.folder / "services.yaml"
        services.write_text(f"services:\n  - {self.declaration.replace('PORT', str(upstream.port))}\n")
        self.run("services", "apply", "-f", str(services))
        if self.credential:
            self.run("credentials", "set", SERVICE, self.credential, stdin=CREDENTIAL)
        key = self.run("keys", "create", "bench", "--role", "user", "--scope", SERVICE).strip()
        self.headers = {"Authorization": f"Bearer {key}"}

    def run(self, *arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            [self.binary, *arguments, "--home", str(self.home)],
            input=stdin, capture_output=True, text=True, timeout=60, env=self.environment,
        )
        assert done.returncode == 0, f"toolgate {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def policy(self) -> str:
        """The measured tool is allowed by the last rule, and half of the long list is hidden."""
        measured = 'tools: ["echo", "limited", "tool_*1", "tool_*3", "tool_*5", "tool_*7", "tool_*9"]'
        limited = f'  overrides:\n    - {{ service: {SERVICE}, tools: ["limited"], limit: 1/1h }}\n'
        return policy('tools: ["never_{}_*"]', 'tools: ["elsewhere_{}_*"]', measured) + limited

    def start(self) -> None:
        # One line a call is for people who watch; it would measure the terminal.
        self.spawn([self.binary, "serve", "--home", str(self.home), "--quiet"])
        self.wait()


class ToolgateHttp(Toolgate):
    """The same for an HTTP API, with a bearer credential (which is then masked in answers) or without."""

    api = f"/http/{SERVICE}"

    def __init__(self, folder: pathlib.Path, binary: str, upstream: Upstream, sync: str, keyed: bool, stream: bool = False):
        self.name = f"toolgate-{sync}{', credential' if keyed else ''}"
        self.credential = "token" if keyed else ""
        credentials = ", credentials: [{ name: token, kind: bearer }]" if keyed else ""
        self.declaration = (
            f"{{ name: {SERVICE}, kind: http, url: http://127.0.0.1:PORT/api, network: private, "
            f"stream: {'true' if stream else 'false'}{credentials} }}"
        )
        super().__init__(folder, binary, upstream, sync)

    def policy(self) -> str:
        """The measured requests are allowed by the last rule."""
        measured = 'requests: ["GET /*", "POST /*"]'
        return policy('requests: ["DELETE /never/{}/**"]', 'requests: ["GET /elsewhere/{}/**"]', measured)


class ToolgateShared(ToolgateHttp):
    """The same with its store on Postgres and its limits at Redis, which other gateways may share."""

    def __init__(self, folder: pathlib.Path, binary: str, upstream: Upstream, sync: str, servers: Servers):
        self.servers = servers
        super().__init__(folder, binary, upstream, sync, keyed=False)

    def prepare(self, upstream: Upstream, sync: str) -> None:
        self.name += ", Postgres, Redis"
        self.home = self.folder / self.name
        self.environment |= self.servers.environment("bench")
        super().prepare(upstream, sync)


class ToolgateApproving(ToolgateHttp):
    """The same, with 20 rules that want people's approval: for other requests, and for `POST /up`."""

    password = "copper otter violet 37"

    def __init__(self, folder: pathlib.Path, binary: str, upstream: Upstream, sync: str):
        super().__init__(folder, binary, upstream, sync, keyed=False)

    def prepare(self, upstream: Upstream, sync: str) -> None:
        self.name += ", approve rules"
        self.home = self.folder / self.name
        super().prepare(upstream, sync)
        settings = self.home / "toolgate.yaml"
        settings.write_text(settings.read_text().replace("gateway: {", "gateway: { hold: 1s,") + "approvals: { max_pending_per_agent: 1000 }\n")
        self.run("operators", "create", "ada@example.com", "--role", "approver", "--password-stdin", stdin=self.password)
        token = self.run("operators", "token", "ada@example.com", "--password-stdin", stdin=self.password)
        self.decides = {**os.environ, "TOOLGATE_OPERATOR_TOKEN": token.strip()}

    def policy(self) -> str:
        others = "".join(f'  - {{ service: "*", requests: ["POST /held/{number}/**"] }}\n' for number in range(19))
        return super().policy() + f'approve:\n{others}  - {{ service: {SERVICE}, requests: ["POST /up"] }}\n'

    def approve(self, held: dict) -> None:
        """Says yes; returns when the call was executed."""
        command = [self.binary, "approvals", "approve", held["id"], "--digest", held["digest"], "--home", str(self.home)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=self.decides)
        assert done.returncode == 0, done.stdout + done.stderr


class ToolgateWatched(ToolgateHttp):
    """The same, while people watch: 20 event streams are open, and one asks for what the trail does not hold."""

    password = "copper otter violet 37"
    streams = 20

    def __init__(self, folder: pathlib.Path, binary: str, upstream: Upstream, sync: str):
        super().__init__(folder, binary, upstream, sync, keyed=False)
        self.over = threading.Event()
        self.watching: list[threading.Thread] = []

    def prepare(self, upstream: Upstream, sync: str) -> None:
        self.name += ", watched"
        self.home = self.folder / self.name
        super().prepare(upstream, sync)
        self.run("operators", "create", "ada@example.com", "--role", "viewer", "--password-stdin", stdin=self.password)
        self.token = self.run("operators", "token", "ada@example.com", "--password-stdin", stdin=self.password).strip()

    def start(self) -> None:
        super().start()
        self.wait(port=self.console)
        self.over.clear()
        self.watching = [threading.Thread(target=self.watch) for _ in range(self.streams)] + [threading.Thread(target=self.search)]
        for thread in self.watching:
            thread.start()

    def stop(self) -> None:
        self.over.set()
        super().stop()
        for thread in self.watching:
            thread.join(30)

    def look(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.console, timeout=30)
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
        answer = connection.getresponse()
        assert answer.status == 200, f"{path}: {answer.status} {answer.read(300)}"
        return answer

    def watch(self) -> None:
        """Reads one event stream to its end, which is the gateway's."""
        try:
            answer = self.look("/api/events")
            while answer.readline() and not self.over.is_set():
                pass
        except (OSError, http.client.HTTPException):
            assert self.over.is_set(), "an event stream broke off"

    def search(self) -> None:
        """Looks through the whole trail, and at the overview, over and over."""
        while not self.over.is_set():
            try:
                self.look("/api/audit?action=nowhere&limit=500").read()
                self.look("/api/overview?range=week").read()
            except (OSError, http.client.HTTPException):
                assert self.over.is_set(), "the console does not answer"


def policy(deny: str, allow: str, measured: str) -> str:
    """20 rules: 8 that deny, 11 that allow something else, and the one that allows what is measured."""
    denies = "".join(f'  - {{ service: "*", {deny.format(number)} }}\n' for number in range(8))
    allows = "".join(f"      - {{ service: {SERVICE}, {allow.format(number)} }}\n" for number in range(11))
    return f"""\
version: 1
roles:
  user:
    allow:
{allows}      - {{ service: {SERVICE}, {measured} }}
deny:
{denies}limits:
  per_key: 1000000/1s
  per_tool: 1000000/1s
  housekeeping: 1000000/1s
  refusals: 1000000/1s
"""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children, as the kernel counted it."""
    total = 0
    for process in [pid, *children(pid)]:
        try:
            fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / os.sysconf("SC_CLK_TCK")


def peak_memory_mb(pid: int) -> float:
    """VmHWM of a process and its children together."""
    return sum(memory_kb(process, "VmHWM") for process in [pid, *children(pid)]) / 1024


def memory_mb(pid: int) -> float:
    """VmRSS of a process and its children together."""
    return sum(memory_kb(process, "VmRSS") for process in [pid, *children(pid)]) / 1024


def memory_kb(pid: int, field: str) -> int:
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(field)), 0)


def children(pid: int) -> list[int]:
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return found
