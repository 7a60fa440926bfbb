"""The measuring rig: loads each subject in turns with wrk, reads /proc, and writes a report. See README.md.

Everything is on 127.0.0.1, every run is bounded in time, and only processes that it started are stopped.
"""

import argparse
import functools
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import console
import report
import servers
import subjects
from subjects import MODERN, VERSION, Nginx, Subject, Toolgate, ToolgateApproving, ToolgateHttp, ToolgateShared, ToolgateWatched, Upstream

HERE = pathlib.Path(__file__).resolve().parent
SECONDS_MAX = 60
REPEATS_MAX = 20
# How many held calls are approved, one after the other.
HELD = 50


def main() -> None:
    options = read_options()
    for program in ("wrk", "nginx"):
        if not (shutil.which(program) or shutil.which(program, path="/usr/sbin")):
            sys.exit(f"error: `{program}` was not found; apt-get install {program}")
    folder = pathlib.Path(options.work).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    measured = Rig(folder, options).measure()
    text = report.markdown(measured, options)
    (folder / "report.md").write_text(text)
    (folder / "report.json").write_text(json.dumps(measured, indent=1))
    print(text)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures the gateway next to nginx.")
    parser.add_argument("--toolgate", required=True, help="the gateway's binary")
    parser.add_argument("--upstream", required=True, help="the binary of bench/upstream")
    parser.add_argument("--work", required=True, help="a folder on a disk whose flushes count")
    parser.add_argument("--seconds", type=int, default=8, help=f"of one run, at most {SECONDS_MAX}")
    parser.add_argument("--repeats", type=int, default=3, help=f"of each run, at most {REPEATS_MAX}")
    parser.add_argument("--only", default="", help="tables to measure, commas between: calls, requests, streams, …")
    parser.add_argument("--quick", action="store_true", help="one repeat of two seconds: only to see that it works")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.repeats = 2, 1
    options.seconds = min(max(options.seconds, 1), SECONDS_MAX)
    options.repeats = min(max(options.repeats, 1), REPEATS_MAX)
    return options


class Request(NamedTuple):
    """What wrk sends over and over, over so many connections."""

    method: str
    path: str
    body: bytes | None
    connections: int


