"""What the console takes when the trail is long: every page, the news of a held call, the first paint."""

import http.client
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import threading
import time
from datetime import UTC, datetime

import trail
from subjects import ToolgateApproving, Upstream

EVENTS = 1_000_000
# Held calls; the inbox shows 25 on a page.
HELD = 20
# What people open, with filters that find much, little and nothing.
PAGES = [
    "/", "/?range=day", "/?range=week", "/approvals", "/approvals?show=decided", "/calls", "/calls?time=all",
    "/calls?time=all&agent=agent-7", "/calls?time=all&agent=nobody", "/calls?time=all&service=service-3&decision=rate-limited",
    "/calls?time=all&decision=denied", "/calls?time=all&decision=held", "/calls?time=all&decision=unknown", "/calls?time=all&decision=under-way", "/calls?time=all&q=nowhere", "/calls?time=week&q=things/77",
    "/calls?time=all&before=500000", "/agents", "/agents/bench", "/services", "/services/bench", "/policy", "/settings",
    "/api/overview?range=week", "/api/audit?limit=500", "/api/audit?action=nowhere",
]


class Console(ToolgateApproving):
    """A gateway with a long trail, and somebody who is logged in to its console."""

    def prepare(self, upstream: Upstream, sync: str) -> None:
        super().prepare(upstream, sync)
        trail.fill(self.home, EVENTS)

    def log_in(self) -> None:
        self.wait(port=self.console)
        body = json.dumps({"email": "ada@example.com", "password": self.password})
        status, answer = self.look("/api/login", "POST", body)
        assert status == 200, answer[:300]
        self.bearer = json.loads(answer)["access_token"]

    def look(self, path: str, method: str = "GET", body: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.console, timeout=60)
        headers = {"Authorization": f"Bearer {self.bearer}"} if method == "GET" else {"Content-Type": "application/json"}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def measure(folder: pathlib.Path, binary: str, upstream_binary: str) -> dict:
    """All of it, on a home of its own, which is removed."""
    upstream = Upstream(folder, upstream_binary, 1)
    upstream.start()
    console = Console(folder, binary, upstream, "flush")
    console.start()
    try:
        console.log_in()
        counted = caught_up(console)
        pages = {path: timed(console, path) for path in PAGES}
        held = [news(console, number) for number in range(HELD)]
        return {
            "events": EVENTS, "counted_s": counted, "pages": pages,
            "news_ms": {"median": statistics.median(held), "most": max(held)},
            "first_paint_bytes": first_paint(console),
        }
    finally:
        console.stop()
        upstream.stop()
        shutil.rmtree(console.home, ignore_errors=True)


def caught_up(console: Console) -> float:
    """How long the overview takes to count a trail that it has never seen (seconds)."""
    began = time.monotonic()
    while time.monotonic() < began + 600:
        if json.loads(console.look("/api/overview?range=week")[1])["behind"] == 0:
            return time.monotonic() - began
        time.sleep(0.5)
    raise AssertionError("the overview does not catch up")


def timed(console: Console, path: str, times: int = 12) -> dict:
    """From a request to the end of its answer (ms), over a connection that is opened for it."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        status, answer = console.look(path)
        took.append((time.perf_counter() - began) * 1e3)
        assert status == 200, f"{path}: {status} {answer[:300]}"
    return {"median": statistics.median(took), "most": max(took)}


def news(console: Console, number: int) -> float:
    """From the moment that the trail has for a held call until the inbox, asked for at the news of it, shows it (ms)."""
    stream = http.client.HTTPConnection("127.0.0.1", console.console, timeout=60)
    stream.request("GET", "/api/events", headers={"Authorization": f"Bearer {console.bearer}"})
    lines = stream.getresponse()
    asking = threading.Thread(target=console.ask, args=("POST", f"{console.api}/up", b"x" * (1 + number), console.headers))
    asking.start()
    try:
        while line := lines.readline():
            if line.startswith(b"data:") and b'"kind":"held"' in line:
                told = json.loads(line[5:])
                break
        # What the page's script waits for more of them.
        time.sleep(0.02)
        status, page = console.look("/approvals")
        assert status == 200 and told["approval_id"].encode() in page, page[:300]
        return (datetime.now(UTC) - datetime.fromisoformat(told["at"])).total_seconds() * 1e3
    finally:
        stream.close()
        asking.join()


def first_paint(console: Console) -> int:
    """Bytes of the inbox and all that it loads, heads included, as a browser gets them that has nothing yet."""
    pages = console.look("/approvals")[1].decode()
    paths = ["/approvals", *sorted(set(re.findall(r'(?:href|src)="(/assets/[^"]+)"', pages)))]
    total = 0
    for path in paths:
        command = ["curl", "-sS", "--compressed", "-o", "/dev/null", "-w", "%{size_download} %{size_header}",
                   "-H", f"Authorization: Bearer {console.bearer}", f"http://127.0.0.1:{console.console}{path}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        total += sum(int(part) for part in done.stdout.split())
    return total
