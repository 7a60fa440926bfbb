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
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
pair = []
asked = {}
streams = {}


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


def told(stream, method, **params):
    """A notification on a stream of the newest version."""
    say({"jsonrpc": "2.0", "method": method, "params": {"_meta": {SUBSCRIPTION: stream}, **params}})


def cancel(stream):
    say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": stream}})


def listen(request):
    wishes = request["params"]["notifications"]
    streams[request["id"]] = wishes
    told(request["id"], "notifications/subscriptions/acknowledged", notifications=wishes)


def forge(request):
    """Says whatever nobody has asked for."""
    changed = "notifications/tools/list_changed"
    for stream in [request["id"], request["id"] + 1000, -1, 1.0, "1", str(request["id"]), None, {}, [1]]:
        told(stream, changed)
        cancel(stream)
    say({"jsonrpc": "2.0", "method": "notifications/cancelled"})
    say({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "t", "progress": 9}})
    for ident in [request["id"] + 1000, -1, str(request["id"]), "forged"]:
        say({"jsonrpc": "2.0", "id": ident, "result": {"forged": True}})
    say({"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "forged"}})
    for ident in ["forged-1", request["id"]]:
        say({"jsonrpc": "2.0", "id": ident, "method": "sampling/createMessage", "params": {"forged": True}})
    for number in range(5000):
        say({"jsonrpc": "2.0", "id": f"ping-{number}", "method": "ping"})
    text(request, "said it all")
    text(request, "forged: and again")


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
    elif name == "announce":
        for stream, wishes in streams.items():
            if wishes.get("toolsListChanged"):
                told(stream, "notifications/tools/list_changed")
        text(request, "announced")
    elif name == "teardown":
        for stream in [stream for stream, wishes in streams.items() if wishes.get("promptsListChanged")]:
            del streams[stream]
            cancel(stream)
        text(request, "torn down")
    elif name == "finish":
        for stream in list(streams):
            del streams[stream]
            answer({"id": stream}, {"resultType": "complete", "_meta": {SUBSCRIPTION: stream, "x": 1}})
        text(request, "finished")
    elif name == "chatter":
        say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "chatter"}})
        text(request, "chattered")
    elif name == "forge":
        forge(request)
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
        capabilities = {"tools": {"listChanged": True} if "tells" in OPTIONS else {}, "resources": {}, "prompts": {}}
        answer(message, {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": server})
    elif method == "tools/list":
        names = ["read_note", "delete_note", "echo", "write_note", "read_all"]
        answer(message, {"tools": [{"name": name} for name in names]})
    elif method == "tools/call":
        call(message)
    elif method == "subscriptions/listen":
        listen(message)
    elif method == "notifications/cancelled":
        streams.pop(message["params"]["requestId"], None)
    elif method is None and isinstance(message.get("id"), str) and message["id"] in asked:
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
