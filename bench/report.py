"""Turns what was measured into Markdown that says what was on, and never compares across machines."""

import argparse
import collections
import pathlib
import platform
import statistics


# What is measured, and which columns its table has besides the usual ones.
TABLES = [
    ("calls", "tools/call, 64 bytes of arguments", {"compare": True}),
    ("requests", "HTTP requests, small answers (`credential`: injected, and masked in the answer)", {"compare": True}),
    ("approvals", "HTTP requests that are allowed, beside 20 rules that want approval of others", {"compare": True}),
    ("watched", "HTTP requests, while 20 event streams are open and somebody searches the whole trail (`watched`: within 5 %)", {"compare": True}),
    ("shared", "HTTP requests, with store and counters that gateways share (at least 0.6 of `toolgate-flush`)", {"compare": True}),
    ("refusals", "Refused calls, 32 connections (`never_allowed`: policy, 403; `limited`: limit, 429)", {"by_tool": True}),
    ("large", "tools/call, 1 MiB of arguments, 1 connection", {"compare": True}),
    ("downloads", "HTTP, an answer of 1 MiB, 1 connection", {"compare": True}),
    ("streams", "HTTP, 10 MB that flow, 8 connections (`grown`: peak over idle, for each connection)", {"compare": True, "memory": True}),
    ("lists", "tools/list of 1,000 tools, 1 connection (`toolgate-*` hide half of them)", {}),
]


def markdown(measured: dict, options: argparse.Namespace) -> str:
    """The whole report."""
    parts = [
        "# Measured on this machine",
        f"{machine()}. {options.repeats} repeat(s) of {options.seconds} s for each row, medians; every subject takes its "
        "turn in every repeat. Load generator, gateway and upstream share the machine: **ratios in one run are the "
        "result, absolute times are not.**",
        "On in `toolgate-*`: key, a policy of 20 rules of which the last allows the call, limits per key and tool "
        "(raised so that they do not refuse), hash-chained redacted record in SQLite: intent durable before the call "
        "is sent, outcome with the next group. `flush` survives power loss, `os` the process. Off: nothing that the "
        "default has on, but one log line a call (`--quiet`). `nginx` is a plain reverse proxy, 2 workers, no log. "
        "CPU is the process's own (user and system) for each request; p50 and p99 are wrk's.",
        *[f"## {title}\n\n" + table(measured[name], **more) for name, title, more in TABLES if measured.get(name)],
        *([held(measured["held"])] if "held" in measured else []),
        *([console(measured["console"])] if "console" in measured else []),
        "## The process\n\n"
        f"- start to first forwarded call: {measured['start']['first_call_ms']:.0f} ms (median of 5)\n"
        f"- resident memory after one call: {measured['start']['idle_mb']:.1f} MB\n"
        f"- binary: {measured['binary_mb']:.1f} MB\n"
        f"- one flush of 4 KiB on this disk: {measured['flush_us']:,.0f} µs (median of 200)\n",
    ]
    return "\n\n".join(parts)


def held(measured: dict) -> str:
    """From a person's yes to the request that leaves."""
    return (
        f"## Held calls\n\n{measured['count']} calls approved one after the other with `toolgate approvals approve`: from the "
        f"decision to the intent in the trail {measured['median_ms']:.0f} ms (median), {measured['most_ms']:.0f} ms at most."
    )


def console(measured: dict) -> str:
    """The pages of the console, the slowest first."""
    pages = sorted(measured["pages"].items(), key=lambda page: -page[1]["median"])
    lines = [f"| `{path}` | {took['median']:.1f} | {took['most']:.1f} |" for path, took in pages]
    news = measured["news_ms"]
    return (
        f"## The console, {measured['events']:,} events in the trail\n\n"
        f"A held call is in the inbox {news['median']:.0f} ms after the trail has it (median), {news['most']:.0f} ms at most; the "
        f"first paint of the inbox is {measured['first_paint_bytes'] / 1e3:.1f} KB with heads; the overview counted a trail that "
        f"it had never seen in {measured['counted_s']:.0f} s.\n\n"
        "| page | ms, median | ms, most |\n|---|---|---|\n" + "\n".join(lines)
    )


def table(rows: list[dict], compare: bool = False, by_tool: bool = False, memory: bool = False) -> str:
    """Medians over the repeats, with the ratio to nginx in the same rows where that says something."""
    groups = collections.defaultdict(list)
    for row in rows:
        what = row["version"] or row["method"]
        groups[what, row["connections"], row["tool"], row["subject"]].append(row)
    nginx = {key[:3]: group for key, group in groups.items() if key[3] == "nginx"}
    heads = ["what", "conns", *(["tool"] if by_tool else []), "subject", "req/s", *(["÷ nginx"] if compare else []),
             "p50 µs", "p99 µs", "CPU µs", *(["÷ nginx"] if compare else []), "peak MB", *(["grown MB"] if memory else []),
             "reached", "bad"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for key in sorted(groups, key=lambda key: key[:3]):
        what, connections, tool, subject = key
        group = groups[key]
        reached = sum(row["reached"] for row in group) / max(sum(row["requests"] for row in group), 1)
        ratio = lambda field: [f"{median(group, field) / median(nginx[key[:3]], field):.2f}"] if compare else []
        cells = [
            what, connections, *([tool] if by_tool else []), subject, f"{median(group, 'per_second'):,.0f}",
            *ratio("per_second"), f"{median(group, 'p50_us'):,.0f}", f"{median(group, 'p99_us'):,.0f}",
            f"{median(group, 'cpu_us'):.1f}", *ratio("cpu_us"), f"{max(row['peak_mb'] for row in group):.1f}",
            *([f"{max(row['grown_mb'] for row in group):.2f}"] if memory else []),
            f"{reached:.3f}", sum(row["bad"] for row in group),
        ]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def median(rows: list[dict], field: str) -> float:
    return statistics.median(row[field] for row in rows)


def machine() -> str:
    """Processor, cores and kernel: enough to know that two reports are not of one machine."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {len(models)} cores, Linux {platform.release()}"