class Rig:
    """One measurement of everything; each table of the report is one method."""

    def __init__(self, folder: pathlib.Path, options: argparse.Namespace):
        self.folder, self.options = folder, options

    def measure(self) -> dict:
        tables = [self.calls, self.requests, self.approvals, self.watched, self.refusals, self.large, self.downloads, self.streams,
                  self.lists, self.held, self.shared, self.console]
        only = [name for name in self.options.only.split(",") if name]
        measured = {table.__name__: table() for table in tables if not only or table.__name__ in only}
        return {
            **measured,
            "start": self.start(),
            "flush_us": flush_us(self.folder),
            "binary_mb": os.path.getsize(self.options.toolgate) / 1e6,
        }

    def subjects(self, tools: int) -> tuple[Upstream, list[Subject]]:
        upstream = Upstream(self.folder, self.options.upstream, tools)
        upstream.start()
        gateways = [Toolgate(self.folder, self.options.toolgate, upstream, sync) for sync in ("flush", "os")]
        return upstream, [upstream, Nginx(self.folder, upstream), *gateways]

    def calls(self) -> list[dict]:
        """tools/call of 64 bytes: at three numbers of connections, and once in the newest protocol."""
        jobs = [(VERSION, 1), (VERSION, 32), (VERSION, 64), (MODERN, 32)]
        return self.interleaved(1, [(call("echo", "x" * 64, version), version, count) for version, count in jobs])

    def large(self) -> list[dict]:
        """tools/call with 1 MiB of arguments over one connection."""
        return self.interleaved(1, [(call("echo", "0123456789abcdef" * 65536, VERSION), VERSION, 1)])

    def lists(self) -> list[dict]:
        """tools/list of 1,000 tools of which the policy hides half."""
        return self.interleaved(1000, [({"jsonrpc": "2.0", "id": 7, "method": "tools/list"}, VERSION, 1)])

    def requests(self) -> list[dict]:
        """HTTP: a GET, and a POST of 200 bytes of JSON; the answer is as small as that of the MCP call."""
        body = json.dumps({"note": "y" * 188}).encode()  # 200 bytes
        jobs = [Request("GET", "/small", None, 32), Request("POST", "/small", body, 32), Request("POST", "/small", body, 1)]
        return self.http(jobs, [(sync, keyed) for sync in ("flush", "os") for keyed in (False, True)])

    def downloads(self) -> list[dict]:
        """HTTP: an answer of 1 MiB over one connection."""
        return self.http([Request("GET", "/large", None, 1)], [("flush", False), ("flush", True)])

    def streams(self) -> list[dict]:
        """HTTP: 10 MB that flow, over 8 connections at once; what that takes of memory."""
        up = b"0123456789abcdef" * 625_000
        jobs = [Request("GET", "/down", None, 8), Request("POST", "/up", up, 8)]
        return self.http(jobs, [("flush", False), ("flush", True)], stream=True)

    def approvals(self) -> list[dict]:
        """HTTP: what allowed requests pay for rules that want approval of others."""
        jobs = [Request("GET", "/small", None, 32), Request("POST", "/small", json.dumps({"note": "y" * 188}).encode(), 32)]
        return self.http(jobs, [("os", False)], also=[ToolgateApproving])

    def watched(self) -> list[dict]:
        """HTTP: what requests pay for 20 people who look at the console, one of them searching the trail."""
        return self.http([Request("GET", "/small", None, 32)], [("os", False)], also=[ToolgateWatched])

    def shared(self) -> list[dict]:
        """HTTP: what requests pay for a store and counters that gateways share, durable before they are sent."""
        if program := servers.missing():
            note(f"shared: NOT MEASURED, `{program}` was not found; apt-get install postgresql redis-server")
            return []
        both = servers.Servers()
        try:
            kind = functools.partial(ToolgateShared, servers=both)
            return self.http([Request("GET", "/small", None, count) for count in (32, 1)], [("flush", False)], also=[kind])
        finally:
            both.stop()

    def held(self) -> dict:
        """How long after a person's yes a held call is sent: the trail's own times of the decision and the intent."""
        upstream = Upstream(self.folder, self.options.upstream, 1)
        upstream.start()
        gateway = ToolgateApproving(self.folder, self.options.toolgate, upstream, "flush")
        gateway.start()
        note(f"{gateway.name}: {HELD} calls that wait for people")
        try:
            asking = [
                threading.Thread(target=gateway.ask, args=("POST", f"{gateway.api}/up", b"x" * (1 + number), gateway.headers))
                for number in range(HELD)
            ]
            for thread in asking:
                thread.start()
            for thread in asking:
                thread.join()
            for held in json.loads(gateway.run("approvals", "list", "--limit", "1000", "--json")):
                gateway.approve(held)
            lines = gateway.run("audit", "list", "--limit", "10000", "--json").splitlines()
        finally:
            gateway.stop()
            upstream.stop()
        moment = {
            (event["kind"], event["approval_id"]): datetime.fromisoformat(event["at"])
            for event in map(json.loads, lines) if event.get("approval_id") and event["kind"] in ("decision", "intent")
        }
        took = sorted(
            (at - moment["decision", approval]).total_seconds() * 1e3
            for (kind, approval), at in moment.items() if kind == "intent"
        )
        assert len(took) == HELD, f"{len(took)} of {HELD} were sent"
        return {"count": HELD, "median_ms": statistics.median(took), "most_ms": took[-1]}

    def console(self) -> dict:
        """What the console takes when the trail has a million events."""
        note("the console, a trail of a million events")
        return console.measure(self.folder, self.options.toolgate, self.options.upstream)

    def http(self, jobs: list, kinds: list[tuple[str, bool]], stream: bool = False, also: list = ()) -> list[dict]:
        """Requests to the API of the upstream: direct, through nginx, through gateways of these kinds."""
        upstream = Upstream(self.folder, self.options.upstream, 1)
        upstream.start()
        gateways = [
            ToolgateHttp(self.folder, self.options.toolgate, upstream, sync, keyed, stream) for sync, keyed in kinds
        ]
        gateways += [kind(self.folder, self.options.toolgate, upstream, kinds[0][0]) for kind in also]
        chosen = [upstream, Nginx(self.folder, upstream), *gateways]
        rows = []
        try:
            # Each request meets processes that have done nothing else, so that their peaks of memory are its own.
            for job in jobs:
                rows += self.in_turns(upstream, chosen, lambda subject, job=job: [self.request(subject, upstream, job)])
        finally:
            upstream.stop()
        return rows

    def refusals(self) -> list[dict]:
        """Calls that policy or limit refuses. Nothing may reach the upstream."""
        jobs = [(call(tool, "x" * 64, VERSION), VERSION, 32) for tool in ("never_allowed", "limited")]
        return self.interleaved(1, jobs, only_gateway=True)

    def interleaved(self, tools: int, jobs: list, only_gateway: bool = False) -> list[dict]:
        """Every subject takes its turn in every repeat, so that a noisy minute hurts all alike."""
        upstream, all_subjects = self.subjects(tools)
        chosen = [subject for subject in all_subjects if isinstance(subject, Toolgate) or not only_gateway]
        try:
            return self.in_turns(upstream, chosen, lambda subject: [self.run(subject, upstream, *job) for job in jobs])
        finally:
            upstream.stop()

    def in_turns(self, upstream: Upstream, chosen: list[Subject], runs: Callable[[Subject], list[dict]]) -> list[dict]:
        """Runs with each subject, which is started for them, as often as was asked for."""
        rows = []
        for repeat in range(self.options.repeats):
            for subject in chosen:
                if subject is not upstream:
                    subject.start()
                try:
                    rows += [{**row, "repeat": repeat} for row in runs(subject)]
                finally:
                    if subject is not upstream:
                        subject.stop()
        return rows

    def run(self, subject: Subject, upstream: Upstream, message: dict, version: str, connections: int) -> dict:
        """One timed run of wrk against one subject: an MCP call."""
        note(f"{subject.name}: {message['method']} {version}, {connections} connections")
        headers = {
            "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": version, **subject.headers,
        }
        sessions = []
        if version == MODERN:
            headers |= {"Mcp-Method": message["method"], "Mcp-Name": message["params"]["name"]}
        else:
            sessions = [subject.session() for _ in range(min(8, connections))]
        self.check(subject, message, headers, sessions)
        request = Request("POST", subject.path, json.dumps(message).encode(), connections)
        kind = "lists" if message["method"] == "tools/list" else "calls"
        tool = message.get("params", {}).get("name", "")
        told = {"method": message["method"], "version": version, "tool": tool}
        return told | self.timed(subject, upstream, request, headers, sessions, kind)

    def request(self, subject: Subject, upstream: Upstream, request: "Request") -> dict:
        """One timed run of wrk against one subject: an HTTP request, whose path stands below the subject's own."""
        note(f"{subject.name}: {request.method} {request.path}, {request.connections} connections")
        headers = dict(subject.headers)
        if request.body:
            headers["Content-Type"] = "application/json" if len(request.body) < 1 << 20 else "application/octet-stream"
        whole = request._replace(path=subject.api + request.path)
        status, _, body = subject.ask(request.method, whole.path, request.body, headers)
        assert status == 200, f"{subject.name}: {status} {body[:300]}"
        match request.path:
            case "/small":
                assert json.loads(body)["credential"] == bool(getattr(subject, "credential", "")), body[:300]
            case "/up":
                assert json.loads(body)["bytes"] == len(request.body), body[:300]
            case _:
                assert len(body) == (1 << 20 if request.path == "/large" else 9_994_240), len(body)
        told = {"method": f"{request.method} {request.path}", "version": "", "tool": ""}
        return told | self.timed(subject, upstream, whole, headers, [], "calls")

    def timed(self, subject: Subject, upstream: Upstream, request: "Request", headers: dict, sessions: list[str],
              kind: str) -> dict:
        """What one run of wrk costs a subject whose answer is known to be right."""
        time.sleep(0.3)  # what the preparation caused is written by then
        before, cpu_before = upstream.stats(), subjects.cpu_seconds(subject.process.pid)
        idle_mb = subjects.memory_mb(subject.process.pid)
        loaded = self.load(subject, request, headers, sessions)
        time.sleep(0.5)  # the record's last group belongs to the run
        cpu = subjects.cpu_seconds(subject.process.pid) - cpu_before
        peak_mb = subjects.peak_memory_mb(subject.process.pid)
        return {
            "subject": subject.name, "connections": request.connections,
            "requests": loaded["requests"], "per_second": loaded["requests"] / loaded["seconds"],
            "p50_us": loaded["p50_us"], "p99_us": loaded["p99_us"],
            "bad": loaded["bad_status"] + loaded["broken"],
            "reached": upstream.stats()[kind] - before[kind],
            "cpu_us": cpu / max(loaded["requests"], 1) * 1e6,
            "peak_mb": peak_mb,
            "grown_mb": (peak_mb - idle_mb) / request.connections,
        }

    def check(self, subject: Subject, message: dict, headers: dict, sessions: list[str]) -> None:
        """A fast wrong answer is no result: one answer is looked at before it is timed."""
        session = {"Mcp-Session-Id": sessions[0]} if sessions else {}
        status, _, body = subject.post(message, {**headers, **session})
        answer = json.loads(body)
        assert status == 200, f"{subject.name}: {status} {body[:300]}"
        tool = message.get("params", {}).get("name")
        if message["method"] == "tools/list":
            shown = len(answer["result"]["tools"])
            assert shown == (501 if isinstance(subject, Toolgate) else 1000), f"{subject.name} lists {shown} tools"
        elif tool == "echo":
            assert answer["result"]["content"][0]["text"] == message["params"]["arguments"]["text"], body[:300]
        elif tool == "never_allowed":
            assert answer["error"]["code"] == 403, body[:300]
        else:  # the first call was the one that the limit admits
            _, _, body = subject.post(message, {**headers, **session})
            assert json.loads(body)["error"]["code"] == 429, body[:300]

    def load(self, subject: Subject, request: "Request", headers: dict, sessions: list[str]) -> dict:
        """What wrk measured, with one thread."""
        body, lines = self.folder / "load.body", self.folder / "load.headers"
        body.write_bytes(request.body or b"")
        lines.write_text("".join(f"{name}: {value}\n" for name, value in headers.items()))
        seconds = self.options.seconds
        environment = {
            "LOAD_METHOD": request.method, "LOAD_BODY": str(body) if request.body else "", "LOAD_HEADERS": str(lines),
            "LOAD_SESSIONS": ",".join(sessions),
        }
        done = subprocess.run(
            ["wrk", "-t1", f"-c{request.connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(HERE / "load.lua"),
             f"http://127.0.0.1:{subject.port}{request.path}"],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds + 60, check=True,
        )
        line = next(line for line in done.stdout.splitlines() if line.startswith("LOAD "))
        return json.loads(line.removeprefix("LOAD "))

    def start(self) -> dict:
        """From the start of the process to the first call that came back through it; memory before any load."""
        upstream, all_subjects = self.subjects(1)
        gateway = next(subject for subject in all_subjects if subject.name == "toolgate-flush")
        times, idle = [], []
        message = call("echo", "first", MODERN)
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "echo"}
        try:
            for _ in range(5):
                began = time.perf_counter()
                gateway.start()
                try:
                    status, _, body = gateway.post(message, headers)
                    times.append((time.perf_counter() - began) * 1e3)
                    assert status == 200 and b"first" in body, body[:300]
                    time.sleep(0.5)
                    idle.append(subjects.memory_mb(gateway.process.pid))
                finally:
                    gateway.stop()
        finally:
            upstream.stop()
        return {"first_call_ms": statistics.median(times), "idle_mb": statistics.median(idle)}


def flush_us(folder: pathlib.Path) -> float:
    """What one flush of 4 KiB costs on this disk, the median of 200."""
    path, times = folder / "flush", []
    with path.open("wb") as file:
        for _ in range(200):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(times) * 1e6


def call(tool: str, text: str, version: str) -> dict:
    """A tools/call with one text."""
    params = {"name": tool, "arguments": {"text": text}}
    if version == MODERN:
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
        }
    return {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}


def note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
