"""An MCP server over stdio that counts: it appends every line that it receives to a file, with its own pid.

What it does besides is what a test asks of it, by the name of the tool that is called.
"""

import json
import os
import signal
import subprocess
import sys
import time

LOG, OPTIONS = sys.argv[1], sys.argv[2:]
AWKWARD = r'{"result": {"z" : 12345678901234567890123,"one":1.0,"e":1E5,"m":-0, "s":"\u0041\/é"},'
pair = []
asked = {}


def note(kind, text):
    line = f"{os.getpid()}\t{kind}\t{text}\n".encode()
    file = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line)
    os.close(file)


def say(message):
    raw(json.dumps(message).encode() + b"\n")


def raw(line):
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def answer(request, result):
    say({"jsonrpc": "2.0", "id": request["id"], "result": result})


def text(request, words):
    answer(request, {"content": [{"type": "text", "text": words}]})


def progress(request, done):
    token = request["params"].get("_meta", {}).get("progressToken")
    if token is not None:
        params = {"progressToken": token, "progress": done}
        say({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})


def call(request):
    name = request["params"]["name"]
    arguments = request["params"].get("arguments", {})
    if name == "crash":
        sys.stderr.write("about to fall over\n")
        sys.stderr.flush()
        os._exit(3)
    elif name == "flood":
        for _ in range(4096):
            sys.stderr.write("x" * 1023 + "\n")
        sys.stderr.flush()
        text(request, "flooded")
    elif name == "garbage":
        raw(b"this is no JSON\n\x00\xff\xfe\n[1,2]\n{\"jsonrpc\":\"2.0\",\"id\":999,\"result\":{}}\n")
        text(request, "after the garbage")
    elif name == "huge":
        raw(b'{"jsonrpc":"2.0","id":1,"result":"' + b"a" * (5 * 1024 * 1024) + b'"}\n')
    elif name == "large":
        text(request, "a" * (3 * 1024 * 1024))
    elif name == "fork":
        grandchild = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)
        note("grandchild", grandchild.pid)
        text(request, "forked")
    elif name == "environ":
        text(request, json.dumps(dict(os.environ)))
    elif name == "awkward":
        raw(AWKWARD.encode() + b'"id":%d , "jsonrpc":"2.0","more":[1.50]}\n' % request["id"])
    elif name == "pid":
        text(request, str(os.getpid()))
    elif name == "hang":
        note("hanging", request["id"])
    elif name == "slow":
        note("slow", "")
        time.sleep(1)
        text(request, "slept")
    elif name == "progress":
        progress(request, 1)
        progress(request, 2)
        text(request, "progressed")
    elif name == "ask":
        asked["question-1"] = request
        params = {"messages": [], "maxTokens": 1}
        say({"jsonrpc": "2.0", "id": "question-1", "method": "sampling/createMessage", "params": params})
    elif name == "pair":
        # Answers only when two such calls are under way, the later one first.
        pair.append(request)
        if len(pair) == 2:
            for step, waiting in enumerate(reversed(pair)):
                progress(waiting, step)
            for waiting in reversed(pair):
                text(waiting, waiting["params"]["arguments"]["who"])
            pair.clear()
    else:
        text(request, json.dumps(arguments))


def received(message):
    method = message.get("method")
    if method == "initialize":
        server = {"name": "child", "version": "1"}
        capabilities = {"tools": {}, "resources": {}, "prompts": {}}
        answer(message, {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": server})
    elif method == "tools/list":
        names = ["read_note", "delete_note", "echo", "write_note", "read_all"]
        answer(message, {"tools": [{"name": name} for name in names]})
    elif method == "tools/call":
        call(message)
    elif method is None and message.get("id") in asked:
        text(asked.pop(message["id"]), json.dumps(message.get("result")))
    elif "id" in message and method is not None:
        answer(message, {})


if "stubborn" in OPTIONS:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
note("start", "")
if "dies-at-once" in OPTIONS:
    sys.exit(4)
for line in sys.stdin.buffer:
    note("in", line.decode("utf-8", "replace").rstrip("\n"))
    received(json.loads(line))
note("eof", "")
while "stubborn" in OPTIONS:
    signal.pause()
