"""The measuring rig: loads each subject in turns with wrk, reads /proc, and writes a report. See README.md.

Everything is on 127.0.0.1, every run is bounded in time, and only processes that it started are stopped.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import report
import subjects
from subjects import MODERN, VERSION, Nginx, Subject, Toolgate, Upstream

HERE = pathlib.Path(__file__).resolve().parent
SECONDS_MAX = 60
REPEATS_MAX = 20


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
    parser.add_argument("--quick", action="store_true", help="one repeat of two seconds: only to see that it works")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.repeats = 2, 1
    options.seconds = min(max(options.seconds, 1), SECONDS_MAX)
    options.repeats = min(max(options.repeats, 1), REPEATS_MAX)
    return options


class Rig:
    """One measurement of everything; each table of the report is one method."""

    def __init__(self, folder: pathlib.Path, options: argparse.Namespace):
        self.folder, self.options = folder, options

    def measure(self) -> dict:
        return {
            "calls": self.calls(),
            "refusals": self.refusals(),
            "large": self.large(),
            "lists": self.lists(),
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

    def refusals(self) -> list[dict]:
        """Calls that policy or limit refuses. Nothing may reach the upstream."""
        jobs = [(call(tool, "x" * 64, VERSION), VERSION, 32) for tool in ("never_allowed", "limited")]
        return self.interleaved(1, jobs, only_gateway=True)

    def interleaved(self, tools: int, jobs: list, only_gateway: bool = False) -> list[dict]:
        """Every subject takes its turn in every repeat, so that a noisy minute hurts all alike."""
        upstream, all_subjects = self.subjects(tools)
        chosen = [subject for subject in all_subjects if isinstance(subject, Toolgate) or not only_gateway]
        rows = []
        try:
            for repeat in range(self.options.repeats):
                for subject in chosen:
                    if subject is not upstream:
                        subject.start()
                    try:
                        for message, version, connections in jobs:
                            row = self.run(subject, upstream, message, version, connections)
                            rows.append({**row, "repeat": repeat})
                    finally:
                        if subject is not upstream:
                            subject.stop()
        finally:
            upstream.stop()
        return rows

    def run(self, subject: Subject, upstream: Upstream, message: dict, version: str, connections: int) -> dict:
        """One timed run of wrk against one subject."""
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
        time.sleep(0.3)  # what the preparation caused is written by then
        before, cpu_before = upstream.stats(), subjects.cpu_seconds(subject.process.pid)
        loaded = self.load(subject, message, headers, sessions, connections)
        time.sleep(0.5)  # the record's last group belongs to the run
        cpu = subjects.cpu_seconds(subject.process.pid) - cpu_before
        after = upstream.stats()
        kind = "lists" if message["method"] == "tools/list" else "calls"
        return {
            "subject": subject.name, "method": message["method"], "version": version, "connections": connections,
            "tool": message.get("params", {}).get("name", ""),
            "requests": loaded["requests"], "per_second": loaded["requests"] / loaded["seconds"],
            "p50_us": loaded["p50_us"], "p99_us": loaded["p99_us"],
            "bad": loaded["bad_status"] + loaded["broken"],
            "reached": after[kind] - before[kind],
            "cpu_us": cpu / max(loaded["requests"], 1) * 1e6,
            "peak_mb": subjects.peak_memory_mb(subject.process.pid),
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

    def load(self, subject: Subject, message: dict, headers: dict, sessions: list[str], connections: int) -> dict:
        """What wrk measured, with one thread."""
        body, lines = self.folder / "load.body", self.folder / "load.headers"
        body.write_text(json.dumps(message))
        lines.write_text("".join(f"{name}: {value}\n" for name, value in headers.items()))
        seconds = self.options.seconds
        done = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(HERE / "load.lua"),
             f"http://127.0.0.1:{subject.port}{subject.path}"],
            env={**os.environ, "LOAD_BODY": str(body), "LOAD_HEADERS": str(lines), "LOAD_SESSIONS": ",".join(sessions)},
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
